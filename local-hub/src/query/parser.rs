//! The parser from tokens to a [`Query`], by recursive descent. Keywords are case-insensitive.

use super::QueryError;
use super::cursor::Cursor;
use super::lexer::{TokenKind, shortened};
use super::syntax::{
    Aggregate, AggregateColumn, Collection, Column, Condition, Literal, Operand, Operator, Path, Query,
    Select, TextTest, ValueKind,
};
use crate::registry::column_problem;

impl Query {
    /// Parses a query.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let mut parser = Parser { tokens: Cursor::new(text)?, depth: 0, paths: Vec::new() };
        let mut query = parser.query()?;
        // What is selected comes before it is said from where, so paths are resolved at the end.
        for (path, column) in parser.paths {
            if let Some(problem) = query.from.path_problem(query.from.relative(&path.0)) {
                let problem = format!("`{}`: {problem}", shortened(&path.0.join(".")));
                return Err(QueryError { column, problem });
            }
        }
        let from = query.from;
        query.for_each_path(|path| *path = Path(from.relative(&path.0).to_vec()));
        Ok(query)
    }
}

struct Parser {
    tokens: Cursor,
    /// The number of open conditions, which is bounded so that no query exhausts the stack.
    depth: usize,
    /// Every path into a row, with its column.
    paths: Vec<(Path, usize)>,
}

/// One selected item, before it is known whether the query aggregates.
struct Item {
    value: ItemValue,
    alias: Option<String>,
    column: usize,
}

enum ItemValue {
    Aggregate(Aggregate),
    Path(Path),
}

impl Parser {
    fn query(&mut self) -> Result<Query, QueryError> {
        self.tokens.expect_keyword("SELECT")?;
        let top = if self.tokens.take_keyword("TOP") { Some(self.count()?) } else { None };
        let items = if self.tokens.take_symbol("*") { None } else { Some(self.list(Self::item)?) };
        self.tokens.expect_keyword("FROM")?;
        let from = self.collection()?;
        let filter = if self.tokens.take_keyword("WHERE") { Some(self.condition()?) } else { None };
        let group_by = self.group_by()?;
        self.tokens.take_symbol(";");
        if self.tokens.peek().kind != TokenKind::End {
            return Err(self.tokens.unexpected("the end of the query"));
        }
        Ok(Query { top, select: self.select(items, &group_by)?, from, filter, group_by })
    }

    fn collection(&mut self) -> Result<Collection, QueryError> {
        let column = self.tokens.peek().column;
        let path = self.path()?;
        let name = path.0.join(".").to_ascii_lowercase();
        match name.as_str() {
            "devices" => Ok(Collection::Devices),
            "devices.jobs" => Ok(Collection::Jobs),
            "devices.modules" => Ok(Collection::Modules),
            _ => Err(QueryError {
                column,
                problem: format!(
                    "`{}` is no collection; there are devices, devices.modules and devices.jobs",
                    shortened(&name)
                ),
            }),
        }
    }

    fn group_by(&mut self) -> Result<Vec<Path>, QueryError> {
        if !self.tokens.take_keyword("GROUP") {
            return Ok(Vec::new());
        }
        self.tokens.expect_keyword("BY")?;
        self.list(Self::row_path)
    }

    fn item(&mut self) -> Result<Item, QueryError> {
        let column = self.tokens.peek().column;
        let path = self.path()?;
        let value = match path.0.as_slice() {
            [function] if self.tokens.take_symbol("(") => {
                ItemValue::Aggregate(self.aggregate(function, column)?)
            }
            _ => {
                self.paths.push((path.clone(), column));
                ItemValue::Path(path)
            }
        };
        let alias = if self.tokens.take_keyword("AS") { Some(self.any_name()?) } else { None };
        Ok(Item { value, alias, column })
    }

