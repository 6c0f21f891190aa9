//! What brings the queue's messages to the worker: the event source mapping. Changes none.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, FunctionResponseType};

use super::finding::{Finding, unanswered};

const CHECK: &str = "source";
/// Far more than any function has.
const MOST_MAPPINGS: usize = 1000;

/// `queue` is the ARN of the queue that the worker's own settings name, if they are known.
pub async fn check(client: &Client, worker: &str, queue: Option<&str>) -> Vec<Finding> {
    let mut pages = client.list_event_source_mappings().function_name(worker).into_paginator().items().send();
    let mut mappings = Vec::new();
    while let Some(mapping) = pages.next().await {
        match mapping {
            Ok(mapping) => mappings.push(mapping),
            Err(error) => return vec![unanswered(CHECK, "lambda:ListEventSourceMappings", &error)],
        }
        if mappings.len() == MOST_MAPPINGS {
            break;
        }
    }
    let Some(queue) = queue else {
        return vec![Finding::skipped(
            CHECK,
            "without the worker's `QUEUE_URL` nobody knows which queue it should be",
        )];
    };
    let (ours, others): (Vec<_>, Vec<_>) =
        mappings.into_iter().partition(|mapping| mapping.event_source_arn() == Some(queue));
    let mut findings = match ours.first() {
        Some(mapping) => of_mapping(mapping),
        None => vec![Finding::failed(
            CHECK,
            format!("nothing brings the messages of `{queue}` to `{worker}`"),
            "deploy the stack again: `template.yaml` makes the event source mapping",
        )],
    };
    if !others.is_empty() {
        let arns = others.iter().filter_map(EventSourceMappingConfiguration::event_source_arn);
        let arns = arns.map(|arn| format!("`{arn}`")).collect::<Vec<_>>().join(", ");
        findings.push(Finding::warning(
            "source.others",
            format!("the worker is fed from {arns} too, but puts messages off in its own queue only"),
            "remove those event source mappings",
        ));
    }
    findings
}

fn of_mapping(mapping: &EventSourceMappingConfiguration) -> Vec<Finding> {
    let uuid = mapping.uuid().unwrap_or("?");
    let batch = mapping.batch_size().unwrap_or_default();
    let window = mapping.maximum_batching_window_in_seconds().unwrap_or_default();
    let told = format!("batches of {batch}, gathered for up to {window} s");
    let state = match mapping.state() {
        Some("Enabled") => Finding::ok(CHECK, format!("enabled, {told}")),
        Some(state @ ("Disabled" | "Disabling")) => Finding::warning(
            CHECK,
            format!("paused ({state}): requests wait in the queue, for 14 days at most"),
            format!("aws lambda update-event-source-mapping --uuid {uuid} --enabled"),
        ),
        state => Finding::warning(
            CHECK,
            format!("its state is {}, {told}", state.unwrap_or("unknown")),
            "wait until it is enabled",
        ),
    };
    let partial = mapping.function_response_types().contains(&FunctionResponseType::ReportBatchItemFailures);
    let most = mapping.scaling_config().and_then(|scaling| scaling.maximum_concurrency());
    vec![
        state,
        Finding::judged(
            "source.partial",
            partial,
            format!("partial batch responses are {}", if partial { "on" } else { "off" }),
            "Lambda deletes every message of a batch, settled or not",
            format!(
                "aws lambda update-event-source-mapping --uuid {uuid} --function-response-types ReportBatchItemFailures"
            ),
        ),
        match most {
            Some(most) => Finding::ok("source.concurrency", format!("at most {most} functions at once")),
            None => Finding::warning(
                "source.concurrency",
                "nothing bounds how many functions run at once, and so the load on Graph",
                format!(
                    "aws lambda update-event-source-mapping --uuid {uuid} --scaling-config MaximumConcurrency=5"
                ),
            ),
        },
    ]
}
