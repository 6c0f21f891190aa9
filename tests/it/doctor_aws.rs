//! A deployment as AWS, Entra and Graph describe it: one server on a loopback port that answers what its
//! [`Deployment`] says, refuses everything else, and keeps a log. What a role may do, it decides by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const TENANT: &str = "11111111-acc4-43cc-bcf1-7c1c4a2c073b";
pub const CLIENT: &str = "22222222-acc4-43cc-bcf1-7c1c4a2c073b";
pub const ACCOUNT: &str = "111122223333";
pub const TABLE: &str = "regrant-audit";
/// What must never be printed.
pub const SECRET: &str = "canary-of-the-client-secret";
const SIGNATURE: &str = "canary-of-the-signature";

/// What the servers answer. Changed by a test before the command runs.
pub struct Deployment {
    pub table: Option<Value>,
    pub recovery: &'static str,
    pub time_to_live: &'static str,
    pub queue: Option<Value>,
    pub dead_letters: Option<Value>,
    /// By name, as `GetFunctionConfiguration` answers.
    pub functions: BTreeMap<&'static str, Value>,
    pub mappings: Vec<Value>,
    /// Action and resource, by the role's name.
    pub allowed: BTreeMap<&'static str, BTreeSet<(String, String)>>,
    pub caller: String,
    /// Operations that the machine's identity has no right to.
    pub refused: BTreeSet<&'static str>,
    /// The code with which every call is refused.
    pub bad_credentials: Option<&'static str>,
    pub token: Result<Value, Value>,
    /// What the sweep answers to a dry run, or its error.
    pub dry_run: Result<Value, &'static str>,
    pub graph_status: u16,
    /// The access packages that may be listed; `None`: every request.
    pub reach: Option<Vec<&'static str>>,
    /// Graph knows no `$top`.
    pub without_top: bool,
    /// Every insert succeeds.
    pub takes_twice: bool,
    /// Seconds that Graph's clock is ahead.
    pub ahead_secs: i64,
}

