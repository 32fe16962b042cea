//! [`Draft`]: the texts of a row's fixed columns, and their conversion into values.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::identity::{Status, StatusReason};
use hub_types::symmetric_key::KeyError;
use hub_types::{DeviceId, IdentityId, ModuleId, SymmetricKey, Thumbprint};

use crate::across::blanks::Blanks;
use crate::header::cells::{Cell, Cells};
use crate::header::column::{Column, Field};
use crate::header::suggest::suggest;
use crate::problem::redact::secret_in;
use crate::problem::{Findings, Flaw};
use crate::row::PemSource;
use crate::row::id_pattern::IdPattern;
use crate::text::excel;

/// The texts of a row's fixed columns, trimmed; empty ones are absent.
#[derive(Default)]
pub(crate) struct Draft<'a> {
    texts: [Option<Cow<'a, str>>; Field::ALL.len()],
    /// Columns with a forbidden text, which is reported; they do not count as empty either.
    refused: Vec<Field>,
    /// Cells with blanks around their value.
    padded: Vec<(Field, &'a str)>,
}

/// The value of `auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    Sas,
    X509Ca,
    X509Thumbprint,
}

impl<'a> Draft<'a> {
    /// Sorts the cells, and reports those with forbidden content.
    pub(crate) fn sort(&mut self, cells: &'a Cells, findings: &mut Findings<'_>) {
        for (header, cell) in cells.pairs() {
            if cell.is_empty() {
                continue;
            }
            let text = cell.text();
            if let Some(flaw) = forbidden(&header.column, cell, &text) {
                findings.cell_error(&header.name, &text, flaw);
                if let Some(Column::Field(field)) = header.column {
                    self.refused.push(field);
                }
                continue;
            }
            match &header.column {
                Some(Column::Field(field)) => self.put(*field, text),
                Some(Column::Free(name)) if excel::is_rounded_number(&text) => {
                    findings.cell_warning(name, &text, excel::rounded_number());
                }
                Some(Column::Free(name)) => {
                    if let Some(flaw) = excel::doubt(&text) {
                        findings.cell_warning(name, &text, flaw);
                    }
                }
                _ => {}
            }
        }
    }

    /// The text of a column, if the row has one.
    pub(crate) fn get(&self, field: Field) -> Option<&str> {
        self.texts.get(field as usize)?.as_deref()
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.get(field).is_some()
    }

    /// Returns true if the row has a text here, including a refused one.
    pub(crate) fn is_given(&self, field: Field) -> bool {
        self.has(field) || self.refused.contains(&field)
    }

    /// Records the values that lost their surrounding blanks.
    pub(crate) fn note_blanks(&self, line: u64, blanks: &mut Blanks) {
        self.padded.iter().for_each(|(field, cell)| blanks.note(*field, cell, line));
    }

    fn put(&mut self, field: Field, text: Cow<'a, str>) {
        let text = match text {
            // What is read by people is stored as it is.
            text if field == Field::StatusReason => text,
            Cow::Borrowed(text) => {
                let value = text.trim();
                if value.len() < text.len() && !value.is_empty() && counts_blanks(field) {
                    self.padded.push((field, text));
                }
                Cow::Borrowed(value)
            }
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        if !str::is_empty(&text)
            && let Some(slot) = self.texts.get_mut(field as usize)
        {
            *slot = Some(text);
        }
    }

    /// The identity, if both ids are legal.
    pub(crate) fn identity(
        &self,
        pattern: Option<&IdPattern>,
        findings: &mut Findings<'_>,
    ) -> Option<IdentityId> {
        if !self.is_given(Field::DeviceId) {
            findings.column_error(
                Field::DeviceId.name(),
                Flaw::new(
                    "the row names no device",
                    "enter the device's id; remove the row if it is not meant",
                ),
            );
        }
        let device = self.parse(Field::DeviceId, findings, |text| {
            let device = device_id(text)?;
            pattern.map_or(Ok(()), |pattern| pattern.check(&device)).map(|()| device)
        });
        let module = self.parse(Field::ModuleId, findings, module_id);
        match self.is_given(Field::ModuleId) {
            true => Some(IdentityId::new(device?, Some(module?))),
            false => device.map(IdentityId::from),
        }
    }

    pub(crate) fn auth(&self, findings: &mut Findings<'_>) -> Option<AuthMethod> {
        self.parse(Field::Auth, findings, auth_method)
    }

    pub(crate) fn thumbprint(&self, field: Field, findings: &mut Findings<'_>) -> Option<Thumbprint> {
        self.parse(field, findings, |text| {
            Thumbprint::parse_lenient(text).map_err(|error| {
                Flaw::new(
                    error.to_string(),
                    "copy the whole thumbprint, as `cert-tool thumbprint` or `openssl x509 -fingerprint -sha256` prints it",
                )
            })
        })
    }

    /// A key; its text is never shown.
    pub(crate) fn key(&self, field: Field, findings: &mut Findings<'_>) -> Option<SymmetricKey> {
        match self.get(field)?.parse() {
            Ok(key) => Some(key),
            Err(error) => {
                let remedy = "enter the whole key, or leave both keys empty so that the hub generates them";
                findings.column_error(field.name(), Flaw::new(KeyError::to_string(&error), remedy));
                None
            }
        }
    }

    pub(crate) fn status(&self, findings: &mut Findings<'_>) -> Option<Status> {
        self.parse(Field::Status, findings, |text| match text.to_ascii_lowercase().as_str() {
            "enabled" => Ok(Status::Enabled),
            "disabled" => Ok(Status::Disabled),
            _ => Err(Flaw::new(
                "a status is `enabled` or `disabled`",
                "write one of them, or nothing for `enabled`",
            )),
        })
    }

    pub(crate) fn status_reason(&self, findings: &mut Findings<'_>) -> Option<StatusReason> {
        self.parse(Field::StatusReason, findings, |text| {
            if text.trim().is_empty() {
                return Err(Flaw::new(
                    "the reason has nothing but blanks",
                    "say a reason, or leave the cell empty",
                ));
            }
            StatusReason::new(text).map_err(|error| Flaw::new(error.to_string(), "say it in fewer words"))
        })
    }

    pub(crate) fn edge(&self, findings: &mut Findings<'_>) -> Option<bool> {
        self.parse(Field::Edge, findings, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            _ => Err(Flaw::new("this says neither yes nor no", "write `true` or `false`")),
        })
    }

