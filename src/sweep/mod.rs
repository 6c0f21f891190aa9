//! The sweep: finds what is to be repaired or was left open, and sends it to the queue. Calls no reprocess, and
//! holds no rule: what is sent is decided in `domain::sweep`.
//!
//! In order: Graph's lists and the days of the trail, side by side; then the histories of what they name, by
//! consistent reads; then the messages, most urgent first. Each has a share of the time; whatever it was too short
//! for is said in the summary, and the next sweep finds it again.

mod lists;
mod plan;
mod send;
mod summary;

use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::aws::Aws;
use crate::clock::{Clock, Deadline};
use crate::config::SweepConfig;
use crate::domain::pace::{DAY, Policy};
use crate::domain::record::By;
use crate::domain::sweep::Candidates;
use crate::domain::target::{ApiVersion, Guid, Target};
use crate::graph::GraphClient;
use crate::queue::Queue;
use crate::telemetry;
use crate::trail::Trail;
use crate::trail_days::TrailDays;
use crate::worker::Invocation;

pub use summary::{Action, NotSent, Row, Summary};

use lists::Listed;
use plan::Plan;

/// What this process has for sweeping.
pub struct Sweeper {
    pub graph: GraphClient,
    trail: Trail,
    queue: Queue,
    aws: Aws,
    clock: Clock,
    policy: Policy,
    api_version: ApiVersion,
    packages: Vec<Guid>,
    limit: usize,
    call_timeout: Duration,
    function: String,
}

/// Until when each part of a sweep may begin something.
#[derive(Clone, Copy, Debug)]
struct Budget {
    search: Instant,
    judge: Instant,
    /// Begin a batch, and append its records.
    append: Instant,
    /// Send what was appended.
    send: Instant,
}

impl Budget {
    /// Three fifths of the time for finding, one for the histories, and a little left over at the end.
    fn of(left: Duration) -> Self {
        let now = Instant::now();
        Self {
            search: now + left.mul_f64(0.6),
            judge: now + left.mul_f64(0.8),
            append: now + left.mul_f64(0.9),
            send: now + left.mul_f64(0.95),
        }
    }
}

/// What the days of the trail showed.
#[derive(Debug, Default)]
struct Silent {
    targets: Vec<Target>,
    unreadable: Vec<String>,
    /// Why not all days were read, if they were not.
    fault: Option<String>,
    answered: bool,
}

/// What an invocation asks for; `true` is a dry run.
fn asks_for_dry_run(payload: &str) -> anyhow::Result<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Orders {
        #[serde(default)]
        dry_run: bool,
    }
    const EXPECTED: &str = "expected {}, {\"dryRun\": true} or a scheduled event of EventBridge";
    let value = serde_json::from_str::<Value>(payload).context(EXPECTED)?;
    if value.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event") {
        return Ok(false);
    }
    ensure!(value.is_object(), EXPECTED);
    // From the text: as a value, a doubled field would be gone.
    Ok(serde_json::from_str::<Orders>(payload).context(EXPECTED)?.dry_run)
}

impl Sweeper {
    /// Connects to nothing yet.
    pub fn new(config: SweepConfig, aws: Aws, clock: Clock) -> Self {
        let graph = config.graph;
        Self {
            trail: Trail::new(aws.clone(), config.audit_table, graph.tenant_id.clone()),
            queue: Queue::new(aws.clone(), config.queue_url),
            graph: GraphClient::new(graph, config.call_timeout, aws.clone()),
            aws,
            clock,
            policy: config.policy,
            api_version: config.api_version,
            packages: config.packages,
            limit: config.limit,
            call_timeout: config.call_timeout,
            function: config.function,
        }
    }

    /// The answer to one invocation. `Err`: the payload is none that it knows, or the trail could not be read at all (no
    /// right, no table), without which nothing may be sent. Everything less is a summary with `complete` false.
    pub async fn answer(&self, payload: &str, invocation: &Invocation) -> anyhow::Result<Value> {
        let dry_run = asks_for_dry_run(payload)?;
        Ok(serde_json::to_value(self.sweep(dry_run, invocation).await?)?)
    }

    /// One sweep. A dry run records and sends nothing. Two at once send nothing twice but, at worst, a failure whose
    /// request neither had in the trail yet: its id makes that one request.
    pub async fn sweep(&self, dry_run: bool, invocation: &Invocation) -> anyhow::Result<Summary> {
        let swept = self.try_sweep(dry_run, invocation).await;
        if dry_run {
            return swept;
        }
        match &swept {
            Ok(summary) => {
                telemetry::sweep_found(summary.found_in_time() + summary.undriven);
                telemetry::sweep_sent(summary.sent);
                summary.why.iter().for_each(|why| telemetry::sweep_incomplete(why));
            }
            Err(error) => telemetry::sweep_incomplete(&format!("{error:#}")),
        }
        swept
    }

