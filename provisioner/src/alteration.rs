//! What may become of identities after their batch: devices are disabled and later deleted, a new
//! thumbprint takes an old one's place, what a run created is taken back.
//!
//! Here is decided what that means for an identity as it stands on the hub ([`Alteration::judge`]), and
//! what follows from each answer of the hub ([`Course`]). Nothing here does I/O.

use hub_types::IdentityId;
use hub_types::identity::{Status, StatusReason};
use hub_types::twin::Twin;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::desired::{DesiredAuth, DesiredIdentity};
use crate::ledger::{Hold, LedgerRow, RunId};
use crate::lifecycle::Effect;
use crate::reason::ReasonCode;
use crate::standing::{Difference, Etags, Standing};

pub use course::{Answer, Course, Ending, Next};

mod course;
mod rotation;
mod status;

/// What a run does with identities that are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Alteration {
    /// The new thumbprint goes into the free slot, so that both certificates are let in.
    AddThumbprint,
    /// Disabled devices go, and their modules with them; modules that are named alone go alone.
    Delete,
    /// Devices may not connect any more, and their modules with them.
    Disable {
        /// The status reason that they get.
        reason: StatusReason,
    },
    /// The new thumbprint is taken out again; the old one stays.
    DropNewThumbprint,
    /// The old thumbprint is taken out, and the new one is left alone.
    DropOldThumbprint {
        /// Whether that is done although nobody has connected with the new certificate.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unproven: bool,
    },
    /// Devices that a run has disabled on purpose may connect again.
    Release {
        /// Only those that this run disabled; without it, whichever run it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
    },
    /// What a run created, and nobody has changed since, goes.
    Undo {
        /// That run.
        run: RunId,
    },
    /// What a release enabled is disabled again, as it was before.
    UndoRelease {
        /// That run.
        run: RunId,
    },
}

/// What an alteration means for an identity, as it stands on the hub.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is as it is to be.
    Already,
    /// It is to be deleted, in the version that was looked at.
    Delete,
    /// It must be left alone.
    Refuse(Refusal),
    /// It is to be made into this, in the version that was looked at.
    Replace(Box<DesiredIdentity>),
}

/// Why an identity is left alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// As a code.
    pub code: ReasonCode,
    /// In words.
    pub reason: String,
    /// How it differs from what was expected.
    pub differences: Vec<Difference>,
}

impl Refusal {
    fn because(code: ReasonCode, reason: impl Into<String>) -> Verdict {
        Verdict::Refuse(Self { code, reason: reason.into(), differences: Vec::new() })
    }
}

impl Alteration {
    /// Whether it deletes identities.
    pub fn deletes(&self) -> bool {
        matches!(self, Self::Delete | Self::Undo { .. })
    }

    /// What it does to an identity that it is done to.
    pub fn effect(&self) -> Effect {
        if self.deletes() { Effect::Deleted } else { Effect::Updated }
    }

    /// Whether a device may only go when all its modules are this run's too.
    pub fn minds_other_modules(&self) -> bool {
        matches!(self, Self::Undo { .. })
    }

    /// Whether it must be shown that devices are let in with their new certificates.
    pub fn needs_proof(&self) -> bool {
        *self == Self::DropOldThumbprint { unproven: false }
    }

    /// Whether it is about the status of devices, and of nothing else.
    pub fn is_about_status(&self) -> bool {
        matches!(self, Self::Disable { .. } | Self::Release { .. } | Self::UndoRelease { .. })
    }

    /// Whether identities that are there keep the status that they have.
    pub fn leaves_status(&self) -> bool {
        !self.is_about_status() && !self.deletes()
    }

