//! The connection file for programs with a device SDK: `connection.json`.

use hub_types::IdentityId;
use serde::Serialize;

use super::{BundleOptions, BundleService, ROOT, SERVER_ROOT};
use crate::error::Error;
use crate::issued::sink::{CHAIN, KEY};

/// The connection settings that a program passes to its SDK. Files are named relative to this one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host_name: Option<&'a str>,
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    /// As the SDKs for C and Node.js take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provisioning: Option<Provisioning<'a>>,
    x509: Files,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provisioning<'a> {
    provisioning_host: &'a str,
    id_scope: &'a str,
    registration_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Files {
    cert_file: &'static str,
    key_file: &'static str,
    /// The root of the devices' certificates, for servers that verify them.
    root_file: &'static str,
    /// The certificates with which the program verifies the server; without the file, those of the
    /// operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_root_file: Option<&'static str>,
}

/// The text of the file.
pub(super) fn connection(identity: &IdentityId, options: &BundleOptions) -> Result<String, Error> {
    let device_id = identity.device().as_str();
    let module_id = identity.module().map(|module| module.as_str());
    let (host_name, provisioning) = match &options.service {
        BundleService::Hub(host) => (Some(host.as_str()), None),
        BundleService::Dps { endpoint, id_scope } => {
            (None, Some(Provisioning { provisioning_host: endpoint, id_scope, registration_id: device_id }))
        }
    };
    let module = module_id.map_or_else(String::new, |module| format!(";ModuleId={module}"));
    let connection = Connection {
        host_name,
        device_id,
        module_id,
        connection_string: host_name
            .map(|host| format!("HostName={host};DeviceId={device_id}{module};x509=true")),
        provisioning,
        x509: Files {
            cert_file: CHAIN,
            key_file: KEY,
            root_file: ROOT,
            server_root_file: (!options.server_roots.is_empty()).then_some(SERVER_ROOT),
        },
    };
    let text =
        serde_json::to_string_pretty(&connection).map_err(|_| Error::Crypto("writing a connection file"))?;
    Ok(format!("{text}\n"))
}

pub(super) const FILE: &str = "connection.json";
