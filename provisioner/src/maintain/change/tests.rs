//! The decisions of maintenance operations for identities in different states.

use std::sync::Arc;

use hub_types::IdentityId;
use hub_types::identity::StatusReason;
use serde_json::{Value, from_value, json};

use super::*;
use crate::model::compare::DifferencePath;
use crate::model::maintenance::Maintenance;
use crate::model::spec::{QUARANTINE, StateSpec};

const OLD: &str = "AA";
const NEW: &str = "BB";
const OTHER: &str = "CC";

fn auth(primary: Option<&str>, secondary: Option<&str>) -> AuthSpec {
    let thumbprint = |byte: Option<&str>| byte.map(|byte| byte.repeat(32).parse().unwrap());
    AuthSpec::Thumbprint { primary: thumbprint(primary), secondary: thumbprint(secondary) }
}

fn row(name: &str, auth: AuthSpec) -> LedgerRow {
    let identity = IdentityId::from_common_name(name).unwrap();
    let state = StateSpec { auth, ..StateSpec::default() };
    LedgerRow::new(2, IdentitySpec { identity, state })
}

fn twin_with(name: &str, members: Value) -> Twin {
    let identity = IdentityId::from_common_name(name).unwrap();
    let mut twin = json!({
        "deviceId": identity.device(), "moduleId": identity.module(), "etag": "t1", "deviceEtag": "i1", "version": 2,
        "status": "enabled", "authenticationType": "selfSigned",
        "properties": {"desired": {"$version": 1}, "reported": {"$version": 1}},
    });
    twin.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    from_value(twin).unwrap()
}

/// A twin with the thumbprints of these bytes.
fn twin(primary: Option<&str>, secondary: Option<&str>) -> Twin {
    let thumbprint = |byte: Option<&str>| byte.map(|byte| byte.repeat(32));
    let slots =
        json!({"primaryThumbprint": thumbprint(primary), "secondaryThumbprint": thumbprint(secondary)});
    twin_with("d", json!({"x509Thumbprint": slots}))
}

/// The slots that a decision asks for.
fn slots(decision: &ChangeDecision) -> &AuthSpec {
    let ChangeDecision::Replace(identity) = decision else { panic!("{decision:?}") };
    &identity.state.auth
}

fn reason(decision: &ChangeDecision) -> &str {
    let ChangeDecision::Refuse(refusal) = decision else { panic!("{decision:?}") };
    &refusal.reason
}

#[test]
fn a_new_thumbprint_goes_into_the_free_slot_and_the_old_one_stays() {
    let add = |old, twin: &Twin| {
        Maintenance::AddThumbprint.decide(&row("d", auth(Some(NEW), old)), Some(twin), None)
    };
    assert_eq!(*slots(&add(Some(OLD), &twin(Some(OLD), None))), auth(Some(OLD), Some(NEW)));
    assert_eq!(*slots(&add(Some(OLD), &twin(None, Some(OLD)))), auth(Some(NEW), Some(OLD)));
    // Some edge runtimes want both slots filled: one that repeats the other is free.
    assert_eq!(*slots(&add(None, &twin(Some(OLD), Some(OLD)))), auth(Some(OLD), Some(NEW)));
    assert_eq!(add(Some(OLD), &twin(Some(OLD), Some(NEW))), ChangeDecision::NothingToDo);
    assert_eq!(add(Some(OLD), &twin(Some(NEW), None)), ChangeDecision::NothingToDo);
    assert!(reason(&add(None, &twin(Some(OLD), Some(OTHER)))).contains("both slots are taken"));
    let swapped = add(Some(OLD), &twin(Some(OTHER), None));
    assert!(reason(&swapped).contains("a different unit"));
    let ChangeDecision::Refuse(Refusal { differences, .. }) = swapped else { unreachable!() };
    assert_eq!(differences[0].path, DifferencePath::PrimaryThumbprint);
}

#[test]
fn the_old_thumbprint_goes_only_when_the_new_one_is_in() {
    let drop = Maintenance::DropOldThumbprint { unproven: true };
    let drop = |old, twin: &Twin| drop.decide(&row("d", auth(Some(NEW), old)), Some(twin), None);
    for (primary, secondary) in [(OLD, NEW), (NEW, OLD)] {
        let both = twin(Some(primary), Some(secondary));
        assert_eq!(*slots(&drop(Some(OLD), &both)), auth(Some(NEW), None));
    }
    assert_eq!(drop(Some(OLD), &twin(Some(NEW), None)), ChangeDecision::NothingToDo);
    assert!(reason(&drop(Some(OLD), &twin(Some(OLD), None))).contains("not on the hub"));
    assert!(reason(&drop(Some(OLD), &twin(Some(NEW), Some(OTHER)))).contains("a third thumbprint"));
}

