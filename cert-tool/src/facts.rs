//! [`IssuedFacts`]: what a store remembers of a certificate, and how that is a row of `issued.csv`.

use std::path::{Path, PathBuf};

use hub_types::thumbprint::ThumbprintDigest;
use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint, Thumbprint};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// By what a hub is to trust a certificate.
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

    pub(crate) fn from_number(number: u8) -> Self {
        if number == Self::X509Ca.number() { Self::X509Ca } else { Self::X509Thumbprint }
    }
}

/// What a store remembers of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedFacts {
    /// By what a hub is to trust it.
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
    /// Where it is: a file, or `path#offset` in a bundle, as [`read_certificate`](crate::read_certificate)
    /// takes it.
    pub certificate: PathBuf,
    /// Where its private key is; `None` where only the device has it.
    pub private_key: Option<PathBuf>,
    /// The thumbprint of the certificate that it takes the place of, when it is a renewal: both are
    /// registered until the device has the new one.
    pub replaced: Option<Sha256Thumbprint>,
}

/// A row of `issued.csv`; paths are relative to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) identity: IdentityId,
    pub(crate) facts: IssuedFacts,
}

impl Row {
    /// Writes the row as CSV.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let facts = &self.facts;
        let sha256 = facts.sha256.to_string();
        // A batch that is not to be trusted by thumbprint may not give one to be registered.
        let (registered, unregistered) = match facts.auth {
            IssuedAuth::X509Ca => ("", sha256.as_str()),
            IssuedAuth::X509Thumbprint => (sha256.as_str(), ""),
        };
        let secondary = facts.replaced.filter(|_| facts.auth == IssuedAuth::X509Thumbprint);
        let secondary = secondary.map(|replaced| replaced.to_string()).unwrap_or_default();
        let cells = [
            self.identity.device().as_str(),
            self.identity.module().map_or("", |module| module.as_str()),
            facts.auth.as_str(),
            registered,
            &facts.sha1.to_string(),
            &facts.serial,
            &rfc3339(facts.not_before),
            &rfc3339(facts.not_after),
            &facts.certificate.to_string_lossy(),
            &facts.private_key.as_deref().map(Path::to_string_lossy).unwrap_or_default(),
            unregistered,
            &secondary,
        ];
        for (index, cell) in cells.iter().enumerate() {
            let is_quoted = cell.contains(',');
            out.extend_from_slice(if index == 0 { b"" } else { b"," });
            // No cell has a quote or a line end in it: ids, hex, dates and our own paths.
            out.extend_from_slice(if is_quoted { b"\"" } else { b"" });
            out.extend_from_slice(cell.as_bytes());
            out.extend_from_slice(if is_quoted { b"\"" } else { b"" });
        }
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
        let not_before = OffsetDateTime::parse(next()?, &Rfc3339).ok()?;
        let not_after = OffsetDateTime::parse(next()?, &Rfc3339).ok()?;
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
        let facts = IssuedFacts {
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
        rest.is_empty().then_some(Self { identity, facts })
    }
}

pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    // Only years beyond 9999 have no such form, and certificates can't have them either.
    time.format(&Rfc3339).unwrap_or_default()
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
                facts: IssuedFacts {
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
            row.append_to(&mut line);
            let line = String::from_utf8(line).unwrap();
            prop_assert_eq!(Row::parse(line.trim_end()), Some(row));
        }

        #[test]
        fn no_line_is_a_panic(line in ".*") {
            let _ = Row::parse(&line);
        }
    }
}
