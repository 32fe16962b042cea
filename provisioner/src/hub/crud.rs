//! Calls for one device, module or twin, which the verbs `device`, `module` and `twin` make, and
//! queries.
//!
//! A call of the trait [`Hub`](super::Hub) is repeated if its response was lost. A call of this module
//! is not, if the request may have had an effect: the caller gets the error and can read the object.

use hub_types::identity::{Device, DeviceSpec, Module, ModuleSpec};
use hub_types::twin::{TwinRuleError, check_numbers};
use hub_types::{DeviceId, IdentityId};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::{About, AnswerError};
use super::client::{HubClient, MAX_IDENTITY, MAX_MODULES, MAX_PAGE, MAX_TWIN, identity_path, twin_path};
use super::error::HubError;
use super::module_errors::about_its_device;
use super::request::{Request, to_body};
use super::retry::Idempotency;

/// The condition of a write (`If-Match`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The object exists, with any ETag.
    Exists,
    /// The object has this ETag, as the user wrote it, with or without quotes.
    Etag(String),
}

impl Condition {
    fn header(&self) -> String {
        match self {
            Self::Exists => "\"*\"".to_owned(),
            Self::Etag(etag) => format!("\"{}\"", etag.trim_matches('"')),
        }
    }
}

/// A page of a query's rows.
#[derive(Debug)]
pub(crate) struct QueryPage {
    /// The rows.
    pub(crate) rows: Vec<Value>,
    /// A number with more digits than this program keeps, if there is one outside of reported
    /// properties.
    pub(crate) changed_number: Option<TwinRuleError>,
    /// The token for the next page; `None` on the last page.
    pub(crate) continuation: Option<HeaderValue>,
}

impl HubClient {
    /// Creates a device, and returns it as the hub made it. Fails with 409 if it exists.
    pub(crate) async fn create_device(&self, spec: &DeviceSpec) -> Result<Device, HubError> {
        self.put("create device", &spec.device_id.clone().into(), spec, None).await
    }

    /// Replaces all settings of a device if the condition holds.
    pub(crate) async fn replace_device(
        &self,
        spec: &DeviceSpec,
        condition: &Condition,
    ) -> Result<Device, HubError> {
        self.put("replace device", &spec.device_id.clone().into(), spec, Some(condition)).await
    }

    /// Reads a module; `None` if it does not exist.
    pub(crate) async fn module(&self, identity: &IdentityId) -> Result<Option<Module>, HubError> {
        let module = self.get("get module", &identity_path(identity), identity, MAX_IDENTITY).await;
        self.of_module(identity.device(), module).await
    }

    /// Reads the modules of a device, at most 50; `None` if the device does not exist.
    pub(crate) async fn modules_of(&self, device: &DeviceId) -> Result<Option<Vec<Module>>, HubError> {
        let identity = device.clone().into();
        let path = format!("{}/modules", identity_path(&identity));
        let modules = self.get("get modules", &path, &identity, MAX_MODULES).await;
        match self.of_module(device, modules).await {
            Err(HubError::NoDevice(_)) => Ok(None),
            modules => modules,
        }
    }

