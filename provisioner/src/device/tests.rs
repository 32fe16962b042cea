//! Against a real hub in this process, with certificates of a real CA.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cert_tool::{
    CaOptions, CertificateAuthority, IssueOptions, IssueRequest, IssuedList, IssuedStore, KeySource, Sink,
    issue_batch,
};
use hub_types::identity::Status;
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::{IdentityId, SymmetricKey};
use local_hub::{Effect, Fault, Faults, LocalHub};
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Extension, X509Name};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock;
use crate::hub::{Access, Hub, HubClient};
use crate::model::scopes::Scopes;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec, StateSpec};

/// A line with a hub and a CA that the hub knows.
struct Station {
    hub: LocalHub,
    client: HubClient,
    trust: HubClientOptions,
    ca: CertificateAuthority,
    folder: TempDir,
}

impl Station {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = new_ca(folder.path().join("pki"));
        let config = local_hub::Config {
            mqtt: Some("127.0.0.1:0".parse().unwrap()),
            device_cas: vec![folder.path().join("pki/root.pem")],
            ..local_hub::Config::default()
        };
        let hub = LocalHub::start(config).await.unwrap();
        let root = hub.ca_pem().as_bytes().to_vec();
        let trust = HubClientOptions {
            extra_roots: vec![root.into()],
            is_local: true,
            ..HubClientOptions::default()
        };
        let client =
            HubClient::new(Access::SharedKey(hub.connection_string("iothubowner").unwrap()), &trust).unwrap();
        Self { hub, client, trust, ca, folder }
    }

    /// The hub as devices see it.
    fn door(&self) -> DeviceHub {
        self.door_trusting(&self.trust)
    }

    fn door_trusting(&self, trust: &HubClientOptions) -> DeviceHub {
        let port = self.hub.mqtt_addr().unwrap().port();
        let address = DeviceHubAddress::of(self.client.host()).at("127.0.0.1".into(), port);
        DeviceHub::new(address, trust, None).unwrap()
    }

    /// Certificates for these identities of the line's CA, and where they are.
    fn issue(&self, identities: &[&IdentityId]) -> CredentialSource {
        issue(&self.ca, self.folder.path().join("issued"), identities)
    }

    /// Puts an identity onto the hub, with a desired property.
    async fn create(&self, identity: &IdentityId, auth: AuthSpec, keys: &GivenKeys) -> IdentitySpec {
        let spec = spec(identity, auth);
        let made = self.client.bulk(&[spec.create_item(keys, Scopes::default())]).await.unwrap();
        assert!(made.errors.is_empty(), "{:?}", made.errors);
        spec
    }

    /// A device that proves who it is by its CA, with its credentials.
    async fn device(&self, id: &str) -> (IdentityId, DeviceCredentials) {
        let identity = identity(id);
        let spec = self.create(&identity, AuthSpec::X509Ca, &GivenKeys::new()).await;
        let credentials = self.issue(&[&identity]).find(&spec).unwrap().unwrap();
        (identity, credentials)
    }

    fn fail(&self, fault: Fault) {
        self.hub.set_faults(Faults { seed: 1, faults: vec![fault] }).unwrap();
    }
}

fn new_ca(folder: PathBuf) -> CertificateAuthority {
    CertificateAuthority::init(&folder, &CaOptions::default(), clock::now()).unwrap()
}

fn issue(ca: &CertificateAuthority, out: PathBuf, identities: &[&IdentityId]) -> CredentialSource {
    let mut store = IssuedStore::open(ca, &out, Sink::Bundle).unwrap();
    let requests =
        identities.iter().map(|&identity| IssueRequest::new(identity.clone(), KeySource::Generate));
    issue_batch(ca, &IssueOptions::new(clock::now()), requests, &mut store, &mut |_| {}).unwrap();
    CredentialSource { issued: Some(IssuedList::open(&out).unwrap()), ..CredentialSource::default() }
}

fn identity(text: &str) -> IdentityId {
    IdentityId::from_common_name(text).unwrap()
}

fn spec(identity: &IdentityId, auth: AuthSpec) -> IdentitySpec {
    let desired = json!({"interval": 60}).as_object().cloned().unwrap();
    IdentitySpec {
        identity: identity.clone(),
        state: StateSpec { auth, desired: desired.into(), ..StateSpec::default() },
    }
}

fn thumbprint_of(source: &CredentialSource, identity: &IdentityId) -> AuthSpec {
    let path = source.certificate(identity).unwrap().unwrap();
    let sha256 = cert_tool::read_certificate(&path).unwrap().sha256();
    AuthSpec::Thumbprint { primary: Some(sha256.into()), secondary: None }
}

fn keys_of(byte: u8) -> SymmetricKeys {
    let key = SymmetricKey::from_bytes(&[byte; 32]);
    SymmetricKeys { primary: key.clone(), secondary: key }
}

