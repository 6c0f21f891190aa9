//! `regrant doctor` against a deployment that is well, and against the same with one fault at a time.

use std::collections::BTreeMap;

use regrant::local::AUDIT_TABLE;
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table};
use regrant::local::{Options, Stack};
use serde_json::{Value, json};

use super::command_line::{Folder, Ran};
use super::doctor_aws::{CLIENT, Deployment, Fake, SECRET, TENANT, queue_arn, table_arn};
use super::made::{TENANT as MADE_TENANT, small_trail, with_database};
use super::stub::closed_port;

const ALL: &[&str] = &["doctor", "--worker", "worker", "--sweep", "sweep", "--report", "report"];

/// Level and text of each check, by its name.
type Findings = BTreeMap<String, (String, String)>;

fn findings(ran: &Ran) -> Findings {
    let rows = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = rows.map(|row| {
        let mended = text(&row, "mend");
        assert_eq!(
            ["warning", "failed"].contains(&&*text(&row, "level")),
            !mended.is_empty(),
            "what is wrong says how to mend it, and nothing else does: {row}"
        );
        (text(&row, "check"), (text(&row, "level"), format!("{}. {mended}", text(&row, "what"))))
    });
    let rows = rows.collect::<Vec<_>>();
    let by_name = rows.iter().cloned().collect::<Findings>();
    assert_eq!(rows.len(), by_name.len(), "a check is named twice: {rows:#?}");
    by_name
}

