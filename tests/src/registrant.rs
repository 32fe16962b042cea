//! Devices that register with a DPS over HTTPS.

use std::path::Path;

use anyhow::{Result, ensure};
use hub_types::connection_string::ServiceConnectionString;
use hub_types::dps::{IdScope, RegistrationId, device_token};
use hub_types::sas::SasToken;
use hub_types::symmetric_key::SymmetricKey;
use reqwest::blocking::{Client, ClientBuilder};
use serde_json::Value;

use crate::ServedHub;

/// Registers devices with the DPS beside a served hub, and writes entries of the DPS.
#[derive(Debug)]
pub struct Registrant {
    client: Client,
    access: ServiceConnectionString,
    scope: IdScope,
}

impl Registrant {
    /// For devices with symmetric keys.
    pub fn new(hub: &ServedHub) -> Result<Self> {
        Self::with(hub, Ok)
    }

    /// For a device that presents the certificates in a file, with the key in another file.
    pub fn with_certificate(hub: &ServedHub, chain: &Path, key: &Path) -> Result<Self> {
        let identity = std::fs::read_to_string(chain)? + &std::fs::read_to_string(key)?;
        let identity = reqwest::Identity::from_pem(identity.as_bytes())?;
        Self::with(hub, |client| Ok(client.identity(identity)))
    }

    #[expect(clippy::disallowed_methods, reason = "it calls the DPS of a test")]
    fn with(hub: &ServedHub, further: impl FnOnce(ClientBuilder) -> Result<ClientBuilder>) -> Result<Self> {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(hub.ca_file())?)?;
        let client = further(Client::builder().tls_certs_only([ca]).no_proxy())?.build()?;
        let (access, scope) = (hub.dps_connection_string()?.parse()?, hub.id_scope()?.parse()?);
        Ok(Self { client, access, scope })
    }

    /// Registers with the certificates of the connection, and returns status and answer.
    pub fn register(&self, id: &str) -> Result<(u16, Value)> {
        self.put(id, None)
    }

    /// Registers a device with its key. The assignment has ended when this returns, unless a function is asked
    /// for it.
    pub fn register_by_key(&self, id: &str, key: &SymmetricKey) -> Result<()> {
        let id: RegistrationId = id.parse()?;
        let token = device_token::sign(&self.scope, &id, key, FAR_FUTURE);
        let (status, answer) = self.put(id.as_str(), Some(token.expose_text().as_str()))?;
        ensure!(status == 202 || status == 200, "{status} {answer}");
        Ok(())
    }

    fn put(&self, id: &str, token: Option<&str>) -> Result<(u16, Value)> {
        let url = format!(
            "https://{}/{}/registrations/{id}/register?api-version=2021-06-01",
            self.access.host, self.scope
        );
        let body = format!("{{\"registrationId\":\"{id}\"}}");
        let request = self.client.put(url).header("Content-Type", "application/json").body(body);
        let request =
            token.into_iter().fold(request, |request, token| request.header("Authorization", token));
        let answer = request.send()?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text()?)?))
    }

    /// Calls the service's API of the DPS, as its owner.
    pub fn service(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<Value> {
        let ServiceConnectionString { host, policy, key, .. } = &self.access;
        let token = SasToken::sign(host.as_str(), Some(policy), key, FAR_FUTURE);
        let request = self
            .client
            .request(method, format!("https://{host}{path}?api-version=2021-10-01"))
            .header("Authorization", token.expose_text().as_str())
            .header("Content-Type", "application/json");
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        let text = request.send()?.error_for_status()?.text()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }
}

/// The year 2100, so that tokens do not expire during a test.
const FAR_FUTURE: u64 = 4_102_444_800;
