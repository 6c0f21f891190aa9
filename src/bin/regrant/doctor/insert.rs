//! The proof that a record can be added once and not twice: a real insert, under a key that is no target's.
//!
//! What it writes stays, for nothing here can delete. It has neither day nor time, so that no report finds it, and
//! its key belongs to no tenant, so that `verify`, `export` and the others pass over it.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use regrant::trail::chains::PROBE;
use uuid::Uuid;

use super::finding::{Finding, code, unanswered};

const CHECK: &str = "insert";

pub async fn check(client: &Client, table: &str) -> Finding {
    let key = format!("{PROBE}{}", Uuid::new_v4());
    // Retries would hide what is asked here: whether the same key is taken twice.
    let insert = || {
        let statement = format!("INSERT INTO \"{table}\" VALUE {{'pk': ?, 'seq': ?, 'note': ?}}");
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let note = "left by `regrant doctor --insert`; not a record";
        let parameters = vec![text(&key), AttributeValue::N("1".to_owned()), text(note)];
        client.execute_statement().statement(statement).set_parameters(Some(parameters)).send()
    };
    if let Err(error) = insert().await
        && !is_duplicate(code(&error))
    {
        return unanswered(CHECK, "dynamodb:PartiQLInsert", &error);
    }
    match insert().await {
        Err(error) if is_duplicate(code(&error)) => Finding::ok(
            CHECK,
            format!("an item went in once and was refused the second time; it stays, under `{key}`"),
        ),
        Err(error) => unanswered(CHECK, "dynamodb:PartiQLInsert", &error),
        Ok(_) => Finding::failed(
            CHECK,
            format!(
                "the table took an item twice under `{key}`: its keys do not lock, and records could be overwritten"
            ),
            "see `table.keys`; do not run regrant on this table",
        ),
    }
}

/// AWS says the first, Amazon's own local DynamoDB the second.
fn is_duplicate(code: &str) -> bool {
    matches!(code, "DuplicateItemException" | "DuplicateItem")
}
