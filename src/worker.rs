//! The worker function: an invocation's payload in, its answer out. Reads no environment and no HTTP.

use std::time::Duration;

use anyhow::Context;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::aws::Aws;
use crate::batch::{Ended, Halt, Task, run_all};
use crate::bus::Bus;
use crate::clients::{Clients, Delivery, Pause};
use crate::clock::{Clock, Deadline};
use crate::config::WorkerConfig;
use crate::domain::answer::Answer;
use crate::domain::record::{Actor, Source, SourceKind};
use crate::domain::request::{Request, RequestError, RequestId};
use crate::domain::target::ApiVersion;
use crate::graph::GraphClient;
use crate::payload::{Message, Payload};
use crate::queue::{LONGEST_VISIBILITY, PutOff, Queue};
use crate::reject::reject;
use crate::reprocess::{Done, NotTaken, Then, hand_over, reprocess};
use crate::telemetry;
use crate::telling::Told;
use crate::trail::Trail;

/// SQS counts a message's 12 hours from its receipt, which was some time before we saw it.
const RECEIVED_BEFORE: Duration = Duration::from_secs(60);
/// What is left of an invocation for putting messages off.
const MESSAGES_RESERVE: Duration = Duration::from_millis(200);
/// What is left of a direct invocation for putting on the queue what did not end in time.
const REQUESTS_RESERVE: Duration = Duration::from_millis(1500);

/// The function, ready for invocations. Built without connecting to anything.
pub struct Worker {
    pub clients: Clients,
    pub concurrency: usize,
    pub default_version: ApiVersion,
}

/// One invocation of the function.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub id: String,
    /// When Lambda ends it.
    pub deadline: Timestamp,
}

impl Invocation {
    /// `deadline_ms` is Lambda's deadline, in milliseconds since 1970. A local emulator of Lambda sends the time
    /// that is left instead; no deadline lies in 1970, so that is what a small number means.
    pub fn new(id: String, deadline_ms: u64, now: Timestamp) -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let deadline = match i64::try_from(deadline_ms) {
            Ok(_) if deadline_ms < DAY_MS => now.saturating_add(Duration::from_millis(deadline_ms)).ok(),
            Ok(ms) => Timestamp::from_millisecond(ms).ok(),
            Err(_) => None,
        };
        Self { id, deadline: deadline.unwrap_or(Timestamp::MAX) }
    }
}

impl Worker {
    /// Connects to nothing yet: each client does on its first use.
    pub fn new(config: WorkerConfig, aws: Aws, clock: Clock) -> Self {
        let graph = config.graph;
        let actor = Actor { client_id: graph.client_id.clone(), credential: graph.credential.kind() };
        let clients = Clients {
            trail: Trail::new(aws.clone(), config.audit_table, graph.tenant_id.clone()),
            queue: Queue::new(aws.clone(), config.queue_url),
            bus: config.event_bus.map(|name| Bus::new(aws.clone(), name)),
            told: Told::default(),
            cloud: graph.cloud,
            graph: GraphClient::new(graph, config.call_timeout, aws),
            policy: config.policy,
            call_timeout: config.call_timeout,
            actor,
            function: config.function,
            clock,
            pause: Pause::default(),
        };
        Self { clients, concurrency: config.concurrency, default_version: config.api_version }
    }

    /// Handles one invocation. Nothing that it started is left running when it returns.
    ///
    /// Errors: a payload that is neither an SQS event nor a request nor several; an SQS event with a message
    /// that has no id, for such a one cannot be reported as failed; a direct request that could neither be
    /// carried out nor put on the queue.
    pub async fn handle(&self, payload: &str, invocation: &Invocation) -> anyhow::Result<serde_json::Value> {
        match Payload::parse(payload)? {
            Payload::Messages(messages) => self.handle_messages(messages, invocation).await,
            Payload::Requests { bodies, single } => self.handle_requests(bodies, single, invocation).await,
        }
    }

    async fn handle_messages(
        &self,
        messages: Vec<Message>,
        invocation: &Invocation,
    ) -> anyhow::Result<serde_json::Value> {
        let received_at = self.clients.clock.now();
        let (deadline, halt) = (self.deadline(invocation), Halt::default());
        let tasks = messages
            .iter()
            .map(|message| {
                let work = Request::parse(&message.body, &message.id, self.default_version);
                Task { target: work.as_ref().ok().map(|request| request.target.clone()), work }
            })
            .collect();
        let time = (&deadline, MESSAGES_RESERVE);
        let ended = run_all(tasks, self.concurrency, time, |index, parsed| {
            self.handle_message(&messages[index], parsed, invocation, &halt)
        });
        let ended = ended.await;

        let mut response = SqsBatchResponse::default();
        let mut put_offs = Vec::new();
        for (message, ended) in messages.iter().zip(ended) {
            let until = match ended {
                Ended::Done(Then::Settled) => continue,
                Ended::Done(Then::PutOff(until) | Then::Halt(until)) => until,
                Ended::Done(Then::OutOfTime) => self.clients.clock.now(),
                Ended::OutOfTime => {
                    telemetry::out_of_time(&message.id);
                    self.clients.later(message.receive_count)
                }
                Ended::Panicked => {
                    telemetry::panicked(&message.id);
                    self.clients.later(message.receive_count)
                }
            };
            response.add_failure(&message.id);
            let wait = self.visibility(received_at, until);
            telemetry::put_off(&message.id, wait);
            put_offs.extend(message.receipt_handle.clone().map(|receipt_handle| PutOff {
                message_id: message.id.clone(),
                receipt_handle,
                wait,
            }));
        }
        let call = self.clients.queue.put_off(&put_offs);
        match tokio::time::timeout(deadline.left_less(Duration::from_millis(100)), call).await {
            Ok(failed) => {
                for (message_id, why) in failed {
                    tracing::warn!(message.id = message_id, why, "could not be put off and comes back early");
                }
            }
            Err(_) => tracing::warn!("no time was left to put messages off: they come back early"),
        }
        serde_json::to_value(response).context("the answer to SQS")
    }

