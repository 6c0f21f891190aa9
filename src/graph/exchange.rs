//! One token from the token endpoint, by way of `azure_identity`, over our own HTTP client.
//!
//! Keeps no token. What the endpoint answered is read here and not from the library's errors: those repeat the
//! endpoint's prose, which may repeat what was sent.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, Body, ClientMethodOptions, ClientOptions, HttpClient, Request, RetryOptions, Transport,
    Url,
};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::retry_after;
use super::cloud::scope;
use super::entra::Refusal;
use super::http::{LazyClient, read, reason};
use super::proof::{Proof, Proofs};
use super::token::{Token, TokenError};
use crate::aws::Aws;
#[cfg(feature = "cli")]
use crate::config::CredentialConfig;
use crate::config::GraphConfig;

/// Tokens live for hours at most; a longer claim is not believed, and cannot overflow a point in time.
pub(super) const LONGEST_LIFETIME: Duration = Duration::from_secs(48 * 3600);

/// A token endpoint that failed is asked once more after this.
const PAUSE: Duration = Duration::from_millis(150);

/// A token, and how long it is good for from now.
pub(super) struct Granted {
    pub(super) token: Token,
    pub(super) lifetime: Duration,
}

#[derive(Debug)]
pub(super) struct Exchange {
    config: GraphConfig,
    token_endpoint: Url,
    http: LazyClient,
    proofs: Proofs,
}

/// Why one exchange gave no token.
enum Failed {
    Refused(Refusal),
    NoAnswer(String),
}

impl Exchange {
    pub(super) fn new(config: GraphConfig, http: LazyClient, aws: Aws) -> Self {
        let mut token_endpoint = config.authority.clone();
        token_endpoint.set_path(&format!("/{}/oauth2/v2.0/token", config.tenant_id));
        let proofs = Proofs::new(config.clone(), token_endpoint.to_string(), aws);
        Self { config, token_endpoint, http, proofs }
    }

    /// A new token, within `timeout` from `now`, reading the secret included.
    ///
    /// A credential that is refused is tried a second time only if there is reason for hope: the secret has
    /// been rotated since it was read, or the assertion was outside its time range.
    pub(super) async fn run(&mut self, now: Instant, timeout: Duration) -> Result<Granted, TokenError> {
        #[cfg(feature = "cli")]
        if matches!(self.config.credential, CredentialConfig::SignedIn) {
            return super::signed_in::token(&self.config).await;
        }
        let end = now + timeout;
        let kind = self.config.credential.kind();
        let proof = self.proof(end, timeout).await?;
        let refusal = match self.exchange(proof, end).await {
            Ok(granted) => return Ok(granted),
            Err(failed) => failed.refusal()?,
        };
        let may_help = if refusal.is_out_of_time() {
            true
        } else if refusal.is_invalid_client() {
            // If it cannot be read again, the refusal is the better news.
            matches!(timeout_at(end, self.proofs.reread()).await, Ok(Ok(true)))
        } else {
            false
        };
        if !may_help {
            return Err(refusal.into_error(kind));
        }
        let proof = self.proof(end, timeout).await?;
        match self.exchange(proof, end).await {
            Ok(granted) => Ok(granted),
            Err(failed) => Err(failed.refusal()?.into_error(kind)),
        }
    }

    async fn proof(&mut self, end: Instant, timeout: Duration) -> Result<Proof, TokenError> {
        let proof = timeout_at(end, self.proofs.get()).await;
        proof.unwrap_or_else(|_| {
            let reason = format!("AWS gave no proof of identity within {timeout:?}");
            Err(TokenError::Retriable { reason, retry_after: None })
        })
    }

    /// Asks the token endpoint, and once more if it failed or did not answer.
    async fn exchange(&self, proof: Proof, end: Instant) -> Result<Granted, Failed> {
        let proof = Arc::new(proof);
        let failed = match self.ask(&proof, end).await {
            Ok(granted) => return Ok(granted),
            Err(failed) => failed,
        };
        let is_hopeful = match &failed {
            Failed::Refused(refusal) => refusal.is_worth_repeating_at_once(),
            Failed::NoAnswer(_) => true,
        };
        if !is_hopeful || end.saturating_duration_since(Instant::now()) < 2 * PAUSE {
            return Err(failed);
        }
        sleep(PAUSE).await;
        self.ask(&proof, end).await
    }

