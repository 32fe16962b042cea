//! Twin templates: a JSON file with `tags` and `desired`, rendered over the cells of a row.
//!
//! The language is that of Jinja. A value that is written into the text is escaped as JSON strings
//! are, so between quotes no cell can break out: `"line": "{{ x_line }}"`. What stands without quotes
//! must come out as JSON by itself: `"interval": {{ x_interval | int }}`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hub_types::number::{self, Literal, NumberError};
use hub_types::twin::JsonObject;
use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Deserialize;

/// The templates of a batch, each read once.
pub struct TwinTemplates {
    environment: Environment<'static>,
    /// Whether each template could be read, by its path.
    files: HashMap<PathBuf, Result<(), TemplateError>>,
}

/// The initial twin that a template makes of a row.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenderedTwin {
    /// Its tags.
    #[serde(default)]
    pub tags: JsonObject,
    /// Its desired properties.
    #[serde(default)]
    pub desired: JsonObject,
    /// The first of its numbers that a hub writes in another way, and how: `1.50` as `1.5`.
    #[serde(skip)]
    pub respelled: Option<(String, String)>,
}

/// Why a template makes no twin of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The file can't be read.
    #[error("the twin template can't be read: {0}")]
    File(String),
    /// The template can't be rendered over this row.
    #[error("the twin template can't be rendered: {0}")]
    Render(String),
    /// What was rendered has a number that a hub would change. The place is that in the rendered text.
    #[error(
        "the twin template makes the number `{text}`, in line {line}, column {column} of its result: {source}"
    )]
    Number {
        /// The number, shortened.
        text: String,
        /// Its line.
        line: usize,
        /// Its column.
        column: usize,
        /// The rule that it breaks.
        source: NumberError,
    },
    /// What was rendered is not a twin.
    #[error("the twin template makes no JSON object of `tags` and `desired`: {0}")]
    Twin(String),
}

impl TwinTemplates {
    /// No templates yet.
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(MAX_FUEL));
        // Otherwise only debug builds can say which name it was that is no column.
        environment.set_debug(true);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_formatter(|out, _state, value| match (value.kind(), value.as_str()) {
            (ValueKind::Undefined, _) => Err(ErrorKind::UndefinedError.into()),
            (_, Some(text)) => Ok(out.write_str(inner_json(text).as_str())?),
            _ => Ok(write!(out, "{value}")?),
        });
        Self { environment, files: HashMap::new() }
    }

    /// Renders the template in `path` over cells by name.
    pub fn render<'c>(
        &mut self,
        path: &Path,
        cells: impl Iterator<Item = (&'c str, &'c str)>,
    ) -> Result<RenderedTwin, TemplateError> {
        let name = path.display().to_string();
        if !self.files.contains_key(path) {
            let read = self.read(path, &name);
            self.files.insert(path.to_owned(), read);
        }
        self.files.get(path).cloned().unwrap_or(Ok(()))?;
        let rendered = self
            .environment
            .get_template(&name)
            .and_then(|template| template.render(minijinja::Value::from_pairs(cells)))
            .map_err(|error| TemplateError::Render(reason_of(&error)))?;
        let respelled = respelled_number(&rendered)?;
        let twin = serde_json::from_str(&rendered).map_err(|error| TemplateError::Twin(error.to_string()))?;
        Ok(RenderedTwin { respelled, ..twin })
    }

    fn read(&mut self, path: &Path, name: &str) -> Result<(), TemplateError> {
        let mut text =
            cli_support::text::read(path).map_err(|error| TemplateError::File(error.to_string()))?;
        let added = self.environment.add_template_owned(name.to_owned(), std::mem::take(&mut *text));
        added.map_err(|error| TemplateError::Render(reason_of(&error)))
    }
}

impl Default for TwinTemplates {
    fn default() -> Self {
        Self::new()
    }
}

/// A text as it stands between the quotes of a JSON string.
fn inner_json(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    quoted.pop();
    quoted.split_off(1.min(quoted.len()))
}

/// The first number that a hub writes in another way, and how; an error where it would change one.
fn respelled_number(json: &str) -> Result<Option<(String, String)>, TemplateError> {
    let mut respelled = None;
    for literal in number::literals(json.as_bytes()) {
        match number::read(literal.text) {
            Ok(read) if !read.has_same_text && respelled.is_none() => {
                respelled = Some((literal.text.to_owned(), read.number.to_string()));
            }
            Ok(_) | Err(NumberError::Syntax) => {}
            Err(source) => return Err(number_error(json, literal, source)),
        }
    }
    Ok(respelled)
}

