//! Ids and other small values: their rules, their generation, and the counters behind etags.

pub(crate) mod counter_etag;
pub(crate) mod random;

/// Checks the id of a configuration or job: lower-case letters, digits and a few signs. The error
/// names the rule.
pub(crate) fn check_id(what: &str, id: &str, signs: &str, longest: usize) -> Result<(), String> {
    let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || signs.contains(c);
    if (1..=longest).contains(&id.len()) && id.chars().all(is_legal) {
        return Ok(());
    }
    Err(format!("the id of a {what} has 1 to {longest} characters out of a-z, 0-9 and {signs}"))
}
