//! An answer of a service, and what has to be true of it before it counts.

use std::fmt;

use cli_support::wrong_form::JsonMistake;
use hub_types::IdentityId;
use hub_types::identity::{Device, Module};
use hub_types::twin::Twin;
use reqwest::header::{AsHeaderName, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use super::classes::{CallResult, ErrorClass, line};
use super::error::{Envelope, HubError};
use super::network_failure::NetworkFailure;
use super::request::Request;
use crate::clock;
use crate::model::service::ServiceKind;

/// The whole answer to a call.
pub(crate) struct Answer {
    service: ServiceKind,
    pub(super) operation: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    document: DocumentKind,
    body: Vec<u8>,
}

/// The kind of document that a call promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// An array.
    List,
    /// An object.
    Object,
}

/// The reason why an answer is not what its operation promises.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AnswerError {
    /// The body is compressed, which was not asked for.
    #[error("it is compressed (`{0}`), which was not asked for")]
    Compressed(String),
    /// There is no body.
    #[error("it is empty")]
    Empty,
    /// JSON that is damaged.
    #[error("its JSON is damaged")]
    Json(#[source] JsonMistake),
    /// Something that is no JSON.
    #[error("it is {}, not JSON", kind.as_deref().unwrap_or("of no declared kind"))]
    NotJson {
        /// The media type.
        kind: Option<String>,
    },
    /// A web page.
    #[error("it is a web page, not an answer of the service (a login page?)")]
    Page,
    /// The answer is about something that was not asked for.
    #[error("it is not about `{0}`, which was asked for")]
    OtherIdentity(IdentityId),
    /// JSON, but without what the operation promises.
    #[error("it does not hold what was asked for")]
    Shape(#[source] JsonMistake),
    /// A status that the operation has not.
    #[error("its status is {0}, which the service does not give here")]
    Status(u16),
    /// JSON of another kind than the operation promises.
    #[error("its JSON is not {0}, as that of the service is")]
    OtherKind(DocumentKind),
    /// More than the service sends.
    #[error("it is larger than {} KiB, more than the service sends", .0 / 1024)]
    TooLarge(usize),
    /// An error that is not in the words of the service.
    #[error("it is an error {status}{} that does not come from the service", if *is_page { " with a web page (a login page?)" } else { "" })]
    Unexplained {
        /// The HTTP status.
        status: u16,
        /// True for a web page.
        is_page: bool,
    },
}

impl AnswerError {
    /// The status of an error answer.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Unexplained { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True for JSON about the asked identity that has not the expected members.
    pub(super) fn is_other_shape(&self) -> bool {
        matches!(self, Self::Shape(_))
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

/// A document about one identity, or about the modules of one device.
pub(crate) trait About {
    /// Compares its ids with those of an identity.
    fn is_about(&self, identity: &IdentityId) -> bool;
}

impl Answer {
    /// Reads an answer, of a success at most so many bytes, of an error the beginning.
    pub(super) async fn read(
        service: ServiceKind,
        request: &Request,
        mut response: Response,
    ) -> Result<Self, HubError> {
        let Request { operation, at_most, document, .. } = *request;
        let status = response.status();
        let headers = response.headers().clone();
        if status.is_redirection() {
            let host = redirected_to(response.url(), &headers);
            return Err(HubError::Redirected { service, status: status.as_u16(), host });
        }
        // The result of a bulk call that failed in part is an error by its status.
        let is_promised = status.is_success() || status == StatusCode::BAD_REQUEST;
        let at_most = if is_promised { at_most } else { MAX_ERROR };
        let mut body = Vec::with_capacity(expected_length(&response).min(at_most));
        let lost = |error| HubError::Lost { service, failure: NetworkFailure::of(&error) };
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > at_most {
                if !is_promised {
                    break;
                }
                let source = AnswerError::TooLarge(at_most);
                return Err(HubError::Malformed { service, operation, source });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { service, operation, status, headers, document, body })
    }

    /// The class of the answer; none for a success in JSON or without content.
    pub(super) fn class(&self) -> Option<ErrorClass> {
        if self.status.is_success() {
            return (self.status != StatusCode::NO_CONTENT && self.as_json().is_err())
                .then_some(ErrorClass::Foreign);
        }
        let (code, explained) = self.said();
        let seen = CallResult::Answer { status: self.status.as_u16(), code: code.as_deref(), explained };
        Some(line(self.service, seen).class)
    }

    /// Insists on one of these statuses; any other answer is an error.
    pub(crate) fn expect(self, statuses: &[StatusCode]) -> Result<Self, HubError> {
        match self.status {
            status if statuses.contains(&status) => Ok(self),
            status if status.is_success() => Err(match self.as_json() {
                Ok(_) => self.malformed(AnswerError::Status(status.as_u16())),
                Err(error) => self.malformed(error),
            }),
            _ => Err(self.refusal()),
        }
    }

    /// Insists on the success of a call that answers with a document.
    pub(crate) fn success(self) -> Result<Self, HubError> {
        self.expect(&[StatusCode::OK, StatusCode::CREATED])
    }

    /// True where the service says that the object does not exist. A 404 without the service's code does not.
    pub(crate) fn is_missing(&self) -> bool {
        if self.status != StatusCode::NOT_FOUND {
            return false;
        }
        let code = self.said().0;
        match self.service {
            ServiceKind::Dps => code.is_some_and(|code| code.starts_with("404")),
            ServiceKind::Hub => matches!(code.as_deref(), Some("DeviceNotFound" | "ModuleNotFound")),
        }
    }

    /// The body as it came.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The document.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, HubError> {
        let parsed = self.as_json().and_then(|body| {
            serde_json::from_slice(body).map_err(|error| match error.is_data() {
                true => AnswerError::Shape(JsonMistake::new(&error)),
                false => AnswerError::Json(JsonMistake::new(&error)),
            })
        });
        parsed.map_err(|source| self.malformed(source))
    }

    /// The document, which must be about this identity.
    pub(crate) fn json_of<T: DeserializeOwned + About>(&self, identity: &IdentityId) -> Result<T, HubError> {
        let document: T = self.json()?;
        match document.is_about(identity) {
            true => Ok(document),
            false => Err(self.malformed(AnswerError::OtherIdentity(identity.clone()))),
        }
    }

    /// The seconds that the service asks to wait, given in seconds or by a date (RFC 9110 §10.2.3).
    pub(super) fn retry_after(&self) -> Option<u64> {
        let text = self.header(RETRY_AFTER)?;
        let until_date = || {
            let date = OffsetDateTime::from(httpdate::parse_http_date(text).ok()?);
            u64::try_from((date - clock::now()).whole_seconds()).ok()
        };
        text.parse().ok().or_else(until_date)
    }

    fn refusal(&self) -> HubError {
        let status = self.status.as_u16();
        let (code, explained) = self.said();
        let is_page = self.is_page(self.media_type());
        let seen = CallResult::Answer { status, code: code.as_deref(), explained };
        if line(self.service, seen).class == ErrorClass::Foreign {
            return self.malformed(AnswerError::Unexplained { status, is_page });
        }
        // Of a page of a gateway nothing is worth repeating.
        let body = if is_page { &b""[..] } else { &self.body };
        HubError::refused(self.service, status, code.as_deref(), self.retry_after(), body)
    }

    fn malformed(&self, source: AnswerError) -> HubError {
        HubError::Malformed { service: self.service, operation: self.operation, source }
    }

    /// The body, where it is declared to be plain JSON of the promised kind.
    fn as_json(&self) -> Result<&[u8], AnswerError> {
        match self.header(CONTENT_ENCODING).map(str::trim) {
            None | Some("" | "identity") => {}
            Some(coding) => return Err(AnswerError::Compressed(printable(coding))),
        }
        let kind = self.media_type();
        match kind {
            _ if self.is_page(kind) => Err(AnswerError::Page),
            _ if self.body.is_empty() => Err(AnswerError::Empty),
            Some(kind) if kind.eq_ignore_ascii_case("application/json") => match self.is_of_other_kind() {
                true => Err(AnswerError::OtherKind(self.document)),
                false => Ok(&self.body),
            },
            kind => {
                Err(AnswerError::NotJson { kind: kind.map(|kind| printable(&kind.to_ascii_lowercase())) })
            }
        }
    }

    /// True for a document of the other kind; what is no document is damaged.
    fn is_of_other_kind(&self) -> bool {
        let other = match self.document {
            DocumentKind::List => b'{',
            DocumentKind::Object => b'[',
        };
        self.body.trim_ascii_start().first() == Some(&other)
    }

    /// True for a web page, by its declared media type or by how it begins.
    fn is_page(&self, declared: Option<&str>) -> bool {
        let declared = declared.unwrap_or_default();
        let start = self.body.trim_ascii_start();
        let begins = |what: &str| {
            start.get(..what.len()).is_some_and(|start| start.eq_ignore_ascii_case(what.as_bytes()))
        };
        ["text/html", "application/xhtml+xml"].iter().any(|page| declared.eq_ignore_ascii_case(page))
            || begins("<!doctype")
            || begins("<html")
    }

    /// The answer as an error, if it is one in the words of the service: what answers in its place has others.
    pub(super) fn own_refusal(&self) -> Option<HubError> {
        (!self.status.is_success() && self.said().1).then(|| self.refusal())
    }

    /// The error code of an error answer, and whether it is in the words of the service.
    fn said(&self) -> (Option<String>, bool) {
        let name = match self.service {
            ServiceKind::Dps => DPS_ERROR_CODE,
            ServiceKind::Hub => HUB_ERROR_CODE,
        };
        if let Some(code) = self.header(name) {
            return (Some(printable(code)), true);
        }
        let envelope = Envelope::read(self.service, &String::from_utf8_lossy(&self.body));
        (envelope.code, envelope.is_known)
    }

    /// The declared media type, without its parameters.
    fn media_type(&self) -> Option<&str> {
        let declared = self.header(CONTENT_TYPE)?;
        Some(declared.split_once(';').map_or(declared, |(kind, _)| kind).trim())
    }

    fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The host that a redirect leads to, with a port where it is not the standard one. None where it does not
/// say, or names no host.
pub(super) fn redirected_to(from: &Url, headers: &HeaderMap) -> Option<String> {
    host_of(from, headers.get(LOCATION)?.to_str().ok()?)
}

/// The host that a reference from a page leads to, with a port where it is not the standard one.
pub(super) fn host_of(from: &Url, reference: &str) -> Option<String> {
    let to = from.join(reference).ok()?;
    let host = to.host_str()?;
    Some(to.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn expected_length(response: &Response) -> usize {
    response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default()
}

/// A header's text as it may be shown: short, and of nothing but printable ASCII.
fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(60).collect()
}

/// The ids of a document whose other members do not matter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ids {
    device_id: String,
    #[serde(default)]
    module_id: Option<String>,
}

impl About for Ids {
    fn is_about(&self, identity: &IdentityId) -> bool {
        names(&self.device_id, self.module_id.as_deref(), identity)
    }
}

impl About for Twin {
    fn is_about(&self, identity: &IdentityId) -> bool {
        names(self.device_id.as_str(), self.module_id.as_ref().map(|id| id.as_str()), identity)
    }
}

impl About for Device {
    fn is_about(&self, identity: &IdentityId) -> bool {
        names(self.device_id.as_str(), None, identity)
    }
}

impl About for Module {
    fn is_about(&self, identity: &IdentityId) -> bool {
        names(self.device_id.as_str(), Some(self.module_id.as_str()), identity)
    }
}

/// The modules of a device.
impl About for Vec<Module> {
    fn is_about(&self, device: &IdentityId) -> bool {
        self.iter().all(|module| module.device_id == *device.device())
    }
}

impl About for Value {
    fn is_about(&self, identity: &IdentityId) -> bool {
        let text = |name: &str| self.get(name).and_then(Self::as_str);
        text("deviceId").is_some_and(|device| names(device, text("moduleId"), identity))
    }
}

fn names(device: &str, module: Option<&str>, identity: &IdentityId) -> bool {
    device == identity.device().as_str() && module == identity.module().map(|id| id.as_str())
}

const DPS_ERROR_CODE: &str = "x-ms-error-code";
const HUB_ERROR_CODE: &str = "iothub-errorcode";
/// Of an error's text no more is read.
const MAX_ERROR: usize = 64 << 10;
