//! [`Planner`]: decides the action for each row, and counts. It does no I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;

use hub_types::identity::Status;
use hub_types::limits::{
    MAX_IDENTITIES_PER_HUB, MAX_MODULES_PER_DEVICE, OperationClass, Tier, operations_per_second,
};
use hub_types::{DeviceId, IdentityId};

use super::parents::Parents;
use super::{Action, IdentitySnapshot, Operations, Plan, PlannedRow};
use crate::apply::lifecycle::{Lifecycle, Outcome, Step, WriteRequest};
use crate::driver::Event;
use crate::ledger::{LedgerRow, RowState, unfinished_run};
use crate::model::compare::Comparison;
use crate::model::options::ApplyRules;
use crate::model::spec::{AuthSpec, StateSpec};

/// Adds up a plan, row by row, in the order of the ids.
#[derive(Debug)]
pub(crate) struct Planner {
    rules: ApplyRules,
    tier: Tier,
    units: NonZeroU32,
    plan: Plan,
    counts: BTreeMap<OperationClass, u64>,
    /// The number of identities that the hub can still take; `None` until it is read.
    room: Option<u64>,
    unit: Option<PlannedUnit>,
}

/// The device whose rows are at hand.
#[derive(Debug)]
struct PlannedUnit {
    device: DeviceId,
    /// The action for the device, if it has a row.
    action: Option<Action>,
    /// True if it would be created enabled, and disabled when its modules exist.
    is_staged: bool,
    /// True if it is disabled on the hub, and stays so while its modules are written.
    is_disabled: bool,
    /// Modules that it has on the hub, and those that would be created.
    modules: Option<u64>,
}

/// The hub's state of identities other than those of the rows.
#[derive(Debug, Default)]
pub(super) struct HubContext {
    pub(super) modules: ModuleCounts,
    /// Devices without a row that are disabled and whose modules would be written.
    pub(super) disabled: HashSet<DeviceId>,
    pub(super) parents: Parents,
}

/// The number of modules of devices that would get new ones; `None` if there is no such device.
pub(super) type ModuleCounts = HashMap<DeviceId, Option<u64>>;

impl Planner {
    /// A plan for a hub of this tier and number of units.
    pub(crate) fn new(rules: ApplyRules, tier: Tier, units: NonZeroU32) -> Self {
        let plan = Plan { tier: Some(tier.to_string()), units: Some(units.get()), ..Plan::new(rules) };
        Self { rules, tier, units, plan, counts: BTreeMap::new(), room: None, unit: None }
    }

    /// Tells how many rows are bad and left out.
    pub(crate) fn set_rejected(&mut self, rows: u64) {
        self.plan.rejected = rows;
    }

    /// Tells how many devices and modules the hub has.
    pub(crate) fn set_population(&mut self, identities: u64) {
        self.room = Some((MAX_IDENTITIES_PER_HUB as u64).saturating_sub(identities));
    }

    /// The devices of modules that these rows would write, if what the hub has of them is not known yet; with
    /// each, whether it has a row of its own. A device that would be created has no modules.
    pub(super) fn unknown_devices(&self, rows: &[(LedgerRow, IdentitySnapshot)]) -> Vec<(DeviceId, bool)> {
        let mut devices = Vec::new();
        let is_known = |unit: &&PlannedUnit| unit.action == Some(Action::Create) || unit.modules.is_some();
        let mut known = self.unit.as_ref().filter(is_known).map(|unit| &unit.device);
        let mut with_row = self.unit.as_ref().filter(|unit| unit.action.is_some()).map(|unit| &unit.device);
        for (row, look) in rows {
            let identity = &row.spec.identity;
            let device = identity.device();
            let action = self.action(&look.comparison);
            if identity.module().is_none() {
                with_row = Some(device);
                if action == Action::Create {
                    known = Some(device);
                }
                continue;
            }
            let has_row = with_row == Some(device);
            let is_asked_about = match action {
                Action::Create => true,
                Action::Update => look.twin_too.is_some() && !has_row,
                Action::Conflict | Action::Delete | Action::Keep | Action::Refuse | Action::Wait => false,
            };
            if is_asked_about && known != Some(device) {
                known = Some(device);
                devices.push((device.clone(), has_row));
            }
        }
        devices
    }

