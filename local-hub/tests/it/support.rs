//! A hub in this process or in a separate one, and a client that trusts only its CA.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hub_types::connection_string::ServiceConnectionString;
use hub_types::sas::SasToken;
use local_hub::{Clock, Config, LocalHub};
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Method};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use time::OffsetDateTime;

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) const API: &str = "api-version=2021-04-12";

/// A hub in this process.
pub(crate) struct TestHub {
    pub(crate) hub: LocalHub,
    pub(crate) client: Client,
}

impl TestHub {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// A hub with a listener for devices.
    pub(crate) async fn with_devices() -> Self {
        Self::start_with(with_devices()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let hub = LocalHub::start(config).await.unwrap();
        let owner = hub.connection_string("iothubowner").unwrap();
        let client = Client::new(&owner, hub.ca_pem());
        Self { hub, client }
    }

    pub(crate) fn connect(&self) -> Tls {
        connect(self.hub.ca_pem(), self.hub.https_addr())
    }

    /// A client with the rights of a different policy.
    pub(crate) fn client_of(&self, policy: &str) -> Client {
        Client::new(&self.hub.connection_string(policy).unwrap(), self.hub.ca_pem())
    }
}

/// A client of the service API.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    authorization: Option<String>,
}

impl Client {
    pub(crate) fn new(connection: &ServiceConnectionString, ca_pem: &str) -> Self {
        let host = connection.host.as_str();
        let in_an_hour = OffsetDateTime::now_utc().unix_timestamp() as u64 + 3600;
        let token = SasToken::sign(host, Some(&connection.policy), &connection.key, in_an_hour);
        Self {
            http: http_client(ca_pem),
            base: format!("https://{host}"),
            authorization: Some(token.expose_text().to_string()),
        }
    }

    pub(crate) fn authorized_by(&self, authorization: Option<&str>) -> Self {
        Self { authorization: authorization.map(str::to_owned), ..self.clone() }
    }

    pub(crate) fn host(&self) -> &str {
        self.base.trim_start_matches("https://")
    }

    pub(crate) fn authorization(&self) -> &str {
        self.authorization.as_ref().unwrap()
    }

    /// A GET as bytes, for connections without an HTTP client.
    pub(crate) fn raw_get(&self, path: &str) -> Vec<u8> {
        let (host, authorization) = (self.host(), self.authorization());
        format!("GET {path}?{API} HTTP/1.1\r\nhost: {host}\r\nauthorization: {authorization}\r\n\r\n")
            .into_bytes()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    pub(crate) async fn put(&self, path: &str, if_match: Option<&str>, body: &Value) -> Answer {
        self.call(Method::PUT, path, if_match, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, if_match: Option<&str>, body: &Value) -> Answer {
        self.call(Method::PATCH, path, if_match, Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, None, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, if_match: Option<&str>) -> Answer {
        self.call(Method::DELETE, path, if_match, None).await
    }

    pub(crate) async fn query(&self, query: &str, headers: &[(&'static str, &str)]) -> Answer {
        let url = format!("{}/devices/query?{API}", self.base);
        let mut request = self.http.post(url).header("authorization", self.authorization.as_ref().unwrap());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = serde_json::json!({ "query": query });
        Answer::read(request.body(body.to_string()).send().await.unwrap()).await
    }

    /// Sends a request; the api-version is added if the path has no parameters.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(ToString::to_string);
        self.try_call(method, path, if_match, body).await.unwrap()
    }

    /// Sends a request with additional headers.
    pub(crate) async fn call_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}?{API}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = request.header("authorization", self.authorization()).body(body.to_owned());
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn try_call(
        &self,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<String>,
    ) -> reqwest::Result<Answer> {
        let parameters = if path.contains('?') { String::new() } else { format!("?{API}") };
        let mut request = self.http.request(method, format!("{}{path}{parameters}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        Ok(Answer::read(request.send().await?).await)
    }
}

/// The response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The JSON of a response, which must be 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// Requires a status.
    #[track_caller]
    pub(crate) fn with_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Checks that this is a refusal in the form that the SDKs read.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.header("iothub-errorcode")), (status, Some(code)), "{}", self.text);
        let body = self.json();
        let message = body["Message"].as_str().unwrap();
        assert!(message.starts_with(&format!("ErrorCode:{code};")), "{message}");
        assert!(body["ExceptionMessage"].as_str().unwrap().starts_with("Tracking ID:"));
        assert!(self.header("x-ms-request-id").is_some());
    }
}

/// The built binary, serving a data folder.
pub(crate) struct Process {
    child: Child,
    pub(crate) ready_line: String,
    pub(crate) client: Client,
    pub(crate) ca_pem: String,
}

impl Process {
    pub(crate) fn serve(data: &Path) -> Self {
        Self::serve_with(data, &[])
    }

    /// Serves with further arguments.
    pub(crate) fn serve_with(data: &Path, further: &[&str]) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_local-hub")), data, further)
    }

    /// Starts the binary through a command that runs the program with the appended path and
    /// arguments.
    pub(crate) fn serve_through(mut command: Command, data: &Path) -> Self {
        command.arg(env!("CARGO_BIN_EXE_local-hub"));
        Self::start(command, data, &[])
    }

    fn start(mut command: Command, data: &Path, further: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])
            .args(further)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready_line).unwrap();
        let owner = std::fs::read_to_string(data.join("connection-string")).unwrap();
        let ca_pem = std::fs::read_to_string(data.join("ca.pem")).unwrap();
        let client = Client::new(&owner.parse().unwrap(), &ca_pem);
        Self { child, ready_line, client, ca_pem }
    }

    /// The HTTPS address.
    pub(crate) fn address(&self) -> SocketAddr {
        let (_, port) = self.client.host().rsplit_once(':').unwrap();
        SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stopped clock.
#[derive(Debug)]
pub(crate) struct StoppedClock(pub(crate) OffsetDateTime);

impl Clock for StoppedClock {
    fn now(&self) -> OffsetDateTime {
        self.0
    }
}

/// A hub in memory that devices can connect to.
pub(crate) fn with_devices() -> Config {
    let free = "127.0.0.1:0".parse().ok();
    Config { mqtt: free, amqp: free, ..Config::default() }
}

/// A hub in memory with its clock stopped at this many seconds since 1970.
pub(crate) fn stopped_at(unix_seconds: i64) -> Config {
    Config {
        clock: Arc::new(StoppedClock(OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap())),
        ..Config::default()
    }
}

/// A TLS connection over which any bytes can be sent.
pub(crate) fn connect(ca_pem: &str, address: SocketAddr) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

#[expect(clippy::disallowed_methods, reason = "the client of a test")]
pub(crate) fn http_client(ca_pem: &str) -> reqwest::Client {
    let ca = Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    // A proxy of this machine's user has no business between a test and its hub.
    reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap()
}
