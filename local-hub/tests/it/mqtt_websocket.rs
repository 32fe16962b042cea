//! MQTT inside a WebSocket on the HTTPS port.

use std::future::ready;
use std::io;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt, TryStreamExt};
use local_hub::{Effect, Fault, Faults};
use mqtt_protocol_core::mqtt::packet::Qos;
use serde_json::json;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, Request};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::device::{ByteStream, Credential, Device, DeviceCa, Login, create_device, tls};
use crate::support::{TestHub, with_devices};

fn request(protocols: Option<&str>) -> Request<()> {
    let mut request = "wss://localhost/$iothub/websocket".into_client_request().unwrap();
    let headers = request.headers_mut();
    if let Some(protocols) = protocols {
        headers.insert("Sec-Websocket-Protocol", protocols.parse().unwrap());
    }
    headers.insert("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits".parse().unwrap());
    request
}

/// Opens a WebSocket; the error is the status of the refusal.
pub(crate) async fn open(
    hub: &TestHub,
    certificate: Option<Credential>,
    protocols: Option<&str>,
) -> Result<(impl ByteStream + use<>, HeaderMap), u16> {
    open_at(hub.hub.https_addr(), hub.hub.ca_pem(), certificate, protocols).await
}

/// As [`open`], at any address.
pub(crate) async fn open_at(
    address: SocketAddr,
    ca_pem: &str,
    certificate: Option<Credential>,
    protocols: Option<&str>,
) -> Result<(impl ByteStream + use<>, HeaderMap), u16> {
    let stream = tls(address, ca_pem, certificate).await;
    let (socket, response) = match client_async(request(protocols), stream).await {
        Ok(opened) => opened,
        Err(Error::Http(response)) => return Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    let (sink, stream) = socket.split();
    let received = stream.map_err(io::Error::other).try_filter_map(|message| {
        ready(Ok(if let Message::Binary(bytes) = message { Some(bytes) } else { None }))
    });
    let sent =
        sink.with(|bytes| ready(Ok::<_, Error>(Message::Binary(bytes)))).sink_map_err(io::Error::other);
    let bytes = tokio::io::join(StreamReader::new(received), SinkWriter::new(CopyToBytes::new(sent)));
    Ok((bytes, response.headers().clone()))
}

#[tokio::test]
async fn a_device_connects_with_a_token_and_lives_as_over_tcp() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let (stream, headers) = open(&hub, None, Some("other, mqtt")).await.unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "mqtt");
    assert_eq!(headers.get("sec-websocket-extensions"), None, "compression is declined");
    let (mut device, code, _) = Device::over(stream, Login::signed("d", &key)).await;
    assert_eq!(code, 0);
    assert_eq!(device.twin().await["desired"]["$version"], 1);
    assert_eq!(hub.client.get("/twins/d").await.ok()["connectionState"], "Connected");
    hub.client.delete("/devices/d", Some("*")).await;
    device.closed().await;
}

#[tokio::test]
async fn a_sub_protocol_is_known_in_any_case_and_echoed_as_it_was_offered() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    for (offered, chosen) in [
        ("mqtt", "mqtt"),
        // The C SDK.
        ("MQTT", "MQTT"),
        ("Mqtt", "Mqtt"),
        // Paho, which would speak either version.
        ("mqttv3.1, mqtt", "mqtt"),
        ("MQTT,mqtt", "MQTT"),
        (" mqtt ,AMQPWSB10", "mqtt"),
    ] {
        let (stream, headers) = open(&hub, None, Some(offered)).await.unwrap();
        assert_eq!(headers["sec-websocket-protocol"], chosen, "{offered}");
        assert_eq!(Device::over(stream, Login::signed("d", &key)).await.1, 0, "{offered}");
    }
}

#[tokio::test]
async fn certificates_count_there_too() {
    let folder = tempfile::tempdir().unwrap();
    let ca = DeviceCa::new();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &ca.pem).unwrap();
    let hub = TestHub::start_with(local_hub::Config { device_cas: vec![path], ..with_devices() }).await;
    let body = json!({"deviceId": "d", "authentication": {"type": "certificateAuthority"}});
    hub.client.put("/devices/d", None, &body).await.ok();
    for (name, code) in [("d", 0), ("e", 5)] {
        let (stream, _) = open(&hub, Some(ca.issue(name)), Some("mqtt")).await.unwrap();
        assert_eq!(Device::over(stream, Login::of("d")).await.1, code, "{name}");
    }
}

#[tokio::test]
async fn what_asks_for_no_mqtt_is_refused() {
    let hub = TestHub::with_devices().await;
    assert_eq!(open(&hub, None, None).await.err(), Some(400));
    for other in ["soap", "mqttv3.1", "mqtt5", "x-mqtt", ""] {
        assert_eq!(open(&hub, None, Some(other)).await.err(), Some(400), "{other}");
    }
    let plain = hub.client.get("/$iothub/websocket").await;
    assert_eq!(plain.status, 400, "no upgrade");
    let closed = TestHub::start().await;
    assert_eq!(open(&closed, None, Some("mqtt")).await.err(), Some(404), "a hub without devices");
}

#[tokio::test]
async fn a_shutdown_hangs_up_there_too() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    let (stream, _) = open(&hub, None, Some("mqtt")).await.unwrap();
    let (mut device, _, _) = Device::over(stream, Login::signed("d", &key)).await;
    hub.hub.shutdown().await;
    device.closed().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn faults_hit_there_too() {
    let hub = TestHub::with_devices().await;
    let key = create_device(&hub.client, "d").await;
    for (effect, was_reset) in [(Effect::Reset, true), (Effect::LoseAnswer, false)] {
        let (stream, _) = open(&hub, None, Some("mqtt")).await.unwrap();
        let (mut device, code, _) = Device::over(stream, Login::signed("d", &key)).await;
        assert_eq!(code, 0);
        let fault = Fault::always(effect).of("DeviceGetTwin").times(1);
        hub.hub.set_faults(Faults { seed: 0, faults: vec![fault] }).unwrap();
        device.publish("$iothub/twin/GET/?$rid=1", "", Qos::AtMostOnce).await;
        let (bytes, error) = device.last_bytes().await;
        assert_eq!(bytes, b"");
        // ECONNRESET, of which tungstenite's error tells only in words.
        let found = error.as_ref().is_some_and(|error| error.to_string().contains("os error 104"));
        assert_eq!(found, was_reset, "{error:?}");
    }
}
