//! Bundles on the disk: made beside their place and renamed, so that none is ever there in part.

use std::fs as std_fs;
use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::BundleFile;
use crate::error::Error;
use crate::platform::fs;

/// Makes a folder with some files.
pub(super) fn write_folder(path: &Path, files: &[BundleFile]) -> Result<(), Error> {
    let partial = partial(path);
    remove_partial(&partial)?;
    let made = fill(&partial, files).and_then(|()| {
        std_fs::rename(&partial, path).map_err(Error::io("write", path))?;
        fs::sync_folder(fs::folder_of(path))
    });
    cleaned(made, &partial)
}

/// Makes a tar file with a folder of some files.
pub(super) fn write_tar(
    path: &Path,
    folder: &str,
    files: &[BundleFile],
    time: OffsetDateTime,
) -> Result<(), Error> {
    let partial = partial(path);
    remove_partial(&partial)?;
    let made = archive(folder, files, time).map_err(Error::io("write", path)).and_then(|bytes| {
        fs::write_unsynced_private(&partial, &bytes)?;
        fs::sync_file(&partial)?;
        std_fs::rename(&partial, path).map_err(Error::io("write", path))?;
        fs::sync_folder(fs::folder_of(path))
    });
    cleaned(made, &partial)
}

fn fill(folder: &Path, files: &[BundleFile]) -> Result<(), Error> {
    fs::create_new_private_folder(folder)?;
    for file in files {
        let path = folder.join(file.name);
        fs::write_unsynced_private(&path, &file.bytes)?;
        fs::sync_file(&path)?;
    }
    fs::sync_folder(folder)
}

fn archive(folder: &str, files: &[BundleFile], time: OffsetDateTime) -> io::Result<Zeroizing<Vec<u8>>> {
    // It never grows: that would leave copies of private keys behind.
    let size = files.iter().map(|file| file.bytes.len() + 3 * TAR_BLOCK).sum::<usize>();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 8 * TAR_BLOCK));
    let mut builder = tar::Builder::new(&mut *bytes);
    let mut add = |kind, name: &str, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(u64::try_from(time.unix_timestamp()).unwrap_or_default());
        builder.append_data(&mut header, name, content)
    };
    add(tar::EntryType::Directory, &format!("{folder}/"), 0o700, &[])?;
    for file in files {
        add(tar::EntryType::Regular, &format!("{folder}/{}", file.name), 0o600, &file.bytes)?;
    }
    builder.finish()?;
    drop(builder);
    Ok(bytes)
}

/// Returns the path at which a bundle is built; no identity's bundle has such a name.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    fs::folder_of(path).join(format!(".{name}.partial"))
}

/// Removes what an interrupted run has left.
fn remove_partial(partial: &Path) -> Result<(), Error> {
    let removed = match partial.symlink_metadata() {
        Ok(found) if found.is_dir() => std_fs::remove_dir_all(partial),
        Ok(_) => std_fs::remove_file(partial),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(Error::io("remove", partial))
}

/// Takes away what was begun where it could not be finished.
fn cleaned(made: Result<(), Error>, partial: &Path) -> Result<(), Error> {
    made.inspect_err(|_| drop(remove_partial(partial)))
}

const TAR_BLOCK: usize = 512;
