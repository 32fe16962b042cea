//! PFX files of others.

use std::path::Path;

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as PfxError;

use crate::error::Error;
use crate::error::secret_for::SecretFor;
use crate::input::location::{body_of_sequence, not_a};
use crate::secrets::secret::AskSecret;

/// `PFX ::= SEQUENCE { version INTEGER (3), … }` (RFC 7292 §4).
pub(crate) fn is_pfx(bytes: &[u8]) -> bool {
    body_of_sequence(bytes).is_some_and(|body| body.starts_with(&[0x02, 0x01, 0x03, 0x30]))
}

/// Opens a PFX file: with no password where that will do, and else with the one that is asked for. `wanted` stands
/// in errors.
pub(crate) fn read(
    bytes: &[u8],
    name: &Path,
    wanted: &'static str,
    asked_for: SecretFor<'_>,
    ask: &mut AskSecret<'_>,
) -> Result<Pkcs12Archive, Error> {
    let fault = |error: &PfxError| fault(error, name, wanted);
    if bytes.get(1) == Some(&INDEFINITE) {
        return Err(unsupported(name, "in BER with indefinite lengths, as NSS and old Java write it"));
    }
    match Pkcs12Archive::from_pkcs12(bytes, "") {
        Ok(archive) => return Ok(archive),
        Err(error) if !may_be_the_password(&error) => return Err(fault(&error)),
        Err(_) => {}
    }
    let password = ask(asked_for)?.ok_or_else(|| Error::secret_needed(asked_for))?;
    // Other programs encode such passwords in UTF-16. The library does not, so nobody knows whether it is the right one.
    if !is_bmp(password.expose()) {
        return Err(unsupported(name, "to be opened with a password that has characters beyond U+FFFF"));
    }
    Pkcs12Archive::from_pkcs12(bytes, password.expose()).map_err(|error| {
        if may_be_the_password(&error) {
            Error::WrongSecret { what: asked_for.to_string() }
        } else {
            fault(&error)
        }
    })
}

/// Refuses a password that PKCS #12 can't encode: it knows only characters of the Basic Multilingual Plane.
pub(crate) fn check_password(password: &str) -> Result<(), Error> {
    if is_bmp(password) { Ok(()) } else { Err(Error::PasswordNotBmp) }
}

fn is_bmp(password: &str) -> bool {
    password.chars().all(|char| u32::from(char) <= 0xffff)
}

/// A wrong password shows itself in the MAC, or in a padding that makes no sense.
fn may_be_the_password(error: &PfxError) -> bool {
    matches!(
        error,
        PfxError::MacError(_) | PfxError::UnpadError | PfxError::Pkcs5Error(_) | PfxError::InvalidLength
    )
}

/// Describes an error in a PFX file that has nothing to do with its password.
fn fault(error: &PfxError, name: &Path, wanted: &'static str) -> Error {
    let found = match error {
        PfxError::InvalidVersion => "a PFX file of a version that is not 3",
        PfxError::UnsupportedContentType => {
            return unsupported(name, "that is encrypted or signed with certificates");
        }
        PfxError::UnsupportedCertificateType => "a PFX file with a certificate that is not X.509",
        PfxError::UnsupportedEncryptionScheme => return unsupported(name, "with an old or rare encryption"),
        PfxError::UnsupportedMacAlgorithm => {
            return unsupported(name, "with a rare algorithm for its password check (MAC)");
        }
        PfxError::InvalidParameters => {
            "a PFX file that needs more than 1000000 rounds, or more memory, to be opened than is allowed"
        }
        _ => "a damaged PFX file",
    };
    not_a(name, wanted, found)
}

fn unsupported(name: &Path, how: &'static str) -> Error {
    Error::UnsupportedPfx { path: name.to_owned(), how }
}

/// The length of a BER value that ends with a mark.
const INDEFINITE: u8 = 0x80;
