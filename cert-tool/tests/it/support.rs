//! Shared support for the tests: a CA in a folder of its own, and judges.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cert_tool::{
    CaOptions, CertificateAuthority, IssueOptions, IssueRequest, IssueSummary, Issued, IssuedCertificate,
    IssuedStore, KeySource, KeyType, Outcome, Sink, issue_batch,
};
use hub_types::IdentityId;
use openssl::pkey::PKey;
use openssl::x509::X509;
use tempfile::TempDir;
use time::OffsetDateTime;

/// A factory: a CA and a place for what it issues.
pub(crate) struct Factory {
    pub(crate) folder: TempDir,
    pub(crate) ca: CertificateAuthority,
}

impl Factory {
    pub(crate) fn new() -> Self {
        Self::with(KeyType::P256)
    }

    pub(crate) fn with(key_type: KeyType) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = CaOptions { key_type, ..CaOptions::default() };
        let ca = CertificateAuthority::init(&folder.path().join("ca"), &options, now()).unwrap();
        Self { folder, ca }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// Issues with everything at its default.
    pub(crate) fn issue(&self, sink: Sink, requests: Vec<IssueRequest>) -> (IssueSummary, Vec<Issued>) {
        self.issue_as(sink, &IssueOptions::new(now()), requests)
    }

    pub(crate) fn issue_as(
        &self,
        sink: Sink,
        options: &IssueOptions,
        requests: Vec<IssueRequest>,
    ) -> (IssueSummary, Vec<Issued>) {
        let mut store = IssuedStore::open(&self.ca, &self.out(), sink).unwrap();
        let mut told = Vec::new();
        let mut tell = |issued: &Issued| told.push(copy(issued));
        let summary = issue_batch(&self.ca, options, requests.into_iter(), &mut store, &mut tell).unwrap();
        (summary, told)
    }

