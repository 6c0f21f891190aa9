//! Many requests at once: bounded, isolated from each other, one at a time per target. Decides nothing, and
//! neither reads nor answers events.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::FutureExt;
use futures::stream::{self, StreamExt};

use crate::clock::Deadline;
use crate::domain::target::Target;

/// One of the batch: what it acts on, so that two of the same target are handled one after the other.
pub struct Task<T> {
    pub target: Option<Target>,
    pub work: T,
}

/// How one task ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<R> {
    Done(R),
    Panicked,
    /// Dropped short before the deadline: its message comes back, its lease protects its target till then.
    OutOfTime,
}

/// Set by the first task that finds that no other can succeed either.
#[derive(Default)]
pub struct Halt(AtomicBool);

impl Halt {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs all tasks, at most `concurrency` targets at once, and returns what became of each, in order. Whatever
/// still runs when only `reserve` is left before the deadline is dropped.
pub async fn run_all<T, R, F>(
    tasks: Vec<Task<T>>,
    concurrency: usize,
    (deadline, reserve): (&Deadline, Duration),
    run: impl Fn(usize, T) -> F,
) -> Vec<Ended<R>>
where
    F: Future<Output = R>,
{
    let mut results = Vec::new();
    results.resize_with(tasks.len(), || Ended::OutOfTime);
    let lanes = lanes(tasks);
    let lanes = stream::iter(lanes).map(|lane| async {
        let mut ended = Vec::with_capacity(lane.len());
        for (index, work) in lane {
            ended.push((index, isolated(deadline.left_less(reserve), run(index, work)).await));
        }
        ended
    });
    let mut lanes = lanes.buffer_unordered(concurrency.max(1));
    while let Some(ended) = lanes.next().await {
        for (index, result) in ended {
            results[index] = result;
        }
    }
    results
}

/// Tasks of one target in one lane, in their order; tasks without a target each in their own.
fn lanes<T>(tasks: Vec<Task<T>>) -> Vec<Vec<(usize, T)>> {
    let mut lane_of = BTreeMap::new();
    let mut lanes: Vec<Vec<(usize, T)>> = Vec::new();
    for (index, task) in tasks.into_iter().enumerate() {
        let lane = match task.target {
            Some(target) => *lane_of.entry(target).or_insert(lanes.len()),
            None => lanes.len(),
        };
        if lane == lanes.len() {
            lanes.push(Vec::new());
        }
        lanes[lane].push((index, task.work));
    }
    lanes
}

async fn isolated<R>(time: Duration, work: impl Future<Output = R>) -> Ended<R> {
    match tokio::time::timeout(time, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(done)) => Ended::Done(done),
        Ok(Err(_)) => Ended::Panicked,
        Err(_) => Ended::OutOfTime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::domain::target::{Guid, TargetKind};

    fn target(last: char) -> Option<Target> {
        let id = format!("d82eb508-acc4-43cc-bcf1-7c1c4a2c073{last}");
        Some(Target { kind: TargetKind::Assignment, id: Guid::parse(&id).unwrap() })
    }

    #[test]
    fn tasks_of_one_target_share_a_lane_in_their_order() {
        let tasks = [target('1'), None, target('2'), target('1'), None]
            .into_iter()
            .enumerate()
            .map(|(work, target)| Task { target, work })
            .collect();
        assert_eq!(lanes(tasks), vec![vec![(0, 0), (3, 3)], vec![(1, 1)], vec![(2, 2)], vec![(4, 4)]]);
    }

    #[tokio::test]
    async fn a_panic_ends_one_task_and_no_other() {
        let clock = Clock::default();
        let deadline = Deadline { at: clock.now() + Duration::from_secs(60), clock };
        let tasks = (0..3).map(|work| Task { target: target('1'), work }).collect();
        let ended = run_all(tasks, 2, (&deadline, Duration::ZERO), |_, work| async move {
            assert_ne!(work, 1, "on purpose");
            work
        });
        assert_eq!(ended.await, vec![Ended::Done(0), Ended::Panicked, Ended::Done(2)]);
    }

    #[tokio::test]
    async fn work_that_runs_into_the_deadline_is_dropped() {
        let clock = Clock::default();
        let deadline = Deadline { at: clock.now(), clock };
        let tasks = vec![Task { target: None, work: () }];
        let ended = run_all(tasks, 1, (&deadline, Duration::ZERO), |_, ()| std::future::pending::<()>());
        assert_eq!(ended.await, vec![Ended::OutOfTime]);
    }
}
