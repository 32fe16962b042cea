//! [`Purpose`]: the party that a certificate is shown to, and what it asks.

use super::CheckName;

/// The party that a certificate is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A hub that knows the certificate's thumbprint (`selfSigned`): it compares the thumbprint and
    /// the dates.
    HubThumbprint,
    /// A hub that trusts the certificate's CA (`certificateAuthority`).
    HubCa,
    /// The Device Provisioning Service, X.509 attestation: the common name is the registration id.
    Dps,
    /// Any TLS server that asks for client certificates: RFC 5280 to the letter.
    TlsClient,
    /// A TLS client that connects to the certificate's holder, a gateway for instance: RFC 5280 to
    /// the letter.
    TlsServer,
}

/// The weight of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// The certificate is refused.
    Required,
    /// The certificate is accepted, with advice.
    Advised,
    /// The check is not made.
    NotAsked,
}

impl Purpose {
    /// The weight that a fault has for this party.
    pub(super) fn level(self, check: CheckName) -> Level {
        use CheckName::*;
        match (self, check) {
            (_, Dates | Key | PrivateKey | Thumbprint | Revocation | HostName) => Level::Required,
            // Whoever names the identity asks for it.
            (Self::HubThumbprint | Self::TlsClient | Self::TlsServer, CommonName) => Level::NotAsked,
            (Self::HubThumbprint, _) => Level::Advised,
            (Self::HubCa | Self::Dps, Profile) => Level::Advised,
            (Self::HubCa | Self::Dps | Self::TlsClient | Self::TlsServer, _) => Level::Required,
        }
    }

    /// Tells whether certificates and revocation lists must follow the profile of RFC 5280 to the
    /// letter.
    pub(super) fn is_strict(self) -> bool {
        matches!(self, Self::TlsClient | Self::TlsServer)
    }

    /// Tells whether the certificate is a server's.
    pub(super) fn is_server(self) -> bool {
        self == Self::TlsServer
    }
}
