//! The limits of IoT Hub: sizes, counts, and operations per unit of time.
//!
//! Sources: "IoT Hub quotas and throttling", "Understand and use device twins", "Identity registry".

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::dps::limits::{OPERATIONS_PER_MINUTE, REGISTRATIONS_PER_MINUTE};

/// Characters in a device id or a module id.
pub const MAX_ID_CHARS: usize = 128;

/// Characters in the common name of an X.509 certificate (RFC 5280, appendix A.1).
pub const MAX_COMMON_NAME_CHARS: usize = 64;

/// Characters in a status reason.
pub const MAX_STATUS_REASON_CHARS: usize = 128;

/// Modules of one device.
pub const MAX_MODULES_PER_DEVICE: usize = 50;

/// Devices and modules of one hub.
pub const MAX_IDENTITIES_PER_HUB: usize = 1_000_000;

/// Items of one bulk call.
pub const MAX_BULK_ITEMS: usize = 100;

/// Bytes of a cloud-to-device message, properties included. Source: "IoT Hub quotas and throttling".
pub const MAX_CLOUD_TO_DEVICE_BYTES: usize = 64 * 1024;

/// Cloud-to-device messages that can wait for a device. Source: "IoT Hub quotas and throttling".
pub const MAX_CLOUD_TO_DEVICE_WAITING: usize = 50;

/// Bytes of a device-to-cloud message. Source: "IoT Hub quotas and throttling".
pub const MAX_TELEMETRY_BYTES: usize = 256 * 1024;

/// Bytes of a direct method's payload, either way. Source: "IoT Hub quotas and throttling".
pub const MAX_METHOD_BYTES: usize = 128 * 1024;

/// Bytes of a direct method's payload that the throttle counts as one operation. A longer payload
/// counts once per begun piece. Source: "IoT Hub quotas and throttling".
pub const METHOD_PIECE_BYTES: usize = 4 * 1024;

/// The edition of a hub, which sets its price and its throttles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Basic 1.
    B1,
    /// Basic 2.
    B2,
    /// Basic 3.
    B3,
    /// Free.
    F1,
    /// Standard 1.
    #[default]
    S1,
    /// Standard 2.
    S2,
    /// Standard 3.
    S3,
}

impl Tier {
    const ALL: [(Self, &'static str); 7] = [
        (Self::B1, "B1"),
        (Self::B2, "B2"),
        (Self::B3, "B3"),
        (Self::F1, "F1"),
        (Self::S1, "S1"),
        (Self::S2, "S2"),
        (Self::S3, "S3"),
    ];

    /// Returns true if the tier has twins.
    pub fn has_twins(self) -> bool {
        !matches!(self, Self::B1 | Self::B2 | Self::B3)
    }
}

impl FromStr for Tier {
    type Err = TierError;

    fn from_str(text: &str) -> Result<Self, TierError> {
        let found = Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(tier, _)| tier).ok_or_else(|| TierError(text.to_owned()))
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(tier, _)| tier == self).map_or("", |(_, name)| name);
        f.pad(name)
    }
}

/// A text names no tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tier; known are F1, B1, B2, B3, S1, S2, S3")]
pub struct TierError(String);

/// Operations that share a throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OperationClass {
    /// Messages from the cloud to devices.
    CloudToDevice,
    /// Creating, reading, listing, updating and deleting configurations.
    Configuration,
    /// Devices and modules that connect.
    Connection,
    /// Devices that register at a Device Provisioning Service.
    DeviceRegistration,
    /// Messages from devices and modules to the cloud.
    DeviceToCloud,
    /// Direct methods; each begun 4 KB of payload counts.
    DirectMethod,
    /// Creating, reading, updating and deleting enrolments and registrations of a Device
    /// Provisioning Service.
    Enrollment,
    /// Creating, reading, listing and cancelling jobs.
    Job,
    /// Devices that a scheduled job updates or calls.
    JobDevice,
    /// Queries over devices and modules.
    Query,
    /// Creating, reading, listing, updating and deleting identities; each item of a bulk call counts.
    Registry,
    /// Reading twins.
    TwinRead,
    /// Writing twins.
    TwinUpdate,
}

impl fmt::Display for OperationClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CloudToDevice => "cloud-to-device",
            Self::Configuration => "configuration",
            Self::Connection => "connection",
            Self::DeviceRegistration => "device registration",
            Self::DeviceToCloud => "device-to-cloud",
            Self::DirectMethod => "direct method",
            Self::Enrollment => "enrolment",
            Self::Job => "job",
            Self::JobDevice => "job device",
            Self::Query => "query",
            Self::Registry => "registry",
            Self::TwinRead => "twin read",
            Self::TwinUpdate => "twin update",
        })
    }
}

