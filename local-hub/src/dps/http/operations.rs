//! The table of all operations of a DPS: those of services and those of devices.

use hub_types::dps::{EnrollmentGroup, IndividualEnrollment};
use hub_types::limits::OperationClass as Class;

use super::super::Dps;
use super::super::access::DpsRight as Right;
use super::handlers::{device, entries, registrations};
use crate::rest::operations::{by_handler, free, operations};

// Microsoft documents one throttle for all operations of services.
operations! {
    /// The requested operation.
    DpsOperation of Dps;

    implemented {
        BulkEnrollments: Writes, by_handler(), entries::bulk<IndividualEnrollment>.await,
            EnrollmentWrite POST "/enrollments";
        QueryEnrollments: Reads, free(Class::Enrollment, "Query"), entries::query<IndividualEnrollment>,
            EnrollmentRead POST "/enrollments/query";
        GetEnrollment: Reads, free(Class::Enrollment, "EnrollmentRead"), entries::get<IndividualEnrollment>,
            EnrollmentRead GET "/enrollments/{}";
        PutEnrollment: Writes, free(Class::Enrollment, "EnrollmentWrite"), entries::put<IndividualEnrollment>.await,
            EnrollmentWrite PUT "/enrollments/{}";
        DeleteEnrollment: Writes, free(Class::Enrollment, "EnrollmentWrite"), entries::delete<IndividualEnrollment>.await,
            EnrollmentWrite DELETE "/enrollments/{}";
        // It shows keys, so reading is not enough.
        GetEnrollmentAttestation: Reads, free(Class::Enrollment, "EnrollmentRead"), entries::attestation<IndividualEnrollment>,
            EnrollmentWrite POST "/enrollments/{}/attestationmechanism";
        BulkEnrollmentGroups: Writes, by_handler(), entries::bulk<EnrollmentGroup>.await,
            EnrollmentWrite POST "/enrollmentGroups";
        QueryEnrollmentGroups: Reads, free(Class::Enrollment, "Query"), entries::query<EnrollmentGroup>,
            EnrollmentRead POST "/enrollmentGroups/query";
        GetEnrollmentGroup: Reads, free(Class::Enrollment, "EnrollmentRead"), entries::get<EnrollmentGroup>,
            EnrollmentRead GET "/enrollmentGroups/{}";
        PutEnrollmentGroup: Writes, free(Class::Enrollment, "EnrollmentWrite"), entries::put<EnrollmentGroup>.await,
            EnrollmentWrite PUT "/enrollmentGroups/{}";
        DeleteEnrollmentGroup: Writes, free(Class::Enrollment, "EnrollmentWrite"), entries::delete<EnrollmentGroup>.await,
            EnrollmentWrite DELETE "/enrollmentGroups/{}";
        GetEnrollmentGroupAttestation: Reads, free(Class::Enrollment, "EnrollmentRead"), entries::attestation<EnrollmentGroup>,
            EnrollmentWrite POST "/enrollmentGroups/{}/attestationmechanism";
        QueryRegistrations: Reads, free(Class::Enrollment, "Query"), registrations::query,
            RegistrationStatusRead POST "/registrations/{}/query";
        GetRegistration: Reads, free(Class::Enrollment, "RegistrationRead"), registrations::get,
            RegistrationStatusRead GET "/registrations/{}";
        DeleteRegistration: Writes, free(Class::Enrollment, "RegistrationWrite"), registrations::delete.await,
            RegistrationStatusWrite DELETE "/registrations/{}";
        // Devices are throttled by the number of their registrations and polls.
        RegisterDevice: Writes, by_handler(), device::register.await,
            DeviceConnect PUT "/{}/registrations/{}/register";
        GetRegistrationOperation: Reads, by_handler(), device::operation_status,
            DeviceConnect GET "/{}/registrations/{}/operations/{}";
        GetRegistrationState: Reads, by_handler(), device::registration_status,
            DeviceConnect POST "/{}/registrations/{}";
    }

    not_implemented {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::operations::check_table;

    #[test]
    fn every_operation_is_written_down_with_the_policies_that_may_use_it() {
        check_table::<Dps>("dps-operations.txt", |operation| {
            matches!(operation, DpsOperation::NotImplemented(_))
        });
    }
}
