//! The table of advice: each verb with each reason code.
//!
//! In the texts, `{service}` is the kind of the run's service, `{run}` the run's number, `{undone}` that of the
//! run that it took back or released, `{file}` its batch, and `{options}` all options with which it was begun;
//! `{options to upsert}` and `{options to merge}` are these in mode `upsert` and with a policy that writes twins.

use super::RunVerb;
use crate::model::failure::ReasonCode;
use crate::model::options::ApplyMode;

/// The table's entry for a pair.
pub(super) struct AdviceEntry {
    pub(super) cause: &'static str,
    pub(super) to_do: String,
}

/// The entry of a verb with a reason code; rows of older ledgers have no code.
pub(super) fn entry(verb: RunVerb, reason: Option<ReasonCode>) -> AdviceEntry {
    let (cause, to_do) = match reason {
        Some(reason) => (cause(reason), to_do(verb, reason)),
        None => ("for a reason that an older version did not write down", careful(verb)),
    };
    AdviceEntry { cause, to_do }
}

/// The cause in words.
fn cause(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::AnswerLost => "the {service}'s answer was lost, again and again",
        ReasonCode::AnswerNotUnderstood => "the {service}'s answer can't be understood",
        ReasonCode::AssignedElsewhere => "the DPS has assigned its device to a different hub",
        ReasonCode::BothSlotsTaken => "both slots hold thumbprints that the batch does not name",
        ReasonCode::CallerRefused => "the {service} does not let this caller do that",
        ReasonCode::CertificateDiffers => "the {service} has a different certificate from that of the batch",
        ReasonCode::CertificateElsewhere => "its newest certificate is in a different folder",
        ReasonCode::CertificateNotIssued => "there is no new certificate for it",
        ReasonCode::CertificateUnusable => "its certificate or key can't be used for a connection from here",
        ReasonCode::ChangedSincePlan => "changed since the plan was made",
        ReasonCode::ChangedSinceRun => "changed since the run created it",
        ReasonCode::ChangedSinceSent => "changed or made anew since the run was to delete or disable it",
        ReasonCode::Contradiction => "the {service} says that it exists and that it does not",
        ReasonCode::CreationUncertain => "perhaps not created by the run",
        ReasonCode::CredentialDiffers => "on the {service} already with other credentials",
        ReasonCode::CredentialTaken => {
            "its certificate or key belongs to a different identity since a later run"
        }
        ReasonCode::DeviceDisabled => {
            "its device is disabled, and a hub denies access to the modules of such a device"
        }
        ReasonCode::DeviceEnabled => "enabled, and only what is disabled is deleted",
        ReasonCode::DeviceMissing => "its device is not on the {service}",
        ReasonCode::DeviceNotNamed => "a module whose device is enabled and not named",
        ReasonCode::DeviceRowNotDone => "nothing was done, because the row of its device is not well",
        ReasonCode::DeviceStays => "nothing was done, because its device stays",
        ReasonCode::ChildrenStay => "devices on the {service} hang below it",
        ReasonCode::DifferentLater => "found with other values when it was verified",
        ReasonCode::DisabledByOtherRun => "another run keeps it disabled",
        ReasonCode::ForeignModules => "it has modules that the run did not create",
        ReasonCode::HubFault => "the {service} failed",
        ReasonCode::HubFull => "the {service} is full, its quota is used up, or its tier can't do that",
        ReasonCode::HubNotKnown => "on a hub to which no access is configured",
        ReasonCode::IdentityDiffers => "on the {service} already with other settings",
        ReasonCode::IdentityMissing => "not on the {service}",
        ReasonCode::IdentityNotUnderstood => "on the {service} in a way that this version does not know",
        ReasonCode::KeptDisabled => "disabled by a run until it is released",
        ReasonCode::KeptRetired => "retired by a run, and disabled since",
        ReasonCode::KeyNotAtHand => {
            "its new certificate cannot be tried, because its private key is not available"
        }
        ReasonCode::LeftEnabled => "ENABLED on the {service}, and to be disabled",
        ReasonCode::MissingLater => "not on the {service} any more when it was verified",
        ReasonCode::ModuleStays => "one of its modules stays",
        ReasonCode::NewThumbprintMissing => "its new thumbprint is not on the {service}",
        ReasonCode::NoNewThumbprint => "the batch names no new thumbprint",
        ReasonCode::NotByThumbprint => "it does not authenticate by thumbprints",
        ReasonCode::NotDisabledByRun => {
            "disabled, and no run of this ledger has put it into quarantine or retired it"
        }
        ReasonCode::NotLetIn => "not let in with its new certificate",
        ReasonCode::NotEnrollable => "can't be enrolled with a DPS",
        ReasonCode::NotStarted => "nothing was done yet",
        ReasonCode::OnlyThumbprint => "its new thumbprint is the only one",
        ReasonCode::ParentUnusable => "its parent is not an edge device on the {service}",
        ReasonCode::Presumed => {
            "done, presumably by this run: the {service}'s answer was lost, or others changed it meanwhile"
        }
        ReasonCode::RefusedByPlan => "refused by the plan",
        ReasonCode::RequestRefused => "refused by the {service}",
        ReasonCode::RunUnfinished => "a run that has not ended is still to disable it",
        ReasonCode::StatusDiffers => "on the {service} already with a different status",
        ReasonCode::StatusReasonChanged => "its status reason was changed since it was disabled",
        ReasonCode::ThereAgain => "there again when it was verified",
        ReasonCode::ThirdThumbprint => "beside its new thumbprint is one that the batch does not name",
        ReasonCode::Throttled => "refused by the {service}, because there were too many requests",
        ReasonCode::TwinDiffers => "on the {service} already with a different initial twin",
        ReasonCode::TwinKept => "as asked, and values that others wrote to its twin were kept",
        ReasonCode::Unfinished => "under way when the run ended",
        ReasonCode::VersionChanged => "changed by somebody else at the same time",
    }
}

