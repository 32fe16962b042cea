//! [`Row`]: one identity as the batch wants it, and [`BadRow`]: a row that says something impossible.

use std::path::PathBuf;
use std::sync::Arc;

use hub_types::identity::{Status, StatusReason};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::JsonObject;
use hub_types::{DeviceId, IdentityId, Thumbprint};

use crate::cells::Cells;
use crate::problem::Problem;

/// One identity as the batch wants it. Paths are relative to the working folder, no longer to the
/// batch file.
#[derive(Debug, Clone)]
pub struct Row {
    /// The line on which the row begins, from 1.
    pub line: u64,
    /// The device, or the module of a device.
    pub identity: IdentityId,
    /// How it is to prove who it is.
    pub auth: RowAuth,
    /// A file with its certificate; `…#offset`, as `cert-tool` writes it, is kept.
    pub certificate: Option<PathBuf>,
    /// The request to sign instead of making a key.
    pub csr: Option<PemSource>,
    /// The public key to certify instead of making a key; nothing proves who has its private key.
    pub public_key: Option<PemSource>,
    /// The name of the profile in the CA's `profile.toml` that its certificate is to have.
    pub profile: Option<String>,
    /// The file that its private key was written to.
    pub private_key: Option<PathBuf>,
    /// Whether it may connect; only devices have one.
    pub status: Option<Status>,
    /// Why it has that status.
    pub status_reason: Option<StatusReason>,
    /// Whether the device runs IoT Edge; `None` where the row does not say.
    pub edge: Option<bool>,
    /// The edge device that it is a child of.
    pub parent: Option<DeviceId>,
    /// A JSON file with `tags` and `desired`, a template over [`Self::cells`].
    pub twin_template: Option<PathBuf>,
    /// The row's own tags, which win over the template. Rows with the same share them.
    pub tags: Arc<JsonObject>,
    /// The row's own desired properties, which win over the template. Rows with the same share them.
    pub desired: Arc<JsonObject>,
    /// The cells as they were written.
    pub cells: Cells,
    /// What is legal here but probably not meant.
    pub warnings: Vec<Problem>,
}

/// How an identity is to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowAuth {
    /// By shared access signatures; without keys the hub generates both.
    Sas {
        /// Both keys.
        keys: Option<SymmetricKeys>,
    },
    /// By a certificate of a CA that the hub trusts.
    X509Ca,
    /// By a certificate that the hub knows by its thumbprint.
    X509Thumbprint {
        /// The first slot; to be filled from `certificate` or by issuing where it is empty.
        primary: Option<Thumbprint>,
        /// The second slot.
        secondary: Option<Thumbprint>,
    },
}

/// Where a certificate signing request or a public key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PemSource {
    /// In a file, PEM or DER.
    Path(PathBuf),
    /// In the batch itself, as PEM; DER in base64 is PEM too, by then.
    Pem(String),
}

/// A row that says something impossible.
#[derive(Debug, Clone)]
pub struct BadRow {
    /// The line on which the row begins, from 1.
    pub line: u64,
    /// The cells, unless the text can't even be split into cells.
    pub cells: Option<Cells>,
    /// What is wrong: at least one error, and warnings.
    pub problems: Vec<Problem>,
}
