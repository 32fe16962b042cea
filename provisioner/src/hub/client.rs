//! One method per call of the service REST API that provisioning needs.

use std::collections::HashMap;
use std::time::Duration;

use hub_types::bulk::{BulkItem, BulkResult};
use hub_types::identity::{Device, ModuleSpec};
use hub_types::limits::OperationClass;
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{JsonObject, Twin};
use hub_types::{Authentication, DeviceId, Etag, IdentityId, ModuleId};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock;
use crate::pace::{CallEnd, Denied, Pace};

use super::access::{Access, TokenSource};
use super::error::{ErrorClass, HubError};
use super::retry::{Repeat, with_retry};
use super::tokens::Tokens;
use super::transport::HubClientOptions;
use super::{Condition, Hub};

/// A hub, and the right to call it.
pub struct HubClient {
    pub(super) http: reqwest::Client,
    tokens: Tokens<TokenSource>,
    pace: Pace,
}

impl HubClient {
    /// A client for the hub that the access is for. Nothing is sent yet.
    pub fn new(access: Access, options: &HubClientOptions) -> Result<Self, reqwest::Error> {
        let http = options.client()?.https_only(true).tls_info(true).build()?;
        let tokens = Tokens::new(TokenSource { access, options: options.clone() });
        Ok(Self { http, tokens, pace: Pace::new() })
    }

    /// The right to call the hub.
    pub fn access(&self) -> &Access {
        &self.tokens.issuer().access
    }

    /// The host of the hub, with a port where it is not the standard one.
    pub fn host(&self) -> &str {
        self.access().host().as_str()
    }

    /// Makes sure that there is a token. Nothing is sent to the hub.
    pub async fn authorize(&self) -> Result<(), HubError> {
        self.authorization().await.map(drop)
    }

    /// The budget that all calls to this hub share.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Makes one cheap call, without a second try: it tells at once whether the hub can be reached
    /// and lets this caller in. It answers how many devices there are.
    pub async fn probe(&self) -> Result<u64, HubError> {
        Ok(self.statistics().await?.devices)
    }

    /// Reads a twin as the hub wrote it, whatever is in it; `None` when there is none.
    pub async fn twin_document(&self, identity: &IdentityId) -> Result<Option<Value>, HubError> {
        self.get("get twin", &twin_path(identity)).await
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
    ) -> Result<Option<T>, HubError> {
        with_retry(Repeat::Always, || async {
            let answer = self.send(Request::new(operation, Method::GET, path.to_owned())).await?;
            match answer.status {
                StatusCode::NOT_FOUND => Ok(None),
                _ => answer.success()?.json().map(Some),
            }
        })
        .await
    }

    /// Makes one call, once, as soon as the pace permits it, and answers whatever the hub does.
    pub(super) async fn send(&self, request: Request) -> Result<Answer, HubError> {
        let class = request.class();
        let permit = self.pace.permit(class, request.operations, || self.answers()).await;
        let permit = permit.map_err(|denied| match denied {
            Denied::Down(away) => HubError::Down { host: self.host().to_owned(), away },
            Denied::Stopped => HubError::Stopped,
        })?;
        let answer = self.send_now(&request).await;
        let refused = answer.as_ref().ok().filter(|answer| !answer.status.is_success());
        if let Some(seconds) = refused.and_then(Answer::retry_after) {
            self.pace.hold_back(class, Duration::from_secs(seconds));
        }
        permit.ended(match &answer {
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => CallEnd::Throttled,
            Ok(answer) if !answer.is_failure() => CallEnd::Served,
            _ => CallEnd::Failed,
        });
        answer
    }

    /// Whether the hub answers at all, be it with a refusal.
    async fn answers(&self) -> bool {
        match self.send_now(&statistics()).await {
            Ok(answer) => !answer.is_failure(),
            Err(error) => error.class() == ErrorClass::Auth,
        }
    }

