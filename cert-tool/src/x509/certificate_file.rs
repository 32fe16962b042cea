//! [`CertificateEncoding`]: the forms of a file with certificates.

use std::path::Path;

use crate::error::Error;
use crate::platform::fs;
use crate::x509::certificate::Certificate;
use crate::x509::p7b::p7b;

/// The form of a file with certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateEncoding {
    /// Base64 between lines (RFC 7468), one block for each certificate.
    #[default]
    Pem,
    /// The bytes of one certificate.
    Der,
    /// A message without a signer (RFC 5652), in DER.
    P7b,
}

/// Writes certificates to a file that must not be there yet; it appears only when it is whole.
pub fn write_certificates(
    path: &Path,
    certificates: &[Certificate],
    encoding: CertificateEncoding,
) -> Result<(), Error> {
    let bytes = match (encoding, certificates) {
        (CertificateEncoding::Pem, _) => {
            certificates.iter().map(Certificate::to_pem).collect::<String>().into_bytes()
        }
        (CertificateEncoding::Der, [one]) => one.der().to_vec(),
        (CertificateEncoding::Der, several) => {
            return Err(Error::NotOneCertificate { path: path.to_owned(), count: several.len() });
        }
        (CertificateEncoding::P7b, _) => p7b(certificates)?,
    };
    fs::write_new_public(path, &bytes)
}
