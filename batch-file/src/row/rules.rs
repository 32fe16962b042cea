//! The forbidden combinations of columns within one row.

use hub_types::symmetric_key::SymmetricKeys;
use hub_types::thumbprint::ThumbprintDigest;
use hub_types::{IdentityId, Thumbprint};
use memchr::memchr2;

use crate::header::cells::Cells;
use crate::header::column::{AuthMethod, Field, Owner};
use crate::problem::{Findings, Flaw};
use crate::row::draft::Draft;
use crate::row::{RowAuth, values};
use crate::text::excel;

/// The authentication of the identity, if the columns for it agree.
pub(crate) fn auth(draft: &Draft<'_>, findings: &mut Findings<'_>) -> Option<RowAuth> {
    check_certificate_sources(draft, findings);
    let word = draft.parse(Field::Auth, findings, values::auth_method);
    if draft.is_given(Field::Auth) && word.is_none() {
        return None;
    }
    check_columns_of_other_auth(draft, word, findings);
    match word.unwrap_or(AuthMethod::X509Thumbprint) {
        AuthMethod::Sas => keys(draft, findings).map(|keys| RowAuth::Sas { keys }),
        AuthMethod::X509Ca => Some(RowAuth::X509Ca),
        AuthMethod::X509Thumbprint => Some(thumbprints(draft, findings)),
    }
}

/// Refuses two columns of which one gives a part of the other.
pub(crate) fn check_overlaps(cells: &Cells, findings: &mut Findings<'_>) {
    let overlaps = cells.overlaps();
    if overlaps.is_empty() {
        return;
    }
    let filled: Vec<_> =
        cells.pairs().map(|(header, cell)| (!header.gives_no_value(cell)).then_some(&header.name)).collect();
    let filled = |index: usize| filled.get(index).copied().flatten();
    for &(one, other) in overlaps.iter() {
        if let (Some(one), Some(other)) = (filled(one), filled(other)) {
            findings.column_error(
                other,
                Flaw::new(
                    format!("`{one}` is given too, and one contains the other"),
                    "give the parts or the whole",
                ),
            );
        }
    }
}

/// Warns of ids that a hub accepts but that cause trouble elsewhere.
pub(crate) fn check_identity(
    identity: &IdentityId,
    auth: &RowAuth,
    draft: &Draft<'_>,
    findings: &mut Findings<'_>,
) {
    for field in [Field::DeviceId, Field::ModuleId] {
        let Some(id) = draft.get(field) else { continue };
        if let Some(flaw) = excel::doubt(id) {
            findings.cell_warning(field.name(), id, flaw);
        }
        if memchr2(b'+', b'#', id.as_bytes()).is_some() {
            findings.cell_warning(
                field.name(),
                id,
                Flaw::new(
                    "device SDKs do not support `+` and `#` in ids",
                    "use another id, unless you know that your client copes",
                ),
            );
        }
    }
    if needs_common_name(auth, draft) && !identity.common_name_fits() {
        findings.error(Flaw::new(
            format!(
                "the common name of its certificate would have {} characters; X.509 allows {}",
                identity.common_name().len(),
                hub_types::limits::MAX_COMMON_NAME_CHARS
            ),
            "shorten the ids, or authenticate by `sas` or, on a hub, by the thumbprint of a certificate of your own",
        ));
    }
}

/// Checks the columns that only devices have, and those that a device can't set for itself.
pub(crate) fn check_device_columns(identity: &IdentityId, draft: &Draft<'_>, findings: &mut Findings<'_>) {
    if identity.module().is_some() {
        if let Some(column) = draft.module_column() {
            findings.column_error(
                column,
                Flaw::new(
                    "the column is for a module of the row's device, and the row is a module itself",
                    "give the value in the module's own column, or move it to the device's row",
                ),
            );
        }
        for &field in Field::of_devices() {
            if let Some(text) = draft.get(field) {
                findings.cell_error(
                    field.name(),
                    text,
                    Flaw::new(
                        "only devices have this, and the row is a module",
                        "move it to the device's row",
                    ),
                );
            }
        }
    } else if draft.get(Field::Parent) == Some(identity.device().as_str()) {
        findings.cell_error(
            Field::Parent.name(),
            identity.device().as_str(),
            Flaw::new(
                "a device can't be its own parent",
                "name the edge device above it, or leave the cell empty",
            ),
        );
    }
}