    /// Counts the parents that an apply asks the hub for, each once.
    pub(super) fn count_parents(&mut self, parents: usize) {
        self.count(OperationClass::TwinRead, parents as u64);
    }

    /// Adds a row, whose device or parent may be in `known`, and returns its action.
    pub(super) fn add(&mut self, row: &LedgerRow, look: IdentitySnapshot, known: &HubContext) -> PlannedRow {
        let identity = &row.spec.identity;
        if self.unit.as_ref().is_none_or(|unit| unit.device != *identity.device()) {
            self.unit = Some(PlannedUnit {
                device: identity.device().clone(),
                action: None,
                is_staged: false,
                is_disabled: false,
                modules: None,
            });
        }
        let mut action = self.action(&look.comparison);
        let refusal = self.refusal(row, action, &look, known);
        if refusal.is_some() {
            action = Action::Refuse;
        }
        let reason = match &look.comparison {
            Comparison::StagedByRun { run, .. } => Some(unfinished_run(*run, "then provision it")),
            _ => refusal.or_else(|| self.doubt(identity, action, &look, known)),
        };
        self.count_row(row, action, &look);
        if let (Some(unit), None) = (&mut self.unit, identity.module()) {
            unit.action = Some(action);
            // With other changes than those of its twin, a device is enabled until its modules are written;
            // unless a run keeps it disabled.
            unit.is_disabled = look.is_disabled && (look.twin_too.is_none() || look.held_by.is_some());
        }
        let mut differences = look.comparison.differences().to_vec();
        differences.extend(look.twin_too.iter().flat_map(|twin| twin.differences()).cloned());
        PlannedRow {
            line: row.line,
            identity: identity.to_string(),
            action,
            reason,
            differences,
            etags: look.etags,
            held_by: look.held_by,
        }
    }

    /// The first action for an identity.
    pub(super) fn action(&self, comparison: &Comparison) -> Action {
        first_action(self.rules, comparison)
    }

    /// The reason why a row can't succeed.
    fn refusal(
        &mut self,
        row: &LedgerRow,
        action: Action,
        look: &IdentitySnapshot,
        known: &HubContext,
    ) -> Option<String> {
        if row.record.state == RowState::Failed {
            // It failed before anything was asked of the hub.
            return row.record.error.clone();
        }
        let identity = &row.spec.identity;
        if let (Some(_), Some(unit)) = (identity.module(), &self.unit)
            && let Some(closed @ (Action::Conflict | Action::Refuse)) = unit.action
        {
            let (device, what) = (&unit.device, closed.as_str());
            return Some(format!(
                "nothing can be done, because the row of its device `{device}` is `{what}`"
            ));
        }
        let parent = row.spec.state.parent.as_ref();
        let parent_refusal = || parent.and_then(|parent| known.parents.refusal(parent));
        match action {
            Action::Refuse => Some("it does not exist, and mode `update` creates nothing".to_owned()),
            Action::Create => parent_refusal().or_else(|| self.creation_refusal(row, &known.modules)),
            // The identity is written, and its parent with it.
            Action::Update if look.twin_too.is_some() => parent_refusal().or_else(|| look.overflow.clone()),
            Action::Update => look.overflow.clone(),
            Action::Conflict | Action::Delete | Action::Keep | Action::Wait => None,
        }
    }

