//! The audit table: its keys and index, and what keeps it from being lost. Reads no record.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeDefinition;
use aws_sdk_dynamodb::types::{
    BillingMode, ContinuousBackupsStatus, GlobalSecondaryIndexDescription, IndexStatus, KeySchemaElement,
    KeyType, PointInTimeRecoveryStatus, ProjectionType, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveStatus,
};

use super::finding::{Finding, code, unanswered};

pub async fn check(client: &Client, table: &str) -> Vec<Finding> {
    let describe = client.describe_table().table_name(table).send();
    let backups = client.describe_continuous_backups().table_name(table).send();
    let time_to_live = client.describe_time_to_live().table_name(table).send();
    let (described, backups, time_to_live) = tokio::join!(describe, backups, time_to_live);
    let mut findings = match described {
        Ok(answer) => match answer.table {
            Some(described) => of_description(table, &described),
            None => vec![Finding::failed("table", format!("AWS describes no table `{table}`"), "try again")],
        },
        Err(error) if code(&error) == "ResourceNotFoundException" => {
            // The other calls would only say it again.
            return vec![missing(table)];
        }
        // Nor would they say more where nobody answers.
        Err(error) if error.raw_response().is_none() => {
            return vec![unanswered("table", "dynamodb:DescribeTable", &error)];
        }
        Err(error) => vec![unanswered("table", "dynamodb:DescribeTable", &error)],
    };
    findings.push(match backups {
        Ok(answer) => {
            let described = answer.continuous_backups_description;
            let on = described.as_ref().is_some_and(|described| {
                described.continuous_backups_status == ContinuousBackupsStatus::Enabled
                    && described
                        .point_in_time_recovery_description()
                        .and_then(|recovery| recovery.point_in_time_recovery_status())
                        == Some(&PointInTimeRecoveryStatus::Enabled)
            });
            let state = if on { "on" } else { "off" };
            Finding::judged(
                "table.recovery",
                on,
                format!("point-in-time recovery is {state}"),
                "what somebody with more rights destroys cannot be had back",
                format!("aws dynamodb update-continuous-backups --table-name {table} --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"),
            )
        }
        Err(error) => unanswered("table.recovery", "dynamodb:DescribeContinuousBackups", &error),
    });
    findings.push(match time_to_live {
        Ok(answer) => {
            let described = answer.time_to_live_description;
            let status = described.as_ref().and_then(|described| described.time_to_live_status());
            let on = matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
            let state = if on { "on" } else { "off" };
            Finding::judged(
                "table.expiry",
                !on,
                format!("time to live is {state}"),
                "DynamoDB itself would delete records",
                "turn time to live off; `regrant verify` tells whether a record is missing",
            )
        }
        Err(error) => unanswered("table.expiry", "dynamodb:DescribeTimeToLive", &error),
    });
    findings
}

fn missing(table: &str) -> Finding {
    Finding::failed(
        "table",
        format!("there is no table `{table}` in this account and region"),
        "check `AUDIT_TABLE`, `AWS_REGION` and `AWS_PROFILE`",
    )
}

