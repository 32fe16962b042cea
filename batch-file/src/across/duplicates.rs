//! [`Duplicates`]: values of earlier rows, to find duplicates of values that must be unique in a file.
//!
//! A million rows must fit into a few dozen megabytes, so only hashes and line numbers are kept, 12
//! bytes for each: at a million entries, the chance that two of them are confused is below 1e-10.
//! Entries beyond the bound are written into files and compared with one another at the end.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::io;

use foldhash::quality::RandomState;
use hub_types::limits::MAX_MODULES_PER_DEVICE;
use hub_types::thumbprint::ThumbprintDigest;
use hub_types::{DeviceId, IdentityId, ModuleId};

use crate::across::spill::{PARTS, Spill, SpilledKey, Subject, unusable};
use crate::across::table::{Key, Table};
use crate::header::cells::Cells;
use crate::header::column::Field;
use crate::problem::{Findings, Flaw};

/// The unique values of earlier rows.
pub(crate) struct Duplicates {
    pub(crate) keys: KeyHasher,
    /// The unique keys of rows that are not checked yet, in their order.
    waiting: VecDeque<UniqueKeys>,
    /// The line of each identity; with [`EDGE`] for edge devices.
    identities: Table,
    credentials: Table,
    /// The number of modules of each device.
    modules: Table,
    /// The number of entries in the tables, and its bound.
    entries: usize,
    room: usize,
    /// The keys that did not fit into the tables.
    spill: Spill,
}

/// Makes the keys of table entries.
pub(crate) struct KeyHasher {
    hashers: [RandomState; 2],
    /// The texts of the present identity, reused to avoid allocations.
    name: String,
    lower_case: String,
}

/// The keys of the values of a row that must be unique.
#[derive(Default)]
struct UniqueKeys {
    identity: Option<(IdentityId, Key)>,
    /// True if the row declares an edge device.
    is_edge: bool,
    credentials: Credentials,
}

/// Thumbprints, the names of files, or requests, with their columns.
pub(crate) type Credentials = [Option<(Field, Key)>; 3];

impl Duplicates {
    pub(crate) fn new() -> Self {
        Self {
            keys: KeyHasher::new(),
            waiting: VecDeque::new(),
            identities: Table::new(),
            credentials: Table::new(),
            modules: Table::new(),
            entries: 0,
            room: MAX_ENTRIES,
            spill: Spill::default(),
        }
    }

    /// Queues a row's unique keys until they are checked.
    pub(crate) fn queue(&mut self, identity: Option<&IdentityId>, is_edge: bool, credentials: Credentials) {
        let identity = identity
            .map(|identity| (identity.clone(), self.keys.of_identity(identity.device(), identity.module())));
        self.waiting.push_back(UniqueKeys { identity, is_edge, credentials });
    }

    /// Queues a row without unique keys.
    pub(crate) fn queue_without_keys(&mut self) {
        self.waiting.push_back(UniqueKeys::default());
    }

    /// Reads the table slots of the queued keys, so that the processor waits for memory outside
    /// of its caches once for all of them.
    pub(crate) fn prefetch(&self) {
        let found = self.waiting.iter().fold(0, |found, keys| {
            let identity = keys.identity.as_ref().map_or(0, |(_, key)| self.identities.at_home(*key));
            let credentials = keys.credentials.iter().flatten();
            credentials.fold(found ^ identity, |found, (_, key)| found ^ self.credentials.at_home(*key))
        });
        black_box(found);
    }

