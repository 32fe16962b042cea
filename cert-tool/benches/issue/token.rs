//! A CA whose key is in a SoftHSM 2, for public keys that are given: against `C_Sign` alone, with a session
//! for each thread.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use cert_tool::{CaOptions, KeySource, KeyType, PrivateKey, PublicKeyInput, Sink};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};

use crate::bare::repeat;
use crate::compare::{compare, setting, thread_counts};
use crate::shop::Shop;

pub(crate) fn run() {
    // The module looks for its tokens when it is loaded, so that the process must be born with the
    // variable.
    if is_child() {
        return measure();
    }
    let folder = tempfile::tempdir().unwrap();
    let configuration = make_token(folder.path());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.arg("token").env(CONFIGURATION, configuration).env(CHILD, "1");
    assert!(child.status().unwrap().success());
}

/// Returns whether this process was started by [`run`].
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn measure() {
    let count = setting("BENCH_COUNT", 20_000);
    let keys: Vec<_> = (0..count).map(|_| public_key()).collect();
    let uri = format!("pkcs11:token=plant;object=ca?module-path={}", module());
    for threads in thread_counts() {
        let options = CaOptions { token: Some(uri.parse().unwrap()), ..CaOptions::default() };
        compare(
            &format!("token, bundle, {threads} threads"),
            count,
            |count| {
                // It logs in for the whole process.
                let _shop = Shop::with(&options);
                let pkcs11 = pkcs11();
                let session = || {
                    let slot = pkcs11.get_slots_with_initialized_token().unwrap().remove(0);
                    let session = pkcs11.open_ro_session(slot).unwrap();
                    let template =
                        [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(b"ca".to_vec())];
                    let key = session.find_objects(&template).unwrap().remove(0);
                    (session, key)
                };
                repeat(count, threads, session, |(session, key), _| {
                    black_box(session.sign(&Mechanism::Ecdsa, *key, &[7; 32]).unwrap());
                })
            },
            |count| {
                let key = |n: u64| {
                    KeySource::PublicKey(PublicKeyInput::Info(keys.get(n as usize).unwrap().clone()))
                };
                Shop::with(&options).issue(Sink::Bundle, threads, count, key)
            },
        );
    }
}

fn public_key() -> Vec<u8> {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    [P256_INFO.as_slice(), key.public_key()].concat()
}

fn pkcs11() -> Pkcs11 {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    // It is initialised already where the CA was opened before.
    let _ = pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    pkcs11
}

/// A token in a folder; the result is the path of SoftHSM's configuration.
fn make_token(folder: &Path) -> std::path::PathBuf {
    let tokens = folder.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let configuration = folder.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.to_string_lossy());
    std::fs::write(&configuration, text).unwrap();
    let output = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "plant", "--so-pin", "12345678", "--pin", "4711"])
        .env(CONFIGURATION, &configuration)
        .output()
        .unwrap_or_else(|error| panic!("{error}: run scripts/install-test-needs"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    configuration
}

fn module() -> &'static str {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    found.unwrap_or_else(|| panic!("no SoftHSM 2: run scripts/install-test-needs"))
}

const CONFIGURATION: &str = "SOFTHSM2_CONF";
const CHILD: &str = "CERT_TOOL_BENCH_TOKEN";
/// The bytes before the point in the `SubjectPublicKeyInfo` of a key on P-256 (RFC 5480 §2).
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
