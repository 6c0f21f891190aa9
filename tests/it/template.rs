//! `template.yaml` keeps what the queue's promises and the audit trail rely on; each broken rule is named.
//!
//! It reads the template as written: a setting that CloudFormation computes is checked by its parts.

use std::collections::BTreeSet;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// Every setting of the worker that may stand in a template, and whether it must.
const SETTINGS: [(&str, bool); 18] = [
    ("AUDIT_TABLE", true),
    ("QUEUE_URL", true),
    ("GRAPH_TENANT_ID", true),
    ("GRAPH_CLIENT_ID", true),
    ("GRAPH_CREDENTIAL", true),
    ("GRAPH_SECRET_ID", true),
    ("GRAPH_CLIENT_SECRET", false),
    ("GRAPH_CLOUD", false),
    ("GRAPH_API_VERSION", false),
    ("GRAPH_ENDPOINT", false),
    ("GRAPH_AUTHORITY", false),
    ("MAX_ATTEMPTS", false),
    ("WINDOW", false),
    ("CHECK_AFTER", false),
    ("RETRY_AFTER", false),
    ("GIVE_UP_AFTER", false),
    ("CALL_TIMEOUT", false),
    ("CONCURRENCY", false),
];

/// The only actions on DynamoDB that a function may be allowed.
const TRAIL_ACTIONS: [&str; 2] = ["dynamodb:PartiQLInsert", "dynamodb:Query"];

/// What every role that writes the trail is refused outright.
const NEVER: [&str; 6] = [
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
];

/// YAML as JSON; a short form like `!GetAtt A.B` becomes its long form `{"Fn::GetAtt": "A.B"}`.
fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (&Yaml, &Yaml)| {
                (key.as_str().expect("every key is a text").to_owned(), to_json(value))
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        Yaml::Tagged(tag, inner) => {
            let name = match tag.suffix.as_str() {
                plain @ ("Ref" | "Condition") => plain.to_owned(),
                function => format!("Fn::{function}"),
            };
            Value::Object(Map::from_iter([(name, to_json(inner))]))
        }
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => panic!("unreadable: {yaml:?}"),
    }
}

fn template() -> Value {
    let documents = Yaml::load_from_str(include_str!("../../template.yaml")).expect("the template is YAML");
    to_json(&documents[0])
}

/// All branches of every `Fn::If`, without `AWS::NoValue`: a rule must hold whichever is chosen.
fn branches(value: &Value) -> Vec<&Value> {
    match value.get("Fn::If").and_then(Value::as_array) {
        Some(parts) => parts[1..].iter().flat_map(branches).collect(),
        None if value == &json!({"Ref": "AWS::NoValue"}) => Vec::new(),
        None => vec![value],
    }
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().flat_map(branches).collect(),
        one => branches(one),
    }
}

fn texts(value: &Value) -> BTreeSet<String> {
    list(value).into_iter().map(|text| text.as_str().unwrap_or("(computed)").to_owned()).collect()
}

/// The logical id that a `Ref` or `GetAtt` names.
fn named(value: &Value) -> Option<&str> {
    let name = value.get("Ref").or_else(|| value.get("Fn::GetAtt"))?;
    name.as_str().or_else(|| name.get(0)?.as_str())?.split('.').next()
}

struct Template {
    resources: Map<String, Value>,
    global_timeout: Value,
}

impl Template {
    fn of(template: &Value) -> Self {
        Self {
            resources: template["Resources"].as_object().expect("there are resources").clone(),
            global_timeout: template["Globals"]["Function"]["Timeout"].clone(),
        }
    }

    fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.resources
            .iter()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(name, resource)| (name.as_str(), resource))
    }

    fn properties(&self, reference: &Value) -> &Value {
        named(reference)
            .and_then(|name| self.resources.get(name))
            .map_or(&Value::Null, |resource| &resource["Properties"])
    }
}

