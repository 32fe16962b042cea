//! The Device Provisioning Service (DPS) beside the hub: its registry, its service API, and its
//! devices.
//!
//! It shares the hub's clock, throttles and faults. Enrolments and registrations have a lock and a
//! database of their own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_types::Timestamp;
use hub_types::dps::{EnrollmentGroup, IdScope, IndividualEnrollment, RegistrationId, RegistrationState};

use self::access::DpsRight;
use self::journal::DpsJournal;
use self::storage::DpsTables;
use crate::access::entra::Entra;
use crate::access::policy::Policies;
use crate::api_error::ApiResult;
use crate::backend::Backend;
use crate::faults::Injector;
use crate::hub::{Hub, Written};
use crate::storage::backing::{Backing, durable};
use crate::storage::store::Committed;

pub(crate) use access::{DPS_OWNER, DpsRole};
pub(crate) use certificates::VerifiedCas;
pub use local_dps::LocalDps;
pub(crate) use local_dps::StoredDps;
pub(crate) use mqtt::Registrations;
pub(crate) use registration::Registrar;
pub(crate) use registry::DpsRegistry;

mod access;
mod allocation;
mod certificate_info;
mod certificates;
mod entry;
mod errors;
mod etag;
mod http;
mod journal;
mod kept;
mod linked_hubs;
mod local_dps;
mod mqtt;
mod operations;
mod registration;
mod registry;
mod storage;

/// The name of every operation of services and devices.
pub(crate) fn operation_names() -> impl Iterator<Item = &'static str> {
    http::operation_names().into_iter().chain(mqtt::operation_names())
}

/// One DPS, shared by all its servers.
#[derive(Debug)]
pub(crate) struct Dps {
    hub: Arc<Hub>,
    policies: Policies<DpsRight>,
    id_scope: IdScope,
    registrar: Registrar,
    /// The verifier of Entra ID tokens, if they are accepted.
    entra: Option<Entra<DpsRole>>,
    state: Mutex<DpsState>,
}

#[derive(Debug)]
struct DpsState {
    registry: DpsRegistry,
    backing: Backing<DpsTables>,
}

impl Dps {
    /// A DPS that assigns devices to `hub`, with the content of a store.
    pub(crate) fn new(hub: Arc<Hub>, stored: StoredDps, registrar: Registrar) -> Self {
        let StoredDps { id_scope, policies, mut registry, store } = stored;
        if hub.throttle().is_on() {
            registry.limit();
        }
        let backing = Backing::new(store);
        // The DPS accepts them where the hub beside it does.
        let owner = policies.find(DPS_OWNER).filter(|_| hub.entra().is_some());
        let entra = owner.map(|owner| Entra::new(owner.primary_key()));
        Self { hub, policies, id_scope, registrar, entra, state: Mutex::new(DpsState { registry, backing }) }
    }

    /// The name of the DPS for devices.
    pub(crate) fn id_scope(&self) -> &IdScope {
        &self.id_scope
    }

    /// The part that registers devices.
    pub(crate) fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// The individual enrolment of a device, with its keys.
    pub(crate) fn enrollment(&self, id: &RegistrationId) -> Option<IndividualEnrollment> {
        self.read(|registry| registry.enrollment(id))
    }

    /// All groups, with their keys and certificates.
    pub(crate) fn groups(&self) -> Vec<EnrollmentGroup> {
        self.read(|registry| registry.groups().collect())
    }

    /// The registration of a device.
    pub(crate) fn registration(&self, id: &RegistrationId) -> Option<RegistrationState> {
        self.read(|registry| registry.registration(id).cloned())
    }

    /// Writes a registration, with a new ETag and the times of the write. Returns it when it is
    /// durable.
    pub(crate) async fn put_registration(&self, state: RegistrationState) -> ApiResult<RegistrationState> {
        let written = self.write(|registry, now, journal| registry.put_registration(state, now, journal));
        written.await.map(|written| written.value)
    }

    /// The hub beside it, whose clock, throttles and faults it shares.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn policies(&self) -> &Policies<DpsRight> {
        &self.policies
    }

    /// The verifier of Entra ID tokens, if they are accepted.
    pub(crate) fn entra(&self) -> Option<&Entra<DpsRole>> {
        self.entra.as_ref()
    }

    /// Reads under the lock: all other operations wait while `read` runs.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&DpsRegistry) -> T) -> T {
        read(&self.lock().registry)
    }

    /// Writes, and returns when the write is durable.
    pub(crate) async fn write<T>(
        &self,
        write: impl FnOnce(&mut DpsRegistry, Timestamp, &mut DpsJournal) -> ApiResult<T>,
    ) -> ApiResult<Written<T>> {
        durable(self.write_in_memory(write)?).await
    }

    fn write_in_memory<T>(
        &self,
        write: impl FnOnce(&mut DpsRegistry, Timestamp, &mut DpsJournal) -> ApiResult<T>,
    ) -> ApiResult<(Written<T>, Option<Committed>)> {
        let (now, mut journal) = (self.timestamp(), DpsJournal::default());
        let mut state = self.lock();
        let DpsState { registry, backing } = &mut *state;
        backing.check_writable()?;
        let value = write(registry, now, &mut journal)?;
        let committed = backing.store_rows(|| registry.rows(journal.touched()))?;
        Ok((Written { value, counts: journal.counts }, committed))
    }

    /// The complete content at one moment.
    pub(crate) fn snapshot(&self) -> DpsRegistry {
        self.read(DpsRegistry::clone)
    }

    /// Restores a snapshot, or the empty state. Returns when it is durable.
    pub(crate) async fn restore(&self, next: DpsRegistry) -> ApiResult<()> {
        let restored = self.write(|registry, _, journal| {
            registry.replace_with(next, journal);
            Ok(())
        });
        restored.await.map(|_| ())
    }

    /// Ends the store's writer after everything passed to it is durable.
    pub(crate) fn close(&self) {
        let backing = std::mem::replace(&mut self.lock().backing, Backing::Closed);
        backing.close();
    }

    fn lock(&self) -> MutexGuard<'_, DpsState> {
        // A panic inside an operation may leave that one write half done; all others are whole, and
        // a service that goes on is worth more than one that answers nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Dps {
    fn faults(&self) -> &Injector {
        self.hub.faults()
    }

    fn timestamp(&self) -> Timestamp {
        self.hub.timestamp()
    }

    fn check_durable(&self) -> ApiResult<()> {
        self.lock().backing.check_durable()
    }
}
