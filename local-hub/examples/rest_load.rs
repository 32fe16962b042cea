//! Load on a hub or a DPS over REST: the rates of creations, reads and queries.
//!
//! ```text
//! rest_load FOLDER create COUNT MODULES    COUNT devices, each with MODULES modules, in bulk of 100
//! rest_load FOLDER read COUNT SECONDS      twins of those devices, one by one, as fast as it can
//! rest_load FOLDER read COUNT SECONDS RATE at a rate per second; a late request counts from when it was due
//! rest_load FOLDER query COUNT             200 point queries, one after the other
//! rest_load FOLDER enroll COUNT keys|x509  COUNT individual enrolments with keys or certificates, in bulk of 10
//! rest_load FOLDER enrolled COUNT          200 of those enrolments, one after the other
//! ```
//!
//! FOLDER holds `connection-string`, for enrolments `dps-connection-string`, and `ca.pem` of a hub that runs. Connections are kept alive.

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

use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hub_types::connection_string::ServiceConnectionString;
use hub_types::sas::SasToken;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant as TokioInstant, sleep_until};
use tokio_rustls::TlsConnector;

/// The shared parameters of all connections.
struct Target {
    host: String,
    token: String,
    tls: TlsConnector,
}

/// One connection, used for consecutive requests.
struct Connection {
    target: Arc<Target>,
    sender: SendRequest<Full<Bytes>>,
}

impl Target {
    fn read(folder: &Path, file: &str) -> Self {
        let text = std::fs::read_to_string(folder.join(file)).expect("a connection string");
        let connection: ServiceConnectionString = text.trim().parse().expect("a connection string");
        let in_a_day = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 86_400;
        let host = connection.host.as_str().to_owned();
        let token = SasToken::sign(&host, Some(&connection.policy), &connection.key, in_a_day);
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(folder.join("ca.pem")).expect("ca.pem");
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { host, token: token.expose_text().to_string(), tls: TlsConnector::from(Arc::new(tls)) }
    }

    async fn connect(self: &Arc<Self>) -> Connection {
        let stream = TcpStream::connect(&self.host).await.expect("the hub listens");
        stream.set_nodelay(true).unwrap();
        let stream = self.tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection { target: Arc::clone(self), sender }
    }
}

impl Connection {
    async fn call(&mut self, method: Method, path: &str, body: Vec<u8>) -> Bytes {
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?api-version=2021-04-12"))
            .header("host", &self.target.host)
            .header("authorization", &self.target.token)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        body
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = if arguments[1].starts_with("enroll") { "dps-connection-string" } else { "connection-string" };
    let target = Arc::new(Target::read(Path::new(&arguments[0]), file));
    let number = |place: usize| arguments[place].parse::<usize>().expect("a number");
    match (arguments[1].as_str(), arguments.len()) {
        ("create", 4) => create(&target, number(2), number(3)).await,
        ("read", 4) => read(&target, number(2), number(3), None).await,
        ("read", 5) => read(&target, number(2), number(3), Some(number(4))).await,
        ("query", 3) => query(&target, number(2)).await,
        ("enroll", 4) => enroll(&target, number(2), &arguments[3]).await,
        ("enrolled", 3) => enrolled(&target, number(2)).await,
        _ => panic!("see the head of this file for how it is called"),
    }
}

async fn create(target: &Arc<Target>, count: usize, modules: usize) {
    let (devices, begun) = (count.div_ceil(BULK), Instant::now());
    in_parallel(target, "/devices", devices, move |call| {
        (call * BULK..count.min((call + 1) * BULK)).map(device).collect()
    })
    .await;
    // Devices first: a module needs its device.
    let items = count * modules;
    in_parallel(target, "/devices", items.div_ceil(BULK), move |call| {
        (call * BULK..items.min((call + 1) * BULK))
            .map(|item| module(item / modules, item % modules))
            .collect()
    })
    .await;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "created {} identities in {seconds:.2} s: {:.0}/s",
        count + items,
        (count + items) as f64 / seconds
    );
}

/// Sends this many bulk calls over all connections; each connection takes the next call when it has
/// finished one.
async fn in_parallel(
    target: &Arc<Target>,
    path: &'static str,
    calls: usize,
    body: impl Fn(usize) -> Value + Clone + Send + 'static,
) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (target, next, body) = (Arc::clone(target), Arc::clone(&next), body.clone());
        workers.spawn(async move {
            let mut connection = target.connect().await;
            loop {
                let call = next.fetch_add(1, Ordering::Relaxed);
                if call >= calls {
                    return;
                }
                let answer =
                    connection.call(Method::POST, path, serde_json::to_vec(&body(call)).unwrap()).await;
                assert!(!answer.windows(FAILED.len()).any(|part| part == FAILED), "{answer:?}");
            }
        });
    }
    workers.join_all().await;
}

