//! Random trails, written as JSON by hand and not through the types that the report reads them with.

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::at;
use crate::domain::chain::{GENESIS, link_hash};

pub const TENANT: &str = "0000aaaa-1111-4222-8333-444455556666";

/// One item of the table, by key and number.
#[derive(Clone, Debug)]
pub struct Row {
    pub pk: String,
    pub seq: u64,
    pub at: Timestamp,
    pub prev: String,
    pub hash: String,
    pub record: String,
}

/// The table: rows of each key together, in order.
pub struct Trail {
    pub rows: Vec<Row>,
}

impl Trail {
    /// As `byDay` gives them.
    pub fn index(&self, from: Timestamp, to: Timestamp) -> Vec<&Row> {
        let mut rows = self.rows.iter().filter(|row| from <= row.at && row.at < to).collect::<Vec<_>>();
        rows.sort_by(|a, b| (a.at, &a.pk, a.seq).cmp(&(b.at, &b.pk, b.seq)));
        rows
    }

    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut rows = Vec::new();
        for target in 0..rng.u32(1..14) {
            let mut chain = Chain::target(&mut rng, target);
            chain.repairs();
            rows.append(&mut chain.rows);
        }
        for message in 0..rng.u32(..4) {
            let mut chain = Chain::message(&mut rng, message);
            chain.put(json!({ "kind": "messageRejected", "error": "not a request", "body": "{}", "bodySha256": "00" }));
            rows.append(&mut chain.rows);
        }
        Self { rows }
    }
}

struct Chain<'a> {
    rng: &'a mut Rng,
    pk: String,
    /// `None` for a message.
    target: Option<(&'static str, String)>,
    at: Timestamp,
    repair: u64,
    request: String,
    fresh: bool,
    calls: u32,
    rows: Vec<Row>,
}

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

impl<'a> Chain<'a> {
    fn target(rng: &'a mut Rng, number: u32) -> Self {
        let kind = pick(rng, &["assignment", "assignmentRequest"]);
        let id = format!("{number:08x}-acc4-43cc-bcf1-7c1c4a2c073b");
        let pk = format!("{TENANT}#{kind}#{id}");
        Self::new(rng, pk, Some((kind, id)))
    }

    fn message(rng: &'a mut Rng, number: u32) -> Self {
        Self::new(rng, format!("{TENANT}#message#m-{number}"), None)
    }

