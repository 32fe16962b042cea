//! The hub over HTTPS: one file per resource, each against its own hub on a free port.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking; helpers outside test functions are part of it"
)]

mod access;
mod amqp;
mod azurite;
mod bulk;
mod cli;
mod clients;
mod configurations;
mod damaged_folder;
mod deployments;
mod device;
mod devices;
mod dps;
mod dps_access;
mod dps_allocation;
mod dps_bulk;
mod dps_devices;
mod dps_durability;
mod dps_enrollments;
mod dps_limits;
mod dps_queries;
mod dps_reprovisioning;
mod dps_snapshots;
mod durability;
mod earlier_data_folder;
mod faults;
mod hostile;
mod jobs;
mod live_facts;
mod management;
mod modules;
mod mqtt_access;
mod mqtt_cloud_to_device;
mod mqtt_connections;
mod mqtt_faults;
mod mqtt_hostile;
mod mqtt_methods;
mod mqtt_mosquitto;
mod mqtt_twins;
mod mqtt_websocket;
mod open_files;
mod query;
mod refused_connections;
mod request_log;
mod snapshots;
mod support;
mod telemetry;
mod throttle;
mod twin_limits;
mod twins;
mod two_hosts;