    /// Makes one call with the token at hand. The token may have been made with a clock that was wrong,
    /// or have been dropped by the hub: where it is refused, a new one is worth one try.
    async fn send_now(&self, request: &Request) -> Result<Answer, HubError> {
        let token = self.authorization().await?;
        let answer = self.send_with(token.clone(), request).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED if self.tokens.renew(&token, clock::now()).await => {
                self.send_with(self.authorization().await?, request).await
            }
            _ => Ok(answer),
        }
    }

    async fn send_with(&self, token: HeaderValue, request: &Request) -> Result<Answer, HubError> {
        let url = format!("https://{}{}?api-version={API_VERSION}", self.host(), request.path);
        let method = request.method.clone();
        let mut builder = self.http.request(method, url).header(AUTHORIZATION, token);
        builder = builder.headers(request.headers.clone());
        if let Some(etag) = &request.if_match {
            builder = builder.header(IF_MATCH, etag);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json; charset=utf-8").body(body.clone());
        }
        let response = builder.send().await.map_err(|error| self.no_answer(error))?;
        tracing::debug!(operation = request.operation, path = request.path, status = %response.status());
        Ok(Answer {
            operation: request.operation,
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.map_err(HubError::Lost)?,
        })
    }

    pub(super) fn no_answer(&self, error: reqwest::Error) -> HubError {
        match error.is_connect() || error.is_builder() {
            true => HubError::Unreachable { host: self.host().to_owned(), source: error.without_url() },
            false => HubError::Lost(error.without_url()),
        }
    }

    pub(super) async fn authorization(&self) -> Result<HeaderValue, HubError> {
        Ok(self.tokens.header(clock::now()).await?)
    }
}

impl Hub for HubClient {
    async fn population(&self) -> Result<u64, HubError> {
        self.count_identities().await
    }

    async fn count_modules(&self, devices: &[DeviceId]) -> Result<HashMap<DeviceId, u64>, HubError> {
        self.modules_by_device(devices).await
    }

    async fn twin(&self, identity: &IdentityId) -> Result<Option<Twin>, HubError> {
        self.get("get twin", &twin_path(identity)).await
    }

    async fn keys(&self, identity: &IdentityId) -> Result<Option<SymmetricKeys>, HubError> {
        #[derive(serde::Deserialize)]
        struct Identity {
            authentication: Authentication,
        }
        let found = self.get::<Identity>("get identity", &identity_path(identity)).await;
        let found = match identity.module() {
            Some(_) => self.of_module(identity.device(), found).await,
            None => found,
        };
        Ok(match found? {
            Some(Identity { authentication: Authentication::Sas(keys) }) => keys,
            _ => None,
        })
    }

    async fn device(&self, device: &DeviceId) -> Result<Option<Device>, HubError> {
        self.get("get device", &identity_path(&device.clone().into())).await
    }

    async fn bulk(&self, items: &[BulkItem]) -> Result<BulkResult, HubError> {
        let body = to_body(&items);
        with_retry(Repeat::WithoutEffect, || async {
            let request = Request::new("bulk", Method::POST, "/devices".to_owned())
                .body(body.clone())
                .operations(items.len());
            let answer = self.send(request).await?;
            // When items failed the call is HTTP 400, with the same result as its body.
            match (answer.status, answer.json()) {
                (StatusCode::BAD_REQUEST, Ok(result)) => Ok(result),
                _ => answer.success()?.json(),
            }
        })
        .await
    }

    async fn modules(&self, device: &DeviceId) -> Result<Vec<ModuleId>, HubError> {
        let modules = self.modules_of(device).await?.unwrap_or_default();
        Ok(modules.into_iter().map(|module| module.module_id).collect())
    }

    async fn delete(&self, identity: &IdentityId, etag: Option<&Etag>) -> Result<(), HubError> {
        let condition = match etag {
            Some(etag) => Condition::Etag(etag.as_str().to_owned()),
            None => Condition::Exists,
        };
        self.delete_identity(identity, &condition).await
    }

