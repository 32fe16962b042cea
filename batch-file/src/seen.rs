//! [`Seen`]: what earlier rows had, to find what may be in a file only once.
//!
//! A million rows must fit into a few dozen megabytes, so only hashes and line numbers are kept,
//! 12 bytes for each: at a million entries, the chance that two of them are confused is below 1e-10.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hub_types::limits::MAX_MODULES_PER_DEVICE;
use hub_types::thumbprint::ThumbprintDigest;
use hub_types::{DeviceId, IdentityId, ModuleId, Thumbprint};

use crate::column::Field;
use crate::problem::{Findings, Flaw};
use crate::table::{Key, Table};

/// What earlier rows had.
pub(crate) struct Seen {
    hashers: [RandomState; 2],
    /// The line of each; with [`EDGE`] for edge devices.
    identities: Table,
    credentials: Table,
    /// How many modules devices have.
    modules: Table,
    /// The texts of the identity at hand, kept to spare allocations.
    name: String,
    lower_case: String,
}

/// What may belong to one identity only.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Credential<'a> {
    /// The name of a file, or a request's PEM.
    Text(Field, &'a str),
    Thumbprint(Field, Thumbprint),
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            hashers: [RandomState::default(), RandomState::default()],
            identities: Table::new(),
            credentials: Table::new(),
            modules: Table::new(),
            name: String::new(),
            lower_case: String::new(),
        }
    }

    /// Reports an identity that an earlier row has; warns where only the letter case differs.
    pub(crate) fn check_identity(&mut self, identity: &IdentityId, line: u64, findings: &mut Findings<'_>) {
        let key = self.key_of_identity(identity.device(), identity.module());
        let name = &self.name;
        let field = match identity.module() {
            Some(_) => Field::ModuleId,
            None => Field::DeviceId,
        };
        let (mut same, mut other_case) = (None, None);
        for (is_same, line) in self.identities.similar(key) {
            let slot = if is_same { &mut same } else { &mut other_case };
            *slot = Some(line & !EDGE);
        }
        if let Some(first) = same {
            let flaw = Flaw::new(
                format!("line {first} has the same identity"),
                "keep one of the rows; if two units bear the same serial, one label is wrong",
            );
            return findings.cell_error(field.name(), name, flaw);
        }
        if let Some(first) = other_case {
            let flaw = Flaw::new(
                format!("line {first} has the same identity in other letter case; a hub takes them for two"),
                "correct one of them, unless there are two",
            );
            findings.cell_warning(field.name(), name, flaw);
        }
        self.identities.insert(key, number(line));
        if let Some(module) = identity.module() {
            self.count_module(identity.device(), module, findings);
        }
    }

    /// Notes that a device whose identity was checked is an edge device.
    pub(crate) fn note_edge(&mut self, device: &DeviceId) {
        let key = self.key_of_identity(device, None);
        if let Some(line) = self.identities.get(key) {
            *line |= EDGE;
        }
    }

    /// The line of a device, and whether it is an edge device; `None` where it has no row.
    pub(crate) fn device(&mut self, device: &DeviceId) -> Option<(u32, bool)> {
        let key = self.key_of_identity(device, None);
        self.identities.get(key).map(|line| (*line & !EDGE, *line & EDGE != 0))
    }

    /// Reports a module too many.
    fn count_module(&mut self, device: &DeviceId, module: &ModuleId, findings: &mut Findings<'_>) {
        let [one, other] = self.hashes(device.as_str().as_bytes());
        let key = Key::new(one, other);
        let Some(count) = self.modules.get(key) else { return self.modules.insert(key, 1) };
        *count += 1;
        if *count as usize > MAX_MODULES_PER_DEVICE {
            let flaw = Flaw::new(
                format!(
                    "a device has at most {MAX_MODULES_PER_DEVICE} modules, and this is number {count} of `{device}`"
                ),
                "leave modules out, or put some onto another device",
            );
            findings.cell_error(Field::ModuleId.name(), module.as_str(), flaw);
        }
    }

    /// Reports credentials that an earlier row has.
    pub(crate) fn check_credentials<'c>(
        &mut self,
        credentials: impl Iterator<Item = Credential<'c>>,
        line: u64,
        findings: &mut Findings<'_>,
    ) {
        for credential in credentials {
            let key = self.key_of(credential);
            match self.credentials.get(key).map(|line| *line) {
                Some(first) if first != number(line) => credential.report(first, findings),
                Some(_) => {}
                None => self.credentials.insert(key, number(line)),
            }
        }
    }

    /// Writes the identity's common name as it is and in lower case, for its key.
    fn key_of_identity(&mut self, device: &DeviceId, module: Option<&ModuleId>) -> Key {
        self.name.clear();
        self.name.push_str(device.as_str());
        if let Some(module) = module {
            self.name.push('/');
            self.name.push_str(module.as_str());
        }
        self.lower_case.clone_from(&self.name);
        self.lower_case.make_ascii_lowercase();
        let [one, other] = &self.hashers;
        Key::composed(one.hash_one(self.lower_case.as_bytes()), other.hash_one(self.name.as_bytes()))
    }

    fn key_of(&self, credential: Credential<'_>) -> Key {
        let [one, other] = match credential {
            Credential::Text(_, text) => self.hashes(text.as_bytes()),
            Credential::Thumbprint(_, thumbprint) => match thumbprint.digest() {
                ThumbprintDigest::Sha1(digest) => self.hashes(digest.as_bytes()),
                ThumbprintDigest::Sha256(digest) => self.hashes(digest.as_bytes()),
            },
        };
        Key::new(one, other)
    }

    fn hashes(&self, bytes: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(bytes))
    }
}

/// A line as tables keep it.
fn number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX).min(!EDGE)
}

/// What is added to the line of an edge device.
const EDGE: u32 = 1 << 31;

impl Credential<'_> {
    fn report(self, first: u32, findings: &mut Findings<'_>) {
        let remedy = "give every identity a certificate of its own";
        match self {
            Self::Thumbprint(field, thumbprint) => findings.cell_error(
                field.name(),
                &thumbprint.to_string(),
                Flaw::new(format!("the identity on line {first} has the same thumbprint"), remedy),
            ),
            Self::Text(field, text) => findings.cell_error(
                field.name(),
                text,
                Flaw::new(format!("the identity on line {first} has the same one"), remedy),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity_problems(names: &[&str]) -> Vec<String> {
        let mut seen = Seen::new();
        let mut findings = Findings::new("f", Some(9));
        for (line, name) in (2..).zip(names) {
            seen.check_identity(&IdentityId::from_common_name(name).unwrap(), line, &mut findings);
        }
        findings.into_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_identity_is_found_with_its_first_line() {
        let problems = identity_problems(&["a", "a/m", "b", "a", "b/m", "a/m"]);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("column device_id: \"a\": line 2 has"), "{problems:?}");
        assert!(problems[1].contains("column module_id: \"a/m\": line 3 has"), "{problems:?}");
    }

    #[test]
    fn other_letter_case_is_a_warning() {
        let problems = identity_problems(&["Pump1", "pump1", "PUMP1", "pump1"]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("warning") && problems[0].contains("line 2 has"), "{problems:?}");
        assert!(problems[2].contains(": \"pump1\": line 3 has the same identity\n"), "{problems:?}");
    }

    #[test]
    fn the_fifty_first_module_of_a_device_is_found_wherever_it_stands() {
        let names: Vec<String> = (0..51).flat_map(|n| [format!("a/m{n}"), format!("b{n}/m")]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let problems = identity_problems(&names);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("\"m50\": a device has at most 50 modules"), "{problems:?}");
    }
}
