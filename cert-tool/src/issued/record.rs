//! [`IssuedCertificate`]: the record of a certificate in a store, and its row of `issued.csv`.

use std::path::{Path, PathBuf};

use hub_types::thumbprint::{ThumbprintDigest, append_upper_hex};
use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint, Thumbprint};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::encoding::time::rfc3339;

/// The way in which a hub is to trust a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuedAuth {
    /// By the CA that issued it, which the hub must know.
    X509Ca,
    /// By its thumbprint, which the hub is told.
    #[default]
    X509Thumbprint,
}

impl IssuedAuth {
    /// The value of the column `auth`.
    fn as_str(self) -> &'static str {
        match self {
            Self::X509Ca => "x509_ca",
            Self::X509Thumbprint => "x509_thumbprint",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::X509Ca, Self::X509Thumbprint].into_iter().find(|auth| auth.as_str() == text)
    }

    /// As the index has it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::X509Thumbprint => 0,
            Self::X509Ca => 1,
        }
    }

    /// The value that the index has as this number; `None` where this version knows none.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        [Self::X509Ca, Self::X509Thumbprint].into_iter().find(|auth| i64::from(auth.number()) == number)
    }
}

/// The record of a certificate that a store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The way in which a hub is to trust it.
    pub auth: IssuedAuth,
    /// The thumbprint to register.
    pub sha256: Sha256Thumbprint,
    /// The thumbprint that older tools show.
    pub sha1: Sha1Thumbprint,
    /// The serial number, in hex.
    pub serial: String,
    /// From when it is good.
    pub not_before: OffsetDateTime,
    /// Until when it is good.
    pub not_after: OffsetDateTime,
    /// The place of the certificate: a file, or `path#offset` in a bundle, as
    /// [`read_certificate`](crate::read_certificate) takes it.
    pub certificate: PathBuf,
    /// The place of its private key; `None` if only the device has it.
    pub private_key: Option<PathBuf>,
    /// The thumbprint of the certificate that it takes the place of, when it is a renewal: both are
    /// registered until the device has the new one.
    pub replaced: Option<Sha256Thumbprint>,
}

/// A row of `issued.csv`; paths are relative to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) identity: IdentityId,
    pub(crate) record: IssuedCertificate,
}

impl Row {
    /// Writes the row as CSV.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>, dates: &mut Dates) {
        let record = &self.record;
        // A batch that is not to be trusted by thumbprint may not give one to be registered.
        let (registered, unregistered) = match record.auth {
            IssuedAuth::X509Ca => (None, Some(record.sha256)),
            IssuedAuth::X509Thumbprint => (Some(record.sha256), None),
        };
        let secondary = record.replaced.filter(|_| record.auth == IssuedAuth::X509Thumbprint);
        let hex = |out: &mut Vec<u8>, sha256: Option<Sha256Thumbprint>| {
            append_upper_hex(out, sha256.as_ref().map(Sha256Thumbprint::as_bytes).unwrap_or_default());
            out.push(b',');
        };
        append_cell(out, self.identity.device().as_str());
        append_cell(out, self.identity.module().map_or("", |module| module.as_str()));
        append_cell(out, record.auth.as_str());
        hex(out, registered);
        append_upper_hex(out, record.sha1.as_bytes());
        out.push(b',');
        append_cell(out, &record.serial);
        append_cell(out, dates.not_before.text(record.not_before));
        append_cell(out, dates.not_after.text(record.not_after));
        append_cell(out, &record.certificate.to_string_lossy());
        append_cell(out, &record.private_key.as_deref().map(Path::to_string_lossy).unwrap_or_default());
        hex(out, unregistered);
        hex(out, secondary);
        // What ends the last cell ends the row.
        out.pop();
        out.push(b'\n');
    }

    /// Reads a row; `None` where it is not one that [`Self::append_to`] writes.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut rest = line;
        let mut next = || take_cell(&mut rest);
        let identity = IdentityId::parse(next()?, Some(next()?)).ok()?;
        let (auth, registered) = (IssuedAuth::parse(next()?)?, next()?);
        let sha1 = sha1(next()?)?;
        let serial = next()?.to_owned();
        let time = |text| OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC);
        let not_before = time(next()?)?;
        let not_after = time(next()?)?;
        let certificate = next()?.into();
        let private_key = Some(next()?).filter(|path| !path.is_empty()).map(PathBuf::from);
        let unregistered = next()?;
        let replaced = match next()? {
            "" => None,
            text => Some(sha256(text)?),
        };
        let sha256 = match auth {
            IssuedAuth::X509Ca if registered.is_empty() => sha256(unregistered)?,
            IssuedAuth::X509Thumbprint if unregistered.is_empty() => sha256(registered)?,
            _ => return None,
        };
        let record = IssuedCertificate {
            auth,
            sha256,
            sha1,
            serial,
            not_before,
            not_after,
            certificate,
            private_key,
            replaced,
        };
        rest.is_empty().then_some(Self { identity, record })
    }
}

