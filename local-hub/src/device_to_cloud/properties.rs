//! The property bag in the topic of a message to the cloud.
//!
//! Source: "Communicate with an IoT hub using the MQTT protocol", section "Sending device-to-cloud messages".

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// The properties of a message, separated into those of the application and of the system.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PropertyBag {
    pub(crate) properties: Map<String, Value>,
    pub(crate) system: Map<String, Value>,
}

impl PropertyBag {
    /// Reads `name=value&…`, with percent-encoded names and values. Names that begin with `$.` are
    /// system properties; a name without a value gets an empty one.
    pub(crate) fn parse(text: &str) -> Self {
        let mut bag = Self::default();
        for pair in text.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name), Value::String(decoded(value)));
            match name.strip_prefix("$.") {
                Some(short) => bag.system.insert(system_name(short).unwrap_or(&name).to_owned(), value),
                None => bag.properties.insert(name, value),
            };
        }
        bag
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn system_name(short: &str) -> Option<&'static str> {
    SYSTEM_NAMES.iter().find(|(known, _)| *known == short).map(|(_, name)| *name)
}

const SYSTEM_NAMES: [(&str, &str); 10] = [
    ("ce", "contentEncoding"),
    ("cid", "correlationId"),
    ("ct", "contentType"),
    ("ctime", "creationTimeUtc"),
    ("exp", "absoluteExpiryTime"),
    ("mid", "messageId"),
    ("on", "outputName"),
    ("sub", "dt-subject"),
    ("to", "to"),
    ("uid", "userId"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn properties_of_the_sender_and_of_the_system_are_told_apart() {
        let bag =
            PropertyBag::parse("%24.ct=application%2Fjson&%24.ce=utf-8&$.mid=1&level=hot%20%26%20dry&flag");
        assert_eq!(Value::Object(bag.properties), json!({"level": "hot & dry", "flag": ""}));
        let system = json!({"contentType": "application/json", "contentEncoding": "utf-8", "messageId": "1"});
        assert_eq!(Value::Object(bag.system), system);
        assert_eq!(PropertyBag::parse(""), PropertyBag::default());
    }
}
