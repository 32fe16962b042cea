//! Entra ID in place of a connection string. Tests can't reach Entra ID itself: stand-ins issue
//! tokens that the local hub accepts (`e2e::TokenService`, `e2e::az`); the rest is the real
//! path through the Azure SDK.

#![cfg(unix)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Ended, Manner, SIGN_IN_SECRET, ServedHub, Station, TokenService, az};

const BATCH: &str = "device_id,module_id,auth,tags.site\npump-1,,x509_ca,Ulm\npump-1,telemetry,x509_ca,\n";

fn hub(station: &Station, more: &[&str]) -> Result<ServedHub> {
    let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--entra-test"];
    ServedHub::start_with(station, "hub", &[&args, more].concat())
}

/// A provisioner that knows only the hub's name, without `az`.
fn provisioner(station: &Station, hub: &ServedHub, args: &[&str]) -> Result<Command> {
    let mut command = station.command("provisioner")?;
    command.args(args).args(["--host", &hub.host()?, "--ca-file"]).arg(hub.ca_file());
    command.env("PATH", "/no/programs");
    Ok(command)
}

fn run(mut command: Command) -> Result<Ended> {
    Ended::of(command.output()?)
}

/// Signs in as an application with a secret.
fn with_secret(mut command: Command, authority: &TokenService, secret: &str) -> Command {
    command.env("AZURE_AUTHORITY_HOST", authority.url()).env("AZURE_TENANT_ID", "contoso");
    command.env("AZURE_CLIENT_ID", "line-3").env("AZURE_CLIENT_SECRET", secret);
    command
        .args(authority.certificate().into_iter().flat_map(|file| ["--ca-file".as_ref(), file.as_os_str()]));
    command
}

fn with_machine(mut command: Command, metadata: &TokenService) -> Command {
    command.env("IDENTITY_ENDPOINT", metadata.url()).env("IDENTITY_HEADER", SIGN_IN_SECRET);
    command
}

#[test]
fn an_application_with_a_secret_provisions_a_batch() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let hub = hub(&station, &[])?;
    let authority = TokenService::authority(&station, &hub)?;
    let apply =
        with_secret(provisioner(&station, &hub, &["apply", "batch.csv"])?, &authority, SIGN_IN_SECRET);
    let applied = run(apply)?.expect_code(0)?;
    ensure!(applied.stdout.contains("2 created"), "{applied:?}");
    ensure!(applied.stderr.contains("with Entra ID"), "{applied:?}");
    let requests = authority.requests();
    ensure!(requests.len() == 1, "one token is enough for a short run: {requests:?}");
    let asked = ["/contoso/oauth2/v2.0/token", "client_id=line-3", "grant_type=client_credentials"];
    for part in asked.into_iter().chain(["scope=https%3A%2F%2Fiothubs.azure.net%2F.default"]) {
        ensure!(requests.iter().all(|request| request.contains(part)), "{part}: {requests:?}");
    }
    Ok(())
}

#[test]
fn a_machine_and_a_user_of_az_sign_in_too() -> Result<()> {
    let station = Station::new()?;
    station.write("provisioner.toml", "")?;
    let hub = hub(&station, &[])?;
    let metadata = TokenService::metadata(&station, &hub, "data-contributor")?;
    let create = |device, way| ["device", "create", "--device-id", device, "--auth", way];
    run(with_machine(provisioner(&station, &hub, &create("by-machine", "managed-identity"))?, &metadata))?
        .expect_code(0)?;
    ensure!(
        metadata
            .requests()
            .iter()
            .any(|request| request.contains("resource=https%3A%2F%2Fiothubs.azure.net"))
    );

    let path = az(&station, Some(&hub.entra_token(&station, "data-contributor")?))?;
    let mut by_user = provisioner(&station, &hub, &create("by-user", "az"))?;
    by_user.env("PATH", format!("{}:/usr/bin:/bin", path.to_string_lossy()));
    run(by_user)?.expect_code(0)?;

    // The same from `provisioner.toml`.
    let host = hub.host()?;
    station
        .write("provisioner.toml", &format!("[hubs.line-3]\nhost = '{host}'\nauth = 'managed-identity'\n"))?;
    let mut shown = station.command("provisioner")?;
    shown.args(["device", "list", "--hub", "line-3"]).env("IOTHUB_CA_FILE", hub.ca_file());
    let shown = run(with_machine(shown, &metadata))?.expect_code(0)?;
    ensure!(shown.stdout.contains("by-machine") && shown.stdout.contains("by-user"), "{shown:?}");
    Ok(())
}

