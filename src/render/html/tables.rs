//! The page's tables: what somebody must act on, the other figures, the findings.

use super::super::words::{instant, number, plain};
use crate::domain::record::stored_name;
use crate::domain::report::{Counted, Report};

pub(super) struct Table {
    pub(super) title: String,
    pub(super) heads: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// Said in place of a table without rows.
    pub(super) empty: &'static str,
    /// Said below a table that does not show all.
    pub(super) note: String,
}

/// What is open, given up, or was no request.
pub(super) fn action(report: &Report) -> Vec<Table> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = report.unresolved.rows.iter().map(|row| {
        vec![
            row.deadline.map_or_else(|| "none known".to_owned(), instant),
            format!("{} {}", row.target.as_str(), row.id),
            plain(&row.stage),
            text(&row.state),
            number(row.attempts),
            text(&row.ticket),
        ]
    });
    let heads = ["closes", "target", "waits", "state", "attempts", "ticket"].map(str::to_owned);
    let unresolved = Table::new("Unresolved, most urgent first", heads, rows)
        .empty("Every repair that began in this period is settled.")
        .left_out(report.unresolved.left_out);
    let rows = report.abandoned.rows.iter().map(|row| {
        vec![
            instant(row.at),
            format!("{} {}", row.target.as_str(), row.id),
            plain(&row.why),
            number(row.attempts),
            text(&row.last_error),
            text(&row.ticket),
        ]
    });
    let heads = ["given up", "target", "why", "attempts", "last error", "ticket"].map(str::to_owned);
    let abandoned = Table::new("Abandoned", heads, rows)
        .empty("No repair was given up.")
        .left_out(report.abandoned.left_out);
    let rows = report
        .rejected_messages
        .rows
        .iter()
        .map(|row| vec![instant(row.at), row.message_id.clone(), row.error.clone(), row.body.clone()]);
    let heads = ["at", "message", "error", "text as received, redacted"].map(str::to_owned);
    let rejected = Table::new("Messages that were no requests", heads, rows)
        .empty("Every message was a request.")
        .left_out(report.rejected_messages.left_out);
    vec![unresolved, abandoned, rejected]
}

/// Every other figure.
pub(super) fn figures(report: &Report) -> Vec<Table> {
    let (totals, open) = (&report.totals, &report.open);
    let left = &open.by_days_left;
    let verdicts = report.verdicts.iter().map(|(verdict, count)| (plain(&stored_name(verdict)), *count));
    let otherwise =
        report.ended_otherwise.iter().map(|(verdict, count)| (plain(&stored_name(verdict)), *count));
    let fixed = |rows: &[(&str, u64)]| {
        rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>()
    };
    let ranked = |rows: &[Counted]| rows.iter().map(|row| (row.name.clone(), row.count)).collect::<Vec<_>>();
    let packages =
        report.access_packages.rows.iter().map(|row| {
            vec![row.id.clone(), number(row.repairs), number(row.recovered), number(row.unresolved)]
        });
    let reasons = |rows: &[Counted]| rows.iter().map(|row| (plain(&row.name), row.count)).collect::<Vec<_>>();
    let heads = ["access package", "repairs", "recovered", "unresolved"].map(str::to_owned);
    vec![
        pairs(
            "Totals",
            ["what", "number"],
            fixed(&[
                ("targets", totals.targets),
                ("repairs", totals.repairs),
                ("repairs tried", totals.tried),
                ("requests", totals.requests),
                ("attempts", totals.attempts),
                ("rejected messages", totals.rejected_messages),
            ]),
        ),
        pairs(
            "Open, by days until the window closes",
            ["days left", "repairs"],
            fixed(&[
                ("over 7", left.over_seven),
                ("3 to 7", left.three_to_seven),
                ("1 to 3", left.one_to_three),
                ("under 1", left.under_one),
                ("closed", left.closed),
                ("no deadline known", left.no_deadline_known),
            ]),
        ),
        pairs(
            "Open, by what it waits for",
            ["waits", "repairs"],
            fixed(&[
                ("in doubt", open.in_doubt),
                ("waiting for delivery", open.delivering),
                ("put off", open.put_off),
            ]),
        ),
        pairs("Verdicts on attempts", ["verdict", "attempts"], verdicts.collect()),
        pairs("Ended otherwise", ["state", "repairs"], otherwise.collect()),
        pairs("Abandoned, by reason", ["reason", "repairs"], reasons(&report.abandoned_by_reason)),
        pairs("Skipped, by reason", ["reason", "repairs"], reasons(&report.skipped_by_reason)),
        pairs("Rejected, by error code", ["code", "attempts"], ranked(&report.rejected_by_error_code)),
        pairs("Requesters", ["requested by", "requests"], ranked(&report.requesters.rows))
            .left_out(report.requesters.others),
        Table::new("Access packages", heads, packages).empty("None.").left_out(report.access_packages.others),
    ]
}

/// What the records show that should not be.
pub(super) fn findings(report: &Report) -> Table {
    let rows = report.verification.findings.iter().map(|finding| {
        vec![finding.pk.clone(), finding.seq.to_string(), finding.fault.in_words().to_owned()]
    });
    Table::new("Findings", ["key", "record", "finding"].map(str::to_owned), rows)
        .empty("None.")
        .left_out(report.verification.left_out)
}

fn pairs(title: &str, heads: [&str; 2], rows: Vec<(String, u64)>) -> Table {
    let rows = rows.into_iter().map(|(name, count)| vec![name, number(count)]);
    Table::new(title, heads.map(str::to_owned), rows).empty("None.")
}

impl Table {
    pub(super) fn new(
        title: &str,
        heads: impl IntoIterator<Item = String>,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Self {
        let (heads, rows) = (heads.into_iter().collect(), rows.into_iter().collect());
        Self { title: title.to_owned(), heads, rows, empty: "None.", note: String::new() }
    }

    fn empty(self, empty: &'static str) -> Self {
        Self { empty, ..self }
    }

    fn left_out(self, left_out: u64) -> Self {
        let note = if left_out > 0 { format!("… and {} more", number(left_out)) } else { String::new() };
        Self { note, ..self }
    }
}
