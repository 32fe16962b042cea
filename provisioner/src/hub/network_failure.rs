//! Failures of connections in plain words, from the causes that the libraries give.

use std::error::Error;
use std::fmt;
use std::io;

use super::tls_failure::inner;

/// The reason why a connection failed, or ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum NetworkFailure {
    /// The connection was closed or reset.
    Closed,
    /// The host name has no address.
    NoAddress,
    /// The network or the host can't be reached.
    NoRoute,
    /// The port refuses connections.
    Refused,
    /// Nothing answered in time.
    TimedOut,
    /// Something else, in the words of the last cause.
    Other(String),
}

impl NetworkFailure {
    /// Finds the reason in the causes of an error.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        tracing::debug!(?error, "a connection failed");
        let causes = || std::iter::successors(Some(error), |error| inner(*error));
        let known = causes().find_map(|cause| {
            let is_late = cause.downcast_ref().is_some_and(reqwest::Error::is_timeout);
            is_late.then_some(Self::TimedOut).or_else(|| Self::of_io(cause.downcast_ref()?))
        });
        known.unwrap_or_else(|| Self::Other(causes().last().unwrap_or(error).to_string()))
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        use io::ErrorKind::*;
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
                Some(Self::Closed)
            }
            ConnectionRefused => Some(Self::Refused),
            HostUnreachable | NetworkDown | NetworkUnreachable => Some(Self::NoRoute),
            TimedOut => Some(Self::TimedOut),
            // The standard library has no kind for it.
            _ => error.to_string().starts_with(LOOKUP_FAILED).then_some(Self::NoAddress),
        }
    }
}

impl fmt::Display for NetworkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection was closed",
            Self::NoAddress => "no address was found for this name",
            Self::NoRoute => "the network has no way to this host",
            Self::Refused => "the connection was refused, because nothing listens on this port",
            Self::TimedOut => "there was no answer in time",
            Self::Other(words) => words,
        })
    }
}

/// The beginning of the standard library's error for a name without an address.
const LOOKUP_FAILED: &str = "failed to lookup address information";

#[cfg(test)]
mod tests {
    use super::super::transport::HubClientOptions;
    use super::*;

    /// The failure of a real connection, in words.
    async fn said(host: &str) -> String {
        let client = HubClientOptions::default().client().unwrap().no_proxy().build().unwrap();
        let error = client.get(format!("https://{host}/")).send().await.unwrap_err();
        NetworkFailure::of(&error).to_string()
    }

    #[tokio::test]
    async fn failures_of_real_connections_are_said_in_plain_words() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(said(&closed.to_string()).await.contains("refused"));
        // RFC 6761 §6.4: this name never has an address.
        assert!(said("hub.invalid").await.contains("no address"));
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let hang_up = tokio::spawn(async move { drop(silent.accept().await) });
        let words = said(&address.to_string()).await;
        hang_up.await.unwrap();
        assert!(words.contains("closed"), "{words}");
    }

    #[test]
    fn a_cause_that_is_not_known_keeps_its_words() {
        let error = io::Error::other("the tunnel was refused");
        assert_eq!(NetworkFailure::of(&error).to_string(), "the tunnel was refused");
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(NetworkFailure::of(&late), NetworkFailure::TimedOut);
    }
}