#[test]
fn who_can_not_sign_in_is_told_every_way_that_was_tried() -> Result<()> {
    let station = Station::new()?;
    let hub = hub(&station, &[])?;
    let show = ["device", "show", "--device-id", "pump-1"];
    let nobody = run(provisioner(&station, &hub, &show)?)?.expect_code(3)?;
    for part in [
        "client secret: AZURE_CLIENT_SECRET is not set",
        "workload identity: AZURE_FEDERATED_TOKEN_FILE is not set",
        // Some machines that run tests have a metadata service, which knows no identity.
        "managed identity: ",
        "az login: az not found on PATH",
        "hint: set AZURE_TENANT_ID",
    ] {
        ensure!(nobody.stderr.contains(part), "{part}: {}", nobody.stderr);
    }

    let path = az(&station, None)?;
    let mut logged_out = provisioner(&station, &hub, &[&show[..], &["--auth", "az"]].concat())?;
    logged_out.env("PATH", format!("{}:/usr/bin:/bin", path.to_string_lossy()));
    let logged_out = run(logged_out)?.expect_code(3)?;
    ensure!(logged_out.stderr.contains("Please run 'az login'"), "{}", logged_out.stderr);
    ensure!(hub.requests()?.is_empty(), "nothing was sent");
    Ok(())
}

/// The secret for an authority is sent to no other server.
#[test]
fn a_redirect_of_the_authority_is_not_followed() -> Result<()> {
    let station = Station::new()?;
    let hub = hub(&station, &[])?;
    let authority = TokenService::authority(&station, &hub)?;
    authority.set_manner(Manner::Redirects("https://elsewhere.example:444/token"));
    let show = provisioner(&station, &hub, &["device", "show", "--device-id", "pump-1"])?;
    let refused = run(with_secret(show, &authority, SIGN_IN_SECRET))?.expect_code(3)?;
    let said = "307, a redirect to elsewhere.example:444, which was not followed";
    ensure!(refused.stderr.contains(said), "{}", refused.stderr);
    ensure!(authority.requests().len() == 1, "{:?}", authority.requests());
    Ok(())
}

/// A process that is configured as an application does not sign in with a different credential when
/// its secret has expired.
#[test]
fn a_wrong_secret_ends_the_search_and_is_not_shown() -> Result<()> {
    let station = Station::new()?;
    let hub = hub(&station, &[])?;
    let authority = TokenService::authority(&station, &hub)?;
    let metadata = TokenService::metadata(&station, &hub, "data-contributor")?;
    let show = provisioner(&station, &hub, &["device", "show", "--device-id", "pump-1"])?;
    let refused = run(with_machine(with_secret(show, &authority, "hunter2"), &metadata))?.expect_code(3)?;
    ensure!(refused.stderr.contains("AADSTS7000215"), "{}", refused.stderr);
    ensure!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
    ensure!(metadata.requests().is_empty());

    let half = provisioner(&station, &hub, &["device", "show", "--device-id", "pump-1"])?;
    let mut half = with_secret(half, &authority, SIGN_IN_SECRET);
    half.env_remove("AZURE_TENANT_ID");
    let half = run(half)?.expect_code(3)?;
    ensure!(
        half.stderr.contains("AZURE_CLIENT_SECRET is set, but AZURE_TENANT_ID is not"),
        "{}",
        half.stderr
    );
    Ok(())
}

