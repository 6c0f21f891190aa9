//! What the Graph simulator knows before the worker starts: an object for each target, with a fate by its position.

use std::time::Duration;

use regrant::domain::target::TargetKind;
use regrant::local::graph::{CallMatch, Fault, GraphSimulator, ObjectState, Simulated};

use super::input::Input;

/// Long enough that the first look finds the delivery still under way.
const DELIVERY_DELAY: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy)]
enum Fate {
    Delivers,
    FailsOnce,
    Throttled,
    AnswerLost,
    AlreadyDelivered,
    Unavailable,
}

/// An assignment request's fates, in turn.
const OF_REQUESTS: [Fate; 6] = [
    Fate::Delivers,
    Fate::FailsOnce,
    Fate::Throttled,
    Fate::AnswerLost,
    Fate::AlreadyDelivered,
    Fate::Unavailable,
];

/// An assignment's fates, in turn. It must be delivered to be reprocessed, and failing settles it.
const OF_ASSIGNMENTS: [Fate; 4] = [Fate::Delivers, Fate::Throttled, Fate::AnswerLost, Fate::Unavailable];

/// Puts an object for each target in place; says a line for each.
pub fn seed(graph: &GraphSimulator, input: &Input, no_faults: bool) -> Vec<String> {
    let (mut requests, mut assignments) = (OF_REQUESTS.iter().cycle(), OF_ASSIGNMENTS.iter().cycle());
    let mut lines = Vec::new();
    for target in &input.targets {
        let (next, object) = match target.kind {
            TargetKind::AssignmentRequest => {
                (requests.next(), Simulated::failed_request(target.id.clone(), graph.now()))
            }
            TargetKind::Assignment => {
                (assignments.next(), Simulated::delivered_assignment(target.id.clone(), graph.now()))
            }
        };
        let fate = next.copied().filter(|_| !no_faults).unwrap_or(Fate::Delivers);
        let vias = input.vias.iter().filter(|(of, _)| of == target);
        let mut object = Simulated {
            delivery_delay: DELIVERY_DELAY,
            via: vias.map(|(_, via)| via.clone()).collect(),
            ..object
        };
        let reprocess = CallMatch::reprocess().on(&target.id);
        let said = match fate {
            Fate::Delivers => "delivers",
            Fate::FailsOnce => {
                object.fail_deliveries = 1;
                "fails once more, then delivers"
            }
            Fate::Throttled => {
                graph.fault(reprocess, Fault::Throttle { retry_after: Some(1) });
                "is throttled once (429), then delivers"
            }
            Fate::AnswerLost => {
                graph.fault(reprocess, Fault::DropAfter);
                "is accepted but the answer is lost, then delivers"
            }
            Fate::AlreadyDelivered => {
                object.state = ObjectState::Delivered;
                "is delivered already, nothing to repair"
            }
            Fate::Unavailable => {
                graph.fault(reprocess, Fault::status(503, "ServiceUnavailable"));
                "is unavailable once (503), then delivers"
            }
        };
        graph.put(object);
        lines.push(format!("{} {} {said}", target.kind.as_str(), target.id));
    }
    lines
}
