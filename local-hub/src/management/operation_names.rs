//! Every operation of the hub, by its name in faults and the request log.

use crate::{http, mqtt};

/// The name of every operation of the service API, including unsupported ones, and of devices.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = http::operation_names().into_iter().chain(mqtt::operation_names()).collect();
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
