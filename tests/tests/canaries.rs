//! Complete runs at the highest verbosity, followed by a search for every secret in arguments,
//! output, logs, ledgers, reports, plans and all other files.

#![cfg(unix)]

mod canary;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use canary::{Arguments, Canary};
use e2e::{DATABASE_PASSWORD, Database, Ended, SIGN_IN_SECRET, ServedHub, Station, TokenService};

const PASSPHRASE: &str = "canary-of-the-ca-1618";
const PFX_PASSWORD: &str = "canary-of-the-pfx-1414";
/// Base64 of 32 bytes: the keys that a batch contains.
const GIVEN_KEYS: [&str; 2] =
    ["Y2FuYXJ5IG9mIGEgZ2l2ZW4gcHJpbWFyeSBrZXkgISE=", "Y2FuYXJ5IG9mIGEgZ2l2ZW4gc2Vjb25kYXJ5IGtleSE="];

/// The files in which secrets are allowed: the user's input, the hub's own data, and the outputs
/// that are keys.
const PLACES: [&str; 6] =
    ["passphrase", "pfx-password", "batch.csv", "hub/", "pki/issued/private-keys.pem", "pump-1.pfx"];

const BATCH: &str = "device_id,module_id,auth,primary_key,secondary_key,tags.site,primary_thumbprint
pump-1,,,,,Ulm,
pump-1,telemetry,,,,,
pump-2,,x509_ca,,,Ulm,
by-key,,sas,PRIMARY,SECONDARY,Ulm,
by-hub-key,,sas,,,Ulm,
in-conflict,,,,,Ulm,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
";

/// A station at which all output is kept.
struct Story {
    station: Station,
    hub: ServedHub,
    arguments: Arguments,
    /// The output of all commands.
    printed: Vec<u8>,
}

impl Story {
    fn begin() -> Result<Self> {
        let station = Station::new()?;
        for (name, secret) in [("passphrase", PASSPHRASE), ("pfx-password", PFX_PASSWORD)] {
            let path = station.write(name, secret)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        }
        let batch = BATCH.replace("PRIMARY", GIVEN_KEYS[0]).replace("SECONDARY", GIVEN_KEYS[1]);
        station.write("batch.csv", &batch)?;
        let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--entra-test"];
        let hub = ServedHub::start_loud(&station, "hub", &args, "hub.log")?;
        Ok(Self { station, hub, arguments: Arguments::watch(), printed: Vec::new() })
    }

    fn run(&mut self, mut command: Command) -> Result<Ended> {
        let output = command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").output()?;
        self.printed.extend(&output.stdout);
        self.printed.extend(&output.stderr);
        Ended::of(output)
    }

    fn cert_tool(&mut self, args: &[&str]) -> Result<Ended> {
        let mut command = self.station.command("cert-tool")?;
        command.args(args);
        self.run(command)?.expect_code(0)
    }

    fn provisioner(&mut self, args: &[&str]) -> Result<Ended> {
        let mut command = self.station.provisioner(&self.hub)?;
        command.args(args).arg("-vvv");
        self.run(command)
    }

    /// Searches for the secrets of this station, and for the given ones.
    fn search(self, more: Vec<Canary>, elsewhere: &[u8]) -> Result<()> {
        let access: hub_types::connection_string::ServiceConnectionString =
            self.hub.connection_string().parse()?;
        let mut canaries = vec![
            Canary::text("the CA's passphrase", PASSPHRASE),
            Canary::text("the password of the PFX file", PFX_PASSWORD),
            Canary::text("the connection string", self.hub.connection_string()),
            Canary::key("the policy's key", access.key.expose_text())?,
            Canary::key("a given key", GIVEN_KEYS[0])?,
            Canary::key("a given key", GIVEN_KEYS[1])?,
            Canary::text("a signature", "&sig="),
        ];
        canaries.extend(more);
        let arguments = self.arguments.seen()?;
        // What is no secret is found, so the search works and there is something to search.
        let log = std::fs::read(self.station.path("hub.log"))?;
        for (text, place) in [("TRACE", &self.printed), ("pump-1", &self.printed), ("DEBUG", &log)] {
            ensure!(Canary::text("no secret", text).find(place).is_some(), "`{text}` is nowhere");
        }
        let mut found = Vec::new();
        for canary in &canaries {
            for (place, bytes) in
                [("arguments", &arguments[..]), ("what was printed", &self.printed), ("a dump", elsewhere)]
            {
                found.extend(canary.find(bytes).map(|form| format!("{form} in {place}")));
            }
        }
        for file in files_below(self.station.folder())? {
            let bytes = std::fs::read(&file)?;
            let name = file.strip_prefix(self.station.folder())?.to_string_lossy().into_owned();
            if !PLACES.iter().any(|place| name.starts_with(place)) {
                found.extend(
                    canaries.iter().filter_map(|canary| Some(format!("{} in {name}", canary.find(&bytes)?))),
                );
            }
        }
        ensure!(found.is_empty(), "{}", found.join("\n"));
        Ok(())
    }
}

