//! One stored record as a report sees it: read, and its hash recomputed. Compares it with no other.

use crate::domain::chain::{link_hash, sha256_hex};
use crate::domain::record::{Record, RecordError};

/// One item of the table, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub pk: String,
    pub seq: u64,
    pub prev: String,
    pub hash: String,
    pub record: String,
}

/// The first half of a SHA-256: enough to tell two records or two keys apart, half the memory.
pub(super) type Digest = [u8; 16];

/// One record, its hash recomputed.
#[derive(Clone, Debug)]
pub struct Entry {
    pub pk: String,
    pub seq: u64,
    pub(super) key: Digest,
    /// `None` where the stored text is not a hash.
    pub(super) prev: Option<Digest>,
    pub(super) hash: Option<Digest>,
    /// The stored hash is the one of what is stored.
    pub(super) intact: bool,
    /// `None` if the text is not a record of this key and number.
    pub(super) record: Option<Record>,
}

impl Entry {
    /// `Err` for a record of another version: nothing that it says may be left out silently.
    pub fn read(stored: Stored) -> Result<Self, RecordError> {
        let Stored { pk, seq, prev, hash, record } = stored;
        let intact = link_hash(&pk, seq, &prev, &record) == hash;
        let read = match Record::from_json(&record) {
            Ok(record) => Some(record).filter(|record| record.seq == seq),
            Err(error @ RecordError::Version(_)) => return Err(error),
            Err(RecordError::Malformed(_)) => None,
        };
        Ok(Self { key: key_of(&pk), prev: digest(&prev), hash: digest(&hash), intact, record: read, pk, seq })
    }

    /// What is stored; `None` if the text is not a record of this number.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }
}

pub(super) fn key_of(pk: &str) -> Digest {
    digest(&sha256_hex(pk.as_bytes())).unwrap_or_default()
}

/// The first 16 bytes of 64 hexadecimal digits.
fn digest(hex: &str) -> Option<Digest> {
    let mut bytes = Digest::default();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
