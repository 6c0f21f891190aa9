//! The SQS queue: sends requests and puts messages off. Receives and deletes nothing: Lambda does.

use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use tokio::sync::OnceCell;

use crate::aws::{Aws, describe};
use crate::domain::record::SourceKind;
use crate::domain::request::Request;

/// SQS lets a message be put off for at most 12 hours, counted from when it was received.
pub const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);
/// SQS delays a new message for at most 15 minutes.
pub const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);
/// The most entries of one batch call.
const BATCH: usize = 10;
/// How often the messages of one batch that SQS refused are sent again.
const MOST_ROUNDS: u32 = 4;
/// Before a refused message is sent again; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

pub struct Queue {
    aws: Aws,
    client: OnceCell<Client>,
    url: String,
}

/// A received message that is to come back after `wait`.
#[derive(Clone, Debug)]
pub struct PutOff {
    pub message_id: String,
    pub receipt_handle: String,
    pub wait: Duration,
}

impl Queue {
    /// Connects to nothing yet.
    pub fn new(aws: Aws, url: String) -> Self {
        Self { aws, client: OnceCell::new(), url }
    }

    /// Sends a request, to be seen after `delay`. When it returns `Ok` the message is durable.
    pub async fn send(&self, request: &Request, source: SourceKind, delay: Duration) -> anyhow::Result<()> {
        let source = source_attribute(source)?;
        self.client()
            .await
            .send_message()
            .queue_url(&self.url)
            .message_body(request.to_body())
            .message_attributes("source", source)
            .delay_seconds(whole_seconds(delay.min(LONGEST_DELAY)))
            .send()
            .await
            .map_err(|error| anyhow!("SQS: {}", describe(&error)))?;
        Ok(())
    }

    /// Sends many requests, in batches; returns those that are not in the queue, by their place, each with why.
    ///
    /// `group` keeps a bulk from standing before everybody else's messages (fair queues); it orders nothing. What
    /// SQS refuses is sent again, unless it is our fault. Once a whole call fails nothing more is tried. A request
    /// may reach the queue twice: its request id makes that one request.
    pub async fn send_all(
        &self,
        requests: &[Request],
        source: SourceKind,
        group: Option<&str>,
        sent: impl Fn(u64),
    ) -> Vec<(usize, String)> {
        let (mut refused, mut broken, mut group) = (Vec::new(), None, group);
        for (batch, start) in requests.chunks(BATCH).zip((0..).step_by(BATCH)) {
            let mut left = (start..start + batch.len()).collect::<Vec<_>>();
            if broken.is_none() {
                match self.send_batch(requests, &mut left, source, &mut group).await {
                    Ok(faults) => {
                        sent((batch.len() - faults.len()) as u64);
                        refused.extend(faults);
                        continue;
                    }
                    Err(error) => broken = Some(format!("{error:#}")),
                }
            }
            sent((batch.len() - left.len()) as u64);
            let why = broken.clone().unwrap_or_default();
            refused.extend(left.into_iter().map(|at| (at, why.clone())));
        }
        refused
    }

    /// Sends `left`, which shrinks to what is not known to be in the queue.
    async fn send_batch(
        &self,
        requests: &[Request],
        left: &mut Vec<usize>,
        source: SourceKind,
        group: &mut Option<&str>,
    ) -> anyhow::Result<Vec<(usize, String)>> {
        let mut pause = FIRST_PAUSE;
        for round in 1.. {
            let mut call = self.client().await.send_message_batch().queue_url(&self.url);
            for at in left.iter() {
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .message_body(requests[*at].to_body())
                    .message_attributes("source", source_attribute(source)?)
                    .set_message_group_id(group.map(str::to_owned));
                call = call.entries(entry.build()?);
            }
            let answer = call.send().await.map_err(|error| anyhow!("SQS: {}", describe(&error)))?;
            let failed = answer.failed();
            left.retain(|at| failed.iter().any(|entry| entry.id() == at.to_string()));
            // Not every server that speaks SQS knows groups on a standard queue.
            let no_groups = group.is_some()
                && failed
                    .iter()
                    .any(|entry| entry.message().is_some_and(|text| text.contains("MessageGroupId")));
            if no_groups {
                *group = None;
                continue;
            }
            let hopeless = failed.iter().all(aws_sdk_sqs::types::BatchResultErrorEntry::sender_fault);
            if left.is_empty() || hopeless || round >= MOST_ROUNDS {
                let fault = |at: &usize| {
                    let entry = failed.iter().find(|entry| entry.id() == at.to_string())?;
                    let text = entry.message().unwrap_or("no reason given");
                    Some((*at, format!("{}: {text}", entry.code())))
                };
                return Ok(left.iter().filter_map(fault).collect());
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(Vec::new())
    }

    /// How many messages wait to be received, about: neither those that are put off nor those under way.
    pub async fn waiting(&self) -> anyhow::Result<usize> {
        const NAME: QueueAttributeName = QueueAttributeName::ApproximateNumberOfMessages;
        let call = self.client().await.get_queue_attributes().queue_url(&self.url).attribute_names(NAME);
        let answer = call.send().await.map_err(|error| anyhow!("SQS: {}", describe(&error)))?;
        let number = answer.attributes().and_then(|attributes| attributes.get(&NAME)?.parse().ok());
        number.ok_or_else(|| anyhow!("SQS: no `{}` in the answer", NAME.as_str()))
    }

    /// Puts messages off. One that cannot be put off comes back early, which costs a look and harms nothing;
    /// those are returned, each with why.
    pub async fn put_off(&self, messages: &[PutOff]) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        for batch in messages.chunks(BATCH) {
            let entries = batch.iter().enumerate().filter_map(|(index, message)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(&message.receipt_handle)
                    .visibility_timeout(whole_seconds(message.wait.min(LONGEST_VISIBILITY)));
                entry.build().ok()
            });
            let call = self.client().await.change_message_visibility_batch().queue_url(&self.url);
            match call.set_entries(Some(entries.collect())).send().await {
                Ok(answer) => failed.extend(answer.failed().iter().filter_map(|entry| {
                    let message = entry.id().parse::<usize>().ok().and_then(|index| batch.get(index))?;
                    Some((message.message_id.clone(), entry.code().to_owned()))
                })),
                Err(error) => {
                    let why = describe(&error);
                    failed.extend(batch.iter().map(|message| (message.message_id.clone(), why.clone())));
                }
            }
        }
        failed
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.aws.config().await) }).await
    }
}

fn source_attribute(source: SourceKind) -> anyhow::Result<MessageAttributeValue> {
    let value = MessageAttributeValue::builder().data_type("String").string_value(source.as_str());
    value.build().map_err(|_| anyhow!("a message attribute could not be built"))
}

/// SQS counts in whole seconds; rounded up, so that nothing comes back before it is due.
fn whole_seconds(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}
