//! What comes back from Graph, in our terms: how a call ended and what a look saw. Decides nothing.

use std::time::Duration;

use jiff::Timestamp;

/// How one call ended. None of these is an error: each is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status line was read, whatever it said.
    Answered(Answered),
    /// The request never left this process whole: no connection could be made.
    NotSent { reason: String },
    /// Sent, at least in part, and no status line was read: Graph may have acted or not.
    Lost { reason: String },
}

/// The parts of an answer that we keep. Texts are redacted and bounded already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub error_code: Option<String>,
    /// At most 1 KB.
    pub error_message: Option<String>,
    /// From `Retry-After`, in seconds or as a date.
    pub retry_after: Option<Duration>,
    /// Graph's `request-id`, which Microsoft's support asks for.
    pub graph_request_id: Option<String>,
}

/// What a look saw, or why it saw nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Seen(Sight),
    /// Graph knows no such object (and the route exists).
    Missing,
    /// Nobody was asked: there is no token. Neither Graph nor the target has to do with it.
    NotTried,
    /// 429.
    Throttled {
        retry_after: Option<Duration>,
    },
    /// Everything else that is not a reading of the state.
    Unavailable {
        reason: String,
        retry_after: Option<Duration>,
        /// True where waiting does not mend it but an administrator does: 401, 403, a missing route.
        misconfigured: bool,
    },
}

/// The target as Graph showed it, under the names of whichever version was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// As read; empty if Graph sent none. Compare without regard to case.
    pub state: String,
    pub status: Option<String>,
    /// When the request was completed; `None` for assignments, and where absent or unreadable.
    pub completed_at: Option<Timestamp>,
    pub access_package_id: Option<String>,
    /// The object id of the person or principal whose access it is; `None` until it is a tenant user.
    pub subject_id: Option<String>,
}
