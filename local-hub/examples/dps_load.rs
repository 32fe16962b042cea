//! Load on a DPS over MQTT: the rate of registrations with certificates.
//!
//! ```text
//! dps_load FOLDER COUNT AT_ONCE
//! ```
//!
//! FOLDER holds `dps-connection-string`, `dps-id-scope` and `ca.pem` of a DPS that runs, and MQTT is on the port after
//! that of HTTPS. COUNT devices of one group, each with a certificate of its own, connect, register and ask for the
//! outcome, AT_ONCE at a time. Each has a TLS connection of its own. Certificates are made before the time begins.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers: what it can't do ends it"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hub_types::connection_string::ServiceConnectionString;
use hub_types::sas::SasToken;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The shared parameters of all devices.
struct Target {
    name: String,
    mqtt: String,
    scope: String,
    roots: RootCertStore,
}

/// A device with its certificate.
struct LoadDevice {
    id: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).expect(file).trim().to_owned()
}

impl Target {
    fn read(folder: &Path, connection: &ServiceConnectionString) -> Self {
        let (name, port) = connection.host.as_str().split_once(':').expect("a port");
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(read(folder, "ca.pem").as_bytes()).unwrap();
        roots.add(ca).unwrap();
        Self {
            name: name.to_owned(),
            mqtt: format!("{name}:{}", port.parse::<u16>().unwrap() + 1),
            scope: read(folder, "dps-id-scope"),
            roots,
        }
    }
}

/// A CA, and devices with its certificates.
fn devices(count: usize) -> (String, Vec<LoadDevice>) {
    let params = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut ca = params("load");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca_key = KeyPair::generate().unwrap();
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let device = |number: usize| {
        let (id, key) = (format!("load-{number}"), KeyPair::generate().unwrap());
        let certificate = params(&id).signed_by(&key, &issuer).unwrap();
        LoadDevice {
            id,
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    };
    (pem, (0..count).map(device).collect())
}

#[expect(clippy::disallowed_methods, reason = "the client of a load")]
async fn enroll(folder: &Path, connection: &ServiceConnectionString, ca_pem: &str) {
    let host = connection.host.as_str();
    let in_an_hour = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 3600;
    let token = SasToken::sign(host, Some(&connection.policy), &connection.key, in_an_hour);
    let ca = reqwest::Certificate::from_pem(read(folder, "ca.pem").as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
    let entry = json!({
        "enrollmentGroupId": "load",
        "attestation": {"type": "x509", "x509": {"signingCertificates": {"primary": {"certificate": ca_pem}}}},
    });
    let url = format!("https://{host}/enrollmentGroups/load?api-version=2021-10-01");
    let request = client.put(url).header("authorization", &*token.expose_text()).json(&entry);
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// A packet of MQTT 3.1.1.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn publish(topic: &str) -> Vec<u8> {
    packet(0x30, &text(topic))
}

/// Returns the first byte and the content of the next packet.
async fn next(stream: &mut TlsStream<TcpStream>) -> (u8, Vec<u8>) {
    let first = stream.read_u8().await.unwrap();
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.unwrap();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (first, body)
}

/// The topic and the content of the next message.
async fn message(stream: &mut TlsStream<TcpStream>) -> (String, Value) {
    let (first, body) = next(stream).await;
    assert_eq!(first >> 4, 3, "a PUBLISH was to come");
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let start = if first & 0x06 == 0 { 2 + length } else { 4 + length };
    (topic, serde_json::from_slice(&body[start..]).unwrap())
}

/// Registers a device on a connection of its own.
async fn register(target: &Target, device: LoadDevice) {
    let config = ClientConfig::builder().with_root_certificates(target.roots.clone());
    let mut config = config.with_client_auth_cert(device.chain, device.key).unwrap();
    config.resumption = Resumption::disabled();
    let tcp = TcpStream::connect(&target.mqtt).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from(target.name.clone()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let user = format!("{}/registrations/{}/api-version=2019-03-31", target.scope, device.id);
    let connect = [&text("MQTT")[..], &[4, 0x82, 0, 60], &text(&device.id), &text(&user)].concat();
    let subscribe = [&[0, 1][..], &text("$dps/registrations/res/#"), &[0]].concat();
    let register = publish("$dps/registrations/PUT/iotdps-register/?$rid=1");
    stream.write_all(&[packet(0x10, &connect), packet(0x82, &subscribe), register].concat()).await.unwrap();
    assert_eq!(next(&mut stream).await, (0x20, vec![0, 0]), "{} is not let in", device.id);
    assert_eq!(next(&mut stream).await.0, 0x90);
    let (topic, answer) = message(&mut stream).await;
    assert!(topic.starts_with("$dps/registrations/res/202/"), "{topic}: {answer}");
    let operation = answer["operationId"].as_str().unwrap();
    let poll = format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}");
    stream.write_all(&publish(&poll)).await.unwrap();
    let (topic, answer) = message(&mut stream).await;
    assert_eq!(answer["status"], "assigned", "{topic}: {answer}");
    stream.write_all(&packet(0xe0, &[])).await.unwrap();
    let _ = stream.shutdown().await;
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (folder, count, at_once) = (Path::new(&args[1]), args[2].parse().unwrap(), args[3].parse().unwrap());
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("no other provider");
    let connection: ServiceConnectionString = read(folder, "dps-connection-string").parse().unwrap();
    let (ca_pem, devices) = devices(count);
    enroll(folder, &connection, &ca_pem).await;
    let target = Arc::new(Target::read(folder, &connection));
    let waiting = Arc::new(std::sync::Mutex::new(devices));
    let slowest = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut workers: JoinSet<()> = JoinSet::new();
    for _ in 0..at_once {
        let (target, waiting, slowest) = (Arc::clone(&target), Arc::clone(&waiting), Arc::clone(&slowest));
        workers.spawn(async move {
            loop {
                let Some(device) = waiting.lock().unwrap().pop() else { return };
                let begun = Instant::now();
                register(&target, device).await;
                slowest.fetch_max(begun.elapsed().as_millis() as usize, Ordering::Relaxed);
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a worker failed");
    }
    let passed: Duration = begun.elapsed();
    let rate = count as f64 / passed.as_secs_f64();
    println!("registrations_per_second\t{rate:.0}");
    println!("slowest_ms\t{}", slowest.load(Ordering::Relaxed));
}
