//! Entra and Graph as they answer here: a token and what it may, a list of one, the clock. Reads no request, and
//! never shows the token.

use std::time::Duration;

use jiff::Timestamp;
use regrant::aws::Aws;
use regrant::clock::Clock;
use regrant::config::{CredentialConfig, GraphConfig};
use regrant::domain::pace::since;
use regrant::domain::target::{ApiVersion, CredentialKind, Guid};
use regrant::graph::{Claims, GraphClient, Reach, Token, TokenError};

use super::finding::Finding;
use crate::run::MOST_SKEW;
use crate::words::duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// So many packages are asked for; each is a call.
const MOST_PACKAGES: usize = 20;
const PERMISSION: &str = "EntitlementManagement.ReadWrite.All";
const TOKEN: &str = "token";
const GRAPH: &str = "graph";
const NO_TOKEN: &str = "without a token Graph answers nothing";

/// Why a federated credential cannot be tried from a person's machine.
pub const ONLY_INSIDE: &str = "a federated credential exists only inside the function, whose role is the proof: \
    --sweep tries that of the sweep, `regrant run ID --function NAME` that of the worker";

/// With which settings to ask, and whose they are.
pub struct Asking<'a> {
    pub config: &'a GraphConfig,
    pub whose: &'static str,
    pub api_version: ApiVersion,
    /// `SWEEP_PACKAGES`, as it stands.
    pub packages: Option<&'a str>,
    /// Why no token can be had here, if so.
    pub barred: Option<&'static str>,
}

pub async fn check(asking: &Asking<'_>, aws: &Aws) -> Vec<Finding> {
    let client = GraphClient::new(asking.config.clone(), TIMEOUT, aws.clone());
    let (clock, rest) = tokio::join!(clock(&client), access(asking, &client));
    [rest, vec![clock]].concat()
}

async fn clock(client: &GraphClient) -> Finding {
    const CHECK: &str = "clock";
    let Some(theirs) = client.server_time(TIMEOUT).await else {
        return Finding::warning(
            CHECK,
            "not checked: Graph told no time",
            "look at the network, a proxy, and `GRAPH_CLOUD`",
        );
    };
    let ours = Clock::default().now();
    let (ahead, behind) = (since(theirs, ours), since(ours, theirs));
    let (off, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if off <= MOST_SKEW {
        return Finding::ok(CHECK, "this machine's clock agrees with Graph's");
    }
    Finding::failed(
        CHECK,
        format!(
            "this machine's clock is {} {way} Graph's: `run`, `sweep` and `cancel` stamp records by it",
            duration(off)
        ),
        "set it, best by NTP",
    )
}

async fn access(asking: &Asking<'_>, client: &GraphClient) -> Vec<Finding> {
    if let Some(why) = asking.barred {
        return vec![Finding::skipped(TOKEN, why), Finding::skipped(GRAPH, NO_TOKEN)];
    }
    let token = match client.token().await {
        Ok(token) => token,
        Err(error) => {
            return vec![no_token(asking, &error), Finding::skipped(GRAPH, NO_TOKEN)];
        }
    };
    let mut findings = vec![of_token(asking, token.claims(), Clock::default().now())];
    findings.extend(reach(asking, client, &token).await);
    findings
}

fn no_token(asking: &Asking<'_>, error: &TokenError) -> Finding {
    match error {
        // The secret is the function's to read; that it may, the simulation of its role tells.
        TokenError::Refused { reason, .. }
            if reason.starts_with("AWS ") && reason.contains("AccessDenied") =>
        {
            Finding::warning(
                TOKEN,
                format!(
                    "not checked: the identity of this machine may not do what the function may: {reason}"
                ),
                "nothing, if `rights.worker` is well; or run this as somebody who may",
            )
        }
        TokenError::Refused { reason, advice } => {
            Finding::failed(TOKEN, format!("none by the {} credential: {reason}", asking.whose), advice)
        }
        TokenError::Retriable { reason, .. } => Finding::failed(
            TOKEN,
            format!("none by the {} credential: {reason}", asking.whose),
            "try again, then look at the network and at Microsoft's status",
        ),
    }
}

fn of_token(asking: &Asking<'_>, claims: Option<Claims>, now: Timestamp) -> Finding {
    let kind = match &asking.config.credential {
        CredentialConfig::SecretText(_) => "client secret",
        credential => match credential.kind() {
            CredentialKind::Federated => "federation",
            CredentialKind::Certificate => "certificate",
            CredentialKind::Secret => "client secret in Secrets Manager",
            CredentialKind::SignedIn => "your own sign-in",
        },
    };
    let by = format!("had by {kind}, with the {} settings", asking.whose);
    let Some(claims) = claims else {
        return Finding::ok(
            TOKEN,
            format!("{by}; what it carries is not readable, which Microsoft allows itself"),
        );
    };
    let valid = claims
        .expires_at
        .map_or_else(String::new, |end| format!(", valid for {}", duration(since(now, end))));
    let told = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!(", {name} {value}")).unwrap_or_default()
    };
    let by = format!(
        "{by}{valid}{}{}{}",
        told("application", &claims.application),
        told("tenant", &claims.tenant),
        told("audience", &claims.audience)
    );
    let other = |claim: &Option<String>, ours: &Guid| {
        claim.as_ref().is_some_and(|claim| !claim.eq_ignore_ascii_case(ours.as_str()))
    };
    if other(&claims.application, &asking.config.client_id) || other(&claims.tenant, &asking.config.tenant_id)
    {
        return Finding::failed(
            TOKEN,
            format!("{by}: not the application and tenant of the settings"),
            "check `GRAPH_CLIENT_ID`, `GRAPH_TENANT_ID` and `GRAPH_AUTHORITY`",
        );
    }
    let roles = claims.roles.join(", ");
    if claims.roles.is_empty() {
        return Finding::ok(
            TOKEN,
            format!(
                "{by}, no roles: right where an entitlement management role is assigned instead of a permission"
            ),
        );
    }
    if claims.roles.iter().any(|role| role == PERMISSION) {
        return Finding::ok(TOKEN, format!("{by}, roles {roles}"));
    }
    Finding::warning(
        TOKEN,
        format!("{by}, roles {roles}: none of them allows to reprocess"),
        format!(
            "grant `{PERMISSION}` with admin consent, or assign the entitlement management role Access package assignment manager"
        ),
    )
}

