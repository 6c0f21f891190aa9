use super::*;
use crate::domain::past::{Past, answered, at, guid, request, sight};
use crate::domain::record::{PutOffWhy, SkipWhy};
use crate::domain::reply::Reply;

const KIND: TargetKind = TargetKind::AssignmentRequest;
const HOUR: i64 = 3_600;
const WINDOW: Duration = Duration::from_secs(14 * 86_400);

fn failed(completed: Option<i64>) -> Failed {
    Failed { id: guid(1), state: "deliveryFailed".to_owned(), completed_at: completed.map(at), package: None }
}

fn wish(failed: &Failed, past: &Past, now: i64) -> Result<String, LeftOut> {
    let wish = failed.wish(&past.state(), at(now), WINDOW, ApiVersion::V1);
    wish.map(|request| request.request_id.to_string())
}

/// One attempt, ended and then settled by `fact` at 100 s.
fn settled(by: &str, fact: Fact) -> Past {
    let mut past = Past::new(KIND);
    let by = request(KIND, by);
    let call = past.start(&by, at(10), 1, &sight("DeliveryFailed", Some(0)));
    past.end(&by, at(20), 1, call, answered(202));
    past.push(&by, at(100), fact);
    past
}

fn abandoned(why: AbandonWhy) -> Fact {
    Fact::RequestAbandoned { why, state: None, http_status: None, error_code: None }
}

#[test]
fn each_failure_is_asked_for_once_and_each_reason_leaves_it_out() {
    let none = || Past::new(KIND);
    let mut open = none();
    open.push(&request(KIND, "r"), at(5), Fact::RequestReceived { why: PutOffWhy::Moving });
    let of_failure = format!("sweep:{}", format_millis(at(0)));
    let mut asked = none();
    asked.push(&request(KIND, &of_failure), at(5), Fact::RequestReceived { why: PutOffWhy::Moving });
    let skipped = |by: &str| settled(by, Fact::RequestSkipped { why: SkipWhy::Missing, state: None });
    let given_up = |by: &str, why| settled(by, abandoned(why));
    let ok = |completed: i64| Ok(format!("sweep:{}", format_millis(at(completed))));
    let window = 14 * 86_400;
    for (name, completed, past, now, expected) in [
        ("new", Some(0), none(), 200, ok(0)),
        ("no time known", None, none(), 200, Ok("sweep:none".to_owned())),
        (
            "no time known, just ended",
            None,
            skipped("sweep:none"),
            100 + 12 * HOUR,
            Err(LeftOut::AskedAlready),
        ),
        ("no time known, again", None, skipped("sweep:none"), 101 + 12 * HOUR, Ok("sweep:none:3".to_owned())),
        ("window open for a second more", Some(0), none(), window - 1, ok(0)),
        ("window closed", Some(0), none(), window, Err(LeftOut::WindowClosed)),
        ("open", Some(0), open.clone(), 200, Err(LeftOut::UnderRepair)),
        ("open, by a sweep", Some(0), asked, 200, Err(LeftOut::UnderRepair)),
        ("open, failed anew", Some(100), open, 200, Err(LeftOut::UnderRepair)),
        ("asked and settled", Some(0), skipped(&of_failure), 200, Err(LeftOut::AskedAlready)),
        (
            "asked and given up",
            Some(0),
            given_up(&of_failure, AbandonWhy::GivenUp),
            200,
            Err(LeftOut::AskedAlready),
        ),
        ("settled by another request", Some(0), skipped("r"), 200, ok(0)),
        (
            "exhausted",
            Some(0),
            given_up("r", AbandonWhy::AttemptsExhausted),
            200,
            Err(LeftOut::AttemptsExhausted),
        ),
        ("rejected", Some(0), given_up("r", AbandonWhy::Rejected), 200, Err(LeftOut::Rejected)),
        ("canceled", Some(99), given_up("r", AbandonWhy::Canceled), 200, Err(LeftOut::Canceled)),
        (
            "exhausted, time unknown",
            None,
            given_up("r", AbandonWhy::AttemptsExhausted),
            200,
            Err(LeftOut::AttemptsExhausted),
        ),
        ("canceled, failed anew", Some(101), given_up("r", AbandonWhy::Canceled), 200, ok(101)),
        ("Graph was away", Some(0), given_up("r", AbandonWhy::GivenUp), 200, ok(0)),
    ] {
        assert_eq!(wish(&failed(completed), &past, now), expected, "{name}");
    }
}

#[test]
fn request_says_what_failed_and_when() {
    let wish = failed(Some(0)).wish(&Past::new(KIND).state(), at(1), WINDOW, ApiVersion::Beta).unwrap();
    assert_eq!(wish.reason.unwrap(), "found by the sweep: delivery failed at 2026-09-21T14:13:20.000Z");
    assert_eq!((wish.requested_by, wish.ticket, wish.api_version), (None, None, ApiVersion::Beta));
    assert_eq!(wish.target, Target { kind: KIND, id: guid(1) });
}

