//! The report as tables for a terminal. Control characters of recorded texts are shown as `\u{…}`.

use std::fmt::Write as _;

use comfy_table::{Table, presets};

use super::words::{self, duration, instant, number, percent, plain};
use crate::domain::record::stored_name;
use crate::domain::report::{Counted, Listed, Report};

/// Rows of a list on a terminal; the other formats have all that the report lists.
const ROWS: usize = 20;

pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing into a text cannot fail.
    let _ = header(&mut out, report);
    section(&mut out, "Figures", ["", ""], figures(report));
    let days = report.days.iter().filter(|day| day.repairs > 0).map(|day| {
        let mark = if day.is_final { "" } else { " (not final)" };
        let mut row = vec![format!("{}{mark}", day.day), number(day.repairs)];
        row.extend(words::endings(&day.endings).map(|(_, count)| number(count)));
        row
    });
    let names = words::endings(&report.endings).map(|(name, _)| name);
    section(&mut out, "By day of the first record", ["day", "repairs"].into_iter().chain(names), days);
    let outcomes = report.outcomes.iter().map(|(name, count)| (stored_name(name), *count));
    let outcomes = outcomes.chain([("not ended".to_owned(), report.unended)]);
    section(&mut out, "Outcomes of attempts", ["outcome", "attempts"], pairs(outcomes));
    let verdicts = report.verdicts.iter().map(|(name, count)| (plain(&stored_name(name)), *count));
    section(&mut out, "Verdicts on attempts", ["verdict", "attempts"], pairs(verdicts));
    let histogram = report.attempts_per_target.iter().filter(|line| line.targets > 0);
    let histogram = histogram.map(|line| (line.attempts.to_string(), line.targets));
    section(&mut out, "Attempts per target", ["attempts", "targets"], pairs(histogram));
    counted(&mut out, "Abandoned, by reason", ["reason", "repairs"], &report.abandoned_by_reason);
    counted(&mut out, "Skipped, by reason", ["reason", "repairs"], &report.skipped_by_reason);
    counted(&mut out, "Rejected, by error code", ["code", "attempts"], &report.rejected_by_error_code);
    let packages = report.access_packages.rows.iter().map(|package| {
        vec![
            shown(&package.id),
            number(package.repairs),
            number(package.recovered),
            number(package.unresolved),
        ]
    });
    let heads = ["access package", "repairs", "recovered", "unresolved"];
    section(&mut out, "Access packages", heads, packages);
    counted(&mut out, "Requesters", ["requested by", "requests"], &report.requesters.rows);
    lists(&mut out, report);
    out
}

fn header(out: &mut String, report: &Report) -> std::fmt::Result {
    let header = &report.header;
    writeln!(out, "Tenant     {}", header.tenant)?;
    writeln!(out, "Period     {} to {}", instant(header.from), instant(header.to))?;
    writeln!(out, "Filter     {}", header.filter)?;
    writeln!(out, "Generated  {}", instant(header.generated_at))?;
    if let Some(from) = header.not_final_from {
        writeln!(out, "Not final  what was recorded since {}", instant(from))?;
    }
    let (read, followed) = (number(header.rows_read), number(header.rows_followed));
    writeln!(out, "Records    {read} of the period, {followed} read again or after it")?;
    let verification = &report.verification;
    let result = if verification.is_intact() { "nothing found" } else { "FINDINGS" };
    writeln!(out, "Integrity  {result}")?;
    for finding in verification.findings.iter().take(ROWS) {
        writeln!(out, "  !! record {} of {} {}", finding.seq, shown(&finding.pk), finding.fault.in_words())?;
    }
    writeln!(out, "{}", header.completeness)
}

