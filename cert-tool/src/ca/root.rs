//! New root CAs. The folder of one may be on a machine that has no network.

use std::path::Path;

use time::OffsetDateTime;

use super::folder::{self, ISSUING_CERTIFICATE, ROOT_CERTIFICATE, ROOT_FILES, ROOT_KEY, Staging};
use super::init::{CaOptions, check_name, check_purpose, root_name, subject, write_publication};
use super::parent::{CaPurpose, ParentCa};
use super::validity::validity;
use crate::error::Error;
use crate::keys::pkcs11::TokenUri;
use crate::platform::fs;
use crate::policy::Tier;
use crate::secrets::secret::AskSecret;
use crate::x509::certificate::{Certificate, read_certificate};
use crate::x509::encoder::{CaSubject, CaTerms, Serial, self_sign_root};

impl ParentCa {
    /// Makes a root CA, and no issuing CA, in a folder; nothing in it is overwritten.
    pub fn init_root(
        folder: &Path,
        options: &CaOptions,
        now: OffsetDateTime,
        ask: &mut AskSecret<'_>,
    ) -> Result<Self, Error> {
        check_name(folder, &options.name)?;
        subject(options, &root_name(&options.name))?;
        check_purpose(folder, options)?;
        validity(options.root_days, now)?;
        let staging = Staging::begin(folder, &ROOT_FILES)?;
        let place = staging.place();
        write_publication(folder, &place, options)?;
        let root = Self::create_root(&place, options, options.token.as_ref(), now, ask)?;
        staging.finish()?;
        Ok(root.moved_to(folder))
    }

    /// Makes a root CA in a folder that is ready for it.
    pub(super) fn create_root(
        folder: &Path,
        options: &CaOptions,
        token: Option<&TokenUri>,
        now: OffsetDateTime,
        ask: &mut AskSecret<'_>,
    ) -> Result<Self, Error> {
        let validity = validity(options.root_days, now)?;
        let key = ROOT_KEY.create(folder, options, token, ask)?;
        let subject = subject(options, &root_name(&options.name))?;
        let is_for_azure = options.purpose == CaPurpose::AzureDeviceRegistry;
        let terms = CaTerms {
            path_length: if is_for_azure { Some(1) } else { options.root_path_length },
            has_digital_signature: is_for_azure,
            ..CaTerms::default()
        };
        let der =
            self_sign_root(CaSubject::Encoded(&subject), key.as_ref(), &terms, Serial::random()?, validity)?;
        let certificate = Certificate::from_der(&der).ok_or(Error::Crypto("encoding a certificate"))?;
        folder::write_certificates(&folder.join(ROOT_CERTIFICATE), [&certificate])?;
        Self::new(folder, Tier::Root, certificate, key)
    }
}

/// The certificates of the root in a folder and of the issuing CA beside it, if there is one.
pub(super) fn root_and_issuing(folder: &Path) -> Result<(Certificate, Option<Certificate>), Error> {
    let (root, issuing) = (folder.join(ROOT_CERTIFICATE), folder.join(ISSUING_CERTIFICATE));
    if !fs::is_present(&root)? {
        let reason = "there is no root in it (`root.pem`)".to_owned();
        return Err(Error::BadCa { path: folder.to_owned(), reason });
    }
    Ok((read_certificate(&root)?, fs::is_present(&issuing)?.then(|| read_certificate(&issuing)).transpose()?))
}
