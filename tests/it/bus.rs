//! What others are told on the event bus: what, when, how often, and that nothing waits for it. The oracle is the log of
//! the bus's stand-in, which also checks that the record was first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use regrant::aws::Aws;
use regrant::domain::chain::Head;
use regrant::domain::record::{Record, format_millis};
use regrant::domain::target::Target;
use regrant::local::AUDIT_TABLE;
use regrant::local::aws::sdk_config;
use regrant::local::graph::{CallMatch, Fault, ObjectState, Simulated};
use regrant::trail::Trail;
use serde_json::{Value, json};

use crate::fake_bus::{BUS, Reply};
use crate::made::Story;
use crate::rig::{Rig, failed_request};
use crate::wire::{HARMS, Harm};

const WITH_BUS: &[(&str, &str)] = &[("EVENT_BUS", BUS)];
const HOUR: Duration = Duration::from_secs(3600);

fn asked(target: &Target, request_id: &str, ticket: &str) -> String {
    json!({ "target": target.kind, "id": target.id, "requestId": request_id, "ticket": ticket,
        "requestedBy": "9f0e0000", "reason": "SAP outage" })
    .to_string()
}

/// A failed request in the simulator, completed so many hours ago.
fn put_failed(rig: &Rig, hours_ago: u32, change: impl FnOnce(&mut Simulated)) -> Target {
    let mut object = failed_request(rig.stack.graph.now());
    object.completed_at = Some(rig.stack.graph.now() - HOUR * hours_ago);
    object.delivery_delay = Duration::from_secs(60);
    change(&mut object);
    let target = object.target.clone();
    rig.stack.graph.put(object);
    target
}

/// One request through to its end, with the given answers of the bus.
async fn settle(rig: &mut Rig, replies: Vec<Reply>) -> Target {
    let target = put_failed(rig, 1, |_| {});
    rig.bus.then(replies);
    rig.send(&asked(&target, "r-1", "INC1")).await;
    assert_eq!(rig.deliver().await.kept.len(), 1);
    rig.pass(Duration::from_secs(150));
    assert_eq!(rig.deliver().await.deleted.len(), 1);
    rig.assert_sound().await;
    target
}