fn files_below(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}

#[test]
fn a_batch_with_an_encrypted_ca_keys_and_a_connection_string() -> Result<()> {
    let mut story = Story::begin()?;
    story.cert_tool(&["ca", "init", "pki", "--passphrase-file", "passphrase"])?;
    story
        .provisioner(&["device", "create", "--device-id", "in-conflict", "--auth-method", "x509_ca"])?
        .expect_code(0)?;
    let job = ["--issue", "pki"];
    let unlocked = ["--issue", "pki", "--passphrase-file", "passphrase"];
    story.provisioner(&[&["check", "batch.csv"][..], &job[..0]].concat())?.expect_code(0)?;
    let applied = story.provisioner(&[&["apply", "batch.csv"], &unlocked[..]].concat())?.expect_code(1)?;
    ensure!(
        applied.stdout.contains("5 created") && applied.stdout.contains("1 conflict"),
        "{}",
        applied.stdout
    );
    let failed = story.station.path("batch.run-1-failed.csv");
    ensure!(failed.metadata()?.permissions().mode() & 0o077 == 0, "rows may hold keys");
    let mqtt = story.hub.mqtt()?.to_owned();
    let connect = ["verify", "batch.csv", "--connect", "all", "--mqtt", &mqtt];
    let verified = story.provisioner(&[&connect[..], &job[..]].concat())?;
    ensure!(verified.stdout.contains("connected"), "{}", verified.stdout);
    story.provisioner(&[&["plan", "batch.csv", "--output", "batch.plan"], &job[..]].concat())?;
    for format in ["text", "json", "csv"] {
        story.provisioner(&["report", "--format", format])?.expect_code(1)?;
    }
    story.provisioner(&["report", "--html", "run.html"])?.expect_code(1)?;
    story.provisioner(&["audit", "--out", "run.audit.jsonl"])?.expect_code(0)?;
    story.provisioner(&["device", "show", "--device-id", "by-key"])?.expect_code(0)?;
    story.provisioner(&["twin", "show", "--device-id", "pump-1"])?.expect_code(0)?;
    story.provisioner(&["device", "list"])?.expect_code(0)?;
    story.provisioner(&["export", "--out", "export.csv"])?.expect_code(0)?;
    story.provisioner(&["doctor"])?;
    story.cert_tool(&["list", "--ca", "pki"])?;
    let pfx = [
        "pfx",
        "pki/issued",
        "--device-id",
        "pump-1",
        "--out",
        "pump-1.pfx",
        "--password-file",
        "pfx-password",
    ];
    story.cert_tool(&pfx)?;
    story.cert_tool(&["show", "pump-1.pfx", "--password-file", "pfx-password"])?;

    let mut keys = Canary::private_keys("an issued key", &story.station.path("pki/issued/private-keys.pem"))?;
    ensure!(keys.len() == 3, "{} keys were issued", keys.len());
    keys.extend(Canary::encrypted_key("the CA's key", &story.station.path("pki/issuing.key"), PASSPHRASE)?);
    let by_hub = story.hub.get("/devices/by-hub-key")?;
    let by_hub = by_hub.pointer("/authentication/symmetricKey/primaryKey").and_then(|key| key.as_str());
    keys.push(Canary::key("a key that the hub made", by_hub.context("the hub made no key")?)?);
    story.search(keys, b"")
}

#[test]
fn a_ledger_with_a_password_and_an_application_with_a_secret() -> Result<()> {
    let mut story = Story::begin()?;
    let database = Database::start()?;
    database.create("units")?;
    let authority = TokenService::authority(&story.station, &story.hub)?;
    let (host, url) = (story.hub.host()?, database.url("units"));
    let mut command = story.station.command("provisioner")?;
    command.args(["apply", "batch.csv", "--issue", "pki", "-vvv", "--host", &host, "--ledger", &url]);
    for root in [Some(&story.hub.ca_file()), authority.certificate()].into_iter().flatten() {
        command.arg("--ca-file").arg(root);
    }
    command.env("PGPASSWORD", DATABASE_PASSWORD);
    command.env("AZURE_AUTHORITY_HOST", authority.url()).env("AZURE_TENANT_ID", "contoso");
    command.env("AZURE_CLIENT_ID", "line-3").env("AZURE_CLIENT_SECRET", SIGN_IN_SECRET);
    command.env("CERT_TOOL_PASSPHRASE", PASSPHRASE);
    story.cert_tool(&["ca", "init", "pki", "--passphrase-file", "passphrase"])?;
    let applied = story.run(command)?.expect_code(0)?;
    ensure!(applied.stdout.contains("6 created"), "{}", applied.stdout);
    // Here the password comes in the URL.
    let mut report = story.station.command("provisioner")?;
    report.args(["report", "--format", "json", "-vvv"]);
    report.env("PROVISIONER_LEDGER", database.url_with_password("units"));
    story.run(report)?.expect_code(0)?;

    let token = story.hub.entra_token(&story.station, "data-contributor")?;
    let (payload, _) = token.rsplit_once('.').context("a token has a signature")?;
    let more = vec![
        Canary::text("the database's password", DATABASE_PASSWORD),
        Canary::text("the application's secret", SIGN_IN_SECRET),
        // Its claims hold the time; what comes before is the same in each.
        Canary::text("a token", payload.split('.').next().unwrap_or(payload)),
    ];
    let dump = database.dump("units")?;
    ensure!(!dump.is_empty());
    story.search(more, &dump)
}

