//! The report as one HTML file: no script, nothing to load, prints well. What stands where is in the templates;
//! here the values are put into words. The template escapes every one of them.

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::svg::{Series, bars};
use super::words::{self, duration, instant, number, percent, plain};
use crate::domain::record::{Outcome, stored_name};
use crate::domain::report::{Counted, Report};

const STYLE: &str = include_str!("../../templates/report.css");

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    style: &'static str,
    /// The only style that the page's own policy allows.
    style_hash: String,
    period: String,
    generated: String,
    not_final: Option<String>,
    headline: String,
    intact: bool,
    cards: Vec<Card>,
    charts: Vec<Chart>,
    action: Vec<Table>,
    figures: Vec<Table>,
    findings: Table,
    version: &'static str,
}

struct Card {
    name: &'static str,
    value: String,
    note: String,
}

struct Chart {
    title: &'static str,
    svg: String,
    legend: Vec<(&'static str, String)>,
    table: Table,
}

pub(super) struct Table {
    title: String,
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Said in place of a table without rows.
    empty: &'static str,
    /// Said below a table that does not show all.
    note: String,
}

pub fn page(report: &Report) -> anyhow::Result<String> {
    let header = &report.header;
    let page = Page {
        report,
        style: STYLE,
        style_hash: STANDARD.encode(Sha256::digest(STYLE)),
        period: format!("{} to {}", instant(header.from), instant(header.to)),
        generated: instant(header.generated_at),
        not_final: header.not_final_from.map(instant),
        headline: headline(report),
        intact: report.verification.is_intact(),
        cards: cards(report),
        charts: vec![endings(report), outcomes(report), times(report), attempts(report)],
        action: action(report),
        figures: figures(report),
        findings: findings(report),
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(page.render()?)
}

fn headline(report: &Report) -> String {
    let (totals, recovery, endings) = (&report.totals, &report.recovery, &report.endings);
    if totals.repairs == 0 {
        return "No repair began in this period.".to_owned();
    }
    let repairs = if totals.repairs == 1 { "repair" } else { "repairs" };
    format!(
        "{} {repairs} began, {} tried. Recovered and verified: {}. Accepted, but not verifiable: {}. Open: {}. \
         Abandoned: {}.",
        number(totals.repairs),
        number(totals.tried),
        number(recovery.recovered),
        number(recovery.not_verifiable),
        number(endings.open),
        number(endings.abandoned)
    )
}

fn cards(report: &Report) -> Vec<Card> {
    let (recovery, time, open) = (&report.recovery, &report.time_to_delivery, &report.open);
    let tried = number(report.totals.tried);
    let left = &open.by_days_left;
    let urgent = left.under_one + left.closed;
    let oldest = open.oldest_in_doubt.map(|at| format!("the oldest since {}", instant(at)));
    vec![
        Card {
            name: "Recovered",
            value: percent(recovery.rate),
            note: format!("{} of {tried} tried, verified", number(recovery.recovered)),
        },
        Card {
            name: "By the first attempt",
            value: percent(recovery.first_try_rate),
            note: format!("{} of {tried} tried", number(recovery.first_try)),
        },
        Card {
            name: "Time to delivery",
            value: duration(time.median_ms),
            note: format!("median; 95 of 100 within {}", duration(time.p95_ms)),
        },
        Card {
            name: "Open",
            value: number(open.total),
            note: format!("{} with under a day left or closed", number(urgent)),
        },
        Card {
            name: "In doubt now",
            value: number(open.in_doubt),
            note: oldest.unwrap_or_else(|| "no call without a known end".to_owned()),
        },
        Card {
            name: "Throttled",
            value: percent(report.throttling.share),
            note: format!(
                "{} of {} calls",
                number(report.throttling.throttled),
                number(report.throttling.ended)
            ),
        },
    ]
}

const COLOURS: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];

fn day_labels(report: &Report) -> Vec<String> {
    report.days.iter().map(|day| day.day.strftime("%d %b").to_string()).collect()
}

fn endings(report: &Report) -> Chart {
    let names = words::endings(&report.endings).map(|(name, _)| name);
    let by_day = report.days.iter().map(|day| words::endings(&day.endings)).collect::<Vec<_>>();
    let series = names.iter().enumerate().map(|(at, name)| Series {
        class: COLOURS[at],
        name: (*name).to_owned(),
        values: by_day.iter().map(|day| day[at].1).collect(),
    });
    by_days(report, "endings", "How repairs ended, by day", series.collect())
}

fn outcomes(report: &Report) -> Chart {
    use Outcome::{Accepted, Rejected, Throttled, Unavailable, Unknown};
    let colours =
        [(Accepted, "c0"), (Throttled, "c2"), (Unavailable, "c4"), (Rejected, "c3"), (Unknown, "c5")];
    let mut series = Vec::new();
    for (outcome, class) in colours {
        let of_day =
            |day: &crate::domain::report::Day| day.outcomes.get(&outcome).copied().unwrap_or_default();
        let values = report.days.iter().map(of_day).collect();
        series.push(Series { class, name: stored_name(&outcome), values });
    }
    let values = report.days.iter().map(|day| day.unended).collect();
    series.push(Series { class: "c1", name: "not ended".to_owned(), values });
    by_days(report, "outcomes", "Outcomes of attempts, by day", series)
}

/// One line of the table a day, the last ones first marked as not final.
fn by_days(report: &Report, id: &str, title: &'static str, series: Vec<Series>) -> Chart {
    let labels = day_labels(report);
    let totals = series.iter().map(|one| (one.name.clone(), one.values.iter().sum::<u64>()));
    let said = totals.map(|(name, total)| format!("{name} {total}")).collect::<Vec<_>>().join(", ");
    let rows = report.days.iter().enumerate().map(|(at, day)| {
        let mark = if day.is_final { "" } else { " (not final)" };
        let cells = series.iter().map(|one| number(one.values[at]));
        [format!("{}{mark}", day.day)].into_iter().chain(cells).collect()
    });
    let names = series.iter().map(|one| one.name.clone());
    let table = Table::new(title, ["day".to_owned()].into_iter().chain(names), rows);
    let svg = bars(id, title, &format!("In all: {said}."), &labels, &series);
    let legend = series.into_iter().map(|one| (one.class, one.name)).collect();
    Chart { title, svg, legend, table }
}

fn times(report: &Report) -> Chart {
    let bands = &report.time_to_delivery.bands;
    let title = "Time from the first attempt to delivered";
    let lines = bands.iter().map(|band| (band.name.clone(), band.count));
    histogram("times", title, ["time up to", "repairs recovered"], lines.collect())
}

fn attempts(report: &Report) -> Chart {
    let last = report.attempts_per_target.len().saturating_sub(1);
    let lines = report.attempts_per_target.iter().enumerate().map(|(at, line)| {
        let more = if at == last { "+" } else { "" };
        (format!("{}{more}", line.attempts), line.targets)
    });
    histogram("attempts", "Attempts per target", ["attempts", "targets"], lines.collect())
}

fn histogram(id: &str, title: &'static str, heads: [&str; 2], lines: Vec<(String, u64)>) -> Chart {
    let said = lines.iter().map(|(name, count)| format!("{name}: {count}")).collect::<Vec<_>>().join("; ");
    let labels = lines.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let values = lines.iter().map(|(_, count)| *count).collect();
    let series = Series { class: "c0", name: heads[1].to_owned(), values };
    let svg = bars(id, title, &said, &labels, &[series]);
    let rows = lines.into_iter().map(|(name, count)| vec![name, number(count)]);
    let table = Table::new(title, heads.map(str::to_owned), rows);
    Chart { title, svg, legend: Vec::new(), table }
}

fn action(report: &Report) -> Vec<Table> {
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

fn figures(report: &Report) -> Vec<Table> {
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

fn findings(report: &Report) -> Table {
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
    fn new(
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
