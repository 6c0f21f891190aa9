//! Records: what is stored, under which names, which version. Stored names are written out here and nowhere else.
//!
//! A record is compact JSON text; exactly its bytes are hashed (`chain`). Reading is lenient to fields it does
//! not know and strict about the version.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::request::RequestId;
use super::target::{ApiVersion, Cloud, CredentialKind, Guid, TargetKind};

/// The version written, and the only one read.
pub const VERSION: u32 = 1;

/// One fact, past tense, with who recorded it and, on a request's first record, where the request came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub v: u32,
    /// `kind` and the fields of that kind.
    #[serde(flatten)]
    pub fact: Fact,
    pub tenant_id: Guid,
    /// Absent only in `messageRejected`, like `id` and `repair`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Guid>,
    /// 1, 2 … per target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<u64>,
    /// 1, 2, 3 … without a gap per target: the order.
    pub seq: u64,
    /// Time of recording; informs, but does not order.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// A message id in `messageRejected`.
    pub request_id: RequestId,
    pub by: By,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Which program recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct By {
    pub function: String,
    pub version: String,
    pub invocation_id: String,
    /// The SQS message that was being handled; absent on direct invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// On the first record of a request, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    pub source: Source,
}

/// How the request reached us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `queue`, `cli`, `sweep` or `invoke`.
    #[serde(rename = "type")]
    pub kind: SourceKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// SQS's approximate receive count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_count: Option<u32>,
    #[serde(default, with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceKind {
    Queue,
    Cli,
    Sweep,
    Invoke,
}

impl SourceKind {
    /// Reads the message attribute `source`; whatever else stands there is a plain queue message.
    pub fn from_attribute(text: Option<&str>) -> Self {
        match text {
            Some("cli") => Self::Cli,
            Some("sweep") => Self::Sweep,
            Some("invoke") => Self::Invoke,
            _ => Self::Queue,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Cli => "cli",
            Self::Sweep => "sweep",
            Self::Invoke => "invoke",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fact {
    /// Taken, but put off before anything else could be recorded.
    RequestReceived {
        why: PutOffWhy,
    },
    /// Another request for a target whose repair is under way.
    RequestJoined {},
    /// Written before the call.
    AttemptStarted(Box<AttemptStarted>),
    AttemptEnded(Box<AttemptEnded>),
    DeliveryObserved(Box<DeliveryObserved>),
    /// Still moving: a heartbeat, and proof that movement was seen.
    DeliveryPending {
        /// Absent before the first attempt.
        #[serde(skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        state: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<String>,
    },
    /// Settled without any call.
    RequestSkipped {
        why: SkipWhy,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<String>,
    },
    /// Given up.
    RequestAbandoned {
        why: AbandonWhy,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        http_status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_code: Option<String>,
    },
    MessageRejected {
        error: String,
        /// Up to 4 KB, redacted.
        body: String,
        body_sha256: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptStarted {
    /// 1, 2 … per repair.
    pub attempt: u32,
    /// Fresh per attempt; sent as the `client-request-id` header.
    pub client_request_id: Guid,
    pub method: String,
    pub path: String,
    pub api_version: ApiVersion,
    pub cloud: Cloud,
    /// Until then nobody else acts on the target.
    #[serde(with = "millis")]
    pub lease_until: Timestamp,
    pub before: Before,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_package_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<String>,
    pub actor: Actor,
}

/// The target as the look before the attempt saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// As precise as Graph gave it: a later look compares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    #[serde(with = "millis")]
    pub observed_at: Timestamp,
}

/// Whose rights the call used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    pub client_id: Guid,
    pub credential: CredentialKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptEnded {
    pub attempt: u32,
    pub client_request_id: Guid,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Up to 1 KB, redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_request_id: Option<String>,
    /// From before sending to the end of the answer; absent where the caller died and another closed the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// True if someone else had closed the attempt as unknown before its caller could tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryObserved {
    pub attempt: u32,
    pub verdict: Verdict,
    pub evidence: Evidence,
    /// As read; absent where the target is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_package_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<String>,
}

/// How we read the reply to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Graph promised to try.
    Accepted,
    Rejected,
    Throttled,
    Unavailable,
    /// No answer was read, or the process died.
    Unknown,
}

/// What Graph's state said later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Delivered,
    PartiallyDelivered,
    DeliveryFailed,
    Expired,
    Denied,
    Canceled,
    Missing,
    Other,
}

/// Whether the state was seen to change since the look before the attempt, as far as the trail can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Evidence {
    Moved,
    Unchanged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PutOffWhy {
    Moving,
    Throttled,
    Unavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SkipWhy {
    NotReprocessable,
    WindowClosed,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AbandonWhy {
    AttemptsExhausted,
    WindowClosed,
    GivenUp,
    Rejected,
    Canceled,
}

/// The text of a stored record is not a record that this version reads.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(
        "`v` is {0}, and this version of regrant reads records of version {VERSION}: use a newer regrant"
    )]
    Version(u64),
    #[error("not a record")]
    Malformed(#[source] serde_json::Error),
}

impl Record {
    /// The exact bytes that are stored and hashed.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("records have text keys only and no value that JSON cannot hold")
    }

    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u64,
        }
        let malformed = match serde_json::from_str::<Self>(text) {
            Ok(record) if record.v == VERSION => return Ok(record),
            Ok(record) => return Err(RecordError::Version(record.v.into())),
            Err(error) => error,
        };
        // Another version need not look like a record of ours: its number tells more than what is missing.
        let versioned = serde_json::from_str::<Versioned>(text).map_err(RecordError::Malformed)?;
        if versioned.v != u64::from(VERSION) {
            return Err(RecordError::Version(versioned.v));
        }
        Err(RecordError::Malformed(malformed))
    }
}

