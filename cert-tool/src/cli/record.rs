//! The units of data that more than one verb prints.

use hub_types::shown::ShownPath;
use std::fmt;
use std::path::Path;

use cert_tool::{Certificate, Issued, IssuedCertificate, Outcome, Refusal, rfc3339};
use cli_support::causes::with_causes;
use hub_types::IdentityId;
use hub_types::shown::ShownBare;
use serde::Serialize;

use super::origin::RefusedFile;

/// The sentence about an identity that has no certificate in a folder of issued ones.
pub(crate) fn absent(identity: &IdentityId, dir: &Path) -> String {
    format!("`{identity}` has no certificate in `{}`", ShownPath(dir))
}

/// The record of one identity's outcome.
#[derive(Debug, Default, Serialize)]
pub(crate) struct IdentityRecord {
    device_id: Option<String>,
    module_id: Option<String>,
    /// The place of its request: a file, or a line of the batch.
    request: Option<String>,
    outcome: &'static str,
    reason: Option<String>,
    thumbprint: Option<String>,
    not_after: Option<String>,
    certificate: Option<String>,
    private_key: Option<String>,
    /// The rule that it breaks.
    rule: Option<&'static str>,
    /// The parts of its request that are not copied into the certificate.
    not_copied: Option<String>,
}

impl IdentityRecord {
    pub(crate) fn new(issued: &Issued, request: Option<String>) -> Self {
        let record = match &issued.outcome {
            Outcome::AlreadyThere(record) => Self::with_record(&issued.identity, "already_there", record),
            Outcome::Issued(record) => Self::with_record(&issued.identity, "issued", record),
            Outcome::Refused(refusal) => Self::refused(Some(&issued.identity), refusal),
        };
        let not_copied = (!issued.not_copied.is_empty()).then(|| issued.not_copied.join(" "));
        Self { request, not_copied, ..record }
    }

    /// The same for a certificate that was put into one place with its key, if that is known.
    pub(crate) fn put_into(
        identity: &IdentityId,
        outcome: &'static str,
        record: IssuedCertificate,
        path: &Path,
    ) -> Self {
        let private_key = record.private_key.as_ref().map(|_| path.to_owned());
        Self::with_record(
            identity,
            outcome,
            &IssuedCertificate { certificate: path.to_owned(), private_key, ..record },
        )
    }

    pub(crate) fn with_record(
        identity: &IdentityId,
        outcome: &'static str,
        record: &IssuedCertificate,
    ) -> Self {
        Self {
            thumbprint: Some(record.sha256.to_string()),
            not_after: Some(rfc3339(record.not_after)),
            certificate: Some(record.certificate.to_string_lossy().into_owned()),
            private_key: record.private_key.as_ref().map(|path| path.to_string_lossy().into_owned()),
            ..Self::empty(identity, outcome)
        }
    }

    pub(crate) fn refused_file(file: &RefusedFile) -> Self {
        let request = Some(file.file.to_string_lossy().into_owned());
        Self { request, ..Self::refused(file.identity.as_ref(), &file.refusal) }
    }

    pub(crate) fn refused(identity: Option<&IdentityId>, refusal: &Refusal) -> Self {
        let record = identity.map(|identity| Self::empty(identity, REFUSED));
        Self {
            outcome: REFUSED,
            reason: Some(with_causes(refusal)),
            rule: Some(refusal.rule()),
            ..record.unwrap_or_default()
        }
    }

    fn empty(identity: &IdentityId, outcome: &'static str) -> Self {
        Self {
            device_id: Some(identity.device().as_str().to_owned()),
            module_id: identity.module().map(|module| module.as_str().to_owned()),
            outcome,
            ..Self::default()
        }
    }
}

impl fmt::Display for IdentityRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subject) = self.device_id.as_ref().or(self.request.as_ref()) {
            ShownBare(subject).fmt(f)?;
        }
        if let Some(module) = &self.module_id {
            write!(f, "/{module}")?;
        }
        write!(f, ": {}", self.outcome.replace('_', " "))?;
        if let Some(thumbprint) = &self.thumbprint {
            write!(f, " {thumbprint}")?;
        }
        self.certificate.iter().try_for_each(|path| write!(f, " {}", ShownBare(path)))
    }
}

/// The record of a certificate.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateRecord {
    file: String,
    subject: String,
    common_name: Option<String>,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    sha1: String,
    sha256: String,
}

impl CertificateRecord {
    pub(crate) fn new(file: &str, certificate: &Certificate) -> Self {
        Self {
            file: file.to_owned(),
            subject: certificate.subject().to_owned(),
            common_name: certificate.common_name().map(str::to_owned),
            issuer: certificate.issuer().to_owned(),
            serial: certificate.serial(),
            not_before: rfc3339(certificate.not_before()),
            not_after: rfc3339(certificate.not_after()),
            sha1: certificate.sha1().to_string(),
            sha256: certificate.sha256().to_string(),
        }
    }
}

impl fmt::Display for CertificateRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from outside: what could steer a terminal is shown escaped.
        writeln!(f, "{}", ShownBare(&self.file))?;
        writeln!(f, "  subject:    {}", ShownBare(&self.subject))?;
        writeln!(f, "  issuer:     {}", ShownBare(&self.issuer))?;
        writeln!(f, "  serial:     {}", self.serial)?;
        writeln!(f, "  not before: {}", self.not_before)?;
        writeln!(f, "  not after:  {}", self.not_after)?;
        writeln!(f, "  SHA-1:      {}", self.sha1)?;
        write!(f, "  SHA-256:    {}", self.sha256)
    }
}

const REFUSED: &str = "refused";
