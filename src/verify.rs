//! Verification: whole chains re-computed from the table, and compared with the heads of an earlier export.
//!
//! Reads only; prints nothing. What cannot be seen from the table alone: a chain computed anew from some record
//! on, a cut tail, a vanished target. Those need heads that were kept elsewhere.

use jiff::Timestamp;

use crate::domain::chain::{Check, Checked, Finding, Head, against};
use crate::trail::Trail;
use crate::trail::chains::Run;
use crate::trail::heads::MOST_KEYS;

/// A chain that changes while it is read is read again so often before what was found is believed.
const MOST_READINGS: u32 = 3;

/// From the first to before the second; chains that have no record, and no gap, within are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Period {
    /// Everything.
    pub const ALL: Self = Self { from: Timestamp::MIN, to: Timestamp::MAX };

    /// Whether a chain that begins and ends so belongs to the period; one whose times are unreadable does.
    pub fn touches(&self, span: Option<(Timestamp, Timestamp)>) -> bool {
        span.is_none_or(|(first, last)| first < self.to && last >= self.from)
    }
}

/// A finding with the key it is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub key: String,
    pub finding: Finding,
}

/// What a verification counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub chains: u64,
    pub records: u64,
    pub findings: u64,
    /// Records of a newer version, whose attributes could not be compared.
    pub newer: u64,
    /// Items under keys of other tenants, which were not checked.
    pub foreign: u64,
    /// Items that `regrant doctor --insert` left: not records.
    pub probes: u64,
    /// Heads kept elsewhere that were compared.
    pub heads: u64,
}

impl Tally {
    /// `owns_start` is false for a part of a chain that the walk met elsewhere.
    fn add(&mut self, key: &str, checked: Checked, owns_start: bool, found: &mut impl FnMut(Found)) {
        self.chains += u64::from(owns_start);
        self.findings += checked.findings.len() as u64 + checked.more;
        self.newer += checked.newer;
        for finding in checked.findings {
            found(Found { key: key.to_owned(), finding });
        }
    }
}

/// Checks every chain of the tenant that touches `period`, handing over each finding as it is made. `progress`
/// hears of every item read.
pub async fn verify_all(
    trail: &Trail,
    segments: usize,
    period: Period,
    mut found: impl FnMut(Found),
    progress: impl Fn(),
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let add = |check: &mut Check, stored| {
        check.next(&stored);
        progress();
        Ok(())
    };
    let end = async |run: Run<Check>| {
        let Run { key, first, regular, folded, .. } = run;
        let mut checked = folded.finish();
        let (items, mut owns_start) = (checked.records, true);
        if !regular || !checked.is_clean() {
            let whole = verify_chain(trail, &key).await?;
            owns_start = whole.first.is_none_or(|whole| whole == first);
            checked = whole.checked;
        }
        if period.touches(checked.span) {
            tally.records += items;
            tally.add(&key, checked, owns_start, &mut found);
        }
        Ok(())
    };
    let walked = trail.walk(segments, Check::new, add, end).await?;
    (tally.foreign, tally.probes) = (walked.foreign, walked.probes);
    Ok(tally)
}

/// Checks the chains under these keys, as far as there are any.
pub async fn verify_keys(
    trail: &Trail,
    keys: &[String],
    mut found: impl FnMut(Found),
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for key in keys {
        let Whole { checked, first } = verify_chain(trail, key).await?;
        if first.is_some() {
            tally.records += checked.records;
            tally.add(key, checked, true, &mut found);
        }
    }
    Ok(tally)
}

struct Whole {
    checked: Checked,
    /// The number of the first item; `None` if there is none.
    first: Option<String>,
}

/// One chain by itself. A Query is no snapshot: a record appended meanwhile may be seen without the one before
/// it, so that findings are believed only when they stay.
async fn verify_chain(trail: &Trail, key: &str) -> anyhow::Result<Whole> {
    let mut readings = 0;
    loop {
        let (mut check, mut first) = (Check::new(key), None);
        trail
            .chain(key, |stored| {
                first.get_or_insert_with(|| stored.seq.clone());
                check.next(&stored);
                Ok(())
            })
            .await?;
        let checked = check.finish();
        readings += 1;
        if checked.is_clean() || readings == MOST_READINGS {
            return Ok(Whole { checked, first });
        }
    }
}

/// A head of an earlier export, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub key: String,
    pub head: Head,
}

/// Compares heads kept elsewhere with the table, a hundred at a time.
pub async fn verify_against(
    trail: &Trail,
    heads: impl Iterator<Item = anyhow::Result<Kept>>,
    mut found: impl FnMut(Found),
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(MOST_KEYS);
    for kept in heads {
        batch.push(kept?);
        if batch.len() == MOST_KEYS {
            compare(trail, std::mem::take(&mut batch), &mut found, tally).await?;
        }
    }
    compare(trail, batch, &mut found, tally).await
}

async fn compare(
    trail: &Trail,
    batch: Vec<Kept>,
    found: &mut impl FnMut(Found),
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut keys = batch.iter().map(|kept| (kept.key.clone(), kept.head.seq)).collect::<Vec<_>>();
    keys.sort();
    keys.dedup();
    let hashes = trail.hashes(&keys).await?;
    for Kept { key, head } in batch {
        let hash = hashes.get(&(key.clone(), head.seq)).map(String::as_str);
        let last = if hash.is_none() { trail.last_number(&key).await? } else { None };
        tally.heads += 1;
        if let Some(finding) = against(&head, hash, last) {
            tally.findings += 1;
            found(Found { key, finding });
        }
    }
    Ok(())
}
