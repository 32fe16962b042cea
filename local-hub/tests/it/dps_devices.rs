//! Devices that register: their proofs, over MQTT, HTTPS and WebSocket, and everything that refuses
//! them.

use std::process::Command;

use hub_types::dps::device_token::device_key;
use local_hub::{Charging, Effect, Throttling};
use local_hub::{Config, DpsConfig, Fault, Faults};
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::{Value, json};

use crate::device::{Credential, Device, DeviceCa, Login, self_signed, tls};
use crate::dps::{Registrant, TestDps, of_client, of_keys, of_signer, with_dps};
use crate::mqtt_websocket::open_at;
use crate::support::{Client, Process};

/// A copy, so that a device can present its certificate twice.
fn copy(credential: &Credential) -> Credential {
    Credential { chain: credential.chain.clone(), key: credential.key.clone_key() }
}

/// The code and the status of a refusal.
fn refusal(outcome: &Value) -> (&Value, &Value) {
    (&outcome["refused"], &outcome["answer"]["errorCode"])
}

const UNAUTHORIZED: &str = "401/?$rid=r-1";

#[tokio::test]
async fn a_device_registers_with_its_own_certificate_and_connects_to_its_hub() {
    let dps = TestDps::start().await;
    let pump = self_signed("pump-1");
    let further = json!({
        "deviceId": "Pump.1", "initialTwin": {"tags": {"site": "A"}, "properties": {"desired": {"rate": 5}}},
    });
    dps.enroll("pump-1", of_client(&pump), further).await;
    let outcome = dps.register_with("pump-1", copy(&pump)).await;
    assert_eq!(outcome["status"], "assigned");
    let state = &outcome["registrationState"];
    assert_eq!(
        (&state["assignedHub"], &state["deviceId"], &state["substatus"], &state["registrationId"]),
        (&json!("localhost"), &json!("Pump.1"), &json!("initialAssignment"), &json!("pump-1"))
    );
    assert!(state["etag"].is_string() && state["createdDateTimeUtc"].is_string(), "{state}");
    let twin = dps.hub.client.get("/twins/Pump.1").await.ok();
    assert_eq!((&twin["tags"]["site"], &twin["properties"]["desired"]["rate"]), (&json!("A"), &json!(5)));
    let login = Login::of("Pump.1").with_certificate(pump);
    assert_eq!(Device::connect(&dps.hub, login).await.err(), None);
    let shown = dps.client.get("/registrations/pump-1").await.ok();
    assert_eq!((&shown["status"], &shown["deviceId"]), (&json!("assigned"), &json!("Pump.1")));
}

#[tokio::test]
async fn a_device_of_a_group_registers_with_its_chain() {
    let dps = TestDps::start().await;
    let root = DeviceCa::new();
    let (factory, factory_certificate) = root.intermediate();
    dps.enroll_group("all", of_signer(&root), json!({})).await;
    let with_chain = |id: &str| {
        let mut leaf = factory.issue(id);
        leaf.chain.push(factory_certificate.clone());
        leaf
    };
    let outcome = dps.register_with("pump-1", with_chain("pump-1")).await;
    let state = &outcome["registrationState"];
    assert_eq!((&state["status"], &state["x509"]["enrollmentGroupId"]), (&json!("assigned"), &json!("all")));
    // The group of the intermediate is nearer, and needs no intermediate.
    dps.enroll_group("factory", of_signer(&factory), json!({"capabilities": {"iotEdge": true}})).await;
    let outcome = dps.register_with("pump-2", factory.issue("pump-2")).await;
    assert_eq!(outcome["registrationState"]["x509"]["enrollmentGroupId"], "factory");
    assert_eq!(dps.hub.client.get("/devices/pump-2").await.ok()["capabilities"]["iotEdge"], true);
    // The disabled one blocks, although the root's would let it in.
    let path = "/enrollmentGroups/factory";
    let mut group = dps.client.get(path).await.ok();
    group["provisioningStatus"] = json!("disabled");
    dps.client.put(path, Some("*"), &group).await.ok();
    let outcome = dps.register_with("pump-3", with_chain("pump-3")).await;
    assert_eq!(refusal(&outcome), (&json!(UNAUTHORIZED), &json!(401_002)));
    dps.hub.client.get("/devices/pump-3").await.with_status(404);
}

