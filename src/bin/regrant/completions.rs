//! `regrant completions`: a script for a shell. Installs nothing.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::Ended;
use crate::output::Out;

/// Print a script that completes commands and options in a shell
#[derive(Args)]
#[command(after_help = "\
Example:
  regrant completions bash > regrant.bash")]
pub struct Arguments {
    shell: Shell,
}

pub fn run(arguments: &Arguments, command: &mut Command) -> anyhow::Result<Ended> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "regrant", &mut script);
    let mut out = Out::stdout();
    out.text(&String::from_utf8_lossy(&script))?;
    out.finish()?;
    Ok(Ended::Well)
}
