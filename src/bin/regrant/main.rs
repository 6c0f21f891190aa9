//! The command line: which commands there are, and how one that fails says so. What they do is in a file each.

mod cancel;
mod completions;
#[cfg(feature = "deployed")]
mod doctor;
mod export;
#[cfg(feature = "deployed")]
mod function;
#[cfg(not(feature = "deployed"))]
#[path = "no_function.rs"]
mod function;
mod history;
mod local;
mod manifest;
mod open;
mod output;
mod period;
mod report;
mod run;
mod source;
mod status;
mod submit;
mod sweep;
mod verify;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Repairs failed access-package deliveries in Microsoft Entra, with an audit trail.
///
/// Data goes to stdout, diagnostics to stderr. Commands that read the trail read the deployed table (`AUDIT_TABLE`,
/// `GRAPH_TENANT_ID`, and the AWS SDK's own variables and profiles) or, with --db, a database of `regrant local`.
#[derive(Parser)]
#[command(
    name = "regrant",
    version,
    after_help = "\
Exit codes:
  0  done
  1  failed
  2  usage: also settings or a file that cannot be used
  3  findings: rejected, not delivered, or not as it was written
  4  try later: something is not settled yet"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Submit(submit::Arguments),
    Run(run::Arguments),
    Sweep(sweep::Arguments),
    Status(status::Arguments),
    Open(open::Arguments),
    History(history::Arguments),
    Cancel(cancel::Arguments),
    Verify(verify::Arguments),
    Export(export::Arguments),
    Local(local::Arguments),
    Report(report::Arguments),
    #[cfg(feature = "deployed")]
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
}

/// How a command that could run ended; a failure is 1, wrong usage 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    /// Said already what failed.
    Failed,
    /// Graph rejected something, a repair did not end in a delivery, or the trail is not as it was written.
    Rejected,
    /// Something is not settled yet.
    TryLater,
    /// An argument is not what it should be, although it parsed.
    Usage,
}

impl Ended {
    fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Rejected => 3,
            Self::TryLater => 4,
        }
    }
}

/// A setting, an argument or a file cannot be used; nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

impl Unusable {
    fn new(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let level = tracing::level_filters::LevelFilter::ERROR;
    let colours = output::colours(&std::io::stderr());
    tracing_subscriber::fmt().with_max_level(level).with_ansi(colours).with_writer(std::io::stderr).init();
    let ended = match command {
        Command::Submit(arguments) => submit::run(arguments).await,
        Command::Cancel(arguments) => cancel::run(arguments).await,
        Command::Run(arguments) => run::run(arguments).await,
        Command::Sweep(arguments) => sweep::run(arguments).await,
        Command::Status(arguments) => status::run(arguments).await,
        Command::Open(arguments) => open::run(arguments).await,
        Command::History(arguments) => history::run(arguments).await,
        Command::Verify(arguments) => verify::run(arguments).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::Local(arguments) => local::run(arguments).await,
        Command::Report(arguments) => report::run(arguments).await,
        #[cfg(feature = "deployed")]
        Command::Doctor(arguments) => doctor::run(arguments).await,
        Command::Completions(arguments) => completions::run(&arguments, &mut Arguments::command()),
    };
    match ended {
        Ok(ended) => ended.code().into(),
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Unusable>() { Ended::Usage.code().into() } else { ExitCode::FAILURE }
        }
    }
}

/// The environment, for the settings that a command reads once at its start.
#[expect(clippy::disallowed_methods, reason = "the command line's own environment")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
