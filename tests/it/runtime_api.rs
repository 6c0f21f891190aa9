//! A Lambda runtime API on a loopback port and the one bootstrap process that polls it. Ends the process at an
//! invocation's deadline, as Lambda does, and when dropped. Emulates no event source.

use std::collections::HashMap;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

/// However busy the machine is, a bootstrap polls before that, or never.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two questions whether the process still runs.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    Response(Value),
    /// What the function posted as its error.
    Error(Value),
    /// The process ended, or was ended at the deadline.
    Died,
}

/// A running bootstrap.
pub struct Function {
    api: Arc<Api>,
    process: Arc<Process>,
    spawned_at: Instant,
    accepting: tokio::task::JoinHandle<()>,
}

impl Function {
    /// Starts `program` with the variables that Lambda sets, those of `environment`, and no other.
    pub async fn start(program: &str, environment: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, waiting) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            events,
            waiting: tokio::sync::Mutex::new(waiting),
            open: Mutex::default(),
            first_poll: watch::Sender::new(None),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&api)));
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "worker")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/worker")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .envs(environment.iter().map(|(name, value)| (*name, value)));
        let spawned_at = Instant::now();
        let process = Arc::new(Process::spawn(command));
        Self { api, process, spawned_at, accepting }
    }

    /// From spawn to the first poll for an event; `None` if the process ended without any.
    pub async fn ready(&self) -> Option<Duration> {
        let mut first_poll = self.api.first_poll.subscribe();
        let polled = async { *first_poll.wait_for(Option::is_some).await.unwrap() };
        tokio::select! {
            biased;
            at = polled => at.map(|at| at.duration_since(self.spawned_at)),
            _ = self.process.exit() => None,
            () = tokio::time::sleep(START_TIMEOUT) => panic!("no poll within {START_TIMEOUT:?}"),
        }
    }

    /// Hands over one event and waits until the invocation has ended.
    pub async fn invoke(&self, payload: impl Into<Bytes>, timeout: Duration) -> Ended {
        let (id, (done, ended)) = (Uuid::new_v4().to_string(), oneshot::channel());
        self.api.open.lock().unwrap().insert(id.clone(), done);
        let event = Event { id, timeout, payload: payload.into() };
        assert!(self.api.events.send(event).is_ok(), "the runtime API has ended");
        tokio::select! {
            biased;
            ended = ended => ended.unwrap(),
            _ = self.process.exit() => Ended::Died,
            () = tokio::time::sleep(START_TIMEOUT + timeout) => {
                panic!("neither an answer nor an end: {}", self.process.output.lock().unwrap())
            }
        }
    }

    pub fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.process.kill();
        self.accepting.abort();
    }
}

/// The bootstrap's process; killed when dropped.
pub struct Process {
    child: Mutex<Child>,
    /// Both of its streams, as they came.
    output: Arc<Mutex<String>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Process {
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = streams.map(|stream| {
            let output = Arc::clone(&output);
            std::thread::spawn(move || keep(stream, &output))
        });
        Self { child: Mutex::new(child), output, readers: Mutex::new(readers.into()) }
    }

    #[allow(dead_code, reason = "the benchmark asks what it used")]
    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// SIGKILL; when it returns the process is gone.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Waits for its end.
    pub async fn exit(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    /// All that it wrote to either stream, once it has ended.
    pub async fn output(&self) -> String {
        self.exit().await;
        let readers = std::mem::take(&mut *self.readers.lock().unwrap());
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        self.output.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn keep(mut stream: impl Read, output: &Mutex<String>) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        output.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

struct Event {
    id: String,
    timeout: Duration,
    payload: Bytes,
}

struct Api {
    events: mpsc::UnboundedSender<Event>,
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    open: Mutex<HashMap<String, oneshot::Sender<Ended>>>,
    first_poll: watch::Sender<Option<Instant>>,
}

async fn accept(listener: TcpListener, api: Arc<Api>) {
    // Owned by this task, so that aborting it closes the connections too.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        socket.set_nodelay(true).unwrap();
        let api = Arc::clone(&api);
        let service = service_fn(move |request| {
            let api = Arc::clone(&api);
            async move { api.serve(request).await }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        connections.spawn(async {
            // A killed process cuts it.
            let _ = connection.await;
        });
    }
}

impl Api {
    async fn serve(&self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let arrived_at = Instant::now();
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path().strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
        let words = path.split('/').collect::<Vec<_>>();
        Ok(match (parts.method, words.as_slice()) {
            (Method::GET, ["invocation", "next"]) => {
                self.first_poll.send_if_modified(|first| first.replace(arrived_at).is_none());
                self.next().await
            }
            (Method::POST, ["invocation", id, "response"]) => self.end(id, &body, Ended::Response),
            (Method::POST, ["invocation", id, "error"]) => self.end(id, &body, Ended::Error),
            // The process ends by itself after this one; its exit status says the rest.
            (Method::POST, ["init", "error"]) => answer(202),
            _ => answer(404),
        })
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let event = self.waiting.lock().await.recv().await.unwrap();
        let deadline = (SystemTime::now() + event.timeout).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Response::builder()
            .header("lambda-runtime-aws-request-id", event.id)
            .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:eu-west-1:000000000000:function:worker",
            )
            .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0")
            .body(Full::new(event.payload))
            .unwrap()
    }

    fn end(&self, id: &str, body: &[u8], how: fn(Value) -> Ended) -> Response<Full<Bytes>> {
        let Some(done) = self.open.lock().unwrap().remove(id) else { return answer(400) };
        // Nobody waits any more once the test is over.
        let _ = done.send(how(serde_json::from_slice(body).unwrap()));
        answer(202)
    }
}

fn answer(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}
