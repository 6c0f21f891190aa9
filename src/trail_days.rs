//! The records of a period, through the index `byDay`, and those of single keys behind a number. Reads only.
//!
//! A period is cut into slices of an hour. A few slices are read at once, of one day or of days side by side, each
//! by a task that holds at most two pages: one to be taken, one being read. They are handed out in their order, so
//! the reader gets the records in the order of `at`, and memory does not depend on how long the period is or how
//! full a day. A slice's task ends when nobody takes its pages any more.
//!
//! The index is eventually consistent; what it says about a target in doubt is read again from the key itself.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context, anyhow};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::query::QueryError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::StreamExt;
use futures::stream::{self, Stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use crate::domain::record::format_millis;
use crate::domain::report::{Entry, Follow, Stored};
use crate::domain::target::Guid;
use crate::trail::Trail;
use crate::trail::fault::explained;

/// Slices read at once: enough to hide the way to DynamoDB and back, few enough to keep pages out of memory.
const SLICES_AT_ONCE: usize = 4;
const SLICE: SignedDuration = SignedDuration::from_hours(1);
/// Records a page; DynamoDB ends a page at 1 MB anyway, which is about as many.
const PAGE: i32 = 500;
/// Keys read at once.
const KEYS_AT_ONCE: usize = 8;
/// Far more than any target gathers; a longer history is a fault, not a load.
const LONGEST_HISTORY: usize = 50_000;

/// One tenant's trail, to be read by day.
#[derive(Clone)]
pub struct TrailDays {
    client: Client,
    table: String,
    tenant: Guid,
}

/// The entries of a page, each by itself, or why there is none.
pub type ReadPage = anyhow::Result<Vec<anyhow::Result<Entry>>>;

/// A period being read.
pub struct Days {
    trail: TrailDays,
    /// Where the next slice that is not being read yet begins, and where the last one ends.
    next: Timestamp,
    to: Timestamp,
    slice: SignedDuration,
    reading: VecDeque<mpsc::Receiver<ReadPage>>,
}

impl TrailDays {
    pub fn new(client: Client, table: String, tenant: Guid) -> Self {
        Self { client, table, tenant }
    }

    /// The same trail, by day.
    pub async fn of(trail: &Trail) -> Self {
        Self::new(trail.client().await.clone(), trail.table().to_owned(), trail.tenant().clone())
    }

    /// Begins to read all records from `from` to before `to`.
    pub fn read(&self, from: Timestamp, to: Timestamp) -> Days {
        self.read_in(SLICE, from, to)
    }

    /// The same in slices of a day: few calls where most hours are empty, and a full day is read by one task.
    pub fn read_by_day(&self, from: Timestamp, to: Timestamp) -> Days {
        self.read_in(SignedDuration::from_hours(24), from, to)
    }

    fn read_in(&self, slice: SignedDuration, from: Timestamp, to: Timestamp) -> Days {
        Days { trail: self.clone(), next: from, to, slice, reading: VecDeque::new() }
    }

    /// The records of each key behind its number, in `seq` order, by strongly consistent reads, all pages. Keys
    /// come in any order, one at a time.
    pub fn follow(&self, keys: Vec<Follow>) -> impl Stream<Item = anyhow::Result<Vec<Entry>>> {
        stream::iter(keys).map(|key| self.behind(key)).buffer_unordered(KEYS_AT_ONCE)
    }

    /// Whether a record of today or tomorrow is dated `at` or later: someone's clock is ahead.
    pub async fn has_any_from(&self, at: Timestamp) -> anyhow::Result<bool> {
        for day in [at, at + SignedDuration::from_hours(24)] {
            let day = &format_millis(day)[..10];
            let page = self.day_query(day, &format_millis(at), "9999").limit(1).send().await;
            if !page.map_err(|error| self.explained(&error))?.items().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn behind(&self, key: Follow) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let query = self
            .query()
            .consistent_read(true)
            .key_condition_expression("#pk = :pk AND #seq > :seq")
            .expression_attribute_values(":pk", AttributeValue::S(key.pk.clone()))
            .expression_attribute_values(":seq", AttributeValue::N(key.after.to_string()));
        let mut start = None;
        loop {
            let page = query.clone().set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| self.explained(&error))?;
            for item in page.items.unwrap_or_default() {
                entries.push(entry_of(item)?);
            }
            anyhow::ensure!(
                entries.len() <= LONGEST_HISTORY,
                "the history of {} has over {LONGEST_HISTORY} records",
                key.pk
            );
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(entries);
            }
        }
    }

    /// Sends every page of one slice, until it is read or nobody listens.
    async fn read_slice(self, from: Timestamp, to: Timestamp, pages: mpsc::Sender<ReadPage>) {
        let (from, last) = (format_millis(from), format_millis(to - SignedDuration::from_millis(1)));
        let query = self.day_query(&from[..10], &from, &last);
        let mut start = None;
        loop {
            let page = match query.clone().set_exclusive_start_key(start).send().await {
                Ok(page) => page,
                Err(error) => {
                    // A receiver that is gone wants no error either.
                    let _ = pages.send(Err(self.explained(&error))).await;
                    return;
                }
            };
            start = page.last_evaluated_key;
            let entries = page.items.unwrap_or_default().into_iter().map(entry_of).collect();
            if pages.send(Ok(entries)).await.is_err() || start.is_none() {
                return;
            }
        }
    }

    fn day_query(&self, day: &str, from: &str, last: &str) -> QueryFluentBuilder {
        self.query()
            .index_name("byDay")
            .limit(PAGE)
            .key_condition_expression("#day = :day AND #at BETWEEN :from AND :last")
            .expression_attribute_names("#day", "tenantDay")
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":day", AttributeValue::S(format!("{}#{day}", self.tenant)))
            .expression_attribute_values(":from", AttributeValue::S(from.to_owned()))
            .expression_attribute_values(":last", AttributeValue::S(last.to_owned()))
    }

    fn query(&self) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .projection_expression("#pk, #seq, #prev, #hash, #record")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_names("#prev", "prev")
            .expression_attribute_names("#hash", "hash")
            .expression_attribute_names("#record", "record")
    }

    fn explained(&self, error: &SdkError<QueryError>) -> anyhow::Error {
        explained(error, &self.table)
    }
}

