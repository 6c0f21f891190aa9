//! DynamoDB inside this process, in memory or on a file, with the audit table in it. Writes no record.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{aws, listener};
use crate::domain::target::Guid;

/// Where the items are kept.
#[derive(Clone, Debug, Default)]
pub enum Database {
    /// Gone when the server stops.
    #[default]
    Memory,
    /// A file of ours, made if it does not exist; what is in it stays.
    File(PathBuf),
}

/// A running server. Dropping it stops accepting at once; [`DynamoDbServer::stop`] also waits for the file.
#[derive(Debug)]
pub struct DynamoDbServer {
    pub url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), String>>,
}

impl DynamoDbServer {
    /// Starts on a free loopback port, without any table of its own making.
    pub async fn start(database: &Database) -> anyhow::Result<Self> {
        let opened = match database {
            Database::Memory => dynoxide::Database::memory(),
            Database::File(path) => {
                refuse_foreign_file(path)?;
                let name = path.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))?;
                dynoxide::Database::new(name)
            }
        };
        let database = opened.with_context(|| match database {
            Database::Memory => "no database in memory".to_owned(),
            Database::File(path) => format!("cannot open the database `{}`", path.display()),
        })?;
        let (listener, address) = listener::bind().await?;
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            // A dropped sender says the same as a message.
            let _ = stopped.await;
        }));
        Ok(Self { url: format!("http://{address}"), stop, serving })
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        Client::new(&aws::sdk_config(&self.url))
    }

    /// Stops and waits until the file is whole: no write-ahead log is left beside it.
    pub async fn stop(self) -> anyhow::Result<()> {
        // The receiver is gone only if the server has ended already.
        let _ = self.stop.send(());
        match self.serving.await.context("the DynamoDB server panicked")? {
            Ok(()) => Ok(()),
            Err(reason) => bail!(reason),
        }
    }
}

/// Creates the audit table and its index; does nothing if the table exists already.
pub async fn create_audit_table(client: &Client, table: &str) -> anyhow::Result<()> {
    use ScalarAttributeType::{N, S};
    let attribute =
        |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let by_day = GlobalSecondaryIndex::builder()
        .index_name("byDay")
        .key_schema(key("tenantDay", KeyType::Hash)?)
        .key_schema(key("at", KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()?;
    let created = client
        .create_table()
        .table_name(table)
        .attribute_definitions(attribute("pk", S)?)
        .attribute_definitions(attribute("seq", N)?)
        .attribute_definitions(attribute("tenantDay", S)?)
        .attribute_definitions(attribute("at", S)?)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("seq", KeyType::Range)?)
        .global_secondary_indexes(by_day)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await;
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            Ok(())
        }
        Err(error) => bail!("failed to create the table `{table}`: {}", DisplayErrorContext(error)),
    }
}

/// The tenant of a record in the trail, so that a second run on the same file goes on with the same one.
/// `None` if the table is empty.
pub async fn tenant_in_trail(client: &Client, table: &str) -> anyhow::Result<Option<Guid>> {
    let mut pages = client.scan().table_name(table).into_paginator().page_size(100).items().send();
    // What belongs to no tenant is passed over.
    while let Some(item) = pages.next().await {
        let item = item.with_context(|| format!("failed to read the table `{table}`"))?;
        let key = item.get("pk").and_then(|key| key.as_s().ok()).and_then(|key| key.split_once('#'));
        if let Some(tenant) = key.and_then(|(tenant, _)| Guid::parse(tenant).ok()) {
            return Ok(Some(tenant));
        }
    }
    Ok(None)
}

/// Opening writes into the file: whatever is not a database of this server must be found out before.
fn refuse_foreign_file(path: &Path) -> anyhow::Result<()> {
    if path.metadata().is_err() {
        return Ok(());
    }
    let head = first_bytes(path)?;
    if head.is_empty() {
        return Ok(());
    }
    // The schema is at the start of the file, or still in the log if the last process was killed early.
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let logged = if Path::new(&log).exists() { first_bytes(Path::new(&log))? } else { Vec::new() };
    let names_its_tables =
        |bytes: &[u8]| [&b"TABLE _config"[..], b"TABLE _tables"].iter().all(|name| contains(bytes, name));
    if head.starts_with(b"SQLite format 3\0") && (names_its_tables(&head) || names_its_tables(&logged)) {
        return Ok(());
    }
    bail!("`{}` exists and is not an audit database: name another file", path.display())
}

fn first_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    /// The schema of a handful of tables takes a few pages.
    const ENOUGH: u64 = 1024 * 1024;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(ENOUGH).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(bytes)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