    async fn handle_message(
        &self,
        message: &Message,
        parsed: Result<Request, RequestError>,
        invocation: &Invocation,
        halt: &Halt,
    ) -> Then {
        let delivery = Delivery {
            source: message.source.clone(),
            message_id: Some(message.id.clone()),
            receive_count: message.receive_count,
            invocation_id: invocation.id.clone(),
            deadline: self.deadline(invocation),
        };
        if halt.is_set() {
            return Then::PutOff(self.clients.later(message.receive_count));
        }
        let then = match parsed {
            Ok(request) => match reprocess(&self.clients, &request, &delivery).await {
                Ok(done) => done.then,
                // Only a direct request can end so: a message is in the queue already.
                Err(error) => {
                    tracing::error!(message.id = message.id, "{:#}", anyhow::Error::from(error));
                    Then::PutOff(self.clients.later(message.receive_count))
                }
            },
            Err(error) => reject(&self.clients, &message.body, &error, &delivery, &message.id).await,
        };
        if matches!(then, Then::Halt(_)) {
            halt.set();
        }
        then
    }

    async fn handle_requests(
        &self,
        bodies: Vec<Box<RawValue>>,
        single: bool,
        invocation: &Invocation,
    ) -> anyhow::Result<serde_json::Value> {
        let (deadline, halt) = (self.deadline(invocation), Halt::default());
        let ids: Vec<String> = match single {
            true => vec![invocation.id.clone()],
            false => (1..=bodies.len()).map(|n| format!("{}:{n}", invocation.id)).collect(),
        };
        let tasks = bodies
            .iter()
            .zip(&ids)
            .map(|(body, id)| {
                let work = Request::parse(body.get(), id, self.default_version);
                Task { target: work.as_ref().ok().map(|request| request.target.clone()), work }
            })
            .collect();
        let time = (&deadline, REQUESTS_RESERVE);
        let ended = run_all(tasks, self.concurrency, time, |_, parsed| {
            self.handle_request(parsed, invocation, &halt)
        });
        let mut results = Vec::with_capacity(bodies.len());
        for (n, (ended, id)) in ended.await.into_iter().zip(&ids).enumerate() {
            let answer = match ended {
                Ended::Done(answer) => answer,
                // Whatever became of it, the queue goes on with it.
                Ended::OutOfTime | Ended::Panicked => {
                    telemetry::out_of_time(id);
                    let parsed = Request::parse(bodies[n].get(), id, self.default_version);
                    match parsed.map_err(Refusal::Invalid) {
                        Ok(request) => hand_over(&self.clients, &request, &self.direct(invocation))
                            .await
                            .map_err(Refusal::NotTaken),
                        Err(invalid) => Err(invalid),
                    }
                }
            };
            results.push(match answer {
                Ok(answer) => answer,
                Err(Refusal::Invalid(error)) => Answer::invalid(RequestId::parse(id), &error),
                Err(Refusal::NotTaken(error)) => {
                    let place = format!("request {} of {} (request id {id})", n + 1, ids.len());
                    return Err(anyhow::Error::from(error).context(place));
                }
            });
        }
        Ok(serde_json::json!({ "results": results }))
    }

    async fn handle_request(
        &self,
        parsed: Result<Request, RequestError>,
        invocation: &Invocation,
        halt: &Halt,
    ) -> Result<Answer, Refusal> {
        let request = parsed.map_err(Refusal::Invalid)?;
        let delivery = self.direct(invocation);
        if halt.is_set() {
            return hand_over(&self.clients, &request, &delivery).await.map_err(Refusal::NotTaken);
        }
        let Done { then, answer } =
            reprocess(&self.clients, &request, &delivery).await.map_err(Refusal::NotTaken)?;
        if matches!(then, Then::Halt(_)) {
            halt.set();
        }
        Ok(answer)
    }

    fn direct(&self, invocation: &Invocation) -> Delivery {
        Delivery {
            source: Source { kind: SourceKind::Invoke, message_id: None, receive_count: None, sent_at: None },
            message_id: None,
            receive_count: 1,
            invocation_id: invocation.id.clone(),
            deadline: self.deadline(invocation),
        }
    }

    fn deadline(&self, invocation: &Invocation) -> Deadline {
        Deadline { at: invocation.deadline, clock: self.clients.clock.clone() }
    }

    /// How long the message stays invisible: until then, but SQS counts 12 hours from its receipt at most.
    fn visibility(&self, received_at: Timestamp, until: Timestamp) -> Duration {
        let now = self.clients.clock.now();
        let passed =
            Duration::try_from(now.duration_since(received_at)).unwrap_or_default() + RECEIVED_BEFORE;
        let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        wait.min(LONGEST_VISIBILITY.saturating_sub(passed))
    }
}

/// Why a direct request has no answer from a history.
enum Refusal {
    Invalid(RequestError),
    NotTaken(NotTaken),
}
