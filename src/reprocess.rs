//! One request, end to end: read the history, decide, and carry out what was decided, until nothing is to be
//! done now. Holds no rule: those are in `domain`. Neither parses nor acknowledges messages.
//!
//! May be dropped at any point: what was not recorded is found out on the next delivery.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, warn};
use uuid::Uuid;

use crate::clients::{Clients, Delivery};
use crate::domain::answer::Answer;
use crate::domain::chain::Head;
use crate::domain::closing::newly_near;
use crate::domain::decide::{Intent, Step, next_step};
use crate::domain::outcome::{attempt_ended, is_misconfigured, outcome, pause_after};
use crate::domain::pace::Circumstances;
use crate::domain::record::{
    AttemptEnded, AttemptStarted, Fact, Origin, Outcome, Record, SourceKind, VERSION,
};
use crate::domain::reply::{Look, Reply};
use crate::domain::request::Request;
use crate::domain::state::State;
use crate::domain::target::Guid;
use crate::graph::{LookAnswer, Token, reprocess_path};
use crate::telemetry;
use crate::telling::Telling;
use crate::trail::{AppendError, HistoryError};

/// How often a lost race is decided again before the message is left to a later delivery.
pub const MOST_CONFLICTS: u32 = 5;
/// More steps than any history can demand; reaching it is a fault of ours, and the message stays.
const MOST_STEPS: u32 = 50;

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

/// Puts a direct request that was not started, or not ended, on the queue, so that the queue goes on with it.
pub async fn hand_over(
    clients: &Clients,
    request: &Request,
    delivery: &Delivery,
) -> Result<Answer, NotTaken> {
    Run::new(clients, request, delivery).make_safe().await?;
    Ok(Answer::deferred(request))
}

struct Run<'a> {
    clients: &'a Clients,
    request: &'a Request,
    delivery: &'a Delivery,
    key: String,
    head: Head,
    /// The target's history, and what this run added to it.
    records: Vec<Record>,
    state: State,
    seen: Option<Look>,
    /// How many records this run made, and whether one of them settled the request.
    recorded: u32,
    settled_here: bool,
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

/// What became of a fact that was to be appended.
#[derive(PartialEq, Eq)]
enum Recorded {
    Stored,
    /// Another writer was first; the history was read anew, and what was seen before is forgotten.
    LostRace,
}

impl<'a> Run<'a> {
    fn new(clients: &'a Clients, request: &'a Request, delivery: &'a Delivery) -> Self {
        Self {
            clients,
            request,
            delivery,
            key: request.target.key(clients.trail.tenant()),
            head: Head::genesis(),
            records: Vec::new(),
            state: State::new(request.target.kind),
            seen: None,
            recorded: 0,
            settled_here: false,
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
        self.tell_end().await;
        Ok(Done { then, answer: Answer::of(self.request, &self.state) })
    }

    async fn drive(&mut self) -> Result<Then, Stop> {
        self.load().await?;
        for _ in 0..MOST_STEPS {
            let step = next_step(&self.state, self.seen.as_ref(), &self.circumstances());
            self.tell_near_end(&step).await;
            match step {
                Step::Settled => return Ok(Then::Settled),
                Step::PutOff(until) if self.halted => return Ok(Then::Halt(until)),
                Step::PutOff(until) => return Ok(Then::PutOff(until)),
                Step::Record(fact) => self.record_and_count(fact).await?,
                Step::Look => self.look().await?,
                Step::Attempt(intent) => self.attempt(intent).await?,
            }
        }
        error!(target.id = %self.request.target.id, request.id = %self.request.request_id, "no end of steps: a fault in the rules");
        Ok(Then::PutOff(self.later()))
    }

    /// Reads the history anew and forgets what was seen: it is older than the records now read.
    async fn load(&mut self) -> Result<(), Stop> {
        let patience = self.delivery.store_patience();
        let history = match self.clients.trail.history(self.key.clone(), patience).await {
            Ok(history) => history,
            Err(HistoryError::Store(error)) => return Err(self.no_table(&error)),
            Err(HistoryError::Unreadable(error)) => {
                telemetry::unreadable(self.request.request_id.as_str(), &error);
                return Err(Stop::Then(Then::PutOff(self.later())));
            }
        };
        self.head = history.head;
        self.state = State::fold(self.request.target.kind, &history.records);
        self.records = history.records;
        self.seen = None;
        Ok(())
    }

    /// Before anything is recorded that would show the next delivery that the window's end was near already.
    async fn tell_near_end(&self, step: &Step) {
        match step {
            Step::Settled | Step::Look => return,
            Step::Record(fact) if fact.settles(self.request.target.kind) => return,
            Step::Record(_) | Step::Attempt(_) | Step::PutOff(_) => {}
        }
        let sight = match &self.seen {
            Some(Look::Seen(sight)) => Some(sight),
            _ => None,
        };
        let near = newly_near(self.state.repair.as_ref(), sight, &self.circumstances());
        if let Some(window_ends) = near {
            let package = sight.and_then(|sight| sight.access_package_id.as_deref());
            self.telling().near_end(self.state.current_repair(), package, window_ends).await;
        }
    }

    /// After everything else that this delivery does for the request.
    async fn tell_end(&self) {
        match self.state.ending(&self.request.request_id) {
            Some(ending) => {
                let package = match &self.seen {
                    Some(Look::Seen(sight)) if self.settled_here => sight.access_package_id.as_deref(),
                    _ => None,
                };
                self.telling().settled(ending.seq, self.settled_here, package).await;
            }
            None if self.recorded == 0 => self.telling().nothing_recorded(),
            None => {}
        }
    }

    fn telling(&self) -> Telling<'_> {
        let Self { clients, request, delivery, records, .. } = self;
        Telling { clients, request, delivery, records }
    }

