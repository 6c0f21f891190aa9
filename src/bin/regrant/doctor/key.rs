//! The key that the table is encrypted with: whether the functions' roles may use it. Asks IAM and DynamoDB, not KMS,
//! and does not know the key's own policy.
//!
//! DynamoDB tells its key but not whose it is. The key that AWS manages needs no right, and no policy names it: so a
//! key that one role has a right to is the account's own, and then all need it.

use aws_sdk_iam::types::ContextKeyTypeEnum;
use futures::future::join_all;
use regrant::aws::Aws;

use super::finding::Finding;
use super::functions::Deployed;
use super::rights::{Question, ask, entry};

const CHECK: &str = "rights.key";
const DECRYPT: &str = "kms:Decrypt";

/// Nothing where there is no such key, or where the checks of table and rights have said why nobody knows.
pub async fn check(functions: &[Deployed], table: &str, aws: &Aws) -> Vec<Finding> {
    judged(functions, table, aws).await.into_iter().collect()
}

async fn judged(functions: &[Deployed], table: &str, aws: &Aws) -> Option<Finding> {
    let tables = aws_sdk_dynamodb::Client::new(aws.config().await);
    let described = tables.describe_table().table_name(table).send().await.ok()?;
    let key = described.table?.sse_description?.kms_master_key_arn?;
    let client = aws_sdk_iam::Client::new(aws.config().await);
    let asked = functions.iter().filter_map(|function| Some((function, function.place.as_ref()?)));
    let answers = join_all(asked.map(async |(function, place)| {
        let via = entry("kms:ViaService", ContextKeyTypeEnum::String, &place.dynamodb_for_keys());
        let question = Question::new("key", key.clone(), &[DECRYPT]).carrying(vec![via]);
        let decided = ask(&client, &function.role, &question).await.ok()?;
        Some((function.program.as_str(), decided.iter().any(|decided| decided.allowed)))
    }));
    let answers = answers.await.into_iter().flatten().collect::<Vec<_>>();
    let those = |may: bool| {
        let those = answers.iter().filter(|(_, allowed)| *allowed == may).map(|(program, _)| *program);
        those.collect::<Vec<_>>().join(", ")
    };
    let (may, may_not) = (those(true), those(false));
    Some(match (&*may, &*may_not) {
        ("", "") => return None,
        ("", _) => Finding::skipped(
            CHECK,
            format!(
                "no role is let use the table's key `{key}`: right if AWS manages it, which `aws kms describe-key \
                 --key-id {key} --query KeyMetadata.KeyManager` tells; one of your own is the parameter `AuditKeyArn`"
            ),
        ),
        (_, "") => Finding::ok(CHECK, format!("may `{DECRYPT}` for the table: {may}")),
        _ => Finding::failed(
            CHECK,
            format!("may not `{DECRYPT}` on the table's key `{key}`: {may_not}; may: {may}"),
            "give the role the right, as `template.yaml` does with `AuditKeyArn`",
        ),
    })
}
