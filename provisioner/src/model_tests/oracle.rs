//! The invariants after every step.

use serde_json::Value;

use super::*;
use crate::audit;
use crate::ledger::{Effect, RowState, Totals};
use crate::model_hub::{Logged, What};
use crate::standing::Etags;

impl World {
    pub(super) fn check(&self) {
        let Some(done) = self.runs.last() else { return };
        let rows = self.rows(done.run);
        self.check_accounts(done, &rows);
        for row in &rows {
            self.check_row(done, row);
        }
        match &done.alteration {
            None => self.check_tags(done),
            Some(Alteration::Undo { run }) => self.check_undo(done, *run, &rows),
            Some(_) => {}
        }
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
            let is_done = row.record.state == RowState::Done;
            counted.presumed += u64::from(is_done && row.record.presumed);
            *match (row.record.state, row.record.effect) {
                (RowState::Done, Some(Effect::Created)) => &mut counted.created,
                (RowState::Done, Some(Effect::Updated)) => &mut counted.updated,
                (RowState::Done, Some(Effect::Deleted)) => &mut counted.deleted,
                (RowState::Done, None) => panic!("{} is done, and nobody knows what", row.wanted.identity),
                (RowState::Unchanged, _) => &mut counted.unchanged,
                (RowState::Conflict, _) => &mut counted.conflict,
                (RowState::Failed, _) => &mut counted.failed,
                (RowState::Skipped, _) => &mut counted.skipped,
                (RowState::Pending | RowState::Claimed | RowState::Sent, _) => &mut counted.pending,
            } += 1;
        }
        assert_eq!(totals, counted);
        if done.state == RunState::Finished {
            assert_eq!(totals.pending, 0, "a finished run has no rows left");
        }
        let mut pack = Vec::new();
        audit::write(&mut ledger, done.run, &mut pack).unwrap();
        let records: Vec<Value> =
            pack.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let of_rows: Vec<_> = records.iter().filter(|record| record["record"] == "row").collect();
        assert_eq!(of_rows.len(), rows.len());
        for (row, record) in rows.iter().zip(of_rows) {
            let told = json!([row.record.state, row.record.effect, row.record.presumed]);
            assert_eq!(json!([record["state"], record["effect"], record["presumed"]]), told);
        }
        let end = records.last().unwrap();
        assert_eq!(end["totals"], serde_json::to_value(totals).unwrap());
    }

    /// A row says what the hub's log says that its run did.
    fn check_row(&self, done: &Done, row: &LedgerRow) {
        let (log, by) = (self.hub.log.lock().unwrap(), number(done.run));
        let of_row = |logged: &&Logged| logged.identity == row.wanted.identity;
        let window = log.since(done.log.0).iter().take(done.log.1 - done.log.0).filter(of_row);
        let (mine, theirs): (Vec<_>, Vec<_>) = window.partition(|logged| logged.by == by);
        let has = |effect: Effect| mine.iter().any(|logged| effect_of(logged.what) == effect);
        let (state, effect, presumed) = (row.record.state, row.record.effect, row.record.presumed);
        let context = format!(
            "run {by}, {}: {:?}\nmine: {mine:#?}\ntheirs: {theirs:#?}",
            row.wanted.identity, row.record
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
                if row.wanted.identity.module().is_some() && !theirs.is_empty() => {}
            (_, Some(effect), false) => assert!(has(effect), "{context}"),
            (_, None, _) => assert!(!presumed, "{context}"),
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
        if effect == Some(Effect::Created) {
            assert_eq!(row.before, Etags::default(), "{context}");
        }
    }

    /// The tag of the creator is as the creation has left it.
    fn check_tags(&self, done: &Done) {
        let log = self.hub.log.lock().unwrap();
        for (identity, found) in self.hub.identities.lock().unwrap().iter() {
            let Some(tag) = found.tags.get(TAG) else { continue };
            let created = log
                .since(0)
                .iter()
                .rev()
                .find(|logged| logged.identity == *identity && logged.what == What::Created);
            let by = created.map_or(OTHERS, |logged| logged.by);
            let text = tag.as_str().unwrap_or_default();
            assert!(
                text.ends_with(&format!(" run {by}")),
                "{identity} was created by {by}: {tag}, run {}",
                done.run
            );
        }
    }

    /// An undo deletes what its run created and nobody has changed since, and nothing else.
    fn check_undo(&self, undo: &Done, run: RunId, rows: &[LedgerRow]) {
        let (log, by) = (self.hub.log.lock().unwrap(), number(undo.run));
        let left_by_run = self.rows(run);
        let undone = self.runs.iter().find(|done| done.run == run).unwrap();
        let window: Vec<_> = log.since(undo.log.0).iter().filter(|logged| logged.by == by).collect();
        for deleted in &window {
            assert_eq!(deleted.what, What::Deleted, "{deleted:?}");
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
            let Some(row) = rows.iter().find(|row| row.wanted.identity == deleted.identity) else {
                panic!("it has no row: {deleted:#?}")
            };
            assert!(!row.record.presumed || log.has_lost(by), "{row:#?}");
            let since = log.since(undone.log.1).iter().take(undo.log.0 - undone.log.1);
            let changed: Vec<_> = since.filter(of_same).filter(|logged| logged.by != number(run)).collect();
            let before = deleted.before.as_ref().unwrap();
            let as_wanted =
                row.wanted.state.desired.iter().all(|(name, value)| before.desired.get(name) == Some(value));
            let left = left_by_run.iter().find(|left| left.wanted.identity == deleted.identity).unwrap();
            // Of a run that was not verified nobody knows more than the content: who has made the same again
            // outside of this ledger can't be told from it.
            let by_content = left.etags == Etags::default() && as_wanted;
            let is_own = created.by == number(run) || (created.by == OTHERS && by_content);
            assert!(is_own, "it was not run {run} that made {deleted:#?}");
            assert!(changed.is_empty() || by_content, "{changed:#?} was deleted: {row:#?}");
        }
    }
}

fn effect_of(what: What) -> Effect {
    match what {
        What::Created => Effect::Created,
        What::Deleted => Effect::Deleted,
        What::IdentityUpdated | What::TwinWritten => Effect::Updated,
    }
}
