//! `regrant export`: the records as they are, and the heads to keep elsewhere. Changes and leaves out nothing.

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use regrant::clock::Clock;
use regrant::domain::chain::{Check, Stored, hex};
use regrant::domain::copied::recorded_at;
use regrant::domain::record::format_millis;
use regrant::trail::chains::Run;
use regrant::verify::{Period, verify_keys};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Ended;
use crate::manifest::{Whole, Writer};
use crate::output::{Closed, Out, counted, counter};
use crate::period::Days;
use crate::source::{Opened, Source};

/// Write the records as they are, as JSON Lines, and a manifest of every chain's head
///
/// Each line has `pk`, `seq`, `prev`, `hash` and `record`, the bytes that are hashed. Keep the manifest where nobody
/// who can write the table can write: `regrant verify --against` then also finds a chain computed anew, a cut tail
/// and a vanished target. The manifest holds the head of every chain with a record in the export.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant export --db regrant-audit.db -o audit.jsonl --manifest audit-manifest.json
  regrant export --from 2026-03-01 --to 2026-03-31 | gzip > march.jsonl.gz

Exit codes:
  0  done
  1  failed: also if there is no record to export
  2  usage
  3  exported, but a chain is not as it was written: see `regrant verify`")]
pub struct Arguments {
    #[command(flatten)]
    days: Days,
    /// Where to write the records; without it to stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where to write the manifest.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let period = arguments.days.period()?;
    let opened = arguments.source.open().await?;
    opened.read(async |opened| export(opened, &arguments, period).await).await
}

async fn export(opened: &Opened, arguments: &Arguments, period: Period) -> anyhow::Result<Ended> {
    let trail = &opened.trail;
    let progress = counter("records");
    let rows = RefCell::new(Rows::create(arguments.output.as_ref())?);
    let head = head(opened, arguments, period, Clock::default().now());
    let mut manifest = arguments.manifest.as_ref().map(|path| Writer::create(path, &head)).transpose()?;
    let mut odd = 0;
    // One chain: its check, how many of its records were written, and its key for them.
    let start = |key: &str| (Check::new(key), 0_u64);
    let add = |(check, written): &mut (Check, u64), stored: Stored| {
        progress.inc(1);
        check.next(&stored);
        let at = stored.record.as_deref().and_then(recorded_at);
        if at.is_none_or(|at| period.from <= at && at < period.to) {
            *written += 1;
            rows.borrow_mut().add(check.key(), stored)?;
        }
        Ok(())
    };
    let end = async |run: Run<(Check, u64)>| {
        let (check, written) = run.folded;
        let checked = check.finish();
        if !run.regular || !checked.is_clean() {
            odd += u64::from(verify_keys(trail, std::slice::from_ref(&run.key), drop).await?.findings > 0);
        }
        if let (Some(manifest), Some(head)) = (&mut manifest, checked.head.filter(|_| written > 0)) {
            manifest.add(&run.key, head)?;
        }
        Ok(())
    };
    trail.walk(opened.segments, start, add, end).await?;
    progress.finish_and_clear();
    let rows = rows.into_inner();
    anyhow::ensure!(rows.count > 0, "there is no record of that period or tenant to export");
    let (count, sha256) = rows.finish()?;
    if let Some(manifest) = manifest {
        manifest.finish(count, &sha256)?;
    }
    eprintln!("exported {}, SHA-256 {sha256}", counted(count, "record"));
    if odd > 0 {
        eprintln!("warning: {} not as written: see `regrant verify`", counted(odd, "chain"));
        return Ok(Ended::Rejected);
    }
    Ok(Ended::Well)
}

fn head(opened: &Opened, arguments: &Arguments, period: Period, now: Timestamp) -> Value {
    let edge = |given: bool, at: Timestamp| given.then(|| format_millis(at));
    json!({
        "tenantId": opened.trail.tenant(),
        "table": opened.trail.table(),
        "filter": {
            "from": edge(arguments.days.from.is_some(), period.from),
            "to": edge(arguments.days.to.is_some(), period.to),
        },
        "generatedAt": format_millis(now),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// The lines, hashed as they are written.
struct Rows {
    sink: Sink,
    hasher: Sha256,
    count: u64,
}

enum Sink {
    File(Whole),
    Stdout(Out),
}

impl Rows {
    fn create(path: Option<&PathBuf>) -> anyhow::Result<Self> {
        let sink = match path {
            Some(path) => Sink::File(Whole::create(path)?),
            None => Sink::Stdout(Out::stdout()),
        };
        Ok(Self { sink, hasher: Sha256::new(), count: 0 })
    }

    fn add(&mut self, key: &str, stored: Stored) -> anyhow::Result<()> {
        let line = line(key, stored)?;
        self.count += 1;
        self.hasher.update(line.as_bytes());
        match &mut self.sink {
            Sink::File(file) => {
                file.writer.write_all(line.as_bytes()).context("cannot write the records")?;
            }
            Sink::Stdout(out) => {
                out.text(&line)?;
                // A manifest of records that nobody took would be a lie.
                anyhow::ensure!(!out.is_closed(), Closed);
            }
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<(u64, String)> {
        match self.sink {
            Sink::File(file) => file.finish()?,
            Sink::Stdout(mut out) => out.finish()?,
        }
        Ok((self.count, hex(&self.hasher.finalize())))
    }
}

/// A number or a record that no writer of ours made is kept as a text.
fn line(key: &str, stored: Stored) -> anyhow::Result<String> {
    let seq = stored.number().map_or_else(|| Value::from(stored.seq.as_str()), Value::from);
    let text = |text: &Option<String>| serde_json::to_string(text);
    let record = match stored.record {
        Some(record) if is_one_line_of_json(&record) => record,
        record => text(&record)?,
    };
    Ok(format!(
        "{{\"pk\":{},\"seq\":{seq},\"prev\":{},\"hash\":{},\"record\":{record}}}\n",
        serde_json::to_string(key)?,
        text(&stored.prev)?,
        text(&stored.hash)?,
    ))
}

fn is_one_line_of_json(text: &str) -> bool {
    !text.contains('\n') && serde_json::from_str::<&RawValue>(text).is_ok()
}
