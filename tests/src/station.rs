//! A working folder for a test, like that of a user.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::ServedHub;

/// A folder to work in, in which no hub is configured.
#[derive(Debug)]
pub struct Station {
    folder: TempDir,
}

/// The exit code and the output of a command.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if the command was killed.
    pub code: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error output.
    pub stderr: String,
}

impl Station {
    /// A new, empty folder.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: TempDir::new()? })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the folder and returns its path.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// A command that runs one of the built binaries in the folder. Variables of the caller's
    /// environment that choose a hub are removed.
    pub fn command(&self, binary: &str) -> Result<Command> {
        let mut command = Command::new(built(binary)?);
        command.current_dir(self.folder()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| OURS.iter().any(|prefix| name.starts_with(prefix))) {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// Runs one of the built binaries to its end.
    pub fn run<A: AsRef<OsStr>>(&self, binary: &str, args: impl IntoIterator<Item = A>) -> Result<Ended> {
        Ended::of(self.command(binary)?.args(args).output()?)
    }

    /// Runs the provisioner against a served hub.
    pub fn provision<A: AsRef<OsStr>>(
        &self,
        hub: &ServedHub,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Ended> {
        Ended::of(self.provisioner(hub)?.args(args).output()?)
    }

    /// The provisioner, set up for a served hub.
    pub fn provisioner(&self, hub: &ServedHub) -> Result<Command> {
        let mut command = self.command("provisioner")?;
        command.env("IOTHUB_CONNECTION_STRING", hub.connection_string());
        command.env("IOTHUB_CA_FILE", hub.ca_file());
        Ok(command)
    }
    /// The provisioner, set up for a served hub and the DPS beside it.
    pub fn provisioner_beside_dps(&self, hub: &ServedHub) -> Result<Command> {
        let mut command = self.provisioner(hub)?;
        command.env("IOTDPS_CONNECTION_STRING", hub.dps_connection_string()?);
        Ok(command)
    }
}

impl Ended {
    /// Reads the output of a command.
    pub fn of(output: Output) -> Result<Self> {
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Checks the exit code. If it differs, the error shows the complete output.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }
}

impl Ended {
    /// The standard output as text, without the last line, which marks a hub for tests.
    pub fn text(&self) -> &str {
        self.stdout.strip_suffix(TEST_HUB).unwrap_or(&self.stdout)
    }
}

/// The last line of a text output about a hub for tests.
pub const TEST_HUB: &str = "TEST HUB: nothing of this is on an IoT Hub of Azure\n";

/// A batch of devices with CA certificates, each with two modules, and all with twins.
pub fn devices_with_modules(devices: usize) -> String {
    let mut batch = String::from("device_id,module_id,auth,tags.site,desired.interval\n");
    for device in 0..devices {
        for module in ["", "m1", "m2"] {
            batch += &format!("dev-{device:05},{module},x509_ca,works {},60\n", device % 7);
        }
    }
    batch
}

/// The size of a test: `small`, unless this environment variable names a different number.
pub fn from_env(name: &str, small: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(small)
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn built(binary: &str) -> Result<PathBuf> {
    // Test binaries lie in `target/PROFILE/deps`, the workspace's binaries one above.
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).context("the test binary lies in no target folder")?;
    let path = profile.join(format!("{binary}{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        path.exists(),
        "{} is not built: run `cargo build --workspace --bins` first",
        path.to_string_lossy()
    );
    Ok(path)
}

/// The prefixes of environment variables that choose a hub or sign in to one.
const OURS: [&str; 6] = ["AZURE_", "IDENTITY_", "IOTDPS_", "IOTHUB_", "MSI_", "PROVISIONER_"];
