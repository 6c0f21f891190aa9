//! The worker on the embedded stack behind a recording wire, with a queue that is driven by hand and a clock that
//! is moved instead of waited for. Asserts nothing by itself but what must hold at every moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::FutureExt;
use jiff::Timestamp;
use regrant::clock::Clock;
use regrant::config::WorkerConfig;
use regrant::domain::chain::{Link, check};
use regrant::domain::target::{Guid, Target};
use regrant::local::aws::worker_aws;
use regrant::local::graph::{CallKind, GraphCall, Simulated};
use regrant::local::poller::Poller;
use regrant::local::{AUDIT_TABLE, Options, Stack};
use regrant::worker::{Invocation, Worker};
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::wire::{Call, Watch, Wire};

pub struct Rig {
    pub stack: Stack,
    pub wire: Wire,
    /// Told nothing unless `EVENT_BUS` is set.
    pub bus: FakeBus,
    pub clock: Clock,
    pub worker: Worker,
    settings: Vec<(&'static str, String)>,
    early: Arc<Mutex<Vec<String>>>,
    /// Receipt handles by message id, of the last delivery.
    handles: HashMap<String, String>,
}

/// What one delivery of all visible messages did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    pub deleted: Vec<String>,
    pub kept: Vec<String>,
    pub crashed: bool,
}

