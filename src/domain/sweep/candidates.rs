//! Repairs that may be undriven, found by a light fold over days of records of all targets. Decides nothing: what it
//! names is judged by its own history, read consistently.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{LEASE_OVER_FOR, STALLED_AFTER};
use crate::domain::pace::since;
use crate::domain::record::{Fact, Record};
use crate::domain::target::{Guid, Target};

/// Of each target whose last known record settles nothing, when it was last heard of. Settled targets are forgotten,
/// so that memory follows open repairs.
#[derive(Debug, Default)]
pub struct Candidates(HashMap<Target, Heard>);

#[derive(Debug)]
struct Heard {
    last_at: Timestamp,
    /// The attempt whose end was not seen, and the end of its lease.
    open: Option<(Guid, Timestamp)>,
}

impl Candidates {
    /// Takes the records in the order of `at`. Clocks disagree and the index lags, so that a target may be named in
    /// vain, which costs one read.
    pub fn add(&mut self, record: &Record) {
        let (Some(kind), Some(id)) = (record.target, &record.id) else { return };
        let target = Target { kind, id: id.clone() };
        if record.fact.settles(kind) {
            self.0.remove(&target);
            return;
        }
        let heard = self.0.entry(target).or_insert(Heard { last_at: record.at, open: None });
        heard.last_at = heard.last_at.max(record.at);
        match &record.fact {
            Fact::AttemptStarted(started) => {
                heard.open = Some((started.client_request_id.clone(), started.lease_until));
            }
            Fact::AttemptEnded(ended) => {
                heard.open.take_if(|(call, _)| *call == ended.client_request_id);
            }
            _ => {}
        }
    }

    /// Those that have been silent for long enough, the longest silence first.
    pub fn silent(self, now: Timestamp) -> Vec<Target> {
        let is_silent = |heard: &Heard| {
            let died = heard.open.as_ref().is_some_and(|(_, lease)| since(*lease, now) > LEASE_OVER_FOR);
            died || since(heard.last_at, now) > STALLED_AFTER
        };
        let mut silent = self.0.into_iter().filter(|(_, heard)| is_silent(heard)).collect::<Vec<_>>();
        silent.sort_by(|(one, a), (other, b)| (a.last_at, one).cmp(&(b.last_at, other)));
        silent.into_iter().map(|(target, _)| target).collect()
    }
}
