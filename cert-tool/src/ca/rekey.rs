//! A new CA in the place of an old one: new keys, a new name, and cross-certificates in both directions.

use std::path::Path;

use hub_types::shown::ShownBare;
use time::OffsetDateTime;
use x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::folder::{self, CHAIN, ISSUING_CERTIFICATE, ROOT_KEY, Staging};
use super::init::{self, CaOptions, root_name};
use super::parent::ParentCa;
use crate::error::Error;
use crate::policy;
use crate::policy::Tier;
use crate::profile::rest_of_subject;
use crate::secrets::secret::AskSecret;
use crate::x509::certificate::{Certificate, read_certificate};
use crate::x509::signed_by::signature_fault;

/// Makes a root and an issuing CA in a new folder that take the place of those in an old one. A folder with a root
/// only gets a root only. The path lengths stay; a CA with name constraints is refused. Where `options` has no name, it is the old one with its generation: `Plant 7` becomes `Plant 7 G2`.
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
    let bad = |reason: String| Error::BadCa { path: old.to_owned(), reason };
    if !ROOT_KEY.is_in(old) {
        let reason = "the key of its root is elsewhere; rekey the root where its key is, or give this CA alone a \
                      new key below the same CA: make a request in a new folder (`cert-tool ca csr`), sign it \
                      where the key of the CA above is (`cert-tool ca sign`), and import the certificate \
                      (`cert-tool ca import`)";
        return Err(bad(reason.to_owned()));
    }
    let old_root = ParentCa::open_with(old, Tier::Root, ask)?;
    if enter_earlier(&old_root, new)? {
        return Ok(());
    }
    let staging = Staging::begin_new(new)?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => next_generation(old_root.certificate().common_name().ok_or_else(|| {
            let subject = ShownBare(old_root.certificate().subject());
            bad(format!("the root `{subject}` has no common name to make the new one of; give it (--name)"))
        })?),
    };
    if old_root.certificate().common_name() == Some(root_name(&name).as_str()) {
        let reason =
            format!("its root has the name `{name}` too; a CA with a new key needs a new name (--name)");
        return Err(bad(reason));
    }
    let subject = match &options.subject {
        Some(subject) => Some(subject.clone()),
        None => rest_of_subject(old_root.certificate().subject())?,
    };
    let old_issuing = match Tier::of(old) {
        Tier::Root => None,
        Tier::Issuing => Some(read_certificate(&old.join(ISSUING_CERTIFICATE))?),
    };
    for ca in std::iter::once(old_root.certificate()).chain(&old_issuing) {
        if has_name_constraints(ca) {
            let name = ShownBare(ca.subject());
            let reason = format!(
                "`{name}` has name constraints, which the new CA would not have; make the new CA with `cert-tool ca \
                 init --root-only`, `ca csr` and `ca sign --permit`, and cross-sign the roots (`ca cross-sign`)"
            );
            return Err(bad(reason));
        }
    }
    let options = CaOptions {
        name,
        subject,
        root_path_length: path_length(old_root.certificate()),
        issuing_path_length: old_issuing.as_ref().and_then(path_length).unwrap_or_default(),
        ..options.clone()
    };
    let folder = &staging.place();
    let new_root = match old_issuing {
        None => ParentCa::init_root(folder, &options, now, ask)?,
        Some(_) => {
            init::init(folder, &options, now, ask)?;
            ParentCa::open_with(folder, Tier::Root, &mut |_| Ok(options.passphrase.clone()))?
        }
    };
    for file in policy::FILES {
        let (from, to) = (old.join(file), folder.join(file));
        if from.exists() {
            std::fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
        }
    }
    let old_by_new = new_root.cross_sign(old_root.certificate(), u32::MAX, now)?;
    folder::write_certificates(&folder.join(OLD_BY_NEW), [&old_by_new])?;
    let new_by_old = old_root.cross_certificate(new_root.certificate(), u32::MAX, now)?;
    folder::write_certificates(&folder.join(NEW_BY_OLD), [&new_by_old])?;
    if old_issuing.is_some() {
        folder::write_certificates(&folder.join(CHAIN), [&new_by_old])?;
    }
    drop(new_root);
    staging.finish()?;
    // The last step: the books do not name a CA that is nowhere, whenever the process is killed or the disk is full.
    old_root.index()?.enter_subordinate(&new_by_old).map(drop)
}

/// Enters the cross-certificate of an earlier run that was killed before it had done so. Answers whether there is such
/// a run, which is complete then.
fn enter_earlier(old_root: &ParentCa, new: &Path) -> Result<bool, Error> {
    folder::recover(new)?;
    let path = new.join(NEW_BY_OLD);
    if !path.exists() {
        return Ok(false);
    }
    let new_by_old = read_certificate(&path)?;
    Ok(signature_fault(&new_by_old, old_root.certificate()).is_none()
        && old_root.index()?.enter_subordinate(&new_by_old)?)
}

/// The number of CAs that may stand below a CA; no certificate of this program has more than 255.
fn path_length(ca: &Certificate) -> Option<u8> {
    ca.path_length().map(|length| u8::try_from(length).unwrap_or(u8::MAX))
}

fn has_name_constraints(ca: &Certificate) -> bool {
    X509Certificate::from_der(ca.der()).is_ok_and(|(_, parsed)| {
        parsed.extensions().iter().any(|one| one.oid == OID_X509_EXT_NAME_CONSTRAINTS)
    })
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
