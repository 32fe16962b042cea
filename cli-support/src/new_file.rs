//! [`NewFile`]: an output file. Under its name there is nothing, or the older file, until the new one is
//! complete.
//!
//! A symbolic link stays a link: the file that it leads to is replaced. Devices, pipes and the open files
//! of the shell (`/dev/stdout`, `>(…)`) are not files that could be replaced: they are written to.
//!
//! A program that is killed while it writes leaves its unfinished file. The next one that writes the same output
//! removes that.

mod temporary;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

/// The handling of an existing file.
#[derive(Debug, Clone, Copy)]
pub enum Existing {
    /// It is kept, and the new one refused with [`io::ErrorKind::AlreadyExists`].
    Kept,
    /// The new one takes its place.
    Replaced,
    /// The new one takes its place if it is empty, or if this function says of its content, the first MiB
    /// at most, that it is of the same kind. Everything else is kept: a private key, a ledger, a batch.
    ReplacedIf(fn(&[u8]) -> bool),
}

impl Existing {
    /// Returns whether the file at a path is to be replaced.
    fn replaces(self, target: &Path) -> io::Result<bool> {
        match self {
            Self::Kept => Ok(false),
            Self::Replaced => Ok(true),
            Self::ReplacedIf(is_same_kind) => {
                let mut content = Vec::new();
                match File::open(target) {
                    Ok(file) => file.take(MAX_KNOWN_BYTES).read_to_end(&mut content)?,
                    // A link to nothing.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
                    Err(error) => return Err(error),
                };
                Ok(content.is_empty() || is_same_kind(&content))
            }
        }
    }
}

/// The beginning of a file by which its kind is known.
const MAX_KNOWN_BYTES: u64 = 1 << 20;

/// The users who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner, from its first byte on.
    Owner,
    /// Those whom the umask lets in.
    Umask,
    /// Everybody, whatever the umask is.
    Everybody,
}

/// A file that is being written.
#[derive(Debug)]
pub struct NewFile {
    existing: Existing,
    output: Output,
}

#[derive(Debug)]
enum Output {
    /// A file that gets its name in the end.
    File { file: BufWriter<NamedTempFile>, target: PathBuf, unfinished: Unfinished },
    /// A device, a pipe or an open file.
    Stream(BufWriter<File>),
}

impl NewFile {
    /// Begins a file in the folder of its target.
    pub fn create(path: &Path, existing: Existing, readers: Readers) -> io::Result<Self> {
        let output = match target(path)? {
            Target::Stream => Output::Stream(BufWriter::new(open_stream(path)?)),
            Target::Taken(target) if !existing.replaces(&target)? => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Target::Taken(target) | Target::Free(target) => {
                let file = temporary::create(&target, readers)?;
                readers.apply(file.as_file())?;
                let unfinished = Unfinished::new(file.path());
                Output::File { file: BufWriter::new(file), target, unfinished }
            }
        };
        Ok(Self { existing, output })
    }

