//! What the records of a period show about themselves: hashes, links, gaps. Does not judge a whole chain.

use std::collections::BTreeSet;

use serde::Serialize;

use super::entry::Entry;

/// Findings kept with their key; of more, only the number.
const KEPT: usize = 1000;

/// Something that should not be, with its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub pk: String,
    pub seq: u64,
    pub fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Its hash is not the hash of what it holds.
    Changed,
    /// It does not continue the record before it.
    Broken,
    /// Its number is not there, also when the key itself is read.
    Missing,
    /// Its text is not a record of its key and number.
    Unreadable,
}

impl Fault {
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Changed => "was changed: its hash is not the hash of what it holds",
            Self::Broken => "does not continue the record before it: `prev` is another hash",
            Self::Missing => "is missing: `seq` has a gap",
            Self::Unreadable => "is not a record of its key and number",
        }
    }
}

/// The result over the period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Records whose hash was recomputed.
    pub checked: u64,
    /// Links to a predecessor that was read too.
    pub links: u64,
    pub changed: u64,
    pub broken: u64,
    pub missing: u64,
    pub unreadable: u64,
    pub findings: Vec<Finding>,
    /// Findings that are counted but not listed.
    pub left_out: u64,
    #[serde(skip)]
    pub(super) seen: BTreeSet<Finding>,
}

impl Verification {
    pub fn is_intact(&self) -> bool {
        self.changed + self.broken + self.missing + self.unreadable == 0
    }

    /// What the result shows, and what it can not.
    pub(super) fn completeness(&self) -> String {
        let Self { checked, links, changed, broken, missing, unreadable, .. } = self;
        let found = if self.is_intact() {
            "Nothing was found changed, broken or missing.".to_owned()
        } else {
            format!(
                "FOUND: {changed} changed, {broken} with a broken link, {missing} missing, {unreadable} unreadable."
            )
        };
        format!(
            "{found} The hash of each of the {checked} records read was computed again from what it holds, and \
         {links} links to a record before, where that was read too, were compared. This shows a record of the \
         period that was changed, and one that was removed or inserted between two that were read. It does not \
         show a target whose records are all gone, an end cut off, a chain computed anew, or a record that is in \
         the table but not in the index: `regrant verify` reads whole chains from the table itself, and with \
         `--against` compares them with an earlier export kept elsewhere."
        )
    }

    pub(super) fn check(&mut self, entry: &Entry) {
        self.checked += 1;
        if !entry.intact || entry.hash.is_none() {
            self.find(&entry.pk, entry.seq, Fault::Changed);
        }
        if entry.record.is_none() {
            self.find(&entry.pk, entry.seq, Fault::Unreadable);
        }
    }

    /// Once for each record and fault, however often it is read.
    pub(super) fn find(&mut self, pk: &str, seq: u64, fault: Fault) {
        let finding = Finding { pk: pk.to_owned(), seq, fault };
        if self.seen.contains(&finding) {
            return;
        }
        match fault {
            Fault::Changed => self.changed += 1,
            Fault::Broken => self.broken += 1,
            Fault::Missing => self.missing += 1,
            Fault::Unreadable => self.unreadable += 1,
        }
        if self.seen.len() < KEPT {
            self.seen.insert(finding);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn close(&mut self) {
        self.findings = std::mem::take(&mut self.seen).into_iter().collect();
    }
}
