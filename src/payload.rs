//! What an invocation brings: an SQS event, one request, or several. Parses no request and answers nothing.

use std::collections::HashMap;

use anyhow::{Context, anyhow, bail, ensure};
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::record::{Source, SourceKind};
use crate::domain::request::shorten;

/// A direct invocation holds at most so many requests.
const MOST_REQUESTS: usize = 100;

/// One SQS message, as far as we need it.
pub struct Message {
    pub id: String,
    /// Absent only in made-up events; then the message cannot be put off and comes back by itself.
    pub receipt_handle: Option<String>,
    pub body: String,
    /// SQS's approximate one; 1 if it says none.
    pub receive_count: u32,
    pub source: Source,
}

/// What an invocation brings.
pub enum Payload {
    Messages(Vec<Message>),
    Requests { bodies: Vec<Box<RawValue>>, single: bool },
}

const EXPECTED: &str = "expected an SQS event (`Records`), one request (`target` and `id`), or `requests` with 1 to 100 requests";

impl Payload {
    /// The error says what was expected and what came, and repeats nothing of the payload but field names.
    pub fn parse(payload: &str) -> anyhow::Result<Self> {
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
        let mut names = fields.keys().map(|name| format!("`{}`", shorten(name))).collect::<Vec<_>>();
        names.sort();
        names.truncate(8);
        bail!("{EXPECTED}; found an object with the fields [{}]", names.join(", "))
    }

    fn messages(payload: &str) -> anyhow::Result<Self> {
        let event: SqsEvent = serde_json::from_str(payload)
            .map_err(|error| unlike("`Records` is not that of an SQS event", &error))?;
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
            .map_err(|error| unlike("`requests` must be a list of requests, alone in its object", &error))?;
        let count = many.requests.len();
        ensure!(
            (1..=MOST_REQUESTS).contains(&count),
            "`requests` must hold 1 to {MOST_REQUESTS} requests, found {count}"
        );
        Ok(Self::Requests { bodies: many.requests, single: false })
    }
}

/// Without the parser's own words: they repeat values.
fn unlike(rule: &str, error: &serde_json::Error) -> anyhow::Error {
    anyhow!("{rule}: see line {} column {}", error.line(), error.column())
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