#[tokio::test(flavor = "multi_thread")]
async fn settled_repair_is_told_once_and_whole() {
    let mut rig = Rig::start(WITH_BUS).await;
    let mut package = None;
    let target = put_failed(&rig, 1, |object| package = Some(object.access_package_id.clone()));
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.drive(Duration::from_secs(150)).await;
    let last = rig.records(&target).await.pop().unwrap();
    let own = json!({ "requestId": "r-1", "ticket": "INC1", "requestedBy": "9f0e0000" });
    let expected = json!({
        "tenantId": rig.stack.tenant_id, "target": "assignmentRequest", "id": target.id,
        "accessPackageId": package, "repair": 1, "seq": 3, "at": last["at"],
        "requestId": "r-1", "ticket": "INC1", "requestedBy": "9f0e0000", "requests": [own],
        "verdict": "delivered", "evidence": "moved", "attempts": 1,
    });
    assert_eq!(rig.bus.settled(), [expected]);
    assert_eq!((rig.bus.taken().len(), rig.bus.puts()), (1, 1));
    // On the wires: the settling record, and only then the event.
    let calls = rig.wire.calls();
    let put = calls.iter().position(|call| call.what == "PutEvents").unwrap();
    let stored = calls.iter().rposition(|call| call.what == "ExecuteStatement").unwrap();
    assert!(stored < put, "{calls:#?}");
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bus_nobody_is_called() {
    let mut rig = Rig::start(&[]).await;
    settle(&mut rig, Vec::new()).await;
    assert_eq!(rig.bus.puts(), 0);
    assert!(!rig.wire.calls().iter().any(|call| call.server == "events"));
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_and_abandoned_repairs_are_told_with_their_reason() {
    let mut rig = Rig::start(&[("EVENT_BUS", BUS), ("MAX_ATTEMPTS", "1")]).await;
    let denied = put_failed(&rig, 1, |object| object.state = ObjectState::Denied);
    let closed = put_failed(&rig, 15 * 24, |_| {});
    let hopeless = put_failed(&rig, 1, |object| object.fail_deliveries = 9);
    let refused = put_failed(&rig, 1, |_| {});
    rig.stack.graph.fault(CallMatch::reprocess().on(&refused.id), Fault::status(400, "BadRequest"));
    for target in [&denied, &closed, &hopeless, &refused] {
        rig.send(&asked(target, "r-1", "INC1")).await;
    }
    rig.send("not a request").await;
    rig.drive(Duration::from_secs(150)).await;
    let told: BTreeMap<String, (Value, Value, Value)> = rig
        .bus
        .settled()
        .into_iter()
        .map(|told| {
            (
                told["id"].as_str().unwrap().to_owned(),
                (told["reason"].clone(), told["attempts"].clone(), told["verdict"].clone()),
            )
        })
        .collect();
    let expected = [
        (&denied, "notReprocessable", 0),
        (&closed, "windowClosed", 0),
        (&hopeless, "attemptsExhausted", 1),
        (&refused, "rejected", 1),
    ];
    let expected = expected
        .map(|(target, why, attempts)| (target.id.to_string(), (json!(why), json!(attempts), Value::Null)));
    assert_eq!(told, BTreeMap::from(expected));
    // A message that is no request settles no repair.
    assert_eq!(rig.bus.taken().len(), 4);
    let ends = |target: &Target| {
        let told = rig.bus.settled().into_iter().find(|told| told["id"] == json!(target.id)).unwrap();
        told["windowEnds"].as_str().map(str::to_owned)
    };
    let failed_at = rig.records(&refused).await[0]["before"]["completedAt"].as_str().unwrap().to_owned();
    let failed_at: jiff::Timestamp = failed_at.parse().unwrap();
    assert_eq!(ends(&refused), Some(format_millis(failed_at + HOUR * (14 * 24))));
    assert_eq!(ends(&denied), None);
    // Nothing in its record names the package: the look did.
    assert!(
        rig.bus.settled().iter().all(|told| told["accessPackageId"].is_string()),
        "{:#?}",
        rig.bus.settled()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_requests_stand_in_one_event() {
    let mut rig = Rig::start(WITH_BUS).await;
    let target = put_failed(&rig, 1, |_| {});
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.deliver().await;
    rig.send(&asked(&target, "r-2", "INC2")).await;
    rig.deliver().await;
    rig.drive(Duration::from_secs(150)).await;
    let told = rig.bus.settled();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["requestId"], &told[0]["ticket"]), (&json!("r-1"), &json!("INC1")));
    let tickets: Vec<_> =
        told[0]["requests"].as_array().unwrap().iter().map(|asked| asked["ticket"].clone()).collect();
    assert_eq!(tickets, [json!("INC1"), json!("INC2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_message_that_settled_it_tells_it_again() {
    let mut rig = Rig::start(WITH_BUS).await;
    let target = settle(&mut rig, Vec::new()).await;
    let settling = rig.records(&target).await.pop().unwrap();
    let again = async |rig: &Rig, message_id: &str| {
        let body = asked(&target, "r-1", "INC1");
        let record = json!({ "messageId": message_id, "receiptHandle": "void", "body": body,
            "attributes": { "ApproximateReceiveCount": "2" }, "messageAttributes": {}, "eventSource": "aws:sqs" });
        let answer = rig.invoke(&json!({ "Records": [record] })).await.unwrap();
        assert_eq!(answer, json!({ "batchItemFailures": [] }));
        rig.bus.settled().len()
    };
    let own = settling["by"]["messageId"].as_str().unwrap();
    assert_eq!(again(&rig, own).await, 1, "this process knows that it was told");
    rig.restart();
    assert_eq!(again(&rig, "another-message").await, 1, "another message with the old request's id");
    assert_eq!(again(&rig, own).await, 2, "who knows whether the process before died before it could");
    assert_eq!(rig.bus.settled()[0], rig.bus.settled()[1], "the same event");
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_repair_is_told_by_the_message_that_finds_it() {
    let mut rig = Rig::start(WITH_BUS).await;
    let target = put_failed(&rig, 1, |object| object.delivery_delay = HOUR);
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.deliver().await;
    cancel(&rig, &target).await;
    assert_eq!(rig.deliver().await.deleted.len(), 1);
    let told = rig.bus.settled();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["reason"], &told[0]["requestId"]), (&json!("canceled"), &json!("r-1")));
    assert_eq!(told[0]["requests"].as_array().unwrap().len(), 1, "a cancellation asks for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_request_is_answered_whatever_the_bus_does() {
    let rig = Rig::start(WITH_BUS).await;
    let targets = [0, 1].map(|_| put_failed(&rig, 1, |object| object.state = ObjectState::Denied));
    for (target, replies) in [(&targets[0], vec![]), (&targets[1], vec![Reply::Hangs; 9])] {
        rig.bus.then(replies);
        let request: Value = serde_json::from_str(&asked(target, "r-1", "INC1")).unwrap();
        let mut invocation = rig.invocation();
        invocation.deadline = rig.clock.now() + Duration::from_secs(3);
        let answer = rig.worker.handle(&request.to_string(), &invocation).await.unwrap();
        assert_eq!(answer["results"][0]["status"], "skipped", "{answer}");
    }
    let told: Vec<_> = rig.bus.settled().into_iter().map(|told| told["id"].clone()).collect();
    assert_eq!(told, [json!(targets[0].id)]);
    assert_eq!(rig.queued().await, 0, "settled at once: nothing is left for the queue");
}

/// As `regrant cancel` records it.
async fn cancel(rig: &Rig, target: &Target) {
    let fact = json!({ "kind": "requestAbandoned", "why": "canceled", "requestId": "cancel:1",
        "requestedBy": "someone", "source": { "type": "cli" } });
    append(rig, target, fact).await;
}

/// A record of the first repair that no worker makes.
async fn append(rig: &Rig, target: &Target, fact: Value) {
    let trail = Trail::new(
        Aws::from_config(sdk_config(&rig.stack.dynamodb.url)),
        AUDIT_TABLE.to_owned(),
        rig.stack.tenant_id.clone(),
    );
    let key = target.key(&rig.stack.tenant_id);
    let last = rig.chains().await[&key].last().unwrap().clone();
    let mut record = json!({ "v": 1, "tenantId": rig.stack.tenant_id,
        "target": target.kind, "id": target.id, "repair": 1, "seq": last.seq + 1,
        "at": format_millis(rig.clock.now()),
        "by": { "function": "regrant", "version": "0", "invocationId": "i" } });
    record.as_object_mut().unwrap().extend(fact.as_object().unwrap().clone());
    let record = Record::from_json(&record.to_string()).unwrap();
    let head = Head { seq: last.seq, hash: last.hash };
    trail.append(&key, &head, &record, Duration::from_secs(5)).await.unwrap();
}

/// A course with both events, one call of it harmed.
async fn play(harm: Option<(usize, Harm)>) -> usize {
    let mut rig = Rig::start(WITH_BUS).await;
    let target = put_failed(&rig, 13 * 24, |_| {});
    if let Some((nth, harm)) = harm {
        rig.wire.harm(nth, harm);
    }
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.drive(Duration::from_secs(150)).await;
    rig.assert_sound().await;
    let story = format!("{harm:?}: {:#?}\n{:#?}", rig.bus.taken(), rig.wire.calls());
    assert!(!rig.bus.near_end().is_empty() && !rig.bus.settled().is_empty(), "not told, {story}");
    assert!(rig.bus.settled().windows(2).all(|pair| pair[0] == pair[1]), "told differently, {story}");
    assert_eq!(rig.applied(), 1, "{story}");
    assert_eq!(rig.queued().await, 0);
    rig.wire.calls().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_harm_at_every_call() {
    let calls = play(None).await;
    assert_eq!(calls, 12);
    let cases = (1..=calls).flat_map(|nth| HARMS.map(|harm| (nth, harm)));
    let played = futures::stream::iter(cases).map(async |case| tokio::spawn(play(Some(case))).await);
    let mut played = std::pin::pin!(played.buffer_unordered(6));
    while let Some(played) = played.next().await {
        played.unwrap();
    }
}

#[tokio::test]
async fn failing_bus_is_counted_and_changes_nothing_else() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    for (replies, puts, failed) in [
        (vec![], 1, 0),
        (vec![Reply::Status(500)], 2, 0),
        (vec![Reply::EntryFailed("InternalFailure")], 2, 0),
        (vec![Reply::EntryFailed("MalformedDetail")], 1, 1),
        (vec![Reply::EntryFailed("ThrottlingException"); 3], 3, 1),
        (vec![Reply::Status(400)], 1, 1),
        (vec![Reply::Hangs; 3], 2, 1),
    ] {
        counts.clear();
        let mut rig = Rig::start(WITH_BUS).await;
        let story = format!("{replies:?}");
        let target = settle(&mut rig, replies).await;
        assert_eq!(
            rig.kinds(&target).await,
            ["attemptStarted", "attemptEnded", "deliveryObserved"],
            "{story}"
        );
        assert!((puts..=puts + 1).contains(&rig.bus.puts()), "{story}: {} puts", rig.bus.puts());
        assert_eq!(counts.of("EventsFailed"), failed, "{story}");
        assert_eq!(rig.bus.settled().len() as u64, 1 - failed, "{story}");
        assert_eq!(counts.of("Settled"), 1, "{story}");
        assert_eq!(rig.queued().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_bus_holds_a_whole_batch_up_for_seconds_at_most() {
    let mut rig = Rig::start(&[("EVENT_BUS", BUS), ("CONCURRENCY", "1")]).await;
    for _ in 0..10 {
        let target = put_failed(&rig, 1, |object| object.state = ObjectState::Canceled);
        rig.send(&asked(&target, "r-1", "INC1")).await;
    }
    rig.bus.then(vec![Reply::Hangs; 100]);
    let started = Instant::now();
    let mut settled = 0;
    while settled < 10 {
        settled += rig.deliver().await.deleted.len();
    }
    assert!(started.elapsed() < Duration::from_secs(8), "took {:?}", started.elapsed());
    assert_eq!(rig.bus.taken(), []);
}

#[tokio::test]
async fn repair_that_comes_near_its_windows_end_is_told_once() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let mut rig = Rig::start(WITH_BUS).await;
    let target = put_failed(&rig, 12 * 24 - 2, |object| object.delivery_delay = HOUR * 30);
    let failed_at = rig.stack.graph.now() - HOUR * (12 * 24 - 2);
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.deliver().await;
    rig.pass(HOUR);
    rig.deliver().await;
    assert_eq!(rig.bus.puts(), 0, "49 hours are left");
    for _ in 0..4 {
        rig.pass(HOUR + Duration::from_secs(60));
        rig.deliver().await;
        rig.restart();
    }
    let told = rig.bus.near_end();
    assert_eq!(told.len(), 1, "{told:#?}");
    let ends: jiff::Timestamp = told[0]["windowEnds"].as_str().unwrap().parse().unwrap();
    assert_eq!(ends.as_second(), (failed_at + HOUR * (14 * 24)).as_second());
    assert_eq!(
        (&told[0]["ticket"], &told[0]["attempts"], &told[0]["seq"], &told[0]["verdict"]),
        (&json!("INC1"), &json!(1), &json!(2), &Value::Null)
    );
    // The heartbeat that remembers it is not due otherwise: two hours have passed, not six.
    assert_eq!(rig.kinds(&target).await, ["attemptStarted", "attemptEnded", "deliveryPending"]);
    assert_eq!((counts.of("WindowClosing"), rig.bus.puts()), (1, 1));
    rig.assert_sound().await;
}

/// A repair that was silent for days is the one that is most likely to run out of time.
#[tokio::test(flavor = "multi_thread")]
async fn record_of_the_sweep_does_not_silence_the_event() {
    let mut rig = Rig::start(WITH_BUS).await;
    let target = put_failed(&rig, 11 * 24, |object| object.delivery_delay = HOUR * 90);
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.deliver().await;
    rig.pass(HOUR * 25);
    let fact = json!({ "kind": "requestJoined", "requestId": "sweep:after:2", "reason": "sent again by the sweep",
        "source": { "type": "sweep" } });
    append(&rig, &target, fact).await;
    assert_eq!(rig.bus.puts(), 0);
    for _ in 0..3 {
        rig.pass(HOUR);
        rig.deliver().await;
        rig.restart();
    }
    assert_eq!(
        rig.kinds(&target).await,
        ["attemptStarted", "attemptEnded", "requestJoined", "deliveryPending"]
    );
    assert_eq!(rig.bus.near_end().len(), 1, "{:#?}", rig.bus.taken());
    rig.assert_sound().await;
}

#[tokio::test]
async fn repair_that_nobody_can_look_at_is_told_once_by_one_process() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let mut rig = Rig::start(WITH_BUS).await;
    let target = put_failed(&rig, 12 * 24 - 2, |object| object.delivery_delay = HOUR * 30);
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.deliver().await;
    rig.stack.graph.fault_times(CallMatch::look(), 100, Fault::status(503, "ServiceUnavailable"));
    for _ in 0..4 {
        rig.pass(HOUR + Duration::from_secs(60));
        rig.deliver().await;
    }
    assert_eq!(rig.kinds(&target).await, ["attemptStarted", "attemptEnded"]);
    assert_eq!((rig.bus.near_end().len(), counts.of("WindowClosing"), rig.bus.puts()), (1, 1, 1));
}

#[tokio::test]
async fn message_that_goes_round_and_round_is_counted() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let mut rig = Rig::start(&[]).await;
    let target = put_failed(&rig, 1, |_| {});
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.stack.graph.fault_times(CallMatch::any(), 100, Fault::status(503, "ServiceUnavailable"));
    for received in 1..=25_u64 {
        rig.pass(HOUR);
        rig.deliver().await;
        // The first delivery records that it was received; 12 hours of silence are over long before the 20th.
        assert_eq!(counts.of("ReceivedOften"), received.saturating_sub(19), "received {received} times");
    }
}

#[tokio::test]
async fn attempt_whose_caller_died_is_counted_as_in_doubt_once() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let mut rig = Rig::start(&[]).await;
    let target = put_failed(&rig, 3, |_| {});
    let aws = Aws::from_config(sdk_config(&rig.stack.dynamodb.url));
    let trail = Trail::new(aws, AUDIT_TABLE.to_owned(), rig.stack.tenant_id.clone());
    let story = Story::of(target.kind, target.id.clone());
    story.start(rig.clock.now() - HOUR * 2, "r-1", 1).append_to(&trail).await;
    rig.send(&asked(&target, "r-1", "INC1")).await;
    rig.deliver().await;
    rig.deliver().await;
    assert_eq!(
        (counts.of("AttemptsInDoubt"), counts.of("Attempts")),
        (1, 0),
        "{:?}",
        rig.kinds(&target).await
    );
}

/// What was counted on this thread.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, Arc<Count>>>>);

#[derive(Default)]
struct Count(AtomicU64);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Counts {
    fn of(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).map_or(0, |count| count.0.load(Ordering::Relaxed))
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counts = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counts.entry(key.name().to_owned()).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
