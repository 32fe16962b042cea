//! The authentication of devices: keys, policies, thumbprints, CAs.

use hub_types::thumbprint::{Sha1Thumbprint, Sha256Thumbprint};
use local_hub::{Config, LocalHub};
use mqtt_protocol_core::mqtt::packet::Qos;
use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::device::{
    Credential, Device, DeviceCa, Login, create_device, create_module, resource, self_signed,
    self_signed_with, tls_of, version_1,
};
use crate::support::{TestHub, with_devices};

const NOT_AUTHORIZED: u8 = 5;

async fn code(hub: &TestHub, login: Login) -> u8 {
    Device::connect(hub, login).await.err().unwrap_or(0)
}

/// Creates a device or module that authenticates with a certificate.
async fn create(hub: &TestHub, identity: &str, authentication: &Value) {
    let (path, mut body) = match identity.split_once('/') {
        None => (format!("/devices/{identity}"), json!({"deviceId": identity})),
        Some((device, module)) => {
            (format!("/devices/{device}/modules/{module}"), json!({"deviceId": device, "moduleId": module}))
        }
    };
    body["authentication"] = authentication.clone();
    hub.client.put(&path, None, &body).await.ok();
}

fn thumbprints(primary: &str, secondary: &str) -> Value {
    json!({"type": "selfSigned", "x509Thumbprint": {
        "primaryThumbprint": primary, "secondaryThumbprint": secondary}})
}

fn sha1(credential: &Credential) -> String {
    Sha1Thumbprint::of_der(&credential.chain[0]).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(credential: &Credential) -> String {
    let digest = Sha256Thumbprint::of_der(&credential.chain[0]);
    digest.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect()
}

async fn hub_that_trusts(cas: &[&DeviceCa]) -> (TestHub, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let files = cas.iter().enumerate().map(|(number, ca)| {
        let path = folder.path().join(format!("{number}.pem"));
        std::fs::write(&path, &ca.pem).unwrap();
        path
    });
    let config = Config { device_cas: files.collect(), ..with_devices() };
    (TestHub::start_with(config).await, folder)
}

#[tokio::test]
async fn either_key_of_a_device_or_module_signs_its_tokens() {
    let hub = TestHub::with_devices().await;
    create_device(&hub.client, "d").await;
    create_module(&hub.client, "d", "m").await;
    for (path, identity) in [("/devices/d", "d"), ("/devices/d/modules/m", "d/m")] {
        let created = hub.client.get(path).await.ok();
        for slot in ["primaryKey", "secondaryKey"] {
            let key = created["authentication"]["symmetricKey"][slot].as_str().unwrap();
            assert_eq!(code(&hub, Login::signed(identity, key)).await, 0, "{identity} {slot}");
        }
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_identity_one_host_and_its_time() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let other = create_device(&hub.client, "e").await;
    let module = create_module(&hub.client, "d", "m").await;
    let with = |identity: &str, key: &str, resource: &str, seconds| {
        code(&hub, Login::of(identity).with_token(None, key, resource, seconds))
    };
    assert_eq!(with("d", &key, "LOCALHOST/devices/d", 60).await, 0);
    assert_eq!(with("d", &key, "localhost", 60).await, 0, "a scope covers what is below it");
    assert_eq!(with("d", &other, &resource("d"), 60).await, NOT_AUTHORIZED);
    assert_eq!(with("d", &key, &resource("e"), 60).await, NOT_AUTHORIZED);
    assert_eq!(with("d", &key, "another.example/devices/d", 60).await, NOT_AUTHORIZED);
    assert_eq!(with("d", &key, &resource("d"), -1).await, NOT_AUTHORIZED, "expired");
    assert_eq!(with("d/m", &key, &resource("d/m"), 60).await, NOT_AUTHORIZED, "the key of its device");
    assert_eq!(with("d", &module, &resource("d"), 60).await, NOT_AUTHORIZED, "the key of its module");
    assert_eq!(with("missing", &key, &resource("missing"), 60).await, NOT_AUTHORIZED);
    assert_eq!(with("d/missing", &key, &resource("d/missing"), 60).await, NOT_AUTHORIZED);
}

#[tokio::test]
async fn names_and_passwords_that_do_not_fit_are_refused() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    assert_eq!(code(&hub, Login::of("d")).await, NOT_AUTHORIZED, "no password");
    let garbage = Login { password: Some("SharedAccessSignature x".to_owned()), ..Login::of("d") };
    assert_eq!(code(&hub, garbage).await, NOT_AUTHORIZED);
    let another = Login { client_id: "e".to_owned(), ..Login::signed("d", &key) };
    assert_eq!(code(&hub, another).await, NOT_AUTHORIZED, "another client id");
    let short = Login { user_name: "localhost".to_owned(), ..Login::signed("d", &key) };
    assert_eq!(code(&hub, short).await, NOT_AUTHORIZED);
    let old = Login { user_name: "localhost/d".to_owned(), ..Login::signed("d", &key) };
    assert_eq!(code(&hub, old).await, 0, "the old form of the user name");
}

#[tokio::test]
async fn a_policy_connects_as_any_device_if_it_has_the_right() {
    let hub = TestHub::with_devices().await;
    create(&hub, "d", &thumbprints(&"a".repeat(40), &"b".repeat(40))).await;
    let with = |policy: &'static str| {
        let key = hub.hub.connection_string(policy).unwrap().key;
        code(&hub, Login::of("d").with_token(Some(policy), key.expose_text(), "localhost", 60))
    };
    assert_eq!(with("device").await, 0);
    assert_eq!(with("iothubowner").await, 0);
    assert_eq!(with("service").await, NOT_AUTHORIZED);
    assert_eq!(with("registryReadWrite").await, NOT_AUTHORIZED);
    let wrong = hub.hub.connection_string("service").unwrap().key;
    let wrong = Login::of("d").with_token(Some("device"), wrong.expose_text(), "localhost", 60);
    assert_eq!(code(&hub, wrong).await, NOT_AUTHORIZED);
}

