//! Reading for commands: every chain of the table, or one, by strongly consistent reads and page by page. Checks
//! nothing and keeps nothing.
//!
//! A walk is one consistent Scan, in parallel segments: each item is read once. DynamoDB keeps the items of one
//! key together and in order, but does not promise that a Scan returns them so. Therefore what a walk calls a
//! [`Run`] is what stood together; whoever finds a run odd reads the chain itself with [`Trail::chain`].

use std::collections::HashMap;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::sync::mpsc;

use super::{Trail, fault};
use crate::domain::chain::Stored;
use crate::domain::copied::Copied;
use crate::domain::overview::Overview;
use crate::domain::target::Target;

/// Under a key that begins so lies what `regrant doctor --insert` left: an item without a record, of no tenant.
pub const PROBE: &str = "doctor#";
/// Records a page. DynamoDB ends a page at 1 MB, which is about as many; the embedded one would, without a limit, read
/// all that is left of the table for each page.
const PAGE: i32 = 1000;

type Attributes = HashMap<String, AttributeValue>;

/// One item of the table with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub key: String,
    pub stored: Stored,
}

/// Consecutive items of one key, folded into `folded` and dropped.
#[derive(Debug)]
pub struct Run<T> {
    pub key: String,
    /// The number of its first item, as the table gives it.
    pub first: String,
    /// True if the numbers were 1, 2, 3 …
    pub regular: bool,
    pub folded: T,
    last: u64,
}

/// What a walk passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Items of this tenant.
    pub items: u64,
    /// Items under keys of other tenants: neither read nor counted otherwise.
    pub foreign: u64,
    /// Items under keys that begin with [`PROBE`]: not records.
    pub probes: u64,
}

