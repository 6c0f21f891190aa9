//! `regrant sweep`: the sweep in this process, or the deployed function, and what it says in words.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use comfy_table::{Table, presets};
use jiff::{SignedDuration, Timestamp};
use regrant::aws::Aws;
use regrant::clock::Clock;
use regrant::config::SweepConfig;
use regrant::domain::pace::since;
use regrant::sweep::{Action, Row, Summary, Sweeper};
use regrant::worker::Invocation;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::function::invoke;
use crate::output::{Out, counted};
use crate::run::refuse_skew;
use crate::submit::list;
use crate::words::{duration, instant, left, plain};
use crate::{Ended, Unusable, setting};

/// What a sweep in this process may take: as long as the function's.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Find failed deliveries and repairs that nothing drives any more, and send them to the queue
///
/// Reads Graph's lists of failed and partially delivered requests and the trail, leaves out what is under repair, was
/// asked for before, was given up, or is too old, and sends the rest, most urgent first, until as many messages as the
/// setting for its limit says wait in the queue. In this process with the sweep's settings, or with --function by the
/// deployed function. Refuses to run in this process when its clock is more than 30 s off Graph's.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant sweep --dry-run
  regrant sweep --dry-run --json | jq -r '.plan[].id'
  regrant sweep --function sweep

Exit codes:
  0  everything found was read, and what was due is in the queue (with --dry-run: could be sent)
  1  failed: the trail could not be read
  2  usage
  4  incomplete: not everything could be read or sent, and what was is named; try later")]
pub struct Arguments {
    /// Only say what would be sent; records and sends nothing.
    #[arg(long)]
    dry_run: bool,
    /// The deployed function to invoke.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// The summary as one JSON object instead of words.
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let payload = json!({ "dryRun": arguments.dry_run }).to_string();
    let answer = match &arguments.function {
        Some(function) => invoke(&Aws::patient().await, function, payload).await?,
        None => here(&payload).await?,
    };
    let summary = serde_json::from_value::<Summary>(answer.clone());
    let summary = summary.context("the answer is not the summary of a sweep")?;
    let mut out = Out::stdout();
    if arguments.json {
        out.line(answer)?;
    } else {
        tell(&summary, &mut out)?;
    }
    out.finish()?;
    let named = summary.not_sent.iter();
    let named = named.map(|not| format!("{} {}: not sent: {}", not.target.as_str(), not.id, plain(&not.why)));
    list(&named.collect::<Vec<_>>());
    list(&summary.unreadable.iter().map(|what| format!("unreadable: {}", plain(what))).collect::<Vec<_>>());
    summary.why.iter().for_each(|why| eprintln!("incomplete: {}", plain(why)));
    Ok(if summary.complete { Ended::Well } else { Ended::TryLater })
}

async fn here(payload: &str) -> anyhow::Result<Value> {
    let mut config = SweepConfig::read_for_operator(setting).map_err(Unusable::new)?;
    if setting("AWS_LAMBDA_FUNCTION_NAME").is_none() {
        config.function = "regrant".to_owned();
    }
    let (clock, call_timeout) = (Clock::default(), config.call_timeout);
    let sweeper = Sweeper::new(config, Aws::patient().await, clock.clone());
    if let Some(theirs) = sweeper.graph.server_time(call_timeout).await {
        refuse_skew(clock.now(), theirs)?;
    }
    let deadline = clock.now().saturating_add(SignedDuration::try_from(TIMEOUT)?)?;
    sweeper.answer(payload, &Invocation { id: Uuid::new_v4().to_string(), deadline }).await
}

fn tell(summary: &Summary, out: &mut Out) -> anyhow::Result<()> {
    let now = Clock::default().now();
    if let Some(rows) = summary.plan.as_ref().filter(|rows| !rows.is_empty()) {
        out.line(table(rows, now))?;
    }
    let left_out = summary.left_out.iter().map(|(why, count)| format!("{} {count}", words(why)));
    let left_out = left_out.collect::<Vec<_>>().join(", ");
    let sent = match summary.would_send {
        Some(count) => format!("would send {count}"),
        None => format!("sent {}", summary.sent),
    };
    let mut line = format!(
        "{sent}: found {} and {}",
        counted(summary.found as u64, "failed request"),
        counted(summary.undriven as u64, "undriven repair")
    );
    if !left_out.is_empty() {
        line.push_str(&format!("; left out: {left_out}"));
    }
    if let Some(waiting) = summary.waiting.filter(|waiting| *waiting > 0) {
        line.push_str(&format!("; waiting in the queue before: {waiting}"));
    }
    if summary.over_limit > 0 {
        line.push_str(&format!("; over SWEEP_LIMIT, for the next sweep: {}", summary.over_limit));
    }
    if summary.plan_left_out > 0 {
        line.push_str(&format!("; not shown: {}", counted(summary.plan_left_out as u64, "more row")));
    }
    out.line(line)
}

fn table(rows: &[Row], now: Timestamp) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["id", "state", "access package", "failed since", "window", "what"]);
    for row in rows {
        let dash = || "-".to_owned();
        let silent = row.silent_since.map(|at| format!(", silent for {}", duration(since(at, now))));
        let what = match row.action {
            Action::Send => format!("send: {}{}", words(&row.why), silent.unwrap_or_default()),
            Action::OverLimit => "next sweep: over SWEEP_LIMIT".to_owned(),
            Action::LeaveOut => format!("leave out: {}", words(&row.why)),
        };
        table.add_row([
            row.id.to_string(),
            row.state.as_deref().map_or_else(dash, plain),
            row.access_package_id.as_deref().map_or_else(dash, plain),
            row.failed_at.map_or_else(dash, instant),
            row.window_ends.map_or_else(dash, |ends| left(ends, now)),
            what,
        ]);
    }
    table
}

/// A reason in words; one that this version does not know stands as it came.
fn words(why: &str) -> String {
    match why {
        "failed" => "delivery failed",
        "leaseOver" => "attempt never ended",
        "noRecord" => "no message drives it",
        "underRepair" => "under repair",
        "askedAlready" => "asked for before",
        "attemptsExhausted" => "attempts used up",
        "rejected" => "rejected by Graph",
        "canceled" => "canceled",
        "windowClosed" => "too old",
        "drivenMeanwhile" => "driven meanwhile",
        other => return plain(other),
    }
    .to_owned()
}
