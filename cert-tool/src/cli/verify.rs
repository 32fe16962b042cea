//! `verify`: would a hub let a device in with these certificates?

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use cert_tool::{
    CaDescription, Certificate, Check, Content, PublicKey, SecretSource, Verification, read_certificates,
    read_documents, verify_certificate,
};
use hub_types::shown::ShownBare;
use serde::Serialize;
use time::OffsetDateTime;

use super::args::VerifyArgs;
use super::failure::{Done, Failure};
use super::output::{Output, chain};
use super::unlock::passwords;

pub(crate) fn run(args: &VerifyArgs, output: &mut Output) -> Result<Done, Failure> {
    let passwords = passwords(args.password_file.as_deref())?;
    let expected = args.identity.identity()?;
    let trust = Trust::read(&args.ca)?;
    let crls = read_crls(&args.crl, &passwords)?;
    let key = args.key.as_deref().map(|file| read_key(file, &passwords)).transpose()?;
    let at = args.at.unwrap_or_else(OffsetDateTime::now_utc);
    let mut failures = 0;
    for file in &args.files {
        let subject = match Subject::read(file, &passwords) {
            Ok(subject) => subject,
            Err(error) => {
                output.note(&format!("error: {error:#}"));
                failures += 1;
                continue;
            }
        };
        let by = Verification {
            trusted: &trust.roots,
            between: &[subject.between, trust.between.clone()].concat(),
            crls: &crls,
            expected: expected.as_ref(),
            thumbprints: &args.thumbprint,
            key: key.as_ref().or(subject.key.as_ref()),
            at,
        };
        for check in verify_certificate(&subject.certificate, &by) {
            failures += u64::from(check.fault.is_some());
            output.record(&CheckRecord::new(file, &check));
        }
    }
    Ok(Done::from_failures(failures))
}

#[derive(Default)]
struct Trust {
    roots: Vec<Certificate>,
    between: Vec<Certificate>,
}

impl Trust {
    fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut trust = Self::default();
        for path in paths {
            if !path.is_dir() {
                trust.roots.extend(read_certificates(path)?);
                continue;
            }
            let ca = CaDescription::read(path)?;
            if ca.root.is_some() {
                trust.roots.extend(ca.root);
                trust.between.extend(ca.issuing.into_iter().chain(ca.between));
            } else {
                trust.roots.extend(ca.issuing);
            }
        }
        Ok(trust)
    }
}

/// What a file brings along.
struct Subject {
    certificate: Certificate,
    between: Vec<Certificate>,
    key: Option<PublicKey>,
}

impl Subject {
    /// Takes the certificate that the file's own key is for, and without such a key the first.
    fn read(file: &Path, passwords: &SecretSource) -> anyhow::Result<Self> {
        let mut certificates = Vec::new();
        let mut keys = Vec::new();
        let mut other = None;
        for document in read_documents(file, &mut |asked_for| passwords.ask(asked_for)).map_err(told)? {
            let mut document = document.map_err(told)?;
            document.unlock(&mut |asked_for| passwords.given(asked_for)).map_err(told)?;
            match document.content {
                Content::Certificate(certificate) => certificates.push(certificate),
                Content::PrivateKey(key) => keys.push(key),
                Content::EncryptedKey(_) => {}
                Content::Crl(_) => other = Some("a revocation list"),
                Content::Request(_) => other = Some("a certificate request"),
                _ => other = Some("a public key"),
            }
            if certificates.len() > LONGEST_CHAIN {
                return Err(anyhow!(
                    "`{}` has more than {LONGEST_CHAIN} certificates; of a bundle, verify places: `{}#0`",
                    file.display(),
                    file.display()
                ));
            }
        }
        if keys.len() > 1 {
            return Err(anyhow!("`{}` has {} private keys, not one", file.display(), keys.len()));
        }
        let key = keys.pop();
        let own = key.as_ref().and_then(|key| {
            certificates.iter().position(|certificate| certificate.public_key_info() == key.info())
        });
        if certificates.is_empty() {
            let found = other.unwrap_or("a private key");
            return Err(anyhow!("`{}` is {found}, not a certificate", file.display()));
        }
        let certificate = certificates.remove(own.unwrap_or_default());
        Ok(Self { certificate, between: certificates, key })
    }
}

fn read_crls(files: &[PathBuf], passwords: &SecretSource) -> Result<Vec<Vec<u8>>, Failure> {
    let mut crls = Vec::new();
    for file in files {
        for document in read_documents(file, &mut |asked_for| passwords.ask(asked_for))? {
            match document?.content {
                Content::Crl(der) => crls.push(der),
                _ => return Err(Failure::Usage(anyhow!("`{}` is not a revocation list", file.display()))),
            }
        }
    }
    Ok(crls)
}

fn read_key(file: &Path, passwords: &SecretSource) -> Result<PublicKey, Failure> {
    let mut keys = Vec::new();
    for document in read_documents(file, &mut |asked_for| passwords.ask(asked_for))? {
        let mut document = document?;
        document.unlock(&mut |asked_for| passwords.ask(asked_for))?;
        if let Some(error) = document.why_locked() {
            return Err(Failure::Typed(error));
        }
        if let Content::PrivateKey(key) | Content::PublicKey(key) = document.content {
            keys.push(key);
        }
    }
    match keys.len() {
        1 => keys.pop().ok_or(Failure::Bug),
        0 => Err(Failure::Usage(anyhow!("`{}` has no key in it", file.display()))),
        count => Err(Failure::Usage(anyhow!("`{}` has {count} keys, not one", file.display()))),
    }
}

fn told(error: cert_tool::Error) -> anyhow::Error {
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    anyhow!("{}{hint}", chain(&error))
}

#[derive(Debug, Serialize)]
struct CheckRecord {
    file: String,
    check: &'static str,
    ok: bool,
    fault: Option<String>,
    rule: &'static str,
    note: Option<String>,
}

impl CheckRecord {
    fn new(file: &Path, check: &Check) -> Self {
        Self {
            file: file.display().to_string(),
            check: check.name.as_str(),
            ok: check.fault.is_none(),
            fault: check.fault.clone(),
            rule: check.name.rule(),
            note: check.note.clone(),
        }
    }
}

impl fmt::Display for CheckRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            None => write!(f, "{}: {}: ok", self.file, self.check)?,
            Some(fault) => write!(f, "{}: {}: FAILED: {}", self.file, self.check, ShownBare(fault))?,
        }
        match &self.note {
            None => Ok(()),
            Some(note) => write!(f, " ({})", ShownBare(note)),
        }
    }
}

/// webpki follows fewer than ten.
const LONGEST_CHAIN: usize = 100;
