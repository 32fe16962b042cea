//! File access that depends on the operating system: who may read a file, and what survives a power
//! cut.
//!
//! Private files have mode 0600 from their first byte, private folders 0700. Where there are no such
//! modes (Windows) the folder's own access list decides.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use cli_support::new_file::{self, Existing, Readers};
use cli_support::secrets;

pub(crate) use cli_support::new_file::folder_of;

use crate::error::Error;

/// Makes a folder that only its owner can enter, and those above it; one that is there stays as it is. One that everybody
/// can write is refused: its files could be replaced.
pub(crate) fn create_private_folder(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(Error::io("make the folder", path))?;
    check_is_not_open(path)
}

/// Refuses a folder in which every user can replace files. With the sticky bit, only their owners can.
#[cfg(unix)]
fn check_is_not_open(folder: &Path) -> Result<(), Error> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let metadata = fs::metadata(folder).map_err(Error::io("read", folder))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
    let is_open = mode & OTHERS_WRITE != 0 && mode & STICKY == 0;
    if is_open { Err(Error::WritableByOthers { path: folder.to_owned(), mode }) } else { Ok(()) }
}

/// Folders have no modes here.
#[cfg(not(unix))]
fn check_is_not_open(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(unix)]
const OTHERS_WRITE: u32 = 0o002;
#[cfg(unix)]
const STICKY: u32 = 0o1000;

/// Makes a folder that only its owner can enter, and those above it; says whether it is new.
pub(crate) fn create_new_private_folder(path: &Path) -> Result<bool, Error> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_is_not_open(path).map(|()| false),
        // A parent is missing, or the reason is a real one, which this will tell.
        Err(_) => create_private_folder(path).map(|()| false),
    }
}

/// Writes a private file that must not be there yet. Until it is synced it may be
/// gone, or there in part.
pub(crate) fn write_unsynced_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(Error::io("write", path))
}

/// Returns true if there is something at a path. A link to nothing is an error: a share that is not mounted
/// must not count as a file that was never written.
pub(crate) fn is_present(path: &Path) -> Result<bool, Error> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            fs::metadata(path).map(|_| true).map_err(Error::io("follow the link", path))
        }
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(false),
        Err(error) => Err(Error::io("look for", path)(error)),
    }
}

/// Takes a file to the disk.
pub(crate) fn sync_file(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}

/// The file system that a folder is on. It has to be opened before what is to be synced is written: then
/// it tells also of what failed meanwhile.
pub(crate) struct Disk {
    #[cfg(target_os = "linux")]
    folder: File,
    #[cfg(target_os = "linux")]
    path: std::path::PathBuf,
}

#[cfg(target_os = "linux")]
impl Disk {
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let folder = File::open(path).map_err(Error::io("open", path))?;
        Ok(Self { folder, path: path.to_owned() })
    }

    /// Takes everything on it to the disk, if that can be done.
    pub(crate) fn sync_all(&self) -> Result<bool, Error> {
        rustix::fs::syncfs(&self.folder).map_err(|error| Error::io("sync", &self.path)(error.into()))?;
        Ok(true)
    }
}

#[cfg(not(target_os = "linux"))]
impl Disk {
    pub(crate) fn of(_: &Path) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// Takes everything on it to the disk, if that can be done.
    pub(crate) fn sync_all(&self) -> Result<bool, Error> {
        Ok(false)
    }
}

/// Writes a private file that must not be there yet; it appears only when it is whole.
pub(crate) fn write_new_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, Existing::Kept, Readers::Owner)
}

/// Writes a file for everybody that must not be there yet; it appears only when it is whole.
pub(crate) fn write_new_public(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, Existing::Kept, Readers::Everybody)
}

/// Writes a private file, in the place of an older one if there is one: it is there as a whole or
/// not.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, Existing::Replaced, Readers::Owner)
}

/// Writes a file that everybody can read, in the place of an older one of its kind: it is there as a whole
/// or not. `kind` names it, `is_one` knows it by its content.
pub(crate) fn replace_public(
    path: &Path,
    bytes: &[u8],
    kind: &'static str,
    is_one: fn(&[u8]) -> bool,
) -> Result<(), Error> {
    write(path, bytes, Existing::ReplacedIf(is_one), Readers::Everybody).map_err(|error| match error {
        Error::AlreadyExists { path } => Error::OtherFile { path, kind },
        other => other,
    })
}