    /// Creates a module, and returns it as the hub made it. Fails with 409 if it exists.
    pub(crate) async fn new_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleSpec,
    ) -> Result<Module, HubError> {
        let module = self.put("create module", identity, spec, None).await;
        self.of_module(identity.device(), module).await
    }

    /// Replaces all settings of a module if the condition holds.
    pub(crate) async fn replace_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleSpec,
        condition: &Condition,
    ) -> Result<Module, HubError> {
        let module = self.put("replace module", identity, spec, Some(condition)).await;
        self.of_module(identity.device(), module).await
    }

    /// Deletes a device with its modules, or a module.
    pub(crate) async fn delete_identity(
        &self,
        identity: &IdentityId,
        condition: &Condition,
    ) -> Result<(), HubError> {
        let deleted = self
            .repeat(Idempotency::NonIdempotent, || async {
                let request = Request::new("delete identity", Method::DELETE, identity_path(identity));
                let answer = self.send(request.if_match(condition.header())).await?;
                answer.expect(&[StatusCode::NO_CONTENT]).map(drop)
            })
            .await;
        match identity.module() {
            Some(_) => self.of_module(identity.device(), deleted).await,
            None => deleted,
        }
    }

    /// Replaces the tags and the desired properties of a twin, and returns the new twin.
    pub(crate) async fn replace_twin(
        &self,
        identity: &IdentityId,
        twin: &Value,
        condition: &Condition,
    ) -> Result<Value, HubError> {
        self.write("replace twin", Method::PUT, twin_path(identity), identity, twin, Some(condition)).await
    }

    /// Merges a patch into a twin, and returns the new twin.
    pub(crate) async fn merge_twin(
        &self,
        identity: &IdentityId,
        patch: &Value,
        condition: &Condition,
    ) -> Result<Value, HubError> {
        self.write("patch twin", Method::PATCH, twin_path(identity), identity, patch, Some(condition)).await
    }

    /// Reads one page of a query, with at most `limit` rows (1 to 1000). A hub returns fewer rows if
    /// the page would be too large.
    pub(crate) async fn query(
        &self,
        query: &str,
        continuation: Option<&HeaderValue>,
        limit: usize,
    ) -> Result<QueryPage, HubError> {
        let mut limit = limit;
        loop {
            match self.page(query, continuation, limit).await {
                Err(HubError::Malformed { source: AnswerError::TooLarge(_), .. }) if limit > 1 => {
                    limit = (limit / 8).max(1);
                }
                page => return page,
            }
        }
    }

    async fn page(
        &self,
        query: &str,
        continuation: Option<&HeaderValue>,
        limit: usize,
    ) -> Result<QueryPage, HubError> {
        let body = to_body(&json!({ "query": query }));
        self.repeat(Idempotency::Idempotent, || async {
            let mut request = Request::new("query", Method::POST, "/devices/query".to_owned())
                .body(body.clone())
                .at_most(MAX_PAGE);
            request.headers.insert(MAX_ITEM_COUNT, HeaderValue::from(limit));
            if let Some(token) = continuation {
                request.headers.insert(CONTINUATION, token.clone());
            }
            let answer = self.send(request).await?.success()?;
            // A token that is not understood would end the list before its end; it is handed back as it came.
            let continuation = answer.headers.get(&CONTINUATION).filter(|token| !token.is_empty()).cloned();
            let changed_number = check_numbers(answer.body(), &["reported"]).err();
            Ok(QueryPage { rows: answer.json()?, changed_number, continuation })
        })
        .await
    }

    /// The result of a call about modules of a device.
    pub(super) async fn of_module<T>(
        &self,
        device: &DeviceId,
        result: Result<T, HubError>,
    ) -> Result<T, HubError> {
        match result {
            Err(error) => Err(about_its_device(self, device, error).await),
            done => done,
        }
    }

    async fn put<T: DeserializeOwned + About>(
        &self,
        operation: &'static str,
        identity: &IdentityId,
        spec: &impl Serialize,
        condition: Option<&Condition>,
    ) -> Result<T, HubError> {
        self.write(operation, Method::PUT, identity_path(identity), identity, spec, condition).await
    }

    async fn write<T: DeserializeOwned + About>(
        &self,
        operation: &'static str,
        method: Method,
        path: String,
        identity: &IdentityId,
        body: &impl Serialize,
        condition: Option<&Condition>,
    ) -> Result<T, HubError> {
        let body = to_body(body);
        self.repeat(Idempotency::NonIdempotent, || async {
            let mut request = Request::new(operation, method.clone(), path.clone());
            request = request.body(body.clone()).at_most(MAX_TWIN);
            if let Some(condition) = condition {
                request = request.if_match(condition.header());
            }
            self.send(request).await?.success()?.json_of(identity)
        })
        .await
    }
}

/// Returns true if the hub reports that the object of the call, or its device, does not exist.
pub(crate) fn is_missing(error: &HubError) -> bool {
    matches!(error, HubError::NoDevice(_)) || error.status() == Some(StatusCode::NOT_FOUND.as_u16())
}

const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const MAX_ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
