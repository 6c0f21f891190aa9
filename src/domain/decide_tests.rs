//! The decision table, a case a line: history, what is seen, when; then the whole step in short form.

use std::time::Duration;

use super::super::pace::Policy;
use super::super::past::{Past, answered, at, circumstances, request, sight};
use super::super::record::{DeliveryObserved, stored_name};
use super::super::reply::{Answered, Look, Reply};
use super::*;

const REQUEST: TargetKind = TargetKind::AssignmentRequest;
const ASSIGNMENT: TargetKind = TargetKind::Assignment;

/// A step in one line: what is recorded, or what is done.
fn short(step: &Step) -> String {
    match step {
        Step::Look => "look".to_owned(),
        Step::Settled => "settled".to_owned(),
        Step::PutOff(until) => format!("put off to {}", until.duration_since(at(0)).as_secs()),
        Step::Attempt(intent) => format!("attempt {}", intent.attempt),
        Step::Record(Fact::RequestReceived { why }) => format!("received {}", stored_name(why)),
        Step::Record(Fact::RequestSkipped { why, state }) => {
            format!("skipped {} {}", stored_name(why), state.as_deref().unwrap_or("-"))
        }
        Step::Record(Fact::RequestAbandoned { why, state, http_status, .. }) => {
            let status = http_status.map(|status| format!(" {status}")).unwrap_or_default();
            format!("abandoned {} {}{status}", stored_name(why), state.as_deref().unwrap_or("-"))
        }
        Step::Record(Fact::DeliveryObserved(observed)) => {
            let DeliveryObserved { attempt, verdict, evidence, .. } = &**observed;
            format!("observed {attempt} {} {}", stored_name(verdict), stored_name(evidence))
        }
        Step::Record(Fact::DeliveryPending { attempt, state, .. }) => {
            format!("pending {} {state}", attempt.map_or("-".to_owned(), |attempt| attempt.to_string()))
        }
        Step::Record(fact) => fact.kind().to_owned(),
    }
}

/// Histories by name. The target was completed 1000 s before the beginning; attempt 1 starts at 0, ends at 1.
fn past(kind: TargetKind, name: &str) -> Past {
    let own = request(kind, "a");
    let mut past = Past::new(kind);
    let before = match kind {
        TargetKind::Assignment => sight("Delivered", None),
        TargetKind::AssignmentRequest => sight("deliveryFailed", Some(-1000)),
    };
    let reply = match name {
        "none" => return past,
        "received" => {
            past.push(&own, at(0), Fact::RequestReceived { why: PutOffWhy::Moving });
            return past;
        }
        "open" => {
            past.start(&own, at(0), 1, &before);
            return past;
        }
        "accepted" | "failed again" | "moved" => answered(202),
        "unknown" => Reply::Lost { reason: "cut off".to_owned() },
        "unavailable" => answered(503),
        "throttled" => Reply::Answered(Answered {
            status: 429,
            retry_after: Some(Duration::from_secs(90)),
            ..Answered::default()
        }),
        "rejected" => answered(400),
        other => panic!("no such history: {other}"),
    };
    let call = past.start(&own, at(0), 1, &before);
    past.end(&own, at(1), 1, call, reply);
    if name == "moved" {
        past.push(
            &own,
            at(150),
            Fact::DeliveryPending { attempt: Some(1), state: "Delivering".to_owned(), status: None },
        );
    }
    if name == "failed again" {
        let observed = DeliveryObserved {
            attempt: 1,
            verdict: Verdict::DeliveryFailed,
            evidence: Evidence::Moved,
            state: Some("deliveryFailed".to_owned()),
            status: None,
            completed_at: Some(at(100)),
            access_package_id: None,
            subject_id: None,
        };
        past.push(&own, at(200), Fact::DeliveryObserved(Box::new(observed)));
    }
    past
}

fn look(text: &str) -> Option<Look> {
    let (state, completed) = match text {
        "" => return None,
        "missing" => return Some(Look::Missing),
        "throttled" => return Some(Look::Throttled { retry_after: Some(Duration::from_secs(90)) }),
        "unavailable" => {
            return Some(Look::Unavailable {
                reason: String::new(),
                retry_after: None,
                misconfigured: false,
            });
        }
        text => match text.split_once(' ') {
            Some((state, "same")) => (state, Some(-1000)),
            Some((state, "new")) => (state, Some(100)),
            Some((state, "old")) => (state, Some(-15 * 86400)),
            _ => (text, None),
        },
    };
    Some(Look::Seen(sight(state, completed)))
}

