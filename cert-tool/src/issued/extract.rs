//! [`extract`]: one identity's certificate and key out of a list, as a device needs them.

use std::path::Path;

use hub_types::IdentityId;
use zeroize::Zeroizing;

use crate::encoding::pem;
use crate::error::Error;
use crate::input::location::{self, Found, Wanted, not_a};
use crate::issued::list::IssuedList;
use crate::issued::record::IssuedCertificate;
use crate::issued::sink;
use crate::platform::fs;
use crate::x509::certificate::{Certificate, read_certificate, read_certificates};
use crate::x509::p7b::p7b;

/// Writes `cert.pem`, `chain.pem` and, where it is known, `key.pem` to a folder; `None` where the
/// identity has no certificate. Nothing is overwritten.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// # let out = temporary.path().join("out");
/// # let mut store = cert_tool::IssuedStore::open(&ca, &out, cert_tool::Sink::Bundle)?;
/// # let identity: hub_types::IdentityId = hub_types::IdentityId::parse("pump-1", None)?;
/// # let request = cert_tool::IssueRequest::new(identity.clone(), cert_tool::KeySource::Generate);
/// # cert_tool::issue_batch(&ca, &cert_tool::IssueOptions::new(now), [request].into_iter(), &mut store, &mut |_| {})?;
/// # drop(store);
/// use cert_tool::{IssuedList, extract};
///
/// let list = IssuedList::open(&out)?;
/// let folder = temporary.path().join("pump-1");
/// let record = extract(&list, &identity, &folder)?.ok_or("no such identity")?;
/// assert!(folder.join("key.pem").exists() && folder.join("chain.pem").exists());
/// println!("good until {}", record.not_after);
/// # Ok(())
/// # }
/// ```
pub fn extract(
    list: &IssuedList,
    identity: &IdentityId,
    folder: &Path,
) -> Result<Option<IssuedCertificate>, Error> {
    extract_as(list, identity, folder, |chain, key| {
        let key = key.map(|key| (sink::KEY, pem::encode(pem::PRIVATE_KEY, &key.der)));
        let text = |certificates: &[Certificate]| {
            let text: String = certificates.iter().map(Certificate::to_pem).collect();
            Zeroizing::new(text.into_bytes())
        };
        let certificates =
            [(sink::CHAIN, text(chain)), (sink::CERTIFICATE, text(chain.get(..1).unwrap_or_default()))];
        Ok(key.into_iter().chain(certificates).collect())
    })
}

/// Writes `cert.der`, `chain.p7b` and, where it is known, `key.der` (PKCS #8) to a folder; `None` where the
/// identity has no certificate. Nothing is overwritten.
pub fn extract_der(
    list: &IssuedList,
    identity: &IdentityId,
    folder: &Path,
) -> Result<Option<IssuedCertificate>, Error> {
    extract_as(list, identity, folder, |chain, key| {
        let key = key.map(|key| (KEY_DER, key.der.clone()));
        let certificate = chain.first().map(|leaf| (CERTIFICATE_DER, Zeroizing::new(leaf.der().to_vec())));
        let chain = (CHAIN_P7B, Zeroizing::new(p7b(chain)?));
        Ok(key.into_iter().chain([chain]).chain(certificate).collect())
    })
}

/// A file of an extract: its name and its content.
type ExtractedFile = (&'static str, Zeroizing<Vec<u8>>);

/// Writes files made of the chain of an identity, its own certificate first, and of its key where that is known.
fn extract_as(
    list: &IssuedList,
    identity: &IdentityId,
    folder: &Path,
    encode: impl FnOnce(&[Certificate], Option<&pem::Block>) -> Result<Vec<ExtractedFile>, Error>,
) -> Result<Option<IssuedCertificate>, Error> {
    let Some(record) = list.find(identity)? else {
        return Ok(None);
    };
    let mut chain = vec![read_certificate(&record.certificate)?];
    chain.extend(read_certificates(&list.issuing_certificate_path())?);
    let key = record.private_key.as_deref().map(key_block).transpose()?;
    let files = encode(&chain, key.as_ref())?;
    fs::create_private_folder(folder)?;
    for (name, content) in files {
        fs::write_new_private(&folder.join(name), &content)?;
    }
    Ok(Some(record))
}

/// The private key that a location in a list leads to.
pub(crate) fn key_block(location: &Path) -> Result<pem::Block, Error> {
    match location::read(location, &WANTED)? {
        Found::Pem(block) if block.label == pem::PRIVATE_KEY => Ok(block),
        _ => Err(not_a(location, WANTED.name, "something else")),
    }
}

const CERTIFICATE_DER: &str = "cert.der";
const CHAIN_P7B: &str = "chain.p7b";
const KEY_DER: &str = "key.der";
const WANTED: Wanted = Wanted { name: "a private key", labels: &[pem::PRIVATE_KEY] };
