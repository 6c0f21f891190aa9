//! How a token is had, on the wire: Entra's token endpoint, AWS STS, AWS Secrets Manager.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use regrant::aws::{Aws, http_client};
use regrant::config::{CredentialConfig, GraphConfig};
use regrant::domain::reply::Look;
use regrant::domain::request::Request;
use regrant::domain::target::{ApiVersion, Cloud, Guid};
use regrant::graph::{GraphClient, LookAnswer, Token, TokenError, cloud};
use reqwest::Url;
use serde_json::{Value, json};

use crate::stub::{Answer, Seen, Stub, closed_port};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const CLIENT: &str = "66666666-7777-8888-9999-000000000000";
const TRACE: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
const SECRET: &str = "canary-client-secret";
const TIMEOUT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(250);

fn config(authority: &Url, credential: CredentialConfig) -> GraphConfig {
    GraphConfig {
        tenant_id: Guid::parse(TENANT).unwrap(),
        client_id: Guid::parse(CLIENT).unwrap(),
        credential,
        cloud: Cloud::Global,
        endpoint: Url::parse("http://127.0.0.1:9").unwrap(),
        authority: authority.clone(),
    }
}

fn secret_text() -> CredentialConfig {
    CredentialConfig::SecretText(SECRET.to_owned().into())
}

fn secret_id() -> CredentialConfig {
    CredentialConfig::SecretId { secret_id: "regrant/graph".to_owned() }
}

fn certificate_id() -> CredentialConfig {
    CredentialConfig::Certificate { secret_id: "regrant/graph".to_owned() }
}

fn client(entra: &Stub, credential: CredentialConfig) -> GraphClient {
    GraphClient::new(config(&entra.url, credential), TIMEOUT, Aws::new())
}

fn client_with_aws(entra: &Stub, credential: CredentialConfig, aws: &Stub) -> GraphClient {
    GraphClient::new(config(&entra.url, credential), TIMEOUT, sdk(aws))
}

fn sdk(stub: &Stub) -> Aws {
    let credentials = Credentials::new("AKIDTEST", "canary-aws-key", None, None, "test");
    Aws::from_config(
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(stub.url.as_str())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client())
            .build(),
    )
}

fn granted(token: &str) -> Answer {
    granted_for(token, 3600)
}

fn granted_for(token: &str, secs: u64) -> Answer {
    Answer::json(200, &json!({ "token_type": "Bearer", "expires_in": secs, "access_token": token }))
}

fn refused(status: u16, error: &str, code: u64) -> Answer {
    Answer::json(
        status,
        &json!({ "error": error, "error_description": format!("AADSTS{code}: canary prose"),
            "error_codes": [code], "trace_id": TRACE, "correlation_id": CLIENT }),
    )
}

fn stored(text: &str) -> Answer {
    Answer::json(200, &json!({ "Name": "regrant/graph", "SecretString": text }))
}

/// Which token a look is sent with, since a token shows nothing of itself.
async fn text_of(token: &Token) -> String {
    let graph = Stub::start([Answer::json(200, &json!({}))]).await;
    let mut config = config(&graph.url, secret_text());
    config.endpoint = graph.url.clone();
    let id = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";
    let body = json!({ "target": "assignment", "id": id }).to_string();
    let request = Request::parse(&body, "r-1", ApiVersion::V1).unwrap();
    let look = GraphClient::new(config, TIMEOUT, Aws::new()).look(token, &request, TIMEOUT).await;
    assert!(matches!(look, LookAnswer::Look(Look::Seen(_))), "{look:?}");
    graph.take_one().header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

async fn forward(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn form(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut fields =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
    fields.sort();
    fields
}

/// Certificate and key as PEM, the key's public part, and the certificate's thumbprint.
struct Identity {
    pem: String,
    public: Vec<u8>,
    thumbprint: String,
}

fn identity() -> Identity {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec();
    let key = rcgen::KeyPair::try_from(pkcs8.as_slice()).unwrap();
    let params = rcgen::CertificateParams::new(vec!["regrant".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key_pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&pkcs8));
    let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
    Identity {
        pem: certificate.pem() + &key_pem,
        public: pair.public_key().as_ref().to_vec(),
        thumbprint: URL_SAFE_NO_PAD.encode(thumbprint),
    }
}

/// Header and claims of an assertion whose PS256 signature holds.
fn verified(jwt: &str, identity: &Identity) -> (Value, Value) {
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &identity.public);
    key.verify(signed.as_bytes(), &signature).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json(header), json(claims))
}

