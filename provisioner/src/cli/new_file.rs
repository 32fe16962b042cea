//! The files that verbs write for everybody whom the folder and the umask let in.

use hub_types::shown::ShownPath;
use std::io;
use std::path::Path;

use cli_support::exit::Exit;
use cli_support::new_file::{Existing, NewFile, Readers};

use super::failure::Failure;

/// Begins a file.
pub(super) fn create(path: &Path, existing: Existing) -> Result<NewFile, Failure> {
    NewFile::create(path, existing, Readers::Umask).map_err(|error| unwritable(path, error))
}

/// The failure of a file that can't be written.
pub(super) fn unwritable(path: &Path, error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        let text = format!("`{}` exists already", ShownPath(path));
        return Failure::new(Exit::BadInput, text).hint("choose a different name");
    }
    Failure::new(Exit::BadInput, format!("can't write `{}`: {error}", ShownPath(path)))
        .hint("check the path, its rights and the free space")
}
