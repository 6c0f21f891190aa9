//! A strict stand-in for EventBridge's `PutEvents` on a loopback port: refuses what the service would refuse, keeps its
//! own log, and checks at the moment of each put that the record which it tells of is in the table.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::rig::{chains, parse};

pub const BUS: &str = "arn:aws:events:eu-west-1:000000000000:event-bus/itsm";

/// What the next puts get; without a word they are taken.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200, and the entry failed with this code.
    EntryFailed(&'static str),
    Status(u16),
    Hangs,
}

/// One event that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub detail_type: String,
    pub detail: Value,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    puts: Mutex<usize>,
    taken: Mutex<Vec<Taken>>,
    faults: Mutex<Vec<String>>,
}

pub struct FakeBus {
    pub url: String,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

impl FakeBus {
    pub async fn start(table: Client) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let mut accepting = JoinSet::new();
        let state = Arc::clone(&shared);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (state, table) = (Arc::clone(&state), table.clone());
                connections.spawn(async move {
                    let service =
                        service_fn(move |request| answer(Arc::clone(&state), table.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url, shared, _accepting: accepting }
    }

    pub fn then(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.replies.lock().unwrap().extend(replies);
    }

    /// How many puts came, taken or not.
    pub fn puts(&self) -> usize {
        *self.shared.puts.lock().unwrap()
    }

    /// What was taken; panics if anything came that EventBridge would refuse, or that came before its record.
    pub fn taken(&self) -> Vec<Taken> {
        assert_eq!(*self.shared.faults.lock().unwrap(), Vec::<String>::new());
        self.shared.taken.lock().unwrap().clone()
    }

    pub fn settled(&self) -> Vec<Value> {
        self.details("Repair settled")
    }

    pub fn near_end(&self) -> Vec<Value> {
        self.details("Repair near the end of its window")
    }

    fn details(&self, detail_type: &str) -> Vec<Value> {
        let taken = self.taken().into_iter().filter(|taken| taken.detail_type == detail_type);
        taken.map(|taken| taken.detail).collect()
    }
}

async fn answer(
    shared: Arc<Shared>,
    table: Client,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    *shared.puts.lock().unwrap() += 1;
    let reply = shared.replies.lock().unwrap().pop_front();
    let (status, answer) = match reply {
        Some(Reply::Hangs) => std::future::pending().await,
        Some(Reply::Status(status)) => {
            (status, json!({ "__type": "SomeException", "message": "on purpose" }))
        }
        Some(Reply::EntryFailed(code)) => {
            let entry = json!({ "ErrorCode": code, "ErrorMessage": "on purpose" });
            (200, json!({ "FailedEntryCount": 1, "Entries": [entry] }))
        }
        None => match read(&head, &body) {
            Ok(taken) => {
                if let Some(fault) = untold(&table, &taken).await {
                    shared.faults.lock().unwrap().push(fault);
                }
                shared.taken.lock().unwrap().push(taken);
                (200, json!({ "FailedEntryCount": 0, "Entries": [{ "EventId": "11710aed-b79e-4468" }] }))
            }
            Err(fault) => {
                shared.faults.lock().unwrap().push(fault.clone());
                (400, json!({ "__type": "ValidationException", "message": fault }))
            }
        },
    };
    let whole = Response::builder().status(status).header("Content-Type", "application/x-amz-json-1.1");
    Ok(whole.body(Full::new(Bytes::from(answer.to_string()))).unwrap())
}

/// The one event of a well-formed `PutEvents`.
fn read(head: &hyper::http::request::Parts, body: &[u8]) -> Result<Taken, String> {
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {head:?}")) };
    expect(head.method == "POST" && head.uri.path() == "/", "not a POST to /")?;
    expect(header("x-amz-target") == "AWSEvents.PutEvents", "not PutEvents")?;
    expect(header("content-type") == "application/x-amz-json-1.1", "not JSON 1.1")?;
    expect(header("authorization").contains("/events/aws4_request"), "not signed for EventBridge")?;
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let entry = &body["Entries"][0];
    let names = |value: &Value| value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    let entry_names = ["Detail", "DetailType", "EventBusName", "Source"].map(str::to_owned).to_vec();
    let shape = names(&body) == Some(vec!["Entries".to_owned()])
        && body["Entries"].as_array().map(Vec::len) == Some(1)
        && names(entry) == Some(entry_names);
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let size = text("Detail").len() + text("DetailType").len() + text("Source").len();
    if !shape || text("Source") != "regrant" || text("EventBusName") != BUS || size > 256 * 1024 {
        return Err(format!("not one entry of ours: {body}"));
    }
    let detail = serde_json::from_str::<Value>(text("Detail")).ok().filter(Value::is_object);
    let detail = detail.ok_or_else(|| format!("the detail is no JSON object: {body}"))?;
    Ok(Taken { detail_type: text("DetailType").to_owned(), detail })
}

/// The fault, if the event came before the record that it tells of.
async fn untold(table: &Client, taken: &Taken) -> Option<String> {
    let text = |name: &str| taken.detail[name].as_str().unwrap_or_default();
    let key = format!("{}#{}#{}", text("tenantId"), text("target"), text("id"));
    let Some(seq) = taken.detail["seq"].as_u64() else {
        // Only a repair that is about to be opened has no record yet.
        return (taken.detail_type == "Repair settled").then(|| format!("no `seq`: {taken:?}"));
    };
    let chains = chains(table).await;
    let record = chains.get(&key)?.iter().find(|link| link.seq == seq).map(parse);
    let is_told = record.as_ref().is_some_and(|record| record["repair"] == taken.detail["repair"]);
    (!is_told).then(|| format!("no such record, but the event: {taken:?}"))
}
