//! From what was found to what is to be sent: each target's history, read consistently, and what it says. Sends
//! nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Action, Listed, Row, Silent, Summary, Sweeper};
use crate::domain::chain::Head;
use crate::domain::overview::Overview;
use crate::domain::request::Request;
use crate::domain::state::State;
use crate::domain::sweep::{Failed, LeftOut, Silence, last_version, send_again, silence};
use crate::domain::target::Target;
use crate::telemetry;
use crate::trail::{History, HistoryError};

/// Histories read at once: enough to keep the way to DynamoDB full.
const READS_AT_ONCE: usize = 16;
/// An answer of Lambda holds 6 MB, which is some 20,000 rows.
const MOST_ROWS: usize = 5_000;

/// An open repair that no message drives.
pub(super) struct Undriven {
    pub(super) overview: Overview,
    pub(super) head: Head,
    pub(super) request: Request,
    silence: Silence,
}

/// A failure that is to be repaired.
pub(super) struct Wish {
    pub(super) failed: Failed,
    pub(super) request: Request,
}

/// One message to be sent.
pub(super) enum Due {
    Undriven(Box<Undriven>),
    Failed(Box<Wish>),
}

/// Everything that is known before anything is sent.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) found: usize,
    /// Open repairs that no message drives.
    pub(super) undriven: usize,
    /// The most urgent first.
    pub(super) due: Vec<Due>,
    /// Messages that nobody has taken from the queue yet, if that is known.
    pub(super) waiting: Option<usize>,
    graph_refused: bool,
    pub(super) left_out: BTreeMap<String, usize>,
    pub(super) unreadable: Vec<String>,
    pub(super) faults: Vec<String>,
    /// Left out, but for those that are too old.
    held_back: Vec<(Failed, LeftOut)>,
}

/// What became of one history.
enum Read {
    Whole(Box<History>),
    /// Only this target has to do with it.
    Unreadable(String),
    /// The table failed, here or before.
    Store(Option<anyhow::Error>),
    NoTime,
}

impl Sweeper {
    /// `Err`: neither the days nor any history of the trail could be read.
    pub(super) async fn plan(
        &self,
        listed: Listed,
        silent: Silent,
        now: Timestamp,
        until: Instant,
    ) -> anyhow::Result<Plan> {
        let mut plan = Plan { found: listed.failed.len(), ..Plan::default() };
        plan.graph_refused = listed.is_refused();
        plan.faults = listed.faults.into_iter().chain(silent.fault).collect();
        plan.unreadable = listed.unreadable.into_iter().chain(silent.unreadable).collect();
        let (mut trail_read, silent) = (silent.answered, silent.targets);
        let mut failed = listed.failed;
        failed.sort_by(|one, other| one.urgency().cmp(&other.urgency()));
        let window = self.policy.window;
        failed.retain(|failed| {
            let closed = failed.window_ends(window).is_some_and(|ends| ends <= now);
            if closed {
                plan.leave_out(LeftOut::WindowClosed);
            }
            !closed
        });

        let targets = silent.iter().cloned().chain(failed.iter().map(Failed::target)).collect::<Vec<_>>();
        let down = AtomicBool::new(false);
        let mut histories = stream::iter(&targets)
            .map(|target| self.history(target, until, &down))
            .buffered(READS_AT_ONCE)
            .zip(stream::iter(&targets).enumerate());
        let (mut unread, mut store_fault) = (0_usize, None);
        while let Some((read, (at, target))) = histories.next().await {
            let history = match read {
                Read::Whole(history) => history,
                Read::Unreadable(why) => {
                    plan.unreadable.push(why);
                    continue;
                }
                Read::Store(error) => {
                    if let Some(error) = error {
                        telemetry::sweep_without_table(&error);
                        store_fault.get_or_insert(error);
                    }
                    unread += 1;
                    continue;
                }
                Read::NoTime => {
                    unread += 1;
                    continue;
                }
            };
            trail_read = true;
            match at.checked_sub(silent.len()).and_then(|at| failed.get(at)) {
                None => {
                    if let Some(undriven) = self.judge_silent(target, *history, now) {
                        plan.undriven += 1;
                        plan.due.push(Due::Undriven(Box::new(undriven)));
                    }
                }
                Some(failed) => self.judge_failed(&mut plan, failed, &history, now),
            }
        }
        drop(histories);
        plan.note_unread(unread, store_fault, trail_read)?;
        plan.due.sort_by_cached_key(|due| due.urgency(window));
        Ok(plan)
    }

