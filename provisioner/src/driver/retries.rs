//! The limit of retries of one identity.

/// The number of retries of one identity.
#[derive(Debug, Default)]
pub(crate) struct Retries(u32);

impl Retries {
    /// Counts a retry, and returns true if there may be one more.
    pub(crate) fn again(&mut self) -> bool {
        self.0 += 1;
        self.0 <= MAX_RETRIES
    }

    /// The number of retries so far.
    pub(crate) fn count(&self) -> u32 {
        self.0
    }
}

/// The largest number of retries of one identity.
pub(crate) const MAX_RETRIES: u32 = 12;
