//! Private keys at rest: PKCS#8 encrypted with a passphrase (RFC 5958 §3) by PBES2 (RFC 8018 §6.2).
//!
//! What a file asks for is read before anything is tried: which algorithms, and how much time and memory.

use std::path::Path;

use pkcs8::der::asn1::{AnyRef, OctetStringRef, UintRef};
use pkcs8::der::{self, Decode as _, Reader as _, SliceReader, Tag, Tagged as _};
use pkcs8::pkcs5::{self, pbes2};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::error::secret_for::SecretFor;
use crate::input::location;
use crate::secrets::secret::{AskSecret, Secret};

/// Encrypts a key in PKCS#8 with PBKDF2-HMAC-SHA256 and AES-256-CBC.
pub(crate) fn seal(pkcs8: &[u8], passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = || Error::Crypto("encrypting a key");
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| failed())?;
    aws_lc_rs::rand::fill(&mut iv).map_err(|_| failed())?;
    let parameters =
        pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, iv).map_err(|_| failed())?;
    let key = PrivateKeyInfoRef::try_from(pkcs8).map_err(|_| failed())?;
    let sealed = key.encrypt_with_params(parameters, passphrase.expose());
    Ok(Zeroizing::new(sealed.map_err(|_| failed())?.as_bytes().to_vec()))
}

/// Decrypts a key to PKCS#8: PBES2 with HMAC and SHA-1 to SHA-512 (RFC 8018) or with scrypt (RFC 7914),
/// and with AES or triple DES.
pub(crate) fn open(
    der: &[u8],
    path: &Path,
    asked_for: SecretFor<'_>,
    ask: &mut AskSecret<'_>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (parameters, sealed) = parse(der).map_err(|fault| fault.of(path))?;
    let passphrase = ask(asked_for)?.ok_or_else(|| Error::secret_needed(asked_for))?;
    let wrong = || Error::WrongSecret { what: asked_for.to_string() };
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let opened =
        parameters.decrypt_in_place(passphrase.expose(), &mut buffer).map_err(|error| match error {
            pkcs5::Error::DecryptFailed => wrong(),
            _ => DecryptionFault::Damaged.of(path),
        })?;
    // A wrong passphrase shows as bad padding or, once in 256 times, as a plain text that is not DER.
    let is_der = AnyRef::from_der(opened).is_ok_and(|any| any.tag() == Tag::Sequence);
    if is_der { Ok(Zeroizing::new(opened.to_vec())) } else { Err(wrong()) }
}

/// `EncryptedPrivateKeyInfo ::= SEQUENCE { SEQUENCE { OID of PKCS#5 or PKCS#12, … }, OCTET STRING }`.
pub(crate) fn is_encrypted_key(bytes: &[u8]) -> bool {
    const PKCS: [u8; 7] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01];
    let oid =
        location::body_of_sequence(bytes).and_then(location::body_of_sequence).and_then(|body| body.get(2..));
    oid.is_some_and(|oid| oid.starts_with(&PKCS) && matches!(oid.get(PKCS.len()), Some(0x05 | 0x0c)))
}

/// The error for a PEM block whose header says that it is encrypted (RFC 1421, `DEK-Info`).
pub(crate) fn old_encryption(path: &Path) -> Error {
    Error::UnsupportedEncryption {
        path: path.to_owned(),
        scheme: "OpenSSL's old PEM encryption (`DEK-Info`)".to_owned(),
    }
}

/// The error of a key that no passphrase opens here; `None` if one may.
pub(crate) fn why_unreadable(der: &[u8], path: &Path) -> Option<Error> {
    parse(der).err().map(|fault| fault.of(path))
}

/// The reason why a key can't be decrypted, whatever the passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DecryptionFault {
    Damaged,
    TooCostly { cost: String, limit: &'static str },
    Unsupported { scheme: String },
}

impl DecryptionFault {
    fn of(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Damaged => Error::NotA {
                path,
                wanted: "a private key",
                found: "a damaged encrypted private key".to_owned(),
            },
            Self::TooCostly { cost, limit } => Error::TooCostly { path, cost, limit },
            Self::Unsupported { scheme } => Error::UnsupportedEncryption { path, scheme },
        }
    }

    /// The fault of an algorithm: by its name where it has one here, and else by its object identifier.
    fn unsupported(oid: ObjectIdentifier) -> Self {
        let oid = oid.to_string();
        let name = SCHEMES.iter().find(|(known, _)| *known == oid).map(|(_, name)| (*name).to_owned());
        Self::Unsupported { scheme: name.unwrap_or_else(|| format!("the algorithm {oid}")) }
    }
}