    /// Brings the file to the disk and gives it its name.
    pub fn finish(self) -> io::Result<()> {
        match self.output {
            Output::Stream(mut stream) => stream.flush(),
            Output::File { file, target, unfinished } => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                match self.existing {
                    Existing::Kept => file.persist_noclobber(&target),
                    Existing::Replaced | Existing::ReplacedIf(_) => file.persist(&target),
                }
                .map_err(|failed| failed.error)?;
                drop(unfinished);
                sync_folder(folder_of(&target))
            }
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.output {
            Output::File { file, .. } => file.write(bytes),
            Output::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.output {
            Output::File { file, .. } => file.flush(),
            Output::Stream(stream) => stream.flush(),
        }
    }
}

/// Writes a file with this content.
pub fn write(path: &Path, content: &[u8], existing: Existing, readers: Readers) -> io::Result<()> {
    let mut file = NewFile::create(path, existing, readers)?;
    file.write_all(content)?;
    file.finish()
}

/// Returns whether a file is there that [`Existing::Kept`] keeps.
pub fn is_taken(path: &Path) -> bool {
    matches!(target(path), Ok(Target::Taken(_)))
}

/// Removes the files that are being written. For a program that ends at once, whose values are not dropped.
pub fn remove_unfinished() {
    for path in unfinished().iter() {
        // Nobody is left who could do more about it.
        let _ = fs::remove_file(path);
    }
}

/// Opens a device, a pipe or an open file. The standard output is not opened a second time: where it is a file, each
/// of the two would write over what the other one has written.
fn open_stream(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    if STANDARD_OUTPUT.iter().any(|name| path == Path::new(name)) {
        return std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned().map(File::from);
    }
    File::options().append(true).open(path)
}

/// The place that a path leads to.
enum Target {
    /// A file, or a link to a file that does not exist.
    Taken(PathBuf),
    /// Nothing, in a folder.
    Free(PathBuf),
    Stream,
}

fn target(path: &Path) -> io::Result<Target> {
    if OPEN_FILES.iter().any(|folder| path.starts_with(folder)) {
        return Ok(Target::Stream);
    }
    match fs::metadata(path) {
        // Opening a folder for writing fails with the reason.
        Ok(found) if !found.is_file() => Ok(Target::Stream),
        Ok(_) => fs::canonicalize(path).map(Target::Taken),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut end = path.to_owned();
            // Links that lead in a circle have another error than this one.
            while let Ok(next) = fs::read_link(&end) {
                end = folder_of(&end).join(next);
            }
            Ok(if end == path { Target::Free(end) } else { Target::Taken(end) })
        }
        Err(error) => Err(error),
    }
}

/// The places of files that a process has open. A shell has prepared them for what is written.
const OPEN_FILES: [&str; 4] = ["/dev/fd", "/dev/stdout", "/dev/stderr", "/proc"];

/// The names of the standard output.
#[cfg(unix)]
const STANDARD_OUTPUT: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// Returns the folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes the names in a folder survive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // A folder can't be opened as a file elsewhere, and needs no such call there.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

impl Readers {
    /// Sets the permissions that the umask must not narrow.
    fn apply(self, file: &File) -> io::Result<()> {
        #[cfg(unix)]
        if self == Self::Everybody {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        }
        #[cfg(not(unix))]
        let _ = file;
        Ok(())
    }
}

