//! Functions, what starts them, and the queues that their promises stand on.

use super::{Faults, Template, list, named, texts};

/// SQS's own, where the template says nothing.
const DEFAULT_VISIBILITY: u64 = 30;
const DEFAULT_RETENTION: u64 = 345_600;

pub fn check(template: &Template, faults: &mut Faults) {
    for (name, function) in template.all("AWS::Serverless::Function") {
        let function = &function["Properties"];
        faults.check(function["Policies"].is_null(), format!("{name}: has a policy beside its role"));
        faults.check(function["Connectors"].is_null(), format!("{name}: has a connector"));
        let role = template.properties(&function["Role"]);
        faults.check(!role.is_null(), format!("{name}: its role is not in the template"));
        let group = template.properties(&function["LoggingConfig"]["LogGroup"]);
        faults.check(!group["RetentionInDays"].is_null(), format!("{name}: its logs are kept for ever"));
        faults.check(function["Runtime"] == "provided.al2023", format!("{name}: its runtime is another"));
        let timeout =
            function["Timeout"].as_u64().or(template.global_timeout.as_u64()).unwrap_or(u64::MAX / 6);
        for (event, source) in function["Events"].as_object().into_iter().flatten() {
            let (event, kind, source) = (format!("{name}.{event}"), &source["Type"], &source["Properties"]);
            if kind == "ScheduleV2" {
                // Switched by a parameter, and under no name that a second stack could want too.
                faults.check(named(&source["State"]).is_some(), format!("{event}: cannot be switched off"));
                faults.check(source["OmitName"] == true, format!("{event}: has a name of its own"));
                continue;
            }
            faults.check(kind == "SQS", format!("{event}: is neither a queue nor a schedule"));
            source_of_messages(template, &event, source, timeout, faults);
        }
    }
    for kind in ["AWS::Serverless::Connector", "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"] {
        for (name, _) in template.all(kind) {
            faults.check(false, format!("{name}: a {kind}, which no rule here looks at"));
        }
    }
    let policies = template.all("AWS::SQS::QueuePolicy").collect::<Vec<_>>();
    for (name, policy) in &policies {
        let of = list(&policy["Properties"]["Queues"]);
        let on = list(&policy["Properties"]["PolicyDocument"]["Statement"]);
        let on = on.iter().flat_map(|statement| list(&statement["Resource"]));
        let one = of.len() == 1 && on.map(named).all(|queue| queue.is_some() && queue == named(of[0]));
        // SQS refuses a policy on anything but the one queue that it is for.
        faults.check(one, format!("{name}: is not of one queue and on that one"));
    }
    for (name, queue) in template.all("AWS::SQS::Queue") {
        let encrypted = queue["Properties"]["SqsManagedSseEnabled"] == true;
        faults.check(encrypted, format!("{name}: is not encrypted"));
        let over_tls = policies.iter().any(|(_, policy)| {
            list(&policy["Properties"]["PolicyDocument"]["Statement"]).iter().any(|statement| {
                statement["Effect"] == "Deny"
                    && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
                    && list(&statement["Resource"]).iter().any(|queue| named(queue) == Some(name))
            })
        });
        faults.check(over_tls, format!("{name}: is reached without TLS"));
    }
}

fn source_of_messages(
    template: &Template,
    event: &str,
    source: &serde_json::Value,
    timeout: u64,
    faults: &mut Faults,
) {
    let partial = texts(&source["FunctionResponseTypes"]).contains("ReportBatchItemFailures");
    faults.check(partial, format!("{event}: partial batch responses are off"));
    faults.check(source["BatchSize"] == 10, format!("{event}: its batches are not of 10"));
    let bounded = !source["ScalingConfig"]["MaximumConcurrency"].is_null();
    faults.check(bounded, format!("{event}: nothing bounds the load on Graph"));
    let queue = template.properties(&source["Queue"]);
    let visibility = queue["VisibilityTimeout"].as_u64().unwrap_or(DEFAULT_VISIBILITY);
    faults.check(
        visibility >= timeout.saturating_mul(6),
        format!("{event}: visibility {visibility} s is less than 6 times the function's {timeout} s"),
    );
    let redrive = &queue["RedrivePolicy"];
    let receives = redrive["maxReceiveCount"].as_u64().unwrap_or(0);
    faults.check(receives >= 1000, format!("{event}: a dead letter after {receives} receives"));
    let kept = queue["MessageRetentionPeriod"].as_u64().unwrap_or(DEFAULT_RETENTION);
    let dead = template.properties(&redrive["deadLetterTargetArn"]);
    let dead_kept = dead["MessageRetentionPeriod"].as_u64().unwrap_or(DEFAULT_RETENTION);
    faults.check(
        dead_kept >= kept,
        format!("{event}: dead letters are kept {dead_kept} s, the queue's messages {kept} s"),
    );
}