impl From<der::Error> for DecryptionFault {
    fn from(_: der::Error) -> Self {
        Self::Damaged
    }
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 §3). Its algorithms are known, and not too costly.
fn parse(der: &[u8]) -> Result<(pbes2::Parameters, &[u8]), DecryptionFault> {
    let mut reader = SliceReader::new(der)?;
    let (algorithm, sealed) = reader.sequence(|reader| {
        let algorithm = AlgorithmIdentifierRef::decode(reader)?;
        Ok::<_, der::Error>((algorithm, <&OctetStringRef>::decode(reader)?))
    })?;
    reader.finish()?;
    if algorithm.oid != pbes2::PBES2_OID {
        return Err(DecryptionFault::unsupported(algorithm.oid));
    }
    let parameters = algorithm.parameters.ok_or(DecryptionFault::Damaged)?;
    let (kdf, cipher) = parameters.sequence(|reader| {
        let kdf = AlgorithmIdentifierRef::decode(reader)?;
        Ok::<_, der::Error>((kdf, AlgorithmIdentifierRef::decode(reader)?))
    })?;
    check_kdf(&kdf)?;
    let block_bytes = match cipher.oid {
        pbes2::AES_128_CBC_OID | pbes2::AES_192_CBC_OID | pbes2::AES_256_CBC_OID => 16,
        pbes2::DES_EDE3_CBC_OID => 8,
        pbes2::AES_128_GCM_OID | pbes2::AES_256_GCM_OID => 1,
        other => return Err(DecryptionFault::unsupported(other)),
    };
    let sealed = sealed.as_bytes();
    if sealed.is_empty() || sealed.len() % block_bytes != 0 {
        return Err(DecryptionFault::Damaged);
    }
    Ok((pbes2::Parameters::try_from(parameters)?, sealed))
}

/// A hostile file must neither keep a station busy for hours nor take all its memory.
fn check_kdf(kdf: &AlgorithmIdentifierRef<'_>) -> Result<(), DecryptionFault> {
    let parameters = kdf.parameters.ok_or(DecryptionFault::Damaged)?;
    match kdf.oid {
        pbes2::PBKDF2_OID => check_pbkdf2(parameters),
        pbes2::SCRYPT_OID => check_scrypt(parameters),
        other => Err(DecryptionFault::unsupported(other)),
    }
}