/// No cell has a quote or a line end in it: ids, hex, dates and our own paths.
fn append_cell(out: &mut Vec<u8>, cell: &str) {
    let quote: &[u8] = if cell.contains(',') { b"\"" } else { b"" };
    for piece in [quote, cell.as_bytes(), quote, b","] {
        out.extend_from_slice(piece);
    }
}

/// The dates of rows as text. Certificates that are made together are good for the same time.
#[derive(Default)]
pub(crate) struct Dates {
    not_before: DateText,
    not_after: DateText,
}

#[derive(Default)]
struct DateText(Option<(OffsetDateTime, String)>);

impl DateText {
    fn text(&mut self, time: OffsetDateTime) -> &str {
        let known = self.0.take().filter(|(last, _)| *last == time);
        let (_, text) = self.0.insert(known.unwrap_or_else(|| (time, rfc3339(time))));
        text
    }
}

fn take_cell<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (cell, after) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
    };
    *rest = match after.strip_prefix(',') {
        Some(after) => after,
        None if after.is_empty() => after,
        None => return None,
    };
    Some(cell)
}

fn sha256(text: &str) -> Option<Sha256Thumbprint> {
    match text.parse::<Thumbprint>().ok()?.digest() {
        ThumbprintDigest::Sha256(digest) => Some(digest),
        ThumbprintDigest::Sha1(_) => None,
    }
}

fn sha1(text: &str) -> Option<Sha1Thumbprint> {
    match text.parse::<Thumbprint>().ok()?.digest() {
        ThumbprintDigest::Sha1(digest) => Some(digest),
        ThumbprintDigest::Sha256(_) => None,
    }
}

/// The header of `issued.csv`. `x_thumbprint_sha256` has the thumbprint of rows that register none.
pub(crate) const HEADER: &str = "device_id,module_id,auth,primary_thumbprint,thumbprint_sha1,serial,not_before,not_after,certificate,private_key,x_thumbprint_sha256,secondary_thumbprint\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(
            device in "[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}",
            module in proptest::option::of("[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}"),
            has_key: bool,
            by_ca: bool,
            renewed: bool,
            seconds in 0_i64..253_402_300_799,
        ) {
            let row = Row {
                identity: IdentityId::parse(&device, module.as_deref()).unwrap(),
                record: IssuedCertificate {
                    auth: if by_ca { IssuedAuth::X509Ca } else { IssuedAuth::X509Thumbprint },
                    sha256: Sha256Thumbprint::of_der(device.as_bytes()),
                    sha1: Sha1Thumbprint::of_der(device.as_bytes()),
                    serial: "4F".to_owned(),
                    not_before: OffsetDateTime::UNIX_EPOCH,
                    not_after: OffsetDateTime::from_unix_timestamp(seconds).unwrap(),
                    certificate: "certificates.pem#12".into(),
                    private_key: has_key.then(|| "private-keys.pem#7".into()),
                    replaced: (renewed && !by_ca).then(|| Sha256Thumbprint::of_der(b"old")),
                },
            };
            let mut line = Vec::new();
            row.append_to(&mut line, &mut Dates::default());
            let line = String::from_utf8(line).unwrap();
            prop_assert_eq!(Row::parse(line.trim_end()), Some(row));
        }

        #[test]
        fn no_line_is_a_panic(line in ".*") {
            let _ = Row::parse(&line);
        }
    }
}
