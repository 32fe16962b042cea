//! Files that hold secrets: connection strings, symmetric keys.

use std::path::Path;

use super::observer::RunObserver;

/// Notes that others than its owner can read a file, with the remedy. The file is used all the same.
pub(crate) fn note_if_exposed(path: &Path, observer: &dyn RunObserver) {
    if others_can_read(path) {
        let path = path.display();
        observer.note(&format_args!(
            "warning: `{path}` holds a secret, and others than its owner can read it; run `chmod 600 {path}`"
        ));
    }
}

/// Returns true for a file that its group or everybody can read. A pipe or a device holds nothing.
#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o044 != 0)
}

/// Returns false: the rights of other systems are not looked at.
#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}
