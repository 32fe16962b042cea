//! [`Row`]: one requested identity, and [`BadRow`]: a row with errors. [`interpret`] makes them of cells.

mod draft;
pub(crate) mod expansion;
pub(crate) mod id_pattern;
mod json_lines;
mod rules;
pub(crate) mod source;
pub(crate) mod twins;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub_types::identity::{Status, StatusReason};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::JsonObject;
use hub_types::{DeviceId, IdentityId, Thumbprint};

use crate::across::blanks::Blanks;
use crate::across::duplicates::{Credentials, Duplicates, KeyHasher};
use crate::header::cells::Cells;
use crate::header::column::Field;
use crate::problem::{Findings, Problem};
use crate::row::draft::Draft;
use crate::row::id_pattern::IdPattern;
use crate::row::twins::Twins;

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

/// The place of a row.
pub(crate) struct RowContext<'a> {
    /// The line on which the row begins.
    pub(crate) line: u64,
    /// The folder that its paths are relative to.
    pub(crate) base: &'a Path,
    /// The required form of each device id.
    pub(crate) id_pattern: Option<&'a IdPattern>,
    /// The number of the module in an expansion, from 1; 0 for all other rows.
    pub(crate) part: usize,
}

/// Reads a row by itself, with the problems already found in its text. Its unique keys, valid or not,
/// are queued in `duplicates`.
pub(crate) fn interpret(
    cells: Cells,
    place: &RowContext<'_>,
    twins: &mut Twins,
    (duplicates, blanks): (&mut Duplicates, &mut Blanks),
    mut findings: Findings<'_>,
) -> Result<Row, BadRow> {
    rules::check_overlaps(&cells, &mut findings);
    let (tags, desired) = twins.read(&cells, (place.line, place.part), &mut findings);
    let mut draft = Draft::default();
    draft.sort(&cells, &mut findings);
    draft.note_blanks(place.line, blanks);
    let identity = draft.identity(place.id_pattern, &mut findings);
    let auth = rules::auth(&draft, &mut findings);
    if let Some(identity) = &identity {
        rules::check_device_columns(identity, &draft, &mut findings);
    }
    if let (Some(identity), Some(auth)) = (&identity, &auth) {
        rules::check_identity(identity, auth, &draft, &mut findings);
    }
    let base = place.base;
    let path = |text: &str| values::path(text, base);
    let certificate = draft.parse(Field::Certificate, &mut findings, path);
    let csr = draft.parse(Field::Csr, &mut findings, |text| values::pem_source(text, &values::REQUEST, base));
    let public_key = draft
        .parse(Field::PublicKey, &mut findings, |text| values::pem_source(text, &values::PUBLIC_KEY, base));
    let profile = draft.get(Field::Profile).map(str::to_owned);
    let private_key = draft.parse(Field::PrivateKey, &mut findings, path);
    let status = draft.parse(Field::Status, &mut findings, values::status);
    let status_reason = draft.parse(Field::StatusReason, &mut findings, values::status_reason);
    let edge = draft.parse(Field::Edge, &mut findings, values::yes_or_no);
    let parent = draft.parse(Field::Parent, &mut findings, values::device_id);
    let twin_template = draft.parse(Field::Twin, &mut findings, path);
    let credentials = credentials(auth.as_ref(), &draft, &duplicates.keys);
    duplicates.queue(identity.as_ref(), edge == Some(true), credentials);
    drop(draft);
    let line = place.line;
    match (identity, auth) {
        (Some(identity), Some(auth)) if !findings.has_errors() => Ok(Row {
            line,
            identity,
            auth,
            certificate,
            csr,
            public_key,
            profile,
            private_key,
            status,
            status_reason,
            edge,
            parent,
            twin_template,
            tags,
            desired,
            cells,
            warnings: findings.into_problems(),
        }),
        _ => Err(BadRow { line, cells: Some(cells), problems: findings.into_problems() }),
    }
}

/// The values that only one identity may have, with their columns. A certificate is identified by
/// its thumbprint if that is given.
fn credentials(auth: Option<&RowAuth>, draft: &Draft<'_>, keys: &KeyHasher) -> Credentials {
    match auth {
        Some(&RowAuth::X509Thumbprint { primary, secondary }) if primary.or(secondary).is_some() => {
            let key = |thumbprint: Thumbprint| keys.of_thumbprint(thumbprint.digest());
            [
                primary.map(|primary| (Field::PrimaryThumbprint, key(primary))),
                secondary.map(|secondary| (Field::SecondaryThumbprint, key(secondary))),
                None,
            ]
        }
        _ => [Field::Certificate, Field::Csr, Field::PublicKey]
            .map(|field| Some((field, keys.of_text(draft.get(field)?)))),
    }
}
