//! One request, end to end: read the history, decide, and carry out what was decided, until nothing is to be
//! done now. Holds no rule: those are in `domain`. Neither parses nor acknowledges messages.
//!
//! May be dropped at any point: what was not recorded is found out on the next delivery.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::clock::{Clock, Deadline};
use crate::domain::answer::Answer;
use crate::domain::chain::Head;
use crate::domain::decide::{Intent, Step, next_step};
use crate::domain::outcome::{attempt_ended, is_misconfigured, outcome, pause_after};
use crate::domain::pace::{Circumstances, LEASE_MARGIN, Policy, unread_wait};
use crate::domain::record::{
    Actor, AttemptEnded, AttemptStarted, By, Fact, Origin, Outcome, Record, Source, SourceKind, VERSION,
};
use crate::domain::reply::{Look, Reply};
use crate::domain::request::Request;
use crate::domain::state::State;
use crate::domain::target::{Cloud, Guid};
use crate::graph::{GraphClient, LookAnswer, Token, TokenError, reprocess_path};
use crate::queue::Queue;
use crate::telemetry;
use crate::trail::{AppendError, Trail};

/// A call must end, and be recorded, this long before the invocation does.
const CALL_RESERVE: Duration = Duration::from_secs(1);
/// A call for which less time is left is not sent.
const SHORTEST_CALL: Duration = Duration::from_secs(1);
/// An append may take all the time but this.
const APPEND_RESERVE: Duration = Duration::from_millis(300);
/// How often a lost race is decided again before the message is left to a later delivery.
const MOST_CONFLICTS: u32 = 5;
/// More steps than any history can demand; reaching it is a fault of ours, and the message stays.
const MOST_STEPS: u32 = 50;

/// What one process has: its clients, and what it knows beyond any one request.
pub struct Clients {
    pub trail: Trail,
    pub graph: GraphClient,
    pub queue: Queue,
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
}

/// Until when Graph wants to hear nothing from this process.
#[derive(Debug, Default)]
pub struct Pause(Mutex<Option<Timestamp>>);

impl Pause {
    pub fn until(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn extend(&self, until: Timestamp) {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = Some(held.map_or(until, |held| held.max(until)));
    }
}

/// How this request reached us this time.
pub struct Delivery {
    pub source: Source,
    /// The SQS message at hand; `None` on direct invocation.
    pub message_id: Option<String>,
    pub receive_count: u32,
    pub invocation_id: String,
    pub deadline: Deadline,
}

impl Delivery {
    /// How long an append may be tried.
    pub fn append_patience(&self) -> Duration {
        self.deadline.left_less(APPEND_RESERVE)
    }
}

/// What is to be done with the message now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    Settled,
    PutOff(Timestamp),
    /// No token or no table: nothing else can be done either, so the rest of the batch is not started.
    Halt(Timestamp),
    /// The invocation is nearly over: give the message back at once.
    OutOfTime,
}

/// What became of the request in this delivery.
pub struct Done {
    pub then: Then,
    pub answer: Answer,
}

/// A direct invocation could not be made safe: no message could be put on the queue, and nothing was called.
#[derive(Debug, thiserror::Error)]
#[error("no message could be put on the queue, so nothing was called; send the request again")]
pub struct NotTaken(#[source] anyhow::Error);

/// Carries the request's repair as far as it goes now.
pub async fn reprocess(clients: &Clients, request: &Request, delivery: &Delivery) -> Result<Done, NotTaken> {
    Run::new(clients, request, delivery).go().await
}

/// Puts a request that was not started on the queue, so that the queue goes on with it.
pub async fn hand_over(clients: &Clients, request: &Request, delivery: &Delivery) -> Result<Done, NotTaken> {
    let mut run = Run::new(clients, request, delivery);
    run.make_safe().await?;
    Ok(Done { then: Then::OutOfTime, answer: Answer::deferred(request) })
}

struct Run<'a> {
    clients: &'a Clients,
    request: &'a Request,
    delivery: &'a Delivery,
    key: String,
    head: Head,
    state: State,
    seen: Option<Look>,
    conflicts: u32,
    halted: bool,
    /// A message drives this request on, whatever happens to this process.
    safe: bool,
}

