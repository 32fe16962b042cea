//! The binary: its output and its exit.

use std::path::Path;
use std::process::Command;

use assert_cmd::prelude::*;
use hub_types::dps::device_token;
use serde_json::json;

use crate::support::{Client, Process};

fn local_hub() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-hub"));
    command.env_remove("LOCAL_HUB_DATA").env_remove("RUST_LOG");
    command
}

fn failure(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn connection_string(data: &Path, policy: &str) -> String {
    let output =
        local_hub().args(["connection-string", "--policy", policy, "--data"]).arg(data).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

#[tokio::test]
async fn the_ready_line_tells_how_to_go_on_and_a_signal_ends_the_hub_well() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path());
    let line = process.ready_line.clone();
    assert!(
        line.contains("https://127.0.0.1:") && line.contains("ca.pem") && line.contains("amqps://127.0.0.1:")
    );
    // Scripts take the folder from the end of the line.
    assert!(
        line.trim_end().ends_with(&format!("connection-string --data {}", folder.path().to_string_lossy()))
    );
    assert!(!line.contains("SharedAccessKey"));
    process.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();

    let owner = connection_string(folder.path(), "iothubowner");
    assert_eq!(owner, std::fs::read_to_string(folder.path().join("connection-string")).unwrap());
    assert!(connection_string(folder.path(), "service").contains("SharedAccessKeyName=service;"));
    let (code, stderr) =
        failure(local_hub().args(["serve", "--https", "127.0.0.1:0", "--data"]).arg(folder.path()));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("in use by another local-hub"), "{stderr}");

    let kill = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(kill.success());
    assert_eq!(process.wait().code(), Some(0));
    let again = Process::serve(folder.path());
    assert_eq!(again.client.get("/devices/d").await.status, 200);
}

