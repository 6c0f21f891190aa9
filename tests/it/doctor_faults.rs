//! `regrant doctor` against a deployment with one fault at a time: the check that is meant tells it, and no other.

use serde_json::{Value, json};

use super::doctor::{ALL, doctor, findings, with};
use super::doctor_aws::{ACCOUNT, CLIENT, Deployment, Fake, SECRET, queue_arn, table_arn};

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
                ("rights.report.bucket", "", ""),
            ],
        ),
        (
            "report may write elsewhere only",
            |d| {
                d.deny("Report", "s3:PutObject");
                d.allow("Report", "s3:PutObject", "arn:aws:s3:::regrant-reports/other/*".to_owned());
            },
            &[("rights.report.bucket", "failed", "on `arn:aws:s3:::regrant-reports/reports/doctor`")],
        ),
        (
            "events that may not be put",
            |d| d.variables("worker")["EVENT_BUS"] = json!("default"),
            &[("rights.worker.events", "failed", "event-bus/default`")],
        ),
        (
            "events that may be put",
            |d| {
                d.variables("worker")["EVENT_BUS"] = json!("default");
                let bus = format!("arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/default");
                d.allow("Worker", "events:PutEvents", bus);
            },
            &[("rights.worker.events", "ok", "may `events:PutEvents`")],
        ),
        (
            "report may not use the table's key",
            |d| d.deny("Report", "kms:Decrypt"),
            &[("rights.key", "failed", "key/k`: report; may: worker, sweep. give the role")],
        ),
        (
            "a key that no policy names, as of AWS",
            |d| ["Worker", "Sweep", "Report"].into_iter().for_each(|role| d.deny(role, "kms:Decrypt")),
            &[("rights.key", "skipped", "right if AWS manages it, which `aws kms describe-key")],
        ),
        (
            "a key that DynamoDB owns",
            |d| drop(table(d).as_object_mut().unwrap().remove("SSEDescription")),
            &[("rights.key", "", "")],
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
            |d| d.refuse("dynamodb:DescribeTable"),
            &[
                ("table", "warning", "may not `dynamodb:DescribeTable`"),
                ("table.keys", "", ""),
                ("table.index", "", ""),
                ("table.capacity", "", ""),
                ("table.protection", "", ""),
                ("rights.key", "", ""),
            ],
        ),
        (
            "a machine that may not read the secret",
            |d| d.refuse("secretsmanager:GetSecretValue"),
            &[("token", "warning", "may not do what the function may"), ("graph", "skipped", "")],
        ),
        (
            "a machine that may not ask who it is",
            |d| d.refuse("sts:GetCallerIdentity"),
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
