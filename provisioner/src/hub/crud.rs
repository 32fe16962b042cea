//! One object at a time: the calls that scripts make, and listing by query.
//!
//! Unlike the calls of the trait [`Hub`](super::Hub) these are not sent again when an answer was
//! lost after the request may have had its effect: who calls sees the error, and can look.

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
    /// The object exists, in whatever version.
    Exists,
    /// The object has this etag. A text, as users hand it over: quotes around it do not matter.
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
    /// A number outside of reported properties that could not be read without changing it.
    pub(crate) changed_number: Option<TwinRuleError>,
    /// The token for the next page; `None` after the last.
    pub(crate) continuation: Option<HeaderValue>,
}

impl HubClient {
    /// Creates a device and answers it as the hub made it. One that exists is refused (409).
    pub(crate) async fn create_device(&self, spec: &DeviceSpec) -> Result<Device, HubError> {
        self.put("create device", &spec.device_id.clone().into(), spec, None).await
    }

    /// Replaces a device as a whole, on the condition that nobody has changed it.
    pub(crate) async fn replace_device(
        &self,
        spec: &DeviceSpec,
        condition: &Condition,
    ) -> Result<Device, HubError> {
        self.put("replace device", &spec.device_id.clone().into(), spec, Some(condition)).await
    }

    /// Reads a module; `None` when there is none.
    pub(crate) async fn module(&self, identity: &IdentityId) -> Result<Option<Module>, HubError> {
        let module = self.get("get module", &identity_path(identity), identity, MAX_IDENTITY).await;
        self.of_module(identity.device(), module).await
    }

    /// The modules of a device, at most 50; `None` when there is no such device.
    pub(crate) async fn modules_of(&self, device: &DeviceId) -> Result<Option<Vec<Module>>, HubError> {
        let identity = device.clone().into();
        let path = format!("{}/modules", identity_path(&identity));
        let modules = self.get("get modules", &path, &identity, MAX_MODULES).await;
        match self.of_module(device, modules).await {
            Err(HubError::NoDevice(_)) => Ok(None),
            modules => modules,
        }
    }

    /// Creates a module and answers it as the hub made it. One that exists is refused (409).
    pub(crate) async fn new_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleSpec,
    ) -> Result<Module, HubError> {
        let module = self.put("create module", identity, spec, None).await;
        self.of_module(identity.device(), module).await
    }

    /// Replaces a module as a whole, on the condition that nobody has changed it.
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

    /// Replaces the tags and the desired properties of a twin and answers the new twin.
    pub(crate) async fn replace_twin(
        &self,
        identity: &IdentityId,
        twin: &Value,
        condition: &Condition,
    ) -> Result<Value, HubError> {
        self.write("replace twin", Method::PUT, twin_path(identity), identity, twin, Some(condition)).await
    }

    /// Merges a patch into a twin and answers the new twin.
    pub(crate) async fn merge_twin(
        &self,
        identity: &IdentityId,
        patch: &Value,
        condition: &Condition,
    ) -> Result<Value, HubError> {
        self.write("patch twin", Method::PATCH, twin_path(identity), identity, patch, Some(condition)).await
    }

    /// One page of a query: at most `limit` rows (1 to 1000), fewer where so many would be too large.
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
