//! One method per call of the service REST API that provisioning needs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hub_types::bulk::{BulkItem, BulkResult};
use hub_types::identity::{Device, ModuleSpec, Status};
use hub_types::limits::OperationClass;
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{JsonObject, Twin};
use hub_types::{Authentication, DeviceId, Etag, IdentityId, ModuleId};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::{Access, TokenSource};
use super::answer::{About, Answer, DocumentKind, Ids};
use super::classes::ErrorClass;
use super::error::HubError;
use super::network_failure::NetworkFailure;
use super::retry::Idempotency;
use super::tls_failure::TlsFailure;
use super::tokens::Tokens;
use super::transport::HubClientOptions;
use super::{Condition, Hub};
use crate::clock;
use crate::hub::rate_limit::{CallEnd, Denied, ProbeEnd, RateLimiter};
use crate::model::service_status::WaitReason;

/// A hub, and the right to call it.
pub(crate) struct HubClient {
    pub(super) http: reqwest::Client,
    /// The URL of all calls, without their paths. It is parsed once.
    base: OnceLock<Url>,
    tokens: Tokens<TokenSource>,
    rate_limiter: RateLimiter,
    /// True once any call has succeeded.
    was_let_in: AtomicBool,
    /// The error that ended a run for all its workers.
    given_up: OnceLock<Arc<HubError>>,
}

impl HubClient {
    /// A client for the hub that the access is for. Nothing is sent yet.
    pub(crate) fn new(access: Access, options: &HubClientOptions) -> Result<Self, reqwest::Error> {
        let http = options.client()?.https_only(true).tls_info(true).build()?;
        let tokens = Tokens::new(TokenSource { access, options: options.clone() });
        Ok(Self {
            http,
            base: OnceLock::new(),
            tokens,
            rate_limiter: RateLimiter::new(options.status.clone()),
            was_let_in: AtomicBool::new(false),
            given_up: OnceLock::new(),
        })
    }

    /// The right to call the hub.
    pub(crate) fn access(&self) -> &Access {
        &self.tokens.issuer().access
    }

    /// The host of the hub, with a port where it is not the standard one.
    pub(crate) fn host(&self) -> &str {
        self.access().host().as_str()
    }

    /// Makes sure that there is a token. Nothing is sent to the hub.
    pub(crate) async fn authorize(&self) -> Result<(), HubError> {
        self.authorization().await.map(drop)
    }

    /// The budget that all calls to this hub share.
    pub(crate) fn rate_limiter(&self) -> &RateLimiter {
        &self.rate_limiter
    }

    /// Makes one cheap call, which tells whether the hub can be reached and lets this caller in. It answers
    /// how many devices there are.
    pub(crate) async fn probe(&self) -> Result<u64, HubError> {
        Ok(self.statistics().await?.devices)
    }

    /// Reads a twin as the hub wrote it, whatever is in it; `None` when there is none.
    pub(crate) async fn twin_document(&self, identity: &IdentityId) -> Result<Option<Value>, HubError> {
        self.get("get twin", &twin_path(identity), identity, MAX_TWIN).await
    }

