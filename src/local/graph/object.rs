//! Simulated assignments and assignment requests: their states, when they may be reprocessed, how they read.
//! Knows no HTTP.
//!
//! ```text
//! reprocess accepted          delivery ends
//!        |---- delivery_delay ----|
//!        |-- reads_lag --|
//!  reads:  the old state   Delivering  Delivered, or `failed_as` while `fail_deliveries` lasts
//! ```

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::target::{ApiVersion, Guid, Target, TargetKind, Via};

/// Graph reprocesses a request up to 14 days after its completion.
const REPROCESS_WINDOW: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The state of either kind of object; requests are never `Expired`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectState {
    Submitted,
    PendingApproval,
    Scheduled,
    Delivering,
    Delivered,
    PartiallyDelivered,
    DeliveryFailed,
    Denied,
    Canceled,
    Expired,
    /// One that nobody knows yet, in Pascal case: the enumerations are evolvable.
    Other(String),
}

impl ObjectState {
    /// As beta spells it; v1.0 has the same names in lower camel case.
    fn pascal(&self) -> &str {
        match self {
            Self::Submitted => "Submitted",
            Self::PendingApproval => "PendingApproval",
            Self::Scheduled => "Scheduled",
            Self::Delivering => "Delivering",
            Self::Delivered => "Delivered",
            Self::PartiallyDelivered => "PartiallyDelivered",
            Self::DeliveryFailed => "DeliveryFailed",
            Self::Denied => "Denied",
            Self::Canceled => "Canceled",
            Self::Expired => "Expired",
            Self::Other(name) => name,
        }
    }

    fn name(&self, version: ApiVersion) -> String {
        let pascal = self.pascal();
        match (version, pascal.chars().next()) {
            (ApiVersion::V1, Some(first)) => first.to_lowercase().chain(pascal.chars().skip(1)).collect(),
            (ApiVersion::V1, None) | (ApiVersion::Beta, _) => pascal.to_owned(),
        }
    }
}

/// One object as the simulator keeps it. Make it with [`Simulated::failed_request`] or
/// [`Simulated::delivered_assignment`] and override fields with `..`.
#[derive(Clone, Debug)]
pub struct Simulated {
    pub target: Target,
    pub state: ObjectState,
    /// Free text beside the state; the state's name if `None`.
    pub status: Option<String>,
    pub created_at: Timestamp,
    /// Assignments have none, whatever stands here.
    pub completed_at: Option<Timestamp>,
    /// From acceptance of a reprocess to the end of the delivery.
    pub delivery_delay: Duration,
    /// How many of the next deliveries end in `failed_as`.
    pub fail_deliveries: u32,
    pub failed_as: ObjectState,
    /// Reads show the state before the acceptance for that long.
    pub reads_lag: Duration,
    pub access_package_id: Guid,
    /// `None` as long as the subject is not yet a user of the tenant.
    pub subject_id: Option<Guid>,
    /// The nested beta paths on which this assignment can be reached.
    pub via: Vec<Via>,
}

impl Simulated {
    /// A request whose delivery failed an hour ago and succeeds when reprocessed, at once.
    pub fn failed_request(id: Guid, now: Timestamp) -> Self {
        let hours_ago = |hours: i64| now - jiff::SignedDuration::from_hours(hours);
        Self {
            state: ObjectState::DeliveryFailed,
            created_at: hours_ago(2),
            completed_at: Some(hours_ago(1)),
            ..Self::new(Target { kind: TargetKind::AssignmentRequest, id }, now)
        }
    }

    /// A delivered assignment that reprocess re-applies, at once.
    pub fn delivered_assignment(id: Guid, now: Timestamp) -> Self {
        Self::new(Target { kind: TargetKind::Assignment, id }, now)
    }

    fn new(target: Target, now: Timestamp) -> Self {
        Self {
            target,
            state: ObjectState::Delivered,
            status: None,
            created_at: now,
            completed_at: None,
            delivery_delay: Duration::ZERO,
            fail_deliveries: 0,
            failed_as: ObjectState::DeliveryFailed,
            reads_lag: Duration::ZERO,
            access_package_id: random_guid(),
            subject_id: Some(random_guid()),
            via: Vec::new(),
        }
    }
}