fn step(kind: TargetKind, history: &str, seen: &str, now: i64) -> String {
    let own = request(kind, "a");
    let policy = Policy::default();
    short(&next_step(
        &past(kind, history).state(),
        look(seen).as_ref(),
        &circumstances(&own, at(now), &policy),
    ))
}

fn check(kind: TargetKind, table: &[(&str, &str, i64, &str)]) {
    for (history, seen, now, expected) in table {
        assert_eq!(step(kind, history, seen, *now), *expected, "{kind:?}, {history}, sees {seen:?} at {now}");
    }
}

#[test]
fn first_row_request_that_failed() {
    check(
        REQUEST,
        &[
            ("none", "deliveryFailed same", 0, "attempt 1"),
            ("none", "PartiallyDelivered same", 0, "attempt 1"),
            ("none", "DELIVERYFAILED", 0, "attempt 1"),
            ("none", "deliveryFailed old", 0, "skipped windowClosed deliveryFailed"),
            ("received", "partiallyDelivered same", 0, "attempt 1"),
            ("received", "deliveryFailed old", 0, "skipped windowClosed deliveryFailed"),
            // Graph's reads may lag: half an hour of `CHECK_AFTER`s and more.
            ("accepted", "deliveryFailed same", 121, "put off to 241"),
            ("accepted", "deliveryFailed same", 1801, "put off to 3601"),
            ("accepted", "deliveryFailed same", 3600, "put off to 3601"),
            ("accepted", "deliveryFailed same", 3601, "observed 1 deliveryFailed unchanged"),
            ("accepted", "deliveryFailed new", 121, "observed 1 deliveryFailed moved"),
            ("accepted", "partiallyDelivered new", 121, "observed 1 partiallyDelivered moved"),
            ("moved", "deliveryFailed same", 3601, "observed 1 deliveryFailed moved"),
            ("unknown", "deliveryFailed same", 31, "attempt 2"),
            ("unavailable", "deliveryFailed same", 31, "attempt 2"),
            ("throttled", "deliveryFailed same", 91, "attempt 2"),
            ("rejected", "deliveryFailed same", 1, "abandoned rejected deliveryFailed 400"),
            ("unknown", "deliveryFailed new", 31, "observed 1 deliveryFailed moved"),
            ("unavailable", "partiallyDelivered new", 31, "observed 1 partiallyDelivered moved"),
            ("throttled", "deliveryFailed new", 91, "observed 1 deliveryFailed moved"),
            ("rejected", "deliveryFailed new", 1, "observed 1 deliveryFailed moved"),
            ("unknown", "deliveryFailed same", 15 * 86400, "abandoned windowClosed deliveryFailed"),
            ("failed again", "deliveryFailed new", 230, "attempt 2"),
            ("failed again", "deliveryFailed old", 230, "abandoned windowClosed deliveryFailed"),
            ("failed again", "", 15 * 86400, "abandoned windowClosed deliveryFailed"),
        ],
    );
}

#[test]
fn second_row_assignment_that_is_delivered() {
    check(
        ASSIGNMENT,
        &[
            ("none", "Delivered", 0, "attempt 1"),
            ("received", "delivered", 0, "attempt 1"),
            ("accepted", "Delivered", 121, "observed 1 delivered unchanged"),
            ("moved", "Delivered", 300, "observed 1 delivered moved"),
            ("unknown", "Delivered", 31, "attempt 2"),
            ("unavailable", "Delivered", 31, "attempt 2"),
            ("throttled", "Delivered", 91, "attempt 2"),
            ("rejected", "Delivered", 1, "abandoned rejected Delivered 400"),
        ],
    );
}