    /// Reads what is about an identity; `None` when the hub says that there is none.
    pub(super) async fn get<T: DeserializeOwned + About>(
        &self,
        operation: &'static str,
        path: &str,
        identity: &IdentityId,
        at_most: usize,
    ) -> Result<Option<T>, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let request = Request::new(operation, Method::GET, path.to_owned()).at_most(at_most);
            let answer = self.send(request).await?;
            match answer.is_missing() {
                true => Ok(None),
                false => answer.success()?.json_of(identity).map(Some),
            }
        })
        .await
    }

    /// Makes one call, once, as soon as the rate limiter permits it, and answers whatever the hub does.
    pub(super) async fn send(&self, request: Request) -> Result<Answer, HubError> {
        if let Some(first) = self.given_up.get() {
            return Err(HubError::GivenUp(first.clone()));
        }
        if request.is_change()
            && let Some(time) = self.rate_limiter.unconfirmed_too_long()
        {
            return Err(HubError::Unconfirmed { host: self.host().to_owned(), time });
        }
        let class = request.class();
        let permit = self.rate_limiter.permit(class, request.operations, || self.answers()).await;
        let permit = permit.map_err(|denied| self.denied(denied))?;
        // Pinned here, so that its state is not moved.
        let call = std::pin::pin!(self.send_now(&request));
        let answer = self.rate_limiter.watch(call).await;
        let seen = match &answer {
            Ok(answer) => answer.class(),
            Err(error) => Some(error.class()),
        };
        if let Some(seconds) = answer.as_ref().ok().filter(|_| seen.is_some()).and_then(Answer::retry_after) {
            self.rate_limiter.pause(class, Duration::from_secs(seconds));
        }
        let end = match seen {
            Some(ErrorClass::Throttled) => CallEnd::Throttled,
            Some(ErrorClass::Foreign | ErrorClass::Transient) => CallEnd::Failed,
            Some(ErrorClass::Auth | ErrorClass::Input | ErrorClass::Permanent) if answer.is_err() => {
                CallEnd::Refused
            }
            _ => CallEnd::Served,
        };
        permit.ended(end);
        if request.is_change() {
            self.rate_limiter.note_change(end != CallEnd::Failed);
        }
        match seen {
            Some(ErrorClass::Permanent) => self.give_up(answer),
            Some(ErrorClass::Auth) if request.twin_of_module_device().is_none() => self.give_up(answer),
            _ => answer,
        }
    }

    /// In a run, whose workers share this client, makes the first answer that holds for all calls their
    /// common end.
    fn give_up(&self, answer: Result<Answer, HubError>) -> Result<Answer, HubError> {
        if !self.rate_limiter.can_be_stopped() {
            return answer;
        }
        let error = match answer.and_then(|answer| answer.expect(&[])) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        Err(HubError::GivenUp(self.given_up.get_or_init(|| Arc::new(error)).clone()))
    }

    pub(super) fn denied(&self, denied: Denied) -> HubError {
        match denied {
            Denied::Unavailable(away) => HubError::Down { host: self.host().to_owned(), away },
            Denied::Stopped => HubError::Stopped,
        }
    }

    /// Asks whether the hub is back. If the next call would end for good, there is nothing to wait for.
    async fn answers(&self) -> ProbeEnd {
        let class = match self.send_now(&statistics()).await {
            Ok(answer) => answer.class(),
            Err(error) => Some(error.class()),
        };
        match class {
            Some(ErrorClass::Foreign | ErrorClass::Transient) => ProbeEnd::Away,
            Some(ErrorClass::Permanent) => ProbeEnd::Hopeless,
            _ => ProbeEnd::Back,
        }
    }

    /// Makes one call with the token at hand. The token may have been made with a clock that was wrong,
    /// or have been dropped by the hub: where it is refused, a new one is worth one try. A hub that took
    /// the last one has refused a good token before; it is given a sample.
    async fn send_now(&self, request: &Request) -> Result<Answer, HubError> {
        let token = self.authorization().await?;
        let answer = self.send_with(token.clone(), request).await?;
        let was_let_in = self.was_let_in.load(Ordering::Relaxed);
        if answer.status != StatusCode::UNAUTHORIZED {
            if answer.status.is_success() && !was_let_in {
                self.was_let_in.store(true, Ordering::Relaxed);
            }
            return Ok(answer);
        }
        if self.is_about_no_device(request, &token).await? {
            return Ok(answer);
        }
        let may_fare_better = match was_let_in {
            true => {
                self.rate_limiter.rest(SECOND_TRY).await.map_err(|denied| self.denied(denied))?;
                self.tokens.replace(&token).await;
                true
            }
            false => self.tokens.renew(&token, clock::now()).await,
        };
        match may_fare_better {
            true => self.send_with(self.authorization().await?, request).await,
            false => Ok(answer),
        }
    }

    /// Asks whether a call about a module is refused because its device is missing or disabled: to the
    /// key of a policy a hub says so with 401.
    async fn is_about_no_device(&self, request: &Request, token: &HeaderValue) -> Result<bool, HubError> {
        let Some(path) = request.twin_of_module_device() else { return Ok(false) };
        let look = Request::new("get twin", Method::GET, path).at_most(MAX_TWIN);
        let twin = self.send_with(token.clone(), &look).await?;
        Ok(twin.is_missing() || twin.json::<Twin>().is_ok_and(|twin| twin.status == Status::Disabled))
    }

    async fn send_with(&self, token: HeaderValue, request: &Request) -> Result<Answer, HubError> {
        let mut url = self.base()?.clone();
        url.set_path(&request.path);
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
        Answer::read(request.operation, response, request.at_most, request.document()).await
    }

    fn base(&self) -> Result<&Url, HubError> {
        if let Some(base) = self.base.get() {
            return Ok(base);
        }
        let base = format!("https://{}/?api-version={API_VERSION}", self.host());
        let request = self.http.get(base).build().map_err(|error| self.no_answer(error))?;
        Ok(self.base.get_or_init(|| request.url().clone()))
    }

    pub(super) fn no_answer(&self, error: reqwest::Error) -> HubError {
        let host = self.host().to_owned();
        if let Some(failure) = TlsFailure::of(&error) {
            return HubError::Untrusted { host, failure };
        }
        match error.is_connect() || error.is_builder() {
            true => HubError::Unreachable { host, failure: NetworkFailure::of(&error) },
            false => HubError::Lost(NetworkFailure::of(&error)),
        }
    }

    pub(super) async fn authorization(&self) -> Result<HeaderValue, HubError> {
        Ok(self.tokens.header(clock::now()).await?)
    }
}

