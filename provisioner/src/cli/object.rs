//! The common parts of the verbs for one object: the output of an identity or a list.

use std::collections::BTreeSet;

use hub_types::Authentication;
use serde::Serialize;
use serde_json::Value;

use super::args::{AuthArgs, Format, ListArgs};
use super::failure::Failure;
use super::printer::{Printer, json_line};
use crate::model::secret_file::note_if_exposed;
use crate::objects::{AuthChoice, Objects, TwinCollection};

impl AuthArgs {
    /// The choice of an authentication. Key files that others can read are noted.
    pub(super) fn choice(&self, printer: &Printer) -> AuthChoice {
        for file in BTreeSet::from([&self.primary_key_file, &self.secondary_key_file]).into_iter().flatten() {
            note_if_exposed(file, printer);
        }
        AuthChoice {
            method: self.auth_method.map(Into::into),
            primary: self.primary_thumbprint,
            secondary: self.secondary_thumbprint,
            certificate: self.certificate.clone(),
            keys: self.primary_key_file.clone().zip(self.secondary_key_file.clone()),
        }
    }
}

/// Takes the symmetric keys out of what is to be printed, unless they are asked for.
pub(super) fn without_keys(authentication: &mut Authentication, show_keys: bool, printer: &Printer) {
    if let Authentication::Sas(keys @ Some(_)) = authentication
        && !show_keys
    {
        *keys = None;
        printer.note("its symmetric keys are not shown; --show-keys prints them");
    }
}

/// Prints the twins that a query finds, page by page: as JSON an array, otherwise a line for each.
pub(super) async fn print_twins(
    objects: &Objects<'_>,
    collection: TwinCollection,
    args: &ListArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut list = printer.list(TWIN_COLUMNS);
    let top = args.top.map(usize::from);
    let on_twin = |twin: &Value| list.push(twin, twin_line);
    objects.each_twin(collection, args.condition.as_deref(), top, on_twin).await?;
    list.end();
    Ok(())
}

/// The output columns of a twin or an identity: both documents have these members.
pub(super) fn twin_line(document: &Value) -> [String; TWIN_COLUMNS.len()] {
    let text = |name: &str| match document.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let auth = document.pointer("/authentication/type").and_then(Value::as_str).map(str::to_owned);
    [
        text("deviceId"),
        text("moduleId"),
        auth.unwrap_or_else(|| text("authenticationType")),
        text("status"),
        text("connectionState"),
        text("lastActivityTime"),
    ]
}

/// The columns of [`twin_line`].
pub(super) const TWIN_COLUMNS: [&str; 6] =
    ["device_id", "module_id", "auth", "status", "connection_state", "last_activity"];

/// Prints a list of documents in the format asked for.
pub(super) struct List<'p, const N: usize> {
    pub(super) printer: &'p Printer,
    pub(super) first: bool,
}

impl<const N: usize> List<'_, N> {
    /// Prints one document: whole as JSON, `line` of it otherwise.
    pub(super) fn push<T: Serialize>(
        &mut self,
        document: &T,
        line: impl Fn(&T) -> [String; N],
    ) -> Result<(), Failure> {
        match self.printer.format {
            Format::Json => {
                let separator = if self.first { "[" } else { "," };
                let text = json_line(document)?;
                self.printer.data(format_args!("{separator}\n  {text}"));
            }
            Format::Csv => self.printer.csv_row(line(document)),
            Format::Text => self.printer.data(line(document).join("  ").trim_end()),
        }
        self.first = false;
        Ok(())
    }

    /// Ends the list.
    pub(super) fn end(self) {
        if self.printer.format == Format::Json {
            self.printer.data(if self.first { "[]" } else { "]" });
        }
    }
}
