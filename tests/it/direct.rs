//! Direct invocation: answers, the message put on the queue before the call, idempotent repeats.

use std::time::Duration;

use regrant::local::graph::{CallMatch, Fault, ObjectState, Simulated};
use serde_json::{Value, json};

use crate::rig::{Rig, failed_request};
use crate::wire::{HARMS, Harm};

fn statuses(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_request_is_answered_with_its_parts_and_driven_on_by_the_queue() {
    let rig = Rig::start(&[]).await;
    let object = failed_request(rig.stack.graph.now());
    let target = object.target.clone();
    rig.stack.graph.put(object);
    let payload = json!({ "target": target.kind, "id": target.id, "requestId": "r-1", "ticket": "INC1" });
    let answer = rig.invoke(&payload).await.unwrap();
    let result = &answer["results"][0];
    assert_eq!(
        (&result["status"], &result["attempt"], &result["httpStatus"], &result["seq"], &result["requestId"]),
        (&json!("accepted"), &json!(1), &json!(202), &json!(2), &json!("r-1"))
    );
    assert_eq!((&result["target"], &result["id"]), (&json!("assignmentRequest"), &json!(target.id)));
    assert!(result["graphRequestId"].is_string() && result.get("errorCode").is_none());
    assert_eq!(rig.queued().await, 1, "the message that drives it on");
    let sent = rig.wire.calls().iter().position(|call| call.what == "SendMessage").unwrap();
    let started = rig.wire.calls().iter().position(|call| call.what == "ExecuteStatement").unwrap();
    assert!(sent < started, "the message comes before the first record");
    assert_eq!(rig.records(&target).await[0]["source"], json!({ "type": "invoke" }));

    // Asked again, also later: the same request, no second call.
    assert_eq!(statuses(&rig.invoke(&payload).await.unwrap()), ["accepted"]);
    rig.pass(Duration::from_secs(500));
    assert_eq!(statuses(&rig.invoke(&payload).await.unwrap()), ["delivered"]);
    assert_eq!(statuses(&rig.invoke(&payload).await.unwrap()), ["delivered"]);
    assert_eq!(rig.applied(), 1);
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_course_has_its_status_and_one_invalid_request_fails_no_other() {
    let rig = Rig::start(&[]).await;
    let graph = &rig.stack.graph;
    let objects: Vec<Simulated> = (0..6).map(|_| failed_request(graph.now())).collect();
    let ids: Vec<_> = objects.iter().map(|object| object.target.id.clone()).collect();
    for object in objects {
        graph.put(object);
    }
    graph.fault(CallMatch::reprocess().on(&ids[1]), Fault::status(400, "InvalidRequestState"));
    graph.fault(CallMatch::reprocess().on(&ids[2]), Fault::status(503, "ServiceUnavailable"));
    graph.fault(CallMatch::reprocess().on(&ids[3]), Fault::DropAfter);
    graph.change(&target(&ids[4]), |object| object.state = ObjectState::Denied);
    graph.remove(&target(&ids[5]));
    let requests: Vec<Value> =
        ids.iter().map(|id| json!({ "target": "assignmentRequest", "id": id })).collect();
    let invalid = json!({ "target": "assignmentRequest", "id": "../users" });
    let payload = json!({ "requests": [requests[0], requests[1], invalid, requests[2], requests[3], requests[4], requests[5]] });
    let invocation = rig.invocation();
    let answer = rig.worker.handle(&payload.to_string(), &invocation).await.unwrap();
    assert_eq!(
        statuses(&answer),
        ["accepted", "rejected", "invalid", "deferred", "deferred", "skipped", "skipped"]
    );
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[1]["errorCode"], "InvalidRequestState");
    assert_eq!(
        results[2]["errorMessage"],
        "`id` must be a GUID in the 8-4-4-4-12 form, found \"../users\" (8 characters)"
    );
    assert_eq!(results[0]["requestId"], format!("{}:1", invocation.id));
    assert_eq!(results[6]["requestId"], format!("{}:7", invocation.id));
    // What is not settled has its message; what is settled without a call needs none.
    assert_eq!(rig.queued().await, 4);
    rig.assert_sound().await;
}

fn target(id: &regrant::domain::target::Guid) -> regrant::domain::target::Target {
    let kind = regrant::domain::target::TargetKind::AssignmentRequest;
    regrant::domain::target::Target { kind, id: id.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_at_any_call_leaves_nothing_or_a_message() {
    for harm in HARMS {
        for nth in 1..=8 {
            let rig = Rig::start(&[]).await;
            let object = failed_request(rig.stack.graph.now());
            let target = object.target.clone();
            rig.stack.graph.put(object);
            rig.wire.harm(nth, harm);
            let payload = json!({ "target": target.kind, "id": target.id });
            let answered = tokio::select! {
                answer = rig.invoke(&payload) => Some(answer),
                () = rig.wire.crashed() => None,
            };
            let recorded = rig.kinds(&target).await;
            let story = format!("{harm:?} at {nth}: {answered:?} {recorded:?} {:?}", rig.wire.calls());
            let claimed = answered.is_some_and(|answer| answer.is_ok());
            assert!(
                rig.queued().await >= 1 || (recorded.is_empty() && rig.reprocesses().is_empty() && !claimed),
                "{story}"
            );
            rig.assert_sound().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_nothing_is_called_and_the_invocation_says_so() {
    let rig = Rig::start(&[("QUEUE_URL", "http://127.0.0.1:9/000000000000/none")]).await;
    let object = failed_request(rig.stack.graph.now());
    let target = object.target.clone();
    rig.stack.graph.put(object);
    let payload = json!({ "target": target.kind, "id": target.id });
    let error = rig.invoke(&payload).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("no message could be put on the queue, so nothing was called; send the request again"),
        "{text}"
    );
    assert!(rig.reprocesses().is_empty() && rig.kinds(&target).await.is_empty());
    // Harms are for the wire; this one is for the eye: an error is no panic.
    assert!(HARMS.contains(&Harm::Error));
}
