//! A refusal of the token endpoint: what it means, whether waiting helps, what an administrator is to do.
//!
//! Keeps only what cannot hold a secret: `error` if it is a plain word, numbers, GUIDs. The description is never
//! kept, for it may repeat what was sent.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::token::TokenError;
use crate::domain::target::{CredentialKind, Guid};

/// Codes of a busy or restarting service.
const BUSY: [u64; 7] = [90006, 90012, 90024, 90033, 90055, 90090, 90091];

/// The assertion was outside its time range.
const OUT_OF_TIME: [u64; 2] = [500133, 700024];

/// An answer of the token endpoint other than a token.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    retry_after: Option<Duration>,
    error: Option<String>,
    codes: Vec<u64>,
    trace_id: Option<Guid>,
    correlation_id: Option<Guid>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Value,
    error_description: Value,
    error_codes: Value,
    trace_id: Value,
    correlation_id: Value,
}

impl Refusal {
    pub(super) fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let body = serde_json::from_slice::<Body>(body).unwrap_or_default();
        let guid = |value: &Value| Guid::parse(value.as_str()?).ok();
        let is_plain = |word: &&str| {
            (1..=64).contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        Self {
            status,
            retry_after,
            error: body.error.as_str().filter(is_plain).map(str::to_owned),
            codes: codes(&body),
            trace_id: guid(&body.trace_id),
            correlation_id: guid(&body.correlation_id),
        }
    }

    pub(super) fn is_invalid_client(&self) -> bool {
        self.error.as_deref() == Some("invalid_client")
    }

    pub(super) fn is_out_of_time(&self) -> bool {
        self.codes.iter().any(|code| OUT_OF_TIME.contains(code))
    }

    /// The endpoint itself failed, and did not say when to come back.
    pub(super) fn is_worth_repeating_at_once(&self) -> bool {
        (self.status == 408 || self.status >= 500) && self.retry_after.is_none()
    }

    fn is_retriable(&self) -> bool {
        // 2xx: what came with it was no token, which no setting explains.
        matches!(self.status, 200..=299 | 408 | 429 | 500..)
            || self.error.as_deref() == Some("temporarily_unavailable")
            || self.codes.iter().any(|code| BUSY.contains(code))
    }

    pub(super) fn into_error(self, credential: CredentialKind) -> TokenError {
        let reason = self.describe();
        if self.is_retriable() {
            return TokenError::Retriable { reason, retry_after: self.retry_after };
        }
        TokenError::Refused { reason, advice: self.advice(credential).to_owned() }
    }

    fn describe(&self) -> String {
        let mut text = format!("the token endpoint answered HTTP {}", self.status);
        if let Some(error) = &self.error {
            text.push_str(&format!(", `{error}`"));
        }
        for code in &self.codes {
            text.push_str(&format!(", AADSTS{code}"));
        }
        if let Some(id) = &self.trace_id {
            text.push_str(&format!(", trace id {id}"));
        }
        if let Some(id) = &self.correlation_id {
            text.push_str(&format!(", correlation id {id}"));
        }
        if (200..300).contains(&self.status) {
            text.push_str(", and no readable token with it");
        }
        text
    }

    /// A code tells most; should Microsoft renumber, `error` still tells roughly.
    fn advice(&self, credential: CredentialKind) -> &'static str {
        if let Some(advice) = self.codes.iter().find_map(|code| advice_on_code(*code)) {
            return advice;
        }
        match (self.error.as_deref(), credential) {
            (Some("invalid_client"), CredentialKind::Secret) => "check the client secret",
            (Some("invalid_client"), CredentialKind::Certificate) => {
                "check that the certificate is registered with the application"
            }
            (Some("invalid_client"), CredentialKind::Federated) => {
                "check issuer, subject and audience of the application's federated credential"
            }
            (Some("unauthorized_client"), _) => "check `GRAPH_CLIENT_ID` and the application's registration",
            (Some("invalid_scope"), _) => "check `GRAPH_CLOUD`",
            _ => "check the application's registration, `GRAPH_TENANT_ID` and `GRAPH_AUTHORITY`",
        }
    }
}

fn advice_on_code(code: u64) -> Option<&'static str> {
    Some(match code {
        7000215 => "store the value of a valid client secret, not its id",
        7000222 => "the client secret has expired: create another and store it",
        7000218 => "the application takes no such credential: check `GRAPH_CREDENTIAL`",
        700027 | 50012 => {
            "register the certificate with the application, or store the one that is registered"
        }
        500133 | 700024 => "check the clock: the assertion was outside its time range",
        70021 | 700211 | 700212 | 700213 => {
            "check issuer, subject and audience of the application's federated credential"
        }
        700016 => "the tenant has no such application: check `GRAPH_CLIENT_ID` and `GRAPH_TENANT_ID`",
        7000112 => "the application is disabled in the tenant",
        500011 | 70011 | 28002 | 700022 => "the tenant does not know this Graph: check `GRAPH_CLOUD`",
        90002 | 900023 | 90038 | 900382 | 900432 => {
            "wrong tenant or cloud: check `GRAPH_TENANT_ID` and `GRAPH_CLOUD`"
        }
        530032..=530036 | 53003 => "a conditional access policy blocks the application",
        _ => return None,
    })
}

/// From `error_codes`, else from where the description names one.
fn codes(body: &Body) -> Vec<u64> {
    const MOST: usize = 4;
    let listed = body.error_codes.as_array().into_iter().flatten().filter_map(Value::as_u64);
    let listed = listed.take(MOST).collect::<Vec<_>>();
    if !listed.is_empty() {
        return listed;
    }
    let description = body.error_description.as_str().unwrap_or_default();
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).take(9).collect::<String>();
    description.split("AADSTS").skip(1).take(1).filter_map(|text| digits(text).parse().ok()).collect()
}