#[tokio::test]
async fn a_group_may_refer_to_a_ca_by_name() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), DeviceCa::new());
    let file = folder.path().join("factory.pem");
    std::fs::write(&file, &ca.pem).unwrap();
    let config = with_dps();
    let dps = DpsConfig { cas: vec![file], ..config.dps.clone().unwrap() };
    let dps = TestDps::start_with(Config { dps: Some(dps), ..config }).await;
    let by_name = |name: &str| json!({"type": "x509", "x509": {"caReferences": {"primary": name}}});
    dps.enroll_group("all", by_name("factory"), json!({})).await;
    let outcome = dps.register_with("pump-1", ca.issue("pump-1")).await;
    assert_eq!(outcome["status"], "assigned");
    dps.enroll("pump-2", by_name("sold"), json!({})).await;
    let outcome = dps.register_with("pump-2", ca.issue("pump-2")).await;
    assert_eq!(refusal(&outcome).1, 401_002);
}

#[tokio::test]
async fn every_certificate_that_does_not_fit_is_refused_with_401002_and_no_device_is_made() {
    let dps = TestDps::start().await;
    let (root, stranger) = (DeviceCa::new(), DeviceCa::new());
    let (factory, _) = root.intermediate();
    dps.enroll_group("all", of_signer(&root), json!({})).await;
    dps.enroll("known", of_client(&self_signed("known")), json!({})).await;
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    let cases = [
        ("another CA", "pump", stranger.issue("pump")),
        ("no entry", "pump", self_signed("pump")),
        ("an intermediate that is missing", "pump", factory.issue("pump")),
        ("a common name of another device", "pump", root.issue("valve")),
        ("expired", "pump", root.issue_with("pump", |params| params.not_after = year(2020))),
        ("of the future", "pump", root.issue_with("pump", |params| params.not_before = year(2090))),
        ("the entry of someone else", "known", self_signed("known")),
        (
            "for servers only",
            "pump",
            root.issue_with("pump", |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
    ];
    for (case, id, certificate) in cases {
        let outcome = dps.register_with(id, certificate).await;
        assert_eq!(refusal(&outcome), (&json!(UNAUTHORIZED), &json!(401_002)), "{case}");
        assert_eq!(outcome["answer"]["message"], "Unauthorized", "{case}");
        dps.hub.client.get(&format!("/devices/{id}")).await.with_status(404);
        dps.client.get(&format!("/registrations/{id}")).await.with_status(404);
    }
}

#[tokio::test]
async fn a_device_registers_with_a_key_of_its_own_or_of_its_group() {
    let dps = TestDps::start().await;
    dps.enroll("pump-1", of_keys(), json!({})).await;
    let key = dps.key("pump-1").await;
    let outcome = dps.register(dps.signed("pump-1", &key)).await;
    assert_eq!(
        (&outcome["status"], &outcome["registrationState"]["symmetricKey"]),
        (&json!("assigned"), &json!({}))
    );
    assert_eq!(Device::connect(&dps.hub, Login::signed("pump-1", &key)).await.err(), None);
    dps.enroll_group("valves", of_keys(), json!({})).await;
    let shown = dps.client.post("/enrollmentGroups/valves/attestationmechanism", &json!({})).await.ok();
    let group_key = shown["symmetricKey"]["secondaryKey"].as_str().unwrap().parse().unwrap();
    let derived = device_key(&group_key, &"valve-1".parse().unwrap()).expose_text().to_string();
    let outcome = dps.register(dps.signed("valve-1", &derived)).await;
    assert_eq!(outcome["registrationState"]["symmetricKey"]["enrollmentGroupId"], "valves");
    assert_eq!(Device::connect(&dps.hub, Login::signed("valve-1", &derived)).await.err(), None);
    let outcome = dps.register(dps.signed("valve-2", &derived)).await;
    assert_eq!(refusal(&outcome), (&json!(UNAUTHORIZED), &json!(401_002)));
}

#[tokio::test]
async fn a_device_registers_over_https() {
    let dps = TestDps::start().await;
    dps.enroll("pump-1", of_keys(), json!({})).await;
    let key = dps.key("pump-1").await;
    let device = dps.client.authorized_by(Some(&dps.token("pump-1", &key)));
    let base = format!("/{}/registrations/pump-1", dps.scope());
    device.call(Method::POST, &base, None, Some(&json!({}))).await.with_status(404);
    let body = json!({"registrationId": "pump-1", "payload": {"batch": 7}});
    let answer = device.put(&format!("{base}/register"), None, &body).await;
    answer.with_status(202);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let operation = answer.json()["operationId"].as_str().unwrap().to_owned();
    let path = format!("{base}/operations/{operation}");
    assert_eq!(answer.header("location"), Some(path.as_str()));
    assert_eq!(device.get(&path).await.ok()["status"], "assigned");
    let state = device.call(Method::POST, &base, None, Some(&json!({}))).await.ok();
    assert_eq!((&state["status"], &state["assignedHub"]), (&json!("assigned"), &json!("localhost")));
    let other = dps.client.authorized_by(Some(&dps.token("pump-2", &key)));
    for client in [&other, &device.authorized_by(None), &device.authorized_by(Some("Bearer x"))] {
        let refused = client.put(&format!("{base}/register"), None, &body).await;
        assert_eq!((refused.status, &refused.json()["errorCode"]), (401, &json!(401_002)));
    }
    device.get(&format!("{base}/operations/4.0.0")).await.with_status(404);
    let forged = hub_types::SymmetricKey::from_bytes(&[7; 32]).expose_text().to_string();
    let forged = dps.client.authorized_by(Some(&dps.token("pump-1", &forged)));
    forged.get(&path).await.with_status(401);
    let elsewhere = device.put("/0neELSE/registrations/pump-1/register", None, &body).await;
    elsewhere.with_status(401);
}

#[tokio::test]
async fn a_device_registers_over_https_with_a_certificate() {
    let (dps, ca) = (TestDps::start().await, DeviceCa::new());
    dps.enroll_group("all", of_signer(&ca), json!({})).await;
    let pump = ca.issue("pump-1");
    let pem = |label: &str, der: &[u8]| {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let identity = pem("PRIVATE KEY", pump.key.secret_der()) + &pem("CERTIFICATE", &pump.chain[0]);
    #[expect(clippy::disallowed_methods, reason = "the client of a test")]
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(dps.hub.hub.ca_pem().as_bytes()).unwrap()])
        .identity(reqwest::Identity::from_pem(identity.as_bytes()).unwrap())
        .no_proxy()
        .build()
        .unwrap();
    let (host, scope) = (dps.client.host(), dps.scope());
    let url = |id: &str| {
        format!(
            "https://{host}/{scope}/registrations/{id}/register?api-version=2021-06-01&forceRegistration=true"
        )
    };
    assert_eq!(client.put(url("pump-1")).send().await.unwrap().status(), 202);
    dps.hub.client.get("/devices/pump-1").await.ok();
    assert_eq!(client.put(url("pump-2")).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_device_registers_inside_a_websocket() {
    let (dps, ca) = (TestDps::start().await, DeviceCa::new());
    dps.enroll_group("all", of_signer(&ca), json!({})).await;
    let (address, ca_pem) = (dps.dps().https_addr(), dps.hub.hub.ca_pem());
    let (stream, _) = open_at(address, ca_pem, Some(ca.issue("pump-1")), Some("mqtt")).await.unwrap();
    let mut device = Registrant::over(stream, dps.login("pump-1")).await.unwrap();
    assert_eq!(device.register(json!({})).await["status"], "assigned");
}

#[tokio::test]
async fn what_connect_must_have_is_asked_for_before_any_entry() {
    let dps = TestDps::start().await;
    let key = hub_types::SymmetricKey::from_bytes(&[7; 32]).expose_text().to_string();
    let login = || dps.signed("pump", &key);
    // A key that no entry knows is refused at the registration only, as by the service.
    assert!(dps.connect(login()).await.is_ok());
    let scope = dps.scope().to_string();
    let with_name = |name: String| Login { user_name: name, ..login() };
    let cases = [
        with_name("0neELSE/registrations/pump/api-version=2019-03-31".to_owned()),
        with_name(format!("{scope}/registrations/pump/")),
        with_name(format!("{scope}/registrations/pump/api-version=latest")),
        with_name(format!("{scope}/registrations/p%20ump/api-version=2019-03-31")),
        Login { client_id: "valve".to_owned(), ..login() },
        Login { password: Some("secret".to_owned()), ..login() },
        Login { password: Some(dps.token("valve", &key)), ..login() },
        Login { password: None, ..login() },
    ];
    for (place, case) in cases.into_iter().enumerate() {
        assert_eq!(dps.connect(case).await.err(), Some(5), "case {place}");
    }
}

#[tokio::test]
async fn a_device_has_no_topics_but_those_of_registrations() {
    let dps = TestDps::start().await;
    dps.enroll("pump", of_keys(), json!({})).await;
    let login = || async { dps.signed("pump", &dps.key("pump").await) };
    let mut device = dps.connect(login().await).await.unwrap().0;
    for filter in ["#", "$dps/#", "$iothub/twin/res/#"] {
        assert_eq!(device.subscribe(filter, Qos::AtLeastOnce).await, 0x80, "{filter}");
    }
    assert_eq!(device.subscribe("$dps/registrations/res/#", Qos::ExactlyOnce).await, 1);
    device.publish("devices/pump/messages/events/", "{}", Qos::AtMostOnce).await;
    device.closed().await;
    let mut device = dps.connect(login().await).await.unwrap();
    let (status, answer) = device.call("$dps/registrations/PUT/iotdps-register/?$rid=7", "{no json").await;
    assert_eq!((status.as_str(), &answer["errorCode"]), ("400/?$rid=7", &json!(400_000)));
    let other = json!({"registrationId": "valve"}).to_string();
    let (status, _) = device.call("$dps/registrations/PUT/iotdps-register/?$rid=8", &other).await;
    assert_eq!(status, "400/?$rid=8");
    let large = json!({"payload": "x".repeat(96 * 1024)}).to_string();
    let (status, _) = device.call("$dps/registrations/PUT/iotdps-register/?$rid=9", &large).await;
    assert_eq!(status, "413/?$rid=9");
}

#[tokio::test]
async fn what_is_not_built_is_named() {
    let dps = TestDps::start().await;
    dps.enroll("pump", of_keys(), json!({})).await;
    let key = dps.key("pump").await;
    let mut device = dps.connect(dps.signed("pump", &key)).await.unwrap();
    let outcome = device.register(json!({"csr": "MIIB"})).await;
    assert_eq!(outcome["refused"], "501/?$rid=r-1");
    assert!(outcome["answer"]["message"].as_str().unwrap().contains("IssueCertificate"), "{outcome}");
    let tpm = json!({"type": "tpm", "tpm": {"endorsementKey": "AToAAQ=="}});
    dps.enroll("valve", tpm, json!({})).await;
    let mut device = dps.connect(dps.signed("valve", &key)).await.unwrap();
    let outcome = device.register(json!({})).await;
    assert!(outcome["answer"]["message"].as_str().unwrap().contains("TpmAttestation"), "{outcome}");
    let device = dps.client.authorized_by(Some(&dps.token("pump", &key)));
    let path = format!("/{}/registrations/pump", dps.scope());
    device.call(Method::POST, &path, None, Some(&json!({"csr": "MIIB"}))).await.with_status(400);
}

#[tokio::test]
async fn a_registration_whose_answer_is_lost_has_been_made_and_can_be_repeated() {
    let dps = TestDps::start().await;
    dps.enroll("pump", of_keys(), json!({})).await;
    let key = dps.key("pump").await;
    let lost = Fault::always(Effect::LoseAnswer).of("ProvisioningRegister").times(1);
    dps.hub.hub.set_faults(Faults { faults: vec![lost], ..Faults::default() }).unwrap();
    let mut device = dps.connect(dps.signed("pump", &key)).await.unwrap().0;
    device.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "{}", Qos::AtMostOnce).await;
    device.closed().await;
    dps.hub.client.get("/devices/pump").await.ok();
    let created = dps.client.get("/registrations/pump").await.ok()["createdDateTimeUtc"].clone();
    let outcome = dps.register(dps.signed("pump", &key)).await;
    let state = &outcome["registrationState"];
    assert_eq!((&state["substatus"], &state["createdDateTimeUtc"]), (&json!("initialAssignment"), &created));
    let unavailable = Effect::Status { status: 503, code: None, retry_after: None };
    let unavailable = Fault::always(unavailable).of("ProvisioningRegister");
    dps.hub.hub.set_faults(Faults { faults: vec![unavailable], ..Faults::default() }).unwrap();
    let outcome = dps.register(dps.signed("pump", &key)).await;
    assert_eq!(outcome["refused"], "503/?$rid=r-1");
}

#[tokio::test]
async fn registrations_and_polls_are_throttled_with_a_tier() {
    let throttling = Throttling {
        tier: "S1".parse().unwrap(),
        units: 1.try_into().unwrap(),
        charging: Charging::PerIdentity,
    };
    let dps = TestDps::start_with(Config { throttling: Some(throttling), ..with_dps() }).await;
    dps.enroll("pump", of_keys(), json!({})).await;
    let key = dps.key("pump").await;
    let mut device = dps.connect(dps.signed("pump", &key)).await.unwrap();
    let (_, answer) = device.call("$dps/registrations/PUT/iotdps-register/?$rid=1", "").await;
    let operation = answer["operationId"].as_str().unwrap();
    let topic = format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}");
    for _ in 0..5 {
        assert_eq!(device.call(&topic, "").await.0, "200/?$rid=2");
    }
    let (status, answer) = device.call(&topic, "").await;
    assert_eq!((status.as_str(), &answer["errorCode"]), ("429/?$rid=2&retry-after=1", &json!(429_001)));
    dps.hub.hub.clock().advance(time::Duration::seconds(10));
    assert_eq!(device.call(&topic, "").await.0, "200/?$rid=2");
}

#[tokio::test]
async fn the_log_has_a_line_for_each_operation_of_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("requests.jsonl");
    let dps = TestDps::start_with(Config { request_log: Some(log.clone()), ..with_dps() }).await;
    dps.enroll("pump", of_keys(), json!({})).await;
    let outcome = dps.register(dps.signed("pump", &dps.key("pump").await)).await;
    assert_eq!(outcome["status"], "assigned");
    assert_eq!(dps.connect(dps.login("pump")).await.err(), Some(5));
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> =
        lines.filter(|line| line["operation"].as_str().unwrap().starts_with("Provisioning")).collect();
    let operations: Vec<&str> = lines.iter().map(|line| line["operation"].as_str().unwrap()).collect();
    let expected = [
        "ProvisioningConnect",
        "ProvisioningSubscribe",
        "ProvisioningRegister",
        "ProvisioningGetOperationStatus",
        "ProvisioningDisconnect",
        "ProvisioningConnect",
    ];
    assert_eq!(operations, expected);
    assert!(lines.iter().all(|line| line["identity"] == "pump" && line["agent"] == "test"), "{text}");
    assert!(lines[5]["reason"].as_str().unwrap().contains("neither a token nor a certificate"), "{text}");
}

