//! What a sweep sends, and what it leaves out and why. Reads nothing, sends nothing.
//!
//! Two kinds. *Failures*, as Graph lists them: one request a failure, whose id is made of the time of that failure,
//! so that any number of messages is one request. *Undriven repairs*, as the trail shows them: open, and no message
//! carries them on. Their message has an id made of the last record's number, and a record of that id stands in the trail
//! before the message is sent; the record is what keeps two sweeps from both sending it.
//!
//! ```text
//! attemptStarted     lease ends         an hour later                  12 h after the record
//! --+--------------------+------------------+----requestJoined, message--------+----- again, if still open
//!   the process dies                        a sweep takes it for undriven
//! ```

mod candidates;

use std::time::Duration;

use jiff::Timestamp;

use super::overview::{Overview, STALLED_AFTER};
use super::pace::{after, since};
use super::record::{AbandonWhy, Fact, Record, format_millis};
use super::request::{Request, RequestId};
use super::state::{Ending, Phase, State};
use super::target::{ApiVersion, Guid, Target, TargetKind};

pub use candidates::Candidates;

/// A caller whose lease ended so long ago is dead, and its message would have come back by now.
const LEASE_OVER_FOR: Duration = Duration::from_secs(60 * 60);

const OF_FAILURE: &str = "sweep:";
const SENT_AGAIN: &str = "sweep:after:";

/// Whether a request of this id is a sweep's for a repair that no message drove.
pub fn is_sent_again(request: &RequestId) -> bool {
    request.as_str().starts_with(SENT_AGAIN)
}

/// An assignment request whose delivery failed, as Graph lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub id: Guid,
    /// As read.
    pub state: String,
    /// When the delivery failed; `None` if Graph does not say.
    pub completed_at: Option<Timestamp>,
    pub package: Option<String>,
}

/// Why nothing is sent for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    UnderRepair,
    /// A sweep has asked for this very failure before; or nobody knows when it was, and a repair ended a short while ago.
    AskedAlready,
    /// `MAX_ATTEMPTS` are used up and nothing new has failed since: a person decides.
    AttemptsExhausted,
    /// Graph refused it, and nothing new has failed since.
    Rejected,
    /// A person ended the repair, and nothing new has failed since.
    Canceled,
    /// Graph would not take it any more.
    WindowClosed,
    /// An undriven repair that another process appended to just now: somebody drives it.
    DrivenMeanwhile,
}

impl LeftOut {
    /// The name in a summary.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnderRepair => "underRepair",
            Self::AskedAlready => "askedAlready",
            Self::AttemptsExhausted => "attemptsExhausted",
            Self::Rejected => "rejected",
            Self::Canceled => "canceled",
            Self::WindowClosed => "windowClosed",
            Self::DrivenMeanwhile => "drivenMeanwhile",
        }
    }
}

impl Failed {
    pub fn target(&self) -> Target {
        Target { kind: TargetKind::AssignmentRequest, id: self.id.clone() }
    }

    /// Until when Graph takes a reprocess; `None` if the time of the failure is not known.
    pub fn window_ends(&self, window: Duration) -> Option<Timestamp> {
        self.completed_at.map(|completed_at| after(completed_at, window))
    }

    /// For an order by urgency: what Graph takes for the shortest time first, what has no known end last.
    pub fn urgency(&self) -> (Timestamp, &Guid) {
        (self.completed_at.unwrap_or(Timestamp::MAX), &self.id)
    }

    /// The same for every sweep that sees this failure, and another for the next failure: where Graph does not say
    /// when it was, the last repair's end tells one from the next.
    fn request_id(&self, state: &State) -> RequestId {
        let of = match (self.completed_at, state.last_ending()) {
            (Some(completed_at), _) => format_millis(completed_at),
            (None, Some(ending)) => format!("none:{}", ending.seq),
            (None, None) => "none".to_owned(),
        };
        known_good(format!("{OF_FAILURE}{of}"))
    }

