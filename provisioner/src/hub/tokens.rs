//! The token that calls are made with, renewed before it ends.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::entra::EntraError;

/// The source of tokens.
pub(super) trait Issuer {
    /// Makes a token, or has one made.
    fn issue(
        &self,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<AuthorizationToken, Arc<EntraError>>> + Send;
}

/// The value of an `Authorization` header, and its validity.
pub(super) struct AuthorizationToken {
    pub(super) header: HeaderValue,
    pub(super) from: OffsetDateTime,
    pub(super) until: OffsetDateTime,
}

/// Holds the last token for all calls of a client.
pub(super) struct Tokens<I> {
    issuer: I,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    token: Option<AuthorizationToken>,
    /// The error of the last attempt to get a new token, and its time.
    failure: Option<(OffsetDateTime, Arc<EntraError>)>,
}

impl<I: Issuer> Tokens<I> {
    pub(super) fn new(issuer: I) -> Self {
        Self { issuer, last: Mutex::default() }
    }

    pub(super) fn issuer(&self) -> &I {
        &self.issuer
    }

    /// The value of an `Authorization` header. Near its end a token is replaced; where that fails it is
    /// used as long as it lasts. Whoever asks while another asks the issuer waits for the same token.
    pub(super) async fn header(&self, now: OffsetDateTime) -> Result<HeaderValue, Arc<EntraError>> {
        let mut last = self.last.lock().await;
        if let Some(token) = last.token.as_ref().filter(|token| token.is_fresh(now)) {
            return Ok(token.header.clone());
        }
        let failed_just_now = last.failure.as_ref().filter(|(at, _)| is_recent(now - *at, ASK_AGAIN));
        let error = match failed_just_now {
            Some((_, error)) => error.clone(),
            None => match self.issuer.issue(now).await {
                Ok(token) => return Ok(last.keep(token)),
                Err(error) => last.failure.insert((now, error)).1.clone(),
            },
        };
        match &last.token {
            Some(old) if old.lasts(now) => {
                tracing::warn!(%error, "the token can't be renewed; it lasts until {}", old.until);
                Ok(old.header.clone())
            }
            _ => Err(error),
        }
    }

    /// Lets go of a token that was refused, however new it is.
    pub(super) async fn replace(&self, refused: &HeaderValue) {
        let mut last = self.last.lock().await;
        if last.token.as_ref().is_some_and(|token| token.header == refused) {
            *last = Last::default();
        }
    }

    /// Lets go of a token that was refused, and answers whether another may fare better: it would be
    /// the same again if it was issued just now.
    pub(super) async fn renew(&self, refused: &HeaderValue, now: OffsetDateTime) -> bool {
        let mut last = self.last.lock().await;
        match &last.token {
            Some(token) if token.header == refused && is_recent(now - token.from, WORTH_RENEWING) => false,
            Some(token) if token.header == refused => {
                *last = Last::default();
                true
            }
            // Somebody else was refused too, and was faster.
            _ => true,
        }
    }
}

impl Last {
    fn keep(&mut self, token: AuthorizationToken) -> HeaderValue {
        self.failure = None;
        self.token.insert(token).header.clone()
    }
}

impl AuthorizationToken {
    /// Returns true if it need not be replaced yet. A token from the future was made before the
    /// clock was set back.
    fn is_fresh(&self, now: OffsetDateTime) -> bool {
        let lifetime = self.until - self.from;
        let renewed = self.from + (lifetime - RENEW_BEFORE_END).max(lifetime / 2);
        (self.from..renewed).contains(&now)
    }

