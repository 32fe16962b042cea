//! Every form of the user name that Microsoft's device clients have ever sent: `clients.toml`.

use std::collections::BTreeSet;

use local_hub::Config;
use mqtt_protocol_core::mqtt::packet::Qos;
use serde::Deserialize;
use serde_json::Value;

use crate::device::{Device, Login, create_device, create_module};
use crate::mqtt_websocket::open;
use crate::support::{TestHub, with_devices};

#[derive(Deserialize)]
struct Clients {
    client: Vec<Client>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    name: String,
    user_name: String,
    agent: Option<String>,
    #[serde(default = "yes")]
    api_version: bool,
    #[serde(default)]
    modules: bool,
    websocket: Option<String>,
    #[serde(default)]
    clean: bool,
    #[serde(default)]
    subscribe: Vec<String>,
    get_twin: Option<String>,
    telemetry: Vec<String>,
    #[expect(dead_code, reason = "for people")]
    source: String,
}

fn yes() -> bool {
    true
}

fn clients() -> Vec<Client> {
    toml::from_str::<Clients>(include_str!("clients.toml")).unwrap().client
}

impl Client {
    fn login(&self, identity: &str, key: &str) -> Login {
        let user_name = self.user_name.replace("{host}", "localhost").replace("{id}", identity);
        Login { user_name, clean: self.clean, ..Login::signed(identity, key) }
    }

    /// Performs the operations of this client.
    async fn live(&self, device: &mut Device, identity: &str) {
        let name = &self.name;
        for filter in &self.subscribe {
            let filter = filter.replace("{id}", identity);
            // Only devices are sent messages from the cloud.
            let granted = !(identity.contains('/') && filter.contains("devicebound"));
            let code = device.subscribe(&filter, Qos::AtLeastOnce).await;
            assert_eq!(code == 1, granted, "{name} {filter}");
        }
        let get_twin = self.get_twin.as_deref().unwrap_or("$iothub/twin/GET/?$rid=1");
        if !self.subscribe.iter().any(|filter| filter == "$iothub/twin/#") {
            device.subscribe("$iothub/twin/res/#", Qos::AtLeastOnce).await;
        }
        device.publish(get_twin, " ", Qos::AtLeastOnce).await;
        let (topic, _) = device.message().await;
        let status = if self.api_version { 200 } else { 400 };
        let rid = get_twin.split_once("$rid=").unwrap().1;
        assert_eq!(topic, format!("$iothub/twin/res/{status}/?$rid={rid}"), "{name}");
        let topics = match identity.split_once('/') {
            None => format!("devices/{identity}/"),
            Some((device, module)) => format!("devices/{device}/modules/{module}/"),
        };
        for topic in &self.telemetry {
            device.publish(&topic.replace("{topics}", &topics), "{}", Qos::AtLeastOnce).await;
        }
    }
}

#[tokio::test]
async fn every_client_there_ever_was_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("requests.jsonl");
    let hub = TestHub::start_with(Config { request_log: Some(log.clone()), ..with_devices() }).await;
    let key = create_device(&hub.client, "d").await;
    let module_key = create_module(&hub.client, "d", "m").await;
    for client in clients() {
        let name = &client.name;
        let identities: &[_] =
            if client.modules { &[("d", &key), ("d/m", &module_key)] } else { &[("d", &key)] };
        for (identity, key) in identities {
            let before = hub.hub.telemetry_count();
            let connected = Device::connect(&hub, client.login(identity, key)).await;
            let mut device = connected.unwrap_or_else(|code| panic!("{name} as {identity}: {code}"));
            client.live(&mut device, identity).await;
            assert_eq!(hub.hub.telemetry_count(), before + client.telemetry.len() as u64, "{name}");
            device.disconnect().await;
            if let Some(protocol) = &client.websocket {
                let (stream, headers) = open(&hub, None, Some(protocol)).await.unwrap();
                assert_eq!(&headers["sec-websocket-protocol"], protocol, "{name}");
                let (mut device, code, _) = Device::over(stream, client.login(identity, key)).await;
                assert_eq!(code, 0, "{name} as {identity} in a WebSocket");
                client.live(&mut device, identity).await;
            }
        }
        let text = std::fs::read_to_string(&log).unwrap();
        let mut connects = text.lines().filter(|line| line.contains("DeviceConnect"));
        let last: Value = serde_json::from_str(connects.next_back().unwrap()).unwrap();
        assert_eq!(last["agent"].as_str(), client.agent.as_deref(), "{name}");
    }
}

#[test]
fn the_table_names_every_family_of_clients_once_for_each_form() {
    let clients = clients();
    let names: BTreeSet<&str> = clients.iter().map(|client| client.name.as_str()).collect();
    assert_eq!(names.len(), clients.len(), "a name comes twice");
    for family in
        ["C ", "C#", "Java", "Node", "Python", "Embedded C", "Arduino", "nanoFramework", "az iot", "IoT Edge"]
    {
        assert!(names.iter().any(|name| name.contains(family)), "{family} is missing");
    }
}
