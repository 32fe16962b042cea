//! Twin templates: a JSON file with `tags` and `desired`, rendered over the cells of a row.
//!
//! The language is that of Jinja. A value that is written into the text is escaped as JSON strings
//! are, so between quotes no cell can break out: `"line": "{{ x_line }}"`. What stands without quotes
//! must come out as JSON by itself: `"interval": {{ x_interval | int }}`.

use hub_types::shown::ShownPath;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cli_support::wrong_form::JsonMistake;
use hub_types::number::{self, Literal, NumberError};
use hub_types::repeated_member::{self, RepeatedMember};
use hub_types::twin::JsonObject;
use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Deserialize;

/// The templates of a batch, each read once.
pub(crate) struct TwinTemplates {
    environment: Environment<'static>,
    /// The parsing results of templates, by path.
    files: HashMap<PathBuf, Result<(), TemplateError>>,
}

/// The initial twin that a template makes of a row.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenderedTwin {
    /// Its tags.
    #[serde(default)]
    pub(crate) tags: JsonObject,
    /// Its desired properties.
    #[serde(default)]
    pub(crate) desired: JsonObject,
    /// The first of its numbers that a hub writes in another way, and how: `1.50` as `1.5`.
    #[serde(skip)]
    pub(crate) respelled: Option<(String, String)>,
}

/// The reason why a template does not give a valid twin for a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TemplateError {
    /// A name in the template is no column of the row.
    #[error("{place} of the twin template: `{name}` is not a column of this row")]
    Column {
        /// The line.
        place: TemplateLine,
        /// The name.
        name: String,
    },
    /// The rendered text contains a number that a hub would change. The place is that in the
    /// rendered text.
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
    /// The file can't be read.
    #[error("the twin template `{}` can't be read: {reason}", ShownPath(path))]
    File {
        /// The file, as it was resolved.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no such file.
    #[error("no such file: `{}`", ShownPath(path))]
    Missing {
        /// The file, as it was resolved.
        path: PathBuf,
    },
    /// An object of the rendered text has a member twice.
    #[error("in what the twin template makes of this row, {0}")]
    Repeated(#[from] RepeatedMember),
    /// The template can't be rendered over any row.
    #[error("{place} of the twin template: {reason}")]
    Syntax {
        /// The line.
        place: TemplateLine,
        /// The fault at this place.
        reason: String,
    },
    /// The rendered text is not a twin.
    #[error("what the twin template makes of this row is no JSON object of `tags` and `desired`: {0}")]
    Twin(JsonMistake),
    /// An expression of the template fails for the cells of this row.
    #[error("{place} of the twin template: `{expression}` fails, because {cells}: {reason}")]
    Value {
        /// The line.
        place: TemplateLine,
        /// The expression.
        expression: String,
        /// The columns that it uses, with their values.
        cells: String,
        /// The fault of the values.
        reason: String,
    },
}

/// A line of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TemplateLine(Option<usize>);

impl fmt::Display for TemplateLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(line) => write!(f, "line {line}"),
            None => f.write_str("some line"),
        }
    }
}

impl TemplateError {
    /// The remedy.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Column { .. } => "correct the name, or add the column to the batch",
            Self::File { .. } => "check the file's rights, and that it is text in UTF-8",
            Self::Missing { .. } => "correct the path: it begins in the folder of the batch",
            Self::Number { .. } => "write the number so that a hub keeps it, or as a text between quotes",
            Self::Repeated(_) => "leave one of them out of the template",
            Self::Syntax { .. } => {
                "correct the template; its strings may use the row's columns as `{{ name }}`"
            }
            Self::Twin(_) => "correct the template, or the cells that it uses; strings stand between quotes",
            Self::Value { .. } => "correct the cell, or what the template makes of it",
        }
    }
}

