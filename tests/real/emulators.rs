//! The world around the functions: moto as SQS, Secrets Manager, EventBridge and S3, the embedded DynamoDB, the Graph
//! simulator behind TLS. Checks nothing.

use std::net::TcpListener as Port;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use regrant::domain::target::Guid;
use regrant::local::aws::sdk_config;
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table};
use regrant::local::graph::{Application, GraphSimulator, random_guid};
use regrant::local::{AUDIT_TABLE, aws};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use uuid::Uuid;

use crate::stand_in::StandIn;

pub const BUS: &str = "regrant-events";
pub const BUCKET: &str = "regrant-reports";
/// Six times the function's timeout would be a minute of waiting after each killed process.
pub const VISIBILITY: Duration = Duration::from_secs(20);

pub struct Emulators {
    pub moto: String,
    /// EventBridge in a process of its own: a busy queue must not make the bus slow.
    pub bus: String,
    pub dynamodb: DynamoDbServer,
    pub graph: GraphSimulator,
    /// Graph and the token host, over TLS.
    pub graph_url: String,
    pub stand_in: StandIn,
    pub application: Application,
    pub queue: Queue,
    pub dead_letters: Queue,
    /// Where the bus's rule puts every event.
    pub events: Queue,
    pub secret_id: String,
    pub certificate_id: String,
    /// The private part of `certificate_id`, to be searched for where it must not be.
    pub private_key: String,
    /// With the certificate to be trusted in it, as `root.pem`; gone at the end.
    pub folder: PathBuf,
    _processes: [Moto; 2],
}

/// The server's process; ended when dropped.
struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Clone)]
pub struct Queue {
    pub url: String,
    pub arn: String,
}

impl Emulators {
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("regrant-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        // For the test's own calls; the functions bring theirs.
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (moto, process) = start_moto().await;
        let (bus_url, bus_process) = start_moto().await;
        let dynamodb = DynamoDbServer::start(&Database::Memory).await.unwrap();
        create_audit_table(&dynamodb.client(), AUDIT_TABLE).await.unwrap();
        let graph = GraphSimulator::start().await.unwrap();
        let application = Application {
            tenant_id: random_guid(),
            client_id: random_guid(),
            secret: Uuid::new_v4().simple().to_string(),
        };
        graph.set_application(application.clone());
        graph.set_behind_tls(true);
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(folder.join("root.pem"), certificate.cert.pem()).unwrap();
        let graph_url = behind_tls(&graph, &certificate).await;

        let sqs = aws_sdk_sqs::Client::new(&sdk_config(&moto));
        let dead_letters = queue(&sqs, "regrant-dead-letters", &[]).await;
        let redrive = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":1000}}"#, dead_letters.arn);
        let visibility = VISIBILITY.as_secs().to_string();
        let settings = [
            (QueueAttributeName::VisibilityTimeout, visibility),
            (QueueAttributeName::RedrivePolicy, redrive),
        ];
        let requests = queue(&sqs, "regrant-requests", &settings).await;
        let events = queue(&aws_sdk_sqs::Client::new(&sdk_config(&bus_url)), "regrant-events", &[]).await;
        bus(&bus_url, &events).await;
        let reply = reqwest::Client::new().put(format!("{moto}/{BUCKET}")).send().await.unwrap();
        assert!(reply.status().is_success(), "{reply:?}");

        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let params = rcgen::CertificateParams::new(["regrant".to_owned()]).unwrap();
        let pem = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let private_key = key.serialize_pem().lines().nth(3).unwrap().to_owned();
        let secret_id = secret(&moto, "regrant/graph-secret", &application.secret).await;
        let certificate_id = secret(&moto, "regrant/graph-certificate", &pem).await;
        Self {
            stand_in: StandIn::start().await,
            queue: requests,
            moto,
            bus: bus_url,
            dynamodb,
            graph,
            graph_url,
            application,
            dead_letters,
            events,
            secret_id,
            certificate_id,
            private_key,
            folder,
            _processes: [process, bus_process],
        }
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&sdk_config(&self.moto))
    }

    pub fn tenant(&self) -> &Guid {
        &self.application.tenant_id
    }
}

impl Drop for Emulators {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn start_moto() -> (String, Moto) {
    let program = std::env::var("REGRANT_REAL_MOTO").expect("`REGRANT_REAL_MOTO` is not set: run .ci/real");
    // Taken again by the server a moment later; nothing else on this machine hands out ports in order.
    let port = Port::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let process = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let process = Moto(process.unwrap());
    let url = format!("http://127.0.0.1:{port}");
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < until, "the server does not come up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (url, process)
}

async fn queue(sqs: &aws_sdk_sqs::Client, name: &str, attributes: &[(QueueAttributeName, String)]) -> Queue {
    let made = sqs.create_queue().queue_name(name).set_attributes(Some(attributes.iter().cloned().collect()));
    let url = made.send().await.unwrap().queue_url.unwrap();
    let arn = format!("arn:aws:sqs:{}:123456789012:{name}", aws::REGION);
    Queue { url, arn }
}

/// A bus with one rule that puts every event of ours into a queue, where the test can count them.
async fn bus(moto: &str, events: &Queue) {
    let client = aws_sdk_eventbridge::Client::new(&sdk_config(moto));
    client.create_event_bus().name(BUS).send().await.unwrap();
    let rule = client.put_rule().name("all").event_bus_name(BUS).event_pattern(r#"{"source":["regrant"]}"#);
    rule.send().await.unwrap();
    let target = aws_sdk_eventbridge::types::Target::builder().id("queue").arn(&events.arn).build().unwrap();
    client.put_targets().rule("all").event_bus_name(BUS).targets(target).send().await.unwrap();
}

async fn secret(moto: &str, name: &str, text: &str) -> String {
    let client = aws_sdk_secretsmanager::Client::new(&sdk_config(moto));
    client.create_secret().name(name).secret_string(text).send().await.unwrap().arn.unwrap()
}

/// Ends TLS in front of the simulator and hands the bytes on.
async fn behind_tls(graph: &GraphSimulator, certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    let key = certificate.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.cert.der().clone()], key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let plain = graph.url().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(socket).await else { return };
                let Ok(mut inside) = TcpStream::connect(plain).await else { return };
                // Either side may go away in the middle: faults do that on purpose.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    url
}
