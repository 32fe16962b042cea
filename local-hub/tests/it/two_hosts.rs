//! A hub with a separate name for devices, as hubs created since 2026 have.

use hub_types::connection_string::ServiceConnectionString;
use local_hub::{Config, LocalHub};
use reqwest::Certificate;

use crate::device::{Device, Login, create_device};
use crate::support::{Client, TestHub, with_devices};

fn called(name: &str) -> Config {
    Config { device_host_name: Some(name.to_owned()), ..with_devices() }
}

/// A client of the service API with the owner's key, at a different host.
fn at(hub: &TestHub, host: &str) -> Client {
    let owner = hub.hub.connection_string("iothubowner").unwrap();
    let host = format!("{host}:{}", hub.hub.https_addr().port()).parse().unwrap();
    Client::new(&ServiceConnectionString { host, ..owner }, hub.hub.ca_pem())
}

#[tokio::test]
async fn devices_connect_by_either_name_and_services_by_their_own() {
    let hub = TestHub::start_with(called("127.0.0.1")).await;
    assert_eq!(hub.hub.device_host().unwrap().as_str(), "127.0.0.1");
    assert!(hub.client.host().starts_with("localhost:"), "the connection string has the service's name");
    let key = create_device(&hub.client, "d").await;
    at(&hub, "localhost").get("/devices").await.ok();
    at(&hub, "127.0.0.1").get("/devices").await.refused(401, "IotHubUnauthorizedAccess");
    for host in ["127.0.0.1", "localhost"] {
        let login = Login {
            user_name: format!("{host}/d/?api-version=2021-04-12"),
            ..Login::of("d").with_token(None, &key, &format!("{host}/devices/d"), 60)
        };
        assert_eq!(Device::connect(&hub, login).await.err(), None, "{host}");
    }
    let classic = TestHub::with_devices().await;
    assert_eq!(classic.hub.device_host(), None);
    at(&classic, "127.0.0.1").get("/devices").await.ok();
}

#[tokio::test]
async fn the_certificate_has_the_name_of_devices_too() {
    let hub = TestHub::start_with(called("plant.device.test")).await;
    let ca = Certificate::from_pem(hub.hub.ca_pem().as_bytes()).unwrap();
    let address = hub.hub.https_addr();
    #[expect(clippy::disallowed_methods, reason = "the client of a test")]
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .resolve("plant.device.test", address)
        .build()
        .unwrap();
    let url = format!("https://plant.device.test:{}/devices", address.port());
    assert_eq!(client.get(url).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn what_is_no_name_is_refused_at_the_start() {
    for name in ["", "a b", "plant.device.test:8883", "https://plant"] {
        let error = LocalHub::start(called(name)).await.unwrap_err().to_string();
        assert!(error.contains("is no host name"), "{name}: {error}");
    }
}
