//! Tells others, through metrics and the bus, how a repair stands. Changes nothing about a request: whatever the bus
//! does, its message goes the same way.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clients::{Clients, Delivery};
use crate::domain::event::{self, Event};
use crate::domain::pace::{after, since};
use crate::domain::record::Record;
use crate::domain::request::Request;
use crate::telemetry;

/// So many events a process remembers to have told; more are told again at worst.
const MOST_TOLD: usize = 1000;
/// A message received so often, and nothing recorded for so long, needs somebody's eyes.
const OFTEN: u32 = 20;
const LONG_SILENCE: Duration = Duration::from_secs(12 * 60 * 60);

/// What this process has told: it keeps one process from telling the same at each delivery. No promise hangs on it.
#[derive(Debug, Default)]
pub struct Told(Mutex<VecDeque<String>>);

impl Told {
    fn contains(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|told| told == key)
    }

    fn add(&self, key: String) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST_TOLD {
            told.pop_front();
        }
        told.push_back(key);
    }
}

/// One delivery of one request, as far as telling needs to know it.
pub struct Telling<'a> {
    pub clients: &'a Clients,
    pub request: &'a Request,
    pub delivery: &'a Delivery,
    /// The target's records, all of them, in order.
    pub records: &'a [Record],
}

impl Telling<'_> {
    /// The request is settled by record `seq`, which this delivery made (`here`) or found. `access_package_id` is what
    /// the look of this delivery saw, for a repair whose records do not say.
    pub async fn settled(&self, seq: u64, here: bool, access_package_id: Option<&str>) {
        if here {
            telemetry::settled(self.request);
        }
        if self.clients.bus.is_none() {
            return;
        }
        let again = || {
            let message_id = self.delivery.message_id.as_deref();
            let now = self.clients.clock.now();
            event::is_to_be_told_again(self.records, seq, &self.request.request_id, message_id, now)
        };
        let key = format!("{} {seq}", self.request.target.key(self.clients.trail.tenant()));
        if !here && (self.clients.told.contains(&key) || !again()) {
            return;
        }
        let window_ends = |failed_at| after(failed_at, self.clients.policy.window);
        let event = event::settled(&self.request.target, self.records, seq, access_package_id, window_ends);
        if let Some(event) = event
            && self.put(&event, self.delivery.time_for_telling()).await
        {
            self.clients.told.add(key);
        }
    }

    /// Repair number `repair` is not settled, and its window ends soon. Told before the record that remembers it, so
    /// that a crash between the two tells it twice and not never.
    pub async fn near_end(&self, repair: u64, access_package_id: Option<&str>, window_ends: Timestamp) {
        let target = self.request.target.key(self.clients.trail.tenant());
        let key = format!("{target} {repair} {window_ends}");
        if self.clients.told.contains(&key) {
            return;
        }
        self.clients.told.add(key);
        telemetry::window_closing(self.request, window_ends);
        let tenant = self.clients.trail.tenant();
        let event =
            event::near_end(tenant, self.request, self.records, repair, access_package_id, window_ends);
        self.put(&event, self.delivery.time_beside_a_call()).await;
    }

    /// This delivery settled nothing and recorded nothing. Counts a message that goes round and round so.
    pub fn nothing_recorded(&self) {
        let now = self.clients.clock.now();
        let silent = self.records.last().is_none_or(|last| since(last.at, now) > LONG_SILENCE);
        if silent && self.delivery.receive_count >= OFTEN {
            telemetry::received_often(self.request, self.delivery.receive_count);
        }
    }

    /// True if the bus has it. Without a bus, or without time, it does not.
    async fn put(&self, event: &Event, patience: Duration) -> bool {
        let Some(bus) = &self.clients.bus else { return false };
        match bus.put(event, patience).await {
            Ok(()) => true,
            Err(error) => {
                telemetry::event_failed(self.request, event.kind.detail_type(), &error);
                false
            }
        }
    }
}
