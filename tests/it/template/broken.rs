//! Each rule, broken once: the fault must be found, or the rule would be none.

use serde_json::{Value, json};

use super::{faults, list, template};

pub fn resource<'a>(template: &'a mut Value, path: &str) -> &'a mut Value {
    let pointer = format!("/Resources/{path}");
    template.pointer_mut(&pointer).unwrap_or_else(|| panic!("{pointer} is not in the template"))
}

/// The statement of a role or managed policy with that `Sid`, in whatever condition it stands.
pub fn statement<'a>(template: &'a mut Value, of: &str, sid: &str) -> &'a mut Value {
    fn find<'a>(value: &'a mut Value, sid: &str) -> Option<&'a mut Value> {
        if value["Sid"] == sid {
            return Some(value);
        }
        value.pointer_mut("/Fn::If/1").filter(|inner| inner["Sid"] == sid)
    }
    let properties = resource(template, &format!("{of}/Properties"));
    let policy =
        if properties.get("Policies").is_some() { "/Policies/0/PolicyDocument" } else { "/PolicyDocument" };
    let statements = properties.pointer_mut(&format!("{policy}/Statement")).unwrap().as_array_mut().unwrap();
    statements.iter_mut().find_map(|value| find(value, sid)).unwrap_or_else(|| panic!("{of} has no {sid}"))
}

pub type Break = fn(&mut Value);

pub fn assert_named(cases: &[(Break, &str)]) {
    for (break_it, fault) in cases {
        let mut broken = template();
        break_it(&mut broken);
        let found = faults(&broken);
        assert!(found.iter().any(|found| found == fault), "{fault} is not among {found:?}");
    }
}

#[test]
fn broken_queue_is_named() {
    assert_named(&[
        (
            |t| {
                *resource(t, "WorkerFunction/Properties/Events/Requests/Properties/FunctionResponseTypes") =
                    json!([])
            },
            "WorkerFunction.Requests: partial batch responses are off",
        ),
        (
            |t| *resource(t, "WorkerFunction/Properties/Timeout") = json!(120),
            "WorkerFunction.Requests: visibility 420 s is less than 6 times the function's 120 s",
        ),
        (
            |t| *resource(t, "RequestQueue/Properties/VisibilityTimeout") = json!(359),
            "WorkerFunction.Requests: visibility 359 s is less than 6 times the function's 60 s",
        ),
        (
            |t| *resource(t, "RequestQueue/Properties/RedrivePolicy/maxReceiveCount") = json!(999),
            "WorkerFunction.Requests: a dead letter after 999 receives",
        ),
        (
            |t| *resource(t, "DeadLetterQueue/Properties/MessageRetentionPeriod") = json!(345_600),
            "WorkerFunction.Requests: dead letters are kept 345600 s, the queue's messages 1209600 s",
        ),
        (
            |t| {
                *resource(t, "WorkerFunction/Properties/Events/Requests/Properties/ScalingConfig") = json!({})
            },
            "WorkerFunction.Requests: nothing bounds the load on Graph",
        ),
        (
            |t| *resource(t, "DeadLetterQueue/Properties/SqsManagedSseEnabled") = json!(false),
            "DeadLetterQueue: is not encrypted",
        ),
        (
            |t| {
                t["Resources"].as_object_mut().unwrap().remove("DeadLetterQueuePolicy");
            },
            "DeadLetterQueue: is reached without TLS",
        ),
        (
            |t| {
                let queues = resource(t, "RequestQueuePolicy/Properties/Queues").as_array_mut().unwrap();
                queues.push(json!({"Ref": "DeadLetterQueue"}));
            },
            "RequestQueuePolicy: is not of one queue and on that one",
        ),
        (
            |t| {
                let policy = resource(t, "RequestQueuePolicy/Properties/PolicyDocument/Statement/0/Resource");
                *policy = json!([{"Fn::GetAtt": "RequestQueue.Arn"}, {"Fn::GetAtt": "DeadLetterQueue.Arn"}]);
            },
            "RequestQueuePolicy: is not of one queue and on that one",
        ),
        (
            |t| {
                *resource(t, "SweepFunction/Properties/Events/BySchedule/Properties/State") = json!("ENABLED")
            },
            "SweepFunction.BySchedule: cannot be switched off",
        ),
        (
            |t| *resource(t, "ReportLogGroup/Properties/RetentionInDays") = json!(null),
            "ReportFunction: its logs are kept for ever",
        ),
        (
            |t| resource(t, "SweepFunction/Properties")["Policies"] = json!([{"DynamoDBCrudPolicy": {}}]),
            "SweepFunction: has a policy beside its role",
        ),
        (
            |t| resource(t, "ReportFunction/Properties")["Connectors"] = json!({"Table": {}}),
            "ReportFunction: has a connector",
        ),
    ]);
}

