//! What `regrant local` prints at the end, as text. Computes nothing.

use comfy_table::{Table, presets};
use jiff::{SignedDuration, Timestamp};
use regrant::domain::record::{Fact, Record, stored_name};

use super::outcome::{Row, Took, is_of_run, short_name};

/// One line for each record of the run: seconds since its start, number, target, kind, and what it says.
pub fn trail(records: &[Record], started: Timestamp) -> String {
    let of_run = records.iter().filter(|record| is_of_run(record, started));
    of_run
        .map(|record| {
            let since = seconds(record.at.duration_since(started).max(SignedDuration::ZERO));
            let line = format!(
                "{since:>8}  {:<26}  {:>2}  {:<16}  {}",
                short_name(record),
                record.seq,
                record.fact.kind(),
                detail(&record.fact)
            );
            format!("{}\n", line.trim_end())
        })
        .collect()
}

/// The table of results.
pub fn rows(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["target", "attempts", "outcome", "verdict", "time"]);
    for row in rows {
        table.add_row([
            row.target.clone(),
            row.attempts.to_string(),
            row.outcome.as_ref().map(stored_name).unwrap_or_default(),
            shorten(&row.verdict),
            match row.took {
                Took::InThisRun(duration) => seconds(duration),
                Took::EarlierRun => "earlier run".to_owned(),
                Took::Never => String::new(),
            },
        ]);
    }
    format!("{table}\n")
}

fn detail(fact: &Fact) -> String {
    match fact {
        Fact::RequestReceived { why } => stored_name(why),
        Fact::RequestJoined {} => String::new(),
        Fact::AttemptStarted(started) => format!("{} {}", started.attempt, started.path),
        Fact::AttemptEnded(ended) => {
            let status = ended.http_status.map(|status| format!(" ({status})")).unwrap_or_default();
            format!("{} {}{status}", ended.attempt, stored_name(&ended.outcome))
        }
        Fact::DeliveryObserved(observed) => {
            format!("{} {}", observed.attempt, stored_name(&observed.verdict))
        }
        Fact::DeliveryPending { state, .. } => state.clone(),
        Fact::RequestSkipped { why, .. } => stored_name(why),
        Fact::RequestAbandoned { why, .. } => stored_name(why),
        Fact::MessageRejected { error, .. } => shorten(error),
    }
}

fn seconds(duration: SignedDuration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// One line of a table stays a line.
fn shorten(text: &str) -> String {
    const MOST: usize = 70;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
