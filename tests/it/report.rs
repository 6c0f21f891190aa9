//! Reports of a small trail on the embedded DynamoDB: what each format says, byte by byte, and what bad tables get.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the expected files anew.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use regrant::domain::chain::Head;
use regrant::domain::record::Record;
use regrant::domain::report::{Repair, Report, Scope};
use regrant::domain::target::Guid;
use regrant::local::AUDIT_TABLE;
use regrant::local::aws::worker_aws;
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table};
use regrant::render::{csv, html, json, ocsf, table, xlsx};
use regrant::reporting::report;
use regrant::trail::Trail;
use regrant::trail_days::TrailDays;
use serde_json::{Value, json};

const TENANT: &str = "0000aaaa-1111-4222-8333-444455556666";
const PATIENCE: Duration = Duration::from_secs(5);

fn tenant() -> Guid {
    Guid::parse(TENANT).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn scope() -> Scope {
    Scope {
        tenant: tenant(),
        from: at("2026-03-01T00:00:00Z"),
        to: at("2026-03-04T00:00:00Z"),
        now: at("2026-03-04T00:02:00Z"),
        window: SignedDuration::from_hours(14 * 24),
    }
}

fn started(attempt: u32, at: &str, state: &str) -> Value {
    json!({
        "kind": "attemptStarted", "at": at, "attempt": attempt,
        "clientRequestId": format!("{attempt:08x}-0000-4000-8000-00000000c0de"), "method": "POST",
        "path": "/v1.0/x/reprocess", "apiVersion": "v1.0", "cloud": "global", "leaseUntil": at,
        "before": { "state": state, "completedAt": "2026-02-20T08:00:00Z", "observedAt": at },
        "accessPackageId": "2ae646d0-7443-4bff-a373-e91fb2e3eab3",
        "subjectId": "4ab2a2d2-7a05-4197-9a9e-144e5f872cfb",
        "actor": { "clientId": TENANT, "credential": "federated" },
    })
}

fn ended(attempt: u32, at: &str, outcome: &str, status: u16, message: &str) -> Value {
    json!({
        "kind": "attemptEnded", "at": at, "attempt": attempt, "outcome": outcome, "httpStatus": status,
        "clientRequestId": format!("{attempt:08x}-0000-4000-8000-00000000c0de"), "errorMessage": message,
        "errorCode": if status == 400 { "BadRequest" } else { "none" }, "durationMs": 120,
        "graphRequestId": "b0ecd4c7-bbe7-4301-a2f7-f7f862e32125",
    })
}

fn observed(attempt: u32, at: &str, verdict: &str, evidence: &str) -> Value {
    json!({
        "kind": "deliveryObserved", "at": at, "attempt": attempt, "verdict": verdict, "evidence": evidence,
        "state": verdict,
    })
}

/// One target of each ending, and texts that no format may take for its own syntax.
async fn small_trail(trail: &Trail) {
    let request = |id: u32| ("assignmentRequest", format!("{id:08x}-acc4-43cc-bcf1-7c1c4a2c073b"));
    let recovered = vec![
        started(1, "2026-03-01T08:00:00.000Z", "DeliveryFailed"),
        ended(1, "2026-03-01T08:00:01.000Z", "accepted", 202, ""),
        observed(1, "2026-03-01T10:00:00.000Z", "deliveryFailed", "moved"),
        started(2, "2026-03-01T10:05:00.000Z", "DeliveryFailed"),
        ended(2, "2026-03-01T10:05:01.000Z", "accepted", 202, ""),
        observed(2, "2026-03-01T12:00:00.000Z", "delivered", "moved"),
    ];
    append(trail, request(1), "=HYPERLINK(\"https://example.com\")", recovered).await;
    let abandoned = vec![
        started(1, "2026-03-02T08:00:00.000Z", "DeliveryFailed"),
        ended(1, "2026-03-02T08:00:01.000Z", "rejected", 400, "<script>alert(\"x\")</script> & more"),
        json!({ "kind": "requestAbandoned", "at": "2026-03-02T08:00:03.000Z", "why": "rejected" }),
    ];
    append(trail, request(2), "@SUM(A1)", abandoned).await;
    let doubtful = vec![
        started(1, "2026-03-03T23:58:00.000Z", "DeliveryFailed"),
        ended(1, "2026-03-03T23:58:10.000Z", "unknown", 0, "connection closed"),
    ];
    append(trail, request(3), "-1", doubtful).await;
    let assignment = ("assignment", format!("{:08x}-acc4-43cc-bcf1-7c1c4a2c073b", 4));
    let unproven = vec![
        json!({ "kind": "requestReceived", "at": "2026-03-02T09:00:00.000Z", "why": "throttled" }),
        started(1, "2026-03-02T09:10:00.000Z", "Delivered"),
        ended(1, "2026-03-02T09:10:01.000Z", "throttled", 429, ""),
        started(2, "2026-03-02T09:20:00.000Z", "Delivered"),
        ended(2, "2026-03-02T09:20:01.000Z", "accepted", 204, ""),
        observed(2, "2026-03-02T09:30:00.000Z", "delivered", "unchanged"),
    ];
    append(trail, assignment, "drift", unproven).await;
    let skipped =
        vec![json!({ "kind": "requestSkipped", "at": "2026-03-02T10:00:00.000Z", "why": "windowClosed" })];
    append(trail, request(5), "too late", skipped).await;
    let rejected = json!({
        "kind": "messageRejected", "at": "2026-03-02T11:00:00.000Z", "error": "a request must be a JSON object",
        "body": "<img src=x onerror=alert(1)>\u{1b}[31m", "bodySha256": "00",
    });
    append(trail, ("message", "m-1".to_owned()), "", vec![rejected]).await;
}

async fn append(trail: &Trail, (kind, id): (&str, String), reason: &str, facts: Vec<Value>) {
    let key = format!("{TENANT}#{kind}#{id}");
    let mut head = Head::genesis();
    for (seq, mut fact) in (1..).zip(facts) {
        let fields = fact.as_object_mut().unwrap();
        let common = json!({
            "v": 1, "tenantId": TENANT, "seq": seq, "requestId": format!("INC-{}", &id[..3]),
            "by": { "function": "worker", "version": "0", "invocationId": "i" },
        });
        fields.extend(common.as_object().unwrap().clone());
        if kind != "message" {
            let target = json!({ "target": kind, "id": id, "repair": 1 });
            fields.extend(target.as_object().unwrap().clone());
        }
        if seq == 1 {
            let origin = json!({
                "requestedBy": "9f0e3c51-2d75-4d1b-9f7e-52a1c8d7e6b4", "reason": reason, "ticket": "INC0012345",
                "source": { "type": "cli" },
            });
            fields.extend(origin.as_object().unwrap().clone());
        }
        let record = Record::from_json(&fact.to_string()).unwrap();
        head = trail.append(&key, &head, &record, PATIENCE).await.unwrap();
    }
}

/// A server with the small trail in it.
async fn server() -> (DynamoDbServer, TrailDays) {
    let server = DynamoDbServer::start(&Database::Memory).await.unwrap();
    create_audit_table(&server.client(), AUDIT_TABLE).await.unwrap();
    let aws = worker_aws(vec![("AWS_ENDPOINT_URL_DYNAMODB", server.url.clone())]);
    small_trail(&Trail::new(aws, AUDIT_TABLE.to_owned(), tenant())).await;
    let days = TrailDays::new(server.client(), AUDIT_TABLE.to_owned(), tenant());
    (server, days)
}

async fn read() -> (Report, Vec<Repair>) {
    let (server, days) = server().await;
    let mut repairs = Vec::new();
    let each = |repair: &Repair| {
        repairs.push(repair.clone());
        Ok(())
    };
    let report = report(&days, scope(), each, |_| ()).await.unwrap();
    server.stop().await.unwrap();
    (report, repairs)
}

fn check_golden(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report").join(name);
    #[expect(clippy::disallowed_methods, reason = "a switch of the test itself")]
    let update = std::env::var("UPDATE_GOLDEN").is_ok();
    if update {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == made, "{name} differs from its golden file; `UPDATE_GOLDEN=1` writes it anew");
}

#[tokio::test]
async fn every_text_format_says_what_its_golden_file_says() {
    let (report, repairs) = read().await;
    check_golden("report.txt", &table::text(&report));
    let mut figures = Vec::new();
    json::write(&report, &mut figures).unwrap();
    check_golden("report.json", &String::from_utf8(figures).unwrap());
    let mut rows = Vec::new();
    let mut attempts = csv::Attempts::new(&mut rows).unwrap();
    repairs.iter().for_each(|repair| attempts.add(repair).unwrap());
    attempts.finish().unwrap();
    check_golden("report.csv", &String::from_utf8(rows).unwrap());
    let mut events = Vec::new();
    repairs.iter().for_each(|repair| ocsf::write(&tenant(), repair, &mut events).unwrap());
    check_golden("report.ndjson", &String::from_utf8(events).unwrap());
    check_golden("report.html", &html::page(&report).unwrap());
}

#[tokio::test]
async fn recorded_texts_are_neither_markup_nor_formulas_nor_control_sequences() {
    let (report, repairs) = read().await;
    let page = html::page(&report).unwrap();
    assert!(!page.contains("<script") && !page.contains("<img"), "a recorded text became markup");
    assert!(page.contains("&lt;script&gt;") || page.contains("&#60;script&#62;"));
    assert!(!table::text(&report).contains('\u{1b}'));
    for attempt in repairs
        .iter()
        .flat_map(|repair| repair.attempts.iter().map(|attempt| csv::row(repair, attempt).map(csv::harmless)))
    {
        assert!(attempt.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])));
    }
    let mut book = xlsx::Book::new().unwrap();
    repairs.iter().for_each(|repair| book.add(repair).unwrap());
    assert!(book.finish(&report).unwrap().starts_with(b"PK"));
}

