//! The advice for every verb with every reason.

use batch_file::ReadOptions;
use hub_types::identity::StatusReason;
use serde_json::{from_value, json};

use super::*;
use crate::cli::check_command;
use crate::ledger::{IssueFolders, Operator, RunState};
use crate::model::digest::Sha256Digest;
use crate::model::entry_settings::EntryOptions;
use crate::model::service::ServiceKind;

/// A run of a verb.
pub(in crate::report) fn run(verb: RunVerb) -> Run {
    let maintenance = match verb {
        RunVerb::Apply(_) => None,
        RunVerb::Delete => Some(Maintenance::Delete),
        RunVerb::Disable => Some(Maintenance::Disable { reason: StatusReason::new("retired").unwrap() }),
        RunVerb::FinishRotation => Some(Maintenance::DropOldThumbprint { unproven: false }),
        RunVerb::RevertRotation => Some(Maintenance::DropNewThumbprint),
        RunVerb::Rotate => Some(Maintenance::AddThumbprint),
        RunVerb::Release => Some(Maintenance::Release { run: None }),
        RunVerb::ReleaseRun => Some(Maintenance::Release { run: from_value(json!(3)).unwrap() }),
        RunVerb::Undo => Some(Maintenance::Undo { run: from_value(json!(3)).unwrap() }),
        RunVerb::UndoRelease => Some(Maintenance::UndoRelease { run: from_value(json!(3)).unwrap() }),
    };
    let mode = if let RunVerb::Apply(mode) = verb { mode } else { ApplyMode::default() };
    let options = RunOptions {
        maintenance,
        rules: ApplyRules { mode, ..ApplyRules::default() },
        ..RunOptions::default()
    };
    assert_eq!(RunVerb::of(&options), verb);
    Run {
        id: from_value(json!(7)).unwrap(),
        started: "2026-11-22T10:00:00Z".parse().unwrap(),
        finished: None,
        by: Operator::default(),
        state: RunState::Finished,
        hub: "hub.example".into(),
        test_hub: false,
        input: "batch.csv".into(),
        input_sha256: Sha256Digest::of(b"batch"),
        tool_version: "1".into(),
        rejected: 0,
        options,
        verification: None,
    }
}

/// Each verb with each reason, and with none.
fn each_pair(mut look: impl FnMut(RunVerb, Option<ReasonCode>, Advice)) {
    for verb in RunVerb::ALL {
        for reason in ReasonCode::ALL.iter().copied().map(Some).chain([None]) {
            look(verb, reason, advice(&run(verb), reason));
        }
    }
}

/// The commands in a text: what stands between backticks and begins with the name of the program.
fn commands(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("provisioner")).collect()
}

#[test]
fn every_pair_has_a_cause_and_says_what_to_do() {
    each_pair(|verb, reason, advice| {
        let Advice { cause, to_do } = advice;
        assert!(!cause.is_empty() && !to_do.is_empty(), "{verb:?} {reason:?}");
        assert!(!to_do.contains(['{', '}']), "{verb:?} {reason:?}: {to_do}");
        assert!(!to_do.contains("  ") && !cause.ends_with('.'), "{verb:?} {reason:?}: {to_do}");
    });
}

#[test]
fn no_two_reasons_have_one_cause() {
    let mut causes: Vec<String> =
        ReasonCode::ALL.iter().map(|reason| advice(&run(RunVerb::Undo), Some(*reason)).cause).collect();
    causes.sort_unstable();
    let all = causes.len();
    causes.dedup();
    assert_eq!(causes.len(), all);
}

#[test]
fn whatever_an_advice_names_is_a_command_that_does_no_harm() {
    each_pair(|verb, reason, advice| {
        for command in commands(&advice.to_do) {
            let words: Vec<&str> = command.split(' ').collect();
            check_command(&words).unwrap_or_else(|error| panic!("{verb:?} {reason:?}: {command}: {error}"));
            let looks = match words[1] {
                "check" | "doctor" | "plan" | "report" | "verify" => true,
                "resume" => matches!(reason, Some(ReasonCode::NotStarted | ReasonCode::Unfinished)),
                // What is there is never overwritten, and only rows that failed are tried.
                "apply" => {
                    words[2] == "again.csv" && words.len() == 3 && verb == RunVerb::Apply(ApplyMode::Create)
                }
                "release" | "retire" | "rotate" | "undo" => {
                    words.contains(&"--dry-run") && !words.contains(&"--unproven")
                }
                _ => false,
            };
            assert!(looks, "{verb:?} {reason:?}: {command}");
        }
    });
}

