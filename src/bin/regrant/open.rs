//! `regrant open`: what is not settled, most urgent first. Reads the table, not the index: nothing lags.

use clap::Args;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use regrant::clock::Clock;
use regrant::domain::overview::{Overview, Progress, standing};
use regrant::domain::pace::since;

use crate::Ended;
use crate::output::{Out, counted, counter};
use crate::source::{Opened, Source};
use crate::words::{duration, left, plain, progress};

/// List what is not settled: in doubt, waiting, put off, and how long until Graph's window closes
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant open --db regrant-audit.db
  regrant open --json | jq -r .id

A repair without a record for 12 hours is marked as stalled: no message drives it any more, and the sweep sends it
again.

Exit codes:
  0  done, whether or not anything is open
  1  failed: also if a record cannot be read
  2  usage")]
pub struct Arguments {
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// What a line says of an open repair.
struct Row {
    overview: Overview,
    state: Progress,
    window_ends: Option<Timestamp>,
    first_at: Timestamp,
    last_at: Timestamp,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let opened = arguments.source.open().await?;
    opened.read(async |opened| list(opened, arguments.json).await).await
}

async fn list(opened: &Opened, json: bool) -> anyhow::Result<Ended> {
    let now = Clock::default().now();
    let spinner = counter("records");
    let (mut rows, mut unreadable) = (Vec::new(), Unreadable::default());
    let each = |overview: Overview| {
        unreadable.note(&overview);
        if let Some(repair) = &overview.state.repair {
            rows.push(Row {
                state: standing(repair, now),
                window_ends: overview.window_ends(opened.window),
                first_at: repair.first_at,
                last_at: repair.last_at,
                overview,
            });
        }
        Ok(())
    };
    opened.trail.overviews(opened.segments, || spinner.inc(1), each).await?;
    spinner.finish_and_clear();
    // What never closes comes after what does; the oldest first.
    rows.sort_by_key(|row| (row.window_ends.unwrap_or(Timestamp::MAX), row.first_at));
    let mut out = Out::stdout();
    if json {
        rows.iter().try_for_each(|row| out.line(row.json(now)))?;
    } else if rows.is_empty() {
        out.line("nothing is open")?;
    } else {
        out.line(table(&rows, now))?;
        out.line(format_args!("{} open", counted(rows.len() as u64, "repair")))?;
    }
    out.finish()?;
    Ok(unreadable.told())
}

fn table(rows: &[Row], now: Timestamp) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["target", "id", "state", "attempts", "ticket", "window", "open for", "last record"]);
    for row in rows {
        let overview = &row.overview;
        let stalled = if overview.is_stalled(now) { ", stalled" } else { "" };
        table.add_row([
            overview.target.kind.as_str().to_owned(),
            overview.target.id.to_string(),
            format!("{}{stalled}", progress(row.state)),
            row.attempts().to_string(),
            row.ticket().map(plain).unwrap_or_default(),
            row.window_ends.map_or_else(|| "-".to_owned(), |ends| left(ends, now)),
            duration(since(row.first_at, now)),
            format!("{} ago", duration(since(row.last_at, now))),
        ]);
    }
    table
}

impl Row {
    fn attempts(&self) -> usize {
        self.overview.state.repair.as_ref().map_or(0, |repair| repair.attempts.len())
    }

    /// Of the latest request.
    fn ticket(&self) -> Option<&str> {
        self.overview.asked.last().and_then(|asked| asked.origin.ticket.as_deref())
    }

    fn json(&self, now: Timestamp) -> serde_json::Value {
        serde_json::json!({
            "target": self.overview.target.kind,
            "id": self.overview.target.id,
            "state": progress(self.state),
            "stalled": self.overview.is_stalled(now),
            "attempts": self.attempts(),
            "ticket": self.ticket(),
            "accessPackageId": self.overview.package,
            "windowEnds": self.window_ends,
            "firstRecordAt": self.first_at,
            "lastRecordAt": self.last_at,
        })
    }
}

/// Targets with records that this version cannot read: counted, and the first one named.
#[derive(Default)]
pub struct Unreadable {
    targets: u64,
    first: Option<String>,
}

impl Unreadable {
    pub fn note(&mut self, overview: &Overview) {
        if let Some((seq, why)) = &overview.unreadable {
            self.targets += 1;
            self.first.get_or_insert_with(|| {
                let target = &overview.target;
                format!("record {seq} of {} {}: {why}", target.kind.as_str(), target.id)
            });
        }
    }

    /// Says so on stderr; what was told of those targets may be wrong, so that the command failed.
    pub fn told(&self) -> Ended {
        let Some(first) = &self.first else { return Ended::Well };
        let targets = counted(self.targets, "target");
        eprintln!(
            "error: {targets} with records that cannot be read, and may be told wrong; the first: {first}"
        );
        Ended::Failed
    }
}
