//! The fold: records in, a report out. Keeps open repairs, a line for each target, and counts.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::entry::{Digest, Entry, key_of};
use super::figures::Figures;
use super::integrity::{Fault, Verification};
use super::repair::Repair;
use super::value::Report;
use crate::domain::record::{Fact, Record};
use crate::domain::target::{Guid, Target};

/// Of one gap, at most so many numbers are named; a forged `seq` must not keep the report busy.
const NAMED_IN_A_GAP: u64 = 1000;

/// What is reported on.
#[derive(Clone, Debug)]
pub struct Scope {
    pub tenant: Guid,
    /// The first instant of the period.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// When the report is made.
    pub now: Timestamp,
    /// How long after completion Graph allows a reprocess.
    pub window: SignedDuration,
}

/// A key to read for itself, in `seq` order: the records behind number `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    pub pk: String,
    pub after: u64,
}

/// Records so far.
pub struct Fold {
    scope: Scope,
    tails: HashMap<Digest, Tail>,
    open: HashMap<Digest, Repair>,
    /// Keys whose records did not follow one another, and the number from which to read them again.
    doubtful: BTreeMap<String, u64>,
    finished: Vec<Repair>,
    figures: Figures,
    verification: Verification,
    rows_read: u64,
    rows_followed: u64,
    /// The period is read.
    is_following: bool,
}

/// How far a target's records were seen, and which of its repairs are counted. Kept for every target: small.
struct Tail {
    hash: Option<Digest>,
    seq: u32,
    attempts: u32,
    is_counted: bool,
    first_counted: u32,
    last_counted: u32,
}

impl Tail {
    /// Whether it was counted from the index. What is seen of a target there has no gap, or it would be in doubt,
    /// so a range names its repairs.
    fn has_counted(&self, repair: u64) -> bool {
        self.last_counted > 0
            && (u64::from(self.first_counted)..=u64::from(self.last_counted)).contains(&repair)
    }
}

impl Fold {
    pub fn new(scope: Scope) -> Self {
        Self {
            figures: Figures::new(&scope),
            scope,
            tails: HashMap::new(),
            open: HashMap::new(),
            doubtful: BTreeMap::new(),
            finished: Vec::new(),
            verification: Verification::default(),
            rows_read: 0,
            rows_followed: 0,
            is_following: false,
        }
    }

    /// Takes a record of the period, in the order of `at` (as far as the index gives it).
    pub fn push(&mut self, entry: Entry) {
        self.rows_read += 1;
        self.verification.check(&entry);
        let expected = self.tails.get(&entry.key).map(|tail| u64::from(tail.seq) + 1);
        if let Some(from) = self.doubtful.get_mut(&entry.pk) {
            *from = entry.seq.min(*from);
            return;
        }
        if let Some(expected) = expected.filter(|expected| *expected != entry.seq) {
            let begun = self.open.remove(&entry.key).map(|repair| repair.first_seq);
            let from = begun.unwrap_or(expected).min(expected).min(entry.seq);
            self.doubtful.insert(entry.pk, from);
            return;
        }
        self.link(&entry);
        self.apply(entry);
    }

    /// What to read for itself once the period is read: open repairs to their end, doubtful keys again.
    pub fn to_follow(&mut self) -> Vec<Follow> {
        self.is_following = true;
        let tenant = &self.scope.tenant;
        let open = self.open.values().map(|repair| repair.target.key(tenant));
        let mut follow = open
            .map(|pk| {
                let after = self.tails.get(&key_of(&pk)).map_or(0, |tail| u64::from(tail.seq));
                Follow { pk, after }
            })
            .collect::<Vec<_>>();
        for (pk, from) in std::mem::take(&mut self.doubtful) {
            let after = from.saturating_sub(1);
            if let Some(tail) = self.tails.get_mut(&key_of(&pk)) {
                (tail.seq, tail.hash) = (to_u32(after), None);
            }
            follow.push(Follow { pk, after });
        }
        follow.sort_by(|a, b| a.pk.cmp(&b.pk));
        follow
    }

