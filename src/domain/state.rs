//! The fold of one target's history: what its records say together. Holds no rule of what to do next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::record::{AttemptEnded, Before, Fact, Outcome, Record};
use super::request::RequestId;
use super::sweep::is_sent_again;
use super::target::{Guid, TargetKind};

/// Everything that the rules and the answers need to know of one target's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    kind: TargetKind,
    /// How many repairs have been settled; the open or next one is this plus one.
    settled_repairs: u64,
    /// The repair under way, if any.
    pub repair: Option<Repair>,
    settled: BTreeMap<RequestId, Ending>,
    /// The last attempt of the last settled repair, if nobody knows yet what became of it: canceled or given up
    /// while its call may be under way, or its delivery.
    pub unresolved: Option<Attempt>,
}

/// How a settled repair ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The settling record's number, time and fact.
    pub seq: u64,
    pub at: Timestamp,
    pub fact: Fact,
    /// The repair's last attempt, if there was one.
    pub attempt: Option<Attempt>,
}

/// All that happened to the target since it was last settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    pub number: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub last_seq: u64,
    /// The last record whose maker asked first whether the window's end was near. A sweep does not ask, nor does
    /// whoever records how a call ended.
    pub judged_at: Option<Timestamp>,
    /// When the sweep last sent it again because no message drove it.
    pub sent_again_at: Option<Timestamp>,
    pub requests: BTreeSet<RequestId>,
    pub attempts: Vec<Attempt>,
}

/// One attempt and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: u32,
    pub client_request_id: Guid,
    pub lease_until: Timestamp,
    pub before: Before,
    pub ended: Option<Ended>,
    /// A later look saw a state other than `before`, and a heartbeat says so.
    pub moved: bool,
    pub observed: Option<Observed>,
}

/// How the call of an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When it was over: the time of recording, or the end of the lease if its caller died.
    pub at: Timestamp,
    /// Nobody came back to tell; another closed the attempt after its lease.
    pub caller_died: bool,
    pub outcome: Outcome,
    pub http_status: Option<u16>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub retry_after: Duration,
    pub graph_request_id: Option<String>,
}

/// A verdict on an attempt that did not settle the repair: the delivery failed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub at: Timestamp,
    pub state: Option<String>,
    pub completed_at: Option<Timestamp>,
}

/// Where the open repair stands; each is a column of the decision table, or stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase<'a> {
    NoAttempt,
    /// A call may be under way.
    Open(&'a Attempt),
    /// Graph took the attempt: it accepted it, or was seen moving since.
    Taken(&'a Attempt, &'a Ended),
    /// Unknown, unavailable, throttled or rejected, and no movement was seen since.
    Doubtful(&'a Attempt, &'a Ended),
    /// Taken, and failed again.
    FailedAgain(&'a Attempt, &'a Observed),
}

impl State {
    pub fn new(kind: TargetKind) -> Self {
        Self { kind, settled_repairs: 0, repair: None, settled: BTreeMap::new(), unresolved: None }
    }

    /// Folds a whole history, given in `seq` order.
    pub fn fold<'a>(kind: TargetKind, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut state = Self::new(kind);
        for record in records {
            state.apply(record);
        }
        state
    }

    /// The number that the next record's `repair` has, unless it belongs to an older repair's attempt.
    pub fn current_repair(&self) -> u64 {
        self.repair.as_ref().map_or(self.settled_repairs + 1, |repair| repair.number)
    }

    /// True if the trail holds no record of this request yet, so that the next one is its first.
    pub fn is_new(&self, request: &RequestId) -> bool {
        self.ending(request).is_none()
            && !self.repair.as_ref().is_some_and(|repair| repair.requests.contains(request))
    }

    /// How the repair ended that this request belonged to; `None` while it is not settled.
    pub fn ending(&self, request: &RequestId) -> Option<&Ending> {
        self.settled.get(request)
    }

    /// How the last settled repair ended.
    pub fn last_ending(&self) -> Option<&Ending> {
        self.settled.values().max_by_key(|ending| ending.seq)
    }

    /// Adds the next record. A record of an already settled repair (a caller that came back late, or was
    /// canceled meanwhile) opens no new one; it only tells what became of that repair's last attempt.
    pub fn apply(&mut self, record: &Record) {
        let number = record.repair.unwrap_or_default();
        if number <= self.settled_repairs {
            if let Some(attempt) = &mut self.unresolved {
                attempt.end(record);
            }
            return;
        }
        let repair = self.repair.get_or_insert_with(|| Repair {
            number,
            first_at: record.at,
            last_at: record.at,
            last_seq: record.seq,
            judged_at: None,
            sent_again_at: None,
            requests: BTreeSet::new(),
            attempts: Vec::new(),
        });
        repair.last_at = record.at;
        repair.last_seq = record.seq;
        if !is_blind(record) {
            repair.judged_at = Some(record.at);
        }
        repair.requests.insert(record.request_id.clone());
        repair.note(record);
        if record.fact.settles(self.kind) {
            self.settle(record);
        }
    }

    fn settle(&mut self, record: &Record) {
        let Some(mut repair) = self.repair.take() else { return };
        self.settled_repairs = repair.number;
        let ending = Ending {
            seq: record.seq,
            at: record.at,
            fact: record.fact.clone(),
            attempt: repair.attempts.pop(),
        };
        let last = ending.attempt.as_ref().filter(|attempt| attempt.observed.is_none());
        self.unresolved = last.filter(|attempt| attempt.ended.is_none() || attempt.was_taken()).cloned();
        for request in repair.requests {
            self.settled.insert(request, ending.clone());
        }
    }
}

