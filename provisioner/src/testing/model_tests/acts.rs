//! The operations of a test, and their faults.

use std::sync::Arc;

use hub_types::identity::{Status, StatusReason};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use crate::testing::model_hub::{ForeignChange, Other};
use crate::testing::thumbprint;

pub(super) const OLD: &str = "AA";
const NEW: &str = "BB";

/// One step.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) work: Work,
    pub(super) disturbances: Disturbances,
}

#[derive(Debug, Clone)]
pub(super) enum Work {
    Apply(ApplyAct),
    /// An operation on existing identities, and the thumbprint that their rows name first.
    Maintain(Maintenance, Vec<&'static str>, &'static str),
    Meddle(ForeignChange),
    /// A plan of this is made, others do something, and the plan is carried out.
    Planned(ApplyAct, Vec<ForeignChange>),
    /// One of the runs so far that did not come to their end is taken up again.
    Resume(usize),
    /// One of the applies so far.
    Undo(usize),
    /// One of the releases so far.
    UndoRelease(usize),
}

/// The faults during a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Disturbances {
    /// The faults of its requests, from the last to the first.
    pub(super) faults: Vec<CallFault>,
    /// After how many calls it is cut off, each time.
    pub(super) cuts: Vec<usize>,
    /// The changes of other clients, and the number of calls before each.
    pub(super) meddlings: Vec<(usize, ForeignChange)>,
    /// True if it is resumed at the end.
    pub(super) resumed: bool,
    /// After how many calls another station takes over what this one has in hand, which does not know of it.
    pub(super) joined: Option<usize>,
}

impl Disturbances {
    pub(super) fn fine() -> Self {
        Self { resumed: true, ..Self::default() }
    }

    /// Whether nothing stands in a run's way.
    pub(super) fn is_fine(&self) -> bool {
        let Self { faults, cuts, meddlings, resumed, joined } = self;
        faults.is_empty() && cuts.is_empty() && meddlings.is_empty() && *resumed && joined.is_none()
    }
}

#[derive(Debug, Clone)]
pub(super) struct ApplyAct {
    pub(super) names: Vec<&'static str>,
    pub(super) rules: ApplyRules,
    pub(super) quarantined: bool,
    /// True if the rows of devices ask for `disabled`.
    pub(super) disabled: bool,
    pub(super) thumbprint: &'static str,
    pub(super) interval: u32,
    pub(super) tagged: bool,
    pub(super) look_first: bool,
    pub(super) verified: bool,
}

impl ApplyAct {
    pub(super) fn spec(&self, name: &str) -> IdentitySpec {
        let mut spec = spec(name, self.thumbprint, None, self.interval);
        if self.disabled && spec.identity.module().is_none() {
            spec.state.status = Status::Disabled;
        }
        if self.quarantined && spec.identity.module().is_none() {
            spec.state.quarantine();
        }
        spec
    }
}

pub(super) fn spec(name: &str, primary: &str, secondary: Option<&str>, interval: u32) -> IdentitySpec {
    let thumbprint = |byte: &str| thumbprint(&identity(name), byte);
    let auth =
        AuthSpec::Thumbprint { primary: Some(thumbprint(primary)), secondary: secondary.map(thumbprint) };
    let desired = json!({ "interval": interval }).as_object().cloned().unwrap();
    let tags = json!({ "name": name }).as_object().cloned().unwrap();
    let (desired, tags, edge) = (Arc::new(desired), Arc::new(tags), name == EDGE);
    let state = StateSpec { auth, desired, tags, edge, ..StateSpec::default() };
    IdentitySpec { identity: identity(name), state }
}

fn apply() -> impl Strategy<Value = ApplyAct> {
    let mode = select(vec![ApplyMode::Create, ApplyMode::Upsert, ApplyMode::Update]);
    let twin = select(vec![TwinPolicy::Initial, TwinPolicy::Merge, TwinPolicy::Replace]);
    let names = prop_oneof![2 => Just(NAMES.to_vec()), 3 => subsequence(NAMES.to_vec(), 1..=NAMES.len())];
    let values = (select(vec![OLD, OLD, NEW]), select(vec![60_u32, 60, 30]));
    let flags = (any::<(bool, bool, bool, bool)>(), prop::bool::weighted(0.2));
    (names, mode, twin, values, flags).prop_map(|(names, mode, twin, (thumbprint, interval), flags)| {
        let ((quarantined, tagged, look_first, verified), disabled) = flags;
        let rules = ApplyRules { mode, twin };
        ApplyAct { names, rules, quarantined, disabled, thumbprint, interval, tagged, look_first, verified }
    })
}

