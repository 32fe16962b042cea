//! A DPS in memory that loses answers, for the tests of the drivers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hub_types::Etag;
use hub_types::dps::attestation::{Attestation, X509Attestation};
use hub_types::dps::bulk::{BulkMode, EnrollmentBulkError, EnrollmentBulkResult};
use hub_types::dps::certificate::{CertificateInfo, EnrollmentCertificate};
use hub_types::dps::registration::RegistrationStatus;
use hub_types::dps::{
    DpsErrorCode, EnrollmentGroup, EnrollmentGroupId, IndividualEnrollment, RegistrationId, RegistrationState,
};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::thumbprint::{Sha1Thumbprint, Sha256Thumbprint};

use crate::dps::Dps;
use crate::hub::{HubError, Patient};
use crate::model::service::ServiceKind;

/// The fault that hits a call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DpsFault {
    Answered,
    LostAfterEffect,
    LostBeforeEffect,
    /// Every second item of a bulk call is throttled, and the others take effect.
    HalfThrottled,
    /// A bulk call takes effect, and its answer says that something failed and not what.
    Vague,
    /// The call is refused as a whole, without an effect.
    Refused,
}

/// An enrolment, and how often it was created.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) enrollment: IndividualEnrollment,
    pub(crate) creations: u32,
}

#[derive(Default)]
pub(crate) struct ModelDps {
    /// The faults of the next calls that change something; then all are answered.
    pub(crate) faults: Mutex<Vec<DpsFault>>,
    pub(crate) entries: Mutex<BTreeMap<RegistrationId, Entry>>,
    /// The records of devices that have registered.
    pub(crate) registrations: Mutex<BTreeMap<RegistrationId, RegistrationState>>,
    pub(crate) groups: Mutex<BTreeMap<EnrollmentGroupId, EnrollmentGroup>>,
    version: Mutex<u32>,
}

impl ModelDps {
    pub(crate) fn with_faults(faults: Vec<DpsFault>) -> Self {
        Self { faults: Mutex::new(faults), ..Self::default() }
    }

    /// Changes an entry as a different client does.
    pub(crate) fn meddle(&self, id: &str, change: impl FnOnce(&mut IndividualEnrollment)) {
        let etag = self.next_etag();
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.get_mut(&id.parse().unwrap()).unwrap();
        change(&mut entry.enrollment);
        entry.enrollment.settings.etag = Some(etag);
    }

    /// Registers a device that is assigned to a hub.
    pub(crate) fn assign(&self, id: &str, hub: &str) {
        let id: RegistrationId = id.parse().unwrap();
        let state = RegistrationState {
            assigned_hub: Some(hub.to_owned()),
            device_id: Some(id.device_id()),
            ..RegistrationState::new(id.clone(), RegistrationStatus::Assigned)
        };
        self.registrations.lock().unwrap().insert(id, state);
    }

    /// Lets the registration of a device fail.
    pub(crate) fn fail(&self, id: &str, code: u32, message: &str) {
        let id: RegistrationId = id.parse().unwrap();
        let state = RegistrationState {
            error_code: Some(code),
            error_message: Some(message.to_owned()),
            ..RegistrationState::new(id.clone(), RegistrationStatus::Failed)
        };
        self.registrations.lock().unwrap().insert(id, state);
    }

    fn next_etag(&self) -> Etag {
        let mut version = self.version.lock().unwrap();
        *version += 1;
        Etag::new(&version.to_string())
    }

    fn fault(&self) -> DpsFault {
        self.faults.lock().unwrap().pop().unwrap_or(DpsFault::Answered)
    }

    fn write(&self, mode: BulkMode, item: &IndividualEnrollment) -> Result<(), DpsErrorCode> {
        let etag = self.next_etag();
        let mut entries = self.entries.lock().unwrap();
        let creations = match (mode, entries.get(&item.registration_id)) {
            (BulkMode::Create, None) => 1,
            (BulkMode::Create, Some(_)) => return Err(DpsErrorCode::EnrollmentAlreadyExists),
            (_, None) => return Err(DpsErrorCode::EnrollmentNotFound),
            (_, Some(found)) if found.enrollment.settings.etag != item.settings.etag => {
                return Err(DpsErrorCode::EnrollmentEtagMismatch);
            }
            (_, Some(found)) => found.creations,
        };
        let mut enrollment = item.clone();
        enrollment.settings.etag = Some(etag);
        show_facts(&mut enrollment.attestation);
        entries.insert(item.registration_id.clone(), Entry { enrollment, creations });
        Ok(())
    }
}

