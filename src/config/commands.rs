//! What those need to know that call no Graph: the commands that read the trail or send requests, and the report.

use std::time::Duration;

use super::{ConfigError, Settings};
use crate::domain::pace::Policy;
use crate::domain::target::{ApiVersion, Guid};

/// Where the deployed trail is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailConfig {
    pub audit_table: String,
    pub tenant_id: Guid,
    /// `WINDOW`: for how long Graph takes an assignment request.
    pub window: Duration,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitConfig {
    pub queue_url: String,
    /// For requests that name no `apiVersion`.
    pub api_version: ApiVersion,
}

/// What a report needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportConfig {
    pub audit_table: String,
    pub tenant_id: Guid,
    /// Until when after completion Graph allows a reprocess.
    pub window: Duration,
    /// Where a scheduled report is put.
    pub bucket: Option<String>,
}

impl TrailConfig {
    /// Reads the settings through `lookup`; an empty value counts as absent.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Settings::read(lookup, |settings| {
            let audit_table = settings.audit_table();
            let tenant_id = settings.tenant_id();
            let window = settings.duration("WINDOW", Policy::default().window);
            Some(Self { audit_table: audit_table?, tenant_id: tenant_id?, window: window? })
        })
    }
}

impl SubmitConfig {
    /// Reads the settings through `lookup`; an empty value counts as absent.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Settings::read(lookup, |settings| {
            let queue_url = settings.queue_url();
            let api_version = settings.api_version();
            Some(Self { queue_url: queue_url?, api_version: api_version? })
        })
    }
}

impl ReportConfig {
    /// Reads the settings through `lookup`; an empty value counts as absent.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Settings::read(lookup, |settings| {
            let audit_table = settings.audit_table();
            let tenant_id = settings.tenant_id();
            let window = settings.duration("WINDOW", Policy::default().window);
            let bucket = settings.get("REPORT_BUCKET");
            Some(Self { audit_table: audit_table?, tenant_id: tenant_id?, window: window?, bucket })
        })
    }
}
