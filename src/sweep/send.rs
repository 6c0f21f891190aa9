//! Sends what was planned, most urgent first. A record before the message, for what no message drove.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::plan::{Due, Plan, Undriven};
use super::{Budget, NotSent, Summary, Sweeper};
use crate::domain::record::{By, Fact, Origin, Record, Source, SourceKind, VERSION};
use crate::domain::request::Request;
use crate::domain::sweep::LeftOut;
use crate::telemetry;
use crate::trail::AppendError;

/// One batch call of SQS. Small, so that little lies between a record and its message.
const BATCH: usize = 10;
/// All sweeps are one group: what one person asks for does not wait behind them.
const GROUP: &str = "sweep";
/// How long one record may take, tries and all.
const APPEND_PATIENCE: Duration = Duration::from_secs(10);
/// What becomes of a repair that was recorded as sent again and was not.
const RECORDED: &str = "; it was recorded, and is sent again in 12 h";

/// What has been sent so far, and whether going on makes sense.
struct Sending {
    sent: usize,
    driven_meanwhile: usize,
    not_sent: Vec<NotSent>,
    /// Why nothing more is tried.
    stopped: Option<&'static str>,
}

/// A request that is ready to be sent, and what to add if it cannot be.
type Ready<'a> = (&'a Request, &'static str);

impl Sweeper {
    /// The most urgent first, `room` in all.
    pub(super) async fn send(&self, mut plan: Plan, room: usize, by: &By, budget: Budget) -> Summary {
        let all = plan.due.len();
        let mut sending = Sending { sent: 0, driven_meanwhile: 0, not_sent: Vec::new(), stopped: None };
        for batch in plan.due[..all.min(room)].chunks(BATCH) {
            self.send_due(batch, by, budget, &mut sending).await;
        }
        (0..sending.driven_meanwhile).for_each(|_| plan.leave_out(LeftOut::DrivenMeanwhile));
        let mut summary = plan.summary();
        summary.sent = sending.sent;
        summary.over_limit = all.saturating_sub(room);
        if !sending.not_sent.is_empty() {
            summary.fault(&format!("{} were not sent and are named under `notSent`", sending.not_sent.len()));
        }
        summary.not_sent = sending.not_sent;
        summary
    }

    /// First the records: whoever appends one sends the message, and nobody else for 12 hours. They have less time than
    /// the messages, so that what is recorded is sent.
    async fn send_due(&self, batch: &[Due], by: &By, budget: Budget, sending: &mut Sending) {
        if sending.is_over(batch, budget.append) {
            return;
        }
        let appends = batch.iter().map(|due| async move {
            match due {
                Due::Undriven(undriven) => Some(self.join(undriven, by, budget.append).await),
                Due::Failed(_) => None,
            }
        });
        let (mut ready, mut stopped) = (Vec::new(), None);
        for (due, appended) in batch.iter().zip(join_all(appends).await) {
            match appended {
                None => ready.push((due.request(), "")),
                Some(Ok(())) => ready.push((due.request(), RECORDED)),
                Some(Err(AppendError::Conflict)) => sending.driven_meanwhile += 1,
                Some(Err(AppendError::Store(error))) => {
                    telemetry::sweep_without_table(&error);
                    let why = format!(
                        "the audit table: {error:#}; if it was recorded all the same, it is sent again in 12 h"
                    );
                    sending.not_sent.push(NotSent::of(&due.request().target, why));
                    stopped = Some("not tried, for the audit table failed before");
                }
            }
        }
        // What is ready is sent, whatever stops the rest.
        self.send_batch(&ready, budget.send, sending).await;
        sending.stopped = stopped.or(sending.stopped);
    }

    async fn join(&self, undriven: &Undriven, by: &By, until: Instant) -> Result<(), AppendError> {
        let request = &undriven.request;
        let source = Source { kind: SourceKind::Sweep, message_id: None, receive_count: None, sent_at: None };
        let record = Record {
            v: VERSION,
            fact: Fact::RequestJoined {},
            tenant_id: self.trail.tenant().clone(),
            target: Some(request.target.kind),
            id: Some(request.target.id.clone()),
            repair: Some(undriven.overview.state.current_repair()),
            seq: undriven.head.seq + 1,
            at: self.clock.now(),
            request_id: request.request_id.clone(),
            by: by.clone(),
            origin: Some(Origin { requested_by: None, reason: request.reason.clone(), ticket: None, source }),
        };
        let key = request.target.key(self.trail.tenant());
        let patience = until.saturating_duration_since(Instant::now()).min(APPEND_PATIENCE);
        self.trail.append(&key, &undriven.head, &record, patience).await.map(drop)
    }

    async fn send_batch(&self, ready: &[Ready<'_>], until: Instant, sending: &mut Sending) {
        if ready.is_empty() {
            return;
        }
        let requests = ready.iter().map(|(request, _)| (*request).clone()).collect::<Vec<_>>();
        let sent = self.queue.send_all(&requests, SourceKind::Sweep, Some(GROUP), |_| ());
        let not_sent =
            |(request, hint): &Ready<'_>, why: &str| NotSent::of(&request.target, format!("{why}{hint}"));
        let Ok(refused) = timeout_at(until, sent).await else {
            let why = "no answer in time: it may be in the queue";
            sending.not_sent.extend(ready.iter().map(|ready| not_sent(ready, why)));
            sending.stopped = Some("not tried, for the time was over");
            return;
        };
        sending.sent += requests.len() - refused.len();
        if refused.len() == requests.len() {
            sending.stopped = Some("not tried, for the queue took nothing before");
        }
        let refused = refused.into_iter().filter_map(|(at, why)| Some(not_sent(ready.get(at)?, &why)));
        sending.not_sent.extend(refused);
    }
}

impl Sending {
    /// Notes a batch as not sent if nothing more is to be tried.
    fn is_over(&mut self, batch: &[Due], until: Instant) -> bool {
        if self.stopped.is_none() && Instant::now() >= until {
            self.stopped = Some("not tried, for the time was over");
        }
        let Some(why) = self.stopped else { return false };
        self.not_sent.extend(batch.iter().map(|due| NotSent::of(&due.request().target, why)));
        true
    }
}
