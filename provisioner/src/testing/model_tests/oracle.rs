//! The invariants after every step.

use std::collections::BTreeMap;

use hub_types::identity::Status;
use serde_json::Value;

use super::*;
use crate::audit;
use crate::ledger::{RowState, Totals};
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::report::write_page;
use crate::testing::model_hub::{Identity, Logged, What};

impl World {
    pub(super) fn check(&self) {
        let Some(done) = self.last() else { return };
        let rows = self.rows(done.run);
        self.check_accounts(done, &rows);
        for row in &rows {
            self.check_row(done, row);
        }
        if let Some((plan, planned)) = &done.plan {
            self.check_plan(done, plan, *planned, &rows);
        }
        match done.todo.maintenance() {
            None => self.check_tags(done),
            Some(Maintenance::Undo { run }) => self.check_undo(done, *run, &rows),
            Some(Maintenance::UndoRelease { run }) => self.check_undo_of_release(done, *run),
            Some(_) => {}
        }
    }

    /// Checks that what a plan refuses is not touched, and that an undisturbed run does what its plan says.
    fn check_plan(&self, done: &Done, plan: &[PlannedRow], planned: usize, rows: &[LedgerRow]) {
        let (log, by) = (self.hub.log.lock().unwrap(), number(done.run));
        let is_undisturbed =
            done.is_fine && log.since(planned).iter().take(done.log.0 - planned).count() == 0;
        for (plan, row) in plan.iter().zip(rows) {
            assert_eq!(plan.identity, row.spec.identity.to_string());
            let of_row = |logged: &&Logged| logged.identity == row.spec.identity;
            let context = format!("run {by}: {plan:?}: {:?}", row.record);
            let in_run = log.since(done.log.0).iter().take(done.log.1 - done.log.0);
            let (mine, others): (Vec<_>, Vec<_>) = in_run.filter(of_row).partition(|logged| logged.by == by);
            // Two changes may restore what the plan saw; one never does.
            let before_run = log.since(planned).iter().take(done.log.0 - planned);
            // A device moves no ETag.
            let before_run = before_run.filter(of_row).filter(|logged| logged.what != What::Used);
            let is_changed = before_run.count() == 1 && others.is_empty();
            if plan.action == Action::Refuse || is_changed {
                assert!(mine.is_empty(), "{context}: {mine:#?}");
            }
            if plan.action == Action::Refuse {
                assert_eq!(row.record.reason, Some(ReasonCode::RefusedByPlan), "{context}");
            }
            let has_ended =
                !matches!(row.record.state, RowState::Pending | RowState::Claimed | RowState::Sent);
            // The plan says that the row may fail for this reason.
            let is_doubted = plan.reason.is_some() && row.record.reason == Some(ReasonCode::DeviceDisabled);
            if is_undisturbed && has_ended && !is_doubted {
                let expected = match plan.action {
                    Action::Conflict => (RowState::Conflict, None),
                    Action::Create => (RowState::Done, Some(Effect::Created)),
                    Action::Delete => panic!("an apply deletes nothing: {context}"),
                    Action::Keep => (RowState::Unchanged, None),
                    Action::Refuse => (RowState::Failed, None),
                    Action::Update => (RowState::Done, Some(Effect::Updated)),
                    Action::Wait => panic!("no row of a hub waits: {context}"),
                };
                assert_eq!((row.record.state, row.record.effect), expected, "{context}");
            }
        }
    }

    /// An undo of a release disables what the release has enabled, and does nothing else.
    fn check_undo_of_release(&self, undo: &Done, run: RunId) {
        let (log, by) = (self.hub.log.lock().unwrap(), number(undo.run));
        let released = self.rows(run);
        let identities = self.hub.identities.lock().unwrap();
        for changed in log.since(undo.log.0).iter().filter(|logged| logged.by == by) {
            assert_eq!(changed.what, What::IdentityUpdated, "{changed:?}");
            let row = released.iter().find(|row| row.spec.identity == changed.identity);
            let effect = row.and_then(|row| row.record.effect);
            assert_eq!(effect, Some(Effect::Updated), "the release did not enable it: {changed:#?}");
            let before = changed.before.as_ref().unwrap();
            assert_eq!(before.status, Status::Enabled, "{changed:?}");
            let since = log.since(undo.log.0).iter().filter(|logged| logged.identity == changed.identity);
            if since.count() == 1 {
                let is = &identities[&changed.identity];
                assert_eq!(is.status, Status::Disabled, "{changed:?}");
                let rest = |of: &Identity| {
                    (of.authentication.clone(), of.tags.clone(), of.desired.clone(), of.twin_writes)
                };
                assert_eq!(rest(is), rest(before), "{changed:?}");
            }
        }
    }