/// The remedy for rows of this verb with this reason.
fn to_do(verb: RunVerb, reason: ReasonCode) -> String {
    use ReasonCode as Code;
    use RunVerb::{
        Apply, Delete, Disable, FinishRotation, Release, ReleaseRun, RevertRotation, Rotate, Undo,
        UndoRelease,
    };
    match (reason, verb) {
        (Code::AnswerLost | Code::Contradiction | Code::VersionChanged, _) => {
            again("some of it may have been done; nothing is done twice", verb)
        }
        (Code::AnswerNotUnderstood, _) => {
            again("`provisioner doctor` shows whether an IoT Hub answers under that name", verb)
        }
        (Code::CallerRefused, _) => again("`provisioner doctor` names the rights that are missing", verb),
        (Code::HubFault, _) => {
            again("try again later; if it stays, give the tracking ids to Microsoft's support", verb)
        }
        (Code::HubFull, _) => again("make room, or use a larger tier", verb),
        (Code::HubNotKnown, _) => again(
            "add the hub to the file provisioner.toml as `[hubs.NAME]`, or set IOTHUB_CONNECTION_STRING",
            verb,
        ),
        (Code::Throttled, _) => again("name the {service}'s `--tier` and `--units`, and try again later", verb),
        (Code::LeftEnabled, Apply(_)) => again("these devices can connect. See what the {service} says of each row", verb),
        (Code::LeftEnabled, _) => careful(verb),
        (Code::NotStarted | Code::Unfinished, _) => "`provisioner resume {run}` does the rest".into(),
        (Code::RequestRefused, Undo | UndoRelease | ReleaseRun | Delete) => again("see what the {service} says of each row", verb),
        (Code::RequestRefused, _) => correct("see what the {service} says of each row", verb),

        (Code::BothSlotsTaken, Rotate) => with_look(
            "finish the rotation that was begun before, with its own batch: that takes an old thumbprint out only where \
             the new one is let in",
            verb,
        ),
        (Code::BothSlotsTaken, _) => careful(verb),
        (Code::CertificateDiffers, Rotate | Disable | Delete) => with_look(
            "find out which unit has this id now; another unit's thumbprint is not to be touched. Where the batch is wrong, \
             correct it",
            verb,
        ),
        (Code::CertificateDiffers, _) => careful(verb),
        (Code::CertificateElsewhere, Apply(_)) => {
            "if that folder has the certificates of all rows, name it with `--out`. If they were renewed into it, rotate \
             instead (docs/after-the-batch.md): `provisioner rotate FOLDER/issued.csv --dry-run` shows what that would do"
                .into()
        }
        (Code::CertificateElsewhere, _) => careful(verb),
        (Code::CertificateNotIssued, Apply(_)) => {
            correct("see why no certificate was issued: the request or the public key is at fault", verb)
        }
        (Code::CertificateNotIssued | Code::NoNewThumbprint, Rotate | FinishRotation | RevertRotation) => with_look(
            "issue a new certificate (`cert-tool renew --help`) and name it, or its thumbprint, in the batch",
            verb,
        ),
        (Code::CertificateNotIssued | Code::NoNewThumbprint, _) => careful(verb),
        (Code::CertificateUnusable | Code::KeyNotAtHand | Code::NotLetIn, FinishRotation) => with_look(
            match reason {
                Code::KeyNotAtHand => {
                    "the old thumbprint stays beside the new one. Name the file of its key in the column \
                     `private_key`; where only the unit has it, make sure that the unit connects with its new certificate, \
                     and read in docs/after-the-batch.md how to finish without trying it"
                }
                Code::NotLetIn => {
                    "the old thumbprint stays beside the new one. See what the {service} said of the new one, and \
                     look at the certificate with `cert-tool verify --help`"
                }
                _ => {
                    "the old thumbprint stays beside the new one. See what is wrong with its files, and \
                     correct that"
                }
            },
            verb,
        ),
        (Code::CertificateUnusable | Code::KeyNotAtHand | Code::NotLetIn, _) => careful(verb),
        (Code::ChangedSincePlan, Apply(_)) => {
            format!("see how they stand now, and make a new plan: {}", look(verb))
        }
        (Code::ChangedSincePlan, _) => careful(verb),
        (Code::ChangedSinceRun, Undo) => with_look(
            "they were changed or used since run {undone}: by a release or a rotation, perhaps, or by the units themselves. Leave \
             them; units that are to go are retired (docs/after-the-batch.md)",
            verb,
        ),
        (Code::ChangedSinceRun, _) => careful(verb),
        (Code::ChangedSinceSent, Delete | Undo) => with_look(
            "find out who changed or made them since, and leave them if they are needed; the run may have deleted what had \
             their ids before",
            verb,
        ),
        (Code::ChangedSinceSent, Disable) => with_look(
            "find out who changed or made them since, and whether they are in use; the run may have disabled what had \
             their ids before",
            verb,
        ),
        (Code::ChangedSinceSent, _) => careful(verb),
        (Code::CreationUncertain, Undo) => {
            "they stay, because run {undone} can't be sure that it created what is there: it lost the answer to their \
             creation, was killed before it came, or found them changed after it. Look at each; what nobody else made \
             can be deleted by hand"
                .into()
        }
        (Code::CreationUncertain, _) => careful(verb),
        (Code::CredentialDiffers, Apply(_)) => with_look(
            "find out which certificate or key each unit has: it may have been rotated, its board swapped, or another unit \
             has its id. To overwrite the {service}'s would lock units out that use it. Where the {service} is right, correct the \
             batch; a new certificate is put beside the old one by a rotation (docs/after-the-batch.md)",
            verb,
        ),
        (Code::CredentialDiffers, _) => careful(verb),
        (Code::CredentialTaken, Apply(_) | Rotate) => correct(
            "nothing was sent for them. Find out whose the certificate is: the run that each row names gave it to a \
             different identity",
            verb,
        ),
        (Code::CredentialTaken, _) => careful(verb),
        (Code::DeviceDisabled, _) => with_look(
            "find out why the device is disabled, and leave it so if it is retired: then its modules need no rows",
            verb,
        ),
        (Code::DeviceEnabled, Delete) => {
            "they may be in use. `provisioner retire {file}{options} --dry-run` shows what disabling them first would do".into()
        }
        (Code::DeviceEnabled, _) => careful(verb),
        (Code::DeviceMissing, Apply(_)) => correct("give the device a row of its own", verb),
        (Code::DeviceMissing, _) => careful(verb),
        (Code::DeviceNotNamed, Disable) => {
            with_look("name the device in the batch where the whole unit is to be disabled", verb)
        }
        (Code::DeviceNotNamed, _) => careful(verb),
        (Code::NotEnrollable, Apply(_)) => {
            with_look(
                "name the certificate of each device in the column `certificate`, or have it issued; \
                 `provisioner check {file} --dps` tells which rows can't be enrolled",
                verb,
            )
        }
        (Code::NotEnrollable, _) => careful(verb),
        (Code::AssignedElsewhere, _) => {
            "each row names the hub of its device. `provisioner report {run} --failed-rows again.csv` collects these rows; \
             follow them with that hub"
                .into()
        }
        (Code::DeviceRowNotDone | Code::DeviceStays, _) => again("see to the row of the device first", verb),
        (Code::ChildrenStay, _) => with_look(
            "give the devices below them another parent, or delete them first; as long as they are there, their parent stays",
            verb,
        ),
        (Code::ModuleStays, _) => again("see to the row of the module first", verb),
        (Code::DifferentLater | Code::MissingLater | Code::ThereAgain, _) => {
            with_look("find out who changed them since", verb)
        }
        (Code::DisabledByOtherRun | Code::NotDisabledByRun, Release | ReleaseRun | UndoRelease) => with_look(
            "find out who disabled them, and why; they stay so",
            verb,
        ),
        (Code::DisabledByOtherRun | Code::NotDisabledByRun, _) => careful(verb),
        (Code::KeptDisabled, _) => {
            "nothing, as long as they are to stay disabled; a release enables them (docs/quarantine.md)".into()
        }
        (Code::KeptRetired, _) => {
            "nothing, as long as they are to stay retired; docs/quarantine.md says how to enable a unit that was retired by \
             mistake"
                .into()
        }
        (Code::StatusReasonChanged, Release | ReleaseRun | UndoRelease) => with_look(
            "find out who changed the status reason, and why they are disabled now; they stay so",
            verb,
        ),
        (Code::StatusReasonChanged, _) => careful(verb),
        (Code::ForeignModules, Undo) => with_look(
            "find out who made the other modules; as long as they are there, the device stays with all that it has",
            verb,
        ),
        (Code::ForeignModules, _) => careful(verb),
        (Code::IdentityDiffers, Apply(ApplyMode::Create)) => {
            "decide which is right. Where it is the {service}, correct the batch; where it is the batch, see with `provisioner \
             plan {file}{options to upsert}` what else would be changed in that mode"
                .into()
        }
        (Code::IdentityDiffers, _) => careful(verb),
        (Code::IdentityMissing, Apply(_)) => {
            "see whether the ids are right, and whether the device of each module is there: `provisioner plan {file}{options}` shows what mode `create` would make".into()
        }
        (Code::IdentityMissing, Undo) => careful(verb),
        (Code::IdentityMissing, _) => with_look(
            "check the ids; a unit that no longer exists needs no row",
            verb,
        ),
        (Code::IdentityNotUnderstood, Disable | Release | ReleaseRun | UndoRelease | Rotate | FinishRotation | RevertRotation) => with_look(
            "they stay as they are, because what is not understood can't be written back. Use a newer version, if there is \
             one, or change them by the {service}'s own tools",
            verb,
        ),
        (Code::IdentityNotUnderstood, _) => careful(verb),
        (Code::NewThumbprintMissing, FinishRotation) => {
            "`provisioner rotate {file}{options} --dry-run` shows what putting the new thumbprints in would do".into()
        }
        (Code::NewThumbprintMissing, _) => careful(verb),
        (Code::NotByThumbprint, Rotate | FinishRotation | RevertRotation) => {
            with_look("take them out of the batch: only thumbprints are rotated", verb)
        }
        (Code::NotByThumbprint, _) => careful(verb),
        (Code::OnlyThumbprint, RevertRotation) => {
            "without it the unit is locked out, so it stays. To go back, rotate with a batch that names the old thumbprint \
             as `primary_thumbprint` and the new one as `secondary_thumbprint`"
                .into()
        }
        (Code::OnlyThumbprint, _) => careful(verb),
        (Code::ParentUnusable, Apply(_)) => {
            correct("make the parent an edge device, by a row of its own, or correct its id", verb)
        }
        (Code::ParentUnusable, _) => careful(verb),
        (Code::Presumed, Apply(_)) => "nothing; an `undo` of this run leaves them alone".into(),
        (Code::Presumed, _) => "nothing; they are as they are to be".into(),
        (Code::RefusedByPlan, Apply(_)) => correct("see what the plan says of each row", verb),
        (Code::RefusedByPlan, _) => careful(verb),
        (Code::RunUnfinished, Apply(_) | Release | ReleaseRun) => {
            again("wait for the run that each row names, or resume it if it was interrupted: it disables them", verb)
        }
        (Code::RunUnfinished, _) => careful(verb),
        (Code::StatusDiffers, Apply(ApplyMode::Create)) => with_look(
            "find out who disabled or enabled them, and why: a unit that was retired is to stay so. Then correct `status` \
             and `status_reason` in the batch, or take the rows out",
            verb,
        ),
        (Code::StatusDiffers, _) => careful(verb),
        (Code::ThirdThumbprint, FinishRotation) => with_look(
            "find out whose the other thumbprint is; it stays. Where it is the old one, name it as `secondary_thumbprint`",
            verb,
        ),
        (Code::ThirdThumbprint, _) => careful(verb),
        (Code::TwinDiffers, Apply(_)) => {
            "decide which is right. Where it is the {service}, correct the batch; where it is the batch, see with `provisioner \
             plan {file}{options to merge}` what would be written"
                .into()
        }
        (Code::TwinDiffers, _) => careful(verb),
        (Code::TwinKept, _) => "nothing; initial twins are initial".into(),
    }
}

