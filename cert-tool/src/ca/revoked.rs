//! [`RevokedCertificates`]: what the books of CAs say against certificates, without a revocation list.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hub_types::Sha256Thumbprint;
use hub_types::shown::{ShownBare, ShownPath};

use super::CertificateAuthority;
use super::index::ROOT_INDEX;
use crate::encoding::time::rfc3339;
use crate::error::{Error, shell_word};
use crate::issued::index::revocation::Revocation;
use crate::issued::index::{INDEX, IssuanceIndex};
use crate::issued::list::IssuedList;
use crate::x509::certificate::{Certificate, read_certificates};

/// The certificates that are revoked or on hold, as the books of some CAs say. Nobody has to publish a
/// revocation list first.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// use cert_tool::RevokedCertificates;
///
/// let mut revoked = RevokedCertificates::default();
/// revoked.add_ca(ca.folder())?;
/// assert!(revoked.revocation(&ca.issuing_certificate().sha256()).is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct RevokedCertificates {
    by_thumbprint: HashMap<Sha256Thumbprint, (Revocation, Books)>,
}

/// The CA whose books have a certificate.
#[derive(Debug, Clone)]
struct Books {
    folder: PathBuf,
    is_root: bool,
}

impl RevokedCertificates {
    /// Reads the books of the CAs in a folder, if there are any. It writes nothing.
    pub fn add_ca(&mut self, folder: &Path) -> Result<(), Error> {
        self.add(Books { folder: folder.to_owned(), is_root: false })?;
        self.add(Books { folder: folder.to_owned(), is_root: true })
    }

    fn add(&mut self, books: Books) -> Result<(), Error> {
        let path = books.folder.join(if books.is_root { ROOT_INDEX } else { INDEX });
        let Some(index) = IssuanceIndex::open_file_to_read(path)? else { return Ok(()) };
        for (sha256, revocation) in index.revocations()? {
            self.by_thumbprint.insert(sha256, (revocation, books.clone()));
        }
        Ok(())
    }

    /// The revocation of the certificate with a thumbprint.
    pub fn revocation(&self, sha256: &Sha256Thumbprint) -> Option<Revocation> {
        self.by_thumbprint.get(sha256).map(|(revocation, _)| *revocation)
    }

    /// Refuses a list of certificates whose CA, or one above it, is revoked or on hold: nobody accepts what it has
    /// issued.
    pub fn check_issuers(&self, list: &IssuedList) -> Result<(), Error> {
        let path = list.issuing_certificate_path();
        let chain = read_certificates(&path)?;
        match chain.iter().find_map(|ca| Some(format!("`{}`: {}", ShownBare(ca.subject()), self.fault(ca)?)))
        {
            None => Ok(()),
            Some(reason) => Err(Error::BadCa { path, reason }),
        }
    }

    /// Says that a certificate is revoked or on hold, and what ends a hold.
    pub(crate) fn fault(&self, certificate: &Certificate) -> Option<String> {
        let (revocation, books) = self.by_thumbprint.get(&certificate.sha256())?;
        let (since, folder) = (rfc3339(revocation.at), ShownPath(&books.folder));
        if !revocation.is_hold() {
            return Some(format!("it was revoked on {since}, as the books in `{folder}` say"));
        }
        let root = if books.is_root { " --root" } else { "" };
        Some(format!(
            "it is on hold (certificateHold) since {since}, as the books in `{folder}` say; `cert-tool revoke --ca \
             {}{root} --serial {} --release` releases it",
            shell_word(&folder.to_string()),
            certificate.serial()
        ))
    }

    /// The same of an issuer, with its name.
    pub(crate) fn fault_of_issuer(&self, issuer: &Certificate) -> Option<String> {
        Some(format!("its issuer `{}`: {}", ShownBare(issuer.subject()), self.fault(issuer)?))
    }
}

impl CertificateAuthority {
    /// Refuses a CA whose own certificate is revoked or on hold in the books of the root beside it: nobody
    /// would accept what it issues once the root's list is published.
    pub(crate) fn check_is_not_revoked(&self) -> Result<(), Error> {
        check_is_not_revoked(&self.folder, &self.issuing)
    }
}

/// Refuses the CA with a certificate that is revoked or on hold in the books of the root in its folder.
pub(super) fn check_is_not_revoked(folder: &Path, certificate: &Certificate) -> Result<(), Error> {
    let mut revoked = RevokedCertificates::default();
    revoked.add(Books { folder: folder.to_owned(), is_root: true })?;
    match revoked.fault(certificate) {
        None => Ok(()),
        Some(reason) => {
            Err(Error::BadCa { path: folder.to_owned(), reason: format!("its certificate: {reason}") })
        }
    }
}
