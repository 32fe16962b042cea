//! The certificates of a verification: those that are trusted, and those to verify.

use crate::ca::CaCertificates;
use crate::error::Error;
use crate::inspect::document::{Content, Documents};
use crate::keys::public::PublicKey;
use crate::secrets::source::SecretSource;
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

/// A certificate to verify, with what its file holds beside it.
#[derive(Debug)]
pub struct CertificateOfFile {
    /// The certificate to verify.
    pub certificate: Certificate,
    /// The other certificates, as intermediate ones.
    pub between: Vec<Certificate>,
    /// The public half of the private key, if there is one.
    pub key: Option<PublicKey>,
}

impl CertificateOfFile {
    /// Chooses the certificate of the private key that a file holds; without such a one, the first.
    ///
    /// # Errors
    /// A document that can't be read; no certificate, more than one private key, or more certificates than a
    /// chain has.
    pub fn read(documents: Documents, passwords: &SecretSource) -> Result<Self, Error> {
        let name = documents.name().to_owned();
        let (mut certificates, mut keys, mut other) = (Vec::new(), Vec::new(), None);
        for document in documents {
            let mut document = document?;
            document.unlock(&mut |asked_for| passwords.given(asked_for))?;
            match document.content {
                Content::Certificate(certificate) => certificates.push(certificate),
                Content::PrivateKey(key) => keys.push(key),
                Content::EncryptedKey(_) => {}
                content => other = Some(content.kind()),
            }
            if certificates.len() > LONGEST_CHAIN {
                return Err(Error::NoChain { path: name, limit: LONGEST_CHAIN });
            }
        }
        let not_a = |found| Error::NotA { path: name, wanted: "a certificate", found };
        if keys.len() > 1 {
            return Err(not_a(format!("a file with {} private keys", keys.len())));
        }
        let key = keys.pop();
        let of_key = key.as_ref().and_then(|key: &PublicKey| {
            certificates.iter().position(|certificate| certificate.public_key_info() == key.info())
        });
        if certificates.is_empty() {
            return Err(not_a(other.unwrap_or("a private key").to_owned()));
        }
        let certificate = certificates.remove(of_key.unwrap_or(0));
        Ok(Self { certificate, between: certificates, key })
    }

    /// The number of certificates beside the chosen one that are no CA's and have issued nothing here.
    pub fn count_unrelated(&self) -> usize {
        let all = || std::iter::once(&self.certificate).chain(&self.between);
        let has_issued = |one: &Certificate| all().any(|other| other.issuer() == one.subject());
        self.between.iter().filter(|one| !one.is_ca() && !has_issued(one)).count()
    }
}

/// The validator follows fewer than ten.
const LONGEST_CHAIN: usize = 100;