impl Fact {
    /// The stored name of the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RequestReceived { .. } => "requestReceived",
            Self::RequestJoined {} => "requestJoined",
            Self::AttemptStarted(_) => "attemptStarted",
            Self::AttemptEnded(_) => "attemptEnded",
            Self::DeliveryObserved(_) => "deliveryObserved",
            Self::DeliveryPending { .. } => "deliveryPending",
            Self::RequestSkipped { .. } => "requestSkipped",
            Self::RequestAbandoned { .. } => "requestAbandoned",
            Self::MessageRejected { .. } => "messageRejected",
        }
    }

    /// Whether it ends its repair. A failed delivery of a request can be tried again; every other verdict is final.
    pub fn settles(&self, target: TargetKind) -> bool {
        match self {
            Self::RequestSkipped { .. } | Self::RequestAbandoned { .. } | Self::MessageRejected { .. } => {
                true
            }
            Self::DeliveryObserved(observed) => match observed.verdict {
                Verdict::DeliveryFailed | Verdict::PartiallyDelivered => target == TargetKind::Assignment,
                Verdict::Delivered
                | Verdict::Expired
                | Verdict::Denied
                | Verdict::Canceled
                | Verdict::Missing
                | Verdict::Other => true,
            },
            Self::RequestReceived { .. }
            | Self::RequestJoined {}
            | Self::AttemptStarted(_)
            | Self::AttemptEnded(_)
            | Self::DeliveryPending { .. } => false,
        }
    }

    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::AttemptEnded(ended) => Some(ended.outcome),
            _ => None,
        }
    }

    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::DeliveryObserved(observed) => Some(observed.verdict),
            _ => None,
        }
    }
}

/// The stored name of a plain enum.
pub fn stored_name<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("only enums without fields are passed here"),
    }
}

/// RFC 3339 in UTC with exactly three digits of a second.
pub fn format_millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&super::format_millis(*at))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

mod optional_millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::millis::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<Timestamp>::deserialize(deserializer)
    }
}
