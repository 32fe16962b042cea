//! A request to a service, and how the rate limiter and the reader of its answer are to take it.

use hub_types::limits::OperationClass;
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::answer::DocumentKind;
use super::client::MAX_IDENTITY;
use crate::hub::rate_limit::CallClass;

/// A request to a service.
pub(crate) struct Request {
    pub(super) operation: &'static str,
    pub(super) method: Method,
    pub(super) path: String,
    pub(crate) headers: HeaderMap,
    pub(super) body: Option<bytes::Bytes>,
    pub(super) if_match: Option<String>,
    /// The throttle that it falls under.
    pub(super) class: CallClass,
    /// As how many operations the service counts it.
    pub(super) operations: usize,
    /// The largest answer, in bytes.
    pub(super) at_most: usize,
    /// The kind of the document in a success.
    pub(super) document: DocumentKind,
    /// True if it may change something.
    pub(super) is_change: bool,
}

impl Request {
    /// A request to a hub.
    pub(super) fn new(operation: &'static str, method: Method, path: String) -> Self {
        let class = class_on_hub(&path, &method);
        let document = document_of_hub(&path, &method);
        let is_change = method != Method::GET && class != OperationClass::Query;
        Self::of_class(class.into(), operation, method, path, document, is_change)
    }

    /// A request to a DPS.
    pub(crate) fn to_dps(operation: &'static str, method: Method, path: String) -> Self {
        let is_change = method != Method::GET;
        Self::of_class(CallClass::Dps, operation, method, path, DocumentKind::Object, is_change)
    }

    fn of_class(
        class: CallClass,
        operation: &'static str,
        method: Method,
        path: String,
        document: DocumentKind,
        is_change: bool,
    ) -> Self {
        Self {
            operation,
            method,
            path,
            headers: HeaderMap::new(),
            body: None,
            if_match: None,
            class,
            operations: 1,
            at_most: MAX_IDENTITY,
            document,
            is_change,
        }
    }

    /// A request that only reads, whatever its method, and is answered by a list of documents.
    pub(crate) fn reading_list(self) -> Self {
        Self { document: DocumentKind::List, is_change: false, ..self }
    }

    /// A request that only reads, whatever its method.
    pub(crate) fn reading(self) -> Self {
        Self { is_change: false, ..self }
    }

    pub(crate) fn body(self, body: bytes::Bytes) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Counts it as so many operations.
    pub(crate) fn operations(self, operations: usize) -> Self {
        Self { operations, ..self }
    }

    /// Bounds the size of the answer.
    pub(crate) fn at_most(self, at_most: usize) -> Self {
        Self { at_most, ..self }
    }

    /// Makes it conditional on a version.
    pub(crate) fn if_match(self, etag: impl Into<String>) -> Self {
        Self { if_match: Some(etag.into()), ..self }
    }

    /// The path of the device's twin, where the call is about the identities of modules. The refusal of such
    /// a call may be about the device.
    pub(super) fn twin_of_module_device(&self) -> Option<String> {
        let (device, _) = self.path.strip_prefix("/devices/")?.split_once("/modules")?;
        Some(format!("/twins/{device}"))
    }
}

fn document_of_hub(path: &str, method: &Method) -> DocumentKind {
    let below_device = path.strip_prefix("/devices/").and_then(|path| path.split_once('/'));
    match (method, path, below_device) {
        (&Method::POST, "/devices/query", _) | (_, _, Some((_, "modules"))) => DocumentKind::List,
        _ => DocumentKind::Object,
    }
}

fn class_on_hub(path: &str, method: &Method) -> OperationClass {
    match (path, method) {
        ("/devices/query", _) => OperationClass::Query,
        (path, &Method::GET) if path.starts_with("/twins/") => OperationClass::TwinRead,
        (path, _) if path.starts_with("/twins/") => OperationClass::TwinUpdate,
        _ => OperationClass::Registry,
    }
}

/// The body of a request.
#[expect(
    clippy::expect_used,
    reason = "documents of strings, numbers and maps with text keys always serialise"
)]
pub(crate) fn to_body(value: &impl serde::Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("a document of ours is JSON").into()
}
