//! What the worker must reach, measured: `cargo bench --bench worker` prints the limits beside the figures. It runs
//! against the embedded servers in this process, with the worker built as for deployment, and judges only by its
//! table: the exit code says whether it could measure, not whether a limit was met.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot measure ends")]

mod built;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/kill_wire.rs"]
mod kill_wire;
mod load;
mod ready;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/runtime_api.rs"]
mod runtime_api;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kill_wire::Wires;
use load::{Load, forever, stack};
use table::{Row, median};

/// After each batch's first delivery its messages stay away from the next one.
const FIRST_DELIVERIES_ONLY: (&str, &str) = ("CHECK_AFTER", "1h");
/// Large against a tick of the processes' CPU clocks, which is 10 ms.
const MESSAGES: usize = 10_000;
/// By then every pool and buffer has its size.
const WARM: usize = 2_000;
const SECOND_DELIVERIES: usize = 2_000;
const BATCHES: usize = 20;
const GRAPH_LATENCY: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let built = built::build();
    let mut rows = ready::measure(&built).await;
    rows.push(warm_batch(&built.worker).await);
    rows.push(calls(&built.worker).await);
    rows.extend(many_messages(&built.worker).await);
    let bytes = std::fs::metadata(&built.worker).unwrap().len();
    let size = bytes as f64 / 1e6;
    rows.push(Row::new("binary, stripped, MB", 12.0, size, "the file's size".to_owned()));
    table::print(&rows);
}

/// Look and call take the simulator 100 ms each: side by side for all ten, a batch takes little more than 200 ms.
async fn warm_batch(worker: &Path) -> Row {
    let stack = stack().await;
    stack.graph.set_latency(GRAPH_LATENCY);
    let mut load = Load::start(worker, stack, &[FIRST_DELIVERIES_ONLY]).await;
    let mut taken = Vec::new();
    for _ in 0..BATCHES + 2 {
        load.send(10).await;
        let batch = load.batch().await;
        assert_eq!((batch.kept.len(), batch.deleted), (10, 0));
        taken.push(batch.taken.as_secs_f64() * 1000.0);
    }
    let warm = &mut taken[2..];
    let how = format!(
        "event handed over to response, 10 assignment requests, 100 ms latency a Graph call: median of {BATCHES} \
         after 2, {:.0} to {:.0}",
        warm.iter().copied().fold(f64::INFINITY, f64::min),
        warm.iter().copied().fold(0.0, f64::max)
    );
    Row::new("warm batch of 10, ms", 240.0, median(warm), how)
}

/// The happy path of one request, every call of the process counted by a proxy before each server.
async fn calls(worker: &Path) -> Row {
    let stack = stack().await;
    let wires = Wires::start(&stack, None).await;
    let urls = wires.environment(&stack);
    let changes = urls.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
    let mut load = Load::start(worker, stack, &changes).await;
    load.send(1).await;
    let mut deliveries = 0;
    loop {
        let batch = load.batch().await;
        deliveries += usize::from(batch.received > 0);
        if batch.deleted == 1 {
            break;
        }
    }
    let mut counts = BTreeMap::<String, usize>::new();
    wires.calls().into_iter().for_each(|call| *counts.entry(call).or_default() += 1);
    let found = counts.iter().map(|(call, count)| format!("{count} {call}")).collect::<Vec<_>>().join(", ");
    let expected = "1 ChangeMessageVisibilityBatch, 3 ExecuteStatement, 2 GET, 1 POST, 2 Query, 1 token";
    let how = format!("{deliveries} deliveries of one request, by a proxy before each server: {found}");
    let met = found == expected && deliveries == 2;
    Row::exactly("calls of the happy path", 10, counts.values().sum(), met, how)
}

/// CPU and memory: first deliveries by one process, second ones of some of the messages by another.
async fn many_messages(worker: &Path) -> Vec<Row> {
    let mut load = Load::start(worker, stack().await, &[FIRST_DELIVERIES_ONLY]).await;
    let mut receipts = load.deliver(10).await;
    let before = load.cpu_ms();
    receipts.extend(load.deliver(WARM - 10).await);
    let warm = load.peak_mb();
    eprintln!("{WARM} of {MESSAGES} messages");
    receipts.extend(load.deliver(MESSAGES - WARM).await);
    let first = Cpu::between(before, load.cpu_ms(), MESSAGES - 10);
    let peak = load.peak_mb();

    load.restart(worker, &[("CHECK_AFTER", "1s")]).await;
    receipts.truncate(SECOND_DELIVERIES);
    let (warm_up, rest) = receipts.split_at(10);
    load.redeliver(warm_up).await;
    let before = load.cpu_ms();
    load.redeliver(rest).await;
    let second = Cpu::between(before, load.cpu_ms(), rest.len());
    forever(load);

    let first_way = "history, look, 2 appends, call";
    vec![
        Row::new("CPU a first delivery, ms", 1.0, first.total(), first.how(MESSAGES, first_way)),
        Row::new(
            "CPU a second delivery, ms",
            1.0,
            second.total(),
            second.how(SECOND_DELIVERIES, "history, look, append"),
        ),
        Row::new("peak memory, MB", 32.0, peak, format!("VmHWM after {MESSAGES} messages")),
        Row::new(
            "growth of it, MB",
            1.0,
            peak - warm,
            format!("VmHWM from message {WARM} to {MESSAGES}; flat"),
        ),
    ]
}

/// What one message took of the processor, in milliseconds.
struct Cpu {
    user: f64,
    system: f64,
}

impl Cpu {
    fn between(before: [f64; 2], after: [f64; 2], messages: usize) -> Self {
        let each = |index: usize| (after[index] - before[index]) / messages as f64;
        Self { user: each(0), system: each(1) }
    }

    fn total(&self) -> f64 {
        self.user + self.system
    }

    fn how(&self, messages: usize, way: &str) -> String {
        let Self { user, system } = self;
        format!("of the process over {messages} messages, {user:.2} user and {system:.2} system: {way}")
    }
}
