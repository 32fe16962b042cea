//! mosquitto, a standard MQTT client that shares no code with the hub. It uses features that
//! Microsoft's SDKs do not.
//!
//! `scripts/install-test-needs` installs it; without it this test fails.

use std::process::{Command, Output};

use serde_json::json;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::device::{Login, create_device};
use crate::support::TestHub;

struct Scene {
    hub: TestHub,
    folder: tempfile::TempDir,
    login: Login,
}

impl Scene {
    async fn set() -> Self {
        let hub = TestHub::with_devices().await;
        let key = create_device(&hub.client, "d").await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), hub.hub.ca_pem()).unwrap();
        Self { hub, folder, login: Login::signed("d", &key) }
    }

    /// Runs `mosquitto_pub` or `mosquitto_sub`, logged in as the device.
    fn run(&self, program: &str, arguments: &[&str]) -> JoinHandle<Output> {
        let port = self.hub.hub.mqtt_addr().unwrap().port().to_string();
        let mut command = Command::new(program);
        command
            .args(["-h", "localhost", "-p", &port, "-i", "d", "-u", &self.login.user_name])
            .args(["-P", self.login.password.as_ref().unwrap(), "--cafile"])
            .arg(self.folder.path().join("ca.pem"))
            .args(arguments);
        spawn_blocking(move || {
            command.output().unwrap_or_else(|error| panic!("{error}: run scripts/install-test-needs first"))
        })
    }

    /// Publishes one message; returns the exit code and the standard error output.
    async fn publish(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run("mosquitto_pub", &[&["-m", "x"], arguments].concat()).await.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

const EVENTS: &str = "devices/d/messages/events/";

#[tokio::test]
async fn telemetry_is_taken_with_the_retain_flag_too() {
    let scene = Scene::set().await;
    assert_eq!(scene.publish(&["-q", "1", "-r", "-t", EVENTS]).await, (Some(0), String::new()));
    assert_eq!(scene.publish(&["-q", "0", "-c", "-t", EVENTS]).await.0, Some(0));
    let seen = scene.hub.hub.telemetry_count();
    assert!((1..=2).contains(&seen), "quality 0 may come after the client is gone: {seen}");
}

#[tokio::test]
async fn what_is_not_allowed_ends_the_connection() {
    let scene = Scene::set().await;
    for arguments in [["-q", "1", "-t", "devices/e/messages/events/"], ["-q", "2", "-t", EVENTS]] {
        let (code, said) = scene.publish(&arguments).await;
        assert_eq!((code, said.trim()), (Some(7), "Error: The connection was lost."), "{arguments:?}");
    }
    assert_eq!(scene.hub.hub.telemetry_count(), 0);
}

#[tokio::test]
async fn other_versions_of_mqtt_and_other_passwords_are_refused() {
    let mut scene = Scene::set().await;
    let (_, said) = scene.publish(&["-V", "mqttv5", "-q", "1", "-t", EVENTS]).await;
    assert!(said.contains("Unsupported Protocol Version"), "{said}");
    scene.login.password = Some("SharedAccessSignature sr=x&sig=eA%3D%3D&se=1".to_owned());
    let (code, said) = scene.publish(&["-q", "1", "-t", EVENTS]).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("not authorised"), "{said}");
}

#[tokio::test]
async fn a_foreign_filter_is_refused_and_a_documented_one_delivers() {
    let scene = Scene::set().await;
    let refused = scene.run("mosquitto_sub", &["-q", "1", "-t", "#", "-W", "20"]).await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("denied"), "{said}");

    // The session is kept, so what is sent in between is not lost to it.
    let commands = "devices/d/messages/devicebound/#";
    let waiting = scene.run("mosquitto_sub", &["-c", "-q", "1", "-t", commands, "-C", "2", "-W", "60"]);
    for payload in ["one", "two"] {
        let sent = scene.hub.client.post("/devices/d/messages/deviceBound", &json!(payload)).await;
        assert_eq!(sent.status, 204);
    }
    let got = waiting.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got.stdout), "\"one\"\n\"two\"\n");
}
