//! `GraphClient` on the wire: what it sends, and what it makes of every answer.

use std::time::Duration;

use jiff::Timestamp;
use regrant::aws::Aws;
use regrant::config::{CredentialConfig, GraphConfig};
use regrant::domain::reply::{Answered, Look, Reply, Sight};
use regrant::domain::request::Request;
use regrant::domain::target::{ApiVersion, Cloud, Guid};
use regrant::graph::{GraphClient, LookAnswer, Token, reprocess_path};
use reqwest::Url;
use serde_json::{Value, json};

use crate::stub::{Answer, Seen, Stub, closed_port};

const ID: &str = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";
const VIA: &str = "0f7a1a8e-9a3c-4a53-8a5e-3e6c1c2b7d11";
const CALL: &str = "5b0c6f2e-7d2f-4c57-9c1f-1f2d3c4b5a69";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const CLIENT: &str = "66666666-7777-8888-9999-000000000000";
const BEARER: &str = "canary-bearer-token";

/// Long enough for a busy machine; no test waits for it to pass.
const TIMEOUT: Duration = Duration::from_secs(20);

/// For tests in which the other end hangs.
const SHORT: Duration = Duration::from_millis(250);

fn request(body: &Value) -> Request {
    Request::parse(&body.to_string(), "r-1", ApiVersion::V1).unwrap()
}

fn v1_request() -> Request {
    request(&json!({ "target": "assignmentRequest", "id": ID }))
}

fn v1_assignment() -> Request {
    request(&json!({ "target": "assignment", "id": ID }))
}

fn beta_request() -> Request {
    request(&json!({ "target": "assignmentRequest", "id": ID, "apiVersion": "beta" }))
}

fn beta_assignment() -> Request {
    request(&json!({ "target": "assignment", "id": ID, "apiVersion": "beta" }))
}

fn beta_via(kind: &str) -> Request {
    request(&json!({ "target": "assignment", "id": ID, "apiVersion": "beta", "via": { kind: VIA } }))
}

fn config(graph: &Url, entra: &Url) -> GraphConfig {
    GraphConfig {
        tenant_id: Guid::parse(TENANT).unwrap(),
        client_id: Guid::parse(CLIENT).unwrap(),
        credential: CredentialConfig::SecretText("canary-client-secret".to_owned().into()),
        cloud: Cloud::Global,
        endpoint: graph.clone(),
        authority: entra.clone(),
    }
}

async fn client(graph: &Url) -> (GraphClient, Token) {
    let token = json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": BEARER });
    let entra = Stub::start([Answer::json(200, &token)]).await;
    let client = GraphClient::new(config(graph, &entra.url), TIMEOUT, Aws::new());
    let token = client.token().await.unwrap();
    (client, token)
}

/// One reprocess call of an assignment request against a server that answers so.
async fn reprocess(answer: Answer, timeout: Duration) -> Reply {
    let graph = Stub::start([answer]).await;
    let (client, token) = client(&graph.url).await;
    client.reprocess(&token, &v1_request(), &Guid::parse(CALL).unwrap(), timeout).await
}

async fn look_at(request: &Request, answers: Vec<Answer>, timeout: Duration) -> (LookAnswer, Vec<Seen>) {
    let graph = Stub::start(answers).await;
    let (client, token) = client(&graph.url).await;
    let look = client.look(&token, request, timeout).await;
    (look, graph.take_seen())
}

async fn look(answer: Answer) -> LookAnswer {
    look_at(&v1_request(), vec![answer], TIMEOUT).await.0
}

fn unavailable(reason: &str) -> LookAnswer {
    LookAnswer::Look(Look::Unavailable { reason: reason.to_owned(), retry_after: None, misconfigured: false })
}

fn misconfigured(reason: &str) -> LookAnswer {
    LookAnswer::Look(Look::Unavailable { reason: reason.to_owned(), retry_after: None, misconfigured: true })
}

fn answered(status: u16) -> Answered {
    Answered { status, ..Answered::default() }
}

