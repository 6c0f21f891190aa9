//! The environment into typed settings; every missing, unknown or malformed one is named at once.
//!
//! Only binaries call this, once, at start. Nothing is fetched or connected here.

mod commands;
mod sweep;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use crate::domain::pace::Policy;
use crate::domain::request::shorten;
use crate::domain::target::{ApiVersion, Cloud, CredentialKind, Guid};
use crate::graph::cloud::{graph_root, token_host};

pub use commands::{ReportConfig, SubmitConfig, TrailConfig};
pub use sweep::SweepConfig;

/// What the worker needs.
#[derive(Debug)]
pub struct WorkerConfig {
    pub audit_table: String,
    pub queue_url: String,
    pub graph: GraphConfig,
    /// For requests that name no `apiVersion`.
    pub api_version: ApiVersion,
    pub policy: Policy,
    /// One call to Graph at most.
    pub call_timeout: Duration,
    /// Requests under way at once, 1 to 100.
    pub concurrency: usize,
    /// The EventBridge bus that is told what settles, by name or ARN.
    pub event_bus: Option<String>,
    /// The name under which records are signed: Lambda's name of the function, or the program's.
    pub function: String,
}

/// Whom we are to Entra and Graph, and where they are.
#[derive(Clone, Debug)]
pub struct GraphConfig {
    pub tenant_id: Guid,
    pub client_id: Guid,
    pub credential: CredentialConfig,
    pub cloud: Cloud,
    /// The cloud's own unless `GRAPH_ENDPOINT` is set.
    pub endpoint: Url,
    /// The token host; the cloud's own unless `GRAPH_AUTHORITY` is set.
    pub authority: Url,
}

/// Where the proof of identity comes from. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub enum CredentialConfig {
    Federated,
    /// Certificate and key as PEM, under this id in Secrets Manager.
    Certificate {
        secret_id: String,
    },
    /// The client secret as text, under this id in Secrets Manager.
    SecretId {
        secret_id: String,
    },
    /// The client secret itself, outside AWS.
    SecretText(SecretString),
    /// Whoever signed in to the Azure CLI on this machine.
    #[cfg(feature = "cli")]
    SignedIn,
}

impl CredentialConfig {
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Federated => CredentialKind::Federated,
            Self::Certificate { .. } => CredentialKind::Certificate,
            Self::SecretId { .. } | Self::SecretText(_) => CredentialKind::Secret,
            #[cfg(feature = "cli")]
            Self::SignedIn => CredentialKind::SignedIn,
        }
    }
}

/// Every setting that is missing or wrong, each with its name, its rule and what was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings are not usable: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

impl WorkerConfig {
    /// Reads the settings through `lookup`; an empty value counts as absent.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Settings::read(lookup, Settings::worker)
    }

    /// The same for the command line, where the credential may also be the operator's own sign-in.
    ///
    /// With that, `GRAPH_CLIENT_ID` is not read: the application is the Azure CLI, unless the token says otherwise.
    #[cfg(feature = "cli")]
    pub fn read_for_operator(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Settings::read(lookup, |settings| {
            settings.has_operator = true;
            settings.worker()
        })
    }
}

struct Settings<L> {
    lookup: L,
    faults: Vec<String>,
    /// Somebody sits here, who may have signed in.
    has_operator: bool,
}