    async fn ask(&self, proof: &Arc<Proof>, end: Instant) -> Result<Granted, Failed> {
        let wire = Arc::new(Wire {
            http: self.http.clone(),
            url: self.token_endpoint.clone(),
            end,
            failed: Mutex::default(),
        });
        let answer = match self.credential(proof, &wire) {
            Ok(credential) => credential.get_token(&[&scope(self.config.cloud)], None).await,
            Err(error) => Err(error),
        };
        if let Ok(answer) = answer
            && let Some(token) = Token::new(answer.token.secret())
        {
            let lifetime = Duration::try_from(answer.expires_on - OffsetDateTime::now_utc());
            return Ok(Granted { token, lifetime: lifetime.unwrap_or_default().min(LONGEST_LIFETIME) });
        }
        let failed = wire.failed.lock().ok().and_then(|mut failed| failed.take());
        // With nothing failed on the wire, a 200 must have come that held no token.
        Err(failed.unwrap_or_else(|| Failed::Refused(Refusal::read(200, None, b""))))
    }

    /// A credential for one exchange: its own cache would keep a token that Graph has refused.
    fn credential(
        &self,
        proof: &Arc<Proof>,
        wire: &Arc<Wire>,
    ) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let mut authority = self.config.authority.clone();
        if authority.scheme() == "http" {
            // The library takes `https` only; where the request really goes, `Wire` says.
            let _ = authority.set_scheme("https");
        }
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = authority.to_string();
        let client_options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(wire.clone())),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        };
        let (tenant_id, client_id) = (self.config.tenant_id.as_str(), self.config.client_id.to_string());
        Ok(match &**proof {
            Proof::Secret(secret) => ClientSecretCredential::new(
                tenant_id,
                client_id,
                secret.expose_secret().to_owned().into(),
                Some(ClientSecretCredentialOptions { client_options }),
            )?,
            Proof::Assertion(assertion) => ClientAssertionCredential::new(
                tenant_id.to_owned(),
                client_id,
                Prepared(assertion.clone()),
                Some(ClientAssertionCredentialOptions { client_options }),
            )?,
        })
    }
}

impl Failed {
    fn refusal(self) -> Result<Refusal, TokenError> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::NoAnswer(reason) => Err(TokenError::Retriable {
                reason: format!("the token endpoint gave no answer: {reason}"),
                retry_after: None,
            }),
        }
    }
}

/// An assertion made before it is asked for.
struct Prepared(SecretString);

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared([redacted])")
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Prepared {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.expose_secret().to_owned())
    }
}

/// Carries one exchange to the token endpoint and keeps what came back instead of a token.
struct Wire {
    http: LazyClient,
    url: Url,
    end: Instant,
    failed: Mutex<Option<Failed>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Wire {
    fn fail<T>(&self, failed: Failed) -> azure_core::Result<T> {
        if let Ok(mut slot) = self.failed.lock() {
            *slot = Some(failed);
        }
        Err(azure_core::Error::with_message(ErrorKind::Other, "no token came"))
    }
}

#[async_trait::async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let http = match self.http.get() {
            Ok(http) => http,
            Err(reason) => return self.fail(Failed::NoAnswer(reason.to_owned())),
        };
        let Body::Bytes(body) = request.body().clone() else {
            return self.fail(Failed::NoAnswer("the form is not at hand".to_owned()));
        };
        let mut post = http.post(self.url.clone()).body(body);
        for (name, value) in request.headers().iter() {
            post = post.header(name.as_str(), value.as_str());
        }
        let left = self.end.saturating_duration_since(Instant::now());
        let response = match post.timeout(left).send().await {
            Ok(response) => response,
            Err(error) => return self.fail(Failed::NoAnswer(reason(error, &[]))),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read(response).await;
        if status == 200 && body.broken.is_none() {
            return Ok(AsyncRawResponse::from_bytes(status.into(), Headers::new(), body.bytes));
        }
        let retry_after = retry_after(&headers, crate::clock::system_now());
        self.fail(Failed::Refused(Refusal::read(status, retry_after, &body.bytes)))
    }
}
