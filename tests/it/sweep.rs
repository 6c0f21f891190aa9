//! The sweep on the embedded stack behind the recording wire: what it finds, leaves out and sends, and what the
//! worker makes of it. The queue's messages and the simulator's log are the oracle.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use regrant::aws::Aws;
use regrant::config::SweepConfig;
use regrant::domain::record::*;
use regrant::domain::target::{Target, TargetKind};
use regrant::local::AUDIT_TABLE;
use regrant::local::aws::{sdk_config, worker_aws};
use regrant::local::graph::{CallKind, CallMatch, Fault, ObjectState, Simulated, random_guid};
use regrant::sweep::{Summary, Sweeper};
use regrant::trail::Trail;
use serde_json::{Value, json};

use crate::made::{Story, id};
use crate::rig::{Rig, failed_request};
use crate::stub::{Answer, Stub};

const REQUEST: TargetKind = TargetKind::AssignmentRequest;
/// However busy the machine is.
const PATIENT: (&str, &str) = ("CALL_TIMEOUT", "5s");
const HOUR: Duration = Duration::from_secs(3_600);

/// At the beginning of an even hour, for the hour says which of two lists comes first.
async fn rig() -> Rig {
    let rig = Rig::start(&[PATIENT]).await;
    let into = rig.clock.now().as_second().rem_euclid(7_200).unsigned_abs();
    rig.pass(Duration::from_secs(7_200 - into + 60));
    rig
}

