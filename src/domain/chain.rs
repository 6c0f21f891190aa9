//! The hash chain of one target's history: how a hash is made and how a chain is checked. Reads no table.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::copied::{Copied, differences};

/// The `prev` of the first record of every chain.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Of one chain, so many findings are listed; a table that was overwritten as a whole must not fill the memory.
const MOST_FINDINGS: usize = 1000;

/// SHA-256, lower-case hex, of `regrant/1`, key, sequence number, previous hash and record, a line each.
pub fn link_hash(pk: &str, seq: u64, prev: &str, record: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"regrant/1\n");
    hasher.update(pk.as_bytes());
    hasher.update(b"\n");
    hasher.update(seq.to_string().as_bytes());
    hasher.update(b"\n");
    hasher.update(prev.as_bytes());
    hasher.update(b"\n");
    hasher.update(record.as_bytes());
    hex(&hasher.finalize())
}

/// SHA-256 of `bytes` in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
        text
    })
}

/// One stored record as the chain sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub seq: u64,
    pub prev: String,
    pub hash: String,
    pub record: String,
}

/// Where a chain ends: what an auditor keeps elsewhere to find a later change of the whole chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub hash: String,
}

impl Head {
    /// The head of a chain without records.
    pub fn genesis() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// One item as it lies in the table, also one that no writer of ours made. `None` stands for an attribute that
/// is absent or not a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The number as the table gives it: a forger may use fractions.
    pub seq: String,
    pub prev: Option<String>,
    pub hash: Option<String>,
    pub record: Option<String>,
    pub copied: Copied,
}

impl Stored {
    /// The number, if it is one that the writer could have used.
    pub fn number(&self) -> Option<u64> {
        self.seq.parse().ok().filter(|number| *number > 0)
    }
}

/// What is wrong with a chain, by sequence number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("missing: {}", between(*.first, *.last))]
    Missing { first: u64, last: u64 },
    #[error("out of order: record {0} stands twice or behind a later one")]
    OutOfOrder(u64),
    #[error("inserted: no writer of the trail uses the number {0}")]
    Inserted(String),
    #[error("changed: the hash of record {0} is not the hash of what it holds")]
    Changed(u64),
    #[error("broken: record {0} does not continue {before}: its `prev` is another hash", before = before(*.0))]
    Broken(u64),
    #[error("torn: record {seq}: {what}")]
    Torn { seq: u64, what: String },
    #[error("copied attribute: record {seq}: {what}")]
    Copied { seq: u64, what: String },
    #[error("misfiled: record {seq} says that it is {what}")]
    Misfiled { seq: u64, what: String },
    #[error("cut: the chain ends at record {found}, but the manifest names record {kept}")]
    TailCut { kept: u64, found: u64 },
    #[error("made anew: record {0} is not the one that the manifest names")]
    Rewritten(u64),
    #[error("vanished: there is no record under this key, but the manifest names record {0}")]
    Vanished(u64),
}

fn between(first: u64, last: u64) -> String {
    match first == last {
        true => format!("record {first}"),
        false => format!("records {first} to {last}"),
    }
}

fn before(seq: u64) -> String {
    match seq {
        1 => "an empty chain".to_owned(),
        _ => format!("record {}", seq - 1),
    }
}

/// A chain under check: takes its items one after the other, in the table's order, and keeps none of them.
///
/// A chain computed anew from some record on, and a cut tail, cannot be seen here: compare with [`against`].
#[derive(Clone, Debug)]
pub struct Check {
    key: String,
    last: u64,
    /// Absent where the last item had none.
    last_hash: Option<String>,
    checked: Checked,
}

/// What the check of one chain gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub records: u64,
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub more: u64,
    /// Records of a version that only a newer regrant can compare with their attributes; their hashes are checked.
    pub newer: u64,
    /// The earliest and the latest time of recording that the records tell.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The last record's number and stored hash; `None` without one.
    pub head: Option<Head>,
}

impl Checked {
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn found(&mut self, finding: Finding) {
        if self.findings.len() < MOST_FINDINGS { self.findings.push(finding) } else { self.more += 1 }
    }

    fn seen_at(&mut self, at: Timestamp) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }
}

impl Check {
    pub fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            last: 0,
            last_hash: Some(GENESIS.to_owned()),
            checked: Checked::default(),
        }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn next(&mut self, item: &Stored) {
        let Some(seq) = item.number() else {
            self.checked.records += 1;
            self.checked.found(Finding::Inserted(item.seq.clone()));
            return;
        };
        for (name, value) in [("prev", &item.prev), ("hash", &item.hash), ("record", &item.record)] {
            if value.is_none() {
                self.checked.found(Finding::Torn { seq, what: format!("`{name}` is absent or not a text") });
            }
        }
        self.link(seq, item.prev.as_deref(), item.hash.as_deref(), item.record.as_deref());
        if let Some(record) = &item.record {
            let told = differences(&self.key, seq, record, &item.copied);
            told.findings.into_iter().for_each(|finding| self.checked.found(finding));
            self.checked.newer += u64::from(told.newer);
            told.at.into_iter().for_each(|at| self.checked.seen_at(at));
        }
    }

    /// The order and the hashes alone.
    fn link(&mut self, seq: u64, prev: Option<&str>, hash: Option<&str>, record: Option<&str>) {
        self.checked.records += 1;
        if seq <= self.last {
            self.checked.found(Finding::OutOfOrder(seq));
        } else if seq > self.last + 1 {
            self.checked.found(Finding::Missing { first: self.last + 1, last: seq - 1 });
        }
        if let (Some(prev), Some(hash), Some(record)) = (prev, hash, record)
            && link_hash(&self.key, seq, prev, record) != hash
        {
            self.checked.found(Finding::Changed(seq));
        }
        if let (Some(prev), Some(last)) = (prev, &self.last_hash)
            && seq == self.last + 1
            && prev != last
        {
            self.checked.found(Finding::Broken(seq));
        }
        if seq > self.last {
            self.last = seq;
            self.last_hash = hash.map(str::to_owned);
            self.checked.head = hash.map(|hash| Head { seq, hash: hash.to_owned() });
        }
    }

    pub fn finish(self) -> Checked {
        self.checked
    }
}

/// Checks the order and the hashes of a whole chain, and against a head kept elsewhere if there is one.
pub fn check(pk: &str, links: &[Link], kept: Option<&Head>) -> Vec<Finding> {
    let mut check = Check::new(pk);
    for Link { seq, prev, hash, record } in links {
        check.link(*seq, Some(prev), Some(hash), Some(record));
    }
    let mut checked = check.finish();
    if let Some(kept) = kept {
        let same = links.iter().find(|link| link.seq == kept.seq).map(|link| link.hash.as_str());
        let last = checked.head.as_ref().map_or(0, |head| head.seq);
        checked.findings.extend(against(kept, same, Some(last)));
    }
    checked.findings
}

/// Compares a head kept elsewhere with the table: the hash under its number, and the last number of the chain.
pub fn against(kept: &Head, hash: Option<&str>, last: Option<u64>) -> Option<Finding> {
    match (hash, last) {
        (Some(hash), _) if hash == kept.hash => None,
        (Some(_), _) => Some(Finding::Rewritten(kept.seq)),
        (None, Some(found)) if found < kept.seq => Some(Finding::TailCut { kept: kept.seq, found }),
        (None, Some(_)) => Some(Finding::Missing { first: kept.seq, last: kept.seq }),
        (None, None) => Some(Finding::Vanished(kept.seq)),
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