fn write(path: &Path, bytes: &[u8], existing: Existing, readers: Readers) -> Result<(), Error> {
    new_file::write(path, bytes, existing, readers).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: path.to_owned() },
        _ => Error::io("write", path)(error),
    })
}

/// Opens a private file for reading and writing, and makes it if need be.
pub(crate) fn open_private(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(Error::io("open", path))
}

/// Opens a private file that keys are written into, and makes it if need be. A link, and a file to which others
/// have access, are refused.
pub(crate) fn open_for_keys(path: &Path) -> Result<File, Error> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        let reason = "private keys are written into a regular file only, and this is a link or no file";
        return Err(Error::io("open", path)(io::Error::other(reason)));
    }
    let file = open_private(path)?;
    check_is_private(path)?;
    Ok(file)
}

/// Locks a folder against other processes that lock it, until the value is dropped; `None` if one has it. The lock
/// leaves no file. Elsewhere than on Unix folders can't be locked, and everybody gets one.
#[cfg(unix)]
pub(crate) fn lock_folder(path: &Path) -> Result<Option<File>, Error> {
    let folder = File::open(path).map_err(Error::io("open", path))?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(source)) => Err(Error::io("lock", path)(source)),
    }
}

/// Does nothing: folders can't be locked here.
#[cfg(not(unix))]
pub(crate) fn lock_folder(_: &Path) -> Result<Option<()>, Error> {
    Ok(Some(()))
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    new_file::sync_folder(folder).map_err(Error::io("sync", folder))
}

/// Refuses a file or folder that others than its owner can read.
pub(crate) fn check_is_private(path: &Path) -> Result<(), Error> {
    match secrets::shared_mode(path).map_err(Error::io("read", path))? {
        Some(mode) => {
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            Err(Error::ReadableByOthers { path: path.to_owned(), mode, wanted })
        }
        None => Ok(()),
    }
}

/// Reads a whole file of at most `limit` bytes. Of a pipe or device that has a name in a folder nothing is read: nobody
/// knows whether anything will ever come out of it.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    read_at_most(open_file(path)?, path, limit)
}

/// Reads a whole file of at most `limit` bytes, or all that comes through a pipe.
pub(crate) fn read_bounded_or_pipe(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    read_at_most(file, path, limit)
}

/// Opens a regular file, or what the shell has opened already (`<(…)`, `/dev/stdin`).
pub(crate) fn open_file(path: &Path) -> Result<File, Error> {
    let metadata = fs::metadata(path).map_err(Error::io("open", path))?;
    let is_open = ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|place| path.starts_with(place));
    if metadata.is_file() || is_open {
        return File::open(path).map_err(Error::io("open", path));
    }
    let found = if metadata.is_dir() { "a folder" } else { "a pipe or device" };
    Err(Error::NotA { path: path.to_owned(), wanted: "a file", found: found.to_owned() })
}

/// Reads all of an input of at most `limit` bytes.
pub(crate) fn read_at_most(input: impl Read, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    input.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads up to `len` bytes at a place of a file, fewer at its end.
pub(crate) fn read_at(file: &File, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read_some_at(file, rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Writes at the end that the caller knows. What an earlier failure left behind it goes away.
pub(crate) fn append_at(file: &File, path: &Path, end: u64, bytes: &[u8]) -> Result<(), Error> {
    cut(file, path, end).and_then(|()| {
        let mut file = file;
        let written = file.seek(SeekFrom::Start(end)).and_then(|_| file.write_all(bytes));
        written.map_err(Error::io("write", path))
    })
}

/// Drops what stands behind `end`.
pub(crate) fn cut(file: &File, path: &Path, end: u64) -> Result<(), Error> {
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    if length > end { file.set_len(end).map_err(Error::io("truncate", path)) } else { Ok(()) }
}

#[cfg(unix)]
fn read_some_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_some_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

/// Tells whether the disk of a file has no room for as much as a database needs to begin.
#[cfg(unix)]
pub(crate) fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(folder_of(path))
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST_ROOM_BYTES)
}

#[cfg(not(unix))]
pub(crate) fn is_full(_: &Path) -> bool {
    false
}

/// The size of the first part of the index of a write-ahead log (SQLite, "WAL-mode File Format", section 2).
#[cfg(unix)]
const LEAST_ROOM_BYTES: u64 = 32 * 1024;
