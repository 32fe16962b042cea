//! The values of cells: the conversion of a cell's text, without its surrounding blanks.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::identity::{Status, StatusReason};
use hub_types::secret_text::holds_symmetric_key;
use hub_types::{DeviceId, ModuleId, SymmetricKey, Thumbprint};

use crate::header::column::AuthMethod;
use crate::header::suggest::suggest;
use crate::problem::Flaw;
use crate::row::PemSource;
use crate::text::excel;

/// Parses the id of a device.
pub(super) fn device_id(text: &str) -> Result<DeviceId, Flaw> {
    check_id(text)?;
    DeviceId::new(text).map_err(|error| id_flaw(&error))
}

/// Parses the id of a module, other than those of the IoT Edge runtime.
pub(super) fn module_id(text: &str) -> Result<ModuleId, Flaw> {
    check_id(text)?;
    let module = ModuleId::new(text).map_err(|error| id_flaw(&error))?;
    if module.is_system() {
        return Err(Flaw::new(
            "module ids that begin with `$` are the hub's own",
            "leave the row out: a hub makes `$edgeAgent` and `$edgeHub` itself with an edge device",
        ));
    }
    Ok(module)
}

/// Checks for ids that are legal for a hub but surely not intended, or not reachable.
fn check_id(text: &str) -> Result<(), Flaw> {
    if excel::is_rounded_number(text) {
        return Err(excel::rounded_number());
    }
    if holds_symmetric_key(text) {
        return Err(Flaw::new(
            "the id looks like a symmetric key; it is not repeated here",
            "enter the id; a key stands in `primary_key` or `secondary_key`",
        ));
    }
    // No id has spaces, so this says more than that.
    if text.contains(' ')
        && let Some(flaw) = excel::doubt(text)
    {
        return Err(flaw);
    }
    if matches!(text, "." | "..") {
        return Err(Flaw::new(
            "an id of dots only can't be reached: URLs fold it away",
            "give it another id",
        ));
    }
    Ok(())
}

fn id_flaw(error: &hub_types::id::IdError) -> Flaw {
    Flaw::new(error.to_string(), "correct the id, here and on the label of the device")
}

/// Parses `auth`, in our spelling or in that of IoT Hub.
pub(super) fn auth_method(text: &str) -> Result<AuthMethod, Flaw> {
    let squashed = text.to_ascii_lowercase().replace(['_', '-', ' '], "");
    match squashed.as_str() {
        "sas" => Ok(AuthMethod::Sas),
        "x509ca" | "certificateauthority" => Ok(AuthMethod::X509Ca),
        "x509thumbprint" | "selfsigned" => Ok(AuthMethod::X509Thumbprint),
        _ => {
            let legal = AuthMethod::ALL.map(AuthMethod::name);
            let remedy = match suggest(&text.to_ascii_lowercase(), legal) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("legal are `{}`, or nothing for `x509_thumbprint`", legal.join("`, `")),
            };
            Err(Flaw::new("there is no such way to authenticate", remedy))
        }
    }
}

/// Parses a thumbprint, with or without colons or blanks between its digits.
pub(super) fn thumbprint(text: &str) -> Result<Thumbprint, Flaw> {
    Thumbprint::parse_lenient(text).map_err(|error| {
        Flaw::new(
            error.to_string(),
            "copy the whole thumbprint, as `cert-tool thumbprint` or `openssl x509 -fingerprint -sha256` prints it",
        )
    })
}

/// Parses a symmetric key.
pub(super) fn key(text: &str) -> Result<SymmetricKey, Flaw> {
    text.parse().map_err(|error: hub_types::symmetric_key::KeyError| {
        let remedy = "enter the whole key, or leave both keys empty so that the hub generates them";
        Flaw::new(error.to_string(), remedy)
    })
}

/// Parses `enabled` or `disabled`, in any case.
pub(super) fn status(text: &str) -> Result<Status, Flaw> {
    match text.to_ascii_lowercase().as_str() {
        "enabled" => Ok(Status::Enabled),
        "disabled" => Ok(Status::Disabled),
        _ => Err(Flaw::new(
            "a status is `enabled` or `disabled`",
            "write one of them, or nothing for `enabled`",
        )),
    }
}

