//! The trail on a DynamoDB: order, lock, own retries, pages. The server is the embedded one, or, with
//! `REGRANT_TEST_DYNAMODB` set to the endpoint of another (Amazon's own local one, say), that.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use regrant::domain::chain::Head;
use regrant::domain::record::{By, Fact, Record, VERSION};
use regrant::domain::request::RequestId;
use regrant::domain::target::{Guid, TargetKind};
use regrant::local::aws::{sdk_config, worker_aws};
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table};
use regrant::trail::{AppendError, Trail};

use crate::wire::{Harm, Wire};

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    wire: Wire,
    trail: Trail,
    key: String,
    _server: DynamoDbServer,
}

async fn bench() -> Bench {
    let server = DynamoDbServer::start(&Database::Memory).await.unwrap();
    let url = std::env::var("REGRANT_TEST_DYNAMODB").unwrap_or_else(|_| server.url.clone());
    let table = format!("trail-{}", uuid::Uuid::new_v4().simple());
    create_audit_table(&aws_sdk_dynamodb::Client::new(&sdk_config(&url)), &table).await.unwrap();
    let wire = Wire::before(&[("dynamodb", &url)], Arc::new(|_| async {}.boxed())).await;
    let aws = worker_aws(vec![("AWS_ENDPOINT_URL_DYNAMODB", wire.url("dynamodb"))]);
    let tenant = guid(7);
    let key = format!("{tenant}#assignment#{}", guid(1));
    Bench { wire, trail: Trail::new(aws, table, tenant), key, _server: server }
}

fn guid(n: u32) -> Guid {
    Guid::parse(&format!("{n:08x}-acc4-43cc-bcf1-7c1c4a2c073b")).unwrap()
}

fn record(seq: u64, request: &str) -> Record {
    Record {
        v: VERSION,
        fact: Fact::RequestJoined {},
        tenant_id: guid(7),
        target: Some(TargetKind::Assignment),
        id: Some(guid(1)),
        repair: Some(1),
        seq,
        at: jiff::Timestamp::from_second(1_790_000_000).unwrap(),
        request_id: RequestId::parse(request).unwrap(),
        by: By {
            function: "test".to_owned(),
            version: "0".to_owned(),
            invocation_id: "i".to_owned(),
            message_id: None,
        },
        origin: None,
    }
}

impl Bench {
    async fn append(&self, head: &Head, record: &Record) -> Result<Head, AppendError> {
        self.trail.append(&self.key, head, record, PATIENCE).await
    }

    async fn requests(&self) -> Vec<String> {
        let history = self.trail.history(self.key.clone()).await.unwrap();
        history.records.iter().map(|record| record.request_id.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_at_one_number_exactly_one_wins_and_the_others_are_told() {
    let bench = bench().await;
    let records: Vec<Record> = (0..16).map(|n| record(1, &format!("r-{n}"))).collect();
    let genesis = Head::genesis();
    let ended = join_all(records.iter().map(|record| bench.append(&genesis, record))).await;
    let won = ended.iter().filter(|ended| ended.is_ok()).count();
    let conflicts = ended.iter().filter(|ended| matches!(ended, Err(AppendError::Conflict))).count();
    assert_eq!((won, conflicts), (1, 15));
    assert_eq!(bench.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_lost_is_known_again_by_its_hash() {
    for harm in [Harm::SilenceAfter, Harm::Error] {
        let bench = bench().await;
        bench.wire.harm(1, harm);
        let head = bench.append(&Head::genesis(), &record(1, "r-1")).await.unwrap();
        assert_eq!(head.seq, 1);
        // The same once more, as after a restart: still no conflict, and no second record.
        assert_eq!(bench.append(&Head::genesis(), &record(1, "r-1")).await.unwrap(), head);
        assert!(matches!(
            bench.append(&Head::genesis(), &record(1, "r-2")).await,
            Err(AppendError::Conflict)
        ));
        bench.append(&head, &record(2, "r-3")).await.unwrap();
        assert_eq!(bench.requests().await, ["r-1", "r-3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_cannot_be_stored_says_so_within_its_patience() {
    let trail = Trail::new(
        worker_aws(vec![("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9".to_owned())]),
        "none".to_owned(),
        guid(7),
    );
    let ended = trail.append("key", &Head::genesis(), &record(1, "r-1"), Duration::from_millis(300)).await;
    assert!(matches!(ended, Err(AppendError::Store(_))), "{ended:?}");
    assert!(trail.history("key".to_owned()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_longer_than_a_page_are_read_whole() {
    let bench = bench().await;
    let mut head = Head::genesis();
    // A page holds a megabyte: 40 records of 32 KB and more need two.
    for seq in 1..=40 {
        let body = "x".repeat(32 * 1024);
        let long = Fact::MessageRejected { error: String::new(), body, body_sha256: String::new() };
        head = bench.append(&head, &Record { fact: long, ..record(seq, "r-1") }).await.unwrap();
    }
    let history = bench.trail.history(bench.key.clone()).await.unwrap();
    assert_eq!((history.records.len(), history.head.seq), (40, 40));
    let queries = bench.wire.calls().iter().filter(|call| call.what == "Query").count();
    assert!(queries >= 2, "{queries} pages");
}
