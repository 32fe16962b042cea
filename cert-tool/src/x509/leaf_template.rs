//! [`LeafTemplates`]: the common content of the certificates of one call, encoded once.
//!
//! They differ in four places only: serial number, subject, key, and the key's identifier. The encoder
//! lays one certificate out, and these are put in for each: anew it would cost more than all the
//! hashing and writing of a certificate together. A profile has two places more, before the common name
//! and behind the extensions that every leaf has; for other leaves they are empty.

use pkcs8::der::{self, Decode as _, Header, Reader as _, SliceReader, Tag, TagNumber};
use rcgen::PublicKeyData as _;

use crate::encoding::pem;
use crate::error::Error;
use crate::x509::encoder::{
    COMMON_NAME, KeyUse, SAMPLE_KEY_IDENTIFIER, Serial, SubjectKey, Validity, key_identifier,
};
use crate::x509::extended_key_usage::ExtendedKeyUsage;
use crate::x509::publication::Publication;
use crate::x509::signer::{SignedParts, Signer, append_header, contents, encoded_len, start};

/// The certificates of one call, but for what is of each one.
pub(crate) struct LeafTemplates<'a> {
    signer: &'a Signer,
    /// The signature algorithm, in DER.
    algorithm: Vec<u8>,
    /// RSA keys of servers may do more than others.
    rsa: TbsTemplate,
    others: TbsTemplate,
}

/// A certificate in pieces, with room for what is not the same in all.
struct TbsTemplate {
    version: Vec<u8>,
    /// The signature algorithm, the issuer and the validity.
    before_subject: Vec<u8>,
    /// The extensions, without the headers of their list.
    before_identifier: Vec<u8>,
    after_identifier: Vec<u8>,
}

/// The parts of one certificate that a profile makes of a row, in DER.
#[derive(Debug, Default)]
pub(crate) struct ProfileParts {
    /// The relative names before the common name.
    pub(crate) subject: Vec<u8>,
    /// The extensions behind those that every leaf has.
    pub(crate) extensions: Vec<u8>,
}

/// The parts that belong to one certificate alone.
pub(crate) struct LeafParts<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) serial: Serial,
    /// The parts that a profile makes of the row.
    pub(crate) profile: &'a ProfileParts,
}

impl<'a> LeafTemplates<'a> {
    pub(crate) fn new(
        signer: &'a Signer,
        usages: &[ExtendedKeyUsage],
        publication: &Publication,
        validity: Validity,
    ) -> Result<Self, Error> {
        let encode_tbs = |key_use| signer.encode_sample(key_use, usages, publication, validity);
        let template = |unsigned: &[u8]| TbsTemplate::of(unsigned, signer).map_err(failed)?.ok_or(FAILED);
        let others = encode_tbs(KeyUse::Signing)?;
        Ok(Self {
            signer,
            algorithm: SignedParts::read(&others).map_err(failed)?.algorithm.to_vec(),
            rsa: template(&encode_tbs(KeyUse::Rsa)?)?,
            others: template(&others)?,
        })
    }

    /// Builds the bytes to sign for a key, of which `info` is the `SubjectPublicKeyInfo`.
    pub(crate) fn encode_tbs(
        &self,
        parts: &LeafParts<'_>,
        key: &SubjectKey<'_>,
        info: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let template = match KeyUse::of(key) {
            KeyUse::Rsa => &self.rsa,
            KeyUse::Signing => &self.others,
        };
        template.fill(parts, &key_identifier(key.der_bytes()), info).map_err(failed)
    }

    /// Builds the template from an encoded sample certificate.
    pub(crate) fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, Error> {
        SignedParts { tbs, algorithm: &self.algorithm }.signed(tbs, self.signer.key())
    }
}

impl TbsTemplate {
    /// Takes a certificate apart; `None` where it can't be told where the key identifier is.
    fn of(unsigned: &[u8], signer: &Signer) -> der::Result<Option<Self>> {
        let tbs = SignedParts::read(unsigned)?.with_issuer(signer.name())?;
        let mut reader = SliceReader::new(&tbs)?;
        let mut parts = contents(&mut reader)?;
        let version = parts.tlv_bytes()?.to_vec();
        let _serial = parts.tlv_bytes()?;
        let before_subject = [parts.tlv_bytes()?, parts.tlv_bytes()?, parts.tlv_bytes()?].concat();
        let _subject = parts.tlv_bytes()?;
        let _key = parts.tlv_bytes()?;
        let tagged = Header::decode(&mut parts)?;
        let mut tagged = SliceReader::new(parts.read_slice(tagged.length())?)?;
        let mut extensions = contents(&mut tagged)?;
        let extensions = extensions.read_slice(extensions.remaining_len())?;
        let Some((before, after)) = split_once(extensions, &SAMPLE_KEY_IDENTIFIER) else { return Ok(None) };
        Ok(Some(Self {
            version,
            before_subject,
            before_identifier: before.to_vec(),
            after_identifier: after.to_vec(),
        }))
    }

