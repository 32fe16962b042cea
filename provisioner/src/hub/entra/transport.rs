//! The HTTP client of the Azure SDK: our own, whose answers are bounded and lead nowhere else.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::headers::HeaderName;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, Transport};
use futures_util::StreamExt;

use crate::hub::answer::host_of;

/// Calls services that give tokens. What is sent to them is a secret, so no redirect is followed; the client
/// itself does not, and says where it should have gone.
#[derive(Debug)]
struct TokenTransport(reqwest::Client);

pub(super) fn client_options(client: reqwest::ClientBuilder) -> Result<ClientOptions, reqwest::Error> {
    let transport = Some(Transport::new(Arc::new(TokenTransport(client.build()?))));
    Ok(ClientOptions { transport, ..ClientOptions::default() })
}

#[async_trait]
impl HttpClient for TokenTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let (status, headers, mut body) = self.0.execute_request(request).await?.deconstruct();
        if (300..400).contains(&u16::from(status)) {
            let location = headers.get_optional_str(&HeaderName::from_static("location"));
            let host = location.and_then(|to| host_of(request.url(), to));
            let text = format!(
                "the answer is {}, a redirect to {}, which was not followed",
                u16::from(status),
                host.as_deref().unwrap_or("nowhere")
            );
            return Err(Error::with_message(ErrorKind::Other, text));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > MAX_ANSWER {
                let text = format!("the answer is larger than {} KiB", MAX_ANSWER / 1024);
                return Err(Error::with_message(ErrorKind::Other, text));
            }
        }
        Ok(AsyncRawResponse::from_bytes(status, headers, bytes))
    }
}

/// A token with all its claims has some kilobytes.
const MAX_ANSWER: usize = 1 << 20;
