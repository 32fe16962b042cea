//! What a client says of itself in CONNECT:
//! `{host}/{deviceId}[/{moduleId}][/?api-version=…&DeviceClientType=…[&model-id=…]]`.
//!
//! Ids stand there as they are, without percent-encoding, and may have `?` and `=` in them.

use hub_types::IdentityId;
use percent_encoding::percent_decode_str;

/// A user name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserName {
    /// The hub, as the client calls it; its token is for this name.
    pub(crate) host: String,
    pub(crate) identity: IdentityId,
    pub(crate) model_id: Option<String>,
    /// The client's own name, `DeviceClientType`.
    pub(crate) agent: Option<String>,
}

impl UserName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = text.split_once('/')?;
        // Where a query begins, it is behind the first id.
        let queries = rest.match_indices("/?").find(|(at, _)| *at > 0 && is_query(rest.get(at + 2..)));
        let (ids, query) = match queries {
            Some((at, _)) => (rest.get(..at)?, rest.get(at + 2..)?),
            None => (rest.strip_suffix('/').unwrap_or(rest), ""),
        };
        Some(Self {
            host: Some(host).filter(|host| !host.is_empty())?.to_owned(),
            identity: IdentityId::from_common_name(ids).ok()?,
            model_id: parameter(query, "model-id"),
            agent: parameter(query, "DeviceClientType"),
        })
    }
}

fn is_query(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.split('&').any(|pair| pair.starts_with("api-version=")))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<(String, String, Option<String>)> {
        let name = UserName::parse(text)?;
        Some((name.host, name.identity.to_string(), name.model_id))
    }

    fn parsed(host: &str, identity: &str, model: Option<&str>) -> Option<(String, String, Option<String>)> {
        Some((host.to_owned(), identity.to_owned(), model.map(str::to_owned)))
    }

    #[test]
    fn what_the_sdks_send_is_understood() {
        let python = "localhost/pump-1/telemetry/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%28x%29";
        assert_eq!(parse(python), parsed("localhost", "pump-1/telemetry", None));
        let node = "localhost:9883/pump-1/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v20)";
        assert_eq!(parse(node), parsed("localhost:9883", "pump-1", None));
        let plug_and_play = "h/d/?api-version=2020-09-30&model-id=dtmi%3Acom%3Aexample%3BThermostat%3B1";
        assert_eq!(parse(plug_and_play), parsed("h", "d", Some("dtmi:com:example;Thermostat;1")));
        let agent = UserName::parse(node).and_then(|name| name.agent);
        assert_eq!(agent.as_deref(), Some("azure-iot-device/1.18.4 (node v20)"));
        assert_eq!(parse("h/d"), parsed("h", "d", None));
        assert_eq!(parse("h/d/"), parsed("h", "d", None));
        assert_eq!(parse("h/d/?DeviceClientType=x&api-version=2018-06-30"), parsed("h", "d", None));
    }

    #[test]
    fn what_names_no_identity_is_refused() {
        for text in ["", "h", "h/", "/d", "h/d/m/x", "h//m", "h/ d", "h/d//?api-version=1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_legal_identity_comes_back(
            device in "[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}",
            module in proptest::option::of("[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}"),
            agent in "[A-Za-z0-9/()]{0,40}",
        ) {
            let identity = IdentityId::parse(&device, module.as_deref()).unwrap();
            let text = format!("hub.example/{identity}/?api-version=2021-04-12&DeviceClientType={agent}");
            let name = UserName::parse(&text).unwrap();
            let host = "hub.example".to_owned();
            prop_assert_eq!(name, UserName { host, identity, model_id: None, agent: Some(agent) });
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,300}") {
            let _ = UserName::parse(&text);
        }
    }
}