impl Rig {
    /// `changes` come before the stack's own settings; waits are as long as in production.
    pub async fn start(changes: &[(&'static str, &str)]) -> Self {
        let stack = Stack::start(&Options::default()).await.unwrap();
        let early = Arc::new(Mutex::new(Vec::new()));
        let watch = watch_intents(&stack, &early);
        let bus = FakeBus::start(stack.dynamodb.client()).await;
        let servers = [
            ("dynamodb", stack.dynamodb.url.as_str()),
            ("sqs", &stack.sqs.url),
            ("graph", stack.graph.url()),
            ("events", &bus.url),
        ];
        let wire = Wire::before(&servers, watch).await;
        let mut settings: Vec<_> = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        settings.extend([
            ("AWS_ENDPOINT_URL_DYNAMODB", wire.url("dynamodb")),
            ("AWS_ENDPOINT_URL_SQS", wire.url("sqs")),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", wire.url("events")),
            ("QUEUE_URL", stack.sqs.queue_url.replace(&stack.sqs.url, &wire.url("sqs"))),
            ("GRAPH_ENDPOINT", wire.url("graph")),
            ("GRAPH_AUTHORITY", wire.url("graph")),
            ("CALL_TIMEOUT", "400ms".to_owned()),
        ]);
        let production = ["CHECK_AFTER", "RETRY_AFTER", "GIVE_UP_AFTER"];
        settings.extend(stack.environment().into_iter().filter(|(name, _)| !production.contains(name)));
        let clock = Clock::default();
        let worker = new_worker(&settings, &clock);
        Self { stack, wire, bus, clock, worker, settings, early, handles: HashMap::new() }
    }

    /// A new process: nothing of the old one's memory is left.
    pub fn restart(&mut self) {
        self.worker = new_worker(&self.settings, &self.clock);
    }

    /// For another program on the same servers.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    /// Another process with the same settings, beside the first.
    pub fn another_process(&self) -> Worker {
        new_worker(&self.settings, &self.clock)
    }

    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.stack.graph.advance(time);
    }

    pub async fn send(&self, body: &str) {
        let sqs = self.stack.sqs.client();
        sqs.send_message().queue_url(&self.stack.sqs.queue_url).message_body(body).send().await.unwrap();
    }

    pub fn invocation(&self) -> Invocation {
        let deadline = self.clock.now() + Duration::from_secs(60);
        Invocation { id: uuid::Uuid::new_v4().to_string(), deadline }
    }

    pub async fn invoke(&self, payload: &Value) -> anyhow::Result<Value> {
        self.worker.handle(&payload.to_string(), &self.invocation()).await
    }

    /// Makes every known message visible, as if its timeout had passed, and delivers one batch.
    pub async fn deliver(&mut self) -> Delivered {
        self.end_timeouts().await;
        let handles = Mutex::new(HashMap::new());
        let crashed = Mutex::new(false);
        let poller = Poller::new(&self.stack.sqs, Duration::from_secs(60));
        let (worker, wire, invocation) = (&self.worker, &self.wire, self.invocation());
        let polled = poller.poll(async |payload: String, _| {
            handles.lock().unwrap().extend(receipt_handles(&payload));
            tokio::select! {
                answer = worker.handle(&payload, &invocation) => answer,
                () = wire.crashed() => {
                    *crashed.lock().unwrap() = true;
                    anyhow::bail!("the process died")
                }
            }
        });
        let polled = polled.await.unwrap();
        self.handles.extend(handles.into_inner().unwrap());
        for id in &polled.deleted {
            self.handles.remove(id);
        }
        let crashed = crashed.into_inner().unwrap();
        assert!(crashed || polled.failure.is_none(), "the handler failed: {:?}", polled.failure);
        if crashed {
            self.restart();
        }
        Delivered { deleted: polled.deleted, kept: polled.kept, crashed }
    }

    async fn end_timeouts(&self) {
        let sqs = self.stack.sqs.client();
        for handle in self.handles.values() {
            let call = sqs.change_message_visibility().queue_url(&self.stack.sqs.queue_url);
            // A message may be visible already, and then its old handle is void.
            let _ = call.receipt_handle(handle).visibility_timeout(0).send().await;
        }
    }

    /// Delivers and lets `pause` pass, again and again, until no message is left; panics after 40 times.
    pub async fn drive(&mut self, pause: Duration) {
        for round in 1..=40 {
            let delivered = self.deliver().await;
            let open = unsettled(self.chains().await);
            for id in &delivered.deleted {
                let of_it = |link: &Link| link.record.contains(id.as_str());
                let early = open.values().find(|links| links.iter().any(of_it));
                assert!(early.is_none(), "{id} was acknowledged before it was settled: {early:#?}");
            }
            if self.handles.is_empty() && !delivered.crashed {
                return;
            }
            self.pass(pause);
            // What a process remembers by the real clock (a token refused a moment ago) ends with the process.
            if round % 5 == 0 {
                self.restart();
            }
        }
        panic!("never settled: {:#?}", self.chains().await);
    }

    /// Every chain in the table, read without our own code, by key and in order.
    pub async fn chains(&self) -> BTreeMap<String, Vec<Link>> {
        chains(&self.stack.dynamodb.client()).await
    }

    /// Kinds of the records of the one target, in order.
    pub async fn kinds(&self, target: &Target) -> Vec<String> {
        let chains = self.chains().await;
        let links = chains.get(&target.key(&self.stack.tenant_id)).cloned().unwrap_or_default();
        links.iter().map(|link| parse(link)["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// The records of the one target, as JSON.
    pub async fn records(&self, target: &Target) -> Vec<Value> {
        let chains = self.chains().await;
        chains
            .get(&target.key(&self.stack.tenant_id))
            .map(|links| links.iter().map(parse).collect())
            .unwrap_or_default()
    }

    pub fn reprocesses(&self) -> Vec<GraphCall> {
        let calls = self.stack.graph.calls().into_iter();
        calls.filter(|call| call.kind == CallKind::Reprocess).collect()
    }

    pub fn applied(&self) -> usize {
        self.reprocesses().iter().filter(|call| call.applied).count()
    }

    /// What must hold whatever happened: P1, P3's gapless chains, P8, and a client that keeps to Graph's rules.
    pub async fn assert_sound(&self) {
        assert_eq!(*self.early.lock().unwrap(), Vec::<String>::new(), "POSTs without an intent in the table");
        assert_eq!(self.stack.graph.violations(), Vec::<String>::new());
        let chains = self.chains().await;
        for (key, links) in &chains {
            assert_eq!(check(key, links, None), Vec::new(), "{key}");
        }
        let stored = format!("{chains:?}");
        let secret = self.setting("GRAPH_CLIENT_SECRET");
        for secret in self.stack.graph.issued_tokens().iter().chain([&secret]) {
            assert!(!stored.contains(secret.as_str()), "a token or secret is in the trail");
        }
    }

    pub fn setting(&self, name: &str) -> String {
        self.settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap()
    }

    pub async fn queued(&self) -> u64 {
        regrant::local::sqs::depth(&self.stack.sqs.client(), &self.stack.sqs.queue_url).await.unwrap().total()
    }
}

fn new_worker(settings: &[(&'static str, String)], clock: &Clock) -> Worker {
    let lookup =
        |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    Worker::new(WorkerConfig::read(lookup).unwrap(), worker_aws(settings.to_vec()), clock.clone())
}

/// P1 at the moment it matters: a POST is on its way to Graph; is its `attemptStarted` in the table?
fn watch_intents(stack: &Stack, early: &Arc<Mutex<Vec<String>>>) -> Watch {
    let (table, early) = (stack.dynamodb.client(), Arc::clone(early));
    Arc::new(move |call: Call| {
        let (table, early) = (table.clone(), Arc::clone(&early));
        async move {
            if !(call.server == "graph"
                && call.what.starts_with("POST ")
                && call.what.ends_with("/reprocess"))
            {
                return;
            }
            let id = call.client_request_id.unwrap_or_default();
            let started =
                |link: &Link| parse(link)["kind"] == "attemptStarted" && parse(link)["clientRequestId"] == id;
            if !chains(&table).await.values().flatten().any(started) {
                early.lock().unwrap().push(call.what);
            }
        }
        .boxed()
    })
}

pub fn parse(link: &Link) -> Value {
    serde_json::from_str(&link.record).unwrap()
}

/// Chains whose last record settles nothing, told by the contract's words alone.
fn unsettled(chains: BTreeMap<String, Vec<Link>>) -> BTreeMap<String, Vec<Link>> {
    let settles = |record: &Value| match record["kind"].as_str().unwrap() {
        "requestSkipped" | "requestAbandoned" | "messageRejected" => true,
        "deliveryObserved" => {
            record["target"] == "assignment"
                || !["deliveryFailed", "partiallyDelivered"].contains(&record["verdict"].as_str().unwrap())
        }
        _ => false,
    };
    chains.into_iter().filter(|(_, links)| !links.last().is_some_and(|last| settles(&parse(last)))).collect()
}

fn receipt_handles(payload: &str) -> Vec<(String, String)> {
    let event: Value = serde_json::from_str(payload).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    event["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (text(&record["messageId"]), text(&record["receiptHandle"])))
        .collect()
}

pub async fn chains(table: &aws_sdk_dynamodb::Client) -> BTreeMap<String, Vec<Link>> {
    let mut chains: BTreeMap<String, Vec<Link>> = BTreeMap::new();
    let mut pages =
        table.scan().table_name(AUDIT_TABLE).consistent_read(true).into_paginator().items().send();
    while let Some(item) = pages.next().await {
        let item = item.unwrap();
        let text = |name: &str| item[name].as_s().unwrap().clone();
        let AttributeValue::N(seq) = &item["seq"] else { panic!("`seq` is no number") };
        let link = Link {
            seq: seq.parse().unwrap(),
            prev: text("prev"),
            hash: text("hash"),
            record: text("record"),
        };
        chains.entry(text("pk")).or_default().push(link);
    }
    for links in chains.values_mut() {
        links.sort_by_key(|link| link.seq);
    }
    chains
}

/// A request that failed an hour ago and is delivered some minutes after it is reprocessed.
pub fn failed_request(now: Timestamp) -> Simulated {
    let id = Guid::parse(&uuid::Uuid::new_v4().to_string()).unwrap();
    Simulated { delivery_delay: Duration::from_secs(200), ..Simulated::failed_request(id, now) }
}

pub fn body(target: &Target, request_id: &str) -> String {
    json!({ "target": target.kind, "id": target.id, "requestId": request_id, "reason": "SAP outage" })
        .to_string()
}
