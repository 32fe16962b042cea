//! The user name of CONNECT:
//! `{host}/{deviceId}[/{moduleId}][/[?]api-version=…&DeviceClientType=…[&model-id=…]]`.
//!
//! Ids are not percent-encoded, and may contain `?` and `=`. Clients of 2015 to 2018 have no `?`,
//! and the parameters in either order; some of C# have a slash between them. Every form that a
//! client was seen to send is a line of `tests/it/clients.toml`.

use hub_types::IdentityId;
use percent_encoding::percent_decode_str;

/// A parsed user name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserName {
    /// The hub's name as the client writes it; its token is for this name.
    pub(crate) host: String,
    pub(crate) identity: IdentityId,
    pub(crate) api_version: Option<String>,
    pub(crate) model_id: Option<String>,
    /// The client's own name, `DeviceClientType`.
    pub(crate) agent: Option<String>,
}

impl UserName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = text.split_once('/')?;
        let (ids, parameters) = split_parameters(rest);
        let parameters = parameters.replacen("/DeviceClientType=", "&DeviceClientType=", 1);
        Some(Self {
            host: Some(host).filter(|host| !host.is_empty())?.to_owned(),
            identity: IdentityId::from_common_name(ids).ok()?,
            api_version: parameter(&parameters, "api-version").filter(|version| !version.is_empty()),
            model_id: parameter(&parameters, "model-id"),
            agent: parameter(&parameters, "DeviceClientType"),
        })
    }
}

/// Splits the ids from the parameters, which begin after the first id and a slash.
fn split_parameters(rest: &str) -> (&str, &str) {
    let slashes = rest.match_indices('/').filter(|(at, _)| *at > 0);
    let mut splits = slashes.filter_map(|(at, _)| Some((rest.get(..at)?, rest.get(at + 1..)?)));
    match splits.find(|(_, tail)| are_parameters(tail)) {
        Some((ids, tail)) => (ids, tail.strip_prefix('?').unwrap_or(tail)),
        None => (rest.strip_suffix('/').unwrap_or(rest), ""),
    }
}

/// Returns true if the text is a list of parameters. An id may have the same form, so only the
/// names that clients use there count.
fn are_parameters(text: &str) -> bool {
    let begins = |pair: &str| pair.starts_with("api-version=") || pair.starts_with("DeviceClientType=");
    match text.strip_prefix('?') {
        Some(query) => begins(query) || query.contains("&api-version="),
        None => begins(text),
    }
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
        assert_eq!(parse("h/d/?api-version=2021-04-12&auth-chain=a%3Bb"), parsed("h", "d", None));
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
            question_mark in "[?]?",
        ) {
            let identity = IdentityId::parse(&device, module.as_deref()).unwrap();
            let text =
                format!("hub.example/{identity}/{question_mark}api-version=2021-04-12&DeviceClientType={agent}");
            let name = UserName::parse(&text).unwrap();
            let host = "hub.example".to_owned();
            let api_version = Some("2021-04-12".to_owned());
            prop_assert_eq!(name, UserName { host, identity, api_version, model_id: None, agent: Some(agent) });
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,300}") {
            let _ = UserName::parse(&text);
        }
    }
}
