//! `regrant history`: one target's story in plain words, or its records as they are.

use clap::Args;
use jiff::Timestamp;
use regrant::clock::Clock;
use regrant::domain::overview::{Overview, standing};
use regrant::domain::pace::since;
use regrant::domain::record::Record;
use regrant::domain::target::Target;

use crate::Ended;
use crate::output::{Out, counted};
use crate::source::{OneTarget, Opened, Source};
use crate::words::{asked, duration, instant, left, progress, sentence};

/// Tell a target's story: what happened when, who asked and why, and Graph's ids for a support case
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant history d82eb508-acc4-43cc-bcf1-7c1c4a2c073b --db regrant-audit.db
  regrant history d82eb508-acc4-43cc-bcf1-7c1c4a2c073b --json | jq .kind

Exit codes:
  0  done
  1  failed: also if there is no record of that id, or one that cannot be read
  2  usage")]
pub struct Arguments {
    #[command(flatten)]
    target: OneTarget,
    /// The records as they are stored, one a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let opened = arguments.source.open().await?;
    opened.read(async |opened| tell(opened, &arguments).await).await
}

async fn tell(opened: &Opened, arguments: &Arguments) -> anyhow::Result<Ended> {
    let (tenant, mut out) = (opened.trail.tenant(), Out::stdout());
    let mut told = 0;
    for target in arguments.target.targets() {
        let key = target.key(tenant);
        if arguments.json {
            told += opened
                .trail
                .chain(&key, |stored| out.line(stored.record.as_deref().unwrap_or("null")))
                .await?;
        } else {
            let history = opened.trail.history(key, regrant::trail::READING_PATIENCE).await?;
            told += history.records.len() as u64;
            story(&mut out, &target, &history.records, opened, Clock::default().now())?;
        }
    }
    out.finish()?;
    anyhow::ensure!(
        told > 0,
        "there is no record of {} in the trail of tenant {tenant}",
        arguments.target.id
    );
    Ok(Ended::Well)
}

fn story(
    out: &mut Out,
    target: &Target,
    records: &[Record],
    opened: &Opened,
    now: Timestamp,
) -> anyhow::Result<()> {
    let Some(first) = records.first() else { return Ok(()) };
    let mut overview = Overview::new(target.clone());
    records.iter().for_each(|record| overview.apply(record));
    out.line(format_args!("{} {}", target.kind.as_str(), target.id))?;
    if let Some(package) = &overview.package {
        out.line(format_args!("access package {package}"))?;
    }
    let (mut before, mut repair) = (first.at, None);
    for record in records {
        if record.repair != repair {
            repair = record.repair;
            out.line(format_args!("\nrepair {}", repair.unwrap_or_default()))?;
            before = record.at;
        }
        let gap = match since(before, record.at) {
            gap if gap.is_zero() => String::new(),
            gap => format!("+{}", duration(gap)),
        };
        before = record.at;
        let head = format!("{:>4}  {}  {gap:>12}", record.seq, instant(record.at));
        if let Some(origin) = &record.origin {
            out.line(format_args!("{head}  {}", asked(record, origin)))?;
            out.line(format_args!("{:44}{}", "", sentence(record)))?;
        } else {
            out.line(format_args!("{head}  {}", sentence(record)))?;
        }
    }
    out.line("")?;
    match &overview.state.repair {
        None => out.line(format_args!(
            "settled after {} and {}",
            counted(records.len() as u64, "record"),
            duration(since(first.at, before))
        )),
        Some(repair) => {
            let window = overview.window_ends(opened.window);
            let window = window.map(|ends| format!(", window: {}", left(ends, now))).unwrap_or_default();
            let state = progress(standing(repair, now));
            out.line(format_args!(
                "open: {state}, last record {} ago{window}",
                duration(since(repair.last_at, now))
            ))
        }
    }
}
