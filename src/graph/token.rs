//! The token of this process: kept, refreshed ahead of its end by one caller for all; failures remembered.
//!
//! Does not know how a token is had: that is `exchange`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::claims::Claims;
use super::exchange::{Exchange, Granted};
use super::http::LazyClient;
use crate::aws::Aws;
use crate::config::GraphConfig;

/// A token is refreshed so long before its end, or after half its life if that is shorter.
const REFRESH_AHEAD: Duration = Duration::from_secs(300);

/// If it cannot be refreshed, a token is used until so long before its end: a call takes time.
const LAST_USE_AHEAD: Duration = Duration::from_secs(30);

/// A refused credential stays refused until an administrator acts; asking faster would only lock it out.
const REFUSAL_REMEMBERED: Duration = Duration::from_secs(30);

/// As Microsoft's own libraries do where the token endpoint does not say how long to wait.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(5);

/// However long the token endpoint asks us to wait, an instance that lives for hours tries again.
const LONGEST_REMEMBERED: Duration = Duration::from_secs(600);

/// A bearer token for Graph. Its `Debug` shows nothing of it; it is wiped from memory when dropped.
#[derive(Clone)]
pub struct Token(Arc<SecretString>);

impl Token {
    /// `None` where the text could not stand in a header.
    pub(super) fn new(text: &str) -> Option<Self> {
        let is_sendable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_sendable.then(|| Self(Arc::new(SecretString::from(text))))
    }

    pub(super) fn text(&self) -> &str {
        self.0.expose_secret()
    }

    /// What it says of itself; `None` if it is not readable, which is no fault.
    pub fn claims(&self) -> Option<Claims> {
        Claims::read(self.text())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// Why there is no token. Says endpoint, status, codes and ids, never what the endpoint wrote in prose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Time may mend it.
    #[error("no token for Graph: {reason}")]
    Retriable {
        reason: String,
        /// What the endpoint asked for.
        retry_after: Option<Duration>,
    },
    /// Credential, registration or policy: an administrator must act.
    #[error("no token for Graph: {reason}: {advice}")]
    Refused { reason: String, advice: String },
}

#[derive(Debug)]
pub(super) struct Tokens {
    timeout: Duration,
    /// Locked during a refresh: whoever needs a token meanwhile waits for this one.
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    exchange: Exchange,
    fresh: Option<Fresh>,
    failure: Option<(TokenError, Instant)>,
}

#[derive(Debug)]
struct Fresh {
    token: Token,
    refresh_at: Instant,
    last_use_at: Instant,
}

impl Tokens {
    pub(super) fn new(config: GraphConfig, http: LazyClient, timeout: Duration, aws: Aws) -> Self {
        let exchange = Exchange::new(config, http, aws);
        Self { timeout, held: Mutex::new(Held { exchange, fresh: None, failure: None }) }
    }

    pub(super) async fn token(&self) -> Result<Token, TokenError> {
        self.held.lock().await.token(self.timeout).await
    }

    pub(super) async fn renew(&self, refused: &Token) -> Result<Token, TokenError> {
        let mut held = self.held.lock().await;
        // Another task may have renewed it already.
        if held.fresh.as_ref().is_some_and(|fresh| fresh.token.text() == refused.text()) {
            held.fresh = None;
        }
        held.token(self.timeout).await
    }
}

impl Held {
    async fn token(&mut self, timeout: Duration) -> Result<Token, TokenError> {
        let now = Instant::now();
        if let Some(fresh) = self.fresh.as_ref().filter(|fresh| now < fresh.refresh_at) {
            return Ok(fresh.token.clone());
        }
        let failure = match self.failure.take().filter(|(_, until)| now < *until) {
            Some(remembered) => remembered,
            None => match self.exchange.run(now, timeout).await {
                Ok(granted) => return Ok(self.keep(granted)),
                Err(error) => {
                    let until = Instant::now() + remembered_for(&error);
                    (error, until)
                }
            },
        };
        let error = self.failure.insert(failure).0.clone();
        let usable = self.fresh.as_ref().filter(|fresh| Instant::now() < fresh.last_use_at);
        usable.map(|fresh| fresh.token.clone()).ok_or(error)
    }

    fn keep(&mut self, granted: Granted) -> Token {
        let Granted { token, lifetime } = granted;
        let now = Instant::now();
        let before_end = |ahead: Duration| now + lifetime - ahead.min(lifetime / 2);
        let (refresh_at, last_use_at) = (before_end(REFRESH_AHEAD), before_end(LAST_USE_AHEAD));
        self.fresh = Some(Fresh { token: token.clone(), refresh_at, last_use_at });
        token
    }
}

fn remembered_for(error: &TokenError) -> Duration {
    match error {
        TokenError::Refused { .. } => REFUSAL_REMEMBERED,
        TokenError::Retriable { retry_after, .. } => {
            retry_after.unwrap_or(FAILURE_REMEMBERED).clamp(FAILURE_REMEMBERED, LONGEST_REMEMBERED)
        }
    }
}
