//! The registration of devices: the choice of the entry, the assignment to a hub, its record.
//!
//! A device registers, gets the id of an operation, and asks for the outcome. Registrations of one
//! device come one after the other. A hub is written before the record of the registration, so a
//! registration that was cut off is completed by the next one of the device. Sources: "IoT Hub
//! Device reprovisioning concepts", and docs/local-dps.md for what the service does not document.

use std::path::PathBuf;
use std::sync::Arc;

use hub_types::connection_string::HubHost;
use hub_types::dps::certificate::{CertificateInfo, EnrollmentCertificate};
use hub_types::dps::device_token::resource;
use hub_types::dps::enrollment::{AllocationPolicy, InitialTwin};
use hub_types::dps::registration::{
    DeviceRegistration, RegistrationGroup, RegistrationOperation, RegistrationStatus, RegistrationSubstatus,
};
use hub_types::dps::selection::{
    Entries, Entry, FindingKind, PresentedCertificate, Proof, Selection, device_keys, select,
};
use hub_types::dps::{
    Attestation, DpsErrorCode, EnrollmentGroup, IndividualEnrollment, RegistrationId, RegistrationState,
};
use hub_types::limits::OperationClass;
use hub_types::sas::SasToken;
use hub_types::{Authentication, DeviceId};
use tokio::sync::{Mutex, MutexGuard};

use super::Dps;
use super::allocation::{Allocation, Applicant, allocate, webhook_client};
use super::certificates::{self, Issuer, VerifiedCas};
use super::linked_hubs::{AssignedDevice, LinkedHub, LinkedHubs, Provisioned};
use super::operations::RegistrationOperations;
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::error::Result;
use crate::hub::Hub;
use crate::rest::Presented;

/// The part of a DPS that registers devices.
#[derive(Debug)]
pub(crate) struct Registrar {
    hubs: LinkedHubs,
    cas: VerifiedCas,
    operations: RegistrationOperations,
    webhooks: reqwest::Client,
    /// Locks for registrations. Those of one device have the same lock.
    turns: Vec<Mutex<()>>,
}

/// The proof that a device has given in its connection.
#[derive(Debug, Clone)]
pub(crate) enum DeviceProof {
    /// The certificates of the TLS connection. They may be absent.
    Certificates(Presented),
    /// A token for the registration, which has not expired.
    Token(SasToken),
}

impl Registrar {
    /// Links the hub of this process, by the name that devices call, and those of data folders.
    pub(crate) fn new(hub: Arc<Hub>, host: &HubHost, folders: &[PathBuf], cas: VerifiedCas) -> Result<Self> {
        Ok(Self {
            hubs: LinkedHubs::link(hub, host, folders)?,
            cas,
            operations: RegistrationOperations::new(),
            webhooks: webhook_client(),
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
        })
    }

    /// Waits until no other registration of the device is running.
    async fn turn(&self, id: &RegistrationId) -> Option<MutexGuard<'_, ()>> {
        let sum = id.as_str().bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte.to_ascii_lowercase()))
        });
        let turn = self.turns.get(sum.checked_rem(self.turns.len())?)?;
        Some(turn.lock().await)
    }
}

/// Registers a device: begins the assignment to a hub, and returns the operation. The assignment by
/// a function goes on after the response; others have ended before it.
pub(crate) async fn register(
    dps: &Arc<Dps>,
    id: &RegistrationId,
    proof: &DeviceProof,
    request: DeviceRegistration,
) -> ApiResult<RegistrationOperation> {
    check_request(id, &request)?;
    dps.hub().throttle().admit(OperationClass::DeviceRegistration, 1, "DeviceRegistration").await?;
    let candidate = Candidate::read(dps, id);
    let certificates = candidate.facts(proof);
    let entry = accept(id, &candidate.select(dps, id, proof, &certificates))?;
    let assignment = Assignment {
        dps: Arc::clone(dps),
        id: id.clone(),
        entry: OwnedEntry::of(entry),
        certificate: certificates.first().map(|own| Box::new(own.info.clone())),
        request,
        operation: dps.registrar().operations.begin(id),
    };
    let operation = assignment.operation.clone();
    let is_custom = entry.settings().allocation_policy == Some(AllocationPolicy::Custom);
    let running = tokio::spawn(assignment.run());
    if !is_custom {
        // A panic is in the log; the operation stays without an outcome.
        let _ = running.await;
    }
    Ok(RegistrationOperation {
        operation_id: operation,
        status: RegistrationStatus::Assigning,
        registration_state: None,
    })
}

