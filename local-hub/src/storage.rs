//! The content of a hub on disk: the data folder with its lock, and the database in it.

pub(crate) mod backing;
pub(crate) mod data_folder;
pub(crate) mod hub_tables;
pub(crate) mod parallel_rows;
pub(crate) mod private_files;
pub(crate) mod store;
