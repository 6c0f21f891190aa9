//! The faults that the Graph simulator commits, and its tokens, on the wire.

use std::time::Duration;

use regrant::local::graph::{Application, CallKind, CallMatch, Fault, ObjectState, random_guid};
use reqwest::Method;

use super::local_graph::{Rig, body, code, form, request_path};

#[tokio::test]
async fn faults_hit_the_calls_they_are_meant_for_in_order() {
    let rig = Rig::start().await;
    let object = rig.failed_request();
    let id = object.target.id.clone();
    rig.sim.put(object.clone());
    let path = request_path(&id);
    rig.sim.fault(CallMatch::reprocess().on(&random_guid()), Fault::Hang);
    rig.sim.fault(CallMatch::reprocess(), Fault::Throttle { retry_after: Some(7) });
    rig.sim.fault(CallMatch::any().on(&id), Fault::status(503, "ServiceUnavailable"));
    let throttled = rig.post(&format!("{path}/reprocess")).await;
    assert_eq!(throttled.headers()["retry-after"], "7");
    assert_eq!(code(throttled).await, (429, "TooManyRequests".to_owned()));
    assert_eq!(code(rig.get(&path).await).await, (503, "ServiceUnavailable".to_owned()));
    assert_eq!(rig.get(&path).await.status(), 200);
    assert_eq!(rig.sim.state(&object.target), Some(ObjectState::DeliveryFailed));
}

#[tokio::test]
async fn lost_answers_differ_in_whether_the_call_was_applied() {
    let rig = Rig::start().await;
    for (fault, applied) in [(Fault::DropBefore, false), (Fault::DropAfter, true)] {
        let object = rig.failed_request();
        rig.sim.put(object.clone());
        rig.sim.fault(CallMatch::reprocess(), fault);
        let path = format!("{}/reprocess", request_path(&object.target.id));
        let error = rig.request(Method::POST, &path).send().await.unwrap_err();
        assert!(!error.is_connect(), "{error:?}");
        let call = rig.last_call();
        assert_eq!((call.applied, call.status, call.kind), (applied, None, CallKind::Reprocess));
        assert_eq!(
            rig.sim.calls().iter().filter(|call| call.target == Some(object.target.clone())).count(),
            1
        );
        let expected = if applied { ObjectState::Delivered } else { ObjectState::DeliveryFailed };
        assert_eq!(rig.sim.state(&object.target), Some(expected));
    }
}

#[tokio::test]
async fn hang_is_never_answered() {
    let rig = Rig::start().await;
    let object = rig.failed_request();
    rig.sim.put(object.clone());
    rig.sim.fault(CallMatch::look(), Fault::Hang);
    let request = rig.request(Method::GET, &request_path(&object.target.id));
    assert!(request.timeout(Duration::from_millis(50)).send().await.unwrap_err().is_timeout());
    assert_eq!(rig.last_call().status, None);
}

#[tokio::test]
async fn spoilt_bodies_have_a_status_and_no_json() {
    let rig = Rig::start().await;
    let object = rig.failed_request();
    let path = request_path(&object.target.id);
    rig.sim.put(object);
    rig.sim.fault(CallMatch::look(), Fault::TruncatedBody);
    rig.sim.fault(CallMatch::look(), Fault::NotJson);
    let cut = rig.get(&path).await;
    assert_eq!(cut.status(), 200);
    assert!(cut.bytes().await.is_err());
    let page = rig.get(&path).await;
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().starts_with("<html>"));
}

#[tokio::test]
async fn expansion_can_be_refused_and_the_rate_limited() {
    let rig = Rig::start().await;
    let object = rig.failed_request();
    let path = request_path(&object.target.id);
    rig.sim.put(object);
    rig.sim.refuse_expand(true);
    assert_eq!(rig.get(&format!("{path}?$expand=accessPackage%2Crequestor")).await.status(), 400);
    assert_eq!(rig.get(&path).await.status(), 200);
    assert_eq!(rig.sim.violations(), Vec::<String>::new());
    rig.sim.set_rate_limit(Some(0));
    let limited = rig.get(&path).await;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "1"));
}

#[tokio::test]
async fn calls_without_a_good_token_are_refused() {
    let mut rig = Rig::start().await;
    let object = rig.failed_request();
    let path = request_path(&object.target.id);
    rig.sim.put(object);
    rig.sim.expire_tokens();
    assert_eq!(code(rig.get(&path).await).await, (401, "InvalidAuthenticationToken".to_owned()));
    assert!(!rig.last_call().authorization_ok);
    rig.renew_token().await;
    assert_eq!(rig.get(&path).await.status(), 200);
    assert!(rig.last_call().authorization_ok);
    assert_eq!(rig.sim.issued_tokens().len(), 2);
    rig.token.clear();
    assert_eq!(rig.get(&path).await.status(), 401);
}

#[tokio::test]
async fn token_form_is_checked() {
    let rig = Rig::start().await;
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let assertion = form("client_assertion", "a.b.c");
    let good = form("client_secret", "of this test");
    for (form, expected) in [
        (format!("{assertion}&{kind}"), (200, "")),
        (assertion.clone(), (400, "invalid_request")),
        (good.replace("client_credentials", "password"), (400, "unsupported_grant_type")),
        (good.replace(".default", "User.Read"), (400, "invalid_scope")),
        (form("nothing", "at all"), (401, "invalid_client")),
        (format!("{good}&client_assertion=a.b.c&{kind}"), (401, "invalid_client")),
        (String::new(), (400, "invalid_request")),
    ] {
        let answer = rig.ask_token(&form).await;
        let status = answer.status().as_u16();
        let error = body(answer).await;
        assert_eq!((status, error["error"].as_str().unwrap_or_default()), expected, "{form}");
    }
    rig.sim.fault(CallMatch::token(), Fault::status(401, "invalid_client"));
    assert_eq!(rig.ask_token(&good).await.status(), 401);
    assert_eq!(rig.ask_token(&good).await.status(), 200);
    let stranger =
        Application { tenant_id: random_guid(), client_id: random_guid(), secret: random_guid().to_string() };
    rig.sim.set_application(stranger);
    assert_eq!(rig.ask_token(&good).await.status(), 400);
}
