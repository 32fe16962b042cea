//! Plan files: a plan written down, to be carried out later as it is or not at all.
//!
//! A plan file is JSON PlanLines: a [`Header`], one [`PlannedRow`] for each row of the batch, their `PlanTotals`,
//! and a last line with the SHA-256 of everything before it, which has one spelling only: no byte of a
//! file can be changed, added or lost without notice. That is no signature: whoever can write the file
//! can make a new one. It holds no secret; symmetric keys come from the batch when the plan is carried
//! out.

use hub_types::shown::ShownPath;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use cli_support::new_file::{Existing, NewFile, Readers};
use cli_support::text::Utf8Stream;
use cli_support::wrong_form::JsonMistake;
use hub_types::repeated_member;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Plan, PlannedRow};
use crate::clock::Timestamp;
use crate::ledger::RunOptions;
use crate::model::digest::Sha256Digest;

/// The header of a plan file: everything that must be the same when the plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// The version of this format.
    pub(crate) provisioner_plan: u32,
    /// The version of the program that made the plan.
    pub(crate) tool_version: String,
    /// The time at which the plan was made.
    pub(crate) made: Timestamp,
    /// The hub: its host, or the folder of a local hub.
    pub(crate) hub: String,
    /// The batch file.
    pub(crate) input: PathBuf,
    /// The SHA-256 of the batch file.
    pub(crate) input_sha256: Sha256Digest,
    /// The SHA-256 over the specification of each identity: it covers the files that rows name.
    #[serde(rename = "wanted_sha256")]
    pub(crate) spec_sha256: Sha256Digest,
    /// The options of the run, in addition to its rows.
    pub(crate) options: RunOptions,
    /// True if bad rows are left out.
    pub(crate) skip_bad_rows: bool,
}

/// The record after the rows.
#[derive(Debug, Serialize)]
struct PlanTotals<'a> {
    rows: u64,
    sum: &'a Plan,
}

/// The last line: what seals a file whose other lines have this SHA-256.
#[derive(Debug, Serialize)]
struct Seal {
    sha256: Sha256Digest,
}

/// The reason why a plan file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlanFileError {
    /// It can't be read or written.
    #[error("can't use the plan file `{}`", ShownPath(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was cut off, or edited.
    #[error("line {line} of the plan file `{}` has changed since it was written: {what}", ShownPath(path))]
    Altered {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The fault.
        what: String,
    },
    /// It was made by another version of this program.
    #[error("the plan file `{}` has version {found}; this program reads version {VERSION}", ShownPath(path))]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

/// Writes a plan file. Nothing is there under its name before [`PlanWriter::finish`].
pub(crate) struct PlanWriter {
    path: PathBuf,
    file: NewFile,
    hasher: Sha256,
    rows: u64,
}

impl PlanWriter {
    /// Begins a file with its header.
    pub(crate) fn create(path: &Path, header: &Header) -> Result<Self, PlanFileError> {
        let file = NewFile::create(path, Existing::Kept, Readers::Owner);
        let file = file.map_err(|source| PlanFileError::Io { path: path.to_owned(), source })?;
        let mut writer = Self { path: path.to_owned(), file, hasher: Sha256::new(), rows: 0 };
        writer.line(header)?;
        Ok(writer)
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, row: &PlannedRow) -> Result<(), PlanFileError> {
        self.rows += 1;
        self.line(row)
    }

    /// Ends the file, brings it to the disk and gives it its name, which must be free.
    pub(crate) fn finish(mut self, sum: &Plan) -> Result<(), PlanFileError> {
        self.line(&PlanTotals { rows: self.rows, sum })?;
        let sha256 = self.hasher.clone().into();
        self.line(&Seal { sha256 })?;
        let Self { path, file, .. } = self;
        file.finish().map_err(|source| PlanFileError::Io { path, source })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), PlanFileError> {
        let line = line(value)
            .map_err(|error| PlanFileError::Io { path: self.path.clone(), source: error.into() })?;
        self.hasher.update(&line);
        self.file.write_all(&line).map_err(|source| PlanFileError::Io { path: self.path.clone(), source })
    }
}

/// A line of the file. It fails where a path is not UTF-8.
fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// A plan file that was read to its end and found to be whole.
#[derive(Debug)]
pub(crate) struct PlanFile {
    path: PathBuf,
    /// The header.
    pub(crate) header: Header,
    /// The number of rows.
    pub(crate) rows: u64,
    /// The identifier of this plan: the SHA-256 of all before its last line.
    pub(crate) sha256: Sha256Digest,
}

impl PlanFile {
    /// Returns true if a file is a plan, by its first bytes, which differ from those of a batch.
    pub(crate) fn is_one(path: &Path) -> bool {
        let mut first = Vec::new();
        let read = open_text(path).and_then(|text| text.take(MAGIC.len() as u64).read_to_end(&mut first));
        read.is_ok() && first == MAGIC
    }

