//! The topics of a device or module: those it may publish to and subscribe to, and those of the
//! hub's responses.

use hub_types::IdentityId;

use super::operation::DeviceOperation;
use crate::registry::Feed;

/// A message of a client, by its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uplink<'t> {
    GetTwin {
        rid: &'t str,
    },
    /// The response to a direct method.
    MethodAnswer {
        rid: u64,
        status: i32,
    },
    /// A patch of reported properties, with an optional version that they must have.
    Report {
        rid: &'t str,
        base: Option<u64>,
    },
    /// A message to the cloud, with its properties in the encoding of the topic.
    Telemetry {
        properties: &'t str,
    },
}

impl<'t> Uplink<'t> {
    pub(crate) fn operation(self) -> DeviceOperation {
        match self {
            Self::GetTwin { .. } => DeviceOperation::GetTwin,
            Self::MethodAnswer { .. } => DeviceOperation::AnswerMethod,
            Self::Report { .. } => DeviceOperation::PatchReported,
            Self::Telemetry { .. } => DeviceOperation::SendTelemetry,
        }
    }

    /// The request id of a twin request; other operations have no response.
    pub(crate) fn rid(self) -> Option<&'t str> {
        match self {
            Self::GetTwin { rid } | Self::Report { rid, .. } => Some(rid),
            Self::MethodAnswer { .. } | Self::Telemetry { .. } => None,
        }
    }

    /// Parses a topic; `None` if this identity may not publish to it.
    pub(crate) fn parse(topic: &'t str, identity: &IdentityId) -> Option<Self> {
        if let Some(query) = topic.strip_prefix("$iothub/twin/GET/?") {
            return Some(Self::GetTwin { rid: parameter(query, "$rid")? });
        }
        if let Some(query) = topic.strip_prefix("$iothub/twin/PATCH/properties/reported/?") {
            let base = parameter(query, "$version").map(str::parse).transpose().ok()?;
            return Some(Self::Report { rid: parameter(query, "$rid")?, base });
        }
        if let Some(rest) = topic.strip_prefix("$iothub/methods/res/") {
            let (status, query) = rest.split_once("/?")?;
            let rid = u64::from_str_radix(parameter(query, "$rid")?, 16).ok()?;
            return Some(Self::MethodAnswer { rid, status: status.parse().ok()? });
        }
        let events = topic.strip_prefix(&own(identity))?.strip_prefix("messages/events")?;
        match events.strip_prefix('/') {
            Some(properties) => Some(Self::Telemetry { properties }),
            None => events.is_empty().then_some(Self::Telemetry { properties: "" }),
        }
    }
}

/// The feeds that a topic filter selects; empty if the filter is not this identity's. In addition
/// to the documented filters, these are those of nanoFramework (`$iothub/twin/#`) and of Azure RTOS
/// and IoT Central's Python client (`$iothub/methods/#`).
pub(crate) fn feeds(filter: &str, identity: &IdentityId) -> &'static [Feed] {
    match filter {
        "$iothub/methods/POST/#" | "$iothub/methods/#" => return &[Feed::Methods],
        "$iothub/twin/PATCH/properties/desired/#" => return &[Feed::DesiredProperties],
        "$iothub/twin/res/#" => return &[Feed::TwinResponses],
        "$iothub/twin/#" => return &[Feed::TwinResponses, Feed::DesiredProperties],
        _ => {}
    }
    match (filter.strip_prefix(&own(identity)), identity.module()) {
        (Some("messages/devicebound/#"), None) => &[Feed::CloudToDevice],
        // C# subscribes to everything below its module.
        (Some("inputs/#" | "#"), Some(_)) => &[Feed::Inputs],
        _ => &[],
    }
}

/// The topic of the response to a twin request. `rid` is returned unchanged.
pub(crate) fn twin_response(status: u16, rid: &str, version: Option<u64>) -> String {
    let version = version.map(|version| format!("&$version={version}")).unwrap_or_default();
    format!("$iothub/twin/res/{status}/?$rid={rid}{version}")
}

