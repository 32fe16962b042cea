//! The messages of all crates: each text is plain English, and has one cause.
//!
//! The texts are read from the sources, so that the check covers all of them: every string literal
//! outside of tests that has the form of a sentence, and every `#[error("…")]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use e2e::repository;
use literals::{Literal, literals};

mod causes;
mod literals;

const CRATES: [&str; 6] = ["batch-file", "cert-tool", "cli-support", "hub-types", "local-hub", "provisioner"];

/// A literal and the file that contains it.
struct Text {
    file: PathBuf,
    literal: Literal,
}

impl Text {
    fn place(&self) -> String {
        format!("{}:{}: {:?}", self.file.to_string_lossy(), self.literal.line, self.literal.text)
    }

    /// Returns true for the text of an error.
    fn is_error(&self) -> bool {
        self.literal.before.ends_with("#[error(")
    }

    /// Returns true if only developers see it.
    fn is_for_developers(&self) -> bool {
        FOR_DEVELOPERS.iter().any(|mark| self.literal.before.contains(mark))
    }

    /// Returns true if it has the form of a sentence for users.
    fn is_sentence(&self) -> bool {
        let text = &self.literal.text;
        let is_code = CODE.iter().any(|mark| text.contains(mark));
        if OF_IOT_HUB.iter().any(|begin| text.starts_with(begin)) {
            return false;
        }
        let words = text.split_whitespace().filter(|word| word.chars().all(|letter| letter.is_alphabetic()));
        self.is_error() || (words.count() >= 3 && !is_code && !self.is_for_developers())
    }
}

/// Marks of literals that are SQL, HTML or templates.
const CODE: [&str; 8] =
    ["SELECT ", "INSERT ", "UPDATE ", "CREATE ", "ALTER ", "FROM ", "IS NOT NULL", "<html"];
/// The code before texts that only developers see.
const FOR_DEVELOPERS: [&str; 6] = ["reason = ", "panic!(", "unreachable!(", "expect(", "assert", "tracing::"];

/// The sentences of all crates.
fn sentences() -> Result<Vec<Text>> {
    let mut texts = texts()?;
    texts.retain(Text::is_sentence);
    ensure!(texts.len() > 500, "only {} texts were found", texts.len());
    Ok(texts)
}

/// The string literals outside of tests.
fn texts() -> Result<Vec<Text>> {
    let literals_of = |(file, source): (PathBuf, String)| {
        literals(&source).into_iter().map(move |literal| Text { file: file.clone(), literal })
    };
    Ok(sources()?.into_iter().flat_map(literals_of).collect())
}