/// A GUID nobody has seen before.
pub fn random_guid() -> Guid {
    Guid::parse(&Uuid::new_v4().to_string()).expect("a UUID prints in the 8-4-4-4-12 form")
}

/// An object and the delivery under way on it.
#[derive(Debug)]
pub(super) struct Live {
    pub object: Simulated,
    delivery_due: Option<Timestamp>,
    /// What reads show until an instant.
    stale: Option<(Timestamp, ObjectState, Option<Timestamp>)>,
}

impl Live {
    pub fn new(object: Simulated) -> Self {
        Self { object, delivery_due: None, stale: None }
    }

    /// Ends a delivery that is due.
    pub fn settle(&mut self, now: Timestamp) {
        let Some(due) = self.delivery_due.filter(|due| *due <= now) else { return };
        self.delivery_due = None;
        if self.object.fail_deliveries > 0 {
            self.object.fail_deliveries -= 1;
            self.object.state = self.object.failed_as.clone();
        } else {
            self.object.state = ObjectState::Delivered;
        }
        self.object.completed_at = Some(due);
    }

    /// Whether a reprocess would be accepted now, or the reason why not.
    pub fn may_reprocess(&self, now: Timestamp) -> Result<(), String> {
        let object = &self.object;
        match (object.target.kind, &object.state) {
            (TargetKind::Assignment, ObjectState::Delivered) => Ok(()),
            (
                TargetKind::AssignmentRequest,
                ObjectState::DeliveryFailed | ObjectState::PartiallyDelivered,
            ) => match object.completed_at {
                Some(completed) if now.duration_since(completed) > signed(REPROCESS_WINDOW) => {
                    Err("The request was completed more than 14 days ago.".to_owned())
                }
                _ => Ok(()),
            },
            (_, state) => {
                Err(format!("The object is in state {} and cannot be reprocessed.", state.pascal()))
            }
        }
    }

    /// Begins a delivery; ask [`Live::may_reprocess`] first.
    pub fn reprocess(&mut self, now: Timestamp) {
        let object = &mut self.object;
        self.stale = Some((now + object.reads_lag, object.state.clone(), object.completed_at));
        self.delivery_due = Some(now + object.delivery_delay);
        object.state = ObjectState::Delivering;
        object.completed_at = None;
    }

    /// The object as a `GET` shows it, with the named properties expanded.
    pub fn read(&self, now: Timestamp, version: ApiVersion, expand: &[String]) -> Value {
        let object = &self.object;
        let (state, completed_at) = match &self.stale {
            Some((until, state, completed_at)) if now < *until => (state, *completed_at),
            _ => (&object.state, object.completed_at),
        };
        let name = state.name(version);
        let status = object.status.clone().unwrap_or_else(|| state.pascal().to_owned());
        let created = object.created_at.to_string();
        let completed = completed_at.map(|at| at.to_string());
        let id = object.target.id.as_str();
        let mut body = match (object.target.kind, version) {
            (TargetKind::AssignmentRequest, ApiVersion::V1) => json!({
                "id": id, "requestType": "adminAdd", "state": name, "status": status,
                "createdDateTime": created, "completedDateTime": completed,
            }),
            (TargetKind::AssignmentRequest, ApiVersion::Beta) => json!({
                "id": id, "requestType": "AdminAdd", "requestState": name, "requestStatus": status,
                "createdDateTime": created, "completedDate": completed,
            }),
            (TargetKind::Assignment, ApiVersion::V1) => json!({
                "id": id, "state": name, "status": status, "expiredDateTime": null,
            }),
            (TargetKind::Assignment, ApiVersion::Beta) => json!({
                "id": id, "accessPackageId": object.access_package_id, "assignmentState": name,
                "assignmentStatus": status, "isExtended": false, "expiredDateTime": null,
            }),
        };
        for property in expand {
            body[property] = match property.as_str() {
                "accessPackage" => json!({ "id": object.access_package_id, "displayName": "Simulated" }),
                _ => json!({ "id": object.target.id, "objectId": object.subject_id, "subjectType": "user" }),
            };
        }
        body
    }
}

/// The properties that `$expand` may name.
pub(super) fn expandable(kind: TargetKind) -> [&'static str; 2] {
    match kind {
        TargetKind::AssignmentRequest => ["accessPackage", "requestor"],
        TargetKind::Assignment => ["accessPackage", "target"],
    }
}

fn signed(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}
