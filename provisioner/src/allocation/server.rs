//! The HTTP server of the function.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cli_support::causes::with_causes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{Allocation, AllocationKey, AllocationRefusal};

/// The settings of the server.
#[derive(Debug, Clone)]
pub(crate) struct ListenSettings {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The key of the function.
    pub(crate) key: AllocationKey,
    /// The files with the certificates and the key of the server; `None` for HTTP without TLS.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

/// The reason why nothing can be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ListenError {
    /// The address can't be used.
    #[error("can't listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The certificate or key of the server can't be read.
    #[error(transparent)]
    Certificate(#[from] cert_tool::Error),
    /// Others could read the key on its way.
    #[error("{0} is not an address of this machine alone, so that allocations need TLS")]
    Exposed(SocketAddr),
    /// Certificate and key do not fit together.
    #[error("the certificate of the allocation server can't be used")]
    Tls(#[from] rustls::Error),
}

/// A server that answers until it is dropped.
pub(crate) struct AllocationServer {
    /// The address of the function, without its key.
    pub(crate) url: String,
    _task: AbortOnDropHandle<()>,
}

impl AllocationServer {
    /// Listens, and answers by the rows of a run.
    pub(crate) async fn start(
        settings: &ListenSettings,
        allocation: Allocation,
    ) -> Result<Self, ListenError> {
        let ListenSettings { address, key, tls } = settings;
        let acceptor = match tls {
            Some((certificate, key)) => Some(acceptor(certificate, key)?),
            None if !address.ip().is_loopback() => return Err(ListenError::Exposed(*address)),
            None => None,
        };
        let failed = |source| ListenError::Address { address: *address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{PATH}", listener.local_addr().map_err(failed)?);
        let function = Arc::new(Function { allocation, key: key.clone() });
        let task = tokio::spawn(accept(listener, acceptor, function));
        Ok(Self { url, _task: AbortOnDropHandle::new(task) })
    }
}

fn acceptor(certificate: &std::path::Path, key: &std::path::Path) -> Result<TlsAcceptor, ListenError> {
    let chain = cert_tool::read_certificates(certificate)?;
    let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let key = cert_tool::read_private_key(key)?;
    let key =
        PrivateKeyDer::try_from(key.to_vec()).map_err(|text| rustls::Error::General(text.to_owned()))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, function: Arc<Function>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        if let Some(stream) = next(&listener).await {
            let (acceptor, function) = (acceptor.clone(), function.clone());
            connections.spawn(async move {
                serve(stream, acceptor, function).await;
                drop(place);
            });
        }
        while connections.try_join_next().is_some() {}
    }
}

/// The next connection; `None` after an error and a pause.
async fn next(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "a connection of a DPS can't be accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, function: Arc<Function>) {
    match acceptor {
        None => function.serve(stream).await,
        Some(acceptor) => match tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => function.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

/// The function, with its key.
struct Function {
    allocation: Allocation,
    key: AllocationKey,
}

impl Function {
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service =
            service_fn(async |request| Ok::<_, std::convert::Infallible>(self.respond(request).await));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of a DPS ended");
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if !self.key.is_in(head.uri.query().unwrap_or_default()) {
            return text(StatusCode::UNAUTHORIZED, "the key is missing or wrong");
        }
        if head.uri.path() != PATH || head.method != Method::POST {
            return text(StatusCode::NOT_FOUND, "there is only POST /allocate");
        }
        let Some(body) = read(body).await else {
            return text(StatusCode::BAD_REQUEST, "the body is missing or too long");
        };
        match self.allocation.answer(&body).await {
            Ok(answer) => json(&answer),
            Err(refusal) => {
                let reason = with_causes(&refusal);
                tracing::warn!("a device is not assigned: {reason}");
                text(refusal.status(), &reason)
            }
        }
    }
}

/// Reads a body, unless it is too long or does not come in time.
async fn read(body: Incoming) -> Option<Bytes> {
    let body = tokio::time::timeout(HEADER_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    Some(body.ok()?.ok()?.to_bytes())
}

impl AllocationRefusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::DifferentCertificate => StatusCode::FORBIDDEN,
            Self::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoRow => StatusCode::NOT_FOUND,
            Self::NotLinked { .. } => StatusCode::CONFLICT,
            Self::Request(_) => StatusCode::BAD_REQUEST,
        }
    }
}

fn json(answer: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(answer) {
        Ok(body) => respond(StatusCode::OK, "application/json", body),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the answer can't be written"),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

const PATH: &str = "/allocate";
/// A request carries an entry of at most 96 KB.
const MAX_BODY: usize = 256 << 10;
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_CONNECTIONS: usize = 256;
/// The time limit for a head, a body and a TLS handshake. A DPS waits five seconds for its answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
