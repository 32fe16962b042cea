//! The service API over HTTPS.
//!
//! [`server`] handles connections, [`service`] turns one request into one response: [`routes`]
//! finds the operation in the table of [`operations`], [`access`] authorizes the caller, a file in
//! [`handlers`] performs the operation, and [`reply`] puts the response into IoT Hub's form.

pub(crate) use api_version::ApiVersion;
pub(crate) use operations::operation_names;
pub(crate) use server::Https;
pub(crate) use service::Service;

mod access;
mod api_version;
mod body;
mod call;
mod handlers;
mod operations;
mod reply;
mod response_body;
mod routes;
mod server;
mod service;
mod throttling;
mod websocket;
