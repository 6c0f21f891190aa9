//! What the process has and what this delivery is: the clients, the pause that Graph asked for, who records.
//! Does nothing with a request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::bus::Bus;
use crate::clock::{Clock, Deadline};
use crate::domain::pace::{Policy, lease_until, unread_wait};
use crate::domain::record::{Actor, By, Source};
use crate::domain::target::Cloud;
use crate::graph::GraphClient;
use crate::queue::Queue;
use crate::telling::Told;
use crate::trail::Trail;

/// A call must end, and be recorded, this long before the invocation does.
const CALL_RESERVE: Duration = Duration::from_secs(1);
/// A call for which less time is left is not sent.
const SHORTEST_CALL: Duration = Duration::from_secs(1);
/// Reading and appending may take all the time but this.
const STORE_RESERVE: Duration = Duration::from_millis(300);

/// What a direct invocation keeps for putting unfinished requests on the queue, and a little more.
const DIRECT_RESERVE: Duration = Duration::from_millis(1600);

/// What one process has: its clients, and what it knows beyond any one request.
pub struct Clients {
    pub trail: Trail,
    pub graph: GraphClient,
    pub queue: Queue,
    /// `None` where nobody wants to be told.
    pub bus: Option<Bus>,
    pub told: Told,
    pub policy: Policy,
    pub call_timeout: Duration,
    pub cloud: Cloud,
    pub actor: Actor,
    /// The name under which this program signs its records.
    pub function: String,
    pub clock: Clock,
    pub pause: Pause,
}

impl Clients {
    /// How far to put off where nothing was read or recorded that says better.
    pub fn later(&self, receive_count: u32) -> Timestamp {
        let wait = unread_wait(&self.policy, receive_count, fastrand::f64());
        self.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX)
    }

    /// For the `by` of a record.
    pub fn signature(&self, delivery: &Delivery) -> By {
        By {
            function: self.function.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            invocation_id: delivery.invocation_id.clone(),
            message_id: delivery.message_id.clone(),
        }
    }
}

/// Until when Graph wants to hear nothing from this process.
#[derive(Debug, Default)]
pub struct Pause(Mutex<Option<Timestamp>>);

impl Pause {
    pub fn until(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never shortens it.
    pub fn extend(&self, until: Timestamp) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(held.map_or(until, |held| held.max(until)));
    }
}

/// How a request, or what should have been one, reached us this time.
pub struct Delivery {
    pub source: Source,
    /// The SQS message at hand; `None` on direct invocation.
    pub message_id: Option<String>,
    pub receive_count: u32,
    pub invocation_id: String,
    pub deadline: Deadline,
}

impl Delivery {
    /// How long reading or appending may take, tries and all.
    pub fn store_patience(&self) -> Duration {
        self.deadline.left_less(STORE_RESERVE)
    }

    /// How long telling others of a settled request may take: its answer is not given up for it.
    pub fn time_for_telling(&self) -> Duration {
        let reserve = if self.message_id.is_some() { STORE_RESERVE } else { DIRECT_RESERVE };
        self.deadline.left_less(reserve)
    }

    /// How long telling others may take while a call to Graph, its answer and its record are still to come: the
    /// shortest call that is worth it, for a longer one is cut to what is left.
    pub fn time_beside_a_call(&self) -> Duration {
        self.deadline.left_less(SHORTEST_CALL + CALL_RESERVE * 2)
    }

    /// How long one call to Graph may take; `None` if it could not end and be recorded in time.
    pub fn time_for_a_call(&self, call_timeout: Duration) -> Option<Duration> {
        let left = self.deadline.left_less(CALL_RESERVE);
        (left >= SHORTEST_CALL).then(|| left.min(call_timeout))
    }

    pub fn lease_until(&self) -> Timestamp {
        lease_until(self.deadline.clock.now(), self.deadline.at)
    }
}