    /// The summary as text and the page say what the rows say.
    fn check_page(&self, done: &Done, rows: &[LedgerRow], totals: &Totals) {
        let summary = totals.to_string();
        let mut words = summary.split_whitespace();
        let mut told = Vec::new();
        while let (Some(number), Some(name)) = (words.next(), words.next()) {
            told.push((name.to_owned(), number.parse::<u64>().unwrap()));
            if !matches!(words.next(), Some("=" | "+")) {
                break;
            }
        }
        let (all, parts) = told.split_first().unwrap();
        assert_eq!((all.0.as_str(), all.1), ("rows", rows.len() as u64), "{summary}");
        for (name, count) in totals.parts() {
            let told = parts.iter().find(|(told, _)| told == name).map_or(0, |(_, told)| *told);
            assert_eq!(told, count, "{name}: {summary}");
        }
        assert_eq!(summary.contains("only presumably"), totals.presumed > 0, "{summary}");

        let mut page = Vec::new();
        write_page(&mut self.ledger.lock(), done.run, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for (name, count) in totals.parts().into_iter().filter(|(_, count)| *count > 0) {
            assert!(
                page.contains(&format!("<b>{count}</b> {name}</li>")),
                "{count} {name} is not on the page"
            );
        }
        let Some((_, data)) = page.split_once(DATA) else {
            assert!(rows.is_empty(), "the page has none of {} rows", rows.len());
            return;
        };
        let data = data.split_once("</script>").unwrap().0;
        let data: Value = serde_json::from_str(data).unwrap();
        let shown = data["rows"].as_array().unwrap();
        assert_eq!(shown.len(), rows.len());
        let mut devices: BTreeMap<&str, bool> = BTreeMap::new();
        for (row, shown) in rows.iter().zip(shown) {
            let Record { state, effect, differences, .. } = &row.record;
            let end = match (state, effect, row.drift.as_deref()) {
                (RowState::Done | RowState::Unchanged, _, Some([])) => "missing",
                (RowState::Done | RowState::Unchanged, _, Some(_)) => "different",
                (RowState::Done, Some(effect), None) => effect.as_str(),
                (RowState::Sent | RowState::Claimed | RowState::Pending, ..) => "pending",
                (RowState::Unchanged, ..) => "unchanged",
                (RowState::Conflict, ..) => "conflict",
                (RowState::Failed, ..) => "failed",
                (RowState::Skipped, ..) => "skipped",
                (RowState::Waiting, ..) => "waiting",
                (RowState::Done, None, None) => panic!("{row:?}"),
            };
            let is_well = ["created", "updated", "deleted", "unchanged"].contains(&end);
            let kind = if !is_well {
                1
            } else if differences.is_empty() {
                0
            } else {
                2
            };
            assert_eq!(
                json!([shown[1], shown[2], shown[3]]),
                json!([row.spec.identity.to_string(), end, kind])
            );
            *devices.entry(row.spec.identity.device().as_str()).or_insert(true) &= is_well;
        }
        let well = devices.values().filter(|is_well| **is_well).count();
        let heading = page.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0;
        let first = match (well, devices.len() - well) {
            (0, 0) => "There is nothing in this batch.".to_owned(),
            (1, 0) => "The device is ".to_owned(),
            (well, 0) => format!("All {well} devices are "),
            (0, 1) => "The device is not ".to_owned(),
            (0, others) => format!("None of the {others} devices is "),
            (1, _) => "1 device is ".to_owned(),
            (well, _) => format!("{well} devices are "),
        };
        assert!(heading.starts_with(&first), "{heading}: {first}");
        let is_ready = heading.contains(" ready");
        assert!(!is_ready || done.todo.maintenance().is_none(), "{heading}");
    }

    /// Totals, report and audit pack say what the rows say.
    fn check_accounts(&self, done: &Done, rows: &[LedgerRow]) {
        let mut ledger = self.ledger.lock();
        let totals = ledger.totals(done.run).unwrap();
        assert!(totals.add_up(), "{totals}");
        let mut counted = Totals { rows: rows.len() as u64, ..Totals::default() };
        for row in rows {
            let is_well = matches!(row.record.state, RowState::Done | RowState::Unchanged);
            counted.held += u64::from(is_well && row.record.held_by.is_some());
            let is_sent = row.record.state == RowState::Sent;
            let device = &row.spec.identity;
            let is_open =
                |ledger: &mut Ledger| ledger.unfinished_hold("model", device, None).unwrap().is_some();
            let is_to_disable = is_sent && row.record.held_by.is_some() && is_open(&mut ledger);
            counted.to_disable += u64::from(is_to_disable);
            counted.left_enabled += u64::from(row.record.reason == Some(ReasonCode::LeftEnabled));
            let is_done = row.record.state == RowState::Done;
            counted.presumed += u64::from(is_done && row.record.presumed);
            *match (row.record.state, row.record.effect) {
                (RowState::Done, Some(Effect::Created)) => &mut counted.created,
                (RowState::Done, Some(Effect::Updated)) => &mut counted.updated,
                (RowState::Done, Some(Effect::Deleted)) => &mut counted.deleted,
                (RowState::Done, None) => panic!("{} is done, and nobody knows what", row.spec.identity),
                (RowState::Unchanged, _) => &mut counted.unchanged,
                (RowState::Conflict, _) => &mut counted.conflict,
                (RowState::Failed, _) => &mut counted.failed,
                (RowState::Skipped, _) => &mut counted.skipped,
                (RowState::Waiting, _) => &mut counted.waiting,
                (RowState::Pending | RowState::Claimed | RowState::Sent, _) => &mut counted.pending,
            } += 1;
        }
        assert_eq!(totals, counted);
        if done.state == RunState::Finished {
            assert_eq!(totals.pending, 0, "a finished run has no rows left");
        }
        drop(ledger);
        self.check_page(done, rows, &totals);
        let mut ledger = self.ledger.lock();
        let mut pack = Vec::new();
        audit::write(&mut ledger, done.run, &mut pack).unwrap();
        let records: Vec<Value> =
            pack.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let of_rows: Vec<_> = records.iter().filter(|record| record["record"] == "row").collect();
        assert_eq!(of_rows.len(), rows.len());
        for (row, record) in rows.iter().zip(of_rows) {
            // A request without an answer had no effect that is known.
            let effect = row.record.effect.filter(|_| row.record.state != RowState::Sent);
            let told = json!([row.record.state, effect, row.record.presumed]);
            assert_eq!(json!([record["state"], record["effect"], record["presumed"]]), told);
        }
        let end = records.last().unwrap();
        assert_eq!(end["totals"], serde_json::to_value(totals).unwrap());
    }

    /// A row says what the hub's log says that its run did.
    fn check_row(&self, done: &Done, row: &LedgerRow) {
        let (log, by) = (self.hub.log.lock().unwrap(), number(done.run));
        let of_row = |logged: &&Logged| logged.identity == row.spec.identity;
        let window = log.since(done.log.0).iter().take(done.log.1 - done.log.0).filter(of_row);
        let (mine, theirs): (Vec<_>, Vec<_>) = window.partition(|logged| logged.by == by);
        let has = |effect: Effect| mine.iter().any(|logged| effect_of(logged.what) == effect);
        let (state, effect, presumed) = (row.record.state, row.record.effect, row.record.presumed);
        let context = format!(
            "run {by}, {}: {:?}\nmine: {mine:#?}\ntheirs: {theirs:#?}",
            row.spec.identity, row.record
        );
        match (state, effect, presumed) {
            (RowState::Pending | RowState::Claimed | RowState::Sent, ..) => return,
            (RowState::Unchanged, effect, presumed) => {
                assert_eq!((effect, presumed), (None, false), "{context}");
                // What others have deleted and made again meanwhile is theirs.
                assert!(mine.is_empty() || !theirs.is_empty(), "{context}");
            }
            // A module that goes with its device, and that others have deleted after the look.
            (_, Some(Effect::Deleted), false)
                if row.spec.identity.module().is_some() && !theirs.is_empty() => {}
            (_, Some(effect), false) => assert!(has(effect), "{context}"),
            (_, None, _) => assert!(!presumed, "{context}"),
            // A write that is refused as outdated was repeated after a lost answer, or somebody else was
            // faster; the run can't tell these apart.
            (_, Some(Effect::Updated), true) if !theirs.is_empty() => {}
            // It was created, and others have changed it or put a different one in its place.
            (_, Some(Effect::Created), true) if has(Effect::Created) && !theirs.is_empty() => {}
            (_, Some(_), true) => assert!(log.has_lost(by), "only what was lost is presumed: {context}"),
        }
        let told = |effect: Effect| mine.iter().any(|logged| logged.told && effect_of(logged.what) == effect);
        if theirs.is_empty() {
            let surely = |effect: Effect| (Some(effect), false);
            if told(Effect::Deleted) {
                assert_eq!((effect, presumed), surely(Effect::Deleted), "{context}");
            } else if told(Effect::Created) {
                assert_eq!((effect, presumed), surely(Effect::Created), "{context}");
            } else if told(Effect::Updated) {
                assert!(matches!(effect, Some(Effect::Updated | Effect::Created)), "{context}");
            }
        }
        // What the run made and is still there is said to be its creation, unless it changed it later: then
        // what others made meanwhile can't be told from it.
        let mut of_same = log.since(0).iter().filter(of_row);
        let last = of_same.rfind(|logged| matches!(logged.what, What::Created | What::Deleted));
        if last.is_some_and(|last| last.what == What::Created && last.by == by) {
            let is_changed_later = effect == Some(Effect::Updated) && !theirs.is_empty();
            assert!(
                effect == Some(Effect::Created) || is_changed_later,
                "its creation is forgotten: {context}"
            );
        }
        let deleted: Vec<_> = mine.iter().filter(|logged| logged.what == What::Deleted).collect();
        assert!(deleted.len() <= 1, "deleted again, after somebody made it anew: {context}");
        for deleted in deleted {
            let is_its_creation =
                |logged: &&Logged| logged.generation == deleted.generation && logged.what == What::Created;
            let created = log.since(0).iter().filter(of_row).find(is_its_creation).unwrap();
            assert!(created.by < by, "a later run had made it: {context}");
        }
        if effect == Some(Effect::Created) {
            assert_eq!(row.before, Etags::default(), "{context}");
        }
    }

    /// The tag of the creator names a run that created the identity. A twin that is written after the creation
    /// can meet an identity that others have put in its place in that moment.
    fn check_tags(&self, done: &Done) {
        let log = self.hub.log.lock().unwrap();
        for (identity, found) in self.hub.identities.lock().unwrap().iter() {
            let Some(tag) = found.tags.get(TAG) else { continue };
            let text = tag.as_str().unwrap_or_default();
            let is_by = |logged: &Logged| text.ends_with(&format!(" run {}", logged.by));
            let mut created = log
                .since(0)
                .iter()
                .filter(|logged| logged.identity == *identity && logged.what == What::Created);
            assert!(created.any(is_by), "{identity} was not created by {tag}, run {}", done.run);
        }
    }

    /// An undo deletes what its run created and nobody has changed since, and nothing else.
    fn check_undo(&self, undo: &Done, run: RunId, rows: &[LedgerRow]) {
        let (log, by) = (self.hub.log.lock().unwrap(), number(undo.run));
        let left_by_run = self.rows(run);
        let undone = self.runs.iter().find(|done| done.run == run).unwrap();
        let window: Vec<_> = log.since(undo.log.0).iter().filter(|logged| logged.by == by).collect();
        // Whatever the run has created and is still there is taken back, or named.
        for identity in self.hub.identities.lock().unwrap().keys() {
            let mut of_same = log.since(0).iter().filter(|logged| logged.identity == *identity);
            let created = of_same.rfind(|logged| logged.what == What::Created);
            let Some(created) = created.filter(|created| created.by == number(run)) else { continue };
            // What the run made when it was resumed after the undo began, the undo does not know.
            if log.since(undo.log.0).iter().any(|logged| std::ptr::eq(logged, created)) {
                continue;
            }
            let left = left_by_run.iter().find(|left| left.spec.identity == *identity);
            let is_known =
                created.told || left.is_some_and(|left| left.record.effect == Some(Effect::Created));
            // Without ETags nothing tells it from what a later run presumes to have created.
            let has_etags = left.is_some_and(|left| left.etags != Etags::default());
            let later = self.runs.iter().filter(|other| number(other.run) > number(run));
            let is_presumed = later
                .flat_map(|later| self.rows(later.run))
                .any(|row| row.spec.identity == *identity && row.record.effect == Some(Effect::Created));
            if is_presumed && !has_etags {
                continue;
            }
            let is_named = rows.iter().any(|row| {
                row.spec.identity == *identity
                    && !matches!(row.record.state, RowState::Done | RowState::Unchanged)
            });
            assert!(!is_known || is_named, "{identity} is left by the undo of run {run}: {rows:#?}");
        }
        for deleted in &window {
            assert_eq!(deleted.what, What::Deleted, "{deleted:?}");
            let is_its_device =
                |other: &IdentityId| other.module().is_none() && other.device() == deleted.identity.device();
            let device_stays = rows.iter().any(|row| {
                is_its_device(&row.spec.identity)
                    && matches!(row.record.state, RowState::Conflict | RowState::Failed)
            });
            let device_went = window.iter().any(|logged| is_its_device(&logged.identity));
            assert!(!device_stays || device_went, "a part of a unit that stays: {deleted:#?}");
            let of_same = |logged: &&Logged| {
                logged.identity == deleted.identity && logged.generation == deleted.generation
            };
            let created = log.since(0).iter().filter(of_same).position(|logged| logged.what == What::Created);
            let created = created.and_then(|place| log.since(0).iter().filter(of_same).nth(place)).unwrap();
            let meanwhile = log.since(undo.log.0).iter().any(|logged| std::ptr::eq(logged, created));
            if meanwhile && deleted.identity.module().is_some() {
                // A module that others add after the look goes with its device.
                continue;
            }
            let device = IdentityId::from(deleted.identity.device().clone());
            let later = self.runs.iter().filter(|later| number(later.run) > number(run));
            let changed_by = later.filter(|later| later.run != undo.run).find(|later| {
                let has_changed = self.rows(later.run).into_iter().any(|row| {
                    row.spec.identity == device && row.record.state == RowState::Done && !row.record.presumed
                });
                let of_device =
                    log.since(0).iter().take(undo.log.0).filter(|logged| logged.identity == device);
                has_changed && of_device.into_iter().any(|logged| logged.by == number(later.run))
            });
            if !device_went && let Some(by) = changed_by {
                panic!("a module of a unit that run {} changed: {deleted:#?}", by.run);
            }
            let Some(row) = rows.iter().find(|row| row.spec.identity == deleted.identity) else {
                panic!("it has no row: {deleted:#?}")
            };
            assert!(!row.record.presumed || log.has_lost(by), "{row:#?}");
            let since = log.since(undone.log.1).iter().take(undo.log.0.saturating_sub(undone.log.1));
            let changed: Vec<_> = since.filter(of_same).filter(|logged| logged.by != number(run)).collect();
            let before = deleted.before.as_ref().unwrap();
            let is_late = |logged: &&Logged| logged.what == What::Used;
            let used_late = log.since(undo.log.0).iter().filter(of_same).filter(is_late).count() as u64;
            assert!(before.uses <= used_late, "what its device has used was deleted: {deleted:#?}");
            let as_wanted =
                row.spec.state.desired.iter().all(|(name, value)| before.desired.get(name) == Some(value));
            let left = left_by_run.iter().find(|left| left.spec.identity == deleted.identity).unwrap();
            // Of a run that was not verified nobody knows more than the content: who has made the same again
            // outside of this ledger can't be told from it.
            let by_content = left.etags == Etags::default() && as_wanted;
            let is_own = created.by == number(run) || (created.by == OTHERS && by_content);
            assert!(is_own, "it was not run {run} that made {deleted:#?}");
            assert!(changed.is_empty() || by_content, "{changed:#?} was deleted: {row:#?}");
        }
    }
}

/// What comes before the rows in a page.
const DATA: &str = r#"<script type="application/json" id="data">"#;

fn effect_of(what: What) -> Effect {
    match what {
        What::Created => Effect::Created,
        What::Deleted => Effect::Deleted,
        What::IdentityUpdated | What::TwinWritten | What::Used => Effect::Updated,
    }
}
