//! What the sweep needs to know.

use std::time::Duration;

use super::{ConfigError, GUID_RULE, GraphConfig, Settings};
use crate::domain::pace::Policy;
use crate::domain::target::{ApiVersion, Guid};

/// So many messages a run, unless `SWEEP_LIMIT` says otherwise.
const DEFAULT_LIMIT: usize = 1000;

/// What the sweep needs.
#[derive(Debug)]
pub struct SweepConfig {
    pub audit_table: String,
    pub queue_url: String,
    pub graph: GraphConfig,
    /// The version whose lists are read, and that requests are sent with.
    pub api_version: ApiVersion,
    pub policy: Policy,
    /// One call to Graph at most.
    pub call_timeout: Duration,
    /// `SWEEP_PACKAGES`: only these access packages, each once; empty is all.
    pub packages: Vec<Guid>,
    /// Messages a run, 1 to 10,000.
    pub limit: usize,
    /// The name under which records are signed: Lambda's name of the function, or the program's.
    pub function: String,
}

impl SweepConfig {
    /// Reads the settings through `lookup`; an empty value counts as absent.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Settings::read(lookup, Settings::sweep)
    }

    /// As [`SweepConfig::read`]; the credential may also be the operator's own sign-in.
    #[cfg(feature = "cli")]
    pub fn read_for_operator(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Settings::read(lookup, |settings| {
            settings.has_operator = true;
            settings.sweep()
        })
    }
}

impl<L: Fn(&str) -> Option<String>> Settings<L> {
    fn sweep(&mut self) -> Option<SweepConfig> {
        let audit_table = self.audit_table();
        let queue_url = self.queue_url();
        let graph = self.graph();
        let api_version = self.api_version();
        let policy = self.policy();
        let call_timeout = self.duration("CALL_TIMEOUT", Duration::from_secs(10));
        let packages = self.packages();
        let limit = self.optional("SWEEP_LIMIT", "a whole number from 1 to 10000", DEFAULT_LIMIT, |text| {
            text.parse().ok().filter(|number| (1..=10_000).contains(number))
        });
        let function = self
            .optional("AWS_LAMBDA_FUNCTION_NAME", "a text", "sweep".to_owned(), |text| Some(text.to_owned()));
        Some(SweepConfig {
            audit_table: audit_table?,
            queue_url: queue_url?,
            graph: graph?,
            api_version: api_version?,
            policy: policy?,
            call_timeout: call_timeout?,
            packages: packages?,
            limit: limit?,
            function: function?,
        })
    }

    /// Each wrong one is named; one that stands twice is read once.
    fn packages(&mut self) -> Option<Vec<Guid>> {
        let text = self.get("SWEEP_PACKAGES").unwrap_or_default();
        let mut packages = Vec::new();
        let parts = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
        for part in parts {
            let rule = format!("a list of access packages, separated by commas, each {GUID_RULE}");
            let package = self.checked("SWEEP_PACKAGES", &rule, part, |part| Guid::parse(part).ok());
            packages.extend(package.filter(|package| !packages.contains(package)));
        }
        Some(packages)
    }
}
