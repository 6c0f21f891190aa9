//! The trail of one run, folded to a row for each repair and each rejected message. Prints nothing.

use std::collections::BTreeMap;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use regrant::domain::record::{Fact, Outcome, Record, Verdict, stored_name};
use regrant::domain::target::{Target, TargetKind};

use super::input::Input;
use crate::Ended;

/// One repair, or one message that is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Kind and short id.
    pub target: String,
    pub attempts: u32,
    /// Of the last attempt that ended.
    pub outcome: Option<Outcome>,
    /// The verdict, or why there is none.
    pub verdict: String,
    pub ended: Ended,
    /// From the first record to the last.
    pub took: Took,
}

/// When a row's records were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    InThisRun(SignedDuration),
    EarlierRun,
    Never,
}

impl Row {
    /// The whole run: what is open weighs more than what ended badly.
    pub fn ended(rows: &[Self]) -> Ended {
        let any = |ended| rows.iter().any(|row| row.ended == ended);
        if any(Ended::TryLater) {
            Ended::TryLater
        } else if any(Ended::Rejected) {
            Ended::Rejected
        } else {
            Ended::Well
        }
    }
}

/// Every record of the trail, in the order of recording.
pub async fn read_trail(client: &Client, table: &str) -> anyhow::Result<Vec<Record>> {
    let mut pages = client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
    let mut records = Vec::new();
    while let Some(item) = pages.next().await {
        let item = item.context("failed to read the trail")?;
        let text = item.get("record").and_then(|record| record.as_s().ok());
        let text = text.context("an item of the trail has no `record`")?;
        records.push(Record::from_json(text).context("failed to read a record of the trail")?);
    }
    records.sort_by_key(|record| (record.at, record.seq));
    Ok(records)
}

/// Kind and first characters of the id, or the message.
pub fn short_name(record: &Record) -> String {
    let (kind, id) = match (&record.target, &record.id) {
        (Some(kind), Some(id)) => (kind.as_str(), id.as_str()),
        _ => ("message", record.request_id.as_str()),
    };
    format!("{kind} {}", id.chars().take(8).collect::<String>())
}

/// Whether the record was made in the run that began at `started`; records are stamped in whole milliseconds.
pub fn is_of_run(record: &Record, started: Timestamp) -> bool {
    record.at.as_millisecond() >= started.as_millisecond()
}

/// A row for each repair that got a record since `started`, by its first record; then one for each target of the
/// files that got none because it was settled before.
pub fn rows(trail: &[Record], started: Timestamp, input: &Input) -> Vec<Row> {
    let mut rejected = Vec::new();
    let mut repairs = BTreeMap::<(Target, u64), Vec<&Record>>::new();
    for record in trail {
        match (record.target, &record.id, record.repair) {
            (Some(kind), Some(id), Some(repair)) => {
                repairs.entry((Target { kind, id: id.clone() }, repair)).or_default().push(record);
            }
            _ if is_of_run(record, started) => rejected.push(record),
            _ => {}
        }
    }
    let is_recent = |records: &[&Record]| records.iter().any(|record| is_of_run(record, started));
    let mut recent = repairs.values().filter(|records| is_recent(records)).collect::<Vec<_>>();
    recent.sort_by_key(|records| records.first().map(|record| record.at));
    let mut rows = recent.into_iter().filter_map(|records| repair_row(records)).collect::<Vec<_>>();
    for target in &input.targets {
        let mut of_target = repairs.iter().filter(|((of, _), _)| of == target).map(|(_, records)| records);
        match of_target.next_back() {
            Some(records) if is_recent(records) => {}
            Some(records) => {
                rows.extend(repair_row(records).map(|row| Row { took: Took::EarlierRun, ..row }))
            }
            None => rows.push(Row {
                target: format!("{} {}", target.kind.as_str(), &target.id.as_str()[..8]),
                attempts: 0,
                outcome: None,
                verdict: "no record".to_owned(),
                ended: Ended::TryLater,
                took: Took::Never,
            }),
        }
    }
    rows.extend(rejected.into_iter().map(rejected_row));
    rows
}

fn rejected_row(record: &Record) -> Row {
    let error = match &record.fact {
        Fact::MessageRejected { error, .. } => error.as_str(),
        _ => "a record without a target",
    };
    Row {
        target: short_name(record),
        attempts: 0,
        outcome: None,
        verdict: format!("invalid: {error}"),
        ended: Ended::Well,
        took: Took::InThisRun(SignedDuration::ZERO),
    }
}

fn repair_row(records: &[&Record]) -> Option<Row> {
    let (first, last) = (records.first()?, records.last()?);
    let attempts = records.iter().filter(|record| matches!(record.fact, Fact::AttemptStarted(_))).count();
    let (verdict, ended) = end(last);
    Some(Row {
        target: short_name(first),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        outcome: records.iter().filter_map(|record| record.fact.outcome()).next_back(),
        verdict,
        ended,
        took: Took::InThisRun(last.at.duration_since(first.at)),
    })
}

/// How the repair stands after its last record.
fn end(last: &Record) -> (String, Ended) {
    match &last.fact {
        Fact::DeliveryObserved(observed) => {
            let failed = matches!(observed.verdict, Verdict::DeliveryFailed | Verdict::PartiallyDelivered);
            let ended = match observed.verdict {
                Verdict::Delivered => Ended::Well,
                // A request that failed again is tried again, or abandoned with a record of its own.
                _ if failed && last.target == Some(TargetKind::AssignmentRequest) => Ended::TryLater,
                _ => Ended::Rejected,
            };
            (stored_name(&observed.verdict), ended)
        }
        Fact::RequestSkipped { why, state } => {
            let state = state.as_ref().map(|state| format!(" ({state})")).unwrap_or_default();
            (format!("skipped: {}{state}", stored_name(why)), Ended::Well)
        }
        Fact::RequestAbandoned { why, .. } => (format!("abandoned: {}", stored_name(why)), Ended::Rejected),
        open => (format!("open after {}", open.kind()), Ended::TryLater),
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
