//! Twin templates: a JSON file with `tags` and `desired` whose strings are templates over the cells
//! of a row.
//!
//! The file is parsed as JSON first and its strings are rendered after, so no cell can break out of
//! its string. A string that is one expression and nothing else keeps the expression's type:
//! `"{{ x_interval | int }}"` becomes a number.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hub_types::twin::JsonObject;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::Value;

/// The templates of a batch, each read once.
pub struct TwinTemplates {
    environment: Environment<'static>,
    files: HashMap<PathBuf, Template>,
}

/// The initial twin that a template makes of a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RenderedTwin {
    /// Its tags.
    pub tags: JsonObject,
    /// Its desired properties.
    pub desired: JsonObject,
}

/// Why a template makes no twin of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The file can't be read.
    #[error("the twin template {} can't be read: {reason}", path.display())]
    File {
        /// The template.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file is not JSON.
    #[error("the twin template {} is not JSON: {reason}", path.display())]
    Json {
        /// The template.
        path: PathBuf,
        /// Why, with line and column.
        reason: String,
    },
    /// The JSON is not a twin.
    #[error("the twin template {} has `{member}` where only the objects `tags` and `desired` may be", path.display())]
    Member {
        /// The template.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// A string can't be rendered.
    #[error("the twin template {} fails at {place}: {reason}", path.display())]
    Render {
        /// The template.
        path: PathBuf,
        /// Where in the twin.
        place: String,
        /// Why.
        reason: String,
    },
}

type Template = Result<RenderedTwin, TemplateError>;

impl TwinTemplates {
    /// No templates yet.
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(MAX_FUEL));
        // Escaping is left to the JSON that the rendered strings become part of.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        Self { environment, files: HashMap::new() }
    }

    /// Renders the template in `path` over cells by name.
    pub fn render<'c>(
        &mut self,
        path: &Path,
        cells: impl Iterator<Item = (&'c str, &'c str)>,
    ) -> Result<RenderedTwin, TemplateError> {
        let template =
            self.files.entry(path.to_owned()).or_insert_with(|| read(path)).as_ref().map_err(Clone::clone)?;
        let cells = minijinja::Value::from_pairs(cells);
        let renderer = Renderer { environment: &self.environment, path, cells };
        Ok(RenderedTwin {
            tags: renderer.object("tags", &template.tags)?,
            desired: renderer.object("desired", &template.desired)?,
        })
    }
}

impl Default for TwinTemplates {
    fn default() -> Self {
        Self::new()
    }
}

fn read(path: &Path) -> Template {
    let text = std::fs::read_to_string(path)
        .map_err(|error| TemplateError::File { path: path.to_owned(), reason: error.to_string() })?;
    let members: JsonObject = serde_json::from_str(&text)
        .map_err(|error| TemplateError::Json { path: path.to_owned(), reason: error.to_string() })?;
    let mut template = RenderedTwin::default();
    for (member, value) in members {
        match (member.as_str(), value) {
            ("tags", Value::Object(tags)) => template.tags = tags,
            ("desired", Value::Object(desired)) => template.desired = desired,
            _ => return Err(TemplateError::Member { path: path.to_owned(), member }),
        }
    }
    Ok(template)
}

struct Renderer<'a> {
    environment: &'a Environment<'static>,
    path: &'a Path,
    cells: minijinja::Value,
}

