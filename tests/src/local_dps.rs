//! A local DPS beside a served hub, and the provisioner set up for it.

use std::process::Command;

use anyhow::{Context, Result};
use hub_types::connection_string::ServiceConnectionString;
use hub_types::sas::SasToken;
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::Value;

use crate::{Ended, ServedHub, Station};

impl ServedHub {
    /// Serves a hub with a DPS on free ports.
    pub fn start_with_free_dps(station: &Station, more: &[&str]) -> Result<Self> {
        let address = "127.0.0.1:0";
        let mut args = vec!["--https", address, "--mqtt", address, "--dps", "--dps-https", address];
        args.extend(["--dps-mqtt", address]);
        args.extend(more);
        Self::start_with(station, "hub", &args)
    }

    /// Serves the hub and the DPS of a data folder of the station again, on the same ports of the DPS.
    pub fn start_again_with_dps(station: &Station, dps: &str) -> Result<Self> {
        let address = "127.0.0.1:0";
        let args =
            ["--https", address, "--mqtt", address, "--dps", "--dps-https", dps, "--dps-mqtt", address];
        Self::start_with(station, "hub", &args)
    }

    /// The host of the DPS with its port.
    pub fn dps_host(&self) -> Result<String> {
        let access: ServiceConnectionString = self.dps_connection_string()?.parse()?;
        Ok(access.host.as_str().to_owned())
    }

    /// Calls the DPS as its owner, and returns the status and the body.
    pub fn call_dps(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let access: ServiceConnectionString = self.dps_connection_string()?.parse()?;
        let token = SasToken::sign(access.host.as_str(), Some(&access.policy), &access.key, FAR_FUTURE);
        let url = format!("https://{}{path}?api-version=2021-10-01", access.host.as_str());
        let request = client(self, None)?
            .request(method, url)
            .header("Authorization", token.expose_text().to_string())
            .header("Content-Type", "application/json");
        let request = body.iter().fold(request, |request, body| request.body(body.to_string()));
        let answer = request.send()?;
        let (status, text) = (answer.status().as_u16(), answer.text()?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Reads an enrolment; null if there is none.
    pub fn enrollment(&self, id: &str) -> Result<Value> {
        let (status, body) = self.call_dps(Method::GET, &format!("/enrollments/{id}"), None)?;
        Ok(if status == 200 { body } else { Value::Null })
    }

    /// Registers a device over HTTPS, with the certificate that `cert-tool issue` has written to the folder
    /// `issued`, and returns the status and the body.
    pub fn register(&self, station: &Station, id: &str) -> Result<(u16, Value)> {
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path);
        let folder = format!("extracted-{id}");
        if !station.path(&folder).exists() {
            let extract = ["extract", "issued", "--device-id", id, "--out", &folder];
            station.run("cert-tool", extract)?.expect_code(0)?;
        }
        let folder = station.path(&folder);
        let identity = read(folder.join("chain.pem"))? + &read(folder.join("key.pem"))?;
        let client = client(self, Some(identity.as_bytes()))?;
        let (host, scope) = (self.dps_host()?, self.id_scope()?);
        let url = format!("https://{host}/{scope}/registrations/{id}/register?api-version=2021-06-01");
        let body = format!("{{\"registrationId\":\"{id}\"}}");
        let answer = client.put(url).header("Content-Type", "application/json").body(body).send()?;
        let (status, text) = (answer.status().as_u16(), answer.text()?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// The number of logged requests with this operation.
    pub fn count_requests(&self, operation: &str) -> Result<usize> {
        Ok(self.requests()?.iter().filter(|request| request.operation() == operation).count())
    }
}

impl Station {
    /// The provisioner, set up for the DPS beside a served hub.
    pub fn dps_provisioner(&self, hub: &ServedHub, args: &[&str]) -> Result<Command> {
        let mut command = self.command("provisioner")?;
        command.env("IOTDPS_CONNECTION_STRING", hub.dps_connection_string()?);
        command.env("IOTHUB_CA_FILE", hub.ca_file()).args(args);
        Ok(command)
    }

    /// Runs the provisioner against the DPS beside a served hub.
    pub fn provision_dps(&self, hub: &ServedHub, args: &[&str], code: i32) -> Result<Ended> {
        Ended::of(self.dps_provisioner(hub, args)?.output()?)?.expect_code(code)
    }
}

impl Ended {
    /// The standard output as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {}", self.stdout))
    }
}

/// A client that trusts the CA of a served hub, with the certificate and key of a device, if it is one.
#[expect(clippy::disallowed_methods, reason = "it calls the DPS of a test")]
fn client(hub: &ServedHub, identity: Option<&[u8]>) -> Result<Client> {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(hub.ca_file())?)?;
    let mut builder = Client::builder().tls_certs_only([ca]).no_proxy();
    if let Some(identity) = identity {
        builder = builder.identity(reqwest::Identity::from_pem(identity)?);
    }
    Ok(builder.build()?)
}

/// The year 2100, so that tokens do not expire during a test.
const FAR_FUTURE: u64 = 4_102_444_800;