async fn reach(asking: &Asking<'_>, client: &GraphClient, token: &Token) -> Vec<Finding> {
    let packages = asking.packages.unwrap_or_default().split(',').map(str::trim);
    let packages =
        packages.filter_map(|package| Guid::parse(package).ok()).take(MOST_PACKAGES).collect::<Vec<_>>();
    if packages.is_empty() {
        return vec![judge(GRAPH, client.reach(token, asking.api_version, None, TIMEOUT).await, None)];
    }
    let mut findings = Vec::new();
    for package in &packages {
        let reach = client.reach(token, asking.api_version, Some(package), TIMEOUT).await;
        findings.push(judge(&format!("{GRAPH}.package"), reach, Some(package)));
    }
    findings
}

fn judge(check: &str, reach: Reach, package: Option<&Guid>) -> Finding {
    let of = package.map_or_else(
        || "the failed requests".to_owned(),
        |package| format!("the requests of access package {package}"),
    );
    let (status, told) = match reach {
        Reach::Listed => return Finding::ok(check, format!("lets the application list {of}")),
        Reach::Silent(why) => {
            return Finding::failed(
                check,
                format!("no answer: {why}"),
                "look at the network, a proxy, and `GRAPH_CLOUD`",
            );
        }
        Reach::Refused { status, code, request_id } => {
            let code = code.map(|code| format!(", code `{code}`")).unwrap_or_default();
            let id = request_id.map(|id| format!(", request id {id}")).unwrap_or_default();
            (status, format!("asked for {of}, Graph answered HTTP {status}{code}{id}"))
        }
    };
    match (status, package) {
        (403, Some(_)) => Finding::failed(
            check,
            format!(
                "{told}: the application has neither the permission nor a role in that package's catalog"
            ),
            format!(
                "grant `{PERMISSION}`, or assign the role Access package assignment manager in the catalog; take packages that are no concern of it out of `SWEEP_PACKAGES`"
            ),
        ),
        (403, None) => Finding::failed(
            check,
            format!("{told}: the application lacks the permission, or has roles in catalogs only"),
            format!(
                "grant `{PERMISSION}` with admin consent, or assign the role Access package assignment manager; with roles in catalogs only, Graph lists by access package alone: name the packages in `SWEEP_PACKAGES`"
            ),
        ),
        (401, _) => Finding::failed(
            check,
            format!("{told}: it does not take the token"),
            "check `GRAPH_CLOUD`, `GRAPH_ENDPOINT` and `GRAPH_AUTHORITY`: tokens do not cross clouds",
        ),
        (429, _) => Finding::warning(check, format!("{told}: throttled"), "wait, and check again"),
        (404, _) => Finding::failed(
            check,
            format!("{told}: there is no such route"),
            "check `GRAPH_ENDPOINT` and `GRAPH_API_VERSION`",
        ),
        _ => Finding::failed(check, told, "try again; if it lasts, ask Microsoft with the request id"),
    }
}
