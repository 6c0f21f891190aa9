//! What an operator sees: log lines with fixed field names, and metrics for CloudWatch. Knows no rule.
//!
//! Fields: `target.id`, `request.id`, `attempt`, `outcome`, `graph.status`, `graph.request_id`, `duration_ms`,
//! `delay_secs`. Never tokens, names, addresses or bodies.

use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use metrics::{counter, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::domain::record::{AttemptEnded, Outcome, stored_name};
use crate::domain::reply::Look;
use crate::domain::request::Request;

/// The metrics' namespace in CloudWatch.
const NAMESPACE: &str = "regrant";

/// Logs as JSON and metrics in CloudWatch's embedded metric format, both on standard output, where Lambda reads.
pub struct Telemetry {
    metrics: &'static Collector,
}

impl Telemetry {
    /// Once a process. `log_level` is for regrant's own lines, `info` if absent or unknown. Libraries are held to
    /// warnings, whatever it says: some of them trace the requests they sign.
    pub fn start(function: &str, log_level: Option<&str>) -> anyhow::Result<Self> {
        let level = log_level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
        let filter = Targets::new().with_default(LevelFilter::WARN).with_target("regrant", level);
        let logs = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
        let logs = logs.with_span_list(false).with_filter(filter);
        tracing_subscriber::registry().with(logs).try_init()?;
        let builder =
            Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("function", function.to_owned());
        let metrics = builder.init().map_err(|error| anyhow!("metrics: {error}"))?;
        count("ColdStarts");
        Ok(Self { metrics })
    }

    /// At the end of each invocation: a process may be frozen or ended after it.
    pub fn flush(&self) {
        // A log line that cannot be written has nobody to be told to.
        let _ = self.metrics.flush(std::io::stdout());
    }
}

/// One line and its metrics for each attempt.
pub fn attempt_ended(request: &Request, ended: &AttemptEnded, misconfigured: bool) {
    let outcome = stored_name(&ended.outcome);
    let duration_ms = ended.duration_ms.unwrap_or_default();
    info!(
        target.kind = request.target.kind.as_str(),
        target.id = %request.target.id,
        request.id = %request.request_id,
        attempt = ended.attempt,
        outcome,
        graph.status = ended.http_status,
        graph.error_code = ended.error_code.as_deref(),
        graph.request_id = ended.graph_request_id.as_deref(),
        client_request_id = %ended.client_request_id,
        duration_ms,
        "attempt ended"
    );
    count("Attempts");
    count(match ended.outcome {
        Outcome::Accepted => "AttemptsAccepted",
        Outcome::Rejected => "AttemptsRejected",
        Outcome::Throttled => "AttemptsThrottled",
        Outcome::Unavailable => "AttemptsUnavailable",
        Outcome::Unknown => "AttemptsInDoubt",
    });
    if ended.http_status.is_some() {
        latency(Duration::from_millis(duration_ms));
    }
    if misconfigured {
        refused(request, "Graph refused the token or its rights");
    }
}

/// An attempt that another process left open: nobody knows whether Graph got it.
pub fn attempt_lost(request: &Request, ended: &AttemptEnded) {
    count("AttemptsInDoubt");
    warn!(target.id = %request.target.id, request.id = %request.request_id, attempt = ended.attempt, "the caller of an attempt never came back");
}

/// A look that saw nothing leaves no record, so it leaves a line.
pub fn looked(request: &Request, look: &Look, duration: Duration) {
    latency(duration);
    let (target, id) = (&request.target.id, &request.request_id);
    match look {
        Look::Seen(sight) => debug!(target.id = %target, request.id = %id, state = sight.state, "looked"),
        Look::Missing => debug!(target.id = %target, request.id = %id, "looked: no such object"),
        Look::NotTried => {}
        Look::Throttled { .. } => {
            count("LooksThrottled");
            info!(target.id = %target, request.id = %id, "the look was throttled");
        }
        Look::Unavailable { reason, misconfigured, .. } => {
            count("LooksUnavailable");
            warn!(target.id = %target, request.id = %id, reason, "the look failed");
            if *misconfigured {
                refused(request, reason);
            }
        }
    }
}

/// An administrator must act: the alarm that says so hangs on this metric.
fn refused(request: &Request, reason: &str) {
    count("AccessRefused");
    error!(target.id = %request.target.id, request.id = %request.request_id, reason, "check the application's credential, permission or role");
}

/// `why` is the token error's own text, which names no secret.
pub fn no_token(why: &str) {
    count("NoToken");
    error!("{why}");
}

/// One history that this version cannot read; only its own target waits.
pub fn unreadable(request_id: &str, error: &anyhow::Error) {
    count("UnreadableHistories");
    error!(request.id = request_id, "{error:#}");
}

pub fn no_table(request_id: &str, error: &anyhow::Error) {
    count("NoTable");
    error!(request.id = request_id, "the audit table: {error:#}");
}

pub fn message_rejected(message_id: &str, error: &str) {
    count("MessagesRejected");
    warn!(message.id = message_id, error, "not a request");
}

/// A repair settled, in this process.
pub fn settled(request: &Request) {
    count("Settled");
    debug!(target.id = %request.target.id, request.id = %request.request_id, "settled");
}

/// Somebody may want to repair it by hand while Graph still takes it.
pub fn window_closing(request: &Request, window_ends: Timestamp) {
    count("WindowClosing");
    warn!(target.id = %request.target.id, request.id = %request.request_id, window_ends = %window_ends, "not settled, and its window ends soon");
}

/// `kind` is the event's `detail-type`. Nothing else comes of it.
pub fn event_failed(request: &Request, kind: &str, error: &anyhow::Error) {
    count("EventsFailed");
    warn!(target.id = %request.target.id, request.id = %request.request_id, kind, "an event was not put: {error:#}");
}

pub fn received_often(request: &Request, receive_count: u32) {
    count("ReceivedOften");
    warn!(target.id = %request.target.id, request.id = %request.request_id, receive_count, "received often, and nothing was recorded for long");
}

/// A message stays in the queue.
pub fn put_off(message_id: &str, delay: Duration) {
    count("Deferrals");
    debug!(message.id = message_id, delay_secs = delay.as_secs(), "put off");
}

/// Dropped at the deadline: its lease protects the target until the message comes back.
pub fn out_of_time(message_id: &str) {
    count("OutOfTime");
    warn!(message.id = message_id, "ended by the deadline: the message stays in the queue");
}

pub fn panicked(message_id: &str) {
    count("Panics");
    error!(message.id = message_id, "a fault in regrant: the message stays in the queue");
}

/// What a sweep found: failures that Graph lists and would still take, and repairs that no message drives.
pub fn sweep_found(number: usize) {
    counter!("SweepFound").increment(number as u64);
}

pub fn sweep_sent(number: usize) {
    counter!("SweepSent").increment(number as u64);
}

/// A sweep could not read, or not send, all that there is.
pub fn sweep_incomplete(why: &str) {
    count("SweepsIncomplete");
    error!(why, "the sweep is incomplete");
}

/// The table failed a sweep.
pub fn sweep_without_table(error: &anyhow::Error) {
    count("NoTable");
    error!("the audit table: {error:#}");
}

/// Graph refuses a list: an administrator must act.
pub fn list_refused(reason: &str) {
    count("AccessRefused");
    error!(reason, "check the application's permission or role");
}

fn count(name: &'static str) {
    counter!(name).increment(1);
}

fn latency(duration: Duration) {
    histogram!("GraphLatency").record(duration.as_secs_f64() * 1000.0);
}
