//! `regrant submit`: sends requests to the queue, all or, if a line is wrong, none. Follows none of them.

pub mod lines;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use regrant::aws::Aws;
use regrant::config::SubmitConfig;
use regrant::domain::record::SourceKind;
use regrant::domain::target::ApiVersion;
use regrant::queue::Queue;
use serde_json::{Map, Value};
use uuid::Uuid;

use self::lines::{Defaults, Lines};
use crate::output::{Out, counted, counter};
use crate::source::Kind;
use crate::{Ended, Unusable, setting};

/// So many faults are listed; a wrong column has one for each line.
const MOST_LISTED: usize = 20;

/// Send requests to the queue, by ids or from a file
///
/// Every line is checked first, and nothing is sent if one is wrong. A file is CSV with a header (id, target,
/// requestId, requestedBy, reason, ticket, apiVersion, via.assignmentRequest, via.resourceRole) or JSON Lines with
/// the fields of a request. The options fill in what a line leaves out.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant submit d82eb508-acc4-43cc-bcf1-7c1c4a2c073b --target assignment --ticket INC0012345
  regrant submit --file failed.csv --target assignmentRequest --reason \"SAP outage\"
  regrant submit --file - --dry-run < requests.jsonl

Exit codes:
  0  every request is in the queue, or with --dry-run could be sent
  1  failed: the queue refused a request or could not be reached; those are named
  2  usage: a line is wrong; nothing was sent")]
pub struct Arguments {
    /// Ids of targets.
    #[arg(value_name = "ID", required_unless_present = "file")]
    ids: Vec<String>,
    /// CSV or JSON Lines; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    wish: Wish,
    /// Check everything and send nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What is said of every request alike.
#[derive(Args, Clone, Debug)]
pub struct Wish {
    /// What the ids are.
    #[arg(long, value_name = "KIND")]
    pub target: Option<Kind>,
    /// Why; kept in the trail.
    #[arg(long)]
    pub reason: Option<String>,
    /// The ticket that this belongs to.
    #[arg(long)]
    pub ticket: Option<String>,
    /// Who wants it; an object id keeps people's names out of the trail.
    #[arg(long, value_name = "WHO")]
    pub requested_by: Option<String>,
}

impl Wish {
    pub fn fields(&self) -> Map<String, Value> {
        let target = self.target.map(|kind| kind.target().as_str().to_owned());
        let fields = [
            ("target", target),
            ("reason", self.reason.clone()),
            ("ticket", self.ticket.clone()),
            ("requestedBy", self.requested_by.clone()),
        ];
        fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))).collect()
    }
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    // A dry run needs no queue: a version that is set is still the one that counts.
    let config = SubmitConfig::read(setting);
    let api_version = match (&config, arguments.dry_run) {
        (Ok(config), _) => config.api_version,
        (Err(_), true) => ApiVersion::default(),
        (Err(error), false) => return Err(Unusable::new(error).into()),
    };
    let defaults = Defaults { fields: arguments.wish.fields(), api_version };
    let mut lines = Lines::default();
    lines.add_ids(&arguments.ids, &defaults);
    if let Some(path) = &arguments.file {
        lines.add_file(&read(path)?, &defaults);
    }
    if !lines.faults.is_empty() {
        list(&lines.faults);
        return Err(Unusable(format!(
            "{} wrong; nothing was sent",
            counted(lines.faults.len() as u64, "line")
        ))
        .into());
    }
    if lines.good.is_empty() {
        return Err(Unusable::new("there is no request in the file").into());
    }
    match config {
        Ok(config) if !arguments.dry_run => send(config, lines).await,
        _ => {
            let mut out = Out::stdout();
            let requests = counted(lines.good.len() as u64, "request");
            out.line(format_args!("dry run: {requests} checked, nothing was sent"))?;
            out.finish()?;
            Ok(Ended::Well)
        }
    }
}

async fn send(config: SubmitConfig, lines: Lines) -> anyhow::Result<Ended> {
    let queue = Queue::new(Aws::patient().await, config.queue_url);
    let (places, requests): (Vec<_>, Vec<_>) =
        lines.good.into_iter().map(|line| (line.place, line.request)).unzip();
    // One person's urgent repair must not wait behind this: a bulk is a group of its own.
    let group = (requests.len() > 1).then(|| format!("submit-{}", Uuid::new_v4()));
    let progress = counter("requests sent");
    let refused =
        queue.send_all(&requests, SourceKind::Cli, group.as_deref(), |sent| progress.inc(sent)).await;
    progress.finish_and_clear();
    let sent = requests.len() - refused.len();
    let mut out = Out::stdout();
    out.line(format_args!("sent {} of {}", sent, counted(requests.len() as u64, "request")))?;
    out.finish()?;
    if refused.is_empty() {
        return Ok(Ended::Well);
    }
    let named = refused.iter().map(|(at, why)| {
        let id = requests.get(*at).map(|request| request.target.id.to_string()).unwrap_or_default();
        format!("{}: {id}: not sent: {why}", places.get(*at).map_or("?", String::as_str))
    });
    list(&named.collect::<Vec<_>>());
    Ok(Ended::Failed)
}

pub fn list(faults: &[String]) {
    for fault in faults.iter().take(MOST_LISTED) {
        eprintln!("{fault}");
    }
    if let Some(more) = faults.len().checked_sub(MOST_LISTED).filter(|more| *more > 0) {
        eprintln!("… and {more} more");
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_end(&mut bytes).map(drop),
        _ => std::fs::read(path).map(|read| bytes = read),
    };
    read.map_err(|error| Unusable(format!("cannot read `{}`: {error}", path.display())))?;
    let text = String::from_utf8(bytes);
    text.map_err(|_| Unusable(format!("`{}` is not UTF-8", path.display())).into())
}