impl Trail {
    /// Visits every item of the tenant once: `start` opens a run, `add` takes its items, `end` the whole run.
    ///
    /// Memory holds a few pages a segment and one fold a segment. Records appended meanwhile may be seen or not.
    pub async fn walk<T>(
        &self,
        segments: usize,
        start: impl Fn(&str) -> T,
        mut add: impl FnMut(&mut T, Stored) -> anyhow::Result<()>,
        mut end: impl AsyncFnMut(Run<T>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Walked> {
        let mut pages = self.segments(segments).await;
        let mut open = Vec::new();
        open.resize_with(segments, || None::<Run<T>>);
        let mut walked = Walked::default();
        let ours = format!("{}#", self.tenant);
        while let Some((segment, page)) = pages.recv().await {
            for attributes in page? {
                let Item { key, stored } = self.item(attributes)?;
                if key.starts_with(PROBE) {
                    walked.probes += 1;
                    continue;
                }
                if !key.starts_with(&ours) {
                    walked.foreign += 1;
                    continue;
                }
                walked.items += 1;
                let run = &mut open[segment];
                if run.as_ref().is_none_or(|run| run.key != key)
                    && let Some(done) = run.replace(Run::new(&key, &stored, start(&key)))
                {
                    end(done).await?;
                }
                let run = run.as_mut().context("a run was just opened")?;
                run.note(&stored);
                add(&mut run.folded, stored)?;
            }
        }
        for run in open.into_iter().flatten() {
            end(run).await?;
        }
        Ok(walked)
    }

    /// The pages of a consistent Scan as they come, read ahead by one page a segment.
    async fn segments(&self, segments: usize) -> mpsc::Receiver<(usize, anyhow::Result<Vec<Attributes>>)> {
        let (sender, receiver) = mpsc::channel(segments.max(1));
        for segment in 0..segments.max(1) {
            let (client, table, sender) = (self.client().await.clone(), self.table.clone(), sender.clone());
            tokio::spawn(async move {
                let mut start = None;
                loop {
                    let page = scan(&client, &table, segment, segments, start.take()).await;
                    let (items, next) = match page {
                        Ok((items, next)) => (Ok(items), next),
                        Err(error) => (Err(error), None),
                    };
                    start = next;
                    // Whoever walked has gone: nobody wants the rest.
                    if sender.send((segment, items)).await.is_err() || start.is_none() {
                        break;
                    }
                }
            });
        }
        receiver
    }

    /// Visits every target of the tenant once, folded whole; rejected messages are left out.
    pub async fn overviews(
        &self,
        segments: usize,
        progress: impl Fn(),
        mut each: impl FnMut(Overview) -> anyhow::Result<()>,
    ) -> anyhow::Result<Walked> {
        let start = |key: &str| Target::of_key(&self.tenant, key).map(Overview::new);
        let add = |overview: &mut Option<Overview>, stored: Stored| {
            progress();
            if let Some(overview) = overview {
                add_to(overview, &stored);
            }
            Ok(())
        };
        let end = async |run: Run<Option<Overview>>| {
            let Some(overview) = run.folded else { return Ok(()) };
            if run.regular {
                return each(overview);
            }
            let (mut overview, mut first) = (Overview::new(overview.target), None);
            self.chain(&run.key, |stored| {
                first.get_or_insert_with(|| stored.seq.clone());
                add_to(&mut overview, &stored);
                Ok(())
            })
            .await?;
            // Otherwise the walk meets the chain's first item elsewhere.
            if first == Some(run.first) { each(overview) } else { Ok(()) }
        };
        self.walk(segments, start, add, end).await
    }

    /// All items under `key`, in order, a page at a time to `add`. Returns how many there were.
    pub async fn chain(
        &self,
        key: &str,
        mut add: impl FnMut(Stored) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let (mut start, mut items) = (None, 0);
        loop {
            let page = self
                .client()
                .await
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("#pk = :pk")
                .expression_attribute_names("#pk", "pk")
                .expression_attribute_values(":pk", AttributeValue::S(key.to_owned()))
                .limit(PAGE)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| fault::explained(&error, &self.table))
                .with_context(|| format!("reading the chain of {key}"))?;
            for attributes in page.items.unwrap_or_default() {
                items += 1;
                add(self.item(attributes)?.stored)?;
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    pub(super) fn item(&self, mut attributes: Attributes) -> anyhow::Result<Item> {
        let seq = match attributes.remove("seq") {
            Some(AttributeValue::N(seq)) => Some(seq),
            _ => None,
        };
        let mut text = |name: &str| match attributes.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        let (Some(key), Some(seq)) = (text("pk"), seq) else {
            anyhow::bail!(
                "table `{}` is not an audit table of regrant: an item has no `pk` or no `seq`",
                self.table
            );
        };
        let stored = Stored {
            seq,
            prev: text("prev"),
            hash: text("hash"),
            record: text("record"),
            copied: Copied {
                tenant_day: text("tenantDay"),
                at: text("at"),
                kind: text("kind"),
                request_id: text("requestId"),
                outcome: text("outcome"),
                verdict: text("verdict"),
            },
        };
        Ok(Item { key, stored })
    }
}

fn add_to(overview: &mut Overview, stored: &Stored) {
    let seq = stored.number().unwrap_or_default();
    overview.add(seq, stored.record.as_deref().unwrap_or_default());
}

async fn scan(
    client: &Client,
    table: &str,
    segment: usize,
    segments: usize,
    start: Option<Attributes>,
) -> anyhow::Result<(Vec<Attributes>, Option<Attributes>)> {
    let scan = client.scan().table_name(table).consistent_read(true).limit(PAGE);
    let mut scan = scan.set_exclusive_start_key(start);
    if segments > 1 {
        scan = scan.segment(i32::try_from(segment)?).total_segments(i32::try_from(segments)?);
    }
    let page = scan.send().await.map_err(|error| fault::explained(&error, table))?;
    Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
}

impl<T> Run<T> {
    fn new(key: &str, first: &Stored, folded: T) -> Self {
        Self { key: key.to_owned(), first: first.seq.clone(), regular: true, folded, last: 0 }
    }

    fn note(&mut self, stored: &Stored) {
        self.regular &= stored.number() == Some(self.last + 1);
        self.last += 1;
    }
}