    /// Parses the rest of an aggregate after `function(`.
    fn aggregate(&mut self, function: &str, column: usize) -> Result<Aggregate, QueryError> {
        if function.eq_ignore_ascii_case("COUNT") {
            self.tokens.take_symbol("*");
            self.tokens.expect_symbol(")")?;
            return Ok(Aggregate::Count);
        }
        let known: Option<fn(Path) -> Aggregate> = match function.to_ascii_uppercase().as_str() {
            "AVG" => Some(Aggregate::Avg),
            "MAX" => Some(Aggregate::Max),
            "MIN" => Some(Aggregate::Min),
            "SUM" => Some(Aggregate::Sum),
            _ => None,
        };
        let Some(make) = known else {
            return Err(QueryError {
                column,
                problem: format!(
                    "`{}` is no aggregate; there are COUNT, SUM, AVG, MIN, MAX",
                    shortened(function)
                ),
            });
        };
        let path = self.row_path()?;
        self.tokens.expect_symbol(")")?;
        Ok(make(path))
    }

    fn select(&self, items: Option<Vec<Item>>, group_by: &[Path]) -> Result<Select, QueryError> {
        let Some(items) = items else { return select_all(group_by) };
        let aggregates = items.iter().any(|item| matches!(item.value, ItemValue::Aggregate(_)));
        if aggregates || !group_by.is_empty() {
            let columns = items.into_iter().enumerate();
            let columns = columns.map(|(index, item)| aggregate_column(index, item, group_by));
            return columns.collect::<Result<_, _>>().map(Select::Aggregates);
        }
        let columns = items.into_iter().filter_map(|item| match item.value {
            ItemValue::Path(path) => {
                Some(Column { name: item.alias.unwrap_or_else(|| path.last().to_owned()), path })
            }
            ItemValue::Aggregate(_) => None,
        });
        Ok(Select::Columns(columns.collect()))
    }