#[test]
fn a_rotation_is_taken_back_unless_that_locks_the_unit_out() {
    let drop = |twin: &Twin| {
        Maintenance::DropNewThumbprint.decide(&row("d", auth(Some(NEW), Some(OLD))), Some(twin), None)
    };
    assert_eq!(*slots(&drop(&twin(Some(OLD), Some(NEW)))), auth(Some(OLD), None));
    assert_eq!(*slots(&drop(&twin(Some(NEW), Some(OLD)))), auth(Some(OLD), None));
    assert_eq!(drop(&twin(Some(OLD), None)), ChangeDecision::NothingToDo);
    assert!(reason(&drop(&twin(Some(NEW), None))).contains("locked out"));
}

#[test]
fn what_has_no_thumbprints_is_not_rotated() {
    let sas = twin_with("d", json!({"authenticationType": "sas"}));
    let add = |auth, twin: &Twin| Maintenance::AddThumbprint.decide(&row("d", auth), Some(twin), None);
    assert!(reason(&add(auth(Some(NEW), None), &sas)).contains("`sas`"));
    assert!(reason(&add(AuthSpec::X509Ca, &twin(Some(OLD), None))).contains("names no new thumbprint"));
    assert!(
        reason(&add(AuthSpec::default(), &twin(Some(OLD), None))).contains("no new certificate was issued")
    );
    let missing = Maintenance::AddThumbprint.decide(&row("d", auth(Some(NEW), None)), None, None);
    assert_eq!(reason(&missing), "it is not on the hub");
}

#[test]
fn a_device_is_disabled_with_all_else_as_it_was() {
    let retire = Maintenance::Disable { reason: StatusReason::new("scrapped").unwrap() };
    let found = twin_with("d", json!({"capabilities": {"iotEdge": true}, "authenticationType": "sas"}));
    let decision = retire.decide(&row("d", AuthSpec::default()), Some(&found), None);
    let ChangeDecision::Replace(disabled) = decision else { panic!("{decision:?}") };
    assert_eq!(disabled.state.status, Status::Disabled);
    assert_eq!(disabled.state.status_reason.as_ref().map(StatusReason::as_str), Some("scrapped"));
    assert!(disabled.state.edge);
    assert_eq!(disabled.state.auth, AuthSpec::Sas { given: false });
    let found = twin_with("d", json!({"status": "disabled"}));
    assert_eq!(
        retire.decide(&row("d", AuthSpec::default()), Some(&found), None),
        ChangeDecision::NothingToDo
    );
    let decision = retire.decide(&row("d", AuthSpec::default()), Some(&disabled_for(QUARANTINE)), None);
    assert_eq!(status(&decision), (Status::Disabled, Some("scrapped")), "its quarantine is over");
    // A module's subject is its device.
    let module = row("d/m", AuthSpec::default());
    assert_eq!(retire.subject(&module.spec.identity), IdentityId::parse("d", None).unwrap());
    assert_eq!(retire.decide(&module, Some(&found), None), ChangeDecision::NothingToDo);
    assert!(
        reason(&retire.decide(&module, Some(&twin_with("d", json!({}))), None))
            .contains("name the device, too")
    );
}

#[test]
fn another_board_under_the_same_id_is_not_retired() {
    let retire = Maintenance::Disable { reason: StatusReason::new("scrapped").unwrap() };
    let named = row("d", auth(Some(OLD), None));
    assert!(matches!(retire.decide(&named, Some(&twin(None, Some(OLD))), None), ChangeDecision::Replace(_)));
    assert!(
        reason(&retire.decide(&named, Some(&twin(Some(OTHER), None)), None)).contains("a different unit")
    );
}

#[test]
fn only_what_is_disabled_is_deleted() {
    let unnamed = row("d", AuthSpec::default());
    let decide = |row: &LedgerRow, twin: Option<&Twin>| Maintenance::Delete.decide(row, twin, None);
    assert!(
        reason(&decide(&unnamed, Some(&twin_with("d", json!({})))))
            .contains("only what is disabled is deleted")
    );
    assert_eq!(
        decide(&unnamed, Some(&twin_with("d", json!({"status": "disabled"})))),
        ChangeDecision::Delete
    );
    assert_eq!(
        decide(&row("d/m", AuthSpec::default()), Some(&twin_with("d/m", json!({})))),
        ChangeDecision::Delete
    );
    assert_eq!(decide(&unnamed, None), ChangeDecision::NothingToDo);
}

