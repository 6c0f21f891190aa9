//! One repair of the period, from its first record to the settling one, and how it stands. Holds no total.

use jiff::{SignedDuration, Timestamp};

use crate::domain::record::{
    AbandonWhy, AttemptEnded, AttemptStarted, DeliveryObserved, Evidence, Fact, Origin, Outcome, Record,
    SkipWhy, Verdict,
};
use crate::domain::request::RequestId;
use crate::domain::target::{Target, TargetKind};

/// All that is known of one repair.
#[derive(Clone, Debug)]
pub struct Repair {
    pub target: Target,
    pub number: u64,
    pub first_seq: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// Of the first request.
    pub origin: Option<Origin>,
    /// Who asked, a line for each request.
    pub requests: Vec<(RequestId, Option<String>)>,
    pub attempts: Vec<Attempt>,
    /// The state that a look last showed.
    pub state: Option<String>,
    pub access_package_id: Option<String>,
    pub subject_id: Option<String>,
    settled: Option<(Timestamp, Settled)>,
}

/// One call, how it ended, and what Graph's state said later.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub request_id: RequestId,
    pub started_at: Timestamp,
    pub started: Box<AttemptStarted>,
    pub ended: Option<(Timestamp, Box<AttemptEnded>)>,
    pub observed: Option<(Timestamp, Box<DeliveryObserved>)>,
    /// A later look saw another state than before the attempt.
    pub moved: bool,
}

#[derive(Clone, Copy, Debug)]
enum Settled {
    Observed(Verdict, Evidence),
    Skipped(SkipWhy),
    Abandoned(AbandonWhy),
}

/// How a repair ended, as a report counts it: each repair is exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Delivered, and Graph's state was seen to change: verified.
    Recovered,
    /// Graph accepted it and says delivered, but its state never moved, so nothing proves what was done.
    NotVerifiable,
    /// At rest in another state.
    Otherwise(Verdict),
    Abandoned(AbandonWhy),
    /// Settled without a call.
    Skipped(SkipWhy),
    Open(Stage),
}

/// What an open repair waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody knows whether Graph took the last call.
    InDoubt,
    /// Graph took it.
    Delivering,
    /// Put off: before a first or another attempt.
    PutOff,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::InDoubt => "inDoubt",
            Self::Delivering => "delivering",
            Self::PutOff => "putOff",
        }
    }
}

impl Attempt {
    pub fn outcome(&self) -> Option<Outcome> {
        self.ended.as_ref().map(|(_, ended)| ended.outcome)
    }

    pub fn verdict(&self) -> Option<Verdict> {
        self.observed.as_ref().map(|(_, observed)| observed.verdict)
    }

    fn was_taken(&self) -> bool {
        self.outcome() == Some(Outcome::Accepted) || self.moved
    }
}

impl Repair {
    /// Whether `record` is the first of a repair; every other record belongs to one that is known or older.
    pub(super) fn begins_with(record: &Record) -> bool {
        let can = matches!(
            record.fact,
            Fact::RequestReceived { .. } | Fact::AttemptStarted(_) | Fact::RequestSkipped { .. }
        );
        can && (record.origin.is_some() || record.seq == 1)
    }

    pub(super) fn begin(target: Target, number: u64, record: Record) -> Self {
        let mut repair = Self {
            target,
            number,
            first_seq: record.seq,
            first_at: record.at,
            last_at: record.at,
            origin: record.origin.clone(),
            requests: Vec::with_capacity(1),
            attempts: Vec::new(),
            state: None,
            access_package_id: None,
            subject_id: None,
            settled: None,
        };
        repair.ask(&record);
        repair.note(record);
        repair
    }