#[test]
fn third_row_targets_at_rest() {
    let resting = ["Delivered", "expired", "Denied", "canceled"];
    for state in resting {
        let verdict = state.to_lowercase();
        assert_eq!(step(REQUEST, "none", state, 0), format!("skipped notReprocessable {state}"));
        assert_eq!(step(REQUEST, "received", state, 0), format!("skipped notReprocessable {state}"));
        for (history, now) in [
            ("accepted", 121),
            ("unknown", 31),
            ("unavailable", 31),
            ("throttled", 91),
            ("rejected", 1),
            ("failed again", 230),
        ] {
            assert_eq!(
                step(REQUEST, history, state, now),
                format!("observed 1 {verdict} moved"),
                "{history}"
            );
        }
    }
    for state in ["deliveryFailed", "PartiallyDelivered", "expired"] {
        let verdict = format!("{}{}", state[..1].to_lowercase(), &state[1..]);
        assert_eq!(step(ASSIGNMENT, "none", state, 0), format!("skipped notReprocessable {state}"));
        for (history, now) in
            [("accepted", 121), ("unknown", 31), ("unavailable", 31), ("throttled", 91), ("rejected", 1)]
        {
            assert_eq!(
                step(ASSIGNMENT, history, state, now),
                format!("observed 1 {verdict} moved"),
                "{history}"
            );
        }
    }
    for kind in [REQUEST, ASSIGNMENT] {
        assert_eq!(step(kind, "none", "missing", 0), "skipped missing -");
        assert_eq!(step(kind, "accepted", "missing", 121), "observed 1 missing moved");
        assert_eq!(step(kind, "rejected", "missing", 1), "observed 1 missing moved");
    }
}

#[test]
fn fourth_row_targets_on_their_way() {
    for kind in [REQUEST, ASSIGNMENT] {
        for state in ["Delivering", "submitted", "PendingApproval", "scheduled", "aStateOfTomorrow"] {
            assert_eq!(step(kind, "none", state, 0), "received moving");
            assert_eq!(step(kind, "received", state, 5), "put off to 125");
            for (history, now) in [("unknown", 31), ("unavailable", 31), ("throttled", 91), ("rejected", 1)] {
                // Seen moving: taken. Only a record can remember that.
                assert_eq!(step(kind, history, state, now), format!("pending 1 {state}"), "{history}");
            }
        }
    }
    check(
        REQUEST,
        &[
            ("accepted", "Delivering", 121, "put off to 241"),
            ("accepted", "Delivering", 3601, "put off to 7201"),
            ("accepted", "Delivering", 5 * 3600 + 3599, "put off to 25199"),
            ("accepted", "Delivering", 6 * 3600 + 1, "pending 1 Delivering"),
            ("received", "Delivering", 6 * 3600, "pending - Delivering"),
            ("received", "Delivering", 7 * 86400, "abandoned givenUp Delivering"),
            // Accepted ones are watched to a day past the window, which began at completion.
            ("accepted", "Delivering", 15 * 86400 - 1001, "pending 1 Delivering"),
            ("accepted", "Delivering", 15 * 86400 - 1000, "abandoned givenUp Delivering"),
            ("failed again", "Delivering", 230, "put off to 350"),
        ],
    );
    check(
        ASSIGNMENT,
        &[
            ("accepted", "Delivering", 121, "pending 1 Delivering"),
            ("moved", "Delivering", 301, "put off to 601"),
            ("moved", "Delivering", 15 * 86400, "pending 1 Delivering"),
            ("moved", "Delivering", 15 * 86400 + 1, "abandoned givenUp Delivering"),
        ],
    );
}

#[test]
fn looks_that_saw_nothing_put_off_and_count_nowhere() {
    for kind in [REQUEST, ASSIGNMENT] {
        check(
            kind,
            &[
                ("none", "throttled", 0, "received throttled"),
                ("none", "unavailable", 0, "received unavailable"),
                ("received", "throttled", 5, "put off to 95"),
                ("received", "unavailable", 5, "put off to 35"),
                ("accepted", "unavailable", 200, "put off to 230"),
                ("unknown", "throttled", 31, "put off to 121"),
                ("received", "unavailable", 7 * 86400, "abandoned givenUp -"),
                ("unknown", "throttled", 7 * 86400, "abandoned givenUp -"),
                ("accepted", "unavailable", 16 * 86400, "abandoned givenUp -"),
            ],
        );
    }
}

