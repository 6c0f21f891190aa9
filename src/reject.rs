//! A message that is not a request: recorded once, then acknowledged. Calls nobody.

use crate::clients::{Clients, Delivery};
use crate::domain::chain::sha256_hex;
use crate::domain::record::{Fact, Origin, Record, VERSION};
use crate::domain::redact::{cut, redact_body};
use crate::domain::request::{RequestError, RequestId};
use crate::reprocess::{MOST_CONFLICTS, Then};
use crate::telemetry;
use crate::trail::{AppendError, HistoryError};

/// Of the body, so much is kept.
const MOST_OF_BODY: usize = 4096;
const MOST_OF_ERROR: usize = 2048;

/// Appends `messageRejected` and settles the message; a redelivery of the same bytes writes no second record.
/// If the record cannot be stored, the message stays.
pub async fn reject(
    clients: &Clients,
    body: &str,
    error: &RequestError,
    delivery: &Delivery,
    message_id: &str,
) -> Then {
    let error = cut(&error.to_string(), MOST_OF_ERROR);
    let body_sha256 = sha256_hex(body.as_bytes());
    let key = format!("{}#message#{message_id}", clients.trail.tenant());
    telemetry::message_rejected(message_id, &error);
    for _ in 0..MOST_CONFLICTS {
        let history = match clients.trail.history(key.clone(), delivery.store_patience()).await {
            Ok(history) => history,
            Err(HistoryError::Store(error)) => return no_table(clients, delivery, message_id, &error),
            Err(HistoryError::Unreadable(error)) => {
                telemetry::unreadable(message_id, &error);
                break;
            }
        };
        let known = |record: &Record| matches!(&record.fact, Fact::MessageRejected { body_sha256: stored, .. } if *stored == body_sha256);
        if history.records.iter().any(known) {
            return Then::Settled;
        }
        let record = Record {
            v: VERSION,
            fact: Fact::MessageRejected {
                error: error.clone(),
                body: redact_body(body, MOST_OF_BODY),
                body_sha256: body_sha256.clone(),
            },
            tenant_id: clients.trail.tenant().clone(),
            target: None,
            id: None,
            repair: None,
            seq: history.head.seq + 1,
            at: clients.clock.now(),
            request_id: RequestId::of_message(message_id),
            by: clients.signature(delivery),
            origin: history.records.is_empty().then(|| Origin {
                requested_by: None,
                reason: None,
                ticket: None,
                source: delivery.source.clone(),
            }),
        };
        match clients.trail.append(&key, &history.head, &record, delivery.store_patience()).await {
            Ok(_) => return Then::Settled,
            Err(AppendError::Conflict) => {}
            Err(AppendError::Store(error)) => return no_table(clients, delivery, message_id, &error),
        }
    }
    Then::PutOff(clients.later(delivery.receive_count))
}

fn no_table(clients: &Clients, delivery: &Delivery, message_id: &str, error: &anyhow::Error) -> Then {
    telemetry::no_table(message_id, error);
    Then::Halt(clients.later(delivery.receive_count))
}
