//! The function `report` on the wire: what it puts into S3, and what it says when S3 refuses or hangs. Its figures are
//! tested elsewhere. A binary of its own, for S3's client is large and nothing else needs it.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, but not in what they share")]
#![allow(clippy::disallowed_methods, reason = "tests may read the clock")]

#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "../it/made.rs"]
mod made;
#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "../it/runtime_api.rs"]
mod runtime_api;
#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "../it/stub.rs"]
mod stub;

use std::time::Duration;

use jiff::Timestamp;
use regrant::aws::Aws;
use regrant::config::ReportConfig;
use regrant::local::aws::{sdk_config, worker_aws};
use regrant::local::{AUDIT_TABLE, Options, Stack};
use regrant::reporter::Reporter;
use regrant::trail::Trail;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::made::small_trail;
use self::runtime_api::{Ended, Function};
use self::stub::{Answer, Seen, Stub};

const BUCKET: &str = "reports-of-acme";
/// A Friday: the made trail begins the day before.
const NOW: &str = "2026-03-06T00:10:00Z";
const SUFFIXES: [(&str, &str); 3] =
    [("html", "text/html; charset=utf-8"), ("csv", "text/csv; charset=utf-8"), ("json", "application/json")];

/// A small trail, and S3 with these answers.
async fn start(answers: impl IntoIterator<Item = Answer>) -> (Stack, Stub) {
    let stack = Stack::start(&Options::default()).await.unwrap();
    let aws = Aws::from_config(sdk_config(&stack.dynamodb.url));
    small_trail(&Trail::new(aws, AUDIT_TABLE.to_owned(), stack.tenant_id.clone())).await;
    (stack, Stub::start(answers).await)
}

fn settings(stack: &Stack, s3: &Stub) -> Vec<(&'static str, String)> {
    let mut settings = stack.environment();
    settings.push(("AWS_ENDPOINT_URL_S3", s3.url.to_string()));
    settings.push(("REPORT_BUCKET", BUCKET.to_owned()));
    settings
}

fn reporter(stack: &Stack, s3: &Stub) -> Reporter {
    let settings = settings(stack, s3);
    let config = ReportConfig::read(|name| {
        settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    });
    Reporter::new(config.unwrap(), worker_aws(settings))
}

async fn asked(reporter: &Reporter, payload: &Value) -> anyhow::Result<Value> {
    reporter.answer(&payload.to_string(), NOW.parse::<Timestamp>().unwrap()).await
}

fn keys(stack: &Stack, name: &str) -> Vec<String> {
    SUFFIXES.map(|(suffix, _)| format!("reports/{}/{name}.{suffix}", stack.tenant_id)).to_vec()
}

