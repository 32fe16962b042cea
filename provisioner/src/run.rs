//! The life of a run.

pub mod issue;
pub mod progress;
