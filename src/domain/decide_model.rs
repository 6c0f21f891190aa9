//! Every path: from the empty history each input at each state, until no new state appears, the promises
//! asserted on the way. The rules are not repeated here; only what must never happen is.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::super::pace::Policy;
use super::super::past::{Past, answered, at, circumstances, request, sight};
use super::super::reply::{Look, Reply};
use super::super::target::{Guid, TargetKind};
use super::*;

/// How the call of an attempt, if the delivery comes to one, ends.
#[derive(Clone, Copy, Debug)]
enum Call {
    Accepted,
    Rejected,
    Throttled,
    Unavailable,
    Lost,
    /// The process dies between the two records.
    Crash,
    /// The same, and its end is told after someone else has closed the attempt, if it ever is.
    CrashThenLate,
}

const CALLS: [Call; 7] = [
    Call::Accepted,
    Call::Rejected,
    Call::Throttled,
    Call::Unavailable,
    Call::Lost,
    Call::Crash,
    Call::CrashThenLate,
];

#[derive(Clone)]
struct World {
    past: Past,
    now: Timestamp,
    /// An attempt whose caller is not dead but slow.
    slow: Option<(u64, AttemptEnded)>,
}

fn policy() -> Policy {
    Policy { max_attempts: 2, ..Policy::default() }
}

fn looks(now: Timestamp) -> Vec<Look> {
    let mut looks = vec![
        Look::Missing,
        Look::Throttled { retry_after: None },
        Look::Unavailable { reason: String::new(), retry_after: None, misconfigured: false },
    ];
    for state in ["delivered", "deliveryFailed", "partiallyDelivered", "delivering", "expired"] {
        looks.push(Look::Seen(sight(state, Some(-1000))));
    }
    // Failed again, just now.
    looks.push(Look::Seen(Sight { completed_at: Some(now), ..sight("deliveryFailed", None) }));
    looks
}

impl World {
    /// One delivery of a message, as the shell carries it out, and whether it came to a call.
    fn deliver(&self, id: &str, look: &Look, call: Call) -> (Self, bool) {
        let mut world = self.clone();
        let mut called = false;
        let own = request(self.past.kind, id);
        let policy = policy();
        let mut seen: Option<Look> = None;
        for _ in 0..20 {
            let state = world.past.state();
            match next_step(&state, seen.as_ref(), &circumstances(&own, world.now, &policy)) {
                Step::Settled | Step::PutOff(_) => return (world, called),
                Step::Look => {
                    assert!(seen.is_none(), "asked to look twice");
                    seen = Some(look.clone());
                }
                Step::Record(fact) => world.past.push(&own, world.now, fact),
                Step::Attempt(intent) => {
                    let Some(Look::Seen(sight)) = seen.take() else { panic!("an attempt without a look") };
                    called = true;
                    let repair = state.current_repair();
                    let guid = world.past.start(&own, world.now, intent.attempt, &sight);
                    let reply = match call {
                        Call::Accepted | Call::CrashThenLate => answered(202),
                        Call::Rejected => answered(400),
                        Call::Throttled => answered(429),
                        Call::Unavailable => answered(503),
                        Call::Lost | Call::Crash => Reply::Lost { reason: String::new() },
                    };
                    let ended = super::super::outcome::attempt_ended(
                        intent.attempt,
                        guid,
                        reply,
                        Duration::from_secs(1),
                        false,
                    );
                    match call {
                        Call::Crash => return (world, called),
                        Call::CrashThenLate => {
                            world.slow = Some((repair, ended));
                            return (world, called);
                        }
                        _ => world.past.push(&own, world.now, Fact::AttemptEnded(Box::new(ended))),
                    }
                }
            }
        }
        panic!("a delivery without end: {:#?}", world.past.records)
    }

    fn late_end(&self) -> Option<Self> {
        let mut world = self.clone();
        let (repair, mut ended) = world.slow.take()?;
        ended.late = self.past.records.iter().any(
            |record| matches!(&record.fact, Fact::AttemptEnded(other) if other.client_request_id == ended.client_request_id),
        );
        world.past.push_to(
            repair,
            &request(self.past.kind, "a"),
            self.now,
            Fact::AttemptEnded(Box::new(ended)),
        );
        Some(world)
    }

    fn later(&self, secs: u64) -> Self {
        Self { now: self.now + Duration::from_secs(secs), ..self.clone() }
    }

