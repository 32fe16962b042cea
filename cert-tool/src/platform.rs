//! Services of the operating system: files and threads.

pub(crate) mod fs;
pub(crate) mod parallel;
