//! Connections that end before their first request: each is in the log, with a reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use local_hub::Config;
use mqtt_protocol_core::mqtt::packet::Qos;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::device::{
    Credential, Device, Login, create_device, self_signed, self_signed_with, tls, tls_that_trusts,
};
use crate::mqtt_websocket::open;
use crate::support::{Process, TestHub, with_devices};

struct Scene {
    hub: TestHub,
    log: PathBuf,
    _folder: TempDir,
    seen: usize,
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("requests.jsonl");
        let hub = TestHub::start_with(Config { request_log: Some(log.clone()), ..with_devices() }).await;
        Self { hub, log, _folder: folder, seen: 0 }
    }

    /// The only line that was written since the last call.
    async fn line(&mut self) -> Value {
        for _ in 0..1200 {
            let text = std::fs::read_to_string(&self.log).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            if text.ends_with('\n') && lines.len() > self.seen {
                assert_eq!(lines.len(), self.seen + 1, "{text}");
                self.seen = lines.len();
                return serde_json::from_str(lines[self.seen - 1]).unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("no line has come");
    }

    /// Requires a line with this listener, identity and part of the reason.
    #[track_caller]
    fn expect<'a>(
        &'a mut self,
        listener: &'a str,
        identity: Option<&'a str>,
        reason: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let line = self.line().await;
            let found = (line["operation"].as_str(), line["listener"].as_str(), line["identity"].as_str());
            assert_eq!(found, (Some("RefusedConnection"), Some(listener), identity), "at {caller}: {line}");
            assert!(line["reason"].as_str().unwrap().contains(reason), "at {caller}: {line}");
            assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "at {caller}: {line}");
        }
    }
}

/// Sends bytes over TCP or TLS, and waits for the end.
async fn say(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn every_refused_handshake_is_in_the_log_with_its_reason() {
    let mut scene = Scene::set().await;
    let (https, mqtt) = (scene.hub.hub.https_addr(), scene.hub.hub.mqtt_addr().unwrap());
    let ca = scene.hub.hub.ca_pem().to_owned();
    for (scheme, address) in
        [("https", https), ("mqtts", mqtt), ("amqps", scene.hub.hub.amqp_addr().unwrap())]
    {
        say(TcpStream::connect(address).await.unwrap(), b"GET / HTTP/1.1\r\n\r\n").await;
        scene.expect(scheme, None, "does not speak TLS").await;
        // The beginning of a ClientHello, and nothing more.
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]).await.unwrap();
        stream.shutdown().await.unwrap();
        scene.expect(scheme, None, "has hung up during the TLS handshake").await;
        let stranger = local_hub::LocalHub::start(Config::default()).await.unwrap();
        assert!(tls_that_trusts(stranger.ca_pem(), address).await.is_err());
        scene.expect(scheme, None, "it called it as `localhost`").await;
    }

    // A certificate of which the client does not have the key.
    let (own, others) = (self_signed("d/m"), self_signed("e"));
    say(tls(mqtt, &ca, Some(Credential { chain: own.chain, key: others.key })).await, b"").await;
    scene.expect("mqtts", Some("d/m"), "has not proven that it holds the key").await;
    let nonsense = Credential { chain: vec![CertificateDer::from(vec![1, 2, 3])], key: self_signed("d").key };
    say(tls(mqtt, &ca, Some(nonsense)).await, b"").await;
    scene.expect("mqtts", None, "certificate can't be read").await;
}

#[tokio::test]
async fn whoever_speaks_something_else_inside_tls_is_in_the_log_too() {
    let mut scene = Scene::set().await;
    let (https, mqtt) = (scene.hub.hub.https_addr(), scene.hub.hub.mqtt_addr().unwrap());
    let ca = scene.hub.hub.ca_pem().to_owned();
    let request = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200)).into_bytes();
    let connect_of_mqtt_5 = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d1";
    for (bytes, reason) in [
        (&request[..], "no CONNECT of MQTT 3.1.1"),
        (&connect_of_mqtt_5[..], "a version of MQTT that is not 3.1.1"),
        (b"\xc0\x00", "CONNECT"),
    ] {
        say(tls(mqtt, &ca, Some(self_signed("d"))).await, bytes).await;
        scene.expect("mqtts", Some("d"), reason).await;
    }
    let mut stream = tls(mqtt, &ca, None).await;
    stream.shutdown().await.unwrap();
    scene.expect("mqtts", None, "has hung up before CONNECT").await;
    say(tls(https, &ca, None).await, b"\x10\x0f\x00\x04MQTT\x04\r\n\r\n").await;
    scene.expect("https", None, "not an HTTP/1.1 request").await;
    assert_eq!(open(&scene.hub, None, Some("soap")).await.err(), Some(400));
    scene.expect("https", None, "sub-protocol").await;
}

#[tokio::test]
async fn a_refused_connect_says_whom_and_why() {
    let mut scene = Scene::set().await;
    let key = create_device(&scene.hub.client, "d").await;
    scene.seen = 1;
    let yesterday = time::OffsetDateTime::now_utc() - time::Duration::DAY;
    let expired = self_signed_with("e", &KeyPair::generate().unwrap(), |params| params.not_after = yesterday);
    let digest = hub_types::thumbprint::Sha256Thumbprint::of_der(&expired.chain[0]).to_string();
    let body = json!({"deviceId": "e", "authentication": {"type": "selfSigned",
        "x509Thumbprint": {"primaryThumbprint": digest, "secondaryThumbprint": null}}});
    scene.hub.client.put("/devices/e", None, &body).await.ok();
    scene.seen = 2;
    let will = Some(("devices/e/messages/events/".to_owned(), Qos::AtMostOnce));
    for (identity, login, reason) in [
        ("e", Login::of("e").with_certificate(expired), "has expired at"),
        ("d", Login { will, ..Login::signed("d", &key) }, "the topic of the will"),
        ("d", Login::of("d"), "neither a token nor a certificate"),
        ("x", Login::signed("x", &key), "not registered"),
    ] {
        assert_eq!(Device::connect(&scene.hub, login).await.err(), Some(5));
        let line = scene.line().await;
        assert_eq!((&line["operation"], &line["identity"]), (&json!("DeviceConnect"), &json!(identity)));
        assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
        assert!(!line.to_string().contains("sig="), "{line}");
    }
}

fn loud(folder: &Path) -> Process {
    let mut shell = Command::new("sh");
    let log = folder.join("log").to_string_lossy().into_owned();
    shell.args(["-c", &format!("exec \"$0\" \"$@\" 2>'{log}'")]);
    Process::serve_through(shell, &folder.join("data"))
}

#[tokio::test]
async fn the_hubs_own_log_warns_of_it_without_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let process = loud(folder.path());
    say(TcpStream::connect(process.address()).await.unwrap(), b"hello\r\n").await;
    let read = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    for _ in 0..1200 {
        if read().contains('\n') {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let log = read();
    assert!(log.contains("WARN") && log.contains("does not speak TLS"), "{log}");
}
