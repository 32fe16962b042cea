//! The configuration of IoT Edge 1.5 and 1.6: `config.toml`, for `iotedge config apply`.

use hub_types::IdentityId;
use serde::Serialize;

use super::{BundleOptions, BundleService};
use crate::error::Error;
use crate::issued::sink::{CHAIN, KEY};

/// The parts of `config.toml` that make a device connect; all others stay at their defaults.
#[derive(Serialize)]
struct Config<'a> {
    trust_bundle_cert: String,
    provisioning: ProvisioningSection<'a>,
}

#[derive(Serialize)]
#[serde(tag = "source", rename_all = "lowercase")]
enum ProvisioningSection<'a> {
    Manual { iothub_hostname: &'a str, device_id: &'a str, authentication: X509<'a> },
    Dps { global_endpoint: String, id_scope: &'a str, attestation: X509<'a> },
}

#[derive(Serialize)]
struct X509<'a> {
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_id: Option<&'a str>,
    identity_cert: String,
    identity_pk: String,
}

/// The text of the file.
pub(super) fn config(identity: &IdentityId, options: &BundleOptions) -> Result<String, Error> {
    let device = identity.device().as_str();
    let folder = options.installed_in.trim_end_matches('/');
    let at = |name: &str| format!("file://{folder}/{name}");
    let x509 = |registration_id| X509 {
        method: "x509",
        registration_id,
        identity_cert: at(CHAIN),
        identity_pk: at(KEY),
    };
    let provisioning = match &options.service {
        BundleService::Hub(host) => ProvisioningSection::Manual {
            iothub_hostname: host,
            device_id: device,
            authentication: x509(None),
        },
        BundleService::Dps { endpoint, id_scope } => ProvisioningSection::Dps {
            global_endpoint: format!("https://{endpoint}"),
            id_scope,
            attestation: x509(Some(device)),
        },
    };
    let config = Config { trust_bundle_cert: at(super::ROOT), provisioning };
    let text = toml::to_string(&config).map_err(|_| Error::Crypto("writing a configuration"))?;
    Ok(format!(
        "# Put the files into {folder}, this one to /etc/aziot/config.toml, then: iotedge config apply\n{text}"
    ))
}

pub(super) const FILE: &str = "config.toml";
