//! [`p7b`]: certificates in a message without a signer (RFC 5652 §5.2), as Windows, Java and many servers
//! take a chain.

use cms::content_info::ContentInfo;
use pkcs8::der::{Decode as _, Encode as _};

use crate::error::Error;
use crate::x509::certificate::Certificate;

/// Certificates as the content of a `.p7b` file, in DER. Such a file has no order: who reads it sorts by the
/// names.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// let chain: Vec<_> = ca.chain().cloned().collect();
/// std::fs::write(temporary.path().join("chain.p7b"), cert_tool::p7b(&chain)?)?;
/// # Ok(())
/// # }
/// ```
pub fn p7b(certificates: &[Certificate]) -> Result<Vec<u8>, Error> {
    let path = certificates.iter().map(|certificate| {
        x509_cert::Certificate::from_der(certificate.der())
            .map_err(|_| Error::NotInP7b { subject: certificate.subject().to_owned() })
    });
    let mut path = path.collect::<Result<Vec<_>, _>>()?;
    // A set has everything once.
    let mut seen = std::collections::HashSet::new();
    path.retain(|certificate| certificate.to_der().is_ok_and(|der| seen.insert(der)));
    let message = ContentInfo::try_from(path).and_then(|message| message.to_der());
    message.map_err(|_| Error::Crypto("encoding a `.p7b` file"))
}
