//! [`extract`]: one identity's certificate and key out of a list, as a device needs them.

use std::path::Path;

use hub_types::IdentityId;
use zeroize::Zeroizing;

use crate::certificate::{Certificate, read_certificate, read_certificates};
use crate::error::Error;
use crate::facts::IssuedFacts;
use crate::fs;
use crate::list::IssuedList;
use crate::pem;
use crate::reference::{self, Found, not_a};
use crate::sink;

/// Writes `cert.pem`, `chain.pem` and, where it is known, `key.pem` to a folder; `None` where the
/// identity has no certificate. Nothing is overwritten.
pub fn extract(
    list: &IssuedList,
    identity: &IdentityId,
    folder: &Path,
) -> Result<Option<IssuedFacts>, Error> {
    let Some(facts) = list.find(identity)? else {
        return Ok(None);
    };
    let certificate = pem::encode(pem::CERTIFICATE, read_certificate(&facts.certificate)?.der());
    let issuing = read_certificates(&list.issuing_certificate_path())?;
    let key = facts.private_key.as_deref().map(read_key).transpose()?;
    fs::create_private_folder(folder)?;
    if let Some(key) = key {
        fs::write_new_private(&folder.join(sink::KEY), &key)?;
    }
    let chain: String = issuing.iter().map(Certificate::to_pem).collect();
    fs::write_new_private(&folder.join(sink::CHAIN), &[certificate.as_slice(), chain.as_bytes()].concat())?;
    fs::write_new_private(&folder.join(sink::CERTIFICATE), &certificate)?;
    Ok(Some(facts))
}

fn read_key(reference: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    Ok(pem::encode(pem::PRIVATE_KEY, &key_block(reference)?.der))
}

/// The private key that a reference in a list leads to.
pub(crate) fn key_block(reference: &Path) -> Result<pem::Block, Error> {
    match reference::read(reference, WANTED)? {
        Found::Pem(block) if block.label == pem::PRIVATE_KEY => Ok(block),
        _ => Err(not_a(reference, WANTED, "something else")),
    }
}

const WANTED: &str = "a private key";
