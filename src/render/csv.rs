//! One row an attempt, with its verdict and its repair's ending. Repairs without an attempt have no row.

use std::io::Write;

use super::words::ending;
use crate::domain::record::{format_millis, stored_name};
use crate::domain::report::{Attempt, Repair};

/// The columns, in the order of [`row`].
pub const COLUMNS: [&str; 31] = [
    "repairDay",
    "target",
    "id",
    "repair",
    "repairBegan",
    "repairEnding",
    "repairSettled",
    "requestId",
    "requestedBy",
    "reason",
    "ticket",
    "accessPackageId",
    "subjectId",
    "attempt",
    "startedAt",
    "stateBefore",
    "outcome",
    "endedAt",
    "httpStatus",
    "errorCode",
    "errorMessage",
    "retryAfterSeconds",
    "durationMs",
    "clientRequestId",
    "graphRequestId",
    "path",
    "verdict",
    "evidence",
    "observedAt",
    "stateObserved",
    "late",
];

/// Writes rows as they come.
pub struct Attempts<W: Write> {
    out: csv::Writer<W>,
}

impl<W: Write> Attempts<W> {
    pub fn new(out: W) -> csv::Result<Self> {
        let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        out.write_record(COLUMNS)?;
        Ok(Self { out })
    }

    pub fn add(&mut self, repair: &Repair) -> csv::Result<()> {
        repair
            .attempts
            .iter()
            .try_for_each(|attempt| self.out.write_record(row(repair, attempt).map(harmless)))
    }

    pub fn finish(mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// A cell that a spreadsheet would take for a formula is made a text by an apostrophe.
pub fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

/// The cells of one attempt, as they were recorded.
pub fn row(repair: &Repair, attempt: &Attempt) -> [String; COLUMNS.len()] {
    let origin = repair.origin.as_ref();
    let (started, ended) = (&attempt.started, attempt.ended.as_ref());
    let observed = attempt.observed.as_ref();
    let of_origin = |text: Option<&String>| text.cloned().unwrap_or_default();
    let of_end = |text: Option<String>| text.unwrap_or_default();
    [
        format_millis(repair.first_at)[..10].to_owned(),
        repair.target.kind.as_str().to_owned(),
        repair.target.id.to_string(),
        repair.number.to_string(),
        format_millis(repair.first_at),
        ending(repair.ending()),
        repair.settled_at().map(format_millis).unwrap_or_default(),
        attempt.request_id.to_string(),
        of_origin(origin.and_then(|origin| origin.requested_by.as_ref())),
        of_origin(origin.and_then(|origin| origin.reason.as_ref())),
        of_origin(origin.and_then(|origin| origin.ticket.as_ref())),
        of_origin(repair.access_package_id.as_ref()),
        of_origin(repair.subject_id.as_ref()),
        started.attempt.to_string(),
        format_millis(attempt.started_at),
        started.before.state.clone(),
        of_end(attempt.outcome().map(|outcome| stored_name(&outcome))),
        of_end(ended.map(|(at, _)| format_millis(*at))),
        of_end(ended.and_then(|(_, ended)| ended.http_status).map(|status| status.to_string())),
        of_end(ended.and_then(|(_, ended)| ended.error_code.clone())),
        of_end(ended.and_then(|(_, ended)| ended.error_message.clone())),
        of_end(ended.and_then(|(_, ended)| ended.retry_after_seconds).map(|secs| secs.to_string())),
        of_end(ended.and_then(|(_, ended)| ended.duration_ms).map(|ms| ms.to_string())),
        started.client_request_id.to_string(),
        of_end(ended.and_then(|(_, ended)| ended.graph_request_id.clone())),
        started.path.clone(),
        of_end(attempt.verdict().map(|verdict| stored_name(&verdict))),
        of_end(observed.map(|(_, observed)| stored_name(&observed.evidence))),
        of_end(observed.map(|(at, _)| format_millis(*at))),
        of_end(observed.and_then(|(_, observed)| observed.state.clone())),
        of_end(ended.map(|(_, ended)| ended.late.to_string())),
    ]
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn cells_that_a_spreadsheet_would_compute_become_texts() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(cell.to_owned()), format!("'{cell}"));
        }
        for cell in ["", "1+1", "INC=1", " =1"] {
            assert_eq!(harmless(cell.to_owned()), cell);
        }
    }
}
