//! `cert-tool test-pki`: what it says of each certificate is what others really say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cert_tool::{Content, read_certificates, read_documents, write_test_pki};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

use crate::support::Shop;

const AT: OffsetDateTime = datetime!(2027-01-01 0:00 UTC);

struct TestPki {
    folder: TempDir,
    cases: Vec<Value>,
}

impl TestPki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_test_pki(&folder.path().join("pki"), 1, AT).unwrap();
        let expected = std::fs::read(folder.path().join("pki/expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        assert_eq!(expected["at"], "2027-01-01T00:00:00Z");
        Self { folder, cases: expected["cases"].as_array().unwrap().clone() }
    }

    fn path(&self, name: &Value) -> PathBuf {
        self.folder.path().join("pki").join(name.as_str().unwrap())
    }

    fn crls(&self, case: &Value) -> Vec<PathBuf> {
        case["crls"].as_array().unwrap().iter().map(|name| self.path(name)).collect()
    }

    /// Compares what a validator says of each case with what is expected; all at once.
    fn compare(&self, validator: &str, says: impl Fn(&Value) -> Value) {
        let wrong: Vec<_> = self
            .cases
            .iter()
            .filter_map(|case| {
                let said = says(case);
                (said != case[validator])
                    .then(|| format!("{}: {said}, not {}", case["name"], case[validator]))
            })
            .collect();
        assert!(wrong.is_empty(), "{validator} says\n{}", wrong.join("\n"));
    }
}

#[test]
fn openssl_says_what_is_expected_of_it() {
    let pki = TestPki::new();
    pki.compare("openssl", |case| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslclient", "-auth_level", "2", "-attime"]);
        command.arg(AT.unix_timestamp().to_string());
        command.arg("-CAfile").arg(pki.path(&"root.pem".into()));
        command.arg("-untrusted").arg(pki.path(&case["certificate"]));
        for crl in pki.crls(case) {
            command.args(["-crl_check", "-CRLfile"]).arg(crl);
        }
        let output = command.arg(pki.path(&case["certificate"])).output().unwrap();
        if output.status.success() {
            return "OK".into();
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = case["openssl"].as_str().unwrap();
        if expected != "OK" && said.contains(expected) { expected.into() } else { said.into() }
    });
}

#[test]
fn webpki_says_what_is_expected_of_it() {
    let pki = TestPki::new();
    pki.compare("webpki", |case| match webpki_says(&pki, case) {
        Ok(()) => "OK".into(),
        Err(error) => {
            let name = format!("{error:?}");
            name.split(['(', ' ', '{']).next().unwrap().into()
        }
    });
}

fn webpki_says(pki: &TestPki, case: &Value) -> Result<(), webpki::Error> {
    let root = read_certificates(&pki.path(&"root.pem".into())).unwrap();
    let chain = read_certificates(&pki.path(&case["certificate"])).unwrap();
    let ders: Vec<_> = chain.iter().map(|one| CertificateDer::from(one.der())).collect();
    let root = CertificateDer::from(root[0].der());
    let lists: Vec<CertRevocationList<'_>> = pki
        .crls(case)
        .iter()
        .map(|file| {
            let document = read_documents(file, &mut |_| Ok(None)).unwrap().next().unwrap().unwrap();
            let Content::Crl(der) = document.content else { panic!("{}", file.to_string_lossy()) };
            OwnedCertRevocationList::from_der(&der).unwrap().into()
        })
        .collect();
    let lists: Vec<_> = lists.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build()
    });
    EndEntityCert::try_from(&ders[0])?.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[anchor_from_trusted_cert(&root).unwrap()],
        &ders[1..],
        UnixTime::since_unix_epoch(Duration::from_secs(AT.unix_timestamp().unsigned_abs())),
        KeyUsage::client_auth(),
        revocation,
        None,
    )?;
    Ok(())
}

#[test]
fn verify_names_the_checks_that_fail_and_no_others() {
    let shop = Shop::new();
    let pki = TestPki::new();
    pki.compare("cert_tool", |case| {
        let (device, module) = match case["identity"].as_str().unwrap().split_once('/') {
            Some((device, module)) => (device, Some(module)),
            None => (case["identity"].as_str().unwrap(), None),
        };
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut args: Vec<String> =
            ["verify", "--format", "json", "--at", "2027-01-01"].map(String::from).into();
        args.extend([
            text(pki.path(&case["certificate"])),
            "--ca".into(),
            text(pki.path(&"root.pem".into())),
        ]);
        args.extend(["--key".into(), text(pki.path(&case["key"]))]);
        args.push(format!("--device-id={device}"));
        args.extend(module.map(|module| format!("--module-id={module}")));
        args.extend(pki.crls(case).into_iter().flat_map(|crl| ["--crl".into(), text(crl)]));
        let said = shop.run_args(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(said.err, "", "{}", case["name"]);
        let checks: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let failed: Vec<_> =
            checks.iter().filter(|check| check["ok"] == false).map(|check| check["check"].clone()).collect();
        assert_eq!(said.code, i32::from(!failed.is_empty()), "{}", case["name"]);
        failed.into()
    });
}

#[test]
fn every_key_is_the_one_of_its_certificate_but_the_swapped() {
    let pki = TestPki::new();
    for case in &pki.cases {
        let certificate = &read_certificates(&pki.path(&case["certificate"])).unwrap()[0];
        let pem = std::fs::read(pki.path(&case["key"])).unwrap();
        let key = openssl::pkey::PKey::private_key_from_pem(&pem).unwrap();
        let fits = key.public_key_to_der().unwrap() == certificate.public_key_info();
        assert_eq!(fits, case["name"] != "swapped-key", "{}", case["name"]);
    }
}

#[test]
fn the_same_seed_and_time_give_the_same_bytes_and_another_seed_other_keys() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, seed| {
        write_test_pki(&folder.path().join(name), seed, AT).unwrap();
        let mut files = BTreeMap::new();
        collect(&folder.path().join(name), &folder.path().join(name), &mut files);
        files
    };
    let (first, again, other) = (made("a", 1), made("b", 1), made("c", 2));
    assert!(first == again, "the same seed gave other bytes");
    assert_ne!(first["device/key.pem"], other["device/key.pem"]);
    assert_ne!(first["root.pem"], other["root.pem"]);
    // One file that is pinned: other versions and machines must make it too.
    let root = openssl::sha::sha256(&first["root.pem"]);
    let root: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(root, PINNED_ROOT);
}

#[test]
fn a_folder_that_is_there_is_left_alone_and_keys_are_private() {
    let shop = Shop::new();
    let text = shop.ok("test-pki pki --at 2027-01-01");
    assert!(text.lines().any(|line| line.starts_with("expired ") && line.contains(" bad ")), "{text}");
    assert!(shop.fails(3, "test-pki pki").contains("`pki` is already there"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(shop.path("pki/device/key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let readme = std::fs::read_to_string(shop.path("pki/README.md")).unwrap();
    assert!(readme.contains("Every private key here is public"));
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

const PINNED_ROOT: &str = "fccc1555d421045603f390ce33e257f80fb97e8c3dac0c0f6dcd7678fda8740b";
