//! Files and folders that only their owner can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

use cli_support::new_file::{self, Existing, Readers};
use tempfile::TempDir;

use crate::error::{Error, Result};

/// Makes a folder that only its owner can enter. An existing one stays unchanged.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Returns true if users other than its owner can write into a folder.
pub(crate) fn others_can_write(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(fs::metadata(path)?.permissions().mode() & 0o022 != 0)
    }
    // Elsewhere a folder has the access rules of its parent, which lies in the user's own.
    #[cfg(not(unix))]
    {
        fs::metadata(path).map(|_| false)
    }
}

/// A private folder that is removed when the value is dropped.
pub(crate) fn temporary_folder() -> Result<TempDir> {
    tempfile::Builder::new().prefix("local-hub-").tempdir().map_err(|source| Error::File {
        action: "make a folder in",
        path: std::env::temp_dir(),
        source,
    })
}

/// Opens a file for reading and writing, which only its owner can read from the beginning.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().read(true).write(true).create(true).truncate(false)).open(path)
}

/// Replaces a file atomically: readers see the old or the new content. Private like its folder.
pub(crate) fn replace_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    new_file::write(path, content, Existing::Replaced, Readers::Owner)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

/// Leaves the options unchanged: on other systems a file has the access rules of its folder, which
/// is in the user's own folder.
#[cfg(windows)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}