    /// The reason why a row may fail. A hub denies the calls for one module of a disabled device; its answer
    /// to a module in a bulk call is documented nowhere.
    fn doubt(
        &self,
        identity: &IdentityId,
        action: Action,
        look: &IdentitySnapshot,
        known: &HubContext,
    ) -> Option<String> {
        let unit = self.unit.as_ref().filter(|_| identity.module().is_some())?;
        let is_written = action == Action::Create || (action == Action::Update && look.twin_too.is_some());
        let is_disabled = unit.is_disabled || known.disabled.contains(&unit.device);
        (is_written && is_disabled).then(|| {
            let device = &unit.device;
            format!("its device `{device}` is disabled: the hub may deny access to its modules, and then this row fails")
        })
    }

    fn creation_refusal(&mut self, row: &LedgerRow, known: &ModuleCounts) -> Option<String> {
        let identity = &row.spec.identity;
        if row.spec.state.has_twin() && !self.tier.has_twins() {
            return Some(format!("a hub of tier {} has no twins", self.tier));
        }
        if let (Some(_), Some(unit)) = (identity.module(), &mut self.unit) {
            let on_hub = match unit.action {
                Some(Action::Create) => Some(0),
                _ => known.get(&unit.device).copied().unwrap_or(Some(0)),
            };
            let Some(modules) = unit.modules.or(on_hub) else {
                return Some(format!(
                    "its device `{}` is not on the hub and has no row of its own",
                    unit.device
                ));
            };
            if modules >= MAX_MODULES_PER_DEVICE as u64 {
                return Some(format!(
                    "its device `{}` would have more than {MAX_MODULES_PER_DEVICE} modules, the most that \
                     IoT Hub allows",
                    unit.device
                ));
            }
            unit.modules = Some(modules + 1);
        }
        match &mut self.room {
            Some(0) => Some(format!(
                "the hub would have more than {MAX_IDENTITIES_PER_HUB} devices and modules, the most that IoT \
                 Hub allows"
            )),
            Some(room) => {
                *room -= 1;
                None
            }
            None => None,
        }
    }

    fn count_row(&mut self, row: &LedgerRow, action: Action, look: &IdentitySnapshot) {
        let state = &row.spec.state;
        let is_module = row.spec.identity.module().is_some();
        self.plan.issue += u64::from(state.auth.is_to_be_issued() && row.record.state != RowState::Failed);
        if action != Action::Create {
            // It is there, or is expected to be: an apply looks before it does anything.
            self.count_look(state);
        }
        match action {
            Action::Conflict => self.plan.conflict += 1,
            // No step of a lifecycle deletes anything, and no row of a hub waits.
            Action::Delete | Action::Wait => {}
            Action::Refuse => self.plan.refuse += 1,
            Action::Keep => {
                self.plan.keep += 1;
                self.plan.held += u64::from(look.held_by.is_some());
            }
            Action::Create => self.plan_creation(state, is_module),
            Action::Update => self.plan_update(state, is_module, look),
        }
        if matches!(action, Action::Create | Action::Update | Action::Keep) {
            // What came to a good end is read back.
            self.count_look(state);
        }
    }

    fn plan_creation(&mut self, state: &StateSpec, is_module: bool) {
        self.plan.create += 1;
        self.count(OperationClass::Registry, 1);
        // A device takes its twin with it; whether a module does is the hub's choice, so plan for no.
        if is_module && state.has_twin() {
            self.count(OperationClass::TwinUpdate, 1);
        }
        let Some(unit) = &mut self.unit else { return };
        match is_module {
            false => unit.is_staged = state.status_on_hub() == Status::Disabled,
            // The first module shows that the device has some, and so is disabled afterwards.
            true if std::mem::take(&mut unit.is_staged) => {
                self.count(OperationClass::TwinRead, 2);
                self.count(OperationClass::Registry, 1);
            }
            true => {}
        }
    }

    fn plan_update(&mut self, state: &StateSpec, is_module: bool, look: &IdentitySnapshot) {
        self.plan.update += 1;
        let Some(twin) = &look.twin_too else {
            return self.count(OperationClass::TwinUpdate, 1);
        };
        self.count(OperationClass::Registry, 1);
        if is_module || state.auth == (AuthSpec::Sas { given: false }) {
            // The manager of a module, and keys that the hub made, are read, to be sent along.
            self.count(OperationClass::Registry, 1);
        }
        self.count_look(state);
        if self.action(twin) == Action::Update {
            self.count(OperationClass::TwinUpdate, 1);
        }
    }

