//! Tokens of Entra ID, by the Azure SDK for Rust: who this program is may be told by the environment,
//! by the machine that it runs on, or by `az login`.
//!
//! Source: "Credential chains in the Azure Identity library", "Control access to IoT Hub by using
//! Microsoft Entra ID".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use azure_core::credentials::AccessToken;
use hub_types::connection_string::HubHost;
use zeroize::Zeroizing;

use super::transport::HubClientOptions;
use crate::model::service::ServiceKind;
use way::{Attempt, Way};

mod transport;
mod way;

/// The sign-in method for Entra ID.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// As the user of `az login`.
    Az,
    /// The first that is set up of: environment, managed identity, az.
    #[default]
    Entra,
    /// As the application that AZURE_TENANT_ID and AZURE_CLIENT_ID name, with AZURE_CLIENT_SECRET or
    /// AZURE_FEDERATED_TOKEN_FILE.
    Environment,
    /// As the managed identity of this machine; AZURE_CLIENT_ID names one of several.
    ManagedIdentity,
}

impl SignIn {
    /// The method of this name in configuration files.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "az" => Some(Self::Az),
            "entra" => Some(Self::Entra),
            "environment" => Some(Self::Environment),
            "managed-identity" => Some(Self::ManagedIdentity),
            _ => None,
        }
    }

    fn ways(self) -> &'static [Way] {
        match self {
            Self::Az => &[Way::AzureCli],
            Self::Entra => &[Way::ClientSecret, Way::WorkloadIdentity, Way::ManagedIdentity, Way::AzureCli],
            Self::Environment => &[Way::ClientSecret, Way::WorkloadIdentity],
            Self::ManagedIdentity => &[Way::ManagedIdentity],
        }
    }
}

impl fmt::Display for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Az => "the user of `az login`",
            Self::Entra => "Entra ID",
            Self::Environment => "the application that the environment names",
            Self::ManagedIdentity => "this machine's managed identity",
        })
    }
}

/// The environment variables with the program's identity. Some of them are secret.
#[derive(Clone, Default)]
pub(crate) struct EntraEnvironment(BTreeMap<&'static str, Zeroizing<String>>);

impl EntraEnvironment {
    /// Takes from an environment what matters here. What is empty counts as not set.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let values = VARIABLES.into_iter().filter_map(|name| Some((name, Zeroizing::new(variable(name)?))));
        Self(values.filter(|(_, value)| !value.trim().is_empty()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }
}

impl fmt::Debug for EntraEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The right of somebody whom Entra ID knows to call a service.
#[derive(Debug)]
pub(crate) struct EntraAccess {
    service: ServiceKind,
    host: HubHost,
    sign_in: SignIn,
    environment: EntraEnvironment,
    /// The way that gave the first token. Another might lead to another identity, with other rights.
    found: OnceLock<Way>,
}

impl EntraAccess {
    /// The right to call a service of this kind. Nobody is asked yet.
    pub(crate) fn new(
        service: ServiceKind,
        host: HubHost,
        sign_in: SignIn,
        environment: EntraEnvironment,
    ) -> Self {
        Self { service, host, sign_in, environment, found: OnceLock::new() }
    }

    pub(super) fn host(&self) -> &HubHost {
        &self.host
    }

    pub(crate) fn sign_in(&self) -> SignIn {
        self.sign_in
    }

    /// The way that gave a token, in words.
    pub(crate) fn found(&self) -> Option<&'static str> {
        self.found.get().map(|way| way.name())
    }

    /// A new token, by the way that gave the last one or the first way that gives one.
    pub(super) async fn token(&self, options: &HubClientOptions) -> Result<AccessToken, EntraError> {
        let ways = self.found.get().map_or_else(|| self.sign_in.ways(), std::slice::from_ref);
        let mut tried = Vec::new();
        for way in ways {
            match way.token(self.service, &self.environment, options, ways.len() == 1).await {
                Ok(token) => {
                    // Who was faster came the same way.
                    let _ = self.found.set(*way);
                    return Ok(token);
                }
                Err(attempt) => {
                    let is_last = attempt.ends_search;
                    tried.push((*way, attempt));
                    if is_last {
                        break;
                    }
                }
            }
        }
        Err(EntraError { tried })
    }
}

/// The reason why Entra ID gave no token: each tried method, and its result.
#[derive(Debug, Default)]
pub(crate) struct EntraError {
    tried: Vec<(Way, Attempt)>,
}

impl EntraError {
    /// Returns true if a later attempt may succeed: a service could not be reached, or had an
    /// internal problem.
    pub(crate) fn may_pass(&self) -> bool {
        self.tried.iter().any(|(_, attempt)| attempt.may_pass)
    }
}

impl fmt::Display for EntraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (way, attempt)) in self.tried.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", way.name(), attempt.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for EntraError {}

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const MSI_ENDPOINT: &str = "MSI_ENDPOINT";
const VARIABLES: [&str; 6] =
    [TENANT, CLIENT, CLIENT_SECRET, FEDERATED_TOKEN_FILE, IDENTITY_ENDPOINT, MSI_ENDPOINT];
