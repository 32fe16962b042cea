//! Recorded traffic of real hubs, compared with this one: each test is named after its recording.
//!
//! The recordings lie in Azure/azure-sdk-for-net, `sdk/iot/Azure.IoT.Hub.Service/tests/SessionRecords`
//! (2020 and 2021, api-version 2020-03-13). There is a file for each kind of object, and in each a test
//! for each recorded fact that this hub can show. Where Microsoft's documents say otherwise, the
//! recording wins.

mod answers;
mod bulk;
mod configurations;
mod devices;
mod jobs;
mod methods;
mod modules;
mod queries;
mod statistics;
mod twins;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::Timestamp;
use local_hub::Config;
use reqwest::Method;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use crate::support::{Answer, TestHub};

/// A hub that receives the requests of the recorded client.
pub(crate) struct Recorded {
    pub(crate) hub: TestHub,
}

impl Recorded {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        Self { hub: TestHub::start_with(config).await }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        self.hub.client.call(method, &format!("{path}?api-version=2020-03-13"), if_match, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None, None).await
    }

    pub(crate) async fn put(&self, path: &str, if_match: Option<&str>, body: &Value) -> Answer {
        self.ask(Method::PUT, path, if_match, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, if_match: Option<&str>, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, if_match, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, if_match: Option<&str>) -> Answer {
        self.ask(Method::DELETE, path, if_match, None).await
    }

    pub(crate) async fn bulk(&self, items: &Value) -> Answer {
        self.ask(Method::POST, "/devices", None, Some(items)).await
    }

    pub(crate) async fn query(&self, query: &str) -> Answer {
        self.ask(Method::POST, "/devices/query", None, Some(&json!({ "query": query }))).await
    }

    /// Creates a device as every recorded creation did, and returns its document.
    pub(crate) async fn device(&self, id: &str) -> Value {
        self.put(&format!("/devices/{id}"), Some("\"\""), &json!({ "deviceId": id })).await.ok()
    }

    pub(crate) async fn module(&self, device: &str, id: &str) -> Value {
        let body = json!({"moduleId": id, "deviceId": device});
        self.put(&format!("/devices/{device}/modules/{id}"), Some("\"\""), &body).await.ok()
    }

    /// Repeats a request until its response meets a condition.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let document = self.get(path).await.ok();
            if wanted(&document) {
                return document;
            }
            assert!(tokio::time::Instant::now() < deadline, "{document}");
            tokio::task::yield_now().await;
        }
    }
}

/// A document as the recorded client writes it back: without nulls, thumbprints as an empty object.
pub(crate) fn written_back(document: &Value) -> Value {
    let mut document = document.clone();
    let object = document.as_object_mut().unwrap();
    object.retain(|_, value| !value.is_null());
    if object.contains_key("x509Thumbprint") {
        object.insert("x509Thumbprint".to_owned(), json!({}));
    }
    if let Some(authentication) = object.get_mut("authentication").and_then(Value::as_object_mut) {
        authentication.insert("x509Thumbprint".to_owned(), json!({}));
    }
    document
}

/// The names of an object's members in the order of the wire.
pub(crate) fn members(text: &str) -> Vec<String> {
    members_at(text, &[])
}

/// The same for a nested object, with the names on the path to it.
pub(crate) fn members_at(text: &str, path: &[&str]) -> Vec<String> {
    let document: Ordered = serde_json::from_str(text).unwrap();
    let found = path.iter().fold(&document, |object, wanted| {
        object.0.iter().find(|(name, _)| name == wanted).map(|(_, inner)| inner).unwrap()
    });
    found.0.iter().map(|(name, _)| name.clone()).collect()
}

/// The members of an object in the order of the wire; empty for other values.
struct Ordered(Vec<(String, Self)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrderedVisitor)
    }
}

struct OrderedVisitor;

impl<'de> Visitor<'de> for OrderedVisitor {
    type Value = Ordered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Ordered(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Ordered, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Ordered(Vec::new()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Ordered, E> {
        Ok(Ordered(Vec::new()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Ordered, E> {
        Ok(Ordered(Vec::new()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Ordered, E> {
        Ok(Ordered(Vec::new()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Ordered, E> {
        Ok(Ordered(Vec::new()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Ordered, E> {
        Ok(Ordered(Vec::new()))
    }

    fn visit_unit<E>(self) -> Result<Ordered, E> {
        Ok(Ordered(Vec::new()))
    }
}

/// The number in the etag of an identity.
pub(crate) fn etag_number(document: &Value) -> u64 {
    let bytes = STANDARD.decode(document["etag"].as_str().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap().parse().unwrap()
}

pub(crate) fn quoted(etag: &Value) -> String {
    format!("\"{}\"", etag.as_str().unwrap())
}

pub(crate) fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Returns true if a time is close to the present.
pub(crate) fn is_recent(value: &Value) -> bool {
    let now = Timestamp::from(time::OffsetDateTime::now_utc()).ticks();
    now.abs_diff(time(value).ticks()) < 900 * 10_000_000
}

pub(crate) const YEAR_1: &str = "0001-01-01T00:00:00Z";
