//! `list`, `find`, `revoke` and `ca crl`: the index of what a CA has issued.

use std::fmt;
use std::path::Path;

use anyhow::anyhow;
use cert_tool::{
    IndexEntry, IssuanceIndex, Lookup, ParentCa, Revocation, RevocationReason, SubordinateCa, Tier, rfc3339,
    shell_word,
};
use cli_support::exit::Exit;
use hub_types::shown::{ShownBare, ShownPath};
use hub_types::thumbprint::ThumbprintDigest;
use hub_types::{Sha256Thumbprint, Thumbprint};
use serde::Serialize;
use time::OffsetDateTime;

use super::args::{CrlArgs, FindArgs, ListArgs, RevokeArgs, WhichArgs};
use super::failure::Failure;
use super::output::Output;

pub(crate) fn list(args: &ListArgs, output: &mut Output) -> Result<Exit, Failure> {
    let lookup = if args.revoked { Lookup::Revoked } else { Lookup::All };
    let index = books(&args.books.ca, args.books.root)?;
    let mut is_empty = true;
    for ca in index.subordinates(&lookup)? {
        is_empty = false;
        output.record(&EntryRecord::of_ca(&ca));
    }
    index.visit(&lookup, |entry| {
        is_empty = false;
        output.record(&EntryRecord::new(&entry));
        Ok(())
    })?;
    if is_empty {
        output.note(if args.revoked { "nothing was revoked" } else { "nothing was issued yet" });
    }
    Ok(Exit::Done)
}

pub(crate) fn find(args: &FindArgs, output: &mut Output) -> Result<Exit, Failure> {
    let found = FoundCertificates::read(&args.which)?;
    found.print(output);
    if found.is_empty() {
        output.note("the CA has issued no such certificate");
        return Ok(Exit::SomeFailed);
    }
    Ok(Exit::Done)
}

pub(crate) fn revoke(args: &RevokeArgs, output: &mut Output) -> Result<Exit, Failure> {
    let found = FoundCertificates::read(&args.which)?;
    if found.is_empty() {
        return Err(Failure::Usage(anyhow!("the CA has issued no such certificate")));
    }
    let now = OffsetDateTime::now_utc();
    let index = books(&args.which.books.ca, args.which.books.root)?;
    let reason = args.reason.map(RevocationReason::from);
    for entry in &found.entries {
        let is_new =
            if args.release { index.release_hold(entry, now)? } else { index.revoke(entry, reason, now)? };
        note_repeated(is_new, args.release, &entry.record.serial, output);
    }
    for ca in &found.subordinates {
        let is_new = if args.release {
            index.release_hold_of_subordinate(ca, now)?
        } else {
            index.revoke_subordinate(ca, reason, now)?
        };
        note_repeated(is_new, args.release, &ca.certificate.serial(), output);
    }
    FoundCertificates::read(&args.which)?.print(output);
    let folder = shell_word(&ShownPath(&args.which.books.ca).to_string());
    let (root, on_hub) = match (tier(&args.which.books.ca, args.which.books.root), args.release) {
        (Tier::Issuing, false) => ("", ", so disable the identity there too"),
        (Tier::Issuing, true) => ("", ": if you disabled the identity there, enable it again"),
        (Tier::Root, false) => (" --root", ", so remove the CA there if the hub has it"),
        (Tier::Root, true) => (" --root", ": if you removed the CA there, add it again"),
    };
    output.note(&format!(
        "`cert-tool ca crl {folder}{root} --out NEW.crl` makes the new revocation list; a hub does not read it{on_hub}"
    ));
    Ok(Exit::Done)
}

fn note_repeated(is_new: bool, is_release: bool, serial: &str, output: &mut Output) {
    match (is_new, is_release) {
        (true, _) => {}
        (false, false) => output.note(&format!("{serial} was revoked before")),
        (false, true) => output.note(&format!("{serial} is not on hold")),
    }
}

pub(crate) fn crl(args: &CrlArgs, output: &mut Output) -> Result<Exit, Failure> {
    let mut ask = |asked_for: cert_tool::SecretFor<'_>| args.unlock.ask(asked_for);
    let now = OffsetDateTime::now_utc();
    let index = books(&args.dir, args.root)?;
    let ca = ParentCa::open_with(&args.dir, tier(&args.dir, args.root), &mut ask)?;
    let crl = index.crl_of_parent(&ca, args.days, now)?;
    if let Some(end) = ca.earlier_end(args.days, now) {
        output.note(&format!("note: {end}"));
    }
    crl.write(&args.out)?;
    output.record(&CrlRecord {
        file: args.out.to_string_lossy().into_owned(),
        number: crl.number,
        revoked: crl.revoked,
        next_update: rfc3339(crl.next_update),
    });
    Ok(Exit::Done)
}

