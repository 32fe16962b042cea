//! The operations of the service API.

pub(super) mod entries;
mod pages;
pub(super) mod registrations;
