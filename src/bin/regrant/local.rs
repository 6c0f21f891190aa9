//! `regrant local`: sends event files through the worker on the embedded stack, or keeps the stack running for a
//! worker in another process. Has no rule of its own: it starts, feeds, polls and shows.

mod input;
mod outcome;
mod seed;
mod table;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use regrant::clock::Clock;
use regrant::config::WorkerConfig;
use regrant::local::aws::worker_aws;
use regrant::local::dynamodb::Database;
use regrant::local::poller::Poller;
use regrant::local::sqs::depth;
use regrant::local::{AUDIT_TABLE, COMPRESSED, Options, Stack};
use regrant::worker::{Invocation, Worker};
use tokio::time::Instant;

use self::input::Input;
use self::outcome::Row;
use crate::Ended;

/// What a function on the embedded stack may take for one batch.
const BATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Shorter than a batch's: the queue takes a directly invoked request up only after its lease.
const DIRECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Try it without any account: send event files through the worker, with DynamoDB, SQS and Graph simulated here
///
/// FILE holds an SQS event ({"Records": […]}), whose messages are put on the embedded queue, or what a direct
/// invocation takes (one request, or {"requests": […]}), whose answer is printed. The Graph simulator knows every
/// target in the files. All waits are compressed to seconds. Nothing leaves this machine.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant local events/sqs-batch.json
  regrant local events/direct-one.json --db demo.db

Exit codes:
  0  every request settled well or was skipped (invalid messages are recorded and listed, and change nothing)
  1  failed: the stack or the worker did not work
  2  usage: also a file that is neither an SQS event nor a payload
  3  a request settled otherwise: rejected, abandoned, or not delivered
  4  not everything was settled within --timeout")]
pub struct Arguments {
    /// SQS events or direct payloads, as JSON.
    #[arg(value_name = "FILE", required_unless_present = "serve")]
    files: Vec<PathBuf>,
    /// The audit database; made if missing, appended to if it is one already.
    #[arg(long, value_name = "PATH", default_value = "regrant-audit.db")]
    db: PathBuf,
    /// Milliseconds that every simulated Graph call takes.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// Seconds after which to stop waiting for open requests.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Let every delivery succeed at once, without throttling, outages and lost answers.
    #[arg(long)]
    no_faults: bool,
    /// Keep the servers running until Ctrl-C and run no worker; prints the settings for one.
    #[arg(long)]
    serve: bool,
    /// Where to write those settings as NAME=value too.
    #[arg(long, value_name = "PATH", requires = "serve")]
    env_file: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let input = match Input::read(&arguments.files) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("error: {error:#}");
            return Ok(Ended::Usage);
        }
    };
    let appended = arguments.db.metadata().is_ok_and(|file| file.len() > 0);
    let options = Options { database: Database::File(arguments.db.clone()), ..Options::default() };
    let stack = Stack::start(&options).await?;
    stack.graph.set_latency(Duration::from_millis(arguments.latency));
    let settings = stack.environment();
    introduce(appended.then_some(&arguments.db));
    for line in seed::seed(&stack.graph, &input, arguments.no_faults) {
        eprintln!("simulated: {line}");
    }
    if arguments.serve {
        serve(&settings, arguments.env_file.as_deref()).await?;
        stack.stop().await?;
        return Ok(Ended::Well);
    }
    let lookup =
        |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let config = WorkerConfig::read(lookup)?;
    let worker = Worker::new(config, worker_aws(settings), Clock::default());
    let started = regrant::clock::system_now();
    let settled = drive(&stack, &worker, &input, Duration::from_secs(arguments.timeout)).await;
    // What the trail says is shown even if driving failed half-way.
    let trail = outcome::read_trail(&stack.dynamodb.client(), AUDIT_TABLE).await?;
    let rows = outcome::rows(&trail, started, &input);
    show(&table::trail(&trail, started))?;
    show(&table::rows(&rows))?;
    let path = std::path::absolute(&arguments.db).unwrap_or(arguments.db);
    show(&format!("audit database: {}\ntenant: {}\n", path.display(), stack.tenant_id))?;
    stack.stop().await?;
    settled?;
    Ok(Row::ended(&rows))
}

fn introduce(appended: Option<&PathBuf>) {
    let settings = COMPRESSED.map(|(name, value)| format!("{name}={value}")).join(" ");
    eprintln!("DynamoDB, SQS and a Graph simulator run inside this process, on loopback ports only.");
    eprintln!("Waiting is compressed, minutes and hours to seconds: {settings}");
    if let Some(path) = appended {
        eprintln!("`{}` exists: its trail goes on", path.display());
    }
}

/// Prints the settings and waits for Ctrl-C.
async fn serve(settings: &[(&str, String)], env_file: Option<&Path>) -> anyhow::Result<()> {
    let lines = |prefix: &str| {
        settings.iter().map(|(name, value)| format!("{prefix}{name}={value}\n")).collect::<String>()
    };
    if let Some(path) = env_file {
        std::fs::write(path, lines("")).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    show(&lines("export "))?;
    eprintln!("serving until Ctrl-C");
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}

/// Feeds the worker until the queue is empty. `Err` if the worker or a server failed; running out of time is not
/// an error: the open requests are seen in the trail.
async fn drive(stack: &Stack, worker: &Worker, input: &Input, timeout: Duration) -> anyhow::Result<()> {
    let sqs = stack.sqs.client();
    input.send(&sqs, &stack.sqs.queue_url).await?;
    let mut failure = None;
    for (file, payload) in &input.payloads {
        match worker.handle(payload, &invocation(DIRECT_TIMEOUT)?).await {
            Ok(answer) => show(&format!("answer to {}: {answer:#}\n", file.display()))?,
            Err(error) => failure = Some(error.context(format!("the worker refused {}", file.display()))),
        }
    }
    let poller = Poller { wait: Duration::from_secs(1), ..Poller::new(&stack.sqs, BATCH_TIMEOUT) };
    let progress = progress_bar(input.count());
    let deadline = Instant::now() + timeout;
    loop {
        let waiting = depth(&sqs, &stack.sqs.queue_url).await?.total();
        progress.set_position(progress.length().unwrap_or_default().saturating_sub(waiting));
        if waiting == 0 {
            break;
        }
        let polling =
            poller.poll(async |payload: String, invocation| worker.handle(&payload, &invocation).await);
        // An interrupted batch is what a crash is: the trail says how far it came.
        let Ok(polled) = tokio::time::timeout_at(deadline, polling).await else { break };
        if let Some(error) = polled?.failure {
            progress.suspend(|| eprintln!("error: a batch stays in the queue: {error:#}"));
            failure = Some(error);
        }
    }
    progress.finish_and_clear();
    failure.map_or(Ok(()), Err)
}

fn invocation(timeout: Duration) -> anyhow::Result<Invocation> {
    let deadline = regrant::clock::system_now().checked_add(SignedDuration::try_from(timeout)?)?;
    Ok(Invocation { id: uuid::Uuid::new_v4().to_string(), deadline })
}

fn progress_bar(requests: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} settled, {elapsed}")
        .expect("the template is a constant");
    let bar = ProgressBar::new(requests).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Data goes to stdout; a reader that has gone away is not an error.
fn show(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}
