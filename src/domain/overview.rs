//! One target's past as a person asks about it: who asked for what, and how each request stands. Decides nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::pace::{after, since};
use super::record::{AbandonWhy, Evidence, Fact, Origin, Outcome, Record, RecordError, SkipWhy, Verdict};
use super::request::RequestId;
use super::state::{Ended, Phase, Repair, State};
use super::target::{Target, TargetKind};

/// A repair that leaves no record for so long has no live message; the sweep may send it again.
pub const STALLED_AFTER: Duration = Duration::from_secs(12 * 60 * 60);

/// The fold of one target's records, for commands.
#[derive(Clone, Debug)]
pub struct Overview {
    pub target: Target,
    pub state: State,
    /// Requests in the order of their first records, without cancellations.
    pub asked: Vec<Asked>,
    /// The access package that was last seen with the target.
    pub package: Option<String>,
    /// Records that this version cannot read, the first with its fault: what is told may be wrong.
    pub unreadable: Option<(u64, String)>,
}

/// A request as its first record tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub request_id: RequestId,
    pub repair: u64,
    pub at: Timestamp,
    pub origin: Origin,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A call may be under way right now.
    UnderWay,
    /// Graph took it; the delivery is awaited.
    Waiting,
    /// Throttled, unavailable, or not tried yet.
    PutOff,
    /// A call whose answer nobody read, and nothing since tells what became of it.
    InDoubt,
    Delivered(Evidence),
    /// At rest in a state that is not delivered.
    Ended(Verdict),
    Skipped(SkipWhy),
    Abandoned(AbandonWhy),
}

impl Progress {
    pub fn is_open(self) -> bool {
        match self {
            Self::UnderWay | Self::Waiting | Self::PutOff | Self::InDoubt => true,
            Self::Delivered(_) | Self::Ended(_) | Self::Skipped(_) | Self::Abandoned(_) => false,
        }
    }
}

impl Overview {
    pub fn new(target: Target) -> Self {
        let state = State::new(target.kind);
        Self { target, state, asked: Vec::new(), package: None, unreadable: None }
    }

    /// Takes the next record's text.
    pub fn add(&mut self, seq: u64, record: &str) {
        match Record::from_json(record) {
            Ok(record) => self.apply(&record),
            Err(error) => {
                let why = match error {
                    RecordError::Version(_) => error.to_string(),
                    RecordError::Malformed(cause) => format!("not a record: {cause}"),
                };
                self.unreadable.get_or_insert((seq, why));
            }
        }
    }

    pub fn apply(&mut self, record: &Record) {
        self.state.apply(record);
        let package = match &record.fact {
            Fact::AttemptStarted(started) => &started.access_package_id,
            Fact::DeliveryObserved(observed) => &observed.access_package_id,
            _ => &None,
        };
        if package.is_some() {
            self.package.clone_from(package);
        }
        let canceled = matches!(record.fact, Fact::RequestAbandoned { why: AbandonWhy::Canceled, .. });
        if let Some(origin) = record.origin.clone().filter(|_| !canceled) {
            self.asked.push(Asked {
                request_id: record.request_id.clone(),
                repair: record.repair.unwrap_or_default(),
                at: record.at,
                origin,
            });
        }
    }

    /// `None` for a request without records.
    pub fn progress(&self, request: &RequestId, now: Timestamp) -> Option<Progress> {
        if let Some(ending) = self.state.ending(request) {
            return settled(&ending.fact);
        }
        self.state.repair.as_ref().map(|repair| standing(repair, now))
    }

    /// When Graph stops taking the target of the open repair; `None` if it does not, or is not known.
    pub fn window_ends(&self, window: Duration) -> Option<Timestamp> {
        let completed_at = self.state.repair.as_ref()?.failed_at()?;
        (self.target.kind == TargetKind::AssignmentRequest).then(|| after(completed_at, window))
    }

    /// True if no message drives the open repair any more, as far as the trail can tell.
    pub fn is_stalled(&self, now: Timestamp) -> bool {
        self.state.repair.as_ref().is_some_and(|repair| since(repair.last_at, now) > STALLED_AFTER)
    }
}

