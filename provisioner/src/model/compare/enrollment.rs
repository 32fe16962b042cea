//! The comparison of an enrolment with the specification of its device.

use hub_types::Thumbprint;
use hub_types::dps::attestation::{Attestation, X509Attestation};
use hub_types::dps::certificate::EnrollmentCertificate;
use hub_types::dps::{EnrollmentGroup, IndividualEnrollment};
use hub_types::identity::Status;
use hub_types::thumbprint::ThumbprintDigest;
use serde_json::json;

use super::{Comparison, Difference, DifferencePath, ExtraValues, check, section_differences};
use crate::model::entry_settings::EntrySettings;
use crate::model::options::TwinPolicy;
use crate::model::spec::{AuthSpec, IdentitySpec};

impl Comparison {
    /// Compares the requested state of a device with its enrolment; `None` if there is none. Its initial
    /// twin belongs to the enrolment, so each difference is one of the enrolment. Under
    /// [`TwinPolicy::Replace`] an additional value of the initial twin is a difference.
    pub(crate) fn of_enrollment(
        policy: TwinPolicy,
        spec: &IdentitySpec,
        settings: &EntrySettings,
        found: Option<&IndividualEnrollment>,
    ) -> Self {
        let Some(found) = found else { return Self::Missing };
        let mut differences = differences_of_settings(spec, found);
        differences.extend(settings.differences(&found.settings));
        let twin = found.settings.initial_twin.as_deref();
        let (tags, desired) =
            (twin.and_then(|twin| twin.tags.as_ref()), twin.and_then(|twin| twin.desired()));
        differences.extend(section_differences(spec, tags, desired, ExtraValues::under(policy)));
        match differences.is_empty() {
            true => Self::InSync,
            false => Self::IdentityDiffers(differences),
        }
    }
}

impl Comparison {
    /// Compares the requested group with the one that is there; `None` if there is none.
    pub(crate) fn of_group(
        spec: &IdentitySpec,
        settings: &EntrySettings,
        found: Option<&EnrollmentGroup>,
    ) -> Self {
        let Some(found) = found else { return Self::Missing };
        let mut differences = Vec::new();
        check(DifferencePath::Auth, "x509", found.attestation.type_name(), &mut differences);
        if let (AuthSpec::Thumbprint { primary, .. }, Attestation::X509(x509)) =
            (&spec.state.auth, &found.attestation)
        {
            let [found_primary, found_secondary] = thumbprints(x509, *primary);
            let upper = |thumbprint: Option<Thumbprint>| thumbprint.map(Thumbprint::in_upper_case);
            let (expected, found) = (upper(*primary), upper(found_primary));
            check(DifferencePath::PrimaryThumbprint, expected, found, &mut differences);
            check(DifferencePath::SecondaryThumbprint, None, upper(found_secondary), &mut differences);
        }
        let status = if found.settings.is_enabled() { Status::Enabled } else { Status::Disabled };
        check(DifferencePath::Status, Status::Enabled, status, &mut differences);
        let is_edge = found.settings.capabilities.is_some_and(|capabilities| capabilities.iot_edge);
        check(DifferencePath::Edge, spec.state.edge, is_edge, &mut differences);
        differences.extend(settings.differences(&found.settings));
        match differences.is_empty() {
            true => Self::InSync,
            false => Self::IdentityDiffers(differences),
        }
    }
}

fn differences_of_settings(spec: &IdentitySpec, found: &IndividualEnrollment) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (state, into) = (&spec.state, &mut differences);
    let kind = match state.auth {
        AuthSpec::Sas { .. } => "symmetricKey",
        AuthSpec::IssuedCertificate { .. } | AuthSpec::Thumbprint { .. } | AuthSpec::X509Ca => "x509",
    };
    check(DifferencePath::Auth, kind, found.attestation.type_name(), into);
    match (&state.auth, &found.attestation) {
        (AuthSpec::Thumbprint { primary, .. }, Attestation::X509(x509)) => {
            let [found_primary, found_secondary] = thumbprints(x509, *primary);
            let upper = |thumbprint: Option<Thumbprint>| thumbprint.map(Thumbprint::in_upper_case);
            check(DifferencePath::PrimaryThumbprint, upper(*primary), upper(found_primary), into);
            check(DifferencePath::SecondaryThumbprint, None, upper(found_secondary), into);
        }
        (AuthSpec::IssuedCertificate { .. }, Attestation::X509(x509)) => into.push(Difference {
            path: DifferencePath::PrimaryThumbprint,
            expected: json!("that of a certificate still to be issued"),
            found: json!(thumbprints(x509, None)[0]),
        }),
        _ => {}
    }
    check(DifferencePath::Identity, spec.identity.device(), &found.device_id(), into);
    let status = if found.settings.is_enabled() { Status::Enabled } else { Status::Disabled };
    check(DifferencePath::Status, state.status_on_hub(), status, into);
    let is_edge = found.settings.capabilities.is_some_and(|capabilities| capabilities.iot_edge);
    check(DifferencePath::Edge, state.edge, is_edge, into);
    differences
}

/// The thumbprints of both certificates of a device or a CA, in the kind of hash of the expected one. A DPS shows the
/// only certificate in both places.
fn thumbprints(x509: &X509Attestation, expected: Option<Thumbprint>) -> [Option<Thumbprint>; 2] {
    let (X509Attestation::ClientCertificates(pair) | X509Attestation::SigningCertificates(pair)) = x509
    else {
        return [None, None];
    };
    let is_sha1 = expected.is_some_and(|expected| matches!(expected.digest(), ThumbprintDigest::Sha1(_)));
    let shown = |certificate: &EnrollmentCertificate| {
        let info = certificate.info.as_ref()?;
        Some(if is_sha1 { info.sha1_thumbprint } else { info.sha256_thumbprint })
    };
    let primary = shown(&pair.primary);
    [primary, pair.secondary.as_ref().and_then(shown).filter(|secondary| Some(*secondary) != primary)]
}
