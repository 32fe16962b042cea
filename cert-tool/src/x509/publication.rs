//! [`Publication`]: the addresses at which a CA publishes its revocation list and its certificate.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::x509::uri;

/// The addresses at which a CA publishes its revocation list (cRLDistributionPoints, RFC 5280 §4.2.1.13) and its
/// certificate (authorityInfoAccess, §4.2.2.1). They stand in the certificates that it signs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "UncheckedPublication")]
pub struct Publication {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    crl_urls: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issuer_urls: Vec<String>,
}

/// The form in a policy, not checked yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedPublication {
    #[serde(default)]
    crl_urls: Vec<String>,
    #[serde(default)]
    issuer_urls: Vec<String>,
}

impl Publication {
    /// Takes `http://` addresses: whoever checks the certificate of an `https://` server would need the list
    /// first (RFC 5280 §8).
    pub fn new(
        crl_urls: impl IntoIterator<Item = String>,
        issuer_urls: impl IntoIterator<Item = String>,
    ) -> Result<Self, Error> {
        let new =
            Self { crl_urls: crl_urls.into_iter().collect(), issuer_urls: issuer_urls.into_iter().collect() };
        new.crl_urls.iter().chain(&new.issuer_urls).try_for_each(|url| check(url))?;
        Ok(new)
    }

    /// The addresses of the list.
    pub fn crl_urls(&self) -> &[String] {
        &self.crl_urls
    }

    /// The addresses of the CA's certificate.
    pub fn issuer_urls(&self) -> &[String] {
        &self.issuer_urls
    }

    /// The same without the addresses of the list, or without those of the certificate.
    pub(crate) fn without(&self, crl_urls: bool, issuer_urls: bool) -> Self {
        let kept = |urls: &[String], is_left_out: bool| if is_left_out { Vec::new() } else { urls.to_vec() };
        Self { crl_urls: kept(&self.crl_urls, crl_urls), issuer_urls: kept(&self.issuer_urls, issuer_urls) }
    }

    /// Tells whether there are no addresses.
    pub fn is_empty(&self) -> bool {
        self.crl_urls.is_empty() && self.issuer_urls.is_empty()
    }
}

impl TryFrom<UncheckedPublication> for Publication {
    type Error = Error;

    fn try_from(written: UncheckedPublication) -> Result<Self, Error> {
        Self::new(written.crl_urls, written.issuer_urls)
    }
}

fn check(url: &str) -> Result<(), Error> {
    uri::check_address(url).map_err(|reason| Error::BadUrl { url: url.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_everybody_can_fetch_are_taken() {
        let crl = |url: &str| Publication::new([url.to_owned()], []).map(drop);
        for good in ["http://pki.acme.example/plant7.crl", "http://10.0.0.1:8080/a%20b?x=1"] {
            crl(good).unwrap();
        }
        for (bad, reason) in
            [("https://pki.acme.example/a.crl", "must begin with `http://`"), ("http:///a.crl", "no host")]
        {
            let error = crl(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains(reason), "{error}");
        }
    }
}