/// The credential that is the operator's own.
const SIGNED_IN: &str = "signed-in";
/// What the Azure CLI is in every tenant and cloud; Microsoft lists it among its own applications.
const AZURE_CLI: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
const GUID_RULE: &str = "a GUID in the 8-4-4-4-12 form";
const BUS_RULE: &str = "the name of an EventBridge bus, 1 to 256 of `A-Za-z0-9._/-`, or its ARN (`arn:aws:events:…:event-bus/…`)";
const DURATION_RULE: &str = "a whole number and `ms`, `s`, `m`, `h` or `d`, like `30s`, from 1ms to 365d";
/// A wait of nothing would be a loop without rest.
const SHORTEST_DURATION: Duration = Duration::from_millis(1);
/// Long enough for any wish, short enough that no sum of durations overflows.
const LONGEST_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl<L: Fn(&str) -> Option<String>> Settings<L> {
    fn read<T>(lookup: L, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, ConfigError> {
        let mut settings = Self { lookup, faults: Vec::new(), has_operator: false };
        match read(&mut settings) {
            Some(config) if settings.faults.is_empty() => Ok(config),
            _ => Err(ConfigError(settings.faults)),
        }
    }

    /// Reads everything before it gives up, so that all faults are named together.
    fn worker(&mut self) -> Option<WorkerConfig> {
        let audit_table = self.audit_table();
        let queue_url = self.queue_url();
        let graph = self.graph();
        let api_version = self.api_version();
        let policy = self.policy();
        let call_timeout = self.duration("CALL_TIMEOUT", Duration::from_secs(10));
        let concurrency = self.optional("CONCURRENCY", "a whole number from 1 to 100", 10, |text| {
            text.parse().ok().filter(|number| (1..=100).contains(number))
        });
        let event_bus = self.optional("EVENT_BUS", BUS_RULE, None, |text| event_bus(text).map(Some));
        let function = self.optional("AWS_LAMBDA_FUNCTION_NAME", "a text", "worker".to_owned(), |text| {
            Some(text.to_owned())
        });
        Some(WorkerConfig {
            audit_table: audit_table?,
            queue_url: queue_url?,
            graph: graph?,
            api_version: api_version?,
            policy: policy?,
            call_timeout: call_timeout?,
            concurrency: concurrency?,
            event_bus: event_bus?,
            function: function?,
        })
    }

    fn policy(&mut self) -> Option<Policy> {
        let default = Policy::default();
        let max_attempts =
            self.optional("MAX_ATTEMPTS", "a whole number from 1 to 1000", default.max_attempts, |text| {
                text.parse().ok().filter(|number| (1..=1000).contains(number))
            });
        let window = self.duration("WINDOW", default.window);
        let check_after = self.duration("CHECK_AFTER", default.check_after);
        let retry_after = self.duration("RETRY_AFTER", default.retry_after);
        let give_up_after = self.duration("GIVE_UP_AFTER", default.give_up_after);
        Some(Policy {
            max_attempts: max_attempts?,
            window: window?,
            check_after: check_after?,
            retry_after: retry_after?,
            give_up_after: give_up_after?,
        })
    }

    fn graph(&mut self) -> Option<GraphConfig> {
        let tenant_id = self.tenant_id();
        let client_id = if self.is_signed_in() {
            Guid::parse(AZURE_CLI).ok()
        } else {
            self.required("GRAPH_CLIENT_ID", GUID_RULE, |text| Guid::parse(text).ok())
        };
        let credential = self.credential();
        let cloud =
            self.optional("GRAPH_CLOUD", "`global`, `usgov`, `usgovdod` or `china`", Cloud::Global, cloud);
        let of_cloud = |host: fn(Cloud) -> &'static str| Url::parse(host(cloud.unwrap_or_default())).ok();
        const ROOT_RULE: &str =
            "an `https` URL, or `http` on a loopback address, without user, query or fragment";
        let (endpoint, authority) = (of_cloud(graph_root), of_cloud(token_host));
        let endpoint = self.optional_or("GRAPH_ENDPOINT", ROOT_RULE, endpoint, root);
        let authority = self.optional_or("GRAPH_AUTHORITY", ROOT_RULE, authority, root);
        Some(GraphConfig {
            tenant_id: tenant_id?,
            client_id: client_id?,
            credential: credential?,
            cloud: cloud?,
            endpoint: endpoint?,
            authority: authority?,
        })
    }

    fn is_signed_in(&self) -> bool {
        self.has_operator && self.get("GRAPH_CREDENTIAL").as_deref() == Some(SIGNED_IN)
    }

    fn credential(&mut self) -> Option<CredentialConfig> {
        const OF_AN_APPLICATION: &str = "`federated`, `certificate` or `secret`";
        let (has_operator, found) = (self.has_operator, self.get("GRAPH_CREDENTIAL"));
        if found.as_deref() == Some(SIGNED_IN) && !has_operator {
            return self.fault(format!(
                "`GRAPH_CREDENTIAL` `{SIGNED_IN}` is for the command line, a function has nobody who signs in; \
                 it must be {OF_AN_APPLICATION}"
            ));
        }
        let rule = if has_operator {
            "`federated`, `certificate`, `secret` or `signed-in`"
        } else {
            OF_AN_APPLICATION
        };
        let kind = self.required("GRAPH_CREDENTIAL", rule, |text| match text {
            "federated" => Some(CredentialKind::Federated),
            "certificate" => Some(CredentialKind::Certificate),
            "secret" => Some(CredentialKind::Secret),
            SIGNED_IN => Some(CredentialKind::SignedIn),
            _ => None,
        });
        let secret_id = self.get("GRAPH_SECRET_ID");
        let secret = self.get("GRAPH_CLIENT_SECRET");
        match (kind?, secret_id, secret) {
            (CredentialKind::Federated, None, None) => Some(CredentialConfig::Federated),
            (CredentialKind::Certificate, Some(secret_id), None) => Some(CredentialConfig::Certificate { secret_id }),
            (CredentialKind::Secret, Some(secret_id), None) => Some(CredentialConfig::SecretId { secret_id }),
            (CredentialKind::Secret, None, Some(secret)) => Some(CredentialConfig::SecretText(secret.into())),
            #[cfg(feature = "cli")]
            (CredentialKind::SignedIn, None, None) => Some(CredentialConfig::SignedIn),
            (CredentialKind::SignedIn, _, _) => self.fault(
                "`GRAPH_SECRET_ID` and `GRAPH_CLIENT_SECRET` must not be set with `GRAPH_CREDENTIAL` `signed-in`: the Azure CLI has the token",
            ),
            (CredentialKind::Federated, _, _) => self.fault(
                "`GRAPH_SECRET_ID` and `GRAPH_CLIENT_SECRET` must not be set with `GRAPH_CREDENTIAL` `federated`: it needs no secret",
            ),
            (CredentialKind::Certificate, _, _) => self.fault(
                "`GRAPH_CREDENTIAL` `certificate` needs `GRAPH_SECRET_ID`, and no `GRAPH_CLIENT_SECRET`",
            ),
            (CredentialKind::Secret, _, _) => self.fault(
                "`GRAPH_CREDENTIAL` `secret` needs exactly one of `GRAPH_SECRET_ID` and `GRAPH_CLIENT_SECRET`",
            ),
        }
    }

    fn audit_table(&mut self) -> Option<String> {
        self.required("AUDIT_TABLE", "a table name: 3 to 255 of `A-Za-z0-9_.-`", table_name)
    }

    fn queue_url(&mut self) -> Option<String> {
        self.required("QUEUE_URL", "the http or https URL of a standard queue, not `.fifo`", queue_url)
    }

    fn tenant_id(&mut self) -> Option<Guid> {
        self.required("GRAPH_TENANT_ID", GUID_RULE, |text| Guid::parse(text).ok())
    }

    fn api_version(&mut self) -> Option<ApiVersion> {
        self.optional("GRAPH_API_VERSION", "`v1.0` or `beta`", ApiVersion::V1, ApiVersion::parse)
    }

    fn duration(&mut self, name: &str, default: Duration) -> Option<Duration> {
        self.optional(name, DURATION_RULE, default, duration)
    }

    fn required<T>(&mut self, name: &str, rule: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.get(name) {
            Some(text) => self.checked(name, rule, &text, read),
            None => self.fault(format!("`{name}` is not set; it must be {rule}")),
        }
    }

    fn optional<T>(
        &mut self,
        name: &str,
        rule: &str,
        default: T,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.optional_or(name, rule, Some(default), read)
    }

    fn optional_or<T>(
        &mut self,
        name: &str,
        rule: &str,
        default: Option<T>,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            Some(text) => self.checked(name, rule, &text, read),
            None => default,
        }
    }

    fn checked<T>(
        &mut self,
        name: &str,
        rule: &str,
        text: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = read(text);
        if value.is_none() {
            let found = shorten(text);
            self.faults.push(format!("`{name}` must be {rule}, is \"{found}\""));
        }
        value
    }

    fn fault<T>(&mut self, fault: impl Into<String>) -> Option<T> {
        self.faults.push(fault.into());
        None
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|text| !text.is_empty())
    }
}

