//! The audit table and the bucket for reports.

use serde_json::{Value, json};

use super::{Faults, Template, list, named};

pub fn check(template: &Template, faults: &mut Faults) {
    for (name, table) in template.all("AWS::DynamoDB::Table") {
        let properties = &table["Properties"];
        let recovery = &properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        faults.check(recovery == true, format!("{name}: point-in-time recovery is off"));
        let protected = properties["DeletionProtectionEnabled"] == true;
        faults.check(protected, format!("{name}: deletion protection is off"));
        faults.check(properties["TimeToLiveSpecification"].is_null(), format!("{name}: records expire"));
        faults.check(properties["ResourcePolicy"].is_null(), format!("{name}: has a policy of its own"));
        retained(name, table, faults);
    }
    for (name, bucket) in template.all("AWS::S3::Bucket") {
        let properties = &bucket["Properties"];
        let block = &properties["PublicAccessBlockConfiguration"];
        for what in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            faults.check(block[what] == true, format!("{name}: {what} is off"));
        }
        faults.check(!properties["BucketEncryption"].is_null(), format!("{name}: is not encrypted"));
        let versioned = properties["VersioningConfiguration"]["Status"] == "Enabled";
        faults.check(versioned, format!("{name}: keeps no earlier versions"));
        retained(name, bucket, faults);
        let over_tls = template.all("AWS::S3::BucketPolicy").any(|(_, policy)| {
            let policy = &policy["Properties"];
            named(&policy["Bucket"]) == Some(name)
                && list(&policy["PolicyDocument"]["Statement"]).iter().any(|statement| {
                    statement["Effect"] == "Deny"
                        && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
                })
        });
        faults.check(over_tls, format!("{name}: is reached without TLS"));
    }
}

fn retained(name: &str, resource: &Value, faults: &mut Faults) {
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        faults.check(resource[policy] == "Retain", format!("{name}: {policy} is not Retain"));
    }
}

#[test]
fn table_has_the_keys_that_the_trail_is_written_under() {
    let table = &super::template()["Resources"]["AuditTable"]["Properties"];
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
