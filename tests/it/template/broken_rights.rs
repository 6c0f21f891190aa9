//! Each rule about rights, broken once.

use serde_json::json;

use super::broken::{assert_named, resource, statement};
use super::{faults, template};

#[test]
fn broken_right_is_named() {
    for role in ["WorkerRole", "SweepRole"] {
        for action in
            ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"]
        {
            let mut broken = template();
            statement(&mut broken, role, "AppendToTrail")["Action"] =
                json!(["dynamodb:PartiQLInsert", action]);
            assert_eq!(faults(&broken), [format!("{role}: allows {action}")]);
            let mut broken = template();
            let denied = &mut statement(&mut broken, role, "NeverChangeTrail")["Action"];
            denied.as_array_mut().unwrap().retain(|other| other != action);
            assert_eq!(faults(&broken), [format!("{role}: does not deny {action}")]);
        }
    }
    assert_named(&[
        (
            |t| statement(t, "ReportRole", "ReadTrail")["Action"] = json!("dynamodb:PartiQLInsert"),
            "ReportRole: allows dynamodb:PartiQLInsert",
        ),
        (
            |t| statement(t, "ReportRole", "NeverWriteTrail")["Action"] = json!([]),
            "ReportRole: neither allows nor denies dynamodb:PartiQLInsert, or both",
        ),
        (
            |t| {
                statement(t, "SweepRole", "NeverChangeTrail")["Condition"] =
                    json!({"Bool": {"aws:SecureTransport": "false"}})
            },
            "SweepRole: does not deny dynamodb:PutItem",
        ),
        (
            |t| {
                statement(t, "SweepRole", "NeverChangeTrail")["Resource"] =
                    json!({"Fn::GetAtt": "RequestQueue.Arn"})
            },
            "SweepRole: does not deny dynamodb:DeleteItem",
        ),
        (
            |t| statement(t, "WorkerRole", "UseQueue")["Action"] = json!("sqs:*"),
            "WorkerRole: allows the wildcard sqs:*",
        ),
        (
            |t| statement(t, "ReaderPolicy", "ReadTrail")["Action"] = json!("dynamodb:*"),
            "ReaderPolicy: allows the wildcard dynamodb:*",
        ),
        (
            |t| statement(t, "ReaderPolicy", "ReadTrail")["Action"] = json!("dynamodb:PartiQLInsert"),
            "ReaderPolicy: allows dynamodb:PartiQLInsert",
        ),
        (
            |t| statement(t, "OperatorPolicy", "AppendToTrail")["Action"] = json!("dynamodb:PutItem"),
            "OperatorPolicy: allows dynamodb:PutItem",
        ),
        (
            |t| {
                let statement = statement(t, "WorkerRole", "WriteLogs").as_object_mut().unwrap();
                statement.remove("Action");
                statement.insert("NotAction".to_owned(), json!("iam:PassRole"));
            },
            "WorkerRole: allows by NotAction",
        ),
        (
            |t| statement(t, "WorkerRole", "WriteLogs")["Resource"] = json!("*"),
            "WorkerRole: allows logs:CreateLogStream on every resource",
        ),
        (
            |t| {
                statement(t, "SweepRole", "ProveIdentityToEntra")["Condition"]["NumericLessThanEquals"] =
                    json!({"sts:DurationSeconds": 3600})
            },
            "SweepRole: sts:GetWebIdentityToken is not limited as it should be",
        ),
        (
            |t| statement(t, "WorkerRole", "TellOthers")["Condition"] = json!(null),
            "WorkerRole: events:PutEvents is not limited as it should be",
        ),
        (
            |t| {
                statement(t, "SweepRole", "ReadTheOneSecret")["Resource"] =
                    json!({"Fn::Sub": "arn:aws:secretsmanager:*"})
            },
            "SweepRole: reads more than the one secret",
        ),
        (
            |t| {
                statement(t, "ReportRole", "WriteReports")["Resource"]["Fn::Sub"][0] =
                    json!("arn:aws:s3:::${Bucket}/*")
            },
            "ReportRole: writes beside the reports",
        ),
        (
            |t| {
                resource(t, "ReportRole/Properties")["ManagedPolicyArns"] =
                    json!(["arn:aws:iam::aws:policy/AdministratorAccess"])
            },
            "ReportRole: has managed policies",
        ),
        (
            |t| resource(t, "ReaderPolicy/Properties")["Roles"] = json!([{"Ref": "WorkerRole"}]),
            "ReaderPolicy: is attached to Roles",
        ),
        (
            |t| {
                t["Resources"]["More"] = json!({"Type": "AWS::IAM::Policy", "Properties": {}});
            },
            "More: grants beside the roles",
        ),
    ]);
}
