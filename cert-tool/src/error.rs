//! [`Error`]: why a whole command can't go on. What is wrong with one identity only is a
//! [`Refusal`](crate::Refusal).

pub(crate) mod refusal;
pub(crate) mod secret_for;

use hub_types::shown::{ShownBare, ShownPath};
use std::io;
use std::path::{Path, PathBuf};

use hub_types::IdentityId;
use time::OffsetDateTime;

use crate::encoding::time::rfc3339;
use crate::error::refusal::Refusal;
use crate::error::secret_for::SecretFor;
use crate::input::location::STDIN;
use crate::platform::fs;

/// The reason why a CA, a store or a file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that must not be overwritten is there.
    #[error("`{}` is already there", ShownPath(path))]
    AlreadyExists {
        /// The file.
        path: PathBuf,
    },
    /// The CA can't issue.
    #[error("the CA in `{}` can't be used: {reason}", ShownPath(path), reason = ShownBare(reason))]
    BadCa {
        /// The folder or file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A system clock that can't be right.
    #[error(
        "the system clock says {}, which can't be right; certificates made now would be of no use",
        rfc3339(now.truncate_to_second())
    )]
    BadClock {
        /// Its time.
        now: OffsetDateTime,
    },
    /// A code that no hub has given.
    #[error("a verification code has 1 to 64 characters, and no space among them")]
    BadCode,
    /// A different process makes a CA in the folder.
    #[error("a different process makes a CA in `{}`", ShownPath(path))]
    BeingMade {
        /// The folder.
        path: PathBuf,
    },
    /// An address in certificates that not everybody could fetch.
    #[error(
        "the address `{url}` can't be put into certificates: {reason}",
        url = ShownBare(url), reason = ShownBare(reason)
    )]
    BadUrl {
        /// The address.
        url: String,
        /// The reason.
        reason: String,
    },
    /// A variable of the environment that is set to nothing.
    #[error("{name} is set but empty")]
    EmptyVariable {
        /// Its name.
        name: &'static str,
    },
    /// A file of a secret that holds none.
    #[error(
        "`{}` is {found}, not a password, passphrase or PIN",
        ShownPath(path), found = ShownBare(found)
    )]
    NoSecret {
        /// The file.
        path: PathBuf,
        /// A description of its content.
        found: String,
    },
    /// A limit on names that can't be read.
    #[error(
        "the limit on names `{text}` can't be used: {reason}",
        text = ShownBare(text), reason = ShownBare(reason)
    )]
    BadNameSubtree {
        /// The limit.
        text: String,
        /// The reason.
        reason: String,
    },
    /// A pattern for identities is no regular expression.
    #[error("the pattern for identities can't be read")]
    BadPattern {
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A CA's policy can't be read, so nothing is issued.
    #[error("the policy in `{}` can't be read: {reason}", ShownPath(path), reason = ShownBare(reason))]
    BadPolicy {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The profiles of a CA can't be used, so nothing is issued.
    #[error("{}:{line}: {reason}", ShownPath(path), reason = ShownBare(reason))]
    BadProfile {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The reason.
        reason: String,
    },
    /// A profile that was asked for does not exist, or can't be used as it was asked for.
    #[error("{}", ShownBare(.0))]
    ProfileChoice(String),
    /// A subject that was given can't be used.
    #[error(
        "the subject `{text}` can't be used: {reason}",
        text = ShownBare(text), reason = ShownBare(reason)
    )]
    BadSubject {
        /// The subject.
        text: String,
        /// The reason.
        reason: String,
    },
    /// The request of a CA can't be signed.
    #[error("a certificate for the CA can't be signed: rule `{}`", source.rule())]
    BadRequest {
        /// The cause.
        source: Box<Refusal>,
    },
    /// A request for the key would be refused.
    #[error("no request is made: rule `{}`", source.rule())]
    RequestWouldBeRefused {
        /// The cause.
        source: Box<Refusal>,
    },
    /// A PKCS#11 URI that leads to no key, or not to one only.
    #[error("`{uri}` can't be used: {reason}", uri = ShownBare(uri), reason = ShownBare(reason))]
    BadTokenUri {
        /// The URI.
        uri: String,
        /// The reason.
        reason: String,
    },
    /// The cryptographic library failed where it never should.
    #[error("{0} failed")]
    Crypto(&'static str),
    /// A store says something impossible.
    #[error("`{}` is damaged at byte {offset}: {reason}", ShownPath(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The offset of the damage, in bytes.
        offset: u64,
        /// A description of the damage.
        reason: &'static str,
    },
    /// A database can't be read or written.
    #[error("the database `{}` can't be used", ShownPath(path))]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The operating system refused.
    #[error("can't {action} `{}`", ShownPath(path))]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process issues with the CA.
    #[error("a different process issues with the CA in `{}`", ShownPath(path))]
    Locked {
        /// The CA's folder.
        path: PathBuf,
    },
    /// A folder has certificates that the CA's index does not know.
    #[error("the CA's index does not know the certificates in `{}`", ShownPath(path))]
    NotIndexed {
        /// The folder.
        path: PathBuf,
    },
    /// The request of a CA has no subject.
    #[error("the request of the CA has an empty subject; a CA needs a name")]
    NoSubject,
    /// A certificate that is revoked for good.
    #[error(
        "the certificate {serial} is revoked for good; only `certificateHold` can be released",
        serial = ShownBare(serial)
    )]
    NotOnHold {
        /// Its serial number.
        serial: String,
    },
    /// The subject of a CA's request is more than a common name.
    #[error("the subject of the CA's request is not one common name of 1 to 64 characters")]
    OtherSubject,
    /// A number of days that leads past the last date of X.509.
    #[error(
        "{days} days from now is after the year 9999, the last one that a certificate or a revocation list can name"
    )]
    NoSuchDate {
        /// The number of days that were asked for.
        days: u32,
    },
    /// A time for which the test PKI has no certificates.
    #[error(
        "certificates of the test PKI for {} would have dates that X.509 or a validator does not know: choose a time in \
         the years 1981 to 9978",
        rfc3339(*at)
    )]
    TestPkiTime {
        /// The time that was asked for.
        at: OffsetDateTime,
    },
    /// A file is not what it should be.
    #[error("`{}` is {found}, not {wanted}", ShownPath(path), found = ShownBare(found))]
    NotA {
        /// The file, or its location: the file and an offset.
        path: PathBuf,
        /// The expected kind of file.
        wanted: &'static str,
        /// A description of the file's actual content.
        found: String,
    },
    /// The store holds certificates of a different CA.
    #[error("`{}` holds certificates of a different CA", ShownPath(path))]
    OtherCa {
        /// The store's folder.
        path: PathBuf,
    },
    /// A list has the certificate of a module where only devices can be served.
    #[error("`{identity}` is a module; IoT Edge is configured for devices only")]
    EdgeModule {
        /// The module.
        identity: IdentityId,
    },
    /// A certificate can't be put into a `.p7b` file.
    #[error(
        "the certificate of `{subject}` can't be put into a `.p7b` file: its encoding is damaged",
        subject = ShownBare(subject)
    )]
    NotInP7b {
        /// Its subject.
        subject: String,
    },
    /// A file has more certificates than a chain.
    #[error("`{}` has more than {limit} certificates, and no chain is that long", ShownPath(path))]
    NoChain {
        /// The file.
        path: PathBuf,
        /// The most certificates that are read of a chain.
        limit: usize,
    },
    /// A file takes one certificate, and there are none or several.
    #[error("`{}` would be a DER file, which has one certificate; there are {count}", ShownPath(path))]
    NotOneCertificate {
        /// The file.
        path: PathBuf,
        /// The number of certificates.
        count: usize,
    },
    /// A chain leads to no certificate to trust that is a root.
    #[error(
        "the certificates to trust do not have a root to which the chain in `{}` leads",
        ShownPath(chain)
    )]
    NotRoot {
        /// The file with the chain.
        chain: PathBuf,
    },
    /// An output would take the place of a file of a different kind.
    #[error("`{}` is already there, and is not {kind}; it stays as it is", ShownPath(path))]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What may be replaced.
        kind: &'static str,
    },
    /// A folder has files for the certificates of a different folder.
    #[error("`{}` has {what} for the certificates of a different folder", ShownPath(path))]
    OtherList {
        /// The kind of files in the folder.
        what: &'static str,
        /// The folder with the files.
        path: PathBuf,
    },
    /// A folder has files that were made with different options.
    #[error(
        "`{}` has {what} that were made with different options, such as the hub, or by an earlier version",
        ShownPath(path)
    )]
    OtherOptions {
        /// The kind of files in the folder.
        what: &'static str,
        /// The folder with the files.
        path: PathBuf,
    },
    /// The store was begun with the other [`Sink`](crate::Sink).
    #[error("`{}` was begun with `--sink {found}`", ShownPath(path))]
    OtherSink {
        /// The store's folder.
        path: PathBuf,
        /// The kind of output as which it was written.
        found: &'static str,
    },
    /// A private file or folder is open to others.
    #[error("`{}` can be read by others than its owner (mode {mode:04o})", ShownPath(path))]
    ReadableByOthers {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// Every user can write into a folder for private keys.
    #[error(
        "every user can replace files in `{}` (mode {mode:04o} without the sticky bit), private keys and certificates \
         too",
        ShownPath(path)
    )]
    WritableByOthers {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A PKCS#11 URI with a PIN in it, which others could read.
    #[error("the PKCS#11 URI has a `pin-value`, which others can read while the program runs")]
    PinInUri,
    /// A locked file or token, and nothing to open it with.
    #[error("{what} is locked", what = ShownBare(what))]
    SecretNeeded {
        /// The file, key or token.
        what: String,
        /// The ways to give its secret.
        how: &'static str,
    },
    /// A PKCS#11 token refused.
    #[error("the PKCS#11 token: can't {action} `{uri}`", uri = ShownBare(uri))]
    Token {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The key's URI.
        uri: String,
        /// The cause.
        source: Box<cryptoki::error::Error>,
    },
    /// A file asks for more time or memory than is given to any.
    #[error(
        "`{}` needs {cost} to be opened, more than the {limit} that are allowed; it was not tried",
        ShownPath(path),
        cost = ShownBare(cost)
    )]
    TooCostly {
        /// The file.
        path: PathBuf,
        /// The algorithm, and how often or how big.
        cost: String,
        /// The bound.
        limit: &'static str,
    },
    /// More bytes than any file of that kind has.
    #[error("`{}` has more than {limit} bytes", ShownPath(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// The CA's policy has a rule against it.
    #[error(
        "the policy in `{}` forbids it: rule `max_days` allows {longest} days, not {days}",
        ShownPath(path)
    )]
    TooManyDays {
        /// The file.
        path: PathBuf,
        /// The number of days that were asked for.
        days: u32,
        /// The highest number of days that the rule allows.
        longest: u32,
    },
    /// A private key is encrypted in a way that is not read here.
    #[error(
        "`{}` is encrypted with {scheme}, which is not read here",
        ShownPath(path), scheme = ShownBare(scheme)
    )]
    UnsupportedEncryption {
        /// The file.
        path: PathBuf,
        /// The algorithm.
        scheme: String,
    },
    /// A PFX file is encoded or encrypted in a way that is not read here.
    #[error("`{}` is a PFX file {how}, which is not read here", ShownPath(path))]
    UnsupportedPfx {
        /// The file.
        path: PathBuf,
        /// The way.
        how: &'static str,
    },
    /// A password that PFX files can't have.
    #[error("the password of a PFX file can't have characters beyond U+FFFF (RFC 7292, appendix B.1)")]
    PasswordNotBmp,
    /// A password, passphrase or PIN that is not the right one.
    #[error("that password, passphrase or PIN does not open {what}", what = ShownBare(what))]
    WrongSecret {
        /// The file, key or token.
        what: String,
    },
}