#[test]
fn no_look_before_its_time() {
    for kind in [REQUEST, ASSIGNMENT] {
        check(
            kind,
            &[
                ("none", "", 0, "look"),
                ("received", "", 1, "look"),
                ("open", "", 64, "put off to 65"),
                ("open", "", 65, "attemptEnded"),
                ("accepted", "", 120, "put off to 121"),
                ("accepted", "", 121, "look"),
                ("unknown", "", 30, "put off to 31"),
                ("unknown", "", 31, "look"),
                ("unavailable", "", 30, "put off to 31"),
                // Graph's `Retry-After` of 90 s is longer than our own wait, and wins.
                ("throttled", "", 90, "put off to 91"),
                ("throttled", "", 91, "look"),
                ("rejected", "", 1, "look"),
            ],
        );
    }
    check(REQUEST, &[("failed again", "", 229, "put off to 230"), ("failed again", "", 230, "look")]);
}

#[test]
fn attempt_whose_caller_died_is_closed_as_unknown_and_looked_at_at_once() {
    let own = request(REQUEST, "a");
    let policy = Policy::default();
    let mut past = past(REQUEST, "open");
    let Step::Record(fact) = next_step(&past.state(), None, &circumstances(&own, at(65), &policy)) else {
        panic!("nothing was recorded")
    };
    assert_eq!(fact.outcome(), Some(Outcome::Unknown));
    past.push(&own, at(65), fact);
    assert_eq!(next_step(&past.state(), None, &circumstances(&own, at(65), &policy)), Step::Look);
}

#[test]
fn another_request_joins_and_one_of_a_settled_repair_is_settled() {
    let policy = Policy::default();
    let (own, other) = (request(REQUEST, "a"), request(REQUEST, "b"));
    let mut past = past(REQUEST, "accepted");
    let next =
        |past: &Past, request| next_step(&past.state(), None, &circumstances(request, at(121), &policy));
    assert_eq!(next(&past, &other), Step::Record(Fact::RequestJoined {}));
    past.push(&other, at(121), Fact::RequestJoined {});
    assert_eq!(next(&past, &other), Step::Look);
    past.push(
        &own,
        at(122),
        Fact::RequestAbandoned { why: AbandonWhy::GivenUp, state: None, http_status: None, error_code: None },
    );
    assert_eq!((next(&past, &own), next(&past, &other)), (Step::Settled, Step::Settled));
    assert_eq!(next(&past, &request(REQUEST, "c")), Step::Look);
    assert_eq!(past.state().current_repair(), 2);
}

#[test]
fn attempts_that_graph_took_or_may_have_taken_are_limited_and_others_are_not() {
    let policy = Policy { max_attempts: 2, ..Policy::default() };
    let own = request(REQUEST, "a");
    let before = sight("deliveryFailed", Some(-1000));
    let run = |replies: [Reply; 2]| {
        let mut past = Past::new(REQUEST);
        for (n, reply) in (1..).zip(replies) {
            let call = past.start(&own, at(i64::from(n) * 1000), n, &before);
            past.end(&own, at(i64::from(n) * 1000 + 1), n, call, reply);
        }
        let seen = Look::Seen(before.clone());
        short(&next_step(&past.state(), Some(&seen), &circumstances(&own, at(3000), &policy)))
    };
    let lost = || Reply::Lost { reason: String::new() };
    assert_eq!(run([lost(), lost()]), "abandoned attemptsExhausted deliveryFailed");
    assert_eq!(run([lost(), answered(503)]), "attempt 3");
    assert_eq!(run([answered(429), answered(503)]), "attempt 3");
}

