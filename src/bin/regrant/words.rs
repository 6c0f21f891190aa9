//! Records, instants and durations in plain words. Reads nothing and decides nothing.

use std::time::Duration;

use jiff::Timestamp;
use regrant::domain::overview::Progress;
use regrant::domain::pace::since;
use regrant::domain::record::{
    AttemptEnded, AttemptStarted, DeliveryObserved, Evidence, Fact, Origin, Outcome, PutOffWhy, Record,
    SourceKind, stored_name,
};
use regrant::domain::request::shorten;

/// `2026-03-05 08:01:00 UTC`.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// In the two largest units: `3 d 4 h`, `5 min`, `850 ms`.
pub fn duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match secs {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{secs} s"),
        60..3_600 => two(secs / 60, "min", secs % 60, "s"),
        3_600..86_400 => two(secs / 3_600, "h", secs % 3_600 / 60, "min"),
        _ => two(secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    }
}

/// How long until `then`, or that it is over.
pub fn left(then: Timestamp, now: Timestamp) -> String {
    if then <= now { "closed".to_owned() } else { duration(since(now, then)) }
}

/// One line of a terminal: no control characters of whoever wrote the text.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub fn progress(progress: Progress) -> String {
    match progress {
        Progress::UnderWay => "call under way".to_owned(),
        Progress::Waiting => "waiting for delivery".to_owned(),
        Progress::PutOff => "put off".to_owned(),
        Progress::InDoubt => "in doubt".to_owned(),
        Progress::Delivered(Evidence::Moved) => "delivered".to_owned(),
        Progress::Delivered(Evidence::Unchanged) => "delivered, not seen to move".to_owned(),
        Progress::Ended(verdict) => format!("ended: {}", stored_name(&verdict)),
        Progress::Skipped(why) => format!("skipped: {}", stored_name(&why)),
        Progress::Abandoned(why) => format!("abandoned: {}", stored_name(&why)),
    }
}

/// What one record says; for an attempt's end also the ids that a support case needs.
pub fn sentence(record: &Record) -> String {
    match &record.fact {
        Fact::RequestReceived { why } => {
            format!("request {} taken and put off: {}", record.request_id, put_off(*why))
        }
        Fact::RequestJoined {} => {
            format!("request {} joined the repair under way", record.request_id)
        }
        Fact::AttemptStarted(started) => attempt_started(started),
        Fact::AttemptEnded(ended) => attempt_ended(ended),
        Fact::DeliveryObserved(observed) => delivery_observed(observed),
        Fact::DeliveryPending { attempt, state, status } => {
            let attempt = attempt.map(|attempt| format!(" after attempt {attempt}")).unwrap_or_default();
            format!("still moving{attempt}: {}", state_of(state, status.as_deref()))
        }
        Fact::RequestSkipped { why, state } => {
            let state = state.as_ref().map(|state| format!(", the state is {}", plain(state)));
            format!("skipped without a call: {}{}", stored_name(why), state.unwrap_or_default())
        }
        Fact::RequestAbandoned { why, state, http_status, error_code } => {
            let state = state.as_ref().map(|state| format!(", the state is {}", plain(state)));
            let answer = answer(*http_status, error_code.as_deref());
            format!("abandoned: {}{}{answer}", stored_name(why), state.unwrap_or_default())
        }
        Fact::MessageRejected { error, .. } => format!("message rejected: {}", plain(error)),
    }
}

/// Who asked, why, and how it came to us.
pub fn asked(record: &Record, origin: &Origin) -> String {
    let text = |text: &Option<String>| text.as_deref().map(plain);
    let who = text(&origin.requested_by).unwrap_or_else(|| "somebody".to_owned());
    let mut words = format!("{who} asked, request {}", record.request_id);
    if let Some(ticket) = text(&origin.ticket) {
        words.push_str(&format!(", ticket {ticket}"));
    }
    words.push_str(match origin.source.kind {
        SourceKind::Queue => ", through the queue",
        SourceKind::Cli => ", from the command line",
        SourceKind::Sweep => ", found by the sweep",
        SourceKind::Invoke => ", by direct invocation",
    });
    if let Some(reason) = text(&origin.reason) {
        words.push_str(&format!(": {reason}"));
    }
    words
}

fn put_off(why: PutOffWhy) -> &'static str {
    match why {
        PutOffWhy::Moving => "the target is moving by itself",
        PutOffWhy::Throttled => "Graph throttles",
        PutOffWhy::Unavailable => "the state could not be read",
    }
}

fn attempt_started(started: &AttemptStarted) -> String {
    let before = &started.before;
    let completed = before.completed_at.map(|at| format!(", completed {}", instant(at))).unwrap_or_default();
    format!(
        "attempt {}: {} {}, the state was {}{completed}",
        started.attempt,
        started.method,
        plain(&started.path),
        state_of(&before.state, before.status.as_deref()),
    )
}

fn attempt_ended(ended: &AttemptEnded) -> String {
    let outcome = match ended.outcome {
        Outcome::Accepted => "accepted by Graph, which promises to try",
        Outcome::Rejected => "rejected by Graph",
        Outcome::Throttled => "throttled",
        Outcome::Unavailable => "unavailable",
        Outcome::Unknown => "unknown: no answer was read",
    };
    let took = ended.duration_ms.map_or_else(
        || " (its caller died)".to_owned(),
        |ms| format!(" after {}", duration(Duration::from_millis(ms))),
    );
    let mut words = format!("attempt {} ended{took}: {outcome}", ended.attempt);
    words.push_str(&answer(ended.http_status, ended.error_code.as_deref()));
    if let Some(message) = &ended.error_message {
        words.push_str(&format!(": {}", shorten(message)));
    }
    if let Some(secs) = ended.retry_after_seconds {
        words.push_str(&format!(", to be tried again after {}", duration(Duration::from_secs(secs))));
    }
    if ended.late {
        words.push_str(", told late: another had closed the attempt as unknown");
    }
    let graph = ended.graph_request_id.as_ref().map(|id| format!("request-id {}, ", plain(id)));
    words.push_str(&format!(
        " [Graph: {}client-request-id {}]",
        graph.unwrap_or_default(),
        ended.client_request_id
    ));
    words
}

fn delivery_observed(observed: &DeliveryObserved) -> String {
    let evidence = match observed.evidence {
        Evidence::Moved => "the state changed since",
        Evidence::Unchanged => "the state was not seen to change",
    };
    let completed =
        observed.completed_at.map(|at| format!(", completed {}", instant(at))).unwrap_or_default();
    format!("after attempt {}: {}{completed}, {evidence}", observed.attempt, stored_name(&observed.verdict))
}

fn state_of(state: &str, status: Option<&str>) -> String {
    match status {
        Some(status) => format!("{} ({})", plain(state), plain(status)),
        None => plain(state),
    }
}

fn answer(status: Option<u16>, code: Option<&str>) -> String {
    match (status, code) {
        (Some(status), Some(code)) => format!(" (HTTP {status}, {})", plain(code)),
        (Some(status), None) => format!(" (HTTP {status})"),
        (None, Some(code)) => format!(" ({})", plain(code)),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_two_largest_units() {
        for (ms, expected) in [
            (0, "0 ms"),
            (850, "850 ms"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (3_725_000, "1 h 2 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a [31mb c");
    }
}
