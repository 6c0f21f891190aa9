//! When a repair comes near the end of the window in which Graph takes its target. Decides nothing and tells nobody.
//!
//! ```text
//! completed          WINDOW less 48 h      WINDOW
//!    +------------------------+---------------+--->
//!      records, not near      ^ the first record from here on remembers that it was told
//! ```

use std::time::Duration;

use jiff::Timestamp;

use super::pace::{Circumstances, after};
use super::record::Verdict;
use super::reply::Sight;
use super::state::Repair;
use super::target::TargetKind;

/// So long before the window's end somebody can still repair by hand what regrant could not.
pub const NEAR: Duration = Duration::from_secs(48 * 60 * 60);

/// When the window ends, if that is near now and the trail does not show that an earlier delivery knew it too:
/// no record of the repair that was made with that question asked is younger than the beginning of these 48 hours.
///
/// Uses the latest completion known: the trail's, or that of a look which shows a failed delivery. `None` for
/// assignments, which have no window, and while no completion is known.
pub fn newly_near(
    repair: Option<&Repair>,
    sight: Option<&Sight>,
    at: &Circumstances<'_>,
) -> Option<Timestamp> {
    if at.request.target.kind != TargetKind::AssignmentRequest {
        return None;
    }
    let known = repair.and_then(Repair::failed_at);
    let seen = sight.filter(|sight| is_failed(&sight.state)).and_then(|sight| sight.completed_at);
    let ends = after(known.max(seen)?, at.policy.window);
    let near_from = ends.saturating_sub(NEAR).unwrap_or(Timestamp::MIN);
    let judged_at = repair.filter(|_| known.is_some()).and_then(|repair| repair.judged_at);
    let is_known = judged_at.is_some_and(|judged_at| judged_at >= near_from);
    (at.now >= near_from && !is_known).then_some(ends)
}

fn is_failed(state: &str) -> bool {
    matches!(super::decide::verdict(state), Some(Verdict::DeliveryFailed | Verdict::PartiallyDelivered))
}

#[cfg(test)]
mod tests {
    use super::super::pace::Policy;
    use super::super::past::{Past, answered, at, circumstances, request, sight};
    use super::super::record::{Fact, PutOffWhy};
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    /// Whether it is newly near at `now`, for a repair whose records stand at `records`, first an attempt.
    fn near(kind: TargetKind, records: &[i64], seen: Option<(&str, i64)>, now: i64) -> bool {
        let own = request(kind, "a");
        let mut past = Past::new(kind);
        for (index, secs) in records.iter().enumerate() {
            match index {
                0 => drop(past.start(&own, at(*secs), 1, &sight("DeliveryFailed", Some(0)))),
                _ => past.push(
                    &own,
                    at(*secs),
                    Fact::DeliveryPending { attempt: Some(1), state: "Delivering".to_owned(), status: None },
                ),
            }
        }
        let (state, policy) = (past.state(), Policy::default());
        let sight = seen.map(|(state, completed)| sight(state, Some(completed)));
        newly_near(state.repair.as_ref(), sight.as_ref(), &circumstances(&own, at(now), &policy)).is_some()
    }

    #[test]
    fn it_is_near_once_from_48_hours_before_the_end() {
        const REQUEST: TargetKind = TargetKind::AssignmentRequest;
        let cases: [(&[i64], _, i64, bool); 10] = [
            (&[HOUR], None, 12 * DAY - 1, false),
            (&[HOUR], None, 12 * DAY, true),
            (&[HOUR, 12 * DAY - 1], None, 12 * DAY, true),
            (&[HOUR, 12 * DAY], None, 12 * DAY + HOUR, false),
            (&[HOUR], None, 15 * DAY, true),
            // Failed again since: a new window.
            (&[HOUR], Some(("deliveryFailed", 11 * DAY)), 13 * DAY, false),
            // Anything else than a failed delivery has no window.
            (&[HOUR], Some(("delivering", 11 * DAY)), 13 * DAY, true),
            // Only a look knows it.
            (&[], Some(("PartiallyDelivered", 0)), 12 * DAY - 1, false),
            (&[], Some(("PartiallyDelivered", 0)), 12 * DAY, true),
            (&[], None, 13 * DAY, false),
        ];
        for (records, seen, now, expected) in cases {
            assert_eq!(near(REQUEST, records, seen, now), expected, "{records:?} {seen:?} {now}");
        }
        assert!(!near(TargetKind::Assignment, &[HOUR], None, 13 * DAY), "assignments have no window");
    }

    #[test]
    fn record_of_a_sweep_or_of_a_calls_end_remembers_nothing() {
        let own = request(TargetKind::AssignmentRequest, "a");
        let near_at = |past: &Past, now: i64| {
            let (state, policy) = (past.state(), Policy::default());
            newly_near(state.repair.as_ref(), None, &circumstances(&own, at(now), &policy)).is_some()
        };
        let mut past = Past::new(TargetKind::AssignmentRequest);
        let call = past.start(&own, at(12 * DAY - 1), 1, &sight("DeliveryFailed", Some(0)));
        past.end(&own, at(12 * DAY), 1, call, answered(202));
        assert!(near_at(&past, 12 * DAY + 1), "the call's end was recorded");
        let sweeps = request(TargetKind::AssignmentRequest, "sweep:after:2");
        past.push(&sweeps, at(12 * DAY + HOUR), Fact::RequestJoined {});
        assert!(near_at(&past, 12 * DAY + HOUR + 1), "a sweep sent it again");
        let another = request(TargetKind::AssignmentRequest, "b");
        past.push(&another, at(12 * DAY + 2 * HOUR), Fact::RequestJoined {});
        assert!(!near_at(&past, 12 * DAY + 2 * HOUR + 1), "a worker took another request");
    }

    #[test]
    fn a_young_record_that_knew_no_window_remembers_nothing() {
        let own = request(TargetKind::AssignmentRequest, "a");
        let mut past = Past::new(TargetKind::AssignmentRequest);
        past.push(&own, at(13 * DAY), Fact::RequestReceived { why: PutOffWhy::Throttled });
        let (state, policy) = (past.state(), Policy::default());
        let sight = sight("DeliveryFailed", Some(0));
        let circumstances = circumstances(&own, at(13 * DAY + 60), &policy);
        assert_eq!(newly_near(state.repair.as_ref(), Some(&sight), &circumstances), Some(at(14 * DAY)));
    }
}