/// A symmetric key stands where something else is due: whatever is wrong with it, it is not repeated.
#[test]
fn a_key_in_a_wrong_column_is_not_repeated() -> Result<()> {
    let station = Station::new()?;
    let columns = [
        "auth",
        "primary_thumbprint",
        "certificate",
        "csr",
        "public_key",
        "twin",
        "profile",
        "status",
        "edge",
        "tags.count:number",
        "desired.list:json",
        "no_such_column",
    ];
    let [key, other] = GIVEN_KEYS;
    let damaged = key.trim_end_matches('=');
    let mut canaries = vec![Canary::key("the key", key)?, Canary::key("the other key", other)?];
    canaries.push(Canary::text("a damaged key", &damaged[..24]));
    let search = |ended: Ended, what: &str| -> Result<()> {
        for canary in &canaries {
            let found = canary.find(format!("{}{}", ended.stdout, ended.stderr).as_bytes());
            ensure!(found.is_none(), "{what}: {ended:?}");
        }
        Ok(())
    };
    // A damaged key is a legal id, and the columns of ids are none of these.
    for (column, secret) in columns.iter().flat_map(|column| [(column, key), (column, damaged)]) {
        let pki = if column.contains("key") || *column == "csr" { &["--issue", "pki"][..] } else { &[] };
        station.write("b.csv", &format!("device_id,{column}\nd1,{secret}\nd2,{secret}\n"))?;
        let row = serde_json::json!({"device_id": "d1", (*column): secret});
        let nested = serde_json::json!({"device_id": "d2", (*column): [secret]});
        station.write("b.jsonl", &format!("{row}\n{nested}\n"))?;
        for verb in [&["check", "b.csv"][..], &["check", "b.jsonl", "--format", "json"]] {
            search(station.run("provisioner", verb)?, &format!("{column}: {verb:?}"))?;
        }
        let apply = [&["apply", "b.csv", "--local", "hub"][..], pki].concat();
        search(station.run("provisioner", apply)?, &format!("{column}: apply"))?;
    }
    // A tag may hold a key, and the hub has another.
    station.write("first.csv", &format!("device_id,auth,tags.pin\nd3,sas,{key}\n"))?;
    station.run("provisioner", ["apply", "first.csv", "--local", "hub"])?.expect_code(0)?;
    station.write("second.csv", &format!("device_id,auth,tags.pin\nd3,sas,{other}\n"))?;
    let conflict = station.run("provisioner", ["apply", "second.csv", "--local", "hub"])?.expect_code(1)?;
    ensure!(conflict.stdout.contains("tags.pin: batch has \"…\", hub has \"…\""), "{conflict:?}");
    search(conflict, "a conflict")?;
    for format in ["text", "json", "csv"] {
        search(station.run("provisioner", ["report", "--format", format])?, format)?;
    }
    Ok(())
}

/// Kills a program with a signal that makes the kernel write a core file, and checks that none
/// exists.
#[test]
fn no_program_leaves_a_core() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let waiting = |binary: &str, args: &[&str]| -> Result<Child> {
        let program = station.command(binary)?;
        let mut shell = Command::new("bash");
        shell.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""]).arg(program.get_program());
        // It waits for its input, with whatever it needs already done.
        Ok(shell
            .args(args)
            .current_dir(station.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?)
    };
    let mut programs = [
        waiting("cert-tool", &["thumbprint", "-"])?,
        waiting("local-hub", &["import", "--data", "other", "-"])?,
    ];
    for program in &mut programs {
        canary::wait_for_no_core(program.id())?;
        dies_without_core(program)?;
    }
    canary::wait_for_no_core(hub.process_id())?;
    station.write("batch.csv", &e2e::devices_with_modules(2000))?;
    let mut provisioner = station.provisioner(&hub)?;
    let mut provisioner =
        provisioner.args(["apply", "batch.csv"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    canary::wait_for_no_core(provisioner.id())?;
    dies_without_core(&mut provisioner)?;
    let cores: Vec<_> = std::fs::read_dir(station.folder())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("core"))
        .collect();
    ensure!(cores.is_empty(), "{cores:?}");
    Ok(())
}

fn dies_without_core(program: &mut Child) -> Result<()> {
    let killed = Command::new("kill").args(["-ABRT", &program.id().to_string()]).status()?;
    let status = program.wait()?;
    ensure!(killed.success() && status.signal().is_some() && !status.core_dumped(), "{status}");
    Ok(())
}
