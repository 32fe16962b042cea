//! From a batch of devices and modules to identities and twins on an IoT Hub.
pub mod apply;
pub mod batch;
pub mod clock;
pub mod desired;
pub mod hub;
pub mod ledger;
pub mod lifecycle;
pub mod standing;