#[tokio::test]
async fn a_dps_is_offline_with_its_hub_and_newer_versions_are_served() {
    let dps = TestDps::start().await;
    dps.enroll("pump", of_keys(), json!({})).await;
    let key = dps.key("pump").await;
    let mut device = dps.connect(dps.signed("pump", &key)).await.unwrap();
    dps.hub.hub.set_offline(true);
    device.0.closed().await;
    let entry = dps.client.try_call(Method::GET, "/enrollments/pump", None, None).await;
    assert!(entry.is_err());
    dps.hub.hub.set_offline(false);
    let login = dps.signed("pump", &key);
    let user_name = login.user_name.replace("2019-03-31", "2030-01-01-preview");
    assert_eq!(dps.register(Login { user_name, ..login }).await["status"], "assigned");
}

#[tokio::test]
async fn the_log_of_the_process_says_everything_that_refuses_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("hub"), folder.path().join("stderr"));
    let mut command = Command::new("env");
    command.stderr(std::fs::File::create(&log).unwrap()).env("LOCAL_HUB_DPS", "true");
    command.env("LOCAL_HUB_DPS_HTTPS", "127.0.0.1:0").env("LOCAL_HUB_DPS_MQTT", "127.0.0.1:0");
    let process = Process::serve_through(command, &data);
    let read = |file: &str| std::fs::read_to_string(data.join(file)).unwrap().trim().to_owned();
    let client = Client::new(&read("dps-connection-string").parse().unwrap(), &process.ca_pem);
    let ca = DeviceCa::new();
    let group =
        json!({"enrollmentGroupId": "all", "attestation": of_signer(&ca), "provisioningStatus": "disabled"});
    client.put("/enrollmentGroups/all", None, &group).await.ok();

    let expired = ca.issue_with("valve", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let (_, after) = process.ready_line.split_once("; DPS on https://").unwrap();
    let (_, address) = after.split_once("mqtts://").unwrap();
    let address = address.split(' ').next().unwrap().parse().unwrap();
    let login = Login {
        client_id: "pump".to_owned(),
        user_name: format!("{}/registrations/pump/api-version=2019-03-31", read("dps-id-scope")),
        keep_alive: 60,
        ..Login::default()
    };
    let stream = tls(address, &process.ca_pem, Some(expired)).await;
    let outcome = Registrant::over(stream, login).await.unwrap().register(json!({})).await;
    assert_eq!(refusal(&outcome), (&json!(UNAUTHORIZED), &json!(401_002)));
    let text = std::fs::read_to_string(log).unwrap();
    let line = text.lines().find(|line| line.contains("a registration is refused (401002)")).unwrap();
    for reason in [
        "common name `valve` is not the registration id `pump`",
        "certificate of `CN=valve` has expired at 2020-01-01T00:00:00Z",
        "the enrolment group `all` is disabled",
        "registration=pump",
    ] {
        assert!(line.contains(reason), "{reason}: {line}");
    }
}

