//! A file that a verb writes: under its name there is nothing, or the old one, until it is whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::failure::{Exit, Failure};

/// A file that is being written.
pub(super) struct NewFile {
    path: PathBuf,
    out: BufWriter<tempfile::NamedTempFile>,
    unfinished: Unfinished,
}

/// The entry of a file among those that a program which ends at once must remove.
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(path: &Path) -> Self {
        unfinished().insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().remove(&self.0);
    }
}

/// Removes the files that are being written. For a program that ends at once, whose values are not dropped.
pub(super) fn remove_unfinished() {
    for path in unfinished().iter() {
        // Nobody is left who could do more about it.
        let _ = std::fs::remove_file(path);
    }
}

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of this process that are being written: its signal handler reaches nothing else.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The handling of an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is kept, and the new one refused.
    Kept,
    /// The new one takes its place.
    Replaced,
}

impl NewFile {
    /// Begins a file that everybody may read whom the folder and the system's mask let in.
    pub(super) fn create(path: &Path, existing: Existing) -> Result<Self, Failure> {
        if existing == Existing::Kept && path.exists() {
            let text = format!("`{}` exists already", path.display());
            return Err(Failure::new(Exit::BadInput, text).hint("choose another name"));
        }
        let file = builder().tempfile_in(folder(path)).map_err(|error| unwritable(path, error))?;
        let unfinished = Unfinished::new(file.path());
        Ok(Self { path: path.to_owned(), out: BufWriter::new(file), unfinished })
    }

    /// Brings the file to the disk and gives it its name.
    pub(super) fn finish(self, existing: Existing) -> Result<(), Failure> {
        let Self { path, out, unfinished } = self;
        let keep = || {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            match existing {
                Existing::Kept => file.persist_noclobber(&path),
                Existing::Replaced => file.persist(&path),
            }
            .map_err(|error| error.error)?;
            sync_folder(folder(&path))
        };
        let kept = keep().map_err(|error| unwritable(&path, error));
        drop(unfinished);
        kept
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// The name of a new file lasts only when its folder has reached the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The failure of a file that can't be written.
pub(super) fn unwritable(path: &Path, error: io::Error) -> Failure {
    Failure::new(Exit::BadInput, format!("can't write `{}`: {error}", path.display()))
        .hint("check the path, its rights and the free space")
}
