//! [`Key`]: keys derived from a seed, so that they are the same everywhere. They protect nothing.

use aws_lc_rs::agreement::{ECDH_P384, PrivateKey as Agreement};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use yasna::models::ObjectIdentifier;
use yasna::{Tag, construct_der};

use super::encode::Hash;
use crate::encoding::pem;
use crate::error::Error;
use crate::keys::public::PublicKey;

/// A key pair. P-256 keys can sign, with deterministic signatures (RFC 6979).
#[derive(Debug, Clone)]
pub(super) struct Key {
    signer: Option<SigningKey>,
    info: Vec<u8>,
    id: Vec<u8>,
    pem: String,
}

impl Key {
    /// The P-256 key of a seed and a label.
    pub(super) fn p256(seed: u64, label: &str) -> Result<Self, Error> {
        // One value in 2^32 is no scalar of the curve: then the next is taken.
        let found = (0..).find_map(|round: u64| {
            let scalar = derive(seed, "key", label, round);
            SigningKey::from_slice(&scalar).ok().map(|signer| (signer, scalar))
        });
        let (signer, scalar) = found.ok_or(Error::Crypto("deriving a key"))?;
        let point = signer.verifying_key().to_sec1_point(false);
        let mut key = Self::on_curve(&[1, 2, 840, 10045, 3, 1, 7], &scalar, point.as_bytes());
        key.signer = Some(signer);
        Ok(key)
    }

    /// The P-384 key of a seed and a label.
    pub(super) fn p384(seed: u64, label: &str) -> Result<Self, Error> {
        let failed = || Error::Crypto("deriving a key");
        let scalar = digest(&SHA384, &derive(seed, "key", label, 0));
        let private = Agreement::from_private_key(&ECDH_P384, scalar.as_ref()).map_err(|_| failed())?;
        let public = private.compute_public_key().map_err(|_| failed())?;
        Ok(Self::on_curve(&[1, 3, 132, 0, 34], scalar.as_ref(), public.as_ref()))
    }

    /// An RSA key, the same for every seed.
    pub(super) fn rsa(pem: &str) -> Result<Self, Error> {
        let failed = || Error::Crypto("reading a key of the test PKI");
        let block = pem::first_block(pem.as_bytes()).map_err(|_| failed())?;
        let info = PublicKey::of_private(&block.der).ok_or_else(failed)?.info().to_vec();
        let id = digest(&SHA1_FOR_LEGACY_USE_ONLY, &info).as_ref().to_vec();
        Ok(Self { signer: None, info, id, pem: pem.to_owned() })
    }

    /// Its `SubjectPublicKeyInfo`.
    pub(super) fn info(&self) -> &[u8] {
        &self.info
    }

    /// Its key identifier.
    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }

    /// The private key as PEM.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs with ECDSA; returns an empty signature if the key can't.
    pub(super) fn sign(&self, message: &[u8], hash: Hash) -> Vec<u8> {
        let Some(signer) = &self.signer else {
            return Vec::new();
        };
        let signature: Option<Signature> = match hash {
            Hash::Sha256 => signer.try_sign(message).ok(),
            Hash::Sha1 => {
                let hashed = digest(&SHA1_FOR_LEGACY_USE_ONLY, message);
                signer.sign_prehash(hashed.as_ref()).ok()
            }
        };
        signature.map(|signature| signature.to_der().as_bytes().to_vec()).unwrap_or_default()
    }

    fn on_curve(curve: &[u64], scalar: &[u8], point: &[u8]) -> Self {
        let algorithm = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_oid(&ObjectIdentifier::from_slice(&[1, 2, 840, 10045, 2, 1]));
                writer.next().write_oid(&ObjectIdentifier::from_slice(curve));
            });
        });
        let info = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&algorithm);
                writer.next().write_bitvec_bytes(point, point.len() * 8);
            });
        });
        // RFC 5915 in RFC 5208.
        let private = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(1);
                writer.next().write_bytes(scalar);
                writer.next().write_tagged(Tag::context(1), |writer| {
                    writer.write_bitvec_bytes(point, point.len() * 8);
                });
            });
        });
        let pkcs8 = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(0);
                writer.next().write_der(&algorithm);
                writer.next().write_bytes(&private);
            });
        });
        let pem = String::from_utf8_lossy(&pem::encode(pem::PRIVATE_KEY, &pkcs8)).into_owned();
        let id = digest(&SHA1_FOR_LEGACY_USE_ONLY, point).as_ref().to_vec();
        Self { signer: None, info, id, pem }
    }
}

/// A serial number: 16 bytes, positive and without a leading zero.
pub(super) fn serial(seed: u64, label: &str) -> Vec<u8> {
    let mut bytes = derive(seed, "serial", label, 0);
    bytes.truncate(16);
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    bytes
}

fn derive(seed: u64, what: &str, label: &str, round: u64) -> Vec<u8> {
    let text = format!("cert-tool test-pki 1/{seed}/{what}/{label}/{round}");
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

pub(super) const RSA_1024: &str = include_str!("keys/rsa1024.pem");
pub(super) const RSA_2048: &str = include_str!("keys/rsa2048.pem");
