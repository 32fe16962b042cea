//! [`Certificate`]: a certificate as it was found, of whatever origin.

use std::io::Read;
use std::path::Path;

use hub_types::thumbprint::upper_hex;
use hub_types::{Sha1Thumbprint, Sha256Thumbprint};
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::encoding::pem;
use crate::error::Error;
use crate::input::location::{self, Found, Wanted, kind_of_bytes, not_a};
use crate::x509::name::{attribute_text, name_text};
use crate::x509::pkcs7;
use crate::x509::signed_by::signature_fault;

/// A certificate, parsed but not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    common_name: Option<String>,
    subject: String,
    issuer: String,
    serial: Vec<u8>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    is_ca: bool,
    public_key_info: Vec<u8>,
}

/// Reads the certificate that a location leads to: a PEM, DER or PKCS #7 file, of a chain the first, or
/// `path#offset`, the block that begins at that byte of the file. In PEM, blocks of other kinds are passed over.
pub fn read_certificate(location: &Path) -> Result<Certificate, Error> {
    first_in(location::read(location, &WANTED)?, location)
}

/// Reads all certificates of a file, in their order. In PEM, blocks of other kinds are passed over.
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    all_of(location::read_file(path)?, path)
}

/// Reads all certificates of an input of at most 1 MiB; `name` stands in errors.
pub fn read_certificates_from(input: impl Read, name: &Path) -> Result<Vec<Certificate>, Error> {
    all_of(location::read_input(input, name)?, name)
}

fn all_of(bytes: Vec<u8>, path: &Path) -> Result<Vec<Certificate>, Error> {
    match pem::all_of(&bytes, WANTED.labels) {
        Ok(blocks) => {
            let certificates = blocks.into_iter().map(|block| all_in(Found::Pem(block), path));
            Ok(certificates.collect::<Result<Vec<_>, _>>()?.concat())
        }
        // One in DER, or what it is instead.
        Err(_) => all_in(location::parse(bytes, path, &WANTED)?, path),
    }
}

/// Reads a certificate from an input of at most 1 MiB; `name` stands in errors.
pub fn read_certificate_from(input: impl Read, name: &Path) -> Result<Certificate, Error> {
    let bytes = location::read_input(input, name)?;
    first_in(location::parse(bytes, name, &WANTED)?, name)
}

impl Certificate {
    /// Parses DER; `None` where it is no certificate, or more than one.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            der: der.to_vec(),
            common_name: only_common_name(parsed.subject()),
            subject: name_text(parsed.subject()),
            issuer: name_text(parsed.issuer()),
            serial: parsed.raw_serial().to_vec(),
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            is_ca: parsed.is_ca(),
            public_key_info: parsed.public_key().raw.to_vec(),
        })
    }

    /// All parts of the certificate.
    #[expect(clippy::expect_used, reason = "the bytes were parsed when the certificate was made")]
    pub(crate) fn parsed(&self) -> X509Certificate<'_> {
        let (_, parsed) = X509Certificate::from_der(&self.der).expect("a certificate can be parsed again");
        parsed
    }

    /// The common name, where there is exactly one.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The whole subject, for people.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The issuer's name, for people.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The serial number in hex, as OpenSSL shows it.
    pub fn serial(&self) -> String {
        serial_text(&self.serial)
    }

    /// Returns the number of CAs that may stand below the certificate's CA, if the certificate
    /// limits it (RFC 5280 §4.2.1.9).
    pub fn path_length(&self) -> Option<u32> {
        let parsed = self.parsed();
        parsed.basic_constraints().ok().flatten()?.value.path_len_constraint
    }

    /// The serial number: the bytes of an integer in two's complement.
    pub(crate) fn serial_bytes(&self) -> &[u8] {
        &self.serial
    }

    /// Tells whether two certificates are of the same CA: one name, byte for byte, and one key. A renewed CA is the
    /// same.
    pub(crate) fn is_same_ca(&self, other: &Self) -> bool {
        self.public_key_info == other.public_key_info
            && self.parsed().subject().as_raw() == other.parsed().subject().as_raw()
    }

    /// The thumbprint to register.
    pub fn sha256(&self) -> Sha256Thumbprint {
        Sha256Thumbprint::of_der(&self.der)
    }

    /// The thumbprint that older tools show.
    pub fn sha1(&self) -> Sha1Thumbprint {
        Sha1Thumbprint::of_der(&self.der)
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        String::from_utf8_lossy(&pem::encode(pem::CERTIFICATE, &self.der)).into_owned()
    }

    /// From when it is good.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Until when it is good.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Returns whether the certificate says that it is a CA's (`CA:TRUE`).
    pub fn is_ca(&self) -> bool {
        self.is_ca
    }

    /// Returns whether a CA has issued the certificate: it has the CA's name as its issuer's, and a signature with
    /// the CA's key, of an accepted kind.
    pub fn is_issued_by(&self, ca: &Self) -> bool {
        self.issuer == ca.subject && signature_fault(self, ca).is_none()
    }

    /// The public key as a DER `SubjectPublicKeyInfo`.
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }
}