    fn condition(&mut self) -> Result<Condition, QueryError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.tokens.error(format!("conditions are nested more than {MAX_DEPTH} deep")));
        }
        let mut parts = vec![self.conjunction()?];
        while self.tokens.take_keyword("OR") {
            parts.push(self.conjunction()?);
        }
        self.depth -= 1;
        Ok(one_or(parts, Condition::Or))
    }

    fn conjunction(&mut self) -> Result<Condition, QueryError> {
        let mut parts = vec![self.negation()?];
        while self.tokens.take_keyword("AND") {
            parts.push(self.negation()?);
        }
        Ok(one_or(parts, Condition::And))
    }

    fn negation(&mut self) -> Result<Condition, QueryError> {
        let mut negated = false;
        while self.tokens.take_keyword("NOT") {
            negated = !negated;
        }
        let condition = self.comparison()?;
        Ok(if negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    fn comparison(&mut self) -> Result<Condition, QueryError> {
        if self.tokens.take_symbol("(") {
            let inner = self.condition()?;
            self.tokens.expect_symbol(")")?;
            return Ok(inner);
        }
        let column = self.tokens.peek().column;
        let operand = self.operand()?;
        if let Operand::Path(path) = &operand
            && self.tokens.take_symbol("(")
        {
            // It was the function's name.
            self.paths.pop();
            return self.function(path, column);
        }
        if let Some(operator) = self.take_operator() {
            return Ok(Condition::Compare { left: operand, operator, right: self.operand()? });
        }
        let negated = match (self.tokens.take_keyword("NIN"), self.tokens.take_keyword("NOT")) {
            (true, _) => true,
            (false, true) => {
                self.tokens.expect_keyword("IN")?;
                true
            }
            (false, false) if self.tokens.take_keyword("IN") => false,
            (false, false) => return Ok(Condition::Value(operand)),
        };
        let list = self.literals()?;
        Ok(Condition::In { operand, list, negated })
    }

    /// Parses the rest of a condition after `function(`.
    fn function(&mut self, name: &Path, column: usize) -> Result<Condition, QueryError> {
        let name = name.0.join(".").to_ascii_lowercase();
        if let Some((_, test)) = TEXT_TESTS.iter().find(|(known, _)| *known == name) {
            let (operand, text) = self.two_operands()?;
            return Ok(Condition::Text { test: *test, operand, text });
        }
        if name == "array_contains" {
            let (array, value) = self.two_operands()?;
            return Ok(Condition::ArrayContains { array, value });
        }
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) else {
            let problem = format!("there is no function `{}`", shortened(&name));
            return Err(QueryError { column, problem });
        };
        let operand = self.operand()?;
        self.tokens.expect_symbol(")")?;
        Ok(Condition::Is { kind: *kind, operand })
    }

    /// Parses the rest of a call with two operands after `function(`.
    fn two_operands(&mut self) -> Result<(Operand, Operand), QueryError> {
        let first = self.operand()?;
        self.tokens.expect_symbol(",")?;
        let second = self.operand()?;
        self.tokens.expect_symbol(")")?;
        Ok((first, second))
    }

    fn literals(&mut self) -> Result<Vec<Literal>, QueryError> {
        let close = if self.tokens.take_symbol("(") {
            ")"
        } else {
            self.tokens.expect_symbol("[")?;
            "]"
        };
        if self.tokens.take_symbol(close) {
            return Ok(Vec::new());
        }
        let list = self.list(Self::literal)?;
        self.tokens.expect_symbol(close)?;
        Ok(list)
    }

    fn literal(&mut self) -> Result<Literal, QueryError> {
        let column = self.tokens.peek().column;
        match self.operand()? {
            Operand::Literal(literal) => Ok(literal),
            Operand::Path(path) => Err(QueryError {
                column,
                problem: format!("`{}` is no literal", shortened(&path.0.join("."))),
            }),
        }
    }

    fn operand(&mut self) -> Result<Operand, QueryError> {
        let literal = match &self.tokens.peek().kind {
            TokenKind::Number(number) => Literal::Number(*number),
            TokenKind::Text(text) => Literal::Text(text.clone()),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("true") => Literal::Bool(true),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("false") => Literal::Bool(false),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("null") => Literal::Null,
            _ => return self.row_path().map(Operand::Path),
        };
        self.tokens.next();
        Ok(Operand::Literal(literal))
    }

    /// Parses a path into a row.
    fn row_path(&mut self) -> Result<Path, QueryError> {
        let column = self.tokens.peek().column;
        let path = self.path()?;
        self.paths.push((path.clone(), column));
        Ok(path)
    }

    fn path(&mut self) -> Result<Path, QueryError> {
        let mut names = vec![self.name()?];
        loop {
            if self.tokens.take_symbol(".") {
                names.push(self.name()?);
            } else if self.tokens.take_symbol("[") {
                names.push(self.subscript()?);
            } else {
                return Ok(Path(names));
            }
        }
    }

    /// Parses the rest of a subscript after `[`, as in `tags['a-b']`, which means `tags.[[a-b]]`.
    fn subscript(&mut self) -> Result<String, QueryError> {
        let TokenKind::Text(name) = self.tokens.peek().kind.clone() else {
            return Err(self.tokens.unexpected("a name in quotes"));
        };
        self.tokens.next();
        self.tokens.expect_symbol("]")?;
        Ok(name)
    }

    fn name(&mut self) -> Result<String, QueryError> {
        match self.tokens.peek().kind.clone() {
            TokenKind::Word(name) if KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(&name)) => {
                Err(self
                    .tokens
                    .error(format!("`{name}` is a word of the query language; as a name it is [[{name}]]")))
            }
            _ => self.any_name(),
        }
    }

    fn any_name(&mut self) -> Result<String, QueryError> {
        match self.tokens.peek().kind.clone() {
            TokenKind::Word(name) | TokenKind::QuotedName(name) => {
                self.tokens.next();
                Ok(name)
            }
            _ => Err(self.tokens.unexpected("a name")),
        }
    }

    fn count(&mut self) -> Result<usize, QueryError> {
        match self.tokens.peek().kind {
            TokenKind::Number(number) if number >= 0.0 && number.fract() == 0.0 && number < 1e15 => {
                self.tokens.next();
                Ok(number as usize)
            }
            _ => Err(self.tokens.unexpected("a whole number")),
        }
    }

    fn list<T>(
        &mut self,
        element: impl Fn(&mut Self) -> Result<T, QueryError>,
    ) -> Result<Vec<T>, QueryError> {
        let mut list = vec![element(self)?];
        while self.tokens.take_symbol(",") {
            list.push(element(self)?);
        }
        Ok(list)
    }

    fn take_operator(&mut self) -> Option<Operator> {
        let TokenKind::Symbol(symbol) = self.tokens.peek().kind else {
            return None;
        };
        let (_, operator) = OPERATORS.iter().find(|(known, _)| *known == symbol)?;
        self.tokens.next();
        Some(*operator)
    }
}

