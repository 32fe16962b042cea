//! [`PrivateKey`]: a key on one of the curves that IoT Hub and its devices know.

use std::fmt;
use std::path::Path;

use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _,
};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::fs;
use crate::pem::{self, PemError};

/// The curve of a key that is made here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyType {
    /// NIST P-256, signing with SHA-256.
    #[default]
    P256,
    /// NIST P-384, signing with SHA-384.
    P384,
}

impl KeyType {
    const ALL: [Self; 2] = [Self::P256, Self::P384];

    fn algorithm(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        })
    }
}

/// A private key. It shows itself by its curve only.
pub struct PrivateKey {
    key_type: KeyType,
    pair: EcdsaKeyPair,
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate(key_type: KeyType) -> Result<Self, Error> {
        let pair =
            EcdsaKeyPair::generate(key_type.algorithm()).map_err(|_| Error::Crypto("generating a key"))?;
        Ok(Self { key_type, pair })
    }

    /// Reads a PEM file that only its owner can read: PKCS#8 or SEC 1, not encrypted.
    pub fn read(path: &Path) -> Result<Self, Error> {
        fs::check_is_private(path)?;
        let text = Zeroizing::new(fs::read_bounded(path, MAX_KEY_BYTES)?);
        let not_a_key = |found: String| Error::NotA { path: path.to_owned(), wanted: "a private key", found };
        let block = pem::first_block(after_parameters(&text)).map_err(|error| {
            not_a_key(match error {
                PemError::Absent => "not PEM".to_owned(),
                PemError::BadBase64 => "damaged PEM".to_owned(),
                PemError::Encrypted => "an encrypted key".to_owned(),
                PemError::Truncated => "truncated PEM".to_owned(),
            })
        })?;
        if !matches!(block.label.as_str(), pem::PRIVATE_KEY | "EC PRIVATE KEY") {
            return Err(not_a_key(format!("a PEM file with {}", block.label)));
        }
        Self::from_der(&block.der)
            .ok_or_else(|| not_a_key("a key of another kind than P-256 or P-384".to_owned()))
    }

    /// Reads PKCS#8 or SEC 1.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        KeyType::ALL.into_iter().find_map(|key_type| {
            let pair = EcdsaKeyPair::from_private_key_der(key_type.algorithm(), der).ok()?;
            Some(Self { key_type, pair })
        })
    }

    /// Writes the key to a new file with mode 0600.
    pub fn write_new(&self, path: &Path) -> Result<(), Error> {
        fs::write_new_private(path, &self.to_pem()?)
    }

    /// Its curve.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The public key as an uncompressed point.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// PKCS#8 version 1, which old tools read too, as PEM.
    pub(crate) fn to_pem(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(pem::encode(pem::PRIVATE_KEY, self.to_pkcs8()?.as_ref()))
    }

    /// PKCS#8 version 1 in DER; the document wipes itself.
    pub(crate) fn to_pkcs8(&self) -> Result<Document, Error> {
        self.pair.to_pkcs8v1().map_err(|_| Error::Crypto("encoding a key"))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| Error::Crypto("signing"))?.as_ref().to_vec())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.key_type)
    }
}

/// `openssl ecparam -genkey` puts the curve's name in a block of its own before the key.
fn after_parameters(text: &[u8]) -> &[u8] {
    const END: &[u8] = b"-----END EC PARAMETERS-----";
    let found = text.windows(END.len()).position(|window| window == END);
    found.and_then(|start| text.get(start + END.len()..)).unwrap_or(text)
}

const MAX_KEY_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        for key_type in KeyType::ALL {
            let path = folder.path().join(key_type.to_string());
            let key = PrivateKey::generate(key_type).unwrap();
            key.write_new(&path).unwrap();
            let read = PrivateKey::read(&path).unwrap();
            assert_eq!((read.key_type(), read.public_key()), (key_type, key.public_key()));
            assert!(matches!(key.write_new(&path), Err(Error::AlreadyExists { .. })));
        }
    }

    #[test]
    fn a_key_shows_no_byte_of_itself() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(P-256)");
    }

    #[test]
    #[cfg(unix)]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        PrivateKey::generate(KeyType::P256).unwrap().write_new(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = PrivateKey::read(&path).unwrap_err();
        assert_eq!(error.hint(), Some(format!("chmod 600 {}", path.display())));
    }
}
