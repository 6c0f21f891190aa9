//! The commands on trails made by hand and on the embedded stack: what they print, and their exit codes.

use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use regrant::aws::Aws;
use regrant::domain::record::{Outcome, Verdict};
use regrant::domain::target::{Guid, Target, TargetKind};
use regrant::local::aws::sdk_config;
use regrant::local::graph::Simulated;
use regrant::local::sqs::depth;
use regrant::local::{AUDIT_TABLE, Options, Stack};
use regrant::trail::Trail;
use serde_json::{Value, json};

use super::command_line::{Folder, Ran};
use super::doctor::here;
use super::doctor_aws::Fake;
use super::made::{Story, id, minute, settled_trail, small_trail, with_database};
use super::stub::{Answer, Stub};

/// The id that the examples name.
const EXAMPLE: &str = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";
const REQUEST: TargetKind = TargetKind::AssignmentRequest;

async fn folder_with_trail() -> Folder {
    let folder = Folder::new();
    with_database(&folder.path("audit.db"), async |_, trail| small_trail(trail).await).await;
    folder
}

/// A stack, its settings for a command, and its trail for the test.
async fn stack() -> (Stack, Vec<(&'static str, String)>, Trail) {
    let stack = Stack::start(&Options::default()).await.unwrap();
    let settings = stack.environment();
    let aws = Aws::from_config(sdk_config(&stack.dynamodb.url));
    let trail = Trail::new(aws, AUDIT_TABLE.to_owned(), stack.tenant_id.clone());
    (stack, settings, trail)
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_the_story_in_plain_words() {
    let folder = folder_with_trail().await;
    let ran = folder.run(&format!("history {} --db audit.db", id(2)));
    insta::assert_snapshot!(ran.stdout, @r#"
    assignmentRequest 00000002-acc4-43cc-bcf1-7c1c4a2c073b
    access package aaaaaaaa-acc4-43cc-bcf1-7c1c4a2c073b

    repair 1
       1  2026-03-05 08:01:00 UTC                9f0e1111-acc4-43cc-bcf1-7c1c4a2c073b asked, request r-2, ticket INC0012345, from the command line: SAP outage
                                                attempt 1: POST /v1.0/identityGovernance/entitlementManagement/x/00000002-acc4-43cc-bcf1-7c1c4a2c073b/reprocess, the state was DeliveryFailed, completed 2026-03-04 12:01:00 UTC
       2  2026-03-05 08:01:01 UTC          +1 s  attempt 1 ended after 850 ms: unavailable (HTTP 503, UnknownError) [Graph: request-id graph-1, client-request-id 00009001-acc4-43cc-bcf1-7c1c4a2c073b]
       3  2026-03-05 08:03:00 UTC   +1 min 59 s  attempt 2: POST /v1.0/identityGovernance/entitlementManagement/x/00000002-acc4-43cc-bcf1-7c1c4a2c073b/reprocess, the state was DeliveryFailed, completed 2026-03-04 12:03:00 UTC
       4  2026-03-05 08:03:01 UTC          +1 s  attempt 2 ended after 850 ms: accepted by Graph, which promises to try (HTTP 202) [Graph: request-id graph-1, client-request-id 00009002-acc4-43cc-bcf1-7c1c4a2c073b]
       5  2026-03-05 09:03:00 UTC  +59 min 59 s  after attempt 2: delivered, completed 2026-03-05 09:03:00 UTC, the state changed since

    settled after 5 records and 1 h 2 min
    "#);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_as_json_is_the_stored_records() {
    let folder = folder_with_trail().await;
    let ran = folder.run(&format!("history {} --json --db audit.db", id(3)));
    let kinds = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["attemptStarted", "attemptEnded", "requestAbandoned"]);
    assert_eq!(ran.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_by_standing_and_package() {
    let folder = folder_with_trail().await;
    let ran = folder.run("status --ticket INC0012345 --db audit.db");
    insta::assert_snapshot!(ran.stdout, @r#"
    4 requests, first 2026-03-05 08:00:00 UTC, last 2026-03-06 08:00:00 UTC
           1  abandoned: rejected
           2  delivered
           1  waiting for delivery
    ┌──────────────────────────────────────┬──────────┬───────────┬─────────┬─────────┬──────────┬─────────┬────────┐
    │ access package                       ┆ requests ┆ delivered ┆ waiting ┆ put off ┆ in doubt ┆ skipped ┆ failed │
    ╞══════════════════════════════════════╪══════════╪═══════════╪═════════╪═════════╪══════════╪═════════╪════════╡
    │ aaaaaaaa-acc4-43cc-bcf1-7c1c4a2c073b ┆ 4        ┆ 2         ┆ 1       ┆ 0       ┆ 0        ┆ 0       ┆ 1      │
    └──────────────────────────────────────┴──────────┴───────────┴─────────┴─────────┴──────────┴─────────┴────────┘
    "#);
    assert_eq!((ran.code, &*ran.stderr), (4, ""));
    assert_eq!(folder.run("status --request r-1 --db audit.db").code, 0);
    assert_eq!(folder.run("status --request r-3 --db audit.db").code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_lists_the_most_urgent_first() {
    let folder = Folder::new();
    let now = now();
    let hours = SignedDuration::from_hours;
    with_database(&folder.path("audit.db"), async |_, trail| {
        small_trail(trail).await;
        // The window is 14 days from 20 hours before the attempt.
        for (n, ago, outcome, status) in [
            (11, 24, Outcome::Accepted, 202),
            (12, 10 * 24, Outcome::Unknown, 504),
            (13, 1, Outcome::Throttled, 429),
        ] {
            Story::new(REQUEST, n)
                .attempt(now - hours(ago), "r-1", 1, outcome, status)
                .append_to(trail)
                .await;
        }
    })
    .await;
    let ran = folder.run("open --db audit.db --json");
    let rows = ran.stdout.lines().map(|line| {
        let row = serde_json::from_str::<Value>(line).unwrap();
        format!(
            "{} {} stalled: {}",
            &row["id"].as_str().unwrap()[..8],
            row["state"].as_str().unwrap(),
            row["stalled"]
        )
    });
    let expected = [
        "00000012 in doubt stalled: true",
        "00000011 waiting for delivery stalled: true",
        "00000013 put off stalled: false",
        "00000004 waiting for delivery stalled: true",
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    let table = folder.run("open --db audit.db").stdout;
    assert!(table.contains("in doubt, stalled") && table.ends_with("4 repairs open\n"), "{table}");
    assert!(table.contains("3 d 3 h") || table.contains("3 d 4 h"), "{table}");
}

fn now() -> Timestamp {
    Timestamp::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn export_writes_the_records_as_they_are_and_their_heads() {
    let folder = folder_with_trail().await;
    let ran = folder.run("export --db audit.db -o audit.jsonl --manifest manifest.json");
    assert_eq!((ran.code, &*ran.stdout), (0, ""));
    let text = std::fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    assert_eq!(rows.len(), 13);
    let manifest = std::fs::read_to_string(folder.path("manifest.json")).unwrap();
    let manifest = serde_json::from_str::<Value>(&manifest).unwrap();
    let sha256 = regrant::domain::chain::sha256_hex(text.as_bytes());
    assert_eq!(
        (&manifest["rows"], &manifest["chains"], &manifest["sha256"]),
        (&json!(13), &json!(4), &json!(sha256))
    );
    let heads = manifest["heads"].as_array().unwrap();
    for head in heads {
        let last = rows.iter().rfind(|row| row["pk"] == head["pk"]).unwrap();
        assert_eq!((&last["seq"], &last["hash"]), (&head["seq"], &head["hash"]));
    }
    // A record's bytes are the hashed ones: the first line proves it.
    let start = text.find("\"record\":").unwrap() + 9;
    let record = &text[start..text.find("}\n").unwrap()];
    let (key, prev) = (rows[0]["pk"].as_str().unwrap(), rows[0]["prev"].as_str().unwrap());
    assert_eq!(regrant::domain::chain::link_hash(key, 1, prev, record), rows[0]["hash"].as_str().unwrap());
    let period = folder.run("export --db audit.db --from 2026-03-06");
    assert_eq!(period.stdout.lines().count(), 2, "{period:?}");
    assert_eq!(
        folder.run("verify --db audit.db --from 2026-03-06").stdout.lines().next().unwrap(),
        "no findings: 2 records in 1 chain of tenant 11111111-acc4-43cc-bcf1-7c1c4a2c073b checked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_sends_every_line_or_none() {
    let (stack, settings, _) = stack().await;
    let folder = Folder::new();
    let rows = (1..=23).map(|n| format!("{},outage {n}\n", id(n))).collect::<String>();
    let submit = "submit --file - --target assignmentRequest --ticket INC1 --requested-by someone";
    let good = format!("id,reason\n{rows}");
    let dry = folder.run_with(&words(&format!("{submit} --dry-run")), &[], Some(&good));
    assert_eq!((dry.code, &*dry.stdout), (0, "dry run: 23 requests checked, nothing was sent\n"), "{dry:?}");
    let bad = folder.run_with(&words(submit), &settings, Some(&format!("{good}nonsense,x\n")));
    assert_eq!((bad.code, &*bad.stdout), (2, ""));
    insta::assert_snapshot!(bad.stderr, @r#"
    line 25: `id` must be a GUID in the 8-4-4-4-12 form, found "nonsense" (8 characters)
    error: 1 line wrong; nothing was sent
    "#);
    let client = stack.sqs.client();
    let queue = || depth(&client, &stack.sqs.queue_url);
    assert_eq!(queue().await.unwrap().total(), 0);
    let sent = folder.run_with(&words(submit), &settings, Some(&good));
    assert_eq!((sent.code, &*sent.stdout, &*sent.stderr), (0, "sent 23 of 23 requests\n", ""));
    assert_eq!(queue().await.unwrap().total(), 23);
    let receive = client.receive_message().queue_url(&stack.sqs.queue_url).message_attribute_names("All");
    let message = receive.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(message.message_attributes.unwrap()["source"].string_value.as_deref(), Some("cli"));
    let body = serde_json::from_str::<Value>(message.body.as_deref().unwrap()).unwrap();
    assert_eq!((&body["ticket"], &body["requestedBy"]), (&json!("INC1"), &json!("someone")));
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_sends_again_what_sqs_refused_and_names_what_it_will_not_take() {
    let sent = |at: &str| json!({ "Id": at, "MessageId": "m", "MD5OfMessageBody": "d41d8cd98f00b204e9800998ecf8427e" });
    let failed = |at: &str, fault: bool| json!({ "Id": at, "SenderFault": fault, "Code": "Odd", "Message": "not now" });
    let stub = Stub::start([
        Answer::json(
            200,
            &json!({ "Successful": [sent("0")], "Failed": [failed("1", false), failed("2", false)] }),
        ),
        Answer::json(200, &json!({ "Successful": [sent("1")], "Failed": [failed("2", true)] })),
    ])
    .await;
    let url = stub.url.to_string();
    let settings = [
        ("AWS_ENDPOINT_URL_SQS", url.clone()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("QUEUE_URL", format!("{url}000000000000/regrant")),
    ];
    let arguments = format!("submit {} {} {} --target assignment", id(1), id(2), id(3));
    let ran = Folder::new().run_with(&words(&arguments), &settings, None);
    assert_eq!((ran.code, &*ran.stdout), (1, "sent 2 of 3 requests\n"), "{ran:?}");
    assert_eq!(ran.stderr, format!("argument 3: {}: not sent: Odd: not now\n", id(3)));
    let seen = stub.take_seen();
    let entries =
        seen.iter().map(|seen| serde_json::from_str::<Value>(&seen.body).unwrap()["Entries"].clone());
    let [first, second] = entries.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((first.as_array().unwrap().len(), second.as_array().unwrap().len()), (3, 2));
    assert_eq!(first[1], second[0], "sent again unchanged");
    let groups = first.as_array().unwrap().iter().map(|entry| entry["MessageGroupId"].as_str().unwrap());
    assert!(
        groups.clone().all(|group| group.starts_with("submit-") && group == groups.clone().next().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_a_repair_and_says_who_and_why() {
    let (_stack, settings, trail) = stack().await;
    let folder = Folder::new();
    // A call is under way: its lease has not ended.
    Story::new(REQUEST, 1).start(now(), "r-1", 1).append_to(&trail).await;
    let cancel = |id: &Guid| {
        let id = id.to_string();
        folder.run_with(&["cancel", &id, "--reason", "package retired", "--by", "someone"], &settings, None)
    };
    let ran = cancel(&id(1));
    let expected = format!("canceled repair 1 of assignmentRequest {}: record 2, by someone\n", id(1));
    assert_eq!((ran.code, &*ran.stdout), (0, &*expected), "{ran:?}");
    assert_eq!(ran.stderr, "note: attempt 1 may be under way; its end is still recorded\n");
    let target = Target { kind: REQUEST, id: id(1) };
    let history = trail.history(target.key(trail.tenant()), regrant::trail::READING_PATIENCE).await.unwrap();
    let origin = history.records[1].origin.clone().unwrap();
    assert_eq!(
        (origin.requested_by.as_deref(), origin.reason.as_deref()),
        (Some("someone"), Some("package retired"))
    );
    let again = cancel(&id(1));
    assert_eq!(
        (again.code, &*again.stderr),
        (1, &*format!("error: no repair of {} is open: see `regrant history`\n", id(1)))
    );
    assert_eq!(cancel(&id(2)).code, 1);
    assert_eq!(folder.run_with(&["verify"], &settings, None).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_without_a_name_names_the_caller_as_aws_knows_it() {
    const ARN: &str = "arn:aws:sts::111122223333:assumed-role/identity-operator/someone";
    let (_stack, mut settings, trail) = stack().await;
    let sts = Stub::start([]).await;
    settings.push(("AWS_ENDPOINT_URL_STS", sts.url.to_string()));
    Story::new(REQUEST, 1).start(now(), "r-1", 1).append_to(&trail).await;
    let (folder, id) = (Folder::new(), id(1));
    let cancel = || folder.run_with(&["cancel", id.as_str(), "--reason", "package retired"], &settings, None);
    sts.then(
        Answer::new(403, "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>canary</Message></Error></ErrorResponse>")
            .with("x-amzn-RequestId", "sts-7"),
    );
    let ran = cancel();
    let expected = "error: AWS does not say who is calling: name yourself with --by: \
        AWS STS: HTTP 403, `ExpiredToken`, request id sts-7\n";
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (1, "", expected));
    sts.take_one();
    let answer = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>{ARN}</Arn><UserId>AROAEXAMPLE:someone</UserId><Account>111122223333</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    );
    sts.then(Answer::new(200, answer).with("Content-Type", "text/xml"));
    let ran = cancel();
    assert_eq!(ran.stdout, format!("canceled repair 1 of assignmentRequest {id}: record 2, by {ARN}\n"));
    assert_eq!(sts.take_one().field("Action"), "GetCallerIdentity");
    let key = Target { kind: REQUEST, id: id.clone() }.key(trail.tenant());
    let records = trail.history(key, regrant::trail::READING_PATIENCE).await.unwrap().records;
    assert_eq!(records[1].origin.as_ref().unwrap().requested_by.as_deref(), Some(ARN));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_also_works_on_a_database_and_then_wants_a_name() {
    let folder = folder_with_trail().await;
    let words = ["cancel", id(4).as_str(), "--reason", "trying it", "--db", "audit.db"].map(str::to_owned);
    let run =
        |more: &[&str]| folder.run_with(&[&words.each_ref().map(String::as_str), more].concat(), &[], None);
    let ran = run(&[]);
    assert_eq!((ran.code, ran.stderr.contains("--by <WHO>")), (2, true), "{ran:?}");
    let ran = run(&["--by", "me"]);
    let expected = format!("canceled repair 1 of assignment {}: record 3, by me\n", id(4));
    assert_eq!((ran.code, ran.stdout), (0, expected));
    assert_eq!(ran.stderr, "note: Graph took attempt 1, and may still deliver\n");
    assert_eq!(run(&["--by", "me"]).code, 1);
    assert_eq!(folder.run("verify --db audit.db").code, 0);
    // Who cancels asks for nothing: the report counts the four requests that there were.
    let report = folder.run("report --from 2026-03-05 --to 2026-03-06 --format json --db audit.db");
    let report = serde_json::from_str::<Value>(&report.stdout).unwrap();
    assert_eq!(
        (&report["totals"]["requests"], &report["endings"]["abandoned"], &report["endings"]["open"]),
        (&json!(4), &json!(2), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn run_calls_graph_from_this_process_and_leaves_the_rest_to_the_queue() {
    let (stack, settings, trail) = stack().await;
    stack.graph.put(Simulated::failed_request(id(1), stack.graph.now()));
    let folder = Folder::new();
    let run = |more: &str| {
        folder.run_with(&words(&format!("run {} --target assignmentRequest {more}", id(1))), &settings, None)
    };
    let ran = run("--json");
    let answer = serde_json::from_str::<Value>(&ran.stdout).unwrap();
    assert_eq!(
        (ran.code, &answer["status"], &answer["httpStatus"]),
        (0, &json!("accepted"), &json!(202)),
        "{ran:?}"
    );
    assert_eq!(depth(&stack.sqs.client(), &stack.sqs.queue_url).await.unwrap().total(), 1);
    let key = Target { kind: REQUEST, id: id(1) }.key(trail.tenant());
    assert_eq!(
        trail.history(key, regrant::trail::READING_PATIENCE).await.unwrap().records[0].by.function,
        "regrant"
    );
    assert_eq!(run("--wait --timeout 1s").code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_refuses_a_clock_that_is_off_and_calls_nobody() {
    let (stack, mut settings, _) = stack().await;
    let stub = Stub::start([Answer::new(401, "").with("Date", "Sun, 06 Nov 2044 08:49:37 GMT")]).await;
    settings.retain(|(name, _)| *name != "GRAPH_ENDPOINT");
    settings.push(("GRAPH_ENDPOINT", stub.url.to_string()));
    let ran = Folder::new().run_with(&["run", EXAMPLE, "--target", "assignment"], &settings, None);
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    assert!(
        ran.stderr.starts_with("error: this machine's clock is ") && ran.stderr.contains(" behind Graph's"),
        "{ran:?}"
    );
    assert_eq!(depth(&stack.sqs.client(), &stack.sqs.queue_url).await.unwrap().total(), 0);
    assert_eq!(stub.take_seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_of_the_help_works() {
    let (stack, mut settings, trail) = stack().await;
    let folder = Folder::new();
    let example = || Story::of(REQUEST, Guid::parse(EXAMPLE).unwrap());
    let told = |at| {
        let story = example().attempt(at, "r-1", 1, Outcome::Accepted, 202);
        story.observe(at + SignedDuration::from_mins(1), "r-1", 1, Verdict::Delivered)
    };
    with_database(&folder.path("regrant-audit.db"), async |_, trail| {
        small_trail(trail).await;
        told(minute(1)).append_to(trail).await;
    })
    .await;
    settled_trail(&trail).await;
    told(now() - SignedDuration::from_hours(1)).append_to(&trail).await;
    stack.graph.put(Simulated::failed_request(Guid::parse(EXAMPLE).unwrap(), stack.graph.now()));
    let swept = json!({ "found": 0, "undriven": 0, "sent": 0, "leftOut": {}, "notSent": [], "overLimit": 0, "complete": true });
    let lambda = Stub::start([
        Answer::json(200, &json!({ "results": [{ "status": "accepted" }] })),
        Answer::json(200, &swept),
    ])
    .await;
    settings.push(("AWS_ENDPOINT_URL_LAMBDA", lambda.url.to_string()));
    std::fs::write(folder.path("failed.csv"), format!("id\n{EXAMPLE}\n")).unwrap();
    let line = json!({ "id": EXAMPLE, "target": "assignment" }).to_string();
    std::fs::write(folder.path("requests.jsonl"), line).unwrap();
    let manifest = ["export", "-o", "march.jsonl", "--manifest", "march-manifest.json"];
    assert_eq!(folder.run_with(&manifest, &settings, None).code, 0);
    std::fs::create_dir(folder.path("events")).unwrap();
    for name in ["sqs-batch.json", "direct-one.json"] {
        let event = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(name);
        std::fs::copy(event, folder.path("events").join(name)).unwrap();
    }
    let mut ran = 0;
    let fake = Fake::start().await;
    let doctors = [fake.machine(), here(&fake)].concat();
    for command in [
        "verify",
        "export",
        "history",
        "status",
        "open",
        "report",
        "submit",
        "run",
        "cancel",
        "completions",
        "doctor",
        "sweep",
        "local",
    ] {
        // It asks more services than the stack has.
        let settings = if command == "doctor" { &doctors } else { &settings };
        let help = folder.run(&format!("{command} --help")).stdout;
        let examples = help
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| line.starts_with("regrant "));
        for example in examples {
            // What comes behind a pipe is the reader's affair.
            let example = example.split(" | ").next().unwrap();
            let Ran { code, stdout, stderr } = shell(&folder, example, settings);
            assert!([0, 3, 4].contains(&code), "{example}: {code}\n{stdout}{stderr}");
            ran += 1;
        }
        assert!(help.contains("Exit codes:") || command == "completions", "{help}");
    }
    assert_eq!(ran, 30);
}

fn shell(folder: &Folder, line: &str, settings: &[(&'static str, String)]) -> Ran {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_regrant"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder.path("")).env_clear().env("PATH", path);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_that_goes_away_is_a_quiet_end() {
    let folder = folder_with_trail().await;
    for command in [
        "export --db audit.db",
        "verify --db audit.db",
        "history 00000002-acc4-43cc-bcf1-7c1c4a2c073b --db audit.db",
    ] {
        let ran = shell(&folder, &format!("(sleep 0.2; regrant {command}; echo $? >&2) | true"), &[]);
        let last = ran.stderr.lines().last().unwrap();
        assert_eq!((last, ran.stderr.contains("rror")), ("0", false), "{command}: {ran:?}");
    }
}
