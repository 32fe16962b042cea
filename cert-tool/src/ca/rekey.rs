//! A new CA in the place of an old one: new keys, a new name, and cross-certificates in both directions.

use std::path::Path;

use hub_types::shown::ShownBare;
use time::OffsetDateTime;
use x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS;

use super::folder::{self, CHAIN, ISSUING_CERTIFICATE, ROOT_KEY, Staging};
use super::init::{self, CaOptions, root_name};
use super::limits::path_length;
use super::parent::ParentCa;
use crate::error::Error;
use crate::platform::fs;
use crate::policy;
use crate::policy::{Policy, Tier};
use crate::profile::rest_of_subject;
use crate::secrets::secret::AskSecret;
use crate::x509::certificate::{Certificate, read_certificate};
use crate::x509::signed_by::signature_fault;

/// Makes a root and an issuing CA in a new folder that take the place of those in an old one. A folder with a root
/// only gets a root only. The path lengths, the policy and the profiles stay; the addresses of lists and certificates
/// are those of `options`. A CA with name constraints is refused. Where `options` has no name, it is the old one with its generation: `Plant 7` becomes `Plant 7 G2`.
///
/// The new root's key is also certified by the old root (`new-by-old.pem`, and in the chain that devices present):
/// whoever still trusts the old root takes the new CA's certificates. The old root's key is certified by the new one
/// (`old-by-new.pem`): whoever trusts the new root alone takes the old CA's certificates, if devices present it. So
/// devices and those who trust them may change in any order. The CA appears only when all of it is there. After a
/// process that was killed, the same call begins anew or completes the rest.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cert_tool::{CaOptions, CertificateAuthority, rekey_ca};
///
/// # let temporary = tempfile::tempdir()?;
/// # let (old, new) = (temporary.path().join("old"), temporary.path().join("new"));
/// # let now = time::OffsetDateTime::now_utc();
/// CertificateAuthority::init(&old, &CaOptions::default(), now)?;
/// rekey_ca(&old, &new, None, &CaOptions::default(), now, &mut |_| Ok(None))?;
/// let new = CertificateAuthority::open(&new)?;
/// assert_eq!(new.issuing_certificate().common_name(), Some("Factory G2 Issuing CA"));
/// assert_eq!(new.chain().count(), 2);
/// # Ok(())
/// # }
/// ```
pub fn rekey_ca(
    old: &Path,
    new: &Path,
    name: Option<&str>,
    options: &CaOptions,
    now: OffsetDateTime,
    ask: &mut AskSecret<'_>,
) -> Result<(), Error> {
    let old = OldCa::open(old, ask)?;
    if old.enter_earlier(new)? {
        return Ok(());
    }
    let staging = Staging::begin_new(new)?;
    let folder = &staging.place();
    let options = old.options_of_new(name, options)?;
    old.check_no_name_constraints()?;
    old.check_path_length()?;
    let made = old.make_new(folder, &options, now, ask);
    let new_by_old = made.map_err(|error| error.with_path_moved(folder, new))?;
    staging.finish()?;
    // The last step: the books do not name a CA that is nowhere, whenever the process is killed or the disk is full.
    old.root.index()?.enter_subordinate(&new_by_old).map(drop)
}

/// The CA that gets a successor.
struct OldCa<'a> {
    folder: &'a Path,
    root: ParentCa,
    /// The certificate of its issuing CA, if it has one.
    issuing: Option<Certificate>,
}