/// Why a run ends before its time.
enum Stop {
    Then(Then),
    NotTaken(NotTaken),
}

impl<'a> Run<'a> {
    fn new(clients: &'a Clients, request: &'a Request, delivery: &'a Delivery) -> Self {
        Self {
            clients,
            request,
            delivery,
            key: request.target.key(clients.trail.tenant()),
            head: Head::genesis(),
            state: State::new(request.target.kind),
            seen: None,
            conflicts: 0,
            halted: false,
            safe: delivery.message_id.is_some(),
        }
    }

    async fn go(mut self) -> Result<Done, NotTaken> {
        let then = match self.drive().await {
            Ok(then) | Err(Stop::Then(then)) => then,
            Err(Stop::NotTaken(error)) => return Err(error),
        };
        if then != Then::Settled {
            self.make_safe().await?;
        }
        Ok(Done { then, answer: Answer::of(self.request, &self.state) })
    }

    async fn drive(&mut self) -> Result<Then, Stop> {
        self.load().await?;
        for _ in 0..MOST_STEPS {
            match next_step(&self.state, self.seen.as_ref(), &self.circumstances()) {
                Step::Settled => return Ok(Then::Settled),
                Step::PutOff(until) if self.halted => return Ok(Then::Halt(until)),
                Step::PutOff(until) => return Ok(Then::PutOff(until)),
                Step::Record(fact) => self.record(fact).await?,
                Step::Look => self.look().await?,
                Step::Attempt(intent) => self.attempt(intent).await?,
            }
        }
        error!(target.id = %self.request.target.id, request.id = %self.request.request_id, "no end of steps: a fault in the rules");
        Ok(Then::PutOff(self.later()))
    }

    async fn load(&mut self) -> Result<Vec<Record>, Stop> {
        let history = match self.clients.trail.history(self.key.clone()).await {
            Ok(history) => history,
            Err(error) => return Err(self.no_table(&error)),
        };
        self.head = history.head;
        self.state = State::fold(self.request.target.kind, &history.records);
        self.seen = None;
        Ok(history.records)
    }

    async fn look(&mut self) -> Result<(), Stop> {
        let budget = self.call_budget()?;
        let started = Instant::now();
        let look = match timeout(budget, self.look_with_token(budget)).await {
            Ok(Ok(look)) => look,
            Ok(Err(error)) => {
                self.halted = true;
                telemetry::no_token(&error);
                unavailable(error.to_string(), true)
            }
            Err(_) => unavailable("no answer in time".to_owned(), false),
        };
        telemetry::looked(self.request, &look, started.elapsed());
        if let Look::Throttled { retry_after } = look {
            self.pause(Outcome::Throttled, retry_after);
        }
        self.seen = Some(look);
        Ok(())
    }

    async fn look_with_token(&self, budget: Duration) -> Result<Look, TokenError> {
        let graph = &self.clients.graph;
        let token = graph.token().await?;
        if let LookAnswer::Look(look) = graph.look(&token, self.request, budget).await {
            return Ok(look);
        }
        let token = graph.renew(&token).await?;
        Ok(match graph.look(&token, self.request, budget).await {
            LookAnswer::Look(look) => look,
            LookAnswer::Unauthorized => unavailable("Graph refused a fresh token (401)".to_owned(), true),
        })
    }

