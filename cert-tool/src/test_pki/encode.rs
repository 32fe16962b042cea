//! Certificates and revocation lists of any kind, valid or invalid, as DER (RFC 5280 §4.1, §5.1).
//!
//! The encoder of issued certificates can't produce errors; this one can.

use time::OffsetDateTime;
use yasna::models::{ObjectIdentifier, TaggedDerValue};
use yasna::tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME, TAG_UTF8STRING};
use yasna::{DERWriter, PCBit, Tag, TagClass, construct_der};

use super::keys::Key;

/// A certificate before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// 2 for version 3.
    pub(super) version: u8,
    pub(super) serial: Vec<u8>,
    pub(super) hash: Hash,
    pub(super) issuer: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) key_info: Vec<u8>,
    pub(super) extensions: Vec<Extension>,
}

/// The algorithm that signs a certificate, in addition to ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) oid: &'static [u64],
    pub(super) is_critical: bool,
    pub(super) value: Vec<u8>,
}

impl Spec {
    /// Signs it with an issuer's key.
    pub(super) fn sign(&self, issuer: &Key) -> Vec<u8> {
        signed(&self.to_be_signed(), self.hash, issuer)
    }

    fn to_be_signed(&self) -> Vec<u8> {
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                if self.version > 0 {
                    writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(self.version));
                }
                write_raw(writer.next(), 2, &self.serial);
                write_algorithm(writer.next(), self.hash);
                writer.next().write_der(&self.issuer);
                writer.next().write_sequence(|writer| {
                    write_time(writer.next(), self.not_before);
                    write_time(writer.next(), self.not_after);
                });
                writer.next().write_der(&self.subject);
                writer.next().write_der(&self.key_info);
                if !self.extensions.is_empty() {
                    writer.next().write_tagged(Tag::context(3), |writer| {
                        write_extensions(writer, &self.extensions);
                    });
                }
            });
        })
    }
}

/// A revocation list.
pub(super) fn revocation_list(
    issuer: (&[u8], &Key),
    dates: (OffsetDateTime, OffsetDateTime),
    revoked: &[&[u8]],
) -> Vec<u8> {
    let (name, key) = issuer;
    let list = construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(1);
            write_algorithm(writer.next(), Hash::Sha256);
            writer.next().write_der(name);
            write_time(writer.next(), dates.0);
            write_time(writer.next(), dates.1);
            if !revoked.is_empty() {
                writer.next().write_sequence(|writer| {
                    for serial in revoked {
                        writer.next().write_sequence(|writer| {
                            write_raw(writer.next(), 2, serial);
                            write_time(writer.next(), dates.0);
                        });
                    }
                });
            }
            let number = construct_der(|writer| writer.write_u8(1));
            let extensions = [
                authority_key_id(key),
                Extension { oid: &[2, 5, 29, 20], is_critical: false, value: number },
            ];
            writer.next().write_tagged(Tag::context(0), |writer| write_extensions(writer, &extensions));
        });
    });
    signed(&list, Hash::Sha256, key)
}

/// A name of attributes in UTF-8, or of bytes that are declared as UTF-8.
pub(super) fn name(attributes: &[(&[u64], &[u8])]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (oid, value) in attributes {
                writer.next().write_set(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                        let value = TaggedDerValue::from_tag_and_bytes(TAG_UTF8STRING, value.to_vec());
                        writer.next().write_tagged_der(&value);
                    });
                });
            }
        });
    })
}

pub(super) fn common_name(value: &str) -> Vec<u8> {
    name(&[(COMMON_NAME, value.as_bytes())])
}

pub(super) fn basic_constraints(is_ca: bool, path_length: Option<u8>) -> Extension {
    let value = construct_der(|writer| {
        writer.write_sequence(|writer| {
            if is_ca {
                writer.next().write_bool(true);
            }
            if let Some(length) = path_length {
                writer.next().write_u8(length);
            }
        });
    });
    Extension { oid: BASIC_CONSTRAINTS, is_critical: true, value }
}

/// The bits in the order of RFC 5280 §4.2.1.3, from the left, and the number of written bits.
pub(super) fn key_usage(bits: u8, count: usize) -> Extension {
    let value = construct_der(|writer| writer.write_bitvec_bytes(&[bits], count));
    Extension { oid: KEY_USAGE, is_critical: true, value }
}

