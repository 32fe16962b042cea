//! The operations of devices that register: each has an id, by which its device asks for the outcome.
//!
//! They are in memory. A device whose operation is lost with the process registers again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hub_types::dps::limits::{MAX_POLLS, POLL_SECONDS};
use hub_types::dps::registration::{RegistrationOperation, RegistrationStatus};
use hub_types::dps::{RegistrationId, RegistrationState};
use sha2::{Digest, Sha256};

use crate::ids::random::RequestIds;

/// The last operations.
#[derive(Debug)]
pub(crate) struct RegistrationOperations {
    ids: RequestIds,
    state: Mutex<RegistrationOperationsState>,
}

#[derive(Debug, Default)]
struct RegistrationOperationsState {
    by_id: HashMap<String, RunningOperation>,
    /// The ids in the order in which the operations began.
    order: VecDeque<String>,
}

#[derive(Debug)]
struct RunningOperation {
    registration: RegistrationId,
    /// The state of the registration at the end of the operation.
    outcome: Option<RegistrationState>,
    /// The beginning of the present window for polls, in seconds since 1970-01-01.
    window: u64,
    /// The number of polls in the window.
    polls: u32,
}

impl RegistrationOperations {
    pub(crate) fn new() -> Self {
        Self { ids: RequestIds::new(), state: Mutex::default() }
    }

    /// Begins an operation, and returns its id in the form of the service: a number, 16 digits that
    /// follow from the registration id, and a GUID.
    pub(crate) fn begin(&self, registration: &RegistrationId) -> String {
        let digest: [u8; 32] = Sha256::digest(registration.as_str().to_ascii_lowercase()).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let id = format!("4.{number:016x}.{}", self.ids.next());
        let mut state = self.state();
        let operation =
            RunningOperation { registration: registration.clone(), outcome: None, window: 0, polls: 0 };
        state.by_id.insert(id.clone(), operation);
        state.order.push_back(id.clone());
        if state.order.len() > MAX_OPERATIONS
            && let Some(oldest) = state.order.pop_front()
        {
            state.by_id.remove(&oldest);
        }
        id
    }

    /// Ends an operation.
    pub(crate) fn end(&self, id: &str, outcome: RegistrationState) {
        if let Some(operation) = self.state().by_id.get_mut(id) {
            operation.outcome = Some(outcome);
        }
    }

    /// Counts a poll. Returns false if the device polls too often.
    pub(crate) fn may_poll(&self, registration: &RegistrationId, id: &str, now: u64) -> bool {
        let mut state = self.state();
        let operation = state.by_id.get_mut(id).filter(|operation| operation.registration == *registration);
        let Some(operation) = operation else { return true };
        if now >= operation.window.saturating_add(POLL_SECONDS.into()) {
            (operation.window, operation.polls) = (now, 0);
        }
        operation.polls = operation.polls.saturating_add(1);
        operation.polls <= MAX_POLLS
    }

    /// The operation of a device; `None` if the device has no operation of this id.
    pub(crate) fn find(&self, registration: &RegistrationId, id: &str) -> Option<RegistrationOperation> {
        let state = self.state();
        let operation = state.by_id.get(id).filter(|operation| operation.registration == *registration)?;
        Some(RegistrationOperation {
            operation_id: id.to_owned(),
            status: operation
                .outcome
                .as_ref()
                .map_or(RegistrationStatus::Assigning, |outcome| outcome.status),
            registration_state: operation.outcome.clone().map(Box::new),
        })
    }

    fn state(&self) -> MutexGuard<'_, RegistrationOperationsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of operations whose outcome can be asked for.
const MAX_OPERATIONS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_assigning_until_it_ends_and_belongs_to_its_device() {
        let (operations, pump) = (RegistrationOperations::new(), "Pump".parse().unwrap());
        let id = operations.begin(&pump);
        let parts: Vec<usize> = id.split('.').map(str::len).collect();
        assert_eq!(parts, [1, 16, 36]);
        let found = operations.find(&pump, &id).unwrap();
        assert_eq!((found.status, found.registration_state), (RegistrationStatus::Assigning, None));
        operations.end(&id, RegistrationState::new(pump.clone(), RegistrationStatus::Assigned));
        let ended = operations.find(&"pump".parse().unwrap(), &id).unwrap();
        assert_eq!(ended.status, RegistrationStatus::Assigned);
        assert_eq!(operations.find(&"valve".parse().unwrap(), &id), None);
        assert_eq!(operations.find(&pump, "4.0.0"), None);
    }

    #[test]
    fn a_device_polls_five_times_in_ten_seconds() {
        let (operations, pump) = (RegistrationOperations::new(), "pump".parse().unwrap());
        let id = operations.begin(&pump);
        let polled: Vec<bool> = (100..111).map(|now| operations.may_poll(&pump, &id, now)).collect();
        assert_eq!(polled, [[true; 5].as_slice(), &[false; 5], &[true]].concat());
        assert!(operations.may_poll(&pump, "4.0.0", 100));
    }
}
