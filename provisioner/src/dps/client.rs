//! One method per call of the DPS service API that provisioning needs.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hub_types::dps::bulk::{BulkMode, EnrollmentBulk, EnrollmentBulkResult, EnrollmentGroupBulk};
use hub_types::dps::limits::OPERATIONS_PER_MINUTE;
use hub_types::dps::{
    Attestation, EnrollmentGroup, EnrollmentGroupId, IndividualEnrollment, RegistrationId, RegistrationState,
};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{TwinRuleError, check_numbers};
use hub_types::{Etag, IdentityId};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::de::IgnoredAny;
use serde_json::json;

use super::Dps;
use crate::hub::{
    About, Access, Answer, Endpoint, ErrorClass, HubClientOptions, HubError, Idempotency, Patient, Request,
    ServiceClient, to_body,
};
use crate::model::service::ServiceKind;
use crate::model::service_status::WaitReason;

/// A DPS, and the right to call it.
pub(crate) struct DpsClient {
    client: Arc<ServiceClient>,
    /// The operations that one bulk call counts as. It is documented nowhere: one is assumed until the
    /// DPS refuses bulk calls as too many.
    bulk_operations: AtomicUsize,
}

impl DpsClient {
    /// A client for the DPS that the access is for, at the documented rate. Nothing is sent yet.
    pub(crate) fn new(access: Access, options: &HubClientOptions) -> Result<Self, reqwest::Error> {
        let endpoint = Endpoint { service: ServiceKind::Dps, api_version: API_VERSION, probe };
        let client = Arc::new(ServiceClient::new(endpoint, access, options)?);
        client.rate_limiter().set_operations_per_minute(OPERATIONS_PER_MINUTE);
        Ok(Self { client, bulk_operations: AtomicUsize::new(1) })
    }

    /// The part of the client that clients of all services have.
    pub(crate) fn service_client(&self) -> Arc<ServiceClient> {
        self.client.clone()
    }

    /// Makes one cheap call, which tells whether the DPS can be reached and lets this caller in.
    pub(crate) async fn probe(&self) -> Result<(), HubError> {
        self.repeat(Idempotency::Idempotent, || async { self.send(probe()).await?.success().map(drop) }).await
    }
}

impl Deref for DpsClient {
    type Target = ServiceClient;

    fn deref(&self) -> &ServiceClient {
        &self.client
    }
}

impl Patient for DpsClient {
    async fn pause(&self, wait: Duration, reason: WaitReason) -> Result<(), HubError> {
        self.client.pause(wait, reason).await
    }
}

impl Dps for DpsClient {
    async fn bulk(
        &self,
        mode: BulkMode,
        enrollments: &[IndividualEnrollment],
    ) -> Result<EnrollmentBulkResult, HubError> {
        let body = to_body(&EnrollmentBulk { enrollments: enrollments.to_vec(), mode });
        self.repeat(Idempotency::NonIdempotent, || async {
            let request = Request::to_dps("bulk", Method::POST, "/enrollments".to_owned())
                .body(body.clone())
                .operations(self.bulk_operations.load(Ordering::Relaxed))
                .at_most(MAX_BULK_RESULT);
            let result = async { self.send(request).await?.expect(&[StatusCode::OK])?.json() }.await;
            if let Err(error) = &result
                && error.class() == ErrorClass::Throttled
            {
                self.bulk_operations.store(enrollments.len(), Ordering::Relaxed);
            }
            result
        })
        .await
    }

