//! The service API over HTTPS.
//!
//! [`server`] speaks on connections, [`service`] turns one request into one answer: [`routes`] finds
//! the operation, [`access`] lets the caller in, a file in [`handlers`] does what is asked, and
//! [`reply`] puts the answer into IoT Hub's form.

pub(crate) use api_version::ApiVersion;
pub(crate) use routes::operation_names;
pub(crate) use server::Https;
pub(crate) use service::Service;

mod access;
mod answer_body;
mod api_version;
mod body;
mod call;
mod handlers;
mod reply;
mod routes;
mod server;
mod service;
mod throttling;
mod websocket;