/// The number of operations of a class that a hub of this tier and number of units allows per
/// second.
pub fn operations_per_second(class: OperationClass, tier: Tier, units: NonZeroU32) -> f64 {
    let units = f64::from(units.get());
    let third_tier = matches!(tier, Tier::B3 | Tier::S3);
    let second_tier = matches!(tier, Tier::B2 | Tier::S2);
    match class {
        OperationClass::CloudToDevice if third_tier => 5000.0 / 60.0 * units,
        OperationClass::CloudToDevice => 100.0 / 60.0 * units,
        OperationClass::Configuration => 20.0 / 60.0 * units,
        OperationClass::Connection | OperationClass::DeviceToCloud if third_tier => 6000.0 * units,
        OperationClass::Connection | OperationClass::DeviceToCloud if second_tier => 120.0 * units,
        OperationClass::Connection | OperationClass::DeviceToCloud => f64::max(100.0, 12.0 * units),
        // A Device Provisioning Service has neither tiers nor units.
        OperationClass::DeviceRegistration => f64::from(REGISTRATIONS_PER_MINUTE) / 60.0,
        OperationClass::Enrollment => f64::from(OPERATIONS_PER_MINUTE) / 60.0,
        // 24 MB, 480 KB and 160 KB a second, in pieces of `METHOD_PIECE_BYTES`.
        OperationClass::DirectMethod if third_tier => 6144.0 * units,
        OperationClass::DirectMethod if second_tier => 120.0 * units,
        OperationClass::DirectMethod => 40.0 * units,
        OperationClass::Job if third_tier => 5000.0 / 60.0 * units,
        OperationClass::Job => 100.0 / 60.0 * units,
        OperationClass::JobDevice if third_tier => 50.0 * units,
        OperationClass::JobDevice if second_tier => f64::max(10.0, units),
        OperationClass::JobDevice => 10.0,
        OperationClass::Query if third_tier => 1000.0 / 60.0 * units,
        OperationClass::Query => 20.0 / 60.0 * units,
        OperationClass::Registry if third_tier => 5000.0 / 60.0 * units,
        OperationClass::Registry => 100.0 / 60.0 * units,
        OperationClass::TwinRead if third_tier => 500.0 * units,
        OperationClass::TwinRead if second_tier => f64::max(100.0, 10.0 * units),
        OperationClass::TwinRead => 100.0,
        OperationClass::TwinUpdate if third_tier => 250.0 * units,
        OperationClass::TwinUpdate if second_tier => f64::max(50.0, 5.0 * units),
        OperationClass::TwinUpdate => 50.0,
    }
}

/// The number of messages that a hub of this tier and number of units allows per day (UTC). A free
/// hub has no units. Twin reads, twin updates, direct methods and queries count as messages;
/// registry operations do not.
///
/// Sources: "Choose the right IoT Hub tier", "Azure IoT Hub pricing".
pub fn messages_per_day(tier: Tier, units: NonZeroU32) -> u64 {
    let units = u64::from(units.get());
    match tier {
        Tier::F1 => 8_000,
        Tier::B1 | Tier::S1 => 400_000 * units,
        Tier::B2 | Tier::S2 => 6_000_000 * units,
        Tier::B3 | Tier::S3 => 300_000_000 * units,
    }
}

/// The number of scheduled jobs that a hub of this tier runs at a time. Basic tiers have no jobs.
///
/// Source: "Reference - IoT Hub quotas and throttling".
pub fn concurrent_jobs(tier: Tier) -> usize {
    match tier {
        Tier::B1 | Tier::B2 | Tier::B3 => 0,
        Tier::F1 | Tier::S1 => 1,
        Tier::S2 => 5,
        Tier::S3 => 10,
    }
}

/// The number of bytes that count as one message. A longer message counts once per begun piece of
/// this size.
pub fn message_bytes(tier: Tier) -> usize {
    if tier == Tier::F1 { 512 } else { 4 * 1024 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(class: OperationClass, tier: &str, units: u32) -> f64 {
        operations_per_second(class, tier.parse().unwrap(), NonZeroU32::new(units).unwrap())
    }

    #[test]
    fn a_registry_of_s1_takes_100_operations_a_minute_and_unit() {
        assert_eq!((rate(OperationClass::Registry, "S1", 1) * 60.0).round(), 100.0);
        assert_eq!((rate(OperationClass::Registry, "s2", 10) * 60.0).round(), 1000.0);
        assert_eq!((rate(OperationClass::Registry, "S3", 2) * 60.0).round(), 10_000.0);
    }

    #[test]
    fn twin_rates_grow_with_units_only_where_the_service_says_so() {
        assert_eq!(rate(OperationClass::TwinUpdate, "S1", 100), 50.0);
        assert_eq!(rate(OperationClass::TwinUpdate, "S2", 4), 50.0);
        assert_eq!(rate(OperationClass::TwinUpdate, "S2", 100), 500.0);
        assert_eq!(rate(OperationClass::TwinRead, "S3", 2), 1000.0);
    }

    #[test]
    fn device_rates_are_those_of_the_table() {
        assert_eq!(rate(OperationClass::Connection, "S1", 1), 100.0);
        assert_eq!(rate(OperationClass::DeviceToCloud, "B1", 10), 120.0);
        assert_eq!(rate(OperationClass::Connection, "S3", 1), 6000.0);
        assert_eq!((rate(OperationClass::CloudToDevice, "S2", 3) * 60.0).round(), 300.0);
        assert_eq!((rate(OperationClass::CloudToDevice, "S3", 1) * 60.0).round(), 5000.0);
        // 160 KB a second and unit.
        assert_eq!(rate(OperationClass::DirectMethod, "S1", 2) * 4.0, 320.0);
        assert_eq!(rate(OperationClass::JobDevice, "S2", 20), 20.0);
        assert_eq!((rate(OperationClass::Enrollment, "S3", 20) * 60.0).round(), 1000.0);
    }

    #[test]
    fn a_free_hub_takes_8000_short_messages_a_day() {
        let two = NonZeroU32::new(2).unwrap();
        assert_eq!((messages_per_day(Tier::F1, two), message_bytes(Tier::F1)), (8_000, 512));
        assert_eq!((messages_per_day(Tier::S1, two), message_bytes(Tier::S1)), (800_000, 4096));
        assert_eq!(messages_per_day(Tier::S2, two), 12_000_000);
    }

    #[test]
    fn tiers_are_named_as_azure_names_them() {
        assert_eq!("s3".parse::<Tier>().unwrap().to_string(), "S3");
        assert!("S4".parse::<Tier>().unwrap_err().to_string().contains("`S4`"));
        assert!(!Tier::B1.has_twins() && Tier::F1.has_twins());
    }
}