/// The state of an operation of a device.
pub(crate) fn operation_status(
    dps: &Dps,
    id: &RegistrationId,
    operation: &str,
) -> ApiResult<RegistrationOperation> {
    let operations = &dps.registrar().operations;
    if dps.hub().throttle().is_on() && !operations.may_poll(id, operation, dps.hub().unix_seconds()) {
        return Err(ApiError::dps(DpsErrorCode::Throttled, "The device asks too often for its operation."));
    }
    operations.find(id, operation).ok_or_else(|| {
        ApiError::dps(DpsErrorCode::RegistrationNotFound, "the device has no operation of this id")
    })
}

/// The registration of a device, for the device itself.
pub(crate) fn registration_status(
    dps: &Dps,
    id: &RegistrationId,
    proof: &DeviceProof,
) -> ApiResult<RegistrationState> {
    check_proof(dps, id, proof)?;
    dps.registration(id)
        .ok_or_else(|| ApiError::dps(DpsErrorCode::RegistrationNotFound, "the device has never registered"))
}

/// Refuses a device that may not register now.
pub(crate) fn check_proof(dps: &Dps, id: &RegistrationId, proof: &DeviceProof) -> ApiResult<()> {
    let candidate = Candidate::read(dps, id);
    let certificates = candidate.facts(proof);
    accept(id, &candidate.select(dps, id, proof, &certificates)).map(drop)
}

/// The proof that a device gives: a token if it sends one, its certificates otherwise. Checks the
/// part that needs no entry. The reasons of a refusal are for the log.
pub(crate) fn proof(
    dps: &Dps,
    scope: &str,
    id: &RegistrationId,
    token: Option<&str>,
    presented: &Presented,
) -> ApiResult<DeviceProof> {
    let refused = |reason: &str| ApiError::dps(DpsErrorCode::Unauthorized, reason);
    if scope != dps.id_scope().as_str() {
        return Err(refused("the id scope is that of a different DPS"));
    }
    let Some(text) = token else {
        if presented.is_empty() {
            return Err(refused("neither a token nor a certificate was presented"));
        }
        return Ok(DeviceProof::Certificates(Presented::clone(presented)));
    };
    let token = SasToken::parse(text).map_err(|error| refused(&error.to_string()))?;
    if token.is_expired(dps.hub().unix_seconds()) {
        return Err(refused("the token has expired"));
    }
    if !token.covers(&resource(dps.id_scope(), id)) {
        return Err(refused("the token is for a different resource"));
    }
    Ok(DeviceProof::Token(token))
}

fn check_request(id: &RegistrationId, request: &DeviceRegistration) -> ApiResult<()> {
    if request.registration_id.as_ref().is_some_and(|given| given != id) {
        let text = "registrationId in the body is not the id of the request";
        return Err(ApiError::dps(DpsErrorCode::InvalidRequest, text));
    }
    if request.tpm.is_some() {
        return Err(not_built("TpmAttestation"));
    }
    if request.csr.is_some() {
        return Err(not_built("IssueCertificate"));
    }
    Ok(())
}

/// The entry, if nothing refuses the device. The reasons are logged; the device is not told.
fn accept<'a>(id: &RegistrationId, selection: &Selection<'a>) -> ApiResult<Entry<'a>> {
    if let Some(entry) = selection.accepted() {
        return Ok(entry);
    }
    if selection.findings.iter().any(|finding| finding.kind == FindingKind::Tpm) {
        return Err(not_built("TpmAttestation"));
    }
    tracing::warn!(registration = %id, "a registration is refused (401002): {selection}");
    Err(unauthorized())
}

/// The refusal of a part of the service that the local DPS does not have.
fn not_built(name: &str) -> ApiError {
    ApiError::dps(DpsErrorCode::NotImplemented, format!("the local DPS does not implement {name}"))
}

/// The refusal of a device as the service words it, without a reason.
pub(crate) fn unauthorized() -> ApiError {
    ApiError::dps(DpsErrorCode::Unauthorized, "Unauthorized")
}

/// The entries that concern a device.
struct Candidate {
    individual: Option<IndividualEnrollment>,
    groups: Vec<EnrollmentGroup>,
    /// The certificates of the entries, and the verified CAs.
    issuers: Vec<Issuer>,
}

impl Candidate {
    /// Reads the entries. With an individual enrolment, groups do not count.
    fn read(dps: &Dps, id: &RegistrationId) -> Self {
        let individual = dps.enrollment(id);
        let groups = if individual.is_some() { Vec::new() } else { dps.groups() };
        let issuers = certificates::issuers(individual.as_ref(), &groups, &dps.registrar().cas);
        Self { individual, groups, issuers }
    }

    fn facts(&self, proof: &DeviceProof) -> Vec<PresentedCertificate> {
        match proof {
            DeviceProof::Certificates(chain) => certificates::facts(chain, &self.issuers),
            DeviceProof::Token(_) => Vec::new(),
        }
    }

