//! What a direct invocation is told about one request. Reads a state, decides nothing.

use serde::Serialize;

use super::record::{AbandonWhy, Fact, Verdict, stored_name};
use super::request::{Request, RequestError, RequestId};
use super::state::{Attempt, Phase, State};
use super::target::{Guid, TargetKind};

/// One entry of `results`; what there is nothing to say about is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Guid>,
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_request_id: Option<String>,
    /// Of the record that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Graph took it.
    Accepted,
    /// Settled well.
    Delivered,
    /// Not called, throttled, unavailable, no answer read, or another attempt under way: the queue goes on.
    Deferred,
    Skipped,
    Rejected,
    /// Given up, or at rest in a state that is not delivered.
    Abandoned,
    Invalid,
}

impl Answer {
    /// The answer to a request that was not one.
    pub fn invalid(default_id: Option<RequestId>, error: &RequestError) -> Self {
        let request_id = error.request_id.clone().or(default_id);
        Self { request_id, error_message: Some(error.to_string()), ..Self::bare(Status::Invalid) }
    }

    /// The answer where the history could not be read: the queue goes on with it.
    pub fn deferred(request: &Request) -> Self {
        Self::to(request, Status::Deferred)
    }

    /// What the history says about this request now.
    pub fn of(request: &Request, state: &State) -> Self {
        if let Some(ending) = state.ending(&request.request_id) {
            let (status, message) = settled(&ending.fact);
            let mut answer = Self::to(request, status).with_attempt(ending.attempt.as_ref());
            answer.error_message = message.or(answer.error_message);
            answer.seq = Some(ending.seq);
            return answer;
        }
        let Some(repair) = &state.repair else { return Self::deferred(request) };
        let status = match repair.phase() {
            Phase::Taken(_, _) => Status::Accepted,
            Phase::NoAttempt | Phase::Open(_) | Phase::Doubtful(_, _) | Phase::FailedAgain(_, _) => {
                Status::Deferred
            }
        };
        let mut answer = Self::to(request, status).with_attempt(repair.attempts.last());
        answer.seq = Some(repair.last_seq);
        answer
    }

    fn bare(status: Status) -> Self {
        Self {
            request_id: None,
            target: None,
            id: None,
            status,
            attempt: None,
            http_status: None,
            error_code: None,
            error_message: None,
            graph_request_id: None,
            seq: None,
        }
    }

    fn to(request: &Request, status: Status) -> Self {
        Self {
            request_id: Some(request.request_id.clone()),
            target: Some(request.target.kind),
            id: Some(request.target.id.clone()),
            ..Self::bare(status)
        }
    }

    fn with_attempt(mut self, attempt: Option<&Attempt>) -> Self {
        self.attempt = attempt.map(|attempt| attempt.number);
        if let Some(ended) = attempt.and_then(|attempt| attempt.ended.as_ref()) {
            self.http_status = ended.http_status;
            self.error_code = ended.error_code.clone();
            self.error_message = ended.error_message.clone();
            self.graph_request_id = ended.graph_request_id.clone();
        }
        self
    }
}

/// The status of a settling fact, and the words for an end that is neither delivery nor Graph's own refusal.
/// Facts that settle nothing never stand in an `Ending`.
fn settled(fact: &Fact) -> (Status, Option<String>) {
    match fact {
        Fact::DeliveryObserved(observed) if observed.verdict == Verdict::Delivered => {
            (Status::Delivered, None)
        }
        Fact::DeliveryObserved(observed) => {
            (Status::Abandoned, Some(format!("observed: {}", stored_name(&observed.verdict))))
        }
        Fact::RequestSkipped { why, state } => {
            let state = state.as_ref().map(|state| format!(" ({state})")).unwrap_or_default();
            (Status::Skipped, Some(format!("skipped: {}{state}", stored_name(why))))
        }
        Fact::RequestAbandoned { why: AbandonWhy::Rejected, .. } => (Status::Rejected, None),
        Fact::RequestAbandoned { why, .. } => {
            (Status::Abandoned, Some(format!("abandoned: {}", stored_name(why))))
        }
        Fact::RequestReceived { .. }
        | Fact::RequestJoined {}
        | Fact::AttemptStarted(_)
        | Fact::AttemptEnded(_)
        | Fact::DeliveryPending { .. }
        | Fact::MessageRejected { .. } => (Status::Deferred, None),
    }
}
