//! Retiring devices of a DPS: the decision about a device by its enrolment, its registration and its hub
//! identity.

use hub_types::Thumbprint;
use hub_types::dps::attestation::{Attestation, X509Attestation};
use hub_types::dps::certificate::EnrollmentCertificate;
use hub_types::dps::{IndividualEnrollment, RegistrationState};
use hub_types::identity::Status;
use hub_types::twin::Twin;
use serde_json::json;

use super::status::other_reason;
use super::{ChangeDecision, Refusal, if_same_certificate};
use crate::ledger::unfinished_run;
use crate::model::compare::{Difference, DifferencePath};
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec};

/// A device of a DPS, with all that lets it in.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EnrolledDevice {
    /// Its own enrolment.
    pub(crate) enrollment: Option<IndividualEnrollment>,
    /// The record of its registration.
    pub(crate) registration: Option<RegistrationState>,
    /// Its twin on the hub that it is assigned to; in words, why that hub can't be read.
    pub(crate) twin: Option<Result<Twin, String>>,
}

impl EnrolledDevice {
    /// The ETags of its enrolment and, in the place of the twin's, of its identity on the hub.
    pub(crate) fn etags(&self) -> Etags {
        let identity = Etags::of_enrollment(self.enrollment.as_ref()).identity;
        Etags { identity, twin: self.on_hub().and_then(|twin| twin.device_etag.clone()) }
    }

    /// Its twin on the hub, if it is there.
    pub(crate) fn on_hub(&self) -> Option<&Twin> {
        self.twin.as_ref()?.as_ref().ok()
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.enrollment.is_none() && self.registration.is_none() && self.twin.is_none()
    }

    /// Returns true if its enrolment keeps it out.
    fn is_blocked(&self) -> bool {
        self.enrollment.as_ref().is_some_and(|found| !found.settings.is_enabled())
    }

    fn is_disabled_on_hub(&self) -> bool {
        self.on_hub().is_some_and(|twin| twin.status == Status::Disabled)
    }

    fn is_enabled_on_hub(&self) -> bool {
        self.on_hub().is_some_and(|twin| twin.status == Status::Enabled)
    }
}

impl Maintenance {
    /// Decides how a device of a DPS is retired or released, or what becomes of a module of it. `has_groups` is
    /// true if the DPS has enrolment groups, by which a device could come back without an entry of its own.
    /// `hold` is the run that keeps the device out, for a release.
    pub(crate) fn decide_enrolled(
        &self,
        spec: &IdentitySpec,
        found: &EnrolledDevice,
        has_groups: bool,
        hold: Option<&Hold>,
    ) -> ChangeDecision {
        if let Some(Err(reason)) = &found.twin {
            return Refusal::because(ReasonCode::HubNotKnown, reason.clone());
        }
        let decision = match self {
            Self::Delete => delete(found, has_groups),
            Self::Release { run } => release(spec, found, *run, hold),
            _ => disable(spec, found, has_groups),
        };
        match decision {
            ChangeDecision::NothingToDo | ChangeDecision::Refuse(_) => decision,
            _ if spec.identity.module().is_some() => Refusal::because(
                ReasonCode::DeviceNotNamed,
                "a module is retired and released with its device only: name the device, too",
            ),
            _ => other_certificate(spec, found).unwrap_or(decision),
        }
    }
}

/// Decides how a device is kept out: its enrolment is disabled, and its identity on the hub.
fn disable(spec: &IdentitySpec, found: &EnrolledDevice, has_groups: bool) -> ChangeDecision {
    if found.is_absent() {
        return Refusal::because(
            ReasonCode::IdentityMissing,
            "it has no enrolment of its own and has never registered",
        );
    }
    let is_kept_out = found.is_blocked() || (found.enrollment.is_none() && !has_groups);
    match is_kept_out && !found.is_enabled_on_hub() {
        true => ChangeDecision::NothingToDo,
        false => ChangeDecision::Replace(Box::new(spec.clone())),
    }
}