#[test]
fn failed_again_waits_twice_as_long_each_time_and_is_exhausted_at_the_limit() {
    let policy = Policy { max_attempts: 3, ..Policy::default() };
    let own = request(REQUEST, "a");
    let mut past = Past::new(REQUEST);
    let mut now = 0;
    for attempt in 1..=3 {
        let call = past.start(&own, at(now), attempt, &sight("deliveryFailed", Some(now - 100)));
        past.end(&own, at(now + 1), attempt, call, answered(202));
        let seen = Look::Seen(sight("deliveryFailed", Some(now + 50)));
        let Step::Record(fact) =
            next_step(&past.state(), Some(&seen), &circumstances(&own, at(now + 121), &policy))
        else {
            panic!("not observed")
        };
        past.push(&own, at(now + 121), fact);
        let next = short(&next_step(&past.state(), None, &circumstances(&own, at(now + 121), &policy)));
        let wait = [0, 30, 60][attempt as usize % 3];
        match attempt {
            3 => assert_eq!(next, "abandoned attemptsExhausted deliveryFailed"),
            _ => assert_eq!(next, format!("put off to {}", now + 121 + wait)),
        }
        now += 1000;
    }
}

#[test]
fn nothing_is_sent_while_graph_throttles_this_process() {
    let policy = Policy::default();
    let own = request(REQUEST, "a");
    let paused = Circumstances { paused_until: Some(at(300)), ..circumstances(&own, at(200), &policy) };
    let failed = Look::Seen(sight("deliveryFailed", Some(-1000)));
    for seen in [None, Some(&failed)] {
        assert_eq!(short(&next_step(&past(REQUEST, "none").state(), seen, &paused)), "received throttled");
        assert_eq!(short(&next_step(&past(REQUEST, "received").state(), seen, &paused)), "put off to 300");
    }
}

#[test]
fn waits_are_longer_by_up_to_a_fifth_and_never_over_an_hour() {
    let policy = Policy::default();
    let own = request(REQUEST, "a");
    let state = past(REQUEST, "unavailable").state();
    let jittered = Circumstances { jitter: 1.0, ..circumstances(&own, at(2), &policy) };
    assert_eq!(short(&next_step(&state, None, &jittered)), "put off to 37");
    let unread = Circumstances { receive_count: 30, jitter: 1.0, ..circumstances(&own, at(40), &policy) };
    assert_eq!(short(&next_step(&state, look("unavailable").as_ref(), &unread)), "put off to 3640");
}

#[test]
fn late_end_of_an_attempt_corrects_an_open_repair_and_opens_none() {
    let own = request(REQUEST, "a");
    let mut open = past(REQUEST, "open");
    let call = open.state().repair.unwrap().attempts[0].client_request_id.clone();
    let mut unknown = lost_attempt(&open.state().repair.unwrap().attempts[0]);
    open.push(&own, at(65), Fact::AttemptEnded(Box::new(unknown.clone())));
    (unknown.outcome, unknown.late, unknown.duration_ms) = (Outcome::Accepted, true, Some(70_000));
    let mut settled = open.clone();
    open.push(&own, at(70), Fact::AttemptEnded(Box::new(unknown.clone())));
    assert!(
        matches!(open.state().repair.unwrap().phase(), Phase::Taken(attempt, _) if attempt.client_request_id == call)
    );
    settled.push(
        &own,
        at(66),
        Fact::RequestAbandoned {
            why: AbandonWhy::Canceled,
            state: None,
            http_status: None,
            error_code: None,
        },
    );
    settled.push_to(1, &own, at(70), Fact::AttemptEnded(Box::new(unknown)));
    assert_eq!((settled.state().repair.clone(), settled.state().current_repair()), (None, 2));
}

#[test]
fn failed_again_shortly_before_the_window_may_be_tried_again() {
    const DAY: i64 = 86_400;
    let (policy, own) = (Policy::default(), request(REQUEST, "a"));
    let mut past = Past::new(REQUEST);
    let call = past.start(&own, at(0), 1, &sight("deliveryFailed", Some(-13 * DAY - DAY / 2)));
    past.end(&own, at(1), 1, call, answered(202));
    let now = DAY + DAY / 2 + 8640;
    let seen = Look::Seen(sight("deliveryFailed", Some(now - 60)));
    let Step::Record(fact) = next_step(&past.state(), Some(&seen), &circumstances(&own, at(now), &policy))
    else {
        panic!("not observed")
    };
    past.push(&own, at(now), fact);
    let next = next_step(&past.state(), Some(&seen), &circumstances(&own, at(now + 31), &policy));
    assert_eq!(short(&next), "attempt 2");
}

