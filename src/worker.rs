//! The worker function: an invocation's payload in, its answer out. Reads no environment and no HTTP.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::aws::Aws;
use crate::batch::{Halt, Task, run_all};
use crate::clock::{Clock, Deadline};
use crate::config::WorkerConfig;
use crate::domain::answer::Answer;
use crate::domain::record::{Actor, Source, SourceKind};
use crate::domain::request::{Request, RequestError, RequestId};
use crate::domain::target::ApiVersion;
use crate::graph::GraphClient;
use crate::queue::{LONGEST_VISIBILITY, PutOff, Queue};
use crate::reject::reject;
use crate::reprocess::{Clients, Delivery, Done, NotTaken, Pause, Then, hand_over, reprocess};
use crate::telemetry;
use crate::trail::Trail;

/// A direct invocation holds at most so many requests.
const MOST_REQUESTS: usize = 100;
/// SQS counts a message's 12 hours from its receipt, which was some time before we saw it.
const RECEIVED_BEFORE: Duration = Duration::from_secs(60);

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
        let ended = run_all(tasks, self.concurrency, &deadline, |index, parsed| {
            self.handle_message(&messages[index], parsed, invocation, &halt)
        });
        let ended = ended.await;

        let mut response = SqsBatchResponse::default();
        let mut put_offs = Vec::new();
        for (message, then) in messages.iter().zip(ended) {
            let until = match then {
                Some(Then::Settled) => continue,
                Some(Then::PutOff(until) | Then::Halt(until)) => until,
                Some(Then::OutOfTime) => self.clients.clock.now(),
                None => {
                    telemetry::panicked(&message.id);
                    response.add_failure(&message.id);
                    continue;
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
        let ended = run_all(tasks, self.concurrency, &deadline, |_, parsed| {
            self.handle_request(parsed, invocation, &halt)
        });
        let mut results = Vec::with_capacity(bodies.len());
        for (n, (ended, id)) in ended.await.into_iter().zip(&ids).enumerate() {
            let answer = ended.context("it ran out of time, or a fault in regrant ended it").and_then(
                |done| match done {
                    Ok(answer) => Ok(answer),
                    Err(Refusal::Invalid(error)) => Ok(Answer::invalid(RequestId::parse(id), &error)),
                    Err(Refusal::NotTaken(error)) => Err(error.into()),
                },
            );
            results.push(
                answer.with_context(|| format!("request {} of {} (request id {id})", n + 1, ids.len()))?,
            );
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
        let delivery = Delivery {
            source: Source { kind: SourceKind::Invoke, message_id: None, receive_count: None, sent_at: None },
            message_id: None,
            receive_count: 1,
            invocation_id: invocation.id.clone(),
            deadline: self.deadline(invocation),
        };
        let done = match halt.is_set() {
            true => hand_over(&self.clients, &request, &delivery).await,
            false => reprocess(&self.clients, &request, &delivery).await,
        };
        let Done { then, answer } = done.map_err(Refusal::NotTaken)?;
        if matches!(then, Then::Halt(_)) {
            halt.set();
        }
        Ok(answer)
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

/// One SQS message, as far as we need it.
struct Message {
    id: String,
    /// Absent only in made-up events; then the message cannot be put off and comes back by itself.
    receipt_handle: Option<String>,
    body: String,
    receive_count: u32,
    source: Source,
}

enum Payload {
    Messages(Vec<Message>),
    Requests { bodies: Vec<Box<RawValue>>, single: bool },
}

const EXPECTED: &str = "expected an SQS event (`Records`), one request (`target` and `id`), or `requests` with 1 to 100 requests";

impl Payload {
    fn parse(payload: &str) -> anyhow::Result<Self> {
        let Ok(fields) = serde_json::from_str::<HashMap<String, &RawValue>>(payload) else {
            bail!("{EXPECTED}; found {}", what_is(payload));
        };
        let has = |name| fields.contains_key(name);
        match (has("Records"), has("requests"), has("target") || has("id")) {
            (true, false, false) => return Self::messages(payload),
            (false, true, false) => return Self::requests(payload),
            (false, false, true) => {
                let body = RawValue::from_string(payload.trim().to_owned()).context(EXPECTED)?;
                return Ok(Self::Requests { bodies: vec![body], single: true });
            }
            _ => {}
        }
        let mut names = fields
            .keys()
            .map(|name| format!("`{}`", crate::domain::request::shorten(name)))
            .collect::<Vec<_>>();
        names.sort();
        names.truncate(8);
        bail!("{EXPECTED}; found an object with the fields [{}]", names.join(", "))
    }

    fn messages(payload: &str) -> anyhow::Result<Self> {
        let event: SqsEvent =
            serde_json::from_str(payload).context("`Records` is not that of an SQS event")?;
        let messages =
            event.records.into_iter().enumerate().map(|(index, message)| Message::of(index, message));
        Ok(Self::Messages(messages.collect::<anyhow::Result<_>>()?))
    }

    fn requests(payload: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Many {
            requests: Vec<Box<RawValue>>,
        }
        let many: Many = serde_json::from_str(payload)
            .context("`requests` must be a list of requests, alone in its object")?;
        let count = many.requests.len();
        ensure!(
            (1..=MOST_REQUESTS).contains(&count),
            "`requests` must hold 1 to {MOST_REQUESTS} requests, found {count}"
        );
        Ok(Self::Requests { bodies: many.requests, single: false })
    }
}

fn what_is(payload: &str) -> String {
    match serde_json::from_str::<&RawValue>(payload) {
        Err(error) => format!("no JSON: {error}"),
        Ok(raw) => match raw.get().as_bytes().first() {
            Some(b'{') => "an object with names that are no plain text".to_owned(),
            Some(b'[') => "a list".to_owned(),
            Some(b'"') => "a text".to_owned(),
            Some(b'n') => "null".to_owned(),
            Some(b't' | b'f') => "true or false".to_owned(),
            _ => "a number".to_owned(),
        },
    }
}

impl Message {
    fn of(index: usize, message: SqsMessage) -> anyhow::Result<Self> {
        let place = index + 1;
        if let Some(source) = message.event_source.as_deref() {
            ensure!(
                source == "aws:sqs",
                "record {place}: `eventSource` must be \"aws:sqs\", and is another service's"
            );
        }
        let id = message.message_id.filter(|id| !id.is_empty()).with_context(|| {
            format!("record {place} has no `messageId`: it could not be reported as failed, so the whole batch fails")
        })?;
        let attribute =
            message.message_attributes.get("source").and_then(|source| source.string_value.as_deref());
        let receive_count =
            message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
        let sent_at = message.attributes.get("SentTimestamp").and_then(|ms| ms.parse().ok());
        Ok(Self {
            source: Source {
                kind: SourceKind::from_attribute(attribute),
                message_id: Some(id.clone()),
                receive_count,
                sent_at: sent_at.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            },
            id,
            receipt_handle: message.receipt_handle.filter(|handle| !handle.is_empty()),
            body: message.body.unwrap_or_default(),
            receive_count: receive_count.unwrap_or(1),
        })
    }
}