    /// Whether it must be known which run keeps a device disabled.
    pub fn needs_hold(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::UndoRelease { .. })
    }

    /// The run before which a hold is looked for, where it is not the newest that counts.
    pub fn hold_before(&self) -> Option<RunId> {
        match self {
            Self::UndoRelease { run } => Some(*run),
            _ => None,
        }
    }

    /// The run whose rows it took over, where it reads no batch.
    pub fn goes_on_from(&self) -> Option<RunId> {
        match self {
            Self::Undo { run } | Self::UndoRelease { run } | Self::Release { run: Some(run) } => Some(*run),
            _ => None,
        }
    }

    /// Whose twin tells how an identity stands. A module has no status of its own: it is its device's.
    pub fn subject(&self, identity: &IdentityId) -> IdentityId {
        match self {
            _ if self.is_about_status() => identity.device().clone().into(),
            _ => identity.clone(),
        }
    }

    /// What is to be done with the identity of `row`, now that the twin of its [subject](Self::subject)
    /// was read. `hold` is what keeps the device disabled, where that [must be known](Self::needs_hold).
    pub fn judge(&self, row: &LedgerRow, found: Option<&Twin>, hold: Option<&Hold>) -> Verdict {
        let wanted = &row.wanted;
        match (self, found) {
            (Self::Delete | Self::Undo { .. }, None) => Verdict::Already,
            (_, None) => Refusal::because(ReasonCode::IdentityMissing, "it is not on the hub"),
            (Self::AddThumbprint, Some(twin)) => rotation::add(wanted, twin),
            (Self::Delete, Some(twin)) => delete(wanted, twin),
            (Self::Disable { reason }, Some(twin)) => status::disable(wanted, twin, reason),
            (Self::DropNewThumbprint, Some(twin)) => rotation::drop_new(wanted, twin),
            (Self::DropOldThumbprint { .. }, Some(twin)) => rotation::drop_old(wanted, twin),
            (Self::Release { run }, Some(twin)) => status::release(wanted, twin, *run, hold),
            (Self::Undo { run }, Some(twin)) => undo(row, twin, *run),
            (Self::UndoRelease { run }, Some(twin)) => status::undo_release(twin, *run, hold),
        }
    }
}

impl std::fmt::Display for Alteration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddThumbprint => f.write_str("rotate: new thumbprints in"),
            Self::Delete => f.write_str("retire: deleted"),
            Self::Disable { .. } => f.write_str("retire: disabled"),
            Self::DropNewThumbprint => f.write_str("rotate: new thumbprints out again"),
            Self::DropOldThumbprint { .. } => f.write_str("rotate: old thumbprints out"),
            Self::Release { run: None } => f.write_str("release"),
            Self::Release { run: Some(run) } => write!(f, "release of run {run}"),
            Self::Undo { run } | Self::UndoRelease { run } => write!(f, "undo of run {run}"),
        }
    }
}

fn delete(wanted: &DesiredIdentity, twin: &Twin) -> Verdict {
    if wanted.identity.module().is_none() && twin.status == Status::Enabled {
        return Refusal::because(
            ReasonCode::DeviceEnabled,
            "it is enabled, and only what is disabled is deleted",
        );
    }
    if_same_certificate(wanted, twin, || Verdict::Delete)
}

/// Does what is to be done unless the batch names a thumbprint and the hub has others: then the board
/// was swapped, and it is another unit that has this id now.
fn if_same_certificate(wanted: &DesiredIdentity, twin: &Twin, verdict: impl FnOnce() -> Verdict) -> Verdict {
    let DesiredAuth::Thumbprint { primary, secondary } = wanted.state.auth else { return verdict() };
    let slots = twin.x509_thumbprint;
    let on_hub = [slots.primary_thumbprint, slots.secondary_thumbprint];
    if [primary, secondary].into_iter().flatten().any(|given| on_hub.contains(&Some(given))) {
        return verdict();
    }
    Verdict::Refuse(Refusal {
        code: ReasonCode::CertificateDiffers,
        reason: "it has another certificate than the batch names: is it still the same unit?".to_owned(),
        differences: thumbprint_differences(wanted, twin),
    })
}

/// How the thumbprints on the hub differ from those of the batch.
fn thumbprint_differences(wanted: &DesiredIdentity, twin: &Twin) -> Vec<Difference> {
    let standing = Standing::of(wanted, Some(twin));
    let of_slots = |difference: &&Difference| difference.path.ends_with("_thumbprint");
    standing.differences().iter().filter(of_slots).cloned().collect()
}

fn undo(row: &LedgerRow, twin: &Twin, run: RunId) -> Verdict {
    if row.record.presumed {
        return Refusal::because(
            ReasonCode::CreationUncertain,
            format!("run {run} found it there, and can't be sure that it created it"),
        );
    }
    let (left, found) = (&row.before, Etags::of(Some(twin)));
    let standing = Standing::of(&row.wanted, Some(twin));
    let is_untouched = match *left == Etags::default() {
        // The run was not verified: nobody knows its version tags.
        true => standing == Standing::Equal,
        false => *left == found,
    };
    if is_untouched {
        return Verdict::Delete;
    }
    let mut differences = standing.differences().to_vec();
    if differences.is_empty() {
        differences.push(Difference { path: "version".into(), wanted: json!(left), found: json!(found) });
    }
    let reason = format!("it was changed since run {run} created it");
    Verdict::Refuse(Refusal { code: ReasonCode::ChangedSinceRun, reason, differences })
}

#[cfg(test)]
mod tests;