#[tokio::test]
async fn reprocess_posts_no_body_to_the_path_of_its_version_and_way() {
    const ROOT: &str = "identityGovernance/entitlementManagement";
    let cases = [
        (v1_request(), format!("/v1.0/{ROOT}/assignmentRequests/{ID}/reprocess")),
        (v1_assignment(), format!("/v1.0/{ROOT}/assignments/{ID}/reprocess")),
        (beta_request(), format!("/beta/{ROOT}/accessPackageAssignmentRequests/{ID}/reprocess")),
        (beta_assignment(), format!("/beta/{ROOT}/accessPackageAssignments/{ID}/reprocess")),
        (
            beta_via("assignmentRequest"),
            format!(
                "/beta/{ROOT}/accessPackageAssignments/{ID}/accessPackageAssignmentRequests/{VIA}/accessPackageAssignment/reprocess"
            ),
        ),
        (
            beta_via("resourceRole"),
            format!(
                "/beta/{ROOT}/accessPackageAssignments/{ID}/accessPackageAssignmentResourceRoles/{VIA}/accessPackageAssignments/{ID}/reprocess"
            ),
        ),
    ];
    let graph = Stub::start(cases.iter().map(|_| Answer::new(202, ""))).await;
    let (client, token) = client(&graph.url).await;
    for (request, path) in cases {
        let reply = client.reprocess(&token, &request, &Guid::parse(CALL).unwrap(), TIMEOUT).await;
        assert_eq!(reply, Reply::Answered(answered(202)));
        assert_eq!(reprocess_path(&request), path);
        let host = graph.url.as_str().trim_start_matches("http://").trim_end_matches('/');
        let mut seen = graph.take_one();
        seen.headers.sort();
        let headers = [
            ("accept", "application/json"),
            ("authorization", &format!("Bearer {BEARER}")),
            ("client-request-id", CALL),
            ("content-length", "0"),
            ("host", host),
            ("user-agent", concat!("regrant/", env!("CARGO_PKG_VERSION"))),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let body = String::new();
        assert_eq!(seen, Seen { method: "POST".to_owned(), path, headers, body, connection: 0 });
    }
}

#[tokio::test]
async fn look_gets_the_object_itself_with_package_and_person() {
    const ROOT: &str = "identityGovernance/entitlementManagement";
    let by_way = format!("/beta/{ROOT}/accessPackageAssignments/{ID}?$expand=accessPackage,target");
    let cases = [
        (v1_request(), format!("/v1.0/{ROOT}/assignmentRequests/{ID}?$expand=accessPackage,requestor")),
        (v1_assignment(), format!("/v1.0/{ROOT}/assignments/{ID}?$expand=accessPackage,target")),
        (
            beta_request(),
            format!("/beta/{ROOT}/accessPackageAssignmentRequests/{ID}?$expand=accessPackage,requestor"),
        ),
        (beta_assignment(), by_way.clone()),
        (beta_via("assignmentRequest"), by_way.clone()),
        (beta_via("resourceRole"), by_way),
    ];
    let graph = Stub::start(cases.iter().map(|_| Answer::json(200, &json!({})))).await;
    let (client, token) = client(&graph.url).await;
    let mut ids = Vec::new();
    for (request, path) in cases {
        let look = client.look(&token, &request, TIMEOUT).await;
        assert_eq!(look, LookAnswer::Look(Look::Seen(Sight::default())));
        let seen = graph.take_one();
        assert_eq!(
            (seen.method.as_str(), seen.path.as_str(), seen.body.as_str()),
            ("GET", path.as_str(), "")
        );
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {BEARER}").as_str()));
        assert_eq!(seen.header("accept"), Some("application/json"));
        let id = seen.header("client-request-id").unwrap().to_owned();
        assert!(Guid::parse(&id).is_ok() && id.as_bytes()[14] == b'4', "{id} is no v4 GUID");
        assert!(!ids.contains(&id), "{id} was sent twice");
        ids.push(id);
    }
}

#[tokio::test]
async fn both_versions_spellings_become_one_sight() {
    let package = "aaaaaaaa-0000-0000-0000-000000000001";
    let person = "aaaaaaaa-0000-0000-0000-000000000002";
    let completed: Timestamp = "2026-11-20T10:11:12.1234567Z".parse().unwrap();
    let sight = |state: &str, status: Option<&str>, completed_at: Option<Timestamp>| Sight {
        state: state.to_owned(),
        status: status.map(str::to_owned),
        completed_at,
        access_package_id: Some(package.to_owned()),
        subject_id: Some(person.to_owned()),
    };
    let cases = [
        (
            v1_request(),
            json!({ "id": ID.to_uppercase(), "state": "deliveryFailed", "status": "DeliveryFailed",
                "completedDateTime": "2026-11-20T10:11:12.1234567Z",
                "accessPackage": { "id": package }, "requestor": { "objectId": person } }),
            sight("deliveryFailed", Some("DeliveryFailed"), Some(completed)),
        ),
        (
            beta_request(),
            json!({ "id": ID, "requestState": "DeliveryFailed", "requestStatus": "Failed",
                "completedDate": "2026-11-20T10:11:12.1234567Z",
                "accessPackageId": package, "requestor": { "objectId": person } }),
            sight("DeliveryFailed", Some("Failed"), Some(completed)),
        ),
        (
            v1_assignment(),
            json!({ "state": "delivered", "status": "Delivered", "completedDateTime": "2026-11-20T10:11:12Z",
                "accessPackage": { "id": package }, "target": { "objectId": person } }),
            sight("delivered", Some("Delivered"), None),
        ),
        (
            beta_assignment(),
            json!({ "assignmentState": "Delivered", "assignmentStatus": "NearExpiry",
                "accessPackage": { "id": package }, "accessPackageId": "other", "target": { "objectId": person } }),
            sight("Delivered", Some("NearExpiry"), None),
        ),
        (
            v1_request(),
            json!({ "requestState": "old", "state": "someFutureState", "requestStatus": "old", "status": "x",
                "completedDate": "2020-01-01T00:00:00Z", "completedDateTime": "2026-11-20T10:11:12.1234567",
                "accessPackage": { "id": package }, "requestor": { "objectId": person } }),
            sight("someFutureState", Some("x"), Some(completed)),
        ),
        (
            beta_request(),
            json!({ "requestState": "new", "state": "old", "requestStatus": "new", "status": "old",
                "completedDateTime": "2020-01-01T00:00:00Z", "completedDate": "2026-11-20T12:11:12.1234567+02:00",
                "accessPackageId": package, "requestor": { "objectId": person } }),
            sight("new", Some("new"), Some(completed)),
        ),
        (
            v1_request(),
            json!({ "requestState": "only the other version's names", "requestStatus": "s",
                "completedDate": "2026-11-20T10:11:12.1234567Z",
                "accessPackageId": package, "requestor": { "objectId": person } }),
            sight("only the other version's names", Some("s"), Some(completed)),
        ),
    ];
    for (request, body, expected) in cases {
        let (look, _) = look_at(&request, vec![Answer::json(200, &body)], TIMEOUT).await;
        assert_eq!(look, LookAnswer::Look(Look::Seen(expected)), "{body}");
    }
}

#[tokio::test]
async fn what_an_object_does_not_say_readably_is_left_out() {
    let nothing = Sight::default;
    let cases = [
        (
            json!({ "state": 7, "status": [], "completedDateTime": 5, "accessPackage": "x", "requestor": [] }),
            nothing(),
        ),
        (json!({ "state": null, "status": null, "completedDateTime": null, "requestor": null }), nothing()),
        (json!({ "state": "", "status": "", "requestor": { "objectId": "" } }), nothing()),
        (json!({ "completedDateTime": "yesterday" }), nothing()),
        (json!({ "completedDateTime": "0001-01-01T00:00:00Z" }), nothing()),
        (json!({ "completedDateTime": "2026-02-30T00:00:00Z" }), nothing()),
        (json!({ "target": { "objectId": "of an assignment" } }), nothing()),
        (
            json!({ "state": "s".repeat(300), "status": format!("token={BEARER} {}", "t".repeat(300)) }),
            Sight {
                state: format!("{}…", "s".repeat(253)),
                status: Some(format!("token=[redacted] {}…", "t".repeat(236))),
                ..Sight::default()
            },
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(look(Answer::json(200, &body)).await, LookAnswer::Look(Look::Seen(expected)), "{body}");
    }
}

#[tokio::test]
async fn a_look_without_a_readable_object_is_unavailable_and_never_missing() {
    let broke_off = "the body broke off: error decoding response body: request or response body error: \
        error reading a body from connection: end of file before message length reached";
    let cases = [
        (Answer::new(200, ""), "Graph answered HTTP 200: the body is not JSON"),
        (Answer::new(200, "<html>"), "Graph answered HTTP 200: the body is not JSON"),
        (Answer::new(200, b"\xff\xfe".to_vec()), "Graph answered HTTP 200: the body is not JSON"),
        (Answer::new(200, "[".repeat(100_000)), "Graph answered HTTP 200: the body is not JSON"),
        (Answer::new(200, "[]"), "Graph answered HTTP 200: the body is not a JSON object"),
        (Answer::new(200, "null"), "Graph answered HTTP 200: the body is not a JSON object"),
        (Answer::new(204, ""), "Graph answered HTTP 204: the body is not JSON"),
        (
            Answer::json(200, &json!({ "id": VIA, "state": "delivered" })),
            "Graph answered HTTP 200: the body shows another object",
        ),
        (
            Answer::new(200, format!("{{\"state\":\"{}\"}}", "x".repeat(300_000))),
            "Graph answered HTTP 200: the body broke off: the body is longer than 256 KB",
        ),
        (
            Answer::Truncated { status: 200, body: b"{}".to_vec(), missing: 9 },
            &format!("Graph answered HTTP 200: {broke_off}"),
        ),
        (
            Answer::Truncated { status: 404, body: b"{\"error\":".to_vec(), missing: 9 },
            "Graph answered HTTP 404",
        ),
    ];
    for (answer, reason) in cases {
        assert_eq!(look(answer).await, unavailable(reason));
    }
}

#[tokio::test]
async fn a_look_whose_body_hangs_is_unavailable() {
    let hanging = Answer::HangsInBody { status: 200, body: b"{}".to_vec() };
    let (look, seen) = look_at(&v1_request(), vec![hanging], SHORT).await;
    assert_eq!(
        look,
        unavailable(
            "Graph answered HTTP 200: the body broke off: error decoding response body: request or response body \
             error: operation timed out"
        )
    );
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn each_status_of_a_look_says_whether_waiting_or_an_administrator_helps() {
    let error = |code: &str| json!({ "error": { "code": code, "message": "m", "innerError": { "request-id": "in" } } });
    let no_route = "No HTTP resource was found that matches the request URI 'https://igaelm-ecapi/x'.";
    let wrapped = json!({ "error": { "code": "UnknownError",
        "message": json!({ "errorCode": "", "message": no_route }).to_string() } });
    let seconds = |secs| Some(Duration::from_secs(secs));
    let cases = [
        (Answer::json(401, &error("InvalidAuthenticationToken")), LookAnswer::Unauthorized),
        (Answer::new(429, ""), LookAnswer::Look(Look::Throttled { retry_after: None })),
        (
            Answer::new(429, "").with("Retry-After", "17"),
            LookAnswer::Look(Look::Throttled { retry_after: seconds(17) }),
        ),
        (
            Answer::json(403, &error("Authorization_RequestDenied")),
            misconfigured(
                "Graph answered HTTP 403, code `Authorization_RequestDenied`, request id in: the application \
                 lacks `EntitlementManagement.ReadWrite.All` or a role in the catalog",
            ),
        ),
        (Answer::json(404, &error("ResourceNotFound")), LookAnswer::Look(Look::Missing)),
        (Answer::new(404, ""), LookAnswer::Look(Look::Missing)),
        (
            Answer::json(404, &json!({ "error": { "code": "", "message": no_route } })),
            misconfigured("Graph answered HTTP 404: there is no such route at `GRAPH_ENDPOINT`"),
        ),
        (
            Answer::json(404, &wrapped),
            misconfigured(
                "Graph answered HTTP 404, code `UnknownError`: there is no such route at `GRAPH_ENDPOINT`",
            ),
        ),
        (
            Answer::new(404, "<html>not here</html>").with("Content-Type", "text/html; charset=utf-8"),
            misconfigured("Graph answered HTTP 404: there is no such route at `GRAPH_ENDPOINT`"),
        ),
        (
            Answer::json(408, &error("Timeout")),
            unavailable("Graph answered HTTP 408, code `Timeout`, request id in"),
        ),
        (
            Answer::json(409, &error("Conflict")),
            unavailable("Graph answered HTTP 409, code `Conflict`, request id in"),
        ),
        (Answer::new(302, "").with("Location", "/elsewhere"), unavailable("Graph answered HTTP 302")),
        (Answer::new(500, "<html>oops</html>"), unavailable("Graph answered HTTP 500")),
        (
            Answer::json(503, &error("ServiceUnavailable"))
                .with("Retry-After", "5")
                .with("request-id", "head"),
            LookAnswer::Look(Look::Unavailable {
                reason: "Graph answered HTTP 503, code `ServiceUnavailable`, request id head".to_owned(),
                retry_after: seconds(5),
                misconfigured: false,
            }),
        ),
    ];
    for (answer, expected) in cases {
        assert_eq!(look(answer.clone()).await, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn a_refused_expansion_is_asked_again_without_it() {
    let refused = Answer::json(400, &json!({ "error": { "code": "BadRequest", "message": "expand" } }));
    let seen_object = Answer::json(200, &json!({ "state": "delivered" }));
    let (look, seen) = look_at(&v1_assignment(), vec![refused.clone(), seen_object], TIMEOUT).await;
    let sight = Sight { state: "delivered".to_owned(), ..Sight::default() };
    assert_eq!(look, LookAnswer::Look(Look::Seen(sight)));
    let object = format!("/v1.0/identityGovernance/entitlementManagement/assignments/{ID}");
    let paths = seen.iter().map(|seen| seen.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths, [format!("{object}?$expand=accessPackage,target"), object]);

    let (look, seen) = look_at(&v1_assignment(), vec![refused.clone(), refused], TIMEOUT).await;
    assert_eq!(look, unavailable("Graph answered HTTP 400, code `BadRequest`"));
    assert_eq!(seen.len(), 2);

    let segment =
        json!({ "error": { "code": "BadRequest", "message": "Resource not found for the segment 'x'." } });
    let segment = Answer::json(400, &segment);
    let (look, _) = look_at(&v1_assignment(), vec![segment.clone(), segment], TIMEOUT).await;
    let reason = "Graph answered HTTP 400, code `BadRequest`: there is no such route at `GRAPH_ENDPOINT`";
    assert_eq!(look, misconfigured(reason));
}

#[tokio::test]
async fn a_look_on_a_dead_connection_is_repeated_once_and_no_more() {
    let graph = Stub::start([
        Answer::json(200, &json!({ "state": "first" })),
        Answer::Closes,
        Answer::json(200, &json!({ "state": "second" })),
        Answer::Closes,
        Answer::Closes,
    ])
    .await;
    let (client, token) = client(&graph.url).await;
    for state in ["first", "second"] {
        let sight = Sight { state: state.to_owned(), ..Sight::default() };
        let look = client.look(&token, &v1_request(), TIMEOUT).await;
        assert_eq!(look, LookAnswer::Look(Look::Seen(sight)));
    }
    let connections = graph.take_seen().iter().map(|seen| seen.connection).collect::<Vec<_>>();
    assert_eq!(connections, [0, 0, 1]);
    assert_eq!(
        client.look(&token, &v1_request(), TIMEOUT).await,
        unavailable(
            "Graph gave no answer: error sending request: client error (SendRequest): connection closed before \
             message completed"
        )
    );
    assert_eq!(graph.take_seen().len(), 2);
}

#[tokio::test]
async fn a_look_without_an_answer_in_time_is_not_repeated() {
    let (look, seen) = look_at(&v1_request(), vec![Answer::Hangs], SHORT).await;
    assert_eq!(look, unavailable("Graph gave no answer: error sending request: operation timed out"));
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_look_at_nobody_is_unavailable() {
    let (client, token) = client(&closed_port().await).await;
    let LookAnswer::Look(Look::Unavailable { reason, misconfigured: false, .. }) =
        client.look(&token, &v1_request(), TIMEOUT).await
    else {
        panic!("nobody can have answered")
    };
    assert!(reason.starts_with("Graph gave no answer: ") && reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn each_status_of_a_reprocess_is_an_answer_with_its_parts() {
    let error = json!({ "error": { "code": "Code", "message": "A message.",
        "innerError": { "request-id": "inner", "client-request-id": CALL } } });
    for status in [200, 201, 202, 204, 302, 307] {
        let answer = Answer::new(status, "").with("request-id", "id-1").with("Location", "/elsewhere");
        let expected = Answered { graph_request_id: Some("id-1".to_owned()), ..answered(status) };
        assert_eq!(reprocess(answer, TIMEOUT).await, Reply::Answered(expected));
    }
    for status in [400, 401, 403, 404, 408, 409, 410, 423, 429, 500, 502, 503, 504, 509] {
        let explained = Answered {
            status,
            error_code: Some("Code".to_owned()),
            error_message: Some("A message.".to_owned()),
            retry_after: None,
            graph_request_id: Some("inner".to_owned()),
        };
        assert_eq!(
            reprocess(Answer::json(status, &error), TIMEOUT).await,
            Reply::Answered(explained.clone())
        );
        let with_headers = Answer::json(status, &error).with("request-id", "head").with("Retry-After", "12");
        let expected = Answered {
            graph_request_id: Some("head".to_owned()),
            retry_after: Some(Duration::from_secs(12)),
            ..explained
        };
        assert_eq!(reprocess(with_headers, TIMEOUT).await, Reply::Answered(expected));
        assert_eq!(
            reprocess(Answer::new(status, "<html>"), TIMEOUT).await,
            Reply::Answered(answered(status))
        );
    }
}

#[tokio::test]
async fn every_spelling_of_an_error_is_read() {
    let fault = |code: Option<&str>, message: Option<&str>, id: Option<&str>| Answered {
        status: 400,
        error_code: code.map(str::to_owned),
        error_message: message.map(str::to_owned),
        graph_request_id: id.map(str::to_owned),
        retry_after: None,
    };
    let top = json!({ "errorCode": "Top", "message": "top message" });
    let wrapped = json!({ "error": { "code": "UnknownError", "message": top.to_string() } });
    let twice = json!({ "error": { "code": "UnknownError", "message": wrapped.to_string(),
        "innerError": { "request-id": "outer" } } });
    let own = json!({ "error": { "code": "Known", "message": "{\"errorCode\":\"Other\"}" } });
    let cases = [
        (
            json!({ "error": { "code": "A", "message": "b", "innererror": { "request-id": "c" } } }),
            fault(Some("A"), Some("b"), Some("c")),
        ),
        (
            json!({ "error": { "code": "A", "innerError": { "innerError": { "request-id": "deep" } } } }),
            fault(Some("A"), None, Some("deep")),
        ),
        (
            json!({ "error": { "message": "", "innerError": { "code": "In", "message": "inner" } } }),
            fault(Some("In"), Some("inner"), None),
        ),
        (top, fault(Some("Top"), Some("top message"), None)),
        (wrapped, fault(Some("Top"), Some("top message"), None)),
        (twice, fault(Some("Top"), Some("top message"), Some("outer"))),
        (own, fault(Some("Known"), Some("{\"errorCode\":\"Other\"}"), None)),
        (
            json!({ "error": { "code": "UnknownError", "message": "plain" } }),
            fault(Some("UnknownError"), Some("plain"), None),
        ),
        (json!({ "error": "invalid_token" }), fault(Some("invalid_token"), None, None)),
        (json!({ "error": { "code": 5, "message": {}, "innerError": "x" } }), fault(None, None, None)),
        (json!({}), fault(None, None, None)),
        (json!([]), fault(None, None, None)),
        (json!("text"), fault(None, None, None)),
    ];
    for (body, expected) in cases {
        assert_eq!(reprocess(Answer::json(400, &body), TIMEOUT).await, Reply::Answered(expected), "{body}");
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_or_date() {
    let cases = [
        ("0", Some(0)),
        ("120", Some(120)),
        ("  7 ", Some(7)),
        ("1.2", Some(2)),
        ("3.0", Some(3)),
        ("99999999999999999999999999", Some(2_147_483_647)),
        ("Fri, 20 Nov 2015 10:00:00 GMT", Some(0)),
        ("Tue, 31 Dec 9990 23:59:59 GMT", Some(2_147_483_647)),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("1.", None),
        ("", None),
        ("inf", None),
        ("Fri, 99 Nov 2015 10:00:00 GMT", None),
    ];
    for (value, secs) in cases {
        let reply = reprocess(Answer::new(429, "").with("Retry-After", value), TIMEOUT).await;
        let retry_after = secs.map(Duration::from_secs);
        assert_eq!(reply, Reply::Answered(Answered { retry_after, ..answered(429) }), "{value:?}");
    }
    let in_an_hour = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&in_an_hour).unwrap();
    let Reply::Answered(Answered { retry_after: Some(wait), .. }) =
        reprocess(Answer::new(503, "").with("Retry-After", &date), TIMEOUT).await
    else {
        panic!("{date} was not read")
    };
    assert!((3500..=3600).contains(&wait.as_secs()), "{date}: {wait:?}");
}

#[tokio::test]
async fn a_status_line_settles_that_graph_answered_whatever_happens_to_the_body() {
    for status in [202, 400, 500] {
        let answer = Answer::Truncated { status, body: b"{\"error\":{".to_vec(), missing: 50 };
        assert_eq!(reprocess(answer, TIMEOUT).await, Reply::Answered(answered(status)));
        let answer = Answer::HangsInBody { status, body: b"{\"error\":{".to_vec() };
        assert_eq!(reprocess(answer, SHORT).await, Reply::Answered(answered(status)));
    }
    let whole = b"{\"error\":{\"code\":\"Whole\"}}".to_vec();
    let expected = Answered { error_code: Some("Whole".to_owned()), ..answered(500) };
    let answer = Answer::HangsInBody { status: 500, body: whole };
    assert_eq!(reprocess(answer, SHORT).await, Reply::Answered(expected));
}

#[tokio::test]
async fn a_post_without_a_status_line_is_lost_and_never_repeated() {
    let cases = [
        (
            Answer::Closes,
            TIMEOUT,
            "error sending request: client error (SendRequest): connection closed before message completed",
        ),
        (
            Answer::Raw(b"garbage\r\n\r\n".to_vec()),
            TIMEOUT,
            "error sending request: client error (SendRequest): invalid HTTP version parsed",
        ),
        (
            Answer::Raw(b"HTTP/1.1 20".to_vec()),
            TIMEOUT,
            "error sending request: client error (SendRequest): connection closed before message completed",
        ),
        (Answer::Hangs, SHORT, "error sending request: operation timed out"),
    ];
    for (answer, timeout, reason) in cases {
        let graph = Stub::start([Answer::json(200, &json!({})), answer.clone()]).await;
        let (client, token) = client(&graph.url).await;
        // On the connection of the look, as in real life: a pooled one invites a silent second try.
        client.look(&token, &v1_request(), TIMEOUT).await;
        let reply = client.reprocess(&token, &v1_request(), &Guid::parse(CALL).unwrap(), timeout).await;
        assert_eq!(reply, Reply::Lost { reason: reason.to_owned() }, "{answer:?}");
        let seen = graph.take_seen();
        let sent = seen.iter().map(|seen| (seen.method.as_str(), seen.connection)).collect::<Vec<_>>();
        assert_eq!(sent, [("GET", 0), ("POST", 0)], "{answer:?}");
    }
}

#[tokio::test]
async fn a_post_without_a_connection_is_not_sent() {
    let (client, token) = client(&closed_port().await).await;
    let reply = client.reprocess(&token, &v1_request(), &Guid::parse(CALL).unwrap(), TIMEOUT).await;
    let Reply::NotSent { reason } = reply else { panic!("{reply:?}") };
    assert!(reason.contains("refused") && !reason.contains(ID), "{reason}");
}

#[tokio::test]
async fn a_failed_tls_handshake_is_not_sent() {
    // The stub hears a TLS greeting, for which it has no answer, and closes.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let closing = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let (client, token) = client(&url).await;
    let reply = client.reprocess(&token, &v1_request(), &Guid::parse(CALL).unwrap(), TIMEOUT).await;
    closing.abort();
    assert!(matches!(reply, Reply::NotSent { .. }), "{reply:?}");
}

#[tokio::test]
async fn texts_of_graph_are_redacted_and_bounded() {
    let message = |text: &str| Answer::json(400, &json!({ "error": { "code": text, "message": text } }));
    let read = async |text: &str| match reprocess(message(text), TIMEOUT).await {
        Reply::Answered(answered) => (answered.error_code.unwrap(), answered.error_message.unwrap()),
        other => panic!("{other:?}"),
    };
    let (code, text) = read(&format!("you sent {BEARER} and client_secret=canary-2")).await;
    assert_eq!(text, "you sent [redacted] and client_secret=[redacted]");
    assert_eq!(code, text);
    let (code, text) = read(&"ä ".repeat(2000)).await;
    assert!(code.len() <= 128 && code.ends_with('…'), "{code}");
    assert!((1000..=1024).contains(&text.len()) && text.ends_with('…'), "{text}");
    let (_, text) = read(&format!("{} x", format!("{BEARER} ").repeat(5000))).await;
    assert!(!text.contains("canary"), "{text}");
    // Cut at 8 KB before it is redacted, in the middle of what would have looked like a secret.
    let long = format!("client_secret={} abc8Q~canary{}", "a".repeat(8162), "z".repeat(40));
    let (_, text) = read(&long).await;
    assert_eq!(text, "client_secret=[redacted]");
}

#[tokio::test]
async fn nothing_shows_the_token() {
    let echo = format!("Authorization: Bearer {BEARER}");
    let body = json!({ "error": { "code": BEARER, "message": echo, "innerError": { "request-id": BEARER } },
        "state": BEARER, "status": BEARER, "accessPackageId": BEARER, "requestor": { "objectId": BEARER } });
    let graph = Stub::start([
        Answer::json(500, &body),
        Answer::json(200, &body),
        Answer::json(503, &body),
        Answer::json(403, &body),
    ])
    .await;
    let (client, token) = client(&graph.url).await;
    let mut shown = format!("{client:?} {client:#?} {token:?}");
    let reply = client.reprocess(&token, &v1_request(), &Guid::parse(CALL).unwrap(), TIMEOUT).await;
    shown.push_str(&format!("{reply:?}"));
    for _ in 0..3 {
        shown.push_str(&format!("{:?}", client.look(&token, &v1_request(), TIMEOUT).await));
    }
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("Token([redacted])"), "{shown}");
}
