//! The evaluation of conditions: true, false, or undefined if a value is missing.

use std::borrow::Cow;

use serde_json::Value;

use super::jobs::Fields;
use super::syntax::{Condition, Literal, Operand, Operator, TextTest, ValueKind};
use crate::registry::{Datum, TwinDocument};

impl Condition {
    /// Returns true if the condition is true for a row.
    pub(super) fn holds(&self, row: &impl Fields) -> bool {
        self.evaluate(row) == Some(true)
    }

    fn evaluate(&self, row: &impl Fields) -> Option<bool> {
        match self {
            Self::And(parts) => all(parts.iter().map(|part| part.evaluate(row))),
            // One is true unless all are false.
            Self::Or(parts) => {
                all(parts.iter().map(|part| part.evaluate(row).map(|is| !is))).map(|none| !none)
            }
            Self::ArrayContains { array, value } => array_contains(array, &value.value(row), row),
            Self::Not(inner) => inner.evaluate(row).map(|is| !is),
            Self::Compare { left, operator, right } => operator.compare(&left.value(row), &right.value(row)),
            Self::In { operand, list, negated } => is_in(&operand.value(row), list).map(|is| is != *negated),
            Self::Is { kind, operand } => Some(kind.describes(&operand.value(row))),
            Self::Text { test, operand, text } => test.check(&operand.value(row), &text.value(row)),
            Self::Value(operand) => match operand.value(row) {
                Scalar::Bool(is) => Some(is),
                _ => None,
            },
        }
    }
}

/// True if all are true, false if one is false, otherwise undefined.
fn all(mut parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    // The first false decides; what can't be told must not hide one that follows.
    let decided = parts.any(|part| {
        result = if part == Some(true) { result } else { part };
        part == Some(false)
    });
    if decided { Some(false) } else { result }
}

fn is_in(value: &Scalar<'_>, list: &[Literal]) -> Option<bool> {
    match value {
        Scalar::Missing => None,
        value => {
            let mut literals = list.iter().map(Scalar::from);
            Some(literals.any(|literal| Operator::Equal.compare(value, &literal) == Some(true)))
        }
    }
}

/// Returns true if one of the array's values equals the value; undefined if it is not an array.
fn array_contains(array: &Operand, value: &Scalar<'_>, row: &impl Fields) -> Option<bool> {
    let Operand::Path(path) = array else { return None };
    let Datum::Json(json) = row.field_at(&path.0) else { return None };
    let mut items = json.as_array()?.iter().map(Scalar::from);
    Some(items.any(|item| Operator::Equal.compare(&item, value) == Some(true)))
}

impl Operator {
    /// Compares two values. Values of different types are not equal, and neither is less than the
    /// other.
    fn compare(self, left: &Scalar<'_>, right: &Scalar<'_>) -> Option<bool> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let ordering = match (left, right) {
            (Scalar::Missing, _) | (_, Scalar::Missing) => return None,
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (Scalar::Null, Scalar::Null) => Equal,
            (Scalar::Number(a), Scalar::Number(b)) => a.partial_cmp(b)?,
            (Scalar::Text(a), Scalar::Text(b)) => a.cmp(b),
            _ => {
                return match self {
                    Self::Equal => Some(false),
                    Self::NotEqual => Some(true),
                    _ => None,
                };
            }
        };
        Some(match self {
            Self::Equal => ordering == Equal,
            Self::Greater => ordering == Greater,
            Self::GreaterOrEqual => ordering != Less,
            Self::Less => ordering == Less,
            Self::LessOrEqual => ordering != Greater,
            Self::NotEqual => ordering != Equal,
        })
    }
}

impl ValueKind {
    fn describes(self, value: &Scalar<'_>) -> bool {
        match self {
            Self::Array => matches!(value, Scalar::Array),
            Self::Bool => matches!(value, Scalar::Bool(_)),
            Self::Defined => !matches!(value, Scalar::Missing),
            Self::NotNull => !matches!(value, Scalar::Missing | Scalar::Null),
            Self::Null => matches!(value, Scalar::Null),
            Self::Number => matches!(value, Scalar::Number(_)),
            Self::Object => matches!(value, Scalar::Object),
            Self::Primitive => {
                matches!(value, Scalar::Bool(_) | Scalar::Null | Scalar::Number(_) | Scalar::Text(_))
            }
            Self::String => matches!(value, Scalar::Text(_)),
        }
    }
}

impl TextTest {
    fn check(self, value: &Scalar<'_>, text: &Scalar<'_>) -> Option<bool> {
        let (Scalar::Text(value), Scalar::Text(text)) = (value, text) else {
            return None;
        };
        Some(match self {
            Self::Contains => value.contains(text.as_ref()),
            Self::EndsWith => value.ends_with(text.as_ref()),
            Self::StartsWith => value.starts_with(text.as_ref()),
        })
    }
}

impl Fields for TwinDocument<'_> {
    fn field_at(&self, path: &[String]) -> Datum<'_> {
        self.lookup(path)
    }
}

impl Operand {
    fn value<'a>(&'a self, row: &'a impl Fields) -> Scalar<'a> {
        match self {
            Self::Literal(literal) => literal.into(),
            Self::Path(path) => row.field_at(&path.0).into(),
        }
    }
}

/// A value in a form that conditions can compare.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Array,
    Bool(bool),
    Missing,
    Null,
    Number(f64),
    Object,
    Text(Cow<'a, str>),
}

impl<'a> From<&'a Literal> for Scalar<'a> {
    fn from(literal: &'a Literal) -> Self {
        match literal {
            Literal::Bool(is) => Self::Bool(*is),
            Literal::Null => Self::Null,
            Literal::Number(number) => Self::Number(*number),
            Literal::Text(text) => Self::Text(text.into()),
        }
    }
}

impl<'a> From<Datum<'a>> for Scalar<'a> {
    fn from(datum: Datum<'a>) -> Self {
        match datum {
            Datum::Missing => Self::Missing,
            // Counters stay far below 2^53.
            Datum::Integer(number) => Self::Number(number as f64),
            Datum::Json(Cow::Borrowed(value)) => value.into(),
            Datum::Json(Cow::Owned(Value::String(text))) => Self::Text(text.into()),
            Datum::Json(Cow::Owned(value)) => Scalar::from(&value).into_owned(),
            Datum::Capabilities(_)
            | Datum::Properties(_)
            | Datum::Section(_)
            | Datum::Sections(_)
            | Datum::Thumbprints(_) => Self::Object,
            Datum::Text(text) => Self::Text(text),
            Datum::Time(time) => Self::Text(time.to_string().into()),
        }
    }
}

impl<'a> From<&'a Value> for Scalar<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Array(_) => Self::Array,
            Value::Bool(is) => Self::Bool(*is),
            Value::Null => Self::Null,
            Value::Number(number) => number.as_f64().map_or(Self::Missing, Self::Number),
            Value::Object(_) => Self::Object,
            Value::String(text) => Self::Text(text.into()),
        }
    }
}

impl Scalar<'_> {
    fn into_owned<'b>(self) -> Scalar<'b> {
        match self {
            Self::Array => Scalar::Array,
            Self::Bool(is) => Scalar::Bool(is),
            Self::Missing => Scalar::Missing,
            Self::Null => Scalar::Null,
            Self::Number(number) => Scalar::Number(number),
            Self::Object => Scalar::Object,
            Self::Text(text) => Scalar::Text(text.into_owned().into()),
        }
    }
}