/// The identifiers of a certificate's own key and of its issuer's, where they are stated.
pub(crate) fn key_identifiers<'a>(parsed: &'a X509Certificate<'_>) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let mut own = None;
    let mut of_issuer = None;
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => own = Some(identifier.0),
            ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                of_issuer = identifier.key_identifier.as_ref().map(|it| it.0);
            }
            _ => {}
        }
    }
    (own, of_issuer)
}

/// A serial number in hex, as OpenSSL shows it: that of a negative one after a minus sign.
pub(crate) fn serial_text(bytes: &[u8]) -> String {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => upper_hex(rest),
        [first, ..] if first & 0x80 != 0 => format!("-{}", upper_hex(&magnitude(bytes))),
        all => upper_hex(all),
    }
}

/// The magnitude of a negative number in two's complement, without leading zeros.
fn magnitude(bytes: &[u8]) -> Vec<u8> {
    let mut carry = true;
    let mut negated: Vec<u8> = bytes
        .iter()
        .rev()
        .map(|byte| {
            let (sum, overflow) = (!byte).overflowing_add(u8::from(carry));
            carry = overflow;
            sum
        })
        .collect();
    while negated.len() > 1 && negated.last() == Some(&0) {
        negated.pop();
    }
    negated.reverse();
    negated
}

/// The common name of a subject that has exactly one.
pub(crate) fn only_common_name(name: &X509Name<'_>) -> Option<String> {
    let mut names = name.iter_common_name();
    let first = attribute_text(names.next()?)?;
    names.next().is_none().then_some(first)
}

fn first_in(found: Found, name: &Path) -> Result<Certificate, Error> {
    let first = all_in(found, name)?.into_iter().next();
    first.ok_or_else(|| not_a(name, WANTED.name, "a PKCS #7 file without certificates"))
}

/// The certificates in a block or in DER: one, or those of a PKCS #7 file.
fn all_in(found: Found, name: &Path) -> Result<Vec<Certificate>, Error> {
    let damaged = || not_a(name, WANTED.name, "a damaged certificate");
    match found {
        Found::Pem(block) => in_block(&block).ok_or_else(damaged),
        Found::Other(bytes) => match Certificate::from_der(&bytes) {
            Some(certificate) => Ok(vec![certificate]),
            None => {
                pkcs7::certificates(&bytes).ok_or_else(|| not_a(name, WANTED.name, kind_of_bytes(&bytes)))
            }
        },
    }
}

/// The certificates in a PEM block of one of the labels [`pem::CERTIFICATES`]; `None` where it is damaged.
pub(crate) fn in_block(block: &pem::Block) -> Option<Vec<Certificate>> {
    match block.label.as_str() {
        pem::CERTIFICATE | "X509 CERTIFICATE" => Certificate::from_der(&block.der).map(|it| vec![it]),
        // What OpenSSL trusts it for stands behind it.
        pem::TRUSTED_CERTIFICATE => {
            let rest = X509Certificate::from_der(&block.der).ok()?.0;
            let length = block.der.len() - rest.len();
            Certificate::from_der(block.der.get(..length)?).map(|it| vec![it])
        }
        _ => pkcs7::certificates(&block.der),
    }
}

const WANTED: Wanted = Wanted { name: "a certificate", labels: pem::CERTIFICATES };

#[cfg(test)]
mod tests {
    use super::*;

    /// As `openssl x509 -serial` writes them.
    #[test]
    fn a_serial_number_has_its_sign() {
        for (bytes, text) in [
            (&[0xff][..], "-01"),
            (&[0x80], "-80"),
            (&[0xff, 0x00], "-0100"),
            (&[0x80, 0x00], "-8000"),
            (&[0xfe, 0xdc], "-0124"),
            (&[0, 0x80], "80"),
            (&[0], "00"),
            (&[0x12, 0x34], "1234"),
            (&[], ""),
        ] {
            assert_eq!(serial_text(bytes), text);
        }
    }
}
