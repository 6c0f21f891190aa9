//! When: the policy, the circumstances of a decision, and every wait computed from them. Decides nothing else.

use std::time::Duration;

use jiff::Timestamp;

use super::request::Request;
use super::target::TargetKind;

const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// No wait between looks or attempts is longer, unless Graph asks for it.
const LONGEST_WAIT: Duration = HOUR;
/// A longer `Retry-After` is cut: SQS puts a message off for 12 hours at most, and one odd header must not
/// block a target for good.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(12 * 60 * 60);
/// Waits are made longer by up to this part at random, so that a mass of messages does not come back at once.
const JITTER: f64 = 0.2;
/// An attempt's lease ends this long after the deadline of the invocation that holds it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Lambda ends every invocation after so long: a deadline further away than that is an odd one, and must not
/// lock a target for good.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// Until when an attempt that starts now is its caller's alone.
pub fn lease_until(now: Timestamp, deadline: Timestamp) -> Timestamp {
    after(deadline.min(after(now, LONGEST_INVOCATION)), LEASE_MARGIN)
}

/// The settings that the rules use. All durations are as set in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts a repair that Graph accepted, or may have.
    pub max_attempts: u32,
    /// Assignment requests completed longer ago are not tried.
    pub window: Duration,
    /// From acceptance to the first look.
    pub check_after: Duration,
    /// The first wait after an unavailable answer; doubles.
    pub retry_after: Duration,
    /// From a repair's first record, if Graph never accepted anything.
    pub give_up_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            window: 14 * DAY,
            check_after: Duration::from_secs(120),
            retry_after: Duration::from_secs(30),
            give_up_after: 7 * DAY,
        }
    }
}

/// What a decision is made from, besides the history and what was seen.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    pub request: &'a Request,
    pub now: Timestamp,
    pub policy: &'a Policy,
    /// Graph throttles this process until then.
    pub paused_until: Option<Timestamp>,
    /// SQS's receive count of the message; 1 on direct invocation.
    pub receive_count: u32,
    /// At random from 0 to 1, for waits.
    pub jitter: f64,
}

impl Circumstances<'_> {
    /// Whether Graph would refuse an attempt for its age; never for assignments or where no time is known.
    pub fn window_is_closed(&self, completed_at: Option<Timestamp>) -> bool {
        self.request.target.kind == TargetKind::AssignmentRequest
            && completed_at.is_some_and(|completed_at| since(completed_at, self.now) > self.policy.window)
    }

    /// True while Graph throttles this process.
    pub fn is_paused(&self) -> bool {
        self.pause().is_some()
    }

    /// When Graph may be asked again, a little spread; `None` if it may be asked now.
    pub fn pause(&self) -> Option<Timestamp> {
        let until = self.paused_until.filter(|until| self.now < *until)?;
        Some(after(until, self.extra(since(self.now, until))))
    }

    /// `None` once `wait` has passed since `from`; the wait is lengthened at random, the rule is not.
    pub fn wait_until(&self, from: Timestamp, wait: Duration) -> Option<Timestamp> {
        (self.now < after(from, wait)).then(|| after(from, wait + self.extra(wait)))
    }

    /// After attempt 1 `RETRY_AFTER`, then twice as long each time, up to an hour.
    pub fn backoff(&self, attempt: u32) -> Duration {
        doubled(self.policy.retry_after, attempt)
    }

    /// See [`unread_wait`].
    pub fn unread_wait(&self) -> Duration {
        unread_wait(self.policy, self.receive_count, self.jitter)
    }

    /// When to look again after a look that saw nothing: Graph's own wish wins if it is later.
    pub fn unread(&self, retry_after: Option<Duration>) -> Timestamp {
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        after(self.now, self.unread_wait().max(asked + self.extra(asked)))
    }

    /// As long as has passed already, from `CHECK_AFTER` to an hour.
    pub fn watch_wait(&self, from: Timestamp) -> Duration {
        since(from, self.now).min(LONGEST_WAIT).max(self.policy.check_after)
    }

    /// The random part of a wait.
    pub fn extra(&self, wait: Duration) -> Duration {
        extra(wait, self.jitter)
    }
}

/// Where nothing is recorded that could be counted, the receive count is.
pub fn unread_wait(policy: &Policy, receive_count: u32, jitter: f64) -> Duration {
    let wait = doubled(policy.retry_after, receive_count);
    wait + extra(wait, jitter)
}

/// The random part of a wait; none where the wait is at its longest already. `jitter` is from 0 to 1.
fn extra(wait: Duration, jitter: f64) -> Duration {
    let room = LONGEST_WAIT.saturating_sub(wait);
    wait.mul_f64(JITTER * jitter.clamp(0.0, 1.0)).min(room)
}

/// `first`, then twice as long each time, up to an hour.
pub fn doubled(first: Duration, nth: u32) -> Duration {
    let factor = 2u32.saturating_pow(nth.saturating_sub(1));
    first.saturating_mul(factor).min(LONGEST_WAIT.max(first))
}

pub fn after(from: Timestamp, wait: Duration) -> Timestamp {
    from.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// From `earlier` to `later`; zero if it is the other way round (clocks disagree).
pub fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}