/// How an open repair stands.
pub fn standing(repair: &Repair, now: Timestamp) -> Progress {
    match repair.phase() {
        Phase::NoAttempt | Phase::FailedAgain(_, _) => Progress::PutOff,
        Phase::Open(attempt) if now < attempt.lease_until => Progress::UnderWay,
        Phase::Open(_) | Phase::Doubtful(_, Ended { outcome: Outcome::Unknown, .. }) => Progress::InDoubt,
        Phase::Doubtful(_, _) => Progress::PutOff,
        Phase::Taken(_, _) => Progress::Waiting,
    }
}

/// `None` for a fact that settles nothing, which no ending holds.
fn settled(fact: &Fact) -> Option<Progress> {
    match fact {
        Fact::DeliveryObserved(observed) if observed.verdict == Verdict::Delivered => {
            Some(Progress::Delivered(observed.evidence))
        }
        Fact::DeliveryObserved(observed) => Some(Progress::Ended(observed.verdict)),
        Fact::RequestSkipped { why, .. } => Some(Progress::Skipped(*why)),
        Fact::RequestAbandoned { why, .. } => Some(Progress::Abandoned(*why)),
        Fact::RequestReceived { .. }
        | Fact::RequestJoined {}
        | Fact::AttemptStarted(_)
        | Fact::AttemptEnded(_)
        | Fact::DeliveryPending { .. }
        | Fact::MessageRejected { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::past::{Past, answered, at, guid, request, sight};
    use crate::domain::reply::Reply;

    fn overview(past: &Past) -> Overview {
        let mut overview = Overview::new(Target { kind: past.kind, id: guid(1) });
        past.records.iter().for_each(|record| overview.add(record.seq, &record.to_json()));
        overview
    }

    #[test]
    fn each_standing_has_its_name() {
        let asked = request(TargetKind::AssignmentRequest, "r1");
        let lost = || Reply::Lost { reason: "gone".to_owned() };
        let cases = [
            (None, 10, Progress::UnderWay),
            (None, 100, Progress::InDoubt),
            (Some(lost()), 10, Progress::InDoubt),
            (Some(answered(429)), 10, Progress::PutOff),
            (Some(answered(202)), 10, Progress::Waiting),
        ];
        for (reply, now, expected) in cases {
            let mut past = Past::new(TargetKind::AssignmentRequest);
            let call = past.start(&asked, at(0), 1, &sight("DeliveryFailed", Some(-60)));
            if let Some(reply) = reply.clone() {
                past.end(&asked, at(1), 1, call, reply);
            }
            let overview = overview(&past);
            assert_eq!(overview.progress(&asked.request_id, at(now)), Some(expected), "{reply:?}");
            assert_eq!(overview.window_ends(Duration::from_secs(100)), Some(at(40)));
            assert!(!overview.is_stalled(at(now)) && overview.is_stalled(at(100_000)));
        }
    }

    #[test]
    fn cancellation_ends_the_repair_and_is_no_request_of_its_own() {
        let asked = request(TargetKind::AssignmentRequest, "r1");
        let mut past = Past::new(TargetKind::AssignmentRequest);
        let call = past.start(&asked, at(0), 1, &sight("DeliveryFailed", Some(0)));
        let cancel = request(TargetKind::AssignmentRequest, "cancel:1");
        let why = AbandonWhy::Canceled;
        past.push(
            &cancel,
            at(1),
            Fact::RequestAbandoned { why, state: None, http_status: None, error_code: None },
        );
        // The call that was under way ends afterwards, and is kept with its own repair.
        let ended = crate::domain::outcome::attempt_ended(1, call, answered(202), Duration::ZERO, false);
        past.push_to(1, &asked, at(2), Fact::AttemptEnded(Box::new(ended)));
        let overview = overview(&past);
        assert_eq!(overview.asked.len(), 1);
        assert_eq!(overview.progress(&asked.request_id, at(3)), Some(Progress::Abandoned(why)));
        assert!(overview.state.repair.is_none());
    }

    #[test]
    fn unreadable_records_are_told() {
        let mut overview = Overview::new(Target { kind: TargetKind::Assignment, id: guid(1) });
        overview.add(3, "{\"v\":2}");
        overview.add(4, "{");
        let (seq, why) = overview.unreadable.unwrap();
        assert_eq!(seq, 3);
        assert!(why.starts_with("`v` is 2"), "{why}");
    }
}