#[tokio::test]
async fn a_certificate_with_either_thumbprint_is_let_in() {
    let hub = TestHub::with_devices().await;
    let (first, second, stranger) = (self_signed("d"), self_signed("a name of its own"), self_signed("d"));
    create(&hub, "d", &thumbprints(&sha1(&first), &sha256(&second))).await;
    assert_eq!(code(&hub, Login::of("d").with_certificate(first)).await, 0);
    assert_eq!(code(&hub, Login::of("d").with_certificate(second)).await, 0);
    assert_eq!(code(&hub, Login::of("d").with_certificate(stranger)).await, NOT_AUTHORIZED);
    assert_eq!(code(&hub, Login::of("d")).await, NOT_AUTHORIZED, "no certificate");
}

type Make = fn() -> Credential;

/// Only the thumbprint decides; the other contents of the certificate do not matter.
#[tokio::test]
async fn whatever_has_the_thumbprint_a_key_and_valid_dates_is_let_in() {
    let hub = TestHub::with_devices().await;
    let made: [(&str, Make); 6] = [
        ("version 1", || version_1("d")),
        ("an unknown critical extension", || {
            self_signed_with("d", &KeyPair::generate().unwrap(), |params| {
                let mut unknown =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                unknown.set_criticality(true);
                params.custom_extensions.push(unknown);
            })
        }),
        ("CA:TRUE", || {
            self_signed_with("d", &KeyPair::generate().unwrap(), |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            })
        }),
        ("for servers", || {
            self_signed_with("d", &KeyPair::generate().unwrap(), |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })
        }),
        ("P-384", || self_signed_with("d", &KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), |_| {})),
        ("no name", || self_signed_with("", &KeyPair::generate().unwrap(), |_| {})),
    ];
    for (what, make) in made {
        for version in rustls::ALL_VERSIONS {
            let (credential, stranger) = (make(), make());
            hub.client.delete("/devices/d", Some("*")).await;
            create(&hub, "d", &thumbprints(&sha256(&credential), &sha1(&credential))).await;
            for (credential, wanted) in [(credential, 0), (stranger, NOT_AUTHORIZED)] {
                let address = hub.hub.mqtt_addr().unwrap();
                let stream = tls_of(&[version], address, hub.hub.ca_pem(), Some(credential)).await;
                let (_, code, _) = Device::over(stream, Login::of("d")).await;
                assert_eq!(code, wanted, "{what}, {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_password_that_is_no_token_says_nothing_beside_a_certificate() {
    let hub = TestHub::with_devices().await;
    let (own, stranger) = (self_signed("d"), self_signed("d"));
    create(&hub, "d", &thumbprints(&sha256(&own), &sha1(&own))).await;
    for (credential, wanted) in [(own, 0), (stranger, NOT_AUTHORIZED)] {
        let login = Login { password: Some("MIIEvQIBADAN".to_owned()), ..Login::of("d") };
        assert_eq!(code(&hub, login.with_certificate(credential)).await, wanted);
    }
}

#[tokio::test]
async fn dates_count_with_a_thumbprint_too_by_the_hubs_own_clock() {
    let now = OffsetDateTime::now_utc();
    let hub = TestHub::with_devices().await;
    let make = |common_name: &str, from: i64, until: i64| {
        self_signed_with(common_name, &KeyPair::generate().unwrap(), |params| {
            params.not_before = now + Duration::days(from);
            params.not_after = now + Duration::days(until);
        })
    };
    create_device(&hub.client, "d").await;
    for identity in ["e", "d/m"] {
        let expired = make(identity, -20, -10);
        let future = make(identity, 10, 20);
        create(&hub, identity, &thumbprints(&sha256(&expired), &sha256(&future))).await;
        let with = |credential: &Credential| {
            let credential = Credential { chain: credential.chain.clone(), key: credential.key.clone_key() };
            code(&hub, Login::of(identity).with_certificate(credential))
        };
        for (days, let_in) in
            [(-30, [false, false]), (-15, [true, false]), (0, [false, false]), (15, [false, true])]
        {
            hub.hub.clock().set(now + Duration::days(days));
            let codes = [with(&expired).await == 0, with(&future).await == 0];
            assert_eq!(codes, let_in, "{identity}, {days} days from now");
        }
        hub.hub.clock().set(now);
    }
}

#[tokio::test]
async fn a_will_is_a_message_to_the_cloud_of_ones_own() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let module_key = create_module(&hub.client, "d", "m").await;
    for (identity, key, topic, wanted) in [
        ("d", &key, "devices/d/messages/events/", 0),
        ("d", &key, "devices/d/messages/events", 0),
        ("d", &key, "devices/d/messages/events/%24.ct=application%2Fjson", 0),
        ("d", &key, "devices/e/messages/events/", NOT_AUTHORIZED),
        ("d", &key, "devices/d/modules/m/messages/events/", NOT_AUTHORIZED),
        ("d", &key, "devices/d/messages/devicebound/", NOT_AUTHORIZED),
        ("d", &key, "$iothub/twin/PATCH/properties/reported/?$rid=1", NOT_AUTHORIZED),
        ("d", &key, "$iothub/twin/GET/?$rid=1", NOT_AUTHORIZED),
        ("d", &key, "lastwill", NOT_AUTHORIZED),
        ("d/m", &module_key, "devices/d/modules/m/messages/events/", 0),
        ("d/m", &module_key, "devices/d/messages/events/", NOT_AUTHORIZED),
    ] {
        for (qos, wanted) in [
            (Qos::AtMostOnce, wanted),
            (Qos::AtLeastOnce, wanted),
            // IoT Hub has none of these.
            (Qos::ExactlyOnce, NOT_AUTHORIZED),
        ] {
            let login = Login { will: Some((topic.to_owned(), qos)), ..Login::signed(identity, key) };
            assert_eq!(code(&hub, login).await, wanted, "{identity} {topic} {qos:?}");
        }
    }
}

#[tokio::test]
async fn a_modules_certificate_bears_both_names() {
    let hub = TestHub::with_devices().await;
    create_device(&hub.client, "d").await;
    let (good, bad) = (self_signed("d/m"), self_signed("m"));
    create(&hub, "d/m", &thumbprints(&sha256(&good), &sha256(&bad))).await;
    assert_eq!(code(&hub, Login::of("d/m").with_certificate(good)).await, 0);
    assert_eq!(code(&hub, Login::of("d/m").with_certificate(bad)).await, NOT_AUTHORIZED);
}

#[tokio::test]
async fn a_chain_must_lead_to_a_device_ca_and_the_name_must_be_the_identitys() {
    let (root, other) = (DeviceCa::new(), DeviceCa::new());
    let (hub, _folder) = hub_that_trusts(&[&root]).await;
    for identity in ["d", "d/m"] {
        create(&hub, identity, &json!({"type": "certificateAuthority"})).await;
        let with = |credential| code(&hub, Login::of(identity).with_certificate(credential));
        assert_eq!(with(root.issue(identity)).await, 0, "{identity}");
        assert_eq!(with(root.issue("e")).await, NOT_AUTHORIZED, "another's name");
        assert_eq!(with(other.issue(identity)).await, NOT_AUTHORIZED, "another CA");
        assert_eq!(with(self_signed(identity)).await, NOT_AUTHORIZED, "no CA");

        let (intermediate, certificate) = root.intermediate();
        let leaf = intermediate.issue(identity);
        let whole = Credential { chain: vec![leaf.chain[0].clone(), certificate], key: leaf.key.clone_key() };
        assert_eq!(with(leaf).await, NOT_AUTHORIZED, "the intermediate is missing");
        assert_eq!(with(whole).await, 0);
    }
}

#[tokio::test]
async fn an_intermediate_can_be_the_device_ca() {
    let root = DeviceCa::new();
    let (intermediate, _) = root.intermediate();
    let (hub, _folder) = hub_that_trusts(&[&DeviceCa::new(), &intermediate]).await;
    create(&hub, "d", &json!({"type": "certificateAuthority"})).await;
    assert_eq!(code(&hub, Login::of("d").with_certificate(intermediate.issue("d"))).await, 0);
    assert_eq!(code(&hub, Login::of("d").with_certificate(root.issue("d"))).await, NOT_AUTHORIZED);
}

#[tokio::test]
async fn dates_count_in_leaves_and_in_cas() {
    let now = OffsetDateTime::now_utc();
    let root = DeviceCa::new();
    let expired = DeviceCa::with(|params| params.not_after = now - Duration::DAY);
    let (hub, _folder) = hub_that_trusts(&[&root, &expired]).await;
    create(&hub, "d", &json!({"type": "certificateAuthority"})).await;
    let with = |credential| code(&hub, Login::of("d").with_certificate(credential));
    assert_eq!(with(root.issue("d")).await, 0);
    let old = root.issue_with("d", |params| params.not_after = now - Duration::DAY);
    assert_eq!(with(old).await, NOT_AUTHORIZED);
    let early = root.issue_with("d", |params| params.not_before = now + Duration::DAY);
    assert_eq!(with(early).await, NOT_AUTHORIZED);
    assert_eq!(with(expired.issue("d")).await, NOT_AUTHORIZED);
}

#[tokio::test]
async fn a_file_that_is_no_ca_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let leaf = DeviceCa::with(|params| params.is_ca = IsCa::ExplicitNoCa);
    for (content, reason) in [(leaf.pem.as_str(), "not that of a CA"), ("hello", "no certificate")] {
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, content).unwrap();
        let config = Config { device_cas: vec![path], ..with_devices() };
        let error = LocalHub::start(config).await.unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("ca.pem"), "{error}");
    }
}