#[test]
fn no_second_call_while_that_of_a_canceled_repair_may_be_under_way_or_delivering() {
    let policy = Policy::default();
    let (own, other) = (request(REQUEST, "a"), request(REQUEST, "b"));
    let canceled = Fact::RequestAbandoned {
        why: AbandonWhy::Canceled,
        state: None,
        http_status: None,
        error_code: None,
    };
    let failed = Look::Seen(sight("deliveryFailed", Some(-1000)));
    let next = |past: &Past, seen, now| {
        short(&next_step(&past.state(), seen, &circumstances(&other, at(now), &policy)))
    };

    let mut open = past(REQUEST, "open");
    open.push(&own, at(5), canceled.clone());
    assert_eq!(next(&open, None, 6), "received moving");
    open.push(&other, at(6), Fact::RequestReceived { why: PutOffWhy::Moving });
    assert_eq!(next(&open, None, 6), "put off to 65");
    // Its caller comes back: Graph accepted. Now the lag of reads counts, as within one repair.
    let call = open.state().unresolved.unwrap().client_request_id;
    let ended = super::super::outcome::attempt_ended(1, call, answered(202), Duration::from_secs(1), false);
    open.push_to(1, &own, at(8), Fact::AttemptEnded(Box::new(ended)));
    assert_eq!(next(&open, Some(&failed), 70), "put off to 190");
    assert_eq!(next(&open, Some(&failed), 3608), "attempt 1");

    let mut refused = past(REQUEST, "unavailable");
    refused.push(&own, at(5), canceled);
    assert_eq!(next(&refused, Some(&failed), 6), "attempt 1");
}

#[test]
fn vanished_or_older_completion_is_no_proof_of_a_second_failure() {
    assert_eq!(step(REQUEST, "accepted", "deliveryFailed", 121), "put off to 241");
    assert_eq!(step(REQUEST, "accepted", "deliveryFailed old", 121), "put off to 241");
}

#[test]
fn throttled_looks_wait_longer_each_time_and_no_pause_is_empty() {
    let (policy, own) = (Policy::default(), request(REQUEST, "a"));
    let state = past(REQUEST, "received").state();
    let look = Look::Throttled { retry_after: None };
    for (receive_count, expected) in [(1, 30), (2, 60), (30, 3600)] {
        let at = Circumstances { receive_count, ..circumstances(&own, at(0), &policy) };
        assert_eq!(short(&next_step(&state, Some(&look), &at)), format!("put off to {expected}"));
    }
    let pause =
        |asked| super::super::outcome::pause_after(Outcome::Throttled, asked, &policy).unwrap().as_secs();
    assert_eq!([pause(None), pause(Some(Duration::ZERO)), pause(Some(Duration::from_secs(9)))], [30, 1, 9]);
}

#[test]
fn without_a_token_a_request_is_received_and_never_given_up() {
    let (policy, own) = (Policy::default(), request(REQUEST, "a"));
    let next = |name, now| {
        short(&next_step(
            &past(REQUEST, name).state(),
            Some(&Look::NotTried),
            &circumstances(&own, at(now), &policy),
        ))
    };
    assert_eq!(next("none", 0), "received unavailable");
    assert_eq!(next("received", 8 * 86_400), format!("put off to {}", 8 * 86_400 + 30));
}

#[test]
fn the_first_look_near_the_windows_end_leaves_a_heartbeat() {
    const NEAR: i64 = 12 * 86_400 - 1000;
    for (last, now, expected) in [
        (NEAR - 600, NEAR - 60, "put off to 1039340"),
        (NEAR - 600, NEAR, "pending 1 Delivering"),
        (NEAR, NEAR + 600, "put off to 1040000"),
    ] {
        let mut past = past(REQUEST, "accepted");
        let own = request(REQUEST, "a");
        let pending =
            Fact::DeliveryPending { attempt: Some(1), state: "Delivering".to_owned(), status: None };
        past.push(&own, at(last), pending);
        let (state, policy) = (past.state(), Policy::default());
        let look = Look::Seen(sight("Delivering", None));
        let step = next_step(&state, Some(&look), &circumstances(&own, at(now), &policy));
        assert_eq!(short(&step), expected, "last record at {last}, now {now}");
    }
}
