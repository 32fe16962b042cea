//! Devices that register over MQTT. Source: "Communicate with DPS using the MQTT protocol".
//!
//! CONNECT is accepted for every registration id with a certificate or a token. The entry decides at
//! the registration, whose response is 401 then: so did a live DPS (azure-docs#43157).

use std::sync::Arc;

use hub_types::dps::RegistrationId;
use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::Dps;
use super::registration::{DeviceProof, proof};
use crate::access::credentials::Denied;
use crate::api_error::ApiResult;
use crate::listener::resettable::Reset;
use crate::mqtt::wire::Wire;
use crate::mqtt::{Accepted, ByteStream, MqttClient, MqttOperation, MqttService};
use crate::request_log::{self, RequestLog};
use crate::rest::Presented;
use session::RegistrationSession;
use topic::RegistrationUserName;

mod session;
mod topic;

/// A DPS, as devices reach it over MQTT.
#[derive(Debug)]
pub(crate) struct Registrations {
    dps: Arc<Dps>,
    log: Option<Arc<RequestLog>>,
}

impl Registrations {
    pub(crate) fn new(dps: Arc<Dps>, log: Option<Arc<RequestLog>>) -> Self {
        Self { dps, log }
    }
}

/// An operation over MQTT. The names differ from all names of the REST APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProvisioningOperation {
    Connect,
    GetOperationStatus,
    Register,
    Subscribe,
    Unsubscribe,
}

impl ProvisioningOperation {
    const ALL: [Self; 5] =
        [Self::Connect, Self::GetOperationStatus, Self::Register, Self::Subscribe, Self::Unsubscribe];
}

impl MqttOperation for ProvisioningOperation {
    const CONNECT: Self = Self::Connect;

    const DISCONNECT: &'static str = "ProvisioningDisconnect";

    fn name(self) -> &'static str {
        match self {
            Self::Connect => "ProvisioningConnect",
            Self::GetOperationStatus => "ProvisioningGetOperationStatus",
            Self::Register => "ProvisioningRegister",
            Self::Subscribe => "ProvisioningSubscribe",
            Self::Unsubscribe => "ProvisioningUnsubscribe",
        }
    }
}

/// The name of every operation over MQTT.
pub(crate) fn operation_names() -> impl Iterator<Item = &'static str> {
    ProvisioningOperation::ALL.into_iter().map(MqttOperation::name)
}

/// A device whose CONNECT has been read.
#[derive(Debug)]
pub(crate) struct Registrant {
    pub(crate) id: RegistrationId,
    pub(crate) proof: DeviceProof,
    agent: Option<String>,
}

impl MqttClient for Registrant {
    fn identity(&self) -> String {
        self.id.to_string()
    }

    fn agent(&self) -> Option<&str> {
        self.agent.as_deref().and_then(|agent| request_log::agent(agent.as_bytes()))
    }
}

impl MqttService for Registrations {
    type Backend = Dps;
    type Operation = ProvisioningOperation;
    type Client = Registrant;
    type Connection = ();

    fn backend(&self) -> &Dps {
        &self.dps
    }

    fn request_log(&self) -> Option<&RequestLog> {
        self.log.as_deref()
    }

    fn claimed(connect: &Connect) -> (Option<String>, Option<String>) {
        let claimed = connect.user_name().and_then(RegistrationUserName::parse);
        claimed.map_or((None, None), |name| (Some(name.id.to_string()), name.agent))
    }

    fn read(&self, connect: &Connect, presented: &[CertificateDer<'_>]) -> Result<Registrant, Denied> {
        let name = connect.user_name().and_then(RegistrationUserName::parse);
        let name = name.ok_or_else(|| denied("the user name names no id scope and registration id"))?;
        if connect.client_id() != name.id.as_str() {
            return Err(denied("the client id is not the registration id of the user name"));
        }
        let asked = name.api_version.as_deref();
        let asked = asked.ok_or_else(|| denied("the user name has no api-version"))?;
        let served = super::http::VERSIONS.serving(asked).map_err(Denied)?;
        if served.as_str() != asked {
            tracing::info!(asked, %served, "an unknown api-version is served by a known one");
        }
        let password = connect.password().filter(|password| !password.is_empty());
        let token = password.map(std::str::from_utf8).transpose();
        let token = token.map_err(|_| denied("the password is not UTF-8"))?;
        let proof = proof(&self.dps, &name.scope, &name.id, token, &presented_chain(presented));
        Ok(Registrant { id: name.id, proof: proof.map_err(|error| Denied(error.text))?, agent: name.agent })
    }

    async fn open(&self, _: &Registrant) -> ApiResult<()> {
        Ok(())
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
        let Accepted { client, connect, attempt, .. } = accepted;
        let session = RegistrationSession::new(self, client, connect.keep_alive(), wire, stop);
        let (ended, session) = session.serve(attempt).await;
        session.close(ended, reset).await;
    }
}

fn presented_chain(presented: &[CertificateDer<'_>]) -> Presented {
    presented.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

fn denied(reason: &str) -> Denied {
    Denied(reason.to_owned())
}