    /// Reports keys of the next row that an earlier row has too.
    pub(crate) fn check_next(&mut self, line: u64, cells: Option<&Cells>, findings: &mut Findings<'_>) {
        let Some(keys) = self.waiting.pop_front() else { return };
        if let Some((identity, key)) = &keys.identity {
            self.check_identity(identity, (*key, keys.is_edge), line, findings);
            if keys.is_edge
                && identity.module().is_none()
                && let Some(line) = self.identities.get(*key)
            {
                *line |= EDGE;
            }
        }
        for &(field, key) in keys.credentials.iter().flatten() {
            match self.credentials.get(key).map(|line| *line) {
                Some(first) if first != number(line) => report_credential(field, first, cells, findings),
                Some(_) => {}
                None if self.has_room() => self.credentials.insert(key, number(line)),
                None => self.spill.push(SpilledKey {
                    subject: Subject::Credential,
                    key,
                    line: number(line),
                    column: field as u8,
                    is_reported: false,
                }),
            }
        }
    }

    /// Reports an identity that an earlier row has; warns if only the letter case differs.
    fn check_identity(
        &mut self,
        identity: &IdentityId,
        (key, is_edge): (Key, bool),
        line: u64,
        findings: &mut Findings<'_>,
    ) {
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
            return findings.cell_error(field.name(), &identity.common_name(), same_identity(first));
        }
        if let Some(first) = other_case {
            findings.cell_warning(field.name(), &identity.common_name(), same_but_case(first));
        }
        if self.has_room() {
            self.identities.insert(key, number(line));
        } else {
            let subject = match identity.module() {
                Some(_) => Subject::Module,
                None if is_edge => Subject::EdgeDevice,
                None => Subject::Device,
            };
            self.spill.push(SpilledKey {
                subject,
                key,
                line: number(line),
                column: field as u8,
                is_reported: other_case.is_some(),
            });
        }
        if let Some(module) = identity.module() {
            self.count_module(identity.device(), module, line, findings);
        }
    }

    /// Returns true if the tables can take one more entry, and counts it.
    fn has_room(&mut self) -> bool {
        let has_room = self.entries < self.room;
        self.entries += usize::from(has_room);
        has_room
    }

    /// Compares, at the end, the keys outside of the tables with one another; they were compared
    /// with the tables at once. Passes the devices to `visit`, one part after the other.
    pub(crate) fn compare_spilled(
        &mut self,
        findings: &mut Findings<'_>,
        mut visit: impl FnMut(usize, &mut DevicesOfPart<'_>) -> io::Result<()>,
    ) {
        let mut more = 0_u64;
        let compared = (0..PARTS).try_for_each(|part| {
            let keys = self.spill.part(part)?;
            more += report_same(&keys, findings);
            warn_of_case(&keys, findings);
            visit(part, &mut DevicesOfPart { keys: &keys, identities: &mut self.identities })
        });
        if more > 0 {
            findings.error_without_line(Flaw::new(
                format!("{more} more rows claim what another row has"),
                "correct those that are listed, then look again",
            ));
        }
        if let Err(error) = compared {
            findings.error_without_line(unusable("whether rows are there twice can't be told", &error));
        }
    }

    /// Reports a module beyond the limit of a device.
    fn count_module(&mut self, device: &DeviceId, module: &ModuleId, line: u64, findings: &mut Findings<'_>) {
        let key = self.keys.of_text(device.as_str());
        let Some(count) = self.modules.get(key) else {
            return match self.has_room() {
                true => self.modules.insert(key, 1),
                false => self.spill.push(SpilledKey {
                    subject: Subject::ModuleOf,
                    key,
                    line: number(line),
                    column: Field::ModuleId as u8,
                    is_reported: false,
                }),
            };
        };
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

/// The devices that have rows and whose keys are in a part.
pub(crate) struct DevicesOfPart<'a> {
    keys: &'a [SpilledKey],
    identities: &'a mut Table,
}

impl DevicesOfPart<'_> {
    /// The line of a device of the part, and whether it is an edge device; `None` where it has no row.
    pub(crate) fn device(&mut self, key: Key) -> Option<(u32, bool)> {
        if let Some(line) = self.identities.get(key) {
            return Some((*line & !EDGE, *line & EDGE != 0));
        }
        // Identities are the first group.
        let place = self.keys.partition_point(|spilled| spilled.subject.group() == 0 && spilled.key < key);
        let found = self.keys.get(place).filter(|spilled| spilled.subject.group() == 0 && spilled.key == key);
        found.map(|spilled| (spilled.line, spilled.subject == Subject::EdgeDevice))
    }
}

