//! Messages through a worker process: sends them, polls as Lambda does, and reads what the process used. Every
//! delivery succeeds.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, SendMessageBatchRequestEntry};
use regrant::local::graph::{Simulated, random_guid};
use regrant::local::poller::Poller;
use regrant::local::{Options, Stack};
use serde_json::{Value, json};

use crate::runtime_api::{Ended, Function};

const TIMEOUT: Duration = Duration::from_secs(60);
/// Linux counts a process's CPU time in hundredths of a second.
const TICK_MS: f64 = 10.0;

pub struct Load {
    stack: Stack,
    function: Function,
    poller: Poller,
}

/// What one poll did.
pub struct Batch {
    pub received: usize,
    /// Receipt handles of the messages that stay in the queue.
    pub kept: Vec<String>,
    pub deleted: usize,
    /// From the event handed over to the response.
    pub taken: Duration,
}

pub async fn stack() -> Stack {
    Stack::start(&Options::default()).await.unwrap()
}

/// Leaves the servers to the end of the process: taking down thousands of messages and records is not measured.
pub fn forever(load: Load) {
    load.function.process().kill();
    std::mem::forget(load);
}

impl Load {
    pub async fn start(worker: &Path, stack: Stack, changes: &[(&'static str, &str)]) -> Self {
        let function = function(worker, &stack, changes).await;
        let poller = Poller { wait: Duration::from_secs(1), ..Poller::new(&stack.sqs, TIMEOUT) };
        Self { stack, function, poller }
    }

    /// A new process in place of the one that was.
    pub async fn restart(&mut self, worker: &Path, changes: &[(&'static str, &str)]) {
        self.function = function(worker, &self.stack, changes).await;
    }

    /// Puts so many messages on the queue, at most ten, each for a request whose delivery failed.
    pub async fn send(&mut self, count: usize) {
        let graph = &self.stack.graph;
        let entries = (0..count).map(|index| {
            let id = random_guid();
            graph.put(Simulated::failed_request(id.clone(), graph.now()));
            let body = json!({
                "target": "assignmentRequest", "id": id, "requestedBy": random_guid(),
                "reason": "SAP outage", "ticket": "INC0012345",
            });
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
            entry.message_body(body.to_string()).build().unwrap()
        });
        let send = self.poller.client.send_message_batch().queue_url(&self.poller.queue_url);
        let sent = send.set_entries(Some(entries.collect())).send().await.unwrap();
        assert_eq!(sent.successful.len(), count);
    }

    /// One poll, and one invocation if there was anything.
    pub async fn batch(&self) -> Batch {
        let (mut receipts, mut taken) = (Vec::new(), Duration::ZERO);
        let polled = self.poller.poll(async |event: String, _| {
            receipts = receipts_of(&event);
            let started = Instant::now();
            let ended = self.function.invoke(event, TIMEOUT).await;
            taken = started.elapsed();
            match ended {
                Ended::Response(answer) => Ok(answer),
                other => anyhow::bail!("{other:?}"),
            }
        });
        let polled = polled.await.unwrap();
        assert!(polled.failure.is_none(), "{:?}", polled.failure);
        receipts.retain(|(id, _)| polled.kept.contains(id));
        let kept = receipts.into_iter().map(|(_, receipt)| receipt).collect();
        Batch { received: polled.received, kept, deleted: polled.deleted.len(), taken }
    }

    /// So many messages, a multiple of ten, once each; the receipts of all.
    pub async fn deliver(&mut self, count: usize) -> Vec<String> {
        let mut receipts = Vec::with_capacity(count);
        for _ in 0..count / 10 {
            self.send(10).await;
            let mut received = 0;
            while received < 10 {
                let batch = self.batch().await;
                received += batch.received;
                assert_eq!(batch.deleted, 0);
                receipts.extend(batch.kept);
            }
        }
        receipts
    }

    /// Makes these messages visible, ten at a time, and has them settled.
    pub async fn redeliver(&self, receipts: &[String]) {
        for ten in receipts.chunks(10) {
            let entries = ten.iter().enumerate().map(|(index, receipt)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(receipt).visibility_timeout(0).build().unwrap()
            });
            let change = self.poller.client.change_message_visibility_batch();
            let change = change.queue_url(&self.poller.queue_url).set_entries(Some(entries.collect()));
            assert!(change.send().await.unwrap().failed.is_empty());
            let mut settled = 0;
            while settled < ten.len() {
                let batch = self.batch().await;
                settled += batch.deleted;
                assert!(batch.kept.is_empty());
            }
        }
    }

    /// User and system time so far.
    pub fn cpu_ms(&self) -> [f64; 2] {
        let stat = self.proc("stat");
        // Behind the name, which may hold anything, stands the third field.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().collect::<Vec<_>>();
        [fields[11], fields[12]].map(|field| field.parse::<f64>().unwrap() * TICK_MS)
    }

    /// The most memory that was ever resident.
    pub fn peak_mb(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.function.process().id())).unwrap()
    }
}

async fn function(worker: &Path, stack: &Stack, changes: &[(&'static str, &str)]) -> Function {
    let mut settings = stack.environment();
    settings.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let function = Function::start(worker.to_str().unwrap(), &settings).await;
    function.ready().await.expect("the worker starts");
    function
}

/// Message id and receipt handle of each.
fn receipts_of(event: &str) -> Vec<(String, String)> {
    let event = serde_json::from_str::<Value>(event).unwrap();
    let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let records = event["Records"].as_array().unwrap().iter();
    records.map(|record| (text(record, "messageId"), text(record, "receiptHandle"))).collect()
}