    pub(crate) fn parent(&self, findings: &mut Findings<'_>) -> Option<DeviceId> {
        self.parse(Field::Parent, findings, device_id)
    }

    /// The path of a file, relative to the folder of the batch.
    pub(crate) fn path(&self, field: Field, base: &Path, findings: &mut Findings<'_>) -> Option<PathBuf> {
        self.parse(field, findings, |text| {
            if text.starts_with("-----BEGIN") || text.contains('\n') {
                return Err(Flaw::new(
                    "the column names a file; this is a file's content",
                    "save it beside the batch and enter the file's name",
                ));
            }
            Ok(base.join(text))
        })
    }

    /// The location of the request or the public key of a column.
    pub(crate) fn pem_source(
        &self,
        field: Field,
        base: &Path,
        findings: &mut Findings<'_>,
    ) -> Option<PemSource> {
        let (wanted, labels): (_, &[&str]) = match field {
            Field::PublicKey => ("public key", &["PUBLIC KEY", "RSA PUBLIC KEY"]),
            _ => ("certificate signing request", &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"]),
        };
        let text = self.get(field)?;
        if let Some(pem) = base64_as_pem(text, labels) {
            return Some(PemSource::Pem(pem));
        }
        if !text.starts_with("-----BEGIN") {
            return self.path(field, base, findings).map(PemSource::Path);
        }
        let pem = with_line_ends(text);
        self.parse(field, findings, |_| match labels.iter().any(|label| is_one_of(&pem, label)) {
            true => Ok(PemSource::Pem(pem.into_owned())),
            false => Err(Flaw::new(
                format!("this PEM is no whole {wanted}"),
                format!(
                    "copy everything from `-----BEGIN {}-----` to the end line, or enter a file's name",
                    labels.first().unwrap_or(&wanted)
                ),
            )),
        })
    }

    /// Parses a column's text if there is one, and reports its fault.
    fn parse<T>(
        &self,
        field: Field,
        findings: &mut Findings<'_>,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let text = self.get(field)?;
        parse(text).map_err(|flaw| findings.cell_error(field.name(), text, flaw)).ok()
    }
}

/// Returns the fault of a text that no cell of this column may hold.
fn forbidden(column: &Option<Column>, cell: Cell<'_>, text: &str) -> Option<Flaw> {
    if let Some(secret) = secret_in(text) {
        return Some(secret);
    }
    if excel::is_formula_error(text) {
        return Some(excel::formula_error());
    }
    let is_nested = matches!(cell, Cell::Json(cell) if cell.value.is_array() || cell.value.is_object());
    let takes_nested = matches!(column, Some(Column::Twin(_)));
    (is_nested && !takes_nested).then(|| {
        Flaw::new(
            "an array or an object stands where a text is due",
            "write a text; only tags.… and desired.… take arrays and objects",
        )
    })
}

fn device_id(text: &str) -> Result<DeviceId, Flaw> {
    check_id(text)?;
    DeviceId::new(text).map_err(|error| id_flaw(&error))
}

fn module_id(text: &str) -> Result<ModuleId, Flaw> {
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
    // No id has spaces, so this says more than that.
    if let Some(flaw) = excel::doubt(text).filter(|_| text.contains(' ')) {
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

fn auth_method(text: &str) -> Result<AuthMethod, Flaw> {
    let squashed = text.to_ascii_lowercase().replace(['_', '-', ' '], "");
    match squashed.as_str() {
        "sas" => Ok(AuthMethod::Sas),
        "x509ca" | "certificateauthority" => Ok(AuthMethod::X509Ca),
        "x509thumbprint" | "selfsigned" => Ok(AuthMethod::X509Thumbprint),
        _ => {
            let legal = ["sas", "x509_ca", "x509_thumbprint"];
            let remedy = match suggest(&text.to_ascii_lowercase(), legal) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("legal are `{}`, or nothing for `x509_thumbprint`", legal.join("`, `")),
            };
            Err(Flaw::new("there is no such way to authenticate", remedy))
        }
    }
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

/// Returns true for columns whose surrounding blanks are reported: ids, and names of files.
fn counts_blanks(field: Field) -> bool {
    matches!(
        field,
        Field::DeviceId
            | Field::ModuleId
            | Field::Parent
            | Field::Certificate
            | Field::PrivateKey
            | Field::Profile
            | Field::Twin
    )
}

/// The length of the base64 of six bytes: the header of a SEQUENCE, and the tag of its first element.
const BEGIN_CHARS: usize = 8;

fn is_one_of(pem: &str, label: &str) -> bool {
    pem.starts_with(&format!("-----BEGIN {label}-----")) && pem.ends_with(&format!("-----END {label}-----"))
}
