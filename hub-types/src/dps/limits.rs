//! The limits of DPS. Source: "Azure IoT Hub Device Provisioning Service quotas and limits".

/// Characters in a registration id and in the id of an enrolment group.
pub const MAX_REGISTRATION_ID_CHARS: usize = 128;

/// Individual enrolments of one DPS.
pub const MAX_ENROLLMENTS: usize = 1_000_000;

/// Registrations of one DPS.
pub const MAX_REGISTRATIONS: usize = 1_000_000;

/// Enrolment groups with X.509 certificates of one DPS.
pub const MAX_X509_GROUPS: usize = 100;

/// Enrolment groups with symmetric keys of one DPS.
pub const MAX_SYMMETRIC_KEY_GROUPS: usize = 100;

/// CA certificates of one DPS.
pub const MAX_CAS: usize = 25;

/// Hubs that are linked with one DPS.
pub const MAX_LINKED_HUBS: usize = 50;

/// Items of one bulk call.
pub const MAX_BULK_ITEMS: usize = 10;

/// Bytes of one message, of a device or of a service.
pub const MAX_MESSAGE_BYTES: usize = 96 * 1024;

/// Operations of services per minute.
pub const OPERATIONS_PER_MINUTE: u32 = 1_000;

/// Registrations of devices per minute.
pub const REGISTRATIONS_PER_MINUTE: u32 = 1_000;

/// Polls of one device for the state of its registration within [`POLL_SECONDS`].
pub const MAX_POLLS: u32 = 5;

/// The time in which a device can poll [`MAX_POLLS`] times, in seconds.
pub const POLL_SECONDS: u32 = 10;
