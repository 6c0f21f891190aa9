//! The operator's own sign-in, through the Azure CLI: its token, and whom that names. For the command line only.
//!
//! Starts the program `az` and nothing else. Verifies no token: what it says of itself only informs.

use std::error::Error;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use azure_identity::{AzureCliCredential, AzureCliCredentialOptions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::time::timeout;

use super::answer::bounded;
use super::cloud::scope;
use super::exchange::{Granted, LONGEST_LIFETIME};
use super::token::{Token, TokenError};
use crate::config::GraphConfig;
use crate::domain::target::{Cloud, Guid};

/// `az` starts an interpreter, and may have to ask Entra for a new token.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `az` writes is for people, and long.
const MOST_BYTES: usize = 600;

/// The Graph permission that a reprocess needs, application or delegated alike.
const PERMISSION: &str = "EntitlementManagement.ReadWrite.All";

/// Whom a token was given to, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedIn {
    /// The application that asked for the token: the Azure CLI's own, or the service principal that signed in.
    pub client_id: Option<Guid>,
    /// The person, or the service principal, in the tenant's directory.
    pub object_id: Option<Guid>,
    /// Whether the permission is missing among those that the token lists; `false` also where it lists none.
    pub lacks_permission: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    appid: String,
    azp: String,
    oid: String,
    scp: String,
    roles: Vec<String>,
}

impl SignedIn {
    /// Reads the token's claims; nothing is known of a token that is no readable JSON web token.
    pub(super) fn of(token: &Token) -> Self {
        let claims = token.text().split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = claims.and_then(|json| serde_json::from_slice::<Claims>(&json).ok()).unwrap_or_default();
        let permissions = claims.scp.split(' ').chain(claims.roles.iter().map(String::as_str));
        let permissions = permissions.filter(|name| !name.is_empty()).collect::<Vec<_>>();
        let guid = |text: &str| Guid::parse(text).ok();
        Self {
            client_id: guid(&claims.appid).or_else(|| guid(&claims.azp)),
            object_id: guid(&claims.oid),
            lacks_permission: !permissions.is_empty() && !permissions.contains(&PERMISSION),
        }
    }
}

/// A token of whoever signed in, for the configured tenant. May take a minute.
pub(super) async fn token(config: &GraphConfig) -> Result<Granted, TokenError> {
    let options = AzureCliCredentialOptions {
        tenant_id: Some(config.tenant_id.to_string()),
        ..AzureCliCredentialOptions::default()
    };
    let scope = scope(config.cloud);
    let answer = match AzureCliCredential::new(Some(options)) {
        Ok(az) => timeout(PATIENCE, az.get_token(&[&scope], None)).await,
        Err(error) => Ok(Err(error)),
    };
    let answer = answer.map_err(|_| TokenError::Retriable {
        reason: format!("the Azure CLI did not answer within {} s", PATIENCE.as_secs()),
        retry_after: None,
    })?;
    let refused = |reason| TokenError::Refused { reason, advice: advice(config) };
    let answer = answer.map_err(|error| refused(reason(&error)))?;
    let Some(token) = Token::new(answer.token.secret()) else {
        return Err(refused("the Azure CLI's token is empty or cannot be sent".to_owned()));
    };
    let lifetime = Duration::try_from(answer.expires_on - OffsetDateTime::now_utc()).unwrap_or_default();
    Ok(Granted { token, lifetime: lifetime.min(LONGEST_LIFETIME) })
}

/// What `az` itself said, or that it could not be read: a parser's error may hold part of what it read.
fn reason(error: &azure_core::Error) -> String {
    let inner = error.source().and_then(|inner| inner.downcast_ref::<azure_core::Error>());
    match inner {
        Some(said) if matches!(said.kind(), ErrorKind::Credential) => {
            let said = said.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            format!("the Azure CLI gave none: {}", bounded(&said, MOST_BYTES, &[]))
        }
        _ => "the Azure CLI's answer cannot be read: it must be version 2.54 or newer".to_owned(),
    }
}

fn advice(config: &GraphConfig) -> String {
    let cloud = match config.cloud {
        Cloud::Global => "AzureCloud",
        Cloud::UsGov | Cloud::UsGovDod => "AzureUSGovernment",
        Cloud::China => "AzureChinaCloud",
    };
    format!(
        "sign in by `az login --tenant {} --scope {}`, in the cloud that `az cloud set --name {cloud}` selects",
        config.tenant_id,
        scope(config.cloud)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(claims: &str) -> SignedIn {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        SignedIn::of(&Token::new(&token).unwrap())
    }

    #[test]
    fn token_tells_application_person_and_permissions() {
        const APP: &str = "04B07795-8ddb-461a-bbee-02f9e1bf7b46";
        const WHO: &str = "9f0e2ad0-3f0c-4b6a-9a62-4d6a4f2f7c11";
        let (app, who) = (Guid::parse(APP).ok(), Guid::parse(WHO).ok());
        let all =
            |lacks_permission| SignedIn { client_id: app.clone(), object_id: who.clone(), lacks_permission };
        for (permissions, lacks) in [
            (r#""scp":"User.Read EntitlementManagement.ReadWrite.All""#, false),
            (r#""scp":"User.Read EntitlementManagement.Read.All""#, true),
            (r#""roles":["EntitlementManagement.ReadWrite.All"]"#, false),
            (r#""roles":["Directory.Read.All"]"#, true),
            (r#""ver":"1.0""#, false),
        ] {
            let claims = format!(r#"{{"appid":"{APP}","oid":"{WHO}",{permissions}}}"#);
            assert_eq!(read(&claims), all(lacks), "{claims}");
        }
        assert_eq!(read(&format!(r#"{{"azp":"{APP}"}}"#)).client_id, app);
    }

    #[test]
    fn token_that_is_none_of_ours_to_read_tells_nothing() {
        for claims in ["", "[]", r#"{"oid":7}"#, r#"{"oid":"me"}"#] {
            assert_eq!(read(claims), SignedIn::default(), "{claims}");
        }
        assert_eq!(SignedIn::of(&Token::new("opaque").unwrap()), SignedIn::default());
    }
}
