//! [`Signer`]: a CA's name and key, which sign what the encoder encoded.
//!
//! The encoder builds names anew, and loses what it does not know of: attributes that are there
//! twice, parts with several values, old string types. And an error in a token would be lost on its
//! way through it. So it only encodes a certificate or revocation list; here the CA's name is put
//! in byte for byte, and the whole is signed.

use pkcs8::der::{self, Decode as _, Encode as _, Header, Length, Reader as _, SliceReader, Tag};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use crate::error::Error;
use crate::keys::handle::KeyHandle;

/// A CA's name and key.
pub(crate) struct Signer {
    name: Vec<u8>,
    key_identifier: Vec<u8>,
    key: Box<dyn KeyHandle>,
}

impl Signer {
    /// Takes the name and the key identifier from the CA's certificate.
    pub(crate) fn new(certificate: &[u8], key: Box<dyn KeyHandle>) -> Result<Self, Error> {
        let parsed = X509Certificate::from_der(certificate);
        let (_, parsed) = parsed.map_err(|_| Error::Crypto("reading the CA certificate"))?;
        let key_identifier = parsed.extensions().iter().find_map(|it| match it.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        });
        Ok(Self {
            name: parsed.subject().as_raw().to_vec(),
            key_identifier: key_identifier
                .unwrap_or_else(|| crate::x509::encoder::key_identifier(key.public_key())),
            key,
        })
    }

    pub(crate) fn key(&self) -> &dyn KeyHandle {
        self.key.as_ref()
    }

    /// Its name, byte for byte as its certificate has it.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the authority key identifier of everything that is signed.
    pub(crate) fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }

    /// Puts the CA's name into an encoded certificate or revocation list, and signs it.
    pub(crate) fn sign(&self, unsigned: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign_named(unsigned, None)
    }

    /// As [`Self::sign`], with a subject that is put in byte for byte.
    pub(crate) fn sign_named(&self, unsigned: &[u8], subject: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::Crypto("encoding a certificate");
        let signed_parts = SignedParts::read(unsigned).map_err(failed)?;
        let mut parts = vec![(ISSUER, self.name.as_slice())];
        parts.extend(subject.map(|subject| (SUBJECT, subject)));
        let named = signed_parts.with_sequences(&parts).map_err(failed)?;
        signed_parts.signed(&named, self.key.as_ref())
    }
}

/// Signs an encoded request or self-signed certificate.
pub(crate) fn sign_own(unsigned: &[u8], key: &dyn KeyHandle) -> Result<Vec<u8>, Error> {
    let signed_parts = SignedParts::read(unsigned).map_err(|_| Error::Crypto("encoding a certificate"))?;
    signed_parts.signed(signed_parts.tbs, key)
}

/// The parts of a certificate, request or revocation list (RFC 5280 §4.1.1), without a signature.
pub(crate) struct SignedParts<'a> {
    pub(crate) tbs: &'a [u8],
    pub(crate) algorithm: &'a [u8],
}

impl<'a> SignedParts<'a> {
    pub(crate) fn read(unsigned: &'a [u8]) -> der::Result<Self> {
        let mut whole = SliceReader::new(unsigned)?;
        let mut parts = contents(&mut whole)?;
        Ok(Self { tbs: parts.tlv_bytes()?, algorithm: parts.tlv_bytes()? })
    }

    /// The signed part with a different issuer: in certificates and revocation lists alike it is the second
    /// sequence, after that of the algorithm.
    pub(crate) fn with_issuer(&self, name: &[u8]) -> der::Result<Vec<u8>> {
        self.with_sequences(&[(ISSUER, name)])
    }

    /// The signed part of a certificate with one name as both its issuer and its subject: that of a root.
    pub(crate) fn with_issuer_and_subject(&self, name: &[u8]) -> der::Result<Vec<u8>> {
        self.with_sequences(&[(ISSUER, name), (SUBJECT, name)])
    }

    /// The signed part of a request with another subject, which is its first sequence (RFC 2986 §4.1).
    pub(crate) fn with_request_subject(&self, name: &[u8]) -> der::Result<Vec<u8>> {
        self.with_sequences(&[(REQUEST_SUBJECT, name)])
    }

    /// The signed part with others in the places of some of its sequences, which are counted from 1.
    fn with_sequences(&self, others: &[(usize, &[u8])]) -> der::Result<Vec<u8>> {
        let mut reader = SliceReader::new(self.tbs)?;
        let mut parts = contents(&mut reader)?;
        let mut tbs = Vec::with_capacity(self.tbs.len());
        let mut sequences = 0;
        while !parts.is_finished() {
            let part = parts.tlv_bytes()?;
            let is_sequence = part.first() == Some(&SEQUENCE);
            sequences += usize::from(is_sequence);
            let other = others.iter().find(|(place, _)| is_sequence && *place == sequences);
            tbs.extend_from_slice(other.map_or(part, |(_, other)| other));
        }
        tlv(Tag::Sequence, &[&tbs])
    }

    pub(crate) fn signed(&self, tbs: &[u8], key: &dyn KeyHandle) -> Result<Vec<u8>, Error> {
        let signature = key.sign(tbs)?;
        self.with_signature(tbs, &signature).map_err(|_| Error::Crypto("encoding a certificate"))
    }

    fn with_signature(&self, tbs: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
        let bits = 1 + signature.len();
        let mut out = start(Tag::Sequence, tbs.len() + self.algorithm.len() + encoded_len(bits)?)?;
        out.extend_from_slice(tbs);
        out.extend_from_slice(self.algorithm);
        append_header(&mut out, Tag::BitString, bits)?;
        out.push(NO_UNUSED_BITS);
        out.extend_from_slice(signature);
        Ok(out)
    }
}

/// Returns a reader of the contents of the sequence that comes next.
pub(crate) fn contents<'a>(reader: &mut SliceReader<'a>) -> der::Result<SliceReader<'a>> {
    let header = Header::decode(reader)?;
    header.tag().assert_eq(Tag::Sequence)?;
    SliceReader::new(reader.read_slice(header.length())?)
}

/// A value in DER: its tag, its length, and the parts that it consists of.
fn tlv(tag: Tag, parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    let mut out = start(tag, parts.iter().map(|part| part.len()).sum())?;
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(out)
}

/// A value in DER as far as its length, with room for the rest.
pub(crate) fn start(tag: Tag, length: usize) -> der::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(MAX_HEADER_BYTES + length);
    append_header(&mut out, tag, length)?;
    Ok(out)
}

/// Appends a tag and a length.
pub(crate) fn append_header(out: &mut Vec<u8>, tag: Tag, length: usize) -> der::Result<()> {
    let mut buffer = [0; MAX_HEADER_BYTES];
    out.extend_from_slice(Header::new(tag, Length::try_from(length)?).encode_to_slice(&mut buffer)?);
    Ok(())
}

/// Returns the length of a value with its tag and its length field.
pub(crate) fn encoded_len(length: usize) -> der::Result<usize> {
    let length = Length::try_from(length)?;
    usize::try_from((Length::ONE + length.encoded_len()? + length)?)
}

const MAX_HEADER_BYTES: usize = 6;
/// The place of the issuer among the sequences of certificates (RFC 5280 §4.1) and revocation lists (§5.1).
const ISSUER: usize = 2;
/// The place of the subject among the sequences of a certificate: behind algorithm, issuer and validity.
const SUBJECT: usize = 4;
const REQUEST_SUBJECT: usize = 1;
const NO_UNUSED_BITS: u8 = 0;
const SEQUENCE: u8 = 0x30;
