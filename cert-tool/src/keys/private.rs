//! [`PrivateKey`]: a key of a kind that IoT Hub and its devices know.

use std::fmt;
use std::io::Read;
use std::path::Path;

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::encoding::pem::{self, PemError};
use crate::error::Error;
use crate::error::secret_for::SecretFor;
use crate::input::location::{self, broken_pem, kind_of_bytes, not_a};
use crate::input::pkcs12;
use crate::keys::encrypted;
use crate::platform::fs;
use crate::secrets::secret::{AskSecret, Secret};

/// The kind of a key that is made here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyType {
    /// NIST P-256, signing with SHA-256.
    #[default]
    P256,
    /// NIST P-384, signing with SHA-384.
    P384,
    /// RSA with 2048 bits, signing with SHA-256 (PKCS #1 v1.5).
    Rsa2048,
    /// RSA with 3072 bits, signing with SHA-256 (PKCS #1 v1.5).
    Rsa3072,
    /// RSA with 4096 bits, signing with SHA-256 (PKCS #1 v1.5).
    Rsa4096,
}

impl KeyType {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::P256, Self::P384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Returns whether it is RSA. Such keys take thousands of times longer to make than those on
    /// curves.
    pub(crate) fn is_rsa(self) -> bool {
        self.rsa_bits().is_some()
    }

    /// Returns the number of bits of an RSA modulus; `None` for a curve.
    pub(crate) fn rsa_bits(self) -> Option<usize> {
        match self {
            Self::P256 | Self::P384 => None,
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
        }
    }

    pub(crate) fn of_rsa_bits(bits: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|key_type| key_type.rsa_bits() == Some(bits))
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
        })
    }
}

/// A private key. It shows itself by its kind only.
pub struct PrivateKey {
    key_type: KeyType,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate(key_type: KeyType) -> Result<Self, Error> {
        let failed = |_| Error::Crypto("generating a key");
        let rsa = |size| RsaKeyPair::generate(size).map(Pair::Rsa).map_err(failed);
        let pair = match key_type {
            KeyType::P256 => EcdsaKeyPair::generate(P256).map(Pair::Ec).map_err(failed),
            KeyType::P384 => EcdsaKeyPair::generate(P384).map(Pair::Ec).map_err(failed),
            KeyType::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyType::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyType::Rsa4096 => rsa(KeySize::Rsa4096),
        };
        Ok(Self { key_type, pair: pair? })
    }

    /// Reads a file that only its owner can read, PEM or DER: PKCS#8, SEC 1 or PKCS#1, not encrypted.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_with(path, &mut |_| Ok(None))
    }

    /// Reads a file as [`Self::read`] does. For PKCS#8 that is encrypted (RFC 5958 §3, PBES2) and for a PFX file
    /// with one key, the passphrase is asked for. In a PEM file, what is no private key is passed over.
    pub fn read_with(path: &Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        fs::check_is_private(path)?;
        Self::parse_text(Zeroizing::new(fs::read_bounded(path, MAX_KEY_FILE_BYTES)?), path, ask)
    }

    /// Reads an input as [`Self::read_with`] reads a file; `name` stands in errors.
    pub fn read_from(input: impl Read, name: &Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        Self::parse_text(Zeroizing::new(fs::read_at_most(input, name, MAX_KEY_FILE_BYTES)?), name, ask)
    }

    fn parse_text(bytes: Zeroizing<Vec<u8>>, path: &Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        match pem::of_utf16(&bytes) {
            Some(text) => Self::parse(text.as_bytes(), path, ask),
            None => Self::parse(&bytes, path, ask),
        }
    }

    fn parse(text: &[u8], path: &Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        let asked_for = SecretFor::Key(path);
        let not_a_key = |found: String| not_a(path, WANTED, found);
        let key = match pem::first_of(text, pem::PRIVATE_KEYS) {
            Ok(block) if block.label == pem::ENCRYPTED_PRIVATE_KEY => {
                Self::from_der(&encrypted::open(&block.der, path, asked_for, ask)?)
            }
            Ok(block) => Self::from_der(&block.der),
            Err(PemError::Encrypted) => return Err(encrypted::old_encryption(path)),
            Err(error @ (PemError::BadBase64 | PemError::Truncated)) => {
                return Err(not_a_key(broken_pem(error).to_owned()));
            }
            Err(PemError::Absent) => match location::other_kind(text) {
                Some(kind) => return Err(not_a_key(kind)),
                None if pkcs12::is_pfx(text) => Self::in_pfx(text, path, ask)?,
                None if encrypted::is_encrypted_key(text) => {
                    Self::from_der(&encrypted::open(text, path, asked_for, ask)?)
                }
                None if text.first() == Some(&DER_SEQUENCE) => Self::from_der(text),
                None => return Err(not_a_key(kind_of_bytes(text).to_owned())),
            },
        };
        key.ok_or_else(|| {
            not_a_key("a key that is not P-256, P-384 or RSA-2048/3072/4096, or that is damaged".to_owned())
        })
    }

    /// The only key of a PFX file.
    fn in_pfx(bytes: &[u8], path: &Path, ask: &mut AskSecret<'_>) -> Result<Option<Self>, Error> {
        let archive = pkcs12::read(bytes, path, WANTED, SecretFor::Key(path), ask)?;
        match archive.keys.as_slice() {
            [only] => Ok(Self::from_der(only.key.as_der())),
            keys => Err(not_a(path, WANTED, format!("a PFX file with {} private keys", keys.len()))),
        }
    }

    /// Reads PKCS#8, SEC 1 or PKCS#1.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let ec = |key_type, algorithm| {
            let pair = EcdsaKeyPair::from_private_key_der(algorithm, der).ok()?;
            Some(Self { key_type, pair: Pair::Ec(pair) })
        };
        ec(KeyType::P256, P256).or_else(|| ec(KeyType::P384, P384)).or_else(|| {
            let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok()?;
            let key_type = KeyType::of_rsa_bits(pair.public_modulus_len() * 8)?;
            Some(Self { key_type, pair: Pair::Rsa(pair) })
        })
    }

    /// Writes the key to a new file with mode 0600.
    pub fn write_new(&self, path: &Path) -> Result<(), Error> {
        fs::write_new_private(path, &self.to_pem()?)
    }

    /// Writes the key to a new file with mode 0600, encrypted where there is a passphrase: PKCS#8 with
    /// PBES2, PBKDF2-HMAC-SHA256 and AES-256-CBC, which OpenSSL reads.
    pub(crate) fn write_new_with(&self, path: &Path, passphrase: Option<&Secret>) -> Result<(), Error> {
        match passphrase {
            None => self.write_new(path),
            Some(passphrase) => {
                let sealed = encrypted::seal(&self.to_pkcs8()?, passphrase)?;
                fs::write_new_private(path, &pem::encode(pem::ENCRYPTED_PRIVATE_KEY, &sealed))
            }
        }
    }

    /// Its kind.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The public key: of a curve an uncompressed point, of RSA an `RSAPublicKey` in DER (RFC 8017).
    pub fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    /// PKCS#8 version 1, which old tools read too, as PEM.
    pub(crate) fn to_pem(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.with_pkcs8(|der| pem::encode(pem::PRIVATE_KEY, der))
    }

    /// PKCS#8 version 1 in DER.
    pub(crate) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.with_pkcs8(|der| Zeroizing::new(der.to_vec()))
    }

    fn with_pkcs8<T>(&self, with: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        let encoded = match &self.pair {
            Pair::Ec(pair) if self.key_type == KeyType::P256 => p256_pkcs8(pair).map(|der| with(&der)),
            Pair::Ec(pair) => pair.to_pkcs8v1().map(|der| with(der.as_ref())),
            Pair::Rsa(pair) => pair.as_der().map(|der| with(der.as_ref())),
        };
        encoded.map_err(|_| Error::Crypto("encoding a key"))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::Crypto("signing");
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.key_type)
    }
}

