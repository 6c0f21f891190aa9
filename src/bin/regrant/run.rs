//! `regrant run`: a few requests now, through the deployed function or the same code in this process. The queue
//! goes on with whatever is not settled.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use regrant::aws::Aws;
use regrant::clock::Clock;
use regrant::config::{TrailConfig, WorkerConfig};
use regrant::domain::answer::{Answer, Status};
use regrant::domain::pace::since;
use regrant::domain::request::Request;
use regrant::domain::state::State;
use regrant::domain::target::CredentialKind;
use regrant::graph::SignedIn;
use regrant::trail::Trail;
use regrant::worker::{Invocation, Worker};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::function::invoke;
use crate::output::{Out, counter};
use crate::period::parse_duration;
use crate::submit::lines::{Defaults, Lines};
use crate::submit::{Wish, list};
use crate::words::{duration, plain};
use crate::{Ended, Unusable, setting};

/// As the worker takes at once.
const MOST_REQUESTS: usize = 100;
/// The lease of an attempt, and every record, is stamped with this machine's clock.
pub const MOST_SKEW: Duration = Duration::from_secs(30);
/// What the worker's code may take in this process.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Between two readings of the trail.
const POLL: Duration = Duration::from_secs(2);

/// Carry out one or a few requests now, and say how Graph answered
///
/// With --function by the deployed function; without it by the same code in this process, with the worker's
/// settings from the environment; there `GRAPH_CREDENTIAL` may also be `signed-in`: whoever signed in to the Azure CLI
/// (`az login`), who then stands in the trail unless --requested-by names another. Either way the queue, and with it
/// the deployed function, goes on with what is not settled. Refuses to run in this process when its clock is more
/// than 30 s off Graph's.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant run d82eb508-acc4-43cc-bcf1-7c1c4a2c073b --target assignmentRequest
  regrant run d82eb508-acc4-43cc-bcf1-7c1c4a2c073b --target assignment --function worker

Exit codes:
  0  Graph accepted every request, or it is settled well; with --wait only the latter
  1  failed
  2  usage
  3  a request was rejected, abandoned, or ended otherwise than delivered
  4  a request waits in the queue; with --wait: not settled in time")]
pub struct Arguments {
    /// Ids of targets.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    wish: Wish,
    /// The deployed function to invoke.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Follow the trail until every request is settled.
    #[arg(long)]
    wait: bool,
    /// How long to wait, like 90s or 2h.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "15m", requires = "wait")]
    timeout: Duration,
    /// One JSON object a request instead of words.
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let mut requests = requests(&arguments)?;
    // Settings are looked at before anything is called, also those needed only afterwards.
    let trail = arguments.wait.then(|| TrailConfig::read(setting)).transpose().map_err(Unusable::new)?;
    let aws = Aws::patient().await;
    let answer = match &arguments.function {
        Some(function) => invoke(&aws, function, payload(&requests)).await?,
        None => here(&aws, &mut requests).await?,
    };
    let results = answer.get("results").and_then(Value::as_array).cloned();
    let mut results = results.context("the answer has no `results`")?;
    if let Some(config) = trail {
        let trail = Trail::new(aws, config.audit_table, config.tenant_id);
        let answers = follow(&trail, &requests, arguments.timeout).await?;
        results = answers.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    }
    let mut out = Out::stdout();
    for result in &results {
        if arguments.json { out.line(result)? } else { out.line(words(result))? }
    }
    out.finish()?;
    Ok(judge(&results, arguments.wait))
}

fn requests(arguments: &Arguments) -> Result<Vec<Request>, Unusable> {
    let api_version = setting("GRAPH_API_VERSION")
        .and_then(|text| regrant::domain::target::ApiVersion::parse(&text))
        .unwrap_or_default();
    let mut lines = Lines::default();
    lines.add_ids(&arguments.ids, &Defaults { fields: arguments.wish.fields(), api_version });
    if !lines.faults.is_empty() {
        list(&lines.faults);
        return Err(Unusable::new("nothing was called"));
    }
    if lines.good.len() > MOST_REQUESTS {
        return Err(Unusable(format!("at most {MOST_REQUESTS} ids at once: use `regrant submit`")));
    }
    Ok(lines.good.into_iter().map(|line| line.request).collect())
}

fn payload(requests: &[Request]) -> String {
    let bodies = requests.iter().map(Request::to_body).collect::<Vec<_>>();
    format!("{{\"requests\":[{}]}}", bodies.join(","))
}

