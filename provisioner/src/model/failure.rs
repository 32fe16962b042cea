//! Reason codes: the reasons of rows' outcomes.
//!
//! A code is set together with the outcome, is stored in the ledger with the row, and is shown in
//! reports and audit packs under a constant text. Its meaning and its remedy also depend on the
//! run's verb: the table is in `report/advice`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares the codes once: variant and wire text.
macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// The reason for a row's outcome.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum ReasonCode {
            $($(#[$doc])* $name,)+
        }

        impl ReasonCode {
            /// Every code.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The text that ledgers, reports and audit packs hold. It never changes.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reason_codes! {
    /// A DPS has assigned its device to a different hub.
    AssignedElsewhere = "assigned_elsewhere",
    /// The hub's answer was lost, again and again.
    AnswerLost = "answer_lost",
    /// The hub's response does not match the documented contract.
    AnswerNotUnderstood = "answer_not_understood",
    /// Both slots for thumbprints hold others.
    BothSlotsTaken = "both_slots_taken",
    /// The caller lacks a right, or was refused.
    CallerRefused = "caller_refused",
    /// The hub has different thumbprints than the batch: it may be a different unit.
    CertificateDiffers = "certificate_differs",
    /// Its newest certificate is in a different folder from the one that the run issues to.
    CertificateElsewhere = "certificate_elsewhere",
    /// No certificate was issued for it.
    CertificateNotIssued = "certificate_not_issued",
    /// Its certificate or key can't be used for a connection from here.
    CertificateUnusable = "certificate_unusable",
    /// It was changed since the plan was made.
    ChangedSincePlan = "changed_since_plan",
    /// It was changed since the run that is to be undone created it.
    ChangedSinceRun = "changed_since_run",
    /// It was changed, or made anew, since the run was to delete or disable it.
    ChangedSinceSent = "changed_since_sent",
    /// Devices on the hub hang below it.
    ChildrenStay = "children_stay",
    /// The hub repeatedly reports both that the identity exists and that it does not.
    Contradiction = "contradiction",
    /// The run that is to be undone can't be sure that it created it.
    CreationUncertain = "creation_uncertain",
    /// The identity authenticates in a different way, or with different thumbprints.
    CredentialDiffers = "credential_differs",
    /// A later run has given its thumbprint, key or serial number to a different identity.
    CredentialTaken = "credential_taken",
    /// Its device is disabled, and a hub denies access to the modules of such a device.
    DeviceDisabled = "device_disabled",
    /// The device is enabled, and only disabled devices are deleted.
    DeviceEnabled = "device_enabled",
    /// Its device is not on the hub.
    DeviceMissing = "device_missing",
    /// It is a module, and its device is not named, with which alone it can be disabled.
    DeviceNotNamed = "device_not_named",
    /// The row of its device did not come out as asked.
    DeviceRowNotDone = "device_row_not_done",
    /// Its device stays, and it with it.
    DeviceStays = "device_stays",
    /// Another run than the one that is to be released keeps it disabled.
    DisabledByOtherRun = "disabled_by_other_run",
    /// At verification the hub held different values.
    DifferentLater = "different_later",
    /// It has modules that the run did not create.
    ForeignModules = "foreign_modules",
    /// The hub failed, or was too busy for too long.
    HubFault = "hub_fault",
    /// The hub is full, its quota is used up, or its tier has no such operation.
    HubFull = "hub_full",
    /// No access to the hub that a DPS has assigned it to is configured.
    HubNotKnown = "hub_not_known",
    /// The identity has a different parent, or a different edge setting.
    IdentityDiffers = "identity_differs",
    /// It is not on the hub.
    IdentityMissing = "identity_missing",
    /// A part of it on the hub is not known to this version, so it can't be kept as it is.
    IdentityNotUnderstood = "identity_not_understood",
    /// It is disabled, and stays so until it is released: a run has disabled it on purpose.
    KeptDisabled = "kept_disabled",
    /// It is disabled, and stays so: a run has retired it.
    KeptRetired = "kept_retired",
    /// Its private key is not available.
    KeyNotAtHand = "key_not_at_hand",
    /// It failed, and is enabled on the hub although it is to be disabled.
    LeftEnabled = "left_enabled",
    /// At verification the identity was not on the hub.
    MissingLater = "missing_later",
    /// One of its modules stays, and it with it.
    ModuleStays = "module_stays",
    /// Its new thumbprint is not on the hub.
    NewThumbprintMissing = "new_thumbprint_missing",
    /// The batch names no new thumbprint for it.
    NoNewThumbprint = "no_new_thumbprint",
    /// No enrolment can be made of it: its certificate is not at hand, or a DPS has no place for it.
    NotEnrollable = "not_enrollable",
    /// It is disabled, and no run of this ledger has put it into quarantine or retired it.
    NotDisabledByRun = "not_disabled_by_run",
    /// It does not authenticate by thumbprints.
    NotByThumbprint = "not_by_thumbprint",
    /// The hub refused its connection with the new certificate.
    NotLetIn = "not_let_in",
    /// Nothing was sent for it yet.
    NotStarted = "not_started",
    /// Its new thumbprint is the only one there.
    OnlyThumbprint = "only_thumbprint",
    /// Its parent is not an edge device on the hub.
    ParentUnusable = "parent_unusable",
    /// It is as asked, presumably through this run: the hub's answer was lost, or others changed it meanwhile.
    Presumed = "presumed",
    /// The plan that the run carries out refuses it.
    RefusedByPlan = "refused_by_plan",
    /// The hub refused the request as wrong.
    RequestRefused = "request_refused",
    /// A run was interrupted that is still to disable the device.
    RunUnfinished = "run_unfinished",
    /// The status, or its reason, differs from the batch.
    StatusDiffers = "status_differs",
    /// It is disabled, and its status reason was changed since a run disabled it.
    StatusReasonChanged = "status_reason_changed",
    /// At verification the identity existed again.
    ThereAgain = "there_again",
    /// Beside its new thumbprint is one that the batch does not name.
    ThirdThumbprint = "third_thumbprint",
    /// The hub refused it, because there were too many requests.
    Throttled = "throttled",
    /// The identity is as it was created, with a different initial twin.
    TwinDiffers = "twin_differs",
    /// It is as asked, and values that others have written to its twin were kept.
    TwinKept = "twin_kept",
    /// A request left for it, and the run ended before the answer came.
    Unfinished = "unfinished",
    /// Somebody else changed it at the same time.
    VersionChanged = "version_changed",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no reason code, or one of a newer version.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a reason code that this version knows")]
pub(crate) struct UnknownReason(String);

impl FromStr for ReasonCode {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = Self::ALL.iter().copied().find(|code| code.as_str() == text);
        code.ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ReasonCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_text_of_its_own_and_is_read_back_from_it() {
        for code in ReasonCode::ALL {
            assert_eq!(code.as_str().parse::<ReasonCode>().unwrap(), *code);
            assert!(
                code.as_str().chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'),
                "{code}"
            );
        }
        assert!("no_such_code".parse::<ReasonCode>().unwrap_err().to_string().contains("`no_such_code`"));
    }

    #[test]
    fn the_texts_are_those_that_were_published() {
        let texts: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        insta::assert_snapshot!(texts.join("\n"));
    }
}