    /// Reads a file from its first line to its last and makes sure that it is as it was written.
    pub(crate) fn open(path: &Path) -> Result<Self, PlanFileError> {
        let mut lines = PlanLines::open(path)?;
        let version: Version = lines.next_as()?.ok_or_else(|| lines.altered("it is empty"))?;
        if version.provisioner_plan != u64::from(VERSION) {
            return Err(PlanFileError::Version { path: path.to_owned(), found: version.provisioner_plan });
        }
        let header = lines.parse(&lines.line)?;
        let mut rows = 0;
        let counted = loop {
            match lines.next_as::<PlanLine>()? {
                None => return Err(lines.altered(CUT_OFF)),
                Some(PlanLine::Row(_)) => rows += 1,
                Some(PlanLine::PlanTotals { rows }) => break rows,
            }
        };
        let sha256 = lines.hasher.clone().into();
        if !lines.next()? {
            return Err(lines.altered(CUT_OFF));
        }
        let is_sealed = line(&Seal { sha256 }).is_ok_and(|seal| lines.line == seal);
        if !is_sealed || counted != rows {
            return Err(lines.altered("it does not fit the lines before it"));
        }
        if lines.next()? {
            return Err(lines.altered("it comes after the end of the plan"));
        }
        Ok(Self { path: path.to_owned(), header, rows, sha256 })
    }

    /// Reads the rows, each with its identity in the order of the ids.
    pub(crate) fn each_row<E: From<PlanFileError>>(
        &self,
        mut tell: impl FnMut(PlannedRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut lines = PlanLines::open(&self.path)?;
        lines.next()?;
        for _ in 0..self.rows {
            let row = lines.next_as()?.ok_or_else(|| lines.altered(CUT_OFF))?;
            tell(row)?;
        }
        lines.next()?;
        match Sha256Digest::from(lines.hasher) == self.sha256 {
            true => Ok(()),
            false => Err(PlanFileError::Altered {
                path: self.path.clone(),
                line: self.rows + 1,
                what: "it was changed while it was read".to_owned(),
            }
            .into()),
        }
    }
}

#[derive(Deserialize)]
struct Version {
    provisioner_plan: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PlanLine {
    PlanTotals {
        rows: u64,
    },
    /// Read in full when the plan is known to be whole.
    Row(IgnoredAny),
}

/// Opens a plan, also one that an editor has written in another encoding: its text is what counts.
fn open_text(path: &Path) -> io::Result<Utf8Stream> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(Utf8Stream::new(start, file))
}

/// The lines of a plan file, hashed as they pass.
struct PlanLines {
    path: PathBuf,
    file: Utf8Stream,
    hasher: Sha256,
    line: Vec<u8>,
    number: u64,
}

impl PlanLines {
    fn open(path: &Path) -> Result<Self, PlanFileError> {
        let file = open_text(path).map_err(|source| PlanFileError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, hasher: Sha256::new(), line: Vec::new(), number: 0 })
    }

    /// Goes on to the next line; false when there is none.
    fn next(&mut self) -> Result<bool, PlanFileError> {
        self.line.clear();
        self.number += 1;
        let read = (&mut self.file).take(MAX_LINE).read_until(b'\n', &mut self.line);
        read.map_err(|source| PlanFileError::Io { path: self.path.clone(), source })?;
        self.hasher.update(&self.line);
        Ok(!self.line.is_empty())
    }

    fn next_as<T: DeserializeOwned>(&mut self) -> Result<Option<T>, PlanFileError> {
        match self.next()? {
            true => self.parse(&self.line).map(Some),
            false => Ok(None),
        }
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, PlanFileError> {
        if line.last() != Some(&b'\n') {
            return Err(self.altered("it is cut off"));
        }
        repeated_member::check(line).map_err(|error| self.altered(&error.to_string()))?;
        serde_json::from_slice(line).map_err(|error| self.altered(&JsonMistake::new(&error).to_string()))
    }

    fn altered(&self, what: &str) -> PlanFileError {
        PlanFileError::Altered { path: self.path.clone(), line: self.number, what: what.to_owned() }
    }
}

/// The version of the format.
pub(crate) const VERSION: u32 = 3;
/// The first bytes of every plan file, in any version.
const MAGIC: &[u8] = b"{\"provisioner_plan\":";
/// A row with both sections of a twin as large as they can be, twice, and escapes, is far shorter.
const MAX_LINE: u64 = 1 << 22;
const CUT_OFF: &str = "the file is cut off";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::etags::Etags;
    use crate::model::options::ApplyRules;
    use crate::plan::{Action, Planner};
    use hub_types::Etag;
    use hub_types::limits::Tier;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn header() -> Header {
        Header {
            provisioner_plan: VERSION,
            tool_version: "1".into(),
            made: "2026-11-23T00:00:00Z".parse().unwrap(),
            hub: "h".into(),
            input: "batch.csv".into(),
            input_sha256: Sha256Digest::of(b"batch"),
            spec_sha256: Sha256Digest::of(b"specifications"),
            options: RunOptions::default(),
            skip_bad_rows: false,
        }
    }

