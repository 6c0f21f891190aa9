//! The poller against the embedded SQS: what it deletes and keeps. Also the embedded DynamoDB's table.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeyType, ProjectionType};
use aws_sdk_sqs::types::MessageAttributeValue;
use regrant::local::aws;
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table, tenant_in_trail};
use regrant::local::graph::random_guid;
use regrant::local::poller::{Polled, Poller};
use regrant::local::sqs::{Depth, SqsServer, depth};
use serde_json::{Value, json};

struct Rig {
    sqs: SqsServer,
    client: aws_sdk_sqs::Client,
    poller: Poller,
}

impl Rig {
    async fn with_messages(bodies: &[&str]) -> Self {
        let sqs = SqsServer::start(Duration::from_secs(300)).await.unwrap();
        let client = sqs.client();
        for body in bodies {
            client.send_message().queue_url(&sqs.queue_url).message_body(*body).send().await.unwrap();
        }
        let poller = Poller::new(&sqs, Duration::from_secs(30));
        Self { sqs, client, poller }
    }

    /// Polls once and answers with what `answer` makes of the messages' ids.
    async fn poll(&self, answer: impl FnOnce(Vec<String>) -> anyhow::Result<Value>) -> Polled {
        let handler = async |event: String, _| answer(ids(&serde_json::from_str(&event).unwrap()));
        self.poller.poll(handler).await.unwrap()
    }

    async fn depth(&self) -> Depth {
        depth(&self.client, &self.sqs.queue_url).await.unwrap()
    }
}

fn ids(event: &Value) -> Vec<String> {
    let records = event["Records"].as_array().unwrap().iter();
    records.map(|record| record["messageId"].as_str().unwrap().to_owned()).collect()
}

fn failures(ids: &[String]) -> Value {
    let items = ids.iter().map(|id| json!({ "itemIdentifier": id })).collect::<Vec<_>>();
    json!({ "batchItemFailures": items })
}

#[tokio::test]
async fn only_messages_that_did_not_fail_are_deleted() {
    let rig = Rig::with_messages(&["a", "b", "c"]).await;
    let polled = rig.poll(|ids| Ok(failures(&ids[1..2]))).await;
    assert_eq!((polled.received, polled.deleted.len(), polled.kept.len()), (3, 2, 1));
    assert!(polled.failure.is_none());
    assert_eq!(rig.depth().await, Depth { visible: 0, in_flight: 1, delayed: 0 });
}

#[tokio::test]
async fn empty_answers_delete_the_batch() {
    for answer in
        [Value::Null, json!({}), json!({ "batchItemFailures": [] }), json!({ "batchItemFailures": null })]
    {
        let rig = Rig::with_messages(&["a", "b"]).await;
        rig.poll(|_| Ok(answer)).await;
        assert_eq!(rig.depth().await.total(), 0);
    }
}

