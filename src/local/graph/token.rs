//! The token endpoint: checks the form, hands out tokens and knows which of them are still good.
//!
//! An assertion is checked for its shape only, not for its signature.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::json;
use uuid::Uuid;

use super::answer::Answer;
use crate::domain::target::Guid;

/// The one application that gets tokens.
#[derive(Clone)]
pub struct Application {
    pub tenant_id: Guid,
    pub client_id: Guid,
    pub secret: String,
}

/// Tokens live by the real clock, not by the simulator's: a client counts their lifetime by its own.
pub(super) struct Tokens {
    /// `None`: any tenant, application and secret will do.
    pub application: Option<Application>,
    pub lifetime: Duration,
    good_until: HashMap<String, Instant>,
    issued: Vec<String>,
}

impl Default for Tokens {
    fn default() -> Self {
        let lifetime = Duration::from_secs(3599);
        Self { application: None, lifetime, good_until: HashMap::new(), issued: Vec::new() }
    }
}

impl Tokens {
    pub fn accepts(&self, token: &str) -> bool {
        self.good_until.get(token).is_some_and(|until| Instant::now() < *until)
    }

    /// Every token handed out so far, good or not.
    pub fn issued(&self) -> Vec<String> {
        self.issued.clone()
    }

    /// Takes a token as if it had been handed out here.
    pub fn accept(&mut self, token: &str) {
        self.good_until.insert(token.to_owned(), Instant::now() + self.lifetime);
        self.issued.push(token.to_owned());
    }

    /// From now on none of the tokens handed out is good.
    pub fn expire(&mut self) {
        self.good_until.clear();
    }

    /// A token, or an error in Entra's form.
    pub fn issue(&mut self, tenant: &str, content_type: &str, form: &[u8], now: Timestamp) -> Answer {
        match self.check(tenant, content_type, form) {
            Ok(()) => {
                let random = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
                let token = URL_SAFE_NO_PAD.encode(random);
                self.accept(&token);
                let seconds = self.lifetime.as_secs();
                let body = json!({
                    "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
                });
                Answer::new(200, Some(body))
            }
            Err(Refusal { status, error, number, text }) => {
                oauth_error(status, error, &format!("AADSTS{number}: {text}"), number, now)
            }
        }
    }

    fn check(&self, tenant: &str, content_type: &str, form: &[u8]) -> Result<(), Refusal> {
        let form = Form::read(content_type, form)?;
        let tenant = Guid::parse(tenant)
            .map_err(|_| refusal(400, "invalid_request", 900_023, "The tenant is not a GUID."))?;
        if form.required("grant_type")? != "client_credentials" {
            return Err(refusal(400, "unsupported_grant_type", 70003, "The grant type is not supported."));
        }
        let client = Guid::parse(form.required("client_id")?)
            .map_err(|_| refusal(400, "unauthorized_client", 700_016, "The application was not found."))?;
        if !form.required("scope")?.ends_with("/.default") {
            return Err(refusal(400, "invalid_scope", 70011, "The scope does not end with /.default."));
        }
        if let Some(application) = &self.application {
            if application.tenant_id != tenant {
                return Err(refusal(400, "invalid_request", 90002, "The tenant was not found."));
            }
            if application.client_id != client {
                return Err(refusal(400, "unauthorized_client", 700_016, "The application was not found."));
            }
        }
        match (form.get("client_secret"), form.get("client_assertion")) {
            (Some(secret), None) => match &self.application {
                Some(application) if application.secret != secret => {
                    Err(refusal(401, "invalid_client", 7_000_215, "An invalid client secret was provided."))
                }
                _ => Ok(()),
            },
            (None, Some(assertion)) => {
                if form.required("client_assertion_type")? != ASSERTION_TYPE {
                    return Err(refusal(
                        400,
                        "invalid_request",
                        900_144,
                        "The client assertion type is unknown.",
                    ));
                }
                if assertion.split('.').filter(|part| !part.is_empty()).count() != 3 {
                    return Err(refusal(401, "invalid_client", 50027, "The assertion is not a JWT."));
                }
                Ok(())
            }
            _ => {
                let text = "The form must have exactly one of client_secret and client_assertion.";
                Err(refusal(401, "invalid_client", 7_000_218, text))
            }
        }
    }
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Refusal {
    status: u16,
    error: &'static str,
    number: u32,
    text: &'static str,
}

fn refusal(status: u16, error: &'static str, number: u32, text: &'static str) -> Refusal {
    Refusal { status, error, number, text }
}

/// Entra's error body.
pub(super) fn oauth_error(
    status: u16,
    error: &str,
    description: &str,
    number: u32,
    now: Timestamp,
) -> Answer {
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [number],
        "timestamp": now.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        "trace_id": Uuid::new_v4().to_string(),
        "correlation_id": Uuid::new_v4().to_string(),
    });
    Answer::new(status, Some(body))
}

struct Form(Vec<(String, String)>);

impl Form {
    fn read(content_type: &str, form: &[u8]) -> Result<Self, Refusal> {
        let malformed = || refusal(400, "invalid_request", 900_144, "The body is not an encoded form.");
        if !content_type.starts_with("application/x-www-form-urlencoded") {
            return Err(malformed());
        }
        let text = std::str::from_utf8(form).map_err(|_| malformed())?;
        // A form is encoded like a query.
        let url = Url::parse(&format!("http://127.0.0.1/?{text}")).map_err(|_| malformed())?;
        Ok(Self(url.query_pairs().into_owned().collect()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(field, value)| field == name && !value.is_empty());
        found.next().map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Refusal> {
        let text = "The form must have grant_type, client_id, scope and, with an assertion, its type.";
        self.get(name).ok_or(refusal(400, "invalid_request", 900_144, text))
    }
}
