//! A strict HTTP/1.1 server on a loopback port: answers what it was told to, in order, and keeps every request.
//!
//! It fails the test if a request comes for which there is no answer, or if an answer is left over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What to do with the next request, whichever connection it comes on.
#[derive(Clone, Debug)]
pub enum Answer {
    Whole {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Promises `missing` more bytes than it sends, then closes.
    Truncated {
        status: u16,
        body: Vec<u8>,
        missing: usize,
    },
    /// Promises one more byte than it sends, and keeps the connection open.
    HangsInBody {
        status: u16,
        body: Vec<u8>,
    },
    /// Sends these bytes, which may be no HTTP at all, and closes.
    Raw(Vec<u8>),
    Closes,
    Hangs,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole { status, headers: Vec::new(), body: body.into() }
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, body.to_string()).with("Content-Type", "application/json")
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match &mut self {
            Self::Whole { headers, .. } => headers.push((name.to_owned(), value.to_owned())),
            other => panic!("{other:?} has no headers"),
        }
        self
    }
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// 0 for the first connection.
    pub connection: usize,
}

impl Seen {
    /// The only header of that name; `None` where there is none.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "header {name} stands twice in {self:?}");
        value
    }

    /// The fields of a form, sorted by name.
    pub fn form(&self) -> Vec<(String, String)> {
        let url = Url::parse(&format!("http://form/?{}", self.body)).unwrap();
        let mut fields = url.query_pairs().into_owned().collect::<Vec<_>>();
        fields.sort();
        fields
    }

    pub fn field(&self, name: &str) -> String {
        self.form()
            .into_iter()
            .find(|(found, _)| found == name)
            .unwrap_or_else(|| panic!("no field {name}"))
            .1
    }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// What whoever asks beyond `answers` gets; without it, nobody may.
    otherwise: Option<Answer>,
    seen: Vec<Seen>,
    unexpected: Vec<Seen>,
}

pub struct Stub {
    pub url: Url,
    script: Arc<Mutex<Script>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Stub {
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let script =
            Arc::new(Mutex::new(Script { answers: answers.into_iter().collect(), ..Script::default() }));
        let shared = script.clone();
        let accepting = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((socket, _)) = listener.accept().await else { return };
                tokio::spawn(serve(socket, connection, shared.clone()));
            }
        });
        Self { url, script, accepting }
    }

    /// Answers every request alike, however many come.
    pub async fn always(answer: Answer) -> Self {
        let stub = Self::start([]).await;
        stub.script.lock().unwrap().otherwise = Some(answer);
        stub
    }

    pub fn then(&self, answer: Answer) {
        self.script.lock().unwrap().answers.push_back(answer);
    }

    /// The requests since the last time this was asked.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.script.lock().unwrap().seen)
    }

    pub fn take_one(&self) -> Seen {
        let seen = self.take_seen();
        assert_eq!(seen.len(), 1, "one request expected: {seen:#?}");
        seen.into_iter().next().unwrap()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accepting.abort();
        if !std::thread::panicking() {
            let script = self.script.lock().unwrap();
            assert!(script.unexpected.is_empty(), "unexpected: {:#?}", script.unexpected);
            assert!(script.answers.is_empty(), "never asked for: {:#?}", script.answers);
        }
    }
}

/// A loopback address at which nobody listens.
pub async fn closed_port() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
}

async fn serve(mut socket: TcpStream, connection: usize, script: Arc<Mutex<Script>>) {
    let mut buffer = Vec::new();
    while let Some(seen) = next_request(&mut socket, &mut buffer, connection).await {
        let answer = {
            let mut script = script.lock().unwrap();
            let answer = script.answers.pop_front().or(script.otherwise.clone());
            if answer.is_none() {
                script.unexpected.push(seen.clone());
            }
            script.seen.push(seen);
            answer
        };
        let text = |status: u16, length: usize| {
            format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n").into_bytes()
        };
        match answer.unwrap_or_else(|| Answer::new(599, "unexpected")) {
            Answer::Whole { status, headers, body } => {
                let mut head = if status == 204 {
                    b"HTTP/1.1 204 Status\r\n".to_vec()
                } else {
                    text(status, body.len())
                };
                for (name, value) in headers {
                    head.extend(format!("{name}: {value}\r\n").into_bytes());
                }
                let whole = [head, b"\r\n".to_vec(), body].concat();
                if socket.write_all(&whole).await.is_err() {
                    return;
                }
            }
            Answer::Truncated { status, body, missing } => {
                let whole = [text(status, body.len() + missing), b"\r\n".to_vec(), body].concat();
                let _ = socket.write_all(&whole).await;
                return;
            }
            Answer::HangsInBody { status, body } => {
                let whole = [text(status, body.len() + 1), b"\r\n".to_vec(), body].concat();
                let _ = socket.write_all(&whole).await;
                return std::future::pending().await;
            }
            Answer::Raw(bytes) => {
                let _ = socket.write_all(&bytes).await;
                return;
            }
            Answer::Closes => return,
            Answer::Hangs => return std::future::pending().await,
        }
    }
}

/// `None` when the other end has closed. Panics on what no client of ours may send.
async fn next_request(socket: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let words = lines.next().unwrap().split(' ').collect::<Vec<_>>();
    let [method, path, "HTTP/1.1"] = words[..] else { panic!("no HTTP/1.1 request line: {words:?}") };
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect::<Vec<_>>();
    assert!(!headers.iter().any(|(name, _)| name == "transfer-encoding"), "chunked: {headers:?}");
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, length)| length.parse::<usize>().unwrap());
    let end = head_end + 4 + length;
    while buffer.len() < end {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(buffer[head_end + 4..end].to_vec()).unwrap();
    let seen = Seen { method: method.to_owned(), path: path.to_owned(), headers, body, connection };
    buffer.drain(..end);
    Some(seen)
}
