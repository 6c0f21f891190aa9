//! Everything the simulator knows, behind one lock. Speaks no HTTP.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::GraphCall;
use super::call::Call;
use super::fault::Faults;
use super::list::{PAGE_SIZE, Rest};
use super::object::Live;
use super::token::Tokens;
use crate::domain::target::Target;

#[derive(Default)]
pub(super) struct World {
    /// Of this server, without a trailing slash.
    pub url: String,
    /// How far the simulator's clock is ahead of the real one.
    pub ahead: SignedDuration,
    pub objects: HashMap<Target, Live>,
    pub tokens: Tokens,
    pub faults: Faults,
    pub calls: Vec<GraphCall>,
    pub violations: Vec<String>,
    pub latency: Duration,
    pub refuse_expand: bool,
    /// Filters with more than one condition.
    pub refuse_and: bool,
    /// Clients come by https, so that is how links begin.
    pub behind_tls: bool,
    /// Entries of a page of a list.
    pub page_size: usize,
    /// What the links handed out lead to, by path and query.
    pub links: HashMap<String, Rest>,
    /// Calls to Graph a second; `None` is no limit.
    pub rate: Option<usize>,
    /// When the calls of the last second came, for `rate`.
    recent: VecDeque<Instant>,
}

impl World {
    /// Empty; `url` is where it is served.
    pub fn new(url: String) -> Self {
        Self { url, page_size: PAGE_SIZE, ..Self::default() }
    }

    pub fn now(&self) -> Timestamp {
        crate::clock::system_now() + self.ahead
    }

    /// The object as it is now: a delivery that is due has ended.
    pub fn settled(&mut self, target: &Target) -> Option<&mut Live> {
        let now = self.now();
        let live = self.objects.get_mut(target)?;
        live.settle(now);
        Some(live)
    }

    /// Counts this call; false if it is one too many. A refused call counts too, as it does at Graph.
    pub fn within_rate(&mut self) -> bool {
        let Some(rate) = self.rate else { return true };
        let now = Instant::now();
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1)) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.recent.len() <= rate
    }

    pub fn violation(&mut self, call: &Call, rule: &str) {
        self.violations.push(format!("{} {}: {rule}", call.method, call.path));
    }
}
