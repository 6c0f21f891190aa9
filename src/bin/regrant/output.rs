//! Where a command's words go: data to stdout, progress to a terminal. A reader that has gone away is no error.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

/// Nobody reads stdout any more: a quiet end.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads stdout any more")]
pub struct Closed;

/// Stdout, buffered. Once its reader has gone, what is written is dropped.
pub struct Out {
    writer: BufWriter<Stdout>,
    closed: bool,
}

impl Out {
    pub fn stdout() -> Self {
        Self { writer: BufWriter::new(io::stdout()), closed: false }
    }

    /// Writes a line.
    pub fn line(&mut self, line: impl std::fmt::Display) -> anyhow::Result<()> {
        let written = writeln!(self.writer, "{line}");
        self.noted(written)
    }

    /// Writes as it is.
    pub fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.writer.write_all(text.as_bytes());
        self.noted(written)
    }

    /// Nobody reads any more: a long command may stop.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn finish(&mut self) -> anyhow::Result<()> {
        let written = self.writer.flush();
        self.noted(written)
    }

    fn noted(&mut self, written: io::Result<()>) -> anyhow::Result<()> {
        match written {
            _ if self.closed => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written.context("cannot write to stdout"),
        }
    }
}

/// Whether to colour what goes there: a terminal, unless `NO_COLOR` says otherwise.
pub fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && crate::setting("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Counts on stderr, on a terminal only. `what` stands behind the number.
pub fn counter(what: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} {msg}, {per_sec}, {elapsed}")
        .expect("the template is a constant");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// `1 record`, `2 records`.
pub fn counted(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}