    /// `attemptStarted`, the call, `attemptEnded`. If the first cannot be stored there is no call; if the last
    /// cannot, the next delivery finds the attempt open.
    async fn attempt(&mut self, intent: Intent) -> Result<(), Stop> {
        let budget = self.call_budget()?;
        let graph = &self.clients.graph;
        let token = match timeout(budget, graph.token()).await {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => {
                self.halted = true;
                telemetry::no_token(&error);
                self.seen = Some(unavailable(error.to_string(), true));
                return Ok(());
            }
            Err(_) => {
                self.seen = Some(unavailable("no token in time".to_owned(), false));
                return Ok(());
            }
        };
        let started = self.intent_to_call(intent);
        let (attempt, client_request_id) = (started.attempt, started.client_request_id.clone());
        let repair = self.state.current_repair();
        let before = self.conflicts;
        self.record(Fact::AttemptStarted(Box::new(started))).await?;
        if self.conflicts > before {
            return Ok(());
        }
        let sent_at = Instant::now();
        let reply = self.call(&token, &client_request_id).await;
        let duration = sent_at.elapsed();
        if let Reply::Answered(answer) = &reply {
            self.pause(outcome(&reply), answer.retry_after);
        }
        let misconfigured = is_misconfigured(&reply);
        let ended = attempt_ended(attempt, client_request_id, reply, duration, false);
        telemetry::attempt_ended(self.request, &ended, misconfigured);
        self.seen = None;
        self.record_end(ended, repair).await
    }

    async fn call(&self, token: &Token, client_request_id: &Guid) -> Reply {
        let Some(budget) = self.time_for_a_call() else {
            return Reply::NotSent {
                reason: "not sent: too little time was left before the deadline".to_owned(),
            };
        };
        if self.circumstances().is_paused() {
            return Reply::NotSent { reason: "not sent: Graph throttled this process meanwhile".to_owned() };
        }
        let graph = &self.clients.graph;
        let reply = graph.reprocess(token, self.request, client_request_id, budget).await;
        match (&reply, self.time_for_a_call()) {
            (Reply::Answered(answer), Some(budget)) if answer.status == 401 => {
                match timeout(budget, graph.renew(token)).await {
                    Ok(Ok(token)) => graph.reprocess(&token, self.request, client_request_id, budget).await,
                    Ok(Err(error)) => {
                        telemetry::no_token(&error);
                        reply
                    }
                    Err(_) => reply,
                }
            }
            _ => reply,
        }
    }

    fn intent_to_call(&self, intent: Intent) -> AttemptStarted {
        let id = Uuid::new_v4().hyphenated().to_string();
        AttemptStarted {
            attempt: intent.attempt,
            client_request_id: Guid::parse(&id).expect("a hyphenated UUID is a GUID"),
            method: "POST".to_owned(),
            path: reprocess_path(self.request),
            api_version: self.request.api_version,
            cloud: self.clients.cloud,
            lease_until: self.lease_until(),
            before: intent.before,
            access_package_id: intent.access_package_id,
            subject_id: intent.subject_id,
            actor: self.clients.actor.clone(),
        }
    }

    /// Appends a fact to the repair at hand. After a lost race the history is read anew and the look forgotten.
    async fn record(&mut self, fact: Fact) -> Result<(), Stop> {
        if leaves_open(&fact) {
            self.make_safe().await.map_err(Stop::NotTaken)?;
        }
        match self.append(fact, self.state.current_repair()).await {
            Ok(record) => {
                self.state.apply(&record);
                Ok(())
            }
            Err(AppendError::Conflict) => {
                self.conflicts += 1;
                if self.conflicts >= MOST_CONFLICTS {
                    return Err(Stop::Then(Then::PutOff(self.later())));
                }
                self.load().await.map(drop)
            }
            Err(AppendError::Store(error)) => Err(self.no_table(&error)),
        }
    }

    /// What happened is always recorded: after a lost race at the next number, and `late` if someone else has
    /// closed the attempt meanwhile.
    async fn record_end(&mut self, mut ended: AttemptEnded, repair: u64) -> Result<(), Stop> {
        for _ in 0..MOST_CONFLICTS {
            match self.append(Fact::AttemptEnded(Box::new(ended.clone())), repair).await {
                Ok(record) => {
                    self.state.apply(&record);
                    return Ok(());
                }
                Err(AppendError::Conflict) => {
                    let records = self.load().await?;
                    ended.late = records.iter().any(|record| closes(record, &ended.client_request_id));
                }
                Err(AppendError::Store(error)) => return Err(self.no_table(&error)),
            }
        }
        Err(Stop::Then(Then::PutOff(self.later())))
    }