    async fn enrollment(&self, id: &RegistrationId) -> Result<Option<IndividualEnrollment>, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let request = Request::to_dps("get enrolment", Method::GET, path(id)).at_most(MAX_ENROLLMENT);
            let answer = self.send(request).await?;
            match answer.is_missing() {
                true => Ok(None),
                false => answer.success()?.json_of(&id.device_id().into()).map(Some),
            }
        })
        .await
    }

    async fn keys(&self, id: &RegistrationId) -> Result<Option<SymmetricKeys>, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let path = format!("{}/attestationmechanism", path(id));
            let request = Request::to_dps("get attestation mechanism", Method::POST, path).reading();
            let answer = self.send(request).await?;
            if answer.is_missing() {
                return Ok(None);
            }
            match answer.success()?.json()? {
                Attestation::SymmetricKey(keys) => Ok(keys),
                Attestation::Tpm(_) | Attestation::X509(_) => Ok(None),
            }
        })
        .await
    }

    async fn delete(&self, id: &RegistrationId, etag: Option<&Etag>) -> Result<(), HubError> {
        self.repeat(Idempotency::NonIdempotent, || async {
            let mut request = Request::to_dps("delete enrolment", Method::DELETE, path(id));
            if let Some(etag) = etag {
                // Unlike a hub, a DPS takes the text without quotes.
                request = request.if_match(etag.as_str());
            }
            self.send(request).await?.expect(&[StatusCode::NO_CONTENT]).map(drop)
        })
        .await
    }

    async fn registration(&self, id: &RegistrationId) -> Result<Option<RegistrationState>, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let path = registration_path(id);
            let request = Request::to_dps("get registration", Method::GET, path).at_most(MAX_ENROLLMENT);
            let answer = self.send(request).await?;
            match answer.is_missing() {
                true => Ok(None),
                false => answer.success()?.json_of(&id.device_id().into()).map(Some),
            }
        })
        .await
    }

    async fn delete_registration(&self, id: &RegistrationId, etag: Option<&Etag>) -> Result<(), HubError> {
        self.repeat(Idempotency::NonIdempotent, || async {
            let path = registration_path(id);
            let mut request = Request::to_dps("delete registration", Method::DELETE, path);
            if let Some(etag) = etag {
                request = request.if_match(etag.as_str());
            }
            self.send(request).await?.expect(&[StatusCode::NO_CONTENT]).map(drop)
        })
        .await
    }

    async fn bulk_groups(
        &self,
        mode: BulkMode,
        groups: &[EnrollmentGroup],
    ) -> Result<EnrollmentBulkResult, HubError> {
        let body = to_body(&EnrollmentGroupBulk { enrollment_groups: groups.to_vec(), mode });
        self.repeat(Idempotency::NonIdempotent, || async {
            let request = Request::to_dps("bulk of groups", Method::POST, "/enrollmentGroups".to_owned())
                .body(body.clone())
                .at_most(MAX_BULK_RESULT);
            self.send(request).await?.expect(&[StatusCode::OK])?.json()
        })
        .await
    }

    async fn group(&self, id: &EnrollmentGroupId) -> Result<Option<EnrollmentGroup>, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let request = Request::to_dps("get group", Method::GET, group_path(id)).at_most(MAX_ENROLLMENT);
            let answer = self.send(request).await?;
            match answer.is_missing() {
                true => Ok(None),
                false => answer.success()?.json().map(Some),
            }
        })
        .await
    }

    async fn delete_group(&self, id: &EnrollmentGroupId, etag: Option<&Etag>) -> Result<(), HubError> {
        self.repeat(Idempotency::NonIdempotent, || async {
            let mut request = Request::to_dps("delete group", Method::DELETE, group_path(id));
            if let Some(etag) = etag {
                request = request.if_match(etag.as_str());
            }
            self.send(request).await?.expect(&[StatusCode::NO_CONTENT]).map(drop)
        })
        .await
    }

    async fn has_registrations(&self, group: &EnrollmentGroupId) -> Result<bool, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let path = format!("/registrations/{}/query", group.path_segment());
            let mut request =
                Request::to_dps("query", Method::POST, path).reading_list().at_most(MAX_ENROLLMENT);
            request.headers.insert(MAX_ITEM_COUNT, HeaderValue::from(1));
            let found: Vec<IgnoredAny> = self.send(request).await?.expect(&[StatusCode::OK])?.json()?;
            Ok(!found.is_empty())
        })
        .await
    }

    async fn has_groups(&self) -> Result<bool, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let request = query_of("enrollmentGroups", 1, None).at_most(MAX_ENROLLMENT);
            let groups: Vec<IgnoredAny> = self.send(request).await?.expect(&[StatusCode::OK])?.json()?;
            Ok(!groups.is_empty())
        })
        .await
    }
}

