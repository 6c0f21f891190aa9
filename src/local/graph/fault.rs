//! Faults that the simulator is told to commit: which calls they hit, what happens to the answer. Sends nothing.

use std::collections::VecDeque;

use crate::domain::target::Guid;

/// What kind of call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    Look,
    /// One page of a list.
    List,
    Reprocess,
    Token,
    /// A path or method that the simulator does not know.
    Other,
}

/// Which of the next well-formed calls a fault hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallMatch {
    /// `None`: every kind alike.
    pub kind: Option<CallKind>,
    /// `None`: every target.
    pub id: Option<Guid>,
}

impl CallMatch {
    pub fn any() -> Self {
        Self::default()
    }

    pub fn look() -> Self {
        Self { kind: Some(CallKind::Look), id: None }
    }

    pub fn list() -> Self {
        Self { kind: Some(CallKind::List), id: None }
    }

    pub fn reprocess() -> Self {
        Self { kind: Some(CallKind::Reprocess), id: None }
    }

    pub fn token() -> Self {
        Self { kind: Some(CallKind::Token), id: None }
    }

    /// Only calls on this object.
    pub fn on(self, id: &Guid) -> Self {
        Self { id: Some(id.clone()), ..self }
    }

    fn hits(&self, kind: CallKind, id: Option<&Guid>) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.id.as_ref().is_none_or(|wanted| Some(wanted) == id)
    }
}

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429, nothing applied; `retry_after` in seconds.
    Throttle { retry_after: Option<u64> },
    /// This status, nothing applied. On a token call `code` is the OAuth error, such as `invalid_client`.
    Status { status: u16, code: String, message: String, retry_after: Option<u64> },
    /// Never answered, nothing applied.
    Hang,
    /// The connection is closed without an answer; nothing applied.
    DropBefore,
    /// Applied; then the connection is closed without an answer.
    DropAfter,
    /// Applied; the body of the answer ends before its announced length.
    TruncatedBody,
    /// Applied; the body of the answer is a web page.
    NotJson,
}

impl Fault {
    /// A status without `Retry-After`.
    pub fn status(status: u16, code: &str) -> Self {
        let message = format!("Simulated {status}.");
        Self::Status { status, code: code.to_owned(), message, retry_after: None }
    }
}

/// Faults not yet committed, oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(VecDeque<(CallMatch, u32, Fault)>);

impl Faults {
    pub fn push(&mut self, calls: CallMatch, times: u32, fault: Fault) {
        if times > 0 {
            self.0.push_back((calls, times, fault));
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The oldest fault that hits this call, once less from now on.
    pub fn take(&mut self, kind: CallKind, id: Option<&Guid>) -> Option<Fault> {
        let at = self.0.iter().position(|(calls, _, _)| calls.hits(kind, id))?;
        let (_, times, fault) = &mut self.0[at];
        let fault = fault.clone();
        *times -= 1;
        if *times == 0 {
            self.0.remove(at);
        }
        Some(fault)
    }
}
