//! A thousand targets, what goes wrong with each, and how each must end. The same every time but for the ids.

use std::fmt::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use regrant::domain::target::{Target, TargetKind};
use regrant::local::graph::{CallMatch, Fault, GraphSimulator, ObjectState, Simulated, random_guid};
use serde_json::{Value, json};

use crate::emulators::Emulators;

/// As the functions are told.
pub const MAX_ATTEMPTS: u32 = 3;

/// How a target's repair must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Delivered,
    /// It failed after every attempt that is allowed.
    AttemptsExhausted,
    /// Nothing may be done about it.
    Skipped(&'static str),
}

pub struct Wanted {
    pub target: Target,
    pub ending: Ending,
    /// `None`: Graph does not know it.
    object: Option<Simulated>,
    faults: Vec<(CallMatch, Fault)>,
}

pub struct Load {
    pub requests: Vec<Wanted>,
}

impl Load {
    pub fn new(count: usize, now: Timestamp) -> Self {
        Self { requests: (0..count).map(|number| wanted(number, now)).collect() }
    }

    /// Tells the simulator of these targets, and what is to go wrong.
    pub fn put(&self, graph: &GraphSimulator, requests: &[Wanted]) {
        for wanted in requests {
            wanted.object.iter().cloned().for_each(|object| graph.put(object));
            wanted.faults.iter().cloned().for_each(|(calls, fault)| graph.fault(calls, fault));
        }
    }
}

impl Wanted {
    pub fn message(&self) -> Value {
        json!({ "target": self.target.kind, "id": self.target.id, "reason": "target system away", "ticket": "INC0012345" })
    }

    /// Graph's list of failed requests has it, and it may still be reprocessed.
    pub fn is_for_the_sweep(&self) -> bool {
        self.target.kind == TargetKind::AssignmentRequest && !matches!(self.ending, Ending::Skipped(_))
    }
}

/// Every twentieth target fares alike.
fn wanted(number: usize, now: Timestamp) -> Wanted {
    let id = random_guid();
    let request = Simulated::failed_request(id.clone(), now);
    let (post, look) = (CallMatch::reprocess().on(&id), CallMatch::look().on(&id));
    let failing = |times, failed_as| Simulated { fail_deliveries: times, failed_as, ..request.clone() };
    let days_ago = |days: i64| Some(now - SignedDuration::from_hours(24 * days));
    let mut faults = Vec::new();
    let mut ending = Ending::Delivered;
    let object = match number % 20 {
        0 => Simulated { delivery_delay: Duration::from_secs(4), ..request.clone() },
        1 => Simulated { reads_lag: Duration::from_secs(2), ..request.clone() },
        2 => failing(1, ObjectState::DeliveryFailed),
        3 => failing(2, ObjectState::PartiallyDelivered),
        4 => {
            ending = Ending::AttemptsExhausted;
            failing(u32::MAX, ObjectState::DeliveryFailed)
        }
        5 => {
            faults.push((post, Fault::DropAfter));
            Simulated { delivery_delay: Duration::from_secs(2), ..request.clone() }
        }
        6 => {
            faults.push((post, Fault::DropBefore));
            request.clone()
        }
        7 => {
            faults.push((post, Fault::Throttle { retry_after: Some(1) }));
            request.clone()
        }
        8 => {
            faults.push((post, Fault::status(503, "ServiceUnavailable")));
            faults.push((look, Fault::status(500, "InternalServerError")));
            request.clone()
        }
        // One in a hundred: each keeps a process waiting.
        9 if number % 100 == 9 => {
            faults.push((post, Fault::Hang));
            request.clone()
        }
        10 => {
            faults.push((post, Fault::TruncatedBody));
            request.clone()
        }
        11 => {
            faults.push((look, Fault::NotJson));
            request.clone()
        }
        12 | 13 => Simulated::delivered_assignment(id, now),
        14 => {
            ending = Ending::Skipped("notReprocessable");
            Simulated { state: ObjectState::Denied, ..request.clone() }
        }
        15 => {
            ending = Ending::Skipped("windowClosed");
            Simulated {
                completed_at: days_ago(15),
                created_at: now - SignedDuration::from_hours(400),
                ..request.clone()
            }
        }
        16 => {
            ending = Ending::Skipped("missing");
            let target = request.target;
            return Wanted { target, ending, object: None, faults };
        }
        _ => request.clone(),
    };
    Wanted { target: object.target.clone(), ending, object: Some(object), faults }
}

/// JSON Lines, as `submit` reads them.
pub fn lines(requests: &[Wanted]) -> String {
    requests.iter().fold(String::new(), |mut text, wanted| {
        let _ = writeln!(text, "{}", wanted.message());
        text
    })
}

/// What must be recorded once each, and never reach Graph.
pub const NO_REQUESTS: [&str; 3] =
    ["{\"target\":\"assignment\",\"id\":\"../users\"}", "not JSON", "{\"target\":\"assignment\"}"];

pub async fn send_what_is_no_request(emulators: &Emulators) {
    for body in NO_REQUESTS {
        let sent = emulators.sqs().send_message().queue_url(&emulators.queue.url).message_body(body).send();
        sent.await.unwrap();
    }
}
