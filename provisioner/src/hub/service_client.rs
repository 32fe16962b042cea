//! The calls to a service: authorised, paced, repeated, with errors that say what they mean for the caller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hub_types::identity::Status;
use hub_types::twin::Twin;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use super::access::{Access, TokenSource};
use super::answer::Answer;
use super::classes::ErrorClass;
use super::client::MAX_TWIN;
use super::error::HubError;
use super::network_failure::NetworkFailure;
use super::request::Request;
use super::tls_failure::TlsFailure;
use super::tokens::Tokens;
use super::transport::HubClientOptions;
use crate::clock;
use crate::hub::rate_limit::{CallEnd, Denied, ProbeEnd, RateLimiter};
use crate::model::service::ServiceKind;
use crate::model::service_status::WaitReason;

/// The API that a client calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    /// The kind of the service.
    pub(crate) service: ServiceKind,
    /// The version of its API.
    pub(crate) api_version: &'static str,
    /// Makes the cheapest request there is.
    pub(crate) probe: fn() -> Request,
}

/// A service, and the right to call it.
pub(crate) struct ServiceClient {
    endpoint: Endpoint,
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

impl ServiceClient {
    /// A client for the service that the access is for. Nothing is sent yet.
    pub(crate) fn new(
        endpoint: Endpoint,
        access: Access,
        options: &HubClientOptions,
    ) -> Result<Self, reqwest::Error> {
        let http = options.client()?.https_only(true).tls_info(true).build()?;
        let tokens = Tokens::new(TokenSource { access, options: options.clone() });
        Ok(Self {
            endpoint,
            http,
            base: OnceLock::new(),
            tokens,
            rate_limiter: RateLimiter::new(options.status.clone()),
            was_let_in: AtomicBool::new(false),
            given_up: OnceLock::new(),
        })
    }

    /// The kind of the service.
    pub(super) fn service(&self) -> ServiceKind {
        self.endpoint.service
    }

    /// The version of the API of the service.
    pub(super) fn api_version(&self) -> &'static str {
        self.endpoint.api_version
    }

    /// The right to call the service.
    pub(crate) fn access(&self) -> &Access {
        &self.tokens.issuer().access
    }

    /// The host of the service, with a port where it is not the standard one.
    pub(crate) fn host(&self) -> &str {
        self.access().host().as_str()
    }

    /// Makes sure that there is a token. Nothing is sent to the service.
    pub(crate) async fn authorize(&self) -> Result<(), HubError> {
        self.authorization().await.map(drop)
    }

    /// The budget that all calls to this service share.
    pub(crate) fn rate_limiter(&self) -> &RateLimiter {
        &self.rate_limiter
    }

    /// Waits before something is tried again, and says so where that takes long.
    pub(crate) async fn pause(&self, wait: Duration, reason: WaitReason) -> Result<(), HubError> {
        let paused = self.rate_limiter.back_off(wait, reason, Instant::now()).await;
        paused.map_err(|denied| self.denied(denied))
    }

    /// Makes one call, once, as soon as the rate limiter permits it, and answers whatever the service does.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, HubError> {
        if let Some(first) = self.given_up.get() {
            return Err(HubError::GivenUp(first.clone()));
        }
        if request.is_change
            && let Some(time) = self.rate_limiter.unconfirmed_too_long()
        {
            return Err(HubError::Unconfirmed {
                service: self.service(),
                host: self.host().to_owned(),
                time,
                source: self.rate_limiter.reported_failure(),
            });
        }
        let class = request.class;
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
        if request.is_change {
            match end {
                CallEnd::Failed => {
                    self.rate_limiter.change_failed(answer.as_ref().ok().and_then(Answer::own_refusal));
                }
                CallEnd::Refused | CallEnd::Served | CallEnd::Throttled => {
                    self.rate_limiter.change_answered();
                }
            }
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
            Denied::Unavailable(away) => {
                HubError::Down { service: self.service(), host: self.host().to_owned(), away }
            }
            Denied::Stopped => HubError::Stopped,
        }
    }

    /// Asks whether the service is back. If the next call would end for good, there is nothing to wait for.
    async fn answers(&self) -> ProbeEnd {
        let class = match self.send_now(&(self.endpoint.probe)()).await {
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
    /// or have been dropped by the service: where it is refused, a new one is worth one try. A service that took
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
        Answer::read(self.service(), request, response).await
    }

    fn base(&self) -> Result<&Url, HubError> {
        if let Some(base) = self.base.get() {
            return Ok(base);
        }
        let base = format!("https://{}/?api-version={}", self.host(), self.endpoint.api_version);
        let request = self.http.get(base).build().map_err(|error| self.no_answer(error))?;
        Ok(self.base.get_or_init(|| request.url().clone()))
    }

    pub(super) fn no_answer(&self, error: reqwest::Error) -> HubError {
        let (service, host) = (self.service(), self.host().to_owned());
        if let Some(failure) = TlsFailure::of(&error) {
            return HubError::Untrusted { service, host, failure };
        }
        match error.is_connect() || error.is_builder() {
            true => HubError::Unreachable { service, host, failure: NetworkFailure::of(&error) },
            false => HubError::Lost { service, failure: NetworkFailure::of(&error) },
        }
    }

    pub(super) async fn authorization(&self) -> Result<HeaderValue, HubError> {
        Ok(self.tokens.header(clock::now()).await?)
    }
}

impl std::fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceClient").field("host", &self.host()).finish_non_exhaustive()
    }
}

/// The pause before the second try after a refused token.
const SECOND_TRY: Duration = Duration::from_secs(2);
