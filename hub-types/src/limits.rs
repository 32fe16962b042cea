//! What IoT Hub bounds: sizes, counts, and operations per unit of time.
//!
//! Sources: "IoT Hub quotas and throttling", "Understand and use device twins", "Identity registry".

/// Characters in a device id or a module id.
pub const MAX_ID_CHARS: usize = 128;

/// Characters in the common name of an X.509 certificate (RFC 5280, appendix A.1).
pub const MAX_COMMON_NAME_CHARS: usize = 64;
