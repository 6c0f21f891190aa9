//! An object of Graph, in either version's spelling, into a [`Sight`]. Judges no state.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::answer::bounded;
use crate::domain::reply::Sight;
use crate::domain::request::Request;
use crate::domain::target::{ApiVersion, Guid, TargetKind};

const MOST_STATE_BYTES: usize = 256;
const MOST_ID_BYTES: usize = 128;

/// The state an object shows, or why the body shows none.
///
/// Graph's objects are open: whatever is absent, of another type or unknown is left out, not refused. Only
/// another object than the one asked for is.
pub(super) fn read(body: &[u8], request: &Request, secrets: &[&str]) -> Result<Sight, &'static str> {
    let body = serde_json::from_slice::<Value>(body).map_err(|_| "the body is not JSON")?;
    if !body.is_object() {
        return Err("the body is not a JSON object");
    }
    let is_asked_for = |id: &str| Guid::parse(id).is_ok_and(|id| id == request.target.id);
    if body.get("id").and_then(Value::as_str).is_some_and(|id| !is_asked_for(id)) {
        return Err("the body shows another object");
    }
    Ok(of_object(&body, request.target.kind, request.api_version, secrets))
}

/// The state that an object of this kind shows.
pub(super) fn of_object(body: &Value, kind: TargetKind, version: ApiVersion, secrets: &[&str]) -> Sight {
    let names = names(kind, version);
    let text = |name: &&str| body.get(*name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let id = |path: &str| body.pointer(path).and_then(Value::as_str).filter(|id| !id.is_empty());
    let kept = |text: &str, most| bounded(text, most, secrets);
    let person = match kind {
        TargetKind::AssignmentRequest => "/requestor/objectId",
        TargetKind::Assignment => "/target/objectId",
    };
    Sight {
        state: names
            .state
            .iter()
            .find_map(text)
            .map(|state| kept(state, MOST_STATE_BYTES))
            .unwrap_or_default(),
        status: names.status.iter().find_map(text).map(|status| kept(status, MOST_STATE_BYTES)),
        completed_at: names.completed.iter().find_map(|name| instant(text(name)?)),
        access_package_id: id("/accessPackage/id")
            .or_else(|| id("/accessPackageId"))
            .map(|id| kept(id, MOST_ID_BYTES)),
        subject_id: id(person).map(|id| kept(id, MOST_ID_BYTES)),
    }
}

/// Whether the time of completion is absent or readable, and not of another type.
pub(super) fn completion_is_readable(body: &Value, kind: TargetKind, version: ApiVersion) -> bool {
    names(kind, version).completed.iter().all(|name| match body.get(*name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => parsed(text).is_some(),
        Some(_) => false,
    })
}

/// The names of one idea, the version's own first.
struct Names {
    state: [&'static str; 3],
    status: [&'static str; 3],
    completed: &'static [&'static str],
}

fn names(kind: TargetKind, version: ApiVersion) -> Names {
    let state = match (kind, version) {
        (_, ApiVersion::V1) => ["state", "requestState", "assignmentState"],
        (TargetKind::AssignmentRequest, ApiVersion::Beta) => ["requestState", "state", "assignmentState"],
        (TargetKind::Assignment, ApiVersion::Beta) => ["assignmentState", "state", "requestState"],
    };
    let status = match (kind, version) {
        (_, ApiVersion::V1) => ["status", "requestStatus", "assignmentStatus"],
        (TargetKind::AssignmentRequest, ApiVersion::Beta) => ["requestStatus", "status", "assignmentStatus"],
        (TargetKind::Assignment, ApiVersion::Beta) => ["assignmentStatus", "status", "requestStatus"],
    };
    let completed: &[_] = match (kind, version) {
        (TargetKind::Assignment, _) => &[],
        (TargetKind::AssignmentRequest, ApiVersion::V1) => &["completedDateTime", "completedDate"],
        (TargetKind::AssignmentRequest, ApiVersion::Beta) => &["completedDate", "completedDateTime"],
    };
    Names { state, status, completed }
}

/// Graph means UTC also where it leaves the zone out. Its year 1 stands for "not set".
fn instant(text: &str) -> Option<Timestamp> {
    parsed(text).filter(|at| *at > Timestamp::UNIX_EPOCH)
}

fn parsed(text: &str) -> Option<Timestamp> {
    let without_zone = |text: &str| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse::<Timestamp>().ok().or_else(|| without_zone(text).map(|zoned| zoned.timestamp()))
}