    async fn put_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleSpec,
        etag: Option<&Etag>,
    ) -> Result<(), HubError> {
        let body = to_body(spec);
        with_retry(Repeat::WithoutEffect, || async {
            let request = Request::new("put module", Method::PUT, identity_path(identity)).body(body.clone());
            let request = match etag {
                Some(etag) => request.if_match(etag.quoted()),
                None => request,
            };
            self.send(request).await?.success().map(drop)
        })
        .await
    }

    async fn patch_twin(
        &self,
        identity: &IdentityId,
        tags: &JsonObject,
        desired: &JsonObject,
        etag: Option<&Etag>,
    ) -> Result<(), HubError> {
        // A section that has nothing in it is left out: it would count as a write all the same.
        let mut patch = JsonObject::new();
        if !tags.is_empty() {
            patch.insert("tags".to_owned(), json!(tags));
        }
        if !desired.is_empty() {
            patch.insert("properties".to_owned(), json!({ "desired": desired }));
        }
        let body = to_body(&patch);
        with_retry(Repeat::Always, || async {
            let request = Request::new("patch twin", Method::PATCH, twin_path(identity)).body(body.clone());
            let etag = etag.map_or_else(|| "\"*\"".to_owned(), Etag::quoted);
            self.send(request.if_match(etag)).await?.success().map(drop)
        })
        .await
    }
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubClient").field("host", &self.host()).finish_non_exhaustive()
    }
}

pub(super) struct Request {
    operation: &'static str,
    method: Method,
    path: String,
    pub(super) headers: HeaderMap,
    body: Option<bytes::Bytes>,
    if_match: Option<String>,
    /// As how many operations the hub counts it.
    operations: usize,
}

impl Request {
    pub(super) fn new(operation: &'static str, method: Method, path: String) -> Self {
        Self { operation, method, path, headers: HeaderMap::new(), body: None, if_match: None, operations: 1 }
    }

    pub(super) fn body(self, body: bytes::Bytes) -> Self {
        Self { body: Some(body), ..self }
    }

    fn operations(self, operations: usize) -> Self {
        Self { operations, ..self }
    }

    /// The throttle that it falls under.
    fn class(&self) -> OperationClass {
        match (self.path.as_str(), &self.method) {
            ("/devices/query", _) => OperationClass::Query,
            (path, &Method::GET) if path.starts_with("/twins/") => OperationClass::TwinRead,
            (path, _) if path.starts_with("/twins/") => OperationClass::TwinUpdate,
            _ => OperationClass::Registry,
        }
    }

    pub(super) fn if_match(self, etag: impl Into<String>) -> Self {
        Self { if_match: Some(etag.into()), ..self }
    }
}

pub(super) struct Answer {
    operation: &'static str,
    status: StatusCode,
    pub(super) headers: HeaderMap,
    body: bytes::Bytes,
}

impl Answer {
    /// Whether the hub, or what stands before it, has a problem of its own.
    fn is_failure(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::REQUEST_TIMEOUT
    }

    pub(super) fn success(self) -> Result<Self, HubError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let code = self.header("iothub-errorcode");
        Err(HubError::refused(self.status.as_u16(), code, self.retry_after(), &self.body))
    }

    /// How many seconds the hub asks to wait, be it in seconds or by a date (RFC 9110 §10.2.3).
    fn retry_after(&self) -> Option<u64> {
        let text = self.header(RETRY_AFTER.as_str())?;
        let until_date = || {
            let date = OffsetDateTime::from(httpdate::parse_http_date(text).ok()?);
            u64::try_from((date - clock::now()).whole_seconds()).ok()
        };
        text.parse().ok().or_else(until_date)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, HubError> {
        serde_json::from_slice(&self.body)
            .map_err(|source| HubError::Malformed { operation: self.operation, source })
    }
}

pub(super) fn identity_path(identity: &IdentityId) -> String {
    path_below("/devices", identity)
}

pub(super) fn twin_path(identity: &IdentityId) -> String {
    path_below("/twins", identity)
}

fn path_below(root: &str, identity: &IdentityId) -> String {
    let device = identity.device().path_segment();
    match identity.module() {
        None => format!("{root}/{device}"),
        Some(module) => format!("{root}/{device}/modules/{}", module.path_segment()),
    }
}

/// The cheapest call there is.
pub(super) fn statistics() -> Request {
    Request::new("statistics", Method::GET, "/statistics/devices".to_owned())
}

pub(super) fn to_body(value: &impl serde::Serialize) -> bytes::Bytes {
    // Documents of strings, numbers and maps with text keys always serialise.
    serde_json::to_vec(value).unwrap_or_default().into()
}

pub(super) const API_VERSION: &str = "2021-04-12";