/// A sweep's process on the rig's servers; `changes` come before the rig's settings.
fn sweeper(rig: &Rig, changes: &[(&'static str, &str)]) -> Sweeper {
    let mut settings = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>();
    settings.extend(rig.settings());
    let lookup =
        |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    Sweeper::new(SweepConfig::read(lookup).unwrap(), worker_aws(settings.clone()), rig.clock.clone())
}

async fn sweep(rig: &Rig, changes: &[(&'static str, &str)]) -> Summary {
    sweeper(rig, changes).sweep(false, &rig.invocation()).await.unwrap()
}

/// `(found, undriven, sent)` of a sweep that must be complete.
async fn counts(rig: &Rig, changes: &[(&'static str, &str)]) -> (usize, usize, usize) {
    let swept = sweep(rig, changes).await;
    assert!(swept.complete && swept.not_sent.is_empty(), "{swept:?}");
    (swept.found, swept.undriven, swept.sent)
}

fn trail(rig: &Rig) -> Trail {
    let aws = Aws::from_config(sdk_config(&rig.stack.dynamodb.url));
    Trail::new(aws, AUDIT_TABLE.to_owned(), rig.stack.tenant_id.clone())
}

/// A failed request, that many hours ago.
fn failed(rig: &Rig, n: u32, hours: i64) -> Simulated {
    let now = rig.stack.graph.now();
    let completed_at = Some(now - SignedDuration::from_hours(hours));
    Simulated { target: target(n), completed_at, ..failed_request(now) }
}

fn target(n: u32) -> Target {
    Target { kind: REQUEST, id: id(n) }
}

/// Bodies of all visible messages, each with its `source`; they come back at once.
async fn messages(rig: &Rig) -> Vec<(Value, String)> {
    let (sqs, mut found) = (rig.stack.sqs.client(), Vec::new());
    let mut handles = Vec::new();
    loop {
        let call = sqs.receive_message().queue_url(&rig.stack.sqs.queue_url).max_number_of_messages(10);
        let received = call.message_attribute_names("All").send().await.unwrap().messages.unwrap_or_default();
        if received.is_empty() {
            break;
        }
        for message in received {
            let source = message.message_attributes.unwrap()["source"].string_value.clone().unwrap();
            found.push((serde_json::from_str(message.body.as_deref().unwrap()).unwrap(), source));
            handles.push(message.receipt_handle.unwrap());
        }
    }
    for handle in handles {
        let call = sqs.change_message_visibility().queue_url(&rig.stack.sqs.queue_url);
        call.receipt_handle(handle).visibility_timeout(0).send().await.unwrap();
    }
    found
}

async fn queued_ids(rig: &Rig) -> BTreeSet<String> {
    messages(rig).await.iter().map(|(body, _)| body["id"].as_str().unwrap().to_owned()).collect()
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers.into_iter().map(|n| id(n).to_string()).collect()
}

fn lists(rig: &Rig) -> Vec<String> {
    let calls = rig.stack.graph.calls().into_iter().filter(|call| call.kind == CallKind::List);
    calls.filter_map(|call| call.query).filter(|query| query.contains("filter")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_all_pages_and_both_states_are_sent_most_urgent_first_up_to_the_limit() {
    let mut rig = rig().await;
    for n in 1..=8 {
        rig.stack.graph.put(failed(&rig, n, i64::from(n)));
    }
    for n in 9..=10 {
        let state = ObjectState::PartiallyDelivered;
        rig.stack.graph.put(Simulated { state, ..failed(&rig, n, i64::from(n)) });
    }
    rig.stack.graph.put(Simulated { state: ObjectState::Delivered, ..failed(&rig, 11, 1) });
    rig.stack.graph.put(Simulated { state: ObjectState::Delivering, ..failed(&rig, 12, 1) });
    rig.stack.graph.put(Simulated::delivered_assignment(id(13), rig.stack.graph.now()));

    let swept = sweep(&rig, &[("SWEEP_LIMIT", "6")]).await;
    assert_eq!((swept.found, swept.sent, swept.over_limit, swept.complete), (10, 6, 4, true), "{swept:?}");
    assert_eq!(queued_ids(&rig).await, ids(5..=10), "the oldest failures");
    let pages = rig.stack.graph.calls().iter().filter(|call| call.kind == CallKind::List).count();
    assert_eq!(pages, 4, "three pages of eight, one of two");
    for (body, source) in messages(&rig).await {
        assert_eq!(source, "sweep");
        let completed = body["requestId"].as_str().unwrap().strip_prefix("sweep:").unwrap();
        assert_eq!(completed.len(), "2026-11-20T10:00:00.000Z".len(), "{body}");
        assert_eq!(body["reason"], format!("found by the sweep: delivery failed at {completed}"));
        assert_eq!(body.get("requestedBy"), None);
    }

    // While nobody takes them no sweep adds to them beyond the limit.
    for _ in 0..3 {
        let swept = sweep(&rig, &[("SWEEP_LIMIT", "6")]).await;
        assert_eq!((swept.sent, swept.over_limit, swept.waiting), (0, 10, Some(6)), "{swept:?}");
    }
    assert_eq!(rig.queued().await, 6);
    // Where there is room they are sent again: the same ids, one request each.
    assert_eq!(sweep(&rig, &[("SWEEP_LIMIT", "8")]).await.sent, 2);
    assert_eq!((rig.queued().await, queued_ids(&rig).await), (8, ids(5..=10)));
    rig.drive(Duration::from_secs(240)).await;
    assert_eq!(rig.applied(), 6);
    let records = rig.records(&target(5)).await;
    assert_eq!(records[0]["source"]["type"], "sweep");
    assert_eq!(records.iter().filter(|record| record.get("source").is_some()).count(), 1, "one request");

    // What is delivered is not listed any more; what was over the limit is next, and then nothing is.
    assert_eq!(counts(&rig, &[]).await, (4, 0, 4));
    assert_eq!(rig.queued().await, 4);
    rig.drive(Duration::from_secs(240)).await;
    assert_eq!((rig.applied(), counts(&rig, &[]).await), (10, (0, 0, 0)));
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_trail_says_leaves_a_failure_out_until_it_fails_anew() {
    let rig = rig().await;
    let (trail, now) = (trail(&rig), rig.clock.now());
    let at = now - SignedDuration::from_mins(30);
    let abandoned = |n, why| {
        let fact = Fact::RequestAbandoned { why, state: None, http_status: None, error_code: None };
        Story::new(REQUEST, n).attempt(at, "r", 1, Outcome::Accepted, 202).tell(at, "r", fact)
    };
    for story in [
        abandoned(1, AbandonWhy::AttemptsExhausted),
        abandoned(2, AbandonWhy::Rejected),
        abandoned(3, AbandonWhy::Canceled),
        abandoned(4, AbandonWhy::GivenUp),
        Story::new(REQUEST, 5).attempt(at, "r", 1, Outcome::Accepted, 202),
    ] {
        story.append_to(&trail).await;
    }
    for n in 1..=5 {
        rig.stack.graph.put(failed(&rig, n, 1));
    }
    rig.stack.graph.put(failed(&rig, 6, 15 * 24));
    let swept = sweep(&rig, &[]).await;
    let left_out = ["attemptsExhausted", "canceled", "rejected", "underRepair", "windowClosed"];
    assert_eq!(swept.left_out, left_out.map(|why| (why.to_owned(), 1)).into(), "{swept:?}");
    assert_eq!((swept.found, queued_ids(&rig).await), (6, ids([4])));
    for n in 1..=3 {
        rig.stack.graph.put(failed(&rig, n, 0));
    }
    assert_eq!(counts(&rig, &[]).await, (6, 0, 4));
    assert_eq!(queued_ids(&rig).await, ids(1..=4));
    // With a longer window the oldest is taken too.
    assert_eq!(counts(&rig, &[("WINDOW", "16d")]).await.2, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn beta_is_listed_under_its_own_names() {
    let rig = rig().await;
    rig.stack.graph.put(failed(&rig, 1, 1));
    assert_eq!(counts(&rig, &[("GRAPH_API_VERSION", "beta")]).await, (1, 0, 1));
    assert!(lists(&rig)[1].contains("requestState%20eq%20%27PartiallyDelivered%27"), "{:?}", lists(&rig));
    assert_eq!(messages(&rig).await[0].0["apiVersion"], "beta");
    assert_eq!(rig.stack.graph.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_listed_one_by_one_each_once() {
    let rig = rig().await;
    let packages = [random_guid(), random_guid(), random_guid()];
    for (n, package) in (1..).zip(&packages) {
        rig.stack.graph.put(Simulated { access_package_id: package.clone(), ..failed(&rig, n, 1) });
    }
    let setting = format!("{},{}, {}", packages[0], packages[1], packages[0].as_str().to_uppercase());
    assert_eq!(counts(&rig, &[("SWEEP_PACKAGES", &setting)]).await, (2, 0, 2));
    assert_eq!(queued_ids(&rig).await, ids(1..=2));
    let lists = lists(&rig);
    assert_eq!(lists.len(), 4, "two states of two packages: {lists:?}");
    assert!(lists.iter().all(|query| query.ends_with("$expand=accessPackage")));
    assert_eq!(rig.stack.graph.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_survive_throttling_outages_lost_tokens_and_a_refused_expansion() {
    let rig = rig().await;
    (1..=5).for_each(|n| rig.stack.graph.put(failed(&rig, n, 1)));
    let graph = &rig.stack.graph;
    graph.refuse_expand(true);
    graph.fault_times(CallMatch::list(), 2, Fault::Throttle { retry_after: Some(0) });
    graph.fault(CallMatch::list(), Fault::Throttle { retry_after: None });
    let soon = [("RETRY_AFTER", "1ms")];
    assert_eq!(counts(&rig, &soon).await, (5, 0, 5));
    for fault in [
        Fault::status(503, "ServiceUnavailable"),
        Fault::DropAfter,
        Fault::TruncatedBody,
        Fault::NotJson,
        Fault::status(401, "InvalidAuthenticationToken"),
    ] {
        graph.fault(CallMatch::list(), fault.clone());
        assert_eq!(counts(&rig, &soon).await.0, 5, "{fault:?}");
    }
    let process = sweeper(&rig, &soon);
    assert!(process.sweep(true, &rig.invocation()).await.unwrap().complete);
    graph.expire_tokens();
    assert!(process.sweep(true, &rig.invocation()).await.unwrap().complete, "a new token once");
}

/// A page in Graph's form, of what failed an hour ago.
fn page(numbers: impl IntoIterator<Item = u32>, next: Option<&str>) -> Value {
    let at = (jiff::Timestamp::now() - SignedDuration::from_hours(1)).to_string();
    let entry = |n| json!({ "id": id(n), "state": "deliveryFailed", "completedDateTime": at });
    let entries = numbers.into_iter().map(entry).collect::<Vec<_>>();
    let mut page = json!({ "value": entries });
    if let Some(next) = next {
        page["@odata.nextLink"] = next.into();
    }
    page
}

/// A sweep with the tokens of the simulator and the lists of a stub.
async fn sweep_of(rig: &Rig, stub: &Stub) -> Summary {
    let endpoint = stub.url.to_string();
    sweep(rig, &[("GRAPH_ENDPOINT", &endpoint), ("RETRY_AFTER", "1ms")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn link_that_leads_elsewhere_gets_no_request_and_no_token() {
    let rig = rig().await;
    let elsewhere = Stub::start([]).await;
    let lists = Stub::start([
        Answer::json(200, &page([1, 2], Some(&format!("{}v1.0/next", elsewhere.url)))),
        Answer::json(200, &page([3], None)),
    ])
    .await;
    let swept = sweep_of(&rig, &lists).await;
    assert_eq!((swept.found, swept.sent, swept.complete), (3, 3, false));
    assert_eq!(
        swept.why.unwrap(),
        "the list of deliveryFailed requests: the link to the next page leads elsewhere (\"127.0.0.1\") and was not followed"
    );
    assert_eq!(elsewhere.take_seen(), []);
    assert_eq!(lists.take_seen().len(), 2);
    for link in ["https://user@graph.example/x", "x", "file:///etc/passwd"] {
        let lists =
            Stub::start([Answer::json(200, &page([1], Some(link))), Answer::json(200, &page([], None))]);
        let lists = lists.await;
        assert!(!sweep_of(&rig, &lists).await.complete, "{link}");
        assert_eq!(lists.take_seen().len(), 2, "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn link_that_comes_twice_ends_the_list() {
    let rig = rig().await;
    let lists = Stub::start([]).await;
    let link = format!("{}v1.0/next", lists.url);
    let again = Answer::json(200, &page([1], Some(&link)));
    [again.clone(), again, Answer::json(200, &page([], None))]
        .into_iter()
        .for_each(|answer| lists.then(answer));
    let swept = sweep_of(&rig, &lists).await;
    assert_eq!((swept.found, swept.sent), (1, 1));
    assert!(swept.why.unwrap().ends_with("a link to the next page came twice"));
    let seen = lists.take_seen();
    assert_eq!((seen.len(), seen[1].path.as_str()), (3, "/v1.0/next"), "followed as it was given");
}

#[tokio::test(flavor = "multi_thread")]
async fn list_that_fails_holds_up_no_other_and_the_hour_says_which_is_first() {
    let rig = rig().await;
    let answers =
        |second: Answer| [Answer::json(503, &json!({})), second, Answer::json(200, &page([1], None))];
    let lists = Stub::start(answers(Answer::json(200, &page([2], None)))).await;
    let endpoint = lists.url.to_string();
    let settings = [("GRAPH_ENDPOINT", &*endpoint), ("RETRY_AFTER", "300ms")];
    assert_eq!(counts(&rig, &settings).await, (2, 0, 2));
    let asked = |lists: &Stub| {
        let state = |path: &str| if path.contains("deliveryFailed") { "failed" } else { "partly" };
        lists.take_seen().iter().map(|seen| state(&seen.path)).collect::<Vec<_>>()
    };
    assert_eq!(asked(&lists), ["failed", "partly", "failed"]);
    rig.pass(HOUR);
    answers(Answer::json(200, &page([2], None))).into_iter().for_each(|answer| lists.then(answer));
    assert!(counts(&rig, &settings).await.0 == 2);
    assert_eq!(asked(&lists), ["partly", "failed", "partly"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_listed_where_conditions_cannot_be_joined() {
    let rig = rig().await;
    rig.stack.graph.refuse_and(true);
    let package = random_guid();
    for (n, state) in
        [(1, ObjectState::DeliveryFailed), (2, ObjectState::PartiallyDelivered), (3, ObjectState::Delivered)]
    {
        rig.stack.graph.put(Simulated { access_package_id: package.clone(), state, ..failed(&rig, n, 1) });
    }
    rig.stack.graph.put(failed(&rig, 4, 1));
    assert_eq!(counts(&rig, &[("SWEEP_PACKAGES", package.as_str())]).await, (2, 0, 2));
    assert_eq!(queued_ids(&rig).await, ids(1..=2));
    assert_eq!(rig.stack.graph.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_throttling_ends_the_lists_and_what_was_read_is_sent() {
    let rig = rig().await;
    let lists = Stub::start([]).await;
    let link = format!("{}v1.0/next", lists.url);
    lists.then(Answer::json(200, &page([1], Some(&link))));
    lists.then(Answer::json(429, &json!({})).with("Retry-After", "3600"));
    let swept = sweep_of(&rig, &lists).await;
    assert_eq!((swept.found, swept.sent, swept.complete), (1, 1, false));
    assert_eq!(lists.take_seen().len(), 2, "no other list is asked for meanwhile");
    let why = swept.why.unwrap();
    let expected = ["deliveryFailed", "partiallyDelivered"].map(|state| {
        format!("the list of {state} requests: Graph throttles (429); a wait of 3599 s was due")
    });
    assert!(expected.iter().all(|fault| why.replace("3600 s", "3599 s").contains(fault)), "{why}");
    assert_eq!(queued_ids(&rig).await, ids([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_entries_are_counted_and_named_and_others_states_left_out() {
    let rig = rig().await;
    let mut odd = page([1, 2, 2], None);
    let entries = odd["value"].as_array_mut().unwrap();
    entries.extend([
        json!({ "state": "deliveryFailed" }),
        json!({ "id": 7, "state": "deliveryFailed" }),
        json!({ "id": "../../users", "state": "deliveryFailed" }),
        json!({ "id": id(3), "state": 4 }),
        json!({ "id": id(4), "state": "deliveryFailed", "completedDateTime": 4 }),
        json!(null),
        json!({ "id": id(5), "state": "delivered" }),
        json!({ "id": id(6), "state": "DeliveryFailed", "completedDateTime": null }),
    ]);
    let lists = Stub::start([Answer::json(200, &odd), Answer::json(200, &page([2], None))]).await;
    let swept = sweep_of(&rig, &lists).await;
    assert_eq!((swept.found, swept.sent, swept.complete), (3, 3, false), "{swept:?}");
    assert_eq!(
        swept.unreadable,
        [
            "an entry without an id".to_owned(),
            "an entry without an id".to_owned(),
            "an entry whose id is \"../../users\"".to_owned(),
            format!("{}: no state", id(3)),
            format!("{}: the time of its completion is not one", id(4)),
            "an entry without an id".to_owned(),
        ]
    );
    let sent = messages(&rig).await;
    let unknown = sent.iter().find(|(body, _)| body["id"] == id(6).as_str()).unwrap();
    assert_eq!(unknown.0["requestId"], "sweep:none");
}

/// Two undriven repairs (1: its caller died; 2: silent for 13 hours) and two that are driven.
async fn undriven(rig: &Rig) {
    let (trail, now) = (trail(rig), rig.clock.now());
    let ago = |hours| now - SignedDuration::from_hours(hours);
    for story in [
        Story::new(REQUEST, 1).start(ago(2), "r", 1),
        Story::new(REQUEST, 2).attempt(ago(13), "r", 1, Outcome::Accepted, 202),
        Story::new(REQUEST, 3).attempt(ago(11), "r", 1, Outcome::Accepted, 202),
        Story::new(REQUEST, 4).start(ago(1), "r", 1),
        Story::new(REQUEST, 5).attempt(ago(13), "r", 1, Outcome::Accepted, 202).observe(
            ago(12),
            "r",
            1,
            Verdict::Delivered,
        ),
    ] {
        story.append_to(&trail).await;
    }
    for n in [1, 2] {
        // As it was before the attempts: 20 hours before them, and Graph took neither.
        rig.stack.graph.put(failed(rig, n, if n == 1 { 22 } else { 33 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undriven_repairs_are_sent_once_in_twelve_hours_and_driven_to_their_end() {
    let mut rig = rig().await;
    undriven(&rig).await;
    let swept = sweep(&rig, &[("SWEEP_LIMIT", "1")]).await;
    assert_eq!((swept.undriven, swept.sent, swept.over_limit), (2, 1, 1), "{swept:?}");
    assert_eq!(queued_ids(&rig).await, ids([2]), "its window closes first");
    assert_eq!(counts(&rig, &[]).await, (2, 1, 1));
    assert_eq!(counts(&rig, &[]).await, (2, 0, 0), "each once");
    assert_eq!(queued_ids(&rig).await, ids([1, 2]));
    for (n, seq) in [(1, 2), (2, 3)] {
        let joined = rig.records(&target(n)).await.pop().unwrap();
        let expected = json!({ "type": "sweep" });
        assert_eq!((&joined["kind"], &joined["seq"]), (&json!("requestJoined"), &json!(seq)));
        assert_eq!(joined["requestId"], format!("sweep:after:{}", seq - 1));
        assert_eq!((&joined["source"], &joined["by"]["function"]), (&expected, &json!("sweep")));
        let (body, source) =
            messages(&rig).await.into_iter().find(|(body, _)| body["id"] == id(n).as_str()).unwrap();
        assert_eq!(
            (&body["requestId"], &body["reason"], &*source),
            (&joined["requestId"], &joined["reason"], "sweep")
        );
    }
    // The queue is paused for 13 hours: they are sent once more.
    rig.pass(13 * HOUR);
    assert_eq!(counts(&rig, &[]).await.1, 4, "and those that have fallen silent meanwhile");
    rig.stack.graph.put(failed(&rig, 3, 40));
    rig.stack.graph.put(failed(&rig, 4, 40));
    rig.drive(Duration::from_secs(900)).await;
    for n in 1..=4 {
        let kinds = rig.kinds(&target(n)).await;
        assert_eq!(kinds.last().unwrap(), "deliveryObserved", "{n}: {kinds:?}");
    }
    assert_eq!(counts(&rig, &[]).await.1, 0);
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sweeps_at_once_send_an_undriven_repair_once() {
    let rig = rig().await;
    let (trail, now) = (trail(&rig), rig.clock.now());
    for n in 1..=30 {
        Story::new(REQUEST, n).start(now - SignedDuration::from_hours(2), "r", 1).append_to(&trail).await;
    }
    let (one, other) = tokio::join!(sweep(&rig, &[]), sweep(&rig, &[]));
    assert_eq!((one.sent + other.sent, one.complete, other.complete), (30, true, true), "{one:?} {other:?}");
    assert_eq!((rig.queued().await, queued_ids(&rig).await), (30, ids(1..=30)));
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_of_the_last_attempt_is_kept() {
    let rig = rig().await;
    undriven(&rig).await;
    sweep(&rig, &[("GRAPH_API_VERSION", "beta")]).await;
    for (body, _) in messages(&rig).await {
        assert_eq!(body["apiVersion"], "v1.0", "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_only_reads() {
    let rig = rig().await;
    undriven(&rig).await;
    rig.stack.graph.put(failed(&rig, 7, 24));
    rig.stack.graph.put(failed(&rig, 3, 24));
    rig.stack.graph.put(failed(&rig, 8, 15 * 24));
    let before = (rig.chains().await, rig.wire.calls().len());
    let swept = sweeper(&rig, &[("SWEEP_LIMIT", "2")]).sweep(true, &rig.invocation()).await.unwrap();
    assert_eq!((rig.chains().await, rig.queued().await), (before.0, 0));
    let wire = rig.wire.calls().split_off(before.1);
    let reads = |call: &crate::wire::Call| match call.server {
        "sqs" => call.what == "GetQueueAttributes",
        "dynamodb" => call.what == "Query",
        "graph" => call.what.starts_with("GET ") || call.what.ends_with("/oauth2/v2.0/token"),
        _ => false,
    };
    assert!(wire.iter().all(reads), "{wire:?}");
    assert_eq!((swept.sent, swept.would_send, swept.over_limit, swept.complete), (0, Some(2), 1, true));
    let rows = serde_json::to_value(swept.plan.unwrap()).unwrap();
    let rows = rows.as_array().unwrap().iter();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let rows =
        rows.map(|row| format!("{} {} {}", &text(row, "id")[..8], text(row, "action"), text(row, "why")));
    let expected = [
        "00000002 send noRecord",
        "00000007 send failed",
        "00000001 overLimit leaseOver",
        "00000002 leaveOut underRepair",
        "00000003 leaveOut underRepair",
        "00000001 leaveOut underRepair",
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

async fn refused(rig: &Rig, changes: &[(&'static str, &str)]) -> String {
    format!("{:#}", sweeper(rig, changes).sweep(false, &rig.invocation()).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_that_is_refused_everything_says_why_and_still_sends_what_the_trail_shows() {
    let rig = rig().await;
    undriven(&rig).await;
    rig.stack.graph.fault_times(CallMatch::list(), 2, Fault::status(403, "Forbidden"));
    let swept = sweep(&rig, &[("SWEEP_LIMIT", "1")]).await;
    assert_eq!(
        (swept.found, swept.sent, swept.complete, swept.graph_refused),
        (0, 1, false, true),
        "{swept:?}"
    );
    let why = swept.why.unwrap();
    assert!(why.starts_with("the list of deliveryFailed requests: Graph answered HTTP 403"), "{why}");
    assert!(why.contains("`EntitlementManagement.ReadWrite.All`") && why.contains("`SWEEP_PACKAGES`"));
    rig.stack.graph.fault(CallMatch::token(), Fault::status(401, "invalid_client"));
    let swept = sweep(&rig, &[]).await;
    assert_eq!(
        (swept.found, swept.sent, swept.complete, swept.graph_refused),
        (0, 1, false, true),
        "{swept:?}"
    );
    assert!(swept.why.as_ref().unwrap().starts_with("no token for Graph:"), "{swept:?}");
    assert_eq!(queued_ids(&rig).await, ids([1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_without_a_trail_sends_nothing_and_fails() {
    let rig = rig().await;
    rig.stack.graph.put(failed(&rig, 1, 1));
    let error = refused(&rig, &[("AUDIT_TABLE", "another-table")]).await;
    assert!(error.contains("there is no table `another-table`"), "{error}");
    assert_eq!(rig.queued().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_that_reads_or_sends_a_part_says_so() {
    let rig = rig().await;
    (1..=12).for_each(|n| rig.stack.graph.put(failed(&rig, n, 1)));
    // One list of two is refused.
    rig.stack.graph.fault(CallMatch::list(), Fault::status(403, "Forbidden"));
    let swept = sweep(&rig, &[]).await;
    assert_eq!((swept.found, swept.complete), (0, false));
    // The queue is gone: one call is tried, and everything is named.
    let queue = format!("{}/000000000000/gone", rig.wire.url("sqs"));
    let before = rig.wire.calls().len();
    let swept = sweep(&rig, &[("QUEUE_URL", &queue)]).await;
    assert_eq!((swept.sent, swept.not_sent.len(), swept.complete), (0, 12, false), "{swept:?}");
    assert_eq!(swept.not_sent[11].why, "not tried, for the queue took nothing before");
    assert!(swept.why.unwrap().starts_with("how many messages wait in the queue is not known: SQS: "));
    let sends = rig.wire.calls().split_off(before);
    let sends = sends.into_iter().filter(|call| call.what == "SendMessageBatch");
    assert_eq!(sends.count(), 1);
    // No time at all.
    let mut invocation = rig.invocation();
    invocation.deadline = rig.clock.now();
    let swept = sweeper(&rig, &[]).sweep(false, &invocation).await;
    assert!(swept.map_or(true, |swept| !swept.complete));
}

/// A record without its message is not lost: it is said, and 12 hours later it is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn undriven_repair_that_was_recorded_and_not_sent_is_sent_twelve_hours_later() {
    let rig = rig().await;
    undriven(&rig).await;
    let queue = format!("{}/000000000000/gone", rig.wire.url("sqs"));
    let swept = sweep(&rig, &[("QUEUE_URL", &queue)]).await;
    assert_eq!((swept.sent, swept.not_sent.len()), (0, 2));
    assert!(swept.not_sent[0].why.ends_with("; it was recorded, and is sent again in 12 h"), "{swept:?}");
    assert_eq!(counts(&rig, &[]).await.1, 0);
    rig.pass(12 * HOUR + HOUR);
    assert_eq!(counts(&rig, &[]).await.1, 4);
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_history_is_named_and_holds_up_no_other() {
    let rig = rig().await;
    let (trail, table) = (trail(&rig), rig.stack.dynamodb.client());
    let at = rig.clock.now() - SignedDuration::from_mins(30);
    Story::new(REQUEST, 1).start(at, "r", 1).append_to(&trail).await;
    let key = target(1).key(trail.tenant());
    let mut item = crate::made::item(&table, &key, "1").await;
    item.insert("record".to_owned(), aws_sdk_dynamodb::types::AttributeValue::S("{\"v\":1}".to_owned()));
    crate::made::put(&table, item).await;
    (1..=2).for_each(|n| rig.stack.graph.put(failed(&rig, n, 1)));
    let swept = sweep(&rig, &[]).await;
    assert_eq!((swept.sent, swept.complete, queued_ids(&rig).await), (1, false, ids([2])));
    assert!(swept.unreadable[0].contains(&format!("record 1 of {key}")), "{swept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn record_of_a_later_version_hides_no_undriven_repair() {
    let rig = rig().await;
    undriven(&rig).await;
    let (trail, table) = (trail(&rig), rig.stack.dynamodb.client());
    Story::new(REQUEST, 9)
        .start(rig.clock.now() - SignedDuration::from_hours(20), "r", 1)
        .append_to(&trail)
        .await;
    let key = target(9).key(trail.tenant());
    let mut item = crate::made::item(&table, &key, "1").await;
    item.insert("record".to_owned(), aws_sdk_dynamodb::types::AttributeValue::S("{\"v\":2}".to_owned()));
    crate::made::put(&table, item).await;
    let swept = sweep(&rig, &[]).await;
    assert_eq!((swept.sent, swept.complete, queued_ids(&rig).await), (2, false, ids(1..=2)), "{swept:?}");
    assert!(swept.unreadable[0].contains(&format!("record 1 of {key}")), "{swept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_sweep_are_one_group() {
    let rig = rig().await;
    rig.stack.graph.put(failed(&rig, 1, 1));
    let answer =
        json!({ "Successful": [{ "Id": "0", "MessageId": "m", "MD5OfMessageBody": "x" }], "Failed": [] });
    let none = json!({ "Attributes": { "ApproximateNumberOfMessages": "0" } });
    let sqs = Stub::start([Answer::json(200, &none), Answer::json(200, &answer)]).await;
    let url = sqs.url.to_string();
    sweep(&rig, &[("AWS_ENDPOINT_URL_SQS", &url), ("QUEUE_URL", &format!("{url}000000000000/regrant"))])
        .await;
    let sent = serde_json::from_str::<Value>(&sqs.take_seen()[1].body).unwrap();
    assert_eq!(sent["Entries"][0]["MessageGroupId"], "sweep");
}
