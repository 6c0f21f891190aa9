//! The audit trail in DynamoDB: appends records and reads histories. Can neither change nor delete one.
//!
//! A record is acknowledged only when it is durable. Its sequence number is its place in the order and the
//! lock: two writers of the same number cannot both succeed. A crash leaves a whole record or none.

pub mod chains;
pub(crate) mod fault;
pub mod heads;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, anyhow};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::sync::OnceCell;

use crate::aws::{Aws, describe};
use crate::domain::chain::{Head, Link, link_hash};
use crate::domain::record::{Record, format_millis, stored_name};
use crate::domain::target::Guid;

/// Far more than any target gathers (hourly attempts for years); a longer history is a fault, not a load.
const LONGEST_HISTORY: usize = 50_000;

/// How long a command waits for one history; a function has a deadline of its own.
pub const READING_PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries of one append; doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The table, as one tenant's trail.
pub struct Trail {
    aws: Aws,
    client: OnceCell<Client>,
    table: String,
    tenant: Guid,
}

/// All records of one key, in order, and where the chain ends.
#[derive(Debug)]
pub struct History {
    pub head: Head,
    pub records: Vec<Record>,
}

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The table did not answer, or refused: it will not do better for another key.
    #[error("the history could not be read")]
    Store(#[source] anyhow::Error),
    /// A record of this key is not one that this version reads; other keys have nothing to do with it.
    #[error("the history is not readable")]
    Unreadable(#[source] anyhow::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another record has this number: read the history and decide again.
    #[error("another writer appended first")]
    Conflict,
    /// Not known to be stored; if it was, the same append later succeeds again.
    #[error("the record could not be stored")]
    Store(#[source] anyhow::Error),
}

impl Trail {
    /// Connects to nothing yet.
    pub fn new(aws: Aws, table: String, tenant: Guid) -> Self {
        Self { aws, client: OnceCell::new(), table, tenant }
    }

    pub fn tenant(&self) -> &Guid {
        &self.tenant
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    /// Everything stored under `key`, by strongly consistent reads, all pages, within `patience`.
    pub async fn history(&self, key: String, patience: Duration) -> Result<History, HistoryError> {
        let late = |_| HistoryError::Store(anyhow!("no answer in time"));
        let links = tokio::time::timeout(patience, self.links(&key))
            .await
            .unwrap_or_else(|elapsed| Err(late(elapsed)))?;
        let read = |link: &Link| {
            Record::from_json(&link.record).with_context(|| format!("record {} of {key}", link.seq))
        };
        let records =
            links.iter().map(read).collect::<anyhow::Result<_>>().map_err(HistoryError::Unreadable)?;
        let head =
            links.last().map_or_else(Head::genesis, |last| Head { seq: last.seq, hash: last.hash.clone() });
        Ok(History { head, records })
    }

    async fn links(&self, key: &str) -> Result<Vec<Link>, HistoryError> {
        let mut links = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client()
                .await
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("#pk = :pk")
                .projection_expression("#seq, #prev, #hash, #record")
                .expression_attribute_names("#pk", "pk")
                .expression_attribute_names("#seq", "seq")
                .expression_attribute_names("#prev", "prev")
                .expression_attribute_names("#hash", "hash")
                .expression_attribute_names("#record", "record")
                .expression_attribute_values(":pk", AttributeValue::S(key.to_owned()))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| HistoryError::Store(fault::explained(&error, &self.table)))?;
            for item in page.items() {
                let link = link_of(item).with_context(|| format!("history of {key}"));
                links.push(link.map_err(HistoryError::Unreadable)?);
            }
            if links.len() > LONGEST_HISTORY {
                let error = anyhow!("the history of {key} has over {LONGEST_HISTORY} records");
                return Err(HistoryError::Unreadable(error));
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(links);
            }
        }
    }

    /// Appends `record` behind `head` and returns the new head.
    ///
    /// Throttling, refusals and lost answers are tried again, unchanged to the byte, for as long as `patience`
    /// lasts. Whether a duplicate is our own earlier try is told by its hash.
    pub async fn append(
        &self,
        key: &str,
        head: &Head,
        record: &Record,
        patience: Duration,
    ) -> Result<Head, AppendError> {
        let entry = Entry::new(key, &self.tenant, head, record);
        let mut last_error = None;
        let tries = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.insert(&entry).await {
                    Ok(Insert::Stored) => return Ok(entry.head()),
                    Ok(Insert::Taken) => return Err(AppendError::Conflict),
                    Err(error) => last_error = Some(error),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        let done = tokio::time::timeout(patience, tries).await;
        done.unwrap_or_else(|_| {
            let error = last_error.unwrap_or_else(|| anyhow!("the time left was too short"));
            Err(AppendError::Store(error.context(format!("appending record {} of {key}", entry.seq))))
        })
    }

    async fn insert(&self, entry: &Entry) -> anyhow::Result<Insert> {
        let (statement, parameters) = entry.insert_into(&self.table);
        let sent = self
            .client()
            .await
            .execute_statement()
            .statement(statement)
            .set_parameters(Some(parameters))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Insert::Stored),
            // AWS says the first, Amazon's own local DynamoDB the second.
            Err(error) if matches!(error.code(), Some("DuplicateItemException" | "DuplicateItem")) => {
                let stored = self.hash_at(&entry.key, entry.seq).await?;
                Ok(if stored == entry.hash { Insert::Stored } else { Insert::Taken })
            }
            Err(error) => Err(anyhow!("DynamoDB: {}", describe(&error))),
        }
    }

    /// The hash of the one record that is there. A query, not a get: the role needs no further right.
    async fn hash_at(&self, key: &str, seq: u64) -> anyhow::Result<String> {
        let page = self
            .client()
            .await
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("#pk = :pk AND #seq = :seq")
            .projection_expression("#hash")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_names("#hash", "hash")
            .expression_attribute_values(":pk", AttributeValue::S(key.to_owned()))
            .expression_attribute_values(":seq", AttributeValue::N(seq.to_string()))
            .send()
            .await
            .map_err(|error| anyhow!("DynamoDB: {}", describe(&error)))?;
        let item = page.items().first().context("a duplicate was reported, but no record is there")?;
        Ok(text(item, "hash")?.to_owned())
    }

    pub(crate) async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.aws.config().await) }).await
    }
}

