//! A trail made by hand through the writer, in a database file: the same each time, to the byte.

use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use regrant::aws::Aws;
use regrant::domain::chain::Head;
use regrant::domain::record::*;
use regrant::domain::request::RequestId;
use regrant::domain::target::{ApiVersion, Cloud, CredentialKind, Guid, Target, TargetKind};
use regrant::local::AUDIT_TABLE;
use regrant::local::aws::sdk_config;
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table};
use regrant::trail::Trail;

pub const TENANT: &str = "11111111-acc4-43cc-bcf1-7c1c4a2c073b";
pub const PACKAGE: &str = "aaaaaaaa-acc4-43cc-bcf1-7c1c4a2c073b";

/// Who asks in every story.
pub const ASKER: &str = "9f0e1111-acc4-43cc-bcf1-7c1c4a2c073b";

pub fn id(n: u32) -> Guid {
    Guid::parse(&format!("{n:08}-acc4-43cc-bcf1-7c1c4a2c073b")).unwrap()
}

pub fn key(kind: TargetKind, n: u32) -> String {
    Target { kind, id: id(n) }.key(&Guid::parse(TENANT).unwrap())
}

pub fn request_key(n: u32) -> String {
    key(TargetKind::AssignmentRequest, n)
}

/// Minutes after 08:00 on 5 March 2026.
pub fn minute(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-03-05T08:00:00Z".parse().unwrap();
    start + jiff::SignedDuration::from_mins(minutes)
}

/// Opens the database, with the audit table in it, lets `work` use it, and closes it.
pub async fn with_database<T>(path: &Path, work: impl AsyncFnOnce(&Client, &Trail) -> T) -> T {
    let server = DynamoDbServer::start(&Database::File(path.to_owned())).await.unwrap();
    let client = server.client();
    create_audit_table(&client, AUDIT_TABLE).await.unwrap();
    let aws = Aws::from_config(sdk_config(&server.url));
    let trail = Trail::new(aws, AUDIT_TABLE.to_owned(), Guid::parse(TENANT).unwrap());
    let done = work(&client, &trail).await;
    server.stop().await.unwrap();
    done
}

/// A target's records under construction.
pub struct Story {
    kind: TargetKind,
    id: Guid,
    records: Vec<Record>,
    repair: u64,
}

impl Story {
    pub fn new(kind: TargetKind, n: u32) -> Self {
        Self::of(kind, id(n))
    }

    pub fn of(kind: TargetKind, id: Guid) -> Self {
        Self { kind, id, records: Vec::new(), repair: 1 }
    }

    /// The next record, of request `request`; the first of a request says where it came from.
    pub fn tell(mut self, at: Timestamp, request: &str, fact: Fact) -> Self {
        let first = !self.records.iter().any(|record| record.request_id.as_str() == request);
        let origin = Origin {
            requested_by: Some(ASKER.to_owned()),
            reason: Some("SAP outage".to_owned()),
            ticket: Some("INC0012345".to_owned()),
            source: Source {
                kind: SourceKind::Cli,
                message_id: Some("m-1".to_owned()),
                receive_count: Some(1),
                sent_at: Some(at),
            },
        };
        let settles = matches!(fact, Fact::RequestSkipped { .. } | Fact::RequestAbandoned { .. })
            || fact.verdict() == Some(Verdict::Delivered);
        self.records.push(Record {
            v: VERSION,
            fact,
            tenant_id: Guid::parse(TENANT).unwrap(),
            target: Some(self.kind),
            id: Some(self.id.clone()),
            repair: Some(self.repair),
            seq: self.records.len() as u64 + 1,
            at,
            request_id: RequestId::parse(request).unwrap(),
            by: By {
                function: "worker".to_owned(),
                version: "0.1.0".to_owned(),
                invocation_id: "i-1".to_owned(),
                message_id: Some("m-1".to_owned()),
            },
            origin: first.then_some(origin),
        });
        self.repair += u64::from(settles);
        self
    }

    /// An attempt's two records, a second apart.
    pub fn attempt(self, at: Timestamp, request: &str, attempt: u32, outcome: Outcome, status: u16) -> Self {
        let call = id(9000 + attempt);
        self.start(at, request, attempt).tell(
            at + jiff::SignedDuration::from_secs(1),
            request,
            Fact::AttemptEnded(Box::new(AttemptEnded {
                attempt,
                client_request_id: call,
                outcome,
                http_status: Some(status),
                error_code: (status >= 400).then(|| "UnknownError".to_owned()),
                error_message: None,
                retry_after_seconds: None,
                graph_request_id: Some("graph-1".to_owned()),
                duration_ms: Some(850),
                late: false,
            })),
        )
    }