/// The entry of a file among those that [`remove_unfinished`] removes.
#[derive(Debug)]
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

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of this process that are being written: a signal handler reaches nothing else.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    const BOTH: [Existing; 2] = [Existing::Kept, Existing::Replaced];

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        for existing in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("out");
            let mut file = NewFile::create(&path, existing, Readers::Owner).unwrap();
            file.write_all(b"new").unwrap();
            assert!(!path.exists());
            file.finish().unwrap();
            assert_eq!(text(&path), "new");
            assert_eq!(names(folder.path()), ["out"]);
        }
    }

    #[test]
    fn an_older_file_is_kept_or_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let error = write(&path, b"new", Existing::Kept, Readers::Owner).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(text(&path), "old");
        assert!(is_taken(&path));
        drop(NewFile::create(&path, Existing::Replaced, Readers::Owner).unwrap());
        assert_eq!(text(&path), "old");
        write(&path, b"new", Existing::Replaced, Readers::Owner).unwrap();
        assert_eq!(text(&path), "new");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_file_is_replaced_by_one_of_its_kind_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let is_list = |content: &[u8]| content.starts_with(b"list");
        let write = || write(&path, b"list 2", Existing::ReplacedIf(is_list), Readers::Owner);
        write().unwrap();
        for replaced in ["", "list 1"] {
            fs::write(&path, replaced).unwrap();
            write().unwrap();
            assert_eq!(text(&path), "list 2");
        }
        fs::write(&path, "a private key").unwrap();
        assert_eq!(write().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((text(&path).as_str(), names(folder.path()).len()), ("a private key", 1));
    }

    #[test]
    fn leftovers_of_killed_programs_are_removed_by_the_next_writer_of_the_same_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        // A program that is killed leaves its file, without the lock.
        let leave = |file: NewFile| match file.output {
            Output::File { file, .. } => file.into_inner().unwrap().keep().unwrap().1,
            Output::Stream(_) => unreachable!(),
        };
        let begin = |path: &Path| NewFile::create(path, Existing::Replaced, Readers::Owner).unwrap();
        let in_use = begin(&path);
        let (left, other) = (leave(begin(&path)), leave(begin(&folder.path().join("other"))));
        let not_ours = folder.path().join(".tmp-2-out");
        symlink("nowhere", &not_ours).unwrap();
        assert_eq!(names(folder.path()), [".tmp-0-other", ".tmp-0-out", ".tmp-1-out", ".tmp-2-out"]);
        write(&path, b"new", Existing::Replaced, Readers::Owner).unwrap();
        assert!(!left.exists() && other.exists());
        assert_eq!(names(folder.path()), [".tmp-0-other", ".tmp-0-out", ".tmp-2-out", "out"]);
        // The file of a program that is still writing stays, and gets its name.
        in_use.finish().unwrap();
        assert_eq!((text(&path), names(folder.path()).len()), (String::new(), 3));
        // Names as long as a file may have are written, too.
        let long = folder.path().join("ö".repeat(127));
        leave(begin(&long));
        write(&long, b"new", Existing::Kept, Readers::Owner).unwrap();
        assert_eq!((text(&long).as_str(), names(folder.path()).len()), ("new", 4));
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let file = NewFile::create(&path, Existing::Kept, Readers::Owner).unwrap();
        fs::write(&path, "other").unwrap();
        assert_eq!(file.finish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(text(&path), "other");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn links_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("below")).unwrap();
        fs::write(at("below/old"), "old").unwrap();
        symlink("below/old", at("to-file")).unwrap();
        symlink("to-file", at("to-link")).unwrap();
        symlink("below/free", at("to-nothing")).unwrap();
        symlink("to-nothing", at("to-dangling")).unwrap();
        for (link, leads_to) in [
            ("to-file", "below/old"),
            ("to-link", "below/old"),
            ("to-dangling", "below/free"),
            ("to-nothing", "below/free"),
        ] {
            let refused = write(&at(link), b"new", Existing::Kept, Readers::Owner).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{link}");
            write(&at(link), link.as_bytes(), Existing::Replaced, Readers::Owner).unwrap();
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
            assert_eq!(text(&at(leads_to)), link);
        }
        symlink("circle", at("circle")).unwrap();
        write(&at("circle"), b"new", Existing::Replaced, Readers::Owner).unwrap_err();
        assert!(fs::symlink_metadata(at("circle")).unwrap().is_symlink());
    }

    #[test]
    fn devices_and_pipes_are_written_to() {
        for existing in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let link = folder.path().join("link");
            symlink("/dev/null", &link).unwrap();
            write(&link, b"new", existing, Readers::Everybody).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert!(fs::metadata(&link).unwrap().file_type().is_char_device());
            assert!(!is_taken(&link));

            let pipe = folder.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
            assert!(made.success());
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || text(&pipe)
            });
            write(&pipe, b"new", existing, Readers::Owner).unwrap();
            assert_eq!(reader.join().unwrap(), "new");
            assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        }
    }

    #[test]
    fn folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for existing in BOTH {
            let refused = write(folder.path(), b"new", existing, Readers::Owner).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::IsADirectory);
        }
    }

    #[test]
    fn readers_are_those_that_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str, readers| {
            let path = folder.path().join(name);
            write(&path, b"new", Existing::Kept, readers).unwrap();
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        let usual = fs::metadata(usual).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("owner", Readers::Owner), 0o600);
        assert_eq!(mode("umask", Readers::Umask), usual);
        assert_eq!(mode("everybody", Readers::Everybody), 0o644);
    }

    #[test]
    fn a_program_that_ends_at_once_leaves_no_unfinished_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut file = NewFile::create(&path, Existing::Kept, Readers::Owner).unwrap();
        file.write_all(b"new").unwrap();
        let Output::File { unfinished: Unfinished(temporary), .. } = &file.output else { unreachable!() };
        assert!(unfinished().contains(temporary));
        let temporary = temporary.clone();
        file.finish().unwrap();
        assert!(!unfinished().contains(&temporary));
    }
}
