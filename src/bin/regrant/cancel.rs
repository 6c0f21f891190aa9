//! `regrant cancel`: ends an open repair by a record that names who and why. Calls nobody but the table and, to
//! learn who calls, STS.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use regrant::aws::{Aws, describe};
use regrant::clock::Clock;
use regrant::domain::record::{AbandonWhy, By, Fact, Origin, Record, Source, SourceKind, VERSION};
use regrant::domain::request::Request;
use regrant::domain::state::{Phase, State};
use regrant::domain::target::{ApiVersion, Target};
use regrant::trail::{AppendError, Trail};
use uuid::Uuid;

use crate::output::Out;
use crate::source::{self, OneTarget};
use crate::words::plain;
use crate::{Ended, Unusable};

/// How long the one record may take to be stored.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a lost race against the worker is decided again.
const MOST_CONFLICTS: u32 = 5;

/// End an open repair: its requests count as abandoned, and their messages are acknowledged when they come next
///
/// Appends `requestAbandoned` with `canceled`, as a request of its own that names who canceled and why. Takes back
/// nothing: what Graph has accepted it may still deliver, and a call under way is still recorded when it ends.
#[derive(Args)]
#[command(after_help = "\
Example:
  regrant cancel d82eb508-acc4-43cc-bcf1-7c1c4a2c073b --reason \"package retired\" --by 9f0e1111

Exit codes:
  0  done
  1  failed: also if no repair of that id is open
  2  usage
  4  the worker was faster every time: try again")]
pub struct Arguments {
    #[command(flatten)]
    target: OneTarget,
    /// Why; kept in the trail.
    #[arg(long)]
    reason: String,
    /// The ticket that this belongs to.
    #[arg(long)]
    ticket: Option<String>,
    /// Who; without it the caller's identity from AWS STS.
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Write to a database that `regrant local` left, instead of the deployed table; needs --by.
    #[arg(long, value_name = "FILE", requires = "by")]
    db: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let opened = source::Source { db: arguments.db.clone() }.open().await?;
    opened.read(async |opened| cancel(&opened.trail, &arguments).await).await
}

async fn cancel(trail: &Trail, arguments: &Arguments) -> anyhow::Result<Ended> {
    let target = one_open(trail, &arguments.target).await?;
    let who = match &arguments.by {
        Some(who) => who.clone(),
        None => caller(&Aws::patient().await).await?,
    };
    let request = cancellation(&target, &who, arguments)?;
    let mut out = Out::stdout();
    for _ in 0..MOST_CONFLICTS {
        let key = target.key(trail.tenant());
        let history = trail.history(key.clone(), regrant::trail::READING_PATIENCE).await?;
        let state = State::fold(target.kind, &history.records);
        let Some(repair) = &state.repair else {
            bail!("no repair of {} is open any more: see `regrant history`", target.id);
        };
        let warning = match repair.phase() {
            Phase::Open(attempt) => {
                Some(format!("attempt {} may be under way; its end is still recorded", attempt.number))
            }
            Phase::Taken(attempt, _) => {
                Some(format!("Graph took attempt {}, and may still deliver", attempt.number))
            }
            Phase::NoAttempt | Phase::Doubtful(_, _) | Phase::FailedAgain(_, _) => None,
        };
        let record = record(trail, &request, &state, history.head.seq + 1, Clock::default().now());
        match trail.append(&key, &history.head, &record, PATIENCE).await {
            Ok(head) => {
                let kind = target.kind.as_str();
                out.line(format_args!(
                    "canceled repair {} of {kind} {}: record {}, by {}",
                    repair.number,
                    target.id,
                    head.seq,
                    plain(&who)
                ))?;
                out.finish()?;
                warning.into_iter().for_each(|warning| eprintln!("note: {warning}"));
                return Ok(Ended::Well);
            }
            Err(AppendError::Conflict) => {}
            Err(AppendError::Store(error)) => return Err(error),
        }
    }
    eprintln!("the worker appended first {MOST_CONFLICTS} times: try again");
    Ok(Ended::TryLater)
}

/// The one target of that id with an open repair.
async fn one_open(trail: &Trail, one: &OneTarget) -> anyhow::Result<Target> {
    let (mut open, mut known) = (Vec::new(), false);
    for target in one.targets() {
        let history = trail.history(target.key(trail.tenant()), regrant::trail::READING_PATIENCE).await?;
        known |= !history.records.is_empty();
        if State::fold(target.kind, &history.records).repair.is_some() {
            open.push(target);
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(target), true) => Ok(target),
        (Some(_), false) => Err(Unusable::new(
            "an assignment and an assignment request of that id are open: say which with --target",
        )
        .into()),
        (None, _) if known => bail!("no repair of {} is open: see `regrant history`", one.id),
        (None, _) => bail!("there is no record of {} in the trail of tenant {}", one.id, trail.tenant()),
    }
}

async fn caller(aws: &Aws) -> anyhow::Result<String> {
    let client = aws_sdk_sts::Client::new(aws.config().await);
    let identity = client.get_caller_identity().send().await;
    let identity = identity.map_err(|error| anyhow::anyhow!("AWS STS: {}", describe(&error)));
    let identity = identity.context("AWS does not say who is calling: name yourself with --by")?;
    identity.arn.context("AWS does not say who is calling: name yourself with --by")
}

/// A request like any other, so that the same rules check and redact its texts.
fn cancellation(target: &Target, who: &str, arguments: &Arguments) -> Result<Request, Unusable> {
    let mut body = serde_json::json!({
        "target": target.kind,
        "id": target.id,
        "requestId": format!("cancel:{}", Uuid::new_v4()),
        "requestedBy": who,
        "reason": arguments.reason,
    });
    if let Some(ticket) = &arguments.ticket {
        body["ticket"] = ticket.as_str().into();
    }
    Request::parse(&body.to_string(), "cancel", ApiVersion::V1).map_err(Unusable::new)
}

fn record(trail: &Trail, request: &Request, state: &State, seq: u64, now: Timestamp) -> Record {
    let source = Source { kind: SourceKind::Cli, message_id: None, receive_count: None, sent_at: None };
    Record {
        v: VERSION,
        fact: Fact::RequestAbandoned {
            why: AbandonWhy::Canceled,
            state: None,
            http_status: None,
            error_code: None,
        },
        tenant_id: trail.tenant().clone(),
        target: Some(request.target.kind),
        id: Some(request.target.id.clone()),
        repair: Some(state.current_repair()),
        seq,
        at: now,
        request_id: request.request_id.clone(),
        by: By {
            function: "regrant".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            invocation_id: Uuid::new_v4().to_string(),
            message_id: None,
        },
        origin: Some(Origin {
            requested_by: request.requested_by.clone(),
            reason: request.reason.clone(),
            ticket: request.ticket.clone(),
            source,
        }),
    }
}
