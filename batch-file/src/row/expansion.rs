//! [`Expansion`]: the rows of a device's modules, made of the row of the device.

use std::collections::VecDeque;
use std::sync::Arc;

use csv::StringRecord;
use hub_types::ModuleId;
use hub_types::limits::MAX_MODULES_PER_DEVICE;
use serde_json::Value;

use crate::header::cells::{Cell, Cells, CsvRow, JsonCell};
use crate::header::column::{Column, Field};
use crate::header::{Header, HeaderCell, overlaps};
use crate::problem::Problem;
use crate::row::{BadRow, Row};

/// Makes the rows of modules: each has the ids, its own columns, and the device's `auth` and free
/// columns, unless it has its own.
pub(crate) struct Expansion {
    modules: Vec<ModuleId>,
    /// The columns that [`Self::plans`] are for.
    headers: Vec<Arc<HeaderCell>>,
    plans: Vec<ModulePlan>,
}

/// The columns of one module's rows.
struct ModulePlan {
    id: ModuleId,
    header: Arc<Header>,
    cells: Arc<[Arc<HeaderCell>]>,
    origins: Vec<Origin>,
    /// The rows that were made last. Their memory is reused unless it is still referenced.
    recent: VecDeque<Arc<CsvRow>>,
}

/// The origin of a module's cell.
#[derive(Clone, Copy)]
enum Origin {
    /// The device's id, at this place of the device's row.
    DeviceId(usize),
    /// The module's id.
    ModuleId,
    /// The cell at this place.
    Cell(usize),
    /// The first of two cells, or the second where the first is empty.
    CellOr(usize, usize),
}

impl Expansion {
    /// Returns `None` if no modules are listed.
    pub(crate) fn new(modules: &[ModuleId]) -> Option<Self> {
        // More are reported with the header.
        let modules: Vec<_> = modules.iter().take(MAX_MODULES_PER_DEVICE).cloned().collect();
        (!modules.is_empty()).then(|| Self { modules, headers: Vec::new(), plans: Vec::new() })
    }

    /// The number of modules of each device.
    pub(crate) fn count(&self) -> usize {
        self.modules.len()
    }

    /// The cells of a module's row, by the module's number.
    pub(crate) fn cells(&mut self, number: usize, device: &Cells) -> Option<Cells> {
        let headers = device.headers();
        let is_known = self.headers.len() == headers.len()
            && self.headers.iter().zip(headers).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_known {
            self.headers = headers.to_vec();
            self.plans = self.modules.iter().map(|module| ModulePlan::new(module, headers)).collect();
        }
        self.plans.get_mut(number).map(|plan| plan.cells(device))
    }
}

impl ModulePlan {
    fn new(id: &ModuleId, headers: &[Arc<HeaderCell>]) -> Self {
        let mut cells: Vec<Arc<HeaderCell>> = Vec::new();
        let mut origins = Vec::new();
        let of_module = |header: &HeaderCell| match &header.column {
            Some(Column::Module(own)) if own.module == *id => Some(own.column.clone()),
            _ => None,
        };
        let own = |wanted: &Column| {
            headers.iter().position(|header| of_module(header).is_some_and(|own| own.is_same(wanted)))
        };
        let as_own = |header: &HeaderCell, column: Column| {
            let (written, name) = (header.name.clone(), column.to_string());
            Arc::new(HeaderCell {
                written,
                name,
                column: Some(column),
                place: header.place,
                is_of_module: true,
            })
        };
        for (place, header) in headers.iter().enumerate() {
            let origin = match &header.column {
                Some(Column::Field(Field::DeviceId)) => Origin::DeviceId(place),
                Some(column @ Column::Field(Field::Auth)) => {
                    own(column).map_or(Origin::Cell(place), |own| Origin::CellOr(own, place))
                }
                Some(column @ Column::Free(_)) if own(column).is_none() => Origin::Cell(place),
                _ => continue,
            };
            let own = match origin {
                Origin::CellOr(own, _) => headers.get(own),
                _ => None,
            };
            cells.push(own.map_or_else(|| Arc::clone(header), |own| as_own(own, Column::Field(Field::Auth))));
            origins.push(origin);
        }
        cells.push(Arc::new(module_id()));
        origins.push(Origin::ModuleId);
        for (place, header) in headers.iter().enumerate() {
            let Some(column) = of_module(header) else { continue };
            let is_inherited = *column == Column::Field(Field::Auth)
                && cells.iter().any(|other| other.column.as_ref() == Some(&column));
            if !is_inherited {
                cells.push(as_own(header, *column));
                origins.push(Origin::Cell(place));
            }
        }
        let header = Arc::new(Header { overlaps: overlaps(&cells), cells: cells.clone(), is_given: false });
        Self { id: id.clone(), header, cells: cells.into(), origins, recent: VecDeque::new() }
    }