/// The remedy if the cause is uncertain.
fn careful(verb: RunVerb) -> String {
    format!("change nothing before you have looked: {}", look(verb))
}

fn with_look(what: &str, verb: RunVerb) -> String {
    format!("{what}. {}", look(verb))
}

/// The remedy if the same operation can simply be repeated.
fn again(what: &str, verb: RunVerb) -> String {
    let again = match verb {
        RunVerb::Apply(ApplyMode::Create) => {
            "`provisioner report {run} --failed-rows again.csv` collects these rows; `provisioner apply \
             again.csv{options}` tries them again"
        }
        RunVerb::Apply(ApplyMode::Update | ApplyMode::Upsert)
        | RunVerb::Delete
        | RunVerb::Disable
        | RunVerb::FinishRotation
        | RunVerb::Release
        | RunVerb::ReleaseRun
        | RunVerb::RevertRotation
        | RunVerb::Rotate
        | RunVerb::Undo
        | RunVerb::UndoRelease => look(verb),
    };
    format!("{what}. {again}")
}

/// The remedy for invalid rows.
fn correct(what: &str, verb: RunVerb) -> String {
    match verb {
        RunVerb::Apply(_) => format!(
            "{what}. `provisioner report {{run}} --failed-rows again.csv` collects these rows: correct them there, and \
             look with `provisioner plan again.csv{{options}}`"
        ),
        _ => with_look(&format!("{what}, and correct the batch"), verb),
    }
}

/// The command that shows the present state, and writes nothing.
fn look(verb: RunVerb) -> &'static str {
    match verb {
        RunVerb::Apply(_) => "`provisioner plan {file}{options}` shows how they stand now",
        RunVerb::Delete => "`provisioner retire {file}{options} --delete --dry-run` shows how they stand now",
        RunVerb::Disable => "`provisioner retire {file}{options} --dry-run` shows how they stand now",
        RunVerb::FinishRotation => {
            "`provisioner rotate {file}{options} --finish --dry-run` shows how they stand now"
        }
        RunVerb::RevertRotation => {
            "`provisioner rotate {file}{options} --revert --dry-run` shows how they stand now"
        }
        RunVerb::Rotate => "`provisioner rotate {file}{options} --dry-run` shows how they stand now",
        RunVerb::Release => "`provisioner release {file}{options} --dry-run` shows how they stand now",
        RunVerb::ReleaseRun => "`provisioner release --run {undone} --dry-run` shows how they stand now",
        RunVerb::Undo | RunVerb::UndoRelease => {
            "`provisioner undo {undone} --dry-run` shows how they stand now"
        }
    }
}