enum Insert {
    Stored,
    /// Another record has this number.
    Taken,
}

/// One item, made once: every try sends the same bytes.
struct Entry {
    key: String,
    seq: u64,
    hash: String,
    attributes: Vec<(&'static str, AttributeValue)>,
}

impl Entry {
    fn new(key: &str, tenant: &Guid, head: &Head, record: &Record) -> Self {
        let json = record.to_json();
        let hash = link_hash(key, record.seq, &head.hash, &json);
        let at = format_millis(record.at);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut attributes = vec![
            ("pk", text(key)),
            ("seq", AttributeValue::N(record.seq.to_string())),
            ("tenantDay", text(&format!("{tenant}#{}", &at[..10]))),
            ("at", text(&at)),
            ("kind", text(record.fact.kind())),
            ("requestId", text(record.request_id.as_str())),
            ("prev", text(&head.hash)),
            ("hash", text(&hash)),
            ("record", text(&json)),
        ];
        if let Some(outcome) = record.fact.outcome() {
            attributes.push(("outcome", text(&stored_name(&outcome))));
        }
        if let Some(verdict) = record.fact.verdict() {
            attributes.push(("verdict", text(&stored_name(&verdict))));
        }
        Self { key: key.to_owned(), seq: record.seq, hash, attributes }
    }

    fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }

    fn insert_into(&self, table: &str) -> (String, Vec<AttributeValue>) {
        let fields = self.attributes.iter().map(|(name, _)| format!("'{name}': ?")).collect::<Vec<_>>();
        let statement = format!("INSERT INTO \"{table}\" VALUE {{{}}}", fields.join(", "));
        (statement, self.attributes.iter().map(|(_, value)| value.clone()).collect())
    }
}

fn link_of(item: &HashMap<String, AttributeValue>) -> anyhow::Result<Link> {
    let seq = match item.get("seq") {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        _ => None,
    };
    Ok(Link {
        seq: seq.context("`seq` is not a whole number")?,
        prev: text(item, "prev")?.to_owned(),
        hash: text(item, "hash")?.to_owned(),
        record: text(item, "record")?.to_owned(),
    })
}

fn text<'a>(item: &'a HashMap<String, AttributeValue>, name: &str) -> anyhow::Result<&'a str> {
    let value = item.get(name).with_context(|| format!("`{name}` is absent"))?;
    value.as_s().map(String::as_str).map_err(|_| anyhow!("`{name}` is not a text"))
}
