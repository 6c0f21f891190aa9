//! The sample events of the tree, and the hostile ones, through the whole worker.

use std::time::Duration;

use regrant::domain::target::{Guid, Via};
use regrant::local::graph::Simulated;
use serde_json::{Value, json};

use crate::hostile::{self, CANARY, Expect, HostileEvent};
use crate::rig::{Rig, parse};

fn event(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Makes the simulator know the target of a request.
fn put(rig: &Rig, request: &Value) {
    let Some(id) = request["id"].as_str().and_then(|id| Guid::parse(id).ok()) else { return };
    let now = rig.stack.graph.now();
    let guid = |value: &Value| Guid::parse(value.as_str().unwrap()).unwrap();
    match request["target"].as_str() {
        Some("assignmentRequest") => rig.stack.graph.put(Simulated::failed_request(id, now)),
        Some("assignment") => {
            let via = match &request["via"] {
                Value::Object(fields) => match fields.iter().next().unwrap() {
                    (name, id) if name == "assignmentRequest" => vec![Via::AssignmentRequest(guid(id))],
                    (_, id) => vec![Via::ResourceRole(guid(id))],
                },
                _ => Vec::new(),
            };
            rig.stack.graph.put(Simulated { via, ..Simulated::delivered_assignment(id, now) });
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_batch_repairs_seven_targets_and_records_two_invalid_messages() {
    let mut rig = Rig::start(&[]).await;
    for record in event("sqs-batch.json")["Records"].as_array().unwrap() {
        let body = record["body"].as_str().unwrap();
        if let Ok(request) = serde_json::from_str(body) {
            put(&rig, &request);
        }
        rig.send(body).await;
    }
    rig.drive(Duration::from_secs(150)).await;
    rig.assert_sound().await;
    let mut paths: Vec<String> = rig.reprocesses().iter().map(|call| without_ids(&call.path)).collect();
    paths.sort();
    paths.dedup();
    const ROOT: &str = "identityGovernance/entitlementManagement";
    assert_eq!(
        paths,
        [
            format!("/beta/{ROOT}/accessPackageAssignmentRequests/*/reprocess"),
            format!(
                "/beta/{ROOT}/accessPackageAssignments/*/accessPackageAssignmentRequests/*/accessPackageAssignment/reprocess"
            ),
            format!(
                "/beta/{ROOT}/accessPackageAssignments/*/accessPackageAssignmentResourceRoles/*/accessPackageAssignments/*/reprocess"
            ),
            format!("/v1.0/{ROOT}/assignmentRequests/*/reprocess"),
            format!("/v1.0/{ROOT}/assignments/*/reprocess"),
        ]
    );
    let chains = rig.chains().await;
    let ends: Vec<String> = chains
        .values()
        .map(|links| parse(links.last().unwrap())["kind"].as_str().unwrap().to_owned())
        .collect();
    let count = |kind: &str| ends.iter().filter(|end| *end == kind).count();
    assert_eq!((count("deliveryObserved"), count("messageRejected"), ends.len()), (7, 2, 9));
    assert_eq!(rig.applied(), 7);
}

fn without_ids(path: &str) -> String {
    path.split('/')
        .map(|part| if Guid::parse(part).is_ok() { "*" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_direct_payloads_are_answered_in_order() {
    let rig = Rig::start(&[]).await;
    for (name, expected) in [
        ("direct-one.json", vec!["accepted"]),
        ("direct-several.json", vec!["accepted", "accepted", "invalid"]),
    ] {
        let payload = event(name);
        match payload["requests"].as_array() {
            Some(requests) => requests.iter().for_each(|request| put(&rig, request)),
            None => put(&rig, &payload),
        }
        let answer = rig.invoke(&payload).await.unwrap();
        let results = answer["results"].as_array().unwrap();
        let statuses: Vec<&str> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, expected, "{name}");
    }
    rig.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_events_are_refused_in_words_and_reach_nobody() {
    for HostileEvent { name, payload, expect, .. } in hostile::events() {
        // Lambda's runtime hands over text only.
        let Ok(payload) = String::from_utf8(payload) else {
            assert_eq!(expect, Expect::Error, "{name}");
            continue;
        };
        let rig = Rig::start(&[]).await;
        let answer = rig.worker.handle(&payload, &rig.invocation()).await;
        let chains = rig.chains().await;
        let said = match &answer {
            Ok(answer) => answer.to_string(),
            Err(error) => format!("{error:#}"),
        };
        let found = match &answer {
            Err(_) if chains.is_empty() => Expect::Error,
            Ok(answer) if answer.get("results").is_some() => {
                let results = answer["results"].as_array().unwrap();
                assert!(results.iter().all(|result| result["status"] == "invalid"), "{name}: {said}");
                Expect::Invalid(results.len())
            }
            Ok(answer) => {
                assert_eq!(*answer, json!({ "batchItemFailures": [] }), "{name}");
                Expect::Rejected(
                    chains.values().flatten().filter(|link| parse(link)["kind"] == "messageRejected").count(),
                )
            }
            Err(_) => panic!("{name}: an error after records were written: {said}"),
        };
        assert!(
            expect == Expect::Refused || found == expect,
            "{name}: expected {expect:?}, found {found:?}: {said:.500}"
        );
        assert!(
            !said.contains(CANARY) && !format!("{chains:?}").contains(CANARY),
            "{name} gives its secret away"
        );
        assert!(!said.is_empty() && said.len() < 200_000, "{name}");
        assert!(rig.stack.graph.calls().is_empty(), "{name} reached Graph");
        rig.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivery_of_a_bad_message_writes_no_second_record() {
    let rig = Rig::start(&[]).await;
    let deliver = async |body: &str| {
        let record =
            json!({ "messageId": "m-1", "receiptHandle": "r", "body": body, "eventSource": "aws:sqs" });
        let payload = json!({ "Records": [record] }).to_string();
        assert_eq!(
            rig.worker.handle(&payload, &rig.invocation()).await.unwrap(),
            json!({ "batchItemFailures": [] })
        );
    };
    deliver("{").await;
    deliver("{").await;
    let key = format!("{}#message#m-1", rig.stack.tenant_id);
    assert_eq!(rig.chains().await[&key].len(), 1);
    deliver("[").await;
    let chain = rig.chains().await[&key].clone();
    assert_eq!(chain.len(), 2, "other bytes are another fact");
    let record = parse(&chain[0]);
    assert_eq!((&record["requestId"], &record["body"]), (&json!("m-1"), &json!("{")));
    assert_eq!(
        record["error"],
        "a request must be a JSON object: EOF while parsing an object at line 1 column 1"
    );
    rig.assert_sound().await;
}
