//! What others are told about a repair, on an event bus: made from the records, and when it is to be told again.
//! Puts nothing anywhere.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::pace::since;
use super::record::{AbandonWhy, Evidence, Fact, Record, Verdict, format_millis, stored_name};
use super::request::{Request, RequestId};
use super::target::{Guid, Target, TargetKind};

/// EventBridge takes 256 KB an entry. All the rest of an event is under 8 KB: only the list of requests has no end.
const MOST_REQUEST_BYTES: usize = 200 * 1024;

/// So long after a direct invocation's record its message on the queue is received at the latest, if the queue is not
/// full: the invocation's own 15 minutes, the 15 that SQS delays a message, and a little.
const DIRECT_COMES_BACK: Duration = Duration::from_secs(35 * 60);

/// What happened, in the words of the event's `detail-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Settled,
    NearEnd,
}

impl EventKind {
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Settled => "Repair settled",
            Self::NearEnd => "Repair near the end of its window",
        }
    }
}

/// One event. It may be put more than once: `target`, `id`, `repair` and the kind say which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub detail: Detail,
}

/// The event's `detail`. What there is nothing to say about is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    tenant_id: Guid,
    target: TargetKind,
    id: Guid,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_package_id: Option<String>,
    repair: u64,
    /// The settling record's number; of a repair near its end the last one's, absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// When that record was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// The repair's first request, and in `requests` all of them: each may have a ticket to close.
    #[serde(flatten)]
    first: Option<Asked>,
    requests: Vec<Asked>,
    /// How many more requests there were than an event can hold.
    #[serde(skip_serializing_if = "is_zero")]
    requests_left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
    /// Why it was skipped or abandoned.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    attempts: usize,
    /// Until when Graph takes the target; absent once it would not take it anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_ends: Option<String>,
}

/// One of the requests that were joined in a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    request_id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<String>,
}

impl Detail {
    /// Compact JSON, under 256 KB.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a detail has text keys only and no value that JSON cannot hold")
    }
}

/// That the repair which record `seq` settled is settled; `None` if that record settles nothing.
///
/// `records` are the target's, in order. `access_package_id` is for a repair whose records name none, as one without an
/// attempt. `window_ends` is when Graph stops taking the target.
pub fn settled(
    target: &Target,
    records: &[Record],
    seq: u64,
    access_package_id: Option<&str>,
    window_ends: impl FnOnce(Timestamp) -> Timestamp,
) -> Option<Event> {
    let settling = records.iter().find(|record| record.seq == seq)?;
    let repair = settling.repair?;
    let own = || of_repair(records, repair).filter(|record| record.seq <= seq);
    let (mut verdict, mut evidence, mut reason) = (None, None, None);
    match &settling.fact {
        Fact::DeliveryObserved(observed) => {
            (verdict, evidence) = (Some(observed.verdict), Some(observed.evidence));
        }
        Fact::RequestSkipped { why, .. } => reason = Some(stored_name(why)),
        Fact::RequestAbandoned { why, .. } => reason = Some(stored_name(why)),
        Fact::RequestReceived { .. }
        | Fact::RequestJoined {}
        | Fact::AttemptStarted(_)
        | Fact::AttemptEnded(_)
        | Fact::DeliveryPending { .. }
        | Fact::MessageRejected { .. } => return None,
    }
    let failed_at = own().filter_map(failed_at).last().filter(|_| is_abandoned(&settling.fact));
    let mut detail = detail(&settling.tenant_id, target, repair, own());
    (detail.verdict, detail.evidence, detail.reason) = (verdict, evidence, reason);
    if detail.access_package_id.is_none() {
        detail.access_package_id = access_package_id.map(str::to_owned);
    }
    (detail.seq, detail.at) = (Some(seq), Some(format_millis(settling.at)));
    detail.window_ends = failed_at.map(|failed_at| format_millis(window_ends(failed_at)));
    Some(Event { kind: EventKind::Settled, detail })
}

/// That repair number `repair` is not settled, and Graph takes its target only until `window_ends`.
///
/// `request` may be the one that opens the repair, before its first record; `access_package_id` is what a look saw.
pub fn near_end(
    tenant: &Guid,
    request: &Request,
    records: &[Record],
    repair: u64,
    access_package_id: Option<&str>,
    window_ends: Timestamp,
) -> Event {
    let mut detail = detail(tenant, &request.target, repair, of_repair(records, repair));
    if !detail.requests.iter().any(|asked| asked.request_id == request.request_id)
        && detail.requests_left_out == 0
    {
        let own = Asked {
            request_id: request.request_id.clone(),
            ticket: request.ticket.clone(),
            requested_by: request.requested_by.clone(),
        };
        detail.first.get_or_insert_with(|| own.clone());
        detail.requests.push(own);
    }
    if let Some(last) = of_repair(records, repair).last() {
        (detail.seq, detail.at) = (Some(last.seq), Some(format_millis(last.at)));
    }
    if access_package_id.is_some() {
        detail.access_package_id = access_package_id.map(str::to_owned);
    }
    detail.window_ends = Some(format_millis(window_ends));
    Event { kind: EventKind::NearEnd, detail }
}

