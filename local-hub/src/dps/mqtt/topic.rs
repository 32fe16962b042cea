//! The topics of a device that registers, and the user name of its CONNECT. Source: "Communicate
//! with DPS using the MQTT protocol".

use hub_types::dps::RegistrationId;
use percent_encoding::percent_decode_str;

/// The filter of the responses, the only one that a device may subscribe to.
pub(crate) const RESPONSES: &str = "$dps/registrations/res/#";

/// A request of a device, by its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistrationRequest<'t> {
    Register { rid: &'t str },
    GetOperationStatus { rid: &'t str, operation: &'t str },
}

impl<'t> RegistrationRequest<'t> {
    /// Parses a topic; `None` if DPS has no such topic.
    pub(crate) fn parse(topic: &'t str) -> Option<Self> {
        if let Some(query) = topic.strip_prefix("$dps/registrations/PUT/iotdps-register/?") {
            return Some(Self::Register { rid: parameter(query, "$rid")? });
        }
        let query = topic.strip_prefix("$dps/registrations/GET/iotdps-get-operationstatus/?")?;
        Some(Self::GetOperationStatus {
            rid: parameter(query, "$rid")?,
            operation: parameter(query, "operationId")?,
        })
    }

    /// The id of the request, which the response repeats.
    pub(crate) fn rid(self) -> &'t str {
        match self {
            Self::Register { rid } | Self::GetOperationStatus { rid, .. } => rid,
        }
    }
}

/// The topic of a response.
pub(crate) fn response(status: u16, rid: &str, retry_after: Option<u32>) -> String {
    let retry_after = retry_after.map(|seconds| format!("&retry-after={seconds}")).unwrap_or_default();
    format!("$dps/registrations/res/{status}/?$rid={rid}{retry_after}")
}

/// The user name of CONNECT:
/// `{idScope}/registrations/{registrationId}/[?]api-version=…[&ClientVersion=…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistrationUserName {
    pub(crate) scope: String,
    pub(crate) id: RegistrationId,
    pub(crate) api_version: Option<String>,
    /// The client's own name, `ClientVersion`.
    pub(crate) agent: Option<String>,
}

impl RegistrationUserName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scope, rest) = text.split_once('/')?;
        let rest = rest.strip_prefix("registrations/")?;
        let (id, query) = rest.split_once('/').unwrap_or((rest, ""));
        let query = query.strip_prefix('?').unwrap_or(query);
        let decoded = |name| {
            parameter(query, name).map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned())
        };
        Some(Self {
            scope: scope.to_owned(),
            id: id.parse().ok()?,
            api_version: decoded("api-version"),
            agent: decoded("ClientVersion"),
        })
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

    #[test]
    fn what_the_sdks_send_is_understood() {
        assert_eq!(
            RegistrationRequest::parse("$dps/registrations/PUT/iotdps-register/?$rid=6f-1"),
            Some(RegistrationRequest::Register { rid: "6f-1" })
        );
        assert_eq!(
            RegistrationRequest::parse(
                "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=7&operationId=4.0c.5d"
            ),
            Some(RegistrationRequest::GetOperationStatus { rid: "7", operation: "4.0c.5d" })
        );
        let name = RegistrationUserName::parse(
            "0ne1/registrations/pump-1/api-version=2019-03-31&ClientVersion=azure-iot-device-provisioning-py%2F2.14.0%28x%29",
        );
        let name = name.unwrap();
        assert_eq!((name.scope.as_str(), name.id.as_str()), ("0ne1", "pump-1"));
        assert_eq!(name.api_version.as_deref(), Some("2019-03-31"));
        assert_eq!(name.agent.as_deref(), Some("azure-iot-device-provisioning-py/2.14.0(x)"));
        assert!(RegistrationUserName::parse("0ne1/registrations/pump-1").is_some());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for topic in [
            "$dps/registrations/PUT/iotdps-register/",
            "$dps/registrations/PUT/iotdps-register/?operationId=1",
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
            "$dps/registrations/res/200/?$rid=1",
            "devices/d/messages/events/",
        ] {
            assert_eq!(RegistrationRequest::parse(topic), None, "{topic}");
        }
        for name in ["", "0ne1", "0ne1/pump-1", "0ne1/registrations/", "0ne1/registrations/a b/"] {
            assert_eq!(RegistrationUserName::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = RegistrationRequest::parse(&text);
            let _ = RegistrationUserName::parse(&text);
        }

        #[test]
        fn a_request_id_comes_back_as_it_was(rid in "[^&#+/\\x00]{0,40}", status in 200..600_u16) {
            let topic = format!("$dps/registrations/PUT/iotdps-register/?$rid={rid}");
            let parsed = RegistrationRequest::parse(&topic);
            prop_assert_eq!(parsed, Some(RegistrationRequest::Register { rid: &rid }));
            let answer = response(status, &rid, Some(3));
            prop_assert_eq!(answer, format!("$dps/registrations/res/{status}/?$rid={rid}&retry-after=3"));
        }
    }
}
