//! The credentials that a device connects with: its certificate with those of the CAs above it, and
//! the key that proves that the certificate is the device's.

use std::path::Path;

use zeroize::Zeroizing;

use crate::encoding::pem;
use crate::error::Error;
use crate::input::location::{self, Found, Wanted, kind_of_bytes, not_a};
use crate::issued::list::ISSUING_CERTIFICATE;
use crate::issued::sink;
use crate::platform::fs;
use crate::x509::certificate::{Certificate, read_certificate, read_certificates};

/// Reads the certificate that a location leads to, and behind it those of the CAs between it and the
/// root, where they are at hand: in the same file, or beside it as `chain.pem` or `issuing.pem`.
pub fn read_chain(location: &Path) -> Result<Vec<Certificate>, Error> {
    let mut chain = vec![read_certificate(location)?];
    let mut issuers = issuers(location)?;
    while let Some(at) = chain.last().and_then(|last| issuer_of(last, &issuers)) {
        chain.push(issuers.swap_remove(at));
    }
    Ok(chain)
}

/// Reads the private key that a location leads to, as DER: PKCS#8, SEC 1 or PKCS#1, not encrypted. In a
/// PEM file it need not be the first block.
pub fn read_private_key(location: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    match location::read(location, &WANTED)? {
        Found::Pem(block) if block.label == pem::ENCRYPTED_PRIVATE_KEY => {
            Err(not_a(location, WANTED.name, "an encrypted private key"))
        }
        Found::Pem(block) => Ok(block.der),
        Found::Other(bytes) if bytes.first() == Some(&DER_SEQUENCE) => Ok(Zeroizing::new(bytes)),
        Found::Other(bytes) => Err(not_a(location, WANTED.name, kind_of_bytes(&bytes))),
    }
}

/// Certificates that may be those of CAs above the one that a location leads to.
fn issuers(location: &Path) -> Result<Vec<Certificate>, Error> {
    if location::split(location).is_none() {
        let others = read_certificates(location)?.split_off(1);
        if !others.is_empty() {
            return Ok(others);
        }
    }
    let folder = location.parent().unwrap_or_else(|| Path::new(""));
    let beside = [sink::CHAIN, ISSUING_CERTIFICATE].map(|name| folder.join(name));
    for path in beside {
        if fs::is_present(&path)? {
            return read_certificates(&path);
        }
    }
    Ok(Vec::new())
}

/// Returns the position of a certificate's issuer among others. A root, which issued itself, is not
/// returned: whoever verifies the chain has the root.
fn issuer_of(certificate: &Certificate, others: &[Certificate]) -> Option<usize> {
    others.iter().position(|other| {
        other.subject() == certificate.issuer() && other.subject() != other.issuer() && other != certificate
    })
}

const WANTED: Wanted = Wanted { name: "a private key", labels: pem::PRIVATE_KEYS };
const DER_SEQUENCE: u8 = 0x30;
