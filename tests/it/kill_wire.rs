//! A reverse proxy before each server of the stack, which notes every call and, at one of them, kills the process
//! that sent it. Alters no call and no answer.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use regrant::local::Stack;
use tokio::net::{TcpListener, TcpStream};

use crate::runtime_api::Process;

/// Where the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The n-th call has arrived; its server never sees it.
    Arrived(usize),
    /// The n-th call was carried out; its answer never gets back.
    Answered(usize),
}

/// The proxies; dropping it closes them.
pub struct Wires {
    shared: Arc<Shared>,
    urls: Vec<(&'static str, String)>,
    accepting: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    calls: Mutex<Vec<String>>,
    point: Option<Point>,
    victim: Mutex<Option<Arc<Process>>>,
}

impl Wires {
    pub async fn start(stack: &Stack, point: Option<Point>) -> Self {
        let shared = Arc::new(Shared { calls: Mutex::default(), point, victim: Mutex::default() });
        let (mut urls, mut accepting) = (Vec::new(), Vec::new());
        let graph = stack.graph.url();
        for (name, server) in [
            ("AWS_ENDPOINT_URL_DYNAMODB", stack.dynamodb.url.as_str()),
            ("AWS_ENDPOINT_URL_SQS", stack.sqs.url.as_str()),
            ("GRAPH_ENDPOINT", graph),
            ("GRAPH_AUTHORITY", graph),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push((name, format!("http://{}", listener.local_addr().unwrap())));
            let server = server.strip_prefix("http://").unwrap().to_owned();
            accepting.push(tokio::spawn(accept(listener, server, Arc::clone(&shared))));
        }
        Self { shared, urls, accepting }
    }

    /// The stack's settings, with the proxies in place of the servers.
    pub fn environment(&self, stack: &Stack) -> Vec<(&'static str, String)> {
        let mut settings = stack.environment();
        for (name, value) in &mut settings {
            if let Some((_, url)) = self.urls.iter().find(|(known, _)| known == name) {
                value.clone_from(url);
            }
        }
        settings
    }

    /// Who is to die.
    pub fn aim(&self, process: Arc<Process>) {
        *self.shared.victim.lock().unwrap() = Some(process);
    }

    /// Every call so far, in the order of arrival.
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls.lock().unwrap().clone()
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.accepting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Shared {
    /// True if the process was killed here.
    fn kill_at(&self, point: Point) -> bool {
        let victim = self.victim.lock().unwrap().take_if(|_| self.point == Some(point));
        victim.inspect(|process| process.kill()).is_some()
    }
}

async fn accept(listener: TcpListener, server: String, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        socket.set_nodelay(true).unwrap();
        let (server, shared) = (server.clone(), Arc::clone(&shared));
        let service = service_fn(move |request| {
            let (server, shared) = (server.clone(), Arc::clone(&shared));
            async move { pass(request, &server, &shared).await }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        connections.spawn(async {
            // The other end of it may be dead by now.
            let _ = connection.await;
        });
    }
}

async fn pass(
    request: Request<Incoming>,
    server: &str,
    shared: &Shared,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let number = {
        let mut calls = shared.calls.lock().unwrap();
        calls.push(name(&parts));
        calls.len()
    };
    anyhow::ensure!(!shared.kill_at(Point::Arrived(number)), "the caller is dead");
    let socket = TcpStream::connect(server).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    anyhow::ensure!(!shared.kill_at(Point::Answered(number)), "the caller is dead");
    Ok(Response::from_parts(parts, Full::new(body)))
}

/// The operation for AWS, `token`, or Graph's method.
fn name(parts: &hyper::http::request::Parts) -> String {
    let operation = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    match operation.and_then(|target| target.split('.').next_back()) {
        Some(operation) => operation.to_owned(),
        None if parts.method == Method::POST && parts.uri.path().ends_with("/token") => "token".to_owned(),
        None => parts.method.to_string(),
    }
}
