//! Faults on demand, from the view of clients.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use hub_types::ErrorCode;
use local_hub::{Config, Effect, Fault, Faults};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestHub};

fn only(fault: Fault) -> Faults {
    Faults { seed: 0, faults: vec![fault] }
}

fn status(status: u16, code: Option<ErrorCode>) -> Effect {
    Effect::Status { status, code, retry_after: None }
}

async fn put(hub: &TestHub, id: &str) -> reqwest::Result<Answer> {
    let body = json!({"deviceId": id}).to_string();
    hub.client.try_call(Method::PUT, &format!("/devices/{id}"), None, Some(body)).await
}

async fn exists(hub: &TestHub, id: &str) -> bool {
    hub.client.get(&format!("/devices/{id}")).await.status == 200
}

#[tokio::test]
async fn errors_come_in_the_form_that_clients_know_and_nothing_is_done() {
    let hub = TestHub::start().await;
    for (number, code) in [(429, ErrorCode::ThrottlingException), (500, ErrorCode::ServerError)] {
        hub.hub.set_faults(only(Fault::always(status(number, Some(code))).of("PutDevice"))).unwrap();
        put(&hub, "d").await.unwrap().refused(number, code.name());
    }
    for number in [502, 504] {
        hub.hub.set_faults(only(Fault::always(status(number, None)).of("PutDevice"))).unwrap();
        let answer = put(&hub, "d").await.unwrap();
        assert_eq!((answer.status, answer.header("iothub-errorcode")), (number, None));
        assert!(!answer.text.contains("ErrorCode"), "{}", answer.text);
    }
    let busy = Effect::Status { status: 503, code: Some(ErrorCode::ServerBusy), retry_after: Some(2) };
    hub.hub.set_faults(only(Fault::always(busy).of("PutDevice").times(2))).unwrap();
    for _ in 0..2 {
        let answer = put(&hub, "d").await.unwrap();
        answer.refused(503, "ServerBusy");
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
    assert!(!exists(&hub, "d").await);
    assert_eq!(put(&hub, "d").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_is_lost_after_the_effect() {
    let hub = TestHub::start().await;
    hub.hub.set_faults(only(Fault::always(Effect::LoseAnswer).of("PutDevice"))).unwrap();
    put(&hub, "d").await.unwrap_err();
    assert!(exists(&hub, "d").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_one_and_nothing_is_done() {
    let hub = TestHub::start().await;
    hub.hub.set_faults(only(Fault::always(Effect::Reset).of("GetDeviceStatistics"))).unwrap();
    let request = hub.client.raw_get("/statistics/devices");
    let error = tokio::task::block_in_place(|| {
        let mut tls = hub.connect();
        tls.write_all(&request).unwrap();
        tls.read(&mut [0; 100]).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    hub.hub.set_faults(only(Fault::always(Effect::Reset).of("PutDevice"))).unwrap();
    put(&hub, "d").await.unwrap_err();
    assert!(!exists(&hub, "d").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_answer_promises_the_whole() {
    let hub = TestHub::start().await;
    hub.hub.set_faults(only(Fault::always(Effect::HalfAnswer))).unwrap();
    let request = hub.client.raw_get("/statistics/devices");
    let answer = tokio::task::block_in_place(|| {
        let mut tls = hub.connect();
        tls.write_all(&request).unwrap();
        let (mut answer, mut part) = (Vec::new(), [0; 1000]);
        while let Ok(read @ 1..) = tls.read(&mut part) {
            answer.extend_from_slice(&part[..read]);
        }
        String::from_utf8(answer).unwrap()
    });
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), promised.parse::<usize>().unwrap() / 2, "{answer}");
    assert!(body.starts_with("{\"total"), "{body}");
}

#[tokio::test]
async fn slow_answers_arrive_whole_and_late() {
    let hub = TestHub::start().await;
    let quick = hub.client.get("/statistics/devices").await.text;
    let delay = Fault::always(Effect::Delay(Duration::from_millis(50)));
    for (faults, at_least) in [
        (vec![delay.clone()], 50),
        // 76 bytes at 100 per second.
        (vec![delay, Fault::always(Effect::Drip(100))], 500),
    ] {
        hub.hub.set_faults(Faults { seed: 0, faults }).unwrap();
        let begun = Instant::now();
        assert_eq!(hub.client.get("/statistics/devices").await.text, quick);
        assert!(begun.elapsed() >= Duration::from_millis(at_least), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_query_shows_the_hub_as_it_was() {
    let hub = TestHub::start().await;
    put(&hub, "a").await.unwrap();
    hub.hub.set_faults(only(Fault::always(Effect::StalePage).times(1))).unwrap();
    put(&hub, "b").await.unwrap();
    let query = async || hub.client.query("SELECT deviceId FROM devices", &[]).await.ok();
    // Only queries are behind, and a fault of queries is not used up by others.
    assert!(exists(&hub, "b").await);
    assert_eq!(query().await, json!([{"deviceId": "a"}]));
    assert_eq!(query().await, json!([{"deviceId": "a"}, {"deviceId": "b"}]));
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_hangs_ends_when_the_faults_do_and_the_log_knows() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("requests.jsonl");
    let faults = Faults::parse("[[fault]]\neffect = 'hang'\noperation = 'PutDevice'").unwrap();
    let hub =
        TestHub::start_with(Config { request_log: Some(log.clone()), faults, ..Config::default() }).await;
    let client = hub.client.clone();
    let hanging = tokio::spawn(async move {
        client.try_call(Method::PUT, "/devices/d", None, Some("{\"deviceId\":\"d\"}".to_owned())).await
    });
    while lines(&log).is_empty() {
        tokio::task::yield_now().await;
    }
    hub.hub.set_faults(Faults::default()).unwrap();
    hanging.await.unwrap().unwrap_err();
    hub.hub.set_faults(only(Fault::always(Effect::LoseAnswer).of("PutDevice"))).unwrap();
    put(&hub, "d").await.unwrap_err();
    assert!(exists(&hub, "d").await);
    let seen: Vec<_> = lines(&log)
        .into_iter()
        .map(|line| json!([line["operation"], line["status"], line["fault"], line["created"]]))
        .collect();
    assert_eq!(
        seen,
        [
            json!(["PutDevice", null, "hang", 0]),
            json!(["PutDevice", 200, "lose-answer", 1]),
            json!(["GetDevice", 200, null, 0]),
        ]
    );
}

#[tokio::test]
async fn a_hub_that_is_gone_comes_back_as_it_was() {
    let hub = TestHub::start().await;
    put(&hub, "d").await.unwrap();
    hub.hub.set_offline(true);
    put(&hub, "e").await.unwrap_err();
    hub.client.try_call(Method::GET, "/devices/d", None, None).await.unwrap_err();
    hub.hub.set_offline(false);
    assert!(exists(&hub, "d").await && !exists(&hub, "e").await);
}

#[tokio::test]
async fn an_operation_that_is_none_is_refused() {
    let hub = TestHub::start().await;
    let error =
        hub.hub.set_faults(only(Fault::always(Effect::Reset).of("PutDevices"))).unwrap_err().to_string();
    assert!(error.contains("`PutDevices` is not an operation") && error.contains("PutDevice,"), "{error}");
}
