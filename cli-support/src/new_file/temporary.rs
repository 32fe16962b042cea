//! Unfinished files. Each has the name of its output and is locked while it is written, so that the leftovers of
//! killed programs are recognised and removed.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Readers, folder_of};

/// Makes the unfinished file of an output, and removes those that killed programs have left for the same output.
pub(super) fn create(output: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    // Other programs may be writing the same output.
    for number in 0..MOST_WRITERS {
        let made = tempfile::Builder::new()
            .prefix(&name(output, number))
            .rand_bytes(0)
            .make_in(folder_of(output), |path| create_locked(path, readers));
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                remove_leftovers(output, &file.as_file().metadata()?);
                return Ok(file);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many programs are writing it at once"))
}

/// The name of an unfinished file. Outputs with long names that begin alike share theirs.
fn name(output: &Path, number: u32) -> String {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let end = name.floor_char_boundary(MOST_NAME_BYTES);
    format!(".tmp-{number}-{}", name.get(..end).unwrap_or_default())
}

/// Makes a new file and locks it. A file system without locks is none on which leftovers are removed.
fn create_locked(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        if readers == Readers::Umask { 0o666 } else { 0o600 },
    );
    #[cfg(not(unix))]
    let _ = readers;
    let file = options.open(path)?;
    match file.try_lock() {
        // Another program takes it for a leftover, because it was not locked at once, or has removed it.
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(()) if !is_at(&file, path)? => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Removes the unfinished files of an output that nobody writes any more and that have the owner of `own`.
fn remove_leftovers(output: &Path, own: &Metadata) {
    for number in 0..MOST_WRITERS {
        let path = folder_of(output).join(name(output, number));
        let Ok(found) = path.symlink_metadata() else { return };
        if found.is_file() && is_of_owner(&found, own) {
            // A leftover that can't be removed does no harm.
            let _ = remove_if_unlocked(&path);
        }
    }
}

fn remove_if_unlocked(path: &PathBuf) -> io::Result<()> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) if is_at(&file, path)? => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Returns true if an open file is the one at a path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (file, found) = (file.metadata()?, path.symlink_metadata());
    Ok(found.is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino())))
}

/// Returns true if an open file is the one at a path, which can't change while it is open.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

#[cfg(unix)]
fn is_of_owner(found: &Metadata, own: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    found.uid() == own.uid()
}

/// The access list of the folder decides.
#[cfg(not(unix))]
fn is_of_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

const MOST_WRITERS: u32 = 100;
/// The names of files have up to 255 bytes.
const MOST_NAME_BYTES: usize = 200;
