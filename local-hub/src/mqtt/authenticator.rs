//! The authentication of CONNECT.

use std::sync::Arc;

use hub_types::limits::OperationClass;
use hub_types::sas::SasToken;
use hub_types::{DeviceId, IdentityId};
use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::operation::DeviceOperation;
use super::topic::{self, Uplink};
use super::username::UserName;
use super::wire::SessionEnd;
use crate::access::certificates::DeviceCas;
use crate::access::credentials::{Credentials, Denied};
use crate::access::policy::Right;
use crate::api_error::{ApiError, ApiResult};
use crate::hub::connections::ConnectionHandle;
use crate::hub::{ConnectInfo, Hub};
use crate::registry::Subscriptions;
use crate::request_log::{self, DeviceLine, RequestLog};

/// The hub, and the CAs for client certificates.
#[derive(Debug)]
pub(crate) struct Authenticator {
    pub(crate) hub: Arc<Hub>,
    cas: DeviceCas,
    log: Option<Arc<RequestLog>>,
}

/// An authenticated client, and the expiry of its token.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) info: ConnectInfo,
    /// The expiry of the token, in seconds since 1970-01-01.
    pub(crate) expiry: Option<u64>,
    /// True if the user name contains an api-version; without it, there are no twins.
    pub(crate) has_api_version: bool,
    agent: Option<String>,
}

impl Client {
    /// The client's name for itself, in the form of the request log.
    pub(crate) fn agent(&self) -> Option<&str> {
        self.agent.as_deref().and_then(|agent| request_log::agent(agent.as_bytes()))
    }
}

impl Authenticator {
    pub(crate) fn new(hub: Arc<Hub>, cas: DeviceCas, log: Option<Arc<RequestLog>>) -> Self {
        Self { hub, cas, log }
    }

    /// Writes a line into the request log, if there is one.
    pub(crate) fn log(&self, line: &DeviceLine<'_>) {
        if let Some(log) = &self.log {
            log.write(line);
        }
    }

    /// Logs a CONNECT that was refused before it was read completely, by the identity that it
    /// claims.
    pub(crate) fn log_refused(&self, connect: &Connect, error: &ApiError) {
        let claimed = connect.user_name().and_then(UserName::parse);
        self.log(&DeviceLine {
            time: self.hub.timestamp(),
            operation: DeviceOperation::Connect.name(),
            identity: claimed.as_ref().map(|name| name.identity.to_string()),
            agent: claimed.as_ref().and_then(|name| request_log::agent(name.agent.as_ref()?.as_bytes())),
            status: Some(error.status),
            errorcode: Some(error.name),
            fault: None,
            reason: Some(&error.text),
            milliseconds: 0,
        });
    }

    /// Logs the end of a connection.
    pub(crate) fn log_end(&self, client: &Client, opened_at: Instant, ended: &SessionEnd) {
        self.log(&DeviceLine {
            time: self.hub.timestamp(),
            operation: "DeviceDisconnect",
            identity: Some(client.info.identity.to_string()),
            agent: client.agent(),
            status: None,
            errorcode: None,
            fault: None,
            reason: Some(ended.name()),
            milliseconds: u64::try_from(opened_at.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Connects a client, at the connection rate of the hub's tier.
    pub(crate) async fn open(&self, info: &ConnectInfo) -> ApiResult<(ConnectionHandle, Subscriptions)> {
        self.hub.throttle().admit(OperationClass::Connection, 1, "Connection").await?;
        self.hub.connect(info).map_err(Denied::into_api_error)
    }

    /// Reads CONNECT. Checks that need no registry are made here; the others when the hub connects.
    pub(crate) fn read(&self, connect: &Connect, presented: &[CertificateDer<'_>]) -> Result<Client, Denied> {
        let name = connect.user_name().and_then(UserName::parse);
        let name = name.ok_or_else(|| denied("the user name names no hub and identity"))?;
        if connect.client_id() != name.identity.common_name() {
            return Err(denied("the client id does not match the user name"));
        }
        check_will(connect, &name.identity)?;
        let password = connect.password().filter(|password| !password.is_empty());
        let (credentials, expiry) = match password {
            // Early nanoFramework sends something else than a token beside a certificate.
            Some(password) if presented.is_empty() || password.starts_with(TOKEN) => {
                self.token(password, &name)?
            }
            _ => (self.certificate(presented)?, None),
        };
        let info = ConnectInfo {
            identity: name.identity,
            credentials,
            model_id: name.model_id,
            clean: connect.clean_session(),
        };
        Ok(Client { info, expiry, has_api_version: name.api_version.is_some(), agent: name.agent })
    }

    fn certificate(&self, presented: &[CertificateDer<'_>]) -> Result<Credentials, Denied> {
        let checked = self.cas.check(presented, self.hub.unix_seconds());
        checked
            .map(Credentials::Certificate)
            .ok_or_else(|| denied("neither a token nor a certificate was presented"))
    }

    fn token(&self, password: &[u8], name: &UserName) -> Result<(Credentials, Option<u64>), Denied> {
        let text = std::str::from_utf8(password).map_err(|_| denied("the password is not UTF-8"))?;
        let token = SasToken::parse(text).map_err(|error| Denied(error.to_string()))?;
        if token.is_expired(self.hub.unix_seconds()) {
            return Err(denied("the token has expired"));
        }
        if !token.covers(&resource(&name.host, &name.identity)) {
            return Err(denied("the token is for a different resource"));
        }
        let expiry = Some(token.expiry());
        match token.policy() {
            None => Ok((Credentials::Token(token), expiry)),
            Some(policy) => {
                self.check_policy(policy, &token)?;
                Ok((Credentials::Policy, expiry))
            }
        }
    }

    fn check_policy(&self, name: &str, token: &SasToken) -> Result<(), Denied> {
        let wrong = || denied("the policy is unknown or its key is different");
        let policy = self.hub.policies().find(name).ok_or_else(wrong)?;
        // Both keys are tried whatever the first gives, so that time does not tell which one it was.
        if !policy.keys().map(|key| token.is_signed_by(key)).contains(&true) {
            return Err(wrong());
        }
        if !policy.allows(Right::DeviceConnect) {
            return Err(Denied(format!("the policy {name} has no right to connect as a device")));
        }
        Ok(())
    }
}

/// Checks the will. It is a message to the cloud, so the same rules apply.
fn check_will(connect: &Connect, identity: &IdentityId) -> Result<(), Denied> {
    let Some(topic) = connect.will_topic() else {
        return Ok(());
    };
    if topic::has_wildcard(topic) || !matches!(Uplink::parse(topic, identity), Some(Uplink::Telemetry { .. }))
    {
        return Err(denied(
            "the topic of the will is not one of the identity's topics for messages to the cloud",
        ));
    }
    if connect.will_qos() == Qos::ExactlyOnce {
        return Err(denied("the will has quality of service 2, which IoT Hub has not"));
    }
    Ok(())
}

/// The resource that a token must be for: `{host}/devices/{deviceId}[/modules/{moduleId}]`.
fn resource(host: &str, identity: &IdentityId) -> String {
    let device: &DeviceId = identity.device();
    match identity.module() {
        None => format!("{host}/devices/{device}"),
        Some(module) => format!("{host}/devices/{device}/modules/{module}"),
    }
}

/// The beginning of a shared access signature.
const TOKEN: &[u8] = b"SharedAccessSignature";

fn denied(reason: &str) -> Denied {
    Denied(reason.to_owned())
}