fn select_all(group_by: &[Path]) -> Result<Select, QueryError> {
    match group_by {
        [] => Ok(Select::All),
        _ => Err(QueryError { column: 1, problem: "`*` can't be grouped; name the columns".to_owned() }),
    }
}

fn aggregate_column(index: usize, item: Item, group_by: &[Path]) -> Result<AggregateColumn, QueryError> {
    let (value, name) = match item.value {
        // Cosmos DB's name for a value that has none.
        ItemValue::Aggregate(aggregate) => (aggregate, format!("${}", index + 1)),
        ItemValue::Path(path) => match group_by.iter().position(|grouped| *grouped == path) {
            Some(place) => (Aggregate::Group(place), path.last().to_owned()),
            None => {
                return Err(QueryError {
                    column: item.column,
                    problem: format!("`{}` is not grouped by", shortened(&path.0.join("."))),
                });
            }
        },
    };
    Ok(AggregateColumn { value, name: item.alias.unwrap_or(name) })
}

fn one_or(mut parts: Vec<Condition>, many: impl Fn(Vec<Condition>) -> Condition) -> Condition {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}

impl Collection {
    /// Removes the collection's name from a path, which Microsoft's own tools put in front of it.
    fn relative(self, path: &[String]) -> &[String] {
        let prefixes: &[&[&str]] = match self {
            Self::Devices => &[&["devices"]],
            Self::Jobs => &[&["devices", "jobs"], &["devices"], &["jobs"]],
            Self::Modules => &[&["devices", "modules"], &["devices"], &["modules"]],
        };
        let without = |prefix: &&[&str]| {
            let (front, rest) = path.split_at_checked(prefix.len())?;
            let same = front.iter().zip(*prefix).all(|(name, known)| name.eq_ignore_ascii_case(known));
            (same && !rest.is_empty()).then_some(rest)
        };
        prefixes.iter().find_map(without).unwrap_or(path)
    }

    /// The reason why a relative path exists in no row, if it does not: a typing error would
    /// otherwise give an empty result.
    fn path_problem(self, path: &[String]) -> Option<String> {
        match self {
            Self::Devices => column_problem(path, false),
            Self::Jobs => super::jobs::column_problem(path),
            Self::Modules => column_problem(path, true),
        }
    }
}

/// Words that are names only in brackets.
const KEYWORDS: [&str; 15] = [
    "and", "as", "by", "false", "from", "group", "in", "nin", "not", "null", "or", "select", "top", "true",
    "where",
];
const MAX_DEPTH: usize = 100;

const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::NotEqual),
    ("<>", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

const KINDS: [(&str, ValueKind); 9] = [
    ("is_array", ValueKind::Array),
    ("is_bool", ValueKind::Bool),
    ("is_defined", ValueKind::Defined),
    ("is_not_null", ValueKind::NotNull),
    ("is_null", ValueKind::Null),
    ("is_number", ValueKind::Number),
    ("is_object", ValueKind::Object),
    ("is_primitive", ValueKind::Primitive),
    ("is_string", ValueKind::String),
];

const TEXT_TESTS: [(&str, TextTest); 3] = [
    ("contains", TextTest::Contains),
    ("endswith", TextTest::EndsWith),
    ("startswith", TextTest::StartsWith),
];