    fn count_look(&mut self, state: &StateSpec) {
        self.count(OperationClass::TwinRead, 1);
        if state.auth == (AuthSpec::Sas { given: true }) {
            // Twins do not show keys.
            self.count(OperationClass::Registry, 1);
        }
    }

    fn count(&mut self, class: OperationClass, operations: u64) {
        *self.counts.entry(class).or_default() += operations;
    }

    /// The plan, with its times.
    pub(crate) fn finish(mut self) -> Plan {
        for (class, count) in &self.counts {
            let rate = operations_per_second(*class, self.tier, self.units);
            #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
            let seconds = *count as f64 / rate;
            self.plan.seconds = self.plan.seconds.max(seconds);
            self.plan.operations.insert(class.to_string(), Operations { count: *count, seconds });
        }
        self.plan
    }
}

/// The first action of an apply for an identity or an enrolment.
pub(super) fn first_action(rules: ApplyRules, comparison: &Comparison) -> Action {
    let mut life = Lifecycle::new(rules);
    life.begin(true);
    match life.on(Event::Observed(comparison.clone())) {
        Step::Send(WriteRequest::Create) => Action::Create,
        Step::Send(WriteRequest::UpdateIdentity) | Step::Send(WriteRequest::WriteTwin) => Action::Update,
        Step::Finish(Outcome::Conflict(_) | Outcome::StagedByRun { .. }) => Action::Conflict,
        Step::Finish(Outcome::Absent | Outcome::Failed(_)) => Action::Refuse,
        Step::Finish(_) | Step::Observe => Action::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::compare::{Difference, DifferencePath};
    use crate::model::etags::Etags;
    use crate::model::options::{ApplyMode, TwinPolicy};
    use crate::model::spec::IdentitySpec;
    use serde_json::json;

    fn row(name: &str) -> LedgerRow {
        let state = StateSpec {
            auth: AuthSpec::X509Ca,
            tags: json!({"site": "m"}).as_object().cloned().unwrap().into(),
            ..StateSpec::default()
        };
        let identity = IdentityId::from_common_name(name).unwrap();
        LedgerRow::new(2, IdentitySpec { identity, state })
    }

    fn look(comparison: Comparison) -> IdentitySnapshot {
        IdentitySnapshot {
            comparison,
            twin_too: None,
            overflow: None,
            etags: Etags::default(),
            held_by: None,
            is_disabled: false,
        }
    }

    fn planner(mode: ApplyMode, twin: TwinPolicy) -> Planner {
        Planner::new(ApplyRules { mode, twin }, Tier::S1, NonZeroU32::MIN)
    }

    fn other_credential() -> Comparison {
        Comparison::IdentityDiffers(vec![Difference {
            path: DifferencePath::Auth,
            expected: json!("certificateAuthority"),
            found: json!("sas"),
        }])
    }

    fn other_status() -> Comparison {
        Comparison::IdentityDiffers(vec![Difference {
            path: DifferencePath::Status,
            expected: json!("enabled"),
            found: json!("disabled"),
        }])
    }

    #[test]
    fn a_work_order_of_19200_identities_takes_192_minutes_on_s1() {
        let mut planner = planner(ApplyMode::Create, TwinPolicy::Initial);
        for unit in 0..4800 {
            planner.add(&row(&format!("pump-{unit}")), look(Comparison::Missing), &HubContext::default());
            for module in ["a", "b", "c"] {
                let row = row(&format!("pump-{unit}/{module}"));
                planner.add(&row, look(Comparison::Missing), &HubContext::default());
            }
        }
        let plan = planner.finish();
        assert_eq!(plan.create, 19_200);
        assert_eq!((plan.seconds / 60.0).round(), 192.0);
        assert_eq!(plan.operations["twin update"].count, 14_400);
        assert_eq!(plan.operations["twin update"].seconds.round(), 288.0);
    }

    #[test]
    fn what_is_kept_costs_a_look_and_a_reading_back_and_is_not_remarkable() {
        let mut planner = planner(ApplyMode::Create, TwinPolicy::Initial);
        assert!(!planner.add(&row("a"), look(Comparison::InSync), &HubContext::default()).is_remarkable());
        let planned = planner.add(&row("b"), look(other_status()), &HubContext::default());
        assert_eq!(planned.differences.len(), 1);
        let plan = planner.finish();
        assert_eq!((plan.keep, plan.conflict), (1, 1));
        // Two for what is kept; one for the conflict, which is not read back.
        assert_eq!(plan.operations["twin read"].count, 3);
        assert_eq!(plan.operations.len(), 1);
    }

    #[test]
    fn the_mode_and_the_twin_policy_decide() {
        let written = || Comparison::TwinModified(other_status().differences().to_vec());
        for (mode, twin, comparison, action) in [
            (ApplyMode::Create, TwinPolicy::Initial, Comparison::Missing, Action::Create),
            (ApplyMode::Update, TwinPolicy::Initial, Comparison::Missing, Action::Refuse),
            (ApplyMode::Create, TwinPolicy::Initial, other_status(), Action::Conflict),
            (ApplyMode::Upsert, TwinPolicy::Initial, other_status(), Action::Update),
            (ApplyMode::Create, TwinPolicy::Initial, written(), Action::Keep),
            (ApplyMode::Create, TwinPolicy::Merge, written(), Action::Update),
            (ApplyMode::Create, TwinPolicy::Initial, Comparison::TwinNotWritten, Action::Update),
        ] {
            let planned =
                planner(mode, twin).add(&row("a"), look(comparison.clone()), &HubContext::default());
            assert_eq!(planned.action, action, "{mode:?} {twin:?} {comparison:?}");
            assert_eq!(planned.reason.is_some(), action == Action::Refuse);
        }
    }

    #[test]
    fn the_fifty_first_module_is_refused_with_those_that_the_hub_has() {
        let modules =
            ModuleCounts::from([("pump".parse().unwrap(), Some(48)), ("gone".parse().unwrap(), None)]);
        let known = HubContext { modules, ..HubContext::default() };
        let mut planner = planner(ApplyMode::Create, TwinPolicy::Initial);
        let mut action = |name, comparison| planner.add(&row(name), look(comparison), &known).action;
        assert_eq!(action("pump", Comparison::InSync), Action::Keep);
        assert_eq!(action("pump/a", Comparison::Missing), Action::Create);
        assert_eq!(action("pump/b", Comparison::InSync), Action::Keep);
        assert_eq!(action("pump/c", Comparison::Missing), Action::Create);
        assert_eq!(action("pump/d", Comparison::Missing), Action::Refuse);
        assert_eq!(action("gone/a", Comparison::Missing), Action::Refuse);
        let plan = planner.finish();
        assert_eq!((plan.create, plan.keep, plan.refuse), (2, 2, 2));
    }

    #[test]
    fn it_is_told_that_a_hub_may_deny_access_to_the_modules_of_a_disabled_device() {
        let mut planner = planner(ApplyMode::Upsert, TwinPolicy::Initial);
        let other = || IdentitySnapshot { twin_too: Some(Comparison::InSync), ..look(other_credential()) };
        let disabled = |look: IdentitySnapshot| IdentitySnapshot { is_disabled: true, ..look };
        let held = |look: IdentitySnapshot| IdentitySnapshot {
            held_by: Some(serde_json::from_value(json!(1)).unwrap()),
            ..disabled(look)
        };
        let known =
            HubContext { disabled: HashSet::from(["rowless".parse().unwrap()]), ..HubContext::default() };
        let mut is_told = |name, look, action| {
            let planned = planner.add(&row(name), look, &known);
            assert_eq!(planned.action, action, "{name}");
            planned.reason.is_some_and(|reason| reason.contains("the hub may deny access"))
        };
        assert!(!is_told("as-spec", disabled(look(Comparison::InSync)), Action::Keep));
        assert!(is_told("as-spec/a", look(Comparison::Missing), Action::Create));
        assert!(is_told("as-spec/b", other(), Action::Update));
        assert!(!is_told("as-spec/c", look(Comparison::TwinNotWritten), Action::Update));
        assert!(!is_told("changed", disabled(other()), Action::Update));
        assert!(!is_told("changed/a", look(Comparison::Missing), Action::Create));
        assert!(!is_told("held", held(other()), Action::Update));
        assert!(is_told("held/a", look(Comparison::Missing), Action::Create));
        assert!(is_told("rowless/a", look(Comparison::Missing), Action::Create));
        assert!(is_told("rowless/b", other(), Action::Update));
    }

    #[test]
    fn modules_of_a_device_that_stays_another_are_refused() {
        let mut planner = planner(ApplyMode::Create, TwinPolicy::Initial);
        planner.add(&row("pump"), look(other_status()), &HubContext::default());
        let module = planner.add(&row("pump/a"), look(Comparison::Missing), &HubContext::default());
        assert!(module.reason.unwrap().contains("`pump` is `conflict`"));
        let next = planner.add(&row("pump2"), look(Comparison::Missing), &HubContext::default());
        assert_eq!(next.action, Action::Create);
    }

    #[test]
    fn a_full_hub_takes_no_more() {
        let mut planner = planner(ApplyMode::Create, TwinPolicy::Initial);
        planner.set_population(999_999);
        let mut action =
            |name, comparison| planner.add(&row(name), look(comparison), &HubContext::default()).action;
        assert_eq!(action("a", Comparison::Missing), Action::Create);
        assert_eq!(action("b", Comparison::InSync), Action::Keep);
        assert_eq!(action("c", Comparison::Missing), Action::Refuse);
    }

    #[test]
    fn a_tier_without_twins_refuses_twins() {
        let rules = ApplyRules::default();
        let mut planner = Planner::new(rules, Tier::B1, NonZeroU32::MIN);
        let planned = planner.add(&row("a"), look(Comparison::Missing), &HubContext::default());
        assert_eq!(planned.reason.as_deref(), Some("a hub of tier B1 has no twins"));
    }

    #[test]
    fn a_device_in_quarantine_costs_a_second_call() {
        let mut planner = planner(ApplyMode::Create, TwinPolicy::Initial);
        let mut device = row("pump");
        device.spec.state.status = Status::Disabled;
        planner.add(&device, look(Comparison::Missing), &HubContext::default());
        for module in ["pump/a", "pump/b"] {
            planner.add(&row(module), look(Comparison::Missing), &HubContext::default());
        }
        assert_eq!(planner.finish().operations["registry"].count, 4);
    }

    #[test]
    fn only_devices_that_get_modules_and_were_there_are_asked_about() {
        let mut planner = planner(ApplyMode::Create, TwinPolicy::Initial);
        let rows = |list: &[(&str, Comparison)]| -> Vec<(LedgerRow, IdentitySnapshot)> {
            list.iter().map(|(name, comparison)| (row(name), look(comparison.clone()))).collect()
        };
        let page = rows(&[
            ("new", Comparison::Missing),
            ("new/a", Comparison::Missing),
            ("old", Comparison::InSync),
            ("old/a", Comparison::InSync),
            ("old/b", Comparison::Missing),
            ("old/c", Comparison::Missing),
            ("same", Comparison::InSync),
            ("same/a", Comparison::InSync),
        ]);
        let asked = planner.unknown_devices(&page);
        assert_eq!(asked, [("old".parse().unwrap(), true)]);
        let modules = ModuleCounts::from([("same".parse().unwrap(), Some(1))]);
        let known = HubContext { modules, ..HubContext::default() };
        for (row, look) in page {
            planner.add(&row, look, &known);
        }
    }
}
