//! A device or module over MQTT, as close to the wire as tests need.
//!
//! It shares its codec with the hub, so it can't test the codec; Microsoft's SDKs
//! (`scripts/device-judge`) and mosquitto (`mqtt_mosquitto`) do.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hub_types::SymmetricKey;
use hub_types::sas::SasToken;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{
    Connect, Disconnect, Pingreq, Puback, Publish, Subscribe, Unsubscribe,
};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SigningKey};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Client, TestHub};

/// The parameters of CONNECT.
#[derive(Debug, Default)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) user_name: String,
    pub(crate) password: Option<String>,
    pub(crate) certificate: Option<Credential>,
    /// The topic of the will and its quality of service.
    pub(crate) will: Option<(String, Qos)>,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
}

/// A certificate with its chain and its key.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// The stream under MQTT.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// A connected device or module.
pub(crate) struct Device {
    stream: Box<dyn ByteStream>,
    mqtt: Connection<role::Client>,
    received: VecDeque<Packet>,
}

impl Login {
    /// A login as `device` or `device/module`, without credentials.
    pub(crate) fn of(identity: &str) -> Self {
        Self {
            client_id: identity.to_owned(),
            user_name: format!("localhost/{identity}/?api-version=2021-04-12&DeviceClientType=test"),
            keep_alive: 60,
            ..Self::default()
        }
    }

    /// A login with a token for an hour, signed with the identity's key.
    pub(crate) fn signed(identity: &str, key: &str) -> Self {
        Self::of(identity).with_token(None, key, &resource(identity), 3600)
    }

    pub(crate) fn with_token(self, policy: Option<&str>, key: &str, resource: &str, seconds: i64) -> Self {
        let key: SymmetricKey = key.parse().unwrap();
        let expiry = time::OffsetDateTime::now_utc().unix_timestamp() + seconds;
        let token = SasToken::sign(resource, policy, &key, expiry as u64);
        Self { password: Some(token.expose_text().to_string()), ..self }
    }

    pub(crate) fn with_certificate(self, credential: Credential) -> Self {
        Self { certificate: Some(credential), ..self }
    }

    pub(crate) fn clean(self) -> Self {
        Self { clean: true, ..self }
    }
}

/// The resource of an identity's token.
pub(crate) fn resource(identity: &str) -> String {
    match identity.split_once('/') {
        None => format!("localhost/devices/{identity}"),
        Some((device, module)) => format!("localhost/devices/{device}/modules/{module}"),
    }
}

impl Device {
    /// Connects; the error is the code of CONNACK.
    pub(crate) async fn connect(hub: &TestHub, login: Login) -> Result<Self, u8> {
        let (device, code, _) = Self::try_connect(hub, login).await;
        if code == 0 { Ok(device) } else { Err(code) }
    }

    /// Connects, and returns the code and the session flag of CONNACK.
    pub(crate) async fn try_connect(hub: &TestHub, mut login: Login) -> (Self, u8, bool) {
        let device = Self::open(hub, login.certificate.take()).await;
        device.log_in(login).await
    }

    /// Sends CONNECT on an open stream.
    pub(crate) async fn over(stream: impl ByteStream + 'static, login: Login) -> (Self, u8, bool) {
        Self::on(Box::new(stream)).log_in(login).await
    }

