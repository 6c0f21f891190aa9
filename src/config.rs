//! The environment into typed settings; every missing, unknown or malformed one is named at once.
//!
//! Only binaries call this, once, at start. Nothing is fetched or connected here.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use crate::domain::decide::Policy;
use crate::domain::target::{ApiVersion, Cloud, CredentialKind, Guid};

/// What the worker needs.
#[derive(Debug)]
pub struct WorkerConfig {
    pub audit_table: String,
    pub queue_url: String,
    pub graph: GraphConfig,
    pub api_version: ApiVersion,
    pub policy: Policy,
    /// One call to Graph at most.
    pub call_timeout: Duration,
    /// Requests under way at once, 1 to 100.
    pub concurrency: usize,
}

/// Whom we are to Entra and Graph, and where they are.
#[derive(Clone, Debug)]
pub struct GraphConfig {
    pub tenant_id: Guid,
    pub client_id: Guid,
    pub credential: CredentialConfig,
    pub cloud: Cloud,
    /// Without a trailing slash or path; the cloud's own unless `GRAPH_ENDPOINT` is set.
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
}

impl CredentialConfig {
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Federated => CredentialKind::Federated,
            Self::Certificate { .. } => CredentialKind::Certificate,
            Self::SecretId { .. } | Self::SecretText(_) => CredentialKind::Secret,
        }
    }
}
