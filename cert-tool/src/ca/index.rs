//! The indexes of a CA folder: that of the issuing CA, and that of the root beside it.

use std::path::Path;

use super::root::root_and_issuing;
use super::{CertificateAuthority, Tier};
use crate::error::Error;
use crate::issued::index::{INDEX, IssuanceIndex};
use crate::issued::list;
use crate::x509::signed_by::signature_fault;

impl IssuanceIndex {
    /// Opens the index of one of the CAs in a folder, as [`Self::open_beside`] does. The root of a folder has books
    /// of its own, in which the issuing CA beside it is entered.
    pub fn open_books(ca: &Path, tier: Tier) -> Result<Self, Error> {
        if tier == Tier::Issuing {
            return Self::open_beside(ca);
        }
        let (root, issuing) = root_and_issuing(ca)?;
        let index = Self::open_with(&ca.join(ROOT_INDEX), None)?;
        if let Some(issuing) = issuing.filter(|issuing| signature_fault(issuing, &root).is_none()) {
            index.enter_subordinate(&issuing)?;
        }
        Ok(index)
    }

    /// Opens a CA's index to look things up and to revoke; another process may issue meanwhile. A CA
    /// that has not issued yet has an empty one.
    pub fn open_beside(ca: &Path) -> Result<Self, Error> {
        // A folder that is mistaken for a CA's, such as one with certificates, would get an index, and look like
        // one that has issued nothing.
        let may_be_new = CertificateAuthority::exists(ca) && !list::path_in(ca).exists();
        if !ca.join(INDEX).exists() && !may_be_new {
            return Err(Error::BadCa { path: ca.to_owned(), reason: "there is none".to_owned() });
        }
        Self::open_with(&ca.join(INDEX), None)
    }
}

/// The books of a root, which may share its folder with an issuing CA.
pub(super) const ROOT_INDEX: &str = "root.db";
