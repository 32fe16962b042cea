//! Times as IoT Hub writes them: UTC, up to seven fractional digits without zeros at the end, `Z`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

/// A point in time in steps of 100 ns since 0001-01-01, the service's own resolution.
///
/// The zero, [`Timestamp::NEVER`], stands in documents for an event that has not happened yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Timestamp(u64);

impl Timestamp {
    /// `0001-01-01T00:00:00Z`: the event has not happened yet.
    pub const NEVER: Self = Self(0);

    /// Steps of 100 ns since 0001-01-01, which .NET calls ticks.
    pub fn ticks(self) -> u64 {
        self.0
    }

    /// The time that many ticks after 0001-01-01; `None` behind the year 9999, in which the calendar ends.
    pub fn from_ticks(ticks: u64) -> Option<Self> {
        (ticks <= LAST_TICK).then_some(Self(ticks))
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        let ticks = (time - EPOCH).whole_nanoseconds() / 100;
        Self(u64::try_from(ticks).unwrap_or(0))
    }
}

impl From<Timestamp> for OffsetDateTime {
    fn from(timestamp: Timestamp) -> Self {
        // No time is behind `LAST_TICK`.
        let seconds = (timestamp.0 / TICKS_PER_SECOND) as i64;
        let nanoseconds = (timestamp.0 % TICKS_PER_SECOND * 100) as i32;
        EPOCH + Duration::new(seconds, nanoseconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from(*self);
        let (hour, minute, second) = time.to_hms();
        let (year, month, day) = time.to_calendar_date();
        // A twin has a time for every property: one write of digits costs a fifth of a format string.
        let mut text = *b"0000-00-00T00:00:00.0000000Z";
        let fraction = self.0 % TICKS_PER_SECOND;
        for (place, number) in [
            (0..4, u64::from(year.unsigned_abs())),
            (5..7, u64::from(u8::from(month))),
            (8..10, u64::from(day)),
            (11..13, u64::from(hour)),
            (14..16, u64::from(minute)),
            (17..19, u64::from(second)),
            (20..27, fraction),
        ] {
            write_digits(text.get_mut(place).unwrap_or_default(), number);
        }
        let text = std::str::from_utf8(&text).map_err(|_| fmt::Error)?;
        match text.trim_end_matches('Z').trim_end_matches('0') {
            _ if fraction == 0 => write!(f, "{}Z", text.get(..19).unwrap_or_default()),
            shortened if shortened.len() + 1 < text.len() => write!(f, "{shortened}Z"),
            _ => f.write_str(text),
        }
    }
}

/// Fills the place with the number's last digits.
fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Parses RFC 3339; a time without a zone is UTC, as the C# client writes it.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
            .map_err(|_| TimestampError)?;
        // At either end of the calendar a time with an offset may have no UTC.
        let time = time.checked_to_offset(UtcOffset::UTC).ok_or(TimestampError)?;
        if time < EPOCH { Err(TimestampError) } else { Ok(time.into()) }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

/// A text is not a time in the form of RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time has the form 2026-11-22T10:00:00Z (RFC 3339), this has not")]
pub struct TimestampError;

const EPOCH: OffsetDateTime = time::macros::datetime!(0001-01-01 00:00:00 UTC);
const TICKS_PER_SECOND: u64 = 10_000_000;
/// `9999-12-31T23:59:59.9999999Z`, `DateTime.MaxValue` of .NET.
const LAST_TICK: u64 = 3_155_378_975_999_999_999;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_the_service_are_read_and_written() {
        assert_eq!(Timestamp::NEVER.to_string(), "0001-01-01T00:00:00Z");
        let text = "2026-11-22T10:00:00.1234567Z";
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        // 637131779299315265 is a generation id seen on a hub.
        assert_eq!(
            Timestamp::from_ticks(637_131_779_299_315_265).unwrap().to_string(),
            "2019-12-29T00:58:49.9315265Z"
        );
    }

    #[test]
    fn offsets_and_missing_zones_are_understood() {
        let utc: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        assert_eq!("2026-11-22T11:00:00+01:00".parse(), Ok(utc));
        assert_eq!("2026-11-22T10:00:00".parse(), Ok(utc));
        assert_eq!("0001-01-01T00:00:00".parse(), Ok(Timestamp::NEVER));
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError));
    }

    #[test]
    fn zeros_at_the_end_of_a_fraction_are_not_written() {
        for (ticks, text) in [
            (10_000_000, "0001-01-01T00:00:01Z"),
            (15_770_570, "0001-01-01T00:00:01.577057Z"),
            (10_000_001, "0001-01-01T00:00:01.0000001Z"),
            (11_000_000, "0001-01-01T00:00:01.1Z"),
        ] {
            assert_eq!(Timestamp::from_ticks(ticks).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_has_no_place_in_the_calendar_is_no_time() {
        for text in ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "0000-12-31T00:00:00Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn ticks_end_with_the_calendar() {
        let last = Timestamp::from_ticks(LAST_TICK).unwrap();
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.9999999Z");
        assert_eq!(OffsetDateTime::from(last).year(), 9999);
        for ticks in [LAST_TICK + 1, u64::MAX] {
            assert_eq!(Timestamp::from_ticks(ticks), None);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(
            year in 0_u16..10_000, month in 0_u8..14, day in 0_u8..33, hour in 0_u8..25,
            sign in "[+-]", offset in 0_u8..25,
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:00:00{sign}{offset:02}:00");
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }

        #[test]
        fn every_time_comes_back(ticks in 0..=LAST_TICK) {
            let timestamp = Timestamp::from_ticks(ticks).unwrap();
            prop_assert_eq!(timestamp.to_string().parse(), Ok(timestamp));
            prop_assert_eq!(Timestamp::from(OffsetDateTime::from(timestamp)), timestamp);
        }
    }
}