/// Decides how a device is let in again that a run has retired: run `only`, where one is named.
fn release(
    spec: &IdentitySpec,
    found: &EnrolledDevice,
    only: Option<RunId>,
    hold: Option<&Hold>,
) -> ChangeDecision {
    let refuse = Refusal::because;
    match hold {
        _ if found.is_absent() => {
            refuse(ReasonCode::IdentityMissing, "it has no enrolment of its own and has never registered")
        }
        Some(hold) if hold.is_unfinished => {
            refuse(ReasonCode::RunUnfinished, &unfinished_run(hold.run, "then release it"))
        }
        _ if !found.is_blocked() && !found.is_disabled_on_hub() => ChangeDecision::NothingToDo,
        None if spec.identity.module().is_some() => ChangeDecision::Replace(Box::new(spec.clone())),
        None => refuse(
            ReasonCode::NotDisabledByRun,
            "no run of this ledger has retired it: its batch may ask for `disabled`, or somebody else disabled it. Find \
             out who and why",
        ),
        Some(hold) => match (only.filter(|run| *run != hold.run), found.on_hub()) {
            (Some(run), _) => refuse(
                ReasonCode::DisabledByOtherRun,
                &format!(
                    "it is run {0} that keeps it disabled, not run {run}: `provisioner release --run {0}` enables it",
                    hold.run
                ),
            ),
            (None, Some(twin)) if found.is_disabled_on_hub() && !hold.is_as_left(twin) => {
                other_reason(twin, hold)
            }
            (None, _) => ChangeDecision::Replace(Box::new(spec.clone())),
        },
    }
}

/// Decides how a device is taken out for good. Where the DPS has groups, its disabled enrolment stays and
/// keeps it out.
fn delete(found: &EnrolledDevice, has_groups: bool) -> ChangeDecision {
    let enabled = |what: &str| {
        Refusal::because(
            ReasonCode::DeviceEnabled,
            format!("{what}, and only what is disabled is deleted: retire it without `--delete` first"),
        )
    };
    match &found.enrollment {
        Some(_) if !found.is_blocked() => return enabled("its enrolment is enabled"),
        None if has_groups && !found.is_absent() => {
            return enabled("no enrolment of its own keeps it out, and an enrolment group could let it in");
        }
        _ if found.is_enabled_on_hub() => return enabled("it is enabled on its hub"),
        _ => {}
    }
    let stays = has_groups && found.enrollment.is_some();
    let is_gone =
        (found.enrollment.is_none() || stays) && found.registration.is_none() && found.twin.is_none();
    if is_gone { ChangeDecision::NothingToDo } else { ChangeDecision::Delete }
}

/// The refusal of a device whose enrolment or identity has a certificate that the batch does not name.
fn other_certificate(spec: &IdentitySpec, found: &EnrolledDevice) -> Option<ChangeDecision> {
    enrolled_certificate_differs(spec, found).or_else(|| on_hub_differs(spec, found))
}

fn on_hub_differs(spec: &IdentitySpec, found: &EnrolledDevice) -> Option<ChangeDecision> {
    let twin = found.on_hub()?;
    match if_same_certificate(spec, twin, || ChangeDecision::NothingToDo) {
        ChangeDecision::NothingToDo => None,
        refused => Some(refused),
    }
}

fn enrolled_certificate_differs(spec: &IdentitySpec, found: &EnrolledDevice) -> Option<ChangeDecision> {
    let AuthSpec::Thumbprint { primary, secondary } = spec.state.auth else { return None };
    let given: Vec<Thumbprint> = [primary, secondary].into_iter().flatten().collect();
    let Attestation::X509(X509Attestation::ClientCertificates(pair)) =
        &found.enrollment.as_ref()?.attestation
    else {
        return None;
    };
    let shown = |certificate: &EnrollmentCertificate| {
        let info = certificate.info.as_ref()?;
        Some([info.sha1_thumbprint, info.sha256_thumbprint])
    };
    let enrolled: Vec<Thumbprint> = [Some(&pair.primary), pair.secondary.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(shown)
        .flatten()
        .collect();
    if given.is_empty() || enrolled.is_empty() || given.iter().any(|one| enrolled.contains(one)) {
        return None;
    }
    let difference = Difference {
        path: DifferencePath::PrimaryThumbprint,
        expected: json!(given.first()),
        found: json!(enrolled.last()),
    };
    Some(ChangeDecision::Refuse(Refusal {
        code: ReasonCode::CertificateDiffers,
        reason: "the certificate of its enrolment differs from that of the batch; it may be a different unit"
            .to_owned(),
        differences: vec![difference],
    }))
}
