//! The report as a workbook: summary, unresolved, attempts, integrity. Attempts go to a temporary file as they
//! come, so a long trail does not fill the memory. Dates are dates and numbers are numbers.

mod cells;

use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use self::cells::{Lines, Styles, count, harmless, put_instant};
use super::csv::{COLUMNS, row};
use super::words::{endings, plain};
use crate::domain::record::stored_name;
use crate::domain::report::{Attempt, Repair, Report};

const SUMMARY: usize = 0;
const UNRESOLVED: usize = 1;
const ATTEMPTS: usize = 2;
const INTEGRITY: usize = 3;
/// A worksheet has so many rows; the first holds the names.
const LAST_ROW: u32 = 1_048_575;

/// A workbook that grows by attempts and is finished with a report.
pub struct Book {
    book: Workbook,
    styles: Styles,
    next_row: u32,
    left_out: u64,
}

impl Book {
    pub fn new() -> Result<Self, XlsxError> {
        let mut book = Workbook::new();
        let styles = Styles {
            head: Format::new().set_bold().set_background_color("E6ECF5"),
            instant: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            share: Format::new().set_num_format("0.0%"),
        };
        book.add_worksheet().set_name("summary")?;
        book.add_worksheet().set_name("unresolved")?;
        let attempts = book.add_worksheet_with_constant_memory()?;
        attempts.set_name("attempts")?.set_freeze_panes(1, 0)?;
        for (column, name) in (0..).zip(COLUMNS) {
            attempts.set_column_width(column, width(name))?;
            attempts.write_string_with_format(0, column, name, &styles.head)?;
        }
        book.add_worksheet().set_name("integrity")?;
        Ok(Self { book, styles, next_row: 1, left_out: 0 })
    }

    pub fn add(&mut self, repair: &Repair) -> Result<(), XlsxError> {
        for attempt in &repair.attempts {
            if self.next_row > LAST_ROW {
                self.left_out += 1;
                continue;
            }
            let sheet = self.book.worksheet_from_index(ATTEMPTS)?;
            write_attempt(sheet, self.next_row, &self.styles, repair, attempt)?;
            self.next_row += 1;
        }
        Ok(())
    }

    /// The file's bytes.
    pub fn finish(mut self, report: &Report) -> Result<Vec<u8>, XlsxError> {
        summary(self.book.worksheet_from_index(SUMMARY)?, &self.styles, report, self.left_out)?;
        unresolved(self.book.worksheet_from_index(UNRESOLVED)?, &self.styles, report)?;
        integrity(self.book.worksheet_from_index(INTEGRITY)?, &self.styles, report)?;
        self.book.save_to_buffer()
    }
}

/// What the CSV has, but with dates where it has texts of dates, and numbers where it has digits.
fn write_attempt(
    sheet: &mut Worksheet,
    at_row: u32,
    styles: &Styles,
    repair: &Repair,
    attempt: &Attempt,
) -> Result<(), XlsxError> {
    let ended = attempt.ended.as_ref();
    for (column, (name, text)) in (0..).zip(COLUMNS.into_iter().zip(row(repair, attempt))) {
        let instant = match name {
            "repairBegan" => Some(repair.first_at),
            "repairSettled" => repair.settled_at(),
            "startedAt" => Some(attempt.started_at),
            "endedAt" => ended.map(|(at, _)| *at),
            "observedAt" => attempt.observed.as_ref().map(|(at, _)| *at),
            _ => None,
        };
        let is_number =
            matches!(name, "repair" | "attempt" | "httpStatus" | "retryAfterSeconds" | "durationMs");
        match (instant, text.parse::<f64>()) {
            (Some(instant), _) => put_instant(sheet, at_row, column, styles, instant)?,
            (None, Ok(number)) if is_number => drop(sheet.write_number(at_row, column, number)?),
            _ if text.is_empty() => {}
            _ => drop(sheet.write_string(at_row, column, harmless(text))?),
        }
    }
    Ok(())
}

