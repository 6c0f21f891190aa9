//! For tests: histories made by hand, a record a line. Decides nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::outcome::attempt_ended;
use super::pace::{Circumstances, Policy};
use super::record::{Actor, AttemptStarted, Before, By, Fact, Origin, Record, Source, SourceKind, VERSION};
use super::reply::{Answered, Reply, Sight};
use super::request::{Request, RequestId};
use super::state::State;
use super::target::{ApiVersion, Cloud, CredentialKind, Guid, Target, TargetKind};

pub fn guid(n: u32) -> Guid {
    Guid::parse(&format!("{n:08x}-acc4-43cc-bcf1-7c1c4a2c073b")).unwrap()
}

/// So many seconds after an arbitrary beginning.
pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + secs).unwrap()
}

pub fn request(kind: TargetKind, id: &str) -> Request {
    Request {
        target: Target { kind, id: guid(1) },
        api_version: ApiVersion::V1,
        via: None,
        request_id: RequestId::parse(id).unwrap(),
        requested_by: None,
        reason: None,
        ticket: None,
    }
}

/// A reading of the state; `completed` in seconds as in [`at`].
pub fn sight(state: &str, completed: Option<i64>) -> Sight {
    Sight { state: state.to_owned(), completed_at: completed.map(at), ..Sight::default() }
}

pub fn answered(status: u16) -> Reply {
    Reply::Answered(Answered { status, ..Answered::default() })
}

pub fn circumstances<'a>(request: &'a Request, now: Timestamp, policy: &'a Policy) -> Circumstances<'a> {
    Circumstances { request, now, policy, paused_until: None, receive_count: 1, jitter: 0.0 }
}

/// A history under construction.
#[derive(Clone, Debug)]
pub struct Past {
    pub kind: TargetKind,
    pub records: Vec<Record>,
}

impl Past {
    pub fn new(kind: TargetKind) -> Self {
        Self { kind, records: Vec::new() }
    }

    pub fn state(&self) -> State {
        State::fold(self.kind, &self.records)
    }

    /// Appends as the shell would.
    pub fn push(&mut self, request: &Request, now: Timestamp, fact: Fact) {
        let repair = self.state().current_repair();
        self.push_to(repair, request, now, fact);
    }

    pub fn push_to(&mut self, repair: u64, request: &Request, now: Timestamp, fact: Fact) {
        let first = self.state().is_new(&request.request_id);
        let source = Source { kind: SourceKind::Queue, message_id: None, receive_count: None, sent_at: None };
        self.records.push(Record {
            v: VERSION,
            fact,
            tenant_id: guid(7),
            target: Some(self.kind),
            id: Some(request.target.id.clone()),
            repair: Some(repair),
            seq: self.records.len() as u64 + 1,
            at: now,
            request_id: request.request_id.clone(),
            by: By {
                function: "worker".to_owned(),
                version: "0".to_owned(),
                invocation_id: "i".to_owned(),
                message_id: None,
            },
            origin: first.then_some(Origin { requested_by: None, reason: None, ticket: None, source }),
        });
    }

    pub fn start(&mut self, request: &Request, now: Timestamp, attempt: u32, before: &Sight) -> Guid {
        let client_request_id = guid(1000 + u32::try_from(self.records.len()).unwrap());
        let started = AttemptStarted {
            attempt,
            client_request_id: client_request_id.clone(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            api_version: ApiVersion::V1,
            cloud: Cloud::Global,
            lease_until: now + Duration::from_secs(65),
            before: Before {
                state: before.state.clone(),
                status: None,
                completed_at: before.completed_at,
                observed_at: now,
            },
            access_package_id: None,
            subject_id: None,
            actor: Actor { client_id: guid(8), credential: CredentialKind::Federated },
        };
        self.push(request, now, Fact::AttemptStarted(Box::new(started)));
        client_request_id
    }

    pub fn end(&mut self, request: &Request, now: Timestamp, attempt: u32, call: Guid, reply: Reply) {
        let ended = attempt_ended(attempt, call, reply, Duration::from_millis(80), false);
        self.push(request, now, Fact::AttemptEnded(Box::new(ended)));
    }
}