/// What OCSF 1.8 demands, as paths into an event: of every event, and of each of the two classes.
const OF_ALL: [&str; 9] = [
    "/activity_id",
    "/category_uid",
    "/class_uid",
    "/type_uid",
    "/time",
    "/severity_id",
    "/metadata/version",
    "/metadata/product/name",
    "/metadata/product/vendor_name",
];
const OF_API_ACTIVITY: [&str; 4] =
    ["/actor/app_uid", "/api/operation", "/api/request/uid", "/src_endpoint/svc_name"];

#[tokio::test]
async fn ocsf_events_have_what_their_class_requires() {
    let (_, repairs) = read().await;
    let events = repairs.iter().flat_map(|repair| ocsf::events(&tenant(), repair)).collect::<Vec<_>>();
    let mut seen = std::collections::BTreeMap::<u64, u64>::new();
    for event in &events {
        let class = event["class_uid"].as_u64().unwrap();
        *seen.entry(class).or_default() += 1;
        let own: &[&str] = if class == 6003 { &OF_API_ACTIVITY } else { &[] };
        for path in OF_ALL.iter().chain(own) {
            assert!(event.pointer(path).is_some_and(|value| !value.is_null()), "{path} of {event}");
        }
        let type_uid = class * 100 + event["activity_id"].as_u64().unwrap();
        assert_eq!(event["type_uid"], type_uid);
        assert_eq!(event["metadata"]["version"], "1.8.0");
        assert!(event["time"].as_u64().unwrap() > 1_700_000_000_000, "milliseconds");
        match class {
            6003 => {
                assert_eq!(
                    (&event["type_uid"], &event["activity_name"]),
                    (&json!(600_399), &json!("Reprocess"))
                );
                let status = match event["unmapped"]["outcome"].as_str().unwrap() {
                    "accepted" => 1,
                    "unknown" => 0,
                    _ => 2,
                };
                assert_eq!(event["status_id"], status);
                // Present, it must have a code.
                let response = event.get("http_response");
                assert!(response.is_none_or(|response| response["code"].is_u64()));
            }
            _ => {
                assert_eq!((class, &event["type_uid"]), (3005, &json!(300_501)));
                assert!(event["user"].get("uid").or(event["user"].get("name")).is_some());
            }
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(3005, 1), (6003, 6)]);
}

