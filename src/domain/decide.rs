//! Every rule of the service: from a target's history and what was seen to the next step. Carries out nothing.
//!
//! Time-line of a repair that needs two attempts (assignment request):
//!
//! ```text
//! look: DeliveryFailed   look: Delivering      look: DeliveryFailed     look: Delivered
//!   |  started ended       |  (put off)          |  observed              |  observed
//!   v     v      v         v                     v     v                  v     v
//! --+-----+--POST+---------+---------------------+-----+---POST--...------+-----+-->
//!               accepted   CHECK_AFTER, then as     failed again,           settled
//!                          long as has passed       RETRY_AFTER's wait
//! ```

use std::time::Duration;

use jiff::Timestamp;

use super::closing::newly_near;
use super::pace::{Circumstances, DAY, LONGEST_RETRY_AFTER, after, since};
use super::record::{
    AbandonWhy, AttemptEnded, Before, DeliveryObserved, Evidence, Fact, Outcome, PutOffWhy, SkipWhy, Verdict,
};
use super::reply::{Look, Sight};
use super::state::{Attempt, Ended, Phase, Repair, State};
use super::target::TargetKind;

/// A repair still moving leaves a heartbeat at least this often; the sweep takes 12 h of silence for a lost message.
const HEARTBEAT: Duration = Duration::from_secs(6 * 60 * 60);
/// Graph's reads may show the state of before an accepted attempt for so many `CHECK_AFTER`s.
const LAG_CHECKS: u32 = 30;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Append this, then decide again with the same look.
    Record(Fact),
    /// Read the target's state, then decide again.
    Look,
    /// Append `attemptStarted`, call, append `attemptEnded`, then decide again without a look.
    Attempt(Intent),
    /// Nothing to do before then.
    PutOff(Timestamp),
    /// The request is settled: acknowledge.
    Settled,
}

/// The attempt to make, with what the look before it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub attempt: u32,
    pub before: Before,
    pub access_package_id: Option<String>,
    pub subject_id: Option<String>,
}

/// The next step of the repair that `state` shows. `seen` is a look made after the history was read.
pub fn next_step(state: &State, seen: Option<&Look>, at: &Circumstances<'_>) -> Step {
    if state.ending(&at.request.request_id).is_some() {
        return Step::Settled;
    }
    let repair = state.repair.as_ref();
    if repair.is_some_and(|repair| !repair.requests.contains(&at.request.request_id)) {
        return Step::Record(Fact::RequestJoined {});
    }
    if let Some(step) = repair.and_then(|repair| before_looking(repair, at)) {
        return step;
    }
    if let Some(until) = state.unresolved.as_ref().and_then(|attempt| still_called(attempt, at)) {
        return put_off_unread(repair, PutOffWhy::Moving, until, at);
    }
    match seen {
        None => look_unless_paused(repair, at),
        Some(Look::NotTried) => match repair {
            None => Step::Record(Fact::RequestReceived { why: PutOffWhy::Unavailable }),
            Some(_) => Step::PutOff(after(at.now, at.unread_wait())),
        },
        Some(Look::Throttled { retry_after }) => {
            put_off_unread(repair, PutOffWhy::Throttled, at.unread(*retry_after), at)
        }
        Some(Look::Unavailable { retry_after, .. }) => {
            put_off_unread(repair, PutOffWhy::Unavailable, at.unread(*retry_after), at)
        }
        Some(Look::Missing) => resting(repair, None, Verdict::Missing),
        Some(Look::Seen(sight)) => match standing(at.request.target.kind, &sight.state) {
            Standing::Repairable => repairable(state, sight, at),
            Standing::Resting(verdict) => resting(repair, Some(sight), verdict),
            Standing::Moving => moving(repair, sight, at),
        },
    }
}

/// How a target's state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Graph allows a reprocess.
    Repairable,
    /// Nothing will change by itself, and a reprocess is not allowed.
    Resting(Verdict),
    /// On its way, or a state that we do not know.
    Moving,
}

fn standing(kind: TargetKind, state: &str) -> Standing {
    let verdict = verdict(state);
    match (kind, verdict) {
        (_, None) => Standing::Moving,
        (TargetKind::Assignment, Some(Verdict::Delivered))
        | (TargetKind::AssignmentRequest, Some(Verdict::DeliveryFailed | Verdict::PartiallyDelivered)) => {
            Standing::Repairable
        }
        (_, Some(verdict)) => Standing::Resting(verdict),
    }
}

