//! How a trail becomes rows, and rows an exit code: small histories in, whole rows out. No server.

use regrant::domain::record::{By, SkipWhy};
use regrant::domain::request::RequestId;
use regrant::domain::target::Guid;
use serde_json::{Value, json};

use super::*;

const ID: &str = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";
const AT: &str = "2026-11-02T10:00:00.000Z";

fn guid() -> Guid {
    Guid::parse(ID).unwrap()
}

fn started() -> Timestamp {
    AT.parse().unwrap()
}

/// A record of repair 1, `seq` seconds after the start.
fn record(kind: TargetKind, seq: u64, fact: Fact) -> Record {
    let by = By {
        function: "worker".to_owned(),
        version: "1".to_owned(),
        invocation_id: "i".to_owned(),
        message_id: None,
    };
    Record {
        v: 1,
        fact,
        tenant_id: guid(),
        target: Some(kind),
        id: Some(guid()),
        repair: Some(1),
        seq,
        at: started() + SignedDuration::from_secs(i64::try_from(seq).unwrap()),
        request_id: RequestId::parse("r").unwrap(),
        by,
        origin: None,
    }
}

fn fact(fields: Value) -> Fact {
    serde_json::from_value(fields).unwrap()
}

fn attempt_started() -> Fact {
    fact(json!({
        "kind": "attemptStarted", "attempt": 1, "clientRequestId": ID, "method": "POST", "path": "/x",
        "apiVersion": "v1.0", "cloud": "global", "leaseUntil": AT,
        "before": { "state": "deliveryFailed", "observedAt": AT },
        "actor": { "clientId": ID, "credential": "secret" },
    }))
}

fn observed(verdict: &str) -> Fact {
    fact(json!({ "kind": "deliveryObserved", "attempt": 1, "verdict": verdict, "evidence": "moved" }))
}

fn history(kind: TargetKind, facts: Vec<Fact>) -> Vec<Record> {
    (1..).zip(facts).map(|(seq, fact)| record(kind, seq, fact)).collect()
}

fn ended(fields: &str) -> Fact {
    fact(json!({ "kind": "attemptEnded", "attempt": 1, "clientRequestId": ID, "outcome": fields }))
}

#[test]
fn delivered_repair_is_one_row_with_attempts_outcome_verdict_and_time() {
    let facts = vec![attempt_started(), ended("accepted"), observed("delivered")];
    let trail = history(TargetKind::AssignmentRequest, facts);
    let expected = Row {
        target: "assignmentRequest d82eb508".to_owned(),
        attempts: 1,
        outcome: Some(Outcome::Accepted),
        verdict: "delivered".to_owned(),
        ended: Ended::Well,
        took: Took::InThisRun(SignedDuration::from_secs(2)),
    };
    assert_eq!(rows(&trail, started(), &Input::default()), [expected]);
}

#[test]
fn each_last_record_says_how_the_repair_stands() {
    use TargetKind::{Assignment, AssignmentRequest};
    let skipped =
        Fact::RequestSkipped { why: SkipWhy::NotReprocessable, state: Some("delivered".to_owned()) };
    let abandoned = fact(json!({ "kind": "requestAbandoned", "why": "attemptsExhausted" }));
    for (kind, last, verdict, how) in [
        (AssignmentRequest, skipped, "skipped: notReprocessable (delivered)", Ended::Well),
        (AssignmentRequest, abandoned, "abandoned: attemptsExhausted", Ended::Rejected),
        (AssignmentRequest, observed("deliveryFailed"), "deliveryFailed", Ended::TryLater),
        (AssignmentRequest, observed("expired"), "expired", Ended::Rejected),
        (Assignment, observed("deliveryFailed"), "deliveryFailed", Ended::Rejected),
        (Assignment, ended("throttled"), "open after attemptEnded", Ended::TryLater),
    ] {
        let rows = rows(&history(kind, vec![last]), started(), &Input::default());
        assert_eq!((rows[0].verdict.as_str(), rows[0].ended), (verdict, how));
        assert_eq!(Row::ended(&rows), how);
    }
}

#[test]
fn target_settled_in_an_earlier_run_is_shown_as_such() {
    let trail = history(TargetKind::Assignment, vec![observed("delivered")]);
    let target = Target { kind: TargetKind::Assignment, id: guid() };
    let input = Input { targets: vec![target], ..Input::default() };
    let later = started() + SignedDuration::from_hours(1);
    assert_eq!(rows(&trail, later, &Input::default()), []);
    let rows = rows(&trail, later, &input);
    assert_eq!(
        (rows[0].verdict.as_str(), rows[0].took, rows[0].ended),
        ("delivered", Took::EarlierRun, Ended::Well)
    );
}

#[test]
fn target_without_any_record_is_open() {
    let target = Target { kind: TargetKind::Assignment, id: guid() };
    let input = Input { targets: vec![target], ..Input::default() };
    assert_eq!(Row::ended(&rows(&[], started(), &input)), Ended::TryLater);
}

#[test]
fn invalid_message_is_listed_and_does_not_change_the_exit_code() {
    let fact = Fact::MessageRejected {
        error: "`id` is required and is absent".to_owned(),
        body: "{}".to_owned(),
        body_sha256: String::new(),
    };
    let rejected = Record { target: None, id: None, repair: None, ..record(TargetKind::Assignment, 1, fact) };
    let rows = rows(&[rejected], started(), &Input::default());
    assert_eq!(rows[0].target, "message r");
    assert_eq!(rows[0].verdict, "invalid: `id` is required and is absent");
    assert_eq!(Row::ended(&rows), Ended::Well);
}