/// `PBKDF2-params` (RFC 8018, appendix A.2).
fn check_pbkdf2(parameters: AnyRef<'_>) -> Result<(), DecryptionFault> {
    let (salt, rounds, prf) = parameters.sequence(|reader| {
        let salt = AnyRef::decode(reader)?;
        let rounds = number(UintRef::decode(reader)?);
        Option::<UintRef<'_>>::decode(reader)?;
        Ok::<_, der::Error>((salt, rounds, Option::<AlgorithmIdentifierRef<'_>>::decode(reader)?))
    })?;
    check_salt(salt)?;
    if let Some(prf) = prf.filter(|prf| !PRFS.contains(&prf.oid.to_string().as_str())) {
        return Err(DecryptionFault::unsupported(prf.oid));
    }
    match rounds {
        0 => Err(DecryptionFault::Damaged),
        rounds if rounds > MAX_ITERATIONS => Err(DecryptionFault::TooCostly {
            cost: format!("{rounds} rounds of PBKDF2"),
            limit: "10000000 rounds",
        }),
        _ => Ok(()),
    }
}

/// `scrypt-params` (RFC 7914 §7.1).
fn check_scrypt(parameters: AnyRef<'_>) -> Result<(), DecryptionFault> {
    let (salt, [n, r, p]) = parameters.sequence(|reader| {
        let salt = AnyRef::decode(reader)?;
        let numbers = [UintRef::decode(reader)?, UintRef::decode(reader)?, UintRef::decode(reader)?];
        Option::<UintRef<'_>>::decode(reader)?;
        Ok::<_, der::Error>((salt, numbers.map(number)))
    })?;
    check_salt(salt)?;
    if n < 2 || r == 0 || p == 0 || !n.is_power_of_two() {
        return Err(DecryptionFault::Damaged);
    }
    let memory = n.saturating_mul(r).saturating_mul(128);
    if memory > MAX_SCRYPT_BYTES || p > MAX_SCRYPT_PASSES {
        return Err(DecryptionFault::TooCostly {
            cost: format!("scrypt with N = {n}, r = {r} and p = {p}, {} MiB of memory,", memory >> 20),
            limit: "256 MiB and p = 16",
        });
    }
    Ok(())
}

fn check_salt(salt: AnyRef<'_>) -> Result<(), DecryptionFault> {
    match salt.tag() {
        Tag::OctetString if salt.value().len() <= pbes2::Salt::MAX_LEN => Ok(()),
        Tag::OctetString => {
            Err(DecryptionFault::Unsupported { scheme: format!("a salt of {} bytes", salt.value().len()) })
        }
        _ => Err(DecryptionFault::Unsupported { scheme: "a salt that is not in the file".to_owned() }),
    }
}

/// The value, or the greatest that there is room for.
fn number(uint: UintRef<'_>) -> u128 {
    uint.as_bytes().iter().fold(0_u128, |sum, byte| {
        sum.checked_mul(256).and_then(|sum| sum.checked_add(u128::from(*byte))).unwrap_or(u128::MAX)
    })
}

/// OWASP's advice for PBKDF2-HMAC-SHA256 since 2023.
const ITERATIONS: u32 = 600_000;
const MAX_ITERATIONS: u128 = 10_000_000;
const MAX_SCRYPT_BYTES: u128 = 256 << 20;
const MAX_SCRYPT_PASSES: u128 = 16;

/// `hmacWithSHA1`, and those with SHA-224 to SHA-512 (RFC 8018, appendix B.1.2).
const PRFS: [&str; 5] = [
    "1.2.840.113549.2.7",
    "1.2.840.113549.2.8",
    "1.2.840.113549.2.9",
    "1.2.840.113549.2.10",
    "1.2.840.113549.2.11",
];

/// Algorithms that are named but not read: PBES1 (RFC 8018, appendix A.3), those of PKCS #12 (RFC 7292,
/// appendix C), and old or rare ciphers and functions in PBES2.
const SCHEMES: [(&str, &str); 20] = [
    ("1.2.840.113549.1.5.1", "PBES1 (pbeWithMD2AndDES-CBC)"),
    ("1.2.840.113549.1.5.3", "PBES1 (pbeWithMD5AndDES-CBC)"),
    ("1.2.840.113549.1.5.4", "PBES1 (pbeWithMD2AndRC2-CBC)"),
    ("1.2.840.113549.1.5.6", "PBES1 (pbeWithMD5AndRC2-CBC)"),
    ("1.2.840.113549.1.5.10", "PBES1 (pbeWithSHA1AndDES-CBC)"),
    ("1.2.840.113549.1.5.11", "PBES1 (pbeWithSHA1AndRC2-CBC)"),
    ("1.2.840.113549.1.12.1.1", "PKCS #12 PBE (SHA-1 and 128-bit RC4)"),
    ("1.2.840.113549.1.12.1.2", "PKCS #12 PBE (SHA-1 and 40-bit RC4)"),
    ("1.2.840.113549.1.12.1.3", "PKCS #12 PBE (SHA-1 and 3-key triple DES)"),
    ("1.2.840.113549.1.12.1.4", "PKCS #12 PBE (SHA-1 and 2-key triple DES)"),
    ("1.2.840.113549.1.12.1.5", "PKCS #12 PBE (SHA-1 and 128-bit RC2)"),
    ("1.2.840.113549.1.12.1.6", "PKCS #12 PBE (SHA-1 and 40-bit RC2)"),
    ("1.3.14.3.2.7", "DES-CBC"),
    ("1.2.840.113549.3.2", "RC2-CBC"),
    ("1.2.840.113549.3.9", "RC5-CBC"),
    ("1.2.392.200011.61.1.1.1.4", "Camellia-256-CBC"),
    ("1.2.392.200011.61.1.1.1.2", "Camellia-128-CBC"),
    ("1.2.840.113549.2.12", "HMAC with SHA-512/224"),
    ("1.2.840.113549.2.13", "HMAC with SHA-512/256"),
    ("1.2.643.7.1.1.4.2", "HMAC with GOST R 34.11-2012"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::private::{KeyType, PrivateKey};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A damaged file gives a result or an error, never a panic.
        #[test]
        fn no_file_is_a_panic(at in 0_usize..140, value in any::<u8>()) {
            let key = PrivateKey::generate(KeyType::P256).unwrap().to_pkcs8().unwrap();
            let parameters =
                pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1, b"saltsalt", [7; 16]).unwrap();
            let sealed = PrivateKeyInfoRef::try_from(key.as_slice()).unwrap();
            let mut sealed = sealed.encrypt_with_params(parameters, "x").unwrap().as_bytes().to_vec();
            if let Some(byte) = sealed.get_mut(at) {
                *byte = value;
            }
            let _ = parse(&sealed);
        }
    }

    #[test]
    fn what_costs_too_much_is_refused_before_it_is_tried() {
        // SEQUENCE { OCTET STRING, INTEGER 2^31 }
        let rounds = [&[0x30, 0x09, 0x04, 0x00, 0x02, 0x05, 0x00][..], &(1_u32 << 31).to_be_bytes()].concat();
        let fault = check_pbkdf2(AnyRef::from_der(&rounds).unwrap()).unwrap_err();
        let error = fault.of(Path::new("k")).to_string();
        assert!(error.contains("2147483648 rounds of PBKDF2"), "{error}");
        // N = 2^40, r = 8, p = 1.
        let scrypt =
            [&[0x30, 0x10, 0x04, 0x00, 0x02, 0x06, 0x01], &[0_u8; 5][..], &[2, 1, 8, 2, 1, 1]].concat();
        let fault = check_scrypt(AnyRef::from_der(&scrypt).unwrap()).unwrap_err();
        let error = fault.of(Path::new("k")).to_string();
        assert!(error.contains("N = 1099511627776") && error.contains("1073741824 MiB"), "{error}");
        // N = 0 has no logarithm.
        let zero = [0x30, 0x0b, 0x04, 0x00, 0x02, 0x01, 0x00, 0x02, 0x01, 0x08, 0x02, 0x01, 0x01];
        assert_eq!(check_scrypt(AnyRef::from_der(&zero).unwrap()), Err(DecryptionFault::Damaged));
    }
}
