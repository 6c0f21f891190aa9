//! Alarms and the dashboard: they watch metrics that exist, and the runbook has a section for each alarm.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Faults, Template, named};

const TELEMETRY: &str = include_str!("../../../src/telemetry.rs");

/// AWS's own, by namespace.
const OF_AWS: [(&str, &[&str]); 2] = [
    ("AWS/Lambda", &["Duration", "Errors", "Invocations", "Throttles"]),
    (
        "AWS/SQS",
        &[
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        ],
    ),
];

/// What must ring, and for which functions or queues.
const WATCHED: [(&str, &str, &[&str]); 16] = [
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["DeadLetterQueue"]),
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", &["RequestQueue"]),
    ("AWS/Lambda", "Errors", &["WorkerFunction", "SweepFunction", "ReportFunction"]),
    ("AWS/Lambda", "Throttles", &["WorkerFunction", "SweepFunction", "ReportFunction"]),
    ("AWS/Lambda", "Invocations", &["SweepFunction"]),
    ("regrant", "ReceivedOften", &["WorkerFunction"]),
    ("regrant", "AccessRefused", &["WorkerFunction", "SweepFunction"]),
    ("regrant", "NoToken", &["WorkerFunction", "SweepFunction"]),
    ("regrant", "NoTable", &["WorkerFunction", "SweepFunction"]),
    ("regrant", "AttemptsInDoubt", &["WorkerFunction"]),
    ("regrant", "AttemptsThrottled", &["WorkerFunction"]),
    ("regrant", "LooksThrottled", &["WorkerFunction"]),
    ("regrant", "WindowClosing", &["WorkerFunction"]),
    ("regrant", "EventsFailed", &["WorkerFunction"]),
    ("regrant", "SweepsIncomplete", &["SweepFunction"]),
    ("regrant", "Panics", &["WorkerFunction"]),
];

/// Whether a metric of that name is written under that dimension.
fn exists(namespace: &str, metric: &str, dimension: &str) -> bool {
    match namespace {
        "regrant" => dimension == "function" && TELEMETRY.contains(&format!("\"{metric}\"")),
        _ => {
            let ours = if namespace == "AWS/SQS" { "QueueName" } else { "FunctionName" };
            let known = OF_AWS.iter().find(|(name, _)| *name == namespace);
            dimension == ours && known.is_some_and(|(_, metrics)| metrics.contains(&metric))
        }
    }
}

/// Namespace, metric and whose, of all that an alarm looks at.
fn looked_at(alarm: &Value) -> Vec<(&str, &str, &str, &str)> {
    let stats = alarm["Metrics"].as_array().into_iter().flatten();
    let stats = stats.filter_map(|metric| metric.get("MetricStat")).map(|stat| &stat["Metric"]);
    let single = alarm.get("MetricName").map(|_| alarm);
    stats
        .chain(single)
        .map(|metric| {
            let text = |name: &str| metric[name].as_str().unwrap_or_default();
            let dimension = &metric["Dimensions"][0];
            let (name, of) = (dimension["Name"].as_str(), named(&dimension["Value"]));
            (text("Namespace"), text("MetricName"), name.unwrap_or_default(), of.unwrap_or_default())
        })
        .collect()
}

pub fn check(template: &Template, faults: &mut Faults) {
    let mut watched = BTreeSet::new();
    for (name, alarm) in template.all("AWS::CloudWatch::Alarm") {
        let alarm = &alarm["Properties"];
        let topic = &alarm["AlarmActions"]["Fn::If"];
        faults.check(topic[0] == "HasAlarmTopic", format!("{name}: tells nobody"));
        faults.check(alarm["AlarmDescription"].is_string(), format!("{name}: does not say what it means"));
        let filled = alarm["Metrics"].as_array().into_iter().flatten();
        let filled =
            filled.filter_map(|metric| metric["Expression"].as_str()).any(|text| text.contains("FILL"));
        let looks_back = alarm["DatapointsToAlarm"] == 1 && alarm["EvaluationPeriods"].as_u64() > Some(1);
        faults.check(!filled || looks_back, format!("{name}: misses what comes late"));
        for (namespace, metric, dimension, of) in looked_at(alarm) {
            let real = exists(namespace, metric, dimension) && template.resources.contains_key(of);
            faults.check(real, format!("{name}: nobody writes {namespace} {metric} for {dimension} {of}"));
            watched.insert((namespace, metric, of));
        }
    }
    for (namespace, metric, whose) in WATCHED {
        for of in whose {
            let rings = watched.contains(&(namespace, metric, of));
            faults.check(rings, format!("no alarm watches {metric} of {of}"));
        }
    }
    for (name, dashboard) in template.all("AWS::CloudWatch::Dashboard") {
        let body = dashboard["Properties"]["DashboardBody"]["Fn::Sub"].as_str().unwrap_or_default();
        let Ok(body) = serde_json::from_str::<Value>(body) else {
            faults.check(false, format!("{name}: its body is no JSON"));
            continue;
        };
        for widget in body["widgets"].as_array().into_iter().flatten() {
            for metric in widget["properties"]["metrics"].as_array().into_iter().flatten() {
                let text = |at: usize| metric[at].as_str().unwrap_or_default();
                let of = text(3).trim_start_matches("${").trim_end_matches('}').split('.').next();
                let of = of.unwrap_or_default();
                let real = exists(text(0), text(1), text(2)) && template.resources.contains_key(of);
                faults.check(real, format!("{name}: nobody writes {metric}"));
            }
        }
    }
}

#[test]
fn runbook_has_a_section_for_each_alarm_and_for_no_other() {
    let template = super::template();
    let template = Template::of(&template);
    let alarms = template.all("AWS::CloudWatch::Alarm").map(|(name, _)| name).collect::<BTreeSet<_>>();
    let runbook = include_str!("../../../docs/runbook.md");
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    assert_eq!(sections.collect::<BTreeSet<_>>(), alarms);
}

#[test]
fn documents_name_only_outputs_parameters_and_metrics_that_exist() {
    let template = super::template();
    let known = |name: &str| {
        ["Outputs", "Parameters", "Resources"].iter().any(|part| template[part].get(name).is_some())
    };
    for (document, text) in [
        ("README.md", include_str!("../../../README.md")),
        ("docs/runbook.md", include_str!("../../../docs/runbook.md")),
        ("docs/deploy.md", include_str!("../../../docs/deploy.md")),
    ] {
        let asked = text.split("$(output ").skip(1).filter_map(|rest| rest.split(')').next());
        for name in asked {
            assert!(template["Outputs"].get(name).is_some(), "{document}: {name} is no output");
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let ours = |word: &&str| {
            ["Worker", "Sweep", "Report", "Graph", "Audit"].iter().any(|start| word.starts_with(start))
                && word.chars().filter(char::is_ascii_uppercase).count() > 1
        };
        for word in words.filter(ours) {
            let is_metric = TELEMETRY.contains(&format!("\"{word}\""));
            assert!(known(word) || is_metric, "{document}: {word} is neither in the template nor a metric");
        }
    }
}