impl TwinTemplates {
    /// No templates yet.
    pub(crate) fn new() -> Self {
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
    pub(crate) fn render<'c>(
        &mut self,
        path: &Path,
        cells: impl Iterator<Item = (&'c str, &'c str)> + Clone,
    ) -> Result<RenderedTwin, TemplateError> {
        let name = path.to_string_lossy().into_owned();
        match self.files.get(path) {
            Some(read) => read.clone()?,
            None => {
                let read = self.read(path, &name);
                self.files.insert(path.to_owned(), read.clone());
                read?;
            }
        }
        let failed = |error| of_render(&error, std::iter::empty(), &[]);
        let template = self.environment.get_template(&name).map_err(failed)?;
        let rendered = template.render(minijinja::Value::from_pairs(cells.clone())).map_err(|error| {
            let unknown = self.unknown_variables(&template, cells.clone());
            of_render(&error, cells.clone(), &unknown)
        })?;
        repeated_member::check(rendered.as_bytes())?;
        let respelled = respelled_number(&rendered)?;
        let twin =
            serde_json::from_str(&rendered).map_err(|error| TemplateError::Twin(JsonMistake::new(&error)))?;
        Ok(RenderedTwin { respelled, ..twin })
    }

    /// The variables of a template that are neither columns nor names of the template language.
    fn unknown_variables<'c>(
        &self,
        template: &minijinja::Template<'_, '_>,
        cells: impl Iterator<Item = (&'c str, &'c str)> + Clone,
    ) -> Vec<String> {
        let is_known = |name: &str| {
            cells.clone().any(|(column, _)| column == name)
                || self.environment.globals().any(|(global, _)| global == name)
        };
        let mut unknown: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !is_known(name));
        unknown.sort();
        unknown
    }

    fn read(&mut self, path: &Path, name: &str) -> Result<(), TemplateError> {
        let mut text = cli_support::text::read(path).map_err(|error| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            match error.kind() {
                io::ErrorKind::NotFound => TemplateError::Missing { path },
                _ => TemplateError::File { path, reason: error.to_string() },
            }
        })?;
        let added = self.environment.add_template_owned(name.to_owned(), std::mem::take(&mut *text));
        added.map_err(|error| of_render(&error, std::iter::empty(), &[]))
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

/// The meaning of a template error for these cells. `unknown` has the variables of the template that
/// are no columns.
fn of_render<'c>(
    error: &minijinja::Error,
    cells: impl Iterator<Item = (&'c str, &'c str)>,
    unknown: &[String],
) -> TemplateError {
    let place = TemplateLine(error.line());
    let source = error.template_source().unwrap_or_default();
    let snippet = error.range().and_then(|range| source.get(range));
    let expression = error.range().and_then(|range| expression_around(source, range));
    if let (ErrorKind::UndefinedError, Some(name)) = (error.kind(), snippet) {
        // Under a filter, the place of the error is the filter.
        let is_it = |unknown: &&str| expression.is_some_and(|expression| uses(expression, unknown));
        let name = unknown.iter().map(String::as_str).find(is_it).unwrap_or(name);
        return TemplateError::Column { place, name: name.to_owned() };
    }
    let kind = error.kind().to_string();
    let reason = without_rust(error.detail().unwrap_or(&kind));
    if let ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction = error.kind() {
        return TemplateError::Syntax { place, reason: reason.to_owned() };
    }
    let used: Vec<String> = expression.map_or_else(Vec::new, |expression| {
        cells.filter(|(name, _)| uses(expression, name)).map(|(name, text)| told(name, text)).collect()
    });
    match (expression, snippet) {
        (Some(expression), _) if !used.is_empty() => {
            let (expression, cells) = (expression.to_owned(), used.join(" and "));
            TemplateError::Value { place, expression, cells, reason: reason.to_owned() }
        }
        (_, Some(snippet)) => TemplateError::Syntax { place, reason: format!("{reason} at `{snippet}`") },
        (_, None) => TemplateError::Syntax { place, reason: reason.to_owned() },
    }
}

/// The detail of a template error: that of a value which is no number is in the words of the standard library.
fn without_rust(detail: &str) -> &str {
    match detail {
        "invalid float literal" | "invalid digit found in string" => "it is not a number",
        "cannot parse float from empty string" | "cannot parse integer from empty string" => "it is empty",
        "number too large to fit in target type" | "number too small to fit in target type" => {
            "the number is out of range"
        }
        detail => detail,
    }
}