#[tokio::test]
async fn a_secret_is_exchanged_for_a_token_that_is_kept() {
    let entra = Stub::start([granted("token-1")]).await;
    let client = client(&entra, secret_text());
    assert_eq!(entra.take_seen(), [], "nothing is fetched before it is needed");
    let tokens = futures::future::join_all((0..20).map(|_| client.token())).await;
    for token in tokens {
        assert_eq!(text_of(&token.unwrap()).await, "token-1");
    }
    let seen = entra.take_one();
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", format!("/{TENANT}/oauth2/v2.0/token").as_str())
    );
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(
        seen.form(),
        form(&[
            ("client_id", CLIENT),
            ("client_secret", SECRET),
            ("grant_type", "client_credentials"),
            ("scope", "https://graph.microsoft.com/.default"),
        ])
    );
}

#[tokio::test]
async fn each_cloud_has_its_scope_and_federation_audience() {
    let cases = [
        (Cloud::Global, "https://graph.microsoft.com", "api://AzureADTokenExchange"),
        (Cloud::UsGov, "https://graph.microsoft.us", "api://AzureADTokenExchangeUSGov"),
        (Cloud::UsGovDod, "https://dod-graph.microsoft.us", "api://AzureADTokenExchangeUSGov"),
        (Cloud::China, "https://microsoftgraph.chinacloudapi.cn", "api://AzureADTokenExchangeChina"),
    ];
    for (cloud, root, audience) in cases {
        let (entra, aws) = (Stub::start([granted("t")]).await, Stub::start([web_identity("sts-jwt")]).await);
        let config = GraphConfig { cloud, ..config(&entra.url, CredentialConfig::Federated) };
        GraphClient::new(config, TIMEOUT, sdk(&aws)).token().await.unwrap();
        assert_eq!(entra.take_one().field("scope"), format!("{root}/.default"));
        assert_eq!(aws.take_one().field("Audience.member.1"), audience);
        assert_eq!(cloud::graph_root(cloud), root);
    }
    let hosts = [Cloud::Global, Cloud::UsGov, Cloud::UsGovDod, Cloud::China].map(cloud::token_host);
    assert_eq!(
        hosts,
        [
            "https://login.microsoftonline.com",
            "https://login.microsoftonline.us",
            "https://login.microsoftonline.us",
            "https://login.chinacloudapi.cn"
        ]
    );
}

fn web_identity(token: &str) -> Answer {
    let body = format!(
        "<GetWebIdentityTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetWebIdentityTokenResult><WebIdentityToken>{token}</WebIdentityToken>\
         <Expiration>2026-11-20T10:05:00Z</Expiration></GetWebIdentityTokenResult>\
         <ResponseMetadata><RequestId>sts-1</RequestId></ResponseMetadata></GetWebIdentityTokenResponse>"
    );
    Answer::new(200, body).with("Content-Type", "text/xml")
}