pub struct Fake {
    pub url: String,
    pub deployment: Arc<Mutex<Deployment>>,
    log: Arc<Mutex<Vec<String>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub fn table_arn() -> String {
    format!("arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/{TABLE}")
}

pub fn queue_arn() -> String {
    format!("arn:aws:sqs:eu-west-1:{ACCOUNT}:regrant-requests")
}

/// A key of the account's own.
pub fn key_arn() -> String {
    format!("arn:aws:kms:eu-west-1:{ACCOUNT}:key/k")
}

impl Deployment {
    /// As `template.yaml` makes it, with a client secret in Secrets Manager.
    pub fn healthy(url: &str) -> Self {
        let index = format!("{}/index/byDay", table_arn());
        let secret = format!("arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:regrant/graph-??????");
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(action, on)| ((*action).to_owned(), (*on).to_owned())).collect::<BTreeSet<_>>()
        };
        let (table, queue) = (table_arn(), queue_arn());
        let key = key_arn();
        let append = [("dynamodb:PartiQLInsert", &*table), ("dynamodb:Query", &table), ("kms:Decrypt", &key)];
        let worker = [
            ("sqs:ReceiveMessage", &*queue),
            ("sqs:DeleteMessage", &queue),
            ("sqs:ChangeMessageVisibility", &queue),
            ("sqs:GetQueueAttributes", &queue),
            ("sqs:SendMessage", &queue),
            ("secretsmanager:GetSecretValue", &secret),
        ];
        let sweep = [
            ("dynamodb:Query", &*index),
            ("sqs:SendMessage", &queue),
            ("sqs:GetQueueAttributes", &queue),
            ("secretsmanager:GetSecretValue", &secret),
        ];
        let report = [
            ("dynamodb:Query", &*table),
            ("dynamodb:Query", &index),
            ("kms:Decrypt", &key),
            ("s3:PutObject", "arn:aws:s3:::regrant-reports/reports/*"),
        ];
        let allowed = BTreeMap::from([
            ("Worker", pairs(&[&append[..], &worker].concat())),
            ("Sweep", pairs(&[&append[..], &sweep].concat())),
            ("Report", pairs(&report)),
        ]);
        let calling = json!({
            "AUDIT_TABLE": TABLE, "QUEUE_URL": format!("{url}/{ACCOUNT}/regrant-requests"),
            "GRAPH_TENANT_ID": TENANT, "GRAPH_CLIENT_ID": CLIENT,
            "GRAPH_CREDENTIAL": "secret", "GRAPH_SECRET_ID": "regrant/graph",
            "GRAPH_ENDPOINT": url, "GRAPH_AUTHORITY": url,
        });
        let function = |name: &str, role: &str, timeout: u32, variables: &Value| {
            json!({
                "FunctionName": name, "FunctionArn": format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{name}"),
                "Role": format!("arn:aws:iam::{ACCOUNT}:role/{role}"), "Runtime": "provided.al2023",
                "Timeout": timeout, "MemorySize": 256, "Version": "$LATEST", "Architectures": ["x86_64"],
                "LastModified": "2026-11-20T10:00:00.000+0000", "State": "Active", "LastUpdateStatus": "Successful",
                "LoggingConfig": { "LogFormat": "JSON", "ApplicationLogLevel": "INFO" },
                "Environment": { "Variables": variables },
            })
        };
        let report =
            json!({ "AUDIT_TABLE": TABLE, "GRAPH_TENANT_ID": TENANT, "REPORT_BUCKET": "regrant-reports" });
        let functions = BTreeMap::from([
            ("worker", function("worker", "Worker", 60, &calling)),
            ("sweep", function("sweep", "Sweep", 300, &calling)),
            ("report", function("report", "Report", 300, &report)),
        ]);
        let redrive = json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:eu-west-1:{ACCOUNT}:regrant-dead"), "maxReceiveCount": 1000,
        });
        let queue = json!({
            "QueueArn": queue_arn(), "MessageRetentionPeriod": "1209600", "VisibilityTimeout": "420",
            "SqsManagedSseEnabled": "true", "RedrivePolicy": redrive.to_string(),
            "ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesNotVisible": "7",
            "ApproximateNumberOfMessagesDelayed": "0",
        });
        let dead = json!({ "MessageRetentionPeriod": "1209600", "ApproximateNumberOfMessages": "0" });
        let mapping = json!({
            "UUID": "0a1b2c3d-acc4-43cc-bcf1-7c1c4a2c073b", "EventSourceArn": queue_arn(), "State": "Enabled",
            "FunctionArn": format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:worker"),
            "BatchSize": 10, "MaximumBatchingWindowInSeconds": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"], "ScalingConfig": { "MaximumConcurrency": 5 },
        });
        let token = json!({
            "aud": "https://graph.microsoft.com", "appid": CLIENT, "tid": TENANT,
            "roles": ["EntitlementManagement.ReadWrite.All"],
            "exp": jiff::Timestamp::now().as_second() + 3599,
        });
        Self {
            table: Some(healthy_table()),
            recovery: "ENABLED",
            time_to_live: "DISABLED",
            queue: Some(queue),
            dead_letters: Some(dead),
            functions,
            mappings: vec![mapping],
            allowed,
            caller: format!("arn:aws:iam::{ACCOUNT}:user/operator"),
            refused: BTreeSet::new(),
            bad_credentials: None,
            token: Ok(token),
            dry_run: Ok(json!({ "found": 4, "undriven": 0, "sent": 0, "complete": true })),
            graph_status: 200,
            reach: None,
            without_top: false,
            takes_twice: false,
            ahead_secs: 0,
        }
    }

    pub fn variables(&mut self, function: &str) -> &mut Value {
        &mut self.functions.get_mut(function).unwrap()["Environment"]["Variables"]
    }

    pub fn allow(&mut self, role: &str, action: &str, resource: String) {
        self.allowed.get_mut(role).unwrap().insert((action.to_owned(), resource));
    }

    pub fn deny(&mut self, role: &str, action: &str) {
        self.allowed.get_mut(role).unwrap().retain(|(allowed, _)| allowed != action);
    }

    /// Takes a right from the machine's identity.
    pub fn refuse(&mut self, operation: &'static str) {
        self.refused.insert(operation);
    }

    /// No secret, but AWS's own token as proof.
    pub fn federate(&mut self) {
        for (function, role) in [("worker", "Worker"), ("sweep", "Sweep")] {
            let variables = self.variables(function);
            variables["GRAPH_CREDENTIAL"] = json!("federated");
            variables["GRAPH_SECRET_ID"] = json!("");
            self.deny(role, "secretsmanager:GetSecretValue");
            self.allow(role, "sts:GetWebIdentityToken", "*".to_owned());
        }
    }
}

