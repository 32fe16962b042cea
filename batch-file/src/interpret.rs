//! From the cells of a row to a [`Row`], or to everything that is wrong with it.

use std::path::Path;

use hub_types::twin::{JsonObject, Nulls, Section, check_section};
use serde_json::Value;

use crate::cells::{Cell, Cells};
use crate::column::{Column, Field};
use crate::draft::Draft;
use crate::excel;
use crate::problem::{Findings, Flaw};
use crate::row::{Row, RowAuth};
use crate::rules;
use crate::seen::{Credential, Seen};
use crate::setting::{Kind, Setting, section_name};

/// Reads a row; `None` when an error was found, or was there before.
pub(crate) fn interpret(
    cells: &Cells,
    place: &RowPlace<'_>,
    seen: &mut Seen,
    findings: &mut Findings<'_>,
) -> Option<Row> {
    check_overlaps(cells, findings);
    let [tags, desired] = settings(cells, findings);
    let draft = Draft::of(cells, findings);
    let identity = draft.identity(findings);
    let auth = rules::auth(&draft, findings);
    if let Some(identity) = &identity {
        rules::check_device_columns(identity, &draft, findings);
        seen.check_identity(identity, place.line, findings);
    }
    if let (Some(identity), Some(auth)) = (&identity, &auth) {
        rules::check_identity(identity, auth, &draft, findings);
    }
    let certificate = draft.path(Field::Certificate, place.base, findings);
    let csr = draft.pem_source(Field::Csr, place.base, findings);
    let public_key = draft.pem_source(Field::PublicKey, place.base, findings);
    let private_key = draft.path(Field::PrivateKey, place.base, findings);
    let status = draft.status(findings);
    let status_reason = draft.status_reason(findings);
    let edge = draft.edge(findings);
    if let (Some(identity), Some(true)) = (&identity, edge)
        && identity.module().is_none()
    {
        seen.note_edge(identity.device());
    }
    let parent = draft.parent(findings);
    let twin_template = draft.path(Field::Twin, place.base, findings);
    let credentials = credentials(auth.as_ref(), &draft);
    seen.check_credentials(credentials.into_iter().flatten(), place.line, findings);
    if findings.has_errors() {
        return None;
    }
    Some(Row {
        line: place.line,
        identity: identity?,
        auth: auth?,
        certificate,
        csr,
        public_key,
        private_key,
        status,
        status_reason,
        edge,
        parent,
        twin_template,
        tags,
        desired,
        cells: cells.clone(),
        warnings: Vec::new(),
    })
}

/// Where a row stands.
pub(crate) struct RowPlace<'a> {
    /// The line on which it begins.
    pub(crate) line: u64,
    /// The folder that its paths are relative to.
    pub(crate) base: &'a Path,
}

/// The values of the twin that the row gives itself: tags and desired properties.
fn settings(cells: &Cells, findings: &mut Findings<'_>) -> [JsonObject; 2] {
    let mut tags = JsonObject::new();
    let mut desired = JsonObject::new();
    for (header, cell) in cells.pairs() {
        let Some(Column::Setting(setting)) = &header.column else {
            continue;
        };
        if header.says_nothing(cell) {
            continue;
        }
        match value(setting, cell) {
            Ok(value) => {
                warn_of_near_json(&header.name, setting, cell, &value, findings);
                let section = match setting.section {
                    Section::Tags => &mut tags,
                    _ => &mut desired,
                };
                setting.insert(section, value);
            }
            Err(flaw) => findings.cell_error(&header.name, &cell.text(), flaw),
        }
    }
    check_twin_rules(Section::Tags, &tags, findings);
    check_twin_rules(Section::Desired, &desired, findings);
    [tags, desired]
}

fn value(setting: &Setting, cell: Cell<'_>) -> Result<Value, Flaw> {
    match cell {
        Cell::Text(text) => setting.value_of_text(text),
        Cell::Json(value) => setting.value_of_json(value),
    }
}

/// Strings that look as if another type was meant.
fn warn_of_near_json(
    name: &str,
    setting: &Setting,
    cell: Cell<'_>,
    value: &Value,
    findings: &mut Findings<'_>,
) {
    let (Cell::Text(text), Value::String(_)) = (cell, value) else {
        return;
    };
    if let Some(flaw) = excel::doubt(text) {
        findings.cell_warning(name, text, flaw);
    }
    if setting.kind != Kind::AsWritten {
        return;
    }
    if matches!(text, "TRUE" | "FALSE") {
        findings.cell_warning(
            name,
            text,
            Flaw::new(
                "this is a string; a boolean is written in small letters",
                "add `:bool` to the column's name for a boolean, `:string` if a string is meant",
            ),
        );
    } else if text.starts_with(['{', '[']) && text.ends_with(['}', ']']) && !text.starts_with("{{") {
        findings.cell_warning(
            name,
            text,
            Flaw::new(
                "this looks like JSON but is not, so it is a string",
                "correct the JSON; add `:string` to the column's name if a string is meant",
            ),
        );
    }
}

fn check_twin_rules(section: Section, object: &JsonObject, findings: &mut Findings<'_>) {
    if object.is_empty() {
        return;
    }
    if let Err(error) = check_section(section, object, Nulls::Refuse) {
        let inside = error.path.strip_prefix(section.path()).unwrap_or_default();
        let column = format!("{}{inside}", section_name(section));
        findings.column_error(
            &column,
            Flaw::new(
                error.rule.to_string(),
                "keep to the rules of twins; an empty cell leaves the value out, `:string` keeps a number's digits",
            ),
        );
    }
}

fn check_overlaps(cells: &Cells, findings: &mut Findings<'_>) {
    let overlaps = cells.overlaps();
    if overlaps.is_empty() {
        return;
    }
    let filled: Vec<_> =
        cells.pairs().map(|(header, cell)| (!header.says_nothing(cell)).then_some(&header.name)).collect();
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

/// What may belong to one identity only, with the column that it stands in. A certificate is known
/// by its thumbprint where that is given.
fn credentials<'a>(auth: Option<&RowAuth>, draft: &'a Draft<'_>) -> [Option<Credential<'a>>; 3] {
    match auth {
        Some(&RowAuth::X509Thumbprint { primary, secondary }) if primary.or(secondary).is_some() => [
            primary.map(|thumbprint| Credential::Thumbprint(Field::PrimaryThumbprint, thumbprint)),
            secondary.map(|thumbprint| Credential::Thumbprint(Field::SecondaryThumbprint, thumbprint)),
            None,
        ],
        _ => [Field::Certificate, Field::Csr, Field::PublicKey]
            .map(|field| Some(Credential::Text(field, draft.get(field)?))),
    }
}
