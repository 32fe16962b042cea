//! `verify`: checks certificates as the party that they are shown to would.

use hub_types::shown::ShownPath;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use cert_tool::{
    CaCertificates, Certificate, CertificateOfFile, Check, Content, PublicKey, Purpose, RevokedCertificates,
    SecretSource, TrustedCertificates, Verification, Verifier,
};
use cli_support::causes::with_causes;
use cli_support::exit::Exit;
use hub_types::shown::ShownBare;
use serde::Serialize;
use time::OffsetDateTime;

use super::args::VerifyArgs;
use super::failure::{Failure, unread_input};
use super::input;
use super::output::Output;
use super::unlock::passwords;

pub(crate) fn run(args: &VerifyArgs, output: &mut Output) -> Result<Exit, Failure> {
    let purpose = purpose(args)?;
    let passwords = passwords(args.password.password_file.as_deref())?;
    let expected = args.identity.identity()?;
    let (trust, revoked) = trust(args)?;
    let crls = read_crls(&args.crl, &passwords)?;
    let key = args.key.as_deref().map(|file| read_key(file, &passwords)).transpose()?;
    let by = Verification {
        purpose,
        trusted: &trust.roots,
        between: &trust.between,
        crls: &crls,
        expected: expected.as_ref(),
        host: args.host.as_ref(),
        thumbprints: &args.thumbprint,
        key: key.as_ref(),
        at: args.at.unwrap_or_else(OffsetDateTime::now_utc),
    };
    let mut judged = Judged { output, failures: 0, revoked: &revoked };
    if args.each {
        let passed_over = trust.roots.iter().chain(&trust.between).map(Certificate::der).collect();
        let verifier = Verifier::new(&by).with_books(&revoked);
        for file in &args.files {
            judged.each(file, (&verifier, &passed_over), &passwords);
        }
    } else {
        for file in &args.files {
            judged.first(file, &by, &passwords);
        }
    }
    Ok(Exit::finished(judged.failures == 0))
}

/// The purpose, if the options that it needs are given.
fn purpose(args: &VerifyArgs) -> Result<Purpose, Failure> {
    let given = args.purpose.map(Purpose::from);
    let purpose = given.unwrap_or(if args.ca.is_empty() { Purpose::HubThumbprint } else { Purpose::HubCa });
    let missing = match purpose {
        Purpose::HubThumbprint if args.thumbprint.is_empty() => {
            "`--for hub-thumbprint` needs the thumbprint that the hub knows: `--thumbprint`"
        }
        Purpose::HubThumbprint => return Ok(purpose),
        _ if args.ca.is_empty() => {
            "only `--for hub-thumbprint` does without trusted certificates: give `--ca`"
        }
        Purpose::TlsServer => return Ok(purpose),
        _ if args.host.is_some() => "`--host` is for the certificates of servers: give `--for tls-server`",
        _ => return Ok(purpose),
    };
    Err(Failure::Usage(anyhow!(missing)))
}

/// The output, and the number of failures.
struct Judged<'a> {
    output: &'a mut Output,
    failures: u64,
    revoked: &'a RevokedCertificates,
}

impl Judged<'_> {
    /// Judges the certificate of a file, with the others in it as its chain.
    fn first(&mut self, file: &Path, by: &Verification<'_>, passwords: &SecretSource) {
        let read = input::documents(file, &mut |asked_for| passwords.ask(asked_for))
            .and_then(|documents| CertificateOfFile::read(documents, passwords));
        let file = input::name(file);
        let subject = match read {
            Ok(subject) => subject,
            Err(error) => return self.error(&told(error)),
        };
        let others = subject.count_unrelated();
        if others > 0 {
            self.output.note(&format!(
                "note: `{}` has {others} more certificates that are no CA's; `--each` judges all",
                ShownPath(file)
            ));
        }
        let between = [subject.between.as_slice(), by.between].concat();
        let key = by.key.or(subject.key.as_ref());
        let by = Verification { between: &between, key, ..*by };
        let verifier = Verifier::new(&by).with_books(self.revoked);
        self.checks(file, &verifier.verify(&subject.certificate));
    }

    /// Judges every certificate of a file, one at a time.
    fn each(
        &mut self,
        file: &Path,
        (verifier, passed_over): (&Verifier<'_>, &HashSet<&[u8]>),
        passwords: &SecretSource,
    ) {
        let documents = match input::documents(file, &mut |asked_for| passwords.ask(asked_for)) {
            Ok(documents) => documents,
            Err(error) => return self.error(&told(error)),
        };
        for document in documents {
            match document.map(|document| (document.place, document.content)) {
                Err(error) => self.error(&told(error)),
                Ok((place, Content::Certificate(certificate))) => {
                    if !passed_over.contains(certificate.der()) {
                        self.checks(&place, &verifier.verify(&certificate));
                    }
                }
                Ok((_, Content::PrivateKey(_) | Content::EncryptedKey(_))) => {}
                Ok((place, other)) => {
                    let found = other.kind();
                    self.error(&anyhow!("`{}` is {found}, not a certificate", ShownPath(&place)));
                }
            }
        }
    }

    fn checks(&mut self, place: &Path, checks: &[Check]) {
        let file = place.to_string_lossy().into_owned();
        for check in checks {
            self.failures += u64::from(check.fault.is_some());
            self.output.record(&CheckRecord::new(&file, check));
        }
    }

    fn error(&mut self, error: &anyhow::Error) {
        self.output.note(&format!("error: {error:#}"));
        self.failures += 1;
    }
}