    async fn log_in(mut self, login: Login) -> (Self, u8, bool) {
        let mut connect = Connect::builder()
            .client_id(login.client_id)
            .unwrap()
            .user_name(login.user_name)
            .unwrap()
            .clean_session(login.clean)
            .keep_alive(login.keep_alive);
        if let Some(password) = login.password {
            connect = connect.password(password.into_bytes()).unwrap();
        }
        if let Some((topic, qos)) = login.will {
            connect = connect.will_message(topic, b"gone".to_vec(), qos, false).unwrap();
        }
        self.send(connect.build().unwrap()).await;
        match self.next().await {
            Some(Packet::V3_1_1Connack(connack)) => {
                (self, connack.return_code() as u8, connack.session_present())
            }
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// A connection before CONNECT.
    pub(crate) async fn open(hub: &TestHub, certificate: Option<Credential>) -> Self {
        let address = hub.hub.mqtt_addr().unwrap();
        Self::on(Box::new(tls(address, hub.hub.ca_pem(), certificate).await))
    }

    fn on(stream: Box<dyn ByteStream>) -> Self {
        Self { stream, mqtt: Connection::new(Version::V3_1_1), received: VecDeque::new() }
    }

    pub(crate) async fn send(&mut self, packet: impl Into<Packet>) {
        let events = self.mqtt.send(packet.into());
        self.take(events).await;
    }

    /// Sends bytes that need not be a packet.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        // The hub may have hung up already.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Subscribes to a filter; returns the code of SUBACK.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: Qos) -> u8 {
        let id = self.mqtt.acquire_packet_id().unwrap();
        let entry = SubEntry::new(filter, SubOpts::new().set_qos(qos)).unwrap();
        self.send(Subscribe::builder().packet_id(id).entries(vec![entry]).build().unwrap()).await;
        match self.expect("SUBACK", |packet| matches!(packet, Packet::V3_1_1Suback(_))).await {
            Packet::V3_1_1Suback(suback) => suback.return_codes()[0] as u8,
            _ => unreachable!(),
        }
    }

    pub(crate) async fn unsubscribe(&mut self, filter: &str) {
        let id = self.mqtt.acquire_packet_id().unwrap();
        self.send(Unsubscribe::builder().packet_id(id).entries(vec![filter]).unwrap().build().unwrap()).await;
        self.expect("UNSUBACK", |packet| matches!(packet, Packet::V3_1_1Unsuback(_))).await;
    }

    /// Publishes, and waits for the acknowledgement if the quality of service has one.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str, qos: Qos) {
        let mut publish = Publish::builder().topic_name(topic).unwrap().payload(payload.as_bytes()).qos(qos);
        if qos != Qos::AtMostOnce {
            publish = publish.packet_id(self.mqtt.acquire_packet_id().unwrap());
        }
        self.send(publish.build().unwrap()).await;
        if qos == Qos::AtLeastOnce {
            self.expect("PUBACK", |packet| matches!(packet, Packet::V3_1_1Puback(_))).await;
        }
    }

    /// Returns the next message, and acknowledges it.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>) {
        let publish = self.unacknowledged_message().await;
        if let Some(id) = publish.packet_id() {
            self.send(Puback::builder().packet_id(id).build().unwrap()).await;
        }
        (publish.topic_name().to_owned(), publish.payload().as_slice().to_vec())
    }

    pub(crate) async fn unacknowledged_message(&mut self) -> Publish {
        match self.expect("PUBLISH", |packet| matches!(packet, Packet::V3_1_1Publish(_))).await {
            Packet::V3_1_1Publish(publish) => publish,
            _ => unreachable!(),
        }
    }

    /// The next message as JSON, which must have this topic.
    #[track_caller]
    pub(crate) fn json_on(&mut self, topic: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let (got, payload) = self.message().await;
            let text = String::from_utf8_lossy(&payload).into_owned();
            assert_eq!(got, topic, "at {caller}: {text}");
            serde_json::from_slice(&payload).unwrap_or(Value::Null)
        }
    }

    /// Subscribes to the responses to twin requests, then reads the twin.
    pub(crate) async fn twin(&mut self) -> Value {
        assert_eq!(self.subscribe("$iothub/twin/res/#", Qos::AtLeastOnce).await, 1);
        self.publish("$iothub/twin/GET/?$rid=a-1", " ", Qos::AtLeastOnce).await;
        self.json_on("$iothub/twin/res/200/?$rid=a-1").await
    }

    /// A round trip, after which everything sent before has been processed.
    pub(crate) async fn ping(&mut self) {
        self.send(Pingreq::builder().build().unwrap()).await;
        self.expect("PINGRESP", |packet| matches!(packet, Packet::V3_1_1Pingresp(_))).await;
    }

    pub(crate) async fn disconnect(mut self) {
        self.send(Disconnect::builder().build().unwrap()).await;
        self.closed().await;
    }

    /// Waits until the hub closes the connection.
    pub(crate) async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Reads until the connection ends. Returns the remaining bytes, and the error at the end, if
    /// there was one.
    pub(crate) async fn last_bytes(&mut self) -> (Vec<u8>, Option<io::Error>) {
        let mut bytes = Vec::new();
        let read = timeout(DEADLINE, self.stream.read_to_end(&mut bytes)).await.unwrap();
        (bytes, read.err())
    }

    async fn expect(&mut self, what: &str, wanted: impl Fn(&Packet) -> bool) -> Packet {
        if let Some(at) = self.received.iter().position(&wanted) {
            return self.received.remove(at).unwrap();
        }
        let mut others = VecDeque::new();
        loop {
            match self.next().await {
                Some(packet) if wanted(&packet) => {
                    others.append(&mut self.received);
                    self.received = others;
                    return packet;
                }
                Some(packet) => others.push_back(packet),
                None => panic!("the hub hung up; {what} was to come"),
            }
        }
    }

    /// The next packet; `None` if the hub has closed the connection.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.received.pop_front() {
                return Some(packet);
            }
            let mut buffer = [0; 4096];
            let read = timeout(DEADLINE, self.stream.read(&mut buffer)).await.unwrap();
            let read = read.unwrap_or(0);
            if read == 0 {
                return None;
            }
            let mut cursor = Cursor::new(&buffer[..read]);
            while cursor.position() < read as u64 {
                let events = self.mqtt.recv(&mut cursor);
                self.take(events).await;
            }
        }
    }

    async fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => self.received.push_back(packet),
                Event::RequestSendPacket { packet, .. } => {
                    self.send_bytes(&packet.to_continuous_buffer()).await;
                }
                Event::NotifyError(error) => panic!("the client's codec says {error:?}"),
                _ => {}
            }
        }
    }
}