impl Renderer<'_> {
    fn object(&self, place: &str, object: &JsonObject) -> Result<JsonObject, TemplateError> {
        let member = |(name, value): (&String, &Value)| {
            let place = format!("{place}.{name}");
            Ok((name.clone(), self.value(&place, value)?))
        };
        object.iter().map(member).collect()
    }

    fn value(&self, place: &str, value: &Value) -> Result<Value, TemplateError> {
        match value {
            Value::Array(items) => items.iter().map(|item| self.value(place, item)).collect(),
            Value::Object(object) => self.object(place, object).map(Value::Object),
            Value::String(text) if text.contains("{{") || text.contains("{%") => self.string(place, text),
            other => Ok(other.clone()),
        }
    }

    fn string(&self, place: &str, text: &str) -> Result<Value, TemplateError> {
        let rendered = match sole_expression(text) {
            Some(expression) => self.expression(expression),
            None => self.environment.render_str(text, &self.cells).map(Value::String),
        };
        rendered.map_err(|error| TemplateError::Render {
            path: self.path.to_owned(),
            place: place.to_owned(),
            reason: reason_of(&error, text),
        })
    }

    fn expression(&self, expression: &str) -> Result<Value, minijinja::Error> {
        let value = self.environment.compile_expression(expression)?.eval(&self.cells)?;
        if value.is_undefined() {
            return Err(ErrorKind::UndefinedError.into());
        }
        serde_json::to_value(&value)
            .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
    }
}

/// The expression of a text that is `{{ expression }}` and nothing else.
fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner)
}

fn reason_of(error: &minijinja::Error, text: &str) -> String {
    match error.kind() {
        ErrorKind::UndefinedError => format!("`{text}` names a column that this row does not have"),
        _ => format!("`{text}`: {error}"),
    }
}

/// Instructions that one string may take: enough for any sensible template, and an end for others.
const MAX_FUEL: u64 = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str, cells: &[(&str, &str)]) -> Result<RenderedTwin, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twin.json");
        std::fs::write(&path, template).unwrap();
        TwinTemplates::new()
            .render(&path, cells.iter().copied())
            .map_err(|error| error.to_string().replace(path.to_str().unwrap(), "twin.json"))
    }

    #[test]
    fn strings_are_rendered_and_sole_expressions_keep_their_type() {
        let template = r#"{"tags": {"line": "line {{ x_line }}", "serial": "{{ x_serial }}"},
                           "desired": {"interval": "{{ x_interval | int }}", "list": ["{{ x_line }}", 7, null]}}"#;
        let twin = render(template, &[("x_line", "L1"), ("x_serial", "007"), ("x_interval", "60")]).unwrap();
        assert_eq!(Value::Object(twin.tags), json!({"line": "line L1", "serial": "007"}));
        assert_eq!(Value::Object(twin.desired), json!({"interval": 60, "list": ["L1", 7, null]}));
    }

    #[test]
    fn a_cell_can_not_break_out_of_its_string() {
        let twin = render(r#"{"tags": {"a": "{{ x }}!"}}"#, &[("x", r#"","b":"1{{ x }}"#)]).unwrap();
        assert_eq!(Value::Object(twin.tags), json!({"a": r#"","b":"1{{ x }}!"#}));
    }

    #[test]
    fn a_name_that_is_no_column_is_an_error_with_its_place() {
        for text in ["{{ x_lime }}", "line {{ x_lime }}"] {
            let template = json!({"desired": {"a": {"b": text}}}).to_string();
            assert_eq!(
                render(&template, &[("x_line", "L1")]).unwrap_err(),
                format!(
                    "the twin template twin.json fails at desired.a.b: `{text}` names a column that this row does not have"
                )
            );
        }
    }

    #[test]
    fn what_is_no_twin_is_refused() {
        assert!(render(r#"{"tags": {}, "reported": {}}"#, &[]).unwrap_err().contains("`reported`"));
        assert!(render(r#"{"tags": "#, &[]).unwrap_err().contains("is not JSON: EOF"));
        assert!(render(r#"{"tags": []}"#, &[]).unwrap_err().contains("`tags`"));
        let missing = TwinTemplates::new().render(Path::new("/nowhere/twin.json"), std::iter::empty());
        assert!(matches!(missing, Err(TemplateError::File { .. })));
    }

    #[test]
    fn an_endless_template_ends() {
        let template = json!({"tags": {"a": "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}"}});
        assert!(render(&template.to_string(), &[]).unwrap_err().contains("fuel"));
    }
}