/// Whether a delivery that finds its request settled by record `seq` has to say so again: whoever recorded it may
/// have died before it could.
///
/// Only where this very message recorded it, for that is the one which comes back after a crash; where a direct
/// invocation of the same request did a short while ago, for then its message on the queue comes; and where somebody canceled the repair under this message, which tells
/// nobody. A later message with an old request's id is no reason.
pub fn is_to_be_told_again(
    records: &[Record],
    seq: u64,
    request: &RequestId,
    message_id: Option<&str>,
    now: Timestamp,
) -> bool {
    let Some(settling) = records.iter().find(|record| record.seq == seq) else { return false };
    let by_message =
        |record: &Record| record.by.message_id.as_deref().is_some_and(|id| Some(id) == message_id);
    if is_canceled(&settling.fact) {
        let mut own = of_repair(records, settling.repair.unwrap_or_default())
            .filter(|record| record.request_id == *request);
        return own.clone().any(by_message) || own.all(|record| record.by.message_id.is_none());
    }
    let direct = || settling.by.message_id.is_none() && since(settling.at, now) <= DIRECT_COMES_BACK;
    settling.request_id == *request && (by_message(settling) || direct())
}

fn detail<'a>(
    tenant: &Guid,
    target: &Target,
    repair: u64,
    records: impl Iterator<Item = &'a Record> + Clone,
) -> Detail {
    let mut asked = records.clone().filter(|record| !is_canceled(&record.fact)).filter_map(|record| {
        record.origin.as_ref().map(|origin| Asked {
            request_id: record.request_id.clone(),
            ticket: origin.ticket.clone(),
            requested_by: origin.requested_by.clone(),
        })
    });
    let (mut requests, mut room) = (Vec::new(), MOST_REQUEST_BYTES);
    let mut left_out = 0;
    for one in asked.by_ref() {
        let size = serde_json::to_string(&one).map_or(0, |text| text.len() + 1);
        match room.checked_sub(size) {
            Some(left) if left_out == 0 => {
                room = left;
                requests.push(one);
            }
            _ => left_out += 1,
        }
    }
    let started = records.clone().filter(|record| matches!(record.fact, Fact::AttemptStarted(_)));
    Detail {
        tenant_id: tenant.clone(),
        target: target.kind,
        id: target.id.clone(),
        access_package_id: records.filter_map(package).last().map(str::to_owned),
        repair,
        seq: None,
        at: None,
        first: requests.first().cloned(),
        requests,
        requests_left_out: left_out,
        verdict: None,
        evidence: None,
        reason: None,
        attempts: started.count(),
        window_ends: None,
    }
}

fn of_repair(records: &[Record], repair: u64) -> impl Iterator<Item = &Record> + Clone {
    records.iter().filter(move |record| record.repair == Some(repair))
}

fn package(record: &Record) -> Option<&str> {
    match &record.fact {
        Fact::AttemptStarted(started) => started.access_package_id.as_deref(),
        Fact::DeliveryObserved(observed) => observed.access_package_id.as_deref(),
        _ => None,
    }
}

/// When the target was completed without success, as far as this record knows.
fn failed_at(record: &Record) -> Option<Timestamp> {
    match &record.fact {
        Fact::AttemptStarted(started) => started.before.completed_at,
        Fact::DeliveryObserved(observed) => observed.completed_at,
        _ => None,
    }
}

fn is_abandoned(fact: &Fact) -> bool {
    matches!(fact, Fact::RequestAbandoned { .. })
}

