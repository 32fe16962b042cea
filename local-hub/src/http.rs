//! The service API over HTTPS.
//!
//! [`server`] handles connections, [`service`] turns one request into one response: [`routes`]
//! finds the operation, [`access`] authorizes the caller, a file in [`handlers`] performs the
//! operation, and [`reply`] puts the response into IoT Hub's form.

pub(crate) use api_version::ApiVersion;
pub(crate) use routes::operation_names;
pub(crate) use server::Https;
pub(crate) use service::Service;

mod access;
mod api_version;
mod body;
mod call;
mod handlers;
mod reply;
mod response_body;
mod routes;
mod server;
mod service;
mod throttling;
mod websocket;