#[tokio::test]
async fn a_dps_keeps_its_access_its_entries_and_its_registrations_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--dps", "--dps-https", "127.0.0.1:0", "--dps-mqtt", "127.0.0.1:0"];
    let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    let process = Process::serve_with(folder.path(), &args);
    let scope = read("dps-id-scope");
    let line = process.ready_line.clone();
    assert!(line.contains(&format!(" with the id scope {};", scope.trim())), "{line}");
    assert!(line.contains("; DPS on https://127.0.0.1:") && !line.contains("SharedAccessKey"), "{line}");
    let shown =
        local_hub().args(["connection-string", "--dps", "--data"]).arg(folder.path()).assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert_eq!(shown, read("dps-connection-string"));
    assert!(shown.contains("SharedAccessKeyName=provisioningserviceowner;"));

    let client = Client::new(&shown.parse().unwrap(), &process.ca_pem);
    let entry = json!({"registrationId": "pump", "attestation": {"type": "symmetricKey"}});
    let entry = client.put("/enrollments/pump", None, &entry).await.ok();
    let key = entry["attestation"]["symmetricKey"]["primaryKey"].as_str().unwrap().parse().unwrap();
    let token = device_token::sign(&scope.trim().parse().unwrap(), &"pump".parse().unwrap(), &key, u64::MAX);
    let device = client.authorized_by(Some(&token.expose_text()));
    let path = format!("/{}/registrations/pump/register", scope.trim());
    device.put(&path, None, &json!({})).await.with_status(202);
    process.kill();

    let again = Process::serve_with(folder.path(), &args);
    assert_eq!(read("dps-id-scope"), scope);
    let client = Client::new(&read("dps-connection-string").parse().unwrap(), &again.ca_pem);
    assert_eq!(client.get("/registrations/pump").await.ok()["status"], "assigned");
    again.client.get("/devices/pump").await.ok();
    let (code, stderr) = failure(local_hub().args(["serve", "--dps-https", "127.0.0.1:0"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--dps"), "{stderr}");
}

#[test]
fn mistakes_are_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stderr) = failure(local_hub().args(["connection-string", "--data"]).arg(folder.path()));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("local-hub serve --data"), "{stderr}");
    let (code, stderr) = failure(local_hub().args(["serve", "--https", "0.0.0.0:0"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--reachable-from-other-machines"), "{stderr}");
    for (arguments, expected) in [
        (&["--bogus"][..], "unexpected argument"),
        (&["--https", "8443"], "such as 127.0.0.1:8443"),
        (&["--mqtt", "8883"], "such as 127.0.0.1:8443"),
        (&["--tier", "S1", "--units", "0"], "a whole number from 1 on"),
        (&["--https", "127.0.0.1:0", "--host-name", &"a".repeat(64)], "is no host name"),
    ] {
        let (code, stderr) = failure(local_hub().arg("serve").args(arguments));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    let serve = ["serve", "--https", "127.0.0.1:0", "--mqtt", "none", "--blob-folder", "nowhere"];
    let (code, stderr) = failure(local_hub().args(serve));
    assert_eq!(code, Some(3));
    assert!(stderr.contains("can't use the folder of --blob-folder, nowhere"), "{stderr}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, stderr) = failure(local_hub().args(["connection-string", "--data"]).arg(&file));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("holds no hub"), "{stderr}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = failure(local_hub().args(["serve", "--https", &address]));
    assert_eq!(code, Some(3));
    assert!(stderr.contains("can't listen on") && stderr.contains("because:"), "{stderr}");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_can_not_be_written_is_no_bug() {
    let folder = tempfile::tempdir().unwrap();
    Process::serve(folder.path()).kill();
    let full = || std::fs::File::create("/dev/full").unwrap();
    let mut command = local_hub();
    command.args(["connection-string", "--data"]).arg(folder.path()).stdout(full());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("can't write to stdout"), "{stderr}");
    let silent =
        local_hub().args(["connection-string", "--data", "nowhere"]).stderr(full()).status().unwrap();
    assert_eq!(silent.code(), Some(2));
}

#[test]
fn a_filter_of_the_log_that_is_not_understood_is_said() {
    let mut command = local_hub();
    let (_, stderr) =
        failure(command.env("RUST_LOG", "local_hub=loud").args(["export", "--data", "nowhere"]));
    assert!(stderr.contains("RUST_LOG is no filter"), "{stderr}");
}

#[test]
fn help_teaches() {
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        let output = local_hub().args(arguments).assert().success();
        let help = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        assert!(help.contains("Usage:"), "{help}");
    }
}

#[test]
fn a_file_of_faults_is_read_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults.toml");
    std::fs::write(&file, "[[fault]]\noperation = 'PutTwins'\neffect = 'reset'\n").unwrap();
    let serve = || {
        let mut command = local_hub();
        command.args(["serve", "--https", "127.0.0.1:0", "--faults"]).arg(&file);
        command
    };
    let (code, stderr) = failure(&mut serve());
    assert_eq!(code, Some(2));
    assert!(stderr.contains("fault 1: `PutTwins` is not an operation"), "{stderr}");
    std::fs::remove_file(&file).unwrap();
    let (code, stderr) = failure(&mut serve());
    assert_eq!(code, Some(3));
    assert!(stderr.contains("can't read") && stderr.contains("faults.toml"), "{stderr}");
}

#[tokio::test]
async fn a_folder_is_exported_and_imported() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (code, stderr) = failure(local_hub().args(["export", "--data"]).arg(first.path()));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("holds no hub"), "{stderr}");

    let process = Process::serve(first.path());
    process.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let key = process.client.get("/devices/d").await.ok()["authentication"]["symmetricKey"].clone();
    let (code, stderr) = failure(local_hub().args(["export", "--data"]).arg(first.path()));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("in use by another local-hub"), "{stderr}");
    process.kill();

    let exported = local_hub().args(["export", "--data"]).arg(first.path()).assert().success();
    let document = exported.get_output().stdout.clone();
    let import = |text: &[u8]| {
        let mut command = assert_cmd::Command::from_std(local_hub());
        command.args(["import", "-", "--data"]).arg(second.path()).write_stdin(text.to_vec());
        command.assert()
    };
    import(&document).success();
    import(b"{\"devices\": {\"x\": {\"identity\": {\"status\": \"on\"}}}}").code(2);
    import(b"no JSON").code(2);
    let process = Process::serve(second.path());
    assert_eq!(process.client.get("/devices/d").await.ok()["authentication"]["symmetricKey"], key);
    assert_eq!(process.client.get("/devices/x").await.status, 404);
}
