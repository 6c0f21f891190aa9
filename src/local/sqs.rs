//! SQS inside this process, with the queue of requests and its dead-letter queue. Receives no message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::service::{SqsHttpConfig, SqsHttpService};

use super::aws;
use super::listener::{self, Listening};

/// As in the template: a message waits for its request to be settled, so receiving it often is normal.
const RECEIVES_BEFORE_DEAD: u32 = 1000;

/// A running server with two queues; dropping it stops it and forgets every message.
#[derive(Debug)]
pub struct SqsServer {
    pub url: String,
    pub queue_url: String,
    pub queue_arn: String,
    pub dead_letter_url: String,
    _listening: Listening,
}

impl SqsServer {
    /// Starts on a free loopback port and creates both queues. `visibility` is rounded down to whole seconds.
    pub async fn start(visibility: Duration) -> anyhow::Result<Self> {
        let (listener, address) = listener::bind().await?;
        let provider = RustackSqs::new(SqsConfig {
            host: address.ip().to_string(),
            port: address.port(),
            default_region: aws::REGION.to_owned(),
            ..SqsConfig::default()
        });
        let service = SqsHttpService::new(
            Arc::new(RustackSqsHandler::new(Arc::new(provider))),
            SqsHttpConfig { region: aws::REGION.to_owned(), ..SqsHttpConfig::default() },
        );
        let listening = listener::serve(listener, move |socket| {
            let service = service.clone();
            async move {
                let connection = auto::Builder::new(TokioExecutor::new());
                // A client that goes away in the middle of a call is its own affair.
                let _ = connection.serve_connection(TokioIo::new(socket), service).await;
            }
        });
        let url = format!("http://{address}");
        let client = Client::new(&aws::sdk_config(&url));
        let (dead_letter_url, dead_letter_arn) =
            create_queue(&client, "regrant-dead-letters", HashMap::new()).await?;
        let redrive = serde_json::json!({
            "deadLetterTargetArn": dead_letter_arn,
            "maxReceiveCount": RECEIVES_BEFORE_DEAD,
        });
        let attributes = HashMap::from([
            (QueueAttributeName::VisibilityTimeout, visibility.as_secs().to_string()),
            (QueueAttributeName::RedrivePolicy, redrive.to_string()),
        ]);
        let (queue_url, queue_arn) = create_queue(&client, "regrant-requests", attributes).await?;
        Ok(Self { url, queue_url, queue_arn, dead_letter_url, _listening: listening })
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        Client::new(&aws::sdk_config(&self.url))
    }
}

async fn create_queue(
    client: &Client,
    name: &str,
    attributes: HashMap<QueueAttributeName, String>,
) -> anyhow::Result<(String, String)> {
    let created = client
        .create_queue()
        .queue_name(name)
        .set_attributes(Some(attributes))
        .send()
        .await
        .with_context(|| format!("failed to create the queue `{name}`"))?;
    let url = created.queue_url.with_context(|| format!("the queue `{name}` got no URL"))?;
    let read = client
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .with_context(|| format!("failed to read the attributes of the queue `{name}`"))?;
    let arn = read.attributes.and_then(|mut attributes| attributes.remove(&QueueAttributeName::QueueArn));
    Ok((url, arn.with_context(|| format!("the queue `{name}` has no ARN"))?))
}

/// What is in a queue, as SQS counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

impl Depth {
    pub fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// Reads how many messages are in the queue: to be received, received and not yet visible again, and delayed.
pub async fn depth(client: &Client, queue_url: &str) -> anyhow::Result<Depth> {
    use QueueAttributeName::{
        ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
        ApproximateNumberOfMessagesNotVisible,
    };
    let names = [
        ApproximateNumberOfMessages,
        ApproximateNumberOfMessagesNotVisible,
        ApproximateNumberOfMessagesDelayed,
    ];
    let read = client
        .get_queue_attributes()
        .queue_url(queue_url)
        .set_attribute_names(Some(names.to_vec()))
        .send()
        .await
        .context("failed to read the depth of the queue")?;
    let [visible, in_flight, delayed] = names.map(|name| {
        let text = read.attributes.as_ref().and_then(|attributes| attributes.get(&name));
        let count = text.with_context(|| format!("the queue does not say its `{}`", name.as_str()))?;
        count.parse().with_context(|| format!("`{}` is not a number: \"{count}\"", name.as_str()))
    });
    Ok::<_, anyhow::Error>(Depth { visible: visible?, in_flight: in_flight?, delayed: delayed? })
}
