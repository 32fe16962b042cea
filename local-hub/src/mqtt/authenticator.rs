//! The authentication of CONNECT.

use std::sync::Arc;

use hub_types::limits::OperationClass;
use hub_types::sas::SasToken;
use hub_types::{DeviceId, IdentityId};
use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::operation::DeviceOperation;
use super::session::Session;
use super::topic::Uplink;
use super::username::UserName;
use super::wire::{Wire, has_wildcard};
use super::{Accepted, ByteStream, MqttClient, MqttService};
use crate::access::certificates::DeviceCas;
use crate::access::credentials::{Credentials, Denied};
use crate::access::policy::Right;
use crate::api_error::ApiResult;
use crate::hub::connections::ConnectionHandle;
use crate::hub::{ConnectInfo, Hub};
use crate::listener::resettable::Reset;
use crate::registry::Subscriptions;
use crate::request_log::{self, RequestLog};

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

impl MqttClient for Client {
    fn identity(&self) -> String {
        self.info.identity.to_string()
    }

    fn agent(&self) -> Option<&str> {
        self.agent.as_deref().and_then(|agent| request_log::agent(agent.as_bytes()))
    }
}

impl Authenticator {
    pub(crate) fn new(hub: Arc<Hub>, cas: DeviceCas, log: Option<Arc<RequestLog>>) -> Self {
        Self { hub, cas, log }
    }
}

impl MqttService for Authenticator {
    type Backend = Hub;
    type Operation = DeviceOperation;
    type Client = Client;
    type Connection = (ConnectionHandle, Subscriptions);

    fn backend(&self) -> &Hub {
        &self.hub
    }

    fn request_log(&self) -> Option<&RequestLog> {
        self.log.as_deref()
    }

    fn claimed(connect: &Connect) -> (Option<String>, Option<String>) {
        let claimed = connect.user_name().and_then(UserName::parse);
        claimed.map_or((None, None), |name| (Some(name.identity.to_string()), name.agent))
    }

    /// Checks that need no registry are made here; the others when the hub connects.
    fn read(&self, connect: &Connect, presented: &[CertificateDer<'_>]) -> Result<Client, Denied> {
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

    /// Connects a client, at the connection rate of the hub's tier.
    async fn open(&self, client: &Client) -> ApiResult<(ConnectionHandle, Subscriptions)> {
        self.hub.throttle().admit(OperationClass::Connection, 1, "Connection").await?;
        self.hub.connect(&client.info).map_err(Denied::into_api_error)
    }

    async fn serve<S>(
        &self,
        accepted: Accepted<'_, Self>,
        wire: Wire<S>,
        reset: &Reset,
        stop: &CancellationToken,
    ) where
        S: ByteStream,
    {
        let Accepted { client, connection: (connection, kept), connect, attempt } = accepted;
        let session = Session::new(self, client, connect.keep_alive(), connection, kept, wire, stop);
        let (ended, session) = session.serve(attempt).await;
        session.close(connect, ended, reset).await;
    }
}

impl Authenticator {
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
    if has_wildcard(topic) || !matches!(Uplink::parse(topic, identity), Some(Uplink::Telemetry { .. })) {
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
