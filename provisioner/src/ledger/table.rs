//! Tables: the columns that each has in both databases.
//!
//! [`table!`] declares the columns of a table once. The statements that make and migrate the table,
//! its readers and its writers follow from the declaration.

use super::column::{Kind, Stored};
use super::{progress_sample, row, run, session};

/// Declares the table `$table` and its columns, in their order in the database: the name in the
/// code, the name in the database, the type, and what else the definition has. It is used once in a
/// module.
macro_rules! table {
    (
        $table:ident = $table_name:literal, key $key:expr;
        $($column:ident = $name:literal: $type:ty $(, $more:ident $(($argument:literal))?)*;)+
    ) => {
        /// The positions of the columns.
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "these are the names of constants")]
        enum Position { $($column),+ }

        $(#[allow(dead_code, reason = "a column may be one that only the database uses")]
        pub(super) const $column: $crate::ledger::column::Column<$type> =
            $crate::ledger::column::Column::new($name, Position::$column as usize);)+

        pub(super) const $table: $crate::ledger::table::Table = $crate::ledger::table::Table {
            name: $table_name,
            key: $key,
            columns: &[
                $($crate::ledger::table::Definition::of::<$type>($name)$(.$more($($argument)?))*),+
            ],
        };
    };
}
pub(super) use table;

/// A table of a ledger.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The columns of the primary key, if it is not the number that the database gives.
    pub(super) key: Option<&'static str>,
    pub(super) columns: &'static [Definition],
}

/// The definition of a column.
pub(super) struct Definition {
    name: &'static str,
    kind: Kind,
    is_optional: bool,
    origin: Origin,
    since: i64,
}

/// The source of a column's value in a new row.
#[derive(Clone, Copy)]
enum Origin {
    /// The row has it.
    Row,
    /// Zero or the empty text, if the row has no value.
    Default,
    /// The database gives a new number.
    Generated,
    /// The table `run` has it.
    Run,
}

impl Definition {
    pub(super) const fn of<T: Stored>(name: &'static str) -> Self {
        Self { name, kind: T::KIND, is_optional: T::IS_OPTIONAL, origin: Origin::Row, since: 1 }
    }

    /// Sets the version of the tables that first had the column.
    pub(super) const fn since(self, version: i64) -> Self {
        Self { since: version, ..self }
    }

    /// Marks a column that is zero or empty in rows without a value.
    pub(super) const fn with_default(self) -> Self {
        Self { origin: Origin::Default, ..self }
    }

    /// Marks the number that the database gives each row.
    pub(super) const fn generated(self) -> Self {
        Self { origin: Origin::Generated, ..self }
    }

    /// Marks the number of a run.
    pub(super) const fn of_run(self) -> Self {
        Self { origin: Origin::Run, ..self }
    }

    fn sql(&self, dialect: Dialect) -> String {
        let Self { name, kind, is_optional, origin, .. } = *self;
        let presence = if is_optional { "" } else { " NOT NULL" };
        let (kind, zero) = dialect.kind(kind);
        match origin {
            Origin::Default => format!("{name} {kind}{presence} DEFAULT {zero}"),
            Origin::Generated => format!("{name} {}", dialect.generated()),
            Origin::Row => format!("{name} {kind}{presence}"),
            Origin::Run => format!("{name} {kind}{presence} REFERENCES run(id)"),
        }
    }
}

impl Table {
    /// The names of all columns, in the order of the readers.
    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// The statement that makes the table as a version had it. `rest` is the end of the statement.
    pub(super) fn create(&self, dialect: Dialect, version: i64, rest: &str) -> String {
        let known = self.columns.iter().filter(|column| column.since <= version);
        let key = self.key.map(|key| format!("PRIMARY KEY ({key})"));
        let lines: Vec<String> = known.map(|column| column.sql(dialect)).chain(key).collect();
        format!("CREATE TABLE \"{}\" (\n    {}\n) {rest};\n", self.name, lines.join(",\n    "))
    }

    fn additions(&self, dialect: Dialect, version: i64) -> String {
        let added = self.columns.iter().filter(|column| column.since == version);
        added
            .map(|column| format!("ALTER TABLE \"{}\" ADD COLUMN {};\n", self.name, column.sql(dialect)))
            .collect()
    }
}

/// The statements that add the columns of a version to tables of the version before.
pub(super) fn additions(dialect: Dialect, version: i64) -> String {
    TABLES.iter().map(|table| table.additions(dialect, version)).collect()
}

const TABLES: &[&Table] = &[&run::RUN, &row::ROW, &session::SESSION, &progress_sample::PROGRESS_SAMPLE];

/// The version of the tables that a ledger has: that of the newest column. An older ledger is
/// brought up to it when it is opened.
pub(super) const VERSION: i64 = newest(TABLES);

const fn newest(mut tables: &[&Table]) -> i64 {
    let mut version = 0;
    while let [table, other_tables @ ..] = tables {
        let mut columns = table.columns;
        while let [column, other_columns @ ..] = columns {
            if column.since > version {
                version = column.since;
            }
            columns = other_columns;
        }
        tables = other_tables;
    }
    version
}

/// The kinds of databases, which differ in their SQL.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    /// The type of a column, and the literal of its zero.
    fn kind(self, kind: Kind) -> (&'static str, &'static str) {
        match (self, kind) {
            (Self::Postgres, Kind::Flag) => ("BOOLEAN", "FALSE"),
            (Self::Postgres, Kind::Integer) => ("BIGINT", "0"),
            (Self::Postgres, Kind::Key) => (r#"TEXT COLLATE "C""#, "''"),
            (Self::Postgres, Kind::SmallInteger)
            | (Self::Sqlite, Kind::Flag | Kind::Integer | Kind::SmallInteger) => ("INTEGER", "0"),
            (Self::Postgres, Kind::Text) | (Self::Sqlite, Kind::Key | Kind::Text) => ("TEXT", "''"),
        }
    }

    /// The type of a column with numbers that the database gives.
    fn generated(self) -> &'static str {
        match self {
            Self::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            Self::Sqlite => "INTEGER PRIMARY KEY",
        }
    }

    /// The placeholder of a statement's parameter, from 1.
    pub(super) fn parameter(self, number: usize) -> String {
        match self {
            Self::Postgres => format!("${number}"),
            Self::Sqlite => format!("?{number}"),
        }
    }
}