    /// The request to send, or why there is none. `state` is the fold of the target's whole history.
    pub fn wish(
        &self,
        state: &State,
        now: Timestamp,
        window: Duration,
        api_version: ApiVersion,
    ) -> Result<Request, LeftOut> {
        if self.window_ends(window).is_some_and(|ends| ends <= now) {
            return Err(LeftOut::WindowClosed);
        }
        let request_id = self.request_id(state);
        if !state.is_new(&request_id) {
            let settled = state.ending(&request_id).is_some() && state.repair.is_none();
            return Err(if settled { LeftOut::AskedAlready } else { LeftOut::UnderRepair });
        }
        if state.repair.is_some() {
            return Err(LeftOut::UnderRepair);
        }
        if let Some(why) = self.given_up(state) {
            return Err(why);
        }
        // Without a time nothing says whether it failed anew. So that each sweep does not ask for what just ended:
        let just_ended = |ending: &Ending| since(ending.at, now) <= STALLED_AFTER;
        if self.completed_at.is_none() && state.last_ending().is_some_and(just_ended) {
            return Err(LeftOut::AskedAlready);
        }
        let since = self.completed_at.map(|at| format!(" at {}", format_millis(at))).unwrap_or_default();
        Ok(asked(
            self.target(),
            api_version,
            request_id,
            format!("found by the sweep: delivery failed{since}"),
        ))
    }

    /// A repair ended after this failure, and in a way that a new message would not change. Not so `givenUp`: then
    /// Graph was away for days.
    fn given_up(&self, state: &State) -> Option<LeftOut> {
        let ending = state.last_ending()?;
        if self.completed_at.is_some_and(|completed_at| ending.at < completed_at) {
            return None;
        }
        match &ending.fact {
            Fact::RequestAbandoned { why, .. } => match why {
                AbandonWhy::AttemptsExhausted => Some(LeftOut::AttemptsExhausted),
                AbandonWhy::Rejected => Some(LeftOut::Rejected),
                AbandonWhy::Canceled => Some(LeftOut::Canceled),
                AbandonWhy::GivenUp | AbandonWhy::WindowClosed => None,
            },
            _ => None,
        }
    }
}

/// Why a repair is taken to be undriven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The caller of an attempt never came back; its lease ended then.
    LeaseOver(Timestamp),
    /// Nothing was recorded since then.
    NoRecord(Timestamp),
}

impl Silence {
    pub fn since(self) -> Timestamp {
        match self {
            Self::LeaseOver(at) | Self::NoRecord(at) => at,
        }
    }
}

/// Whether no message drives the open repair any more, as far as the trail can tell; never so within 12 hours of
/// when a sweep sent it again. `state` is the fold of the whole history.
pub fn silence(state: &State, now: Timestamp) -> Option<Silence> {
    let repair = state.repair.as_ref()?;
    if repair.sent_again_at.is_some_and(|at| since(at, now) < STALLED_AFTER) {
        return None;
    }
    match repair.phase() {
        Phase::Open(attempt) if since(attempt.lease_until, now) > LEASE_OVER_FOR => {
            Some(Silence::LeaseOver(attempt.lease_until))
        }
        _ if since(repair.last_at, now) > STALLED_AFTER => Some(Silence::NoRecord(repair.last_at)),
        _ => None,
    }
}

/// The request that drives an undriven repair on, for the history that ends with record `seq`.
pub fn send_again(
    overview: &Overview,
    silence: Silence,
    seq: u64,
    last_version: Option<ApiVersion>,
    default: ApiVersion,
) -> Request {
    let why = match silence {
        Silence::LeaseOver(at) => {
            format!("an attempt was never ended, its lease was over {}", format_millis(at))
        }
        Silence::NoRecord(at) => format!("no record since {}", format_millis(at)),
    };
    asked(
        overview.target.clone(),
        last_version.unwrap_or(default),
        known_good(format!("{SENT_AGAIN}{seq}")),
        format!("sent again by the sweep: {why}"),
    )
}

/// The API version of the last attempt in a history.
pub fn last_version<'a>(records: impl DoubleEndedIterator<Item = &'a Record>) -> Option<ApiVersion> {
    records.rev().find_map(|record| match &record.fact {
        Fact::AttemptStarted(started) => Some(started.api_version),
        _ => None,
    })
}

fn known_good(id: String) -> RequestId {
    RequestId::parse(&id).expect("made of digits, letters, `-`, `:` and `.`, and short")
}

fn asked(target: Target, api_version: ApiVersion, request_id: RequestId, reason: String) -> Request {
    Request {
        target,
        api_version,
        via: None,
        request_id,
        requested_by: None,
        reason: Some(reason),
        ticket: None,
    }
}

#[cfg(test)]
mod tests;
