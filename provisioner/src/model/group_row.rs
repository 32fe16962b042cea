//! The row of an enrolment group among the rows of a run: it has the device id `group=ID`, which no device that
//! registers through a DPS can have.

use hub_types::dps::EnrollmentGroupId;
use hub_types::{DeviceId, IdentityId};

/// The identity of the row of a group; `None` if its id is too long for a row.
pub(crate) fn identity_of_group(id: &EnrollmentGroupId) -> Option<IdentityId> {
    DeviceId::new(&format!("{MARK}{id}")).ok().map(IdentityId::from)
}

/// The group whose row has this identity, if it is one.
pub(crate) fn group_of(identity: &IdentityId) -> Option<EnrollmentGroupId> {
    identity.device().as_str().strip_prefix(MARK).filter(|_| identity.module().is_none())?.parse().ok()
}

const MARK: &str = "group=";

#[cfg(test)]
mod tests {
    use super::*;
    use hub_types::dps::RegistrationId;

    #[test]
    fn the_row_of_a_group_is_that_of_no_device() {
        let id: EnrollmentGroupId = "factory-7".parse().unwrap();
        let row = identity_of_group(&id).unwrap();
        assert_eq!(group_of(&row), Some(id));
        assert!(row.device().as_str().parse::<RegistrationId>().is_err());
        assert_eq!(group_of(&IdentityId::from_common_name("factory-7").unwrap()), None);
        assert_eq!(identity_of_group(&"a".repeat(128).parse().unwrap()), None);
    }
}