#[test]
fn tokens_are_renewed_in_the_middle_of_a_run() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", &e2e::devices_with_modules(100))?;
    station
        .write("faults.toml", "[[fault]]\noperation = 'BulkRegistry'\neffect = 'delay'\nseconds = 0.8\n")?;
    let hub = hub(&station, &["--faults", &station.path("faults.toml").to_string_lossy()])?;
    let authority = TokenService::authority(&station, &hub)?;
    authority.set_manner(Manner::Gives(2));
    let apply = provisioner(&station, &hub, &["apply", "batch.csv", "--no-verify"])?;
    let applied = run(with_secret(apply, &authority, SIGN_IN_SECRET))?.expect_code(0)?;
    ensure!(applied.stdout.contains("300 created"), "{applied:?}");
    let tokens = authority.requests().len();
    ensure!(tokens > 1, "the first token would not have lasted");
    Ok(())
}

#[test]
fn an_application_that_is_locked_out_stops_its_run_and_resumes_it_later() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", &e2e::devices_with_modules(300))?;
    station
        .write("faults.toml", "[[fault]]\noperation = 'BulkRegistry'\neffect = 'delay'\nseconds = 0.8\n")?;
    let hub = hub(&station, &["--faults", &station.path("faults.toml").to_string_lossy()])?;
    let authority = TokenService::authority(&station, &hub)?;
    authority.set_manner(Manner::Gives(2));
    let apply = provisioner(&station, &hub, &["apply", "batch.csv", "--workers", "1"])?;
    let mut apply = with_secret(apply, &authority, SIGN_IN_SECRET);
    let apply = apply.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while hub.requests()?.iter().all(|request| request.writes() == 0) {
        ensure!(Instant::now() < deadline, "nothing was created");
    }
    authority.set_manner(Manner::Refuses);
    let stopped = Ended::of(apply.wait_with_output()?)?.expect_code(3)?;
    ensure!(stopped.stderr.contains("AADSTS7000215"), "{}", stopped.stderr);
    ensure!(stopped.stderr.contains("`provisioner resume 1` does the rest"), "{}", stopped.stderr);

    authority.set_manner(Manner::Gives(3600));
    let resume = provisioner(&station, &hub, &["resume"])?;
    let resumed = run(with_secret(resume, &authority, SIGN_IN_SECRET))?.expect_code(0)?;
    ensure!(resumed.stdout.contains("900 rows = 900 created"), "{}", resumed.stdout);
    Ok(())
}

/// The messages about a module whose device is missing, is disabled, or can't be read with these
/// rights.
#[test]
fn modules_without_a_device_are_told_apart_from_credentials_without_a_right() -> Result<()> {
    let station = Station::new()?;
    let hub = hub(&station, &[])?;
    for (device, status) in [("off", "disabled"), ("on", "enabled")] {
        station.provision(&hub, ["device", "create", "-d", device, "--status", status])?.expect_code(0)?;
    }
    let metadata = TokenService::metadata(&station, &hub, "data-contributor")?;
    for (device, said) in
        [("nowhere", "device `nowhere` is not on the hub"), ("off", "device `off` is disabled")]
    {
        let create = ["module", "create", "-d", device, "-m", "m"];
        let by_key = station.provision(&hub, create)?.expect_code(3)?;
        ensure!(by_key.stderr.contains(said), "{}", by_key.stderr);
        let by_machine =
            run(with_machine(provisioner(&station, &hub, &create)?, &metadata))?.expect_code(3)?;
        ensure!(by_machine.stderr.contains(said), "{}", by_machine.stderr);
    }
    let twins = TokenService::metadata(&station, &hub, "twin-contributor")?;
    let show = provisioner(&station, &hub, &["module", "create", "-d", "on", "-m", "m"])?;
    let denied = run(with_machine(show, &twins))?.expect_code(3)?;
    ensure!(denied.stderr.contains("401") && denied.stderr.contains("role"), "{}", denied.stderr);
    Ok(())
}
