//! `show` and `thumbprint`: both read documents of every kind and print something of each.

use hub_types::shown::ShownPath;
use std::fmt;

use cert_tool::{Content, Description, Document, Error, Fact, SecretSource, thumbprints};
use cli_support::exit::Exit;
use hub_types::shown::ShownBare;
use serde::Serialize;

use super::args::FilesArgs;
use super::failure::Failure;
use super::input;
use super::output::Output;
use super::unlock::passwords;

pub(crate) fn show(args: &FilesArgs, output: &mut Output) -> Result<Exit, Failure> {
    let unlock = |document: &mut Document, passwords: &SecretSource| {
        document.unlock(&mut |asked_for| passwords.given(asked_for))
    };
    for_each(args, output, unlock, |document, output| {
        let description = Description::of(document);
        if output.is_csv() {
            output.record(&DocumentRow::new(&description));
        } else {
            output.record(&DocumentRecord(description));
        }
        // Without its password, a key is shown as what it is.
        if let Some(error) =
            document.why_locked().filter(|error| !matches!(error, Error::SecretNeeded { .. }))
        {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            output.note(&format!("note: {error}{hint}"));
        }
        true
    })
}

pub(crate) fn thumbprint(args: &FilesArgs, output: &mut Output) -> Result<Exit, Failure> {
    let unlock = |document: &mut Document, passwords: &SecretSource| {
        document.unlock(&mut |asked_for| passwords.ask(asked_for))
    };
    for_each(args, output, unlock, |document, output| match ThumbprintRecord::new(document) {
        Some(record) => {
            output.record(&record);
            true
        }
        None => {
            match document.why_locked() {
                None | Some(Error::SecretNeeded { .. }) => output.note(&format!(
                    "error: `{}` is an encrypted private key: without its password it has no thumbprint",
                    ShownPath(&document.place)
                )),
                Some(error) => output.error(&error),
            }
            false
        }
    })
}

fn for_each(
    args: &FilesArgs,
    output: &mut Output,
    unlock: fn(&mut Document, &SecretSource) -> Result<(), Error>,
    print: fn(&Document, &mut Output) -> bool,
) -> Result<Exit, Failure> {
    let passwords = passwords(args.password.password_file.as_deref())?;
    let mut failures = 0;
    for file in &args.files {
        let mut count = 0;
        let documents = input::documents(file, &mut |asked_for| passwords.ask(asked_for));
        let mut tell = |result: Result<Document, Error>, output: &mut Output| {
            let opened = result.and_then(|mut document| {
                unlock(&mut document, &passwords)?;
                Ok(document)
            });
            let is_printed = match opened {
                Ok(document) => print(&document, output),
                Err(error) => {
                    output.error(&error);
                    false
                }
            };
            failures += u64::from(!is_printed);
            count += 1;
        };
        match documents {
            Ok(documents) => documents.for_each(|document| tell(document, output)),
            Err(error) => tell(Err(error), output),
        }
        if count == 0 {
            output.note(&format!("error: `{}` holds nothing", ShownPath(input::name(file))));
            failures += 1;
        }
    }
    Ok(Exit::finished(failures == 0))
}

/// All that a document says.
#[derive(Serialize)]
#[serde(transparent)]
struct DocumentRecord(Description);

impl fmt::Display for DocumentRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.facts().map(|(name, _)| name.len()).max().unwrap_or_default() + 1;
        for (index, (name, fact)) in self.0.facts().enumerate() {
            if index == 0 {
                write!(f, "{}", text(fact))?;
                continue;
            }
            let label = format!("{}:", name.replace('_', " "));
            match fact {
                Fact::List(lines) if lines.len() > MOST_ON_A_LINE => {
                    write!(f, "\n  {label}")?;
                    lines.iter().try_for_each(|line| write!(f, "\n    {}", ShownBare(line)))?;
                }
                fact => write!(f, "\n  {label:width$} {}", text(fact))?,
            }
        }
        Ok(())
    }
}

/// The facts that make a table.
#[derive(Serialize)]
struct DocumentRow {
    file: String,
    kind: String,
    subject: String,
    common_name: String,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    key: String,
    ca: String,
    key_usage: String,
    extended_key_usage: String,
    signature: String,
    sha1: String,
    sha256: String,
    public_key_sha256: String,
}

impl DocumentRow {
    fn new(description: &Description) -> Self {
        let get = |name| description.get(name).map(raw).unwrap_or_default();
        Self {
            file: get("file"),
            kind: get("kind"),
            subject: get("subject"),
            common_name: get("common_name"),
            issuer: get("issuer"),
            serial: get("serial"),
            not_before: get("not_before"),
            not_after: get("not_after"),
            key: get("key"),
            ca: get("ca"),
            key_usage: get("key_usage"),
            extended_key_usage: get("extended_key_usage"),
            signature: get("signature"),
            sha1: get("sha1"),
            sha256: get("sha256"),
            public_key_sha256: get("public_key_sha256"),
        }
    }
}

impl fmt::Display for DocumentRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownBare(&self.file).fmt(f)
    }
}

/// The thumbprints of a document.
#[derive(Debug, Serialize)]
struct ThumbprintRecord {
    file: String,
    sha1: String,
    sha256: String,
    kind: &'static str,
}

impl ThumbprintRecord {
    fn new(document: &Document) -> Option<Self> {
        let (sha1, sha256) = thumbprints(document)?;
        let kind = match &document.content {
            Content::Certificate(_) => "certificate",
            Content::Crl(_) => "revocation list",
            Content::Request(_) => "request",
            _ => "public key",
        };
        let file = document.place.to_string_lossy().into_owned();
        Some(Self { file, sha1: sha1.to_string(), sha256: sha256.to_string(), kind })
    }
}

impl fmt::Display for ThumbprintRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({})\n  SHA-1:   {}\n  SHA-256: {}",
            ShownBare(&self.file),
            self.kind,
            self.sha1,
            self.sha256
        )
    }
}

/// A fact for a terminal: names come from outside, and what could steer it is shown escaped.
fn text(fact: &Fact) -> String {
    ShownBare(&raw(fact)).to_string()
}

fn raw(fact: &Fact) -> String {
    match fact {
        Fact::List(values) => values.join(", "),
        Fact::Number(number) => number.to_string(),
        Fact::Text(text) => text.clone(),
        Fact::YesNo(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        _ => "none".to_owned(),
    }
}

const MOST_ON_A_LINE: usize = 9;
