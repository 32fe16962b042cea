//! The conversion of a row's cells to a [`Row`], or to the list of its problems.

use std::path::Path;

use hub_types::Thumbprint;

use crate::across::blanks::Blanks;
use crate::across::duplicates::{Credentials, Duplicates, KeyHasher};
use crate::header::cells::Cells;
use crate::header::column::Field;
use crate::problem::{Findings, Flaw};
use crate::row::draft::Draft;
use crate::row::id_pattern::IdPattern;
use crate::row::rules;
use crate::row::twins::Twins;
use crate::row::{BadRow, Row, RowAuth};

/// Reads a row by itself, with the problems already found in its text. Its unique keys, valid or not,
/// are queued in `duplicates`.
pub(crate) fn interpret(
    cells: Cells,
    place: &RowContext<'_>,
    twins: &mut Twins,
    (duplicates, blanks): (&mut Duplicates, &mut Blanks),
    mut findings: Findings<'_>,
) -> Result<Row, BadRow> {
    check_overlaps(&cells, &mut findings);
    let (tags, desired) = twins.read(&cells, place.line, &mut findings);
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
    let certificate = draft.path(Field::Certificate, place.base, &mut findings);
    let csr = draft.pem_source(Field::Csr, place.base, &mut findings);
    let public_key = draft.pem_source(Field::PublicKey, place.base, &mut findings);
    let profile = draft.get(Field::Profile).map(str::to_owned);
    let private_key = draft.path(Field::PrivateKey, place.base, &mut findings);
    let status = draft.status(&mut findings);
    let status_reason = draft.status_reason(&mut findings);
    let edge = draft.edge(&mut findings);
    let parent = draft.parent(&mut findings);
    let twin_template = draft.path(Field::Twin, place.base, &mut findings);
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

/// The place of a row.
pub(crate) struct RowContext<'a> {
    /// The line on which the row begins.
    pub(crate) line: u64,
    /// The folder that its paths are relative to.
    pub(crate) base: &'a Path,
    /// The required form of each device id.
    pub(crate) id_pattern: Option<&'a IdPattern>,
}

fn check_overlaps(cells: &Cells, findings: &mut Findings<'_>) {
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
