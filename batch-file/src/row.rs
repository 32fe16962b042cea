//! [`Row`]: one requested identity, and [`BadRow`]: a row with errors.

mod draft;
pub(crate) mod id_pattern;
pub(crate) mod interpret;
mod json_lines;
mod rules;
pub(crate) mod source;
pub(crate) mod twins;

use std::path::PathBuf;
use std::sync::Arc;

use hub_types::identity::{Status, StatusReason};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::JsonObject;
use hub_types::{DeviceId, IdentityId, Thumbprint};

use crate::header::cells::Cells;
use crate::problem::Problem;

/// One requested identity. Paths are relative to the working folder, and not to the batch file.
#[derive(Debug, Clone)]
pub struct Row {
    /// The line on which the row begins, from 1.
    pub line: u64,
    /// The device, or the module of a device.
    pub identity: IdentityId,
    /// The authentication of the identity.
    pub auth: RowAuth,
    /// The file with its certificate; `…#offset`, as `cert-tool` writes it, is kept.
    pub certificate: Option<PathBuf>,
    /// The request to sign in place of a new key.
    pub csr: Option<PemSource>,
    /// The public key to certify in place of a new key; there is no proof who has its private key.
    pub public_key: Option<PemSource>,
    /// The name of its certificate's profile in the CA's `profile.toml`.
    pub profile: Option<String>,
    /// The file that its private key was written to.
    pub private_key: Option<PathBuf>,
    /// The permission to connect; only devices have one.
    pub status: Option<Status>,
    /// The reason for its status.
    pub status_reason: Option<StatusReason>,
    /// True if the device runs IoT Edge; `None` if the row does not state it.
    pub edge: Option<bool>,
    /// The edge device that is its parent.
    pub parent: Option<DeviceId>,
    /// A JSON file with `tags` and `desired`, a template over [`Self::cells`].
    pub twin_template: Option<PathBuf>,
    /// The row's own tags, which override the template. Rows with equal tags share them.
    pub tags: Arc<JsonObject>,
    /// The row's own desired properties, which override the template. Rows with equal ones share
    /// them.
    pub desired: Arc<JsonObject>,
    /// The unchanged cells.
    pub cells: Cells,
    /// Warnings: legal values that were probably not intended.
    pub warnings: Vec<Problem>,
}

/// The authentication of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowAuth {
    /// Shared access signatures; without keys the hub generates both.
    Sas {
        /// Both keys.
        keys: Option<SymmetricKeys>,
    },
    /// A certificate of a CA that the hub trusts.
    X509Ca,
    /// A certificate that the hub knows by its thumbprint.
    X509Thumbprint {
        /// The first slot; if it is empty, it is filled from `certificate` or by issuing.
        primary: Option<Thumbprint>,
        /// The second slot.
        secondary: Option<Thumbprint>,
    },
}

/// The location of a certificate signing request or a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PemSource {
    /// In a file, PEM or DER.
    Path(PathBuf),
    /// In the batch itself, as PEM; DER in base64 has been converted to PEM.
    Pem(String),
}

/// A row with errors.
#[derive(Debug, Clone)]
pub struct BadRow {
    /// The line on which the row begins, from 1.
    pub line: u64,
    /// The cells, unless the text can't even be split into cells.
    pub cells: Option<Cells>,
    /// Its problems: at least one error, and warnings.
    pub problems: Vec<Problem>,
}
