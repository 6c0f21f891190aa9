//! `regrant report`: opens the trail, reads the period once, writes one format. Computes and renders nothing itself.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use regrant::clock::Clock;
use regrant::domain::report::{Fault, Period, Report, Scope};
use regrant::render::{csv, html, json, ocsf, table, xlsx};
use regrant::reporting::report;
use regrant::trail_days::TrailDays;

use crate::Ended;
use crate::source::{Opened, Source};

/// A record dated later than this is not late reading but a clock that is ahead.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// Report on a period: how repairs ended, what is open and until when, who asked, and what the records prove
///
/// A repair belongs to the day of its first record, with all that happened to it later. The trail is the table
/// `AUDIT_TABLE` of tenant `GRAPH_TENANT_ID`, reached by the AWS SDK's own settings, or a file that `regrant local` left.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant report --since 7d --db regrant-audit.db
  regrant report --since 24h --format json --db regrant-audit.db
  regrant report --from 2026-03-01 --to 2026-03-31 --format html -o march.html

Formats:
  table  for the terminal             html  one file for people: charts, prints well, no script
  json   all figures and lists        xlsx  summary, unresolved, attempts and integrity as sheets
  csv    one row an attempt           ocsf  OCSF 1.8 events, one a line, for a SIEM

Exit codes:
  0  the report is complete
  1  failed: the trail could not be read, or the report is written and records are changed, missing or unreadable
  2  usage: also an empty period, or one in the future")]
pub struct Arguments {
    /// The last so many hours, days or weeks: `24h`, `7d`, `4w`.
    #[arg(long, value_name = "LENGTH", default_value = "7d", conflicts_with = "from")]
    since: String,
    /// The first day, or an instant; days are UTC's.
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day, which is included whole, or the first instant after the period; default: now.
    #[arg(long, value_name = "DAY", requires = "from")]
    to: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where to write; standard output by default. An existing file is replaced when the report is complete.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Xlsx,
    Html,
    Ocsf,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let now = Clock::default().now();
    let period = match &arguments.from {
        Some(from) => Period::between(["`--from`", "`--to`"], from, arguments.to.as_deref(), now),
        None => Period::since("`--since`", &arguments.since, now),
    };
    let period = match period {
        Ok(period) => period,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(Ended::Usage);
        }
    };
    if arguments.format == Format::Xlsx && arguments.output.is_none() && io::stdout().is_terminal() {
        eprintln!("error: a workbook is not for a terminal: name a file with `-o`");
        return Ok(Ended::Usage);
    }
    let opened = arguments.source.open().await?;
    opened.read(async |opened| write_report(opened, &arguments, period, now).await).await
}

async fn write_report(
    opened: &Opened,
    arguments: &Arguments,
    period: Period,
    now: Timestamp,
) -> anyhow::Result<Ended> {
    let window = SignedDuration::try_from(opened.window)?;
    let scope =
        Scope { tenant: opened.trail.tenant().clone(), from: period.from, to: period.to, now, window };
    let days = TrailDays::of(&opened.trail).await;
    let progress = progress_bar(period);
    let report = match &arguments.output {
        None => render(&days, scope, arguments.format, BufWriter::new(io::stdout()), &progress).await,
        Some(path) => {
            // The name appears when the file is whole.
            let mut part = path.as_os_str().to_owned();
            part.push(".part");
            let part = PathBuf::from(part);
            let file = File::create(&part).with_context(|| format!("cannot write `{}`", part.display()))?;
            let rendered = render(&days, scope, arguments.format, BufWriter::new(file), &progress).await;
            match &rendered {
                Ok(_) => std::fs::rename(&part, path)
                    .with_context(|| format!("cannot write `{}`", path.display()))?,
                // The first error is the one to tell.
                Err(_) => drop(std::fs::remove_file(&part)),
            }
            rendered
        }
    };
    progress.finish_and_clear();
    let report = match report {
        Err(error) if is_closed_pipe(&error) => return Ok(Ended::Well),
        report => report?,
    };
    if period.to >= now && days.has_any_from(now + CLOCK_MARGIN).await? {
        eprintln!("warning: records are dated in the future and not in this report: a clock is ahead");
    }
    complain(&report)
}

/// Reads the trail once and writes as it goes where the format allows it.
async fn render(
    days: &TrailDays,
    scope: Scope,
    format: Format,
    mut out: impl Write + Send,
    bar: &ProgressBar,
) -> anyhow::Result<Report> {
    let from = scope.from;
    let progress = |at: Timestamp| bar.set_position(hours(at.duration_since(from)));
    let report = match format {
        Format::Table | Format::Json | Format::Html => {
            let report = report(days, scope, |_| Ok(()), progress).await?;
            match format {
                Format::Json => json::write(&report, &mut out)?,
                Format::Html => out.write_all(html::page(&report)?.as_bytes())?,
                _ => out.write_all(table::text(&report).as_bytes())?,
            }
            report
        }
        Format::Csv => {
            let mut attempts = csv::Attempts::new(&mut out)?;
            let report = report(days, scope, |repair| Ok(attempts.add(repair)?), progress).await?;
            attempts.finish()?;
            report
        }
        Format::Ocsf => {
            let tenant = scope.tenant.clone();
            let each = |repair: &_| Ok(ocsf::write(&tenant, repair, &mut out)?);
            report(days, scope, each, progress).await?
        }
        Format::Xlsx => {
            let mut workbook = xlsx::Book::new()?;
            let report = report(days, scope, |repair| Ok(workbook.add(repair)?), progress).await?;
            out.write_all(&workbook.finish(&report)?)?;
            report
        }
    };
    out.flush()?;
    Ok(report)
}

/// Damage is said where nobody can miss it, whatever the format.
fn complain(report: &Report) -> anyhow::Result<Ended> {
    let verification = &report.verification;
    if report.header.rows_read == 0 {
        eprintln!("note: nothing was recorded in this period");
    }
    if verification.is_intact() {
        return Ok(Ended::Well);
    }
    for finding in verification.findings.iter().take(20) {
        eprintln!("DAMAGED: record {} of {} {}", finding.seq, finding.pk, finding.fault.in_words());
    }
    let missing = verification.findings.iter().any(|finding| finding.fault == Fault::Missing);
    let gap = if missing { "a gap in `seq` means that records are gone; " } else { "" };
    bail!(
        "the trail is damaged: {} changed, {} broken, {} missing, {} unreadable; {gap}run `regrant verify`",
        verification.changed,
        verification.broken,
        verification.missing,
        verification.unreadable
    )
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn progress_bar(period: Period) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {percent} % of the period read, {elapsed}")
        .expect("the template is a constant");
    ProgressBar::new(hours(period.to.duration_since(period.from))).with_style(style)
}

fn hours(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_hours()).unwrap_or_default()
}
