//! Certificates in enrolments: the certificate that a service sends, and the facts that DPS returns
//! instead of it.
//!
//! A service sends a certificate as PEM or as base64 of its DER. A live DPS never returns it; it
//! returns [`CertificateInfo`]. This crate does not parse certificates: whoever has a parser makes
//! the facts.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};

use crate::thumbprint::Thumbprint;
use crate::timestamp::Timestamp;

/// The DER of a certificate, as an enrolment carries it. Its content is not checked.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct CertificateDer(Box<[u8]>);

impl CertificateDer {
    /// A certificate with this DER.
    pub fn new(der: &[u8]) -> Self {
        Self(der.into())
    }

    /// Reads PEM with exactly one certificate, or base64 of DER. Clients also send base64 of PEM.
    pub fn parse(text: &str) -> Result<Self, CertificateTextError> {
        if let Some(begin) = text.find(PEM_BEGIN) {
            return Self::from_pem(text.get(begin..).unwrap_or_default());
        }
        let der = decode(text).ok_or(CertificateTextError::NotBase64)?;
        match str::from_utf8(&der) {
            Ok(pem) if pem.contains(PEM_BEGIN) => Self::parse(pem),
            _ if der.is_empty() => Err(CertificateTextError::Empty),
            _ => Ok(Self(der.into())),
        }
    }

    /// The DER.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_pem(pem: &str) -> Result<Self, CertificateTextError> {
        let content = pem.strip_prefix(PEM_BEGIN).unwrap_or_default();
        let (content, rest) = content.split_once(PEM_END).ok_or(CertificateTextError::NoPemEnd)?;
        if rest.contains(PEM_BEGIN) {
            return Err(CertificateTextError::SeveralCertificates);
        }
        let der = decode(content).ok_or(CertificateTextError::NotBase64)?;
        if der.is_empty() { Err(CertificateTextError::Empty) } else { Ok(Self(der.into())) }
    }
}

impl TryFrom<String> for CertificateDer {
    type Error = CertificateTextError;

    fn try_from(text: String) -> Result<Self, CertificateTextError> {
        Self::parse(&text)
    }
}

impl Serialize for CertificateDer {
    /// Writes base64 of the DER on one line.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for CertificateDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateDer({} bytes)", self.0.len())
    }
}

/// The reason why a text is not a certificate of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateTextError {
    /// No content.
    #[error("the certificate is empty")]
    Empty,
    /// PEM without an end.
    #[error("the PEM text has no `{PEM_END}`")]
    NoPemEnd,
    /// A text that is not base64.
    #[error("a certificate is PEM or base64 of DER, this is not")]
    NotBase64,
    /// More than one certificate.
    #[error("the PEM text has more than one certificate; an enrolment takes one in each place")]
    SeveralCertificates,
}

/// Decodes base64 that may be broken into lines.
fn decode(text: &str) -> Option<Vec<u8>> {
    let base64: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(base64).ok()
}

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// The facts of a certificate that DPS computes and returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateInfo {
    /// The distinguished name of the subject, such as `CN=pump-0001`.
    #[serde(default)]
    pub subject_name: String,
    /// The SHA-1 thumbprint.
    pub sha1_thumbprint: Thumbprint,
    /// The SHA-256 thumbprint.
    pub sha256_thumbprint: Thumbprint,
    /// The distinguished name of the issuer.
    #[serde(default)]
    pub issuer_name: String,
    /// The beginning of its validity.
    pub not_before_utc: Timestamp,
    /// The end of its validity.
    pub not_after_utc: Timestamp,
    /// The serial number in hex digits of upper case.
    #[serde(default)]
    pub serial_number: String,
    /// The version of X.509, which is 3.
    #[serde(default)]
    pub version: u32,
}

/// A certificate of an enrolment: as a service sends it, or the facts that DPS returns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollmentCertificate {
    /// The certificate, in requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateDer>,
    /// Its facts, in answers. A service that sends a whole enrolment back sends them too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<CertificateInfo>>,
}

/// The two certificates of an enrolment. Both are accepted, so that one can be exchanged at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatePair {
    /// The first certificate.
    pub primary: EnrollmentCertificate,
    /// The second certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary: Option<EnrollmentCertificate>,
}

impl CertificatePair {
    /// Both certificates, or the only one.
    pub fn iter(&self) -> impl Iterator<Item = &EnrollmentCertificate> {
        std::iter::once(&self.primary).chain(&self.secondary)
    }

    /// The facts of the certificates that have them.
    pub fn infos(&self) -> impl Iterator<Item = &CertificateInfo> {
        self.iter().filter_map(|certificate| certificate.info.as_deref())
    }

    /// Returns true if one of the two has this SHA-256 thumbprint, according to its facts.
    pub fn has_thumbprint(&self, sha256: Thumbprint) -> bool {
        self.infos().any(|info| info.sha256_thumbprint == sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pem(der: &[u8]) -> String {
        format!("{PEM_BEGIN}\r\n{}\r\n{PEM_END}\r\n", STANDARD.encode(der))
    }

    #[test]
    fn each_form_that_clients_send_is_read() {
        let der = CertificateDer::new(&[0x30, 1, 2, 3]);
        for text in [
            STANDARD.encode(der.as_bytes()),
            format!("{}\n", STANDARD.encode(der.as_bytes())),
            pem(der.as_bytes()),
            format!("Bag Attributes\n{}", pem(der.as_bytes())),
            STANDARD.encode(pem(der.as_bytes())),
        ] {
            assert_eq!(CertificateDer::parse(&text).as_ref(), Ok(&der), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, error) in [
            ("", CertificateTextError::Empty),
            ("certificate!", CertificateTextError::NotBase64),
            (PEM_BEGIN, CertificateTextError::NoPemEnd),
            (format!("{PEM_BEGIN}{PEM_END}").as_str(), CertificateTextError::Empty),
            (pem(&[1]).repeat(2).as_str(), CertificateTextError::SeveralCertificates),
        ] {
            assert_eq!(CertificateDer::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(der in proptest::collection::vec(any::<u8>(), 1..200)) {
            let certificate = CertificateDer::new(&der);
            prop_assume!(!der.windows(PEM_BEGIN.len()).any(|part| part == PEM_BEGIN.as_bytes()));
            let json = serde_json::to_string(&certificate).unwrap();
            prop_assert_eq!(serde_json::from_str::<CertificateDer>(&json).unwrap(), certificate);
            let read = CertificateDer::parse(&pem(&der)).unwrap();
            prop_assert_eq!(read.as_bytes(), der);
        }

        #[test]
        fn no_text_is_a_panic(text in ".*", begin in any::<bool>()) {
            let _ = CertificateDer::parse(&text);
            let _ = CertificateDer::parse(&format!("{}{text}", if begin { PEM_BEGIN } else { PEM_END }));
        }
    }
}