/// Parses the reason of a status, at most 128 characters.
pub(super) fn status_reason(text: &str) -> Result<StatusReason, Flaw> {
    if text.trim().is_empty() {
        return Err(Flaw::new("the reason has nothing but blanks", "say a reason, or leave the cell empty"));
    }
    StatusReason::new(text).map_err(|error| Flaw::new(error.to_string(), "say it in fewer words"))
}

/// Parses a truth value.
pub(super) fn yes_or_no(text: &str) -> Result<bool, Flaw> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(Flaw::new("this says neither yes nor no", "write `true` or `false`")),
    }
}

/// Parses the path of a file, relative to `base`, the folder of the batch.
pub(super) fn path(text: &str, base: &Path) -> Result<PathBuf, Flaw> {
    if text.starts_with("-----BEGIN") || text.contains('\n') {
        return Err(Flaw::new(
            "the column names a file; this is a file's content",
            "save it beside the batch and enter the file's name",
        ));
    }
    Ok(base.join(text))
}

/// A kind of object that a cell holds as PEM, as DER in base64, or by the name of a file.
pub(super) struct PemKind {
    name: &'static str,
    /// The labels of its PEM; the first is the usual one.
    labels: &'static [&'static str],
}

pub(super) const REQUEST: PemKind = PemKind {
    name: "certificate signing request",
    labels: &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"],
};
pub(super) const PUBLIC_KEY: PemKind =
    PemKind { name: "public key", labels: &["PUBLIC KEY", "RSA PUBLIC KEY"] };

/// Parses the location of a request or a public key.
pub(super) fn pem_source(text: &str, kind: &PemKind, base: &Path) -> Result<PemSource, Flaw> {
    if let Some(pem) = base64_as_pem(text, kind.labels) {
        return Ok(PemSource::Pem(pem));
    }
    if !text.starts_with("-----BEGIN") {
        return path(text, base).map(PemSource::Path);
    }
    let pem = with_line_ends(text);
    if kind.labels.iter().any(|label| is_one_of(&pem, label)) {
        return Ok(PemSource::Pem(pem.into_owned()));
    }
    Err(Flaw::new(
        format!("this PEM is no whole {}", kind.name),
        format!(
            "copy everything from `-----BEGIN {}-----` to the end line, or enter a file's name",
            kind.labels.first().unwrap_or(&kind.name)
        ),
    ))
}

/// Converts DER in base64, in one line or several, to PEM, from which it differs by the first and
/// last line. It is told from a file's name by what it decodes to: a SEQUENCE that begins with a
/// SEQUENCE, as requests and public keys do, or with an INTEGER, as the RSA keys of PKCS #1 do.
fn base64_as_pem(text: &str, labels: &[&str]) -> Option<String> {
    let text = with_line_ends(text);
    let is_base64 =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\r' | b'\n' | b' ');
    // Only the beginning: what was cut off or damaged behind it is no file's name either.
    let begin = text.as_bytes().get(..BEGIN_CHARS).filter(|_| text.bytes().all(is_base64))?;
    let is_rsa = match STANDARD.decode(begin).ok()?.as_slice() {
        [0x30, ..=0x7f, tag, ..] | [0x30, 0x81, _, tag, ..] | [0x30, 0x82, _, _, tag, ..] => match *tag {
            0x30 => false,
            0x02 => true,
            _ => return None,
        },
        _ => return None,
    };
    let label = labels.iter().find(|label| label.starts_with("RSA") == is_rsa)?;
    Some(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", text.trim()))
}

/// The text with line ends in place of the `\n` that programs write for them in single-line texts.
fn with_line_ends(text: &str) -> Cow<'_, str> {
    match text.contains("\\n") {
        true => Cow::Owned(text.replace("\\r\\n", "\n").replace("\\n", "\n").trim().to_owned()),
        false => Cow::Borrowed(text),
    }
}

/// The length of the base64 of six bytes: the header of a SEQUENCE, and the tag of its first element.
const BEGIN_CHARS: usize = 8;

fn is_one_of(pem: &str, label: &str) -> bool {
    pem.starts_with(&format!("-----BEGIN {label}-----")) && pem.ends_with(&format!("-----END {label}-----"))
}
