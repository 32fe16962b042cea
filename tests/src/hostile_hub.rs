//! A server in front of a served hub that responds in its place, as a login page, a gateway, a
//! hostile proxy or a failing hub does. It forwards every other request to the hub.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use hub_types::connection_string::ServiceConnectionString;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{ServedHub, Station};

/// The reply to a call.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A response of exactly these bytes: status line, headers and body.
    Answer(Vec<u8>),
    /// The connection ends without a response.
    Close,
    /// The request is forwarded to the hub.
    Forward,
    /// A response with this head and an endless body.
    Endless(String),
}

impl Reply {
    /// A response with this status, media type and body.
    pub fn with(status: &str, kind: &str, more: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n{body}"
        );
        Self::Answer(text.into_bytes())
    }

    /// An error response of a hub.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"Message":"ErrorCode:{code};no","ExceptionMessage":"Tracking ID:1"}}"#);
        Self::with(&format!("{status} x"), JSON, &format!("iothub-errorcode: {code}\r\n"), &body)
    }

    /// A login page.
    pub fn page(status: &str) -> Self {
        Self::with(status, "text/html", "", "<!DOCTYPE html><html><body>Sign in</body></html>")
    }

    /// A redirect to a host.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::with(&format!("{status} x"), "text/html", &format!("Location: {location}\r\n"), "")
    }
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Call {
    /// The number of requests before it.
    pub number: usize,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// Returns true for a bulk call.
    pub fn is_bulk(&self) -> bool {
        self.method == "POST" && self.path == "/devices"
    }

    /// Returns true for a bulk call with modules.
    pub fn names_modules(&self) -> bool {
        let member: &[u8] = b"moduleId";
        self.is_bulk() && self.body.windows(member.len()).any(|part| part == member)
    }
}

/// The certificate that the server presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A trusted certificate.
    Good,
    /// A certificate that expired in 2021.
    Expired,
    /// A certificate for a different name.
    OtherName,
    /// A certificate of an unknown CA.
    Unknown,
}

type Script = Box<dyn Fn(&Call) -> Reply + Send + Sync>;

struct Shared {
    script: Mutex<Arc<Script>>,
    calls: Mutex<Vec<Call>>,
    shown: Mutex<Shown>,
    sent: Mutex<u64>,
}

/// The server. It runs until the test process ends.
pub struct HostileHub {
    access: String,
    ca_file: PathBuf,
    shared: Arc<Shared>,
}