/// Creates enrolments. Certificates are all the same one: the DPS reads each, and compares none.
async fn enroll(target: &Arc<Target>, count: usize, kind: &str) {
    let attestation = match kind {
        "keys" => {
            let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
            json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": key, "secondaryKey": key}})
        }
        "x509" => {
            let certificate = rcgen::generate_simple_self_signed(["pump".to_owned()]).unwrap().cert.pem();
            let certificates = json!({"primary": {"certificate": certificate}});
            json!({"type": "x509", "x509": {"clientCertificates": certificates}})
        }
        _ => panic!("keys or x509"),
    };
    let begun = Instant::now();
    in_parallel(target, "/enrollments", count.div_ceil(DPS_BULK), move |call| {
        let numbers = call * DPS_BULK..count.min((call + 1) * DPS_BULK);
        let enrollments: Vec<_> = numbers.map(|number| enrollment(number, &attestation)).collect();
        json!({"mode": "create", "enrollments": enrollments})
    })
    .await;
    let seconds = begun.elapsed().as_secs_f64();
    println!("created {count} enrolments in {seconds:.2} s: {:.0}/s", count as f64 / seconds);
}

fn enrollment(number: usize, attestation: &Value) -> Value {
    json!({
        "registrationId": id(number),
        "attestation": attestation,
        "initialTwin": {"tags": {"line": number % 7}, "properties": {"desired": {"interval": 60}}},
        "provisioningStatus": "enabled",
    })
}

/// Reads enrolments one by one.
async fn enrolled(target: &Arc<Target>, count: usize) {
    let mut connection = target.connect().await;
    let mut latencies = Vec::new();
    for turn in 0..200 {
        let (id, begun) = (id(turn * 7_919 % count), Instant::now());
        let answer = connection.call(Method::GET, &format!("/enrollments/{id}"), Vec::new()).await;
        latencies.push(begun.elapsed());
        assert!(answer.starts_with(format!("{{\"registrationId\":\"{id}\",").as_bytes()), "{answer:?}");
    }
    println!("reads: {}", spread(latencies));
}

fn device(number: usize) -> Value {
    json!({
        "id": id(number),
        "importMode": "create",
        "tags": {"site": "hall-3", "line": number % 7},
        "properties": {"desired": {"interval": 60, "limits": {"low": 1, "high": number}}},
    })
}

fn module(device: usize, number: usize) -> Value {
    let desired = json!({"interval": 60});
    json!({
        "id": id(device),
        "moduleId": format!("module-{number}"),
        "importMode": "create",
        "properties": {"desired": desired},
    })
}

fn id(number: usize) -> String {
    format!("pump-{number:07}")
}

async fn read(target: &Arc<Target>, count: usize, seconds: usize, rate: Option<usize>) {
    let begun = TokioInstant::now();
    let end = begun + Duration::from_secs(seconds as u64);
    let mut workers = JoinSet::new();
    for worker in 0..CONNECTIONS {
        let target = Arc::clone(target);
        workers.spawn(async move {
            let mut connection = target.connect().await;
            let mut latencies = Vec::new();
            for turn in 0.. {
                let turn = turn * CONNECTIONS + worker;
                let due = match rate {
                    None => TokioInstant::now(),
                    Some(rate) => begun + Duration::from_secs(1).mul_f64(turn as f64 / rate as f64),
                };
                // Tokio's timer counts whole milliseconds, and would hold back what is due already.
                if due > TokioInstant::now() {
                    sleep_until(due).await;
                }
                if due >= end {
                    return latencies;
                }
                // A prime step visits the devices in no order that a cache could like.
                let id = id(turn * 7_919 % count);
                let (path, expected) = (format!("/twins/{id}"), format!("{{\"deviceId\":\"{id}\","));
                let twin = connection.call(Method::GET, &path, Vec::new()).await;
                latencies.push(due.elapsed());
                assert!(twin.starts_with(expected.as_bytes()) && twin.ends_with(b"}"), "{path}: {twin:?}");
            }
            latencies
        });
    }
    let latencies: Vec<Duration> = workers.join_all().await.into_iter().flatten().collect();
    println!("read {:.0} twins/s; {}", latencies.len() as f64 / seconds as f64, spread(latencies));
}

async fn query(target: &Arc<Target>, count: usize) {
    let mut connection = target.connect().await;
    let mut latencies = Vec::new();
    for turn in 0..200 {
        let text = format!("SELECT * FROM devices WHERE deviceId = '{}'", id(turn * 7_919 % count));
        let begun = Instant::now();
        let body = json!({ "query": text }).to_string().into_bytes();
        let rows: Vec<Value> =
            serde_json::from_slice(&connection.call(Method::POST, "/devices/query", body).await).unwrap();
        assert_eq!(rows.len(), 1, "{text}");
        latencies.push(begun.elapsed());
    }
    println!("point queries: {}", spread(latencies));
}

fn spread(mut latencies: Vec<Duration>) -> String {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms", at(0.5), at(0.99), at(1.0))
}

const BULK: usize = 100;
const DPS_BULK: usize = 10;
/// A part of the answer to a bulk call with failed items, which a DPS sends with status 200.
const FAILED: &[u8] = b"\"isSuccessful\":false";
const CONNECTIONS: usize = 16;