/// What S3 would hold after this request, if it is one that S3 would take.
fn object<'a>(seen: &'a Seen, content_type: &str) -> (&'a str, &'a str) {
    assert_eq!((&*seen.method, seen.header("content-type")), ("PUT", Some(content_type)));
    assert!(seen.header("authorization").unwrap().contains("/eu-west-1/s3/aws4_request"));
    let (path, query) = seen.path.split_once('?').unwrap();
    assert_eq!(query, "x-id=PutObject");
    let digest = Sha256::digest(&seen.body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(seen.header("x-amz-content-sha256"), Some(&*digest), "signed is what was sent");
    (path.strip_prefix(&format!("/{BUCKET}/")).unwrap(), &seen.body)
}

fn refusal(status: u16, code: &str) -> Answer {
    let body =
        format!("<Error><Code>{code}</Code><Message>canary</Message><RequestId>s3-7</RequestId></Error>");
    Answer::new(status, body).with("Content-Type", "application/xml").with("x-amz-request-id", "s3-7")
}

#[tokio::test(flavor = "multi_thread")]
async fn day_is_put_into_the_bucket_in_three_formats() {
    let (stack, s3) = start([200, 200, 200].map(|status| Answer::new(status, ""))).await;
    let reporter = reporter(&stack, &s3);
    let answer = asked(&reporter, &json!({ "every": "day" })).await.unwrap();
    let keys = keys(&stack, "day/2026-03-05");
    let expected = json!({
        "bucket": BUCKET, "keys": keys, "from": "2026-03-05T00:00:00Z", "to": "2026-03-06T00:00:00Z",
        "repairs": 3, "isIntact": true,
    });
    assert_eq!(answer, expected);
    let seen = s3.take_seen();
    let objects = seen.iter().zip(SUFFIXES).map(|(seen, (_, content_type))| object(seen, content_type));
    let (put, bodies): (Vec<_>, Vec<_>) = objects.unzip();
    assert_eq!(put, keys);
    // The same as who asks directly is told.
    let period = json!({ "from": "2026-03-05", "to": "2026-03-05" });
    assert_eq!(serde_json::from_str::<Value>(bodies[2]).unwrap(), asked(&reporter, &period).await.unwrap());
    for (format, body) in [("html", bodies[0]), ("csv", bodies[1])] {
        let mut question = period.clone();
        question["format"] = format.into();
        assert_eq!(asked(&reporter, &question).await.unwrap()["body"], body, "{format}");
    }
    assert!(bodies[0].starts_with("<!doctype html>") && bodies[0].contains("</html>"));
    assert_eq!(bodies[1].lines().count(), 1 + 4, "a header and an attempt a row");
}

#[tokio::test(flavor = "multi_thread")]
async fn week_is_named_after_its_number() {
    let (stack, s3) = start([200, 200, 200].map(|status| Answer::new(status, ""))).await;
    let answer = asked(&reporter(&stack, &s3), &json!({ "every": "week" })).await.unwrap();
    assert_eq!(answer["keys"], json!(keys(&stack, "week/2026-W09")));
    assert_eq!((&answer["repairs"], s3.take_seen().len()), (&json!(0), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_s3_is_asked_again() {
    let (stack, s3) = start([refusal(503, "SlowDown"), Answer::Closes]).await;
    for status in [200, 200, 200] {
        s3.then(Answer::new(status, ""));
    }
    let answer = asked(&reporter(&stack, &s3), &json!({ "every": "day" })).await.unwrap();
    assert_eq!(answer["keys"], json!(keys(&stack, "day/2026-03-05")));
    let paths = s3.take_seen().into_iter().map(|seen| seen.path).collect::<Vec<_>>();
    assert_eq!((paths.len(), &paths[0], &paths[1]), (5, &paths[2], &paths[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusing_s3_fails_the_invocation_with_the_way_out() {
    for (status, code, hint) in [
        (403, "AccessDenied", "the function's role needs `s3:PutObject` on it"),
        (404, "NoSuchBucket", "check `REPORT_BUCKET`"),
        (301, "PermanentRedirect", "the bucket must be in the function's region"),
    ] {
        let (stack, s3) = start([refusal(status, code)]).await;
        let error = asked(&reporter(&stack, &s3), &json!({ "every": "day" })).await.unwrap_err();
        let key = &keys(&stack, "day/2026-03-05")[0];
        let expected = format!(
            "writing `{key}` into bucket `{BUCKET}`: {hint}: HTTP {status}, `{code}`, request id s3-7"
        );
        assert_eq!(format!("{error:#}"), expected);
        assert_eq!(s3.take_seen().len(), 1, "what is refused is not repeated");
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_s3_ends_in_time_for_an_answer() {
    let (stack, s3) = start([Answer::Hangs, Answer::Hangs, Answer::Hangs]).await;
    let started = tokio::time::Instant::now();
    let error = asked(&reporter(&stack, &s3), &json!({ "every": "day" })).await.unwrap_err();
    let taken = started.elapsed();
    assert!(taken >= Duration::from_secs(60) && taken < Duration::from_secs(240), "{taken:?}");
    let error = format!("{error:#}");
    assert!(error.starts_with("writing `reports/") && error.contains("no answer"), "{error}");
    assert_eq!(s3.take_seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn built_function_answers_with_the_keys_and_reports_what_fails() {
    let (stack, s3) = start([200, 200, 200].map(|status| Answer::new(status, ""))).await;
    let function = Function::start(env!("CARGO_BIN_EXE_report"), &settings(&stack, &s3)).await;
    let timeout = Duration::from_secs(20);
    let ended = function.invoke(r#"{"every":"day"}"#, timeout).await;
    let Ended::Response(answer) = ended else { panic!("{ended:?}") };
    assert_eq!((answer["keys"].as_array().unwrap().len(), s3.take_seen().len()), (3, 3));
    s3.then(refusal(403, "AccessDenied"));
    let ended = function.invoke(r#"{"every":"day"}"#, timeout).await;
    let Ended::Error(error) = ended else { panic!("{ended:?}") };
    assert!(error["errorMessage"].as_str().unwrap().contains("`s3:PutObject`"), "{error}");
}