    fn select<'a>(
        &'a self,
        dps: &'a Dps,
        id: &RegistrationId,
        proof: &DeviceProof,
        certificates: &[PresentedCertificate],
    ) -> Selection<'a> {
        let entries = Entries {
            individual: self.individual.as_ref(),
            groups: &self.groups,
            cas: dps.registrar().cas.names(),
        };
        let given = match proof {
            DeviceProof::Certificates(_) => Proof::Certificates(certificates),
            DeviceProof::Token(token) => Proof::Token(token),
        };
        let mut selection = select(id, given, entries, dps.timestamp());
        if let (Some(Entry::Group(_, Some(issuer))), DeviceProof::Certificates(chain)) =
            (selection.accepted(), proof)
            && let Some(issuer) = self.issuers.iter().find(|known| known.sha256 == issuer)
            && let Err(reason) = certificates::verify(chain, issuer, dps.hub().unix_seconds())
        {
            selection.refuse(FindingKind::Path, reason);
        }
        selection
    }
}

/// The entry of a device, for work that outlives the request.
#[derive(Debug)]
enum OwnedEntry {
    Individual(Box<IndividualEnrollment>),
    Group(Box<EnrollmentGroup>),
}

impl OwnedEntry {
    fn of(entry: Entry<'_>) -> Self {
        match entry {
            Entry::Individual(entry) => Self::Individual(Box::new(entry.clone())),
            Entry::Group(group, _) => Self::Group(Box::new(group.clone())),
        }
    }

    fn as_entry(&self) -> Entry<'_> {
        match self {
            Self::Individual(entry) => Entry::Individual(entry),
            Self::Group(group) => Entry::Group(group, None),
        }
    }
}

/// The assignment of one device to a hub.
struct Assignment {
    dps: Arc<Dps>,
    id: RegistrationId,
    entry: OwnedEntry,
    /// The facts of the device's certificate, if it presents one.
    certificate: Option<Box<CertificateInfo>>,
    request: DeviceRegistration,
    operation: String,
}

impl Assignment {
    /// Assigns the device, and ends the operation.
    async fn run(self) {
        let _turn = self.dps.registrar().turn(&self.id).await;
        let previous = self.dps.registration(&self.id);
        let outcome = match self.assign(previous.as_ref()).await {
            Ok(state) => self.dps.put_registration(state).await,
            Err(error) => self.failed(previous, error).await,
        };
        let outcome = outcome.unwrap_or_else(|error| self.failure(&error));
        self.dps.registrar().operations.end(&self.operation, outcome);
    }

    /// Records a failure. The record of an earlier assignment stays, because the device is still on
    /// its hub.
    async fn failed(
        &self,
        previous: Option<RegistrationState>,
        error: ApiError,
    ) -> ApiResult<RegistrationState> {
        tracing::warn!(registration = %self.id, "an assignment fails: {}", error.text);
        let failure = self.failure(&error);
        match previous {
            Some(previous) if previous.status == RegistrationStatus::Assigned => Ok(failure),
            _ => self.dps.put_registration(failure).await,
        }
    }

    fn failure(&self, error: &ApiError) -> RegistrationState {
        RegistrationState {
            error_code: Some(error.number),
            error_message: Some(error.text.clone()),
            ..RegistrationState::new(self.id.clone(), RegistrationStatus::Failed)
        }
    }

    async fn assign(&self, previous: Option<&RegistrationState>) -> ApiResult<RegistrationState> {
        let registrar = self.dps.registrar();
        let (device, old_hub) = (self.device(previous)?, self.old_hub(previous));
        let policy = self.entry.as_entry().settings().reprovision_policy.unwrap_or_default();
        let allocation = match old_hub {
            Some(hub) if !policy.update_hub_assignment => {
                let initial = self.entry.as_entry().settings().initial_twin.as_deref().cloned();
                let payload = previous.and_then(|previous| previous.payload.clone());
                Allocation { hub, initial: initial.unwrap_or_default(), payload }
            }
            _ => allocate(self.applicant(), &registrar.hubs, &registrar.webhooks).await?,
        };
        let substatus = match old_hub {
            None => {
                allocation.hub.provision(&device, &allocation.initial).await?;
                RegistrationSubstatus::InitialAssignment
            }
            Some(old) if old.name() == allocation.hub.name() => {
                let was = previous.and_then(|previous| previous.substatus);
                self.stay(&device, &allocation, policy.resets(), was).await?
            }
            Some(old) => move_device(&device, old, &allocation, policy.migrate_device_data).await?,
        };
        Ok(self.assigned(&device.id, allocation, substatus))
    }

