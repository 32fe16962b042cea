//! A TLS handshake, and the reason for its failure in words.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::certificates::UnusableCertificate;

/// The reason for a failed handshake, with the identity of the client if its certificate names one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) identity: Option<String>,
    pub(super) reason: String,
}

/// Performs the handshake with a client. Returns `None` if the client closed the connection without
/// a failure.
///
/// TLS state is allocated only after the client's first bytes.
pub(super) async fn handshake(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> Result<Option<TlsStream<TcpStream>>, Failure> {
    let said = stream.peek(&mut [0]).await;
    if said.is_ok_and(|bytes| bytes > 0) {
        // Where this fails, so does what follows.
        let _ = stream.set_nodelay(true);
        Box::pin(shake_hands(stream, tls)).await.map(Some)
    } else {
        Ok(None)
    }
}

async fn shake_hands(stream: TcpStream, tls: Arc<ServerConfig>) -> Result<TlsStream<TcpStream>, Failure> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    let start = start.await.map_err(|error| failure(&error, None))?;
    let name = start.client_hello().server_name().map(str::to_owned);
    start.into_stream(tls).await.map_err(|error| failure(&error, name.as_deref()))
}

/// Describes a failure in words. `name` is the one by which the client called the hub. The
/// library's own error is in the log at level `debug`.
fn failure(error: &io::Error, name: Option<&str>) -> Failure {
    tracing::debug!(%error, "a TLS handshake failed");
    let error_of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    if let Some(Error::InvalidCertificate(CertificateError::Other(other))) = error_of_tls
        && let Some(unusable) = other.0.downcast_ref::<UnusableCertificate>()
    {
        return Failure { identity: unusable.identity.clone(), reason: unusable.to_string() };
    }
    let reason = match error_of_tls {
        None if error.kind() == ErrorKind::UnexpectedEof => {
            "the client has hung up during the TLS handshake".to_owned()
        }
        None => "the connection broke during the TLS handshake".to_owned(),
        Some(Error::AlertReceived(alert)) => alerted(*alert, name),
        Some(error) => broken(error).to_owned(),
    };
    Failure { identity: None, reason }
}

/// The fault of the client's part of the handshake.
fn broken(error: &Error) -> &'static str {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "the client does not speak TLS",
        Error::InvalidMessage(_) => "the client sends what is no TLS handshake",
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "the client and the hub have no cipher suite in common"
        }
        Error::PeerIncompatible(_) => {
            "the client and the hub have no version or method of TLS in common: the hub speaks TLS 1.2 and 1.3"
        }
        _ => "the client breaks the rules of the TLS handshake",
    }
}

/// The reason for a handshake that the client itself ended.
fn alerted(alert: AlertDescription, name: Option<&str>) -> String {
    let name = name.map_or_else(|| "without a name".to_owned(), |name| format!("as `{name}`"));
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::UnsupportedCertificate => format!(
            "the client does not take the hub's certificate (TLS alert {}): it must trust the hub's ca.pem and \
             call the hub by a name that it has (--host-name); it called it {name}",
            u8::from(alert)
        ),
        _ => format!("the client has ended the TLS handshake (TLS alert {})", u8::from(alert)),
    }
}