#[tokio::test]
async fn a_federated_token_of_sts_is_the_assertion() {
    let entra = Stub::start([granted("token-1")]).await;
    let aws = Stub::start([web_identity("canary-sts-jwt")]).await;
    let client = client_with_aws(&entra, CredentialConfig::Federated, &aws);
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-1");
    let seen = aws.take_one();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"));
    assert!(seen.header("authorization").unwrap().contains("/eu-west-1/sts/aws4_request"));
    assert_eq!(
        seen.form(),
        form(&[
            ("Action", "GetWebIdentityToken"),
            ("Audience.member.1", "api://AzureADTokenExchange"),
            ("DurationSeconds", "300"),
            ("SigningAlgorithm", "RS256"),
            ("Version", "2011-06-15"),
        ])
    );
    assert_eq!(
        entra.take_one().form(),
        form(&[
            ("client_assertion", "canary-sts-jwt"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_id", CLIENT),
            ("grant_type", "client_credentials"),
            ("scope", "https://graph.microsoft.com/.default"),
        ])
    );
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_for_the_token_endpoint() {
    let identity = identity();
    let (entra, aws) = (Stub::start([granted("token-1")]).await, Stub::start([stored(&identity.pem)]).await);
    let client = client_with_aws(&entra, certificate_id(), &aws);
    let before = jiff::Timestamp::now().as_second();
    client.token().await.unwrap();
    aws.take_one();
    let seen = entra.take_one();
    let jwt = seen.field("client_assertion");
    let (header, claims) = verified(&jwt, &identity);
    assert_eq!(header, json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": identity.thumbprint }));
    let (issued, id) = (claims["iat"].as_i64().unwrap(), claims["jti"].as_str().unwrap());
    assert!((before..before + 20).contains(&issued) && Guid::parse(id).is_ok(), "{claims}");
    let audience = format!("{}{TENANT}/oauth2/v2.0/token", entra.url);
    assert_eq!(
        claims,
        json!({ "aud": audience, "iss": CLIENT, "sub": CLIENT, "jti": id, "nbf": issued, "iat": issued,
            "exp": issued + 600 })
    );
    assert_eq!(
        seen.form(),
        form(&[
            ("client_assertion", &jwt),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_id", CLIENT),
            ("grant_type", "client_credentials"),
            ("scope", "https://graph.microsoft.com/.default"),
        ])
    );
}

#[tokio::test]
async fn a_stored_secret_is_read_once_as_text_or_bytes() {
    let binary = json!({ "Name": "regrant/graph", "SecretBinary": STANDARD.encode(format!("{SECRET}\r\n")) });
    for answer in [stored(SECRET), stored(&format!(" {SECRET}\n")), Answer::json(200, &binary)] {
        let entra = Stub::start([granted_for("token-1", 0), granted("token-2")]).await;
        let aws = Stub::start([answer]).await;
        let client = client_with_aws(&entra, secret_id(), &aws);
        assert_eq!(text_of(&client.token().await.unwrap()).await, "token-1");
        assert_eq!(text_of(&client.token().await.unwrap()).await, "token-2");
        let seen = aws.take_one();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"));
        assert_eq!(seen.header("x-amz-target"), Some("secretsmanager.GetSecretValue"));
        assert_eq!(seen.header("content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(
            serde_json::from_str::<Value>(&seen.body).unwrap(),
            json!({ "SecretId": "regrant/graph" })
        );
        let sent = entra.take_seen().iter().map(|seen| seen.field("client_secret")).collect::<Vec<_>>();
        assert_eq!(sent, [SECRET, SECRET]);
    }
}

#[tokio::test]
async fn an_unusable_stored_secret_is_refused_without_a_call_to_entra() {
    let cases = [
        (
            secret_id(),
            stored(" \n"),
            "the secret `regrant/graph` is empty: store the credential in it as text",
        ),
        (
            secret_id(),
            Answer::json(200, &json!({ "Name": "regrant/graph" })),
            "the secret `regrant/graph` has no value: store the credential in it as text",
        ),
        (
            secret_id(),
            Answer::json(200, &json!({ "SecretBinary": STANDARD.encode(b"\xff\xfe") })),
            "the secret `regrant/graph` is not text: store the credential in it as text",
        ),
        (
            certificate_id(),
            stored("canary: no PEM"),
            "the secret `regrant/graph` is no certificate credential: it holds no private key: store an RSA \
             certificate and its unencrypted key in it, as PEM",
        ),
    ];
    for (credential, answer, expected) in cases {
        let (entra, aws) = (Stub::start([]).await, Stub::start([answer]).await);
        let error = client_with_aws(&entra, credential, &aws).token().await.unwrap_err();
        assert!(matches!(error, TokenError::Refused { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("no token for Graph: {expected}"));
    }
}

#[tokio::test]
async fn a_mended_certificate_is_read_afresh() {
    let identity = identity();
    let (entra, aws) =
        (Stub::start([granted("t")]).await, Stub::start([stored("not yet"), stored(&identity.pem)]).await);
    let client = client_with_aws(&entra, certificate_id(), &aws);
    client.token().await.unwrap_err();
    forward(Duration::from_secs(31)).await;
    client.token().await.unwrap();
}

#[tokio::test]
async fn what_aws_refuses_or_cannot_give_now_is_told_apart() {
    let sts = |status, code: &str| {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>canary: arn:aws:sts::1:x is not authorized</Message></Error>\
             <RequestId>req-1</RequestId></ErrorResponse>"
        );
        Answer::new(status, body).with("Content-Type", "text/xml").with("x-amzn-requestid", "req-1")
    };
    let secrets = |status, code: &str| {
        Answer::json(status, &json!({ "__type": code, "message": "canary" }))
            .with("x-amzn-requestid", "req-2")
    };
    let federated = || CredentialConfig::Federated;
    let cases = [
        (
            federated(),
            sts(403, "AccessDenied"),
            Err("AWS STS answered HTTP 403, `AccessDenied`, request id req-1: allow the function's role \
                 `sts:GetWebIdentityToken`"),
        ),
        (
            federated(),
            sts(400, "OutboundWebIdentityFederationDisabledException"),
            Err(
                "AWS STS answered HTTP 400, `OutboundWebIdentityFederationDisabledException`, request id req-1: \
                 enable outbound web identity federation for the AWS account",
            ),
        ),
        (
            federated(),
            sts(400, "Throttling"),
            Ok("AWS STS answered HTTP 400, `Throttling`, request id req-1"),
        ),
        (
            federated(),
            sts(403, "ExpiredToken"),
            Ok("AWS STS answered HTTP 403, `ExpiredToken`, request id req-1"),
        ),
        (
            federated(),
            sts(500, "InternalFailure"),
            Ok("AWS STS answered HTTP 500, `InternalFailure`, request id req-1"),
        ),
        (federated(), web_identity(""), Ok("AWS STS answered without a token")),
        (
            secret_id(),
            secrets(400, "ResourceNotFoundException"),
            Err(
                "AWS Secrets Manager answered HTTP 400, `ResourceNotFoundException`, request id req-2: check \
                 `GRAPH_SECRET_ID`",
            ),
        ),
        (
            certificate_id(),
            secrets(400, "AccessDeniedException"),
            Err(
                "AWS Secrets Manager answered HTTP 400, `AccessDeniedException`, request id req-2: allow the \
                 function's role `secretsmanager:GetSecretValue` on the secret, and `kms:Decrypt` on its key",
            ),
        ),
        (
            secret_id(),
            secrets(400, "ThrottlingException"),
            Ok("AWS Secrets Manager answered HTTP 400, `ThrottlingException`, request id req-2"),
        ),
        (
            secret_id(),
            secrets(500, "InternalServiceError"),
            Ok("AWS Secrets Manager answered HTTP 500, `InternalServiceError`, request id req-2"),
        ),
    ];
    for (credential, answer, expected) in cases {
        let (entra, aws) = (Stub::start([]).await, Stub::start([answer]).await);
        let error = client_with_aws(&entra, credential, &aws).token().await.unwrap_err();
        let (text, is_retriable) = match expected {
            Ok(text) => (text, true),
            Err(text) => (text, false),
        };
        assert_eq!(error.to_string(), format!("no token for Graph: {text}"));
        assert_eq!(matches!(error, TokenError::Retriable { .. }), is_retriable, "{error:?}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_refused_secret_is_read_once_more_and_tried_if_it_was_rotated() {
    let entra =
        Stub::start([granted_for("token-1", 0), refused(401, "invalid_client", 7000215), granted("token-2")])
            .await;
    let aws = Stub::start([stored("canary-old"), stored("canary-new")]).await;
    let client = client_with_aws(&entra, secret_id(), &aws);
    client.token().await.unwrap();
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-2");
    let sent = entra.take_seen().iter().map(|seen| seen.field("client_secret")).collect::<Vec<_>>();
    assert_eq!(sent, ["canary-old", "canary-old", "canary-new"]);
}

#[tokio::test]
async fn a_refused_secret_that_was_not_rotated_is_not_sent_again() {
    let entra = Stub::start([refused(401, "invalid_client", 7000215)]).await;
    let aws = Stub::start([stored("canary-old"), stored("canary-old")]).await;
    let client = client_with_aws(&entra, secret_id(), &aws);
    let expected = format!(
        "no token for Graph: the token endpoint answered HTTP 401, `invalid_client`, AADSTS7000215, trace id \
         {TRACE}, correlation id {CLIENT}: store the value of a valid client secret, not its id"
    );
    assert_eq!(client.token().await.unwrap_err().to_string(), expected);
    // The same again, without any call, until half a minute has passed.
    assert_eq!(client.token().await.unwrap_err().to_string(), expected);
    forward(Duration::from_secs(29)).await;
    assert_eq!(client.token().await.unwrap_err().to_string(), expected);
    assert_eq!(entra.take_seen().len(), 1);
    forward(Duration::from_secs(2)).await;
    entra.then(granted("token-1"));
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-1");
}

#[tokio::test]
async fn a_refused_secret_that_cannot_be_read_again_stays_refused() {
    let entra = Stub::start([refused(401, "invalid_client", 7000222)]).await;
    let aws = Stub::start([stored("canary-old"), Answer::new(500, "")]).await;
    let error = client_with_aws(&entra, secret_id(), &aws).token().await.unwrap_err();
    assert!(
        error.to_string().ends_with(": the client secret has expired: create another and store it"),
        "{error}"
    );
}

#[tokio::test]
async fn a_rotated_certificate_is_signed_with() {
    let (old, new) = (identity(), identity());
    let entra = Stub::start([refused(401, "invalid_client", 700027), granted("token-1")]).await;
    let aws = Stub::start([stored(&old.pem), stored(&new.pem)]).await;
    client_with_aws(&entra, certificate_id(), &aws).token().await.unwrap();
    let seen = entra.take_seen();
    verified(&seen[0].field("client_assertion"), &old);
    verified(&seen[1].field("client_assertion"), &new);
}

#[tokio::test]
async fn an_assertion_out_of_its_time_range_is_made_once_more() {
    for code in [700024, 500133] {
        let refusal = || refused(401, "invalid_client", code);
        let identity = identity();
        let entra = Stub::start([refusal(), granted("token-1")]).await;
        let aws = Stub::start([stored(&identity.pem)]).await;
        client_with_aws(&entra, certificate_id(), &aws).token().await.unwrap();
        let ids = entra
            .take_seen()
            .iter()
            .map(|seen| {
                verified(&seen.field("client_assertion"), &identity).1["jti"].as_str().unwrap().to_owned()
            })
            .collect::<Vec<_>>();
        assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");

        let entra = Stub::start([refusal(), refusal()]).await;
        let aws = Stub::start([web_identity("sts-1"), web_identity("sts-2")]).await;
        let error = client_with_aws(&entra, CredentialConfig::Federated, &aws).token().await.unwrap_err();
        assert!(
            error.to_string().ends_with(": check the clock: the assertion was outside its time range"),
            "{error}"
        );
        let sent = entra.take_seen().iter().map(|seen| seen.field("client_assertion")).collect::<Vec<_>>();
        assert_eq!(sent, ["sts-1", "sts-2"]);
    }
}

#[tokio::test]
async fn each_refusal_of_the_token_endpoint_says_what_to_do() {
    let cases = [
        (
            refused(401, "invalid_client", 7000222),
            "HTTP 401, `invalid_client`, AADSTS7000222",
            "the client secret has expired: create another and store it",
        ),
        (
            refused(401, "invalid_client", 7000218),
            "HTTP 401, `invalid_client`, AADSTS7000218",
            "the application takes no such credential: check `GRAPH_CREDENTIAL`",
        ),
        (refused(401, "invalid_client", 1), "HTTP 401, `invalid_client`, AADSTS1", "check the client secret"),
        (
            refused(400, "unauthorized_client", 700016),
            "HTTP 400, `unauthorized_client`, AADSTS700016",
            "the tenant has no such application: check `GRAPH_CLIENT_ID` and `GRAPH_TENANT_ID`",
        ),
        (
            refused(400, "unauthorized_client", 7000112),
            "HTTP 400, `unauthorized_client`, AADSTS7000112",
            "the application is disabled in the tenant",
        ),
        (
            refused(400, "unauthorized_client", 1),
            "HTTP 400, `unauthorized_client`, AADSTS1",
            "check `GRAPH_CLIENT_ID` and the application's registration",
        ),
        (
            refused(400, "invalid_resource", 500011),
            "HTTP 400, `invalid_resource`, AADSTS500011",
            "the tenant does not know this Graph: check `GRAPH_CLOUD`",
        ),
        (refused(400, "invalid_scope", 1), "HTTP 400, `invalid_scope`, AADSTS1", "check `GRAPH_CLOUD`"),
        (
            refused(400, "invalid_request", 90002),
            "HTTP 400, `invalid_request`, AADSTS90002",
            "wrong tenant or cloud: check `GRAPH_TENANT_ID` and `GRAPH_CLOUD`",
        ),
        (
            refused(400, "invalid_request", 700213),
            "HTTP 400, `invalid_request`, AADSTS700213",
            "check issuer, subject and audience of the application's federated credential",
        ),
        (
            refused(400, "access_denied", 530032),
            "HTTP 400, `access_denied`, AADSTS530032",
            "a conditional access policy blocks the application",
        ),
    ];
    let ids = format!(", trace id {TRACE}, correlation id {CLIENT}");
    for (answer, what, advice) in cases {
        let entra = Stub::start([answer]).await;
        let error = client(&entra, secret_text()).token().await.unwrap_err();
        assert!(matches!(error, TokenError::Refused { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("no token for Graph: the token endpoint answered {what}{ids}: {advice}")
        );
    }
    let general = "check the application's registration, `GRAPH_TENANT_ID` and `GRAPH_AUTHORITY`";
    let unreadable = [
        (Answer::new(400, "<html>canary"), "HTTP 400"),
        (Answer::new(302, "").with("Location", "/elsewhere"), "HTTP 302"),
        (Answer::json(404, &json!({ "error": "CANARY secret", "trace_id": "canary" })), "HTTP 404"),
        (Answer::json(400, &json!({ "error": 5, "error_codes": ["canary", -1] })), "HTTP 400"),
        (
            Answer::json(400, &json!({ "error_description": "AADSTS900144: canary" })),
            "HTTP 400, AADSTS900144",
        ),
    ];
    for (answer, what) in unreadable {
        let entra = Stub::start([answer]).await;
        let error = client(&entra, secret_text()).token().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no token for Graph: the token endpoint answered {what}: {general}")
        );
    }
}

#[tokio::test]
async fn a_busy_token_endpoint_is_left_alone_for_as_long_as_it_asks() {
    let cases = [
        (Answer::new(429, "").with("Retry-After", "40"), Some(40), 40),
        (Answer::new(429, ""), None, 5),
        (Answer::new(503, "").with("Retry-After", "7"), Some(7), 7),
        (Answer::new(429, "").with("Retry-After", "0"), Some(0), 5),
        (Answer::new(429, "").with("Retry-After", "999999999999"), Some(2_147_483_647), 600),
        (refused(400, "temporarily_unavailable", 1), None, 5),
        (refused(400, "invalid_request", 90033), None, 5),
    ];
    for (answer, asked, remembered) in cases {
        let entra = Stub::start([answer.clone()]).await;
        let client = client(&entra, secret_text());
        let error = client.token().await.unwrap_err();
        let TokenError::Retriable { retry_after, .. } = &error else { panic!("{answer:?}: {error:?}") };
        assert_eq!(*retry_after, asked.map(Duration::from_secs), "{answer:?}");
        forward(Duration::from_secs(remembered - 1)).await;
        assert_eq!(client.token().await.unwrap_err(), error);
        assert_eq!(entra.take_seen().len(), 1, "{answer:?}");
        forward(Duration::from_secs(2)).await;
        entra.then(granted("token-1"));
        client.token().await.unwrap();
    }
}

#[tokio::test]
async fn a_failing_token_endpoint_is_asked_twice_and_no_more() {
    let failures = [
        (
            Answer::Closes,
            "the token endpoint gave no answer: error sending request: client error (SendRequest): \
            connection closed before message completed",
        ),
        (Answer::new(500, ""), "the token endpoint answered HTTP 500"),
        (Answer::new(504, "<html>"), "the token endpoint answered HTTP 504"),
    ];
    for (failure, text) in failures {
        let entra = Stub::start([failure.clone(), granted("token-1")]).await;
        assert_eq!(text_of(&client(&entra, secret_text()).token().await.unwrap()).await, "token-1");
        let entra = Stub::start([failure.clone(), failure]).await;
        let error = client(&entra, secret_text()).token().await.unwrap_err();
        assert_eq!(error, TokenError::Retriable { reason: text.to_owned(), retry_after: None });
        assert_eq!(entra.take_seen().len(), 2);
    }
}

#[tokio::test]
async fn an_answer_without_a_readable_token_is_no_token() {
    let token = |token: Value| Answer::json(200, &json!({ "expires_in": 3600, "access_token": token }));
    let answers = [
        Answer::new(200, ""),
        Answer::new(200, "<html>"),
        Answer::json(200, &json!({ "expires_in": 3600 })),
        token(json!("")),
        token(json!("two\r\nlines")),
        token(json!(5)),
        Answer::Truncated { status: 200, body: b"{\"access_token\":\"canary\"".to_vec(), missing: 30 },
    ];
    for answer in answers {
        let entra = Stub::start([answer.clone()]).await;
        let error = client(&entra, secret_text()).token().await.unwrap_err();
        let reason = "the token endpoint answered HTTP 200, and no readable token with it".to_owned();
        assert_eq!(error, TokenError::Retriable { reason, retry_after: None }, "{answer:?}");
    }
}

#[tokio::test]
async fn waiting_for_a_token_ends_in_time() {
    let entra = Stub::start([Answer::Hangs]).await;
    let client = GraphClient::new(config(&entra.url, secret_text()), SHORT, Aws::new());
    let error = client.token().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no token for Graph: the token endpoint gave no answer: error sending request: operation timed out"
    );

    let (entra, aws) = (Stub::start([]).await, Stub::start([Answer::Hangs]).await);
    let client = GraphClient::new(config(&entra.url, secret_id()), SHORT, sdk(&aws));
    let error = client.token().await.unwrap_err();
    assert_eq!(error.to_string(), "no token for Graph: AWS gave no proof of identity within 250ms");
}

#[tokio::test]
async fn nobody_at_the_token_endpoint_is_retriable() {
    let config = config(&closed_port().await, secret_text());
    let error = GraphClient::new(config, TIMEOUT, Aws::new()).token().await.unwrap_err();
    assert!(matches!(error, TokenError::Retriable { .. }), "{error:?}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_token_is_refreshed_five_minutes_before_its_end() {
    let entra = Stub::start([granted("token-1")]).await;
    let client = client(&entra, secret_text());
    client.token().await.unwrap();
    forward(Duration::from_secs(3600 - 302)).await;
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-1");
    assert_eq!(entra.take_seen().len(), 1);
    forward(Duration::from_secs(3)).await;
    entra.then(granted("token-2"));
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-2");
}

#[tokio::test]
async fn a_token_that_cannot_be_refreshed_is_used_until_its_end() {
    let entra = Stub::start([granted("token-1"), refused(401, "invalid_client", 7000222)]).await;
    let client = client(&entra, secret_text());
    client.token().await.unwrap();
    forward(Duration::from_secs(3600 - 200)).await;
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-1");
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-1");
    assert_eq!(entra.take_seen().len(), 2, "the refusal is remembered");
    forward(Duration::from_secs(171)).await;
    entra.then(refused(401, "invalid_client", 7000222));
    client.token().await.unwrap_err();
}

#[tokio::test]
async fn a_token_refused_by_graph_is_renewed_once_for_all() {
    let entra = Stub::start([granted("token-1"), granted("token-2")]).await;
    let client = client(&entra, secret_text());
    let first = client.token().await.unwrap();
    let renewed = futures::future::join_all((0..10).map(|_| client.renew(&first))).await;
    for token in renewed {
        assert_eq!(text_of(&token.unwrap()).await, "token-2");
    }
    assert_eq!(text_of(&client.token().await.unwrap()).await, "token-2");
    assert_eq!(entra.take_seen().len(), 2);
}

/// Everything that any library logs in this thread, at the most talkative level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An endpoint that repeats in its prose all that was sent.
fn echo(sent: &Seen) -> Answer {
    Answer::json(
        401,
        &json!({ "error": "invalid_client", "error_codes": [7000215],
            "error_description": format!("AADSTS7000215: you sent {}", sent.body),
            "trace_id": sent.body, "error_uri": sent.body }),
    )
}

#[tokio::test]
async fn no_secret_assertion_or_token_is_in_any_error_debug_output_or_log() {
    // With a single subscriber, whichever thread first passes a log statement settles for all whether it is
    // heard, and the threads of the other tests hear nothing.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let identity = identity();
    let mut shown = String::new();
    let mut canaries = vec!["canary".to_owned(), "PRIVATE KEY".to_owned()];
    canaries.push(identity.pem.lines().nth_back(1).unwrap()[..60].to_owned());
    let credentials = [
        (secret_text(), None),
        (secret_id(), Some(stored(SECRET))),
        (certificate_id(), Some(stored(&identity.pem))),
        (CredentialConfig::Federated, Some(web_identity("canary-sts-jwt"))),
    ];
    for (credential, proof) in credentials {
        // Once to learn what is sent, then the same to an endpoint that repeats it.
        let aws = Stub::start(proof.iter().cloned()).await;
        let entra = Stub::start([granted("canary-token")]).await;
        let client = client_with_aws(&entra, credential.clone(), &aws);
        let token = client.token().await.unwrap();
        let sent = entra.take_one();
        canaries.extend(
            sent.form().into_iter().filter(|(name, _)| name.ends_with("assertion")).map(|(_, jwt)| jwt),
        );
        shown.push_str(&format!("{client:?} {client:#?} {token:?} {credential:?}"));
        entra.then(echo(&sent));
        if matches!(credential, CredentialConfig::SecretId { .. } | CredentialConfig::Certificate { .. }) {
            aws.then(proof.unwrap());
        } else if matches!(credential, CredentialConfig::Federated) {
            aws.then(web_identity("canary-sts-jwt"));
        }
        let error = client.renew(&token).await.unwrap_err();
        shown.push_str(&format!("{error} {error:?} {error:#?} {client:?}"));
        let chain = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        shown.extend(chain.map(ToString::to_string));
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("TRACE"), "nothing was logged: {log}");
    assert!(shown.contains("AADSTS7000215"), "nothing was refused: {shown}");
    for canary in canaries {
        assert!(!shown.contains(&canary), "{canary} is shown: {shown}");
        let line = log.lines().find(|line| line.contains(&canary));
        assert_eq!(line, None, "{canary} is logged");
    }
}