/// PKCS#8 of a key on P-256. Whatever the key, only its two numbers differ (RFC 5208 §5, RFC 5915 §3), and
/// the library would compute the public one anew: that takes a fifth as long as to make a key.
fn p256_pkcs8(pair: &EcdsaKeyPair) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes()?;
    let public = pair.public_key().as_ref();
    // Made to measure: growing would leave copies of the key behind.
    let mut der = Zeroizing::new(Vec::with_capacity(P256_PKCS8_BYTES));
    for part in [BEFORE_PRIVATE, private.as_ref(), BEFORE_PUBLIC, public] {
        der.extend_from_slice(part);
    }
    if der.len() == P256_PKCS8_BYTES { Ok(der) } else { Err(Unspecified) }
}

static P256: &EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
static P384: &EcdsaSigningAlgorithm = &ECDSA_P384_SHA384_ASN1_SIGNING;
/// `PrivateKeyInfo` for `id-ecPublicKey` and `prime256v1`, and `ECPrivateKey` in it, up to the number.
const BEFORE_PRIVATE: &[u8] = &[
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01,
    0x04, 0x20,
];
const BEFORE_PUBLIC: &[u8] = &[0xa1, 0x44, 0x03, 0x42, 0x00];
/// A private number has 32 bytes, a point 65.
const P256_PKCS8_BYTES: usize = BEFORE_PRIVATE.len() + 32 + BEFORE_PUBLIC.len() + 65;
/// A PFX file may have a long chain.
const MAX_KEY_FILE_BYTES: u64 = 256 * 1024;
const WANTED: &str = "a private key";
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        for key_type in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
            let path = folder.path().join(key_type.to_string());
            let key = PrivateKey::generate(key_type).unwrap();
            key.write_new(&path).unwrap();
            let read = PrivateKey::read(&path).unwrap();
            assert_eq!((read.key_type(), read.public_key()), (key_type, key.public_key()));
            assert!(matches!(key.write_new(&path), Err(Error::AlreadyExists { .. })));
        }
    }

    #[test]
    fn pkcs8_is_what_the_library_encodes() {
        for _ in 0..100 {
            let key = PrivateKey::generate(KeyType::P256).unwrap();
            let Pair::Ec(pair) = &key.pair else { panic!("no key on a curve") };
            assert_eq!(key.to_pkcs8().unwrap().as_slice(), pair.to_pkcs8v1().unwrap().as_ref());
        }
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        key.write_new_with(&path, Some(&Secret::new("open sesame"))).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
        let read = PrivateKey::read_with(&path, &mut |_| Ok(Some(Secret::new("open sesame")))).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        let wrong = PrivateKey::read_with(&path, &mut |_| Ok(Some(Secret::new("open barley"))));
        assert!(matches!(wrong, Err(Error::WrongSecret { .. })), "{wrong:?}");
        assert!(matches!(PrivateKey::read(&path), Err(Error::SecretNeeded { .. })));
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
        assert_eq!(error.hint(), Some(format!("chmod 600 {}", path.to_string_lossy())));
    }
}