fn healthy_table() -> Value {
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let kind = |name: &str, kind: &str| json!({ "AttributeName": name, "AttributeType": kind });
    json!({
        "TableName": TABLE, "TableArn": table_arn(), "TableStatus": "ACTIVE", "ItemCount": 36,
        "AttributeDefinitions": [kind("at", "S"), kind("pk", "S"), kind("seq", "N"), kind("tenantDay", "S")],
        "KeySchema": [key("pk", "HASH"), key("seq", "RANGE")],
        "GlobalSecondaryIndexes": [{
            "IndexName": "byDay", "IndexStatus": "ACTIVE", "Projection": { "ProjectionType": "ALL" },
            "KeySchema": [key("tenantDay", "HASH"), key("at", "RANGE")],
        }],
        "BillingModeSummary": { "BillingMode": "PAY_PER_REQUEST" },
        "DeletionProtectionEnabled": true,
        "SSEDescription": { "Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key_arn() },
    })
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let deployment = Arc::new(Mutex::new(Deployment::healthy(&url)));
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = (Arc::clone(&deployment), Arc::clone(&log));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(shared.clone(), request));
                    let socket = TokioIo::new(socket);
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(socket, service).await;
                });
            }
        });
        Self { url, deployment, log, accepting }
    }

    /// The machine of an operator who has set nothing but the way to AWS.
    pub fn machine(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_ENDPOINT_URL", self.url.clone()),
        ]
    }

    /// The operations called since the last time this was asked.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

type Shared = (Arc<Mutex<Deployment>>, Arc<Mutex<Vec<String>>>);