fn check_certificate_sources(draft: &Draft<'_>, findings: &mut Findings<'_>) {
    let issued = [Field::Certificate, Field::PrimaryThumbprint];
    for source in [Field::Csr, Field::PublicKey].into_iter().filter(|&source| draft.has(source)) {
        for field in issued.into_iter().filter(|&field| draft.has(field)) {
            findings.column_error(
                source.name(),
                Flaw::new(
                    format!("`{}` is given too: is the certificate still to be issued or not?", field.name()),
                    format!(
                        "leave `{}` empty to use `{}`, or the other way round",
                        source.name(),
                        field.name()
                    ),
                ),
            );
        }
    }
    if draft.has(Field::Csr) && draft.has(Field::PublicKey) {
        findings.column_error(
            Field::PublicKey.name(),
            Flaw::new("`csr` is given too, which brings a public key", "leave one of the two empty"),
        );
    }
}

fn check_columns_of_other_auth(draft: &Draft<'_>, word: Option<AuthMethod>, findings: &mut Findings<'_>) {
    let method = word.unwrap_or(AuthMethod::X509Thumbprint);
    for &field in Field::foreign_to(method).iter().filter(|&&field| draft.has(field)) {
        let Owner::Auth([usual, ..]) = field.owner() else { continue };
        let flaw = match word {
            Some(_) => Flaw::new(
                format!("`auth` is `{}`, which has no use for this", method.name()),
                format!("leave the cell empty, or change `auth` to `{}`", usual.name()),
            ),
            None => Flaw::new(
                format!("keys are for `{}`, and `auth` is empty", usual.name()),
                format!("write `{}` in `auth`, or leave the keys out", usual.name()),
            ),
        };
        findings.column_error(field.name(), flaw);
    }
}

fn keys(draft: &Draft<'_>, findings: &mut Findings<'_>) -> Option<Option<SymmetricKeys>> {
    let fields = [Field::PrimaryKey, Field::SecondaryKey];
    let [primary, secondary] = fields.map(|field| draft.parse(field, findings, values::key));
    match fields.map(|field| draft.is_given(field)) {
        [false, false] => Some(None),
        [true, true] => Some(Some(SymmetricKeys { primary: primary?, secondary: secondary? })),
        [has_primary, _] => {
            let missing = if has_primary { Field::SecondaryKey } else { Field::PrimaryKey };
            findings.column_error(
                missing.name(),
                Flaw::new(
                    "one key is given and this one is not; a hub takes both or neither",
                    "enter the missing key, or leave both empty so that the hub generates them",
                ),
            );
            None
        }
    }
}

fn thumbprints(draft: &Draft<'_>, findings: &mut Findings<'_>) -> RowAuth {
    let primary = draft.parse(Field::PrimaryThumbprint, findings, values::thumbprint);
    let secondary = draft.parse(Field::SecondaryThumbprint, findings, values::thumbprint);
    if let (Some(one), Some(other)) = (primary, secondary)
        && one == other
    {
        findings.cell_warning(
            Field::SecondaryThumbprint.name(),
            &other.to_string(),
            Flaw::new(
                "both slots hold the same thumbprint",
                "leave the second empty, or enter the next certificate's thumbprint",
            ),
        );
    }
    check_sha1(draft, primary, findings);
    RowAuth::X509Thumbprint { primary, secondary }
}

/// Checks that the informational SHA-1 thumbprint is one, and that it equals the registered one if
/// that is SHA-1.
fn check_sha1(draft: &Draft<'_>, primary: Option<Thumbprint>, findings: &mut Findings<'_>) {
    let Some(sha1) = draft.parse(Field::ThumbprintSha1, findings, values::thumbprint) else {
        return;
    };
    let message = match (sha1.digest(), primary.map(|primary| primary.digest())) {
        (ThumbprintDigest::Sha256(_), _) => "this is a SHA-256 thumbprint (64 digits)",
        (ThumbprintDigest::Sha1(own), Some(ThumbprintDigest::Sha1(primary))) if own != primary => {
            "`primary_thumbprint` is SHA-1 too, and another one"
        }
        _ => return,
    };
    findings.cell_error(
        Field::ThumbprintSha1.name(),
        &sha1.to_string(),
        Flaw::new(message, "the column is for information: correct it or leave it out"),
    );
}

/// Returns true if a certificate with the identity's common name exists or will be issued.
fn needs_common_name(auth: &RowAuth, draft: &Draft<'_>) -> bool {
    match auth {
        RowAuth::Sas { .. } => false,
        RowAuth::X509Ca => true,
        RowAuth::X509Thumbprint { primary, secondary } => {
            draft.has(Field::Certificate)
                || draft.has(Field::Csr)
                || (primary.is_none() && secondary.is_none())
        }
    }
}
