//! The embedded stack: DynamoDB, SQS and a Graph simulator as servers on loopback ports inside this process, and
//! a poller that behaves like Lambda's SQS event source.
//!
//! Nothing here stands in for code of ours: the worker, the trail and the queue reach these servers through the
//! same SDK and HTTP clients as they reach AWS and Microsoft.

pub mod aws;
pub mod dynamodb;
pub mod graph;
mod listener;
pub mod poller;
pub mod sqs;

use std::time::Duration;

use uuid::Uuid;

use self::dynamodb::{Database, DynamoDbServer};
use self::graph::{Application, GraphSimulator, random_guid};
use self::sqs::SqsServer;
use crate::domain::target::Guid;

/// The audit table's name in the embedded DynamoDB.
pub const AUDIT_TABLE: &str = "regrant-audit";

/// The waits of a worker on the embedded stack. SQS's timers count whole seconds, so 1 s is the least.
pub const COMPRESSED: [(&str, &str); 4] =
    [("CHECK_AFTER", "1s"), ("RETRY_AFTER", "1s"), ("CALL_TIMEOUT", "2s"), ("GIVE_UP_AFTER", "10m")];

/// What may differ from one stack to the next.
#[derive(Clone, Debug)]
pub struct Options {
    pub database: Database,
    /// Of the queue of requests; whole seconds.
    pub visibility: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { database: Database::Memory, visibility: Duration::from_secs(60) }
    }
}

/// The three servers; dropping it stops them.
pub struct Stack {
    pub dynamodb: DynamoDbServer,
    pub sqs: SqsServer,
    pub graph: GraphSimulator,
    pub tenant_id: Guid,
    application: Application,
}

impl Stack {
    /// Starts all three, with the audit table, both queues and one application that gets tokens.
    ///
    /// The tenant is the one of the trail in the database, or a random one if the trail is empty. The
    /// application and its secret are random each time.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let dynamodb = DynamoDbServer::start(&options.database).await?;
        let client = dynamodb.client();
        dynamodb::create_audit_table(&client, AUDIT_TABLE).await?;
        let known = dynamodb::tenant_in_trail(&client, AUDIT_TABLE).await?;
        let tenant_id = known.unwrap_or_else(random_guid);
        let sqs = SqsServer::start(options.visibility).await?;
        let graph = GraphSimulator::start().await?;
        let application = Application {
            tenant_id: tenant_id.clone(),
            client_id: random_guid(),
            secret: Uuid::new_v4().simple().to_string(),
        };
        graph.set_application(application.clone());
        Ok(Self { dynamodb, sqs, graph, tenant_id, application })
    }

    /// The settings with which a worker, in this process or another, uses these servers.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.url.clone()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.url.clone()),
            ("AWS_REGION", aws::REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AUDIT_TABLE", AUDIT_TABLE.to_owned()),
            ("QUEUE_URL", self.sqs.queue_url.clone()),
            ("GRAPH_TENANT_ID", self.tenant_id.to_string()),
            ("GRAPH_CLIENT_ID", self.application.client_id.to_string()),
            ("GRAPH_CREDENTIAL", "secret".to_owned()),
            ("GRAPH_CLIENT_SECRET", self.application.secret.clone()),
            ("GRAPH_ENDPOINT", self.graph.url().to_owned()),
            ("GRAPH_AUTHORITY", self.graph.url().to_owned()),
        ];
        settings.extend(COMPRESSED.map(|(name, value)| (name, value.to_owned())));
        settings
    }

    /// Stops the servers and waits until the database file is whole.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.dynamodb.stop().await
    }
}