impl Patient for ModelDps {}

impl Dps for ModelDps {
    async fn bulk(
        &self,
        mode: BulkMode,
        enrollments: &[IndividualEnrollment],
    ) -> Result<EnrollmentBulkResult, HubError> {
        assert!(!enrollments.is_empty() && enrollments.len() <= 10);
        let fault = self.fault();
        match fault {
            DpsFault::LostBeforeEffect => return Err(HubError::NoAnswer),
            DpsFault::Refused => return Err(refused(DpsErrorCode::InvalidRequest)),
            _ => {}
        }
        let mut errors = Vec::new();
        for (index, item) in enrollments.iter().enumerate() {
            let written = match fault {
                DpsFault::HalfThrottled if index % 2 == 0 => Err(DpsErrorCode::Throttled),
                _ => self.write(mode, item),
            };
            errors.extend(written.err().map(|code| EnrollmentBulkError {
                registration_id: Some(item.registration_id.to_string()),
                enrollment_group_id: None,
                error_code: code.number(),
                error_status: code.name().to_owned(),
            }));
        }
        match fault {
            DpsFault::LostAfterEffect => Err(HubError::NoAnswer),
            DpsFault::Vague => Ok(EnrollmentBulkResult { errors: Vec::new(), is_successful: false }),
            _ => Ok(EnrollmentBulkResult { is_successful: errors.is_empty(), errors }),
        }
    }

    async fn enrollment(&self, id: &RegistrationId) -> Result<Option<IndividualEnrollment>, HubError> {
        Ok(self.entries.lock().unwrap().get(id).map(|entry| {
            let mut shown = entry.enrollment.clone();
            shown.attestation = shown.attestation.without_keys();
            shown
        }))
    }

    async fn keys(&self, id: &RegistrationId) -> Result<Option<SymmetricKeys>, HubError> {
        let entries = self.entries.lock().unwrap();
        Ok(entries.get(id).and_then(|entry| match &entry.enrollment.attestation {
            Attestation::SymmetricKey(keys) => keys.clone(),
            _ => None,
        }))
    }

    async fn registration(&self, id: &RegistrationId) -> Result<Option<RegistrationState>, HubError> {
        Ok(self.registrations.lock().unwrap().get(id).cloned())
    }

    async fn delete(&self, id: &RegistrationId, etag: Option<&Etag>) -> Result<(), HubError> {
        let fault = self.fault();
        if fault == DpsFault::LostBeforeEffect {
            return Err(HubError::NoAnswer);
        }
        {
            let mut entries = self.entries.lock().unwrap();
            let found = entries.get(id).ok_or_else(|| refused(DpsErrorCode::EnrollmentNotFound))?;
            if etag.is_some() && found.enrollment.settings.etag.as_ref() != etag {
                return Err(refused(DpsErrorCode::EnrollmentEtagMismatch));
            }
            entries.remove(id);
        }
        match fault {
            DpsFault::LostAfterEffect => Err(HubError::NoAnswer),
            _ => Ok(()),
        }
    }

    async fn delete_registration(&self, id: &RegistrationId, _etag: Option<&Etag>) -> Result<(), HubError> {
        let fault = self.fault();
        if fault == DpsFault::LostBeforeEffect {
            return Err(HubError::NoAnswer);
        }
        let removed = self.registrations.lock().unwrap().remove(id);
        removed.ok_or_else(|| refused(DpsErrorCode::RegistrationNotFound))?;
        match fault {
            DpsFault::LostAfterEffect => Err(HubError::NoAnswer),
            _ => Ok(()),
        }
    }

