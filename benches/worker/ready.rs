//! From spawn to the first poll, the worker beside a bare function; and that nothing is connected until then.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::built::Built;
use crate::runtime_api::Function;
use crate::table::{Row, median};

const ROUNDS: usize = 41;
/// Settings that start a worker; what it connects to is put in beside them.
const SETTINGS: [(&str, &str); 9] = [
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "local"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
    ("AUDIT_TABLE", "regrant-audit"),
    ("QUEUE_URL", "http://127.0.0.1/000000000000/regrant-requests"),
    ("GRAPH_TENANT_ID", "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b"),
    ("GRAPH_CLIENT_ID", "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b"),
    ("GRAPH_CREDENTIAL", "secret"),
    ("GRAPH_CLIENT_SECRET", "of this benchmark"),
];
/// Whoever connects in the background has done so by then.
const AFTERWARDS: Duration = Duration::from_millis(20);

/// Both programs in turn, so that whatever else the machine does hits both alike.
pub async fn measure(built: &Built) -> Vec<Row> {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}", trap.local_addr().unwrap());
    let mut settings = SETTINGS.map(|(name, value)| (name, value.to_owned())).to_vec();
    settings
        .extend(["AWS_ENDPOINT_URL", "GRAPH_ENDPOINT", "GRAPH_AUTHORITY"].map(|name| (name, url.clone())));
    let (mut worker, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(start(&built.bare, &[]).await);
        worker.push(start(&built.worker, &settings).await);
    }
    let connected = std::iter::from_fn(|| trap.accept().ok()).count();
    let (worker, bare) = (median(&mut worker), median(&mut bare));
    let how = format!(
        "spawn to first poll, medians of {ROUNDS} in turn: worker {worker:.2} ms, bare `lambda_runtime` {bare:.2} ms"
    );
    let before = "connections made before the first event, to any endpoint".to_owned();
    vec![
        Row::new("ready, times the bare one", 1.5, worker / bare, how),
        Row::new("connected before an event", 0.0, connected as f64, before),
    ]
}

async fn start(program: &Path, settings: &[(&str, String)]) -> f64 {
    let function = Function::start(program.to_str().unwrap(), settings).await;
    let ready = function.ready().await.expect("it starts");
    tokio::time::sleep(AFTERWARDS).await;
    ready.as_secs_f64() * 1000.0
}
