//! `verify`: would a hub let a device in with these certificates?

use std::fmt;
use std::path::{Path, PathBuf};

use cert_tool::{Certificate, CertificateAuthority, Check, read_certificates, verify_certificate};
use serde::Serialize;
use time::OffsetDateTime;

use super::args::VerifyArgs;
use super::failure::{Done, Failure};
use super::output::Output;

pub(crate) fn run(args: &VerifyArgs, output: &mut Output) -> Result<Done, Failure> {
    let expected = args.identity.identity()?;
    let trust = Trust::read(&args.ca)?;
    let now = OffsetDateTime::now_utc();
    let mut failures = 0;
    for file in &args.files {
        let chain = match read_chain(file) {
            Ok(chain) => chain,
            Err(error) => {
                output.error(&error);
                failures += 1;
                continue;
            }
        };
        let Some((certificate, rest)) = chain.split_first() else {
            continue;
        };
        let between = [rest, &trust.between].concat();
        for check in verify_certificate(certificate, &between, &trust.roots, expected.as_ref(), now) {
            failures += u64::from(check.fault.is_some());
            output.record(&CheckRecord::new(file, &check));
        }
    }
    Ok(Done::from_failures(failures))
}

#[derive(Default)]
struct Trust {
    roots: Vec<Certificate>,
    between: Vec<Certificate>,
}

impl Trust {
    fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut trust = Self::default();
        for path in paths {
            if !path.is_dir() {
                trust.roots.extend(read_certificates(path)?);
                continue;
            }
            let (root, issuing) = CertificateAuthority::certificates(path)?;
            match root {
                Some(root) => {
                    trust.roots.push(root);
                    trust.between.push(issuing);
                }
                None => trust.roots.push(issuing),
            }
        }
        Ok(trust)
    }
}

fn read_chain(file: &Path) -> Result<Vec<Certificate>, cert_tool::Error> {
    // A place in a bundle has a chain of one: what follows there belongs to others.
    if file.exists() { read_certificates(file) } else { Ok(vec![cert_tool::read_certificate(file)?]) }
}

#[derive(Debug, Serialize)]
struct CheckRecord {
    file: String,
    check: &'static str,
    ok: bool,
    fault: Option<String>,
}

impl CheckRecord {
    fn new(file: &Path, check: &Check) -> Self {
        Self {
            file: file.display().to_string(),
            check: check.name.as_str(),
            ok: check.fault.is_none(),
            fault: check.fault.clone(),
        }
    }
}

impl fmt::Display for CheckRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            None => write!(f, "{}: {}: ok", self.file, self.check),
            Some(fault) => write!(f, "{}: {}: FAILED: {}", self.file, self.check, fault.escape_debug()),
        }
    }
}