/// A TLS connection to the hub.
pub(crate) async fn tls(
    address: SocketAddr,
    ca_pem: &str,
    certificate: Option<Credential>,
) -> TlsStream<TcpStream> {
    tls_of(rustls::ALL_VERSIONS, address, ca_pem, certificate).await
}

/// As [`tls`], of certain versions.
pub(crate) async fn tls_of(
    versions: &[&'static SupportedProtocolVersion],
    address: SocketAddr,
    ca_pem: &str,
    certificate: Option<Credential>,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        None => config.with_no_client_auth(),
        // Whatever it is: neither version nor key is looked at before it is sent.
        Some(Credential { chain, key }) => {
            let key = default_provider().key_provider.load_private_key(key).unwrap();
            let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
            config.with_client_cert_resolver(Arc::new(certified))
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Tries to open a TLS connection as a client that trusts only this CA.
pub(crate) async fn tls_that_trusts(ca_pem: &str, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config.with_no_client_auth())).connect(name, stream).await
}

/// A CA for devices.
pub(crate) struct DeviceCa {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl DeviceCa {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params("a CA for devices");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a common name.
    pub(crate) fn issue(&self, common_name: &str) -> Credential {
        self.issue_with(common_name, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        common_name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Credential {
        let key = KeyPair::generate().unwrap();
        let mut params = params(common_name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        credential(certificate.der().clone(), &key)
    }

    /// A CA below this one; its certificates must be presented together with it.
    pub(crate) fn intermediate(&self) -> (Self, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = params("an intermediate CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }, certificate.der().clone())
    }
}

/// A self-signed certificate.
pub(crate) fn self_signed(common_name: &str) -> Credential {
    let key = KeyPair::generate().unwrap();
    let certificate = params(common_name).self_signed(&key).unwrap();
    credential(certificate.der().clone(), &key)
}

/// A self-signed certificate.
pub(crate) fn self_signed_with(
    common_name: &str,
    key: &KeyPair,
    change: impl FnOnce(&mut CertificateParams),
) -> Credential {
    let mut params = params(common_name);
    change(&mut params);
    credential(params.self_signed(key).unwrap().der().clone(), key)
}

/// A self-signed certificate of X.509 version 1, as `openssl x509 -req` makes it: one of version 3
/// without the version and the extensions.
pub(crate) fn version_1(common_name: &str) -> Credential {
    let key = KeyPair::generate().unwrap();
    let modern = params(common_name).self_signed(&key).unwrap();
    let signed = der_parts(der_parts(modern.der())[0].1);
    let [tbs, algorithm] = [signed[0].1, signed[1].0];
    let parts: Vec<&[u8]> = der_parts(tbs)[1..7].iter().map(|(whole, _)| *whole).collect();
    let tbs = der(0x30, &parts.concat());
    let signature = key.sign(&tbs).unwrap();
    let signature = der(0x03, &[&[0], &signature[..]].concat());
    let certificate = der(0x30, &[&tbs, algorithm, &signature].concat());
    credential(certificate.into(), &key)
}

/// Splits concatenated DER values. Each is returned whole and without its header.
fn der_parts(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut parts = Vec::new();
    while let [_, first, ..] = bytes {
        let more = if *first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let length = bytes[2..2 + more].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let length = if more == 0 { usize::from(*first) } else { length };
        let (whole, rest) = bytes.split_at(2 + more + length);
        parts.push((whole, &whole[2 + more..]));
        bytes = rest;
    }
    parts
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

fn credential(certificate: CertificateDer<'static>, key: &KeyPair) -> Credential {
    Credential { chain: vec![certificate], key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// Creates a device with generated keys and returns the first one.
pub(crate) async fn create_device(client: &Client, id: &str) -> String {
    let created = client.put(&format!("/devices/{id}"), None, &json!({"deviceId": id})).await.ok();
    created["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().to_owned()
}

/// Creates a module with generated keys and returns the first one.
pub(crate) async fn create_module(client: &Client, device: &str, id: &str) -> String {
    let path = format!("/devices/{device}/modules/{id}");
    let created = client.put(&path, None, &json!({"deviceId": device, "moduleId": id})).await.ok();
    created["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().to_owned()
}

/// The time limit of a step, which a busy machine never reaches.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