    /// Takes a record of a key that [`Fold::to_follow`] named, in `seq` order.
    pub fn follow(&mut self, entry: Entry) {
        self.rows_followed += 1;
        self.verification.check(&entry);
        let expected = self.tails.get(&entry.key).map_or(1, |tail| u64::from(tail.seq) + 1);
        for missing in (expected..entry.seq).take(usize::try_from(NAMED_IN_A_GAP).unwrap_or(usize::MAX)) {
            self.verification.find(&entry.pk, missing, Fault::Missing);
        }
        if entry.seq != expected {
            self.tails.entry(entry.key).and_modify(|tail| tail.hash = None);
        }
        self.link(&entry);
        self.apply(entry);
    }

    /// The repairs settled since this was last asked, with every attempt.
    pub fn take_finished(&mut self) -> Vec<Repair> {
        std::mem::take(&mut self.finished)
    }

    /// The report, and the repairs that are still open.
    pub fn finish(mut self) -> (Report, Vec<Repair>) {
        let mut open = std::mem::take(&mut self.open).into_values().collect::<Vec<_>>();
        open.sort_by(|a, b| (a.first_at, &a.target).cmp(&(b.first_at, &b.target)));
        for repair in &open {
            self.count(repair);
        }
        for tail in self.tails.values().filter(|tail| tail.is_counted) {
            self.figures.add_target(tail.attempts);
        }
        self.verification.close();
        (self.figures.report(&self.scope, self.verification, self.rows_read, self.rows_followed), open)
    }

    /// Checks the link to the record before, and notes where the target's records end.
    fn link(&mut self, entry: &Entry) {
        let genesis = (entry.seq == 1).then(Digest::default);
        let tail = self.tails.entry(entry.key).or_insert(Tail {
            hash: None,
            seq: 0,
            attempts: 0,
            is_counted: false,
            first_counted: 0,
            last_counted: 0,
        });
        if let Some(expected) = genesis.or(tail.hash) {
            self.verification.links += 1;
            if entry.prev != Some(expected) {
                self.verification.find(&entry.pk, entry.seq, Fault::Broken);
            }
        }
        (tail.seq, tail.hash) = (to_u32(entry.seq), entry.hash);
    }

    fn apply(&mut self, entry: Entry) {
        let Entry { pk, seq, key, record: Some(record), .. } = entry else { return };
        if matches!(record.fact, Fact::MessageRejected { .. }) {
            if self.is_in_period(&record) {
                self.figures.add_rejected_message(record);
            }
            return;
        }
        let (Some(kind), Some(id), Some(number)) = (record.target, record.id.clone(), record.repair) else {
            self.verification.find(&pk, seq, Fault::Unreadable);
            return;
        };
        // A record of an older repair (its caller came back late) changes nothing: that repair is over.
        let open = self.open.get(&key).map(|repair| repair.number);
        if open == Some(number) {
            if let Some(repair) = self.open.get_mut(&key) {
                repair.note(record);
            }
        } else if Repair::begins_with(&record)
            && self.is_in_period(&record)
            && !self.tails.get(&key).is_some_and(|tail| tail.has_counted(number))
        {
            // Only a damaged chain lacks the settling record of the one before.
            if let Some(unsettled) = self.open.insert(key, Repair::begin(Target { kind, id }, number, record))
            {
                self.count(&unsettled);
                self.finished.push(unsettled);
            }
        }
        if self.open.get(&key).is_some_and(Repair::is_settled)
            && let Some(settled) = self.open.remove(&key)
        {
            self.count(&settled);
            self.finished.push(settled);
        }
    }

    fn count(&mut self, repair: &Repair) {
        self.figures.add(repair, &self.scope);
        if let Some(tail) = self.tails.get_mut(&key_of(&repair.target.key(&self.scope.tenant))) {
            tail.attempts += to_u32(repair.attempts.len() as u64);
            tail.is_counted = true;
            if !self.is_following {
                tail.last_counted = to_u32(repair.number);
                if tail.first_counted == 0 {
                    tail.first_counted = tail.last_counted;
                }
            }
        }
    }

    fn is_in_period(&self, record: &Record) -> bool {
        self.scope.from <= record.at && record.at < self.scope.to
    }
}

/// No chain is that long; one that says so is damaged, and is found by the gap.
fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
