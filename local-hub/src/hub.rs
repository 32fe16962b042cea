//! The hub behind the protocols: the registry under its lock, and the store behind it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hub_types::Timestamp;
use hub_types::connection_string::HubHost;

use tokio::sync::Notify;

use crate::access::entra::Entra;
use crate::access::policy::{OWNER, Policies};
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::blobs::Blobs;
use crate::clock::{self, Clock, MovableClock};
use crate::configurations::Configurations;
use crate::device_to_cloud::MessageLog;
use crate::faults::{Effect, Faults, Injector};
use crate::hub::connections::Connections;
use crate::jobs::{Job, Jobs};
use crate::query::QuerySource;
use crate::registry::{Counts, Journal, Registry};
use crate::storage::backing::{Backing, durable, not_durable};
use crate::storage::hub_tables::{HubStore, HubTables, Row, Stored, Subject};
use crate::storage::store::Committed;
use crate::throttle::Throttle;

pub(crate) use devices::ConnectInfo;

pub(crate) mod connections;
mod devices;
pub(crate) mod direct_methods;
mod documents;
mod messages;
mod state;

/// One hub, shared by all its servers.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<HubState>,
    policies: Policies,
    clock: Arc<MovableClock>,
    throttle: Throttle,
    faults: Injector,
    stale: Mutex<Option<Arc<Stored>>>,
    blobs: Blobs,
    entra: OnceLock<Entra>,
    device_host: OnceLock<HubHost>,
    telemetry: AtomicU64,
    messages: Arc<MessageLog>,
    methods_changed: Notify,
}

#[derive(Debug)]
struct HubState {
    registry: Registry,
    configurations: Configurations,
    jobs: Jobs,
    connections: Connections,
    backing: Backing<HubTables>,
    /// The number of writes that have begun, by which observers notice changes.
    writes: u64,
}

/// The result of a write, and its counts.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) counts: Counts,
}

impl Hub {
    pub(crate) fn new(
        stored: Stored,
        store: Option<HubStore>,
        policies: Policies,
        clock: Arc<MovableClock>,
        throttle: Throttle,
        blobs: Blobs,
        messages: MessageLog,
    ) -> Self {
        let backing = Backing::new(store);
        let faults = Injector::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let Stored { registry, configurations, jobs } = stored;
        Self {
            state: Mutex::new(HubState {
                registry,
                configurations,
                jobs,
                connections: Connections::default(),
                backing,
                writes: 0,
            }),
            policies,
            clock,
            throttle,
            faults,
            stale: Mutex::new(None),
            blobs,
            entra: OnceLock::new(),
            device_host: OnceLock::new(),
            telemetry: AtomicU64::new(0),
            messages: Arc::new(messages),
            methods_changed: Notify::new(),
        }
    }

    /// A hub without throttles, on the machine's clock, that serves no clients.
    pub(crate) fn standalone(stored: Stored, store: Option<HubStore>, policies: Policies) -> Self {
        let clock = Arc::new(MovableClock::over(Arc::new(clock::SystemClock)));
        let throttle = Throttle::new(None, Arc::clone(&clock) as Arc<dyn Clock>);
        Self::new(stored, store, policies, clock, throttle, Blobs::new(None), MessageLog::disabled())
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    pub(crate) fn clock(&self) -> &Arc<MovableClock> {
        &self.clock
    }

    /// The verifier of Entra ID tokens, if they are accepted.
    pub(crate) fn entra(&self) -> Option<&Entra> {
        self.entra.get()
    }

    /// Accepts tokens of Entra ID from now on.
    pub(crate) fn accept_entra_tokens(&self) {
        if let Some(owner) = self.policies.find(OWNER) {
            self.entra.get_or_init(|| Entra::new(owner.primary_key()));
        }
    }

    /// Returns true if this host, with or without a port, is only for devices.
    pub(crate) fn is_for_devices(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        self.device_host.get().is_some_and(|devices| devices.as_str().eq_ignore_ascii_case(name))
    }

    /// Reserves this name for devices: the service API is no longer served by it.
    pub(crate) fn reserve_for_devices(&self, host: HubHost) {
        self.device_host.get_or_init(|| host);
    }

    /// The containers that jobs may use.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    pub(crate) fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Replaces the faults. Stale pages show the registry in its present state.
    pub(crate) fn set_faults(&self, faults: Faults) {
        let needs_copy = faults.faults.iter().any(|fault| fault.effect == Effect::StalePage);
        let copy = || Arc::new(Stored { registry: self.read(Registry::clone), ..Stored::default() });
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = needs_copy.then(copy);
        self.faults.set(faults);
    }

    /// The data that stale pages show, if a fault demands them.
    pub(crate) fn stale(&self) -> Option<Arc<Stored>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time in seconds since 1970-01-01, for the expiry of tokens.
    pub(crate) fn unix_seconds(&self) -> u64 {
        u64::try_from(self.clock.now().unix_timestamp()).unwrap_or(0)
    }

    /// Reads under the lock: all other operations wait while `read` runs.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        read(&self.lock().registry)
    }

