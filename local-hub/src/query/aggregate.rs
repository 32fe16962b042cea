//! Aggregates: groups of twins, with a count or sum over each.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::condition::Scalar;
use super::syntax::{Aggregate, AggregateColumn, Path};
use crate::registry::TwinDocument;

/// The groups so far, in the order of their keys.
#[derive(Debug)]
pub(crate) struct Groups<'q> {
    columns: &'q [AggregateColumn],
    group_by: &'q [Path],
    /// The accumulators by the JSON texts of the values grouped by; absent values form their own
    /// group.
    groups: BTreeMap<Vec<Option<String>>, Vec<Accumulator>>,
}

impl<'q> Groups<'q> {
    pub(crate) fn new(columns: &'q [AggregateColumn], group_by: &'q [Path]) -> Self {
        let mut groups = BTreeMap::new();
        if group_by.is_empty() {
            // Without GROUP BY there is one group, even of nothing.
            groups.insert(Vec::new(), vec![Accumulator::default(); columns.len()]);
        }
        Self { columns, group_by, groups }
    }

    pub(crate) fn add(&mut self, twin: &TwinDocument<'_>) {
        let key = self.group_by.iter().map(|path| text_at(twin, path)).collect();
        let columns = self.columns;
        let accumulators =
            self.groups.entry(key).or_insert_with(|| vec![Accumulator::default(); columns.len()]);
        for (column, accumulator) in columns.iter().zip(accumulators) {
            match &column.value {
                Aggregate::Count => accumulator.count += 1,
                Aggregate::Group(_) => {}
                Aggregate::Avg(path) | Aggregate::Max(path) | Aggregate::Min(path) | Aggregate::Sum(path) => {
                    if let Scalar::Number(number) = twin.lookup(&path.0).into() {
                        accumulator.add(number);
                    }
                }
            }
        }
    }

    /// One row per group.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let rows = self.groups.iter().map(|(key, accumulators)| {
            let cells = self.columns.iter().zip(accumulators);
            let cells = cells.filter_map(|(column, accumulator)| {
                let value = match column.value {
                    Aggregate::Group(place) => key.get(place)?.as_deref().and_then(parsed),
                    Aggregate::Count => Some(json!(accumulator.count)),
                    Aggregate::Avg(_) => accumulator.average(),
                    Aggregate::Max(_) => accumulator.max.map(number),
                    Aggregate::Min(_) => accumulator.min.map(number),
                    Aggregate::Sum(_) => Some(number(accumulator.sum)),
                };
                Some((column.name.clone(), value?))
            });
            Value::Object(cells.collect::<Map<_, _>>())
        });
        rows.collect()
    }
}

/// The state of one column of one group.
#[derive(Debug, Clone, Default)]
struct Accumulator {
    count: u64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
}

impl Accumulator {
    fn add(&mut self, number: f64) {
        self.count += 1;
        self.sum += number;
        self.min = Some(self.min.map_or(number, |min| min.min(number)));
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
    }

    fn average(&self) -> Option<Value> {
        (self.count > 0).then(|| number(self.sum / self.count as f64))
    }
}

fn text_at(twin: &TwinDocument<'_>, path: &Path) -> Option<String> {
    match twin.lookup(&path.0) {
        crate::registry::Datum::Missing => None,
        datum => serde_json::to_string(&datum).ok(),
    }
}

fn parsed(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// Returns a JSON number; whole numbers are written without a fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < MAX_EXACT { json!(value as i64) } else { json!(value) }
}

/// The largest number up to which a floating-point number represents every whole number.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