    async fn look(&mut self) -> Result<(), Stop> {
        let Some(token) = self.token(None).await? else { return Ok(()) };
        let started = Instant::now();
        let mut answer = self.look_once(&token).await?;
        if answer == LookAnswer::Unauthorized {
            let Some(token) = self.token(Some(&token)).await? else { return Ok(()) };
            answer = self.look_once(&token).await?;
        }
        let look = match answer {
            LookAnswer::Look(look) => look,
            LookAnswer::Unauthorized => Look::Unavailable {
                reason: "Graph refused a fresh token (401)".to_owned(),
                retry_after: None,
                misconfigured: true,
            },
        };
        telemetry::looked(self.request, &look, started.elapsed());
        if let Look::Throttled { retry_after } = look {
            self.pause(Outcome::Throttled, retry_after);
        }
        self.seen = Some(look);
        Ok(())
    }

    async fn look_once(&self, token: &Token) -> Result<LookAnswer, Stop> {
        Ok(self.clients.graph.look(token, self.request, self.call_budget()?).await)
    }

    /// A token, or a fresh one instead of `refused`. Without one nothing is asked of Graph, and the batch halts.
    async fn token(&mut self, refused: Option<&Token>) -> Result<Option<Token>, Stop> {
        let budget = self.call_budget()?;
        let token = async {
            match refused {
                None => self.clients.graph.token().await,
                Some(refused) => self.clients.graph.renew(refused).await,
            }
        };
        let why = match timeout(budget, token).await {
            Ok(Ok(token)) => return Ok(Some(token)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no token for Graph: no answer in time".to_owned(),
        };
        telemetry::no_token(&why);
        self.halted = true;
        self.seen = Some(Look::NotTried);
        Ok(None)
    }

    /// `attemptStarted`, the call, `attemptEnded`. If the first cannot be stored there is no call; if the last
    /// cannot, the next delivery finds the attempt open.
    async fn attempt(&mut self, intent: Intent) -> Result<(), Stop> {
        let Some(token) = self.token(None).await? else { return Ok(()) };
        self.call_budget()?;
        if self.circumstances().is_paused() {
            return Ok(());
        }
        let started = self.intent_to_call(intent);
        let (attempt, client_request_id) = (started.attempt, started.client_request_id.clone());
        let repair = self.state.current_repair();
        if self.record(Fact::AttemptStarted(Box::new(started))).await? == Recorded::LostRace {
            return Ok(());
        }
        self.seen = None;
        let sent_at = Instant::now();
        let reply = self.call(token, &client_request_id).await;
        let duration = sent_at.elapsed();
        if let Reply::Answered(answer) = &reply {
            self.pause(outcome(&reply), answer.retry_after);
        }
        let misconfigured = is_misconfigured(&reply);
        let ended = attempt_ended(attempt, client_request_id, reply, duration, false);
        telemetry::attempt_ended(self.request, &ended, misconfigured);
        self.record_end(ended, repair).await
    }

    /// Sends it; after a 401 once more with a fresh token, if there is one, and time, and nobody was throttled.
    async fn call(&mut self, token: Token, client_request_id: &Guid) -> Reply {
        let reply = self.call_once(&token, client_request_id).await;
        if !matches!(&reply, Reply::Answered(answer) if answer.status == 401) {
            return reply;
        }
        let Ok(Some(token)) = self.token(Some(&token)).await else { return reply };
        match self.call_once(&token, client_request_id).await {
            Reply::NotSent { .. } => reply,
            answered => answered,
        }
    }

    async fn call_once(&self, token: &Token, client_request_id: &Guid) -> Reply {
        let not_sent = |reason: &str| Reply::NotSent { reason: format!("not sent: {reason}") };
        let Some(budget) = self.delivery.time_for_a_call(self.clients.call_timeout) else {
            return not_sent("too little time was left before the deadline");
        };
        if self.circumstances().is_paused() {
            return not_sent("Graph throttled this process meanwhile");
        }
        self.clients.graph.reprocess(token, self.request, client_request_id, budget).await
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
            lease_until: self.delivery.lease_until(),
            before: intent.before,
            access_package_id: intent.access_package_id,
            subject_id: intent.subject_id,
            actor: self.clients.actor.clone(),
        }
    }