    /// Takes the next record in.
    pub(super) fn note(&mut self, record: Record) {
        let is_end = record.fact.settles(self.target.kind);
        self.last_at = record.at;
        if matches!(record.fact, Fact::RequestJoined {}) {
            self.ask(&record);
        }
        let Record { at, fact, request_id, .. } = record;
        let settled = match fact {
            Fact::AttemptStarted(started) => {
                self.state = Some(started.before.state.clone());
                self.learn(started.access_package_id.as_ref(), started.subject_id.as_ref());
                self.attempts.push(Attempt {
                    request_id,
                    started_at: at,
                    started,
                    ended: None,
                    observed: None,
                    moved: false,
                });
                None
            }
            Fact::AttemptEnded(ended) => {
                let call = &ended.client_request_id;
                let own = self.attempts.iter_mut().find(|own| own.started.client_request_id == *call);
                if let Some(own) = own {
                    own.ended = Some((at, ended));
                }
                None
            }
            Fact::DeliveryPending { attempt, state, .. } => {
                let own = self.attempts.iter_mut().find(|own| Some(own.started.attempt) == attempt);
                if let Some(own) = own {
                    own.moved |= !own.started.before.state.eq_ignore_ascii_case(&state);
                }
                self.state = Some(state);
                None
            }
            Fact::DeliveryObserved(observed) => {
                self.state.clone_from(&observed.state);
                self.learn(observed.access_package_id.as_ref(), observed.subject_id.as_ref());
                let settled = Settled::Observed(observed.verdict, observed.evidence);
                let own = self.attempts.iter_mut().find(|own| own.started.attempt == observed.attempt);
                if let Some(own) = own {
                    own.observed = Some((at, observed));
                }
                Some(settled)
            }
            Fact::RequestSkipped { why, state } => {
                self.state = state;
                Some(Settled::Skipped(why))
            }
            Fact::RequestAbandoned { why, state, .. } => {
                self.state = state.or(self.state.take());
                Some(Settled::Abandoned(why))
            }
            Fact::RequestReceived { .. } | Fact::RequestJoined {} | Fact::MessageRejected { .. } => None,
        };
        if is_end {
            self.settled = settled.map(|settled| (at, settled));
        }
    }

    pub fn ending(&self) -> Ending {
        match self.settled {
            None => Ending::Open(self.stage()),
            Some((_, Settled::Observed(Verdict::Delivered, Evidence::Moved))) => Ending::Recovered,
            Some((_, Settled::Observed(Verdict::Delivered, Evidence::Unchanged))) => Ending::NotVerifiable,
            Some((_, Settled::Observed(verdict, _))) => Ending::Otherwise(verdict),
            Some((_, Settled::Skipped(why))) => Ending::Skipped(why),
            Some((_, Settled::Abandoned(why))) => Ending::Abandoned(why),
        }
    }

    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    pub fn settled_at(&self) -> Option<Timestamp> {
        self.settled.map(|(at, _)| at)
    }

    /// From the first attempt to the settling record, if that says delivered and verified.
    pub fn time_to_delivery(&self) -> Option<SignedDuration> {
        let (first, at) = (self.attempts.first()?, self.settled_at()?);
        (self.ending() == Ending::Recovered).then(|| at.duration_since(first.started_at))
    }

    /// Since when it has been unknown whether Graph took the last call.
    pub fn in_doubt_since(&self) -> Option<Timestamp> {
        let attempt = self.attempts.last().filter(|_| !self.is_settled())?;
        let unknown = matches!(attempt.outcome(), None | Some(Outcome::Unknown));
        (unknown && attempt.observed.is_none() && !attempt.moved).then_some(attempt.started_at)
    }

    /// When Graph stops allowing a reprocess; `None` for assignments, and where no completion is known.
    pub fn deadline(&self, window: SignedDuration) -> Option<Timestamp> {
        let attempt = self.attempts.last().filter(|_| self.target.kind == TargetKind::AssignmentRequest)?;
        let seen = attempt.observed.as_ref().and_then(|(_, observed)| observed.completed_at);
        seen.or(attempt.started.before.completed_at).and_then(|at| at.checked_add(window).ok())
    }

    fn stage(&self) -> Stage {
        match self.attempts.last() {
            Some(_) if self.in_doubt_since().is_some() => Stage::InDoubt,
            Some(attempt) if attempt.observed.is_none() && attempt.was_taken() => Stage::Delivering,
            _ => Stage::PutOff,
        }
    }

    fn ask(&mut self, record: &Record) {
        let requested_by = record.origin.as_ref().and_then(|origin| origin.requested_by.clone());
        self.requests.push((record.request_id.clone(), requested_by));
    }

    fn learn(&mut self, access_package_id: Option<&String>, subject_id: Option<&String>) {
        self.access_package_id = access_package_id.cloned().or(self.access_package_id.take());
        self.subject_id = subject_id.cloned().or(self.subject_id.take());
    }
}