fn tier(ca: &Path, is_root: bool) -> Tier {
    if is_root { Tier::Root } else { Tier::of(ca) }
}

fn books(ca: &Path, is_root: bool) -> Result<IssuanceIndex, Failure> {
    Ok(IssuanceIndex::open_books(ca, tier(ca, is_root))?)
}

/// The entries that were found: certificates of devices and modules, and of CAs.
struct FoundCertificates {
    entries: Vec<IndexEntry>,
    subordinates: Vec<SubordinateCa>,
}

impl FoundCertificates {
    fn read(which: &WhichArgs) -> Result<Self, Failure> {
        let index = books(&which.books.ca, which.books.root)?;
        let lookup = lookup(which)?;
        let mut entries = Vec::new();
        index.visit(&lookup, |entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(Self { entries, subordinates: index.subordinates(&lookup)? })
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.subordinates.is_empty()
    }

    fn print(&self, output: &mut Output) {
        self.entries.iter().for_each(|entry| output.record(&EntryRecord::new(entry)));
        self.subordinates.iter().for_each(|ca| output.record(&EntryRecord::of_ca(ca)));
    }
}

fn lookup(which: &WhichArgs) -> Result<Lookup, Failure> {
    if let Some(identity) = which.identity.identity()? {
        return Ok(Lookup::Identity(identity));
    }
    if let Some(name) = &which.name {
        return Ok(Lookup::Authority(name.clone()));
    }
    if let Some(serial) = &which.serial {
        let bytes =
            hex(serial).ok_or_else(|| Failure::Usage(anyhow!("`{serial}` is not a serial number in hex")))?;
        return Ok(Lookup::Serial(bytes));
    }
    let Some(text) = &which.thumbprint else {
        return Err(Failure::Usage(anyhow!("give --device-id, --name, --serial or --thumbprint")));
    };
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
    /// The subject of a CA; `None` for devices and modules.
    ca: Option<String>,
}

impl EntryRecord {
    pub(crate) fn of_ca(ca: &SubordinateCa) -> Self {
        let certificate = &ca.certificate;
        Self {
            device_id: String::new(),
            module_id: None,
            state: state(ca.revocation, ca.is_current),
            serial: certificate.serial(),
            thumbprint: certificate.sha256().to_string(),
            thumbprint_sha1: certificate.sha1().to_string(),
            public_key_sha256: Sha256Thumbprint::of_der(certificate.public_key_info()).to_string(),
            not_before: rfc3339(certificate.not_before()),
            not_after: rfc3339(certificate.not_after()),
            revoked_at: ca.revocation.map(|revocation| rfc3339(revocation.at)),
            certificate: String::new(),
            private_key: None,
            ca: Some(certificate.subject().to_owned()),
        }
    }

    pub(crate) fn new(entry: &IndexEntry) -> Self {
        let record = &entry.record;
        let state = state(entry.revocation, entry.is_current);
        Self {
            device_id: entry.identity.device().as_str().to_owned(),
            module_id: entry.identity.module().map(|module| module.as_str().to_owned()),
            state,
            serial: record.serial.clone(),
            thumbprint: record.sha256.to_string(),
            thumbprint_sha1: record.sha1.to_string(),
            public_key_sha256: entry.key.to_string(),
            not_before: rfc3339(record.not_before),
            not_after: rfc3339(record.not_after),
            revoked_at: entry.revocation.map(|revocation| rfc3339(revocation.at)),
            certificate: record.certificate.to_string_lossy().into_owned(),
            private_key: record.private_key.as_ref().map(|path| path.to_string_lossy().into_owned()),
            ca: None,
        }
    }
}

fn state(revocation: Option<Revocation>, is_current: bool) -> &'static str {
    match (revocation, is_current) {
        (Some(revocation), _) if revocation.is_hold() => "on hold",
        (Some(_), _) => "revoked",
        (None, true) => "current",
        (None, false) => "replaced",
    }
}

impl fmt::Display for EntryRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ca) = &self.ca {
            return write!(
                f,
                "{}: {} {} until {}",
                ShownBare(ca),
                self.state,
                self.thumbprint,
                self.not_after
            );
        }
        write!(f, "{}", self.device_id)?;
        self.module_id.iter().try_for_each(|module| write!(f, "/{module}"))?;
        write!(f, ": {} {} until {} ", self.state, self.thumbprint, self.not_after)?;
        ShownBare(&self.certificate).fmt(f)
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
        let certificates = if *revoked == 1 { "certificate" } else { "certificates" };
        write!(
            f,
            "{}: list {number} with {revoked} {certificates}, the next one is due by {next_update}",
            ShownBare(file)
        )
    }
}