    fn cells(&mut self, device: &Cells) -> Cells {
        match device.csv_record() {
            Some(record) => self.csv_cells(record),
            None => self.json_cells(device),
        }
    }

    fn csv_cells(&mut self, device: &StringRecord) -> Cells {
        let is_full = self.recent.len() >= KEPT_ROWS;
        let oldest = is_full.then(|| self.recent.pop_front()).flatten();
        let spare = oldest.filter(|row| Arc::strong_count(row) == 1);
        let new = || CsvRow { header: Arc::clone(&self.header), record: StringRecord::new() };
        let mut row = spare.unwrap_or_else(|| Arc::new(new()));
        let record = &mut Arc::make_mut(&mut row).record;
        record.clear();
        let cell = |place: usize| device.get(place).unwrap_or_default();
        for origin in &self.origins {
            record.push_field(match *origin {
                Origin::DeviceId(place) => cell(place).trim(),
                Origin::ModuleId => self.id.as_str(),
                Origin::Cell(place) => cell(place),
                Origin::CellOr(own, place) if cell(own).is_empty() => cell(place),
                Origin::CellOr(own, _) => cell(own),
            });
        }
        if record.as_slice().len() < MAX_KEPT_BYTES {
            self.recent.push_back(Arc::clone(&row));
        }
        Cells::of_csv(row)
    }

    fn json_cells(&self, device: &Cells) -> Cells {
        let values: Vec<_> = device.values().collect();
        let cell = |place: usize| match values.get(place) {
            Some(Cell::Json(cell)) => (*cell).clone(),
            _ => JsonCell { value: Value::Null, numbers: Vec::new() },
        };
        let values = self.origins.iter().map(|origin| match *origin {
            Origin::DeviceId(place) | Origin::Cell(place) => cell(place),
            Origin::ModuleId => JsonCell { value: self.id.as_str().into(), numbers: Vec::new() },
            Origin::CellOr(own, _) if !Cell::Json(&cell(own)).is_empty() => cell(own),
            Origin::CellOr(_, place) => cell(place),
        });
        Cells::of_json(Arc::clone(&self.cells), values.collect())
    }
}

/// The column of the module's id.
fn module_id() -> HeaderCell {
    let (name, column) = (Field::ModuleId.name().to_owned(), Some(Column::Field(Field::ModuleId)));
    HeaderCell { written: name.clone(), name, column, place: None, is_of_module: false }
}

/// Completes the rows of one device and its modules, after all were compared with earlier ones. Problems
/// of columns that a module has from its device are the device's. Where the device's row is bad, its
/// modules are no rows: their problems become the device's.
pub(crate) fn complete(
    mut device: Result<Row, BadRow>,
    modules: Vec<Result<Row, BadRow>>,
) -> Vec<Result<Row, BadRow>> {
    let is_bad = device.is_err();
    let modules: Vec<_> = modules.into_iter().map(|row| with_own_problems(row, is_bad)).collect();
    let Err(bad) = &mut device else {
        return std::iter::once(device).chain(modules).collect();
    };
    for module in modules {
        let problems = match module {
            Ok(module) => module.warnings,
            Err(module) => module.problems,
        };
        let of_cells = |problem: &Problem| problem.column.as_deref() != Some(Field::ModuleId.name());
        bad.problems.extend(problems.into_iter().filter(of_cells));
    }
    vec![device]
}

/// The row with the problems of its own columns only, under the names that these have in the file.
fn with_own_problems(mut row: Result<Row, BadRow>, is_device_bad: bool) -> Result<Row, BadRow> {
    let (cells, problems) = match &mut row {
        Ok(row) => (Some(&row.cells), &mut row.warnings),
        Err(bad) => (bad.cells.as_ref(), &mut bad.problems),
    };
    let Some(cells) = cells.filter(|_| !problems.is_empty()) else { return row };
    let header = |name: &str| cells.headers().iter().find(|header| header.name == name);
    let is_inherited = |problem: &Problem| {
        let name = problem.column.as_deref().filter(|name| *name != Field::ModuleId.name());
        name.and_then(header).is_some_and(|header| !header.is_of_module)
    };
    if is_device_bad || !problems.iter().all(is_inherited) || !problems.iter().any(Problem::is_error) {
        problems.retain(|problem| !is_inherited(problem));
    }
    for problem in problems {
        if let Some(label) = problem.column.as_deref().and_then(header).map(|header| header.label()) {
            problem.column = Some(label.to_owned());
        }
    }
    row
}

/// The number of kept rows of a module: those that are read ahead, the one before them, and the
/// caller's current one.
const KEPT_ROWS: usize = crate::row::source::MAX_ROWS_AHEAD + 2;
/// The size in bytes above which a row's memory is released.
const MAX_KEPT_BYTES: usize = 64 * 1024;