/// The expression of the tag, `{{ … }}` or `{% … %}`, that contains this part of a template.
fn expression_around(source: &str, range: Range<usize>) -> Option<&str> {
    let before = source.get(..range.start)?;
    let begin = before.rfind("{{").max(before.rfind("{%"))? + 2;
    let rest = source.get(begin..)?;
    let end = [rest.find("}}"), rest.find("%}")].into_iter().flatten().min()?;
    rest.get(..end).map(|expression| expression.trim_matches(['-', ' ']))
}

/// Returns true if an expression uses a name.
fn uses(expression: &str, name: &str) -> bool {
    expression.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == name)
}

/// A column with its value, unless that may be a secret.
fn told(name: &str, text: &str) -> String {
    match batch_file::redact(text) {
        Some(text) => format!("the column `{name}` holds `{text}`"),
        None => format!("of what the column `{name}` holds"),
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
            "line 2 of the twin template: `x_lime` is not a column of this row"
        );
    }

    #[test]
    fn a_name_under_a_filter_is_the_name_and_not_the_filter() {
        for (template, name) in [
            (r#"{"tags": {"a": {{ x_lime | int }}}}"#, "x_lime"),
            (r#"{"tags": {"a": "{{ x_line | upper ~ x_lime | upper }}"}}"#, "x_lime"),
            (r#"{"tags": {"a": [{% for i in range(2) %}{{ i * (lime | int) }},{% endfor %}1]}}"#, "lime"),
        ] {
            let message = render(template, &[("x_line", "L1")]).unwrap_err();
            assert!(message.contains(&format!("`{name}` is not a column of this row")), "{message}");
        }
    }

    #[test]
    fn a_filter_that_does_not_exist_is_a_fault_of_the_template() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twin.json");
        std::fs::write(&path, "{\"tags\":\n {\"a\": {{ x_line | nofilter }}}}").unwrap();
        let error = TwinTemplates::new().render(&path, [("x_line", "L1")].into_iter()).unwrap_err();
        assert!(
            error.to_string().starts_with("line 2 of the twin template: filter nofilter is unknown"),
            "{error}"
        );
        assert!(error.remedy().starts_with("correct the template"), "{}", error.remedy());
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
    fn a_member_that_is_given_twice_is_refused_with_its_place() {
        for template in
            ["{\"tags\": {\n  \"a\": 1,\n  \"{{ x }}\": 2}}", "{\"tags\": {},\n\n\"tags\": {\"a\": 1}}"]
        {
            let message = render(template, &[("x", "a")]).unwrap_err();
            assert!(message.contains("is given twice, the second time at line 3 column "), "{message}");
        }
    }

    #[test]
    fn what_is_no_twin_is_refused() {
        assert!(render(r#"{"tags": {}, "reported": {}}"#, &[]).unwrap_err().contains("`reported`"));
        assert!(render(r#"{"tags": "#, &[]).unwrap_err().contains("the JSON ends too early"));
        assert!(render(r#"{"tags": []}"#, &[]).unwrap_err().contains("expected an object"));
        assert!(render(r#"{"tags": {"a": "{{ x"}}"#, &[]).unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named_as_it_was_looked_for() {
        let missing =
            TwinTemplates::new().render(Path::new("nowhere/twin.json"), std::iter::empty()).unwrap_err();
        let path = std::path::absolute("nowhere/twin.json").unwrap();
        assert_eq!(missing.to_string(), format!("no such file: `{}`", ShownPath(&path)));
        assert!(missing.remedy().contains("correct the path"));
    }

    #[test]
    fn a_cell_that_a_template_can_not_use_is_told_with_its_column_and_line() {
        let template = "{\"desired\":\n  {\"a\": {{ x_interval | int }}}}";
        for (cell, reason) in
            [("soon", "it is not a number"), ("", "it is empty"), ("9e", "it is not a number")]
        {
            let error = render(template, &[("x_line", "L1"), ("x_interval", cell)]).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "line 2 of the twin template: `x_interval | int` fails, because the column `x_interval` holds \
                     `{cell}`: {reason}"
                )
            );
        }
    }

    #[test]
    fn an_endless_template_ends() {
        let template = "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render(template, &[]).unwrap_err().contains("fuel"));
    }
}
