//! The effect of a run on an identity.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::model::unknown_value::UnknownValue;

/// The effect of a run on an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// The run created the identity.
    Created,
    /// The run deleted the identity.
    Deleted,
    /// The run changed the existing identity or wrote its twin.
    Updated,
}

impl Effect {
    /// The name that ledger and reports use.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Updated => "updated",
        }
    }
}

impl FromStr for Effect {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        [Self::Created, Self::Deleted, Self::Updated]
            .into_iter()
            .find(|effect| effect.as_str() == text)
            .ok_or_else(|| UnknownValue::new(text))
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
