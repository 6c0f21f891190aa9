//! `regrant status`: the question after every mass failure. Counts; lists no target.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use regrant::clock::Clock;
use regrant::domain::overview::{Asked, Overview, Progress};
use regrant::domain::record::SkipWhy;

use crate::Ended;
use crate::open::Unreadable;
use crate::output::{Out, counted, counter};
use crate::period::parse_duration;
use crate::source::{Opened, Source};
use crate::words::{duration, instant, plain};

/// A watch reads the whole trail each time: never more often, and at least nine tenths of the time not at all.
const LEAST_PAUSE: Duration = Duration::from_secs(10);

/// Count how the requests of a ticket, a requester or a time stand: delivered, waiting, abandoned and why, by package
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant status --db regrant-audit.db
  regrant status --ticket INC0012345 --watch
  regrant status --since 7d --requested-by 9f0e1111-acc4-43cc-bcf1-7c1c4a2c073b

Exit codes:
  0  every request is settled, delivered or skipped
  1  failed: also if no request fits, or a record cannot be read
  2  usage
  3  a request was abandoned or ended otherwise than delivered
  4  a request is not settled yet")]
pub struct Arguments {
    /// Only requests with this ticket.
    #[arg(long)]
    ticket: Option<String>,
    /// Only the request with this id, on whichever targets.
    #[arg(long, value_name = "REQUEST-ID")]
    request: Option<String>,
    /// Only requests of this requester.
    #[arg(long, value_name = "WHO")]
    requested_by: Option<String>,
    /// Only requests first recorded within this time, like 90m, 24h or 7d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Count again and again until every request is settled.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    source: Source,
}

impl Arguments {
    fn fits(&self, asked: &Asked, now: Timestamp) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        same(&self.ticket, asked.origin.ticket.as_deref())
            && same(&self.request, Some(asked.request_id.as_str()))
            && same(&self.requested_by, asked.origin.requested_by.as_deref())
            && self.since.is_none_or(|since| regrant::domain::pace::since(asked.at, now) <= since)
    }
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let opened = arguments.source.open().await?;
    opened.read(async |opened| watch(opened, &arguments).await).await
}

async fn watch(opened: &Opened, arguments: &Arguments) -> anyhow::Result<Ended> {
    loop {
        let started = tokio::time::Instant::now();
        let (counts, ended) = count(opened, arguments).await?;
        let mut out = Out::stdout();
        out.text(&counts.to_text())?;
        out.finish()?;
        if !arguments.watch || ended != Ended::TryLater || out.is_closed() {
            return Ok(ended);
        }
        let pause = (started.elapsed() * 9).max(LEAST_PAUSE);
        eprintln!("again in {}; Ctrl-C ends", duration(pause));
        tokio::time::sleep(pause).await;
    }
}

async fn count(opened: &Opened, arguments: &Arguments) -> anyhow::Result<(Counts, Ended)> {
    let now = Clock::default().now();
    let spinner = counter("records");
    let (mut counts, mut unreadable) = (Counts::default(), Unreadable::default());
    let each = |overview: Overview| {
        unreadable.note(&overview);
        for asked in overview.asked.iter().filter(|asked| arguments.fits(asked, now)) {
            if let Some(progress) = overview.progress(&asked.request_id, now) {
                counts.add(overview.package.as_deref(), progress, asked.at);
            }
        }
        Ok(())
    };
    opened.trail.overviews(opened.segments, || spinner.inc(1), each).await?;
    spinner.finish_and_clear();
    let readable = unreadable.told();
    anyhow::ensure!(
        counts.total.requests > 0,
        "no request in the trail of tenant {} fits",
        opened.trail.tenant()
    );
    let ended = if readable == Ended::Well { counts.ended() } else { readable };
    Ok((counts, ended))
}

/// Requests by how they stand.
#[derive(Default)]
struct Line {
    requests: u64,
    delivered: u64,
    waiting: u64,
    put_off: u64,
    in_doubt: u64,
    skipped: u64,
    failed: u64,
}

impl Line {
    fn add(&mut self, progress: Progress) {
        self.requests += 1;
        *match progress {
            Progress::Delivered(_) => &mut self.delivered,
            Progress::Waiting | Progress::UnderWay => &mut self.waiting,
            Progress::PutOff => &mut self.put_off,
            Progress::InDoubt => &mut self.in_doubt,
            Progress::Skipped(SkipWhy::NotReprocessable | SkipWhy::WindowClosed | SkipWhy::Missing) => {
                &mut self.skipped
            }
            Progress::Ended(_) | Progress::Abandoned(_) => &mut self.failed,
        } += 1;
    }

    fn cells(&self, name: String) -> [String; 8] {
        let counts = [
            self.requests,
            self.delivered,
            self.waiting,
            self.put_off,
            self.in_doubt,
            self.skipped,
            self.failed,
        ];
        let mut cells = counts.map(|count| count.to_string()).into_iter();
        std::array::from_fn(|at| if at == 0 { name.clone() } else { cells.next().unwrap_or_default() })
    }
}

#[derive(Default)]
struct Counts {
    total: Line,
    packages: BTreeMap<String, Line>,
    /// Why a request is not delivered, or how it is known to be.
    whys: BTreeMap<String, u64>,
    span: Option<(Timestamp, Timestamp)>,
}

impl Counts {
    fn add(&mut self, package: Option<&str>, progress: Progress, at: Timestamp) {
        self.total.add(progress);
        self.packages.entry(package.map_or_else(|| "not known".to_owned(), plain)).or_default().add(progress);
        *self.whys.entry(crate::words::progress(progress)).or_default() += 1;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    /// What is open weighs more than what ended badly: it can still be waited for.
    fn ended(&self) -> Ended {
        if self.total.waiting + self.total.put_off + self.total.in_doubt > 0 {
            Ended::TryLater
        } else if self.total.failed > 0 {
            Ended::Rejected
        } else {
            Ended::Well
        }
    }

    fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "access package",
            "requests",
            "delivered",
            "waiting",
            "put off",
            "in doubt",
            "skipped",
            "failed",
        ]);
        for (package, line) in &self.packages {
            table.add_row(line.cells(package.clone()));
        }
        if self.packages.len() > 1 {
            table.add_row(self.total.cells("all".to_owned()));
        }
        let requests = counted(self.total.requests, "request");
        let span =
            self.span.map(|(first, last)| format!(", first {}, last {}", instant(first), instant(last)));
        let whys = self.whys.iter().map(|(why, count)| format!("{count:>8}  {why}\n")).collect::<String>();
        format!("{requests}{}\n{whys}{table}\n", span.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regrant::domain::record::{AbandonWhy, Evidence};

    #[test]
    fn open_weighs_more_than_failed_and_failed_more_than_delivered() {
        let at = Timestamp::UNIX_EPOCH;
        let mut counts = Counts::default();
        counts.add(None, Progress::Delivered(Evidence::Moved), at);
        assert_eq!(counts.ended(), Ended::Well);
        counts.add(None, Progress::Abandoned(AbandonWhy::Rejected), at);
        assert_eq!(counts.ended(), Ended::Rejected);
        counts.add(None, Progress::InDoubt, at);
        assert_eq!(counts.ended(), Ended::TryLater);
    }
}