    async fn try_sweep(&self, dry_run: bool, invocation: &Invocation) -> anyhow::Result<Summary> {
        let now = self.clock.now();
        let deadline = Deadline { at: invocation.deadline, clock: self.clock.clone() };
        let budget = Budget::of(deadline.left_less(Duration::ZERO));
        // In boxes: what is awaited here is so deep that the compiler would not follow it.
        let (lists, days) =
            (Box::pin(self.list_all(now, budget.search)), Box::pin(self.silent(now, budget.search)));
        let (listed, silent) = tokio::join!(lists, days);
        let mut plan = Box::pin(self.plan(listed, silent, now, budget.judge)).await?;
        let room = self.room(&mut plan, budget.append).await;
        if dry_run {
            return Ok(plan.into_summary(room, self.policy.window));
        }
        Ok(Box::pin(self.send(plan, room, &self.signature(invocation), budget)).await)
    }

    /// How many messages may be sent: `SWEEP_LIMIT` less what nobody has taken from the queue yet. A failure leaves a
    /// record only when a worker takes its message, so that without this a queue that nobody reads would get the same
    /// failures again from every sweep.
    async fn room(&self, plan: &mut Plan, until: Instant) -> usize {
        let until = until.min(Instant::now() + self.call_timeout);
        let waiting = timeout_at(until, self.queue.waiting()).await;
        match waiting.unwrap_or_else(|_| Err(anyhow!("no answer in time"))) {
            Ok(waiting) => {
                plan.waiting = Some(waiting);
                self.limit.saturating_sub(waiting)
            }
            Err(error) => {
                plan.faults.push(format!("how many messages wait in the queue is not known: {error:#}"));
                self.limit
            }
        }
    }

    /// Targets that the days of the trail show silent. A repair lives no longer than `WINDOW`, a day and
    /// `GIVE_UP_AFTER` without a record; what is older than all of them, nobody has swept since.
    ///
    /// What the days named before time or the table failed is kept.
    async fn silent(&self, now: Timestamp, until: Instant) -> Silent {
        let client = aws_sdk_dynamodb::Client::new(self.aws.config().await);
        let days = TrailDays::new(client, self.trail.table().to_owned(), self.trail.tenant().clone());
        let period = self.policy.window.saturating_add(DAY).saturating_add(self.policy.give_up_after);
        let mut days = days.read_by_day(now.saturating_sub(period).unwrap_or(Timestamp::MIN), now);
        let (mut candidates, mut found) = (Candidates::default(), Silent::default());
        let fault = loop {
            let page = match timeout_at(until, days.next_each()).await {
                Err(_) => break Some(anyhow!("the trail's days were too many for the time")),
                Ok(None) => break None,
                Ok(Some(Err(error))) => {
                    telemetry::sweep_without_table(&error);
                    break Some(error);
                }
                Ok(Some(Ok(page))) => page,
            };
            found.answered = true;
            for entry in page {
                match entry {
                    Ok(entry) => entry.record().into_iter().for_each(|record| candidates.add(record)),
                    Err(error) => found.unreadable.push(format!("{error:#}")),
                }
            }
        };
        found.answered |= fault.is_none();
        found.fault = fault.map(|error| format!("the search for undriven repairs: {error:#}"));
        found.targets = candidates.silent(now);
        found
    }

    fn signature(&self, invocation: &Invocation) -> By {
        By {
            function: self.function.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            invocation_id: invocation.id.clone(),
            message_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_empty_a_dry_run_or_a_schedules_and_nothing_else() {
        let event = r#"{"source":"aws.scheduler","detail-type":"Scheduled Event","detail":{}}"#;
        for (payload, dry_run) in
            [("{}", false), ("{\"dryRun\":true}", true), ("{\"dryRun\":false}", false), (event, false)]
        {
            assert_eq!(asks_for_dry_run(payload).unwrap(), dry_run, "{payload}");
        }
        for payload in ["", "null", "[]", "[true]", "{\"dryrun\":true}", "{\"dryRun\":1}", "{\"Records\":[]}"]
        {
            let error = format!("{:#}", asks_for_dry_run(payload).unwrap_err());
            assert!(error.starts_with("expected {}, {\"dryRun\": true} or a scheduled event"), "{error}");
        }
    }
}