fn number_error(json: &str, literal: Literal<'_>, source: NumberError) -> TemplateError {
    let before = json.get(..literal.offset).unwrap_or(json);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    TemplateError::Number {
        text: literal.text.chars().take(MAX_DIGITS_SHOWN).collect(),
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
        source,
    }
}

fn reason_of(error: &minijinja::Error) -> String {
    let place = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let snippet = error.range().and_then(|range| error.template_source()?.get(range));
    match (error.kind(), snippet) {
        (ErrorKind::UndefinedError, Some(name)) => format!("{place}`{name}` is no column of this row"),
        (kind, Some(snippet)) => {
            format!("{place}{} at `{snippet}`", error.detail().unwrap_or(&kind.to_string()))
        }
        (kind, None) => format!("{place}{}", error.detail().unwrap_or(&kind.to_string())),
    }
}

/// Instructions that one template may take: enough for any sensible one, and an end for others.
const MAX_FUEL: u64 = 100_000;
const MAX_DIGITS_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn render(template: &str, cells: &[(&str, &str)]) -> Result<RenderedTwin, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twin.json");
        std::fs::write(&path, template).unwrap();
        TwinTemplates::new().render(&path, cells.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn cells_are_written_into_strings_and_filters_make_numbers() {
        let template = r#"{"tags": {"line": "line {{ x_line }}", "serial": "{{ x_serial }}"},
                           "desired": {"interval": {{ x_interval | int }},
                                       "channels": ["a"{% if x_line == "L1" %}, "b"{% endif %}]}}"#;
        let twin = render(template, &[("x_line", "L1"), ("x_serial", "007"), ("x_interval", "60")]).unwrap();
        assert_eq!(Value::Object(twin.tags), json!({"line": "line L1", "serial": "007"}));
        assert_eq!(Value::Object(twin.desired), json!({"interval": 60, "channels": ["a", "b"]}));
    }

    #[test]
    fn a_cell_can_not_break_out_of_its_string() {
        let hostile = "\",\"b\":\"1{{ x }}\\\n";
        let twin = render(r#"{"tags": {"a": "{{ x }}!"}}"#, &[("x", hostile)]).unwrap();
        assert_eq!(Value::Object(twin.tags), json!({"a": format!("{hostile}!")}));
    }

    #[test]
    fn a_name_that_is_no_column_is_an_error_with_its_place() {
        let template = "{\"desired\":\n  {\"a\": \"line {{ x_lime }}\"}}";
        assert_eq!(
            render(template, &[("x_line", "L1")]).unwrap_err(),
            "the twin template can't be rendered: line 2: `x_lime` is no column of this row"
        );
    }

    #[test]
    fn a_number_that_a_hub_would_change_is_an_error_with_its_place() {
        let template = "{\"tags\": {\n  \"iccid\": {{ x }}}}";
        for (cell, reason) in [
            ("89014103211118510720", "outside the range"),
            ("0.1234567890123456789", "more digits"),
            ("1e999", "more digits"),
        ] {
            let message = render(template, &[("x", cell)]).unwrap_err();
            assert!(message.contains(&format!("`{cell}`, in line 2, column 12 of its result")), "{message}");
            assert!(message.contains(reason), "{message}");
        }
        let respelled = |cell| render(template, &[("x", cell)]).unwrap().respelled;
        assert_eq!(respelled("1.10"), Some(("1.10".to_owned(), "1.1".to_owned())));
        assert_eq!(respelled("1.1"), None);
    }

    #[test]
    fn what_is_no_twin_is_refused() {
        assert!(render(r#"{"tags": {}, "reported": {}}"#, &[]).unwrap_err().contains("`reported`"));
        assert!(render(r#"{"tags": "#, &[]).unwrap_err().contains("EOF"));
        assert!(render(r#"{"tags": []}"#, &[]).unwrap_err().contains("expected a map"));
        assert!(render(r#"{"tags": {"a": "{{ x"}}"#, &[]).unwrap_err().contains("line 1"));
        let missing = TwinTemplates::new().render(Path::new("/nowhere/twin.json"), std::iter::empty());
        assert!(matches!(missing, Err(TemplateError::File(_))));
    }

    #[test]
    fn an_endless_template_ends() {
        let template = "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render(template, &[]).unwrap_err().contains("fuel"));
    }
}
