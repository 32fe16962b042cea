//! Issuing for a batch with a protected CA key: encrypted in a file, or in a PKCS#11 token.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::{Ended, Station};

const BATCH: &str = "device_id,module_id\npump-1,\npump-1,telemetry\n";

#[test]
fn an_encrypted_ca_issues_for_a_batch_once_its_passphrase_is_given() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    write_secret(&station, "passphrase", "open sesame\n")?;
    write_secret(&station, "wrong", "open barley\n")?;
    let init = ["ca", "init", "pki", "--passphrase-file", "passphrase"];
    station.run("cert-tool", init)?.expect_code(0)?;
    let apply = ["apply", "batch.csv", "--issue", "pki"];
    let locked = station.run("provisioner", apply)?.expect_code(3)?;
    ensure!(locked.stderr.contains("is locked") && locked.stderr.contains("--passphrase-file"), "{locked:?}");
    let wrong = station.run("provisioner", [&apply[..], &["--passphrase-file", "wrong"]].concat())?;
    ensure!(wrong.expect_code(3)?.stderr.contains("does not open the key"));
    ensure!(!station.path("provisioner.ledger").exists(), "nothing was begun");
    let whole = station.run("provisioner", [&apply[..], &["--passphrase-file", "passphrase"]].concat())?;
    let whole = whole.expect_code(0)?;
    ensure!(whole.stdout.contains("2 created"), "{whole:?}");
    let mut empty = station.command("provisioner")?;
    let empty = Ended::of(empty.args(apply).env("CERT_TOOL_PASSPHRASE", "").output()?)?.expect_code(2)?;
    ensure!(empty.stderr.contains("CERT_TOOL_PASSPHRASE is set but empty"), "{empty:?}");
    write_secret(&station, "nothing", "")?;
    let nothing = station.run("provisioner", [&apply[..], &["--passphrase-file", "nothing"]].concat())?;
    let nothing = nothing.expect_code(2)?;
    ensure!(
        nothing.stderr.contains("`nothing` is empty") && nothing.stderr.contains("hint: "),
        "{nothing:?}"
    );
    // By the environment too; there is nothing left to do.
    let mut again = station.command("provisioner")?;
    let again = again.args(apply).env("CERT_TOOL_PASSPHRASE", "open sesame").output()?;
    ensure!(Ended::of(again)?.expect_code(0)?.stdout.contains("2 unchanged"));
    Ok(())
}

/// Needs SoftHSM 2, which `scripts/install-test-needs` installs; without it this test fails.
#[test]
fn a_ca_in_a_token_issues_for_a_batch() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    write_secret(&station, "pin", "4711\n")?;
    std::fs::create_dir(station.path("tokens"))?;
    station.write(
        "softhsm2.conf",
        &format!("directories.tokendir = {}\n", station.path("tokens").to_string_lossy()),
    )?;
    let configuration = station.path("softhsm2.conf");
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "plant", "--so-pin", "12345678", "--pin", "4711"])
        .env("SOFTHSM2_CONF", &configuration)
        .output()
        .context("run scripts/install-test-needs")?;
    ensure!(made.status.success(), "{made:?}");
    let module = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
    let module =
        module.into_iter().find(|path| Path::new(path).exists()).context("no module of SoftHSM 2")?;
    let uri = format!("pkcs11:token=plant;object=ca?module-path={module}");
    let run = |binary: &str, args: &[&str]| -> Result<Ended> {
        let mut command = station.command(binary)?;
        Ended::of(command.args(args).env("SOFTHSM2_CONF", &configuration).output()?)
    };
    run("cert-tool", &["ca", "init", "pki", "--pkcs11", &uri, "--pin-file", "pin"])?.expect_code(0)?;
    let apply = ["apply", "batch.csv", "--issue", "pki"];
    let locked = run("provisioner", &apply)?.expect_code(3)?;
    ensure!(locked.stderr.contains("the token `plant` is locked"), "{locked:?}");
    let whole = run("provisioner", &[&apply[..], &["--pin-file", "pin"]].concat())?.expect_code(0)?;
    ensure!(whole.stdout.contains("2 created"), "{whole:?}");
    Ok(())
}

fn write_secret(station: &Station, name: &str, text: &str) -> Result<()> {
    station.write(name, text)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        std::fs::set_permissions(station.path(name), std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}
