//! Failures of TLS for which a server is not taken for the hub: a certificate that will not pass, or no
//! TLS at all. None of it passes by waiting.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};
use time::OffsetDateTime;

/// The reason why a server is not taken for the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum TlsFailure {
    /// The certificate is over; on which day, where that is known.
    Expired(Option<String>),
    /// Both sides have no way of TLS in common.
    NoAgreement,
    /// The server does not speak TLS.
    NoTls,
    /// The certificate is not valid yet; from which day, where that is known.
    NotValidYet(Option<String>),
    /// The certificate is for other names.
    OtherName,
    /// The certificate was revoked.
    Revoked,
    /// The certificate has no root that is trusted here.
    UnknownIssuer,
    /// The certificate can't be used for a server.
    Unusable,
}

impl TlsFailure {
    /// Finds in the causes of an error that the handshake failed for good.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        std::iter::successors(Some(error), |error| inner(*error)).find_map(|error| {
            let failure = Self::of_tls(error.downcast_ref()?);
            if let Some(failure) = &failure {
                tracing::debug!(%error, ?failure, "the handshake failed");
            }
            failure
        })
    }

    fn of_tls(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(error) => Some(Self::of_certificate(error)),
            rustls::Error::InvalidMessage(_) => Some(Self::NoTls),
            // A server that has a problem of its own, or is about to end.
            rustls::Error::AlertReceived(
                AlertDescription::InternalError
                | AlertDescription::CloseNotify
                | AlertDescription::UserCanceled,
            ) => None,
            _ => Some(Self::NoAgreement),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired => Self::Expired(None),
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(day(*not_after)),
            CertificateError::NotValidYet => Self::NotValidYet(None),
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotValidYet(day(*not_before)),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            _ => Self::Unusable,
        }
    }

    /// Advice for people.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Expired(_) | Self::NotValidYet(_) => {
                "check this station's clock; if it is right, whoever runs the hub, or a proxy that opens TLS, needs a \
                 new certificate"
            }
            Self::NoAgreement => {
                "check what stands between this station and the hub; a hub speaks TLS 1.2 and 1.3"
            }
            Self::NoTls => "check the port: a hub listens for HTTPS on 443",
            Self::OtherName => "check the hub's name; a name that only leads to it does not do",
            Self::Revoked | Self::Unusable => {
                "whoever runs the hub, or a proxy that opens TLS, needs a different certificate"
            }
            Self::UnknownIssuer => {
                "where the hub's certificate has a root of your own, name it with `--ca-file FILE`; a proxy that opens \
                 TLS must be told to leave the hub alone"
            }
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(Some(day)) => write!(f, "its certificate expired on {day}"),
            Self::Expired(None) => f.write_str("its certificate has expired"),
            Self::NoAgreement => f.write_str("it has no way of TLS in common with this program"),
            Self::NoTls => f.write_str("what answers there does not speak TLS"),
            Self::NotValidYet(Some(day)) => write!(f, "its certificate is not valid before {day}"),
            Self::NotValidYet(None) => f.write_str("its certificate is not valid yet"),
            Self::OtherName => f.write_str("its certificate is for a different name"),
            Self::Revoked => f.write_str("its certificate was revoked"),
            Self::UnknownIssuer => f.write_str("its certificate has no root that is trusted here"),
            Self::Unusable => f.write_str("its certificate can't be used for a server (self-signed?)"),
        }
    }
}

/// The cause of an error. That of an I/O error is the error inside it, which `source` passes over.
/// The cause of an error; for an error of input and output, the error inside.
pub(super) fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

fn day(time: UnixTime) -> Option<String> {
    let seconds = i64::try_from(time.as_secs()).ok()?;
    Some(OffsetDateTime::from_unix_timestamp(seconds).ok()?.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: rustls::Error) -> Option<TlsFailure> {
        // As it comes out of a connection: wrapped twice.
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        TlsFailure::of(&io::Error::other(error))
    }

    #[test]
    fn a_failed_handshake_is_found_in_the_causes_and_said_in_plain_words() {
        let certificate = rustls::Error::InvalidCertificate;
        for (error, said) in [
            (certificate(CertificateError::Expired), "has expired"),
            (certificate(CertificateError::UnknownIssuer), "no root that is trusted here"),
            (certificate(CertificateError::NotValidForName), "for a different name"),
            (certificate(CertificateError::NotValidYet), "not valid yet"),
            (certificate(CertificateError::Revoked), "revoked"),
            (certificate(CertificateError::BadEncoding), "can't be used"),
            (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
            (rustls::Error::AlertReceived(AlertDescription::HandshakeFailure), "no way of TLS in common"),
        ] {
            let failure = of(error).unwrap();
            assert!(failure.to_string().contains(said), "{failure}");
            assert!(!failure.advice().is_empty());
        }
        let expired = CertificateError::ExpiredContext {
            time: UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000)),
            not_after: UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_700_000_000)),
        };
        let said = of(certificate(expired)).unwrap().to_string();
        assert_eq!(said, "its certificate expired on 2023-11-14");
    }

    #[test]
    fn a_server_that_hangs_up_may_be_back() {
        assert_eq!(of(rustls::Error::AlertReceived(AlertDescription::InternalError)), None);
        assert_eq!(TlsFailure::of(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }
}
