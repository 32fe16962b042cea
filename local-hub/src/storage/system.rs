//! The functions that depend on the operating system: private files, folders and memory, locks,
//! signals.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

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
    let new = path.with_extension("new");
    if new.exists() {
        fs::remove_file(&new)?;
    }
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Keeps the memory of this process, which contains the keys of the hub, out of core dumps, and
/// prevents other processes of the same user from reading it.
pub(crate) fn keep_memory_private() {
    // Where a system refuses, as some sandboxes do, there is nothing else that could be done.
    #[cfg(unix)]
    {
        let _ = rlimit::setrlimit(rlimit::Resource::CORE, 0, 0);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Raises the soft limit of open files to the hard limit. Logs a warning if that is too low for
/// many devices, each of which is an open file.
pub(crate) fn allow_many_connections() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < MANY_FILES => tracing::warn!(
            "this process may open {limit} files, and so serve about as many connections; more devices have to wait. \
             `ulimit -Hn` or, under systemd, `LimitNOFILE=` raises the limit"
        ),
        Ok(limit) => tracing::info!("this process may open {limit} files"),
        Err(error) => tracing::warn!(%error, "the limit of open files can't be raised"),
    }
}

/// The limit of open files below which a warning is logged: enough for ten thousand devices.
const MANY_FILES: u64 = 10_000;

/// Requests to end the process. While the value exists, they do not kill the process.
#[derive(Debug)]
pub(crate) struct Termination {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Termination {
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(windows)]
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = tokio::signal::windows::ctrl_c()?;
        Ok(Self { interrupt })
    }

    /// Waits for the next request.
    pub(crate) async fn requested(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        self.interrupt.recv().await;
    }
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
