//! The token that calls are made with, renewed before it ends.

use std::sync::{Mutex, PoisonError};

use hub_types::connection_string::ServiceConnectionString;
use hub_types::sas::SasToken;
use reqwest::header::HeaderValue;
use time::{Duration, OffsetDateTime};

/// Holds the last token that was signed.
#[derive(Default)]
pub(super) struct Tokens(Mutex<Option<Signed>>);

struct Signed {
    token: SasToken,
    at: OffsetDateTime,
}

impl Tokens {
    /// The value of an `Authorization` header: a token for the whole hub, signed anew when the last
    /// one nears its end.
    pub(super) fn header(&self, access: &ServiceConnectionString, now: OffsetDateTime) -> HeaderValue {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.take().filter(|last| (Duration::ZERO..RENEW_AFTER).contains(&(now - last.at)));
        let fresh = fresh.unwrap_or_else(|| {
            let end = u64::try_from((now + LIFETIME).unix_timestamp()).unwrap_or(0);
            let token = SasToken::sign(access.host.as_str(), Some(&access.policy), &access.key, end);
            Signed { token, at: now }
        });
        let text = last.insert(fresh).token.expose_text();
        // A token is percent-encoded ASCII, so the empty default is never taken.
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Forgets a token that was refused, and answers whether a new one may fare better: it would be
    /// the same again if it was signed just now.
    pub(super) fn renew(&self, now: OffsetDateTime) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|last| (now - last.at).abs() >= WORTH_RENEWING).is_some()
    }
}

const LIFETIME: Duration = Duration::hours(1);
/// Five minutes before its end, so that a clock that is a little off does no harm.
const RENEW_AFTER: Duration = Duration::minutes(55);
const WORTH_RENEWING: Duration = Duration::minutes(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));

    fn header(tokens: &Tokens, now: OffsetDateTime) -> String {
        let access =
            "HostName=h.example;SharedAccessKeyName=iothubowner;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ==";
        tokens.header(&access.parse().unwrap(), now).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_is_renewed_in_the_middle_of_a_run_before_it_ends() {
        let tokens = Tokens::default();
        let first = header(&tokens, NOON);
        assert!(first.contains(&format!("se={}", (NOON + LIFETIME).unix_timestamp())), "{first}");
        assert_eq!(header(&tokens, NOON + Duration::minutes(54)), first);
        let second = header(&tokens, NOON + Duration::minutes(55));
        assert_ne!(second, first);
        assert_eq!(header(&tokens, NOON + Duration::minutes(100)), second);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_a_new_token() {
        let tokens = Tokens::default();
        assert_ne!(header(&tokens, NOON), header(&tokens, NOON - Duration::hours(2)));
    }

    #[test]
    fn a_refused_token_is_replaced_once_and_not_when_it_is_new() {
        let tokens = Tokens::default();
        header(&tokens, NOON);
        assert!(!tokens.renew(NOON));
        assert!(tokens.renew(NOON + Duration::minutes(2)));
        header(&tokens, NOON + Duration::minutes(2));
        assert!(!tokens.renew(NOON + Duration::minutes(2)));
    }
}
