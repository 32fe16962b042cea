//! Files that hold secrets: connection strings, symmetric keys.

use hub_types::shown::ShownPath;
use std::path::Path;

use cli_support::secrets;

use super::observer::RunObserver;

/// Notes that others than its owner can read a file, with the remedy. The file is used all the same.
pub(crate) fn note_if_exposed(path: &Path, observer: &dyn RunObserver) {
    if others_can_read(path) {
        let path = ShownPath(path);
        observer.note(&format_args!(
            "warning: `{path}` holds a secret, and others than its owner can read it; run `chmod 600 {path}`"
        ));
    }
}

/// Returns true for a file that its group or everybody can read. A pipe or a device holds nothing.
fn others_can_read(path: &Path) -> bool {
    let shared = secrets::shared_mode(path).ok().flatten();
    shared.is_some_and(|mode| mode & 0o044 != 0) && path.is_file()
}
