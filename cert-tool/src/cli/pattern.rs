//! [`Pattern`]: names of devices that are numbered.

use anyhow::{Context as _, anyhow, ensure};
use hub_types::IdentityId;

/// Names with a number in them.
pub(crate) struct Pattern {
    before: String,
    width: usize,
    after: String,
    first: u64,
    count: u64,
}

impl Pattern {
    /// Reads `pump-{}` or `pump-{:06}`, and makes sure that every name of it is a device's.
    pub(crate) fn parse(text: &str, first: u64, count: u64) -> Result<Self, anyhow::Error> {
        let (before, rest) =
            text.split_once('{').ok_or_else(|| anyhow!("`{text}` has no `{{}}` for the number"))?;
        let (format, after) =
            rest.split_once('}').ok_or_else(|| anyhow!("the `{{` in `{text}` has no `}}`"))?;
        ensure!(!after.contains(['{', '}']), "`{text}` has more than one place for the number");
        let width = width(format)?;
        let last = first.checked_add(count - 1).ok_or_else(|| anyhow!("the numbers are too large"))?;
        let pattern = Self { before: before.to_owned(), width, after: after.to_owned(), first, count };
        // The others have no more characters than the last, and no other ones than digits.
        for number in [first, last] {
            let name = pattern.name(number);
            IdentityId::parse(&name, None).with_context(|| format!("`{name}` is not a device id"))?;
        }
        Ok(pattern)
    }

    pub(crate) fn identities(&self) -> impl Iterator<Item = IdentityId> + Send {
        (0..self.count).filter_map(|n| IdentityId::parse(&self.name(self.first + n), None).ok())
    }

    fn name(&self, number: u64) -> String {
        format!("{}{number:0width$}{}", self.before, self.after, width = self.width)
    }
}

/// The number of digits that a format such as `:06` asks for.
fn width(format: &str) -> Result<usize, anyhow::Error> {
    if format.is_empty() {
        return Ok(0);
    }
    format
        .strip_prefix(":0")
        .and_then(|width| width.parse().ok())
        .filter(|width| (1..=20).contains(width))
        .ok_or_else(|| anyhow!("write `{{}}` or `{{:06}}` instead of `{{{format}}}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_where_the_pattern_says() {
        let names = |text, first, count| {
            let pattern = Pattern::parse(text, first, count).unwrap();
            pattern.identities().map(|identity| identity.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("pump-{:06}", 9, 2), ["pump-000009", "pump-000010"]);
        assert_eq!(names("{}.x", 99, 2), ["99.x", "100.x"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["pump", "pump-{", "{}{}", "{:6}", "{:0}", "{:021}", "{x}", "a b{}", "a/{}"] {
            assert!(Pattern::parse(bad, 1, 10).is_err(), "{bad}");
        }
        assert!(Pattern::parse("{}", u64::MAX, 2).is_err());
        assert!(Pattern::parse(&format!("{}{{}}", "d".repeat(127)), 1, 10).is_err());
    }
}