    fn lasts(&self, now: OffsetDateTime) -> bool {
        (self.from..self.until).contains(&now)
    }
}

fn is_recent(age: Duration, limit: Duration) -> bool {
    age.abs() < limit
}

/// So that a clock that is a little off does no harm; a short-lived token is renewed at half its life.
const RENEW_BEFORE_END: Duration = Duration::minutes(5);
const WORTH_RENEWING: Duration = Duration::minutes(1);
/// An issuer that failed is not asked again by everybody who waited for it.
const ASK_AGAIN: Duration = Duration::seconds(5);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const NOON: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));

    /// Gives numbered tokens with this lifetime, or fails.
    struct Numbered {
        lifetime: Duration,
        number: Mutex<u32>,
        fails: Mutex<bool>,
    }

    impl Issuer for Numbered {
        async fn issue(&self, now: OffsetDateTime) -> Result<AuthorizationToken, Arc<EntraError>> {
            let mut number = self.number.lock().unwrap();
            *number += 1;
            match *self.fails.lock().unwrap() {
                true => Err(Arc::default()),
                false => {
                    Ok(AuthorizationToken { header: (*number).into(), from: now, until: now + self.lifetime })
                }
            }
        }
    }

    fn tokens(lifetime: Duration) -> Tokens<Numbered> {
        Tokens::new(Numbered { lifetime, number: Mutex::new(0), fails: Mutex::new(false) })
    }

    async fn number(tokens: &Tokens<Numbered>, now: OffsetDateTime) -> Result<u32, Arc<EntraError>> {
        tokens.header(now).await.map(|header| header.to_str().unwrap().parse().unwrap())
    }

    #[tokio::test]
    async fn a_token_is_renewed_in_the_middle_of_a_run_before_it_ends() {
        let tokens = tokens(Duration::hours(1));
        for (minutes, expected) in [(0, 1), (54, 1), (55, 2), (100, 2), (110, 3)] {
            assert_eq!(number(&tokens, NOON + Duration::minutes(minutes)).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_token_that_lasts_for_minutes_only_is_not_asked_for_with_each_call() {
        let tokens = tokens(Duration::minutes(4));
        for (minutes, expected) in [(0, 1), (1, 1), (2, 2)] {
            assert_eq!(number(&tokens, NOON + Duration::minutes(minutes)).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_a_new_token() {
        let tokens = tokens(Duration::hours(1));
        assert_eq!(number(&tokens, NOON).await.unwrap(), 1);
        assert_eq!(number(&tokens, NOON - Duration::hours(2)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once_and_not_when_it_is_new() {
        let tokens = tokens(Duration::hours(1));
        let (first, later) = (tokens.header(NOON).await.unwrap(), NOON + Duration::minutes(2));
        assert!(!tokens.renew(&first, NOON).await);
        assert!(tokens.renew(&first, later).await);
        let second = tokens.header(later).await.unwrap();
        assert_ne!(first, second);
        assert!(!tokens.renew(&second, later).await);
        // Another call that was under way with the first token need not give up.
        assert!(tokens.renew(&first, later).await);
    }

    #[tokio::test]
    async fn a_token_that_a_hub_took_before_is_replaced_however_new_it_is_and_only_once() {
        let tokens = tokens(Duration::hours(1));
        let first = tokens.header(NOON).await.unwrap();
        tokens.replace(&first).await;
        let second = tokens.header(NOON).await.unwrap();
        assert_ne!(first, second);
        // Others were refused with the first one too.
        tokens.replace(&first).await;
        assert_eq!(tokens.header(NOON).await.unwrap(), second);
    }

    #[tokio::test]
    async fn a_token_is_used_to_its_end_when_no_other_can_be_had() {
        let tokens = tokens(Duration::hours(1));
        number(&tokens, NOON).await.unwrap();
        *tokens.issuer().fails.lock().unwrap() = true;
        assert_eq!(number(&tokens, NOON + Duration::minutes(56)).await.unwrap(), 1);
        number(&tokens, NOON + Duration::minutes(60)).await.unwrap_err();
        *tokens.issuer().fails.lock().unwrap() = false;
        number(&tokens, NOON + Duration::minutes(61)).await.unwrap();
    }

    #[tokio::test]
    async fn an_issuer_that_fails_is_not_asked_by_everybody() {
        let tokens = tokens(Duration::hours(1));
        *tokens.issuer().fails.lock().unwrap() = true;
        for _ in 0..100 {
            number(&tokens, NOON).await.unwrap_err();
        }
        assert_eq!(*tokens.issuer().number.lock().unwrap(), 1);
        number(&tokens, NOON + Duration::seconds(6)).await.unwrap_err();
        assert_eq!(*tokens.issuer().number.lock().unwrap(), 2);
    }
}
