//! OCSF 1.8 events, one JSON document a line: each attempt as API Activity, each verified delivery as User Access
//! Management. What the schema has no place for stands under `unmapped`.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::words::ending;
use crate::domain::record::{Evidence, Outcome, Verdict, stored_name};
use crate::domain::report::{Attempt, Repair};
use crate::domain::target::Guid;

const SCHEMA: &str = "1.8.0";

/// All events of one repair.
pub fn write(tenant: &Guid, repair: &Repair, out: &mut impl Write) -> io::Result<()> {
    for event in events(tenant, repair) {
        serde_json::to_writer(&mut *out, &event).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// In the order in which they happened.
pub fn events(tenant: &Guid, repair: &Repair) -> Vec<Value> {
    let of_attempt = |attempt| {
        let delivered = is_verified_delivery(attempt).then(|| user_access(tenant, repair, attempt));
        [Some(api_activity(tenant, repair, attempt)), delivered].into_iter().flatten()
    };
    repair.attempts.iter().flat_map(of_attempt).collect()
}

fn is_verified_delivery(attempt: &Attempt) -> bool {
    attempt.observed.as_ref().is_some_and(|(_, observed)| {
        observed.verdict == Verdict::Delivered && observed.evidence == Evidence::Moved
    })
}

fn api_activity(tenant: &Guid, repair: &Repair, attempt: &Attempt) -> Value {
    let (started, ended) = (&attempt.started, attempt.ended.as_ref());
    let http_status = ended.and_then(|(_, ended)| ended.http_status);
    let (status_id, status) = match attempt.outcome() {
        Some(Outcome::Accepted) => (1, "Success"),
        Some(Outcome::Rejected | Outcome::Throttled | Outcome::Unavailable) => (2, "Failure"),
        Some(Outcome::Unknown) | None => (0, "Unknown"),
    };
    let outcome = attempt.outcome().map_or_else(|| "not ended".to_owned(), |outcome| stored_name(&outcome));
    let call = started.client_request_id.as_str();
    let ended_ms = ended.map(|(at, _)| at.as_millisecond());
    let response = present(json!({
        "code": http_status,
        "error": ended.and_then(|(_, ended)| ended.error_code.clone()),
        "error_message": ended.and_then(|(_, ended)| ended.error_message.clone()),
    }));
    let mut resources = vec![json!({ "uid": repair.target.id, "type": repair.target.kind })];
    resources
        .extend(repair.access_package_id.as_ref().map(|id| json!({ "uid": id, "type": "accessPackage" })));
    present(json!({
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "activity_id": 99,
        "activity_name": "Reprocess",
        "type_uid": 600_399,
        "type_name": "API Activity: Reprocess",
        "severity_id": 1,
        "severity": "Informational",
        "status_id": status_id,
        "status": status,
        "status_code": http_status.map(|status| status.to_string()),
        "status_detail": outcome,
        "time": attempt.started_at.as_millisecond(),
        "start_time": attempt.started_at.as_millisecond(),
        "end_time": ended_ms,
        "duration": ended.and_then(|(_, ended)| ended.duration_ms),
        "message": format!("reprocess of {} {}: {outcome}", repair.target.kind.as_str(), repair.target.id),
        "metadata": metadata(tenant, repair, call.to_owned()),
        "actor": actor(repair, attempt),
        "api": {
            "operation": "reprocess",
            "version": started.api_version.as_str(),
            "service": { "name": "Microsoft Graph" },
            "request": { "uid": call },
            "response": response,
        },
        "src_endpoint": { "svc_name": "regrant" },
        "dst_endpoint": { "svc_name": "Microsoft Graph" },
        "http_request": { "http_method": started.method, "url": { "path": started.path }, "uid": call },
        "http_response": http_status.map(|status| json!({ "code": status })),
        "resources": resources,
        "unmapped": {
            "repair": repair.number,
            "attempt": started.attempt,
            "outcome": outcome,
            "verdict": attempt.verdict(),
            "repair_ending": ending(repair.ending()),
            "graph_request_id": ended.and_then(|(_, ended)| ended.graph_request_id.clone()),
            "retry_after_seconds": ended.and_then(|(_, ended)| ended.retry_after_seconds),
            "ticket": repair.origin.as_ref().and_then(|origin| origin.ticket.clone()),
        },
    }))
}

fn user_access(tenant: &Guid, repair: &Repair, attempt: &Attempt) -> Value {
    let at = attempt.observed.as_ref().map_or(attempt.started_at, |(at, _)| *at);
    let user = match &repair.subject_id {
        Some(id) => json!({ "uid": id, "type_id": 1, "type": "User" }),
        None => json!({ "name": "not recorded", "type_id": 0, "type": "Unknown" }),
    };
    let package = repair.access_package_id.as_deref().unwrap_or("not recorded");
    present(json!({
        "category_uid": 3,
        "category_name": "Identity & Access Management",
        "class_uid": 3005,
        "class_name": "User Access Management",
        "activity_id": 1,
        "activity_name": "Assign Privileges",
        "type_uid": 300_501,
        "type_name": "User Access Management: Assign Privileges",
        "severity_id": 1,
        "severity": "Informational",
        "status_id": 1,
        "status": "Success",
        "status_detail": "delivered, and the state was seen to move",
        "time": at.as_millisecond(),
        "message": format!("access package {package} was delivered after a repair"),
        "metadata": metadata(tenant, repair, format!("{}:delivered", attempt.started.client_request_id)),
        "actor": actor(repair, attempt),
        "user": user,
        "privileges": [format!("access package {package}")],
        "resources": [{ "uid": package, "type": "accessPackage" }],
        "src_endpoint": { "svc_name": "regrant" },
        "unmapped": { "target": repair.target.kind, "id": repair.target.id, "repair": repair.number },
    }))
}

/// `uid` names the event and is the same in every report.
fn metadata(tenant: &Guid, repair: &Repair, uid: String) -> Value {
    json!({
        "version": SCHEMA,
        "uid": uid,
        "correlation_uid": format!("{}#{}", repair.target.key(tenant), repair.number),
        "tenant_uid": tenant,
        "log_name": "audit trail",
        "product": { "name": "regrant", "vendor_name": "regrant", "version": env!("CARGO_PKG_VERSION") },
    })
}

fn actor(repair: &Repair, attempt: &Attempt) -> Value {
    let requested_by = repair.origin.as_ref().and_then(|origin| origin.requested_by.as_ref());
    present(json!({
        "app_name": "regrant",
        "app_uid": attempt.started.actor.client_id,
        "user": requested_by.map(|who| json!({ "uid": who })),
    }))
}

/// Without what is null: OCSF knows absent attributes only.
fn present(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name, present(value))).collect::<Map<_, _>>().into()
        }
        value => value,
    }
}
