//! Lists and rankings of bounded length.

use std::collections::{BTreeMap, BTreeSet};

use super::value::{Counted, Listed, Top};

/// Rows of a list; who needs more exports the trail.
const LISTED: usize = 1000;
/// Rows of a ranking.
const TOP: usize = 10;

/// The least rows of all that are added, in order.
pub(super) struct Shortlist<T> {
    rows: BTreeSet<T>,
    left_out: u64,
}

impl<T: Ord> Shortlist<T> {
    pub fn new() -> Self {
        Self { rows: BTreeSet::new(), left_out: 0 }
    }

    pub fn add(&mut self, row: T) {
        self.rows.insert(row);
        if self.rows.len() > LISTED {
            self.rows.pop_last();
            self.left_out += 1;
        }
    }

    pub fn listed(self) -> Listed<T> {
        Listed { rows: self.rows.into_iter().collect(), left_out: self.left_out }
    }
}

pub(super) fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

pub(super) fn merge<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (name, count) in from {
        *into.entry(*name).or_default() += count;
    }
}

#[expect(clippy::cast_precision_loss, reason = "no trail has 2^52 repairs")]
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The most frequent first.
pub(super) fn ranked(counts: BTreeMap<String, u64>) -> Vec<Counted> {
    let mut rows = counts.into_iter().map(|(name, count)| Counted { name, count }).collect::<Vec<_>>();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    rows
}

pub(super) fn top<T>(mut rows: Vec<T>) -> Top<T> {
    let others = rows.len().saturating_sub(TOP) as u64;
    rows.truncate(TOP);
    Top { rows, others }
}
