//! Tests across rooms, and the hub in memory that they and others use.

pub(crate) mod model_dps;
pub(crate) mod model_hub;
mod model_tests;
mod old_files;

use hub_types::thumbprint::upper_hex;
use hub_types::{IdentityId, Thumbprint};
use sha2::{Digest, Sha256};

/// The thumbprint of an identity's certificate: `byte` tells its certificates apart, and no two identities share one.
pub(crate) fn thumbprint(identity: &IdentityId, byte: &str) -> Thumbprint {
    let owner = upper_hex(&Sha256::digest(identity.to_string()));
    format!("{byte}{}", &owner[2..]).parse().unwrap()
}