fn summary(sheet: &mut Worksheet, styles: &Styles, report: &Report, left_out: u64) -> Result<(), XlsxError> {
    let header = &report.header;
    sheet.set_column_width(0, 44)?.set_column_width(1, 28)?;
    let mut lines = Lines { sheet, styles, row: 0 };
    lines.head("Report")?;
    lines.text("tenant", header.tenant.as_str())?;
    lines.instant("from", Some(header.from))?;
    lines.instant("to (not included)", Some(header.to))?;
    lines.text("filter", &header.filter)?;
    lines.instant("generated at", Some(header.generated_at))?;
    lines.instant("not final from", header.not_final_from)?;
    lines.number("records read of the period", header.rows_read)?;
    lines.number("records read after it or again", header.rows_followed)?;
    if left_out > 0 {
        lines.number("attempts that do not fit into this workbook", left_out)?;
    }
    lines.head("Figures")?;
    let (totals, recovery) = (&report.totals, &report.recovery);
    lines.number("targets", totals.targets)?;
    lines.number("repairs", totals.repairs)?;
    lines.number("repairs tried", totals.tried)?;
    lines.number("requests", totals.requests)?;
    lines.number("attempts", totals.attempts)?;
    lines.number("rejected messages", totals.rejected_messages)?;
    lines.share("recovered, of tried", recovery.rate)?;
    lines.share("recovered by the first attempt, of tried", recovery.first_try_rate)?;
    lines.share("throttled, of ended attempts", report.throttling.share)?;
    let secs = |ms: Option<u64>| ms.map(|ms| ms / 1000);
    lines.maybe("time to delivery, median (s)", secs(report.time_to_delivery.median_ms))?;
    lines.maybe("time to delivery, 95 of 100 within (s)", secs(report.time_to_delivery.p95_ms))?;
    lines.head("How repairs ended")?;
    endings(&report.endings).into_iter().try_for_each(|(name, count)| lines.number(name, count))?;
    lines.head("Open")?;
    let (open, left) = (&report.open, &report.open.by_days_left);
    lines.number("in doubt", open.in_doubt)?;
    lines.instant("oldest in doubt since", open.oldest_in_doubt)?;
    lines.number("waiting for delivery", open.delivering)?;
    lines.number("put off", open.put_off)?;
    lines.number("over 7 days left", left.over_seven)?;
    lines.number("3 to 7 days left", left.three_to_seven)?;
    lines.number("1 to 3 days left", left.one_to_three)?;
    lines.number("under 1 day left", left.under_one)?;
    lines.number("window closed", left.closed)?;
    lines.number("no deadline known", left.no_deadline_known)?;
    lines.head("Outcomes of attempts")?;
    report.outcomes.iter().try_for_each(|(name, count)| lines.number(&stored_name(name), *count))?;
    lines.number("not ended", report.unended)?;
    lines.head("Verdicts on attempts")?;
    report.verdicts.iter().try_for_each(|(name, count)| lines.number(&plain(&stored_name(name)), *count))?;
    for (title, rows) in [
        ("Abandoned, by reason", &report.abandoned_by_reason),
        ("Skipped, by reason", &report.skipped_by_reason),
        ("Rejected, by error code", &report.rejected_by_error_code),
        ("Requesters", &report.requesters.rows),
    ] {
        lines.head(title)?;
        rows.iter().try_for_each(|row| lines.number(&row.name, row.count))?;
    }
    Ok(())
}

fn unresolved(sheet: &mut Worksheet, styles: &Styles, report: &Report) -> Result<(), XlsxError> {
    let heads = [
        "deadline",
        "target",
        "id",
        "repair",
        "waits",
        "state",
        "began",
        "attempts",
        "lastRecord",
        "accessPackageId",
        "ticket",
    ];
    for (column, name) in (0..).zip(heads) {
        sheet.set_column_width(column, width(name))?;
        sheet.write_string_with_format(0, column, name, &styles.head)?;
    }
    sheet.set_freeze_panes(1, 0)?;
    for (at, one) in (1..).zip(&report.unresolved.rows) {
        if let Some(deadline) = one.deadline {
            put_instant(sheet, at, 0, styles, deadline)?;
        }
        sheet.write_string(at, 1, one.target.as_str())?;
        sheet.write_string(at, 2, one.id.as_str())?;
        sheet.write_number(at, 3, count(one.repair))?;
        sheet.write_string(at, 4, one.stage.as_str())?;
        sheet.write_string(at, 5, harmless(one.state.clone().unwrap_or_default()))?;
        put_instant(sheet, at, 6, styles, one.began)?;
        sheet.write_number(at, 7, count(one.attempts))?;
        put_instant(sheet, at, 8, styles, one.last_record)?;
        sheet.write_string(at, 9, harmless(one.access_package_id.clone().unwrap_or_default()))?;
        sheet.write_string(at, 10, harmless(one.ticket.clone().unwrap_or_default()))?;
    }
    Ok(())
}

fn integrity(sheet: &mut Worksheet, styles: &Styles, report: &Report) -> Result<(), XlsxError> {
    let verification = &report.verification;
    sheet.set_column_width(0, 44)?.set_column_width(1, 90)?;
    let mut lines = Lines { sheet, styles, row: 0 };
    lines.head("Verification over the period")?;
    lines.text("result", if verification.is_intact() { "nothing found" } else { "DAMAGED" })?;
    lines.text("what this shows", &report.header.completeness)?;
    lines.number("hashes computed again", verification.checked)?;
    lines.number("links compared", verification.links)?;
    lines.number("changed", verification.changed)?;
    lines.number("broken links", verification.broken)?;
    lines.number("missing", verification.missing)?;
    lines.number("unreadable", verification.unreadable)?;
    lines.head("Findings")?;
    for finding in &verification.findings {
        lines.text(&finding.pk, &format!("record {} {}", finding.seq, finding.fault.in_words()))?;
    }
    Ok(())
}

fn width(name: &str) -> u32 {
    match name {
        "id" | "accessPackageId" | "subjectId" | "clientRequestId" | "graphRequestId" | "requestedBy" => 38,
        "errorMessage" | "reason" | "path" => 50,
        "repairEnding" | "errorCode" | "requestId" | "ticket" => 26,
        _ => 20,
    }
}