fn is_canceled(fact: &Fact) -> bool {
    matches!(fact, Fact::RequestAbandoned { why: AbandonWhy::Canceled, .. })
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::super::past::{Past, at, guid, request, sight};
    use super::super::record::PutOffWhy;
    use super::super::target::TargetKind::{self, AssignmentRequest};
    use super::*;

    fn abandoned(why: AbandonWhy) -> Fact {
        Fact::RequestAbandoned { why, state: None, http_status: None, error_code: None }
    }

    fn target() -> Target {
        Target { kind: AssignmentRequest, id: guid(1) }
    }

    /// A repair of `r1`, settled by `fact` of `by`, whose records stem from the given message.
    fn history(message: Option<&str>, by: &str, fact: Fact) -> Past {
        let mut past = Past::new(AssignmentRequest);
        let own = request(AssignmentRequest, "r1");
        past.start(&own, at(0), 1, &sight("DeliveryFailed", Some(0)));
        past.push(&request(AssignmentRequest, "r2"), at(1), Fact::RequestJoined {});
        past.push(&request(AssignmentRequest, by), at(2), fact);
        for record in &mut past.records {
            if !record.request_id.as_str().starts_with("cancel") {
                record.by.message_id = message.map(str::to_owned);
            }
        }
        past
    }

    #[test]
    fn who_tells_it_again() {
        let rejected = || abandoned(AbandonWhy::Rejected);
        let canceled = || abandoned(AbandonWhy::Canceled);
        let cases = [
            // The message that settled it came back.
            (history(Some("m1"), "r1", rejected()), "r1", Some("m1"), true),
            // Another message with the same id, another request of the repair, a direct question.
            (history(Some("m1"), "r1", rejected()), "r1", Some("m2"), false),
            (history(Some("m1"), "r1", rejected()), "r2", Some("m1"), false),
            (history(Some("m1"), "r1", rejected()), "r1", None, false),
            // A direct invocation settled it: its message, or its caller, comes back.
            (history(None, "r1", rejected()), "r1", Some("m1"), true),
            (history(None, "r1", rejected()), "r1", None, true),
            (history(None, "r1", rejected()), "r2", Some("m2"), false),
            // Canceled: every message that had part in it.
            (history(Some("m1"), "cancel:1", canceled()), "r1", Some("m1"), true),
            (history(Some("m1"), "cancel:1", canceled()), "r1", Some("m3"), false),
            (history(None, "cancel:1", canceled()), "r1", Some("m1"), true),
        ];
        for (index, (past, id, message, expected)) in cases.into_iter().enumerate() {
            let id = RequestId::parse(id).unwrap();
            let again = |now| is_to_be_told_again(&past.records, 3, &id, message, at(now));
            assert_eq!(again(2 + 35 * 60), expected, "case {index}");
            // Much later only a message that took part in it has something to say.
            let direct = past.records[2].by.message_id.is_none() && !is_canceled(&past.records[2].fact);
            assert_eq!(again(3 + 35 * 60), expected && !direct, "case {index}, later");
        }
    }

    #[test]
    fn cancellation_is_no_request_and_the_window_is_told_of_what_was_abandoned() {
        let past = history(None, "cancel:1", abandoned(AbandonWhy::Canceled));
        let event = settled(&target(), &past.records, 3, Some("package"), |failed_at| {
            failed_at + jiff::SignedDuration::from_secs(9)
        });
        let expected = format!(
            r#"{{"tenantId":"{}","target":"assignmentRequest","id":"{}","accessPackageId":"package","repair":1,"seq":3,"at":"{}","requestId":"r1","requests":[{{"requestId":"r1"}},{{"requestId":"r2"}}],"reason":"canceled","attempts":1,"windowEnds":"{}"}}"#,
            guid(7),
            guid(1),
            format_millis(at(2)),
            format_millis(at(9)),
        );
        assert_eq!(event.unwrap().detail.to_json(), expected);
        assert_eq!(
            settled(&target(), &past.records, 2, None, |at| at),
            None,
            "a record that settles nothing"
        );
    }

    #[test]
    fn request_that_opens_a_repair_near_its_end_stands_in_the_event() {
        let own = request(AssignmentRequest, "r1");
        let event = near_end(&guid(7), &own, &[], 1, Some("package"), at(5));
        let expected = format!(
            r#"{{"tenantId":"{}","target":"assignmentRequest","id":"{}","accessPackageId":"package","repair":1,"requestId":"r1","requests":[{{"requestId":"r1"}}],"attempts":0,"windowEnds":"{}"}}"#,
            guid(7),
            guid(1),
            format_millis(at(5)),
        );
        assert_eq!(event.detail.to_json(), expected);
    }

    #[test]
    fn thousands_of_requests_fit_into_what_an_event_may_hold() {
        let mut past = Past::new(TargetKind::AssignmentRequest);
        let own = request(TargetKind::AssignmentRequest, "r1");
        past.push(&own, at(0), Fact::RequestReceived { why: PutOffWhy::Moving });
        let first = past.records[0].clone();
        for n in 2..=4001 {
            let mut record = first.clone();
            record.seq = n;
            record.request_id = RequestId::parse(&format!("r{n}")).unwrap();
            record.origin.as_mut().unwrap().ticket = Some("ü".repeat(128));
            past.records.push(record);
        }
        let event = near_end(&guid(7), &own, &past.records, 1, None, at(5));
        let json = event.detail.to_json();
        assert!(json.len() < 256 * 1024, "{} bytes", json.len());
        assert!(event.detail.requests.len() > 500);
        assert_eq!(event.detail.requests.len() + event.detail.requests_left_out, 4001);
    }
}