    /// Asserts that OpenSSL, at its strictest, accepts a certificate as a client's.
    pub(crate) fn assert_openssl_accepts(&self, certificate: &Path) {
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslclient"])
            .arg("-CAfile")
            .arg(self.path("ca/root.pem"))
            .arg("-untrusted")
            .arg(self.path("ca/issuing.pem"))
            .arg(certificate)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn id(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

pub(crate) fn generate(name: &str) -> IssueRequest {
    IssueRequest::new(id(name), KeySource::Generate)
}

pub(crate) fn record(issued: &Issued) -> &IssuedCertificate {
    match &issued.outcome {
        Outcome::Issued(record) | Outcome::AlreadyThere(record) => record,
        other => panic!("{}: {other:?}", issued.identity),
    }
}

/// A certificate through OpenSSL's eyes, and that its key fits.
pub(crate) fn openssl_certificate(record: &IssuedCertificate) -> X509 {
    let certificate =
        X509::from_der(cert_tool::read_certificate(&record.certificate).unwrap().der()).unwrap();
    if let Some(path) = &record.private_key {
        let key = PKey::private_key_from_pem(&block_at(path)).unwrap();
        assert!(
            certificate.public_key().unwrap().public_eq(&key),
            "{} has another key",
            path.to_string_lossy()
        );
    }
    certificate
}

/// The bytes that a `path#offset` leads to.
pub(crate) fn block_at(reference: &Path) -> Vec<u8> {
    match reference.to_str().unwrap().rsplit_once('#') {
        Some((path, row)) if path.ends_with(".db") => {
            let select = "SELECT pem FROM pem WHERE id = ?1";
            let database = rusqlite::Connection::open(path).unwrap();
            database.query_row(select, [row], |row| row.get::<_, String>(0)).unwrap().into_bytes()
        }
        Some((path, offset)) => {
            let text = std::fs::read(path).unwrap();
            let rest = text[offset.parse().unwrap()..].to_vec();
            let end = String::from_utf8_lossy(&rest).find("-----END").unwrap();
            let line = rest[end..].iter().position(|byte| *byte == b'\n').unwrap();
            rest[..end + line + 1].to_vec()
        }
        None => std::fs::read(reference).unwrap(),
    }
}

fn copy(issued: &Issued) -> Issued {
    let outcome = match &issued.outcome {
        Outcome::AlreadyThere(record) => Outcome::AlreadyThere(record.clone()),
        Outcome::Issued(record) => Outcome::Issued(record.clone()),
        Outcome::Refused(refusal) => panic!("{}: {refusal}", issued.identity),
    };
    Issued { identity: issued.identity.clone(), outcome, not_copied: issued.not_copied.clone() }
}

/// The binary, in a folder of its own with a CA in `ca`.
pub(crate) struct Shop {
    pub(crate) factory: Factory,
}

/// The exit code and the output of the binary.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self { factory: Factory::new() }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write_secret(&self, name: &str, text: &str) {
        self.write(name, text);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;

            std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.factory.path(name)
    }

    /// Runs the binary with words that have no spaces in them.
    pub(crate) fn run(&self, words: &str) -> Said {
        self.run_args(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_args(&self, args: &[&str]) -> Said {
        Said::of(&self.output_of(args))
    }

    /// Runs the binary, which may also end by a signal.
    pub(crate) fn output(&self, words: &str) -> std::process::Output {
        self.output_of(&words.split_whitespace().collect::<Vec<_>>())
    }

    fn output_of(&self, args: &[&str]) -> std::process::Output {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("cert-tool");
        command.args(args).current_dir(self.factory.folder.path()).output().unwrap()
    }

    /// Runs the binary with a file as its stdin, through a pipe.
    pub(crate) fn run_fed(&self, words: &str, file: &str) -> Said {
        let mut command = assert_cmd::Command::cargo_bin("cert-tool").unwrap();
        command.args(words.split_whitespace()).current_dir(self.factory.folder.path());
        Said::of(&command.write_stdin(std::fs::read(self.path(file)).unwrap()).output().unwrap())
    }

    /// Runs the binary with more in its environment.
    pub(crate) fn run_with(&self, words: &str, environment: &[(&str, &str)]) -> Said {
        self.run_args_with(&words.split_whitespace().collect::<Vec<_>>(), environment)
    }

    /// Runs the binary with more in its environment.
    pub(crate) fn run_args_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("cert-tool");
        command.args(args).envs(environment.iter().copied());
        Said::of(&command.current_dir(self.factory.folder.path()).output().unwrap())
    }

    /// Starts the binary and does not wait for it.
    pub(crate) fn start(&self, words: &str) -> std::process::Child {
        self.background(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts the binary, whose output can be read at its end.
    pub(crate) fn start_heard(&self, words: &str) -> std::process::Child {
        self.background(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn background(&self, words: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("cert-tool"));
        command.args(words.split_whitespace()).current_dir(self.factory.folder.path());
        command
    }

    /// Runs the binary, which must succeed, and returns its data.
    pub(crate) fn ok(&self, words: &str) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{words}: {}", said.err);
        said.out
    }

    /// Runs the binary, which must end with a code, and returns what it told people.
    pub(crate) fn fails(&self, code: i32, words: &str) -> String {
        let said = self.run(words);
        assert_eq!(said.code, code, "{words}: {}", said.err);
        said.err
    }

    /// The `openssl` command, which must succeed.
    pub(crate) fn openssl(&self, words: &str) -> String {
        let mut command = Command::new("openssl");
        let output =
            command.args(words.split_whitespace()).current_dir(self.factory.folder.path()).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A line of bash, in which `cert-tool` is the binary; it must succeed. Returns its data.
    #[cfg(unix)]
    pub(crate) fn bash(&self, line: &str) -> String {
        let binary = assert_cmd::cargo::cargo_bin!("cert-tool").parent().unwrap();
        let path = format!("{}:{}", binary.to_string_lossy(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["-c", line]).env("PATH", path).current_dir(self.factory.folder.path());
        let said = Said::of(&command.output().unwrap());
        assert_eq!(said.code, 0, "{line}: {}", said.err);
        said.out
    }
}
