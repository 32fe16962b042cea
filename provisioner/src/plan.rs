//! Planning: what an apply would do, and how long it would take at the hub's tier. Nothing is written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use hub_types::limits::{OperationClass, Tier, operations_per_second};
use serde::Serialize;

use crate::desired::DesiredState;
use crate::ledger::LedgerRow;
use crate::standing::{Difference, Standing};

/// What an apply would do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The tier that the time is reckoned for.
    pub tier: String,
    /// The units of that tier.
    pub units: u32,
    /// Identities to create.
    pub create: u64,
    /// Identities that are there and need their initial twin.
    pub update: u64,
    /// Identities that are there as the batch wants them.
    pub keep: u64,
    /// Identities that are there and are others.
    pub conflict: u64,
    /// Certificates to issue.
    pub issue: u64,
    /// Operations by the throttle that they fall under, and the seconds each class takes.
    pub operations: BTreeMap<String, Operations>,
    /// The seconds that the slowest class takes: the time of the whole.
    pub seconds: f64,
}

/// Operations of one throttle class.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Operations {
    /// How many.
    pub count: u64,
    /// How long they take at the tier's rate.
    pub seconds: f64,
}

/// What would be done with one row.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedRow {
    /// The line of the batch file.
    pub line: u64,
    /// The identity: `device` or `device/module`.
    pub identity: String,
    /// What would be done.
    pub action: Action,
    /// Where hub and batch differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// What would be done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: it is there and is another.
    Conflict,
    /// It would be created.
    Create,
    /// Nothing: it is there as the batch wants it.
    Keep,
    /// Its initial twin would be written.
    Update,
}

impl Action {
    /// The name that plans show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Create => "create",
            Self::Keep => "keep",
            Self::Update => "update",
        }
    }
}

/// Adds up a plan, row by row.
#[derive(Debug)]
pub struct Planner {
    tier: Tier,
    units: NonZeroU32,
    plan: Plan,
    counts: BTreeMap<OperationClass, u64>,
}

impl Planner {
    /// A plan for a hub of this tier and number of units.
    pub fn new(tier: Tier, units: NonZeroU32) -> Self {
        let plan = Plan {
            tier: tier.to_string(),
            units: units.get(),
            create: 0,
            update: 0,
            keep: 0,
            conflict: 0,
            issue: 0,
            operations: BTreeMap::new(),
            seconds: 0.0,
        };
        Self { tier, units, plan, counts: BTreeMap::new() }
    }

    /// Adds a row and how it stands; answers what would be done with it, unless it is to be kept as it
    /// is. A plan of a million rows is not kept in memory.
    pub fn add(&mut self, row: &LedgerRow, standing: &Standing) -> Option<PlannedRow> {
        let state = &row.wanted.state;
        self.plan.issue += u64::from(state.auth.is_to_be_issued());
        // Whatever happens to it, it is read back in the end.
        self.count(OperationClass::TwinRead);
        let action = match standing {
            Standing::Different(_) | Standing::TwinDiffers(_) => Action::Conflict,
            Standing::Equal | Standing::TwinWrittenSince(_) => Action::Keep,
            Standing::Missing => Action::Create,
            Standing::Staged(_) | Standing::TwinUnwritten => Action::Update,
        };
        match action {
            Action::Conflict => self.plan.conflict += 1,
            Action::Keep => self.plan.keep += 1,
            Action::Create => self.plan_creation(state, row.wanted.identity.module().is_some()),
            Action::Update => {
                self.plan.update += 1;
                self.count(OperationClass::TwinUpdate);
            }
        }
        let differences = standing.differences().to_vec();
        let is_remarkable = action != Action::Keep || !differences.is_empty();
        let identity = &row.wanted.identity;
        is_remarkable.then(|| PlannedRow {
            line: row.line,
            identity: identity.to_string(),
            action,
            differences,
        })
    }

    fn plan_creation(&mut self, state: &DesiredState, is_module: bool) {
        self.plan.create += 1;
        self.count(OperationClass::Registry);
        // A device takes its twin with it; whether a module does is the hub's choice, so plan for no.
        if is_module && state.has_twin() {
            self.count(OperationClass::TwinUpdate);
        }
    }

    /// The plan, with its times.
    pub fn finish(mut self) -> Plan {
        for (class, count) in &self.counts {
            let rate = operations_per_second(*class, self.tier, self.units);
            #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
            let seconds = *count as f64 / rate;
            self.plan.seconds = self.plan.seconds.max(seconds);
            self.plan.operations.insert(class.to_string(), Operations { count: *count, seconds });
        }
        self.plan
    }

    fn count(&mut self, class: OperationClass) {
        *self.counts.entry(class).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DesiredAuth, DesiredIdentity};
    use crate::ledger::{Record, RowState};
    use crate::standing::Etags;
    use hub_types::IdentityId;
    use serde_json::json;

    fn row(name: &str) -> LedgerRow {
        let state = DesiredState {
            auth: DesiredAuth::X509Ca,
            tags: json!({"site": "m"}).as_object().cloned().unwrap(),
            ..DesiredState::default()
        };
        let identity = IdentityId::from_common_name(name).unwrap();
        LedgerRow {
            line: 2,
            wanted: DesiredIdentity { identity, state },
            record: Record::new(RowState::Pending),
            etags: Etags::default(),
        }
    }

    #[test]
    fn a_work_order_of_19200_identities_takes_192_minutes_on_s1() {
        let mut planner = Planner::new(Tier::S1, NonZeroU32::MIN);
        for unit in 0..4800 {
            planner.add(&row(&format!("pump-{unit}")), &Standing::Missing);
            for module in ["a", "b", "c"] {
                planner.add(&row(&format!("pump-{unit}/{module}")), &Standing::Missing);
            }
        }
        let plan = planner.finish();
        assert_eq!(plan.create, 19_200);
        assert_eq!((plan.seconds / 60.0).round(), 192.0);
        assert_eq!(plan.operations["twin update"].count, 14_400);
        assert_eq!(plan.operations["twin update"].seconds.round(), 288.0);
    }

    #[test]
    fn what_is_kept_costs_one_twin_read_and_is_not_listed() {
        let mut planner = Planner::new(Tier::S1, NonZeroU32::MIN);
        assert!(planner.add(&row("a"), &Standing::Equal).is_none());
        let difference =
            Difference { path: "status".into(), wanted: json!("enabled"), found: json!("disabled") };
        let planned = planner.add(&row("b"), &Standing::Different(vec![difference.clone()]));
        let plan = planner.finish();
        assert_eq!((plan.keep, plan.conflict), (1, 1));
        assert_eq!(plan.operations.len(), 1);
        assert_eq!(planned.unwrap().differences, [difference]);
    }
}
