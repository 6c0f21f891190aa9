//! How one reply of Graph is read: its outcome and its record. Knows no history.

use std::time::Duration;

use super::pace::{LONGEST_RETRY_AFTER, Policy};
use super::record::{AttemptEnded, Outcome};
use super::reply::Reply;
use super::target::Guid;

/// A `Retry-After` of nothing still is a wish for silence.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// How a call that ended so is recorded.
pub fn attempt_ended(
    attempt: u32,
    client_request_id: Guid,
    reply: Reply,
    duration: Duration,
    late: bool,
) -> AttemptEnded {
    let outcome = outcome(&reply);
    let duration_ms = Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let (http_status, error_code, error_message, retry_after, graph_request_id) = match reply {
        Reply::Answered(answer) => (
            Some(answer.status),
            answer.error_code,
            answer.error_message,
            answer.retry_after,
            answer.graph_request_id,
        ),
        Reply::NotSent { reason } | Reply::Lost { reason } => (None, None, Some(reason), None, None),
    };
    AttemptEnded {
        attempt,
        client_request_id,
        outcome,
        http_status,
        error_code,
        error_message,
        retry_after_seconds: retry_after.map(|wait| wait.as_secs()),
        graph_request_id,
        duration_ms,
        late,
    }
}

/// How we read a reply. 401 and 403 are configuration, not the target; 3xx are not followed and say nothing.
pub fn outcome(reply: &Reply) -> Outcome {
    match reply {
        Reply::Lost { .. } => Outcome::Unknown,
        Reply::NotSent { .. } => Outcome::Unavailable,
        Reply::Answered(answer) => match answer.status {
            200..=299 => Outcome::Accepted,
            429 => Outcome::Throttled,
            401 | 403 | 408 | 409 | 423 => Outcome::Unavailable,
            400..=499 => Outcome::Rejected,
            _ => Outcome::Unavailable,
        },
    }
}

/// True where an administrator must act and no waiting helps: the token or its rights were refused.
pub fn is_misconfigured(reply: &Reply) -> bool {
    matches!(reply, Reply::Answered(answer) if answer.status == 401 || answer.status == 403)
}

/// How long the whole process sends nothing after this answer; `None` if Graph did not throttle.
pub fn pause_after(outcome: Outcome, retry_after: Option<Duration>, policy: &Policy) -> Option<Duration> {
    let asked = retry_after.unwrap_or(policy.retry_after).clamp(SHORTEST_PAUSE, LONGEST_RETRY_AFTER);
    (outcome == Outcome::Throttled).then_some(asked)
}