async fn here(aws: &Aws, requests: &mut [Request]) -> anyhow::Result<Value> {
    let mut config = WorkerConfig::read_for_operator(setting).map_err(Unusable::new)?;
    if setting("AWS_LAMBDA_FUNCTION_NAME").is_none() {
        config.function = "regrant".to_owned();
    }
    let clock = Clock::default();
    let mut worker = Worker::new(config, aws.clone(), clock.clone());
    if worker.clients.actor.credential == CredentialKind::SignedIn {
        take_the_sign_in(&mut worker, requests).await?;
    }
    if let Some(theirs) = worker.clients.graph.server_time(worker.clients.call_timeout).await {
        refuse_skew(clock.now(), theirs)?;
    }
    let deadline = clock.now().saturating_add(SignedDuration::try_from(TIMEOUT)?)?;
    worker.handle(&payload(requests), &Invocation { id: Uuid::new_v4().to_string(), deadline }).await
}

/// Gets the operator's token before anything is recorded, signs the records with the application it was made for,
/// and names the operator where nobody else is named.
async fn take_the_sign_in(worker: &mut Worker, requests: &mut [Request]) -> anyhow::Result<()> {
    let SignedIn { client_id, object_id, lacks_permission } = worker.clients.graph.signed_in().await?;
    if let Some(client_id) = client_id {
        worker.clients.actor.client_id = client_id;
    }
    if let Some(object_id) = object_id {
        for request in requests {
            request.requested_by.get_or_insert_with(|| object_id.to_string());
        }
    }
    if lacks_permission {
        eprintln!(
            "note: the sign-in's token does not list the permission EntitlementManagement.ReadWrite.All, so Graph \
             may refuse: an administrator has to consent to it for the application that signed in"
        );
    }
    Ok(())
}

/// `Err` where the two clocks are too far apart for records to be stamped by ours.
pub fn refuse_skew(ours: Timestamp, theirs: Timestamp) -> anyhow::Result<()> {
    let (ahead, behind) = (since(theirs, ours), since(ours, theirs));
    let (off, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if off > MOST_SKEW {
        bail!(
            "this machine's clock is {} {way} Graph's: set it, for the records and the lease are stamped by it",
            duration(off)
        );
    }
    Ok(())
}

/// Reads each target's history until its request is settled, or the time is over.
async fn follow(trail: &Trail, requests: &[Request], timeout: Duration) -> anyhow::Result<Vec<Answer>> {
    let end = Instant::now() + timeout;
    let progress = counter("requests settled");
    loop {
        let mut answers = Vec::with_capacity(requests.len());
        let mut open = 0;
        for request in requests {
            let history =
                trail.history(request.target.key(trail.tenant()), regrant::trail::READING_PATIENCE).await?;
            let state = State::fold(request.target.kind, &history.records);
            open += u64::from(state.ending(&request.request_id).is_none());
            answers.push(Answer::of(request, &state));
        }
        progress.set_position(requests.len() as u64 - open);
        if open == 0 || Instant::now() + POLL > end {
            progress.finish_and_clear();
            return Ok(answers);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn words(result: &Value) -> String {
    let text =
        |name: &str| result.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), plain));
    let mut words = format!(
        "{} {}: {}",
        text("target").unwrap_or_default(),
        text("id").unwrap_or_default(),
        text("status").unwrap_or_default()
    );
    let details = [
        text("attempt").map(|attempt| format!("attempt {attempt}")),
        text("httpStatus").map(|status| format!("HTTP {status}")),
        text("errorCode"),
        text("errorMessage"),
        text("graphRequestId").map(|id| format!("Graph's request-id {id}")),
        text("seq").map(|seq| format!("record {seq}")),
    ];
    for detail in details.into_iter().flatten() {
        words.push_str(&format!(", {detail}"));
    }
    words
}

fn judge(results: &[Value], wait: bool) -> Ended {
    let is = |result: &Value, status: Status| {
        serde_json::to_value(status).is_ok_and(|name| result.get("status") == Some(&name))
    };
    let any = |status| results.iter().any(|result| is(result, status));
    if any(Status::Deferred) || (wait && any(Status::Accepted)) {
        Ended::TryLater
    } else if any(Status::Rejected) || any(Status::Abandoned) || any(Status::Invalid) {
        Ended::Rejected
    } else {
        Ended::Well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_half_a_minute_off_is_refused_either_way() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        for secs in [-30, 0, 30] {
            assert!(refuse_skew(now + SignedDuration::from_secs(secs), now).is_ok());
        }
        let error = refuse_skew(now + SignedDuration::from_secs(3_600), now).unwrap_err().to_string();
        assert!(error.starts_with("this machine's clock is 1 h ahead of Graph's"), "{error}");
        let error = refuse_skew(now - SignedDuration::from_secs(31), now).unwrap_err().to_string();
        assert!(error.starts_with("this machine's clock is 31 s behind Graph's"), "{error}");
    }
}