/// `None` for a state that is not an end: moving, or unknown to us (Graph's enumerations may grow).
pub(super) fn verdict(state: &str) -> Option<Verdict> {
    const ENDS: [(&str, Verdict); 6] = [
        ("delivered", Verdict::Delivered),
        ("partiallyDelivered", Verdict::PartiallyDelivered),
        ("deliveryFailed", Verdict::DeliveryFailed),
        ("expired", Verdict::Expired),
        ("denied", Verdict::Denied),
        ("canceled", Verdict::Canceled),
    ];
    ENDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(state)).map(|(_, verdict)| *verdict)
}

/// What the history alone demands; `None` where a look is due.
fn before_looking(repair: &Repair, at: &Circumstances<'_>) -> Option<Step> {
    match repair.phase() {
        Phase::NoAttempt => None,
        Phase::Open(attempt) if at.now < attempt.lease_until => Some(Step::PutOff(attempt.lease_until)),
        Phase::Open(attempt) => Some(Step::Record(Fact::AttemptEnded(Box::new(lost_attempt(attempt))))),
        Phase::Taken(_, ended) => at.wait_until(ended.at, at.policy.check_after).map(Step::PutOff),
        // A refusal is final for this attempt, and a lease that ran out was wait enough.
        Phase::Doubtful(_, Ended { outcome: Outcome::Rejected, .. } | Ended { caller_died: true, .. }) => {
            None
        }
        Phase::Doubtful(attempt, ended) => {
            let asked = ended.retry_after.min(LONGEST_RETRY_AFTER);
            at.wait_until(ended.at, asked.max(at.backoff(attempt.number))).map(Step::PutOff)
        }
        Phase::FailedAgain(attempt, observed) => {
            let may_not = why_not_again(repair, observed.completed_at, at);
            may_not
                .map(|why| abandon(why, observed.state.clone()))
                .or_else(|| at.wait_until(observed.at, at.backoff(attempt.number)).map(Step::PutOff))
        }
    }
}

/// The end of an attempt whose caller died: nobody knows whether Graph got it.
fn lost_attempt(attempt: &Attempt) -> AttemptEnded {
    AttemptEnded {
        attempt: attempt.number,
        client_request_id: attempt.client_request_id.clone(),
        outcome: Outcome::Unknown,
        http_status: None,
        error_code: None,
        error_message: None,
        retry_after_seconds: None,
        graph_request_id: None,
        duration_ms: None,
        late: false,
    }
}

/// Until when the call of an attempt of the repair before may be under way.
fn still_called(attempt: &Attempt, at: &Circumstances<'_>) -> Option<Timestamp> {
    (attempt.ended.is_none() && at.now < attempt.lease_until).then_some(attempt.lease_until)
}

fn look_unless_paused(repair: Option<&Repair>, at: &Circumstances<'_>) -> Step {
    match at.pause() {
        Some(until) => put_off_unread(repair, PutOffWhy::Throttled, until, at),
        None => Step::Look,
    }
}

/// Put off without having read the state: a first record if there is none, an end if it has lasted too long.
fn put_off_unread(repair: Option<&Repair>, why: PutOffWhy, until: Timestamp, at: &Circumstances<'_>) -> Step {
    match repair {
        None => Step::Record(Fact::RequestReceived { why }),
        Some(repair) if overdue(repair, at) => abandon(AbandonWhy::GivenUp, None),
        Some(_) => Step::PutOff(until),
    }
}

