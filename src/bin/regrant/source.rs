//! Which trail a command works on: the deployed table, or the database file that `regrant local` left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use regrant::aws::Aws;
use regrant::config::TrailConfig;
use regrant::domain::pace::Policy;
use regrant::domain::target::{Guid, Target, TargetKind};
use regrant::local::AUDIT_TABLE;
use regrant::local::aws::sdk_config;
use regrant::local::dynamodb::{Database, DynamoDbServer, tenant_in_trail};
use regrant::trail::Trail;

use crate::{Unusable, setting};

/// Enough to keep a line busy, and few enough pages at once to stay small.
const SEGMENTS: usize = 4;

#[derive(Args, Clone, Debug)]
pub struct Source {
    /// Read a database that `regrant local` left, instead of the deployed table.
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
}

/// A trail that can be read, and what it needs to be running for that.
pub struct Opened {
    pub trail: Trail,
    /// Into how many parts a walk is best split.
    pub segments: usize,
    /// For how long Graph takes an assignment request.
    pub window: Duration,
    server: Option<DynamoDbServer>,
}

impl Source {
    pub async fn open(&self) -> anyhow::Result<Opened> {
        match &self.db {
            Some(path) => open_file(path).await,
            None => {
                let config = TrailConfig::read(setting).map_err(Unusable::new)?;
                let trail = Trail::new(Aws::patient().await, config.audit_table, config.tenant_id);
                Ok(Opened { trail, segments: SEGMENTS, window: config.window, server: None })
            }
        }
    }
}

async fn open_file(path: &Path) -> anyhow::Result<Opened> {
    if !path.metadata().is_ok_and(|file| file.is_file() && file.len() > 0) {
        return Err(Unusable(format!(
            "`{}` is not an audit database: no such file, or it is empty",
            path.display()
        ))
        .into());
    }
    let server = DynamoDbServer::start(&Database::File(path.to_owned())).await;
    let server = server.map_err(|error| Unusable(format!("{error:#}")))?;
    let tenant = tenant_in_trail(&server.client(), AUDIT_TABLE).await;
    let tenant = tenant.with_context(|| format!("cannot read the trail in `{}`", path.display()))?;
    let Some(tenant) = tenant else {
        server.stop().await?;
        anyhow::bail!("the trail in `{}` is empty", path.display());
    };
    let aws = Aws::from_config(sdk_config(&server.url));
    let trail = Trail::new(aws, AUDIT_TABLE.to_owned(), tenant);
    // One writer and one reader inside: parts of a walk would only take turns.
    Ok(Opened { trail, segments: 1, window: Policy::default().window, server: Some(server) })
}

impl Opened {
    /// Runs `work`, which may also append, and then stops what was started, however it ended.
    pub async fn read<T>(self, work: impl AsyncFnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let done = work(&self).await;
        if let Some(server) = self.server {
            server.stop().await?;
        }
        done
    }
}

/// What an id given on the command line may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub enum Kind {
    Assignment,
    AssignmentRequest,
}

impl Kind {
    pub fn target(self) -> TargetKind {
        match self {
            Self::Assignment => TargetKind::Assignment,
            Self::AssignmentRequest => TargetKind::AssignmentRequest,
        }
    }
}

/// An id of either kind, as a person knows it.
#[derive(Args, Clone, Debug)]
pub struct OneTarget {
    /// The id of an assignment or an assignment request.
    #[arg(value_parser = parse_id)]
    pub id: Guid,
    /// Which of the two it is; without it, whichever has records.
    #[arg(long, value_name = "KIND")]
    pub target: Option<Kind>,
}

impl OneTarget {
    pub fn targets(&self) -> Vec<Target> {
        targets(&self.id, self.target)
    }
}

pub fn targets(id: &Guid, kind: Option<Kind>) -> Vec<Target> {
    let kinds = match kind {
        Some(kind) => vec![kind.target()],
        None => vec![TargetKind::AssignmentRequest, TargetKind::Assignment],
    };
    kinds.into_iter().map(|kind| Target { kind, id: id.clone() }).collect()
}

/// The keys that an id may have records under; without a kind also that of a rejected message.
pub fn keys(tenant: &Guid, id: &Guid, kind: Option<Kind>) -> Vec<String> {
    let mut keys = targets(id, kind).iter().map(|target| target.key(tenant)).collect::<Vec<_>>();
    if kind.is_none() {
        keys.push(format!("{tenant}#message#{id}"));
    }
    keys
}

pub fn parse_id(text: &str) -> Result<Guid, String> {
    Guid::parse(text).map_err(|_| "must be a GUID like d82eb508-acc4-43cc-bcf1-7c1c4a2c073b".to_owned())
}
