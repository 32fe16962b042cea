//! [`write_test_pki`]: good certificates, and one of each invalid kind that a TLS stack or a hub
//! must refuse, with the verdicts of well-known validators on each.
//!
//! The same seed and time give the same bytes. Every private key in it is as public as the seed.

mod cases;
mod encode;
mod family;
mod keys;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::encoding::pem;
use crate::encoding::time::rfc3339;
use crate::error::Error;
use crate::platform::fs;
use family::Family;

/// One certificate of the family, with the expected verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestCase {
    /// Its name, which is that of its folder.
    pub name: String,
    /// True if a hub may accept it.
    pub accept: bool,
    /// The identity that it claims: `device` or `device/module`.
    pub identity: String,
    /// Its fault, or the statement that it has none.
    pub why: &'static str,
    /// The source of the rule.
    pub rule: &'static str,
    /// The certificate and its chain, as a TLS client sends them.
    pub certificate: String,
    /// The private key that the client has.
    pub key: String,
    /// The revocation lists to check.
    pub crls: Vec<String>,
    /// The verdict of `openssl verify`, with the constant part of an error: `OK` if it accepts.
    pub openssl: &'static str,
    /// The verdict of rustls-webpki, with the name of its error: `OK` if it accepts.
    pub webpki: &'static str,
    /// The checks of `cert-tool verify` that fail.
    pub cert_tool: &'static [&'static str],
}

/// The content of the file `expected.json`.
#[derive(Debug, Serialize)]
struct Expected<'a> {
    format: u8,
    warning: &'static str,
    seed: u64,
    at: String,
    trusted: [&'static str; 1],
    openssl: &'static str,
    cases: &'a [TestCase],
}

/// Writes the family into a new folder, and returns its cases. The good certificates are valid for
/// ten years from `at`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temporary = tempfile::tempdir()?;
/// use cert_tool::write_test_pki;
///
/// let folder = temporary.path().join("pki");
/// let cases = write_test_pki(&folder, 1, time::OffsetDateTime::now_utc())?;
/// assert!(cases.len() > 40 && folder.join("expected.json").exists());
/// # Ok(())
/// # }
/// ```
pub fn write_test_pki(folder: &Path, seed: u64, at: OffsetDateTime) -> Result<Vec<TestCase>, Error> {
    if !(EARLIEST..LATEST).contains(&at) {
        return Err(Error::TestPkiTime { at });
    }
    let family = Family::new(seed, at)?;
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    files.insert(ROOT.to_owned(), pem_of(&[&family.root.der]));
    for (name, der) in family.lists() {
        files.insert(name.to_owned(), pem::encode_public("X509 CRL", &der));
    }
    let mut cases = Vec::new();
    for made in cases::all(&family)? {
        let chain: Vec<_> = std::iter::once(&made.leaf).chain(&made.chain).collect();
        files.insert(made.case.certificate.clone(), pem_of(&chain));
        files.insert(made.case.key.clone(), made.key.pem().as_bytes().to_vec());
        cases.push(made.case);
    }
    let expected = Expected {
        format: 1,
        warning: "every private key here is public: nothing that matters may trust this root",
        seed,
        at: rfc3339(at),
        trusted: [ROOT],
        openssl: OPENSSL,
        cases: &cases,
    };
    let mut json = serde_json::to_vec_pretty(&expected).map_err(|_| Error::Crypto("writing JSON"))?;
    json.push(b'\n');
    files.insert("expected.json".to_owned(), json);
    files.insert("README.md".to_owned(), README.as_bytes().to_vec());
    write(folder, &files)?;
    Ok(cases)
}

/// Writes the files atomically: into a different folder first, which is then renamed.
fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    if folder.exists() {
        return Err(Error::AlreadyExists { path: folder.to_owned() });
    }
    let parent = fs::folder_of(folder);
    std::fs::create_dir_all(parent).map_err(Error::io("make the folder", parent))?;
    let building = tempfile::tempdir_in(parent).map_err(Error::io("make a folder in", parent))?;
    for (name, bytes) in files {
        write_file(&building.path().join(name), name.ends_with(KEY_FILE), bytes)?;
    }
    std::fs::rename(building.path(), folder).map_err(Error::io("make the folder", folder))?;
    // Nothing is there any more to be removed.
    let _ = building.keep();
    Ok(())
}

/// Writes a file. Private or not is all the same here, but nobody should get used to keys that others can read.
fn write_file(path: &Path, is_key: bool, bytes: &[u8]) -> Result<(), Error> {
    fs::create_private_folder(fs::folder_of(path))?;
    let file =
        if is_key { fs::open_private(path) } else { File::create(path).map_err(Error::io("write", path)) };
    file?.write_all(bytes).map_err(Error::io("write", path))
}

fn pem_of(ders: &[&Vec<u8>]) -> Vec<u8> {
    ders.iter().flat_map(|der| pem::encode_public(pem::CERTIFICATE, der)).collect()
}

/// The CAs begin ten years earlier and end twenty years later; webpki reads no dates before 1970.
const EARLIEST: OffsetDateTime = datetime!(1981-01-01 0:00 UTC);
const LATEST: OffsetDateTime = datetime!(9979-01-01 0:00 UTC);
const ROOT: &str = "root.pem";
const CERTIFICATE_FILE: &str = "chain.pem";
const KEY_FILE: &str = "key.pem";
const OPENSSL: &str = "openssl verify -x509_strict -purpose sslclient -auth_level 2 -attime UNIX_TIME -CAfile root.pem -untrusted CERTIFICATE [-crl_check -CRLfile CRL] CERTIFICATE";
const README: &str = include_str!("test_pki/folder.md");
