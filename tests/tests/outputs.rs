//! Output files, for every option of every program that names one: links and devices stay what they are, and
//! older files are kept, or replaced as a whole by those of their kind.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::{Ended, Station};

/// A command with an option that names its output.
struct Verb {
    program: &'static str,
    /// The arguments; `OUT` stands for the output.
    args: &'static str,
    /// True if an existing file of the same kind is replaced. Every other file is kept.
    replaces: bool,
    /// The exit code of a success.
    code: i32,
}

const fn verb(program: &'static str, args: &'static str, replaces: bool) -> Verb {
    Verb { program, args, replaces, code: 0 }
}

const VERBS: [Verb; 14] = [
    verb("cert-tool", "expiring --ca pki --within 9999d --out OUT", true),
    verb("cert-tool", "csr --device-id dev-1 --key key.pem --out OUT", true),
    verb("cert-tool", "csr --device-id dev-1 --out unused --key-out OUT", false),
    verb("cert-tool", "ca crl pki --out OUT", true),
    verb("cert-tool", "ca sign below/issuing.csr --ca root --out OUT", false),
    verb("cert-tool", "ca cross-sign pki/root.pem --ca root --out OUT", false),
    verb("cert-tool", "ca prove pki --code CODE --out OUT", false),
    verb("cert-tool", "convert pki/root.pem --to der --out OUT", false),
    verb("cert-tool", "pfx pki/issued --device-id dev-1 --password-file password --out OUT", false),
    verb("provisioner", "export --out OUT.csv", false),
    Verb { code: 1, ..verb("provisioner", "plan batch.csv --issue pki --output OUT", false) },
    verb("provisioner", "audit --out OUT", false),
    Verb { code: 1, ..verb("provisioner", "report --html OUT", true) },
    Verb { code: 1, ..verb("provisioner", "report --failed-rows OUT", true) },
];

impl Verb {
    fn run(&self, station: &Station, out: &str) -> Result<Ended> {
        let args = self.args.split(' ').map(|arg| match arg.strip_prefix("OUT") {
            Some("") => out.to_owned(),
            Some(_) => format!("{out}.csv"),
            None => arg.to_owned(),
        });
        station.run(self.program, args)
    }

    /// The file that the command writes when its output is called this.
    fn out(&self, station: &Station, out: &str) -> std::path::PathBuf {
        let ending = if self.args.contains("OUT.csv") { ".csv" } else { "" };
        station.path(&format!("{out}{ending}"))
    }
}

#[test]
fn links_and_devices_are_never_replaced() -> Result<()> {
    let station = Station::new()?;
    prepare(&station)?;
    for (number, verb) in VERBS.iter().enumerate() {
        let check = || {
            links(verb, &station, number)?;
            device(verb, &station, number)?;
            pipe(verb, &station, number)
        };
        check().with_context(|| verb.args)?;
    }
    Ok(())
}

/// Links to older files. The links stay. A file that the command has written before is replaced as a whole, and
/// every other file is kept.
fn links(verb: &Verb, station: &Station, number: usize) -> Result<()> {
    let (name, old) = (format!("link-{number}"), station.write(&format!("old-{number}"), "old")?);
    let link = verb.out(station, &name);
    symlink(&old, &link)?;
    let ended = verb.run(station, &name)?;
    ensure!(fs::symlink_metadata(&link)?.is_symlink(), "the link is gone: {ended:?}");
    ensure!(fs::read(&old)? == b"old" && ended.code != Some(0), "{ended:?}");
    ensure!(ended.stderr.contains("already") && ended.stderr.contains(&name), "{}", ended.stderr);
    if verb.replaces {
        fs::remove_file(&old)?;
        for _ in 0..2 {
            let before = fs::metadata(&old).map(|file| file.ino()).ok();
            verb.run(station, &name)?.expect_code(verb.code)?;
            ensure!(fs::symlink_metadata(&link)?.is_symlink(), "the link is gone");
            ensure!(fs::metadata(&old)?.ino() != before.unwrap_or_default(), "nothing was written");
        }
    }
    Ok(())
}

/// A link to a device.
fn device(verb: &Verb, station: &Station, number: usize) -> Result<()> {
    let name = format!("device-{number}");
    let link = verb.out(station, &name);
    symlink("/dev/null", &link)?;
    verb.run(station, &name)?.expect_code(verb.code)?;
    ensure!(fs::symlink_metadata(&link)?.is_symlink(), "the link is gone");
    ensure!(fs::metadata("/dev/null")?.file_type().is_char_device());
    Ok(())
}

/// A pipe, from which another program reads.
fn pipe(verb: &Verb, station: &Station, number: usize) -> Result<()> {
    let name = format!("pipe-{number}");
    let (path, copy) = (verb.out(station, &name), station.path(&format!("copy-{number}")));
    ensure!(Command::new("mkfifo").arg(&path).status()?.success());
    let mut reader =
        Command::new("cat").arg(&path).stdin(Stdio::null()).stdout(fs::File::create(&copy)?).spawn()?;
    let ended = verb.run(station, &name)?;
    if ended.code != Some(verb.code) {
        reader.kill()?;
    }
    reader.wait()?;
    ended.expect_code(verb.code)?;
    ensure!(fs::metadata(&path)?.file_type().is_fifo(), "the pipe is gone");
    ensure!(fs::metadata(&copy)?.len() > 0, "nothing came through the pipe");
    Ok(())
}

/// Makes a CA, another root, a request, a key, and a hub with a run of which a row failed.
fn prepare(station: &Station) -> Result<()> {
    station.write("password", "secret password\n")?;
    fs::set_permissions(station.path("password"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    station.write("batch.csv", "device_id,auth\ndev-1,\ndev-2,\n")?;
    for args in [
        "ca init pki",
        "ca init root --root-only --name Other",
        "ca csr below --name Below",
        "csr --device-id dev-1 --key-out key.pem --out dev-1.csr",
        "issue --ca pki --from batch.csv --out pki/issued",
    ] {
        station.run("cert-tool", args.split(' '))?.expect_code(0)?;
    }
    // One device is on the hub already, with other keys.
    station.run("provisioner", ["device", "create", "-d", "dev-1"])?.expect_code(0)?;
    let apply = ["apply", "batch.csv", "--issue", "pki", "--mode", "create"];
    station.run("provisioner", apply)?.expect_code(1)?;
    ensure!(Path::exists(&station.path("provisioner.ledger")));
    Ok(())
}
