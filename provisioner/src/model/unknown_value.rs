//! The error of words that name no known value.

/// A stored word that stands for none of the values that this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown value `{0}`")]
pub(crate) struct UnknownValue(String);

impl UnknownValue {
    /// The error for this word.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
