//! The enrolment groups of a DPS.

use hub_types::dps::EnrollmentGroup;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::DpsClient;
use crate::hub::{HubError, Idempotency, Request, to_body};

impl DpsClient {
    /// Reads all groups. Their certificates are not returned, only the facts about these.
    pub(crate) async fn enrollment_groups(&self) -> Result<Vec<EnrollmentGroup>, HubError> {
        let mut groups = Vec::new();
        let mut continuation: Option<HeaderValue> = None;
        loop {
            let (page, next) = self.groups_page(continuation.as_ref()).await?;
            groups.extend(page);
            match next {
                Some(next) => continuation = Some(next),
                None => return Ok(groups),
            }
        }
    }

    async fn groups_page(
        &self,
        continuation: Option<&HeaderValue>,
    ) -> Result<(Vec<EnrollmentGroup>, Option<HeaderValue>), HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let mut request =
                Request::to_dps("query groups", Method::POST, "/enrollmentGroups/query".to_owned())
                    .reading_list()
                    .body(to_body(&json!({ "query": "SELECT * FROM enrollmentGroups" })))
                    .at_most(MAX_PAGE);
            if let Some(continuation) = continuation {
                request.headers.insert(CONTINUATION, continuation.clone());
            }
            let answer = self.send(request).await?.expect(&[StatusCode::OK])?;
            let next = answer.headers.get(&CONTINUATION).filter(|token| !token.is_empty()).cloned();
            Ok((answer.json()?, next))
        })
        .await
    }
}

const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
/// At most 200 groups, with certificates of 2 KB and an initial twin each.
const MAX_PAGE: usize = 16 << 20;