    /// Appends a fact to the repair at hand.
    async fn record(&mut self, fact: Fact) -> Result<Recorded, Stop> {
        let settles = fact.settles(self.request.target.kind);
        if !settles {
            self.make_safe().await.map_err(Stop::NotTaken)?;
        }
        match self.append(fact, self.state.current_repair()).await {
            Ok(record) => {
                self.keep(record);
                self.settled_here |= settles;
                Ok(Recorded::Stored)
            }
            Err(AppendError::Conflict) => {
                self.conflicts += 1;
                if self.conflicts > MOST_CONFLICTS {
                    return Err(Stop::Then(Then::PutOff(self.later())));
                }
                self.load().await.map(|()| Recorded::LostRace)
            }
            Err(AppendError::Store(error)) => Err(self.no_table(&error)),
        }
    }

    /// As [`Self::record`]. What the rules record of an attempt is that its caller died.
    async fn record_and_count(&mut self, fact: Fact) -> Result<(), Stop> {
        let lost = match &fact {
            Fact::AttemptEnded(ended) => Some(ended.clone()),
            _ => None,
        };
        if self.record(fact).await? == Recorded::Stored
            && let Some(ended) = lost
        {
            telemetry::attempt_lost(self.request, &ended);
        }
        Ok(())
    }

    /// What happened is always recorded: after a lost race at the next number, for as long as there is time, and
    /// `late` if someone else has closed the attempt meanwhile.
    async fn record_end(&mut self, mut ended: AttemptEnded, repair: u64) -> Result<(), Stop> {
        while !self.delivery.store_patience().is_zero() {
            match self.append(Fact::AttemptEnded(Box::new(ended.clone())), repair).await {
                Ok(record) => {
                    self.keep(record);
                    return Ok(());
                }
                Err(AppendError::Conflict) => {
                    self.load().await?;
                    ended.late = self.records.iter().any(|record| closes(record, &ended.client_request_id));
                }
                Err(AppendError::Store(error)) => return Err(self.no_table(&error)),
            }
        }
        Err(Stop::Then(Then::OutOfTime))
    }

    fn keep(&mut self, record: Record) {
        self.state.apply(&record);
        self.records.push(record);
        self.recorded += 1;
    }

    async fn append(&mut self, fact: Fact, repair: u64) -> Result<Record, AppendError> {
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
            by: self.clients.signature(self.delivery),
            origin: first.then(|| Origin {
                requested_by: self.request.requested_by.clone(),
                reason: self.request.reason.clone(),
                ticket: self.request.ticket.clone(),
                source: self.delivery.source.clone(),
            }),
        };
        let patience = self.delivery.store_patience();
        self.head = self.clients.trail.append(&self.key, &self.head, &record, patience).await?;
        debug!(target.id = %self.request.target.id, request.id = %self.request.request_id, seq = record.seq, kind = record.fact.kind(), "recorded");
        Ok(record)
    }

    /// On direct invocation: a message, delayed past the lease, so that a crash from here on loses nothing.
    async fn make_safe(&mut self) -> Result<(), NotTaken> {
        if self.safe {
            return Ok(());
        }
        let lease = self.delivery.lease_until().duration_since(self.clients.clock.now());
        let delay = Duration::try_from(lease).unwrap_or_default() + Duration::from_secs(1);
        self.clients.queue.send(self.request, SourceKind::Invoke, delay).await.map_err(NotTaken)?;
        self.safe = true;
        Ok(())
    }

    fn no_table(&self, error: &anyhow::Error) -> Stop {
        telemetry::no_table(self.request.request_id.as_str(), error);
        Stop::Then(Then::Halt(self.later()))
    }

    fn later(&self) -> Timestamp {
        self.clients.later(self.delivery.receive_count)
    }

    fn pause(&self, outcome: Outcome, retry_after: Option<Duration>) {
        if let Some(wait) = pause_after(outcome, retry_after, &self.clients.policy) {
            let until = self.clients.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
            self.clients.pause.extend(until);
            warn!(delay_secs = wait.as_secs(), "Graph throttles: this process sends nothing until then");
        }
    }

    fn call_budget(&self) -> Result<Duration, Stop> {
        self.delivery.time_for_a_call(self.clients.call_timeout).ok_or(Stop::Then(Then::OutOfTime))
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
