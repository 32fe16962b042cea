//! The one place that asks the system for the time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// The time now.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A time in a ledger, a plan or a report: RFC 3339, written in UTC and to the second. A time that
/// was read keeps its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Timestamp {
    time: OffsetDateTime,
    text: String,
}

impl Timestamp {
    /// The time now.
    pub(crate) fn now() -> Self {
        let time = now().truncate_to_second();
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        #[expect(clippy::expect_used, reason = "every time has these parts")]
        let text = time.format(&format).expect("a time has a year, a month, a day and a time of day");
        Self { time, text }
    }

    /// The time.
    pub(crate) fn time(&self) -> OffsetDateTime {
        self.time
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// The error of a text that is not a time.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a time such as 2026-11-27T10:02:11Z (RFC 3339)")]
pub(crate) struct NotATime {
    text: String,
    source: time::error::Parse,
}

impl TryFrom<String> for Timestamp {
    type Error = NotATime;

    fn try_from(text: String) -> Result<Self, NotATime> {
        match OffsetDateTime::parse(&text, &Rfc3339) {
            Ok(time) => Ok(Self { time, text }),
            Err(source) => Err(NotATime { text, source }),
        }
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        text.to_owned().try_into()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_to_the_second_and_read_back_as_it_was() {
        let now = Timestamp::now();
        assert_eq!(now.to_string().parse::<Timestamp>().unwrap(), now);
        assert_eq!((now.as_str().len(), now.time().nanosecond()), ("2026-11-27T10:02:11Z".len(), 0));
        let other: Timestamp = "2026-11-27T11:02:11.5+01:00".parse().unwrap();
        assert_eq!(
            (other.as_str(), other.time().unix_timestamp()),
            ("2026-11-27T11:02:11.5+01:00", 1_795_773_731)
        );
        assert!("yesterday".parse::<Timestamp>().unwrap_err().to_string().contains("`yesterday`"));
    }
}
