//! A CA that others made, or whose certificate comes from a root elsewhere.

use std::path::Path;
use std::sync::Arc;

use hub_types::shown::ShownBare;
use time::OffsetDateTime;

use super::folder::{self, CHAIN, ISSUING_CERTIFICATE, ISSUING_KEY, ROOT_CERTIFICATE, Staging};
use super::limits::{Limits, path_length};
use super::renew::keep_earlier;
use super::{CertificateAuthority, import_check};
use crate::error::Error;
use crate::issued::index::{INDEX, IssuanceIndex, Lookup, SubordinateCa};
use crate::keys::handle::KeyHandle;
use crate::keys::pkcs11::{TokenKey, TokenUri};
use crate::keys::private::PrivateKey;
use crate::platform::fs;
use crate::secrets::secret::{AskSecret, Secret};
use crate::x509::certificate::{Certificate, read_certificate};
use crate::x509::name;
use crate::x509::signed_by::{SignatureFault, signature_fault};

/// The certificates and the key of an existing CA that is imported.
#[derive(Debug, Default)]
pub struct ImportedCa {
    /// Its certificate, then those above it in their order; the root may be missing.
    pub certificates: Vec<Certificate>,
    /// Its private key; without, it must be in the folder, where [`request_ca`](crate::request_ca) put it.
    pub key: Option<PrivateKey>,
    /// The token that has its private key, if one does.
    pub token: Option<TokenUri>,
    /// The passphrase that encrypts the copy of the key.
    pub passphrase: Option<Secret>,
}

/// Takes over a CA into a folder, when all of it belongs together: the key to the certificate, and each
/// certificate to the one above it. Its name is used in what it issues byte for byte. A certificate that it would
/// issue is judged first, as [`verify_certificate`](crate::verify_certificate) does: where it would be refused, so is
/// the CA; what depends on the names in certificates is returned as warnings. Where the folder has the CA already,
/// with the same name and key, this is its renewed certificate: what it limits otherwise is among the warnings, and one
/// whose path length cuts off the CAs that it has signed is refused.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// use cert_tool::{ImportedCa, PrivateKey, import_ca, read_certificates};
///
/// let certificates = read_certificates(&ca.folder().join("issuing.pem"))?;
/// let key = Some(PrivateKey::read(&ca.folder().join("issuing.key"))?);
/// let copy = ImportedCa { certificates, key, token: None, passphrase: None };
/// let (copy, warnings) = import_ca(&temporary.path().join("copy"), copy, now, &mut |_| Ok(None))?;
/// assert!(warnings.is_empty());
/// assert_eq!(copy.issuing_certificate(), ca.issuing_certificate());
/// # Ok(())
/// # }
/// ```
pub fn import_ca(
    folder: &Path,
    ca: ImportedCa,
    now: OffsetDateTime,
    ask: &mut AskSecret<'_>,
) -> Result<(CertificateAuthority, Vec<String>), Error> {
    let bad = |reason: String| Error::BadCa { path: folder.to_owned(), reason };
    let ImportedCa { certificates, key, token, passphrase } = ca;
    let issuing = certificates.first().ok_or_else(|| bad("it has no certificate".to_owned()))?;
    let present = folder.join(ISSUING_CERTIFICATE);
    let is_renewal = present.exists();
    let changes = match is_renewal {
        true => check_is_renewed(folder, issuing, key.is_some() || token.is_some(), now)?,
        false => Vec::new(),
    };
    check_chain(&certificates).map_err(bad)?;
    let imported = key.map(Arc::new);
    let handle: Box<dyn KeyHandle> = match (&imported, &token) {
        (Some(key), _) => Box::new(Arc::clone(key)),
        (None, Some(uri)) => Box::new(TokenKey::open(uri, ask)?),
        (None, None) => ISSUING_KEY.open(folder, ask)?,
    };
    folder::check_is_ca_for(issuing, handle.as_ref()).map_err(|reason| bad(reason.to_owned()))?;
    folder::check_is_strong(issuing).map_err(bad)?;
    let mut warnings = import_check::check(folder, &certificates, handle, now)?;
    warnings.extend(changes);
    // Nothing was written until here.
    if is_renewal {
        write_certificates(folder, folder, &certificates, is_renewal)?;
    } else {
        let own = [ISSUING_CERTIFICATE, ISSUING_KEY.key, ISSUING_KEY.token];
        let has_key = imported.is_some() || token.is_some();
        let staging = Staging::begin(folder, if has_key { &own } else { &[ISSUING_CERTIFICATE] })?;
        let place = staging.place();
        match (imported, &token) {
            (Some(key), _) => key.write_new_with(&place.join(ISSUING_KEY.key), passphrase.as_ref())?,
            (None, Some(uri)) => ISSUING_KEY.write_token_uri(&place, uri)?,
            (None, None) => {}
        }
        write_certificates(folder, &place, &certificates, is_renewal)?;
        staging.finish()?;
    }
    let ca = CertificateAuthority::open_with(folder, &mut |asked_for| match &passphrase {
        Some(passphrase) => Ok(Some(passphrase.clone())),
        None => ask(asked_for),
    })?;
    Ok((ca, warnings))
}

