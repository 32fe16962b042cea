//! The operations of services and of devices.

pub(super) mod device;
pub(super) mod entries;
mod pages;
pub(super) mod registrations;