/// Status, headers and body.
struct Answer(u16, Vec<(&'static str, String)>, String);

async fn serve(
    (deployment, log): Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
    let target = head.headers.get("x-amz-target").map(|target| target.to_str().unwrap().to_owned());
    let url = Url::parse(&format!("http://fake{}", head.uri)).unwrap();
    let deployment = deployment.lock().unwrap();
    let operation = operation(head.method.as_str(), &url, target.as_deref(), &body);
    log.lock().unwrap().push(operation.clone());
    let Answer(status, headers, body) = deployment.answer(&operation, &url, &body);
    let mut response = Response::builder().status(status).header("Date", date(deployment.ahead_secs));
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}

fn date(ahead_secs: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead_secs);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The name that IAM gives it, or what it is otherwise.
fn operation(method: &str, url: &Url, target: Option<&str>, body: &str) -> String {
    if let Some(target) = target {
        let (service, operation) = target.split_once('.').unwrap();
        let service = match service {
            "DynamoDB_20120810" => "dynamodb",
            "AmazonSQS" => "sqs",
            other => other,
        };
        return format!("{service}:{operation}");
    }
    match (method, url.path()) {
        ("POST", "/") => {
            let action = form(body).remove("Action").unwrap();
            let is_sts = ["GetCallerIdentity", "GetWebIdentityToken"].contains(&&*action);
            let service = if is_sts { "sts" } else { "iam" };
            format!("{service}:{action}")
        }
        ("GET", path) if path.starts_with("/2015-03-31/functions/") => {
            "lambda:GetFunctionConfiguration".to_owned()
        }
        ("GET", path) if path.starts_with("/2015-03-31/event-source-mappings") => {
            "lambda:ListEventSourceMappings".to_owned()
        }
        ("POST", path) if path.ends_with("/invocations") => "lambda:InvokeFunction".to_owned(),
        ("POST", path) if path.ends_with("/oauth2/v2.0/token") => "entra:token".to_owned(),
        ("GET", "/") => "graph:root".to_owned(),
        ("GET", "/v1.0/identityGovernance/entitlementManagement/assignmentRequests") => {
            "graph:list".to_owned()
        }
        (method, path) => format!("unknown: {method} {path}"),
    }
}

fn form(body: &str) -> BTreeMap<String, String> {
    let url = Url::parse(&format!("http://form/?{body}")).unwrap();
    url.query_pairs().into_owned().collect()
}

fn found(body: Value) -> Answer {
    Answer(200, vec![("Content-Type", "application/json".to_owned())], body.to_string())
}

fn xml(status: u16, body: String) -> Answer {
    Answer(status, vec![("Content-Type", "text/xml".to_owned())], body)
}

/// In the form of the service that is asked.
fn error(operation: &str, status: u16, code: &str) -> Answer {
    let id = "4fe3a3a1-acc4-43cc-bcf1-7c1c4a2c073b".to_owned();
    if operation.starts_with("sts:") || operation.starts_with("iam:") {
        return xml(
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
            ),
        );
    }
    let body = json!({ "__type": format!("com.amazonaws#{code}"), "message": "no" }).to_string();
    Answer(status, vec![("x-amzn-ErrorType", code.to_owned()), ("x-amzn-RequestId", id)], body)
}

impl Deployment {
    fn answer(&self, operation: &str, url: &Url, body: &str) -> Answer {
        let is_aws = !operation.starts_with("graph:") && !operation.starts_with("entra:");
        if let Some(code) = self.bad_credentials.filter(|_| is_aws) {
            return error(operation, 403, code);
        }
        if self.refused.contains(operation) {
            let short = ["sts:", "iam:"].iter().any(|service| operation.starts_with(service));
            return error(
                operation,
                if short { 403 } else { 400 },
                if short { "AccessDenied" } else { "AccessDeniedException" },
            );
        }
        let missing = || error(operation, 400, "ResourceNotFoundException");
        match operation {
            "sts:GetCallerIdentity" => xml(200, format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>{}</Arn><UserId>U</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
                self.caller
            )),
            "sts:GetWebIdentityToken" => xml(200, "<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>a.b.c</WebIdentityToken><Expiration>2030-01-01T00:00:00Z</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>".to_owned()),
            "iam:SimulatePrincipalPolicy" => self.simulate(&form(body)),
            "dynamodb:DescribeTable" => self.table.as_ref().map_or_else(missing, |table| found(json!({ "Table": table }))),
            "dynamodb:DescribeContinuousBackups" => found(json!({ "ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": { "PointInTimeRecoveryStatus": self.recovery },
            } })),
            "dynamodb:DescribeTimeToLive" => found(json!({ "TimeToLiveDescription": { "TimeToLiveStatus": self.time_to_live } })),
            "sqs:GetQueueAttributes" => {
                let asked = serde_json::from_str::<Value>(body).unwrap()["QueueUrl"].as_str().unwrap().to_owned();
                let queue = match asked.rsplit('/').next().unwrap() {
                    "regrant-requests" | "regrant-requests.fifo" => &self.queue,
                    "regrant-dead" => &self.dead_letters,
                    _ => &None,
                };
                let gone = || {
                    let Answer(status, mut headers, body) = error(operation, 400, "QueueDoesNotExist");
                    headers.push(("x-amzn-query-error", "AWS.SimpleQueueService.NonExistentQueue;Sender".to_owned()));
                    Answer(status, headers, body)
                };
                queue.as_ref().map_or_else(gone, |attributes| found(json!({ "Attributes": attributes })))
            }
            "lambda:GetFunctionConfiguration" => {
                let name = url.path().split('/').nth(3).unwrap();
                let gone = || error(operation, 404, "ResourceNotFoundException");
                self.functions.get(name).map_or_else(gone, |function| found(function.clone()))
            }
            "lambda:ListEventSourceMappings" => found(json!({ "EventSourceMappings": self.mappings })),
            "lambda:InvokeFunction" => {
                assert_eq!((url.path(), body), ("/2015-03-31/functions/sweep/invocations", "{\"dryRun\":true}"));
                match &self.dry_run {
                    Ok(summary) => found(summary.clone()),
                    Err(error) => {
                        let Answer(status, mut headers, body) = found(json!({ "errorMessage": error }));
                        headers.push(("X-Amz-Function-Error", "Unhandled".to_owned()));
                        Answer(status, headers, body)
                    }
                }
            }
            "dynamodb:ExecuteStatement" if self.takes_twice => found(json!({ "Items": [] })),
            "secretsmanager:GetSecretValue" => found(json!({ "Name": "regrant/graph", "SecretString": SECRET })),
            "entra:token" => match &self.token {
                Ok(claims) => {
                    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                    let token = format!("{}.{}.{SIGNATURE}", part(&json!({ "alg": "RS256" })), part(claims));
                    found(json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": token }))
                }
                Err(refusal) => Answer(401, Vec::new(), refusal.to_string()),
            },
            "graph:root" => Answer(401, Vec::new(), String::new()),
            "graph:list" => self.list(url),
            _ => error(operation, 400, "UnknownOperationException"),
        }
    }

    /// Decides each action, five a page.
    fn simulate(&self, form: &BTreeMap<String, String>) -> Answer {
        let role = form["PolicySourceArn"].rsplit('/').next().unwrap();
        let Some(allowed) = self.allowed.get(role) else {
            return error("iam:", 404, "NoSuchEntity");
        };
        let resource = &form["ResourceArns.member.1"];
        let actions = (1..).map_while(|n| form.get(&format!("ActionNames.member.{n}"))).collect::<Vec<_>>();
        let start = form.get("Marker").map_or(0, |marker| marker.parse::<usize>().unwrap());
        let members = actions.iter().skip(start).take(5).map(|action| {
            let covers = |pattern: &str| match pattern.strip_suffix('*') {
                Some("") | None => pattern == resource,
                Some(start) => resource.starts_with(start),
            };
            let may = allowed.iter().any(|(allowed, on)| allowed == *action && covers(on));
            let decision = if may && has_context(form, action) { "allowed" } else { "implicitDeny" };
            format!("<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName><EvalDecision>{decision}</EvalDecision></member>")
        });
        let members = members.collect::<String>();
        let more = if start + 5 < actions.len() {
            format!("<IsTruncated>true</IsTruncated><Marker>{}</Marker>", start + 5)
        } else {
            "<IsTruncated>false</IsTruncated>".to_owned()
        };
        xml(
            200,
            format!(
                "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><SimulatePrincipalPolicyResult>{more}<EvaluationResults>{members}</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
            ),
        )
    }

    fn list(&self, url: &Url) -> Answer {
        let query = url.query_pairs().into_owned().collect::<BTreeMap<_, _>>();
        let refused = |status: u16, code: &str| {
            let body =
                json!({ "error": { "code": code, "message": "no", "innerError": { "request-id": "r-1" } } });
            Answer(status, vec![("request-id", "r-1".to_owned())], body.to_string())
        };
        if self.without_top && query.contains_key("$top") {
            return refused(400, "InvalidFilter");
        }
        if self.graph_status != 200 {
            return refused(self.graph_status, "UnknownError");
        }
        let listed = found(json!({ "value": [] }));
        match (&self.reach, query.get("$filter").map(String::as_str)) {
            (None, Some("state eq 'deliveryFailed'")) => listed,
            (Some(packages), Some(filter))
                if query.get("$expand").is_some_and(|expand| expand == "accessPackage") =>
            {
                let package =
                    filter.strip_prefix("accessPackage/id eq '").and_then(|rest| rest.strip_suffix('\''));
                if packages.contains(&package.unwrap()) {
                    listed
                } else {
                    refused(403, "Authorization_RequestDenied")
                }
            }
            (Some(_), _) => refused(403, "Authorization_RequestDenied"),
            (None, _) => refused(400, "InvalidFilter"),
        }
    }
}

/// Exactly what the template's policies allow the functions to ask for, where they stand under conditions.
fn has_context(form: &BTreeMap<String, String>, action: &str) -> bool {
    let entries = (1..).map_while(|n| {
        let field = |name: &str| form.get(&format!("ContextEntries.member.{n}.{name}")).cloned();
        Some((field("ContextKeyName")?, field("ContextKeyType")?, field("ContextKeyValues.member.1")?))
    });
    let entries = entries.collect::<BTreeSet<_>>();
    let expected: &[(&str, &str, &str)] = match action {
        "sts:GetWebIdentityToken" => &[
            ("sts:IdentityTokenAudience", "stringList", "api://AzureADTokenExchange"),
            ("sts:DurationSeconds", "numeric", "300"),
            ("sts:SigningAlgorithm", "string", "RS256"),
        ],
        "events:PutEvents" => &[("events:source", "stringList", "regrant")],
        "kms:Decrypt" => &[("kms:ViaService", "string", "dynamodb.eu-west-1.amazonaws.com")],
        _ => &[],
    };
    let owned = |(key, kind, value): &(&str, &str, &str)| {
        ((*key).to_owned(), (*kind).to_owned(), (*value).to_owned())
    };
    entries == expected.iter().map(owned).collect()
}
