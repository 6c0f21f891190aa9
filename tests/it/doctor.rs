//! `regrant doctor` against a deployment that is well, and where much is missing at once. Single faults: see
//! `doctor_faults`.

use std::collections::BTreeMap;

use regrant::local::AUDIT_TABLE;
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table};
use regrant::local::{Options, Stack};
use serde_json::{Value, json};

use super::command_line::{Folder, Ran};
use super::doctor_aws::{Deployment, Fake, TENANT};
use super::made::{TENANT as MADE_TENANT, small_trail, with_database};
use super::stub::closed_port;

pub const ALL: &[&str] = &["doctor", "--worker", "worker", "--sweep", "sweep", "--report", "report"];

/// Level and text of each check, by its name.
pub type Findings = BTreeMap<String, (String, String)>;

pub fn findings(ran: &Ran) -> Findings {
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

pub fn doctor(settings: &[(&str, String)], arguments: &[&str]) -> Ran {
    let ran = Folder::new().run_with(arguments, settings, None);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!said.contains("canary") && !said.contains("eyJ"), "a secret was printed: {said}");
    ran
}

pub fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
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
    ok       rights.sweep.queue       may `sqs:SendMessage`, `sqs:GetQueueAttributes`
    ok       rights.sweep.secret      may `secretsmanager:GetSecretValue`
    ok       rights.report.table      may `dynamodb:Query`
    ok       rights.report.appendOnly can neither add, change nor remove a record
    ok       rights.report.index      may `dynamodb:Query`
    ok       rights.report.bucket     may `s3:PutObject`
    ok       rights.key               may `kms:Decrypt` for the table: worker, sweep, report
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
    42 checks: 41 ok, 0 warnings, 0 failed, 1 skipped
    "#);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let log = fake.take_log();
    let reads = ["Get", "Describe", "List", "Simulate", "token", "root", "list"];
    for operation in &log {
        let name = operation.split_once(':').unwrap().1;
        assert!(reads.iter().any(|read| name.starts_with(read)), "{operation} may change something");
    }
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
    let no_right = run(&|d| d.refuse("iam:SimulatePrincipalPolicy"), ALL);
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
    assert_eq!(failed, 1, "{levels:#?}");
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
pub fn here(fake: &Fake) -> Vec<(&'static str, String)> {
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
    assert!(
        found["graph.sweep"]
            .1
            .starts_with("a dry run of `sweep` got a token, and Graph listed 4 failed requests")
    );
    let calls = |log: &[String], what: &str| log.iter().filter(|operation| *operation == what).count();
    let log = fake.take_log();
    assert_eq!((calls(&log, "sts:GetWebIdentityToken"), calls(&log, "lambda:InvokeFunction")), (0, 1));
    doctor(&fake.machine(), &["doctor", "--worker", "worker"]);
    assert_eq!(calls(&fake.take_log(), "lambda:InvokeFunction"), 0, "only with --sweep");
    let role = "arn:aws:sts::111122223333:assumed-role/Worker/someone";
    fake.deployment.lock().unwrap().caller = role.to_owned();
    let ran = doctor(&fake.machine(), &with(ALL, &["--json"]));
    assert!(
        findings(&ran)["token"].1.starts_with("had by federation, with the function's settings"),
        "{ran:?}"
    );
    fake.take_log();
    for (harm, level, text) in [
        (
            json!({ "found": 2, "complete": false, "why": "Graph throttles" }),
            "warning",
            "not everything: Graph throttles",
        ),
        (json!({ "results": [] }), "failed", "does not answer as a sweep"),
    ] {
        fake.deployment.lock().unwrap().dry_run = Ok(harm);
        let found = findings(&doctor(&fake.machine(), &with(ALL, &["--json"])));
        assert!(found["graph.sweep"].0 == level && found["graph.sweep"].1.contains(text), "{found:#?}");
    }
    fake.deployment.lock().unwrap().dry_run = Err("nothing can be read: no token for Graph: AADSTS700213");
    let ran = doctor(&fake.machine(), &with(ALL, &["--json"]));
    let found = findings(&ran);
    assert_eq!((ran.code, &*found["graph.sweep"].0), (3, "failed"));
    assert!(found["graph.sweep"].1.contains("AADSTS700213. do what it says; in Entra"), "{ran:?}");
    assert!(found["graph.sweep"].1.ends_with("this one's subject is arn:aws:iam::111122223333:role/Sweep"));
    // The function's own lack of rights is not this machine's.
    fake.deployment.lock().unwrap().dry_run =
        Err("AccessDeniedException: not authorized to perform: sts:GetWebIdentityToken");
    let found = findings(&doctor(&fake.machine(), &with(ALL, &["--json"])));
    assert!(
        found["graph.sweep"].0 == "failed" && found["graph.sweep"].1.contains("sts:GetWebIdentityToken"),
        "{found:#?}"
    );
    fake.deployment.lock().unwrap().refuse("lambda:InvokeFunction");
    let found = findings(&doctor(&fake.machine(), &with(ALL, &["--json"])));
    assert!(
        found["graph.sweep"].0 == "warning"
            && found["graph.sweep"].1.contains("may not `lambda:InvokeFunction`")
    );
    // Whatever has not a sweep's settings is never invoked.
    fake.take_log();
    fake.deployment.lock().unwrap().variables("sweep")["QUEUE_URL"] = json!("");
    doctor(&fake.machine(), ALL);
    assert_eq!(calls(&fake.take_log(), "lambda:InvokeFunction"), 0);
    fake.deployment.lock().unwrap().variables("sweep")["QUEUE_URL"] = json!(format!("{}/1/q", fake.url));
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
    // And it says that this is not all.
    assert_eq!(found["function"].0, "warning", "{found:#?}");
    assert!(found["function"].1.contains("--worker, --sweep and --report"));
}