    /// What of the world can still make a difference: ages by the thresholds they have passed.
    fn key(&self) -> String {
        const DAYS: i64 = 86_400;
        let state = self.past.state();
        let age = |from: Timestamp, limits: &[i64]| {
            let secs = self.now.duration_since(from).as_secs();
            limits.iter().filter(|limit| secs >= **limit).count()
        };
        let window = |from: Timestamp| age(from, &[12 * DAYS, 14 * DAYS, 15 * DAYS]);
        let repair = state.repair.as_ref().map(|repair| {
            let last = repair.attempts.last().map(|attempt| {
                let ended = attempt.ended.as_ref();
                let ended =
                    ended.map(|ended| (ended.outcome, age(ended.at, &[30, 120, 3600]), ended.caller_died));
                let observed = attempt.observed.as_ref();
                let observed =
                    observed.map(|observed| (age(observed.at, &[30]), observed.completed_at.map(window)));
                (
                    ended,
                    attempt.moved,
                    observed,
                    attempt.before.completed_at.map(window),
                    self.now >= attempt.lease_until,
                )
            });
            let taken = repair.attempts.iter().any(Attempt::was_taken);
            let near_from = repair.failed_at().map(|failed_at| failed_at + Duration::from_secs(12 * 86_400));
            let knows_near = near_from.is_some_and(|from| repair.judged_at.is_some_and(|at| at >= from));
            let ages = (age(repair.first_at, &[7 * DAYS]), age(repair.last_at, &[21_600]), knows_near);
            (
                ages,
                last,
                taken,
                repair.attempts.len().min(3),
                repair.counted_attempts(),
                repair.requests.len(),
            )
        });
        let own = state.ending(&request(self.past.kind, "a").request_id).is_some();
        format!("{repair:?} {own} {} {}", self.slow.is_some(), window(at(-1000)))
    }
}

fn assert_promises(world: &World) {
    let records = &world.past.records;
    let story = || records.iter().map(|record| format!("{:?}", record.fact)).collect::<Vec<_>>().join("\n");
    let mut open: Option<Guid> = None;
    let (mut repair, mut attempts, mut accepted) = (1, 0, false);
    let mut settled = false;
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.seq, index as u64 + 1);
        if let Fact::AttemptEnded(ended) = &record.fact {
            if open.as_ref() == Some(&ended.client_request_id) {
                open = None;
                accepted = ended.outcome == Outcome::Accepted;
            } else {
                assert!(ended.late, "an end without a start:\n{}", story());
            }
            continue;
        }
        if settled {
            (repair, attempts, accepted, settled) = (repair + 1, 0, false, false);
        }
        assert_eq!(
            record.repair,
            Some(repair),
            "nothing may follow a settling record in its repair:\n{}",
            story()
        );
        match &record.fact {
            Fact::AttemptStarted(started) => {
                attempts += 1;
                assert_eq!(started.attempt, attempts, "attempts count 1, 2, 3:\n{}", story());
                assert!(open.is_none(), "two attempts open:\n{}", story());
                assert!(!accepted, "repeated although Graph accepted and nothing was observed:\n{}", story());
                open = Some(started.client_request_id.clone());
            }
            Fact::DeliveryObserved(observed) => {
                accepted = false;
                settled = world.past.kind == TargetKind::Assignment
                    || !matches!(observed.verdict, Verdict::DeliveryFailed | Verdict::PartiallyDelivered);
            }
            Fact::RequestSkipped { .. } | Fact::RequestAbandoned { .. } => settled = true,
            _ => {}
        }
    }
    if let Some(repair) = &world.past.state().repair {
        assert!(repair.counted_attempts() <= policy().max_attempts, "more than MAX_ATTEMPTS:\n{}", story());
    }
}

/// Whatever has happened, a message that keeps coming while Graph says "delivered" settles.
fn assert_settles(world: &World) {
    let mut world = world.clone();
    let own = request(world.past.kind, "a");
    let delivered = Look::Seen(sight("delivered", Some(-1000)));
    for _ in 0..8 {
        world = world.later(4000).deliver("a", &delivered, Call::Accepted).0;
    }
    assert!(world.past.state().ending(&own.request_id).is_some(), "never settles: {:#?}", world.past.records);
}

fn explore(kind: TargetKind) -> usize {
    let start = World { past: Past::new(kind), now: at(0), slow: None };
    let mut known = HashSet::from([start.key()]);
    let mut waiting = VecDeque::from([start]);
    while let Some(world) = waiting.pop_front() {
        assert_promises(&world);
        assert_settles(&world);
        let mut next = Vec::new();
        for look in looks(world.now) {
            let (quiet, called) = world.deliver("a", &look, Call::Accepted);
            next.push(quiet);
            if called {
                next.extend(CALLS.iter().map(|call| world.deliver("a", &look, *call).0));
            }
        }
        next.push(world.deliver("b", &Look::Missing, Call::Accepted).0);
        next.extend([30, 65, 121, 3600, 21_600, 7 * 86_400, 86_400].map(|secs| world.later(secs)));
        next.extend(world.late_end());
        for world in next {
            if known.insert(world.key()) {
                waiting.push_back(world);
            }
        }
    }
    eprintln!("{kind:?}: {} states", known.len());
    known.len()
}

#[test]
fn promises_hold_on_every_path_of_an_assignment_request() {
    let states = explore(TargetKind::AssignmentRequest);
    assert!(states > 500, "only {states} states: the inputs do not reach far");
}

#[test]
fn promises_hold_on_every_path_of_an_assignment() {
    let states = explore(TargetKind::Assignment);
    assert!(states > 300, "only {states} states: the inputs do not reach far");
}
