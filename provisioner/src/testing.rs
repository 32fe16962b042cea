//! Tests across rooms, and the hub in memory that they and others use.

pub(crate) mod model_dps;
pub(crate) mod model_hub;
mod model_tests;
mod old_files;