    async fn bulk_groups(
        &self,
        mode: BulkMode,
        groups: &[EnrollmentGroup],
    ) -> Result<EnrollmentBulkResult, HubError> {
        let fault = self.fault();
        if fault == DpsFault::LostBeforeEffect {
            return Err(HubError::NoAnswer);
        }
        let mut errors = Vec::new();
        for group in groups {
            let etag = self.next_etag();
            let mut entries = self.groups.lock().unwrap();
            let found = entries.get(&group.enrollment_group_id);
            let code = match (mode, found) {
                (BulkMode::Create, Some(_)) => Some(DpsErrorCode::EnrollmentGroupAlreadyExists),
                (BulkMode::Create, None) => None,
                (_, None) => Some(DpsErrorCode::EnrollmentGroupNotFound),
                (_, Some(found)) => (found.settings.etag != group.settings.etag)
                    .then_some(DpsErrorCode::EnrollmentGroupEtagMismatch),
            };
            match code {
                Some(code) => errors.push(EnrollmentBulkError {
                    registration_id: None,
                    enrollment_group_id: Some(group.enrollment_group_id.to_string()),
                    error_code: code.number(),
                    error_status: code.name().to_owned(),
                }),
                None => {
                    let mut written = group.clone();
                    written.settings.etag = Some(etag);
                    show_facts(&mut written.attestation);
                    entries.insert(group.enrollment_group_id.clone(), written);
                }
            }
        }
        match fault {
            DpsFault::LostAfterEffect => Err(HubError::NoAnswer),
            _ => Ok(EnrollmentBulkResult { is_successful: errors.is_empty(), errors }),
        }
    }

    async fn group(&self, id: &EnrollmentGroupId) -> Result<Option<EnrollmentGroup>, HubError> {
        Ok(self.groups.lock().unwrap().get(id).cloned())
    }

    async fn delete_group(&self, id: &EnrollmentGroupId, etag: Option<&Etag>) -> Result<(), HubError> {
        let mut groups = self.groups.lock().unwrap();
        let found = groups.get(id).ok_or_else(|| refused(DpsErrorCode::EnrollmentGroupNotFound))?;
        if etag.is_some() && found.settings.etag.as_ref() != etag {
            return Err(refused(DpsErrorCode::EnrollmentGroupEtagMismatch));
        }
        groups.remove(id);
        Ok(())
    }

    async fn has_registrations(&self, _group: &EnrollmentGroupId) -> Result<bool, HubError> {
        Ok(!self.registrations.lock().unwrap().is_empty())
    }

    async fn has_groups(&self) -> Result<bool, HubError> {
        Ok(!self.groups.lock().unwrap().is_empty())
    }
}

/// Shows the facts of certificates in their place, as a DPS does: of an only one in both places.
fn show_facts(attestation: &mut Attestation) {
    let Attestation::X509(
        X509Attestation::ClientCertificates(pair) | X509Attestation::SigningCertificates(pair),
    ) = attestation
    else {
        return;
    };
    pair.primary = with_facts(&pair.primary);
    pair.secondary = Some(pair.secondary.as_ref().map_or_else(|| pair.primary.clone(), with_facts));
}

/// A certificate as a DPS shows it: its facts in its place.
fn with_facts(certificate: &EnrollmentCertificate) -> EnrollmentCertificate {
    let computed = certificate.certificate.as_ref().map(|der| CertificateInfo {
        subject_name: String::new(),
        sha1_thumbprint: Sha1Thumbprint::of_der(der.as_bytes()).into(),
        sha256_thumbprint: Sha256Thumbprint::of_der(der.as_bytes()).into(),
        issuer_name: String::new(),
        not_before_utc: "2026-01-01T00:00:00Z".parse().unwrap(),
        not_after_utc: "2027-01-01T00:00:00Z".parse().unwrap(),
        serial_number: "01".to_owned(),
        version: 3,
    });
    let info = computed.map(Box::new).or_else(|| certificate.info.clone());
    EnrollmentCertificate { certificate: None, info }
}

fn refused(code: DpsErrorCode) -> HubError {
    let body = format!("{{\"errorCode\":{},\"message\":\"{}\"}}", code.number(), code.name());
    let status = u16::try_from(code.number() / 1000).unwrap();
    HubError::refused(ServiceKind::Dps, status, None, None, body.as_bytes())
}
