//! What cannot be used gets clear words and the right exit code from every command that reads the trail.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use jiff::{SignedDuration, Timestamp};
use regrant::domain::chain::{GENESIS, link_hash};
use regrant::domain::record::Outcome;
use regrant::domain::target::TargetKind;
use regrant::local::{AUDIT_TABLE, Options, Stack};
use serde_json::json;

use super::command_line::Folder;
use super::made::{Story, TENANT, id, item, put, request_key, small_trail, with_database};
use super::stub::{Answer, Stub};

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn readers() -> [String; 6] {
    let history = format!("history {}", id(2));
    ["verify", "export", "status", "open", "report --from 2026-03-05 --format json", &history]
        .map(str::to_owned)
}

/// The one that appends, and so reads first.
fn cancel() -> String {
    format!("cancel {} --reason over --by me", id(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_and_empty_periods_are_told() {
    let folder = Folder::new();
    with_database(&folder.path("audit.db"), async |_, trail| small_trail(trail).await).await;
    let tenant = "11111111-acc4-43cc-bcf1-7c1c4a2c073b";
    for (command, expected) in [
        (
            format!("history {}", id(99)),
            format!("there is no record of {} in the trail of tenant {tenant}", id(99)),
        ),
        (
            format!("verify {}", id(99)),
            "nothing to verify: there is no record of that id, period or tenant".to_owned(),
        ),
        (
            "verify --from 2030-01-01".to_owned(),
            "nothing to verify: there is no record of that id, period or tenant".to_owned(),
        ),
        (
            "export --to 2020-01-01".to_owned(),
            "there is no record of that period or tenant to export".to_owned(),
        ),
        (
            format!("cancel {} --reason over --by me", id(99)),
            format!("there is no record of {} in the trail of tenant {tenant}", id(99)),
        ),
        ("status --ticket none".to_owned(), format!("no request in the trail of tenant {tenant} fits")),
    ] {
        let ran = folder.run(&format!("{command} --db audit.db"));
        assert_eq!((ran.code, ran.stderr), (1, format!("error: {expected}\n")), "{command}");
    }
    // A report that nothing happened is a report.
    let ran = folder.run("report --from 2020-01-01 --to 2020-01-02 --format json --db audit.db");
    assert_eq!((ran.code, &*ran.stderr), (0, "note: nothing was recorded in this period\n"));
    for (period, expected) in [
        ("--from 2026-03-02 --to 2026-03-01", "error: the period is empty: "),
        ("--since 0d", "error: the period is empty: "),
        ("--from 2999-01-01", "error: the period "),
        ("--from yesterday", "error: `--from` must be a day like "),
    ] {
        let ran = folder.run(&format!("report {period} --db audit.db"));
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{period}");
        assert!(ran.stderr.starts_with(expected), "{period}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_has_code_two_and_names_everything_at_once() {
    let folder = Folder::new();
    std::fs::write(folder.path("notes.txt"), "not a database").unwrap();
    let settings = "error: the settings are not usable: \
        `AUDIT_TABLE` is not set; it must be a table name: 3 to 255 of `A-Za-z0-9_.-`; \
        `GRAPH_TENANT_ID` is not set; it must be a GUID in the 8-4-4-4-12 form\n";
    for command in readers() {
        let ran = folder.run(&command);
        assert_eq!((ran.code, &*ran.stderr), (2, settings), "{command}");
        let ran = folder.run(&format!("{command} --db missing.db"));
        let expected = "error: `missing.db` is not an audit database: no such file, or it is empty\n";
        assert_eq!((ran.code, &*ran.stderr), (2, expected), "{command}");
        let ran = folder.run(&format!("{command} --db notes.txt"));
        let expected = "error: `notes.txt` exists and is not an audit database: name another file\n";
        assert_eq!((ran.code, &*ran.stderr), (2, expected), "{command}");
    }
    for command in [
        "history nonsense",
        "verify --from tomorrow",
        "status --since 7w",
        "verify --from 2026-03-02 --to 2026-03-01",
    ] {
        assert_eq!(folder.run(command).code, 2, "{command}");
    }
    assert!(!folder.path("missing.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_missing_and_foreign_tables_are_told() {
    let stack = Stack::start(&Options::default()).await.unwrap();
    let client = stack.dynamodb.client();
    let create = client.create_table().table_name("invoices").billing_mode(BillingMode::PayPerRequest);
    let name = AttributeDefinition::builder().attribute_name("n").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("n").key_type(KeyType::Hash);
    let create = create.attribute_definitions(name.build().unwrap()).key_schema(key.build().unwrap());
    create.send().await.unwrap();
    client
        .put_item()
        .table_name("invoices")
        .item("n", AttributeValue::S("1".to_owned()))
        .send()
        .await
        .unwrap();
    let folder = Folder::new();
    for command in readers().into_iter().chain([cancel()]) {
        let run = |name: &'static str, value: &str| {
            let mut settings = stack.environment();
            settings.retain(|(known, _)| *known != name);
            settings.push((name, value.to_owned()));
            folder.run_with(&words(&command), &settings, None)
        };
        let missing = run("AUDIT_TABLE", "nowhere");
        assert_eq!(missing.code, 1);
        assert!(
            missing.stderr.ends_with("there is no table `nowhere` in this account and region\n"),
            "{missing:?}"
        );
        let foreign = run("AUDIT_TABLE", "invoices");
        assert_eq!(foreign.code, 1, "{command}: {foreign:?}");
        assert!(
            foreign.stderr.contains("table `invoices` is not an audit table of regrant: "),
            "{foreign:?}"
        );
        let unreachable = run("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1");
        assert_eq!(unreachable.code, 1, "{command}: {unreachable:?}");
        assert!(unreachable.stderr.contains(&format!("table `{AUDIT_TABLE}`: ")), "{unreachable:?}");
        assert!(unreachable.stderr.contains("onnection refused"), "{unreachable:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_and_refused_credentials_are_told() {
    let folder = Folder::new();
    let reader = "User: arn:aws:iam::111122223333:user/reader is not authorized to perform: dynamodb:Query";
    for (code, expected) in [
        ("AccessDeniedException", format!("no right to read table `{AUDIT_TABLE}`: {reader}\n")),
        ("UnrecognizedClientException", format!("AWS refused the credentials for table `{AUDIT_TABLE}`\n")),
        (
            "InvalidSignatureException",
            format!(
                "AWS refused the credentials for table `{AUDIT_TABLE}`, or this machine's clock is wrong\n"
            ),
        ),
    ] {
        let body = json!({ "__type": format!("com.amazon.coral.service#{code}"), "message": reader });
        let stub = Stub::always(Answer::json(400, &body)).await;
        let mut settings = aws_settings();
        settings.push(("AWS_ENDPOINT_URL_DYNAMODB", stub.url.to_string()));
        for command in readers().into_iter().chain([cancel()]) {
            let ran = folder.run_with(&words(&command), &settings, None);
            assert_eq!((ran.code, &*ran.stdout), (1, ""), "{command}: {ran:?}");
            assert!(
                ran.stderr.starts_with("error: ") && ran.stderr.ends_with(&expected),
                "{command}: {ran:?}"
            );
        }
    }
}

fn aws_settings() -> Vec<(&'static str, String)> {
    let settings = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AUDIT_TABLE", AUDIT_TABLE),
        ("GRAPH_TENANT_ID", TENANT),
    ];
    settings.map(|(name, value)| (name, value.to_owned())).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_from_the_future_break_no_command() {
    let folder = Folder::new();
    let ahead = Timestamp::now() + SignedDuration::from_hours(2);
    with_database(&folder.path("audit.db"), async |_, trail| {
        small_trail(trail).await;
        let story = Story::new(TargetKind::AssignmentRequest, 9);
        story.attempt(ahead, "r-9", 1, Outcome::Accepted, 202).append_to(trail).await;
    })
    .await;
    for (command, code) in [
        ("verify".to_owned(), 0),
        ("export".to_owned(), 0),
        ("status".to_owned(), 4),
        ("open".to_owned(), 0),
        (format!("history {}", id(9)), 0),
        ("report --since 1d".to_owned(), 0),
    ] {
        let ran = folder.run(&format!("{command} --db audit.db"));
        assert_eq!((ran.code, ran.stderr.contains("panicked")), (code, false), "{command}: {ran:?}");
        let warning = "warning: records are dated in the future and not in this report: a clock is ahead";
        assert_eq!(ran.stderr.contains(warning), command.starts_with("report"), "{command}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_newer_version_are_named_and_nothing_panics() {
    let folder = Folder::new();
    with_database(&folder.path("audit.db"), async |client, trail| {
        small_trail(trail).await;
        let key = request_key(1);
        let mut stored = item(client, &key, "1").await;
        let record = stored["record"].as_s().unwrap().replace("\"v\":1", "\"v\":2");
        let hash = link_hash(&key, 1, GENESIS, &record);
        stored.insert("record".to_owned(), AttributeValue::S(record));
        stored.insert("hash".to_owned(), AttributeValue::S(hash));
        put(client, stored).await;
    })
    .await;
    let newer = "`v` is 2, and this version of regrant reads records of version 1: use a newer regrant";
    let report = "report --from 2026-03-05 --to 2026-03-05".to_owned();
    for command in ["status".to_owned(), "open".to_owned(), format!("history {}", id(1)), report, cancel()] {
        let ran = folder.run(&format!("{command} --db audit.db"));
        assert_eq!(ran.code, 1, "{command}: {ran:?}");
        assert!(ran.stderr.contains(newer), "{command}: {ran:?}");
    }
    // What is copied as it is need not be understood; but the chain behind it is broken.
    let export = folder.run("export -o all.jsonl --manifest heads.json --db audit.db");
    assert_eq!(export.code, 3, "{export:?}");
    assert!(std::fs::read_to_string(folder.path("all.jsonl")).unwrap().contains("\"v\":2"));
    let verify = folder.run("verify --db audit.db");
    assert_eq!(verify.code, 3, "the next record no longer continues it: {verify:?}");
    assert!(verify.stderr.contains("1 record of a newer version: the hashes were checked"), "{verify:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_cannot_be_used_fail_the_verification() {
    let folder = Folder::new();
    with_database(&folder.path("audit.db"), async |_, trail| small_trail(trail).await).await;
    assert_eq!(folder.run("export --db audit.db -o x.jsonl --manifest good.json").code, 0);
    let good = std::fs::read_to_string(folder.path("good.json")).unwrap();
    for (text, expected) in [
        (good[..good.len() / 2].to_owned(), "EOF"),
        (good.replace("\"tenantId\":\"1", "\"tenantId\":\"2"), "it is not of tenant 11111111-"),
        (good.replace("\"chains\":4", "\"chains\":5"), "its `heads` are not as many as its `chains` says"),
        (good.replace("regrant/1", "regrant/9"), "its `manifest` is not \"regrant/1\""),
        ("[]".to_owned(), "expected a manifest object"),
    ] {
        std::fs::write(folder.path("bad.json"), text).unwrap();
        let ran = folder.run("verify --db audit.db --against bad.json");
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("error: `bad.json` is not a usable manifest: "), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
    }
    assert_eq!(folder.run("verify --db audit.db --against nowhere.json").code, 1);
}