/// First row of the table, and the second: Graph allows a reprocess.
fn repairable(state: &State, sight: &Sight, at: &Circumstances<'_>) -> Step {
    let Some(repair) = &state.repair else { return first_attempt(state, sight, at) };
    match repair.phase() {
        Phase::NoAttempt => first_attempt(state, sight, at),
        // Decided before any look.
        Phase::Open(attempt) => Step::PutOff(attempt.lease_until),
        Phase::Taken(attempt, _) => match may_lag(attempt, sight, at) {
            Some(until) => heartbeat_or(Step::PutOff(until), repair, sight, at),
            None => observe(attempt, Some(sight), verdict(&sight.state).unwrap_or(Verdict::Other)),
        },
        Phase::Doubtful(attempt, ended) => {
            let is_request = at.request.target.kind == TargetKind::AssignmentRequest;
            if is_request && completed_again(&attempt.before, sight) {
                return observe(attempt, Some(sight), verdict(&sight.state).unwrap_or(Verdict::Other));
            }
            if ended.outcome == Outcome::Rejected {
                return Step::Record(Fact::RequestAbandoned {
                    why: AbandonWhy::Rejected,
                    state: Some(sight.state.clone()),
                    http_status: ended.http_status,
                    error_code: ended.error_code.clone(),
                });
            }
            next_attempt(repair, sight, at)
        }
        Phase::FailedAgain(_, _) => next_attempt(repair, sight, at),
    }
}

/// When to look again at a request that Graph took and that still reads as it did before: its reads may lag.
/// `None` once it reads otherwise, or long enough has passed.
fn may_lag(attempt: &Attempt, sight: &Sight, at: &Circumstances<'_>) -> Option<Timestamp> {
    let taken_at = attempt.ended.as_ref().map_or(attempt.lease_until, |ended| ended.at);
    let lag_ends = after(taken_at, at.policy.check_after.saturating_mul(LAG_CHECKS));
    let lags = at.request.target.kind == TargetKind::AssignmentRequest
        && at.now < lag_ends
        && !completed_again(&attempt.before, sight);
    lags.then(|| after(at.now, at.watch_wait(taken_at)).min(lag_ends))
}

