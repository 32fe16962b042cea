//! Private keys at rest: PKCS#8 encrypted with a passphrase (RFC 5958 §3) by PBES2 (RFC 8018 §6.2).

use std::path::Path;

use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::secret::{AskSecret, Secret, SecretFor};

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

/// Decrypts a key to PKCS#8, in any scheme of PBES2 that the library knows.
pub(crate) fn open(
    der: &[u8],
    path: &Path,
    asked_for: SecretFor<'_>,
    ask: &mut AskSecret<'_>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let not_a_key =
        |found: &str| Error::NotA { path: path.to_owned(), wanted: "a private key", found: found.to_owned() };
    let sealed = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|_| not_a_key("damaged, or encrypted in a way other than PBES2"))?;
    check_cost(&sealed).map_err(not_a_key)?;
    let passphrase = ask(asked_for)?.ok_or_else(|| Error::SecretNeeded { what: asked_for.to_string() })?;
    // A wrong passphrase shows as padding that is none, or as a plain text that is no key.
    let opened = sealed.decrypt(passphrase.expose());
    let opened = opened.map_err(|_| Error::WrongSecret { what: asked_for.to_string() })?;
    Ok(Zeroizing::new(opened.as_bytes().to_vec()))
}

/// A hostile file must not keep a station busy for hours.
fn check_cost(sealed: &EncryptedPrivateKeyInfoRef<'_>) -> Result<(), &'static str> {
    let kdf = sealed.encryption_algorithm.pbes2().map(|parameters| &parameters.kdf);
    match kdf {
        Some(pbes2::Kdf::Pbkdf2(kdf)) if kdf.iteration_count > MAX_ITERATIONS => {
            Err("encrypted with more rounds of PBKDF2 than are ever needed")
        }
        Some(_) => Ok(()),
        None => Err("encrypted in a way other than PBES2"),
    }
}

/// What OWASP asks of PBKDF2-HMAC-SHA256 since 2023.
const ITERATIONS: u32 = 600_000;
const MAX_ITERATIONS: u32 = 10_000_000;
