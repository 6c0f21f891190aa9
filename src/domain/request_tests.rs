use super::*;

const ID: &str = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";

fn parse(body: &str) -> Result<Request, RequestError> {
    Request::parse(body, "message-1", ApiVersion::V1)
}

fn error(body: &str) -> String {
    parse(body).unwrap_err().to_string()
}

fn smallest() -> Request {
    Request {
        target: Target { kind: TargetKind::AssignmentRequest, id: Guid::parse(ID).unwrap() },
        api_version: ApiVersion::V1,
        via: None,
        request_id: RequestId::parse("message-1").unwrap(),
        requested_by: None,
        reason: None,
        ticket: None,
    }
}

#[test]
fn smallest_request_takes_every_default() {
    assert_eq!(
        parse(&format!(r#"{{"target":"assignmentRequest","id":"{}"}}"#, ID.to_uppercase())),
        Ok(smallest())
    );
}

#[test]
fn body_made_of_a_request_reads_back_as_the_same_request() {
    let full = Request {
        target: Target { kind: TargetKind::Assignment, id: Guid::parse(ID).unwrap() },
        api_version: ApiVersion::Beta,
        via: Some(Via::ResourceRole(Guid::parse(ID).unwrap())),
        request_id: RequestId::parse("a.b:c-1").unwrap(),
        requested_by: Some("9f0e".to_owned()),
        reason: Some("SAP \"outage\"\n".to_owned()),
        ticket: Some("INC0012345".to_owned()),
    };
    for request in [smallest(), full] {
        assert_eq!(Request::parse(&request.to_body(), "other", ApiVersion::Beta), Ok(request));
    }
}

#[test]
fn every_fault_is_named_at_once_with_field_rule_and_finding() {
    assert_eq!(
        error(r#"{"target":"user","id":7,"reasn":"x"}"#),
        "`reasn` is not a field of a request; the fields are `target`, `id`, `apiVersion`, `via`, `requestId`, `requestedBy`, `reason`, `ticket`; \
         `target` must be \"assignment\" or \"assignmentRequest\", found \"user\" (4 characters); \
         `id` must be a GUID in the 8-4-4-4-12 form, found the number 7"
    );
    assert_eq!(error("{}"), "`target` is required and is absent; `id` is required and is absent");
    assert_eq!(error("[]"), "a request must be a JSON object, found a list of 0");
}

#[test]
fn doubled_field_is_refused() {
    assert!(
        error(&format!(r#"{{"target":"assignment","id":"{ID}","id":"{ID}"}}"#))
            .contains("field `id` stands twice")
    );
    let nested = format!(
        r#"{{"target":"assignment","id":"{ID}","apiVersion":"beta","via":{{"resourceRole":"{ID}","resourceRole":"{ID}"}}}}"#
    );
    assert!(error(&nested).contains("field `resourceRole` stands twice"));
}

#[test]
fn via_needs_an_assignment_on_beta() {
    let body = |target: &str, version: &str| {
        format!(
            r#"{{"target":"{target}","id":"{ID}","apiVersion":"{version}","via":{{"resourceRole":"{ID}"}}}}"#
        )
    };
    assert!(parse(&body("assignment", "beta")).is_ok());
    for refused in [body("assignment", "v1.0"), body("assignmentRequest", "beta")] {
        assert_eq!(
            error(&refused),
            "`via` is allowed only with `target` \"assignment\" and `apiVersion` \"beta\""
        );
    }
}

#[test]
fn lengths_count_characters_and_have_limits() {
    let body =
        |field: &str, value: &str| format!(r#"{{"target":"assignment","id":"{ID}","{field}":"{value}"}}"#);
    for (field, most) in [("requestedBy", 256), ("reason", 500), ("ticket", 128)] {
        assert!(parse(&body(field, &"ä".repeat(most))).is_ok(), "{field}");
        assert!(
            error(&body(field, &"ä".repeat(most + 1))).contains(&format!("`{field}` must be a text of")),
            "{field}"
        );
    }
    assert!(parse(&body("requestId", &"a".repeat(128))).is_ok());
    for bad in ["", "a b", "a/b", &"a".repeat(129)] {
        assert!(error(&body("requestId", bad)).contains("`requestId` must be 1 to 128"), "{bad}");
    }
    assert!(error(&body("requestedBy", "")).contains("1 to 256 characters"));
}

#[test]
fn secrets_stay_out_of_the_request_and_of_its_errors() {
    let secret = concat!("ey", "JhbGciOiJub25lIn0.canary");
    let kept = parse(&format!(r#"{{"target":"assignment","id":"{ID}","reason":"{secret}"}}"#)).unwrap();
    assert_eq!(kept.reason.as_deref(), Some("[redacted]"));
    for field in ["id", "requestId", "apiVersion", secret] {
        let message = error(&format!(r#"{{"target":"assignment","{field}":"{secret}"}}"#));
        assert!(!message.contains("canary"), "{message}");
    }
}

#[test]
fn message_of_a_taken_request_is_a_request_again_whatever_was_taken_out() {
    for (name, text) in [
        ("reason", "pwd=a ".repeat(83)),
        ("ticket", "sig=a&".repeat(21)),
        ("requestedBy", "token:a ".repeat(32)),
        ("reason", "odd \u{ffff} and \u{fffe}".to_owned()),
    ] {
        let body = serde_json::json!({ "target": "assignment", "id": ID, name: text }).to_string();
        let request = parse(&body).unwrap();
        let sent = request.to_body();
        assert!(!sent.contains(['\u{fffe}', '\u{ffff}']), "SQS refuses these");
        assert_eq!(parse(&sent), Ok(request), "{name}");
    }
}

#[test]
fn ids_that_only_look_odd_are_taken() {
    for id in ["ServiceNow-RITM0012345-6f9b1c2d3e4f5a6b7c8d", "password-reset:12", "token:2026-11-20"] {
        assert!(RequestId::parse(id).is_some(), "{id}");
    }
}

#[test]
fn fault_keeps_the_requests_own_id() {
    let error = parse(r#"{"target":"user","requestId":"INC-1"}"#).unwrap_err();
    assert_eq!(error.request_id, RequestId::parse("INC-1"));
}
