//! [`Draft`]: the texts of a row's fixed columns, and the report of their faults.

use std::borrow::Cow;

use hub_types::IdentityId;

use crate::across::blanks::Blanks;
use crate::header::cells::{Cell, Cells};
use crate::header::column::{Column, Content, Field};
use crate::problem::redact::secret_in;
use crate::problem::{Findings, Flaw};
use crate::row::id_pattern::IdPattern;
use crate::row::values;
use crate::text::excel;

/// The texts of a row's fixed columns, trimmed; empty ones are absent.
#[derive(Default)]
pub(crate) struct Draft<'a> {
    texts: [Option<Cow<'a, str>>; Field::ALL.len()],
    /// Columns with a forbidden text, which is reported; they do not count as empty either.
    refused: Vec<Field>,
    /// Cells with blanks around their value.
    padded: Vec<(Field, &'a str)>,
    /// The first column of a module that has a value.
    of_modules: Option<&'a str>,
}

impl<'a> Draft<'a> {
    /// Sorts the cells, and reports those with forbidden content.
    pub(crate) fn sort(&mut self, cells: &'a Cells, findings: &mut Findings<'_>) {
        for (header, cell) in cells.pairs() {
            if cell.is_empty() {
                continue;
            }
            let text = cell.text();
            match &header.column {
                Some(Column::Ignored(_)) => {
                    if let Some(flaw) = secret_in(&text) {
                        findings.cell_error(&header.name, &text, flaw);
                    }
                    continue;
                }
                Some(Column::Module(_)) => {
                    self.of_modules.get_or_insert(&header.name);
                    continue;
                }
                _ => {}
            }
            if let Some(flaw) = forbidden(&header.column, cell, &text) {
                match header.is_secret() {
                    true => findings.column_error(&header.name, flaw),
                    false => findings.cell_error(&header.name, &text, flaw),
                }
                if let Some(Column::Field(field)) = header.column {
                    self.refused.push(field);
                }
                continue;
            }
            match &header.column {
                Some(Column::Field(field)) => self.put(*field, text),
                Some(Column::Free(name)) if excel::is_rounded_number(&text) => {
                    findings.cell_warning(name, &text, excel::rounded_number());
                }
                Some(Column::Free(name)) => {
                    if let Some(flaw) = excel::doubt(&text) {
                        findings.cell_warning(name, &text, flaw);
                    }
                }
                _ => {}
            }
        }
    }

    /// The text of a column, if the row has one.
    pub(crate) fn get(&self, field: Field) -> Option<&str> {
        self.texts.get(field as usize)?.as_deref()
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.get(field).is_some()
    }

    /// Returns true if the row has a text here, including a refused one.
    pub(crate) fn is_given(&self, field: Field) -> bool {
        self.has(field) || self.refused.contains(&field)
    }

    /// Returns the first column of a module that has a value in the row.
    pub(crate) fn module_column(&self) -> Option<&str> {
        self.of_modules
    }

    /// Records the values that lost their surrounding blanks.
    pub(crate) fn note_blanks(&self, line: u64, blanks: &mut Blanks) {
        self.padded.iter().for_each(|(field, cell)| blanks.note(*field, cell, line));
    }

    fn put(&mut self, field: Field, text: Cow<'a, str>) {
        let text = match text {
            text if field.content() == Content::Text => text,
            Cow::Borrowed(text) => {
                let value = text.trim();
                let are_reported = matches!(field.content(), Content::Id | Content::Name);
                if value.len() < text.len() && !value.is_empty() && are_reported {
                    self.padded.push((field, text));
                }
                Cow::Borrowed(value)
            }
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        if !str::is_empty(&text)
            && let Some(slot) = self.texts.get_mut(field as usize)
        {
            *slot = Some(text);
        }
    }

    /// The identity, if both ids are legal.
    pub(crate) fn identity(
        &self,
        pattern: Option<&IdPattern>,
        findings: &mut Findings<'_>,
    ) -> Option<IdentityId> {
        self.check_names_device(findings);
        let device = self.parse(Field::DeviceId, findings, |text| {
            let device = values::device_id(text)?;
            pattern.map_or(Ok(()), |pattern| pattern.check(&device)).map(|()| device)
        });
        let module = self.parse(Field::ModuleId, findings, values::module_id);
        match self.is_given(Field::ModuleId) {
            true => Some(IdentityId::new(device?, Some(module?))),
            false => device.map(IdentityId::from),
        }
    }

    fn check_names_device(&self, findings: &mut Findings<'_>) {
        if !self.is_given(Field::DeviceId) {
            findings.column_error(
                Field::DeviceId.name(),
                Flaw::new(
                    "the row names no device",
                    "enter the device's id; remove the row if it is not meant",
                ),
            );
        }
    }

    /// Parses a column's text if there is one, and reports its fault, without the text if the column
    /// is secret.
    pub(crate) fn parse<T>(
        &self,
        field: Field,
        findings: &mut Findings<'_>,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let text = self.get(field)?;
        let report = |flaw| match field.is_secret() {
            true => findings.column_error(field.name(), flaw),
            false => findings.cell_error(field.name(), text, flaw),
        };
        parse(text).map_err(report).ok()
    }
}

/// Returns the fault of a text that no cell of this column may hold.
fn forbidden(column: &Option<Column>, cell: Cell<'_>, text: &str) -> Option<Flaw> {
    if let Some(secret) = secret_in(text) {
        return Some(secret);
    }
    if excel::is_formula_error(text) {
        return Some(excel::formula_error());
    }
    let is_nested = matches!(cell, Cell::Json(cell) if cell.value.is_array() || cell.value.is_object());
    let takes_nested = matches!(column, Some(Column::Twin(_)));
    (is_nested && !takes_nested).then(|| {
        Flaw::new(
            "an array or an object stands where a text is due",
            "write a text; only tags.… and desired.… take arrays and objects",
        )
    })
}