/// Everything in the template that breaks a rule.
fn faults(template: &Value) -> Vec<String> {
    let template = Template::of(template);
    let mut faults = Vec::new();
    let mut check = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };

    for (name, function) in template.all("AWS::Serverless::Function") {
        let function = &function["Properties"];
        check(function["Policies"].is_null(), format!("{name}: has a policy beside its role"));
        let timeout =
            function["Timeout"].as_u64().or(template.global_timeout.as_u64()).unwrap_or(u64::MAX / 6);
        for (event, source) in function["Events"].as_object().into_iter().flatten() {
            if source["Type"] != "SQS" {
                continue;
            }
            let (event, source) = (format!("{name}.{event}"), &source["Properties"]);
            check(
                texts(&source["FunctionResponseTypes"]).contains("ReportBatchItemFailures"),
                format!("{event}: partial batch responses are off"),
            );
            let queue = template.properties(&source["Queue"]);
            // SQS's own defaults where the template says nothing.
            let visibility = queue["VisibilityTimeout"].as_u64().unwrap_or(30);
            check(
                visibility >= timeout.saturating_mul(6),
                format!("{event}: visibility {visibility} s is less than 6 times the function's {timeout} s"),
            );
            let redrive = &queue["RedrivePolicy"];
            let receives = redrive["maxReceiveCount"].as_u64().unwrap_or(0);
            check(receives >= 1000, format!("{event}: a dead letter after {receives} receives"));
            let kept = queue["MessageRetentionPeriod"].as_u64().unwrap_or(345_600);
            let dead = template.properties(&redrive["deadLetterTargetArn"]);
            let dead_kept = dead["MessageRetentionPeriod"].as_u64().unwrap_or(345_600);
            check(
                dead_kept >= kept,
                format!("{event}: dead letters are kept {dead_kept} s, the queue's messages {kept} s"),
            );
        }
        let role = template.properties(&function["Role"]);
        check(!role.is_null(), format!("{name}: its role is not in the template"));
    }

    for (name, role) in template.all("AWS::IAM::Role") {
        let role = &role["Properties"];
        check(role["ManagedPolicyArns"].is_null(), format!("{name}: has managed policies"));
        let mut denied = BTreeSet::new();
        let mut inserts = false;
        for policy in list(&role["Policies"]) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                let actions = texts(&statement["Action"]);
                if statement["Effect"] == "Deny" {
                    denied.extend(actions);
                    continue;
                }
                check(statement["NotAction"].is_null(), format!("{name}: allows all but some actions"));
                inserts |= actions.contains("dynamodb:PartiQLInsert");
                for action in actions {
                    check(!action.contains(['*', '?', '(']), format!("{name}: allows the wildcard {action}"));
                    let ours = action.to_ascii_lowercase().starts_with("dynamodb:");
                    check(
                        !ours || TRAIL_ACTIONS.contains(&action.as_str()),
                        format!("{name}: allows {action}"),
                    );
                    // The one action that knows no resource.
                    let any = list(&statement["Resource"]).iter().any(|resource| *resource == "*");
                    let narrowed = action == "sts:GetWebIdentityToken" && !statement["Condition"].is_null();
                    check(!any || narrowed, format!("{name}: allows {action} on every resource"));
                }
            }
        }
        for action in NEVER {
            check(!inserts || denied.contains(action), format!("{name}: does not deny {action}"));
        }
    }

    for (name, table) in template.all("AWS::DynamoDB::Table") {
        let properties = &table["Properties"];
        let recovery = &properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        check(recovery == true, format!("{name}: point-in-time recovery is off"));
        check(properties["DeletionProtectionEnabled"] == true, format!("{name}: deletion protection is off"));
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            check(table[policy] == "Retain", format!("{name}: {policy} is not Retain"));
        }
    }

    let variables = &template.resources["WorkerFunction"]["Properties"]["Environment"]["Variables"];
    let variables = variables.as_object().cloned().unwrap_or_default();
    for name in variables.keys() {
        check(
            SETTINGS.iter().any(|(known, _)| known == name),
            format!("WorkerFunction: {name} is no setting"),
        );
    }
    for (name, required) in SETTINGS {
        check(!required || variables.contains_key(name), format!("WorkerFunction: {name} is missing"));
    }
    check(
        !variables.contains_key("GRAPH_CLIENT_SECRET"),
        "WorkerFunction: the secret itself stands in its environment".to_owned(),
    );
    faults
}

#[test]
fn template_keeps_every_rule() {
    assert_eq!(faults(&template()), Vec::<String>::new());
}

