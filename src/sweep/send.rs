//! Sends what was planned, most urgent first. A record before the message, for what no message drove.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::plan::{Plan, Undriven};
use super::{NotSent, Summary, Sweeper};
use crate::domain::record::{By, Fact, Origin, Record, Source, SourceKind, VERSION};
use crate::domain::request::Request;
use crate::domain::sweep::LeftOut;
use crate::trail::AppendError;

/// One batch call of SQS. Small, so that little lies between a record and its message.
const BATCH: usize = 10;
/// All sweeps are one group: what one person asks for does not wait behind them.
const GROUP: &str = "sweep";
/// How long one record may take, tries and all.
const APPEND_PATIENCE: Duration = Duration::from_secs(10);

/// What has been sent so far, and whether going on makes sense.
struct Sending {
    sent: usize,
    driven_meanwhile: usize,
    not_sent: Vec<NotSent>,
    /// Why nothing more is tried.
    stopped: Option<&'static str>,
}

impl Sweeper {
    /// Undriven repairs first, then failures, `SWEEP_LIMIT` in all.
    pub(super) async fn send(&self, mut plan: Plan, by: &By, until: Instant) -> Summary {
        let all = plan.undriven.len() + plan.wishes.len();
        let undriven = &plan.undriven[..plan.undriven.len().min(self.limit)];
        let wishes = &plan.wishes[..plan.wishes.len().min(self.limit - undriven.len())];
        let mut sending = Sending { sent: 0, driven_meanwhile: 0, not_sent: Vec::new(), stopped: None };
        for batch in undriven.chunks(BATCH) {
            self.send_undriven(batch, by, until, &mut sending).await;
        }
        for batch in wishes.chunks(BATCH) {
            let requests = batch.iter().map(|wish| wish.request.clone()).collect::<Vec<_>>();
            self.send_batch(&requests, until, "", &mut sending).await;
        }
        (0..sending.driven_meanwhile).for_each(|_| plan.leave_out(LeftOut::DrivenMeanwhile));
        let mut summary = plan.summary();
        summary.sent = sending.sent;
        summary.over_limit = all.saturating_sub(self.limit);
        if !sending.not_sent.is_empty() {
            summary.fault(&format!("{} were not sent and are named under `notSent`", sending.not_sent.len()));
        }
        summary.not_sent = sending.not_sent;
        summary
    }

    /// First the record: whoever appends it sends the message, and nobody else for 12 hours.
    async fn send_undriven(&self, batch: &[Undriven], by: &By, until: Instant, sending: &mut Sending) {
        let all = batch.iter().map(|undriven| &undriven.request);
        if sending.is_over(all, until) {
            return;
        }
        let appends = batch.iter().map(|undriven| self.join(undriven, by, until));
        let mut requests = Vec::new();
        for (undriven, appended) in batch.iter().zip(join_all(appends).await) {
            match appended {
                Ok(()) => requests.push(undriven.request.clone()),
                Err(AppendError::Conflict) => sending.driven_meanwhile += 1,
                Err(AppendError::Store(error)) => {
                    let why = format!("the audit table: {error:#}");
                    sending.not_sent.push(NotSent::of(&undriven.request.target, why));
                    sending.stopped = Some("not tried, for the audit table failed before");
                }
            }
        }
        // What is recorded is sent, whatever stops the rest.
        let stopped = sending.stopped.take();
        self.send_batch(&requests, until, "; it was recorded, and is sent again in 12 h", sending).await;
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

    async fn send_batch(&self, requests: &[Request], until: Instant, hint: &str, sending: &mut Sending) {
        if requests.is_empty() || sending.is_over(requests.iter(), until) {
            return;
        }
        let sent = self.queue.send_all(requests, SourceKind::Sweep, Some(GROUP), |_| ());
        let Ok(refused) = timeout_at(until, sent).await else {
            let why = format!("no answer in time: it may be in the queue{hint}");
            sending
                .not_sent
                .extend(requests.iter().map(|request| NotSent::of(&request.target, why.as_str())));
            sending.stopped = Some("not tried, for the time was over");
            return;
        };
        sending.sent += requests.len() - refused.len();
        if refused.len() == requests.len() {
            sending.stopped = Some("not tried, for the queue took nothing before");
        }
        let refused = refused.into_iter().filter_map(|(at, why)| Some((requests.get(at)?, why)));
        sending
            .not_sent
            .extend(refused.map(|(request, why)| NotSent::of(&request.target, format!("{why}{hint}"))));
    }
}

impl Sending {
    /// Notes `requests` as not sent if nothing more is to be tried.
    fn is_over<'a>(&mut self, requests: impl Iterator<Item = &'a Request>, until: Instant) -> bool {
        if self.stopped.is_none() && Instant::now() >= until {
            self.stopped = Some("not tried, for the time was over");
        }
        let Some(why) = self.stopped else { return false };
        self.not_sent.extend(requests.map(|request| NotSent::of(&request.target, why)));
        true
    }
}