impl<'a> OldCa<'a> {
    /// Opens a CA. The key of its root must be in its folder.
    fn open(folder: &'a Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        if !ROOT_KEY.is_in(folder) {
            let reason = "the key of its root is elsewhere; rekey the root where its key is, or give this CA alone a \
                          new key below the same CA: make a request in a new folder (`cert-tool ca csr NEW_DIR \
                          --name NAME`), sign it where the key of the CA above is (`cert-tool ca sign \
                          NEW_DIR/issuing.csr --ca ROOT --out NEW.pem`), and import the certificate (`cert-tool ca \
                          import NEW_DIR --certificate NEW.pem`)";
            return Err(Error::BadCa { path: folder.to_owned(), reason: reason.to_owned() });
        }
        let root = ParentCa::open_with(folder, Tier::Root, ask)?;
        let issuing = match Tier::of(folder) {
            Tier::Root => None,
            Tier::Issuing => Some(read_certificate(&folder.join(ISSUING_CERTIFICATE))?),
        };
        Ok(Self { folder, root, issuing })
    }

    fn bad(&self, reason: String) -> Error {
        Error::BadCa { path: self.folder.to_owned(), reason }
    }

    /// Enters the cross-certificate of an earlier run that was killed before it had done so. Answers whether there is
    /// such a run, which is complete then.
    fn enter_earlier(&self, new: &Path) -> Result<bool, Error> {
        folder::recover(new)?;
        let path = new.join(NEW_BY_OLD);
        if !fs::is_present(&path)? {
            return Ok(false);
        }
        let new_by_old = read_certificate(&path)?;
        Ok(signature_fault(&new_by_old, self.root.certificate()).is_none()
            && self.root.index()?.enter_subordinate(&new_by_old)?)
    }

    /// Completes the options of the new CA with what it takes from this one: the subject and the path lengths.
    fn options_of_new(&self, name: Option<&str>, options: &CaOptions) -> Result<CaOptions, Error> {
        let root = self.root.certificate();
        let name = self.name_of_new(name)?;
        let subject = match &options.subject {
            Some(subject) => Some(subject.clone()),
            None => rest_of_subject(root.subject())?,
        };
        Ok(CaOptions {
            name,
            subject,
            root_path_length: path_length(root),
            issuing_path_length: self.issuing.as_ref().and_then(path_length).unwrap_or_default(),
            ..options.clone()
        })
    }

    /// Returns the name that was given, or that of this CA with its generation. The root's name must be new.
    fn name_of_new(&self, name: Option<&str>) -> Result<String, Error> {
        let root = self.root.certificate();
        let name = match name {
            Some(name) => name.to_owned(),
            None => next_generation(root.common_name().ok_or_else(|| {
                let subject = ShownBare(root.subject());
                self.bad(format!(
                    "the root `{subject}` has no common name to make the new one of; give it (--name)"
                ))
            })?),
        };
        if root.common_name() == Some(root_name(&name).as_str()) {
            let reason =
                format!("its root has the name `{name}` too; a CA with a new key needs a new name (--name)");
            return Err(self.bad(reason));
        }
        Ok(name)
    }

    fn check_no_name_constraints(&self) -> Result<(), Error> {
        let mut cas = std::iter::once(self.root.certificate()).chain(&self.issuing);
        let Some(ca) = cas.find(|ca| has_name_constraints(ca)) else { return Ok(()) };
        let name = ShownBare(ca.subject());
        Err(self.bad(format!(
            "`{name}` has name constraints, which the new CA would not have; make the new CA with `cert-tool ca init \
             NEW_ROOT --root-only --name NAME`, `cert-tool ca csr NEW_DIR --name NAME` and `cert-tool ca sign \
             NEW_DIR/issuing.csr --ca NEW_ROOT --permit LIMIT --out NEW.pem`, and cross-sign the roots (`cert-tool \
             ca cross-sign NEW_ROOT/root.pem --ca ROOT --out CROSS.pem`)"
        )))
    }

    /// Refuses a root that may have one CA below it at most: a cross-certificate is one more.
    fn check_path_length(&self) -> Result<(), Error> {
        let Some(length) = self.root.certificate().path_length().filter(|length| *length < 2) else {
            return Ok(());
        };
        Err(self.bad(format!(
            "its path length is {length}, too low for a cross-certificate between it and a new root with a CA below; \
             make the new root by itself (`cert-tool ca init NEW_DIR --root-only --name NAME`), and have both roots \
             trusted until all devices have certificates of the new one"
        )))
    }

    /// Makes all of the new CA in a folder, and returns the new root's certificate from the old one.
    fn make_new(
        &self,
        folder: &Path,
        options: &CaOptions,
        now: OffsetDateTime,
        ask: &mut AskSecret<'_>,
    ) -> Result<Certificate, Error> {
        let new_root = self.init_new(folder, options, now, ask)?;
        self.copy_policy(folder, options)?;
        self.cross_sign(&new_root, folder, now)
    }

    /// Makes the new CA in a folder and opens its root.
    fn init_new(
        &self,
        folder: &Path,
        options: &CaOptions,
        now: OffsetDateTime,
        ask: &mut AskSecret<'_>,
    ) -> Result<ParentCa, Error> {
        if self.issuing.is_none() {
            return ParentCa::init_root(folder, options, now, ask);
        }
        init::init(folder, options, now, ask)?;
        ParentCa::open_with(folder, Tier::Root, &mut |_| Ok(options.passphrase.clone()))
    }

    /// Copies the policy and the profiles. The addresses of this CA's lists and certificates are not the new one's,
    /// which has its own or none (RFC 5280 §4.2.1.13, §4.2.2.1).
    fn copy_policy(&self, folder: &Path, options: &CaOptions) -> Result<(), Error> {
        for file in policy::FILES {
            let (from, to) = (self.folder.join(file), folder.join(file));
            if fs::is_present(&from)? {
                std::fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
            }
        }
        let policy = Policy::read(self.folder)?;
        let new = policy
            .clone()
            .with_publication(Tier::Root, options.root_publication.clone())
            .with_publication(Tier::Issuing, options.issuing_publication.clone());
        if [Tier::Root, Tier::Issuing].iter().all(|tier| policy.publication(*tier) == new.publication(*tier))
        {
            return Ok(());
        }
        new.write(folder)
    }

    /// Certifies each root's key by the other root, and returns the new root's certificate from the old one.
    fn cross_sign(
        &self,
        new_root: &ParentCa,
        folder: &Path,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let old_by_new = new_root.cross_sign(self.root.certificate(), u32::MAX, now)?;
        folder::write_certificates(&folder.join(OLD_BY_NEW), [&old_by_new])?;
        let new_by_old = self.root.cross_certificate(new_root.certificate(), u32::MAX, now)?;
        folder::write_certificates(&folder.join(NEW_BY_OLD), [&new_by_old])?;
        if self.issuing.is_some() {
            folder::write_certificates(&folder.join(CHAIN), [&new_by_old])?;
        }
        Ok(new_by_old)
    }
}

fn has_name_constraints(ca: &Certificate) -> bool {
    ca.parsed().extensions().iter().any(|one| one.oid == OID_X509_EXT_NAME_CONSTRAINTS)
}

/// The first part of the CAs' names, one generation on.
fn next_generation(common_name: &str) -> String {
    let base = common_name.trim_end_matches("Root CA").trim_end();
    let generation =
        base.rsplit_once(" G").and_then(|(name, digits)| Some((name, digits.parse::<u32>().ok()?)));
    match generation {
        Some((name, generation)) => format!("{name} G{}", generation.saturating_add(1)),
        None => format!("{base} G2"),
    }
}

/// The new root's key, certified by the old root.
const NEW_BY_OLD: &str = "new-by-old.pem";
/// The old root's key, certified by the new root.
const OLD_BY_NEW: &str = "old-by-new.pem";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_counted() {
        for (old, new) in [
            ("Plant 7 Root CA", "Plant 7 G2"),
            ("Plant 7 G2 Root CA", "Plant 7 G3"),
            ("Acme Device Root", "Acme Device Root G2"),
            ("BIG Root CA", "BIG G2"),
        ] {
            assert_eq!(next_generation(old), new);
        }
    }
}