    fn new(rng: &'a mut Rng, pk: String, target: Option<(&'static str, String)>) -> Self {
        let at = at("2026-03-01T00:00:00Z") + SignedDuration::from_mins(rng.i64(0..18 * 24 * 60));
        let request = pk.rsplit('#').next().unwrap_or_default().to_owned();
        Self { rng, pk, target, at, repair: 1, request, fresh: true, calls: 0, rows: Vec::new() }
    }

    fn repairs(&mut self) {
        for repair in 1..=self.rng.u64(1..4) {
            self.repair = repair;
            (self.request, self.fresh) = (format!("r-{repair}"), true);
            if !self.one_repair() {
                return;
            }
        }
    }

    /// False if it is left open.
    fn one_repair(&mut self) -> bool {
        if self.rng.u8(..4) == 0 {
            let why = pick(self.rng, &["moving", "throttled", "unavailable"]);
            self.put(json!({ "kind": "requestReceived", "why": why }));
            if self.rng.u8(..6) == 0 {
                return false;
            }
        }
        if self.rng.u8(..6) == 0 {
            let why = pick(self.rng, &["notReprocessable", "windowClosed", "missing"]);
            self.put(json!({ "kind": "requestSkipped", "why": why }));
            return true;
        }
        for attempt in 1..=self.rng.u32(1..5) {
            let is_assignment = self.target.as_ref().is_some_and(|(kind, _)| *kind == "assignment");
            let state = if is_assignment { "Delivered" } else { "DeliveryFailed" };
            let call = self.start(attempt, state);
            self.join();
            self.late(attempt);
            match self.rng.u8(..12) {
                0 => return false,
                1 => continue,
                _ => self.end(attempt, &call),
            }
            if self.rng.u8(..3) == 0 {
                let state = pick(self.rng, &["Delivering", "DELIVERED", "deliveryfailed"]);
                self.put(json!({ "kind": "deliveryPending", "attempt": attempt, "state": state }));
            }
            match self.rng.u8(..8) {
                0 => return false,
                1..4 => continue,
                _ => {}
            }
            if self.observe(attempt, is_assignment) {
                return true;
            }
        }
        if self.rng.u8(..3) == 0 {
            return false;
        }
        let why = pick(self.rng, &["attemptsExhausted", "windowClosed", "givenUp", "rejected", "canceled"]);
        if why == "canceled" {
            // Whoever cancels is named like one who asks, under an id of its own.
            (self.request, self.fresh) = (format!("cancel:{}", self.rows.len()), true);
        }
        self.put(json!({ "kind": "requestAbandoned", "why": why }));
        true
    }

    fn start(&mut self, attempt: u32, state: &str) -> String {
        self.calls += 1;
        let call = format!("{:08x}-0000-4000-8000-{:012x}", self.calls, self.repair);
        let hours = self.rng.i64(1..500);
        let completed =
            (self.rng.u8(..4) > 0).then(|| (self.at - SignedDuration::from_hours(hours)).to_string());
        let package = (self.rng.u8(..3) > 0).then(|| format!("package-{}", self.rng.u8(..3)));
        self.put(json!({
            "kind": "attemptStarted", "attempt": attempt, "clientRequestId": call, "method": "POST", "path": "/p",
            "apiVersion": "v1.0", "cloud": "global", "leaseUntil": self.at.to_string(),
            "before": { "state": state, "completedAt": completed, "observedAt": self.at.to_string() },
            "accessPackageId": package, "actor": { "clientId": TENANT, "credential": "secret" },
        }));
        call
    }

    fn end(&mut self, attempt: u32, call: &str) {
        let outcome = pick(
            self.rng,
            &["accepted", "accepted", "accepted", "rejected", "throttled", "unavailable", "unknown"],
        );
        let code = (self.rng.bool()).then(|| pick(self.rng, &["BadRequest", "NotFound"]));
        let status = (self.rng.bool()).then(|| self.rng.u16(400..404));
        self.put(json!({
            "kind": "attemptEnded", "attempt": attempt, "clientRequestId": call, "outcome": outcome,
            "errorCode": code, "httpStatus": status, "durationMs": 5,
        }));
    }

    /// True if that settles the repair.
    fn observe(&mut self, attempt: u32, is_assignment: bool) -> bool {
        let verdict = pick(
            self.rng,
            &[
                "delivered",
                "delivered",
                "delivered",
                "deliveryFailed",
                "partiallyDelivered",
                "expired",
                "missing",
                "other",
            ],
        );
        let evidence = pick(self.rng, &["moved", "moved", "unchanged"]);
        let completed = self.rng.bool().then(|| self.at.to_string());
        self.put(json!({
            "kind": "deliveryObserved", "attempt": attempt, "verdict": verdict, "evidence": evidence,
            "state": verdict, "completedAt": completed,
        }));
        is_assignment || !["deliveryFailed", "partiallyDelivered"].contains(&verdict)
    }

    fn join(&mut self) {
        if self.rng.u8(..5) == 0 {
            let own = std::mem::replace(&mut self.request, format!("j-{}-{}", self.repair, self.rows.len()));
            self.fresh = true;
            self.put(json!({ "kind": "requestJoined" }));
            self.request = own;
        }
    }

    /// A record of the repair before this one, whose caller comes back late.
    fn late(&mut self, attempt: u32) {
        if self.repair > 1 && self.rng.u8(..6) == 0 {
            self.repair -= 1;
            self.end(attempt, "ffffffff-0000-4000-8000-000000000000");
            self.repair += 1;
        }
    }

    fn put(&mut self, fact: Value) {
        let seq = self.rows.len() as u64 + 1;
        let mut record = json!({
            "v": 1, "tenantId": TENANT, "seq": seq, "at": format!("{:.3}", self.at), "requestId": self.request,
            "by": { "function": "f", "version": "0", "invocationId": "i" },
        });
        let fields = record.as_object_mut().unwrap();
        let fact = fact.as_object().unwrap().clone();
        fields.extend(fact.into_iter().filter(|(_, value)| !value.is_null()));
        if let Some(before) = fields.get_mut("before").and_then(Value::as_object_mut) {
            before.retain(|_, value| !value.is_null());
        }
        if let Some((kind, id)) = &self.target {
            fields.extend([
                ("target".to_owned(), json!(kind)),
                ("id".to_owned(), json!(id)),
                ("repair".to_owned(), json!(self.repair)),
            ]);
        }
        if std::mem::take(&mut self.fresh) {
            fields.insert("source".to_owned(), json!({ "type": "queue" }));
            if self.rng.bool() {
                fields.insert("requestedBy".to_owned(), json!(format!("p-{}", self.rng.u8(..4))));
            }
        }
        let record = record.to_string();
        let prev = self.rows.last().map_or_else(|| GENESIS.to_owned(), |row| row.hash.clone());
        let hash = link_hash(&self.pk, seq, &prev, &record);
        self.rows.push(Row { pk: self.pk.clone(), seq, at: self.at, prev, hash, record });
        // Mostly on, at times for days, at times back: another worker's clock.
        let step = match self.rng.u8(..12) {
            0 => -self.rng.i64(1..180_000),
            1 => self.rng.i64(1..3 * 86_400_000),
            _ => self.rng.i64(1..3_600_000),
        };
        self.at += SignedDuration::from_millis(step);
    }
}
