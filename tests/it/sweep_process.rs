//! The built sweep as a process behind a Lambda runtime API, and the command `regrant sweep`: events, settings,
//! what they print, secrets in it. What is sent is tested elsewhere.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use regrant::aws::Aws;
use regrant::domain::record::Outcome;
use regrant::domain::target::{Target, TargetKind};
use regrant::local::aws::sdk_config;
use regrant::local::graph::{CallMatch, Fault, ObjectState, Simulated};
use regrant::local::sqs::depth;
use regrant::local::{AUDIT_TABLE, Options, Stack};
use regrant::trail::Trail;
use serde_json::{Value, json};

use crate::command_line::{Folder, Ran};
use crate::made::{PACKAGE, Story, id};
use crate::runtime_api::{Ended, Function};
use crate::stub::{Answer, Stub};

const SWEEP: &str = env!("CARGO_BIN_EXE_sweep");
const TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST: TargetKind = TargetKind::AssignmentRequest;

/// A stack with a failure of an hour ago (1), one too old (2), and an undriven repair that Graph lists too (3).
async fn stack() -> (Stack, Vec<(&'static str, String)>) {
    let stack = Stack::start(&Options::default()).await.unwrap();
    let graph = &stack.graph;
    let ago = |hours| graph.now() - SignedDuration::from_hours(hours);
    for (n, hours, state) in [
        (1, 1, ObjectState::DeliveryFailed),
        (2, 15 * 24, ObjectState::DeliveryFailed),
        (3, 24, ObjectState::PartiallyDelivered),
    ] {
        graph.put(Simulated {
            target: Target { kind: REQUEST, id: id(n) },
            state,
            completed_at: Some(ago(hours)),
            access_package_id: regrant::domain::target::Guid::parse(PACKAGE).unwrap(),
            ..Simulated::failed_request(id(n), graph.now())
        });
    }
    let aws = Aws::from_config(sdk_config(&stack.dynamodb.url));
    let trail = Trail::new(aws, AUDIT_TABLE.to_owned(), stack.tenant_id.clone());
    let at = Timestamp::now() - SignedDuration::from_hours(4);
    Story::new(REQUEST, 3)
        .attempt(at, "r-3", 1, Outcome::Throttled, 429)
        .start(at, "r-3", 2)
        .append_to(&trail)
        .await;
    let mut settings = stack.environment();
    settings.retain(|(name, _)| *name != "CALL_TIMEOUT");
    settings.push(("AWS_LAMBDA_FUNCTION_NAME", "sweep".to_owned()));
    (stack, settings)
}

async fn queued(stack: &Stack) -> u64 {
    depth(&stack.sqs.client(), &stack.sqs.queue_url).await.unwrap().total()
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_event_sends_and_a_dry_run_only_says_what_it_would() {
    let (stack, mut settings) = stack().await;
    settings.push(("RUST_LOG", "trace".to_owned()));
    let function = Function::start(SWEEP, &settings).await;
    let answer = async |payload: &str| match function.invoke(payload.to_owned(), TIMEOUT).await {
        Ended::Response(answer) => answer,
        other => panic!("{other:?}"),
    };
    let dry = answer("{\"dryRun\":true}").await;
    assert_eq!((&dry["wouldSend"], &dry["sent"], queued(&stack).await), (&json!(2), &json!(0), 0), "{dry}");
    assert_eq!(dry["plan"][0]["id"], id(3).as_str());
    let event = format!("{}/events/sweep-scheduled.json", env!("CARGO_MANIFEST_DIR"));
    let swept = answer(&std::fs::read_to_string(event).unwrap()).await;
    let expected = json!({
        "found": 3, "undriven": 1, "sent": 2, "leftOut": { "underRepair": 1, "windowClosed": 1 },
        "notSent": [], "overLimit": 0, "waiting": 0, "complete": true,
    });
    assert_eq!((&swept, queued(&stack).await), (&expected, 2));
    assert_eq!(answer("{}").await["sent"], 1, "the failure again, until the worker has it; the repair not");
    stack.graph.fault_times(CallMatch::list(), 2, Fault::status(403, "Forbidden"));
    let refused = answer("{}").await;
    assert_eq!((&refused["graphRefused"], &refused["complete"]), (&json!(true), &json!(false)), "{refused}");
    let Ended::Error(error) = function.invoke("[1]".to_owned(), TIMEOUT).await else { panic!("no error") };
    assert!(
        error["errorMessage"].as_str().unwrap().starts_with("expected {}, {\"dryRun\": true}"),
        "{error}"
    );
    assert_eq!(stack.graph.violations(), Vec::<String>::new());

    let process = function.process();
    process.kill();
    let output = process.output().await;
    for metric in ["SweepFound", "SweepSent", "SweepsIncomplete", "AccessRefused"] {
        assert!(output.contains(&format!("\"{metric}\"")), "{metric}: {output}");
    }
    settings.retain(|(name, _)| *name != "AUDIT_TABLE");
    settings.push(("AUDIT_TABLE", "another-table".to_owned()));
    let tableless = Function::start(SWEEP, &settings).await;
    let ended = tableless.invoke("{}".to_owned(), TIMEOUT).await;
    assert!(matches!(ended, Ended::Error(_)), "{ended:?}");
    let process = tableless.process();
    process.kill();
    assert!(process.output().await.contains("\"NoTable\""));

    let secret = settings.iter().find(|(name, _)| *name == "GRAPH_CLIENT_SECRET").unwrap().1.clone();
    let tokens = stack.graph.issued_tokens();
    assert!(!tokens.is_empty());
    assert!(tokens.iter().chain([&secret]).all(|secret| !output.contains(secret.as_str())));
}

#[tokio::test]
async fn bad_settings_end_the_process_with_all_faults_named_at_once() {
    let settings = [("SWEEP_PACKAGES", "x".to_owned()), ("SWEEP_LIMIT", "0".to_owned())];
    let function = Function::start(SWEEP, &settings).await;
    assert_eq!(function.ready().await, None);
    let output = function.process().output().await;
    for fault in ["`AUDIT_TABLE` is not set", "`SWEEP_PACKAGES` must be", "`SWEEP_LIMIT` must be"] {
        assert!(output.contains(fault), "{output}");
    }
}

fn run(arguments: &str, settings: &[(&'static str, String)]) -> Ran {
    Folder::new().run_with(&arguments.split_whitespace().collect::<Vec<_>>(), settings, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn command_shows_the_plan_and_sends_it() {
    let (stack, settings) = stack().await;
    let ran = run("sweep --dry-run", &settings);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    let cells = |line: &str| line.split('┆').map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    let rows = ran.stdout.lines().filter(|line| line.contains("-acc4-43cc-")).map(cells).collect::<Vec<_>>();
    let what = rows.iter().map(|row| {
        let first = row[0].trim_start_matches(['│', ' ']).chars().take(8).collect::<String>();
        (first, row[1].clone(), row[4].clone(), row[5].trim_end_matches(['│', ' ']).to_owned())
    });
    let what = what.collect::<Vec<_>>();
    assert_eq!(what[0].0, "00000003");
    assert!(what[0].3.starts_with("send: attempt never ended, silent for 3 h 5"), "{what:?}");
    assert_eq!(
        (what[1].0.as_str(), what[1].1.as_str(), what[1].3.as_str()),
        ("00000001", "deliveryFailed", "send: delivery failed")
    );
    assert_eq!((what[2].1.as_str(), what[2].3.as_str()), ("partiallyDelivered", "leave out: under repair"));
    assert_eq!((rows.len(), what[1].2.as_str(), rows[1][2].as_str()), (3, "13 d 22 h", PACKAGE));
    let line = ran.stdout.lines().last().unwrap();
    let expected =
        "would send 2: found 3 failed requests and 1 undriven repair; left out: under repair 1, too old 1";
    assert_eq!((line, queued(&stack).await), (expected, 0));

    let ran = run("sweep --json", &settings);
    assert_eq!(
        (ran.code, serde_json::from_str::<Value>(&ran.stdout).unwrap()["sent"].as_u64()),
        (0, Some(2))
    );
    assert_eq!(queued(&stack).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn command_ends_with_4_when_incomplete_and_with_1_when_the_trail_could_not_be_read() {
    let (stack, settings) = stack().await;
    stack.graph.fault(CallMatch::list(), Fault::status(403, "Forbidden"));
    let ran = run("sweep --dry-run", &settings);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.stderr.contains("\nincomplete: the list of ")
            && ran.stderr.contains(" requests: Graph answered HTTP 403"),
        "{ran:?}"
    );
    let mut elsewhere = settings.clone();
    elsewhere.retain(|(name, _)| *name != "AUDIT_TABLE");
    elsewhere.push(("AUDIT_TABLE", "another-table".to_owned()));
    let ran = run("sweep", &elsewhere);
    assert_eq!((ran.code, &*ran.stdout, queued(&stack).await), (1, "", 0));
    assert!(ran.stderr.contains("error: nothing can be read: "), "{ran:?}");
    let ran = run("sweep", &[("SWEEP_LIMIT", "many".to_owned())]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn command_refuses_a_clock_that_is_off_and_asks_a_deployed_function() {
    let (stack, mut settings) = stack().await;
    let late = Stub::start([Answer::new(401, "").with("Date", "Sun, 06 Nov 2044 08:49:37 GMT")]).await;
    settings.retain(|(name, _)| *name != "GRAPH_ENDPOINT");
    settings.push(("GRAPH_ENDPOINT", late.url.to_string()));
    let ran = run("sweep", &settings);
    assert!(ran.code == 1 && ran.stderr.contains(" behind Graph's"), "{ran:?}");
    let swept = json!({
        "found": 2, "undriven": 0, "sent": 1, "leftOut": { "canceled": 1 }, "notSent": [], "overLimit": 3,
        "complete": false, "why": "the time was over",
    });
    let lambda = Stub::start([Answer::json(200, &swept)]).await;
    settings.push(("AWS_ENDPOINT_URL_LAMBDA", lambda.url.to_string()));
    let ran = run("sweep --function sweep --dry-run", &settings);
    let expected = "sent 1: found 2 failed requests and 0 undriven repairs; left out: canceled 1; over SWEEP_LIMIT, for the next sweep: 3\n";
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (4, expected, "incomplete: the time was over\n"));
    assert_eq!(lambda.take_one().body, "{\"dryRun\":true}");
    assert_eq!(queued(&stack).await, 0);
}
