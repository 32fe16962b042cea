//! The enrolment of a device, made from its specification and its credentials.

use std::path::PathBuf;
use std::sync::Arc;

use cli_support::causes::with_causes;
use hub_types::dps::attestation::X509Attestation;
use hub_types::dps::certificate::{CertificateDer, CertificatePair, EnrollmentCertificate};
use hub_types::dps::enrollment::{InitialProperties, InitialTwin, ProvisioningStatus};
use hub_types::dps::{Attestation, IndividualEnrollment, RegistrationId};
use hub_types::identity::{Capabilities, Status};
use hub_types::shown::ShownPath;
use hub_types::twin::JsonObject;
use hub_types::{IdentityId, Thumbprint};

use crate::device::{CredentialError, CredentialSource};
use crate::model::entry_settings::EntrySettings;
use crate::model::options::TwinPolicy;
use crate::model::overlay::overlay;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec};

/// The certificates of devices. An enrolment holds the certificate itself, the ledger its thumbprint only.
pub(crate) trait DeviceCertificates: Send + Sync + 'static {
    /// The certificate of a device, which must have this thumbprint.
    fn find(&self, identity: &IdentityId, thumbprint: Thumbprint)
    -> Result<CertificateDer, CertificateError>;
}

/// The reason why the certificate of a device can't be enrolled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CertificateError {
    /// Its file can't be found or read.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// No file is known.
    #[error(
        "its certificate is not at hand: neither the batch nor the folder of issued certificates names it"
    )]
    Missing,
    /// The file has a different certificate from the one that the run began with.
    #[error("the certificate in `{}` is not the one that the run began with", ShownPath(file))]
    Other {
        /// The file.
        file: PathBuf,
    },
    /// The file can't be read.
    #[error(transparent)]
    Unreadable(#[from] cert_tool::Error),
}

impl DeviceCertificates for CredentialSource {
    fn find(
        &self,
        identity: &IdentityId,
        thumbprint: Thumbprint,
    ) -> Result<CertificateDer, CertificateError> {
        let file = self.certificate(identity)?.ok_or(CertificateError::Missing)?;
        let certificate = cert_tool::read_certificate(&file)?;
        match thumbprint.matches_der(certificate.der()) {
            true => Ok(CertificateDer::new(certificate.der())),
            false => Err(CertificateError::Other { file }),
        }
    }
}

/// The credentials that enrolments are made with.
#[derive(Clone)]
pub(crate) struct EnrollmentSource<C> {
    /// The certificates.
    pub(crate) certificates: Arc<C>,
    /// The symmetric keys that the batch gives.
    pub(crate) keys: Arc<GivenKeys>,
    /// The settings that no row has.
    pub(crate) settings: EntrySettings,
}

impl<C: DeviceCertificates> EnrollmentSource<C> {
    /// The enrolment that a device is to have at first; in words, why there can be none.
    pub(crate) fn new_enrollment(&self, spec: &IdentitySpec) -> Result<IndividualEnrollment, String> {
        let mut enrollment =
            IndividualEnrollment::new(registration_id(&spec.identity)?, self.attestation(spec)?);
        enrollment.device_id = Some(spec.identity.device().clone());
        apply_settings(&mut enrollment, spec, TwinPolicy::Replace);
        self.settings.apply(&mut enrollment.settings);
        Ok(enrollment)
    }

    /// The existing enrolment `found` with the values of the specification. All else stays.
    pub(crate) fn changed_enrollment(
        &self,
        spec: &IdentitySpec,
        found: &IndividualEnrollment,
        policy: TwinPolicy,
    ) -> Result<IndividualEnrollment, String> {
        let mut enrollment = found.clone();
        enrollment.attestation = self.attestation(spec)?;
        enrollment.device_id = Some(spec.identity.device().clone());
        enrollment.registration_state = None;
        apply_settings(&mut enrollment, spec, policy);
        self.settings.apply(&mut enrollment.settings);
        Ok(enrollment)
    }

    fn attestation(&self, spec: &IdentitySpec) -> Result<Attestation, String> {
        match spec.state.auth {
            AuthSpec::Sas { .. } => Ok(Attestation::SymmetricKey(self.keys.get(&spec.identity).cloned())),
            AuthSpec::Thumbprint { primary: Some(primary), secondary: None } => {
                let certificate = self.certificates.find(&spec.identity, primary);
                let certificate = certificate.map_err(|error| with_causes(&error))?;
                let primary = EnrollmentCertificate { certificate: Some(certificate), info: None };
                let pair = CertificatePair { primary, secondary: None };
                Ok(Attestation::X509(X509Attestation::ClientCertificates(pair)))
            }
            AuthSpec::Thumbprint { .. } | AuthSpec::X509Ca => {
                Err("an enrolment of one device holds its one certificate".to_owned())
            }
            AuthSpec::IssuedCertificate { .. } => Err("its certificate is still to be issued".to_owned()),
        }
    }
}

/// The id by which a device registers: its device id, which is the common name of its certificate too.
pub(crate) fn registration_id(identity: &IdentityId) -> Result<RegistrationId, String> {
    identity.device().as_str().parse().map_err(|error| with_causes(&error))
}

fn apply_settings(enrollment: &mut IndividualEnrollment, spec: &IdentitySpec, policy: TwinPolicy) {
    let (state, settings) = (&spec.state, &mut enrollment.settings);
    settings.provisioning_status = Some(match state.status_on_hub() {
        Status::Enabled => ProvisioningStatus::Enabled,
        Status::Disabled => ProvisioningStatus::Disabled,
    });
    settings.capabilities = Some(Capabilities { iot_edge: state.edge });
    let twin = settings.initial_twin.take().unwrap_or_default();
    let InitialTwin { tags, properties } = *twin;
    let desired = properties.and_then(|properties| properties.desired);
    let tags = section(tags, &state.tags, policy);
    let desired = section(desired, &state.desired, policy);
    let has_twin = tags.is_some() || desired.is_some();
    let properties = desired.map(|desired| InitialProperties { desired: Some(desired) });
    settings.initial_twin = has_twin.then(|| Box::new(InitialTwin { tags, properties }));
}

/// A section of the initial twin: of what is found, values that the batch does not give stay unless the section
/// is to be replaced.
fn section(found: Option<JsonObject>, given: &JsonObject, policy: TwinPolicy) -> Option<JsonObject> {
    let mut section = match policy {
        TwinPolicy::Replace if !given.is_empty() => JsonObject::new(),
        TwinPolicy::Initial | TwinPolicy::Merge | TwinPolicy::Replace => found.unwrap_or_default(),
    };
    overlay(&mut section, given);
    (!section.is_empty()).then_some(section)
}
