//! Hostile and faulty clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::{API, Process, TestHub, Tls, connect};

/// Sends bytes and reads the response until the hub closes the connection or has sent a head.
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
        // Line folding, and more than one length, are how requests are smuggled.
        b"GET /devices HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n folded: 2\r\n\r\n",
        b"GET /devices HTTP/1.1\r\nhost : a\r\n\r\n",
        b"PUT /devices/d HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 2\r\n\r\n{}",
        b"PUT /devices/d HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"PUT /devices/d HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
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

/// HTTP libraries resolve dots before they send; attackers do not.
#[tokio::test(flavor = "multi_thread")]
async fn ids_are_decoded_once_and_lead_nowhere_else() {
    let hub = TestHub::start().await;
    // Dots and percent signs are legal in ids.
    for (id, segment) in [("..", "%2E%2E"), (".", "%2e"), ("a%2Fb", "a%252Fb"), ("%2E%2E", "%252E%252E")] {
        let item = json!([{"id": id, "importMode": "create"}]);
        hub.client.post("/devices", &item).await.ok();
        for path in [format!("/devices/{segment}"), format!("/twins/{segment}"), format!("/twins/{segment}/")]
        {
            let answer = tokio::task::block_in_place(|| exchange(&hub, &hub.client.raw_get(&path)));
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
            assert!(answer.contains(&format!("\"deviceId\":\"{id}\"")), "{path}: {answer}");
        }
    }
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let (long, longest) = ("%61".repeat(129), "%61".repeat(128));
    for (path, status) in [
        ("/devices/x/../d", 404),
        ("/devices/x/%2E%2E/d", 404),
        ("/devices/%2E%2E%2Ftwins%2Fd", 400),
        ("/devices%2Fd", 404),
        ("/%64evices/d", 404),
        ("/devices/%2F", 400),
        ("/devices/d%00", 400),
        ("/devices/%00", 400),
        ("/devices/%", 404),
        ("/devices/%4", 404),
        ("/devices/%zz", 404),
        ("/devices/%c0%ae%c0%ae", 400),
        (&format!("/devices/{longest}"), 404),
        (&format!("/devices/{long}"), 400),
        (&format!("/devices/d/modules/{long}"), 400),
        (&format!("/twins/d/modules/{}", "%61".repeat(10_000)), 400),
        ("/twins/d/modules/%2E%2E", 404),
    ] {
        let answer = tokio::task::block_in_place(|| exchange(&hub, &hub.client.raw_get(path)));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status} {path}: {answer}");
    }
    still_answers(&hub).await;
}

/// Reads until the hub closes the connection.
fn everything(tls: &mut Tls) -> String {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = tls.read(&mut part) {
        all.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_hidden_behind_two_lengths_is_not_answered() {
    let hub = TestHub::start().await;
    let hidden = String::from_utf8(hub.client.raw_get("/statistics/devices")).unwrap();
    for lengths in [
        format!("content-length: {}\r\ntransfer-encoding: chunked", hidden.len() + 5),
        format!("transfer-encoding: chunked\r\ncontent-length: {}", hidden.len() + 5),
        format!("content-length: 5\r\ncontent-length: {}", hidden.len() + 5),
    ] {
        let request =
            format!("POST /devices HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n\r\n0\r\n\r\n{hidden}");
        let answers = tokio::task::block_in_place(|| {
            let mut tls = hub.connect();
            tls.write_all(request.as_bytes()).unwrap();
            everything(&mut tls)
        });
        assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{lengths}: {answers}");
        assert!(!answers.contains("totalDeviceCount"), "{lengths}: {answers}");
    }
    still_answers(&hub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_address_in_the_request_line_opens_no_door() {
    let hub = TestHub::start().await;
    let request = String::from_utf8(hub.client.raw_get("/statistics/devices")).unwrap();
    let elsewhere = request.replace("GET /", "GET https://elsewhere.example/");
    let without_token =
        "GET https://localhost/statistics/devices?api-version=2021-04-12 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = tokio::task::block_in_place(|| exchange(&hub, elsewhere.as_bytes()));
    // The hub is no proxy: it is its own operation, for whoever has the right to it.
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = tokio::task::block_in_place(|| exchange(&hub, without_token.as_bytes()));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

/// The largest memory that a process has had, in megabytes.
#[cfg(target_os = "linux")]
fn peak_megabytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_and_a_million_headers_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path());
    process.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let authorization = process.client.authorization();
    let twin = format!(
        "PATCH /twins/d?{API} HTTP/1.1\r\nhost: {}\r\nauthorization: {authorization}\r\n",
        process.client.host()
    );
    let endless = [
        (format!("{twin}content-length: 1073741824\r\n\r\n{{\"tags\":{{\"a\":\""), vec![b'x'; 65536], 16384),
        (
            format!("{twin}transfer-encoding: chunked\r\n\r\n"),
            [b"10000\r\n".to_vec(), vec![b'['; 65536], b"\r\n".to_vec()].concat(),
            16384,
        ),
        (
            "POST /devices HTTP/1.1\r\nhost: a\r\ncontent-length: 1073741824\r\n\r\n".to_owned(),
            vec![b'['; 65536],
            16384,
        ),
        ("GET /devices HTTP/1.1\r\nhost: a\r\n".to_owned(), b"x-evil: y\r\n".repeat(1000), 1000),
        ("GET /".to_owned(), vec![b'a'; 65536], 1000),
    ];
    for (head, part, times) in endless {
        let cut_off = tokio::task::block_in_place(|| {
            let mut tls = connect(&process.ca_pem, process.address());
            tls.write_all(head.as_bytes()).unwrap();
            (0..times).any(|_| tls.write_all(&part).and_then(|()| tls.flush()).is_err())
        });
        assert!(cut_off, "{head} was read to its end");
        assert_eq!(process.client.get("/devices/d").await.status, 200);
    }
    let peak = peak_megabytes(process.id());
    assert!(peak < 200, "{peak} MB");
}
