//! The management port: operations that IoT Hub itself does not offer.
//!
//! Plain HTTP on loopback, off by default. Every process that can read the file `management-token`
//! (mode 0600) may use it: the token goes into each request as `Authorization: Bearer …`. The
//! connection string has the same protection. Loopback alone would admit every user of the machine,
//! and every page in the user's browser.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use zeroize::Zeroizing;

use crate::dps::Dps;
use crate::hub::Hub;
use crate::ids::random;
use operations::Operations;

pub(crate) mod operation_names;
mod operations;

/// A running management port; it ends when the value is dropped.
#[derive(Debug)]
pub(crate) struct Management {
    address: SocketAddr,
    token: ManagementToken,
    accepting: AbortHandle,
}

/// The token that a request must present.
#[derive(Debug, Clone)]
pub(crate) struct ManagementToken(Arc<SecretText>);

struct SecretText(Zeroizing<String>);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl ManagementToken {
    /// A new token of 32 random bytes.
    pub(crate) fn generate() -> Self {
        let text = URL_SAFE_NO_PAD.encode(*Zeroizing::new(random::bytes()));
        Self(Arc::new(SecretText(Zeroizing::new(text))))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0.0
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(self.expose().as_bytes()).into())
    }
}

impl Management {
    /// Serves the port.
    pub(crate) fn serve(
        listener: TcpListener,
        address: SocketAddr,
        hub: Arc<Hub>,
        dps: Option<Arc<Dps>>,
    ) -> Self {
        let token = ManagementToken::generate();
        let operations = Arc::new(Operations::new(hub, dps));
        let accepting = tokio::spawn(accept(listener, operations, token.clone())).abort_handle();
        Self { address, token, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn token(&self) -> &ManagementToken {
        &self.token
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, operations: Arc<Operations>, token: ManagementToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Connections end with the task that accepts them.
    let mut connections = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (operations, token) = (Arc::clone(&operations), token.clone());
                connections.spawn(async move {
                    connection(stream, operations, token).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a management connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, operations: Arc<Operations>, token: ManagementToken) {
    let serve = service_fn(move |request| {
        let (operations, token) = (Arc::clone(&operations), token.clone());
        async move { Ok::<_, Infallible>(respond(request, &operations, &token).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), serve);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a management connection ended");
    }
}

async fn respond(
    request: Request<Incoming>,
    operations: &Operations,
    token: &ManagementToken,
) -> Response<ManagementBody> {
    let (parts, body) = request.into_parts();
    if !token.is_in(&parts.headers) {
        let text = "the Authorization header must be `Bearer` and what the file management-token holds";
        return error_response(StatusCode::UNAUTHORIZED, text);
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return error_response(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or ended early");
        }
        Err(_) => return error_response(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive"),
    };
    if parts.method == Method::GET && parts.uri.path() == "/telemetry" {
        return match operations.read_messages(parts.uri.query().unwrap_or_default()) {
            Ok(reader) => content(StatusCode::OK, "application/x-ndjson", reader.into_body().boxed_unsync()),
            Err((status, text)) => error_response(status, &text),
        };
    }
    match operations.perform(&parts.method, &parts.uri, &body).await {
        Ok(content) => document(StatusCode::OK, content),
        Err((status, text)) => error_response(status, &text),
    }
}

fn error_response(status: StatusCode, text: &str) -> Response<ManagementBody> {
    document(status, json!({ "error": text }).to_string().into_bytes())
}

fn document(status: StatusCode, document: Vec<u8>) -> Response<ManagementBody> {
    content(status, "application/json", Full::new(Bytes::from(document)).boxed_unsync())
}

fn content(status: StatusCode, content_type: &'static str, body: ManagementBody) -> Response<ManagementBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A body that is complete at once, or that is streamed.
type ManagementBody = UnsyncBoxBody<Bytes, Infallible>;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BODY_TIMEOUT: Duration = Duration::from_secs(300);
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest body in bytes: the state of a million devices. The bearer of the token controls the
/// hub's memory anyway.
const MAX_BODY: usize = 1024 * 1024 * 1024;
const MAX_CONNECTIONS: usize = 16;
