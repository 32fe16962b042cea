//! Renewal of a CA: a new certificate for the key and the name that it has.

use std::path::{Path, PathBuf};

use hub_types::shown::ShownBare;
use time::OffsetDateTime;

use super::folder::{self, ISSUING_CERTIFICATE, ISSUING_KEY, ISSUING_REQUEST, ROOT_CERTIFICATE, ROOT_KEY};
use super::parent::ParentCa;
use super::validity::{check_clock, end_after};
use crate::encoding::pem;
use crate::error::Error;
use crate::platform::fs;
use crate::policy::Tier;
use crate::secrets::secret::AskSecret;
use crate::x509::certificate::{Certificate, read_certificate};
use crate::x509::damage::damaged_extension;
use crate::x509::encoder::encode_request_again;
use crate::x509::signed_by::signature_fault;

/// The outcome of a renewal.
#[derive(Debug)]
pub enum RenewedCa {
    /// The CA has its new certificate.
    Signed {
        /// The new certificate.
        certificate: Box<Certificate>,
        /// The file that has the earlier one.
        earlier: PathBuf,
    },
    /// The root is elsewhere: a request for it is in the file.
    Requested {
        /// The file.
        request: PathBuf,
    },
}

/// Renews a CA of a folder with its key and its name, for so many days from now; by default a root for as many as
/// its certificate was made for, an issuing CA for 3650. Everything that it has issued stays
/// good, and the certificates that devices present with their own may be the earlier or the new one. Where the key of
/// the root is not in the folder, a request for it is written instead; [`import_ca`](crate::import_ca) takes the
/// answer.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cert_tool::{CaOptions, CertificateAuthority, RenewedCa, Tier, renew_ca};
///
/// # let temporary = tempfile::tempdir()?;
/// # let folder = temporary.path().join("ca");
/// # let now = time::OffsetDateTime::now_utc();
/// let options = CaOptions { issuing_days: 30, ..CaOptions::default() };
/// let ca = CertificateAuthority::init(&folder, &options, now)?;
/// let renewed = renew_ca(&folder, Tier::Issuing, Some(365), now, &mut |_| Ok(None))?;
/// let RenewedCa::Signed { certificate, .. } = renewed else { return Err("the root is elsewhere".into()) };
/// assert_eq!(certificate.public_key_info(), ca.issuing_certificate().public_key_info());
/// # Ok(())
/// # }
/// ```
pub fn renew_ca(
    folder: &Path,
    tier: Tier,
    days: Option<u32>,
    now: OffsetDateTime,
    ask: &mut AskSecret<'_>,
) -> Result<RenewedCa, Error> {
    check_clock(now)?;
    fs::check_is_private(folder)?;
    let file = match tier {
        Tier::Root => ROOT_CERTIFICATE,
        Tier::Issuing => ISSUING_CERTIFICATE,
    };
    let current = read_certificate(&folder.join(file))?;
    let has_root_key = [ROOT_KEY.key, ROOT_KEY.token].iter().any(|key| folder.join(key).exists());
    if tier == Tier::Issuing && !has_root_key {
        return request(folder, &current, ask).map(|request| RenewedCa::Requested { request });
    }
    let root = ParentCa::open_with(folder, Tier::Root, ask)?;
    let bad = |reason: String| Error::BadCa { path: folder.to_owned(), reason };
    if signature_fault(&current, root.certificate()).is_some() {
        let (name, root) = (ShownBare(current.subject()), ShownBare(root.certificate().subject()));
        return Err(bad(format!("`{name}` was not signed by the root in the same folder, `{root}`")));
    }
    if let Some(reason) = damaged_extension(&current.parsed()) {
        return Err(bad(format!("its certificate can't be signed again: extension {reason}")));
    }
    let days = days.unwrap_or_else(|| match tier {
        Tier::Root => lifetime(&current),
        Tier::Issuing => DEFAULT_DAYS,
    });
    let end = end_after(days, now)?;
    let end = if tier == Tier::Root { end } else { end.min(root.certificate().not_after()) };
    if end <= current.not_after() {
        let reason = format!(
            "its new certificate would end on {}, and the one that it has ends on {}; ask for more days (--days){}",
            end.date(),
            current.not_after().date(),
            if tier == Tier::Issuing { ", or renew the root first (--root)" } else { "" }
        );
        return Err(bad(reason));
    }
    let certificate = root.sign_again(&current, days, now)?;
    let earlier = keep_earlier(folder, file, &current)?;
    fs::replace_private(&folder.join(file), certificate.to_pem().as_bytes())?;
    Ok(RenewedCa::Signed { certificate: Box::new(certificate), earlier })
}

/// Writes a request with the name and the key of a CA.
fn request(folder: &Path, current: &Certificate, ask: &mut AskSecret<'_>) -> Result<PathBuf, Error> {
    let bad = |reason: &str| Error::BadCa { path: folder.to_owned(), reason: reason.to_owned() };
    let key = ISSUING_KEY.open(folder, ask)?;
    folder::check_is_ca_for(current, key.as_ref()).map_err(bad)?;
    let der = encode_request_again(current.parsed().subject().as_raw(), key.as_ref())?;
    let path = folder.join(ISSUING_REQUEST);
    fs::replace_private(&path, &pem::encode(pem::CERTIFICATE_REQUEST, &der))?;
    Ok(path)
}

/// The number of days that a certificate was made for.
fn lifetime(certificate: &Certificate) -> u32 {
    let days = (certificate.not_after() - certificate.not_before()).whole_days();
    u32::try_from(days).unwrap_or(DEFAULT_DAYS)
}

/// Writes a certificate that is replaced to a file that is named after its end, and returns the
/// file. Certificates that end on one day get files with numbers.
pub(super) fn keep_earlier(folder: &Path, file: &str, certificate: &Certificate) -> Result<PathBuf, Error> {
    let stem = format!("{}-until-{}", file.trim_end_matches(".pem"), certificate.not_after().date());
    let mut path = folder.join(format!("{stem}.pem"));
    let mut number = 1_u32;
    while path.exists() {
        // A renewal that was interrupted has written it.
        if read_certificate(&path).is_ok_and(|kept| kept == *certificate) {
            return Ok(path);
        }
        number += 1;
        path = folder.join(format!("{stem}-{number}.pem"));
    }
    folder::write_certificates(&path, [certificate])?;
    Ok(path)
}

const DEFAULT_DAYS: u32 = 3650;

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::{CaOptions, CertificateAuthority};

    #[test]
    fn a_default_root_is_renewed_without_a_number_of_days_and_each_earlier_certificate_is_kept() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("ca");
        let mut now = time::macros::datetime!(2027-01-01 8:00 UTC);
        CertificateAuthority::init(&folder, &CaOptions::default(), now).unwrap();
        let mut kept = Vec::new();
        for _ in 0..3 {
            now += Duration::hours(1);
            let before = read_certificate(&folder.join(ROOT_CERTIFICATE)).unwrap();
            let renewed = renew_ca(&folder, Tier::Root, None, now, &mut |_| Ok(None)).unwrap();
            let RenewedCa::Signed { certificate, earlier } = renewed else { unreachable!() };
            assert_eq!(certificate.not_after() - before.not_after(), Duration::hours(1));
            assert_eq!(read_certificate(&earlier).unwrap(), before);
            kept.push(earlier);
        }
        kept.dedup();
        assert_eq!(kept.len(), 3, "{kept:?}");
    }
}
