//! What a sweep says of itself, as the function answers it. Computes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::sweep::LeftOut;
use crate::domain::target::{Guid, Target, TargetKind};

/// So many of what cannot be read are named.
const MOST_NAMED: usize = 20;

/// The answer to one sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Failures that Graph lists, whatever their age, each once.
    pub found: usize,
    /// Open repairs that no message drives any more.
    pub undriven: usize,
    /// Messages in the queue.
    pub sent: usize,
    /// Nothing is sent for these, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// What should be in the queue and, as far as is known, is not.
    pub not_sent: Vec<NotSent>,
    /// Left to the next sweep by `SWEEP_LIMIT`, which counts what waits in the queue too.
    pub over_limit: usize,
    /// Messages that waited in the queue before anything was sent, about; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<usize>,
    /// Entra gave no token or Graph no list, so that an administrator must act.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub graph_refused: bool,
    /// Entries of Graph's lists and histories that cannot be read, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// All could be read, and all that was due was sent.
    pub complete: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// In a dry run: how many messages a sweep would send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_send: Option<usize>,
    /// In a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<Row>>,
    /// How many more rows the plan has than an answer can hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub plan_left_out: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotSent {
    pub target: TargetKind,
    pub id: Guid,
    pub why: String,
}

/// One target of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub target: TargetKind,
    pub id: Guid,
    /// As last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_package_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ends: Option<Timestamp>,
    pub action: Action,
    /// `failed`, `leaseOver`, `noRecord`, or why it is left out.
    pub why: String,
    /// Of an undriven repair: since when nobody was heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Send,
    OverLimit,
    LeaveOut,
}

impl NotSent {
    pub(super) fn of(target: &Target, why: impl Into<String>) -> Self {
        Self { target: target.kind, id: target.id.clone(), why: why.into() }
    }
}

impl Summary {
    pub(super) fn new(
        found: usize,
        undriven: usize,
        left_out: BTreeMap<String, usize>,
        mut unreadable: Vec<String>,
        mut faults: Vec<String>,
    ) -> Self {
        if !unreadable.is_empty() {
            faults.push(format!("{} could not be read and are named under `unreadable`", unreadable.len()));
        }
        unreadable.truncate(MOST_NAMED);
        let why = (!faults.is_empty()).then(|| faults.join("; "));
        Self {
            found,
            undriven,
            sent: 0,
            left_out,
            not_sent: Vec::new(),
            over_limit: 0,
            waiting: None,
            graph_refused: false,
            unreadable,
            complete: why.is_none(),
            why,
            would_send: None,
            plan: None,
            plan_left_out: 0,
        }
    }

    /// Failures that Graph would still take. Its lists keep what failed years ago.
    pub(super) fn found_in_time(&self) -> usize {
        self.found
            - self.left_out.get(LeftOut::WindowClosed.as_str()).copied().unwrap_or_default().min(self.found)
    }

    /// One more reason why it is not complete.
    pub(super) fn fault(&mut self, why: &str) {
        self.complete = false;
        self.why = Some(self.why.take().map_or_else(|| why.to_owned(), |before| format!("{before}; {why}")));
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