/// Reads the certificates to trust from files and folders of CAs, the intermediate ones, and what the books in
/// the folders say against certificates.
fn trust(args: &VerifyArgs) -> Result<(TrustedCertificates, RevokedCertificates), Failure> {
    let mut trust = TrustedCertificates::default();
    let mut revoked = RevokedCertificates::default();
    for path in &args.intermediates {
        trust.between.extend(input::certificates(path).map_err(unread_input)?);
    }
    for path in &args.ca {
        match !input::is_stdin(path) && path.is_dir() {
            true => {
                trust.add_ca(CaCertificates::read(path)?);
                revoked.add_ca(path)?;
            }
            false => trust.roots.extend(input::certificates(path).map_err(unread_input)?),
        }
    }
    Ok((trust, revoked))
}

fn read_crls(files: &[PathBuf], passwords: &SecretSource) -> Result<Vec<Vec<u8>>, Failure> {
    let mut crls = Vec::new();
    for file in files {
        for document in
            input::documents(file, &mut |asked_for| passwords.ask(asked_for)).map_err(unread_input)?
        {
            match document?.content {
                Content::Crl(der) => crls.push(der),
                _ => {
                    return Err(Failure::Usage(anyhow!(
                        "`{}` is not a revocation list",
                        ShownPath(input::name(file))
                    )));
                }
            }
        }
    }
    Ok(crls)
}

fn read_key(file: &Path, passwords: &SecretSource) -> Result<PublicKey, Failure> {
    let mut keys = Vec::new();
    let documents =
        input::documents(file, &mut |asked_for| passwords.ask(asked_for)).map_err(unread_input)?;
    let file = input::name(file);
    for document in documents {
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
        0 => Err(Failure::Usage(anyhow!("`{}` has no key in it", ShownPath(file)))),
        count => Err(Failure::Usage(anyhow!("`{}` has {count} keys, not one", ShownPath(file)))),
    }
}

fn told(error: cert_tool::Error) -> anyhow::Error {
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    anyhow!("{}{hint}", with_causes(&error))
}

#[derive(Debug, Serialize)]
struct CheckRecord<'a> {
    file: &'a str,
    check: &'static str,
    ok: bool,
    fault: Option<&'a str>,
    rule: &'static str,
    note: Option<&'a str>,
    advice: Option<&'a str>,
}

impl<'a> CheckRecord<'a> {
    fn new(file: &'a str, check: &'a Check) -> Self {
        Self {
            file,
            check: check.name.as_str(),
            ok: check.fault.is_none(),
            fault: check.fault.as_deref(),
            rule: check.name.rule(),
            note: check.note.as_deref(),
            advice: check.advice.as_deref(),
        }
    }
}

impl fmt::Display for CheckRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", ShownBare(self.file), self.check)?;
        match (&self.fault, &self.advice) {
            (Some(fault), _) => write!(f, "FAILED: {}", ShownBare(fault))?,
            (None, Some(advice)) => write!(f, "advice: {}", ShownBare(advice))?,
            (None, None) => f.write_str("ok")?,
        }
        match &self.note {
            None => Ok(()),
            Some(note) => write!(f, " ({})", ShownBare(note)),
        }
    }
}