/// The source files outside of tests, with their paths in the repository.
fn sources() -> Result<Vec<(PathBuf, String)>> {
    let mut sources = Vec::new();
    for name in CRATES {
        let mut folders = vec![repository().join(name).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                match path.is_dir() {
                    true if !path.to_string_lossy().ends_with("tests") => folders.push(path),
                    false if is_production(&path) => {
                        let file = path.strip_prefix(repository())?.to_owned();
                        sources.push((file, std::fs::read_to_string(&path)?));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(sources)
}

fn is_production(path: &Path) -> bool {
    let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "model_hub");
    path.extension().is_some_and(|ending| ending == "rs") && !is_test
}

/// Checks that no text has this fault.
fn none_has(fault: &str, has: impl Fn(&Text) -> bool) -> Result<()> {
    found_none(fault, &sentences()?, has)
}

fn found_none(fault: &str, texts: &[Text], has: impl Fn(&Text) -> bool) -> Result<()> {
    let bad: Vec<String> = texts.iter().filter(|text| has(text)).map(Text::place).collect();
    ensure!(bad.is_empty(), "{} texts {fault}:\n{}", bad.len(), bad.join("\n"));
    Ok(())
}

#[test]
fn no_text_shows_a_value_as_a_programmer_would() -> Result<()> {
    found_none("show a value by its `Debug`, with names and escapes of Rust", &texts()?, |text| {
        let shows = text.literal.text.contains(":?}") || text.literal.text.contains(":#?}");
        shows && !text.is_for_developers()
    })
}

#[test]
fn no_text_has_a_name_of_rust() -> Result<()> {
    none_has("have a name of Rust", |text| {
        let text = outside_backticks(&text.literal.text);
        let is_name = |word: &str| is_camel_case(word) && !NAMES.contains(&word);
        let is_path = |at: usize| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            before.is_some_and(char::is_alphanumeric)
        };
        ["Some(", "None)", "Ok(", "Err("].iter().any(|mark| text.contains(mark))
            || text.match_indices("::").any(|(at, _)| is_path(at))
            || text.split(|letter: char| !letter.is_alphanumeric()).any(is_name)
    })
}

#[test]
fn no_text_has_an_escape_of_rust() -> Result<()> {
    none_has("have an escape", |text| {
        [r"\'", r#"\""#, r"\n", r"\u{"].iter().any(|escape| text.literal.text.contains(escape))
    })
}

/// The library for JSON says `expected value at line 1 column 2` and names types of Rust.
#[test]
fn no_error_of_the_library_for_json_is_shown_in_its_own_words() -> Result<()> {
    let mut found = Vec::new();
    for (file, source) in sources()? {
        let production = source.split("#[cfg(test)]").next().unwrap_or_default();
        let parsed = production.match_indices("serde_json::from_").map(|(begin, _)| {
            let rest = production.get(begin..).unwrap_or_default();
            let ends = [";", "\n}", "\n    }"].iter().filter_map(|end| rest.find(end));
            ends.min().and_then(|end| rest.get(..end)).unwrap_or(rest)
        });
        let is_shown = |code: &&str| code.contains("error.to_string()") || code.contains("{error}");
        let is_kept = production.contains("#[source] serde_json::Error");
        found.extend(parsed.filter(is_shown).map(|code| format!("{}: {code}", file.to_string_lossy())));
        found.extend(is_kept.then(|| format!("{}: a source", file.to_string_lossy())));
    }
    ensure!(found.is_empty(), "show them by `JsonMistake`:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn no_two_errors_of_a_crate_have_one_text() -> Result<()> {
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for text in sentences()?.into_iter().filter(Text::is_error) {
        let crate_name = text.file.iter().next().unwrap_or_default().to_string_lossy().into_owned();
        // What stands in a text for a value, and whatever it is called, makes no difference.
        let shape = without_values(&text.literal.text);
        if shape.chars().any(char::is_alphabetic) {
            found.entry((crate_name, shape)).or_default().push(text.place());
        }
    }
    let twice: Vec<String> =
        found.into_values().filter(|places| places.len() > 1).map(|places| places.join("\n")).collect();
    ensure!(twice.is_empty(), "one text stands for two causes:\n{}", twice.join("\n\n"));
    Ok(())
}

#[test]
fn every_reason_code_is_in_the_docs() -> Result<()> {
    let source = std::fs::read_to_string(repository().join("provisioner/src/model/failure.rs"))?;
    let docs = std::fs::read_to_string(repository().join("docs/reports.md"))?;
    let codes: Vec<String> = literals(&source)
        .into_iter()
        .filter(|literal| literal.before.ends_with('=') && !literal.before.contains("reason"))
        .map(|literal| literal.text)
        .collect();
    ensure!(codes.len() > 40, "only {} codes were found", codes.len());
    let missing: Vec<_> = codes.iter().filter(|code| !docs.contains(&format!("`{code}`"))).collect();
    ensure!(missing.is_empty(), "{missing:?}");
    Ok(())
}

fn outside_backticks(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

fn without_values(text: &str) -> String {
    let mut parts = text.split('{');
    let mut shape = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shape.push_str("{}");
        shape.push_str(part.split_once('}').map_or("", |(_, behind)| behind));
    }
    shape
}

/// Returns true if a word has the form of a type or variant name: `NotFound`.
fn is_camel_case(word: &str) -> bool {
    let humps = word
        .chars()
        .zip(word.chars().skip(1))
        .filter(|(one, next)| one.is_lowercase() && next.is_uppercase());
    word.starts_with(char::is_uppercase) && humps.count() > 0
}

/// Proper names in camel case: of products, of units, and of Azure's rights and settings.
const NAMES: [&str; 21] = [
    "ETag",
    "EnrollmentRead",
    "EnrollmentWrite",
    "GiB",
    "GitHub",
    "IoT",
    "JavaScript",
    "KiB",
    "MiB",
    "OpenSSL",
    "PostgreSQL",
    "PowerShell",
    "RegistrationStatusRead",
    "RegistrationStatusWrite",
    "RegistryWrite",
    "SequenceNumber",
    "ServiceConnect",
    "SharedAccessKeyName",
    "SoftHSM",
    "SubjectPublicKeyInfo",
    "WebSocket",
];
/// The beginnings of IoT Hub's own texts, which the local hub repeats.
const OF_IOT_HUB: [&str; 5] = [
    "CreateImportExportJob ",
    "PreconditionFailed,",
    "DeviceAuthenticationTypeIsMissing:",
    "StringIsNotThumbprint:",
    "methodName must be",
];
