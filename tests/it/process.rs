//! The built worker as a process behind a Lambda runtime API: sample events, bad settings, secrets in its output.
//! What it decides is tested elsewhere.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use regrant::domain::request::Request;
use regrant::domain::target::{ApiVersion, TargetKind};
use regrant::local::graph::{CallKind, CallMatch, Fault, Simulated, random_guid};
use regrant::local::{AUDIT_TABLE, Options, Stack};
use serde_json::{Value, json};

use crate::hostile::{CANARY, Expect, events};
use crate::runtime_api::{Ended, Function};

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
const TIMEOUT: Duration = Duration::from_secs(20);

/// A stack that knows every target of a sample event, and a worker process on it.
struct Rig {
    stack: Stack,
    function: Function,
}

impl Rig {
    async fn start(changes: &[(&'static str, &str)]) -> Self {
        let stack = Stack::start(&Options::default()).await.unwrap();
        let mut settings = stack.environment();
        settings.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let function = Function::start(WORKER, &settings).await;
        Self { stack, function }
    }

    /// Adds the object that a request names, failed or delivered as its kind wants, if the body is a request.
    fn put(&self, body: &str) {
        let Ok(request) = Request::parse(body, "any", ApiVersion::V1) else { return };
        let graph = &self.stack.graph;
        let object = match request.target.kind {
            TargetKind::AssignmentRequest => Simulated::failed_request(request.target.id, graph.now()),
            TargetKind::Assignment => Simulated::delivered_assignment(request.target.id, graph.now()),
        };
        graph.put(Simulated { via: request.via.into_iter().collect(), ..object });
    }

    async fn response(&self, payload: &str) -> Value {
        match self.function.invoke(payload.to_owned(), TIMEOUT).await {
            Ended::Response(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// The kinds of all records of one kind of key.
    async fn kinds(&self, key: &str) -> Vec<String> {
        let scan = self.stack.dynamodb.client().scan().table_name(AUDIT_TABLE).send().await.unwrap();
        let text = |item: &std::collections::HashMap<String, _>, name: &str| {
            let value: &aws_sdk_dynamodb::types::AttributeValue = &item[name];
            value.as_s().unwrap().clone()
        };
        let ours = scan.items().iter().filter(|item| text(item, "pk").contains(key));
        ours.map(|item| text(item, "kind")).collect()
    }
}

fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{}/events/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_event_is_answered_with_batch_item_failures_and_nothing_else_until_all_is_settled() {
    let rig = Rig::start(&[]).await;
    let event = event("sqs-batch.json");
    let parsed = serde_json::from_str::<Value>(&event).unwrap();
    let records = parsed["Records"].as_array().unwrap();
    records.iter().for_each(|record| rig.put(record["body"].as_str().unwrap()));
    let ids = records.iter().map(|record| record["messageId"].as_str().unwrap()).collect::<Vec<_>>();

    let answer = rig.response(&event).await;
    let failed = failed_ids(&answer);
    assert_eq!(failed.len(), 8, "all but the two invalid ones wait for their delivery: {answer}");
    assert!(failed.iter().all(|id| ids.contains(&id.as_str())), "{answer}");
    assert_eq!(rig.kinds("#message#").await, ["messageRejected"; 2]);

    let until = Instant::now() + TIMEOUT;
    while !failed_ids(&rig.response(&event).await).is_empty() {
        assert!(Instant::now() < until, "not settled: {:?}", rig.kinds("#").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let posts = rig.stack.graph.calls().into_iter().filter(|call| call.kind == CallKind::Reprocess);
    assert_eq!(posts.map(|call| call.applied).collect::<Vec<_>>(), [true; 7], "one a target");
    assert_eq!(rig.kinds("#message#").await, ["messageRejected"; 2], "no second record for the same bytes");
    assert_eq!(rig.stack.graph.violations(), Vec::<String>::new());
}

fn failed_ids(answer: &Value) -> Vec<String> {
    let fields = answer.as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["batchItemFailures"]);
    let items = fields["batchItemFailures"].as_array().unwrap().iter();
    items.map(|item| item["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_events_are_answered_with_one_result_a_request() {
    let rig = Rig::start(&[]).await;
    let one = event("direct-one.json");
    rig.put(&one);
    let answer = rig.response(&one).await;
    let result = &answer["results"][0];
    assert_eq!((result["status"].as_str(), result["attempt"].as_u64()), (Some("accepted"), Some(1)));
    assert_eq!(result["id"], serde_json::from_str::<Value>(&one).unwrap()["id"]);
    assert_eq!(answer["results"].as_array().unwrap().len(), 1);

    let several = event("direct-several.json");
    let parsed = serde_json::from_str::<Value>(&several).unwrap();
    parsed["requests"].as_array().unwrap().iter().for_each(|body| rig.put(&body.to_string()));
    let answer = rig.response(&several).await;
    let results = answer["results"].as_array().unwrap().iter();
    let said = results.map(|result| result["status"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(said, ["accepted", "accepted", "invalid"]);
    assert_eq!(rig.stack.graph.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_event_is_an_invocation_error_and_the_process_goes_on() {
    let rig = Rig::start(&[]).await;
    for (payload, found) in
        [("[]", "found a list"), (r#"{"hello":1}"#, "found an object with the fields [`hello`]")]
    {
        let ended = rig.function.invoke(payload.to_owned(), TIMEOUT).await;
        let Ended::Error(error) = ended else { panic!("{payload}: {ended:?}") };
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.starts_with("expected an SQS event") && message.ends_with(found), "{message}");
    }
    let answer = rig.response(&json!({ "requests": [{ "target": "x" }] }).to_string()).await;
    assert_eq!(answer["results"][0]["status"], "invalid");
    assert!(rig.stack.graph.calls().is_empty());
}

/// P7, with the runtime between the event and the worker.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_event_gets_its_answer_and_the_same_process_takes_the_next_one() {
    let rig = Rig::start(&[]).await;
    let mut wrong = Vec::new();
    for event in events() {
        let ids = message_ids(&event.payload);
        let ended = rig.function.invoke(event.payload, TIMEOUT).await;
        let (expect, said) = (event.expect, format!("{}: {ended:.400?}", event.name));
        let as_error = matches!(&ended, Ended::Error(error) if error["errorMessage"].is_string());
        let invalid = |answer: &Value| {
            let results = answer["results"].as_array().into_iter().flatten();
            results.filter(|result| result["status"] == "invalid").count()
        };
        // Of some messages an earlier event had the same bytes under the same id: one record is enough.
        let mut records = 0;
        for id in &ids {
            records += usize::from(!rig.kinds(&format!("#message#{id}")).await.is_empty());
        }
        let as_expected = match (expect, &ended) {
            (Expect::Error, _) => as_error,
            (Expect::Invalid(count), Ended::Response(answer)) => invalid(answer) == count,
            (Expect::Rejected(count), Ended::Response(answer)) => {
                failed_ids(answer).is_empty() && records == count
            }
            (Expect::Refused, Ended::Response(answer)) => invalid(answer) + records > 0,
            (Expect::Refused, _) => as_error,
            (Expect::Invalid(_) | Expect::Rejected(_), _) => false,
        };
        if !as_expected || said.contains(CANARY) {
            wrong.push(format!("expected {expect:?}, {records} records; {said}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(rig.stack.graph.calls().is_empty());
    let process = rig.function.process();
    process.kill();
    let output = process.output().await;
    assert!(!output.contains("panicked") && !output.contains(CANARY), "{output}");
}

/// Empty where the payload is no SQS event.
fn message_ids(payload: &[u8]) -> BTreeSet<String> {
    let event = serde_json::from_slice::<Value>(payload).unwrap_or_default();
    let records = event["Records"].as_array().into_iter().flatten();
    records.filter_map(|record| record["messageId"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn bad_settings_end_the_process_with_all_faults_named_at_once() {
    let settings = [
        ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/regrant.fifo".to_owned()),
        ("GRAPH_TENANT_ID", "contoso".to_owned()),
        ("GRAPH_CREDENTIAL", "secret".to_owned()),
        ("CONCURRENCY", "0".to_owned()),
        ("WINDOW", "soon".to_owned()),
    ];
    let function = Function::start(WORKER, &settings).await;
    assert_eq!(function.ready().await, None);
    let process = function.process();
    assert!(!process.exit().await.success());
    let output = process.output().await;
    let expected = "Error: the settings are not usable: \
        `AUDIT_TABLE` is not set; it must be a table name: 3 to 255 of `A-Za-z0-9_.-`; \
        `QUEUE_URL` must be the http or https URL of a standard queue, not `.fifo`, \
        is \"https://sqs.eu-west-1.amazonaws.com/000000000000/regrant.fifo\"; \
        `GRAPH_TENANT_ID` must be a GUID in the 8-4-4-4-12 form, is \"contoso\"; \
        `GRAPH_CLIENT_ID` is not set; it must be a GUID in the 8-4-4-4-12 form; \
        `GRAPH_CREDENTIAL` `secret` needs exactly one of `GRAPH_SECRET_ID` and `GRAPH_CLIENT_SECRET`; \
        `WINDOW` must be a whole number and `ms`, `s`, `m`, `h` or `d`, like `30s`, from 1ms to 365d, is \"soon\"; \
        `CONCURRENCY` must be a whole number from 1 to 100, is \"0\"\n";
    assert_eq!(output, expected);
}

/// Also at the most talkative log level, also where the token endpoint and Graph write the secret back to us.
#[tokio::test(flavor = "multi_thread")]
async fn neither_secret_nor_token_is_in_the_output() {
    const SECRET: &str = "canary~Q7f.8sTq-Zm3pLw0yXv_k2Rj9dNbHc5gUe1";
    for level in ["info", "trace"] {
        let rig = Rig::start(&[("GRAPH_CLIENT_SECRET", SECRET), ("RUST_LOG", level)]).await;
        let settings = rig.stack.environment();
        let id = settings.iter().find(|(name, _)| *name == "GRAPH_CLIENT_ID").unwrap().1.clone();
        rig.stack.graph.set_application(regrant::local::graph::Application {
            tenant_id: rig.stack.tenant_id.clone(),
            client_id: regrant::domain::target::Guid::parse(&id).unwrap(),
            secret: SECRET.to_owned(),
        });
        let refused = |status, code: &str| Fault::Status {
            status,
            code: code.to_owned(),
            message: format!("AADSTS7000215: the secret '{SECRET}' is wrong; client_secret={SECRET}"),
            retry_after: None,
        };
        let request = || {
            let body = json!({ "target": "assignmentRequest", "id": random_guid() }).to_string();
            rig.put(&body);
            body
        };
        // `invalid_client` is asked about twice: the secret may have been rotated.
        rig.stack.graph.fault_times(CallMatch::token(), 2, refused(503, SECRET));
        rig.response(&request()).await;
        let ended = Instant::now() + TIMEOUT;
        rig.stack.graph.clear_faults();
        rig.stack.graph.fault(CallMatch::reprocess(), refused(400, "BadRequest"));
        // A failure of the token endpoint is remembered for some seconds.
        while rig.response(&request()).await["results"][0]["httpStatus"] != 400 {
            assert!(Instant::now() < ended, "no attempt was refused");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(rig.response(&request()).await["results"][0]["status"], "accepted");
        rig.stack.graph.expire_tokens();
        rig.stack.graph.fault_times(CallMatch::token(), 2, refused(401, "invalid_client"));
        rig.response(&request()).await;

        let process = rig.function.process();
        process.kill();
        let output = process.output().await;
        assert!(output.contains("attempt ended") && output.contains("no token"), "{output}");
        assert!(output.contains("\"NoToken\""), "metrics are in the output: {output}");
        let tokens = rig.stack.graph.issued_tokens();
        assert!(!tokens.is_empty());
        for secret in tokens.iter().map(String::as_str).chain([SECRET]) {
            let at = output.find(secret);
            let line = at.map(|at| output[..at].rfind('\n').unwrap_or_default());
            assert_eq!(line.map(|line| &output[line..(line + 400).min(output.len())]), None, "at {level}");
        }
    }
}
