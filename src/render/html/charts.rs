//! The page's charts, each with the table that says the same: by day, or as a histogram.

use super::super::svg::{Series, bars};
use super::super::words::{self, number};
use super::tables::Table;
use crate::domain::record::{Outcome, stored_name};
use crate::domain::report::{Day, Report};

pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) svg: String,
    pub(super) legend: Vec<(&'static str, String)>,
    pub(super) table: Table,
}

/// In the order of the page.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    vec![endings(report), outcomes(report), times(report), attempts(report)]
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
        let of_day = |day: &Day| day.outcomes.get(&outcome).copied().unwrap_or_default();
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
