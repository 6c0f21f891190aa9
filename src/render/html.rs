//! The report as one HTML file: no script, nothing to load, prints well. What stands where is in the templates;
//! here the values are put into words. The template escapes every one of them.

mod charts;
mod tables;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use self::charts::{Chart, charts};
use self::tables::{Table, action, figures, findings};
use super::words::{duration, instant, number, percent};
use crate::domain::report::Report;

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
        charts: charts(report),
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