pub(crate) fn desired_notification(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

pub(crate) fn method(name: &str, rid: u64) -> String {
    format!("$iothub/methods/POST/{name}/?$rid={rid:x}")
}

pub(crate) fn cloud_to_device(identity: &IdentityId, properties: &str) -> String {
    format!("{}messages/devicebound/{properties}", own(identity))
}

/// The prefix of all topics of an identity, with the slash.
fn own(identity: &IdentityId) -> String {
    match identity.module() {
        None => format!("devices/{}/", identity.device()),
        Some(module) => format!("devices/{}/modules/{module}/", identity.device()),
    }
}

fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device() -> IdentityId {
        IdentityId::parse("d", None).unwrap()
    }

    fn module() -> IdentityId {
        IdentityId::parse("d", Some("m")).unwrap()
    }

    #[test]
    fn what_the_sdks_publish_is_understood() {
        let parse = |topic| Uplink::parse(topic, &device());
        assert_eq!(parse("$iothub/twin/GET/?$rid=6f-1"), Some(Uplink::GetTwin { rid: "6f-1" }));
        assert_eq!(
            parse("$iothub/twin/PATCH/properties/reported/?$rid=7&$version=4"),
            Some(Uplink::Report { rid: "7", base: Some(4) })
        );
        assert_eq!(
            parse("$iothub/methods/res/-3/?$rid=1f"),
            Some(Uplink::MethodAnswer { rid: 0x1f, status: -3 })
        );
        assert_eq!(
            parse("devices/d/messages/events/%24.ct=application%2Fjson"),
            Some(Uplink::Telemetry { properties: "%24.ct=application%2Fjson" })
        );
        assert_eq!(parse("devices/d/messages/events"), Some(Uplink::Telemetry { properties: "" }));
        let of_module = Uplink::parse("devices/d/modules/m/messages/events/", &module());
        assert_eq!(of_module, Some(Uplink::Telemetry { properties: "" }));
    }

    #[test]
    fn anothers_topics_are_nobodys() {
        for topic in [
            "devices/e/messages/events/",
            "devices/d/modules/m/messages/events/",
            "devices/d/messages/devicebound/",
            "devices/d/messages/eventsx",
            "$iothub/twin/GET/",
            "$iothub/twin/get/?$rid=1",
            "$iothub/twin/PATCH/properties/desired/?$rid=1",
            "$iothub/twin/PATCH/properties/reported/?$rid=1&$version=x",
            "$iothub/methods/res/200/?$rid=zz",
            "anything",
        ] {
            assert_eq!(Uplink::parse(topic, &device()), None, "{topic}");
        }
        assert_eq!(Uplink::parse("devices/d/messages/events/", &module()), None);
    }

    #[test]
    fn only_filters_that_clients_have_are_feeds() {
        assert_eq!(feeds("devices/d/messages/devicebound/#", &device()), [Feed::CloudToDevice]);
        assert_eq!(feeds("devices/d/modules/m/#", &module()), [Feed::Inputs]);
        assert_eq!(feeds("$iothub/methods/#", &module()), [Feed::Methods]);
        assert_eq!(feeds("$iothub/twin/#", &device()), [Feed::TwinResponses, Feed::DesiredProperties]);
        for filter in [
            "#",
            "devices/#",
            "devices/+/messages/devicebound/#",
            "$iothub/#",
            "devices/e/messages/devicebound/#",
        ] {
            assert_eq!(feeds(filter, &device()), [], "{filter}");
        }
        assert_eq!(feeds("devices/d/messages/devicebound/#", &module()), []);
        assert_eq!(feeds("devices/d/modules/m/inputs/#", &device()), []);
    }

    proptest! {
        #[test]
        fn no_topic_makes_it_panic(topic in "\\PC{0,200}") {
            let _ = Uplink::parse(&topic, &module());
            let _ = feeds(&topic, &module());
        }

        #[test]
        fn nobody_publishes_as_another(
            own in "[A-Za-z0-9:.%_*?!(),=@;$'-]{1,20}",
            other in "[A-Za-z0-9:.%_*?!(),=@;$'-]{1,20}",
        ) {
            prop_assume!(own != other);
            let topic = format!("devices/{other}/messages/events/");
            let identity = IdentityId::parse(&own, None).unwrap();
            prop_assert_eq!(Uplink::parse(&topic, &identity), None);
        }

        #[test]
        fn a_request_id_comes_back_as_it_was(rid in "[^&#+/\\x00]{0,40}") {
            let topic = format!("$iothub/twin/GET/?$rid={rid}");
            let parsed = Uplink::parse(&topic, &device());
            prop_assert_eq!(parsed, Some(Uplink::GetTwin { rid: &rid }));
            let answer = twin_response(200, &rid, None);
            prop_assert_eq!(answer.split_once("$rid=").map(|(_, rid)| rid), Some(rid.as_str()));
        }
    }
}