impl Repair {
    pub fn phase(&self) -> Phase<'_> {
        let Some(attempt) = self.attempts.last() else { return Phase::NoAttempt };
        match (&attempt.ended, &attempt.observed) {
            (_, Some(observed)) => Phase::FailedAgain(attempt, observed),
            (None, None) => Phase::Open(attempt),
            (Some(ended), None) if attempt.was_taken() => Phase::Taken(attempt, ended),
            (Some(ended), None) => Phase::Doubtful(attempt, ended),
        }
    }

    /// Attempts that Graph accepted or may have: those that use up `MAX_ATTEMPTS`.
    pub fn counted_attempts(&self) -> u32 {
        let counts = |attempt: &&Attempt| {
            attempt.was_taken()
                || attempt.ended.as_ref().is_none_or(|ended| ended.outcome == Outcome::Unknown)
        };
        u32::try_from(self.attempts.iter().filter(counts).count()).unwrap_or(u32::MAX)
    }

    /// When the target was last known to be completed without success; `None` where the trail does not say.
    pub fn failed_at(&self) -> Option<Timestamp> {
        let last = self.attempts.last()?;
        let observed = last.observed.as_ref().and_then(|observed| observed.completed_at);
        observed.or(last.before.completed_at)
    }

    fn note(&mut self, record: &Record) {
        match &record.fact {
            Fact::AttemptStarted(started) => self.attempts.push(Attempt {
                number: started.attempt,
                client_request_id: started.client_request_id.clone(),
                lease_until: started.lease_until,
                before: started.before.clone(),
                ended: None,
                moved: false,
                observed: None,
            }),
            Fact::AttemptEnded(_) => self.attempts.iter_mut().for_each(|attempt| attempt.end(record)),
            Fact::DeliveryPending { attempt: Some(number), state, .. } => {
                if let Some(own) = self.attempts.iter_mut().find(|own| own.number == *number) {
                    own.moved |= !own.before.state.eq_ignore_ascii_case(state);
                }
            }
            Fact::DeliveryObserved(observed) => {
                if let Some(own) = self.attempts.iter_mut().find(|own| own.number == observed.attempt) {
                    own.observed = Some(Observed {
                        at: record.at,
                        state: observed.state.clone(),
                        completed_at: observed.completed_at,
                    });
                }
            }
            Fact::RequestJoined {} if is_sent_again(&record.request_id) => {
                self.sent_again_at = Some(record.at);
            }
            Fact::RequestReceived { .. }
            | Fact::RequestJoined {}
            | Fact::DeliveryPending { attempt: None, .. }
            | Fact::RequestSkipped { .. }
            | Fact::RequestAbandoned { .. }
            | Fact::MessageRejected { .. } => {}
        }
    }
}

/// Whether nobody had asked how near the window's end was when this record was made.
fn is_blind(record: &Record) -> bool {
    match &record.fact {
        Fact::AttemptEnded(_) => true,
        Fact::RequestJoined {} => is_sent_again(&record.request_id),
        Fact::RequestReceived { .. }
        | Fact::AttemptStarted(_)
        | Fact::DeliveryPending { .. }
        | Fact::DeliveryObserved(_)
        | Fact::RequestSkipped { .. }
        | Fact::RequestAbandoned { .. }
        | Fact::MessageRejected { .. } => false,
    }
}

impl Attempt {
    /// Takes in how its call ended, if that is what the record says.
    fn end(&mut self, record: &Record) {
        if let Fact::AttemptEnded(ended) = &record.fact
            && ended.client_request_id == self.client_request_id
        {
            self.ended = Some(Ended::of(ended, record.at, self.lease_until));
        }
    }

    /// True once it is known that Graph took it.
    pub fn was_taken(&self) -> bool {
        let accepted = self.ended.as_ref().is_some_and(|ended| ended.outcome == Outcome::Accepted);
        accepted || self.moved || self.observed.is_some()
    }
}

impl Ended {
    fn of(ended: &AttemptEnded, recorded_at: Timestamp, lease_until: Timestamp) -> Self {
        Self {
            at: if ended.duration_ms.is_some() { recorded_at } else { lease_until },
            caller_died: ended.duration_ms.is_none(),
            outcome: ended.outcome,
            http_status: ended.http_status,
            error_code: ended.error_code.clone(),
            error_message: ended.error_message.clone(),
            retry_after: Duration::from_secs(ended.retry_after_seconds.unwrap_or_default()),
            graph_request_id: ended.graph_request_id.clone(),
        }
    }
}