fn figures(report: &Report) -> Vec<Vec<String>> {
    let (totals, recovery, open) = (&report.totals, &report.recovery, &report.open);
    let of_tried = |count, rate| format!("{} of {} ({})", number(count), number(totals.tried), percent(rate));
    let left = &open.by_days_left;
    let doubt = open.oldest_in_doubt.map(|at| format!(", the oldest since {}", instant(at)));
    let rows = [
        ("targets", number(totals.targets)),
        ("repairs", number(totals.repairs)),
        ("requests", number(totals.requests)),
        ("attempts", number(totals.attempts)),
        ("recovered, of tried", of_tried(recovery.recovered, recovery.rate)),
        ("recovered by the first attempt", of_tried(recovery.first_try, recovery.first_try_rate)),
        ("accepted, not verifiable", number(recovery.not_verifiable)),
        ("time to delivery, median", duration(report.time_to_delivery.median_ms)),
        ("time to delivery, 95 of 100 within", duration(report.time_to_delivery.p95_ms)),
        (
            "throttled attempts",
            format!("{} ({})", report.throttling.throttled, percent(report.throttling.share)),
        ),
        ("open", number(open.total)),
        (
            "open, by days left",
            format!(
                "over 7: {}, 3-7: {}, 1-3: {}, under 1: {}, closed: {}, no deadline known: {}",
                left.over_seven,
                left.three_to_seven,
                left.one_to_three,
                left.under_one,
                left.closed,
                left.no_deadline_known
            ),
        ),
        ("in doubt now", format!("{}{}", number(open.in_doubt), doubt.unwrap_or_default())),
        ("waiting for delivery", number(open.delivering)),
        ("put off", number(open.put_off)),
        ("rejected messages", number(totals.rejected_messages)),
    ];
    rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

fn lists(out: &mut String, report: &Report) {
    let unresolved = &report.unresolved;
    let rows = unresolved.rows.iter().take(ROWS).map(|row| {
        vec![
            row.deadline.map_or_else(|| "none known".to_owned(), instant),
            format!("{} {}", row.target.as_str(), row.id),
            plain(&row.stage),
            row.state.as_deref().map(shown).unwrap_or_default(),
            number(row.attempts),
            row.ticket.as_deref().map(shown).unwrap_or_default(),
        ]
    });
    let heads = ["deadline", "target", "waits", "state", "attempts", "ticket"];
    section(out, "Unresolved, by deadline", heads, rows);
    more(out, unresolved);
    let abandoned = &report.abandoned;
    let rows = abandoned.rows.iter().take(ROWS).map(|row| {
        vec![
            instant(row.at),
            format!("{} {}", row.target.as_str(), row.id),
            plain(&row.why),
            number(row.attempts),
            row.last_error.as_deref().map(shown).unwrap_or_default(),
        ]
    });
    section(out, "Abandoned", ["at", "target", "why", "attempts", "last error"], rows);
    more(out, abandoned);
    let rejected = &report.rejected_messages;
    let rows = rejected.rows.iter().take(ROWS);
    let rows =
        rows.map(|row| vec![instant(row.at), shown(&row.message_id), shown(&row.error), shown(&row.body)]);
    section(out, "Rejected messages", ["at", "message", "error", "text"], rows);
    more(out, rejected);
}

fn more<T>(out: &mut String, list: &Listed<T>) {
    let left = list.rows.len().saturating_sub(ROWS) as u64 + list.left_out;
    if left > 0 {
        let _ = writeln!(out, "… and {} more", number(left));
    }
}

fn counted(out: &mut String, title: &str, heads: [&str; 2], rows: &[Counted]) {
    section(out, title, heads, pairs(rows.iter().map(|row| (row.name.clone(), row.count))));
}

fn pairs(rows: impl Iterator<Item = (String, u64)>) -> impl Iterator<Item = Vec<String>> {
    rows.filter(|(_, count)| *count > 0).map(|(name, count)| vec![shown(&name), number(count)])
}

/// Nothing at all for a table without rows.
fn section<'a>(
    out: &mut String,
    title: &str,
    heads: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let heads = heads.into_iter().collect::<Vec<_>>();
    if heads.iter().any(|head| !head.is_empty()) {
        table.set_header(heads);
    }
    table.add_rows(rows);
    if table.row_iter().next().is_some() {
        let _ = write!(out, "\n{title}\n{table}\n");
    }
}

/// A recorded text on one line, at most so long, that moves no cursor and colours nothing.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown = String::new();
    for (at, letter) in text.chars().enumerate() {
        if at == MOST {
            shown.push('…');
            break;
        }
        if letter.is_control() { shown.extend(letter.escape_debug()) } else { shown.push(letter) }
    }
    shown
}
