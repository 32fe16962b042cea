//! The rotation of thumbprints in the two slots of an identity: the new one is added to the free
//! slot, and the old one is removed after the new one is proven.

use hub_types::Thumbprint;
use hub_types::twin::Twin;

use super::{ChangeDecision, Refusal, thumbprint_differences};
use crate::model::failure::ReasonCode;
use crate::model::spec::{AuthSpec, IdentitySpec};

/// The thumbprints of the batch and of the hub.
struct Slots<'a> {
    spec: &'a IdentitySpec,
    twin: &'a Twin,
    /// The batch's first thumbprint.
    new: Thumbprint,
    /// The batch's second thumbprint, if there is one.
    old: Option<Thumbprint>,
    primary: Option<Thumbprint>,
    secondary: Option<Thumbprint>,
}

impl<'a> Slots<'a> {
    fn of(spec: &'a IdentitySpec, twin: &'a Twin) -> Result<Self, ChangeDecision> {
        if twin.authentication_type != "selfSigned" {
            let found = &twin.authentication_type;
            return Err(Refusal::because(
                ReasonCode::NotByThumbprint,
                format!("it has no thumbprints on the hub: it authenticates by `{found}`"),
            ));
        }
        let (new, old) = match spec.state.auth {
            AuthSpec::Thumbprint { primary: Some(new), secondary } => (new, secondary),
            AuthSpec::IssuedCertificate { .. } => {
                return Err(Refusal::because(
                    ReasonCode::CertificateNotIssued,
                    "no new certificate was issued for it",
                ));
            }
            _ => {
                return Err(Refusal::because(
                    ReasonCode::NoNewThumbprint,
                    "the batch names no new thumbprint for it",
                ));
            }
        };
        let slots = twin.x509_thumbprint;
        let (primary, secondary) = (slots.primary_thumbprint, slots.secondary_thumbprint);
        Ok(Self { spec, twin, new, old, primary, secondary })
    }

    fn hold(&self, thumbprint: Thumbprint) -> bool {
        [self.primary, self.secondary].contains(&Some(thumbprint))
    }

    /// The thumbprint in the slots besides the new one.
    fn other(&self) -> Option<Thumbprint> {
        [self.primary, self.secondary].into_iter().flatten().find(|thumbprint| *thumbprint != self.new)
    }

    /// The identity with these thumbprints, otherwise unchanged.
    fn with(&self, primary: Option<Thumbprint>, secondary: Option<Thumbprint>) -> ChangeDecision {
        ChangeDecision::changed(self.twin, |state| state.auth = AuthSpec::Thumbprint { primary, secondary })
    }

    fn refuse(&self, code: ReasonCode, reason: &str) -> ChangeDecision {
        let differences = thumbprint_differences(self.spec, self.twin);
        ChangeDecision::Refuse(Refusal { code, reason: reason.to_owned(), differences })
    }
}

/// Adds the new thumbprint to the free slot. A slot that repeats the other one counts as free.
pub(super) fn add(spec: &IdentitySpec, twin: &Twin) -> ChangeDecision {
    let slots = match Slots::of(spec, twin) {
        Ok(slots) => slots,
        Err(decision) => return decision,
    };
    let (new, primary, secondary) = (slots.new, slots.primary, slots.secondary);
    match slots.old {
        _ if slots.hold(new) => ChangeDecision::NothingToDo,
        Some(old) if !slots.hold(old) => slots.refuse(
            ReasonCode::CertificateDiffers,
            "the hub has neither its new thumbprint nor its old one: it may be a different unit",
        ),
        _ if primary.is_none() => slots.with(Some(new), secondary),
        _ if secondary.is_none() || primary == secondary => slots.with(primary, Some(new)),
        _ => slots.refuse(ReasonCode::BothSlotsTaken, "both slots are taken by other thumbprints"),
    }
}

/// Removes the old thumbprint and keeps the new one.
pub(super) fn drop_old(spec: &IdentitySpec, twin: &Twin) -> ChangeDecision {
    let slots = match Slots::of(spec, twin) {
        Ok(slots) => slots,
        Err(decision) => return decision,
    };
    match (slots.other(), slots.old) {
        _ if !slots.hold(slots.new) => slots.refuse(
            ReasonCode::NewThumbprintMissing,
            "its new thumbprint is not on the hub: put it in by `provisioner rotate` without `--finish`",
        ),
        (Some(other), Some(old)) if other != old => {
            slots.refuse(ReasonCode::ThirdThumbprint, "beside its new thumbprint it has a third thumbprint")
        }
        _ if (slots.primary, slots.secondary) == (Some(slots.new), None) => ChangeDecision::NothingToDo,
        _ => slots.with(Some(slots.new), None),
    }
}

/// Removes the new thumbprint, unless the unit could then no longer connect.
pub(super) fn drop_new(spec: &IdentitySpec, twin: &Twin) -> ChangeDecision {
    let slots = match Slots::of(spec, twin) {
        Ok(slots) => slots,
        Err(decision) => return decision,
    };
    match slots.other() {
        _ if !slots.hold(slots.new) => ChangeDecision::NothingToDo,
        Some(other) => slots.with(Some(other), None),
        None => slots.refuse(
            ReasonCode::OnlyThumbprint,
            "its new thumbprint is the only one, so without it the unit is locked out: rotate back with a batch \
             whose `primary_thumbprint` is the old one",
        ),
    }
}