    pub fn start(self, at: Timestamp, request: &str, attempt: u32) -> Self {
        let (kind, target) = (self.kind, self.id.clone());
        let state = if kind == TargetKind::Assignment { "Delivered" } else { "DeliveryFailed" };
        self.tell(
            at,
            request,
            Fact::AttemptStarted(Box::new(AttemptStarted {
                attempt,
                client_request_id: id(9000 + attempt),
                method: "POST".to_owned(),
                path: format!("/v1.0/identityGovernance/entitlementManagement/x/{target}/reprocess"),
                api_version: ApiVersion::V1,
                cloud: Cloud::Global,
                lease_until: at + jiff::SignedDuration::from_secs(65),
                before: Before {
                    state: state.to_owned(),
                    status: None,
                    completed_at: Some(at - jiff::SignedDuration::from_hours(20)),
                    observed_at: at,
                },
                access_package_id: Some(PACKAGE.to_owned()),
                subject_id: Some("subject-1".to_owned()),
                actor: Actor { client_id: id(7), credential: CredentialKind::Federated },
            })),
        )
    }

    pub fn observe(self, at: Timestamp, request: &str, attempt: u32, verdict: Verdict) -> Self {
        self.tell(
            at,
            request,
            Fact::DeliveryObserved(Box::new(DeliveryObserved {
                attempt,
                verdict,
                evidence: Evidence::Moved,
                state: Some("Delivered".to_owned()),
                status: None,
                completed_at: Some(at),
                access_package_id: Some(PACKAGE.to_owned()),
                subject_id: None,
            })),
        )
    }

    pub async fn append_to(&self, trail: &Trail) {
        let key = Target { kind: self.kind, id: self.id.clone() }.key(trail.tenant());
        let mut head = Head::genesis();
        for record in &self.records {
            let record = Record { tenant_id: trail.tenant().clone(), ..record.clone() };
            head = trail.append(&key, &head, &record, Duration::from_secs(10)).await.unwrap();
        }
    }
}

/// Four targets on two days: delivered at once, delivered the second time, abandoned, and an open assignment.
pub async fn small_trail(trail: &Trail) {
    settled_trail(trail).await;
    let open = Story::new(TargetKind::Assignment, 4);
    open.attempt(minute(24 * 60), "r-4", 1, Outcome::Accepted, 202).append_to(trail).await;
}

/// The first three of them.
pub async fn settled_trail(trail: &Trail) {
    use Outcome::{Accepted, Rejected, Unavailable};
    let request = TargetKind::AssignmentRequest;
    let abandoned = Fact::RequestAbandoned {
        why: AbandonWhy::Rejected,
        state: Some("DeliveryFailed".to_owned()),
        http_status: Some(400),
        error_code: Some("UnknownError".to_owned()),
    };
    let at_once = Story::new(request, 1).attempt(minute(0), "r-1", 1, Accepted, 202);
    let second = Story::new(request, 2).attempt(minute(1), "r-2", 1, Unavailable, 503);
    let second = second.attempt(minute(3), "r-2", 2, Accepted, 202);
    for story in [
        at_once.observe(minute(5), "r-1", 1, Verdict::Delivered),
        second.observe(minute(63), "r-2", 2, Verdict::Delivered),
        Story::new(request, 3).attempt(minute(2), "r-3", 1, Rejected, 400).tell(minute(4), "r-3", abandoned),
    ] {
        story.append_to(trail).await;
    }
}

/// The stored item, as the raw client gives it.
pub async fn item(
    client: &Client,
    key: &str,
    seq: &str,
) -> std::collections::HashMap<String, AttributeValue> {
    let got = client.get_item().table_name(AUDIT_TABLE).consistent_read(true);
    let got = got.key("pk", AttributeValue::S(key.to_owned())).key("seq", AttributeValue::N(seq.to_owned()));
    got.send().await.unwrap().item.unwrap()
}

/// Overwrites an item, as nobody who may only insert could.
pub async fn put(client: &Client, item: std::collections::HashMap<String, AttributeValue>) {
    client.put_item().table_name(AUDIT_TABLE).set_item(Some(item)).send().await.unwrap();
}

pub async fn delete(client: &Client, key: &str, seq: u64) {
    let gone = client.delete_item().table_name(AUDIT_TABLE);
    let gone =
        gone.key("pk", AttributeValue::S(key.to_owned())).key("seq", AttributeValue::N(seq.to_string()));
    gone.send().await.unwrap();
}
