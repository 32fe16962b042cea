//! This station itself: its disk, and the ledger.

use hub_types::shown::ShownPath;
use std::io::Write;
use std::path::Path;

use cli_support::causes::with_causes;

use super::Check;
use crate::ledger::{Ledger, LedgerError, LedgerLocation};
use crate::model::service_status::StatusListener;

pub(super) async fn checks(location: &LedgerLocation, status: StatusListener) -> Vec<Check> {
    let disk = disk(location.folder().unwrap_or_else(|| Path::new(".")));
    let location = location.clone();
    // A ledger's calls wait for a disk or a database.
    let ledger = tokio::task::spawn_blocking(move || ledger(&location, status)).await;
    std::iter::once(disk).chain(ledger).collect()
}

/// Checks that the ledger's folder can be written to, and its free space.
fn disk(folder: &Path) -> Check {
    let written = tempfile::tempfile_in(folder).and_then(|mut file| {
        file.write_all(&[0; TRIED_BYTES])?;
        file.sync_all()
    });
    match written {
        Ok(()) => free_space(folder),
        Err(error) => Check::fail(
            "disk",
            format!("can't write to {}: {error}", ShownPath(folder)),
            "the ledger must be written: make room, or choose a different folder with --ledger FILE",
        ),
    }
}

fn free_space(folder: &Path) -> Check {
    let shown = ShownPath(folder);
    match fs4::available_space(folder) {
        Ok(bytes) if bytes < DISK_WARNS => Check::warning(
            "disk",
            format!("{} MiB free in {shown}", bytes >> 20),
            "a run of a million rows needs about 1 GiB",
        ),
        Ok(bytes) => Check::ok("disk", format!("{} GiB free in {shown}", bytes >> 30)),
        Err(error) => Check::warning("disk", format!("free space of {shown}: {error}"), "check it by hand"),
    }
}

/// Checks that the ledger can be read. A ledger file is created by the first run.
fn ledger(location: &LedgerLocation, status: StatusListener) -> Check {
    let asked = Ledger::open_to_read(location, status)
        .and_then(|mut ledger| Ok((ledger.runs()?, ledger.weaknesses()?)));
    match asked {
        Ok((runs, weaknesses)) if weaknesses.is_empty() => {
            Check::ok("ledger", format!("{location} can be read; runs so far: {}", runs.len()))
        }
        Ok((_, weaknesses)) => Check::warning(
            "ledger",
            format!("{location}: {}", weaknesses.join("; ")),
            "set `fsync` and `synchronous_commit` on, and name the standbys in `synchronous_standby_names`",
        ),
        Err(LedgerError::Empty { path }) => {
            Check::ok("ledger", format!("{} is empty and becomes one with the first run", ShownPath(&path)))
        }
        Err(LedgerError::Missing { path }) => {
            Check::ok("ledger", format!("{} will be made by the first run", ShownPath(&path)))
        }
        Err(error) => Check::fail(
            "ledger",
            with_causes(&error),
            "check that the file is readable, or that the database is running and accepts this user; --ledger names a different ledger",
        ),
    }
}

const TRIED_BYTES: usize = 64 * 1024;
const DISK_WARNS: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_folder_that_is_not_there_can_not_be_written_to() {
        assert_eq!(disk(Path::new("/no/such/folder")).verdict, Verdict::Fail);
        assert_ne!(disk(tempfile::tempdir().unwrap().path()).verdict, Verdict::Fail);
    }

    #[test]
    fn a_file_that_is_no_ledger_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line.ledger");
        assert_eq!(
            ledger(&LedgerLocation::File(path.clone()), StatusListener::default()).verdict,
            Verdict::Ok
        );
        std::fs::write(&path, "no ledger, but long enough to be taken for one".repeat(100)).unwrap();
        assert_eq!(ledger(&LedgerLocation::File(path), StatusListener::default()).verdict, Verdict::Fail);
    }
}