impl Days {
    /// The next page; `None` when the period is read. Pages come in the order of `at`. One entry that cannot be
    /// read is an error of the whole page.
    pub async fn next(&mut self) -> Option<anyhow::Result<Vec<Entry>>> {
        Some(self.next_each().await?.and_then(|entries| entries.into_iter().collect()))
    }

    /// As [`Days::next`], but an entry that cannot be read hides no other.
    pub async fn next_each(&mut self) -> Option<ReadPage> {
        loop {
            while self.reading.len() < SLICES_AT_ONCE && self.next < self.to {
                self.begin_slice();
            }
            let page = self.reading.front_mut()?.recv().await;
            if page.is_some() {
                return page;
            }
            self.reading.pop_front();
        }
    }

    /// Up to where records were handed out, for a progress display.
    pub fn position(&self) -> Timestamp {
        let ahead = self.slice * i32::try_from(self.reading.len()).unwrap_or(i32::MAX);
        self.next.checked_sub(ahead).unwrap_or(self.next)
    }

    fn begin_slice(&mut self) {
        // Slices begin at full hours or days, so none lies in two days.
        let slice = self.slice.as_secs();
        let into = self.next.as_second().rem_euclid(slice);
        let end = Timestamp::from_second(self.next.as_second() - into + slice).unwrap_or(self.to);
        let end = end.min(self.to);
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.trail.clone().read_slice(self.next, end, sender));
        self.reading.push_back(receiver);
        self.next = end;
    }
}

fn entry_of(mut item: HashMap<String, AttributeValue>) -> anyhow::Result<Entry> {
    let pk = take_text(&mut item, "pk")?;
    let seq = match item.get("seq") {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        _ => None,
    };
    let seq = seq.with_context(|| format!("a record of {pk}: `seq` is not a whole number"))?;
    let of = |fault: anyhow::Error| fault.context(format!("record {seq} of {pk}"));
    let stored = Stored {
        prev: take_text(&mut item, "prev").map_err(of)?,
        hash: take_text(&mut item, "hash").map_err(of)?,
        record: take_text(&mut item, "record").map_err(of)?,
        pk: pk.clone(),
        seq,
    };
    Entry::read(stored).with_context(|| format!("record {seq} of {pk}"))
}

fn take_text(item: &mut HashMap<String, AttributeValue>, name: &str) -> anyhow::Result<String> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        Some(_) => Err(anyhow!("`{name}` is not a text")),
        None => Err(anyhow!("`{name}` is absent")),
    }
}