#[test]
fn broken_store_is_named() {
    assert_named(&[
        (
            |t| {
                *resource(
                    t,
                    "AuditTable/Properties/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled",
                ) = json!(false)
            },
            "AuditTable: point-in-time recovery is off",
        ),
        (
            |t| *resource(t, "AuditTable/Properties/DeletionProtectionEnabled") = json!(false),
            "AuditTable: deletion protection is off",
        ),
        (
            |t| *resource(t, "AuditTable/DeletionPolicy") = json!("Delete"),
            "AuditTable: DeletionPolicy is not Retain",
        ),
        (
            |t| resource(t, "AuditTable/Properties")["TimeToLiveSpecification"] = json!({"Enabled": true}),
            "AuditTable: records expire",
        ),
        (
            |t| {
                *resource(t, "ReportBucket/Properties/PublicAccessBlockConfiguration/BlockPublicPolicy") =
                    json!(false)
            },
            "ReportBucket: BlockPublicPolicy is off",
        ),
        (
            |t| *resource(t, "ReportBucketPolicy/Properties/PolicyDocument/Statement") = json!([]),
            "ReportBucket: is reached without TLS",
        ),
    ]);
}

#[test]
fn broken_setting_is_named() {
    for function in ["WorkerFunction", "SweepFunction"] {
        let mut broken = template();
        let variables = resource(&mut broken, &format!("{function}/Properties/Environment/Variables"));
        let variables = variables.as_object_mut().unwrap();
        variables.insert("MAX_ATEMPTS".to_owned(), json!(3));
        variables.insert("GRAPH_CLIENT_SECRET".to_owned(), json!("x"));
        for name in ["QUEUE_URL", "GRAPH_SECRET_ID"] {
            variables.remove(name);
        }
        let expected = [
            "GRAPH_CLIENT_SECRET is no setting",
            "MAX_ATEMPTS is no setting",
            "GRAPH_SECRET_ID is missing",
            "QUEUE_URL is missing",
        ];
        let mut found = faults(&broken);
        found.sort();
        let mut expected = expected.map(|fault| format!("{function}: {fault}"));
        expected.sort();
        assert_eq!(found, expected);
    }
    assert_named(&[
        (
            |t| resource(t, "ReportFunction/Properties/Environment/Variables")["QUEUE_URL"] = json!("x"),
            "ReportFunction: QUEUE_URL is no setting",
        ),
        (
            |t| *resource(t, "ReportFunction/Properties/Environment") = json!({}),
            "ReportFunction: AUDIT_TABLE is missing",
        ),
    ]);
}

#[test]
fn broken_alarm_is_named() {
    assert_named(&[
        (
            |t| *resource(t, "PanicsAlarm/Properties/MetricName") = json!("Panic"),
            "PanicsAlarm: nobody writes regrant Panic for function WorkerFunction",
        ),
        (
            |t| *resource(t, "PanicsAlarm/Properties/MetricName") = json!("Attempts"),
            "no alarm watches Panics of WorkerFunction",
        ),
        (
            |t| {
                resource(t, "NoTokenAlarm/Properties/Metrics").as_array_mut().unwrap().pop();
            },
            "no alarm watches NoToken of SweepFunction",
        ),
        (
            |t| *resource(t, "NoTableAlarm/Properties/EvaluationPeriods") = json!(1),
            "NoTableAlarm: misses what comes late",
        ),
        (
            |t| *resource(t, "WindowClosingAlarm/Properties/AlarmActions") = json!([]),
            "WindowClosingAlarm: tells nobody",
        ),
        (
            |t| {
                let body = resource(t, "Dashboard/Properties/DashboardBody/Fn::Sub");
                *body = json!(body.as_str().unwrap().replace("\"Settled\"", "\"Setled\""));
            },
            "Dashboard: nobody writes [\"regrant\",\"Setled\",\"function\",\"${WorkerFunction}\"]",
        ),
    ]);
}

/// Otherwise the mutations above would prove less than they seem to.
#[test]
fn statements_of_all_roles_have_names() {
    let template = template();
    for role in ["WorkerRole", "SweepRole", "ReportRole"] {
        let document = &template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"];
        assert!(list(&document["Statement"]).iter().all(|statement| statement["Sid"].is_string()), "{role}");
    }
}