impl HostileHub {
    /// Starts a server in front of a hub; `script` decides the reply to each call.
    pub fn before(
        station: &Station,
        hub: &ServedHub,
        script: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let host = format!("localhost:{}", listener.local_addr()?.port());
        let real: ServiceConnectionString = hub.connection_string().parse()?;
        let access = hub.connection_string().replace(real.host.as_str(), &host);
        let root = issue(&Identity { name: "localhost", is_expired: false, is_own_root: true })?;
        let ca_file = station.write("hostile-ca.pem", &root.pem)?;
        let others = [
            (Shown::Expired, Identity { name: "localhost", is_expired: true, is_own_root: true }),
            (Shown::OtherName, Identity { name: "elsewhere.example", is_expired: false, is_own_root: true }),
            (Shown::Unknown, Identity { name: "localhost", is_expired: false, is_own_root: false }),
        ];
        let mut configs = vec![(Shown::Good, root.config)];
        let mut roots = root.pem;
        for (shown, identity) in others {
            let issued = issue(&identity)?;
            if identity.is_own_root {
                roots.push_str(&issued.pem);
            }
            configs.push((shown, issued.config));
        }
        std::fs::write(&ca_file, roots)?;
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(Box::new(script))),
            calls: Mutex::default(),
            shown: Mutex::new(Shown::Good),
            sent: Mutex::default(),
        });
        let (ours, upstream) = (shared.clone(), Arc::new(Upstream::new(hub)?));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shown = *ours.shown.lock().unwrap_or_else(PoisonError::into_inner);
                let config =
                    configs.iter().find(|(kind, _)| *kind == shown).map(|(_, config)| config.clone());
                let (ours, upstream) = (ours.clone(), upstream.clone());
                // A client that goes away shows in what the test sees of the client.
                std::thread::spawn(move || serve(stream, config, &ours, &upstream));
            }
        });
        Ok(Self { access, ca_file, shared })
    }

    /// The provisioner, set up for this server.
    pub fn provisioner(&self, station: &Station) -> Result<Command> {
        let mut command = station.command("provisioner")?;
        command.env("IOTHUB_CONNECTION_STRING", &self.access).env("IOTHUB_CA_FILE", &self.ca_file);
        Ok(command)
    }

    /// Replaces the script that decides the replies.
    pub fn set_script(&self, script: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Box::new(script));
    }

    /// Replaces the presented certificate.
    pub fn show(&self, shown: Shown) {
        *self.shared.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bytes of endless bodies that were sent so far.
    pub fn sent(&self) -> u64 {
        *self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hub behind the server, and the credentials to call it.
struct Upstream {
    client: reqwest::blocking::Client,
    host: String,
    token: String,
}

impl Upstream {
    #[expect(clippy::disallowed_methods, reason = "it calls the hub of a test")]
    fn new(hub: &ServedHub) -> Result<Self> {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(hub.ca_file())?)?;
        let client = reqwest::blocking::Client::builder().tls_certs_only([ca]).no_proxy().build()?;
        Ok(Self { client, host: hub.host()?, token: hub.token()? })
    }

    fn ask(&self, call: &Call) -> Result<Vec<u8>> {
        let url = format!("https://{}{}", self.host, call.target);
        let mut request = self.client.request(call.method.parse()?, url).body(call.body.clone());
        for (name, value) in &call.headers {
            if !["authorization", "content-length", "host"].contains(&name.as_str()) {
                request = request.header(name, value);
            }
        }
        let answer = request.header("Authorization", &self.token).send()?;
        let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status().as_u16());
        for (name, value) in answer.headers() {
            if !["connection", "content-length", "transfer-encoding"].contains(&name.as_str()) {
                head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
            }
        }
        let is_empty = answer.status().as_u16() == 204;
        let body = answer.bytes()?;
        if !is_empty {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        Ok([format!("{head}\r\n").as_bytes(), &body].concat())
    }
}

fn serve(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    shared: &Shared,
    upstream: &Upstream,
) -> Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config.context("there is one")?)?, stream);
    let call = {
        let mut call = read_call(&mut stream)?;
        let mut calls = shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        call.number = calls.len();
        calls.push(call.clone());
        call
    };
    let script = shared.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match script(&call) {
        Reply::Answer(bytes) => stream.write_all(&bytes)?,
        Reply::Close => return Ok(()),
        Reply::Forward => stream.write_all(&upstream.ask(&call)?)?,
        Reply::Endless(head) => {
            stream.write_all(head.as_bytes())?;
            let chunk = [b' '; 64 << 10];
            loop {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(&chunk)?;
                stream.write_all(b"\r\n")?;
                *shared.sent.lock().unwrap_or_else(PoisonError::into_inner) += chunk.len() as u64;
            }
        }
    }
    stream.flush()?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

fn read_call(stream: &mut impl Read) -> Result<Call> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    ensure!(reader.read_line(&mut line)? > 0, "no request");
    let mut words = line.split_whitespace();
    let method = words.next().context("a method")?.to_owned();
    let target = words.next().context("a target")?.to_owned();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the request ends early");
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse());
    let mut body = vec![0; length.transpose()?.unwrap_or_default()];
    reader.read_exact(&mut body)?;
    Ok(Call { number: 0, method, path, target, headers, body })
}

struct Identity {
    name: &'static str,
    is_expired: bool,
    /// True if clients are told to trust the certificate itself.
    is_own_root: bool,
}

struct Issued {
    pem: String,
    config: Arc<ServerConfig>,
}

/// Makes a self-signed certificate, and a server configuration that presents it.
fn issue(identity: &Identity) -> Result<Issued> {
    let mut params = CertificateParams::new(vec![identity.name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, identity.name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(if identity.is_expired { 2021 } else { 2099 }, 1, 1);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    Ok(Issued { pem: certificate.pem(), config: Arc::new(config) })
}

/// The media type of a hub's responses.
pub const JSON: &str = "application/json; charset=utf-8";