/// Reports keys that are the same, and returns how many more there are than can be listed.
fn report_same(keys: &[SpilledKey], findings: &mut Findings<'_>) -> u64 {
    let mut more = 0;
    let meet = |one: &SpilledKey, other: &SpilledKey| {
        one.subject.group() == other.subject.group() && one.key == other.key
    };
    for same in keys.chunk_by(meet) {
        let Some(first) = same.first() else { continue };
        let needless = if first.subject == Subject::ModuleOf { MAX_MODULES_PER_DEVICE } else { 1 };
        // The two slots of one row may hold the same.
        for spilled in same.iter().skip(needless).filter(|spilled| spilled.line != first.line) {
            let field = Field::numbered(spilled.column);
            let flaw = match spilled.subject {
                Subject::ModuleOf => too_many_modules(),
                Subject::Credential => same_credential(field, first.line),
                Subject::Device | Subject::EdgeDevice | Subject::Module => same_identity(first.line),
            };
            if findings.count() < MAX_PROBLEMS {
                findings.set_line(spilled.line.into());
                findings.column_error(field.name(), flaw);
            } else {
                more += 1;
            }
        }
    }
    more
}

impl KeyHasher {
    fn new() -> Self {
        Self {
            hashers: [RandomState::default(), RandomState::default()],
            name: String::new(),
            lower_case: String::new(),
        }
    }

    /// Writes the identity's common name as it is and in lower case, for its key.
    pub(crate) fn of_identity(&mut self, device: &DeviceId, module: Option<&ModuleId>) -> Key {
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

/// A line in the form of table values.
pub(crate) fn number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX).min(!EDGE)
}

/// The number added to the line of an edge device.
const EDGE: u32 = 1 << 31;

fn report_credential(field: Field, first: u32, cells: Option<&Cells>, findings: &mut Findings<'_>) {
    let value = cells.and_then(|cells| cells.get(field.name())).unwrap_or_default();
    findings.cell_error(field.name(), &value, same_credential(field, first));
}

/// Warns of identities outside of the tables that differ in letter case only and are not reported
/// yet.
fn warn_of_case(keys: &[SpilledKey], findings: &mut Findings<'_>) {
    let identities = keys.iter().take_while(|spilled| spilled.subject.group() == 0);
    let identities: Vec<_> = identities.filter(|spilled| !spilled.is_reported).collect();
    for alike in identities.chunk_by(|one, other| one.key.is_similar(other.key)) {
        // Of each spelling the first.
        let mut spellings: Vec<_> =
            alike.chunk_by(|one, other| one.key == other.key).filter_map(|same| same.first()).collect();
        spellings.sort_unstable_by_key(|spilled| spilled.line);
        let Some((first, others)) = spellings.split_first() else { continue };
        for other in others {
            let field = if other.subject == Subject::Module { Field::ModuleId } else { Field::DeviceId };
            if findings.count() < MAX_PROBLEMS {
                findings.set_line(other.line.into());
                findings.column_warning(field.name(), same_but_case(first.line));
            }
        }
    }
}

fn same_identity(first: u32) -> Flaw {
    Flaw::new(
        format!("line {first} has the same identity"),
        "keep one of the rows; if two units bear the same serial, one label is wrong",
    )
}

fn same_but_case(first: u32) -> Flaw {
    Flaw::new(
        format!("line {first} has the same identity in other letter case; a hub takes them for two"),
        "correct one of them, unless there are two",
    )
}

fn same_credential(field: Field, first: u32) -> Flaw {
    let message = match field {
        Field::PrimaryThumbprint | Field::SecondaryThumbprint => {
            format!("the identity on line {first} has the same thumbprint")
        }
        _ => format!("the identity on line {first} has the same one"),
    };
    Flaw::new(message, "give every identity a certificate of its own")
}

