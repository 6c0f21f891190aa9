//! `regrant verify`: says whether the trail is as it was written, and what it cannot tell.

use std::cell::RefCell;
use std::path::PathBuf;

use clap::Args;
use regrant::domain::target::Guid;
use regrant::verify::{Found, Period, Tally, verify_against, verify_all, verify_keys};

use crate::Ended;
use crate::manifest::heads;
use crate::output::{Out, counted, counter};
use crate::period::Days;
use crate::source::{Kind, Opened, Source, keys, parse_id};

/// Recompute the hash chains from the table and find what was changed, removed, inserted or torn
///
/// Reads whole chains with strongly consistent reads, not through the index. A chain belongs to a period if its
/// first record is not after it and its last not before it. Each finding is a line: the key, and what is wrong.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant verify --db regrant-audit.db
  regrant verify --from 2026-03-01 --to 2026-03-31
  regrant verify d82eb508-acc4-43cc-bcf1-7c1c4a2c073b --against march-manifest.json

Exit codes:
  0  everything read is as it was written, as far as this can tell (it says what it cannot)
  1  failed: the table cannot be read, there is nothing to verify, or a record is of a newer version
  2  usage
  3  findings")]
pub struct Arguments {
    /// Only the chains of this id: an assignment, an assignment request, or a rejected message.
    #[arg(value_parser = parse_id)]
    id: Option<Guid>,
    /// Which kind the id is; without it, every kind.
    #[arg(long, value_name = "KIND", requires = "id")]
    target: Option<Kind>,
    #[command(flatten)]
    days: Days,
    /// A manifest of an earlier export, kept elsewhere: its heads are compared too.
    #[arg(long, value_name = "MANIFEST")]
    against: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let period = arguments.days.period()?;
    let opened = arguments.source.open().await?;
    opened.read(async |opened| verify(opened, &arguments, period).await).await
}

async fn verify(opened: &Opened, arguments: &Arguments, period: Period) -> anyhow::Result<Ended> {
    let trail = &opened.trail;
    let progress = counter("records");
    // Written from several places, one after the other.
    let out = RefCell::new((Out::stdout(), Ok(())));
    let found = |Found { key, finding }: Found| {
        let (out, failed) = &mut *out.borrow_mut();
        if failed.is_ok() {
            *failed = out.line(format_args!("{key}  {finding}"));
        }
    };
    let only = arguments.id.as_ref().map(|id| keys(trail.tenant(), id, arguments.target));
    let mut tally = match &only {
        Some(keys) => verify_keys(trail, keys, found).await?,
        None => verify_all(trail, opened.segments, period, found, || progress.inc(1)).await?,
    };
    if let Some(path) = &arguments.against {
        let heads = heads(path, trail.tenant())?.filter(|kept| match (kept, &only) {
            (Ok(kept), Some(keys)) => keys.contains(&kept.key),
            _ => true,
        });
        verify_against(trail, heads, found, &mut tally).await?;
    }
    progress.finish_and_clear();
    let (mut out, failed) = out.into_inner();
    failed?;
    out.line(summary(&tally, trail.tenant(), arguments.against.is_some()))?;
    out.finish()?;
    Ok(judge(&tally))
}

/// What was found weighs more than what could not be read.
fn judge(tally: &Tally) -> Ended {
    if tally.newer > 0 {
        eprintln!(
            "error: {} of a newer version: the hashes were checked, the attributes could not be compared; use a newer regrant",
            counted(tally.newer, "record")
        );
    }
    if tally.chains == 0 {
        eprintln!("error: nothing to verify: there is no record of that id, period or tenant");
    }
    if tally.findings > 0 {
        Ended::Rejected
    } else if tally.newer > 0 || tally.chains == 0 {
        Ended::Failed
    } else {
        Ended::Well
    }
}

fn summary(tally: &Tally, tenant: &Guid, with_manifest: bool) -> String {
    let records = counted(tally.records, "record");
    let chains = counted(tally.chains, "chain");
    let heads = match with_manifest {
        true => format!(", {} of the manifest compared", counted(tally.heads, "head")),
        false => String::new(),
    };
    let findings = match tally.findings {
        0 => "no findings".to_owned(),
        findings => counted(findings, "finding"),
    };
    let foreign = match tally.foreign {
        0 => String::new(),
        foreign => format!("Not checked: {} of other tenants.\n", counted(foreign, "record")),
    };
    let probes = match tally.probes {
        0 => String::new(),
        probes => format!("Not records: {} of `regrant doctor --insert`.\n", counted(probes, "item")),
    };
    let blind = match with_manifest {
        true => "\
Not detectable: whatever was done to records made after the manifest, except that changing, removing or inserting
one before the end of its chain breaks the chain; and a false record put at the end by someone who may insert.",
        false => "\
Not detectable without a manifest kept elsewhere (--against): a chain computed anew from some record on, records
cut off its end, a target removed as a whole. And never: a false record put at the end by someone who may insert.",
    };
    format!("{findings}: {records} in {chains} of tenant {tenant} checked{heads}\n{foreign}{probes}{blind}")
}