impl Hub for HubClient {
    async fn pause(&self, wait: Duration, reason: WaitReason) -> Result<(), HubError> {
        let paused = self.rate_limiter.back_off(wait, reason, Instant::now()).await;
        paused.map_err(|denied| self.denied(denied))
    }

    async fn population(&self) -> Result<u64, HubError> {
        self.count_identities().await
    }

    async fn count_modules(&self, devices: &[DeviceId]) -> Result<HashMap<DeviceId, u64>, HubError> {
        self.modules_by_device(devices).await
    }

    async fn children(&self, scopes: &[String]) -> Result<Vec<DeviceId>, HubError> {
        self.devices_below(scopes).await
    }

    async fn twin(&self, identity: &IdentityId) -> Result<Option<Twin>, HubError> {
        self.get("get twin", &twin_path(identity), identity, MAX_TWIN).await
    }

    async fn keys(&self, identity: &IdentityId) -> Result<Option<SymmetricKeys>, HubError> {
        let path = identity_path(identity);
        let found = self.get::<IdentityKeys>("get identity", &path, identity, MAX_IDENTITY).await;
        let found = match identity.module() {
            Some(_) => self.of_module(identity.device(), found).await,
            None => found,
        };
        Ok(match found? {
            Some(IdentityKeys { authentication: Authentication::Sas(keys), .. }) => keys,
            _ => None,
        })
    }

    async fn device(&self, device: &DeviceId) -> Result<Option<Device>, HubError> {
        let identity = device.clone().into();
        self.get("get device", &identity_path(&identity), &identity, MAX_IDENTITY).await
    }

