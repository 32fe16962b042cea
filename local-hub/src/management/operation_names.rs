//! Every operation of the hub and of the DPS beside it, by its name in faults and the request log.

use crate::{dps, http, mqtt};

/// The name of every operation of services, including unsupported ones, and of devices.
pub(crate) fn names() -> Vec<&'static str> {
    let hub = http::operation_names().into_iter().chain(mqtt::operation_names());
    let mut names: Vec<_> = hub.chain(dps::operation_names()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_operations_have_the_same_name() {
        let mut unique = names();
        unique.dedup();
        assert_eq!(unique, names());
        assert!(unique.contains(&"GetTwin") && unique.contains(&"DeviceGetTwin"));
    }
}