    /// The content to be signed (RFC 5280 §4.1.2).
    fn fill(&self, parts: &LeafParts<'_>, key_identifier: &[u8], info: &[u8]) -> der::Result<Vec<u8>> {
        // All lengths are known before the first byte: one buffer does, where each value in its own costs
        // more than to hash them all.
        let LeafParts { common_name, serial, profile } = parts;
        let serial = serial.as_bytes();
        let attribute = COMMON_NAME.len() + encoded_len(common_name.len())?;
        let set = encoded_len(attribute)?;
        let subject = profile.subject.len() + encoded_len(set)?;
        let extensions = self.before_identifier.len()
            + key_identifier.len()
            + self.after_identifier.len()
            + profile.extensions.len();
        let list = encoded_len(extensions)?;
        let length = self.version.len()
            + encoded_len(serial.len())?
            + self.before_subject.len()
            + encoded_len(subject)?
            + info.len()
            + encoded_len(list)?;
        let mut out = start(Tag::Sequence, length)?;
        out.extend_from_slice(&self.version);
        append_header(&mut out, Tag::Integer, serial.len())?;
        out.extend_from_slice(serial);
        out.extend_from_slice(&self.before_subject);
        append_header(&mut out, Tag::Sequence, subject)?;
        out.extend_from_slice(&profile.subject);
        append_header(&mut out, Tag::Set, set)?;
        append_header(&mut out, Tag::Sequence, attribute)?;
        out.extend_from_slice(COMMON_NAME);
        append_header(&mut out, Tag::Utf8String, common_name.len())?;
        out.extend_from_slice(common_name.as_bytes());
        out.extend_from_slice(info);
        append_header(&mut out, EXTENSIONS, list)?;
        append_header(&mut out, Tag::Sequence, extensions)?;
        for part in [&self.before_identifier, key_identifier, &self.after_identifier, &profile.extensions] {
            out.extend_from_slice(part);
        }
        Ok(out)
    }
}

/// Returns the bytes before and after a value that occurs exactly once.
fn split_once<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (before, rest) = bytes.split_at_checked(pem::find(bytes, wanted)?)?;
    let (_, after) = rest.split_at_checked(wanted.len())?;
    pem::find(after, wanted).is_none().then_some((before, after))
}

fn failed(_: der::Error) -> Error {
    FAILED
}

const FAILED: Error = Error::Crypto("encoding a certificate");
/// RFC 5280 §4.1: `extensions [3] EXPLICIT`.
const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(3) };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;
    use crate::keys::private::{KeyType, PrivateKey};
    use crate::x509::encoder::{CaSubject, CaTerms, self_sign_root};

    const VALIDITY: Validity =
        Validity { not_before: datetime!(2026-11-23 12:00 UTC), not_after: datetime!(2051-01-01 0:00 UTC) };

    fn signer(key_type: KeyType) -> Signer {
        let key = PrivateKey::generate(key_type).unwrap();
        let terms = CaTerms::default();
        let root = self_sign_root(
            CaSubject::CommonName("Plant 7"),
            &key,
            &terms,
            Serial::random().unwrap(),
            VALIDITY,
        )
        .unwrap();
        Signer::new(&root, Box::new(key)).unwrap()
    }

    fn tbs(certificate: &[u8]) -> Vec<u8> {
        let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
        parsed.tbs_certificate.as_ref().to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Byte for byte, whatever the name's length and the kinds of the keys.
        #[test]
        fn a_filled_template_is_what_the_encoder_lays_out(
            common_name in "[a-zA-Z0-9/*.ö€]{1,257}",
            subject in prop_oneof![Just(KeyType::P256), Just(KeyType::P384), Just(KeyType::Rsa2048)],
            ca in prop_oneof![Just(KeyType::P256), Just(KeyType::P384)],
        ) {
            let signer = signer(ca);
            let key = PrivateKey::generate(subject).unwrap();
            let key = SubjectKey::Own(&key);
            let serial = Serial::random().unwrap();
            let templates = LeafTemplates::new(&signer, &[ExtendedKeyUsage::ClientAuth], &Publication::default(), VALIDITY)
                .unwrap();
            let profile = ProfileParts::default();
            let parts = LeafParts { common_name: &common_name, serial, profile: &profile };
            let ours = templates.encode_tbs(&parts, &key, &key.to_info()).unwrap();
            let ours = templates.sign(&ours).unwrap();
            let theirs = signer.sign_leaf(&common_name, &key, serial, VALIDITY).unwrap();
            prop_assert_eq!(tbs(&ours), tbs(&theirs));
        }
    }
}
