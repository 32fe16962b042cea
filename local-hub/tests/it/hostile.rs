//! Clients that mean no good, or do not know better.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::{TestHub, Tls};

/// Sends bytes and reads what comes back until the hub closes or has answered a head.
fn exchange(hub: &TestHub, bytes: &[u8]) -> String {
    let mut tls = hub.connect();
    // The hub may close before it has read everything.
    let _ = tls.write_all(bytes);
    let mut answer = vec![0; 64 * 1024];
    let read = tls.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

async fn still_answers(hub: &TestHub) {
    assert_eq!(hub.client.get("/statistics/devices").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_http_is_answered_400_or_not_at_all() {
    let hub = TestHub::start().await;
    for bytes in [
        &b"nonsense\r\n\r\n"[..],
        b"GET /devices HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost\r\n\r\n",
        b"PUT /devices/d HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"PUT /devices/d HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"\x00\x01\x02\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = tokio::task::block_in_place(|| exchange(&hub, bytes));
        let status = answer.split(' ').nth(1).unwrap_or("400").to_owned();
        assert!(["400", "404", "501", "505"].contains(&status.as_str()), "{answer}");
    }
    still_answers(&hub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_headers_are_cut_off() {
    let hub = TestHub::start().await;
    let mut bytes = b"GET /devices HTTP/1.1\r\nhost: a\r\n".to_vec();
    for count in 0..10_000 {
        bytes.extend_from_slice(format!("x-{count}: {}\r\n", "y".repeat(100)).as_bytes());
    }
    let answer = tokio::task::block_in_place(|| exchange(&hub, &bytes));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    still_answers(&hub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_keep_nobody_waiting() {
    let hub = TestHub::start().await;
    // Some never begin the handshake, some never end their head, some never end their body.
    let silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(hub.hub.https_addr()).unwrap()).collect();
    let dripping: Vec<Tls> = (0..50)
        .map(|count| {
            let mut tls = hub.connect();
            let head: &[u8] = if count % 2 == 0 {
                b"GET /devices HTTP/1.1\r\nhost: loc"
            } else {
                b"PUT /devices/d HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
            };
            tokio::task::block_in_place(|| tls.write_all(head)).unwrap();
            tls
        })
        .collect();
    let answers = async {
        for _ in 0..20 {
            still_answers(&hub).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answers).await.unwrap();
    drop((silent, dripping));
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let hub = TestHub::start().await;
    for body in ["", "{", "{\"deviceId\":\"d\"", "\u{0}", "nul", "{\"deviceId\":\"d\"} x"] {
        let answer =
            hub.client.try_call(Method::PUT, "/devices/d", None, Some(body.to_owned())).await.unwrap();
        answer.refused(400, "IotHubFormatError");
    }
    for open in ["[", "{\"a\":"] {
        let bomb = open.repeat(100_000);
        for (method, path) in
            [(Method::PUT, "/devices/d"), (Method::PATCH, "/twins/d"), (Method::POST, "/devices")]
        {
            let answer = hub.client.try_call(method, path, None, Some(bomb.clone())).await.unwrap();
            assert_eq!(answer.status, 400, "{path}");
        }
    }
    still_answers(&hub).await;
}

#[tokio::test]
async fn oversized_bodies_are_refused_and_the_answer_arrives() {
    let hub = TestHub::start().await;
    for (method, path, megabytes) in [(Method::PATCH, "/twins/d", 3), (Method::POST, "/devices", 9)] {
        let body = " ".repeat(megabytes * 1024 * 1024);
        let answer = hub.client.try_call(method, path, None, Some(body)).await.unwrap();
        answer.refused(413, "MessageTooLarge");
    }
    // Who has no access is told so, however much he sends.
    let stranger = hub.client.authorized_by(None);
    let body = " ".repeat(3 * 1024 * 1024);
    let answer = stranger.try_call(Method::PATCH, "/twins/d", None, Some(body)).await.unwrap();
    answer.refused(401, "IotHubUnauthorized");
}

#[tokio::test]
async fn hostile_ids_in_paths_find_nothing() {
    let hub = TestHub::start().await;
    for id in ["%00", "a%2Fb", "%C3%BC", "a%20b", "%2E%2E%2Fx", &"x".repeat(129), "%0d%0aX-Evil:1", "%FF"] {
        let body = json!({"deviceId": id});
        let answer = hub.client.put(&format!("/devices/{id}"), None, &body).await;
        assert_eq!(answer.status, 400, "{id}");
        assert_eq!(answer.header("x-evil"), None);
        assert_eq!(hub.client.get(&format!("/twins/{id}")).await.status, 400, "{id}");
    }
    assert_eq!(hub.client.get("/devices/%E2%80%AE").await.status, 400);
}
