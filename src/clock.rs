//! The one place that reads the wall clock. Does no waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// The system's clock, and ahead of it where someone moved it: so that hours of waiting take no time in a test.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Now, in whole milliseconds: the precision of a record's `at`.
    pub fn now(&self) -> Timestamp {
        let ms = system_now().as_millisecond() + self.ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
    }

    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2);
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// The system's own time, for what must agree with others' clocks: assertions, dates in headers.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn system_now() -> Timestamp {
    Timestamp::now()
}

/// When the current invocation will be ended by Lambda, come what may.
#[derive(Clone, Debug)]
pub struct Deadline {
    pub at: Timestamp,
    pub clock: Clock,
}

impl Deadline {
    /// What is left of the invocation, less `reserve`; zero if nothing is.
    pub fn left_less(&self, reserve: Duration) -> Duration {
        let left = Duration::try_from(self.at.duration_since(self.clock.now())).unwrap_or_default();
        left.saturating_sub(reserve)
    }
}