#[test]
fn an_undo_takes_back_what_nobody_has_changed() {
    let run = from_value(json!(7)).unwrap();
    let undo = Maintenance::Undo { run };
    let found = twin(Some(OLD), None);
    let mut left = row("d", auth(Some(OLD), None));
    assert_eq!(undo.decide(&left, Some(&found), None), ChangeDecision::Delete, "not verified, and equal");
    assert_eq!(undo.decide(&left, None, None), ChangeDecision::NothingToDo);
    left.before = Etags::of(Some(&found));
    assert_eq!(undo.decide(&left, Some(&found), None), ChangeDecision::Delete);
    let written = twin_with("d", json!({"etag": "t2", "x509Thumbprint": found.x509_thumbprint}));
    let changed = undo.decide(&left, Some(&written), None);
    assert_eq!(reason(&changed), "it was changed since run 7 created it");
    let ChangeDecision::Refuse(Refusal { differences, .. }) = changed else { unreachable!() };
    assert_eq!(differences, [], "people need not know of ETags");
    left.record.presumed = true;
    assert!(reason(&undo.decide(&left, Some(&found), None)).contains("can't be sure"));
    // Its twin was not written, and nobody knows in which version the run has left it.
    let mut half_done = row("d", auth(Some(OLD), None));
    half_done.spec.state.desired = Arc::new(json!({"interval": 60}).as_object().unwrap().clone());
    let ChangeDecision::Refuse(refusal) = undo.decide(&half_done, Some(&found), None) else {
        panic!("nobody knows who has made it")
    };
    assert_eq!(refusal.code, ReasonCode::CreationUncertain, "{refusal:?}");
    half_done.before = Etags::of(Some(&found));
    assert_eq!(undo.decide(&half_done, Some(&found), None), ChangeDecision::Delete);
    let other = row("d", auth(Some(OTHER), None));
    assert!(matches!(undo.decide(&other, Some(&found), None), ChangeDecision::Refuse(_)));
}

#[test]
fn an_undo_leaves_what_its_device_has_used() {
    let undo = Maintenance::Undo { run: from_value(json!(7)).unwrap() };
    let reported = json!({"desired": {"$version": 1}, "reported": {"a": 1, "$version": 2}});
    for (members, sign) in [
        (json!({"connectionState": "Connected"}), "it is connected"),
        (json!({"lastActivityTime": "2026-12-01T00:30:00Z"}), "it was last active at 2026-12-01T00:30:00Z"),
        (json!({"version": 3, "properties": reported}), "it has written reported properties"),
    ] {
        for name in ["d", "d/m"] {
            let x509_ca = json!({"authenticationType": "certificateAuthority"});
            let unused = twin_with(name, x509_ca.clone());
            let members =
                [x509_ca, members.clone()].into_iter().flat_map(|part| part.as_object().cloned().unwrap());
            let used = twin_with(name, members.collect());
            assert_eq!(Etags::of(Some(&used)), Etags::of(Some(&unused)), "a device moves no ETag");
            for before in [Etags::default(), Etags::of(Some(&unused))] {
                let left = LedgerRow { before, ..row(name, AuthSpec::X509Ca) };
                assert_eq!(undo.decide(&left, Some(&unused), None), ChangeDecision::Delete);
                let decision = undo.decide(&left, Some(&used), None);
                assert_eq!(reason(&decision), format!("it was used since run 7 created it: {sign}"));
            }
        }
    }
}

fn hold(run: i64) -> Hold {
    Hold {
        run: from_value(json!(run)).unwrap(),
        reason: StatusReason::new("scrapped").unwrap(),
        released_reason: StatusReason::new("as it was").ok(),
        is_retired: false,
        is_unfinished: false,
    }
}

/// A twin that is disabled for this reason.
fn disabled_for(reason: &str) -> Twin {
    twin_with("d", json!({"status": "disabled", "statusReason": reason, "authenticationType": "sas"}))
}

/// The status and its reason that a decision asks for.
fn status(decision: &ChangeDecision) -> (Status, Option<&str>) {
    let ChangeDecision::Replace(identity) = decision else { panic!("{decision:?}") };
    (identity.state.status, identity.state.status_reason.as_ref().map(StatusReason::as_str))
}