#[test]
fn table_has_the_keys_that_the_trail_is_written_under() {
    let table = &template()["Resources"]["AuditTable"]["Properties"];
    let keys = |hash: &str, range: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["KeySchema"], keys("pk", "seq"));
    assert_eq!(
        table["GlobalSecondaryIndexes"],
        json!([{"IndexName": "byDay", "KeySchema": keys("tenantDay", "at"), "Projection": {"ProjectionType": "ALL"}}])
    );
    let attribute = |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
    assert_eq!(
        table["AttributeDefinitions"],
        json!([
            attribute("pk", "S"),
            attribute("seq", "N"),
            attribute("tenantDay", "S"),
            attribute("at", "S")
        ])
    );
}

/// Breaks the template at one place and gives back what the check says.
fn after(pointer: &str, value: Value) -> Vec<String> {
    let mut broken = template();
    let place = broken.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not in the template"));
    *place = value;
    faults(&broken)
}

#[test]
fn every_broken_rule_is_named() {
    let worker = "/Resources/WorkerFunction/Properties";
    let role = "/Resources/WorkerRole/Properties/Policies/0/PolicyDocument/Statement";
    let table = "/Resources/AuditTable/Properties";
    let cases = [
        (
            format!("{worker}/Events/Requests/Properties/FunctionResponseTypes"),
            json!([]),
            "WorkerFunction.Requests: partial batch responses are off",
        ),
        (
            format!("{worker}/Timeout"),
            json!(120),
            "WorkerFunction.Requests: visibility 420 s is less than 6 times the function's 120 s",
        ),
        (
            "/Resources/RequestQueue/Properties/RedrivePolicy/maxReceiveCount".to_owned(),
            json!(999),
            "WorkerFunction.Requests: a dead letter after 999 receives",
        ),
        (
            "/Resources/DeadLetterQueue/Properties/MessageRetentionPeriod".to_owned(),
            json!(345_600),
            "WorkerFunction.Requests: dead letters are kept 345600 s, the queue's messages 1209600 s",
        ),
        (
            format!("{role}/0/Action"),
            json!(["dynamodb:PartiQLInsert", "dynamodb:PutItem"]),
            "WorkerRole: allows dynamodb:PutItem",
        ),
        (format!("{role}/2/Action"), json!("sqs:*"), "WorkerRole: allows the wildcard sqs:*"),
        (
            format!("{role}/1/Action/0"),
            json!("dynamodb:Scan"),
            "WorkerRole: does not deny dynamodb:BatchWriteItem",
        ),
        (
            format!("{role}/3/Resource"),
            json!("*"),
            "WorkerRole: allows logs:CreateLogStream on every resource",
        ),
        (
            format!("{table}/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled"),
            json!(false),
            "AuditTable: point-in-time recovery is off",
        ),
        (
            format!("{table}/DeletionProtectionEnabled"),
            json!(false),
            "AuditTable: deletion protection is off",
        ),
        (
            "/Resources/AuditTable/DeletionPolicy".to_owned(),
            json!("Delete"),
            "AuditTable: DeletionPolicy is not Retain",
        ),
    ];
    for (pointer, value, fault) in cases {
        assert!(after(&pointer, value).iter().any(|found| found == fault), "{pointer}: {fault}");
    }

    let mut variables = template().pointer(&format!("{worker}/Environment/Variables")).cloned().unwrap();
    variables["MAX_ATEMPTS"] = json!(3);
    variables.as_object_mut().unwrap().remove("QUEUE_URL");
    assert_eq!(
        after(&format!("{worker}/Environment/Variables"), variables),
        ["WorkerFunction: MAX_ATEMPTS is no setting", "WorkerFunction: QUEUE_URL is missing"]
    );
}

#[test]
fn identity_token_is_for_entra_only_and_short_lived() {
    let template = template();
    let statements =
        &template["Resources"]["WorkerRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"];
    let statement = list(statements)
        .into_iter()
        .find(|statement| statement["Action"] == "sts:GetWebIdentityToken")
        .expect("the role may ask for an identity token");
    assert_eq!(
        statement["Condition"],
        json!({
            "ForAllValues:StringEquals": {
                "sts:IdentityTokenAudience": {"Fn::FindInMap": ["FederationAudience", {"Ref": "GraphCloud"}, "Audience"]}
            },
            "Null": {"sts:IdentityTokenAudience": "false"},
            "NumericLessThanEquals": {"sts:DurationSeconds": 300},
            "StringEquals": {"sts:SigningAlgorithm": "RS256"},
        })
    );
}
