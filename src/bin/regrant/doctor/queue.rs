//! The queue of requests and its dead-letter queue. Receives and sends nothing.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use super::finding::{Finding, code, unanswered};

/// A message stays until its request is settled; this is the longest that SQS keeps one.
const RETENTION_SECS: u64 = 14 * 24 * 60 * 60;
/// Every look at a target is a receive.
const FEWEST_RECEIVES: u64 = 1000;
/// SQS hands out nothing more while so many messages are in flight.
const MOST_IN_FLIGHT: u64 = 120_000;
const MANY_IN_FLIGHT: u64 = 100_000;
/// Lambda's own rule for a queue that feeds a function.
const TIMEOUTS_A_VISIBILITY: u64 = 6;

type Attributes = HashMap<QueueAttributeName, String>;

/// `timeout_secs` is that of the worker, if it is known.
pub async fn check(client: &Client, url: &str, timeout_secs: Option<u64>) -> Vec<Finding> {
    let attributes = match read(client, url).await {
        Ok(attributes) => attributes,
        Err(error)
            if code(&error).contains("NonExistentQueue") || code(&error).contains("QueueDoesNotExist") =>
        {
            return vec![Finding::failed(
                "queue",
                format!("there is no queue at `{url}`"),
                "check `QUEUE_URL`, `AWS_REGION` and `AWS_PROFILE`",
            )];
        }
        Err(error) => return vec![unanswered("queue", "sqs:GetQueueAttributes", &error)],
    };
    let mut findings = own(url, &attributes, timeout_secs);
    findings.extend(dead_letters(client, url, &attributes).await);
    findings
}

async fn read(
    client: &Client,
    url: &str,
) -> Result<
    Attributes,
    aws_sdk_sqs::error::SdkError<
        aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
> {
    let all = client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
    Ok(all.send().await?.attributes.unwrap_or_default())
}

fn own(url: &str, attributes: &Attributes, timeout_secs: Option<u64>) -> Vec<Finding> {
    use QueueAttributeName as Name;
    let secs = |name| number(attributes, &name).unwrap_or_default();
    let is_fifo =
        attributes.get(&Name::FifoQueue).is_some_and(|fifo| fifo == "true") || url.ends_with(".fifo");
    let waiting = secs(Name::ApproximateNumberOfMessages) + secs(Name::ApproximateNumberOfMessagesDelayed);
    let in_flight = secs(Name::ApproximateNumberOfMessagesNotVisible);
    let retention = secs(Name::MessageRetentionPeriod);
    let visibility = secs(Name::VisibilityTimeout);
    let set = |name: &str, value: u64| {
        format!("aws sqs set-queue-attributes --queue-url {url} --attributes {name}={value}")
    };
    let encrypted = attributes.get(&Name::SqsManagedSseEnabled).is_some_and(|on| on == "true")
        || attributes.get(&Name::KmsMasterKeyId).is_some_and(|key| !key.is_empty());
    let in_flight_finding = match in_flight {
        ..MANY_IN_FLIGHT => {
            Finding::ok("queue.inFlight", format!("{in_flight} of {MOST_IN_FLIGHT} messages"))
        }
        MANY_IN_FLIGHT..MOST_IN_FLIGHT => Finding::warning(
            "queue.inFlight",
            format!(
                "{in_flight} messages, near the {MOST_IN_FLIGHT} from which on SQS hands out nothing more"
            ),
            "send no more in masses until repairs have settled",
        ),
        MOST_IN_FLIGHT.. => Finding::failed(
            "queue.inFlight",
            format!("{in_flight} messages: SQS hands out nothing more"),
            "send no more until repairs have settled",
        ),
    };
    let visibility_finding = match timeout_secs {
        None => Finding::skipped(
            "queue.visibility",
            format!("{visibility} s; to compare it with the worker's time-out, name it with --worker"),
        ),
        Some(timeout) => Finding::judged(
            "queue.visibility",
            visibility >= TIMEOUTS_A_VISIBILITY * timeout,
            format!("{visibility} s, the worker's time-out is {timeout} s"),
            "a message would come back while it is being worked on",
            set("VisibilityTimeout", TIMEOUTS_A_VISIBILITY * timeout),
        ),
    };
    vec![
        Finding::judged(
            "queue",
            !is_fifo,
            format!("`{url}`, {} waiting", crate::output::counted(waiting, "message")),
            "a first-in-first-out queue: one message that waits holds up its whole group",
            "make a standard queue, as `template.yaml` has it",
        ),
        Finding::judged(
            "queue.retention",
            retention >= RETENTION_SECS,
            format!("messages are kept for {}", span(retention)),
            "a request that waits for longer would be lost; the sweep finds it only if it is recorded",
            set("MessageRetentionPeriod", RETENTION_SECS),
        ),
        visibility_finding,
        in_flight_finding,
        Finding::judged(
            "queue.encryption",
            encrypted,
            format!("encryption is {}", if encrypted { "on" } else { "off" }),
            "reasons and tickets lie there in the clear",
            format!("aws sqs set-queue-attributes --queue-url {url} --attributes SqsManagedSseEnabled=true"),
        ),
    ]
}

