//! P1 to P5: harm at every call on every wire, and then redelivery. The oracle is the simulator's call log, the
//! queue, and the table read without our own code.

use std::time::Duration;

use futures::StreamExt;
use regrant::local::graph::{CallMatch, Fault, ObjectState};

use crate::rig::{Rig, body, failed_request};
use crate::wire::{HARMS, Harm};

/// A course of events at Graph, and how many reprocesses it takes.
#[derive(Clone, Copy, Debug)]
enum Course {
    Happy,
    Throttled,
    Lost,
    FailedAgain,
}

impl Course {
    fn needed(self) -> usize {
        match self {
            Self::Happy | Self::Throttled | Self::Lost => 1,
            Self::FailedAgain => 2,
        }
    }
}

/// Plays the course with one call harmed; returns how many calls there were.
async fn play(course: Course, harm: Option<(usize, Harm)>) -> usize {
    let mut rig = Rig::start(&[]).await;
    let mut object = failed_request(rig.stack.graph.now());
    let target = object.target.clone();
    match course {
        Course::Happy => {}
        Course::Throttled => {
            rig.stack
                .graph
                .fault(CallMatch::reprocess().on(&target.id), Fault::Throttle { retry_after: Some(40) });
        }
        Course::Lost => rig.stack.graph.fault(CallMatch::reprocess().on(&target.id), Fault::DropAfter),
        Course::FailedAgain => object.fail_deliveries = 1,
    }
    rig.stack.graph.put(object);
    if let Some((nth, harm)) = harm {
        rig.wire.harm(nth, harm);
    }
    rig.send(&body(&target, "r-1")).await;
    rig.drive(Duration::from_secs(150)).await;

    let story = format!("{course:?} {harm:?}: {:#?}\n{:#?}", rig.kinds(&target).await, rig.wire.calls());
    rig.assert_sound().await;
    assert_eq!(rig.stack.graph.state(&target), Some(ObjectState::Delivered), "{story}");
    assert_eq!(
        rig.applied(),
        course.needed(),
        "an accepted reprocess was sent twice, or one is missing: {story}"
    );
    let last = rig.records(&target).await.pop().unwrap();
    assert_eq!(
        (last["kind"].as_str(), last["verdict"].as_str()),
        (Some("deliveryObserved"), Some("delivered")),
        "{story}"
    );
    assert_eq!(rig.queued().await, 0);
    rig.wire.calls().len()
}

/// Every harm at every call of the course.
async fn play_all(course: Course) {
    let calls = play(course, None).await;
    assert!(calls >= 10, "only {calls} calls were seen");
    let cases = (1..=calls).flat_map(|nth| HARMS.map(|harm| (nth, harm)));
    // Few at once: the calls' own timeouts are real, and a crowded machine must not cause them.
    let played = futures::stream::iter(cases).map(async |case| tokio::spawn(play(course, Some(case))).await);
    let mut played = std::pin::pin!(played.buffer_unordered(6));
    while let Some(played) = played.next().await {
        played.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn happy_course_survives_harm_at_every_call() {
    play_all(Course::Happy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_course_survives_harm_at_every_call() {
    play_all(Course::Throttled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_survives_harm_at_every_call() {
    play_all(Course::Lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_failure_survives_harm_at_every_call() {
    play_all(Course::FailedAgain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn happy_path_takes_exactly_the_calls_that_it_must() {
    let mut rig = Rig::start(&[]).await;
    let mut object = failed_request(rig.stack.graph.now());
    object.delivery_delay = Duration::from_secs(60);
    let target = object.target.clone();
    rig.stack.graph.put(object);
    rig.send(&body(&target, "r-1")).await;
    assert_eq!(rig.deliver().await.kept.len(), 1);
    rig.pass(Duration::from_secs(150));
    assert_eq!(rig.deliver().await.deleted.len(), 1);
    let count = |what: &str| rig.wire.calls().iter().filter(|call| call.what.contains(what)).count();
    assert_eq!(
        (
            count("/reprocess"),
            count("GET "),
            count("ExecuteStatement"),
            count("Query"),
            count("ChangeMessageVisibility"),
            count("oauth2")
        ),
        (1, 2, 3, 2, 1, 1)
    );
    assert_eq!(rig.wire.calls().len(), 10);
    assert_eq!(rig.kinds(&target).await, ["attemptStarted", "attemptEnded", "deliveryObserved"]);
    rig.assert_sound().await;
}
