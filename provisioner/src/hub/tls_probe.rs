//! The facts about a hub in one response: its certificate, and its time.

use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, DATE};
use reqwest::tls::TlsInfo;

use super::answer::redirected_to;
use super::client::{API_VERSION, HubClient};
use super::error::HubError;

/// The facts about the hub in a response, in addition to its content.
#[derive(Debug)]
pub(crate) struct TlsProbe {
    /// The hub's clock, where it told.
    pub(crate) date: Option<SystemTime>,
    /// The certificate that the hub showed (DER).
    pub(crate) certificate: Option<Vec<u8>>,
}

impl HubClient {
    /// Makes one call and looks at its wrapping. An error only when no answer comes: without a token,
    /// a refusal tells as much.
    pub(crate) async fn probe_tls(&self) -> Result<TlsProbe, HubError> {
        let url = format!("https://{}/statistics/devices?api-version={API_VERSION}", self.host());
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
