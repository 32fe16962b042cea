//! The certificates of a verification: those that are trusted, and those to verify.

use crate::ca::CaCertificates;
use crate::keys::public::PublicKey;
use crate::x509::certificate::Certificate;

/// The certificates that a verification trusts, and those that may stand below them on a path.
#[derive(Debug, Default)]
pub struct TrustedCertificates {
    /// The trusted certificates.
    pub roots: Vec<Certificate>,
    /// The intermediate certificates.
    pub between: Vec<Certificate>,
}

impl TrustedCertificates {
    /// Adds the certificates of a CA: its root, and the CAs below the root as intermediate ones. Without a
    /// root, the issuing CA is trusted.
    pub fn add_ca(&mut self, ca: CaCertificates) {
        match ca.root {
            Some(root) => {
                self.roots.push(root);
                self.between.extend(ca.issuing.into_iter().chain(ca.between));
            }
            None => self.roots.extend(ca.issuing),
        }
    }
}

/// A certificate to verify, with the others of its file.
#[derive(Debug)]
pub struct CertificateOfFile {
    /// The certificate to verify.
    pub certificate: Certificate,
    /// The others, as intermediate ones.
    pub between: Vec<Certificate>,
}

impl CertificateOfFile {
    /// Chooses the certificate of the key that the file holds; without such a one, the first. `None` if
    /// there are no certificates.
    pub fn choose(mut certificates: Vec<Certificate>, key: Option<&PublicKey>) -> Option<Self> {
        let of_key = key.and_then(|key| {
            certificates.iter().position(|certificate| certificate.public_key_info() == key.info())
        });
        if certificates.is_empty() {
            return None;
        }
        let certificate = certificates.remove(of_key.unwrap_or(0));
        Some(Self { certificate, between: certificates })
    }

    /// The number of certificates beside the chosen one that are no CA's and have issued nothing here.
    pub fn count_unrelated(&self) -> usize {
        let all = || std::iter::once(&self.certificate).chain(&self.between);
        let has_issued = |one: &Certificate| all().any(|other| other.issuer() == one.subject());
        self.between.iter().filter(|one| !one.is_ca() && !has_issued(one)).count()
    }
}
