//! Rows in PostgreSQL: one statement for many rows.

use std::time::Duration;

use hub_types::IdentityId;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::column::{Cell, Kind, ResultRow, Value, assignments, names};
use super::super::past_row::PastRow;
use super::super::row::{Change, Changed, ROW, RUN, key};
use super::super::table::Dialect::Postgres;
use super::super::{Lease, LedgerRow, RowFilter, RunOptions};
use super::client::{Client, Error};
use crate::model::run_id::RunId;

pub(super) fn page(
    client: &mut Client,
    run: RunId,
    filter: RowFilter,
    after: Option<&IdentityId>,
    limit: usize,
) -> Result<Vec<LedgerRow>, Error> {
    let (device, module) = after.map_or(("", ""), key);
    let sql = format!(
        r#"SELECT {} FROM "row"
           WHERE run = $1 AND (device_id, module_id) > ($2, $3) AND ({})
           ORDER BY device_id, module_id LIMIT $4"#,
        ROW.names(),
        filter.condition(Postgres)
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    client.query(&sql, &[&run.0, &device, &module, &limit])?.iter().map(LedgerRow::read).collect()
}

pub(super) fn one(
    client: &mut Client,
    run: RunId,
    identity: &IdentityId,
) -> Result<Option<LedgerRow>, Error> {
    let (device, module) = key(identity);
    let columns = ROW.names();
    let sql = format!(r#"SELECT {columns} FROM "row" WHERE run = $1 AND device_id = $2 AND module_id = $3"#);
    client.query_opt(&sql, &[&run.0, &device, &module])?.as_ref().map(LedgerRow::read).transpose()
}

/// The records of an identity in runs on a hub, the newest first.
pub(super) fn past(
    client: &mut Client,
    hub: &str,
    identity: &IdentityId,
    before: Option<RunId>,
) -> Result<Vec<PastRow>, Error> {
    let (device, module) = key(identity);
    let sql = format!(
        r#"SELECT {}, (SELECT options FROM run WHERE id = "row".run) AS options FROM "row"
           WHERE run IN (SELECT id FROM run WHERE hub = $1 AND id < $2) AND device_id = $3 AND module_id = $4
           ORDER BY run DESC"#,
        ROW.names()
    );
    let read = |row: &Row| {
        let RunOptions { maintenance, service, .. } = row.at(ROW.columns.len())?;
        Ok(PastRow { run: ResultRow::get(row, RUN)?, service, maintenance, row: LedgerRow::read(row)? })
    };
    let before = before.map_or(i64::MAX, |run| run.0);
    client.query(&sql, &[&hub, &before, &device, &module])?.iter().map(read).collect()
}

pub(super) fn count(client: &mut Client, run: RunId, filter: RowFilter) -> Result<u64, Error> {
    let condition = filter.condition(Postgres);
    let sql = format!(r#"SELECT count(*) FROM "row" WHERE run = $1 AND ({condition})"#);
    client.query_one(&sql, &[&run.0])?.at(0)
}

/// The lease that a write needs, and its new duration.
#[derive(Clone, Copy)]
pub(super) struct Held<'l> {
    pub(super) lease: &'l Lease,
    pub(super) length: Duration,
}

/// Writes changes of rows. If a lease is given, writes only while it is valid, and extends it;
/// `None` if it was lost.
pub(super) fn update<'c, const CELLS: usize>(
    client: &mut Client,
    run: RunId,
    held: Option<Held<'_>>,
    changes: impl Iterator<Item = Changed<'c, CELLS>>,
) -> Result<Option<()>, Error> {
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    let new = NewRows::new(&changes);
    let mut parameters = Parameters::default();
    let update = new.first.map(|cells| {
        let run = parameters.add(&run.0);
        let (rows, values) = new.sql(cells, &mut parameters);
        format!(
            r#"UPDATE "row" SET {} FROM {rows}
               WHERE "row".run = {run} AND "row".device_id = new.device_id AND "row".module_id = new.module_id"#,
            assignments(cells, &values)
        )
    });
    let Some(Held { lease, length }) = held else {
        return match update {
            Some(update) => client.execute(&update, &parameters.0).map(|_| Some(())),
            None => Ok(Some(())),
        };
    };
    let (length, token) = (length.as_secs_f64(), lease.token.as_bytes());
    let extend = format!(
        "UPDATE chunk SET expires = clock_timestamp() + {} * INTERVAL '1 second'
         WHERE run = {} AND number = {} AND fence = {} AND token = {} RETURNING 1",
        parameters.add(&length),
        parameters.add(&lease.run.0),
        parameters.add(&lease.chunk),
        parameters.add(&lease.fence),
        parameters.add(&token)
    );
    let sql = match update {
        Some(update) => format!(
            "WITH held AS ({extend}), written AS ({update} AND EXISTS (SELECT 1 FROM held)) SELECT 1 FROM held"
        ),
        None => extend,
    };
    Ok(client.query_opt(&sql, &parameters.0)?.map(drop))
}

/// Inserts rows that have these cells.
pub(super) fn insert<const CELLS: usize>(
    client: &mut Client,
    run: RunId,
    changes: &[Change<'_, CELLS>],
) -> Result<(), Error> {
    let new = NewRows::new(changes);
    let Some(cells) = new.first else { return Ok(()) };
    let mut parameters = Parameters::default();
    let (run, names) = (parameters.add(&run.0), names(cells));
    let (rows, values) = new.sql(cells, &mut parameters);
    let sql = format!(
        r#"INSERT INTO "row" (run, device_id, module_id, {names})
           SELECT {run}, device_id, module_id, {} FROM {rows}"#,
        values.join(", ")
    );
    client.execute(&sql, &parameters.0).map(drop)
}

/// The changes of rows, column by column.
struct NewRows<'n> {
    /// The cells of the first row; `None` if there are no rows.
    first: Option<&'n [Cell<'n>]>,
    devices: Vec<&'n str>,
    modules: Vec<&'n str>,
    columns: Vec<Vec<&'n Value<'n>>>,
}

