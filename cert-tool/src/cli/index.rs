//! `list`, `find`, `revoke` and `ca crl`: the index of what a CA has issued.

use std::fmt;

use anyhow::anyhow;
use cert_tool::{CertificateAuthority, IndexEntry, IssuanceIndex, Lookup, RevocationReason};
use hub_types::Thumbprint;
use hub_types::thumbprint::ThumbprintDigest;
use serde::Serialize;
use time::OffsetDateTime;

use super::args::{CrlArgs, FindArgs, ListArgs, ReasonArg, RevokeArgs, WhichArgs};
use super::failure::{Done, Failure};
use super::output::Output;
use super::record::rfc3339;

pub(crate) fn list(args: &ListArgs, output: &mut Output) -> Result<Done, Failure> {
    let lookup = if args.revoked { Lookup::Revoked } else { Lookup::All };
    let mut is_empty = true;
    IssuanceIndex::open_beside(&args.ca)?.visit(&lookup, |entry| {
        is_empty = false;
        output.record(&EntryRecord::new(&entry));
        Ok(())
    })?;
    if is_empty {
        output.note(if args.revoked { "nothing was revoked" } else { "nothing was issued yet" });
    }
    Ok(Done::AllWell)
}

pub(crate) fn find(args: &FindArgs, output: &mut Output) -> Result<Done, Failure> {
    let entries = entries(&args.which)?;
    for entry in &entries {
        output.record(&EntryRecord::new(entry));
    }
    if entries.is_empty() {
        output.note("the CA has issued no such certificate");
        return Ok(Done::SomeFailed);
    }
    Ok(Done::AllWell)
}

pub(crate) fn revoke(args: &RevokeArgs, output: &mut Output) -> Result<Done, Failure> {
    let entries = entries(&args.which)?;
    if entries.is_empty() {
        return Err(Failure::Usage(anyhow!("the CA has issued no such certificate")));
    }
    let index = IssuanceIndex::open_beside(&args.which.ca)?;
    let reason = args.reason.map(RevocationReason::from);
    for entry in &entries {
        if !index.revoke(entry, reason, OffsetDateTime::now_utc())? {
            output.note(&format!("{} was revoked before", entry.facts.serial));
        }
    }
    for entry in self::entries(&args.which)? {
        output.record(&EntryRecord::new(&entry));
    }
    output.note("`cert-tool ca crl` makes the new list; a hub reads none, so disable the identity there too");
    Ok(Done::AllWell)
}

pub(crate) fn crl(args: &CrlArgs, output: &mut Output) -> Result<Done, Failure> {
    let ca = CertificateAuthority::open_with(&args.dir, &mut |asked_for| args.unlock.ask(asked_for))?;
    let index = IssuanceIndex::open_beside(&args.dir)?;
    let crl = index.crl(&ca, args.days, OffsetDateTime::now_utc())?;
    crl.write(&args.out)?;
    output.record(&CrlRecord {
        file: args.out.display().to_string(),
        number: crl.number,
        revoked: crl.revoked,
        next_update: rfc3339(crl.next_update),
    });
    Ok(Done::AllWell)
}

fn entries(which: &WhichArgs) -> Result<Vec<IndexEntry>, Failure> {
    let mut entries = Vec::new();
    IssuanceIndex::open_beside(&which.ca)?.visit(&lookup(which)?, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

fn lookup(which: &WhichArgs) -> Result<Lookup, Failure> {
    if let Some(identity) = which.identity.identity()? {
        return Ok(Lookup::Identity(identity));
    }
    if let Some(serial) = &which.serial {
        let bytes =
            hex(serial).ok_or_else(|| Failure::Usage(anyhow!("`{serial}` is no serial number in hex")))?;
        return Ok(Lookup::Serial(bytes));
    }
    let text = which.thumbprint.as_deref().unwrap_or_default();
    let thumbprint: Thumbprint = text.parse().map_err(|error| Failure::Usage(anyhow!("{error}")))?;
    Ok(match thumbprint.digest() {
        ThumbprintDigest::Sha1(digest) => Lookup::Sha1(digest),
        ThumbprintDigest::Sha256(digest) => Lookup::Sha256(digest),
    })
}

/// Reads hex digits, with or without colons between the bytes.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> =
        text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit) as u8);
    (digits.len().is_multiple_of(2) && !digits.is_empty()).then(|| bytes.collect())
}

impl From<ReasonArg> for RevocationReason {
    fn from(reason: ReasonArg) -> Self {
        match reason {
            ReasonArg::KeyCompromise => Self::KeyCompromise,
            ReasonArg::CaCompromise => Self::CaCompromise,
            ReasonArg::AffiliationChanged => Self::AffiliationChanged,
            ReasonArg::Superseded => Self::Superseded,
            ReasonArg::CessationOfOperation => Self::CessationOfOperation,
            ReasonArg::CertificateHold => Self::CertificateHold,
            ReasonArg::PrivilegeWithdrawn => Self::PrivilegeWithdrawn,
        }
    }
}

/// A certificate as the index knows it.
#[derive(Debug, Serialize)]
pub(crate) struct EntryRecord {
    device_id: String,
    module_id: Option<String>,
    state: &'static str,
    serial: String,
    thumbprint: String,
    thumbprint_sha1: String,
    public_key_sha256: String,
    not_before: String,
    not_after: String,
    revoked_at: Option<String>,
    certificate: String,
    private_key: Option<String>,
}

impl EntryRecord {
    pub(crate) fn new(entry: &IndexEntry) -> Self {
        let facts = &entry.facts;
        let state = match (entry.revocation, entry.is_current) {
            (Some(_), _) => "revoked",
            (None, true) => "current",
            (None, false) => "replaced",
        };
        Self {
            device_id: entry.identity.device().as_str().to_owned(),
            module_id: entry.identity.module().map(|module| module.as_str().to_owned()),
            state,
            serial: facts.serial.clone(),
            thumbprint: facts.sha256.to_string(),
            thumbprint_sha1: facts.sha1.to_string(),
            public_key_sha256: entry.key.to_string(),
            not_before: rfc3339(facts.not_before),
            not_after: rfc3339(facts.not_after),
            revoked_at: entry.revocation.map(|revocation| rfc3339(revocation.at)),
            certificate: facts.certificate.display().to_string(),
            private_key: facts.private_key.as_ref().map(|path| path.display().to_string()),
        }
    }
}

impl fmt::Display for EntryRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.device_id)?;
        self.module_id.iter().try_for_each(|module| write!(f, "/{module}"))?;
        write!(f, ": {} {} until {} {}", self.state, self.thumbprint, self.not_after, self.certificate)
    }
}

#[derive(Debug, Serialize)]
struct CrlRecord {
    file: String,
    number: u64,
    revoked: u64,
    next_update: String,
}

impl fmt::Display for CrlRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, number, revoked, next_update } = self;
        write!(f, "{file}: list {number} with {revoked} certificates, the next one is due by {next_update}")
    }
}
