//! The audit pack: the actions of a run, record by record, in a hash chain that reveals every
//! change.
//!
//! It is JSON Lines. The first record describes the run, then there is one for each row in the
//! order of the ids, and the last one has the totals. Each record is canonical JSON (names sorted,
//! no spaces) and ends the chain so far: its `hash` is the SHA-256, as lower-case hex, over the
//! `hash` of the record before it (nothing for the first) and the record without its `hash`. The
//! last hash, kept on paper or signed, proves that nothing was changed, left out or added. The same
//! run gives the same bytes.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ledger::{Ledger, LedgerError, LedgerLocation, RowFilter, Run, RunReader};
use crate::model::digest::Sha256Digest;
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;
#[cfg(test)]
pub(crate) use check::check;
pub(crate) use check::{Broken, CheckError, check_file};
use record::{EndRecord, RowRecord, RunRecord};

mod check;
mod record;
#[cfg(test)]
mod tests;

/// The reason why an audit pack could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AuditError {
    /// The ledger can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The pack can't be written.
    #[error("the audit pack can't be written")]
    Write(#[from] io::Error),
}

/// A pack that was written or found to be whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sealed {
    /// Its records for rows.
    pub(crate) rows: u64,
    /// The last hash of the chain.
    #[serde(serialize_with = "as_lower_hex")]
    pub(crate) hash: Sha256Digest,
}

/// A run whose audit pack is to be written.
pub(crate) struct OpenAudit {
    reader: RunReader,
}

impl OpenAudit {
    /// Opens a ledger for reading, and finds a run in it: the newest if no number is given.
    pub(crate) fn open(
        location: &LedgerLocation,
        run: Option<RunId>,
        observer: &dyn RunObserver,
    ) -> Result<Self, LedgerError> {
        Ok(Self { reader: RunReader::open(location, run, observer)? })
    }

    /// The run.
    pub(crate) fn run(&self) -> &Run {
        self.reader.run()
    }

    /// Writes the pack.
    pub(crate) fn write(&self, out: &mut impl Write) -> Result<Sealed, AuditError> {
        write(&mut self.reader.lock(), self.run().id, out)
    }
}

/// Writes the audit pack of a run.
pub(crate) fn write(ledger: &mut Ledger, run: RunId, out: &mut impl Write) -> Result<Sealed, AuditError> {
    let facts = ledger.run(Some(run))?;
    let sessions = ledger.sessions(run)?;
    let mut pack = Pack { out, chain: Chain::default() };
    pack.add(&RunRecord::new(&facts, &sessions))?;
    let mut rows = 0;
    for row in ledger.rows(run, RowFilter::All) {
        rows += 1;
        let row = row?;
        let record = RowRecord::new(&row, &facts, &sessions).map_err(io::Error::from)?;
        pack.add(&record)?;
    }
    let hash = pack.add(&EndRecord::new(rows, ledger.totals(run)?))?;
    pack.out.flush()?;
    Ok(Sealed { rows, hash })
}

struct Pack<W> {
    out: W,
    chain: Chain,
}

impl<W: Write> Pack<W> {
    /// Adds a record, and returns its hash.
    fn add(&mut self, record: &impl Serialize) -> io::Result<Sha256Digest> {
        let Value::Object(mut record) = serde_json::to_value(record)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let hash = self.chain.add(&serde_json::to_string(&record)?);
        record.insert(HASH.to_owned(), format!("{hash:x}").into());
        serde_json::to_writer(&mut self.out, &record)?;
        self.out.write_all(b"\n")?;
        Ok(hash)
    }
}

/// The chain so far.
#[derive(Default)]
struct Chain {
    last: Option<Sha256Digest>,
}

impl Chain {
    /// Adds a record, which is canonical JSON, and returns its hash.
    fn add(&mut self, record: &str) -> Sha256Digest {
        let before = self.last.map(|hash| format!("{hash:x}")).unwrap_or_default();
        let hash = Sha256::new().chain_update(before).chain_update(record).into();
        self.last = Some(hash);
        hash
    }
}

fn as_lower_hex<S: Serializer>(hash: &Sha256Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{hash:x}"))
}

/// The name of a record's hash.
const HASH: &str = "hash";
/// The format name in a pack.
const FORMAT: &str = "provisioner-audit/1";
