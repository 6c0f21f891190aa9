//! The files given to `regrant local`: SQS events and direct payloads, and the targets named in them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;
use regrant::domain::request::Request;
use regrant::domain::target::{ApiVersion, Target, Via};
use serde_json::Value;

/// Everything that the files hold.
#[derive(Debug, Default)]
pub struct Input {
    pub messages: Vec<QueueMessage>,
    /// Direct payloads as they stand in their files.
    pub payloads: Vec<(PathBuf, String)>,
    /// Every target that a valid request names, once, in the order of the files.
    pub targets: Vec<Target>,
    /// The nested paths that the requests take, with the target they belong to.
    pub vias: Vec<(Target, Via)>,
    /// Requests in the payloads.
    pub direct: u64,
}

/// One message for the embedded queue; SQS gives it a new id.
#[derive(Debug, PartialEq, Eq)]
pub struct QueueMessage {
    pub body: String,
    /// The message attributes with a text value: name, data type, value.
    pub attributes: Vec<(String, String, String)>,
}

impl Input {
    /// Reads all files; the error names the file.
    pub fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut input = Self::default();
        for file in files {
            let text = std::fs::read_to_string(file);
            text.map_err(anyhow::Error::from)
                .and_then(|text| input.add(file, text))
                .with_context(|| format!("cannot use `{}`", file.display()))?;
        }
        Ok(input)
    }

    /// Requests and messages that will be settled one day, good and bad ones.
    pub fn count(&self) -> u64 {
        self.messages.len() as u64 + self.direct
    }

    fn add(&mut self, file: &Path, text: String) -> anyhow::Result<()> {
        match serde_json::from_str::<Value>(&text).context("not JSON")? {
            Value::Object(fields) if fields.contains_key("Records") => {
                let event = serde_json::from_str::<SqsEvent>(&text).context("not an SQS event")?;
                self.add_event(event)
            }
            Value::Object(fields) => {
                match fields.get("requests").and_then(Value::as_array) {
                    Some(requests) => {
                        requests.iter().for_each(|request| self.add_target(&request.to_string()));
                        self.direct += requests.len() as u64;
                    }
                    None => {
                        self.add_target(&text);
                        self.direct += 1;
                    }
                }
                self.payloads.push((file.to_owned(), text));
                Ok(())
            }
            _ => bail!("neither an SQS event nor an object with a request"),
        }
    }

    fn add_event(&mut self, event: SqsEvent) -> anyhow::Result<()> {
        for (at, record) in event.records.into_iter().enumerate() {
            let body = record.body.filter(|body| !body.is_empty());
            let body = body.with_context(|| format!("`Records[{at}].body` is absent or empty"))?;
            self.add_target(&body);
            let texts = record
                .message_attributes
                .into_iter()
                .filter_map(|(name, attribute)| Some((name, attribute.data_type?, attribute.string_value?)));
            self.messages.push(QueueMessage { body, attributes: texts.collect() });
        }
        Ok(())
    }

    /// Whatever is not a request has no target; the worker will say what is wrong with it.
    fn add_target(&mut self, body: &str) {
        let Ok(Request { target, via, .. }) = Request::parse(body, "local", ApiVersion::V1) else { return };
        self.vias.extend(via.map(|via| (target.clone(), via)));
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
    }

    /// Puts the messages on the queue.
    pub async fn send(&self, client: &Client, queue_url: &str) -> anyhow::Result<()> {
        for message in &self.messages {
            let mut attributes = HashMap::new();
            for (name, kind, value) in &message.attributes {
                let value = MessageAttributeValue::builder().data_type(kind).string_value(value).build()?;
                attributes.insert(name.clone(), value);
            }
            client
                .send_message()
                .queue_url(queue_url)
                .message_body(&message.body)
                .set_message_attributes(Some(attributes))
                .send()
                .await
                .context("failed to send a message to the embedded queue")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";

    fn input(text: &str) -> anyhow::Result<Input> {
        let mut input = Input::default();
        input.add(Path::new("some.json"), text.to_owned()).map(|()| input)
    }

    #[test]
    fn event_gives_messages_with_their_attributes_and_each_target_once() {
        let request = format!(r#"{{"target":"assignmentRequest","id":"{ID}"}}"#);
        let source = serde_json::json!({ "source": { "stringValue": "cli", "dataType": "String" } });
        let records = serde_json::json!([
            { "body": request, "messageAttributes": source },
            { "body": request },
            { "body": "not a request" },
        ]);
        let input = input(&serde_json::json!({ "Records": records }).to_string()).unwrap();
        assert_eq!(input.count(), 3);
        assert_eq!(
            input.messages[0].attributes,
            [("source".to_owned(), "String".to_owned(), "cli".to_owned())]
        );
        assert_eq!(input.targets.len(), 1);
        assert!(input.payloads.is_empty());
    }

    #[test]
    fn payload_is_kept_as_it_stands_and_its_requests_counted() {
        let text = format!(r#"{{ "requests": [{{"target":"assignment","id":"{ID}"}}, {{"target":1}}] }}"#);
        let input = input(&text).unwrap();
        assert_eq!(input.count(), 2);
        assert_eq!(input.targets.len(), 1);
        assert_eq!(input.payloads, [(PathBuf::from("some.json"), text)]);
    }

    #[test]
    fn other_files_are_refused() {
        for (text, expected) in [
            ("{", "not JSON"),
            ("[]", "neither an SQS event nor an object with a request"),
            (r#"{"Records":[{"body":""}]}"#, "`Records[0].body` is absent or empty"),
            (r#"{"Records":1}"#, "not an SQS event"),
        ] {
            assert_eq!(input(text).unwrap_err().to_string(), expected);
        }
    }
}
