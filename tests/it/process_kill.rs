//! The worker process, killed with SIGKILL at every call of the happy path: a redelivery drives the request to its
//! end (promises P1 to P4). The oracle is the simulator's log and the queue. No error and no silence is injected.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use regrant::domain::chain::{Link, check};
use regrant::domain::target::{Target, TargetKind};
use regrant::local::graph::{CallKind, ObjectState, Simulated, random_guid};
use regrant::local::poller::Poller;
use regrant::local::sqs::depth;
use regrant::local::{AUDIT_TABLE, Options, Stack};
use serde_json::{Value, json};

use crate::kill_wire::{Point, Wires};
use crate::runtime_api::{Ended, Function};

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
/// The calls of the happy path, in two deliveries.
const HAPPY_PATH: [&str; 10] = [
    "Query",
    "token",
    "GET",
    "ExecuteStatement",
    "POST",
    "ExecuteStatement",
    "ChangeMessageVisibilityBatch",
    "Query",
    "GET",
    "ExecuteStatement",
];
/// Short, for its lease ends 5 s after it.
const DOOMED: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Far longer than a lease.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn process_killed_at_any_call_loses_nothing_and_repeats_nothing() {
    let calls = run(None).await;
    assert_eq!(calls, HAPPY_PATH);
    let points = (1..=calls.len()).flat_map(|call| [Point::Arrived(call), Point::Answered(call)]);
    join_all(points.map(|point| run(Some(point)))).await;
}

/// One request from message to settled, with the process killed on the way; the calls up to then.
async fn run(point: Option<Point>) -> Vec<String> {
    let stack = Stack::start(&Options::default()).await.unwrap();
    let wires = Wires::start(&stack, point).await;
    let target = Target { kind: TargetKind::AssignmentRequest, id: random_guid() };
    stack.graph.put(Simulated::failed_request(target.id.clone(), stack.graph.now()));
    let sqs = stack.sqs.client();
    let body = json!({ "target": "assignmentRequest", "id": target.id }).to_string();
    sqs.send_message().queue_url(&stack.sqs.queue_url).message_body(body).send().await.unwrap();

    let settings = wires.environment(&stack);
    let mut function = Function::start(WORKER, &settings).await;
    wires.aim(function.process());
    let (mut killed, until) = (None, Instant::now() + PATIENCE);
    while depth(&sqs, &stack.sqs.queue_url).await.unwrap().total() > 0 {
        assert!(Instant::now() < until, "{point:?}: not settled after {:?}", wires.calls());
        let timeout = if killed.is_none() { DOOMED } else { TIMEOUT };
        let poller = Poller { wait: Duration::from_secs(1), ..Poller::new(&stack.sqs, timeout) };
        let mut receipt = None;
        let polled = poller.poll(async |event: String, _| {
            receipt = receipt_of(&event);
            match function.invoke(event, timeout).await {
                Ended::Response(answer) => {
                    if answer == json!({ "batchItemFailures": [] }) {
                        assert_settled(&stack, &target, point).await;
                    }
                    Ok(answer)
                }
                other => anyhow::bail!("{other:?}"),
            }
        });
        let polled = polled.await.unwrap();
        if let Some(failure) = polled.failure {
            assert_eq!(format!("{failure:#}"), "the handler failed: Died", "{point:?}");
            killed = killed.or_else(|| Some(wires.calls()));
            function = Function::start(WORKER, &settings).await;
            let change = sqs.change_message_visibility().queue_url(&stack.sqs.queue_url);
            change.receipt_handle(receipt.unwrap()).visibility_timeout(0).send().await.unwrap();
        }
    }
    assert_eq!(killed.is_some(), point.is_some(), "{point:?}: {:?}", wires.calls());
    assert_promises(&stack, &target, point).await;
    let dead = depth(&sqs, &stack.sqs.dead_letter_url).await.unwrap();
    assert_eq!(dead.total(), 0, "{point:?}");
    killed.unwrap_or_else(|| wires.calls())
}

fn receipt_of(event: &str) -> Option<String> {
    let event = serde_json::from_str::<Value>(event).unwrap();
    event["Records"][0]["receiptHandle"].as_str().map(str::to_owned)
}

/// P2: at the moment of acknowledgement Graph has delivered, and the trail says so.
async fn assert_settled(stack: &Stack, target: &Target, point: Option<Point>) {
    assert_eq!(stack.graph.state(target), Some(ObjectState::Delivered), "{point:?}");
    let last = records(stack, target).await.pop().unwrap();
    assert_eq!(
        (&last["kind"], &last["verdict"]),
        (&json!("deliveryObserved"), &json!("delivered")),
        "{point:?}"
    );
}

async fn assert_promises(stack: &Stack, target: &Target, point: Option<Point>) {
    assert_settled(stack, target, point).await;
    let posts = stack.graph.calls().into_iter().filter(|call| call.kind == CallKind::Reprocess);
    let posts = posts.collect::<Vec<_>>();
    assert_eq!(posts.iter().map(|post| post.applied).collect::<Vec<_>>(), [true], "{point:?}: P4");
    let records = records(stack, target).await;
    let intended = |id: &Option<String>| {
        let started = records.iter().filter(|record| record["kind"] == "attemptStarted");
        started.map(|record| &record["clientRequestId"]).any(|known| known.as_str() == id.as_deref())
    };
    assert!(posts.iter().all(|post| intended(&post.client_request_id)), "{point:?}: P1");
    assert_eq!(stack.graph.violations(), Vec::<String>::new(), "{point:?}");
}

/// The target's records in their order, once the chain has been checked.
async fn records(stack: &Stack, target: &Target) -> Vec<Value> {
    let key = target.key(&stack.tenant_id);
    let query = stack.dynamodb.client().query().table_name(AUDIT_TABLE).consistent_read(true);
    let query = query.key_condition_expression("pk = :pk");
    let query = query.expression_attribute_values(":pk", AttributeValue::S(key.clone()));
    let text = |value: &AttributeValue| value.as_s().unwrap().clone();
    let page = query.send().await.unwrap();
    let links = page.items().iter().map(|item| Link {
        seq: item["seq"].as_n().unwrap().parse().unwrap(),
        prev: text(&item["prev"]),
        hash: text(&item["hash"]),
        record: text(&item["record"]),
    });
    let links = links.collect::<Vec<_>>();
    assert_eq!(check(&key, &links, None), Vec::new());
    links.iter().map(|link| serde_json::from_str(&link.record).unwrap()).collect()
}
