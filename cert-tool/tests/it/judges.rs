//! A sample of every profile and kind of key, before judges that nobody here wrote: pkilint, OpenSSL at its
//! strictest, GnuTLS, NSS, and the validator of Python's cryptography. `scripts/install-test-needs` has them.

use std::path::{Path, PathBuf};
use std::process::Command;

use cert_tool::{
    CaOptions, CertificateAuthority, Existing, IssueOptions, IssuedStore, KeyType, RevocationList,
    RevocationReason, Revoked, Sink, issue_batch,
};
use tempfile::TempDir;
use time::Duration;

use crate::support::{Shop, generate, now, record};

/// A CA with leaves, each in a file of its own.
struct Sample {
    folder: PathBuf,
    leaves: Vec<PathBuf>,
}

impl Sample {
    /// A CA with keys of one kind; a device and a module with keys of each kind that is asked for.
    fn make(root: &TempDir, name: &str, ca: CaOptions, leaves: &[KeyType], days: u32) -> Self {
        let folder = root.path().join(name);
        let ca = CertificateAuthority::init(&folder.join("ca"), &ca, now()).unwrap();
        for file in ["root.pem", "issuing.pem"] {
            std::fs::copy(folder.join("ca").join(file), folder.join(file)).unwrap();
        }
        // What proves to a hub that someone holds the CA's key.
        let proof = ca.prove("106A5SD242AF512B3498BD6098C4941E66R34H268DDB3288", now()).unwrap();
        std::fs::write(folder.join("other-possession.pem"), proof.to_pem()).unwrap();
        let mut sample = Self { folder, leaves: Vec::new() };
        let mut serials = Vec::new();
        for key_type in leaves {
            let out = sample.folder.join(format!("out-{key_type}"));
            let mut store = IssuedStore::open(&ca, &out, Sink::Folder).unwrap();
            // One certificate of each kind for the same identity.
            let existing = Existing::Replace;
            let options =
                IssueOptions { key_type: *key_type, days: Some(days), existing, ..IssueOptions::new(now()) };
            let requests = [generate("device01"), generate("device01/module-*@01")];
            let mut count = 0;
            let mut tell = |issued: &cert_tool::Issued| {
                count += 1;
                let leaf = sample.folder.join(format!("leaf-{key_type}-{count}.pem"));
                std::fs::copy(&record(issued).certificate, &leaf).unwrap();
                serials.push(record(issued).serial.clone());
                sample.leaves.push(leaf);
            };
            issue_batch(&ca, &options, requests.into_iter(), &mut store, &mut tell).unwrap();
        }
        let serial = openssl::bn::BigNum::from_hex_str(&serials[0]).unwrap().to_vec();
        let list = RevocationList {
            number: 1,
            this_update: now(),
            next_update: now() + Duration::days(30),
            revoked: vec![Revoked { serial, at: now(), reason: Some(RevocationReason::KeyCompromise) }],
        };
        let list = openssl::x509::X509Crl::from_der(&ca.sign_crl(&list).unwrap()).unwrap();
        std::fs::write(sample.folder.join("crl.pem"), list.to_pem().unwrap()).unwrap();
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn judge_by_openssl(&self) {
        for leaf in &self.leaves {
            let mut command = Command::new("openssl");
            command.args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"]);
            command.arg(self.path("root.pem")).arg("-untrusted").arg(self.path("issuing.pem")).arg(leaf);
            passes(&mut command);
        }
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-CAfile"]).arg(self.path("root.pem")).arg("-untrusted");
        command.arg(self.path("issuing.pem")).arg(self.path("other-possession.pem"));
        passes(&mut command);
    }

    fn judge_by_gnutls(&self) {
        for leaf in &self.leaves {
            let chain = [std::fs::read(leaf).unwrap(), std::fs::read(self.path("issuing.pem")).unwrap()];
            std::fs::write(self.path("chain.pem"), chain.concat()).unwrap();
            let mut command = Command::new("certtool");
            command.args(["--verify", "--verify-profile", "medium", "--verify-purpose", "1.3.6.1.5.5.7.3.2"]);
            command.arg("--load-ca-certificate").arg(self.path("root.pem"));
            command.arg("--infile").arg(self.path("chain.pem"));
            let said = passes(&mut command);
            assert!(said.contains("Chain verification output: Verified."), "{said}");
        }
    }

    fn judge_by_nss(&self) {
        let database = self.path("nss");
        std::fs::create_dir(&database).unwrap();
        let certutil = |args: &[&str], file: Option<&Path>| {
            let mut command = Command::new("certutil");
            command.arg("-d").arg(format!("sql:{}", database.to_string_lossy())).args(args);
            passes(file.into_iter().fold(&mut command, |command, file| command.arg("-i").arg(file)))
        };
        certutil(&["-N", "--empty-password"], None);
        // Trusted to issue to clients, and for nothing else.
        certutil(&["-A", "-n", "root", "-t", "T,,"], Some(&self.path("root.pem")));
        certutil(&["-A", "-n", "issuing", "-t", ",,"], Some(&self.path("issuing.pem")));
        for (number, leaf) in self.leaves.iter().enumerate() {
            let name = format!("leaf{number}");
            certutil(&["-A", "-n", &name, "-t", ",,"], Some(leaf));
            let said = certutil(&["-V", "-u", "C", "-e", "-n", &name], None);
            assert!(said.contains("certificate is valid"), "{said}");
        }
    }
}

#[test]
fn every_profile_and_kind_of_key_passes_every_judge() {
    let root = tempfile::tempdir().unwrap();
    let ca = |key_type| CaOptions { key_type, ..CaOptions::default() };
    let mut samples = vec![Sample::make(&root, "p256", ca(KeyType::P256), &KeyType::ALL, 365)];
    for key_type in KeyType::ALL.into_iter().skip(1) {
        let name = key_type.to_string();
        samples.push(Sample::make(&root, &name, ca(key_type), &[KeyType::P256], 365));
    }
    // Dates before and after 2050 are encoded in different ways.
    let long = CaOptions { root_days: 20_000, issuing_days: 15_000, ..CaOptions::default() };
    samples.push(Sample::make(&root, "long", long, &[KeyType::P256], 14_000));
    for sample in &samples {
        sample.judge_by_openssl();
        sample.judge_by_gnutls();
        sample.judge_by_nss();
    }
    let mut command = python();
    let said = passes(command.args(samples.iter().map(|sample| &sample.folder)));
    // Of each CA three certificates and a list, of each leaf two judgements.
    let leaves: usize = samples.iter().map(|sample| sample.leaves.len()).sum();
    assert_eq!(said.trim(), format!("{} judgements", 4 * samples.len() + 2 * leaves));
}

/// All that a profile can say, for a device and for a gateway.
const PROFILES: &str = r#"[device]
subject = "C=DE,ST=Bayern,L=Nürnberg,O=Acme,OU=Plant 7+title=Line {{ module_id }}3,serialNumber={{ device_id }}"

[gateway]
subject = "DC=acme,DC=example"
extended_key_usages = ["clientAuth", "serverAuth"]
not_after = 2027-06-30
crl_distribution_points = ["http://pki.acme.example/issuing.crl"]
ca_issuers = ["http://pki.acme.example/issuing.crt"]
ocsp = ["http://ocsp.acme.example"]

[gateway.san]
dns = ["{{ device_id }}.acme.example"]
uri = ["https://{{ device_id }}.acme.example/status"]
ip = ["10.0.0.7", "fd00::7"]

[[gateway.extensions]]
oid = "1.3.6.1.4.1.55555.1"
utf8 = "{{ device_id | upper }}"
"#;

#[test]
fn what_profiles_say_passes_every_judge() {
    let shop = Shop::new();
    shop.write("ca/profile.toml", PROFILES);
    for profile in ["device", "gateway"] {
        shop.ok(&format!("issue --ca ca --device-id gw-1 --profile {profile} --replace --out {profile}"));
        shop.ok(&format!("extract {profile} --device-id gw-1 --out {profile}-files"));
        std::fs::copy(
            shop.path(&format!("{profile}-files/cert.pem")),
            shop.path(&format!("leaf-{profile}.pem")),
        )
        .unwrap();
        for purpose in
            if profile == "gateway" { ["sslclient", "sslserver"].as_slice() } else { &["sslclient"] }
        {
            shop.openssl(&format!(
                "verify -x509_strict -purpose {purpose} -CAfile ca/root.pem -untrusted ca/issuing.pem leaf-{profile}.pem"
            ));
        }
        shop.ok(&format!("verify {profile}-files/chain.pem --ca ca --device-id gw-1"));
    }
    for file in ["root.pem", "issuing.pem"] {
        std::fs::copy(shop.path("ca").join(file), shop.path(file)).unwrap();
    }
    assert_eq!(passes(python().arg(shop.path(""))).trim(), "6 judgements");
}

/// Certificates of a CA's later life: with addresses, below limits on names, of more tiers, renewed, crossed, and for
/// Azure Device Registry.
#[test]
fn what_a_ca_makes_in_its_later_life_passes_every_judge() {
    let shop = Shop::new();
    shop.ok("ca init plant --crl-url http://pki.example/plant.crl --issuer-url http://pki.example/plant.crt --root-crl-url http://pki.example/root.crl --root-issuer-url http://pki.example/root.crt");
    shop.ok("ca renew plant --days 4000");
    shop.ok("issue --ca plant --out out --device-id device01");
    shop.ok("ca rekey plant next");
    shop.ok("issue --ca next --out moved --device-id device01");
    shop.ok("ca csr line --name Line");
    shop.ok("ca sign line/issuing.csr --ca plant --permit dns:a.example --permit ip:10.0.0.0/8 --exclude email:b.example --out line.pem --path-length 1");
    shop.ok("ca init azure --root-only --for azure-device-registry");
    shop.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -keyout azure.key -sha384 -subj /O=Microsoft/CN=ns.intermediate -out azure.csr");
    shop.ok("ca sign azure.csr --ca azure --for azure-device-registry --out azure.pem");
    std::fs::create_dir(shop.path("judged")).unwrap();
    for (from, to) in [
        ("plant/root.pem", "root.pem"),
        ("plant/issuing.pem", "issuing.pem"),
        ("out/devices/device01/cert.pem", "leaf-1.pem"),
        ("next/new-by-old.pem", "other-new-by-old.pem"),
        ("next/old-by-new.pem", "other-old-by-new.pem"),
        ("azure/root.pem", "other-azure-root.pem"),
    ] {
        std::fs::copy(shop.path(from), shop.path("judged").join(to)).unwrap();
    }
    for file in ["line", "azure"] {
        shop.openssl(&format!("x509 -in {file}.pem -out judged/other-{file}.pem"));
    }
    let said = passes(python().arg(shop.path("judged")));
    assert_eq!(said.trim(), "9 judgements");
    // GnuTLS follows what a device of the new CA presents, to either root.
    for root in ["plant", "next"] {
        let mut command = Command::new("certtool");
        command.args(["--verify", "--verify-profile", "medium", "--verify-purpose", "1.3.6.1.5.5.7.3.2"]);
        command.arg("--load-ca-certificate").arg(shop.path(root).join("root.pem"));
        command.arg("--infile").arg(shop.path("moved/devices/device01/chain.pem"));
        let said = passes(&mut command);
        assert!(said.contains("Chain verification output: Verified."), "{root}: {said}");
    }
}

#[test]
fn the_python_judge_finds_what_is_wrong() {
    let shop = Shop::new();
    shop.ok("test-pki pki");
    std::fs::copy(shop.path("pki/root.pem"), shop.path("root.pem")).unwrap();
    let chain = std::fs::read_to_string(shop.path("pki/device/chain.pem")).unwrap();
    let (_, issuing) = chain.split_at(chain.rfind("-----BEGIN").unwrap());
    shop.write("issuing.pem", issuing);
    for (case, by, fault) in [
        ("expired", "cryptography", "cert is not valid at validation time"),
        ("server-only", "cryptography", "EKU"),
        ("cn-65", "pkilint", "itu.invalid_asn1_syntax"),
        ("serial-21-bytes", "pkilint", "certificate_serial_number_out_of_range"),
    ] {
        let chain = std::fs::read_to_string(shop.path(&format!("pki/{case}/chain.pem"))).unwrap();
        shop.write("leaf-1.pem", &chain[..chain.rfind("-----BEGIN").unwrap()]);
        let output = python().arg(shop.path("")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{case}");
        let line = said.lines().find(|line| line.contains(by)).unwrap_or_else(|| panic!("{case}: {said}"));
        assert!(line.contains("leaf-1.pem") && said.contains(fault), "{case}: {said}");
    }
}

#[test]
fn ten_thousand_thumbprints_are_those_of_openssl() {
    use openssl::hash::MessageDigest;
    use openssl::x509::X509;

    let shop = Shop::new();
    let rows: String = (0..10_000).map(|number| format!("d{number}\n")).collect();
    shop.write("batch.csv", &format!("device_id\n{rows}"));
    shop.ok("issue --ca ca --from batch.csv --out out --sink bundle");
    let said = shop.ok("thumbprint out/certificates.pem --format csv");
    let bundle = std::fs::read(shop.path("out/certificates.pem")).unwrap();
    let certificates = X509::stack_from_pem(&bundle).unwrap();
    assert_eq!(certificates.len(), 10_000);
    assert_eq!(said.lines().count(), 10_001);
    let hex = |certificate: &X509, hash| {
        certificate.digest(hash).unwrap().iter().map(|byte| format!("{byte:02X}")).collect::<String>()
    };
    for (line, certificate) in said.lines().skip(1).zip(&certificates) {
        let cells: Vec<_> = line.split(',').collect();
        assert_eq!(cells[1], hex(certificate, MessageDigest::sha1()));
        assert_eq!(cells[2], hex(certificate, MessageDigest::sha256()));
    }
}

fn python() -> Command {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = repository.join(".venv-pki/bin/python");
    assert!(python.exists(), "run scripts/install-test-needs first, or all tests with scripts/test");
    let mut command = Command::new(python);
    command.arg(repository.join("scripts/pki-judge/judge.py"));
    command
}

/// Runs a judge, which must accept, and returns what it said.
fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}
