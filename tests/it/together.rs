//! Many at once: two messages for one target, several processes, throttling, missing tokens, short deadlines.

use std::time::Duration;

use futures::future::join_all;
use regrant::local::graph::{CallKind, CallMatch, Fault, ObjectState, Simulated};
use serde_json::{Value, json};

use crate::rig::{Rig, body, failed_request};

const PAUSE: Duration = Duration::from_secs(150);

fn puts(rig: &Rig, count: usize) -> Vec<regrant::domain::target::Target> {
    let objects: Vec<Simulated> = (0..count).map(|_| failed_request(rig.stack.graph.now())).collect();
    objects
        .into_iter()
        .map(|object| {
            let target = object.target.clone();
            rig.stack.graph.put(object);
            target
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_for_one_target_make_one_attempt_at_a_time() {
    let mut rig = Rig::start(&[]).await;
    let target = puts(&rig, 1).remove(0);
    // Two requests, and the first delivered twice.
    for request_id in ["r-1", "r-2", "r-1"] {
        rig.send(&body(&target, request_id)).await;
    }
    rig.drive(PAUSE).await;
    assert_eq!(rig.applied(), 1);
    assert_eq!(
        rig.kinds(&target).await,
        ["attemptStarted", "attemptEnded", "requestJoined", "deliveryObserved"]
    );
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_at_once_make_one_attempt_and_lose_no_record() {
    let rig = Rig::start(&[]).await;
    rig.stack.graph.set_latency(Duration::from_millis(30));
    let target = puts(&rig, 1).remove(0);
    let invoke = async |n: usize| {
        let payload = json!({ "target": target.kind, "id": target.id, "requestId": format!("r-{n}") });
        rig.another_process().handle(&payload.to_string(), &rig.invocation()).await.unwrap()
    };
    let answers = join_all((0..8).map(invoke)).await;
    assert_eq!(rig.applied(), 1, "{answers:#?}");
    assert_eq!(rig.reprocesses().len(), 1);
    for answer in &answers {
        let result = &answer["results"][0];
        assert!(["accepted", "deferred"].contains(&result["status"].as_str().unwrap()), "{result}");
    }
    // Not every request won a place in the trail; each has its message.
    assert_eq!(rig.queued().await, 8);
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_stops_the_whole_process_and_costs_no_attempts() {
    let mut rig = Rig::start(&[("CONCURRENCY", "1")]).await;
    let targets = puts(&rig, 5);
    rig.stack.graph.fault(CallMatch::reprocess(), Fault::Throttle { retry_after: Some(600) });
    for (n, target) in targets.iter().enumerate() {
        rig.send(&body(target, &format!("r-{n}"))).await;
    }
    assert_eq!(rig.deliver().await.kept.len(), 5);
    let calls = |rig: &Rig, kind| rig.stack.graph.calls().iter().filter(|call| call.kind == kind).count();
    assert_eq!((calls(&rig, CallKind::Look), calls(&rig, CallKind::Reprocess)), (1, 1));
    let mut kinds = Vec::new();
    for target in &targets {
        kinds.push(rig.kinds(target).await.join(" "));
    }
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "attemptStarted attemptEnded",
            "requestReceived",
            "requestReceived",
            "requestReceived",
            "requestReceived"
        ]
    );
    rig.pass(Duration::from_secs(500));
    rig.deliver().await;
    assert_eq!(calls(&rig, CallKind::Look), 1, "still within Graph's `Retry-After`");
    rig.pass(Duration::from_secs(150));
    rig.drive(PAUSE).await;
    assert_eq!(rig.applied(), 5);
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_tried_and_the_rest_of_the_batch_is_not_started() {
    let mut rig = Rig::start(&[("CONCURRENCY", "1")]).await;
    let targets = puts(&rig, 3);
    rig.stack.graph.fault_times(CallMatch::token(), 9, Fault::status(401, "invalid_client"));
    for (n, target) in targets.iter().enumerate() {
        rig.send(&body(target, &format!("r-{n}"))).await;
    }
    assert_eq!(rig.deliver().await.kept.len(), 3);
    let chains = rig.chains().await;
    assert_eq!(chains.len(), 1, "only the first was started: {chains:#?}");
    assert!(format!("{chains:?}").contains("requestReceived"));
    assert!(rig.stack.graph.calls().iter().all(|call| call.kind == CallKind::Token));
    rig.stack.graph.clear_faults();
    // A refusal is remembered for a while; a new process asks anew.
    rig.restart();
    rig.drive(PAUSE).await;
    assert_eq!(rig.applied(), 3);
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_token_is_renewed_once_for_the_same_attempt() {
    let mut rig = Rig::start(&[]).await;
    let target = puts(&rig, 1).remove(0);
    rig.stack.graph.fault(CallMatch::reprocess(), Fault::status(401, "InvalidAuthenticationToken"));
    rig.send(&body(&target, "r-1")).await;
    rig.deliver().await;
    let calls = rig.reprocesses();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].client_request_id, calls[1].client_request_id);
    let records = rig.records(&target).await;
    assert_eq!((records.len(), &records[1]["outcome"]), (2, &json!("accepted")));
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rights_are_unavailable_and_count_no_attempt() {
    for status in [401, 403] {
        let mut rig = Rig::start(&[("MAX_ATTEMPTS", "1")]).await;
        let target = puts(&rig, 1).remove(0);
        rig.stack.graph.fault_times(CallMatch::reprocess(), 2, Fault::status(status, "Forbidden"));
        rig.send(&body(&target, "r-1")).await;
        rig.deliver().await;
        let ended = rig.records(&target).await.remove(1);
        assert_eq!((&ended["outcome"], &ended["httpStatus"]), (&json!("unavailable"), &json!(status)));
        rig.pass(PAUSE);
        rig.drive(PAUSE).await;
        assert_eq!((rig.applied(), rig.stack.graph.state(&target)), (1, Some(ObjectState::Delivered)));
        rig.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn near_the_deadline_nothing_is_called_and_the_batch_is_given_back() {
    let rig = Rig::start(&[]).await;
    let target = puts(&rig, 1).remove(0);
    let record = json!({
        "messageId": "m-1", "receiptHandle": "unknown", "body": body(&target, "r-1"), "eventSource": "aws:sqs",
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1790000000000" },
    });
    let mut invocation = rig.invocation();
    invocation.deadline = rig.clock.now() + Duration::from_millis(1900);
    let payload = json!({ "Records": [record] }).to_string();
    let answer = rig.worker.handle(&payload, &invocation).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "m-1" }] }));
    assert!(rig.stack.graph.calls().is_empty() && rig.kinds(&target).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_table_nothing_is_called_and_the_messages_stay() {
    let rig = Rig::start(&[("AUDIT_TABLE", "no-such-table"), ("CONCURRENCY", "1")]).await;
    let targets = puts(&rig, 3);
    let records: Vec<Value> = targets
        .iter()
        .enumerate()
        .map(|(n, target)| {
            json!({
                "messageId": format!("m-{n}"), "body": body(target, "r-1"), "eventSource": "aws:sqs",
            })
        })
        .collect();
    let answer =
        rig.worker.handle(&json!({ "Records": records }).to_string(), &rig.invocation()).await.unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 3);
    assert!(rig.stack.graph.calls().is_empty());
    let queries = rig.wire.calls().iter().filter(|call| call.what == "Query").count();
    assert_eq!(queries, 1, "the rest of the batch was not started");
}
