//! Numbers and times in a readable form.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// `1920` as `1,920`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 device`, `1,920 devices`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// `12 min 4 s`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{:.0} s", duration.as_secs_f64()),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `2026-11-27T10:02:11Z` as `2026-11-27 10:02:11 UTC`; other texts stay unchanged.
#[expect(clippy::expect_used, reason = "every time has these parts")]
pub(super) fn time(text: &str) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => time.format(&format).expect("a time has a date and a time of day"),
        Err(_) => text.to_owned(),
    }
}

/// `10:02:11`.
#[expect(clippy::expect_used, reason = "every time has these parts")]
pub(super) fn clock(time: OffsetDateTime) -> String {
    let format = format_description!("[hour]:[minute]:[second]");
    time.format(&format).expect("a time has a time of day")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2_000].map(|n| counted(n, "row")), ["0 rows", "1 row", "2,000 rows"]);
        let durations = [7, 75, 3_700, 90_000].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(durations, ["7 s", "1 min 15 s", "1 h 1 min", "1 d 1 h"]);
        assert_eq!(time("2026-11-27T10:02:11Z"), "2026-11-27 10:02:11 UTC");
        assert_eq!(time("<b>"), "<b>");
    }
}
