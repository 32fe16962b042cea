//! A stand-in for Entra ID, for tests of clients that use its tokens. Off by default.
//!
//! There is no tenant. A token is a JWT that this service itself has signed (`local-hub entra-token`),
//! with the key of the owner's policy, whose bearer may do everything anyway. Unsigned tokens and
//! other algorithms are refused.

use std::marker::PhantomData;

use hub_types::{ErrorCode, SymmetricKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::access::policy::Right;
use crate::api_error::{ApiError, ApiResult};

/// A role of a service in Entra ID.
pub(crate) trait ServiceRole: Copy + Serialize + DeserializeOwned + 'static {
    /// The rights of the service.
    type Right: Copy;

    /// The resource for which clients request tokens of Entra ID.
    const AUDIENCE: &'static str;

    /// Returns true if the role grants a right, for an operation that only reads or not.
    fn allows(self, right: Self::Right, only_reads: bool) -> bool;
}

/// A role of IoT Hub in Entra ID. Source: "Control access to IoT Hub by using Microsoft Entra ID".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// All rights.
    #[serde(rename = "IoT Hub Data Contributor")]
    DataContributor,
    /// Read access to everything.
    #[serde(rename = "IoT Hub Data Reader")]
    DataReader,
    /// Access to devices and modules, but not to their twins.
    #[serde(rename = "IoT Hub Registry Contributor")]
    RegistryContributor,
    /// Access to twins.
    #[serde(rename = "IoT Hub Twin Contributor")]
    TwinContributor,
}

impl ServiceRole for Role {
    type Right = Right;

    const AUDIENCE: &'static str = "https://iothubs.azure.net";

    fn allows(self, right: Right, only_reads: bool) -> bool {
        match self {
            Self::DataContributor => right != Right::DeviceConnect,
            Self::DataReader => right != Right::DeviceConnect && only_reads,
            Self::RegistryContributor => matches!(right, Right::RegistryRead | Right::RegistryWrite),
            Self::TwinContributor => right == Right::ServiceConnect,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Claims<R> {
    aud: String,
    exp: u64,
    roles: Vec<R>,
}

/// Checks tokens.
pub(crate) struct Entra<R = Role> {
    key: DecodingKey,
    validation: Validation,
    roles: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for Entra<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entra").finish_non_exhaustive()
    }
}

impl<R: ServiceRole> Entra<R> {
    pub(crate) fn new(owner: &SymmetricKey) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[R::AUDIENCE]);
        // By the service's clock, which can be moved.
        validation.validate_exp = false;
        Self { key: DecodingKey::from_secret(&owner.expose_bytes()), validation, roles: PhantomData }
    }

    /// Refuses a token that this service did not sign, that has expired, or whose roles do not grant
    /// the right.
    pub(crate) fn check(
        &self,
        token: &str,
        now: u64,
        (right, only_reads): (R::Right, bool),
    ) -> ApiResult<()> {
        let refused = |text: String| ApiError::new(ErrorCode::IotHubUnauthorized, text);
        let decoded = jsonwebtoken::decode::<Claims<R>>(token.trim(), &self.key, &self.validation);
        let claims = decoded.map_err(|error| refused(format!("the token is refused: {error}")))?.claims;
        if claims.exp <= now {
            return Err(refused("the token has expired".to_owned()));
        }
        if claims.roles.iter().any(|role| role.allows(right, only_reads)) {
            return Ok(());
        }
        let text = "no role of the token allows the operation";
        Err(ApiError::new(ErrorCode::IotHubUnauthorizedAccess, text))
    }
}

/// A token with a role, valid until a time in seconds since 1970-01-01.
pub(crate) fn token<R: ServiceRole>(
    owner: &SymmetricKey,
    role: R,
    until: u64,
) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = Claims { aud: R::AUDIENCE.to_owned(), exp: until, roles: vec![role] };
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(&owner.expose_bytes()),
    )
}