    /// Registers a device again on its hub. With the policy that resets data, its twin is that of
    /// the beginning.
    async fn stay(
        &self,
        device: &AssignedDevice,
        allocation: &Allocation<'_>,
        resets: bool,
        was: Option<RegistrationSubstatus>,
    ) -> ApiResult<RegistrationSubstatus> {
        allocation.hub.provision(device, &allocation.initial).await?;
        if !resets {
            return Ok(was.unwrap_or(RegistrationSubstatus::InitialAssignment));
        }
        allocation.hub.replace_twin(&device.id, &allocation.initial).await?;
        Ok(RegistrationSubstatus::DeviceDataReset)
    }

    fn applicant(&self) -> Applicant<'_> {
        Applicant {
            id: &self.id,
            entry: self.entry.as_entry(),
            certificate: self
                .certificate
                .clone()
                .map(|info| EnrollmentCertificate { certificate: None, info: Some(info) }),
            payload: self.request.payload.as_ref(),
        }
    }

    /// The hub that the device is assigned to, if it is still linked.
    fn old_hub(&self, previous: Option<&RegistrationState>) -> Option<&LinkedHub> {
        let previous = previous.filter(|previous| previous.status == RegistrationStatus::Assigned)?;
        self.dps.registrar().hubs.find(previous.assigned_hub.as_deref()?)
    }

    /// The device as its hub gets it: with the certificate that it presents, or with its keys. A
    /// registration id in a different letter case is the same device, whose id on the hub stays.
    fn device(&self, previous: Option<&RegistrationState>) -> ApiResult<AssignedDevice> {
        let entry = self.entry.as_entry();
        let authentication = match (entry.attestation(), &self.certificate) {
            (Attestation::SymmetricKey(Some(keys)), _) => Authentication::Sas(Some(match entry {
                Entry::Individual(_) => keys.clone(),
                Entry::Group(..) => device_keys(keys, &self.id),
            })),
            (_, Some(certificate)) => {
                Authentication::SelfSigned { primary: Some(certificate.sha256_thumbprint), secondary: None }
            }
            (_, None) => return Err(ApiError::server("an entry with neither keys nor certificates")),
        };
        let id = match entry {
            Entry::Individual(entry) => entry.device_id(),
            Entry::Group(..) => {
                let known = previous.and_then(|previous| previous.device_id.clone());
                known.unwrap_or_else(|| self.id.device_id())
            }
        };
        let capabilities = entry.settings().capabilities.unwrap_or_default();
        Ok(AssignedDevice { id, authentication, capabilities })
    }

    fn assigned(
        &self,
        device: &DeviceId,
        allocation: Allocation<'_>,
        substatus: RegistrationSubstatus,
    ) -> RegistrationState {
        let group = match self.entry.as_entry() {
            Entry::Individual(_) => RegistrationGroup::default(),
            Entry::Group(group, _) => {
                RegistrationGroup { enrollment_group_id: Some(group.enrollment_group_id.clone()) }
            }
        };
        let (symmetric_key, x509) = match self.entry.as_entry().attestation() {
            Attestation::SymmetricKey(_) => (Some(group), None),
            _ => (None, Some(group)),
        };
        RegistrationState {
            assigned_hub: Some(allocation.hub.name().to_owned()),
            device_id: Some(device.clone()),
            substatus: Some(substatus),
            payload: allocation.payload,
            symmetric_key,
            x509,
            ..RegistrationState::new(self.id.clone(), RegistrationStatus::Assigned)
        }
    }
}

/// Moves a device to a different hub, with its twin or with the initial one. Its modules are lost,
/// as with the service.
async fn move_device(
    device: &AssignedDevice,
    from: &LinkedHub,
    to: &Allocation<'_>,
    migrates: bool,
) -> ApiResult<RegistrationSubstatus> {
    let migrated = if migrates { from.twin(&device.id).await? } else { None };
    let (twin, substatus): (&InitialTwin, _) = match &migrated {
        Some(twin) => (twin, RegistrationSubstatus::DeviceDataMigrated),
        None => (&to.initial, RegistrationSubstatus::DeviceDataReset),
    };
    let provisioned = to.hub.provision(device, twin).await?;
    // After a move that was cut off, the old hub has no twin, and that of the new hub is the device's.
    if provisioned == Provisioned::Existed && (migrated.is_some() || !migrates) {
        to.hub.replace_twin(&device.id, twin).await?;
    }
    from.delete(&device.id).await?;
    Ok(substatus)
}

/// The time after which a device asks for the outcome of its operation, in seconds.
pub(crate) const RETRY_AFTER_SECONDS: u32 = 1;

/// The number of registrations that may run at a time, unless two devices share a lock.
const TURNS: usize = 1024;