#[tokio::test]
async fn a_dps_may_share_the_addresses_of_its_hub_under_a_name_of_its_own() {
    let config = with_dps();
    let shared = DpsConfig { host_name: Some("dps.test".to_owned()), ..DpsConfig::default() };
    let dps = TestDps::start_with(Config { dps: Some(shared), ..config }).await;
    assert_eq!(dps.dps().https_addr(), dps.hub.hub.https_addr());
    assert_eq!(dps.dps().mqtt_addr(), dps.hub.hub.mqtt_addr());
    dps.hub.client.get("/devices").await.ok();
    let address = dps.dps().https_addr();
    let ca = reqwest::Certificate::from_pem(dps.hub.hub.ca_pem().as_bytes()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the client of a test")]
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .resolve("dps.test", address)
        .build()
        .unwrap();
    let url = format!("https://dps.test:{}/enrollments/a?api-version=2021-10-01", address.port());
    let authorization = dps.client.authorization();
    let answer = client.get(url).header("authorization", authorization).send().await.unwrap();
    assert_eq!(answer.headers().get("iothub-errorcode"), None);
    assert_eq!(answer.json::<Value>().await.unwrap()["errorCode"], 404_201);
    // Without a name, nobody could tell which of the two a client calls.
    let nameless = Config { dps: Some(DpsConfig::default()), ..with_dps() };
    let error = local_hub::LocalHub::start(nameless).await.unwrap_err().to_string();
    assert!(error.contains("--dps-host-name"), "{error}");
}