fn of_description(name: &str, table: &TableDescription) -> Vec<Finding> {
    use ScalarAttributeType::{N, S};
    const REMAKE: &str = "make the table anew from `template.yaml`: keys cannot be changed";
    let status = table.table_status();
    let kinds = table.attribute_definitions();
    let keys = described(table.key_schema(), kinds);
    let encryption = match table.sse_description() {
        Some(described) => match described.kms_master_key_arn() {
            Some(key) => format!("encrypted with the key {key}"),
            None => "encrypted with a key that AWS manages".to_owned(),
        },
        None => "encrypted with a key that DynamoDB owns".to_owned(),
    };
    let on_demand = table.billing_mode_summary().and_then(|billing| billing.billing_mode());
    let on_demand = on_demand == Some(&BillingMode::PayPerRequest);
    let protected = table.deletion_protection_enabled() == Some(true);
    let items = table.item_count().unwrap_or_default();
    vec![
        Finding::judged(
            "table",
            matches!(status, Some(TableStatus::Active | TableStatus::Updating)),
            format!(
                "`{name}` is {}, about {items} records, {encryption}",
                status.map_or("in no state", TableStatus::as_str)
            ),
            "it takes no records",
            "wait until it is active; a table that is being archived or deleted is restored from its backup",
        ),
        Finding::judged(
            "table.keys",
            is_schema(table.key_schema(), kinds, ("pk", &S), ("seq", &N)),
            format!("its key is {keys}"),
            "regrant writes under `pk` (S) and `seq` (N)",
            REMAKE,
        ),
        index(table),
        if on_demand {
            Finding::ok("table.capacity", "on demand")
        } else {
            Finding::warning(
                "table.capacity",
                "provisioned: it throttles when many requests come at once",
                format!("aws dynamodb update-table --table-name {name} --billing-mode PAY_PER_REQUEST"),
            )
        },
        Finding::judged(
            "table.protection",
            protected,
            format!("deletion protection is {}", if protected { "on" } else { "off" }),
            "one call deletes the trail",
            format!("aws dynamodb update-table --table-name {name} --deletion-protection-enabled"),
        ),
    ]
}

fn index(table: &TableDescription) -> Finding {
    use ScalarAttributeType::S;
    const NAME: &str = "byDay";
    const CHECK: &str = "table.index";
    const MEND: &str = "make the index as `template.yaml` has it; reports and the sweep read by it";
    let indexes = table.global_secondary_indexes();
    let Some(index) = indexes.iter().find(|index| index.index_name() == Some(NAME)) else {
        return Finding::failed(CHECK, format!("there is no index `{NAME}`"), MEND);
    };
    let kinds = table.attribute_definitions();
    let projection = index.projection().and_then(|projection| projection.projection_type());
    let right = is_schema(index.key_schema(), kinds, ("tenantDay", &S), ("at", &S))
        && projection == Some(&ProjectionType::All);
    let keys = described(index.key_schema(), kinds);
    let projected = projection.map_or("nothing", ProjectionType::as_str);
    if right && !is_active(index) {
        return Finding::warning(CHECK, format!("the index `{NAME}` is not active yet"), "wait until it is");
    }
    let what = format!("`{NAME}` by {keys}, projecting {projected}");
    Finding::judged(CHECK, right, what, "it must be by `tenantDay` (S), `at` (S), projecting ALL", MEND)
}

fn is_active(index: &GlobalSecondaryIndexDescription) -> bool {
    matches!(index.index_status(), Some(IndexStatus::Active | IndexStatus::Updating))
}

type Key<'a> = (&'a str, &'a ScalarAttributeType);

fn is_schema(
    schema: &[KeySchemaElement],
    kinds: &[AttributeDefinition],
    hash: Key<'_>,
    range: Key<'_>,
) -> bool {
    let is = |at: usize, (name, kind): Key<'_>, role: &KeyType| {
        let key = schema.get(at).filter(|key| key.attribute_name() == name && key.key_type() == role);
        key.is_some() && kind_of(kinds, name) == Some(kind)
    };
    schema.len() == 2 && is(0, hash, &KeyType::Hash) && is(1, range, &KeyType::Range)
}

fn described(schema: &[KeySchemaElement], kinds: &[AttributeDefinition]) -> String {
    let key = |key: &KeySchemaElement| {
        let kind = kind_of(kinds, key.attribute_name()).map_or("?", ScalarAttributeType::as_str);
        format!("`{}` ({kind})", key.attribute_name())
    };
    schema.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn kind_of<'a>(kinds: &'a [AttributeDefinition], name: &str) -> Option<&'a ScalarAttributeType> {
    kinds.iter().find(|kind| kind.attribute_name() == name).map(AttributeDefinition::attribute_type)
}
