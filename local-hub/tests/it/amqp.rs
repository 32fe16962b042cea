//! Clients of AMQP, which the hub does not support: they get an error at once, on every kind of
//! connection.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::device::{ByteStream, DEADLINE, self_signed, tls};
use crate::mqtt_websocket::open;
use crate::support::{TestHub, with_devices};

const SASL_HEADER: &[u8] = b"AMQP\x03\x01\x00\x00";
const AMQP_HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";
/// `open` with the container id `c`.
const OPEN: &[u8] = b"\0\0\0\x11\x02\0\0\0\0\x53\x10\xc0\x04\x01\xa1\x01c";
const CLOSE: &[u8] = b"\0\0\0\x0c\x02\0\0\0\0\x53\x18\x45";
const EMPTY: &[u8] = b"\0\0\0\x08\x02\0\0\0";

/// `sasl-init` with a mechanism and a response.
fn sasl_init(mechanism: &str, response: &[u8]) -> Vec<u8> {
    let mut list = vec![2, 0xa3, u8::try_from(mechanism.len()).unwrap()];
    list.extend_from_slice(mechanism.as_bytes());
    list.extend_from_slice(&[0xa0, u8::try_from(response.len()).unwrap()]);
    list.extend_from_slice(response);
    let mut body = vec![0, 0x53, 0x41, 0xc0, u8::try_from(list.len()).unwrap()];
    body.append(&mut list);
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &[2, 1, 0, 0], &body].concat()
}

/// Sends bytes, closes as AMQP does, and returns all received bytes.
async fn converse(mut stream: impl ByteStream, parts: &[&[u8]]) -> Vec<u8> {
    for part in parts {
        stream.write_all(part).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = Vec::new();
    // A WebSocket may end without a closing handshake, a TLS connection without a close_notify.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[track_caller]
fn assert_told(answer: &[u8], how: &str) {
    assert!(contains(answer, b"\x00\x53\x10"), "no open: {how}: {}", answer.escape_ascii());
    assert!(contains(answer, b"\xa3\x14amqp:not-implemented"), "{how}: {}", answer.escape_ascii());
    for instead in ["MQTT", "HTTPS", "GET /telemetry"] {
        assert!(contains(answer, instead.as_bytes()), "{how}: {}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn every_way_to_open_amqp_is_answered_with_what_to_use_instead() {
    let hub = TestHub::with_devices().await;
    let (address, ca) = (hub.hub.amqp_addr().unwrap(), hub.hub.ca_pem());
    let init = |mechanism: &str, response: &[u8]| sasl_init(mechanism, response);
    let mechanisms =
        [init("ANONYMOUS", b""), init("PLAIN", b"\0d@sas.h\0p"), init("MSSBCBS", b""), init("EXTERNAL", b"")];
    for init in &mechanisms {
        let parts = [SASL_HEADER, init, AMQP_HEADER, OPEN, EMPTY, CLOSE];
        // Sent part by part, and all at once.
        for parts in [&parts[..], &[&parts.concat()]] {
            let answer = converse(tls(address, ca, None).await, parts).await;
            let how = init.escape_ascii().to_string();
            assert!(answer.starts_with(SASL_HEADER), "{how}");
            for mechanism in ["ANONYMOUS", "PLAIN", "MSSBCBS", "EXTERNAL"] {
                assert!(contains(&answer, mechanism.as_bytes()), "{how} {mechanism}");
            }
            assert_told(&answer, &how);
        }
    }
    let answer = converse(tls(address, ca, None).await, &[AMQP_HEADER, OPEN, CLOSE]).await;
    assert!(answer.starts_with(AMQP_HEADER));
    assert_told(&answer, "without SASL");
}

#[tokio::test]
async fn a_websocket_for_amqp_ends_the_same_way_with_and_without_devices() {
    for hub in [TestHub::start().await, TestHub::with_devices().await] {
        for name in ["AMQPWSB10", "amqp", "AmqpWsB10"] {
            let (stream, headers) = open(&hub, None, Some(name)).await.unwrap();
            assert_eq!(headers["sec-websocket-protocol"], name);
            let init = sasl_init("ANONYMOUS", b"");
            let answer = converse(stream, &[SASL_HEADER, &init, AMQP_HEADER, OPEN, CLOSE]).await;
            assert_told(&answer, name);
        }
    }
}

#[tokio::test]
async fn the_request_log_says_that_it_is_not_implemented_and_to_whom() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("requests.jsonl");
    let hub =
        TestHub::start_with(local_hub::Config { request_log: Some(log.clone()), ..with_devices() }).await;
    let address = hub.hub.amqp_addr().unwrap();
    let stream = tls(address, hub.hub.ca_pem(), Some(self_signed("d/m"))).await;
    converse(stream, &[AMQP_HEADER, OPEN, CLOSE]).await;
    let line: Value = serde_json::from_str(std::fs::read_to_string(log).unwrap().trim()).unwrap();
    let part = |name: &str| line[name].clone();
    assert_eq!(part("operation"), "RefusedConnection");
    assert_eq!((part("listener"), part("identity")), (json!("amqps"), json!("d/m")));
    assert_eq!((part("status"), part("errorcode")), (json!(501), json!("NotImplemented")));
    assert!(part("reason").as_str().unwrap().contains("does not speak AMQP"));
}

#[tokio::test]
async fn what_is_no_amqp_ends_and_harms_nobody() {
    let hub = TestHub::with_devices().await;
    let (address, ca) = (hub.hub.amqp_addr().unwrap(), hub.hub.ca_pem());
    for (bytes, answer) in [
        // Whoever asks for another version or for TLS inside TLS is shown what there is.
        (&b"AMQP\x00\x00\x09\x01"[..], SASL_HEADER),
        (b"AMQP\x02\x01\x00\x00", SASL_HEADER),
        (b"GET / HTTP/1.1\r\n\r\n", SASL_HEADER),
        // A frame that is too short, too long, of the other type, without a descriptor.
        (b"AMQP\x00\x01\x00\x00\0\0\0\x07\x02\0\0\0", AMQP_HEADER),
        (b"AMQP\x00\x01\x00\x00\xff\xff\xff\xff\x02\0\0\0", AMQP_HEADER),
        (b"AMQP\x00\x01\x00\x00\0\0\0\x0b\x02\x01\0\0\0\x53\x10", AMQP_HEADER),
        (b"AMQP\x00\x01\x00\x00\0\0\0\x09\x02\0\0\0\x45", AMQP_HEADER),
        (b"AMQP\x00\x01\x00\x00\0\0\0\x10\x05\0\0\0\0\x53\x10\x45\0\0\0\0", AMQP_HEADER),
        // `begin` before `open`.
        (b"AMQP\x00\x01\x00\x00\0\0\0\x0c\x02\0\0\0\0\x53\x11\x45", AMQP_HEADER),
    ] {
        let stream = tls(address, ca, None).await;
        assert_eq!(converse(stream, &[bytes]).await, answer, "{}", bytes.escape_ascii());
    }
    let answer = converse(tls(address, ca, None).await, &[AMQP_HEADER, OPEN, CLOSE]).await;
    assert_told(&answer, "afterwards");
}

#[tokio::test]
async fn a_hub_that_is_told_so_has_no_listener_for_amqp() {
    assert_eq!(TestHub::start().await.hub.amqp_addr(), None);
}