#[test]
fn earliest_failure_is_the_most_urgent_and_the_unknown_one_the_least() {
    let mut all = [failed(None), failed(Some(5)), failed(Some(-5)), failed(Some(0))];
    all.sort_by(|one, other| one.urgency().cmp(&other.urgency()));
    let order = all.map(|failed| failed.completed_at);
    assert_eq!(order, [Some(at(-5)), Some(at(0)), Some(at(5)), None]);
}

/// A repair whose attempt's caller died: lease until 75 s.
fn died() -> Past {
    let mut past = Past::new(KIND);
    past.start(&request(KIND, "r"), at(10), 1, &sight("DeliveryFailed", Some(0)));
    past
}

fn waiting() -> Past {
    let mut past = died();
    let call = guid(1000);
    past.end(&request(KIND, "r"), at(20), 1, call, Reply::Lost { reason: "gone".to_owned() });
    past
}

#[test]
fn repair_is_undriven_after_its_lease_and_an_hour_or_after_twelve_hours_of_silence() {
    let joined = |mut past: Past, id: &str, when: i64| {
        past.push(&request(KIND, id), at(when), Fact::RequestJoined {});
        past
    };
    let lease = Some(Silence::LeaseOver(at(75)));
    let silent = |from: i64| Some(Silence::NoRecord(at(from)));
    for (name, past, now, expected) in [
        ("nothing", Past::new(KIND), 50 * HOUR, None),
        ("settled", settled("r", abandoned(AbandonWhy::GivenUp)), 50 * HOUR, None),
        ("lease live", died(), 60, None),
        ("lease just over", died(), 75 + HOUR, None),
        ("lease over", died(), 76 + HOUR, lease),
        ("lease over, joined by a person", joined(died(), "r2", HOUR), 76 + HOUR, lease),
        ("lease over, sent again", joined(died(), "sweep:after:1", 2 * HOUR), 14 * HOUR - 1, None),
        ("lease over, sent again in vain", joined(died(), "sweep:after:1", 2 * HOUR), 14 * HOUR, lease),
        ("waiting", waiting(), 12 * HOUR + 20, None),
        ("silent", waiting(), 12 * HOUR + 21, silent(20)),
        ("joined meanwhile", joined(waiting(), "r2", HOUR), 12 * HOUR + 21, None),
        ("sent again", joined(waiting(), "sweep:after:2", 13 * HOUR), 25 * HOUR, None),
        (
            "sent again in vain",
            joined(waiting(), "sweep:after:2", 13 * HOUR),
            25 * HOUR + 1,
            silent(13 * HOUR),
        ),
    ] {
        assert_eq!(silence(&past.state(), at(now)), expected, "{name}");
        // Whatever is undriven is named by the light fold too, which sees no more than a part of the records.
        let mut candidates = Candidates::default();
        past.records.iter().for_each(|record| candidates.add(record));
        if expected.is_some() {
            assert_eq!(candidates.silent(at(now)), [Target { kind: KIND, id: guid(1) }], "{name}");
        }
    }
}

#[test]
fn light_fold_forgets_what_is_settled_or_driven() {
    for (past, now) in [
        (settled("r", abandoned(AbandonWhy::GivenUp)), 50 * HOUR),
        (died(), 75 + HOUR),
        (waiting(), 12 * HOUR),
        (waiting(), 2 * HOUR),
    ] {
        let mut candidates = Candidates::default();
        past.records.iter().for_each(|record| candidates.add(record));
        assert_eq!(candidates.silent(at(now)), []);
    }
}

#[test]
fn message_for_an_undriven_repair_has_an_id_of_its_last_record_and_its_own_version() {
    let mut overview = Overview::new(Target { kind: KIND, id: guid(1) });
    let past = waiting();
    past.records.iter().for_each(|record| overview.apply(record));
    let last = last_version(past.records.iter());
    assert_eq!(last, Some(ApiVersion::V1));
    let silence = Silence::NoRecord(at(20));
    let again = send_again(&overview, silence, 2, last, ApiVersion::Beta);
    assert_eq!((again.request_id.as_str(), again.api_version), ("sweep:after:2", ApiVersion::V1));
    assert!(is_sent_again(&again.request_id));
    assert_eq!(again.reason.unwrap(), "sent again by the sweep: no record since 2026-09-21T14:13:40.000Z");
    assert_eq!(send_again(&overview, silence, 2, None, ApiVersion::Beta).api_version, ApiVersion::Beta);
}