#[tokio::test]
async fn wrong_table_is_named_with_its_fault() {
    let server = DynamoDbServer::start(&Database::Memory).await.unwrap();
    create_audit_table(&server.client(), AUDIT_TABLE).await.unwrap();
    let days = TrailDays::new(server.client(), "no-such-table".to_owned(), tenant());
    let error = report(&days, scope(), |_| Ok(()), |_| ()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no table `no-such-table` in this account and region");
    let other = server.client().create_table().table_name("other").billing_mode("PAY_PER_REQUEST".into());
    let key = aws_sdk_dynamodb::types::KeySchemaElement::builder().attribute_name("pk");
    let attribute = aws_sdk_dynamodb::types::AttributeDefinition::builder().attribute_name("pk");
    let made = other
        .key_schema(key.key_type("HASH".into()).build().unwrap())
        .attribute_definitions(attribute.attribute_type("S".into()).build().unwrap());
    made.send().await.unwrap();
    let days = TrailDays::new(server.client(), "other".to_owned(), tenant());
    let error = report(&days, scope(), |_| Ok(()), |_| ()).await.unwrap_err();
    assert!(
        error.to_string().starts_with("table `other` is not an audit table of regrant: ")
            && error.to_string().contains("byDay"),
        "{error:#}"
    );
    let days = TrailDays::new(server.client(), AUDIT_TABLE.to_owned(), tenant());
    let empty = report(&days, scope(), |_| Ok(()), |_| ()).await.unwrap();
    assert_eq!((empty.totals.repairs, empty.header.rows_read), (0, 0));
    assert!(html::page(&empty).unwrap().contains("No repair began in this period."));
    server.stop().await.unwrap();
}

/// Where a browser is wanted for certain, as in continuous integration, its absence is a failure.
#[tokio::test]
async fn browser_shows_the_page_without_a_complaint_at_phone_and_desktop_width() {
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    let Some(browser) = found else {
        #[expect(clippy::disallowed_methods, reason = "a switch of the test itself")]
        let needed = std::env::var("REGRANT_TEST_BROWSER").is_ok();
        assert!(!needed, "`REGRANT_TEST_BROWSER` is set, and there is no Chromium");
        eprintln!("skipped: there is no Chromium on this machine");
        return;
    };
    let (report, _) = read().await;
    let folder = std::env::temp_dir().join(format!("regrant-browser-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let page = folder.join("report.html");
    let complaints = |width: u32, text: &str| {
        std::fs::write(&page, text).unwrap();
        let picture = folder.join(format!("{width}.png"));
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("--window-size={width},2400"))
            .arg(format!("file://{}", page.display()))
            .output()
            .unwrap();
        assert!(picture.metadata().is_ok_and(|file| file.len() > 10_000), "no picture at {width}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect::<Vec<_>>()
    };
    let text = html::page(&report).unwrap();
    for width in [390, 1280] {
        assert_eq!(complaints(width, &text), Vec::<String>::new(), "at {width}");
    }
    // Or the test would not notice anything: the page's own policy forbids this.
    let forbidden = text.replace("</main>", "<script>1</script></main>");
    assert_eq!(complaints(1280, &forbidden).len(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}
