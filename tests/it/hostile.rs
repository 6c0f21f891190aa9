//! Bad input: a corpus of message bodies and of whole invocation payloads, none of which may do anything.
//!
//! `hostile.json` holds both. Where a text is long or deep, the file says how to make it instead of holding it:
//! `before`, then `repeat` so many `times` with `{n}` counting up from 0, then `after`; or the bytes in `hex`.
//! `{{jwt}}` and `{{canary}}` stand for a made-up token and a made-up secret, so that the file holds neither.

use std::collections::BTreeSet;

use regrant::domain::request::Request;
use regrant::domain::target::ApiVersion;
use serde::Deserialize;

/// Stands inside every made-up secret and token, and must be in nothing that regrant says or keeps.
pub const CANARY: &str = "Canary-1234";

/// A message body that is no request.
pub struct HostileBody {
    pub name: String,
    pub body: String,
    /// A part of the error's text.
    pub error_contains: String,
    /// Whether the body holds [`CANARY`].
    pub secret: bool,
}

/// An invocation payload that must lead to no call to Graph.
pub struct HostileEvent {
    pub name: String,
    pub payload: Vec<u8>,
    pub expect: Expect,
    /// Whether the payload holds [`CANARY`].
    pub secret: bool,
}

/// How the worker answers a hostile payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// An invocation error that says what was expected and what came.
    Error,
    /// A direct invocation's answer with that many results, each `invalid`.
    Invalid(usize),
    /// An empty list of failed items and that many `messageRejected` records.
    Rejected(usize),
    /// Any of the three; which one is left open.
    Refused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    bodies: Vec<BodyEntry>,
    events: Vec<EventEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyEntry {
    name: String,
    body: Option<String>,
    generate: Option<Generate>,
    error_contains: String,
    #[serde(default)]
    secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventEntry {
    name: String,
    payload: Option<String>,
    generate: Option<Generate>,
    expect: String,
    count: Option<usize>,
    #[serde(default)]
    secret: bool,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Generate {
    Hex {
        hex: String,
    },
    Repeat {
        #[serde(default)]
        before: String,
        repeat: String,
        times: usize,
        #[serde(default)]
        after: String,
    },
}

impl Generate {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Hex { hex } => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the corpus has hex pairs"))
                .collect(),
            Self::Repeat { before, repeat, times, after } => {
                let mut text = before.clone();
                for n in 0..*times {
                    text.push_str(&repeat.replace("{n}", &n.to_string()));
                }
                text.push_str(after);
                text.into_bytes()
            }
        }
    }
}

fn bytes_of(name: &str, text: Option<String>, generate: Option<Generate>) -> Vec<u8> {
    match (text, generate) {
        (Some(text), None) => {
            let token = format!("{}.{CANARY}.{CANARY}", concat!("ey", "JhbGciOiJub25lIn0"));
            text.replace("{{jwt}}", &token).replace("{{canary}}", CANARY).into_bytes()
        }
        (None, Some(generate)) => generate.bytes(),
        _ => panic!("{name}: a text or a way to generate one, not both"),
    }
}

fn corpus() -> Corpus {
    serde_json::from_str(include_str!("hostile.json")).expect("the corpus is well formed")
}

/// All hostile message bodies.
pub fn bodies() -> Vec<HostileBody> {
    let load = |entry: BodyEntry| HostileBody {
        body: String::from_utf8(bytes_of(&entry.name, entry.body, entry.generate))
            .expect("a message body is UTF-8"),
        name: entry.name,
        error_contains: entry.error_contains,
        secret: entry.secret,
    };
    corpus().bodies.into_iter().map(load).collect()
}

/// All hostile invocation payloads.
pub fn events() -> Vec<HostileEvent> {
    let load = |entry: EventEntry| HostileEvent {
        expect: match (entry.expect.as_str(), entry.count) {
            ("error", None) => Expect::Error,
            ("invalid", Some(count)) => Expect::Invalid(count),
            ("rejected", Some(count)) => Expect::Rejected(count),
            ("refused", None) => Expect::Refused,
            (other, count) => panic!("{}: no expectation: {other} {count:?}", entry.name),
        },
        payload: bytes_of(&entry.name, entry.payload, entry.generate),
        name: entry.name,
        secret: entry.secret,
    };
    corpus().events.into_iter().map(load).collect()
}

#[test]
fn hostile_body_gets_the_right_error_and_keeps_its_secrets() {
    let mut wrong = Vec::new();
    for HostileBody { name, body, error_contains, secret } in bodies() {
        assert_eq!(body.contains(CANARY), secret, "{name}");
        match Request::parse(&body, "message-1", ApiVersion::V1) {
            Ok(request) => wrong.push(format!("{name}: was taken as {request:?}")),
            Err(error) => {
                let text = error.to_string();
                if !text.contains(&error_contains) {
                    wrong.push(format!("{name}: expected {error_contains}\n    found {text:.600}"));
                }
                if text.contains(CANARY) || format!("{error:?}").contains(CANARY) {
                    wrong.push(format!("{name}: gives its secret away: {text:.600}"));
                }
                if text.chars().any(char::is_control) {
                    wrong.push(format!("{name}: has control characters in its error: {text:.600}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn corpus_is_large_and_each_entry_stands_for_itself() {
    let (bodies, events) = (bodies(), events());
    assert!(bodies.len() >= 80 && events.len() >= 25, "{} bodies, {} events", bodies.len(), events.len());
    let distinct = |names: Vec<&String>| names.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(bodies.iter().map(|body| &body.name).collect()), bodies.len(), "a name stands twice");
    assert_eq!(
        distinct(events.iter().map(|event| &event.name).collect()),
        events.len(),
        "a name stands twice"
    );
    for HostileEvent { name, payload, expect, secret } in &events {
        let holds = String::from_utf8_lossy(payload).contains(CANARY);
        assert_eq!(holds, *secret, "{name}");
        if let Expect::Invalid(results) = expect {
            assert!((1..=100).contains(results), "{name}");
        }
    }
}