impl<'n> NewRows<'n> {
    fn new<const CELLS: usize>(changes: &'n [Change<'n, CELLS>]) -> Self {
        let (devices, modules) = keys(changes.iter().map(|change| change.identity));
        let mut columns: Vec<_> = (0..CELLS).map(|_| Vec::with_capacity(changes.len())).collect();
        for change in changes {
            columns.iter_mut().zip(&change.cells).for_each(|(column, cell)| column.push(&cell.value));
        }
        Self { first: changes.first().map(|change| change.cells.as_slice()), devices, modules, columns }
    }

    /// The rows as a table `new` with a column for each value that the rows do not share, and the
    /// new values of all cells.
    fn sql(&'n self, cells: &'n [Cell<'n>], parameters: &mut Parameters<'n>) -> (String, Vec<String>) {
        let mut arrays = vec![
            format!("{}::text[]", parameters.add(&self.devices)),
            format!("{}::text[]", parameters.add(&self.modules)),
        ];
        let (mut names, mut values) = (vec!["device_id", "module_id"], Vec::new());
        for (column, cell) in self.columns.iter().zip(cells) {
            let kind = match cell.kind {
                Kind::Flag => "boolean",
                Kind::Integer => "bigint",
                Kind::Key | Kind::Text => "text",
                Kind::SmallInteger => "integer",
            };
            if cell.is_shared {
                values.push(format!("{}::{kind}", parameters.add(&cell.value)));
            } else {
                arrays.push(format!("{}::{kind}[]", parameters.add(column)));
                names.push(cell.column);
                values.push(format!("new.{}", cell.column));
            }
        }
        (format!("unnest({}) AS new ({})", arrays.join(", "), names.join(", ")), values)
    }
}

/// The parameters of a statement.
#[derive(Default)]
struct Parameters<'p>(Vec<&'p (dyn ToSql + Sync)>);

impl<'p> Parameters<'p> {
    /// Adds a parameter, and returns its placeholder.
    fn add(&mut self, value: &'p (dyn ToSql + Sync)) -> String {
        self.0.push(value);
        Postgres.parameter(self.0.len())
    }
}

/// The primary keys of identities, as two columns.
pub(super) fn keys<'i>(identities: impl Iterator<Item = &'i IdentityId>) -> (Vec<&'i str>, Vec<&'i str>) {
    identities.map(key).unzip()
}