fn table_name(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    ((3..=255).contains(&text.len()) && text.bytes().all(allowed)).then(|| text.to_owned())
}

/// A bus's name, or `arn:{partition}:events:{region}:{account}:event-bus/{name}`.
fn event_bus(text: &str) -> Option<String> {
    let name = match text.split(':').collect::<Vec<_>>()[..] {
        [name] => name,
        ["arn", partition, "events", region, account, resource] => {
            let known = partition.starts_with("aws")
                && !region.is_empty()
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit());
            resource.strip_prefix("event-bus/").filter(|_| known)?
        }
        _ => return None,
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    ((1..=256).contains(&name.len()) && name.bytes().all(allowed)).then(|| text.to_owned())
}

/// First-in-first-out queues are refused: a message that waits for hours would hold up its whole group.
fn queue_url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain =
        matches!(url.scheme(), "http" | "https") && url.path().len() > 1 && !url.path().ends_with(".fifo");
    plain.then(|| text.to_owned())
}

fn cloud(text: &str) -> Option<Cloud> {
    match text {
        "global" => Some(Cloud::Global),
        "usgov" => Some(Cloud::UsGov),
        "usgovdod" => Some(Cloud::UsGovDod),
        "china" => Some(Cloud::China),
        _ => None,
    }
}

/// A token must never travel in the clear: plain `http` is for tests on this machine.
fn root(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let safe = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (safe && bare).then_some(url)
}

/// A whole number and a unit; `None` for everything else and for over a year.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    number
        .checked_mul(ms)
        .map(Duration::from_millis)
        .filter(|duration| (SHORTEST_DURATION..=LONGEST_DURATION).contains(duration))
}
