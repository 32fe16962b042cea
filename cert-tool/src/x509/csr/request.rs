//! [`CsrParts`]: a request of any program, taken apart (RFC 2986 §4).

use pkcs8::der::{self, Decode as _, Tag, TagNumber, asn1::BitStringRef};
use x509_parser::asn1_rs::BitString;
use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::X509Extension;
use x509_parser::prelude::FromDer;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use crate::encoding::der::Parts;

/// The parts of a request, none of them verified yet. Requests without attributes are read, though
/// RFC 2986 wants at least an empty set: OpenSSL reads them too.
pub(crate) struct CsrParts<'a> {
    /// The signed bytes.
    pub(crate) content: &'a [u8],
    pub(crate) subject: X509Name<'a>,
    pub(crate) key: SubjectPublicKeyInfo<'a>,
    pub(crate) algorithm: AlgorithmIdentifier<'a>,
    pub(crate) signature: &'a [u8],
    /// The extensions that it asks for, in whatever attribute.
    pub(crate) extensions: Vec<X509Extension<'a>>,
}

/// The reason why bytes are not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CsrFault {
    Damaged,
    /// A version that RFC 2986 does not have; the only one is 0.
    Version,
}

impl From<der::Error> for CsrFault {
    fn from(_: der::Error) -> Self {
        Self::Damaged
    }
}

impl CsrFault {
    pub(crate) fn found(self) -> &'static str {
        match self {
            Self::Damaged => "damaged DER",
            Self::Version => "one of an unknown version (RFC 2986 has version 0 only)",
        }
    }
}

impl<'a> CsrParts<'a> {
    /// Takes DER apart. Nothing may stand behind it.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, CsrFault> {
        let mut parts = Parts::of(der, Tag::Sequence)?;
        let (content, algorithm, signature) = (parts.next()?, parts.next()?, parts.next()?);
        parts.finish()?;
        let mut parts = Parts::of(content, Tag::Sequence)?;
        let (version, subject, key) = (parts.next()?, parts.next()?, parts.next()?);
        let attributes = if parts.is_finished() { &[] } else { parts.next()? };
        parts.finish()?;
        match version {
            [0x02, 0x01, 0x00] => {}
            [0x02, ..] => return Err(CsrFault::Version),
            _ => return Err(CsrFault::Damaged),
        }
        let bits = BitStringRef::from_der(signature).map_err(|_| CsrFault::Damaged)?;
        Ok(Self {
            content,
            subject: whole(subject)?,
            key: whole(key)?,
            algorithm: whole(algorithm)?,
            signature: bits.as_bytes().ok_or(CsrFault::Damaged)?,
            extensions: extensions(attributes)?,
        })
    }

    /// Names what it asks for beside a common name and a key: extensions, and other parts of a subject.
    pub(crate) fn beside_name_and_key(&self) -> Vec<String> {
        let extensions = self.extensions.iter().map(|extension| extension.oid.to_id_string());
        let extensions = extensions.map(|oid| match EXTENSIONS.iter().find(|(known, _)| *known == oid) {
            Some((_, name)) => (*name).to_owned(),
            None => oid,
        });
        let attributes = self.subject.iter_attributes().map(|it| it.attr_type().to_id_string());
        let attributes = attributes.filter(|oid| oid != COMMON_NAME).map(|oid| {
            let known = ATTRIBUTES.iter().find(|(known, _)| *known == oid);
            format!("subject:{}", known.map_or(oid.as_str(), |(_, name)| name))
        });
        extensions.chain(attributes).collect()
    }

    /// Tells whether its own key signed it, with an algorithm that is accepted or an older one.
    pub(crate) fn is_signed_by_its_key(&self) -> bool {
        let signature = BitString::new(0, self.signature);
        verify_signature(&self.key, &self.algorithm, &signature, self.content).is_ok()
            || super::signature::verify(self, self.key.raw).is_ok()
    }
}

/// The extensions in the attributes of a request: `[0] IMPLICIT SET OF Attribute`, or nothing.
fn extensions(attributes: &[u8]) -> Result<Vec<X509Extension<'_>>, CsrFault> {
    let mut found = Vec::new();
    if attributes.is_empty() {
        return Ok(found);
    }
    let tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    let mut attributes = Parts::of(attributes, tag)?;
    while !attributes.is_finished() {
        let mut attribute = Parts::of(attributes.next()?, Tag::Sequence)?;
        let kind: Oid<'_> = whole(attribute.next()?)?;
        let mut values = Parts::of(attribute.next()?, Tag::Set)?;
        attribute.finish()?;
        while (kind == EXTENSION_REQUEST || kind == MICROSOFT_EXTENSIONS) && !values.is_finished() {
            let mut extensions = Parts::of(values.next()?, Tag::Sequence)?;
            while !extensions.is_finished() {
                found.push(whole(extensions.next()?)?);
            }
        }
    }
    Ok(found)
}

fn whole<'a, T: FromDer<'a, E>, E>(der: &'a [u8]) -> Result<T, CsrFault> {
    match T::from_der(der) {
        Ok(([], value)) => Ok(value),
        _ => Err(CsrFault::Damaged),
    }
}

/// `extensionRequest` (RFC 2985 §5.4.2).
const EXTENSION_REQUEST: Oid<'static> = oid!(1.2.840.113549.1.9.14);
/// The attribute in which old Windows asks for extensions.
const MICROSOFT_EXTENSIONS: Oid<'static> = oid!(1.3.6.1.4.1.311.2.1.14);
/// Extensions that requests ask for often (RFC 5280 §4.2.1).
const EXTENSIONS: [(&str, &str); 8] = [
    ("2.5.29.14", "subjectKeyIdentifier"),
    ("2.5.29.15", "keyUsage"),
    ("2.5.29.17", "subjectAltName"),
    ("2.5.29.19", "basicConstraints"),
    ("2.5.29.31", "cRLDistributionPoints"),
    ("2.5.29.32", "certificatePolicies"),
    ("2.5.29.35", "authorityKeyIdentifier"),
    ("2.5.29.37", "extKeyUsage"),
];
const COMMON_NAME: &str = "2.5.4.3";
/// Attributes of subjects by the names of RFC 4514 and OpenSSL.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];
