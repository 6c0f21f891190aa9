//! A recording wire: a reverse proxy before each server, which counts all calls together and does harm to one of
//! them. Knows nothing of regrant but which calls are whose.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What happens to the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The caller's process ends when the call has come in, before the server sees it.
    CrashBefore,
    /// The caller's process ends when the server has answered, before the caller hears it.
    CrashAfter,
    /// 500, and the server never sees it.
    Error,
    /// No answer, and the server never sees it.
    SilenceBefore,
    /// The server answers, and the caller never hears it.
    SilenceAfter,
}

pub const HARMS: [Harm; 5] =
    [Harm::CrashBefore, Harm::CrashAfter, Harm::Error, Harm::SilenceBefore, Harm::SilenceAfter];

/// One call as it went over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub server: &'static str,
    /// `POST /path` for Graph and tokens, the operation's name for AWS.
    pub what: String,
    pub client_request_id: Option<String>,
}

#[derive(Default)]
struct Shared {
    count: AtomicUsize,
    calls: Mutex<Vec<Call>>,
    harm: Mutex<Option<(usize, Harm)>>,
    crashed: Notify,
}

/// All proxies of one process. Dropping it closes them.
pub struct Wire {
    shared: Arc<Shared>,
    urls: HashMap<&'static str, String>,
    _accepting: JoinSet<()>,
}

/// Called with each call before the server sees it: a place for checks that need the moment.
pub type Watch = Arc<dyn Fn(Call) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

impl Wire {
    /// One proxy for each named server, given with its URL.
    pub async fn before(servers: &[(&'static str, &str)], watch: Watch) -> Self {
        let shared = Arc::new(Shared::default());
        let mut accepting = JoinSet::new();
        let mut urls = HashMap::new();
        for (name, url) in servers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.insert(*name, format!("http://{}", listener.local_addr().unwrap()));
            let upstream = url.trim_start_matches("http://").to_owned();
            accepting.spawn(accept(listener, name, upstream, Arc::clone(&shared), Arc::clone(&watch)));
        }
        Self { shared, urls, _accepting: accepting }
    }

    pub fn url(&self, server: &str) -> String {
        self.urls[server].clone()
    }

    /// The `nth` call from the beginning, counted from 1, gets this harm.
    pub fn harm(&self, nth: usize, harm: Harm) {
        *self.shared.harm.lock().unwrap() = Some((nth, harm));
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Returns when the harmed call ends its caller's process.
    pub async fn crashed(&self) {
        self.shared.crashed.notified().await;
    }
}

async fn accept(
    listener: TcpListener,
    name: &'static str,
    upstream: String,
    shared: Arc<Shared>,
    watch: Watch,
) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (upstream, shared, watch) = (upstream.clone(), Arc::clone(&shared), Arc::clone(&watch));
        connections.spawn(async move {
            let service = service_fn(move |request| {
                pass(name, upstream.clone(), Arc::clone(&shared), Arc::clone(&watch), request)
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn pass(
    name: &'static str,
    upstream: String,
    shared: Arc<Shared>,
    watch: Watch,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let call = describe(name, &request);
    let nth = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
    shared.calls.lock().unwrap().push(call.clone());
    let harm = shared.harm.lock().unwrap().filter(|(chosen, _)| *chosen == nth).map(|(_, harm)| harm);
    match harm {
        Some(Harm::CrashBefore) => {
            shared.crashed.notify_one();
            std::future::pending().await
        }
        Some(Harm::SilenceBefore) => std::future::pending().await,
        Some(Harm::Error) => {
            let body = Full::new(Bytes::from_static(b"{}"));
            Ok(Response::builder().status(500).body(body).unwrap())
        }
        Some(Harm::CrashAfter) => {
            watch(call).await;
            let _ = forward(&upstream, request).await;
            shared.crashed.notify_one();
            std::future::pending().await
        }
        Some(Harm::SilenceAfter) => {
            watch(call).await;
            let _ = forward(&upstream, request).await;
            std::future::pending().await
        }
        None => {
            watch(call).await;
            forward(&upstream, request).await
        }
    }
}

/// Sends the call on, over a connection of its own, and reads the whole answer.
async fn forward(upstream: &str, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let socket = TcpStream::connect(upstream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    let answer = match answer {
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response::from_parts(parts, Full::new(body)))
        }
        Err(error) => Err(error),
    };
    connection.abort();
    answer
}

fn describe(name: &'static str, request: &Request<Incoming>) -> Call {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let operation = header("x-amz-target").and_then(|target| target.rsplit('.').next().map(str::to_owned));
    let what = operation.unwrap_or_else(|| format!("{} {}", request.method(), request.uri().path()));
    Call { server: name, what, client_request_id: header("client-request-id") }
}
