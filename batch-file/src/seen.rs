//! [`Seen`]: what earlier rows had, to find what may be in a file only once.
//!
//! A million rows must fit into a few dozen megabytes, so only hashes and line numbers are kept,
//! 16 bytes for each: at a million entries, the chance that two of them are confused is below 1e-13.

use std::hash::{BuildHasher, RandomState};

use hub_types::thumbprint::ThumbprintDigest;
use hub_types::{IdentityId, Thumbprint};

use crate::column::Field;
use crate::problem::{Findings, Flaw};

/// What earlier rows had.
pub(crate) struct Seen {
    hashers: [RandomState; 2],
    identities: Table,
    credentials: Table,
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
            hashers: [RandomState::new(), RandomState::new()],
            identities: Table::new(),
            credentials: Table::new(),
            name: String::new(),
            lower_case: String::new(),
        }
    }

    /// Reports an identity that an earlier row has; warns where only the letter case differs.
    pub(crate) fn check_identity(&mut self, identity: &IdentityId, line: u64, findings: &mut Findings<'_>) {
        self.name_identity(identity);
        let name = &self.name;
        let lower = self.hash(self.lower_case.as_bytes());
        let exact = if *name == self.lower_case { lower } else { self.hash(name.as_bytes()) };
        let any_case = lower & !EXACT_BITS;
        let key = any_case | (exact & EXACT_BITS);
        let field = match identity.module() {
            Some(_) => Field::ModuleId,
            None => Field::DeviceId,
        };
        let earlier = self.identities.find(any_case, any_case | EXACT_BITS);
        let (mut same, mut other_case) = (None, None);
        for (found, line) in earlier {
            let slot = if found == key { &mut same } else { &mut other_case };
            *slot = Some(line);
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
        self.identities.insert(key, line);
    }

    /// Reports credentials that an earlier row has.
    pub(crate) fn check_credentials(
        &mut self,
        credentials: &[Credential<'_>],
        line: u64,
        findings: &mut Findings<'_>,
    ) {
        for credential in credentials {
            let key = self.credential_hash(*credential);
            let first = self.credentials.find(key, key).next().map(|(_, line)| line);
            match first {
                Some(first) if first != line => credential.report(first, findings),
                Some(_) => {}
                None => self.credentials.insert(key, line),
            }
        }
    }

    /// Writes the identity's common name as it is and in lower case.
    fn name_identity(&mut self, identity: &IdentityId) {
        self.name.clear();
        self.name.push_str(identity.device().as_str());
        if let Some(module) = identity.module() {
            self.name.push('/');
            self.name.push_str(module.as_str());
        }
        self.lower_case.clone_from(&self.name);
        self.lower_case.make_ascii_lowercase();
    }

    fn credential_hash(&self, credential: Credential<'_>) -> u128 {
        match credential {
            Credential::Text(_, text) => self.hash(text.as_bytes()),
            Credential::Thumbprint(_, thumbprint) => match thumbprint.digest() {
                ThumbprintDigest::Sha1(digest) => self.hash(digest.as_bytes()),
                ThumbprintDigest::Sha256(digest) => self.hash(digest.as_bytes()),
            },
        }
    }

    /// 96 bits.
    fn hash(&self, bytes: &[u8]) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(bytes)));
        (high << 32) | (low >> 32)
    }
}

impl Credential<'_> {
    fn report(self, first: u64, findings: &mut Findings<'_>) {
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

/// A map from 96-bit keys to lines. Its size is that of its entries: a hash table of this size would
/// be half empty, and twice as large while it grows.
struct Table {
    /// Sorted; a key's upper bits choose the shard. An entry is a key above a line.
    shards: Vec<Vec<u128>>,
}

impl Table {
    fn new() -> Self {
        Self { shards: vec![Vec::new(); SHARDS] }
    }

    /// The entries with keys from `first` to `last`, which are in one shard.
    fn find(&self, first: u128, last: u128) -> impl Iterator<Item = (u128, u64)> {
        let shard = self.shards.get(shard_of(first)).map(Vec::as_slice).unwrap_or_default();
        let start = shard.partition_point(|entry| entry >> LINE_BITS < first);
        let entries = shard.get(start..).unwrap_or_default();
        entries
            .iter()
            .map(|entry| (entry >> LINE_BITS, u64::from(*entry as u32)))
            .take_while(move |(key, _)| *key <= last)
    }

    fn insert(&mut self, key: u128, line: u64) {
        let Some(shard) = self.shards.get_mut(shard_of(key)) else {
            return;
        };
        if shard.len() == shard.capacity() {
            shard.reserve_exact(shard.len() / 8 + 4);
        }
        let at = shard.partition_point(|entry| entry >> LINE_BITS < key);
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        shard.insert(at, (key << LINE_BITS) | u128::from(line));
    }
}

fn shard_of(key: u128) -> usize {
    (key >> (KEY_BITS - SHARD_BITS)) as usize
}

const KEY_BITS: u32 = 96;
const LINE_BITS: u32 = 32;
const SHARD_BITS: u32 = 14;
const SHARDS: usize = 1 << SHARD_BITS;
/// The bits of an identity's key that depend on letter case.
const EXACT_BITS: u128 = (1 << 24) - 1;

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
    fn a_table_finds_what_was_put_in() {
        let mut table = Table::new();
        let keys: Vec<u128> =
            (0..10_000_u128).map(|n| (n * 0x9E37_79B9_7F4A_7C15_F39C_C060) % (1 << 96)).collect();
        for (line, &key) in (1..).zip(&keys) {
            assert_eq!(table.find(key, key).next(), None);
            table.insert(key, line);
        }
        for (line, &key) in (1..).zip(&keys) {
            assert_eq!(table.find(key, key).next(), Some((key, line)));
        }
    }
}