#[tokio::test]
async fn handler_errors_and_answers_of_another_form_keep_the_whole_batch() {
    let bad_items = |item: Value| json!({ "batchItemFailures": [item] });
    for answer in [
        Err("out of order"),
        Ok(json!("done")),
        Ok(json!([])),
        Ok(json!({ "batchItemFailures": "none" })),
        Ok(bad_items(json!({ "itemIdentifier": null }))),
        Ok(bad_items(json!({ "itemIdentifier": "" }))),
        Ok(bad_items(json!({ "itemIdentifier": "of another batch" }))),
        Ok(bad_items(json!({ "itemidentifier": "misspelt" }))),
    ] {
        let rig = Rig::with_messages(&["a", "b"]).await;
        let polled = rig.poll(|_| answer.clone().map_err(anyhow::Error::msg)).await;
        assert!(polled.failure.is_some(), "{answer:?}");
        assert_eq!((polled.deleted.len(), polled.kept.len()), (0, 2), "{answer:?}");
        assert_eq!(rig.depth().await.total(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn kept_message_comes_back_when_its_visibility_ends() {
    let rig = Rig::with_messages(&["a"]).await;
    let mut receipt = String::new();
    let handler = async |event: String, _| {
        let event = serde_json::from_str::<Value>(&event).unwrap();
        receipt = event["Records"][0]["receiptHandle"].as_str().unwrap().to_owned();
        anyhow::Ok(failures(&ids(&event)))
    };
    rig.poller.poll(handler).await.unwrap();
    assert_eq!(rig.poll(|_| unreachable!()).await.received, 0);
    let change = rig.client.change_message_visibility().queue_url(&rig.sqs.queue_url);
    change.receipt_handle(receipt).visibility_timeout(0).send().await.unwrap();
    let handler = async |event: String, _| {
        let event = serde_json::from_str::<Value>(&event).unwrap();
        assert_eq!(event["Records"][0]["attributes"]["ApproximateReceiveCount"], "2");
        Ok(json!({}))
    };
    assert_eq!(rig.poller.poll(handler).await.unwrap().deleted.len(), 1);
    assert_eq!(rig.depth().await.total(), 0);
}

#[tokio::test]
async fn event_has_the_form_that_lambda_sends() {
    let rig = Rig::with_messages(&[]).await;
    let source = MessageAttributeValue::builder().data_type("String").string_value("cli").build().unwrap();
    let send = rig.client.send_message().queue_url(&rig.sqs.queue_url).message_body("hello");
    let sent = send.message_attributes("source", source).send().await.unwrap();
    let mut text = String::new();
    let handler = async |event: String, _| {
        text = event;
        Ok(json!({}))
    };
    rig.poller.poll(handler).await.unwrap();
    let record = &serde_json::from_str::<Value>(&text).unwrap()["Records"][0];
    assert_eq!(record["messageId"].as_str(), sent.message_id.as_deref());
    assert_eq!(record["body"], "hello");
    assert_eq!(record["md5OfBody"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(record["eventSource"], "aws:sqs");
    assert_eq!(record["eventSourceARN"], rig.sqs.queue_arn.as_str());
    assert_eq!(record["awsRegion"], aws::REGION);
    assert_eq!(record["messageAttributes"]["source"]["stringValue"], "cli");
    assert_eq!(record["messageAttributes"]["source"]["dataType"], "String");
    for name in ["ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"] {
        assert!(record["attributes"][name].is_string(), "{name} in {record}");
    }
    let parsed = serde_json::from_str::<aws_lambda_events::sqs::SqsEvent>(&text).unwrap();
    assert_eq!(parsed.records[0].message_attributes["source"].string_value.as_deref(), Some("cli"));
}

#[tokio::test]
async fn one_poll_takes_ten_messages_at_most() {
    let rig = Rig::with_messages(&["x"; 12]).await;
    assert_eq!(rig.poll(|_| Ok(json!({}))).await.received, 10);
    assert_eq!(rig.depth().await.visible, 2);
}

#[tokio::test]
async fn audit_table_is_made_once_and_as_the_contract_says() {
    let server = DynamoDbServer::start(&Database::Memory).await.unwrap();
    let client = server.client();
    for _ in 0..2 {
        create_audit_table(&client, "trail").await.unwrap();
    }
    let table = client.describe_table().table_name("trail").send().await.unwrap().table.unwrap();
    let keys = |schema: &[aws_sdk_dynamodb::types::KeySchemaElement]| {
        schema.iter().map(|key| (key.attribute_name.clone(), key.key_type.clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        keys(table.key_schema()),
        [("pk".to_owned(), KeyType::Hash), ("seq".to_owned(), KeyType::Range)]
    );
    let index = &table.global_secondary_indexes()[0];
    assert_eq!(index.index_name(), Some("byDay"));
    assert_eq!(
        keys(index.key_schema()),
        [("tenantDay".to_owned(), KeyType::Hash), ("at".to_owned(), KeyType::Range)]
    );
    assert_eq!(index.projection().unwrap().projection_type(), Some(&ProjectionType::All));
}

#[tokio::test]
async fn database_file_keeps_its_records_and_a_foreign_file_is_left_alone() {
    let dir = std::env::temp_dir().join(format!("regrant-{}", random_guid()));
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("audit.db");
    let tenant = random_guid();
    let open = async || DynamoDbServer::start(&Database::File(file.clone())).await.unwrap();
    let server = open().await;
    let client = server.client();
    create_audit_table(&client, "trail").await.unwrap();
    assert_eq!(tenant_in_trail(&client, "trail").await.unwrap(), None);
    let key = AttributeValue::S(format!("{tenant}#message#1"));
    let put =
        client.put_item().table_name("trail").item("pk", key).item("seq", AttributeValue::N("1".into()));
    put.send().await.unwrap();
    drop(client);
    server.stop().await.unwrap();
    let server = open().await;
    assert_eq!(tenant_in_trail(&server.client(), "trail").await.unwrap(), Some(tenant));
    server.stop().await.unwrap();

    let foreign = dir.join("letter.txt");
    std::fs::write(&foreign, "Dear Sir").unwrap();
    let error = DynamoDbServer::start(&Database::File(foreign.clone())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` exists and is not an audit database: name another file", foreign.display())
    );
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "Dear Sir");
    std::fs::remove_dir_all(&dir).unwrap();
}