    async fn history(&self, target: &Target, until: Instant, down: &AtomicBool) -> Read {
        if down.load(Ordering::Relaxed) {
            return Read::Store(None);
        }
        let patience = until.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            return Read::NoTime;
        }
        match self.trail.history(target.key(self.trail.tenant()), patience).await {
            Ok(history) => Read::Whole(Box::new(history)),
            Err(HistoryError::Unreadable(error)) => Read::Unreadable(format!("{error:#}")),
            Err(HistoryError::Store(_)) if Instant::now() >= until => Read::NoTime,
            Err(HistoryError::Store(error)) => {
                down.store(true, Ordering::Relaxed);
                Read::Store(Some(error))
            }
        }
    }

    fn judge_silent(&self, target: &Target, history: History, now: Timestamp) -> Option<Undriven> {
        let mut overview = Overview::new(target.clone());
        history.records.iter().for_each(|record| overview.apply(record));
        let silence = silence(&overview.state, now)?;
        let version = last_version(history.records.iter());
        let request = send_again(&overview, silence, history.head.seq, version, self.api_version);
        Some(Undriven { overview, head: history.head, request, silence })
    }

    fn judge_failed(&self, plan: &mut Plan, failed: &Failed, history: &History, now: Timestamp) {
        let state = State::fold(failed.target().kind, &history.records);
        match failed.wish(&state, now, self.policy.window, self.api_version) {
            Ok(request) => plan.due.push(Due::Failed(Box::new(Wish { failed: failed.clone(), request }))),
            Err(why) => {
                plan.leave_out(why);
                plan.held_back.push((failed.clone(), why));
            }
        }
    }
}

impl Due {
    pub(super) fn request(&self) -> &Request {
        match self {
            Self::Undriven(undriven) => &undriven.request,
            Self::Failed(wish) => &wish.request,
        }
    }

    /// What Graph takes for the shortest time first, what has no known end last; then what is under repair already,
    /// the oldest first.
    fn urgency(&self, window: Duration) -> (Timestamp, Timestamp, Target) {
        let (ends, first_at) = match self {
            Self::Undriven(undriven) => {
                let overview = &undriven.overview;
                (overview.window_ends(window), overview.state.repair.as_ref().map(|repair| repair.first_at))
            }
            Self::Failed(wish) => (wish.failed.window_ends(window), None),
        };
        (ends.unwrap_or(Timestamp::MAX), first_at.unwrap_or(Timestamp::MAX), self.request().target.clone())
    }
}

impl Undriven {
    fn row(&self, action: Action, window: Duration) -> Row {
        let last = self.overview.state.repair.as_ref().and_then(|repair| repair.attempts.last());
        let state = last.map(|attempt| {
            let observed = attempt.observed.as_ref().and_then(|observed| observed.state.clone());
            observed.unwrap_or_else(|| attempt.before.state.clone())
        });
        Row {
            target: self.overview.target.kind,
            id: self.overview.target.id.clone(),
            state,
            access_package_id: self.overview.package.clone(),
            failed_at: self.overview.window_ends(Duration::ZERO),
            window_ends: self.overview.window_ends(window),
            action,
            why: match self.silence {
                Silence::LeaseOver(_) => "leaseOver".to_owned(),
                Silence::NoRecord(_) => "noRecord".to_owned(),
            },
            silent_since: Some(self.silence.since()),
        }
    }
}

impl Plan {
    pub(super) fn leave_out(&mut self, why: LeftOut) {
        *self.left_out.entry(why.as_str().to_owned()).or_default() += 1;
    }

    fn note_unread(
        &mut self,
        unread: usize,
        store_fault: Option<anyhow::Error>,
        trail_read: bool,
    ) -> anyhow::Result<()> {
        if let Some(error) = store_fault {
            if !trail_read {
                return Err(error.context("nothing can be read: the audit table"));
            }
            self.faults.push(format!("{unread} histories were not read: {error:#}"));
        } else if unread > 0 {
            self.faults.push(format!("{unread} histories were not read: the time was over"));
        }
        if !trail_read {
            bail!("nothing can be read: {}", self.faults.join("; "));
        }
        Ok(())
    }

    /// What would be sent, in the order of sending, and then what would not and why; nothing of what is too old.
    pub(super) fn into_summary(self, limit: usize, window: Duration) -> Summary {
        let of = |failed: &Failed, action, why: &str| Row {
            target: failed.target().kind,
            id: failed.id.clone(),
            state: Some(failed.state.clone()),
            access_package_id: failed.package.clone(),
            failed_at: failed.completed_at,
            window_ends: failed.window_ends(window),
            action,
            why: why.to_owned(),
            silent_since: None,
        };
        let due = self.due.iter().enumerate().map(|(at, due)| {
            let action = if at < limit { Action::Send } else { Action::OverLimit };
            match due {
                Due::Undriven(undriven) => undriven.row(action, window),
                Due::Failed(wish) => of(&wish.failed, action, "failed"),
            }
        });
        let held_back = self.held_back.iter();
        let held_back = held_back.map(|(failed, why)| of(failed, Action::LeaveOut, why.as_str()));
        let rows = due.chain(held_back).take(MOST_ROWS).collect::<Vec<_>>();
        let (all, left_out) = (self.due.len(), self.due.len() + self.held_back.len() - rows.len());
        let mut summary = self.summary();
        summary.over_limit = all.saturating_sub(limit);
        summary.would_send = Some(all.min(limit));
        summary.plan = Some(rows);
        summary.plan_left_out = left_out;
        summary
    }

    /// With nothing sent yet.
    pub(super) fn summary(self) -> Summary {
        let mut summary =
            Summary::new(self.found, self.undriven, self.left_out, self.unreadable, self.faults);
        (summary.waiting, summary.graph_refused) = (self.waiting, self.graph_refused);
        summary
    }
}