    /// The number of writes that have begun.
    pub(crate) fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Writes, and returns when the write is durable.
    pub(crate) async fn write<T>(
        &self,
        write: impl FnOnce(&mut Registry, Timestamp, &mut Journal) -> ApiResult<T>,
    ) -> ApiResult<Written<T>> {
        durable(self.write_in_memory(|_| Ok(()), write)?).await
    }

    /// As [`Hub::write`], on behalf of a job, and only while exactly that job is running.
    pub(crate) async fn write_for<T>(
        &self,
        job: &Job,
        write: impl FnOnce(&mut Registry, Timestamp, &mut Journal) -> ApiResult<T>,
    ) -> ApiResult<Written<T>> {
        let is_running = |jobs: &Jobs| match jobs.is_running(job) {
            true => Ok(()),
            false => Err(ApiError::job_not_running(&job.id)),
        };
        durable(self.write_in_memory(is_running, write)?).await
    }

    /// Ends the store's writer after everything passed to it is durable.
    pub(crate) fn close(&self) {
        let backing = std::mem::replace(&mut self.lock().backing, Backing::Closed);
        backing.close();
    }

    fn write_in_memory<T>(
        &self,
        check: impl FnOnce(&Jobs) -> ApiResult<()>,
        write: impl FnOnce(&mut Registry, Timestamp, &mut Journal) -> ApiResult<T>,
    ) -> ApiResult<(Written<T>, Option<Committed>)> {
        let mut journal = self.journal();
        let now = self.timestamp();
        let mut state = self.lock();
        state.begin_write()?;
        check(&state.jobs)?;
        let value = write(&mut state.registry, now, &mut journal)?;
        let committed = state.store_identities(&journal)?;
        let HubState { registry, connections, .. } = &mut *state;
        connections.apply_changes(registry, &mut journal, now);
        self.publish_changes(registry, &mut journal, now);
        let counts = journal.counts;
        Ok((Written { value, counts }, committed))
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        // A panic inside an operation may leave that one write half done; all others are whole, and
        // a hub that goes on is worth more than one that answers nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Hub {
    fn faults(&self) -> &Injector {
        &self.faults
    }

    fn timestamp(&self) -> Timestamp {
        clock::timestamp(&*self.clock)
    }

    fn check_durable(&self) -> ApiResult<()> {
        self.lock().backing.check_durable()
    }
}

impl QuerySource for Hub {
    fn read_registry<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        self.read(read)
    }

    fn read_jobs<T>(&self, read: impl FnOnce(&Jobs) -> T) -> T {
        read(&self.lock().jobs)
    }
}

impl QuerySource for Stored {
    fn read_registry<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        read(&self.registry)
    }

    fn read_jobs<T>(&self, read: impl FnOnce(&Jobs) -> T) -> T {
        read(&self.jobs)
    }
}

impl HubState {
    /// Counts a write, and refuses it if writes can't become durable any more.
    fn begin_write(&mut self) -> ApiResult<()> {
        self.writes += 1;
        self.backing.check_writable()
    }

    /// Passes the rows of a request to the store, still under the lock, so that rows are in order.
    fn store_identities(&self, journal: &Journal) -> ApiResult<Option<Committed>> {
        self.backing.store_rows(|| self.identity_rows(journal))
    }

    fn identity_rows(&self, journal: &Journal) -> ApiResult<Vec<Row>> {
        let rows = journal.touched().iter().map(|identity| {
            let content = self.registry.stored_form(identity).map_err(|_| not_durable())?;
            Ok(Row { subject: Subject::Identity(identity.clone()), content })
        });
        rows.collect()
    }
}
