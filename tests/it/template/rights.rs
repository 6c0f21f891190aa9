//! Rights: what functions and people may do, and above all what none of them may.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Faults, Template, list, named, texts};

/// What could change, overwrite or remove a record, or let somebody do so. Nobody is given it.
const NEVER: [&str; 10] = [
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:DeleteTable",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:PutResourcePolicy",
    "dynamodb:UpdateItem",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
];

/// Who may do what with the trail. Whoever is not listed may do nothing with it.
const TRAIL: [(&str, &[&str]); 6] = [
    ("WorkerRole", &["dynamodb:PartiQLInsert", "dynamodb:Query"]),
    ("SweepRole", &["dynamodb:PartiQLInsert", "dynamodb:Query"]),
    ("ReportRole", &["dynamodb:Query"]),
    (
        "ReaderPolicy",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DescribeTable",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:Scan",
        ],
    ),
    ("OperatorPolicy", &["dynamodb:PartiQLInsert", "dynamodb:Query"]),
    (
        "DoctorPolicy",
        &["dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"],
    ),
];

/// Actions that know no resource. The first is narrowed by its conditions, the second only lists.
const WITHOUT_RESOURCE: [&str; 2] = ["sts:GetWebIdentityToken", "lambda:ListEventSourceMappings"];

pub fn check(template: &Template, faults: &mut Faults) {
    for (name, role) in template.all("AWS::IAM::Role") {
        let role = &role["Properties"];
        faults.check(role["ManagedPolicyArns"].is_null(), format!("{name}: has managed policies"));
        let policies = list(&role["Policies"]);
        let statements = policies
            .iter()
            .flat_map(|policy| list(&policy["PolicyDocument"]["Statement"]))
            .collect::<Vec<_>>();
        let allowed = allowances(name, &statements, faults);
        let denied = refusals(&statements);
        for action in NEVER {
            faults.check(denied.contains(action), format!("{name}: does not deny {action}"));
        }
        let inserts = "dynamodb:PartiQLInsert";
        let settled = allowed.contains(inserts) != denied.contains(inserts);
        faults.check(settled, format!("{name}: neither allows nor denies {inserts}, or both"));
    }
    for (name, policy) in template.all("AWS::IAM::ManagedPolicy") {
        let policy = &policy["Properties"];
        for attached in ["Roles", "Users", "Groups"] {
            faults.check(policy[attached].is_null(), format!("{name}: is attached to {attached}"));
        }
        allowances(name, &list(&policy["PolicyDocument"]["Statement"]), faults);
    }
    for kind in ["AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::UserPolicy", "AWS::IAM::GroupPolicy"]
    {
        for (name, _) in template.all(kind) {
            faults.check(false, format!("{name}: grants beside the roles"));
        }
    }
}

/// What the statements allow, each checked.
fn allowances(name: &str, statements: &[&Value], faults: &mut Faults) -> BTreeSet<String> {
    let trail = TRAIL.iter().find(|(who, _)| *who == name).map_or(&[][..], |(_, actions)| actions);
    let mut allowed = BTreeSet::new();
    for statement in statements.iter().filter(|statement| statement["Effect"] != "Deny") {
        for inverse in ["NotAction", "NotResource"] {
            faults.check(statement[inverse].is_null(), format!("{name}: allows by {inverse}"));
        }
        for action in texts(&statement["Action"]) {
            faults.check(!action.contains(['*', '?', '(']), format!("{name}: allows the wildcard {action}"));
            let ours = action.to_ascii_lowercase().starts_with("dynamodb:");
            faults.check(!ours || trail.contains(&action.as_str()), format!("{name}: allows {action}"));
            let any = list(&statement["Resource"]).iter().any(|resource| *resource == "*");
            let excused = WITHOUT_RESOURCE.contains(&action.as_str());
            faults.check(!any || excused, format!("{name}: allows {action} on every resource"));
            if let Some(expected) = condition(&action) {
                faults.check(
                    statement["Condition"] == expected,
                    format!("{name}: {action} is not limited as it should be"),
                );
            }
            if action == "s3:PutObject" {
                let place = statement["Resource"]["Fn::Sub"][0].as_str().unwrap_or_default();
                faults.check(place.ends_with("/reports/*"), format!("{name}: writes beside the reports"));
            }
            if action == "secretsmanager:GetSecretValue" {
                let one = named(&statement["Resource"]) == Some("GraphSecretArn");
                faults.check(one, format!("{name}: reads more than the one secret"));
            }
            allowed.insert(action);
        }
    }
    allowed
}

/// What is refused whatever else is attached: on the whole table, and under no condition.
fn refusals(statements: &[&Value]) -> BTreeSet<String> {
    let refusals = statements.iter().filter(|statement| {
        statement["Effect"] == "Deny"
            && statement["Condition"].is_null()
            && named(&statement["Resource"]) == Some("AuditTable")
    });
    refusals.flat_map(|statement| texts(&statement["Action"])).collect()
}

/// The condition that an action must stand under.
fn condition(action: &str) -> Option<Value> {
    match action {
        "sts:GetWebIdentityToken" => Some(json!({
            "ForAllValues:StringEquals": {
                "sts:IdentityTokenAudience": {"Fn::FindInMap": ["FederationAudience", {"Ref": "GraphCloud"}, "Audience"]}
            },
            "Null": {"sts:IdentityTokenAudience": "false"},
            "NumericLessThanEquals": {"sts:DurationSeconds": 300},
            "StringEquals": {"sts:SigningAlgorithm": "RS256"},
        })),
        "events:PutEvents" => Some(json!({
            "ForAllValues:StringEquals": {"events:source": "regrant"},
            "Null": {"events:source": "false"},
        })),
        _ => None,
    }
}

/// All statements of a role, whatever they depend on.
fn statements<'a>(template: &'a Value, role: &str) -> Vec<&'a Value> {
    list(&template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"])
}

#[test]
fn worker_and_sweep_prove_their_identity_and_the_report_does_not() {
    let template = super::template();
    let may = |role: &str, action: &str| {
        statements(&template, role).iter().any(|statement| texts(&statement["Action"]).contains(action))
    };
    for action in ["sts:GetWebIdentityToken", "secretsmanager:GetSecretValue"] {
        assert!(may("WorkerRole", action) && may("SweepRole", action), "{action}");
        assert!(!may("ReportRole", action), "{action}");
    }
    assert!(may("WorkerRole", "events:PutEvents") && !may("SweepRole", "events:PutEvents"));
}

#[test]
fn keys_are_used_only_through_the_service_that_asks() {
    let template = super::template();
    let mut seen = 0;
    for role in ["WorkerRole", "SweepRole", "ReportRole"] {
        for statement in statements(&template, role) {
            let service = match named(&statement["Resource"]) {
                Some("AuditKeyArn") => "dynamodb.${AWS::Region}.${AWS::URLSuffix}",
                Some("SecretKeyArn") => "secretsmanager.${AWS::Region}.${AWS::URLSuffix}",
                _ => {
                    assert!(!texts(&statement["Action"]).contains("kms:Decrypt"), "{role}");
                    continue;
                }
            };
            assert_eq!(
                statement["Condition"],
                json!({"StringEquals": {"kms:ViaService": {"Fn::Sub": service}}})
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 5, "the trail's key thrice, the secret's twice");
}
