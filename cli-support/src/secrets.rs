//! Secrets from the environment and from a terminal, which are wiped from memory, and the rights on
//! files with secrets.

use std::io::{self, IsTerminal};
use std::path::Path;

use zeroize::Zeroizing;

/// Returns the value of an environment variable that holds a secret, if it is set. The value may be
/// empty.
pub fn variable(name: &str) -> Option<Zeroizing<String>> {
    // Not an argument of clap with `env`: that could be given on the command line, for all to see.
    std::env::var_os(name).map(|text| Zeroizing::new(text.to_string_lossy().into_owned()))
}

/// Asks for a secret at the terminal. Returns `None` if there is no terminal or nothing is typed.
pub fn prompt(question: &str) -> Option<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let typed = Zeroizing::new(rpassword::prompt_password(question).ok()?);
    (!typed.is_empty()).then_some(typed)
}

/// Returns the mode of a file or folder if it gives access to anybody but the owner, for example
/// `0o640`.
#[cfg(unix)]
pub fn shared_mode(path: &Path) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt;

    let mode = path.metadata()?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Returns `None` for a file that exists: there are no modes on this system.
#[cfg(not(unix))]
pub fn shared_mode(path: &Path) -> io::Result<Option<u32>> {
    path.metadata().map(|_| None)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_has_access_to_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(shared_mode(&path).is_err());
        fs::write(&path, "open sesame").unwrap();
        for (mode, shared) in [(0o600, None), (0o400, None), (0o640, Some(0o640)), (0o602, Some(0o602))] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(shared_mode(&path).unwrap(), shared, "{mode:o}");
        }
    }
}
