//! Errors with their causes.

use std::error::Error;

use hub_types::shown::without_os_codes;

/// Returns the causes of an error, the direct one first.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// Returns the text of an error on one line, and behind it the text of each cause that the line
/// does not contain yet. Errors of the operating system have no numbers.
pub fn with_causes(error: &dyn Error) -> String {
    let told = causes(error).map(ToString::to_string).fold(error.to_string(), |text, cause| {
        match text.contains(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    });
    without_os_codes(&told).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let outer = |text| Outer { text, source: io::Error::other("it is closed") };
        assert_eq!(with_causes(&outer("can't read `a`")), "can't read `a`: it is closed");
        assert_eq!(with_causes(&outer("can't read `a`: it is closed")), "can't read `a`: it is closed");
        let missing = Outer { text: "can't read `a`", source: io::Error::from_raw_os_error(2) };
        assert!(!with_causes(&missing).contains("os error"), "{}", with_causes(&missing));
    }
}