#[track_caller]
fn assert_refused(result: &Result<DeviceTwin, ConnectError>) {
    let error = result.as_ref().unwrap_err();
    assert_eq!(error.to_string(), "the hub refused the connection: not authorised");
    assert_eq!(error.class(), ConnectErrorClass::Refused);
    assert!(error.hint().unwrap().contains("thumbprint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_and_its_module_connect_with_their_own_certificates_and_read_their_twins() {
    let line = Station::start().await;
    let [device, module] = ["pump-1", "pump-1/telemetry"].map(identity);
    let source = line.issue(&[&device, &module]);
    let keys = GivenKeys::new();
    for (identity, auth) in [(&device, thumbprint_of(&source, &device)), (&module, AuthSpec::X509Ca)] {
        let spec = line.create(identity, auth, &keys).await;
        let credentials = source.find(&spec).unwrap().unwrap();
        let twin = line.door().twin(identity, &credentials).await.unwrap();
        assert_eq!(twin.desired.values["interval"], 60);
    }
    // The module's certificate is good for the module alone.
    let other = source.find(&spec(&module, AuthSpec::X509Ca)).unwrap().unwrap();
    assert_refused(&line.door().twin(&device, &other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_key_connects_by_token_and_with_another_key_it_does_not() {
    let line = Station::start().await;
    let [known, generated] = ["sas-1", "sas-2"].map(identity);
    let keys = GivenKeys::from([(known.clone(), keys_of(7))]);
    let spec = line.create(&known, AuthSpec::Sas { given: true }, &keys).await;
    let source = CredentialSource { keys: Arc::new(keys), ..CredentialSource::default() };
    let credentials = source.find(&spec).unwrap().unwrap();
    assert!(line.door().twin(&known, &credentials).await.is_ok());
    let wrong = DeviceCredentials::Key(keys_of(8).primary.clone());
    assert_refused(&line.door().twin(&known, &wrong).await);
    let unknown = line.create(&generated, AuthSpec::Sas { given: false }, &GivenKeys::new()).await;
    assert!(source.find(&unknown).unwrap().is_none(), "the hub has its keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_refused_at_once() {
    let line = Station::start().await;
    let (device, good) = line.device("pump-1").await;
    assert!(line.door().twin(&device, &good).await.is_ok());

    assert_refused(&line.door().twin(&identity("nobody"), &good).await);

    let stranger = new_ca(line.folder.path().join("other-pki"));
    let foreign = issue(&stranger, line.folder.path().join("other-issued"), &[&device]);
    let foreign = foreign.find(&spec(&device, AuthSpec::X509Ca)).unwrap().unwrap();
    assert_refused(&line.door().twin(&device, &foreign).await);

    let [other_thumbprint, disabled] = ["pump-2", "pump-3"].map(identity);
    let source = line.issue(&[&other_thumbprint, &disabled]);
    let keys = GivenKeys::new();
    let of_another = thumbprint_of(&source, &disabled);
    let pump_2 = line.create(&other_thumbprint, of_another, &keys).await;
    let credentials = source.find(&pump_2).unwrap().unwrap();
    assert_refused(&line.door().twin(&other_thumbprint, &credentials).await);

    let mut pump_3 = spec(&disabled, thumbprint_of(&source, &disabled));
    pump_3.state.status = Status::Disabled;
    line.client.bulk(&[pump_3.create_item(&keys, Scopes::default())]).await.unwrap();
    let credentials = source.find(&pump_3).unwrap().unwrap();
    assert_refused(&line.door().twin(&disabled, &credentials).await);

    // Ten years later the hub takes neither the certificate nor that of its CA.
    line.hub.clock().advance(time::Duration::days(3660));
    assert_refused(&line.door().twin(&device, &good).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_another_certificates_is_noticed_here() {
    let line = Station::start().await;
    let [one, other] = ["pump-1", "pump-2"].map(identity);
    let list = line.issue(&[&one, &other]).issued.unwrap();
    let [one, other] = [&one, &other].map(|identity| list.find(identity).unwrap().unwrap());
    let error = DeviceCredentials::read(&one.certificate, &other.private_key.unwrap()).unwrap_err();
    assert!(error.to_string().contains("is not the key of the certificate"), "{error}");
    let error = DeviceCredentials::read(&one.certificate, &one.certificate).unwrap_err();
    assert!(error.to_string().contains("a private key"), "{error}");
    let good = DeviceCredentials::read(&one.certificate, &one.private_key.unwrap()).unwrap();
    assert_eq!(format!("{good:?}"), "DeviceCredentials(certificate)");
}

/// Certificates of devices that rustls does not read, by what is odd about them, with their keys; all in PEM.
fn odd_certificates() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let mut written_out = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    written_out.set_asn1_flag(Asn1Flag::EXPLICIT_CURVE);
    let named = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let critical = Asn1Object::from_str("1.2.3.4").unwrap();
    let critical =
        X509Extension::new_from_der(&critical, true, &Asn1OctetString::new_from_bytes(&[5, 0]).unwrap());
    [
        ("version-1", &named, 0, None),
        ("critical", &named, 2, Some(critical.unwrap())),
        ("curve", &written_out, 2, None),
    ]
    .map(|(name, group, version, extension)| {
        let key = PKey::from_ec_key(EcKey::generate(group).unwrap()).unwrap();
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(version).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        if let Some(extension) = extension {
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        (name, builder.build().to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap())
    })
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_rustls_does_not_read_are_shown_to_the_hub_all_the_same() {
    let line = Station::start().await;
    let file = |name: &str, text: &[u8]| {
        let path = line.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let stranger = file("stranger.key", &odd_certificates()[0].2);
    for (name, certificate, key) in odd_certificates() {
        let (certificate, key) = (file("odd.crt", &certificate), file("odd.key", &key));
        let error = DeviceCredentials::read(&certificate, &stranger).unwrap_err();
        assert!(matches!(error, CredentialError::OtherKey { .. }), "{name}: {error}");
        let credentials = DeviceCredentials::read(&certificate, &key).unwrap();
        let sha256 = cert_tool::read_certificate(&certificate).unwrap().sha256();
        let auth = AuthSpec::Thumbprint { primary: Some(sha256.into()), secondary: None };
        line.create(&identity(name), auth, &GivenKeys::new()).await;
        let twin = line.door().twin(&identity(name), &credentials).await;
        // What this hub's TLS makes of it is its own affair: it is the hub that says it.
        assert!(matches!(twin, Ok(_) | Err(ConnectError::RefusedCertificate(_))), "{name}: {twin:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again() {
    let line = Station::start().await;
    let (device, credentials) = line.device("pump-1").await;
    let status = |status, code| Effect::Status { status, code, retry_after: None };
    let throttled = status(429, Some(hub_types::ErrorCode::ThrottlingException));
    for (effect, operation) in [
        (throttled.clone(), "DeviceConnect"),
        (throttled, "DeviceGetTwin"),
        (Effect::Reset, "DeviceConnect"),
        (status(503, Some(hub_types::ErrorCode::ServiceUnavailable)), "DeviceGetTwin"),
    ] {
        line.fail(Fault::always(effect.clone()).of(operation).times(1));
        let first = line.door().twin_once(&device, &credentials).await.unwrap_err();
        let classes = [ConnectErrorClass::Throttled, ConnectErrorClass::Transient];
        assert!(classes.contains(&first.class()), "{effect:?} of {operation}: {first:?}");
        line.fail(Fault::always(effect).of(operation).times(1));
        assert!(line.door().twin(&device, &credentials).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_silent_or_hangs_up_is_told_from_one_that_refuses() {
    let line = Station::start().await;
    let (device, credentials) = line.device("pump-1").await;
    for (effect, operation, expected) in [
        (Effect::Hang(None), "DeviceConnect", "no answer within 0 s in the middle of the login"),
        (Effect::Hang(None), "DeviceGetTwin", "no answer within 0 s in the middle of reading the twin"),
        (Effect::LoseAnswer, "DeviceGetTwin", "the hub hung up in the middle of reading the twin"),
    ] {
        line.fail(Fault::always(effect).of(operation));
        let door = line.door().with_deadline(Duration::from_millis(900));
        let error = door.twin_once(&device, &credentials).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.class()), (expected, ConnectErrorClass::Transient));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_can_not_prove_to_be_the_hub_gets_no_device() {
    let line = Station::start().await;
    let (device, credentials) = line.device("pump-1").await;
    let stranger = new_ca(line.folder.path().join("other-pki"));
    let root = stranger.issuing_certificate().to_pem().into_bytes();
    let trust =
        HubClientOptions { extra_roots: vec![root.into()], is_local: true, ..HubClientOptions::default() };
    let door = Arc::new(line.door_trusting(&trust));
    assert!(matches!(door.knock().await, Err(ConnectError::Untrusted { .. })));
    let ended = connect_each(&door, [(device, credentials)], 1, &CancellationToken::new(), |_, _| {
        panic!("it concerns all");
    })
    .await;
    let error = ended.unwrap_err();
    assert!(error.hint().unwrap().contains("--ca-file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connect_at_once_and_each_is_told_of() {
    let line = Station::start().await;
    let devices: Vec<_> = (0..40).map(|number| identity(&format!("pump-{number}"))).collect();
    let source = line.issue(&devices.iter().collect::<Vec<_>>());
    let mut visits = Vec::new();
    for (number, device) in devices.iter().enumerate() {
        let spec = spec(device, AuthSpec::X509Ca);
        // Every tenth was forgotten.
        if number % 10 != 0 {
            line.create(device, AuthSpec::X509Ca, &GivenKeys::new()).await;
        }
        visits.push((device.clone(), source.find(&spec).unwrap().unwrap()));
    }
    let told = Mutex::new(HashMap::new());
    let door = Arc::new(line.door());
    connect_each(&door, visits.clone(), 4, &CancellationToken::new(), |identity, twin| {
        told.lock().unwrap().insert(identity, twin.is_ok());
    })
    .await
    .unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 40);
    assert_eq!(told.values().filter(|&&connected| connected).count(), 36);
    assert!(!told[&devices[10]]);

    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = connect_each(&door, visits, 4, &stop, |_, _| {}).await;
    assert!(matches!(stopped, Err(ConnectError::Stopped)));
}
