//! Real TLS to Graph, the token endpoint and AWS: whom we trust, and that nothing is read where no TLS is needed.
//!
//! What is trusted comes from the environment, which only a new process can change safely: each test runs this
//! binary again, with only the ignored test at the end in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use regrant::aws::{Aws, http_client};
use regrant::config::{CredentialConfig, GraphConfig};
use regrant::domain::reply::{Answered, Look, Reply, Sight};
use regrant::domain::request::Request;
use regrant::domain::target::{ApiVersion, Cloud, Guid};
use regrant::graph::{GraphClient, LookAnswer, TokenError};
use reqwest::Url;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

const ID: &str = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the child process is to find, and where.
const EXPECTED: &str = "REGRANT_TEST_EXPECTED";
const ROOT: &str = "REGRANT_TEST_ROOT";

/// A certificate for the loopback address, in a file of its own.
struct Trusted {
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
    file: PathBuf,
}

impl Trusted {
    fn new() -> Self {
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let file = std::env::temp_dir().join(format!("regrant-{}.pem", uuid::Uuid::new_v4()));
        std::fs::write(&file, certificate.cert.pem()).unwrap();
        Self { certificate, file }
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Method, path, HTTP version, content length.
type Heard = (Method, String, hyper::Version, Option<String>);

/// Plays Graph, the token endpoint and Secrets Manager at once.
async fn serve(trusted: Option<&Trusted>) -> (String, Arc<Mutex<Vec<Heard>>>) {
    let acceptor = trusted.map(|trusted| {
        let key = trusted.certificate.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let mut config = config.with_single_cert(vec![trusted.certificate.cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let root = format!("{scheme}://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = heard.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, keep) = (acceptor.clone(), keep.clone());
            let answering = service_fn(move |request| answer(request, keep.clone()));
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                match acceptor {
                    Some(acceptor) => {
                        let Ok(socket) = acceptor.accept(socket).await else { return };
                        let _ = server.serve_connection(TokioIo::new(socket), answering).await;
                    }
                    None => {
                        let _ = server.serve_connection(TokioIo::new(socket), answering).await;
                    }
                }
            });
        }
    });
    (root, heard)
}

async fn answer(
    request: hyper::Request<Incoming>,
    keep: Arc<Mutex<Vec<Heard>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let length = request.headers().get("content-length").map(|length| length.to_str().unwrap().to_owned());
    let version = request.version();
    let body = request.into_body().collect().await?.to_bytes();
    if path.ends_with("/reprocess") {
        assert!(body.is_empty());
    }
    let (status, body) = match (&method, path.rsplit('/').next().unwrap()) {
        (&Method::GET, _) => (200, json!({ "state": "delivered" })),
        (_, "reprocess") => (202, json!({})),
        (_, "token") => {
            (200, json!({ "expires_in": 3600, "access_token": "token-1", "token_type": "Bearer" }))
        }
        (_, "") => (200, json!({ "SecretString": "canary" })),
        other => panic!("{other:?}"),
    };
    keep.lock().unwrap().push((method, path, version, length));
    Ok(Response::builder().status(status).body(Full::from(body.to_string())).unwrap())
}

async fn child(expected: &str, root: &str, trusted: &Path) {
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::child_process", "--ignored", "--nocapture"])
        .envs([(EXPECTED, expected), (ROOT, root), ("AWS_EC2_METADATA_DISABLED", "true")])
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn the_certificates_that_the_environment_names_are_trusted_by_all_clients() {
    let trusted = Trusted::new();
    let (root, heard) = serve(Some(&trusted)).await;
    child("answers", &root, &trusted.file).await;
    let prefix = "/v1.0/identityGovernance/entitlementManagement/assignments";
    let tenant = "11111111-2222-3333-4444-555555555555";
    let heard = heard.lock().unwrap().clone();
    let calls = heard.iter().map(|(method, path, ..)| (method.as_str(), path.as_str())).collect::<Vec<_>>();
    assert_eq!(
        calls,
        [
            ("POST", "/"),
            ("POST", &format!("/{tenant}/oauth2/v2.0/token")),
            ("GET", &format!("{prefix}/{ID}")),
            ("POST", &format!("{prefix}/{ID}/reprocess")),
        ]
    );
    assert!(heard[1..].iter().all(|call| call.2 == hyper::Version::HTTP_2), "{heard:?}");
    assert_eq!(heard[3].3.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_not_trusted() {
    let (server, other) = (Trusted::new(), Trusted::new());
    let (root, heard) = serve(Some(&server)).await;
    child("refuses", &root, &other.file).await;
    assert_eq!(heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn without_any_https_endpoint_no_trust_store_is_read() {
    let (root, heard) = serve(None).await;
    child("answers", &root, Path::new("/nonexistent/trust.pem")).await;
    assert_eq!(heard.lock().unwrap().len(), 4);
}

fn client(root: &Url, credential: CredentialConfig) -> GraphClient {
    let config = GraphConfig {
        tenant_id: Guid::parse("11111111-2222-3333-4444-555555555555").unwrap(),
        client_id: Guid::parse("66666666-7777-8888-9999-000000000000").unwrap(),
        credential,
        cloud: Cloud::Global,
        endpoint: root.clone(),
        authority: root.clone(),
    };
    let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(root.as_str())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client())
        .build();
    GraphClient::new(config, TIMEOUT, Aws::from_config(aws))
}

#[tokio::test]
#[ignore = "the other tests of this file start it, in a process of its own"]
async fn child_process() {
    let root = Url::parse(&std::env::var(ROOT).unwrap()).unwrap();
    let body = json!({ "target": "assignment", "id": ID }).to_string();
    let request = Request::parse(&body, "r-1", ApiVersion::V1).unwrap();
    let call = Guid::parse("5b0c6f2e-7d2f-4c57-9c1f-1f2d3c4b5a69").unwrap();
    let by_secret_id = client(&root, CredentialConfig::SecretId { secret_id: "s".to_owned() });
    if std::env::var(EXPECTED).unwrap() == "answers" {
        let token = by_secret_id.token().await.unwrap();
        let look = by_secret_id.look(&token, &request, TIMEOUT).await;
        let sight = Sight { state: "delivered".to_owned(), ..Sight::default() };
        assert_eq!(look, LookAnswer::Look(Look::Seen(sight)));
        let reply = by_secret_id.reprocess(&token, &request, &call, TIMEOUT).await;
        assert_eq!(reply, Reply::Answered(Answered { status: 202, ..Answered::default() }));
        return;
    }
    let by_text = client(&root, CredentialConfig::SecretText("secret".to_owned().into()));
    for (client, endpoint) in [(by_secret_id, "AWS Secrets Manager"), (by_text, "the token endpoint")] {
        let Err(TokenError::Retriable { reason, .. }) = client.token().await else {
            panic!("trusted {endpoint}")
        };
        assert!(reason.starts_with(&format!("{endpoint} gave no answer: ")), "{reason}");
        // The strangers share one name, so that it is the signature that gives them away.
        assert!(reason.contains("invalid peer certificate: BadSignature"), "{reason}");
    }
}
