//! The SQS queue: sends requests and puts messages off. Receives and deletes nothing: Lambda does.

use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue};
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
        let source = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(source.as_str())
            .build()
            .map_err(|_| anyhow!("a message attribute could not be built"))?;
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

/// SQS counts in whole seconds; rounded up, so that nothing comes back before it is due.
fn whole_seconds(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}
