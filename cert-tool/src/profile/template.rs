//! [`Template`]: a text with places for the values of a row, compiled once.
//!
//! The language is that of Jinja, as in twin templates. Text with plain `{{ name }}` only, which nearly
//! all templates are, is joined from pieces: an interpreter for each certificate would cost more than
//! the rest of the profile.

use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::columns::RowValues;

/// A compiled template.
#[derive(Debug, Clone)]
pub(crate) struct Template(Form);

#[derive(Debug, Clone)]
enum Form {
    /// Text without any value.
    Fixed(String),
    Pieces(Vec<Piece>),
    Program {
        environment: Box<Environment<'static>>,
        names: Vec<String>,
    },
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Column(String),
}

impl Template {
    /// Compiles a template, or says what is wrong with it.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        if !OPENINGS.iter().any(|opening| source.contains(opening)) {
            return Ok(Self(Form::Fixed(source.to_owned())));
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(MAX_FUEL));
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let told = |error: minijinja::Error| format!("`{source}` is not a template: {}", reason(&error));
        environment.add_template_owned(NAME, source.to_owned()).map_err(told)?;
        let names = environment.get_template(NAME).map_err(told)?.undeclared_variables(false);
        let mut names: Vec<_> =
            names.into_iter().filter(|name| !environment_has(&environment, name)).collect();
        names.sort();
        Ok(Self(match pieces(source) {
            Some(pieces) => Form::Pieces(pieces),
            None => Form::Program { environment: Box::new(environment), names },
        }))
    }

    /// The text, where no row can change it.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match &self.0 {
            Form::Fixed(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the text for a row.
    pub(crate) fn render(&self, row: RowValues<'_>, out: &mut String) -> Result<(), String> {
        match &self.0 {
            Form::Fixed(text) => out.push_str(text),
            Form::Pieces(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.push_str(text),
                        Piece::Column(name) => out.push_str(&row.get(name).ok_or_else(|| absent(name))?),
                    }
                }
            }
            Form::Program { environment, names } => {
                let value = |name: &String| {
                    let text = row.get(name).ok_or_else(|| absent(name))?;
                    Ok::<_, String>((name.clone(), text.into_owned()))
                };
                let values = names.iter().map(value).collect::<Result<Vec<_>, _>>()?;
                let values = minijinja::Value::from_pairs(values);
                let rendered = environment.get_template(NAME).and_then(|template| template.render(values));
                out.push_str(
                    &rendered.map_err(|error| format!("it fails for this row: {}", reason(&error)))?,
                );
            }
        }
        Ok(())
    }
}

/// The pieces of a template that has plain names only.
fn pieces(source: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some((text, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}")?;
        let name = name.trim();
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
        if !is_name || KEYWORDS.contains(&name) {
            return None;
        }
        pieces.push(Piece::Text(text.to_owned()));
        pieces.push(Piece::Column(name.to_owned()));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    let is_plain = |piece: &Piece| match piece {
        Piece::Text(text) => !OPENINGS.iter().any(|opening| text.contains(opening)),
        Piece::Column(_) => true,
    };
    pieces.iter().all(is_plain).then_some(pieces)
}

/// Tells whether a name is one of the language itself, such as `range`.
fn environment_has(environment: &Environment<'_>, name: &str) -> bool {
    environment.globals().any(|(global, _)| global == name)
}

fn absent(name: &str) -> String {
    format!("`{name}` is not a column of this row")
}

fn reason(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

const NAME: &str = "value";
const OPENINGS: [&str; 3] = ["{{", "{%", "{#"];
const KEYWORDS: [&str; 6] = ["true", "True", "false", "False", "none", "None"];
/// Instructions that one template may take: enough for any sensible one, and an end for others.
const MAX_FUEL: u64 = 100_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hub_types::IdentityId;

    use super::super::columns::Columns;
    use super::*;

    fn render(source: &str) -> Result<String, String> {
        let columns =
            BTreeMap::from([("x_line".to_owned(), "L1".to_owned()), ("x_no".to_owned(), String::new())]);
        let (identity, columns) = (IdentityId::parse("d1", Some("m1")).unwrap(), Columns::from(columns));
        let mut out = String::new();
        let row = RowValues { identity: &identity, columns: &columns };
        Template::compile(source)?.render(row, &mut out).map(|()| out)
    }

    #[test]
    fn names_filters_and_conditions_are_rendered() {
        for (source, expected) in [
            ("plain", "plain"),
            ("{{device_id}}.{{ x_line }}-{{ module_id }}", "d1.L1-m1"),
            ("{{ x_line | lower }}", "l1"),
            ("{% if x_no %}a{% else %}b{% endif %}", "b"),
            ("{# note #}{{ x_line }}", "L1"),
        ] {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
        assert!(matches!(Template::compile("{{ a }}.b").unwrap().0, Form::Pieces(_)));
    }

    #[test]
    fn what_can_not_be_rendered_is_told() {
        for (source, told) in [
            ("{{ x_host }}", "`x_host` is not a column"),
            ("{{ x_host | upper }}", "`x_host` is not a column"),
            ("{{ x_line", "not a template"),
            ("{% for i in range(100000) %}{{ i }}{% endfor %}", "fails for this row"),
        ] {
            let error = render(source).unwrap_err();
            assert!(error.contains(told), "{source}: {error}");
        }
    }
}