    async fn append(&mut self, fact: Fact, repair: u64) -> Result<Record, AppendError> {
        let Delivery { source, message_id, invocation_id, .. } = self.delivery;
        let first = self.state.is_new(&self.request.request_id);
        let record = Record {
            v: VERSION,
            fact,
            tenant_id: self.clients.trail.tenant().clone(),
            target: Some(self.request.target.kind),
            id: Some(self.request.target.id.clone()),
            repair: Some(repair),
            seq: self.head.seq + 1,
            at: self.clients.clock.now(),
            request_id: self.request.request_id.clone(),
            by: By {
                function: self.clients.function.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                invocation_id: invocation_id.clone(),
                message_id: message_id.clone(),
            },
            origin: first.then(|| Origin {
                requested_by: self.request.requested_by.clone(),
                reason: self.request.reason.clone(),
                ticket: self.request.ticket.clone(),
                source: source.clone(),
            }),
        };
        let patience = self.delivery.append_patience();
        self.head = self.clients.trail.append(&self.key, &self.head, &record, patience).await?;
        info!(target.id = %self.request.target.id, request.id = %self.request.request_id, seq = record.seq, kind = record.fact.kind(), "recorded");
        Ok(record)
    }

    /// On direct invocation: a message, delayed past the lease, so that a crash from here on loses nothing.
    async fn make_safe(&mut self) -> Result<(), NotTaken> {
        if self.safe {
            return Ok(());
        }
        let lease = Duration::try_from(self.lease_until().duration_since(self.clients.clock.now()))
            .unwrap_or_default();
        let delay = lease + Duration::from_secs(1);
        self.clients.queue.send(self.request, SourceKind::Invoke, delay).await.map_err(NotTaken)?;
        self.safe = true;
        Ok(())
    }

    fn no_table(&mut self, error: &anyhow::Error) -> Stop {
        telemetry::no_table(self.request.request_id.as_str(), error);
        Stop::Then(Then::Halt(self.later()))
    }

    fn later(&self) -> Timestamp {
        self.clients.later(self.delivery.receive_count)
    }

    fn lease_until(&self) -> Timestamp {
        self.delivery.deadline.at.saturating_add(LEASE_MARGIN).unwrap_or(Timestamp::MAX)
    }

    fn pause(&self, outcome: Outcome, retry_after: Option<Duration>) {
        if let Some(wait) = pause_after(outcome, retry_after, &self.clients.policy) {
            let until = self.clients.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
            self.clients.pause.extend(until);
            warn!(delay_secs = wait.as_secs(), "Graph throttles: this process sends nothing until then");
        }
    }

    fn call_budget(&self) -> Result<Duration, Stop> {
        self.time_for_a_call().ok_or(Stop::Then(Then::OutOfTime))
    }

    fn time_for_a_call(&self) -> Option<Duration> {
        let left = self.delivery.deadline.left_less(CALL_RESERVE);
        (left >= SHORTEST_CALL).then(|| left.min(self.clients.call_timeout))
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            request: self.request,
            now: self.clients.clock.now(),
            policy: &self.clients.policy,
            paused_until: self.clients.pause.until(),
            receive_count: self.delivery.receive_count,
            jitter: fastrand::f64(),
        }
    }
}

fn closes(record: &Record, client_request_id: &Guid) -> bool {
    matches!(&record.fact, Fact::AttemptEnded(ended) if ended.client_request_id == *client_request_id)
}

/// Whether a crash right after this record may leave the request without anything that drives it on.
fn leaves_open(fact: &Fact) -> bool {
    !matches!(fact, Fact::RequestSkipped { .. } | Fact::RequestAbandoned { .. } | Fact::DeliveryObserved(_))
}

fn unavailable(reason: String, misconfigured: bool) -> Look {
    Look::Unavailable { reason, retry_after: None, misconfigured }
}