fn doctor(settings: &[(&str, String)], arguments: &[&str]) -> Ran {
    let ran = Folder::new().run_with(arguments, settings, None);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!said.contains("canary") && !said.contains("eyJ"), "a secret was printed: {said}");
    ran
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_deployment_is_all_ok_and_nothing_is_changed() {
    let fake = Fake::start().await;
    let ran = doctor(&fake.machine(), ALL);
    let text = ran.stdout.replace(&fake.url, "http://fake");
    let (start, rest) = text.split_once(" valid for 59 min ").unwrap();
    let text =
        format!("{start} valid for 59 min …, application{}", rest.split_once(", application").unwrap().1);
    insta::assert_snapshot!(text, @r#"
    ok       identity                 arn:aws:iam::111122223333:user/operator in account 111122223333, region eu-west-1
    skipped  settings.machine         `AUDIT_TABLE`, `QUEUE_URL`, `GRAPH_TENANT_ID` are not set here; those of the functions are used
    ok       settings.worker          table `regrant-audit`, tenant 11111111-acc4-43cc-bcf1-7c1c4a2c073b, application 22222222-acc4-43cc-bcf1-7c1c4a2c073b, credential `secret`
    ok       settings.sweep           table `regrant-audit`, tenant 11111111-acc4-43cc-bcf1-7c1c4a2c073b, application 22222222-acc4-43cc-bcf1-7c1c4a2c073b, credential `secret`
    ok       settings.report          table `regrant-audit`, tenant 11111111-acc4-43cc-bcf1-7c1c4a2c073b
    ok       function.worker          `worker` version $LATEST, provided.al2023 on x86_64, 256 MB, 60 s, log level INFO, changed 2026-11-20T10:00:00.000+0000
    ok       function.sweep           `sweep` version $LATEST, provided.al2023 on x86_64, 256 MB, 300 s, log level INFO, changed 2026-11-20T10:00:00.000+0000
    ok       function.report          `report` version $LATEST, provided.al2023 on x86_64, 256 MB, 300 s, log level INFO, changed 2026-11-20T10:00:00.000+0000
    ok       table                    `regrant-audit` is ACTIVE, about 36 records, encrypted with the key arn:aws:kms:eu-west-1:111122223333:key/k
    ok       table.keys               its key is `pk` (S), `seq` (N)
    ok       table.index              `byDay` by `tenantDay` (S), `at` (S), projecting ALL
    ok       table.capacity           on demand
    ok       table.protection         deletion protection is on
    ok       table.recovery           point-in-time recovery is on
    ok       table.expiry             time to live is off
    ok       rights.worker.table      may `dynamodb:PartiQLInsert`, `dynamodb:Query`
    ok       rights.worker.appendOnly can add records and neither change nor remove one
    ok       rights.worker.queue      may `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:ChangeMessageVisibility`, `sqs:GetQueueAttributes`, `sqs:SendMessage`
    ok       rights.worker.secret     may `secretsmanager:GetSecretValue`
    ok       rights.sweep.table       may `dynamodb:PartiQLInsert`, `dynamodb:Query`
    ok       rights.sweep.appendOnly  can add records and neither change nor remove one
    ok       rights.sweep.index       may `dynamodb:Query`
    ok       rights.sweep.queue       may `sqs:SendMessage`
    ok       rights.sweep.secret      may `secretsmanager:GetSecretValue`
    ok       rights.report.table      may `dynamodb:Query`
    ok       rights.report.appendOnly can neither add, change nor remove a record
    ok       rights.report.index      may `dynamodb:Query`
    ok       queue                    `http://fake/111122223333/regrant-requests`, 3 messages waiting
    ok       queue.retention          messages are kept for 14 d
    ok       queue.visibility         420 s, the worker's time-out is 60 s
    ok       queue.inFlight           7 of 120000 messages
    ok       queue.encryption         encryption is on
    ok       queue.redrive            to `regrant-dead` after 1000 receives
    ok       queue.deadLetters        none in `regrant-dead`, kept for 14 d
    ok       source                   enabled, batches of 10, gathered for up to 1 s
    ok       source.partial           partial batch responses are on
    ok       source.concurrency       at most 5 functions at once
    ok       token                    had by client secret in Secrets Manager, with the function's settings, valid for 59 min …, application 22222222-acc4-43cc-bcf1-7c1c4a2c073b, tenant 11111111-acc4-43cc-bcf1-7c1c4a2c073b, audience https://graph.microsoft.com, roles EntitlementManagement.ReadWrite.All
    ok       graph                    lets the application list the failed requests
    ok       clock                    this machine's clock agrees with Graph's
    40 checks: 39 ok, 0 warnings, 0 failed, 1 skipped
    "#);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let log = fake.take_log();
    let reads = ["Get", "Describe", "List", "Simulate", "token", "root", "list"];
    for operation in &log {
        let name = operation.split_once(':').unwrap().1;
        assert!(reads.iter().any(|read| name.starts_with(read)), "{operation} may change something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_told_by_its_own_check_and_no_other() {
    type Case = (&'static str, fn(&mut Deployment), &'static [(&'static str, &'static str, &'static str)]);
    let cases: &[Case] = &[
        (
            "recovery off",
            |d| d.recovery = "DISABLED",
            &[("table.recovery", "failed", "update-continuous-backups")],
        ),
        (
            "time to live",
            |d| d.time_to_live = "ENABLED",
            &[("table.expiry", "failed", "DynamoDB itself would delete")],
        ),
        (
            "no protection",
            |d| table(d)["DeletionProtectionEnabled"] = json!(false),
            &[("table.protection", "failed", "--deletion-protection-enabled")],
        ),
        (
            "provisioned",
            |d| table(d)["BillingModeSummary"] = json!({ "BillingMode": "PROVISIONED" }),
            &[("table.capacity", "warning", "PAY_PER_REQUEST")],
        ),
        (
            "wrong type of a key",
            |d| table(d)["AttributeDefinitions"][2]["AttributeType"] = json!("S"),
            &[("table.keys", "failed", "its key is `pk` (S), `seq` (S): regrant writes under")],
        ),
        (
            "wrong key",
            |d| table(d)["KeySchema"][0]["AttributeName"] = json!("id"),
            &[("table.keys", "failed", "`id` (?)")],
        ),
        (
            "no index",
            |d| table(d)["GlobalSecondaryIndexes"] = json!([]),
            &[("table.index", "failed", "no index `byDay`")],
        ),
        (
            "index without the records",
            |d| table(d)["GlobalSecondaryIndexes"][0]["Projection"]["ProjectionType"] = json!("KEYS_ONLY"),
            &[("table.index", "failed", "projecting KEYS_ONLY")],
        ),
        (
            "index not filled yet",
            |d| table(d)["GlobalSecondaryIndexes"][0]["IndexStatus"] = json!("CREATING"),
            &[("table.index", "warning", "not active yet")],
        ),
        (
            "table going",
            |d| table(d)["TableStatus"] = json!("DELETING"),
            &[("table", "failed", "is DELETING")],
        ),
        (
            "put allowed",
            |d| d.allow("Worker", "dynamodb:PutItem", table_arn()),
            &[("rights.worker.appendOnly", "failed", "the worker may `dynamodb:PutItem` on")],
        ),
        (
            "sweep may delete",
            |d| d.allow("Sweep", "dynamodb:PartiQLDelete", table_arn()),
            &[("rights.sweep.appendOnly", "failed", "not append-only")],
        ),
        (
            "report may insert",
            |d| d.allow("Report", "dynamodb:PartiQLInsert", table_arn()),
            &[("rights.report.appendOnly", "failed", "the report may `dynamodb:PartiQLInsert`")],
        ),
        (
            "worker may not insert",
            |d| d.deny("Worker", "dynamodb:PartiQLInsert"),
            &[("rights.worker.table", "failed", "may not `dynamodb:PartiQLInsert` on")],
        ),
        (
            "sweep may not read the index",
            |d| {
                d.deny("Sweep", "dynamodb:Query");
                d.allow("Sweep", "dynamodb:Query", table_arn());
            },
            &[("rights.sweep.index", "failed", "/index/byDay`")],
        ),
        (
            "worker may not put off",
            |d| d.deny("Worker", "sqs:ChangeMessageVisibility"),
            &[("rights.worker.queue", "failed", "may not `sqs:ChangeMessageVisibility`")],
        ),
        (
            "worker may not read the secret",
            |d| d.deny("Worker", "secretsmanager:GetSecretValue"),
            &[("rights.worker.secret", "failed", "secretsmanager:GetSecretValue")],
        ),
        (
            "role gone",
            |d| drop(d.allowed.remove("Report")),
            &[
                ("rights.report", "failed", "there is no role"),
                ("rights.report.table", "", ""),
                ("rights.report.appendOnly", "", ""),
                ("rights.report.index", "", ""),
            ],
        ),
        (
            "visibility too short",
            |d| queue(d)["VisibilityTimeout"] = json!("359"),
            &[("queue.visibility", "failed", "VisibilityTimeout=360")],
        ),
        (
            "kept too short",
            |d| queue(d)["MessageRetentionPeriod"] = json!("345600"),
            &[("queue.retention", "failed", "kept for 4 d")],
        ),
        (
            "no redrive",
            |d| drop(queue(d).as_object_mut().unwrap().remove("RedrivePolicy")),
            &[("queue.redrive", "failed", "no dead-letter queue"), ("queue.deadLetters", "", "")],
        ),
        (
            "dead too early",
            |d| {
                let policy = queue(d)["RedrivePolicy"].as_str().unwrap().replace("1000", "\"5\"");
                queue(d)["RedrivePolicy"] = json!(policy);
            },
            &[("queue.redrive", "failed", "after 5 receives")],
        ),
        (
            "dead letters kept shorter",
            |d| d.dead_letters.as_mut().unwrap()["MessageRetentionPeriod"] = json!("345600"),
            &[("queue.deadLetters", "failed", "would be gone at once")],
        ),
        (
            "dead letters",
            |d| d.dead_letters.as_mut().unwrap()["ApproximateNumberOfMessages"] = json!("2"),
            &[("queue.deadLetters", "warning", "2 messages in `regrant-dead`")],
        ),
        (
            "no dead-letter queue",
            |d| d.dead_letters = None,
            &[("queue.deadLetters", "failed", "no queue `regrant-dead`")],
        ),
        (
            "many in flight",
            |d| queue(d)["ApproximateNumberOfMessagesNotVisible"] = json!("119999"),
            &[("queue.inFlight", "warning", "119999 messages, near")],
        ),
        (
            "too many in flight",
            |d| queue(d)["ApproximateNumberOfMessagesNotVisible"] = json!("120000"),
            &[("queue.inFlight", "failed", "hands out nothing more")],
        ),
        (
            "not encrypted",
            |d| queue(d)["SqsManagedSseEnabled"] = json!("false"),
            &[("queue.encryption", "failed", "SqsManagedSseEnabled=true")],
        ),
        (
            "first in first out",
            |d| queue(d)["FifoQueue"] = json!("true"),
            &[("queue", "failed", "holds up its whole group")],
        ),
        (
            "paused",
            |d| d.mappings[0]["State"] = json!("Disabled"),
            &[(
                "source",
                "warning",
                "update-event-source-mapping --uuid 0a1b2c3d-acc4-43cc-bcf1-7c1c4a2c073b --enabled",
            )],
        ),
        (
            "whole batches",
            |d| d.mappings[0]["FunctionResponseTypes"] = json!([]),
            &[("source.partial", "failed", "deletes every message of a batch")],
        ),
        (
            "unbounded",
            |d| d.mappings[0]["ScalingConfig"] = json!(null),
            &[("source.concurrency", "warning", "nothing bounds")],
        ),
        (
            "no event source",
            |d| d.mappings.clear(),
            &[
                ("source", "failed", "nothing brings the messages"),
                ("source.partial", "", ""),
                ("source.concurrency", "", ""),
            ],
        ),
        (
            "fed from elsewhere too",
            |d| {
                let other = queue_arn() + "-old";
                let mut mapping = d.mappings[0].clone();
                mapping["EventSourceArn"] = json!(other);
                d.mappings.push(mapping);
            },
            &[("source.others", "warning", "regrant-requests-old")],
        ),
        (
            "old runtime",
            |d| d.functions.get_mut("worker").unwrap()["Runtime"] = json!("provided.al2"),
            &[("function.worker", "failed", "built for `provided.al2023`")],
        ),
        (
            "failed update",
            |d| d.functions.get_mut("sweep").unwrap()["LastUpdateStatus"] = json!("Failed"),
            &[("function.sweep", "failed", "the last change of `sweep` failed")],
        ),
        (
            "wrong value",
            |d| d.variables("report")["WINDOW"] = json!("14"),
            &[("settings.report", "failed", "`WINDOW` must be a whole number and")],
        ),
        (
            "misspelt name",
            |d| d.variables("worker")["MAX_ATEMPTS"] = json!("9"),
            &[("settings.worker.names", "warning", "worker does not know `MAX_ATEMPTS`")],
        ),
        (
            "secret in the open",
            |d| {
                let variables = d.variables("worker");
                variables["GRAPH_CLIENT_SECRET"] = json!(SECRET);
                variables["GRAPH_SECRET_ID"] = json!("");
            },
            &[
                ("settings.worker.secret", "warning", "whoever may read its configuration reads it"),
                ("rights.worker.secret", "", ""),
                ("token", "ok", "had by client secret, "),
            ],
        ),
        (
            "call longer than the function",
            |d| d.variables("worker")["CALL_TIMEOUT"] = json!("59s"),
            &[("settings.worker", "warning", "`CALL_TIMEOUT` is 59 s")],
        ),
        (
            "another tenant",
            |d| d.variables("report")["GRAPH_TENANT_ID"] = json!(CLIENT),
            &[
                ("settings.report", "ok", CLIENT),
                (
                    "settings.report.same",
                    "failed",
                    "the report works on something else than the worker: `GRAPH_TENANT_ID`",
                ),
            ],
        ),
        (
            "refused credential",
            |d| {
                d.token = Err(
                    json!({ "error": "invalid_client", "error_codes": [7000222], "error_description": SECRET }),
                )
            },
            &[("token", "failed", "the client secret has expired"), ("graph", "skipped", "without a token")],
        ),
        (
            "no roles in the token",
            |d| drop(claims(d).remove("roles")),
            &[("token", "ok", "no roles: right where an entitlement management role")],
        ),
        (
            "only reading",
            |d| drop(claims(d).insert("roles".to_owned(), json!(["EntitlementManagement.Read.All"]))),
            &[("token", "warning", "none of them allows to reprocess")],
        ),
        (
            "token of another tenant",
            |d| drop(claims(d).insert("tid".to_owned(), json!(CLIENT))),
            &[("token", "failed", "not the application and tenant")],
        ),
        (
            "no right in Graph",
            |d| d.graph_status = 403,
            &[(
                "graph",
                "failed",
                "HTTP 403, code `UnknownError`, request id r-1: the application lacks the permission",
            )],
        ),
        ("Graph throttles", |d| d.graph_status = 429, &[("graph", "warning", "throttled")]),
        ("Graph is away", |d| d.graph_status = 503, &[("graph", "failed", "HTTP 503")]),
        ("Graph ahead", |d| d.ahead_secs = 90, &[("clock", "failed", "behind Graph's")]),
        ("Graph behind", |d| d.ahead_secs = -90, &[("clock", "failed", "ahead of Graph's")]),
        ("a little off", |d| d.ahead_secs = 20, &[]),
        ("Graph without $top", |d| d.without_top = true, &[]),
        (
            "a machine that may describe no table",
            |d| drop(d.refused.insert("dynamodb:DescribeTable")),
            &[
                ("table", "warning", "may not `dynamodb:DescribeTable`"),
                ("table.keys", "", ""),
                ("table.index", "", ""),
                ("table.capacity", "", ""),
                ("table.protection", "", ""),
            ],
        ),
        (
            "a machine that may not read the secret",
            |d| drop(d.refused.insert("secretsmanager:GetSecretValue")),
            &[("token", "warning", "may not do what the function may"), ("graph", "skipped", "")],
        ),
        (
            "a machine that may not ask who it is",
            |d| drop(d.refused.insert("sts:GetCallerIdentity")),
            &[("identity", "warning", "may not `sts:GetCallerIdentity`")],
        ),
    ];
    let fake = Fake::start().await;
    let (machine, arguments) = (fake.machine(), with(ALL, &["--json"]));
    let healthy = findings(&doctor(&machine, &arguments));
    for (name, harm, expected) in cases {
        *fake.deployment.lock().unwrap() = Deployment::healthy(&fake.url);
        harm(&mut fake.deployment.lock().unwrap());
        let ran = doctor(&machine, &arguments);
        let mut found = findings(&ran);
        let mut should = healthy.clone();
        for (check, level, text) in *expected {
            let row = found.remove(*check);
            should.remove(*check);
            match row {
                None => assert_eq!(*level, "", "{name}: {check} is not there: {ran:?}"),
                Some(row) => assert!(
                    row.0 == *level && row.1.contains(text),
                    "{name}: {check} should be {level} with \"{text}\", is {row:?}"
                ),
            }
        }
        let unlike = found.iter().filter(|(check, row)| {
            // A harmless difference of seconds or of a told value is none.
            should.get(*check).is_none_or(|healthy| healthy.0 != row.0)
        });
        assert_eq!(unlike.collect::<Vec<_>>(), Vec::new(), "{name}: others changed too");
        assert!(should.keys().all(|check| found.contains_key(check)), "{name}: {should:?} {found:?}");
        let failed = expected.iter().any(|(_, level, _)| *level == "failed");
        assert_eq!(ran.code, if failed { 3 } else { 0 }, "{name}: {ran:?}");
    }
}

fn table(deployment: &mut Deployment) -> &mut Value {
    deployment.table.as_mut().unwrap()
}

fn queue(deployment: &mut Deployment) -> &mut Value {
    deployment.queue.as_mut().unwrap()
}

fn claims(deployment: &mut Deployment) -> &mut serde_json::Map<String, Value> {
    deployment.token.as_mut().unwrap().as_object_mut().unwrap()
}

/// The findings that are not ok, as `level check`; a machine may be without settings of its own.
fn not_ok(ran: &Ran) -> Vec<String> {
    let is_odd =
        |check: &str, level: &str| level != "ok" && (check, level) != ("settings.machine", "skipped");
    let rows = findings(ran).into_iter().filter(|(check, (level, _))| is_odd(check, level));
    rows.map(|(check, (level, _))| format!("{level} {check}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_as_a_whole_is_said_once() {
    let fake = Fake::start().await;
    let machine = fake.machine();
    let run = |harm: &dyn Fn(&mut Deployment), arguments: &[&str]| {
        *fake.deployment.lock().unwrap() = Deployment::healthy(&fake.url);
        harm(&mut fake.deployment.lock().unwrap());
        doctor(&machine, &with(arguments, &["--json"]))
    };
    assert_eq!(not_ok(&run(&|d| d.table = None, ALL)), ["failed table"]);
    assert_eq!(not_ok(&run(&|d| d.queue = None, ALL)), ["failed queue"]);
    let no_worker = run(&|d| drop(d.functions.remove("worker")), ALL);
    assert_eq!(not_ok(&no_worker), ["failed function.worker", "skipped queue.visibility", "skipped source"]);
    let no_right = run(&|d| drop(d.refused.insert("iam:SimulatePrincipalPolicy")), ALL);
    assert_eq!(
        (no_right.code, not_ok(&no_right)),
        (
            0,
            vec![
                "warning rights.report".to_owned(),
                "warning rights.sweep".to_owned(),
                "warning rights.worker".to_owned(),
            ]
        )
    );
    let expired = run(&|d| d.bad_credentials = Some("ExpiredToken"), ALL);
    let levels = findings(&expired);
    assert_eq!((expired.code, &*levels["identity"].0), (3, "failed"));
    assert!(
        levels["identity"].1.contains("refuses the credentials of this machine: HTTP 403, `ExpiredToken`")
    );
    let failed = levels.values().filter(|(level, _)| level == "failed").count();
    // The other is that this machine has no settings of its own.
    assert_eq!(failed, 2, "{levels:#?}");
    let everything = [
        "dynamodb:DescribeTable",
        "dynamodb:DescribeContinuousBackups",
        "dynamodb:DescribeTimeToLive",
        "sqs:GetQueueAttributes",
        "lambda:GetFunctionConfiguration",
        "lambda:ListEventSourceMappings",
        "iam:SimulatePrincipalPolicy",
        "sts:GetCallerIdentity",
        "secretsmanager:GetSecretValue",
    ];
    *fake.deployment.lock().unwrap() = Deployment::healthy(&fake.url);
    fake.deployment.lock().unwrap().refused = everything.into();
    let settings = [machine.clone(), here(&fake)].concat();
    let nothing = doctor(&settings, &with(ALL, &["--json"]));
    assert_eq!(nothing.code, 1, "{nothing:?}");
    assert_eq!(nothing.stderr, "error: nothing of the deployment could be looked at\n");
    let rights = findings(&nothing).into_values().filter(|(_, text)| text.contains("may not `")).count();
    assert_eq!(rights, 8, "{nothing:?}");
}

/// What an operator's machine has set.
fn here(fake: &Fake) -> Vec<(&'static str, String)> {
    vec![
        ("AUDIT_TABLE", "regrant-audit".to_owned()),
        ("QUEUE_URL", format!("{}/111122223333/regrant-requests", fake.url)),
        ("GRAPH_TENANT_ID", TENANT.to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_without_credentials_or_region_says_so_once() {
    let fake = Fake::start().await;
    let bare = [("AWS_REGION", "eu-west-1".to_owned()), ("AWS_ENDPOINT_URL", fake.url.clone())];
    for (settings, why) in [
        ([&bare[..], &here(&fake)].concat(), "there are no AWS credentials on this machine"),
        (here(&fake), "no AWS region is set"),
    ] {
        let ran = doctor(&settings, &with(ALL, &["--json"]));
        let found = findings(&ran);
        assert_eq!((ran.code, &*found["identity"].0), (3, "failed"), "{ran:?}");
        assert!(found["identity"].1.contains(why), "{ran:?}");
        assert_eq!(not_ok(&ran).iter().filter(|row| row.starts_with("failed")).count(), 1, "{ran:?}");
        assert_eq!(fake.take_log(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_that_works_on_another_table_than_the_worker_is_told() {
    let fake = Fake::start().await;
    let mut settings = [fake.machine(), here(&fake)].concat();
    let ran = doctor(&settings, &["doctor", "--worker", "worker", "--json"]);
    assert_eq!((ran.code, &*findings(&ran)["settings.machine"].0), (0, "ok"), "{ran:?}");
    settings.iter_mut().find(|(name, _)| *name == "AUDIT_TABLE").unwrap().1 = "other-table".to_owned();
    let ran = doctor(&settings, &["doctor", "--worker", "worker", "--json"]);
    let found = findings(&ran);
    assert_eq!((ran.code, &*found["settings.machine.same"].0), (3, "failed"));
    assert!(
        found["settings.machine.same"]
            .1
            .contains("`AUDIT_TABLE` is `other-table`, that of the worker `regrant-audit`")
    );
    // What is deployed is what is judged.
    assert!(found["table"].1.starts_with("`regrant-audit`"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_does_not_answer_leaves_the_other_checks_alone() {
    let fake = Fake::start().await;
    let mut settings = fake.machine();
    settings.push(("AWS_ENDPOINT_URL_DYNAMODB", closed_port().await.to_string()));
    let ran = doctor(&settings, &with(ALL, &["--json"]));
    assert_eq!((ran.code, not_ok(&ran)), (3, vec!["failed table".to_owned()]));
    assert!(findings(&ran)["table"].1.contains("Connection refused"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn federated_credential_is_tried_only_by_the_functions_own_role() {
    let fake = Fake::start().await;
    fake.deployment.lock().unwrap().federate();
    let ran = doctor(&fake.machine(), &with(ALL, &["--json"]));
    let found = findings(&ran);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(not_ok(&ran), ["skipped graph", "skipped token"]);
    assert!(found["token"].1.contains("exists only inside the function"));
    assert_eq!((&*found["rights.worker.federation"].0, &*found["clock"].0), ("ok", "ok"));
    assert!(!fake.take_log().contains(&"sts:GetWebIdentityToken".to_owned()));
    let role = "arn:aws:sts::111122223333:assumed-role/Worker/someone";
    fake.deployment.lock().unwrap().caller = role.to_owned();
    let ran = doctor(&fake.machine(), &with(ALL, &["--json"]));
    assert!(
        findings(&ran)["token"].1.starts_with("had by federation, with the function's settings"),
        "{ran:?}"
    );
    // Without the conditions' values IAM would say no.
    fake.deployment.lock().unwrap().variables("worker")["GRAPH_CLOUD"] = json!("usgov");
    let found = findings(&doctor(&fake.machine(), &with(ALL, &["--json"])));
    assert_eq!(found["rights.worker.federation"].0, "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_in_catalogs_are_asked_for_package_by_package() {
    const MAY: &str = "33333333-acc4-43cc-bcf1-7c1c4a2c073b";
    const MAY_NOT: &str = "44444444-acc4-43cc-bcf1-7c1c4a2c073b";
    let fake = Fake::start().await;
    fake.deployment.lock().unwrap().reach = Some(vec![MAY]);
    let ran = doctor(&fake.machine(), &with(ALL, &["--json"]));
    assert!(findings(&ran)["graph"].1.contains("name the packages in `SWEEP_PACKAGES`"), "{ran:?}");
    fake.deployment.lock().unwrap().variables("sweep")["SWEEP_PACKAGES"] = json!(MAY);
    let ran = doctor(&fake.machine(), ALL);
    assert!(
        ran.code == 0 && ran.stdout.contains(&format!("list the requests of access package {MAY}\n")),
        "{ran:?}"
    );
    fake.deployment.lock().unwrap().variables("sweep")["SWEEP_PACKAGES"] = json!(format!("{MAY}, {MAY_NOT}"));
    let ran = doctor(&fake.machine(), ALL);
    let failed = ran.stdout.lines().filter(|line| line.starts_with("failed")).collect::<Vec<_>>();
    assert!(failed.len() == 1 && failed[0].contains(MAY_NOT), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn insert_works_once_and_leaves_the_trail_as_it_is() {
    let folder = Folder::new();
    with_database(&folder.path("audit.db"), async |_, trail| small_trail(trail).await).await;
    let before = ["verify", "export", "status", "open"]
        .map(|command| folder.run(&format!("{command} --db audit.db")).stdout);
    let fake = Fake::start().await;
    let server = DynamoDbServer::start(&Database::File(folder.path("audit.db"))).await.unwrap();
    let mut settings = [fake.machine(), here(&fake)].concat();
    settings.push(("AWS_ENDPOINT_URL_DYNAMODB", server.url.clone()));
    for _ in 0..2 {
        let found = findings(&doctor(&settings, &["doctor", "--insert", "--json"]));
        assert_eq!(found["insert"].0, "ok", "{found:#?}");
        assert!(
            found["insert"]
                .1
                .contains("went in once and was refused the second time; it stays, under `doctor#")
        );
        // Another implementation than the fake agrees on the shape of the table.
        for check in ["table", "table.keys", "table.index", "table.capacity"] {
            assert_eq!(found[check].0, "ok", "{found:#?}");
        }
    }
    let items = server.client().scan().table_name(AUDIT_TABLE).send().await.unwrap().items.unwrap();
    let probes = items.iter().filter(|item| item["pk"].as_s().unwrap().starts_with("doctor#"));
    for probe in probes.clone() {
        assert!(!probe.contains_key("tenantDay") && !probe.contains_key("at") && probe.contains_key("note"));
    }
    assert_eq!(probes.count(), 2);
    server.stop().await.unwrap();
    let after =
        ["verify", "export", "status", "open"].map(|command| folder.run(&format!("{command} --db audit.db")));
    assert_eq!(after[0].code, 0);
    let said = after[0].stdout.replace("Not records: 2 items of `regrant doctor --insert`.\n", "");
    assert_ne!(said, after[0].stdout);
    assert_eq!(said, before[0]);
    assert!(said.contains(MADE_TENANT));
    for (after, before) in after.iter().zip(&before).skip(1) {
        let sorted = |text: &str| {
            let mut lines = text.lines().map(str::to_owned).collect::<Vec<_>>();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&after.stdout), sorted(before));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn insert_into_a_table_that_overwrites_fails() {
    let fake = Fake::start().await;
    let settings = [fake.machine(), here(&fake)].concat();
    fake.deployment.lock().unwrap().takes_twice = true;
    let ran = doctor(&settings, &["doctor", "--insert", "--json"]);
    assert_eq!((ran.code, &*findings(&ran)["insert"].0), (3, "failed"), "{ran:?}");
    fake.deployment.lock().unwrap().refused = ["dynamodb:ExecuteStatement"].into();
    let ran = doctor(&settings, &["doctor", "--insert", "--json"]);
    assert!(findings(&ran)["insert"].1.contains("may not `dynamodb:PartiQLInsert`"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_stack_is_looked_at_with_this_machines_settings() {
    let stack = Stack::start(&Options::default()).await.unwrap();
    create_audit_table(&stack.dynamodb.client(), AUDIT_TABLE).await.unwrap();
    let fake = Fake::start().await;
    let mut settings = stack.environment();
    settings.push(("AWS_ENDPOINT_URL_STS", fake.url.clone()));
    let found = findings(&doctor(&settings, &["doctor", "--json"]));
    for check in ["settings.machine", "table.keys", "table.index", "queue.redrive", "token", "clock"] {
        assert_eq!(found[check].0, "ok", "{check}: {found:#?}");
    }
}