pub(super) fn extended_key_usage(purpose: &[u64]) -> Extension {
    let value = construct_der(|writer| {
        writer.write_sequence(|writer| writer.next().write_oid(&ObjectIdentifier::from_slice(purpose)));
    });
    Extension { oid: EXTENDED_KEY_USAGE, is_critical: false, value }
}

pub(super) fn subject_key_id(id: &[u8]) -> Extension {
    Extension { oid: &[2, 5, 29, 14], is_critical: false, value: construct_der(|it| it.write_bytes(id)) }
}

pub(super) fn authority_key_id(issuer: &Key) -> Extension {
    let value = construct_der(|writer| {
        writer.write_sequence(|writer| write_context(writer.next(), 0, issuer.id()));
    });
    Extension { oid: &[2, 5, 29, 35], is_critical: false, value }
}

pub(super) fn alternative_dns_name(name: &str) -> Extension {
    let value = construct_der(|writer| {
        writer.write_sequence(|writer| write_context(writer.next(), 2, name.as_bytes()));
    });
    Extension { oid: &[2, 5, 29, 17], is_critical: false, value }
}

/// The names of one kind that may be below a CA.
pub(super) enum Permitted<'a> {
    Directory(&'a [u8]),
    Dns(&'a str),
}

pub(super) fn name_constraints(permitted: &Permitted<'_>) -> Extension {
    let value = construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_sequence(|writer| match permitted {
                        Permitted::Directory(name) => {
                            writer.next().write_tagged(Tag::context(4), |writer| writer.write_der(name))
                        }
                        Permitted::Dns(name) => write_context(writer.next(), 2, name.as_bytes()),
                    });
                });
            });
        });
    });
    Extension { oid: &[2, 5, 29, 30], is_critical: true, value }
}

fn signed(content: &[u8], hash: Hash, issuer: &Key) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(content);
            write_algorithm(writer.next(), hash);
            let signature = issuer.sign(content, hash);
            writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    })
}

fn write_extensions(writer: DERWriter<'_>, extensions: &[Extension]) {
    writer.write_sequence(|writer| {
        for extension in extensions {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&ObjectIdentifier::from_slice(extension.oid));
                if extension.is_critical {
                    writer.next().write_bool(true);
                }
                writer.next().write_bytes(&extension.value);
            });
        }
    });
}

fn write_algorithm(writer: DERWriter<'_>, hash: Hash) {
    let oid: &[u64] = match hash {
        Hash::Sha1 => &[1, 2, 840, 10045, 4, 1],
        Hash::Sha256 => &[1, 2, 840, 10045, 4, 3, 2],
    };
    writer.write_sequence(|writer| writer.next().write_oid(&ObjectIdentifier::from_slice(oid)));
}

/// UTCTime to 2049, GeneralizedTime after (RFC 5280 §4.1.2.5).
fn write_time(writer: DERWriter<'_>, time: OffsetDateTime) {
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    let (tag, text) = if (1950..2050).contains(&time.year()) {
        (TAG_UTCTIME, format!("{:02}{rest}", time.year() % 100))
    } else {
        (TAG_GENERALIZEDTIME, format!("{:04}{rest}", time.year()))
    };
    writer.write_tagged_der(&TaggedDerValue::from_tag_and_bytes(tag, text.into_bytes()));
}

fn write_context(writer: DERWriter<'_>, number: u64, bytes: &[u8]) {
    let tag = Tag { tag_class: TagClass::ContextSpecific, tag_number: number };
    writer.write_tagged_der(&TaggedDerValue::from_tag_pc_and_bytes(tag, PCBit::Primitive, bytes.to_vec()));
}

/// Unchanged bytes under a universal tag, for serial numbers that no library would write.
fn write_raw(writer: DERWriter<'_>, number: u64, bytes: &[u8]) {
    let tag = Tag { tag_class: TagClass::Universal, tag_number: number };
    writer.write_tagged_der(&TaggedDerValue::from_tag_pc_and_bytes(tag, PCBit::Primitive, bytes.to_vec()));
}

pub(super) const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
pub(super) const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
pub(super) const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
pub(super) const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
pub(super) const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
pub(super) const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
pub(super) const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