/// Whether the request was completed once more since then. A time that vanished, or an older one, is a read that
/// lags, and no second completion.
fn completed_again(before: &Before, sight: &Sight) -> bool {
    match (before.completed_at, sight.completed_at) {
        (Some(before), Some(now)) => now > before,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

fn first_attempt(state: &State, sight: &Sight, at: &Circumstances<'_>) -> Step {
    let repair = state.repair.as_ref();
    // The repair before was ended from outside while Graph had its attempt: that one may still be delivering.
    let taken = state.unresolved.as_ref().filter(|attempt| attempt.was_taken());
    if let Some(until) = taken.and_then(|attempt| may_lag(attempt, sight, at)) {
        return put_off_unread(repair, PutOffWhy::Moving, until, at);
    }
    if at.window_is_closed(sight.completed_at) {
        return Step::Record(Fact::RequestSkipped {
            why: SkipWhy::WindowClosed,
            state: Some(sight.state.clone()),
        });
    }
    attempt_unless_paused(repair, sight, at)
}

fn next_attempt(repair: &Repair, sight: &Sight, at: &Circumstances<'_>) -> Step {
    match why_not_again(repair, sight.completed_at, at) {
        Some(why) => abandon(why, Some(sight.state.clone())),
        None => attempt_unless_paused(Some(repair), sight, at),
    }
}

fn attempt_unless_paused(repair: Option<&Repair>, sight: &Sight, at: &Circumstances<'_>) -> Step {
    if let Some(until) = at.pause() {
        return put_off_unread(repair, PutOffWhy::Throttled, until, at);
    }
    Step::Attempt(Intent {
        attempt: repair.and_then(|repair| repair.attempts.last()).map_or(1, |last| last.number + 1),
        before: Before {
            state: sight.state.clone(),
            status: sight.status.clone(),
            completed_at: sight.completed_at,
            observed_at: at.now,
        },
        access_package_id: sight.access_package_id.clone(),
        subject_id: sight.subject_id.clone(),
    })
}

/// Third row: at rest, where no reprocess is allowed.
fn resting(repair: Option<&Repair>, sight: Option<&Sight>, verdict: Verdict) -> Step {
    match repair.and_then(|repair| repair.attempts.last()) {
        Some(attempt) => observe(attempt, sight, verdict),
        None => Step::Record(Fact::RequestSkipped {
            why: if sight.is_some() { SkipWhy::NotReprocessable } else { SkipWhy::Missing },
            state: sight.map(|sight| sight.state.clone()),
        }),
    }
}

/// Fourth row: on its way, or a state that we do not know.
fn moving(repair: Option<&Repair>, sight: &Sight, at: &Circumstances<'_>) -> Step {
    let Some(repair) = repair else { return Step::Record(Fact::RequestReceived { why: PutOffWhy::Moving }) };
    if let (Phase::Doubtful(attempt, _), _) | (Phase::Taken(attempt, _), TargetKind::Assignment) =
        (repair.phase(), at.request.target.kind)
        && !attempt.moved
    {
        // The only proof that Graph took the attempt, or that an assignment moved at all: a later look may
        // show the state of before again. So it is kept at once, not at the next heartbeat.
        return Step::Record(pending(repair, sight));
    }
    if overdue(repair, at) {
        return abandon(AbandonWhy::GivenUp, Some(sight.state.clone()));
    }
    let since = match repair.phase() {
        Phase::Taken(_, ended) | Phase::Doubtful(_, ended) => ended.at,
        Phase::FailedAgain(_, observed) => observed.at,
        Phase::NoAttempt | Phase::Open(_) => repair.first_at,
    };
    heartbeat_or(Step::PutOff(after(at.now, at.watch_wait(since))), repair, sight, at)
}

/// A heartbeat is also due where it is the first to know that the window's end is near: no other record would
/// remember that others have been told.
fn heartbeat_or(step: Step, repair: &Repair, sight: &Sight, at: &Circumstances<'_>) -> Step {
    let known = repair.failed_at().is_some();
    let newly_near = known && newly_near(Some(repair), Some(sight), at).is_some();
    match newly_near || since(repair.last_at, at.now) >= HEARTBEAT {
        true => Step::Record(pending(repair, sight)),
        false => step,
    }
}

fn pending(repair: &Repair, sight: &Sight) -> Fact {
    Fact::DeliveryPending {
        attempt: repair.attempts.last().map(|attempt| attempt.number),
        state: sight.state.clone(),
        status: sight.status.clone(),
    }
}

fn observe(attempt: &Attempt, sight: Option<&Sight>, verdict: Verdict) -> Step {
    let before = &attempt.before;
    let changed = sight.is_none_or(|sight| {
        !sight.state.eq_ignore_ascii_case(&before.state) || completed_again(before, sight)
    });
    let sight = sight.cloned();
    Step::Record(Fact::DeliveryObserved(Box::new(DeliveryObserved {
        attempt: attempt.number,
        verdict,
        evidence: if changed || attempt.moved { Evidence::Moved } else { Evidence::Unchanged },
        state: sight.as_ref().map(|sight| sight.state.clone()),
        status: sight.as_ref().and_then(|sight| sight.status.clone()),
        completed_at: sight.as_ref().and_then(|sight| sight.completed_at),
        access_package_id: sight.as_ref().and_then(|sight| sight.access_package_id.clone()),
        subject_id: sight.and_then(|sight| sight.subject_id),
    })))
}

fn abandon(why: AbandonWhy, state: Option<String>) -> Step {
    Step::Record(Fact::RequestAbandoned { why, state, http_status: None, error_code: None })
}

/// Why a repair with attempts may not have another one.
fn why_not_again(
    repair: &Repair,
    completed_at: Option<Timestamp>,
    at: &Circumstances<'_>,
) -> Option<AbandonWhy> {
    if repair.counted_attempts() >= at.policy.max_attempts {
        Some(AbandonWhy::AttemptsExhausted)
    } else if at.window_is_closed(completed_at) {
        Some(AbandonWhy::WindowClosed)
    } else if overdue(repair, at) {
        Some(AbandonWhy::GivenUp)
    } else {
        None
    }
}

/// Never accepted for `GIVE_UP_AFTER`, or accepted and not settled a day past `WINDOW`.
fn overdue(repair: &Repair, at: &Circumstances<'_>) -> bool {
    match repair.attempts.iter().rev().find(|attempt| attempt.was_taken()) {
        None => since(repair.first_at, at.now) >= at.policy.give_up_after,
        Some(taken) => {
            let accepted_at = taken.ended.as_ref().map_or(taken.lease_until, |ended| ended.at);
            let window_from = match &taken.observed {
                Some(observed) => observed.completed_at.unwrap_or(observed.at),
                None => taken.before.completed_at.unwrap_or(accepted_at),
            };
            since(window_from, at.now) >= at.policy.window.saturating_add(DAY)
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "decide_model.rs"]
mod model;