    async fn bulk(&self, items: &[BulkItem]) -> Result<BulkResult, HubError> {
        let body = to_body(&items);
        self.repeat(Idempotency::NonIdempotent, || async {
            let request = Request::new("bulk", Method::POST, "/devices".to_owned())
                .body(body.clone())
                .operations(items.len())
                .at_most(MAX_BULK_RESULT);
            let answer = self.send(request).await?;
            // When items failed the call is HTTP 400, with the same result as its body.
            match (answer.status, answer.json()) {
                (StatusCode::BAD_REQUEST, Ok(result)) => Ok(result),
                _ => answer.expect(&[StatusCode::OK])?.json(),
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
        self.repeat(Idempotency::NonIdempotent, || async {
            let request = Request::new("put module", Method::PUT, identity_path(identity)).body(body.clone());
            let request = match etag {
                Some(etag) => request.if_match(etag.quoted()),
                None => request,
            };
            self.send(request).await?.success()?.json_of::<Ids>(identity).map(drop)
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
        let body = to_body(&twin_patch(tags, desired));
        self.repeat(Idempotency::Idempotent, || async {
            let request = Request::new("patch twin", Method::PATCH, twin_path(identity)).body(body.clone());
            let etag = etag.map_or_else(|| "\"*\"".to_owned(), Etag::quoted);
            let answer = self.send(request.at_most(MAX_TWIN).if_match(etag)).await?;
            answer.success()?.json_of::<Ids>(identity).map(drop)
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
    /// The largest answer, in bytes.
    at_most: usize,
}

impl Request {
    pub(super) fn new(operation: &'static str, method: Method, path: String) -> Self {
        Self {
            operation,
            method,
            path,
            headers: HeaderMap::new(),
            body: None,
            if_match: None,
            operations: 1,
            at_most: MAX_IDENTITY,
        }
    }

    pub(super) fn body(self, body: bytes::Bytes) -> Self {
        Self { body: Some(body), ..self }
    }

    fn operations(self, operations: usize) -> Self {
        Self { operations, ..self }
    }

    /// Bounds the size of the answer.
    pub(super) fn at_most(self, at_most: usize) -> Self {
        Self { at_most, ..self }
    }

    /// The path of the device's twin, where the call is about the identities of modules. The refusal of such
    /// a call may be about the device.
    fn twin_of_module_device(&self) -> Option<String> {
        let (device, _) = self.path.strip_prefix("/devices/")?.split_once("/modules")?;
        Some(format!("/twins/{device}"))
    }

    /// The kind of the document in a success.
    fn document(&self) -> DocumentKind {
        let below_device = self.path.strip_prefix("/devices/").and_then(|path| path.split_once('/'));
        match (&self.method, self.path.as_str(), below_device) {
            (&Method::POST, "/devices/query", _) | (_, _, Some((_, "modules"))) => DocumentKind::List,
            _ => DocumentKind::Object,
        }
    }

    /// Returns true if it may change something.
    fn is_change(&self) -> bool {
        self.method != Method::GET && self.class() != OperationClass::Query
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

/// The body of a request.
#[expect(
    clippy::expect_used,
    reason = "documents of strings, numbers and maps with text keys always serialise"
)]
pub(super) fn to_body(value: &impl serde::Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("a document of ours is JSON").into()
}

/// The largest answers, in bytes. The limits of IoT Hub bound a twin to 8 KB of tags and 32 KB in each other
/// section; its metadata are larger than that, some 90 bytes for a value that may count as few as two.
/// Source: "Understand and use device twins", "IoT Hub quotas and throttling".
pub(super) const MAX_TWIN: usize = 8 << 20;
/// Keys, thumbprints, scopes, times: some 2 KB.
pub(super) const MAX_IDENTITY: usize = 256 << 10;
/// At most 50 identities.
pub(super) const MAX_MODULES: usize = 4 << 20;
/// At most 100 items with an error and a warning each.
const MAX_BULK_RESULT: usize = 1 << 20;
/// A page of a thousand twins of usual size; of larger ones, a smaller page is asked for.
pub(super) const MAX_PAGE: usize = 64 << 20;
/// The pause before the second try after a refused token.
const SECOND_TRY: Duration = Duration::from_secs(2);

pub(super) const API_VERSION: &str = "2021-04-12";

/// The keys in the document of an identity.
#[derive(serde::Deserialize)]
struct IdentityKeys {
    #[serde(flatten)]
    ids: Ids,
    authentication: Authentication,
}

impl About for IdentityKeys {
    fn is_about(&self, identity: &IdentityId) -> bool {
        self.ids.is_about(identity)
    }
}

/// The patch of a twin. An empty section is left out: it would count as a write all the same.
fn twin_patch(tags: &JsonObject, desired: &JsonObject) -> JsonObject {
    let mut patch = JsonObject::new();
    if !tags.is_empty() {
        patch.insert("tags".to_owned(), json!(tags));
    }
    if !desired.is_empty() {
        patch.insert("properties".to_owned(), json!({ "desired": desired }));
    }
    patch
}
