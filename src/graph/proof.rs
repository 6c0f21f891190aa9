//! What the application shows to Entra: its client secret, an assertion it signed, or a token of AWS STS.
//!
//! A secret of Secrets Manager is read once and kept, until Entra refuses it.

use std::fmt;

use aws_sdk_secretsmanager::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};

use super::answer::{MOST_CODE_BYTES, bounded};
use super::assertion::Signer;
use super::cloud::federation_audience;
use super::token::TokenError;
use crate::aws::{Aws, causes};
use crate::config::{CredentialConfig, GraphConfig};

/// Exchanged at once; STS knows no shorter life than a minute, and five minutes are its default.
const STS_TOKEN_SECS: i32 = 300;

/// RS256 is the one of STS's algorithms that Entra is known to accept.
const STS_ALGORITHM: &str = "RS256";

const MOST_CAUSE_BYTES: usize = 300;

pub(super) enum Proof {
    Secret(SecretString),
    Assertion(SecretString),
}

/// Where proofs come from. Its `Debug` shows no secret.
pub(super) struct Proofs {
    config: GraphConfig,
    /// The audience of an assertion of ours.
    token_endpoint: String,
    aws: Aws,
    /// What Secrets Manager gave: the client secret, or certificate and key as PEM.
    kept: Option<SecretString>,
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Proofs {
    pub(super) fn new(config: GraphConfig, token_endpoint: String, aws: Aws) -> Self {
        Self { config, token_endpoint, aws, kept: None }
    }

    /// A proof for one exchange; an assertion is a fresh one each time.
    pub(super) async fn get(&mut self) -> Result<Proof, TokenError> {
        match self.config.credential.clone() {
            #[cfg(feature = "cli")]
            CredentialConfig::SignedIn => Err(TokenError::Refused {
                reason: "a sign-in has no proof of identity".to_owned(),
                advice: "report this: the Azure CLI should have been asked".to_owned(),
            }),
            CredentialConfig::Federated => self.web_identity_token().await.map(Proof::Assertion),
            CredentialConfig::SecretText(text) => Ok(Proof::Secret(text)),
            CredentialConfig::SecretId { secret_id } => self.kept(&secret_id).await.map(Proof::Secret),
            CredentialConfig::Certificate { secret_id } => {
                let pem = self.kept(&secret_id).await?;
                let signer = Signer::from_pem(pem.expose_secret()).map_err(|fault| {
                    // Read it afresh when asked the next time: it may have been mended.
                    self.kept = None;
                    TokenError::Refused {
                        reason: format!("the secret `{secret_id}` is no certificate credential: {fault}"),
                        advice: "store an RSA certificate and its unencrypted key in it, as PEM".to_owned(),
                    }
                })?;
                let now = crate::clock::system_now();
                Ok(Proof::Assertion(signer.sign(&self.config.client_id, &self.token_endpoint, now)))
            }
        }
    }

    /// Reads the secret once more, for it may have been rotated. Whether it is another one now.
    pub(super) async fn reread(&mut self) -> Result<bool, TokenError> {
        let secret_id = match &self.config.credential {
            CredentialConfig::Federated | CredentialConfig::SecretText(_) => return Ok(false),
            #[cfg(feature = "cli")]
            CredentialConfig::SignedIn => return Ok(false),
            CredentialConfig::SecretId { secret_id } | CredentialConfig::Certificate { secret_id } => {
                secret_id.clone()
            }
        };
        let before = self.kept.take();
        let now = self.kept(&secret_id).await?;
        Ok(before.is_none_or(|before| before.expose_secret() != now.expose_secret()))
    }

    async fn kept(&mut self, secret_id: &str) -> Result<SecretString, TokenError> {
        if let Some(kept) = &self.kept {
            return Ok(kept.clone());
        }
        let read = read_secret(&self.aws, secret_id).await?;
        Ok(self.kept.insert(read).clone())
    }

    async fn web_identity_token(&self) -> Result<SecretString, TokenError> {
        let sts = aws_sdk_sts::Client::new(self.aws.config().await);
        let answer = sts
            .get_web_identity_token()
            .audience(federation_audience(self.config.cloud))
            .signing_algorithm(STS_ALGORITHM)
            .duration_seconds(STS_TOKEN_SECS)
            .send()
            .await
            .map_err(|error| aws_error("AWS STS", &error, advice_on_sts))?;
        let token = answer.web_identity_token.filter(|token| !token.is_empty());
        token.map(SecretString::from).ok_or_else(|| TokenError::Retriable {
            reason: "AWS STS answered without a token".to_owned(),
            retry_after: None,
        })
    }
}

/// The secret as text, without the line break that editors and shells leave behind it.
async fn read_secret(aws: &Aws, secret_id: &str) -> Result<SecretString, TokenError> {
    let secrets = aws_sdk_secretsmanager::Client::new(aws.config().await);
    let answer = secrets
        .get_secret_value()
        .secret_id(secret_id)
        .send()
        .await
        .map_err(|error| aws_error("AWS Secrets Manager", &error, advice_on_secrets))?;
    let unusable = |what: &str| TokenError::Refused {
        reason: format!("the secret `{secret_id}` {what}"),
        advice: "store the credential in it as text".to_owned(),
    };
    let mut text = match (answer.secret_string, answer.secret_binary) {
        (Some(text), _) => text,
        (None, Some(binary)) => String::from_utf8(binary.into_inner()).map_err(|error| {
            error.into_bytes().zeroize();
            unusable("is not text")
        })?,
        (None, None) => return Err(unusable("has no value")),
    };
    let secret = SecretString::from(text.trim());
    text.zeroize();
    if secret.expose_secret().is_empty() { Err(unusable("is empty")) } else { Ok(secret) }
}

/// Code, status and request id of an AWS error; the message stays out, for it says no more and names principals.
fn aws_error<E>(
    service: &str,
    error: &SdkError<E, HttpResponse>,
    advice: fn(&str) -> &'static str,
) -> TokenError
where
    E: std::error::Error + aws_sdk_sts::error::ProvideErrorMetadata + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    let Some(status) = error.raw_response().map(|answer| answer.status().as_u16()) else {
        let causes = bounded(&causes(error), MOST_CAUSE_BYTES, &[]);
        let reason = format!("{service} gave no answer: {causes}");
        return TokenError::Retriable { reason, retry_after: None };
    };
    let code = error.as_service_error().and_then(|error| error.code()).unwrap_or_default();
    let mut reason = format!("{service} answered HTTP {status}");
    if !code.is_empty() {
        reason.push_str(&format!(", `{}`", bounded(code, MOST_CODE_BYTES, &[])));
    }
    if let Some(id) = error.request_id() {
        reason.push_str(&format!(", request id {}", bounded(id, MOST_CODE_BYTES, &[])));
    }
    // Throttling comes as 400, and temporary credentials that ran out are replaced by the platform.
    let passes = ["Throttl", "TooManyRequests", "RequestLimitExceeded", "ExpiredToken", "RequestExpired"];
    if !(400..500).contains(&status) || status == 429 || passes.iter().any(|part| code.contains(part)) {
        return TokenError::Retriable { reason, retry_after: None };
    }
    TokenError::Refused { reason, advice: advice(code).to_owned() }
}

fn advice_on_sts(code: &str) -> &'static str {
    if code.contains("OutboundWebIdentityFederationDisabled") {
        "enable outbound web identity federation for the AWS account"
    } else {
        "allow the function's role `sts:GetWebIdentityToken`"
    }
}

fn advice_on_secrets(code: &str) -> &'static str {
    if code.contains("ResourceNotFound") {
        "check `GRAPH_SECRET_ID`"
    } else {
        "allow the function's role `secretsmanager:GetSecretValue` on the secret, and `kms:Decrypt` on its key"
    }
}
