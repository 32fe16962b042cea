//! The encodings in which a secret may appear, and the arguments of running programs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

/// A secret, in all the encodings in which it might be written.
pub(crate) struct Canary {
    name: &'static str,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    /// A secret that is a text.
    pub(crate) fn text(name: &'static str, text: &str) -> Self {
        let mut canary = Self::bytes(name, text.as_bytes());
        let percent = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        canary.forms.push(("percent-encoded", percent.into_bytes()));
        canary
    }

    /// A symmetric key, in base64.
    pub(crate) fn key(name: &'static str, text: &str) -> Result<Self> {
        let mut canary = Self::text(name, text);
        canary.forms.extend(Self::bytes(name, &STANDARD.decode(text)?).forms);
        Ok(canary)
    }

    /// The secret numbers of all keys (PKCS#8 of P-256) in a PEM file.
    pub(crate) fn private_keys(name: &'static str, pem: &Path) -> Result<Vec<Self>> {
        Self::keys_in(name, &std::fs::read_to_string(pem)?)
    }

    /// The secret number of an encrypted key, which OpenSSL decrypts.
    pub(crate) fn encrypted_key(name: &'static str, pem: &Path, passphrase: &str) -> Result<Vec<Self>> {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs8", "-passin", "env:OPENED_WITH", "-in"]).arg(pem).env("OPENED_WITH", passphrase);
        let opened = openssl.output().context("run scripts/install-test-needs")?;
        ensure!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        Self::keys_in(name, &String::from_utf8(opened.stdout)?)
    }

    fn keys_in(name: &'static str, pem: &str) -> Result<Vec<Self>> {
        let blocks = pem.split("-----BEGIN PRIVATE KEY-----").skip(1);
        blocks.map(|block| Self::private_key(name, block.split("-----END").next().unwrap_or(block))).collect()
    }

    fn private_key(name: &'static str, base64: &str) -> Result<Self> {
        let der = STANDARD.decode(base64.split_whitespace().collect::<String>())?;
        // RFC 5915: version 1, then the number as an octet string of 32 bytes.
        let at = memmem::find(&der, &[2, 1, 1, 4, 32]).context("this is no key on P-256")?;
        let number = der.get(at + 5..at + 37).context("the key ends early")?;
        let mut canary = Self::bytes(name, number);
        // The first line holds the beginning of the number.
        canary.forms.push(("as PEM", base64.trim().lines().next().unwrap_or_default().into()));
        Ok(canary)
    }

    fn bytes(name: &'static str, bytes: &[u8]) -> Self {
        let hex = |case: fn(&u8) -> String| bytes.iter().map(case).collect::<String>().into_bytes();
        let numbers = bytes.iter().take(8).map(u8::to_string).collect::<Vec<_>>().join(", ");
        let mut forms = vec![
            ("as it is", bytes.to_vec()),
            ("hex", hex(|byte| format!("{byte:02x}"))),
            ("hex", hex(|byte| format!("{byte:02X}"))),
            ("a list of numbers", numbers.into_bytes()),
        ];
        // Inside of something longer, base64 begins at any of three places; what is beside it shows in its ends.
        for before in 0..3 {
            let shifted = [&vec![0; before], bytes].concat();
            let text = STANDARD.encode(shifted);
            let inner = text.get(4..text.len().saturating_sub(4)).unwrap_or_default();
            forms.push(("base64", inner.as_bytes().to_vec()));
        }
        forms.retain(|(_, form)| form.len() >= 4);
        Self { name, forms }
    }

    /// The first encoding in which it occurs in the bytes.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<String> {
        let found = self.forms.iter().find(|(_, form)| memmem::find(bytes, form).is_some());
        found.map(|(form, _)| format!("{} ({form})", self.name))
    }
}

/// Watches the arguments of all processes.
pub(crate) struct Arguments {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<BTreeSet<Vec<u8>>>,
}

impl Arguments {
    pub(crate) fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let watcher = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    // A process may be gone by now.
                    seen.extend(std::fs::read(entry.path().join("cmdline")));
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
            seen
        });
        Self { stop, watcher }
    }

    /// The arguments of all observed processes.
    pub(crate) fn seen(self) -> Result<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.watcher.join().ok().context("the watcher died")?;
        ensure!(seen.iter().any(|line| memmem::find(line, b"provisioner").is_some()), "nothing was watched");
        Ok(seen.into_iter().flatten().collect())
    }
}

/// Waits until a process has set its core file limit to 0.
pub(crate) fn wait_for_no_core(process: u32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits"))?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let words: Vec<_> = core.unwrap_or_default().split_whitespace().collect();
        if words.get(4..6) == Some(&["0", "0"]) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{limits}");
        std::thread::yield_now();
    }
}
