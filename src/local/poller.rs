//! The SQS event source of Lambda, in small: receives a batch, calls the handler, deletes what did not fail.
//!
//! Which messages stay is decided as Lambda's documentation on partial batch responses says: a handler error, an
//! answer of another form, and an empty, absent or unknown `itemIdentifier` keep the whole batch; no answer, an
//! empty one and an empty list delete the whole batch. Nothing is retried here: the visibility timeout does that.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::aws;
use super::sqs::SqsServer;
use crate::worker::Invocation;

/// SQS hands over at most ten messages at once.
const MOST_MESSAGES: i32 = 10;

/// One queue and how long its function may run.
#[derive(Clone, Debug)]
pub struct Poller {
    pub client: Client,
    pub queue_url: String,
    pub queue_arn: String,
    /// From the call to the invocation's deadline.
    pub function_timeout: Duration,
    /// How long an empty queue is waited on; SQS counts whole seconds, up to 20.
    pub wait: Duration,
}

/// What one poll did.
#[derive(Debug, Default)]
pub struct Polled {
    pub received: usize,
    /// Message ids, in the order received.
    pub deleted: Vec<String>,
    pub kept: Vec<String>,
    /// Why the whole batch was kept, if it was.
    pub failure: Option<anyhow::Error>,
}

impl Poller {
    /// Polls the queue of requests without waiting on it when it is empty.
    pub fn new(sqs: &SqsServer, function_timeout: Duration) -> Self {
        Self {
            client: sqs.client(),
            queue_url: sqs.queue_url.clone(),
            queue_arn: sqs.queue_arn.clone(),
            function_timeout,
            wait: Duration::ZERO,
        }
    }

    /// Receives one batch and has it handled. `Err` only if the queue itself failed; then the messages that were
    /// received come back when their visibility timeout ends.
    pub async fn poll<H, F>(&self, handler: H) -> anyhow::Result<Polled>
    where
        H: FnOnce(String, Invocation) -> F,
        F: Future<Output = anyhow::Result<Value>>,
    {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(MOST_MESSAGES)
            .wait_time_seconds(i32::try_from(self.wait.as_secs().min(20)).unwrap_or(20))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .context("failed to receive messages")?;
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(Polled::default());
        }
        let timeout = SignedDuration::try_from(self.function_timeout).unwrap_or(SignedDuration::MAX);
        let invocation = Invocation {
            id: Uuid::new_v4().to_string(),
            deadline: crate::clock::system_now().saturating_add(timeout)?,
        };
        let answer = handler(self.event(&messages).to_string(), invocation).await;
        let ids = messages.iter().filter_map(|message| message.message_id.as_deref()).collect::<Vec<_>>();
        let failed = answer.context("the handler failed").and_then(|answer| failed_items(&answer, &ids));
        let (keep, failure) = match failed {
            Ok(keep) => (keep, None),
            Err(error) => (ids.iter().map(|id| (*id).to_owned()).collect(), Some(error)),
        };
        let (kept, deleted) =
            ids.iter().map(|id| (*id).to_owned()).partition::<Vec<_>, _>(|id| keep.contains(id));
        self.delete(&messages, &deleted).await?;
        Ok(Polled { received: messages.len(), deleted, kept, failure })
    }

    /// The event as Lambda writes it.
    fn event(&self, messages: &[Message]) -> Value {
        let records = messages.iter().map(|message| {
            let attributes = message.attributes.iter().flatten();
            let attributes = attributes
                .map(|(name, value)| (name.as_str().to_owned(), Value::from(value.as_str())))
                .collect::<Map<_, _>>();
            let custom = message.message_attributes.iter().flatten();
            let custom = custom.map(|(name, value)| (name.clone(), attribute(value))).collect::<Map<_, _>>();
            json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt_handle,
                "body": message.body,
                "attributes": attributes,
                "messageAttributes": custom,
                "md5OfBody": message.md5_of_body,
                "eventSource": "aws:sqs",
                "eventSourceARN": self.queue_arn,
                "awsRegion": aws::REGION,
            })
        });
        json!({ "Records": records.collect::<Vec<_>>() })
    }

    async fn delete(&self, messages: &[Message], ids: &[String]) -> anyhow::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::new();
        for message in messages {
            let Some(id) = message.message_id.as_ref().filter(|id| ids.contains(id)) else { continue };
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(id)
                .set_receipt_handle(message.receipt_handle.clone())
                .build()?;
            entries.push(entry);
        }
        let deleted = self
            .client
            .delete_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries))
            .send()
            .await
            .context("failed to delete messages")?;
        if let Some(failed) = deleted.failed.first() {
            bail!("failed to delete message {}: {}", failed.id, failed.code);
        }
        Ok(())
    }
}

fn attribute(value: &MessageAttributeValue) -> Value {
    let mut json = json!({
        "stringValue": value.string_value,
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value.data_type,
    });
    if let Some(binary) = &value.binary_value {
        use base64::Engine;
        json["binaryValue"] = base64::engine::general_purpose::STANDARD.encode(binary).into();
    }
    json
}

/// The ids to keep; `Err` where Lambda would keep the whole batch.
fn failed_items(answer: &Value, ids: &[&str]) -> anyhow::Result<HashSet<String>> {
    let list = match answer {
        Value::Null => return Ok(HashSet::new()),
        Value::Object(fields) => match fields.get("batchItemFailures") {
            None | Some(Value::Null) => return Ok(HashSet::new()),
            Some(Value::Array(list)) => list,
            Some(_) => bail!("`batchItemFailures` is not a list"),
        },
        _ => bail!("the answer is not an object"),
    };
    list.iter()
        .map(|item| match item.get("itemIdentifier") {
            Some(Value::String(id)) if ids.contains(&id.as_str()) => Ok(id.clone()),
            _ => bail!("an `itemIdentifier` is not the id of a message of the batch"),
        })
        .collect()
}