#[test]
fn a_device_is_released_as_it_was_where_a_run_of_the_ledger_disabled_it() {
    let release = Maintenance::Release { run: None };
    let unnamed = row("d", AuthSpec::default());
    let decide = |found: &Twin, hold: Option<&Hold>| release.decide(&unnamed, Some(found), hold);
    let released = decide(&disabled_for("scrapped"), Some(&hold(7)));
    assert_eq!(status(&released), (Status::Enabled, Some("as it was")));
    assert_eq!(decide(&twin_with("d", json!({})), None), ChangeDecision::NothingToDo);
    assert!(
        reason(&decide(&disabled_for("scrapped"), None))
            .contains("no run of this ledger has put it into quarantine or retired it")
    );
    let changed = decide(&disabled_for("stolen"), Some(&hold(7)));
    assert!(reason(&changed).starts_with("its status reason was changed since run 7 disabled it"));
    let ChangeDecision::Refuse(Refusal { differences, .. }) = changed else { unreachable!() };
    assert_eq!((&differences[0].expected, &differences[0].found), (&json!("scrapped"), &json!("stolen")));
    assert_eq!(reason(&release.decide(&unnamed, None, None)), "it is not on the hub");
    // Only what that run has disabled.
    let only = Maintenance::Release { run: Some(hold(6).run) };
    let other = only.decide(&unnamed, Some(&disabled_for("scrapped")), Some(&hold(7)));
    assert!(reason(&other).contains("it is run 7 that keeps it disabled, not run 6"), "{other:?}");
    assert!(reason(&other).contains("`provisioner release --run 7` enables it"), "{other:?}");
    let retired = Hold { is_retired: true, ..hold(7) };
    let other = only.decide(&unnamed, Some(&disabled_for("scrapped")), Some(&retired));
    assert!(!reason(&other).contains("provisioner release"), "{other:?}");
    // A module's subject is its device.
    let module = row("d/m", AuthSpec::default());
    assert_eq!(release.subject(&module.spec.identity), IdentityId::parse("d", None).unwrap());
    assert_eq!(release.decide(&module, Some(&twin_with("d", json!({}))), None), ChangeDecision::NothingToDo);
    assert!(
        reason(&release.decide(&module, Some(&disabled_for("scrapped")), None))
            .contains("name the device, too")
    );
}

#[test]
fn another_board_under_the_same_id_is_not_released() {
    let release = Maintenance::Release { run: None };
    let mut found = twin(Some(OTHER), None);
    (found.status, found.status_reason) = (Status::Disabled, StatusReason::new("scrapped").ok());
    let decision = release.decide(&row("d", auth(Some(OLD), None)), Some(&found), Some(&hold(7)));
    assert!(reason(&decision).contains("a different unit"));
}

#[test]
fn an_undone_release_disables_again_with_the_reason_of_before() {
    let undo = Maintenance::UndoRelease { run: hold(8).run };
    let unnamed = row("d", AuthSpec::default());
    let decide = |found: &Twin| undo.decide(&unnamed, Some(found), Some(&hold(7)));
    assert_eq!(status(&decide(&twin_with("d", json!({})))), (Status::Disabled, Some("scrapped")));
    assert_eq!(decide(&disabled_for("scrapped")), ChangeDecision::NothingToDo);
    assert!(reason(&decide(&disabled_for("stolen"))).contains("was changed since run 7"));
    assert_eq!(reason(&undo.decide(&unnamed, None, None)), "it is not on the hub");
}

#[test]
fn what_is_not_understood_of_an_identity_is_never_written_back_as_something_else() {
    let slots = json!({"primaryThumbprint": OLD.repeat(32)});
    let odd = [
        json!({"authenticationType": "none"}),
        json!({"authenticationType": "tpm"}),
        json!({"deviceScope": "x-ms-other://gateway"}),
        json!({"parentScopes": ["ms-azure-iot-edge://not an id-1"], "capabilities": {"iotEdge": true}}),
    ];
    let reason = StatusReason::new("retired").unwrap();
    for members in odd {
        let twin = twin_with("d", members.clone());
        let disable = Maintenance::Disable { reason: reason.clone() };
        let ChangeDecision::Refuse(refusal) = disable.decide(&row("d", AuthSpec::X509Ca), Some(&twin), None)
        else {
            panic!("{members} is written back");
        };
        // Where the batch names a certificate, and the hub has none, that is told first.
        assert!(
            matches!(refusal.code, ReasonCode::IdentityNotUnderstood | ReasonCode::CertificateDiffers),
            "{members}: {refusal:?}"
        );
    }
    let mut twin = twin_with("d", json!({"x509Thumbprint": slots, "deviceScope": "x-ms-other://gateway"}));
    let rotate = |twin: &Twin| {
        Maintenance::AddThumbprint.decide(&row("d", auth(Some(NEW), Some(OLD))), Some(twin), None)
    };
    let ChangeDecision::Refuse(refusal) = rotate(&twin) else { panic!("the parent is dropped") };
    assert_eq!(refusal.code, ReasonCode::IdentityNotUnderstood);
    assert!(refusal.reason.contains("`x-ms-other://gateway`"), "{}", refusal.reason);
    twin.device_scope = None;
    assert!(matches!(rotate(&twin), ChangeDecision::Replace(_)));
}
