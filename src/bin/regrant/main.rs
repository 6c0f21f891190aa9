//! The command line: which commands there are, and how one that fails says so. What they do is in a file each.

mod local;
mod report;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Repairs failed access-package deliveries in Microsoft Entra, with an audit trail.
#[derive(Parser)]
#[command(name = "regrant", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Local(local::Arguments),
    Report(report::Arguments),
}

/// How a command that could run ended; a failure is 1, wrong usage 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    /// Graph rejected something, or a repair did not end in a delivery.
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
            Self::Usage => 2,
            Self::Rejected => 3,
            Self::TryLater => 4,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let level = tracing::level_filters::LevelFilter::ERROR;
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let ended = match command {
        Command::Local(arguments) => local::run(arguments).await,
        Command::Report(arguments) => report::run(arguments).await,
    };
    match ended {
        Ok(ended) => ended.code().into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