#[test]
fn only_an_apply_is_ever_told_of_upsert_and_merge() {
    each_pair(|verb, reason, advice| {
        let tells =
            ["upsert", "merge", "replace", "--mode", "--twin"].iter().any(|word| advice.to_do.contains(word));
        assert!(!tells || matches!(verb, RunVerb::Apply(_)), "{verb:?} {reason:?}: {}", advice.to_do);
    });
}

#[test]
fn other_credentials_are_never_to_be_overwritten() {
    for verb in RunVerb::ALL.into_iter().filter(|verb| *verb != RunVerb::Apply(ApplyMode::Upsert)) {
        for reason in
            [ReasonCode::CredentialDiffers, ReasonCode::CertificateDiffers, ReasonCode::StatusDiffers]
        {
            let to_do = advice(&run(verb), Some(reason)).to_do;
            assert!(!to_do.contains("upsert"), "{verb:?} {reason}: {to_do}");
        }
    }
}

#[test]
fn commands_have_the_options_with_which_the_batch_was_read() {
    let mut run = run(RunVerb::Apply(ApplyMode::Create));
    run.input = "my batch.csv".into();
    run.options.read.map = vec![("Serial".into(), "device_id".into())];
    run.options.issue = Some(IssueFolders { ca: "pki".into(), out: "pki/issued".into() });
    let to_do = advice(&run, Some(ReasonCode::IdentityMissing)).to_do;
    assert!(
        to_do.contains("`provisioner plan 'my batch.csv' --issue pki --map Serial=device_id`"),
        "{to_do}"
    );
    run.options.issue = Some(IssueFolders { ca: "pki".into(), out: "out".into() });
    assert!(advice(&run, None).to_do.contains("--issue pki --out out"));
}

#[test]
fn each_command_on_a_batch_has_all_options_that_the_run_was_begun_with() {
    let mut number_of_commands = 0;
    for mode in [ApplyMode::Create, ApplyMode::Update, ApplyMode::Upsert] {
        let mut run = run(RunVerb::Apply(mode));
        run.rejected = 1;
        run.options = RunOptions {
            maintenance: None,
            rules: ApplyRules { mode, twin: TwinPolicy::Replace },
            created_by_tag: Some("made".into()),
            issue: Some(IssueFolders { ca: "pki".into(), out: "out".into() }),
            quarantine: true,
            read: ReadOptions {
                map: vec![("Serial".into(), "device_id".into())],
                id_pattern: Some("p.*".parse().unwrap()),
                modules: vec!["m".parse().unwrap(), "n".parse().unwrap()],
                ignore: vec!["ERP *".parse().unwrap()],
                columns: vec!["Serial".into(), "x_a".into()],
            },
            profile: Some("gateway".into()),
            plan: Some(Sha256Digest::of(b"plan")),
            service: ServiceKind::Hub,
            entries: EntryOptions::default(),
            follow: None,
        };
        for reason in ReasonCode::ALL.iter().copied().map(Some).chain([None]) {
            let to_do = advice(&run, reason).to_do;
            let commands = commands(&to_do).into_iter();
            for command in commands.filter(|words| words.contains(" plan ") || words.contains(" apply ")) {
                number_of_commands += 1;
                let mode = if command.contains("--mode upsert") { ApplyMode::Upsert } else { mode };
                let mode = match mode {
                    ApplyMode::Create => "",
                    ApplyMode::Update => " --mode update",
                    ApplyMode::Upsert => " --mode upsert",
                };
                let expected = format!(
                    " --issue pki --out out --profile=gateway --map Serial=device_id --ignore 'ERP *' --modules m,n --columns Serial,x_a --id-pattern 'p.*' --skip-bad-rows{mode} --twin replace \
                     --quarantine --created-by-tag=made"
                );
                assert!(command.ends_with(&expected), "{reason:?}: {command}");
            }
        }
    }
    assert!(number_of_commands > 60, "{number_of_commands}");
}

#[test]
fn a_look_at_a_retirement_has_its_status_reason() {
    let mut run = run(RunVerb::Disable);
    run.options.maintenance =
        Some(Maintenance::Disable { reason: StatusReason::new("sold to Graz").unwrap() });
    let to_do = advice(&run, None).to_do;
    assert!(to_do.contains("`provisioner retire batch.csv --reason='sold to Graz' --dry-run`"), "{to_do}");
}
