//! The facts about a service in one response: its certificate, and its time.

use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, DATE};
use reqwest::tls::TlsInfo;

use super::answer::redirected_to;
use super::error::HubError;
use super::service_client::ServiceClient;
use crate::model::service::ServiceKind;

/// The facts about the service in a response, in addition to its content.
#[derive(Debug)]
pub(crate) struct TlsProbe {
    /// The service's clock, where it told.
    pub(crate) date: Option<SystemTime>,
    /// The certificate that the service showed (DER).
    pub(crate) certificate: Option<Vec<u8>>,
}

impl ServiceClient {
    /// Makes one call and looks at its wrapping. An error only when no answer comes: without a token,
    /// a refusal tells as much.
    pub(crate) async fn probe_tls(&self) -> Result<TlsProbe, HubError> {
        let path = match self.service() {
            // No such enrolment is needed: that there is none is an answer.
            ServiceKind::Dps => "/enrollments/doctor",
            ServiceKind::Hub => "/statistics/devices",
        };
        let url = format!("https://{}{path}?api-version={}", self.host(), self.api_version());
        let token = self.authorization().await.ok();
        let request =
            token.into_iter().fold(self.http.get(url), |request, token| request.header(AUTHORIZATION, token));
        let response = request.send().await.map_err(|error| self.no_answer(error))?;
        if response.status().is_redirection() {
            let host = redirected_to(response.url(), response.headers());
            let service = self.service();
            return Err(HubError::Redirected { service, status: response.status().as_u16(), host });
        }
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let tls = response.extensions().get::<TlsInfo>();
        Ok(TlsProbe {
            date: date.and_then(|date| httpdate::parse_http_date(date).ok()),
            certificate: tls.and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec),
        })
    }
}