/// A page of the entries of a DPS.
pub(crate) struct EnrollmentPage {
    /// The entries.
    pub(crate) entries: Vec<IndividualEnrollment>,
    /// A number with more digits than this program keeps, if there is one.
    pub(crate) changed_number: Option<TwinRuleError>,
    /// The token for the next page; `None` on the last page.
    pub(crate) continuation: Option<HeaderValue>,
}

impl DpsClient {
    /// Reads a page of all individual enrolments: the first, or that of a continuation.
    pub(crate) async fn enrollments(
        &self,
        continuation: Option<&HeaderValue>,
    ) -> Result<EnrollmentPage, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let request = query_of("enrollments", PAGE, continuation).at_most(MAX_PAGE);
            let answer = self.send(request).await?.expect(&[StatusCode::OK])?;
            let continuation = next_page(&answer);
            let changed_number = check_numbers(answer.body(), &[]).err();
            Ok(EnrollmentPage { entries: answer.json()?, changed_number, continuation })
        })
        .await
    }

    /// Counts the enrolment groups.
    pub(crate) async fn count_groups(&self) -> Result<u64, HubError> {
        let (mut groups, mut continuation) = (0, None);
        loop {
            let page = self.repeat(Idempotency::Idempotent, || async {
                let request = query_of("enrollmentGroups", PAGE, continuation.as_ref()).at_most(MAX_PAGE);
                let answer = self.send(request).await?.expect(&[StatusCode::OK])?;
                let entries: Vec<IgnoredAny> = answer.json()?;
                Ok((entries.len() as u64, next_page(&answer)))
            });
            let (entries, next) = page.await?;
            groups += entries;
            match next {
                Some(token) => continuation = Some(token),
                None => return Ok(groups),
            }
        }
    }
}

/// The token of the page after an answer. A token that is not understood would end the list before its end; it
/// is handed back as it came.
fn next_page(answer: &Answer) -> Option<HeaderValue> {
    answer.headers.get(&CONTINUATION).filter(|token| !token.is_empty()).cloned()
}

impl std::fmt::Debug for DpsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DpsClient").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl About for RegistrationState {
    /// Registration ids that differ in letter case only are equal.
    fn is_about(&self, identity: &IdentityId) -> bool {
        identity.device().as_str().parse() == Ok(self.registration_id.clone())
    }
}

impl About for IndividualEnrollment {
    /// Registration ids that differ in letter case only are equal.
    fn is_about(&self, identity: &IdentityId) -> bool {
        identity.device().as_str().parse() == Ok(self.registration_id.clone())
    }
}

fn path(id: &RegistrationId) -> String {
    format!("/enrollments/{}", id.path_segment())
}

fn group_path(id: &EnrollmentGroupId) -> String {
    format!("/enrollmentGroups/{}", id.path_segment())
}

fn registration_path(id: &RegistrationId) -> String {
    format!("/registrations/{}", id.path_segment())
}

/// The cheapest request there is: a page of one enrolment.
fn probe() -> Request {
    query_of("enrollments", 1, None).at_most(MAX_ENROLLMENT)
}

/// The request for a page of all entries of a collection, the first or that of a continuation.
fn query_of(collection: &str, items: usize, continuation: Option<&HeaderValue>) -> Request {
    let query = format!("SELECT * FROM {collection}");
    let mut request = Request::to_dps("query", Method::POST, format!("/{collection}/query"))
        .reading_list()
        .body(to_body(&json!({ "query": query })));
    request.headers.insert(MAX_ITEM_COUNT, HeaderValue::from(items));
    if let Some(continuation) = continuation {
        request.headers.insert(CONTINUATION, continuation.clone());
    }
    request
}

const API_VERSION: &str = "2021-10-01";
/// The most entries of a page.
const PAGE: usize = 1_000;
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const MAX_ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
/// The largest answers, in bytes. A message of a DPS has at most 96 KB.
const MAX_ENROLLMENT: usize = 1 << 20;
/// A page of entries with the largest initial twins.
const MAX_PAGE: usize = 64 << 20;
/// At most 10 items with an error each.
const MAX_BULK_RESULT: usize = 256 << 10;