    fn row(number: u64) -> PlannedRow {
        PlannedRow {
            line: number + 2,
            identity: format!("dev-{number}"),
            action: Action::Create,
            reason: None,
            differences: Vec::new(),
            held_by: None,
            etags: Etags { identity: None, twin: Some(Etag::from("AAAA".to_owned())) },
        }
    }

    fn written(folder: &Path, rows: u64) -> PathBuf {
        let path = folder.join("batch.plan");
        let mut writer = PlanWriter::create(&path, &header()).unwrap();
        (0..rows).for_each(|number| writer.row(&row(number)).unwrap());
        writer.finish(&Planner::new(ApplyRules::default(), Tier::S1, NonZeroU32::MIN).finish()).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 3);
        assert!(PlanFile::is_one(&path));
        let plan = PlanFile::open(&path).unwrap();
        assert_eq!((&plan.header, plan.rows), (&header(), 3));
        let mut rows = Vec::new();
        plan.each_row(|row| {
            rows.push(row);
            Ok::<_, PlanFileError>(())
        })
        .unwrap();
        assert_eq!(rows, [row(0), row(1), row(2)]);
    }

    #[test]
    fn a_plan_that_an_editor_saved_in_another_encoding_is_the_same_plan() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 3);
        let plan = PlanFile::open(&path).unwrap();
        let text = ["\u{FEFF}", &std::fs::read_to_string(&path).unwrap()].concat();
        let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for bytes in [text.clone().into_bytes(), utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
            std::fs::write(&path, bytes).unwrap();
            assert!(PlanFile::is_one(&path));
            assert_eq!(PlanFile::open(&path).unwrap().sha256, plan.sha256);
        }
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("batch.plan"), "precious").unwrap();
        assert!(PlanWriter::create(&folder.path().join("batch.plan"), &header()).is_err());
        assert_eq!(std::fs::read_to_string(folder.path().join("batch.plan")).unwrap(), "precious");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_version_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 1);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("plan\":3", "plan\":1", 1)).unwrap();
        assert!(matches!(PlanFile::open(&path), Err(PlanFileError::Version { found: 1, .. })));
    }

    /// Writes a plan file whose seal is right, with one member more in a line.
    fn sealed_with(folder: &Path, line: usize, member: &str) -> PathBuf {
        let text = std::fs::read_to_string(written(folder, 1)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[line] = lines[line].replacen('{', &format!("{{{member},"), 1);
        lines.pop();
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let sha256 = Sha256Digest::of(body.as_bytes());
        let path = folder.join("newer.plan");
        std::fs::write(&path, format!("{body}{{\"sha256\":\"{sha256}\"}}\n")).unwrap();
        path
    }

    #[test]
    fn what_a_newer_version_wrote_besides_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let read = |path: &Path| {
            let plan = PlanFile::open(path)?;
            plan.each_row(|_| Ok::<_, PlanFileError>(()))
        };
        let path = sealed_with(folder.path(), 1, r#""no_such_member":1"#);
        let refused = read(&path).unwrap_err();
        assert!(refused.to_string().contains("no_such_member"), "{refused}");
        std::fs::remove_file(folder.path().join("batch.plan")).unwrap();
        let path = folder.path().join("batch.plan");
        written(folder.path(), 1);
        let text = std::fs::read_to_string(&path).unwrap();
        for (old, new) in [
            (r#""options":{"#, r#""options":{"no_such_member":1,"#),
            (r#""skip_bad_rows""#, r#""other":1,"skip_bad_rows""#),
        ] {
            std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
            let refused = PlanFile::open(&path).unwrap_err();
            assert!(refused.to_string().contains("a member is unknown"), "{refused}");
        }
    }

    proptest! {
        /// No byte can be changed, added or left out without notice.
        #[test]
        fn any_alteration_is_noticed(rows in 0..4_u64, at in any::<prop::sample::Index>(), byte: u8, kind in 0..3) {
            let folder = tempfile::tempdir().unwrap();
            let path = written(folder.path(), rows);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            let before = bytes.clone();
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
            prop_assume!(bytes != before);
            std::fs::write(&path, &bytes).unwrap();
            prop_assert!(PlanFile::open(&path).is_err());
        }
    }
}
