//! The report as a value, with the names under which it is printed as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::integrity::Verification;
use crate::domain::record::{Outcome, Verdict};
use crate::domain::target::{Guid, TargetKind};

/// Everything that is reported, but for the attempts themselves: those are handed out while the trail is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub header: Header,
    pub totals: Totals,
    pub recovery: Recovery,
    pub time_to_delivery: TimeToDelivery,
    pub endings: Endings,
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Attempts that have not ended in the trail.
    pub unended: u64,
    pub verdicts: BTreeMap<Verdict, u64>,
    pub throttling: Throttling,
    /// How many targets had so many attempts in the period; the last line is that many or more.
    pub attempts_per_target: Vec<AttemptsPerTarget>,
    pub days: Vec<Day>,
    pub open: Open,
    pub ended_otherwise: BTreeMap<Verdict, u64>,
    pub abandoned_by_reason: Vec<Counted>,
    pub skipped_by_reason: Vec<Counted>,
    /// Rejected attempts by Graph's error code, or by status where Graph gave none.
    pub rejected_by_error_code: Vec<Counted>,
    pub access_packages: Top<AccessPackage>,
    pub requesters: Top<Counted>,
    pub unresolved: Listed<Unresolved>,
    pub abandoned: Listed<Abandoned>,
    pub rejected_messages: Listed<RejectedMessage>,
    pub verification: Verification,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    pub tenant: Guid,
    pub from: Timestamp,
    /// The first instant after the period.
    pub to: Timestamp,
    pub filter: String,
    pub generated_at: Timestamp,
    /// What was recorded from here on may still change: the index lags and clocks differ.
    pub not_final_from: Option<Timestamp>,
    /// Of the period, through the index.
    pub rows_read: u64,
    /// By target, to follow open repairs and to settle doubts.
    pub rows_followed: u64,
    pub completeness: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    pub targets: u64,
    pub repairs: u64,
    /// Repairs with an attempt.
    pub tried: u64,
    pub requests: u64,
    pub attempts: u64,
    pub rejected_messages: u64,
}

/// Rates are parts of one, of the repairs tried; absent where none was.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// Delivered, and Graph's state was seen to move.
    pub recovered: u64,
    pub rate: Option<f64>,
    /// Recovered by their first attempt.
    pub first_try: u64,
    pub first_try_rate: Option<f64>,
    /// Accepted and delivered as Graph says, but its state never moved: nothing proves it.
    pub not_verifiable: u64,
}

/// From the first attempt to the record that says delivered, of recovered repairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeToDelivery {
    /// By nearest rank, at most 0.1 % high; absent where nothing was recovered.
    pub median_ms: Option<u64>,
    pub p95_ms: Option<u64>,
    pub bands: Vec<Counted>,
}

/// How repairs ended; each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endings {
    pub recovered: u64,
    pub not_verifiable: u64,
    /// At rest in a state other than delivered.
    pub otherwise: u64,
    pub abandoned: u64,
    pub skipped: u64,
    pub open: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    pub throttled: u64,
    pub ended: u64,
    pub share: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptsPerTarget {
    pub attempts: u32,
    pub targets: u64,
}

/// All that belongs to one day: to repairs that began on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Day {
    pub day: Date,
    pub is_final: bool,
    pub repairs: u64,
    pub endings: Endings,
    pub outcomes: BTreeMap<Outcome, u64>,
    pub unended: u64,
    pub verdicts: BTreeMap<Verdict, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    pub total: u64,
    pub in_doubt: u64,
    /// Since when the oldest one is.
    pub oldest_in_doubt: Option<Timestamp>,
    pub delivering: u64,
    pub put_off: u64,
    pub by_days_left: DaysLeft,
}

/// Until Graph stops allowing a reprocess.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DaysLeft {
    pub over_seven: u64,
    pub three_to_seven: u64,
    pub one_to_three: u64,
    pub under_one: u64,
    pub closed: u64,
    /// Assignments have no window, and of a repair without an attempt none is known.
    pub no_deadline_known: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    pub name: String,
    pub count: u64,
}

/// The largest few.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Top<T> {
    pub rows: Vec<T>,
    /// How many others there are.
    pub others: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessPackage {
    pub id: String,
    pub repairs: u64,
    pub recovered: u64,
    /// Open or abandoned.
    pub unresolved: u64,
}

/// A list of bounded length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed<T> {
    pub rows: Vec<T>,
    pub left_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unresolved {
    pub deadline: Option<Timestamp>,
    pub target: TargetKind,
    pub id: Guid,
    pub repair: u64,
    /// `inDoubt`, `delivering` or `putOff`.
    pub stage: String,
    pub state: Option<String>,
    pub began: Timestamp,
    pub attempts: u64,
    pub last_record: Timestamp,
    pub access_package_id: Option<String>,
    pub ticket: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Abandoned {
    pub at: Timestamp,
    pub target: TargetKind,
    pub id: Guid,
    pub repair: u64,
    pub why: String,
    pub state: Option<String>,
    pub attempts: u64,
    pub access_package_id: Option<String>,
    pub ticket: Option<String>,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedMessage {
    pub at: Timestamp,
    pub message_id: String,
    pub error: String,
    /// As recorded: redacted, up to 4 KB.
    pub body: String,
    pub body_sha256: String,
}
