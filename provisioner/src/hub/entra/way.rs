//! One way to a token each: what it needs, and what its failure means.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use cli_support::causes::with_causes;
use reqwest::header::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::transport::client_options;
use super::{
    CLIENT, CLIENT_SECRET, EntraEnvironment, FEDERATED_TOKEN_FILE, IDENTITY_ENDPOINT, MSI_ENDPOINT, TENANT,
};
use crate::hub::error::shortened;
use crate::hub::transport::HubClientOptions;
use crate::model::service::ServiceKind;

/// A way to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    AzureCli,
    ClientSecret,
    ManagedIdentity,
    WorkloadIdentity,
}

/// The result of a sign-in method that gave no token.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) problem: String,
    /// True if the same method may succeed later.
    pub(super) may_pass: bool,
    /// True if no other method may be tried: this one is configured, and a different one would sign
    /// in with a different identity.
    pub(super) ends_search: bool,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AzureCli => "az login",
            Self::ClientSecret => "client secret",
            Self::ManagedIdentity => "managed identity",
            Self::WorkloadIdentity => "workload identity",
        }
    }

    /// A token, made anew: nothing is kept here or in the SDK. `is_only` says that no other way will do.
    pub(super) async fn token(
        self,
        service: ServiceKind,
        environment: &EntraEnvironment,
        options: &HubClientOptions,
        is_only: bool,
    ) -> Result<AccessToken, Attempt> {
        let credential = match self {
            Self::AzureCli => azure_cli(),
            Self::ClientSecret => client_secret(environment, options),
            Self::ManagedIdentity => managed_identity(environment, options, is_only).await,
            Self::WorkloadIdentity => workload_identity(environment, options),
        }?;
        let ends_search = matches!(self, Self::ClientSecret | Self::WorkloadIdentity);
        match timeout(PATIENCE, credential.get_token(&[scope(service)], None)).await {
            Ok(Ok(token)) if HeaderValue::from_str(token.token.secret()).is_err() => Err(Attempt {
                ends_search,
                ..Attempt::not_set_up(
                    "its answer has a token with characters that no header of HTTP may have".to_owned(),
                )
            }),
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(Attempt { ends_search, ..Attempt::from(error) }),
            Err(_) => Err(Attempt {
                may_pass: true,
                ..Attempt::not_set_up(format!("no answer within {} s", PATIENCE.as_secs()))
            }),
        }
    }
}

type EntraCredential = Arc<dyn TokenCredential>;

fn azure_cli() -> Result<EntraCredential, Attempt> {
    Ok(AzureCliCredential::new(None)?)
}

fn client_secret(
    environment: &EntraEnvironment,
    options: &HubClientOptions,
) -> Result<EntraCredential, Attempt> {
    let secret = environment
        .get(CLIENT_SECRET)
        .ok_or_else(|| Attempt::not_set_up(format!("{CLIENT_SECRET} is not set")))?;
    let (tenant, client) = application(environment, CLIENT_SECRET)?;
    let client_options = client_options(options.client()?)?;
    let options = ClientSecretCredentialOptions { client_options };
    let secret = Secret::new(secret.to_owned());
    Ok(ClientSecretCredential::new(tenant, client.to_owned(), secret, Some(options))?)
}

fn workload_identity(
    environment: &EntraEnvironment,
    options: &HubClientOptions,
) -> Result<EntraCredential, Attempt> {
    let file = environment
        .get(FEDERATED_TOKEN_FILE)
        .ok_or_else(|| Attempt::not_set_up(format!("{FEDERATED_TOKEN_FILE} is not set")))?;
    let (tenant, client) = application(environment, FEDERATED_TOKEN_FILE)?;
    let options = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions {
            client_options: client_options(options.client()?)?,
        },
        client_id: Some(client.to_owned()),
        tenant_id: Some(tenant.to_owned()),
        token_file_path: Some(file.into()),
    };
    Ok(WorkloadIdentityCredential::new(Some(options)).map_err(Attempt::of_what_is_set_up)?)
}

/// The application that signs in; `because_of` is what it signs in with.
fn application<'e>(
    environment: &'e EntraEnvironment,
    because_of: &str,
) -> Result<(&'e str, &'e str), Attempt> {
    let get = |name| {
        environment.get(name).ok_or_else(|| Attempt {
            ends_search: true,
            ..Attempt::not_set_up(format!("{because_of} is set, but {name} is not"))
        })
    };
    Ok((get(TENANT)?, get(CLIENT)?))
}

async fn managed_identity(
    environment: &EntraEnvironment,
    options: &HubClientOptions,
    is_only: bool,
) -> Result<EntraCredential, Attempt> {
    let is_told = [IDENTITY_ENDPOINT, MSI_ENDPOINT].into_iter().any(|name| environment.get(name).is_some());
    // The SDK asks the metadata service for more than a minute, which is right on a machine that has one.
    if !is_told && !is_only && !has_metadata_service().await {
        return Err(Attempt::not_set_up(format!(
            "this machine has no metadata service at {METADATA_SERVICE}"
        )));
    }
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: environment.get(CLIENT).map(|id| UserAssignedId::ClientId(id.to_owned())),
        // The service is on this machine or beside it, never behind a proxy.
        client_options: client_options(options.client()?.no_proxy())?,
    };
    Ok(ManagedIdentityCredential::new(Some(options))?)
}

async fn has_metadata_service() -> bool {
    timeout(METADATA_TIMEOUT, TcpStream::connect(METADATA_SERVICE))
        .await
        .is_ok_and(|connected| connected.is_ok())
}

impl Attempt {
    fn not_set_up(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), may_pass: false, ends_search: false }
    }

    fn of_what_is_set_up(error: azure_core::Error) -> Self {
        Self { ends_search: true, ..Self::from(error) }
    }
}

impl From<azure_core::Error> for Attempt {
    fn from(error: azure_core::Error) -> Self {
        let causes =
            std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |error| error.source());
        let kinds = causes.filter_map(|error| error.downcast_ref::<azure_core::Error>());
        let may_pass = kinds.map(azure_core::Error::kind).any(may_pass);
        // The outermost error only says which credential it was, and where its documentation is.
        let problem = error.get_ref().map_or_else(|| error.to_string(), |cause| with_causes(cause));
        Self { problem: shortened(&problem), may_pass, ends_search: false }
    }
}

impl From<reqwest::Error> for Attempt {
    fn from(error: reqwest::Error) -> Self {
        Self::not_set_up(with_causes(&error))
    }
}

fn may_pass(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::Connection | ErrorKind::Io => true,
        ErrorKind::HttpResponse { status, .. } => {
            matches!(status, StatusCode::RequestTimeout | StatusCode::TooManyRequests)
                || status.is_server_error()
        }
        _ => false,
    }
}

/// Everything that the service lets the signed-in identity do.
fn scope(service: ServiceKind) -> &'static str {
    match service {
        ServiceKind::Dps => "https://azure-devices-provisioning.net/.default",
        ServiceKind::Hub => "https://iothubs.azure.net/.default",
    }
}

/// The address of the metadata service of virtual machines in Azure.
const METADATA_SERVICE: &str = "169.254.169.254:80";
/// A metadata service is one hop away.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// The SDK tries again by itself; the metadata service for 72 seconds.
const PATIENCE: Duration = Duration::from_secs(100);
