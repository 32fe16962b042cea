//! Services of the operating system: files, threads and memory protection.

pub(crate) mod fs;
pub(crate) mod parallel;
pub(crate) mod process;