/// Writes the CA's certificate and those above it to a place, the folder itself or one within it. Those of a renewed CA take the places of the earlier ones.
fn write_certificates(
    folder: &Path,
    place: &Path,
    certificates: &[Certificate],
    is_renewal: bool,
) -> Result<(), Error> {
    let (Some(issuing), above) = (certificates.first(), certificates.get(1..).unwrap_or_default()) else {
        return Ok(());
    };
    let (between, root) = match certificates.split_last() {
        Some((root, _)) if is_self_signed(root) => {
            (above.split_last().map_or(above, |(_, between)| between), Some(root))
        }
        _ => (above, None),
    };
    if is_renewal {
        let earlier = read_certificate(&folder.join(ISSUING_CERTIFICATE))?;
        keep_earlier(folder, ISSUING_CERTIFICATE, &earlier)?;
    }
    let root_file = folder.join(ROOT_CERTIFICATE);
    if let Some(root) = root.filter(|_| is_renewal || !root_file.exists()) {
        fs::replace_private(&place.join(ROOT_CERTIFICATE), root.to_pem().as_bytes())?;
    }
    let chain = folder.join(CHAIN);
    if !between.is_empty() || (is_renewal && root.is_some() && chain.exists()) {
        let text: String = between.iter().map(Certificate::to_pem).collect();
        fs::replace_private(&place.join(CHAIN), text.as_bytes())?;
    }
    // The last one: a CA without it does not exist yet.
    fs::replace_private(&place.join(ISSUING_CERTIFICATE), issuing.to_pem().as_bytes())?;
    fs::sync_folder(place)
}

/// Refuses a certificate for the CA that is in the folder already, unless it is a new one of the same CA. Names the
/// limits that change.
fn check_is_renewed(
    folder: &Path,
    issuing: &Certificate,
    has_key: bool,
    now: OffsetDateTime,
) -> Result<Vec<String>, Error> {
    let path = folder.join(ISSUING_CERTIFICATE);
    let present = read_certificate(&path)?;
    if present.der() == issuing.der() {
        let reason =
            "it has this certificate already; import the certificate that the CA above made of `issuing.csr`";
        return Err(Error::BadCa { path: folder.to_owned(), reason: reason.to_owned() });
    }
    if has_key {
        return Err(Error::AlreadyExists { path });
    }
    if present.is_same_ca(issuing) {
        check_cas_below(folder, issuing, now)?;
        return Ok(Limits::of(&present)?.changes_in(&Limits::of(issuing)?));
    }
    let (name, other) = (ShownBare(issuing.subject()), ShownBare(present.subject()));
    let reason = if issuing.public_key_info() == present.public_key_info() {
        format!("the new certificate is for `{name}`, the CA is `{other}`; a renewed CA keeps its name")
    } else if issuing.subject() == present.subject() {
        format!(
            "the new certificate of `{name}` is for another key than the CA has; a CA with a new key needs a new \
             name and a folder of its own (`cert-tool ca rekey OLD_DIR NEW_DIR`)"
        )
    } else {
        format!("it has the CA `{other}`; `{name}` needs a folder of its own")
    };
    Err(Error::BadCa { path: folder.to_owned(), reason })
}

/// Refuses a path length that leaves no place for a CA that this one has signed.
fn check_cas_below(folder: &Path, issuing: &Certificate, now: OffsetDateTime) -> Result<(), Error> {
    let Some(allowed) = path_length(issuing) else { return Ok(()) };
    if !folder.join(INDEX).exists() {
        return Ok(());
    }
    let index = IssuanceIndex::open_beside(folder)?;
    let is_below = |ca: &SubordinateCa| {
        ca.is_current
            && !ca.is_revoked_for_good()
            && ca.certificate.not_after() > now
            && !ca.certificate.is_same_ca(issuing)
    };
    for ca in index.subordinates(&Lookup::All)?.into_iter().filter(is_below) {
        let length = path_length(&ca.certificate);
        let needed = length.unwrap_or_default().saturating_add(1);
        if allowed < needed {
            let reason = format!(
                "the path length of the new certificate is {allowed}, so that the certificates below `{}`, which it \
                 has signed with path length {}, would be refused; ask for a certificate with that path \
                 length (`cert-tool ca sign REQUEST.csr --ca ROOT --keep-subject --path-length {needed} --out NEW.pem`)",
                ShownBare(ca.certificate.subject()),
                length.map_or_else(|| "none".to_owned(), |length| length.to_string()),
            );
            return Err(Error::BadCa { path: folder.to_owned(), reason });
        }
    }
    Ok(())
}

/// Each must be signed by the next.
fn check_chain(certificates: &[Certificate]) -> Result<(), String> {
    for pair in certificates.windows(2) {
        let [below, above] = pair else { continue };
        let (lower, upper) = (below.parsed(), above.parsed());
        let (lower_name, upper_name) = (ShownBare(below.subject()), ShownBare(above.subject()));
        if !name::is_equal(lower.issuer(), upper.subject()) {
            let issuer = ShownBare(below.issuer());
            return Err(format!(
                "the issuer of `{lower_name}` is `{issuer}`, not `{upper_name}`; the chain goes from the CA up to its root"
            ));
        }
        if !upper.is_ca() {
            return Err(format!("`{upper_name}`, which stands above `{lower_name}`, is not a CA"));
        }
        match signature_fault(below, above) {
            None => {}
            Some(SignatureFault::NotVerified(text)) => return Err(ShownBare(&text).to_string()),
            Some(SignatureFault::OtherKey) => {
                return Err(format!(
                    "`{upper_name}` has not signed `{lower_name}`: it has the issuer's name, but a different key"
                ));
            }
        }
    }
    Ok(())
}

fn is_self_signed(certificate: &Certificate) -> bool {
    let parsed = certificate.parsed();
    parsed.subject().as_raw() == parsed.issuer().as_raw() && parsed.verify_signature(None).is_ok()
}