impl Error {
    /// Returns advice on what to do about the error, if there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OtherFile { .. } => Some("write to a different file".to_owned()),
            Self::NotA { path, found, .. } if *found == PFX => Some(take_pfx_apart(path)),
            Self::AlreadyExists { .. } => {
                Some("name a different file or folder; existing files are not overwritten".to_owned())
            }
            Self::BeingMade { .. } | Self::Locked { .. } => Some("wait until it has ended".to_owned()),
            Self::NotIndexed { .. } => {
                Some("issue to a different folder, or restore `index.db` beside the CA from a backup".to_owned())
            }
            Self::OtherCa { .. } => Some("issue to a different folder, or with the CA of this one".to_owned()),
            Self::OtherList { .. } | Self::OtherOptions { .. } => Some("write them to a different folder".to_owned()),
            Self::OtherSink { found, .. } => {
                Some(format!("issue to a different folder (--out), or as before (--sink {found})"))
            }
            Self::ReadableByOthers { path, wanted, .. } => {
                Some(format!("chmod {wanted:o} {}", shell_word(&ShownPath(path).to_string())))
            }
            Self::WritableByOthers { path, .. } => Some(format!(
                "chmod o-w {}, or choose a folder of your own",
                shell_word(&ShownPath(path).to_string())
            )),
            Self::Damaged { .. } => Some("restore it from a backup, or issue to a different folder".to_owned()),
            Self::TooManyDays { longest, .. } => Some(format!("ask for {longest} days or fewer (--days)")),
            Self::PinInUri => Some("take it out; give the PIN by file (--pin-file, or `pin-source=file:/…`), in CERT_TOOL_PIN, or at the prompt. This one should be changed".to_owned()),
            Self::EdgeModule { .. } => Some("leave --edge out for it, or name the device".to_owned()),
            Self::NoChain { .. } => Some("judge every certificate of a bundle (--each)".to_owned()),
            Self::NotOneCertificate { .. } => Some("write them as p7b, or one at a time".to_owned()),
            Self::NotRoot { .. } => {
                Some("name the file of a root that signed one of its certificates (--ca); an issuing CA is not a root".to_owned())
            }
            Self::BadRequest { source } | Self::RequestWouldBeRefused { source } => source.hint().map(str::to_owned),
            Self::SecretNeeded { how, .. } => Some((*how).to_owned()),
            Self::UnsupportedPfx { path, .. } => Some(convert_pfx_with_openssl(path)),
            Self::PasswordNotBmp => Some("choose a password without emoji and other rare characters".to_owned()),
            Self::TooCostly { .. } => {
                Some("no program asks for so much by itself: ask where the file comes from".to_owned())
            }
            Self::UnsupportedEncryption { path, .. } => Some(convert_with_openssl(path)),
            Self::EmptyVariable { name } => {
                Some(format!("set it (is the secret of the CI job set?), or unset {name} and give the secret by file or at a terminal"))
            }
            Self::NoSecret { .. } => Some("write the secret into the first line of the file".to_owned()),
            Self::BadClock { .. } => Some("set the clock of this machine, and repeat the command".to_owned()),
            Self::OtherSubject => Some("sign it as it is with --keep-subject, if that is the name that the CA shall have".to_owned()),
            Self::NotOnHold { .. } => Some("issue a new certificate".to_owned()),
            Self::NoSuchDate { .. } => Some("ask for fewer days (--days)".to_owned()),
            Self::BadCode => Some("copy it from where the hub shows it".to_owned()),
            Self::BadCa { .. }
            | Self::TestPkiTime { .. }
            | Self::BadNameSubtree { .. }
            | Self::BadPattern { .. }
            | Self::BadUrl { .. }
            | Self::NoSubject
            | Self::BadPolicy { .. }
            | Self::BadProfile { .. }
            | Self::ProfileChoice(_)
            | Self::BadSubject { .. }
            | Self::BadTokenUri { .. }
            | Self::Token { .. }
            | Self::Crypto(_)
            | Self::Database { .. }
            | Self::Io { .. }
            | Self::NotA { .. }
            | Self::NotInP7b { .. }
            | Self::TooLarge { .. }
            | Self::WrongSecret { .. } => None,
        }
    }

    /// The same error of a file that is made in one folder and will be in a different one, which the user named.
    pub(crate) fn with_path_moved(mut self, from: &Path, to: &Path) -> Self {
        if let Self::AlreadyExists { path }
        | Self::BadCa { path, .. }
        | Self::BadPolicy { path, .. }
        | Self::BadProfile { path, .. }
        | Self::Database { path, .. }
        | Self::Io { path, .. }
        | Self::NotA { path, .. }
        | Self::TooManyDays { path, .. } = &mut self
            && let Ok(rest) = path.strip_prefix(from)
        {
            *path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
        }
        self
    }

    pub(crate) fn secret_needed(asked_for: SecretFor<'_>) -> Self {
        let how = match asked_for {
            SecretFor::Document(_) => {
                "give its password (--password-file, CERT_TOOL_PASSWORD), or answer at a terminal; a PFX file \
                 that has none at all is read by `openssl pkcs12 -passin pass: -in FILE -out FILE.pem`"
            }
            SecretFor::Key(_) => {
                "give its passphrase (--passphrase-file, CERT_TOOL_PASSPHRASE), or answer at a terminal"
            }
            SecretFor::Token(_) => "give its PIN (--pin-file, CERT_TOOL_PIN), or answer at a terminal",
        };
        Self::SecretNeeded { what: asked_for.to_string(), how }
    }

    pub(crate) fn database(path: &Path, source: rusqlite::Error) -> Self {
        // SQLite calls most of the failures for lack of space failures of the disk.
        let is_full = match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => true,
            Some(rusqlite::ErrorCode::SystemIoFailure) => fs::is_full(path),
            _ => false,
        };
        match is_full {
            true => Self::io("write", path)(io::Error::from(io::ErrorKind::StorageFull)),
            false => Self::Database { path: path.to_owned(), source },
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The line that makes PBES2 of whatever OpenSSL reads. It asks for both passphrases and leaves the old file.
fn convert_with_openssl(path: &Path) -> String {
    let file = ShownPath(path).to_string();
    // A place in a file with more in it is no file of OpenSSL's, and stdin is read already.
    let file = if file.contains('#') || file == STDIN { "KEY.pem".to_owned() } else { file };
    let (from, to) = (shell_word(&file), shell_word(&format!("{file}.pkcs8.pem")));
    format!(
        "convert it: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {from} -out {to}` \
         (where OpenSSL 3 says `unsupported`, add `-provider legacy -provider default`)"
    )
}

/// The line that makes PEM with an encrypted key of a PFX file. It asks for both passwords and leaves the old file.
fn convert_pfx_with_openssl(path: &Path) -> String {
    let file = ShownPath(path).to_string();
    let file = if file == STDIN { "OLD.pfx".to_owned() } else { file };
    let (from, to) = (shell_word(&file), shell_word(&format!("{file}.pem")));
    format!(
        "convert it: `openssl pkcs12 -in {from} -out {to}` (where OpenSSL 3 says `unsupported`, add `-legacy`)"
    )
}

/// The commands that write the certificates and the key of a PFX file to files of their own.
fn take_pfx_apart(path: &Path) -> String {
    let file = ShownPath(path).to_string();
    let (from, certificates, key) =
        (shell_word(&file), shell_word(&format!("{file}.pem")), shell_word(&format!("{file}.key")));
    format!(
        "take it apart: `openssl pkcs12 -in {from} -nokeys -out {certificates}` for the certificates, and `openssl \
         pkcs12 -in {from} -nocerts -out {key}` for the key, encrypted (where OpenSSL 3 says `unsupported`, add \
         `-legacy`)"
    )
}

/// The words for a PFX file that is not what was wanted.
pub(crate) const PFX: &str = "a PFX file";

/// A file name as a shell takes it for one word, and a program not for an option.
pub fn shell_word(name: &str) -> String {
    let name = if name.starts_with('-') { format!("./{name}") } else { name.to_owned() };
    let is_plain = name.chars().all(|char| char.is_alphanumeric() || "._-/+,:@%=".contains(char));
    if is_plain && !name.is_empty() { name } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_in_an_error_is_shown_without_what_a_terminal_obeys() {
        let mut texts = 0;
        for source in [include_str!("error.rs"), include_str!("error/refusal.rs")] {
            let source = source.split("\nimpl ").next().unwrap_or_default();
            for variant in source.split("#[error(").skip(1) {
                let fields = variant.lines().filter_map(|line| line.trim().strip_suffix(": String,"));
                for field in fields.filter(|field| variant.contains(&format!("{{{field}}}"))) {
                    texts += 1;
                    assert!(
                        variant.contains(&format!("ShownBare({field})")),
                        "{field} is shown as it is: {variant}"
                    );
                }
            }
        }
        assert!(texts > 20, "{texts}");
    }

    #[test]
    fn a_file_name_is_one_word_of_a_shell() {
        for (name, word) in [
            ("keys/a.pem", "keys/a.pem"),
            ("my key.pem", "'my key.pem'"),
            ("it's;rm -rf", r"'it'\''s;rm -rf'"),
            ("-out", "./-out"),
            ("$(id)", "'$(id)'"),
        ] {
            assert_eq!(shell_word(name), word);
        }
    }
}
