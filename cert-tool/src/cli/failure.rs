//! The failures of a verb, with their exit codes.

use hub_types::shown::ShownPath;
use std::io;
use std::path::Path;

use batch_file::OpenError;
use cert_tool::Error;
use cli_support::exit::Exit;

/// The reason why a verb could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody's fault but ours; it has been printed.
    Bug,
    /// The batch has problems, which have been printed.
    Batch,
    /// The CA, the store or a file can't be used.
    Refused(Error),
    /// An argument that the library refuses; its error tells the reason.
    Typed(Error),
    /// The batch can't be read; each of its problems has lines of its own.
    Open(OpenError),
    /// Arguments that do not fit together or to their input.
    Usage(anyhow::Error),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Bug | Self::Refused(Error::Crypto(_)) => Exit::Bug,
            Self::Batch | Self::Open(_) | Self::Typed(_) | Self::Usage(_) => Exit::BadInput,
            Self::Refused(_) => Exit::Refused,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::EmptyVariable { .. }
            | Error::NoSecret { .. }
            | Error::NoSuchDate { .. }
            | Error::PasswordNotBmp
            | Error::ProfileChoice(_)
            | Error::TestPkiTime { .. }
            | Error::BadSubject { .. } => Self::Typed(error),
            other => Self::Refused(other),
        }
    }
}

/// The failure to write an output that replaces only files of its kind.
pub(crate) fn unwritable(path: &Path, kind: &'static str, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Typed(Error::OtherFile { path: path.to_owned(), kind }),
        _ => Failure::Usage(anyhow::Error::new(error).context(format!("can't write `{}`", ShownPath(path)))),
    }
}

/// The failure to read a file that an argument names. A file that is not there is bad input, and so is stdin that is
/// named twice.
pub(crate) fn unread_input(error: Error) -> Failure {
    match error {
        Error::Io { ref source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
        {
            Failure::Typed(error)
        }
        other => other.into(),
    }
}
