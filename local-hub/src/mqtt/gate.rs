//! Whom CONNECT lets in.

use std::sync::Arc;

use hub_types::sas::SasToken;
use hub_types::{DeviceId, IdentityId};
use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use rustls_pki_types::CertificateDer;

use super::username::UserName;
use crate::certificates::DeviceCas;
use crate::device_access::{Denied, Evidence};
use crate::hub::{Hello, Hub};
use crate::policy::Right;

/// The hub, and the CAs by which it knows certificates.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) hub: Arc<Hub>,
    cas: DeviceCas,
}

/// How somebody connects, and until when.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) hello: Hello,
    /// When the token ends, in seconds since 1970-01-01.
    pub(crate) expiry: Option<u64>,
}

impl Gate {
    pub(crate) fn new(hub: Arc<Hub>, cas: DeviceCas) -> Self {
        Self { hub, cas }
    }

    /// Reads CONNECT. What needs no registry is judged here; the rest when the hub connects.
    pub(crate) fn read(
        &self,
        connect: &Connect,
        presented: &[CertificateDer<'_>],
    ) -> Result<Visitor, Denied> {
        let name = connect.user_name().and_then(UserName::parse);
        let name = name.ok_or_else(|| denied("the user name names no hub and identity"))?;
        if connect.client_id() != name.identity.common_name() {
            return Err(denied("the client id is another than the user name says"));
        }
        let password = connect.password().filter(|password| !password.is_empty());
        let (evidence, expiry) = match password {
            Some(password) => self.token(password, &name)?,
            None => (self.certificate(presented)?, None),
        };
        let hello = Hello {
            identity: name.identity,
            evidence,
            model_id: name.model_id,
            clean: connect.clean_session(),
        };
        Ok(Visitor { hello, expiry })
    }

    fn certificate(&self, presented: &[CertificateDer<'_>]) -> Result<Evidence, Denied> {
        let judged = self.cas.judge(presented, self.hub.unix_seconds());
        judged
            .map(Evidence::Certificate)
            .ok_or_else(|| denied("neither a token nor a certificate was presented"))
    }

    fn token(&self, password: &[u8], name: &UserName) -> Result<(Evidence, Option<u64>), Denied> {
        let text = std::str::from_utf8(password).map_err(|_| denied("the password is not UTF-8"))?;
        let token = SasToken::parse(text).map_err(|error| Denied(error.to_string()))?;
        if token.is_expired(self.hub.unix_seconds()) {
            return Err(denied("the token has expired"));
        }
        if !token.covers(&resource(&name.host, &name.identity)) {
            return Err(denied("the token is for another resource"));
        }
        let expiry = Some(token.expiry());
        match token.policy() {
            None => Ok((Evidence::Token(token), expiry)),
            Some(policy) => {
                self.check_policy(policy, &token)?;
                Ok((Evidence::Policy, expiry))
            }
        }
    }

    fn check_policy(&self, name: &str, token: &SasToken) -> Result<(), Denied> {
        let wrong = || denied("the policy is unknown or its key is another one");
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

/// What a token must be for: `{host}/devices/{deviceId}[/modules/{moduleId}]`.
fn resource(host: &str, identity: &IdentityId) -> String {
    let device: &DeviceId = identity.device();
    match identity.module() {
        None => format!("{host}/devices/{device}"),
        Some(module) => format!("{host}/devices/{device}/modules/{module}"),
    }
}

fn denied(reason: &str) -> Denied {
    Denied(reason.to_owned())
}
