//! [`Seen`]: what earlier rows had, to find what may be in a file only once.
//!
//! A million rows must fit into a few dozen megabytes, so only hashes and line numbers are kept,
//! 12 bytes for each: at a million entries, the chance that two of them are confused is below 1e-10.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::hint::black_box;

use foldhash::quality::RandomState;
use hub_types::limits::MAX_MODULES_PER_DEVICE;
use hub_types::thumbprint::ThumbprintDigest;
use hub_types::{DeviceId, IdentityId, ModuleId};

use crate::cells::Cells;
use crate::column::Field;
use crate::problem::{Findings, Flaw};
use crate::table::{Key, Table};

/// What earlier rows had.
pub(crate) struct Seen {
    pub(crate) keys: Keys,
    /// What the rows claim that are not checked yet, in their order.
    waiting: VecDeque<Claims>,
    /// The line of each; with [`EDGE`] for edge devices.
    identities: Table,
    credentials: Table,
    /// How many modules devices have.
    modules: Table,
}

/// Makes the keys under which tables keep what rows have.
pub(crate) struct Keys {
    hashers: [RandomState; 2],
    /// The texts of the identity at hand, kept to spare allocations.
    name: String,
    lower_case: String,
}

/// What a row takes for itself alone.
#[derive(Default)]
struct Claims {
    identity: Option<(IdentityId, Key)>,
    /// Whether it says of itself that it is an edge device.
    is_edge: bool,
    credentials: Credentials,
}

/// Thumbprints, the names of files, or requests, with their columns.
pub(crate) type Credentials = [Option<(Field, Key)>; 3];

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            keys: Keys {
                hashers: [RandomState::default(), RandomState::default()],
                name: String::new(),
                lower_case: String::new(),
            },
            waiting: VecDeque::new(),
            identities: Table::new(),
            credentials: Table::new(),
            modules: Table::new(),
        }
    }

    /// Takes down what a row claims, until it is checked.
    pub(crate) fn claim(&mut self, identity: Option<&IdentityId>, is_edge: bool, credentials: Credentials) {
        let identity = identity
            .map(|identity| (identity.clone(), self.keys.of_identity(identity.device(), identity.module())));
        self.waiting.push_back(Claims { identity, is_edge, credentials });
    }

    /// Takes down that a row claims nothing.
    pub(crate) fn claim_nothing(&mut self) {
        self.waiting.push_back(Claims::default());
    }

    /// Reads the places where the claims that wait will be looked up. The processor waits for memory that
    /// is in none of its caches, and so it waits for all of them at once.
    pub(crate) fn look_ahead(&self) {
        let found = self.waiting.iter().fold(0, |found, claims| {
            let identity = claims.identity.as_ref().map_or(0, |(_, key)| self.identities.at_home(*key));
            let credentials = claims.credentials.iter().flatten();
            credentials.fold(found ^ identity, |found, (_, key)| found ^ self.credentials.at_home(*key))
        });
        black_box(found);
    }

    /// Reports what the next row claims and an earlier row has.
    pub(crate) fn check_next(&mut self, line: u64, cells: Option<&Cells>, findings: &mut Findings<'_>) {
        let Some(claims) = self.waiting.pop_front() else { return };
        if let Some((identity, key)) = &claims.identity {
            self.check_identity(identity, *key, line, findings);
            if claims.is_edge
                && identity.module().is_none()
                && let Some(line) = self.identities.get(*key)
            {
                *line |= EDGE;
            }
        }
        for &(field, key) in claims.credentials.iter().flatten() {
            match self.credentials.get(key).map(|line| *line) {
                Some(first) if first != number(line) => report_credential(field, first, cells, findings),
                Some(_) => {}
                None => self.credentials.insert(key, number(line)),
            }
        }
    }

    /// Reports an identity that an earlier row has; warns where only the letter case differs.
    fn check_identity(&mut self, identity: &IdentityId, key: Key, line: u64, findings: &mut Findings<'_>) {
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
            return findings.cell_error(field.name(), &identity.common_name(), flaw);
        }
        if let Some(first) = other_case {
            let flaw = Flaw::new(
                format!("line {first} has the same identity in other letter case; a hub takes them for two"),
                "correct one of them, unless there are two",
            );
            findings.cell_warning(field.name(), &identity.common_name(), flaw);
        }
        self.identities.insert(key, number(line));
        if let Some(module) = identity.module() {
            self.count_module(identity.device(), module, findings);
        }
    }

    /// The line of a device, and whether it is an edge device; `None` where it has no row.
    pub(crate) fn device(&mut self, device: &DeviceId) -> Option<(u32, bool)> {
        let key = self.keys.of_identity(device, None);
        self.identities.get(key).map(|line| (*line & !EDGE, *line & EDGE != 0))
    }

    /// Reports a module too many.
    fn count_module(&mut self, device: &DeviceId, module: &ModuleId, findings: &mut Findings<'_>) {
        let key = self.keys.of_text(device.as_str());
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
}

impl Keys {
    /// Writes the identity's common name as it is and in lower case, for its key.
    fn of_identity(&mut self, device: &DeviceId, module: Option<&ModuleId>) -> Key {
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

    pub(crate) fn of_thumbprint(&self, digest: ThumbprintDigest) -> Key {
        match digest {
            ThumbprintDigest::Sha1(digest) => self.of_bytes(digest.as_bytes()),
            ThumbprintDigest::Sha256(digest) => self.of_bytes(digest.as_bytes()),
        }
    }

    pub(crate) fn of_text(&self, text: &str) -> Key {
        self.of_bytes(text.as_bytes())
    }

    fn of_bytes(&self, bytes: &[u8]) -> Key {
        let [one, other] = &self.hashers;
        Key::new(one.hash_one(bytes), other.hash_one(bytes))
    }
}

/// A line as tables keep it.
fn number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX).min(!EDGE)
}

/// What is added to the line of an edge device.
const EDGE: u32 = 1 << 31;

fn report_credential(field: Field, first: u32, cells: Option<&Cells>, findings: &mut Findings<'_>) {
    let message = match field {
        Field::PrimaryThumbprint | Field::SecondaryThumbprint => {
            format!("the identity on line {first} has the same thumbprint")
        }
        _ => format!("the identity on line {first} has the same one"),
    };
    let flaw = Flaw::new(message, "give every identity a certificate of its own");
    let value = cells.and_then(|cells| cells.get(field.name())).unwrap_or_default();
    findings.cell_error(field.name(), &value, flaw);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity_problems(names: &[&str]) -> Vec<String> {
        let mut seen = Seen::new();
        let mut findings = Findings::new("f", Some(9));
        for (line, name) in (2..).zip(names) {
            seen.claim(Some(&IdentityId::from_common_name(name).unwrap()), false, Default::default());
            seen.check_next(line, None, &mut findings);
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