async fn dead_letters(client: &Client, url: &str, attributes: &Attributes) -> Vec<Finding> {
    const REDRIVE: &str = "queue.redrive";
    const DEAD: &str = "queue.deadLetters";
    let mend = "give the queue a dead-letter queue and `maxReceiveCount` 1000, as `template.yaml` has it";
    let policy = attributes.get(&QueueAttributeName::RedrivePolicy);
    let policy = policy.and_then(|policy| serde_json::from_str::<Value>(policy).ok()).unwrap_or_default();
    let Some(arn) = policy.get("deadLetterTargetArn").and_then(Value::as_str) else {
        return vec![Finding::failed(
            REDRIVE,
            "no dead-letter queue: a message without an end comes back for ever",
            mend,
        )];
    };
    let receives = policy.get("maxReceiveCount");
    let receives = receives.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    let receives = receives.unwrap_or_default();
    let name = arn.rsplit(':').next().unwrap_or_default();
    let mut findings = vec![Finding::judged(
        REDRIVE,
        receives >= FEWEST_RECEIVES,
        format!("to `{name}` after {receives} receives"),
        "every look at a target is a receive, so that repairs which only take long would die",
        mend,
    )];
    // SQS demands that both queues are of one account and region.
    let dead_url = url.rsplit_once('/').map_or_else(String::new, |(root, _)| format!("{root}/{name}"));
    let dead = match read(client, &dead_url).await {
        Ok(dead) => dead,
        Err(error)
            if code(&error).contains("NonExistentQueue") || code(&error).contains("QueueDoesNotExist") =>
        {
            findings.push(Finding::failed(
                DEAD,
                format!("there is no queue `{name}`: dead letters would be lost"),
                mend,
            ));
            return findings;
        }
        Err(error) => {
            findings.push(unanswered(DEAD, "sqs:GetQueueAttributes", &error));
            return findings;
        }
    };
    let kept =
        |attributes| number(attributes, &QueueAttributeName::MessageRetentionPeriod).unwrap_or_default();
    let messages = number(&dead, &QueueAttributeName::ApproximateNumberOfMessages).unwrap_or_default();
    findings.push(if kept(&dead) < kept(attributes) {
        Finding::failed(
            DEAD,
            format!("kept for {} only: a dead letter keeps the time it was first sent, and would be gone at once", span(kept(&dead))),
            format!("aws sqs set-queue-attributes --queue-url {dead_url} --attributes MessageRetentionPeriod={RETENTION_SECS}"),
        )
    } else if messages > 0 {
        Finding::warning(
            DEAD,
            format!("{} in `{name}`", crate::output::counted(messages, "message")),
            "read the worker's log, then redrive them: each goes on where its repair stands",
        )
    } else {
        Finding::ok(DEAD, format!("none in `{name}`, kept for {}", span(kept(&dead))))
    });
    findings
}

fn number(attributes: &Attributes, name: &QueueAttributeName) -> Option<u64> {
    attributes.get(name)?.parse().ok()
}

fn span(secs: u64) -> String {
    crate::words::duration(std::time::Duration::from_secs(secs))
}
