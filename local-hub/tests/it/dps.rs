//! A DPS beside a hub, and devices that register with it, as close to the wire as tests need.

use hub_types::dps::device_token;
use hub_types::dps::{IdScope, RegistrationId};
use local_hub::{Config, DpsConfig, LocalDps};
use mqtt_protocol_core::mqtt::packet::Qos;
use serde_json::{Value, json};

use crate::device::{ByteStream, Credential, Device, DeviceCa, Login, tls};
use crate::support::{Client, TestHub, with_devices};

/// A hub with a DPS, and a client of the DPS's service API.
pub(crate) struct TestDps {
    pub(crate) hub: TestHub,
    pub(crate) client: Client,
}

/// A hub and a DPS in memory, on free ports, that devices can connect to.
pub(crate) fn with_dps() -> Config {
    let free = "127.0.0.1:0".parse().ok();
    let dps = DpsConfig { https: free, mqtt: free, ..DpsConfig::default() };
    Config { dps: Some(dps), ..with_devices() }
}

impl TestDps {
    pub(crate) async fn start() -> Self {
        Self::start_with(with_dps()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let hub = TestHub::start_with(config).await;
        let owner = hub.hub.dps().unwrap().connection_string("provisioningserviceowner").unwrap();
        let client = Client::new(&owner, hub.hub.ca_pem());
        Self { hub, client }
    }

    pub(crate) fn dps(&self) -> &LocalDps {
        self.hub.hub.dps().unwrap()
    }

    pub(crate) fn scope(&self) -> &IdScope {
        self.dps().id_scope()
    }

    /// Writes an individual enrolment with these further members.
    pub(crate) async fn enroll(&self, id: &str, attestation: Value, further: Value) -> Value {
        let entry = json!({"registrationId": id, "attestation": attestation});
        self.client.put(&format!("/enrollments/{id}"), None, &merged(entry, further)).await.ok()
    }

    /// Writes an enrolment group with these further members.
    pub(crate) async fn enroll_group(&self, id: &str, attestation: Value, further: Value) -> Value {
        let entry = json!({"enrollmentGroupId": id, "attestation": attestation});
        self.client.put(&format!("/enrollmentGroups/{id}"), None, &merged(entry, further)).await.ok()
    }

    /// Changes members of an individual enrolment.
    pub(crate) async fn change(&self, id: &str, change: Value) {
        let path = format!("/enrollments/{id}");
        let entry = merged(self.client.get(&path).await.ok(), change);
        self.client.put(&path, Some("*"), &entry).await.ok();
    }

    /// The primary key of an individual enrolment.
    pub(crate) async fn key(&self, id: &str) -> String {
        let shown =
            self.client.post(&format!("/enrollments/{id}/attestationmechanism"), &json!({})).await.ok();
        shown["symmetricKey"]["primaryKey"].as_str().unwrap().to_owned()
    }

    /// A login of a device without credentials.
    pub(crate) fn login(&self, id: &str) -> Login {
        Login {
            client_id: id.to_owned(),
            user_name: format!(
                "{}/registrations/{id}/api-version=2019-03-31&ClientVersion=test",
                self.scope()
            ),
            keep_alive: 60,
            ..Login::default()
        }
    }

    /// A login with a token for an hour.
    pub(crate) fn signed(&self, id: &str, key: &str) -> Login {
        Login { password: Some(self.token(id, key)), ..self.login(id) }
    }

    pub(crate) fn token(&self, id: &str, key: &str) -> String {
        let id: RegistrationId = id.parse().unwrap();
        let expiry = time::OffsetDateTime::now_utc().unix_timestamp() as u64 + 3600;
        device_token::sign(self.scope(), &id, &key.parse().unwrap(), expiry).expose_text().to_string()
    }

    /// Connects; the error is the code of CONNACK.
    pub(crate) async fn connect(&self, mut login: Login) -> Result<Registrant, u8> {
        let address = self.dps().mqtt_addr().unwrap();
        let stream = tls(address, self.hub.hub.ca_pem(), login.certificate.take()).await;
        Registrant::over(stream, login).await
    }

    /// Registers a device over MQTT, and returns the outcome of its operation.
    pub(crate) async fn register(&self, login: Login) -> Value {
        let mut device = self.connect(login).await.unwrap();
        let outcome = device.register(json!({})).await;
        device.0.disconnect().await;
        outcome
    }

    /// As [`TestDps::register`], with a certificate.
    pub(crate) async fn register_with(&self, id: &str, certificate: Credential) -> Value {
        self.register(self.login(id).with_certificate(certificate)).await
    }
}

/// A device that is connected to a DPS.
pub(crate) struct Registrant(pub(crate) Device);

impl Registrant {
    pub(crate) async fn over(stream: impl ByteStream + 'static, login: Login) -> Result<Self, u8> {
        let (device, code, _) = Device::over(stream, login).await;
        if code != 0 {
            return Err(code);
        }
        let mut device = Self(device);
        assert_eq!(device.0.subscribe("$dps/registrations/res/#", Qos::AtLeastOnce).await, 1);
        Ok(device)
    }

    /// Registers, and polls for the outcome. Returns the status of the last response and its
    /// content.
    pub(crate) async fn register(&mut self, request: Value) -> Value {
        let (status, answer) =
            self.call("$dps/registrations/PUT/iotdps-register/?$rid=r-1", &request.to_string()).await;
        if status != "202/?$rid=r-1&retry-after=1" {
            return json!({"refused": status, "answer": answer});
        }
        assert_eq!(answer["status"], "assigning");
        let operation = answer["operationId"].as_str().unwrap();
        let topic =
            format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=r-2&operationId={operation}");
        loop {
            let (status, answer) = self.call(&topic, "").await;
            if status == "200/?$rid=r-2" {
                return answer;
            }
            assert_eq!(
                (status.as_str(), &answer["status"]),
                ("202/?$rid=r-2&retry-after=1", &json!("assigning"))
            );
        }
    }

    /// Publishes, and returns the response: the end of its topic, and its payload.
    pub(crate) async fn call(&mut self, topic: &str, payload: &str) -> (String, Value) {
        self.0.publish(topic, payload, Qos::AtLeastOnce).await;
        let (topic, payload) = self.0.message().await;
        let end = topic.strip_prefix("$dps/registrations/res/").unwrap().to_owned();
        (end, serde_json::from_slice(&payload).unwrap())
    }
}

/// The attestation by a certificate of the device itself.
pub(crate) fn of_client(certificate: &Credential) -> Value {
    let der = base64(&certificate.chain[0]);
    json!({"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": der}}}})
}

/// The attestation by a certificate that signs those of devices.
pub(crate) fn of_signer(ca: &DeviceCa) -> Value {
    json!({"type": "x509", "x509": {"signingCertificates": {"primary": {"certificate": ca.pem}}}})
}

/// The attestation by keys that the DPS generates.
pub(crate) fn of_keys() -> Value {
    json!({"type": "symmetricKey"})
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn merged(mut document: Value, further: Value) -> Value {
    let members = document.as_object_mut().unwrap();
    members.extend(further.as_object().unwrap().clone());
    document
}