fn too_many_modules() -> Flaw {
    Flaw::new(
        format!("a device has at most {MAX_MODULES_PER_DEVICE} modules, and this is one more"),
        "leave modules out, or put some onto another device",
    )
}

/// The largest number of entries of 12 bytes: the million identities of a hub with a thumbprint
/// each.
const MAX_ENTRIES: usize = 2_000_000;
/// The largest number of problems that are reported at the end.
pub(crate) const MAX_PROBLEMS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity_problems(names: &[&str]) -> Vec<String> {
        let mut duplicates = Duplicates::new();
        let mut findings = Findings::new("f", Some(9));
        for (line, name) in (2..).zip(names) {
            duplicates.queue(Some(&IdentityId::from_common_name(name).unwrap()), false, Default::default());
            duplicates.check_next(line, None, &mut findings);
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

    /// The problems of the same rows, by line and column, with tables of limited room.
    fn reported(
        names: &[String],
        room: usize,
        hashers: &[RandomState; 2],
    ) -> Vec<(Option<u64>, Option<String>, bool)> {
        let mut duplicates = Duplicates { room, ..Duplicates::new() };
        duplicates.keys.hashers.clone_from(hashers);
        let mut findings = Findings::new("f", None);
        for (line, name) in (2..).zip(names) {
            findings.set_line(line);
            let thumbprint = duplicates.keys.of_text(&name.to_lowercase().replace('/', ""));
            let credentials = [Some((Field::PrimaryThumbprint, thumbprint)), None, None];
            duplicates.queue(Some(&IdentityId::from_common_name(name).unwrap()), false, credentials);
            duplicates.check_next(line, None, &mut findings);
        }
        duplicates.compare_spilled(&mut findings, |_, _| Ok(()));
        let problems = findings.into_problems().into_iter();
        let mut reported: Vec<_> =
            problems.map(|problem| (problem.line, problem.column.clone(), !problem.is_error())).collect();
        // A row that is an error may be warned of too.
        reported.sort();
        reported.dedup_by_key(|(line, column, _)| (*line, column.clone()));
        reported
    }

    proptest! {
        #[test]
        fn what_has_no_room_is_compared_all_the_same(
            names in proptest::collection::vec("[abAB]{1,2}(/m)?", 1..60),
            room in 0_usize..40,
        ) {
            // Spellings of one name have keys that differ in 20 bits: hashers of one kind let the same two collide.
            let hashers = KeyHasher::new().hashers;
            prop_assert_eq!(reported(&names, room, &hashers), reported(&names, usize::MAX, &hashers));
        }
    }

    #[test]
    fn parents_and_modules_without_room_are_counted() {
        let names: Vec<String> = (0..53).map(|n| format!("a/m{n}")).collect();
        assert_eq!(reported(&names, 0, &KeyHasher::new().hashers).len(), 3);
        let mut duplicates = Duplicates { room: 0, ..Duplicates::new() };
        let mut findings = Findings::new("f", None);
        for (line, (name, is_edge)) in (2..).zip([("gw", true), ("b", false), ("c", false)]) {
            duplicates.queue(Some(&IdentityId::from_common_name(name).unwrap()), is_edge, Default::default());
            duplicates.check_next(line, None, &mut findings);
        }
        let known = ["gw", "b", "d"].map(|id| duplicates.keys.of_identity(&DeviceId::new(id).unwrap(), None));
        let mut found = Vec::new();
        duplicates.compare_spilled(&mut findings, |part, devices| {
            let in_part = known.iter().filter(|key| key.part(PARTS) == part);
            found.extend(in_part.filter_map(|key| devices.device(*key)));
            Ok(())
        });
        found.sort_unstable();
        assert_eq!(found, [(2, true), (3, false)]);
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
