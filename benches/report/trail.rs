//! A trail of any size, the same one for the same seed: repairs over thirty days, most of them recovered, some after
//! several attempts, a few abandoned, skipped or open. Made record by record as the worker makes them.

use std::collections::HashMap;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use regrant::domain::chain::{GENESIS, link_hash};
use regrant::domain::record::{
    AbandonWhy, Actor, AttemptEnded, AttemptStarted, Before, By, DeliveryObserved, Evidence, Fact, Origin,
    Outcome, PutOffWhy, Record, SkipWhy, Source, SourceKind, VERSION, Verdict, format_millis, stored_name,
};
use regrant::domain::request::RequestId;
use regrant::domain::target::{ApiVersion, Cloud, CredentialKind, Guid, Target, TargetKind};

pub type Item = HashMap<String, dynoxide::AttributeValue>;

/// Makes one target's whole history after another, in the order of their beginnings.
pub struct Trail {
    rng: Rng,
    tenant: Guid,
    from: Timestamp,
    made: u64,
    wanted: u64,
}

impl Trail {
    pub const DAYS: i64 = 30;

    pub fn new(tenant: Guid, from: Timestamp, wanted: u64) -> Self {
        Self { rng: Rng::with_seed(7), tenant, from, made: 0, wanted }
    }

    /// The records of the next target; `None` when there are enough.
    pub fn next_history(&mut self) -> Option<Vec<Item>> {
        if self.made >= self.wanted {
            return None;
        }
        let span = SignedDuration::from_hours(24 * Self::DAYS).as_millis();
        let into = i64::try_from(span * i128::from(self.made) / i128::from(self.wanted)).ok()?;
        let begin = self.from + SignedDuration::from_millis(into);
        let left = usize::try_from(self.wanted - self.made).ok()?;
        let mut items = History::new(&mut self.rng, &self.tenant, begin).items();
        items.truncate(left);
        self.made += items.len() as u64;
        Some(items)
    }
}

struct History<'a> {
    rng: &'a mut Rng,
    tenant: &'a Guid,
    target: Target,
    key: String,
    request: RequestId,
    at: Timestamp,
    completed_at: Timestamp,
    hash: String,
    items: Vec<Item>,
}

impl<'a> History<'a> {
    fn new(rng: &'a mut Rng, tenant: &'a Guid, at: Timestamp) -> Self {
        let kind = if rng.u8(..5) == 0 { TargetKind::Assignment } else { TargetKind::AssignmentRequest };
        let target = Target { kind, id: guid(rng) };
        let key = target.key(tenant);
        let request = RequestId::parse(guid(rng).as_str()).expect("a GUID is a request id");
        let completed_at = at - SignedDuration::from_hours(rng.i64(1..200));
        Self { rng, tenant, target, key, request, at, completed_at, hash: GENESIS.to_owned(), items: vec![] }
    }

    fn items(mut self) -> Vec<Item> {
        let fate = self.rng.u8(..100);
        if fate < 3 {
            let skipped =
                Fact::RequestSkipped { why: SkipWhy::NotReprocessable, state: Some("delivered".to_owned()) };
            self.push(skipped);
            return self.items;
        }
        if self.rng.u8(..10) == 0 {
            self.push(Fact::RequestReceived { why: PutOffWhy::Moving });
        }
        let failures = match fate {
            0..70 => 0,
            70..90 => 1,
            _ => 2,
        };
        for attempt in 1..=failures + 1 {
            let outcome = if self.rng.u8(..12) == 0 { Outcome::Throttled } else { Outcome::Accepted };
            self.attempt(attempt, outcome);
            if attempt == 1 && self.rng.u8(..10) == 0 {
                self.push(Fact::RequestJoined {});
            }
            if outcome == Outcome::Throttled {
                continue;
            }
            self.push(Fact::DeliveryPending {
                attempt: Some(attempt),
                state: "delivering".to_owned(),
                status: None,
            });
            if attempt <= failures && self.target.kind == TargetKind::AssignmentRequest {
                self.observe(attempt, Verdict::DeliveryFailed);
            } else if fate == 99 {
                return self.items;
            } else {
                self.observe(attempt, Verdict::Delivered);
                return self.items;
            }
        }
        let why = AbandonWhy::AttemptsExhausted;
        self.push(Fact::RequestAbandoned { why, state: None, http_status: None, error_code: None });
        self.items
    }

