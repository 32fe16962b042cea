//! The syntax tree of a query.

use std::collections::BTreeSet;

/// A complete query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) top: Option<usize>,
    pub(crate) select: Select,
    pub(crate) from: Collection,
    pub(crate) filter: Option<Condition>,
    pub(crate) group_by: Vec<Path>,
}

/// The collection that is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    Devices,
    Jobs,
    Modules,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Select {
    /// `*`
    All,
    Columns(Vec<Column>),
    /// Aggregates (at least one), or the columns of a `GROUP BY`.
    Aggregates(Vec<AggregateColumn>),
}

/// `path AS name`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) path: Path,
    pub(crate) name: String,
}

/// `function(path) AS name`, or a path that the query groups by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AggregateColumn {
    pub(crate) value: Aggregate,
    pub(crate) name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Aggregate {
    Avg(Path),
    Count,
    /// The index of the path in `GROUP BY`.
    Group(usize),
    Max(Path),
    Min(Path),
    Sum(Path),
}

/// `a.b.c`, or `a['b'].c` if a name has characters that words can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<String>);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// A conjunction of two or more conditions.
    And(Vec<Self>),
    /// `array_contains(path, value)`
    ArrayContains {
        array: Operand,
        value: Operand,
    },
    Compare {
        left: Operand,
        operator: Operator,
        right: Operand,
    },
    In {
        operand: Operand,
        list: Vec<Literal>,
        negated: bool,
    },
    /// `is_defined(path)` and the like.
    Is {
        kind: ValueKind,
        operand: Operand,
    },
    Not(Box<Self>),
    /// A disjunction of two or more conditions.
    Or(Vec<Self>),
    /// `startswith(path, 'text')` and the like.
    Text {
        test: TextTest,
        operand: Operand,
        text: Operand,
    },
    /// A value in the place of a condition.
    Value(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    NotEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Array,
    Bool,
    Defined,
    NotNull,
    Null,
    Number,
    Object,
    Primitive,
    String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextTest {
    Contains,
    EndsWith,
    StartsWith,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Literal(Literal),
    Path(Path),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Bool(bool),
    Null,
    Number(f64),
    Text(String),
}

impl Path {
    /// The name of a column without an alias.
    pub(crate) fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Returns true if the path is this member of the twin itself.
    pub(crate) fn is_member(&self, name: &str) -> bool {
        matches!(self.0.as_slice(), [only] if only.eq_ignore_ascii_case(name))
    }
}

impl Query {
    /// Changes every path of the query.
    pub(super) fn for_each_path(&mut self, mut change: impl FnMut(&mut Path)) {
        match &mut self.select {
            Select::All => {}
            Select::Columns(columns) => columns.iter_mut().for_each(|column| change(&mut column.path)),
            Select::Aggregates(columns) => columns.iter_mut().for_each(|column| match &mut column.value {
                Aggregate::Avg(path) | Aggregate::Max(path) | Aggregate::Min(path) | Aggregate::Sum(path) => {
                    change(path);
                }
                Aggregate::Count | Aggregate::Group(_) => {}
            }),
        }
        if let Some(filter) = &mut self.filter {
            filter.for_each_path(&mut change);
        }
        self.group_by.iter_mut().for_each(change);
    }

    /// The ids of the only devices that can meet the condition, if it contains `deviceId = '…'` or
    /// `deviceId IN […]`; then a scan of all devices is not needed.
    pub(crate) fn device_ids(&self) -> Option<BTreeSet<&str>> {
        self.filter.as_ref()?.values_of("deviceId")
    }

    /// The ids of the only modules that can meet the condition, in the same way.
    pub(crate) fn module_ids(&self) -> Option<BTreeSet<&str>> {
        self.filter.as_ref()?.values_of("moduleId")
    }
}

impl Condition {
    fn for_each_path(&mut self, change: &mut impl FnMut(&mut Path)) {
        let mut of = |operand: &mut Operand| match operand {
            Operand::Path(path) => change(path),
            Operand::Literal(_) => {}
        };
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter_mut().for_each(|part| part.for_each_path(change));
            }
            Self::Not(inner) => inner.for_each_path(change),
            Self::ArrayContains { array: left, value: right }
            | Self::Compare { left, right, .. }
            | Self::Text { operand: left, text: right, .. } => {
                of(left);
                of(right);
            }
            Self::In { operand, .. } | Self::Is { operand, .. } | Self::Value(operand) => of(operand),
        }
    }

    /// The only values of a member with which the condition can hold; `None` if any value is
    /// possible.
    fn values_of(&self, member: &str) -> Option<BTreeSet<&str>> {
        match self {
            Self::And(parts) => parts.iter().filter_map(|part| part.values_of(member)).reduce(|a, b| &a & &b),
            // One alternative that leaves all values open leaves them open for the whole.
            Self::Or(parts) => {
                let parts = parts.iter().map(|part| part.values_of(member)).collect::<Option<Vec<_>>>()?;
                Some(parts.into_iter().flatten().collect())
            }
            Self::Compare {
                left: Operand::Path(path),
                operator: Operator::Equal,
                right: Operand::Literal(literal),
            }
            | Self::Compare {
                left: Operand::Literal(literal),
                operator: Operator::Equal,
                right: Operand::Path(path),
            } if path.is_member(member) => Some(literal.as_text().into_iter().collect()),
            Self::In { operand: Operand::Path(path), list, negated: false } if path.is_member(member) => {
                // What is no text is no id.
                Some(list.iter().filter_map(Literal::as_text).collect())
            }
            _ => None,
        }
    }
}

impl Literal {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Null | Self::Number(_) => None,
        }
    }
}
