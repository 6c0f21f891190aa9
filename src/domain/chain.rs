//! The hash chain of one target's history: how a hash is made and how a chain is checked. Reads no table.

use sha2::{Digest, Sha256};

/// The `prev` of the first record of every chain.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
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

/// What is wrong with a chain, by sequence number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("record {0} is missing")]
    Missing(u64),
    #[error("record {0} stands twice or out of order")]
    OutOfOrder(u64),
    #[error("record {0} was changed: its hash is not the hash of what it holds")]
    Changed(u64),
    #[error("record {0} does not continue record {before}: its `prev` is another hash", before = .0 - 1)]
    Broken(u64),
    #[error("the chain ends at record {found}, but a head kept elsewhere says record {kept} existed")]
    TailCut { kept: u64, found: u64 },
    #[error("record {0} is not the one that a head kept elsewhere names: the chain was made anew")]
    Rewritten(u64),
}

/// Checks a whole chain, given in the table's order, and against a head kept elsewhere if there is one.
///
/// Without a kept head, a chain computed anew from some record on and a cut tail cannot be seen.
pub fn check(pk: &str, links: &[Link], kept: Option<&Head>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut last = Head::genesis();
    for link in links {
        if link.seq <= last.seq {
            findings.push(Finding::OutOfOrder(link.seq));
        }
        findings.extend((last.seq + 1..link.seq).map(Finding::Missing));
        if link_hash(pk, link.seq, &link.prev, &link.record) != link.hash {
            findings.push(Finding::Changed(link.seq));
        }
        if link.seq == last.seq + 1 && link.prev != last.hash {
            findings.push(Finding::Broken(link.seq));
        }
        last = Head { seq: link.seq, hash: link.hash.clone() };
    }
    if let Some(kept) = kept.filter(|kept| kept.seq > 0) {
        match links.iter().find(|link| link.seq == kept.seq) {
            Some(link) if link.hash != kept.hash => findings.push(Finding::Rewritten(kept.seq)),
            Some(_) => {}
            None if kept.seq > last.seq => {
                findings.push(Finding::TailCut { kept: kept.seq, found: last.seq })
            }
            None => {}
        }
    }
    findings
}