    fn attempt(&mut self, attempt: u32, outcome: Outcome) {
        let call = guid(self.rng);
        let path = format!(
            "/v1.0/identityGovernance/entitlementManagement/{}s/{}/reprocess",
            self.target.kind.as_str(),
            self.target.id
        );
        let state = match self.target.kind {
            TargetKind::Assignment => "delivered",
            TargetKind::AssignmentRequest => "deliveryFailed",
        };
        let started = AttemptStarted {
            attempt,
            client_request_id: call.clone(),
            method: "POST".to_owned(),
            path,
            api_version: ApiVersion::V1,
            cloud: Cloud::Global,
            lease_until: self.at + SignedDuration::from_secs(65),
            before: Before {
                state: state.to_owned(),
                status: None,
                completed_at: Some(self.completed_at),
                observed_at: self.at,
            },
            access_package_id: Some(format!("{:08x}-7443-4bff-a373-e91fb2e3eab3", self.rng.u32(..40))),
            subject_id: Some(guid(self.rng).to_string()),
            actor: Actor { client_id: self.tenant.clone(), credential: CredentialKind::Federated },
        };
        self.push(Fact::AttemptStarted(Box::new(started)));
        let accepted = outcome == Outcome::Accepted;
        let ended = AttemptEnded {
            attempt,
            client_request_id: call,
            outcome,
            http_status: Some(if accepted { 202 } else { 429 }),
            error_code: (!accepted).then(|| "TooManyRequests".to_owned()),
            error_message: None,
            retry_after_seconds: (!accepted).then_some(30),
            graph_request_id: Some(guid(self.rng).to_string()),
            duration_ms: Some(self.rng.u64(20..900)),
            late: false,
        };
        self.push(Fact::AttemptEnded(Box::new(ended)));
    }

    fn observe(&mut self, attempt: u32, verdict: Verdict) {
        let observed = DeliveryObserved {
            attempt,
            verdict,
            evidence: Evidence::Moved,
            state: Some(stored_name(&verdict)),
            status: None,
            completed_at: Some(self.at),
            access_package_id: None,
            subject_id: None,
        };
        self.push(Fact::DeliveryObserved(Box::new(observed)));
    }

    fn push(&mut self, fact: Fact) {
        let seq = self.items.len() as u64 + 1;
        let joins = matches!(fact, Fact::RequestJoined {});
        let message_id = guid(self.rng).to_string();
        let source = Source {
            kind: SourceKind::Queue,
            message_id: Some(message_id.clone()),
            receive_count: Some(1),
            sent_at: Some(self.at),
        };
        let origin = Origin {
            requested_by: Some(format!("{:08x}-84e6-4ceb-95bd-447e7184d454", self.rng.u32(..20))),
            reason: Some("Outage of the HR application, deliveries failed over night".to_owned()),
            ticket: Some("INC0012345".to_owned()),
            source,
        };
        let request = if joins {
            RequestId::parse(&message_id).expect("a GUID is a request id")
        } else {
            self.request.clone()
        };
        let record = Record {
            v: VERSION,
            fact,
            tenant_id: self.tenant.clone(),
            target: Some(self.target.kind),
            id: Some(self.target.id.clone()),
            repair: Some(1),
            seq,
            at: self.at,
            request_id: request,
            by: By {
                function: "regrant-worker".to_owned(),
                version: "0.1.0".to_owned(),
                invocation_id: guid(self.rng).to_string(),
                message_id: Some(message_id),
            },
            origin: (seq == 1 || joins).then_some(origin),
        };
        self.store(&record);
        self.at += SignedDuration::from_millis(self.rng.i64(50..120_000));
    }

    fn store(&mut self, record: &Record) {
        let text = |text: &str| dynoxide::AttributeValue::S(text.to_owned());
        let json = record.to_json();
        let hash = link_hash(&self.key, record.seq, &self.hash, &json);
        let at = format_millis(record.at);
        let mut item = Item::from([
            ("pk".to_owned(), text(&self.key)),
            ("seq".to_owned(), dynoxide::AttributeValue::N(record.seq.to_string())),
            ("tenantDay".to_owned(), text(&format!("{}#{}", self.tenant, &at[..10]))),
            ("at".to_owned(), text(&at)),
            ("kind".to_owned(), text(record.fact.kind())),
            ("requestId".to_owned(), text(record.request_id.as_str())),
            ("prev".to_owned(), text(&self.hash)),
            ("hash".to_owned(), text(&hash)),
            ("record".to_owned(), text(&json)),
        ]);
        if let Some(outcome) = record.fact.outcome() {
            item.insert("outcome".to_owned(), text(&stored_name(&outcome)));
        }
        if let Some(verdict) = record.fact.verdict() {
            item.insert("verdict".to_owned(), text(&stored_name(&verdict)));
        }
        self.items.push(item);
        self.hash = hash;
    }
}

fn guid(rng: &mut Rng) -> Guid {
    let (a, b) = (rng.u64(..), rng.u64(..));
    let text = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    );
    Guid::parse(&text).expect("made in the form of one")
}