/// Disables devices.
pub(super) fn scrapped() -> Maintenance {
    Maintenance::Disable { reason: StatusReason::new("scrapped").unwrap() }
}

fn maintain() -> impl Strategy<Value = Work> {
    let maintenance = select(vec![
        Maintenance::AddThumbprint,
        Maintenance::DropNewThumbprint,
        Maintenance::DropOldThumbprint { unproven: true },
        scrapped(),
        Maintenance::Release { run: None },
        Maintenance::Release { run: None },
        Maintenance::Delete,
    ]);
    let names = subsequence(NAMES.to_vec(), 1..=NAMES.len());
    (maintenance, names, select(vec![OLD, NEW, NEW]))
        .prop_map(|(maintenance, names, thumbprint)| Work::Maintain(maintenance, names, thumbprint))
}

fn meddling() -> impl Strategy<Value = ForeignChange> {
    let names = [NAMES.to_vec(), vec!["a/new"]].concat();
    select(names).prop_flat_map(|name| {
        let authentication =
            |byte: &str| spec(name, byte, None, 60).authentication(&GivenKeys::new()).unwrap_or_default();
        let create = |byte, interval| Other::Create(authentication(byte), interval, name == EDGE);
        let what = vec![
            create(OLD, 60),
            create(OLD, 7),
            create("CC", 60),
            Other::Delete,
            Other::Disable,
            Other::Enable,
            Other::Exchange(authentication(OLD)),
            Other::Exchange(authentication("CC")),
            Other::Use,
            Other::WriteTwin(60),
            Other::WriteTwin(7),
        ];
        select(what).prop_map(move |what| ForeignChange { identity: identity(name), what })
    })
}

/// Others delete an identity and create one with different values in its place.
pub(super) fn replacement(name: &str, thumbprint: &str, interval: u32) -> [ForeignChange; 2] {
    let authentication = spec(name, thumbprint, None, interval).authentication(&GivenKeys::new());
    let create = Other::Create(authentication.unwrap_or_default(), interval, name == EDGE);
    [Other::Delete, create].map(|what| ForeignChange { identity: identity(name), what })
}

/// What others do at one time.
fn meddlings() -> impl Strategy<Value = Vec<ForeignChange>> {
    let replaced = (select(NAMES.to_vec()), select(vec![(OLD, 7), ("CC", 60)]));
    prop_oneof![
        3 => meddling().prop_map(|change| vec![change]),
        1 => replaced.prop_map(|(name, (thumbprint, interval))| replacement(name, thumbprint, interval).to_vec()),
    ]
}

fn disturbances() -> impl Strategy<Value = Disturbances> {
    let faults = vec(select(CallFault::ALL.to_vec()), 0..6);
    let cuts = vec(0..14_usize, 0..3);
    let meddlings = vec((0..16_usize, meddlings()), 0..3).prop_map(|times| {
        let at_once = |(calls, changes): (usize, Vec<ForeignChange>)| {
            changes.into_iter().map(move |change| (calls, change))
        };
        times.into_iter().flat_map(at_once).collect::<Vec<_>>()
    });
    let joined = proptest::option::weighted(0.3, 0..10_usize);
    let disturbed = (faults, cuts, meddlings, prop::bool::weighted(0.7), joined);
    prop_oneof![
        1 => Just(Disturbances::fine()),
        3 => disturbed.prop_map(|(faults, cuts, meddlings, resumed, joined)| {
            Disturbances { faults, cuts, meddlings, resumed, joined }
        }),
    ]
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let work = prop_oneof![
        6 => apply().prop_map(Work::Apply),
        3 => (apply(), vec(meddling(), 0..3)).prop_map(|(apply, meddlings)| Work::Planned(apply, meddlings)),
        3 => maintain(),
        2 => meddling().prop_map(Work::Meddle),
        3 => (0..4_usize).prop_map(Work::Resume),
        3 => (0..4_usize).prop_map(Work::Undo),
        2 => (0..4_usize).prop_map(Work::UndoRelease),
    ];
    (work, disturbances()).prop_map(|(work, disturbances)| Act { work, disturbances })
}
