//! Several worker bootstraps, each fed by an event source of its own, some of them killed on the way; and the other
//! programs, run once. Checks nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regrant::local::aws::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use regrant::local::poller::Poller;
use regrant::local::sqs::depth;
use regrant::local::{AUDIT_TABLE, COMPRESSED};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::emulators::{BUCKET, BUS, Emulators};
use crate::load::MAX_ATTEMPTS;
use crate::runtime_api::{Ended, Function, Process};

/// As the event source's `MaximumConcurrency`.
const WORKERS: usize = 4;
/// Six times that is the queue's visibility timeout in the template; here it is shorter, so that a killed worker's
/// messages come back soon.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(12);
/// A direct request's message comes that much later, and a few seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A killed process comes that long after the last.
const KILL_EVERY: Duration = Duration::from_secs(3);
const KILLS: usize = 3;
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The variables of each program, as the template sets them.
pub struct Settings {
    common: Vec<(&'static str, String)>,
    graph: Vec<(&'static str, String)>,
    secret_id: String,
    certificate_id: String,
}

type Variables = Vec<(&'static str, String)>;

impl Settings {
    pub fn of(emulators: &Emulators) -> Self {
        let root = emulators.folder.join("root.pem");
        let common = vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", emulators.dynamodb.url.clone()),
            ("AWS_ENDPOINT_URL_SQS", emulators.moto.clone()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", emulators.moto.clone()),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", emulators.bus.clone()),
            ("AWS_ENDPOINT_URL_S3", emulators.moto.clone()),
            ("AWS_ENDPOINT_URL_STS", emulators.stand_in.url.clone()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AUDIT_TABLE", AUDIT_TABLE.to_owned()),
            ("GRAPH_TENANT_ID", emulators.tenant().to_string()),
            ("SSL_CERT_FILE", root.to_str().unwrap().to_owned()),
        ];
        let graph = vec![
            ("QUEUE_URL", emulators.queue.url.clone()),
            ("GRAPH_CLIENT_ID", emulators.application.client_id.to_string()),
            ("GRAPH_ENDPOINT", emulators.graph_url.clone()),
            ("GRAPH_AUTHORITY", emulators.graph_url.clone()),
            ("MAX_ATTEMPTS", MAX_ATTEMPTS.to_string()),
        ];
        let (secret_id, certificate_id) = (emulators.secret_id.clone(), emulators.certificate_id.clone());
        Self { common, graph, secret_id, certificate_id }
    }

    pub fn worker_with(&self, credential: &str) -> Variables {
        let mut variables = self.of_graph(credential);
        variables.extend(COMPRESSED.map(|(name, value)| (name, value.to_owned())));
        variables.push(("EVENT_BUS", BUS.to_owned()));
        variables
    }

    pub fn sweep(&self) -> Variables {
        let mut variables = self.of_graph("certificate");
        variables.push(("AWS_LAMBDA_FUNCTION_NAME", "sweep".to_owned()));
        variables
    }

    pub fn report(&self) -> Variables {
        let mut variables = self.common.clone();
        variables.push(("REPORT_BUCKET", BUCKET.to_owned()));
        variables.push(("AWS_LAMBDA_FUNCTION_NAME", "report".to_owned()));
        variables
    }

    pub fn command_line(&self) -> Variables {
        let mut variables = self.common.clone();
        variables.extend(self.graph.clone());
        variables
    }

    fn of_graph(&self, credential: &str) -> Variables {
        let mut variables = self.command_line();
        variables.push(("GRAPH_CREDENTIAL", credential.to_owned()));
        match credential {
            "secret" => variables.push(("GRAPH_SECRET_ID", self.secret_id.clone())),
            "certificate" => variables.push(("GRAPH_SECRET_ID", self.certificate_id.clone())),
            _ => {}
        }
        variables
    }
}

/// The bootstrap of a function: the released one where there is one, else the development build.
pub fn program(name: &str) -> String {
    let released = std::env::var("REGRANT_REAL_FUNCTIONS");
    let released = released.map(|folder| PathBuf::from(folder).join(name).join("bootstrap"));
    let path = match released {
        Ok(path) if path.is_file() => path,
        _ => Path::new(env!("CARGO_BIN_EXE_worker")).with_file_name(name),
    };
    assert!(path.is_file(), "there is no {}: run .ci/real", path.display());
    path.to_str().unwrap().to_owned()
}

/// How the command line ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    #[expect(dead_code, reason = "shown when an assertion fails")]
    pub stderr: String,
}

pub fn regrant(variables: &Variables, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrant"));
    let variables = variables.iter().map(|(name, value)| (name, value));
    let output = command.env_clear().envs(variables).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The function's answer to one event, which must be one.
pub async fn one_answer(function: &Function, payload: String) -> Value {
    match function.invoke(payload, ANSWER_WITHIN).await {
        Ended::Response(answer) => answer,
        other => panic!("{other:?}"),
    }
}

struct Slot {
    process: Mutex<Option<Arc<Process>>>,
    output: Mutex<String>,
}

pub struct Fleet {
    slots: Vec<Arc<Slot>>,
    sources: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

impl Fleet {
    pub async fn start(emulators: &Emulators, settings: &Settings) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let (mut slots, mut sources) = (Vec::new(), Vec::new());
        for _ in 0..WORKERS {
            let slot = Arc::new(Slot { process: Mutex::default(), output: Mutex::default() });
            let poller = Poller {
                client: emulators.sqs(),
                queue_url: emulators.queue.url.clone(),
                queue_arn: emulators.queue.arn.clone(),
                function_timeout: FUNCTION_TIMEOUT,
                wait: Duration::from_secs(1),
            };
            let source =
                feed(poller, Arc::clone(&slot), settings.worker_with("secret"), Arc::clone(&stopping));
            sources.push(tokio::spawn(source));
            slots.push(slot);
        }
        Self { slots, sources, stopping }
    }

    /// Waits until the queue holds nothing at all: every message was acknowledged. With `kill`, some processes are
    /// killed meanwhile, whatever they are doing.
    pub async fn until_empty(&self, emulators: &Emulators, patience: Duration, kill: bool) {
        let (sqs, began) = (emulators.sqs(), Instant::now());
        let mut killed = 0;
        loop {
            let depth = depth(&sqs, &emulators.queue.url).await.unwrap();
            if depth.total() == 0 {
                return;
            }
            assert!(began.elapsed() < patience, "not settled in time: {depth:?}");
            assert!(self.sources.iter().all(|source| !source.is_finished()), "an event source ended");
            if kill && killed < KILLS && began.elapsed() > KILL_EVERY * (killed as u32 + 1) {
                let process = self.slots[killed % WORKERS].process.lock().unwrap().clone();
                if let Some(process) = process {
                    process.kill();
                    killed += 1;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends every process; all that they wrote.
    pub async fn stop(self) -> String {
        self.stopping.store(true, Ordering::Relaxed);
        for source in self.sources {
            source.await.unwrap();
        }
        self.slots.iter().map(|slot| slot.output.lock().unwrap().clone()).collect()
    }
}

/// Receives batches and invokes the function with them; starts a new process for one that died.
async fn feed(poller: Poller, slot: Arc<Slot>, variables: Variables, stopping: Arc<AtomicBool>) {
    while !stopping.load(Ordering::Relaxed) {
        let function = Function::start(&program("worker"), &variables).await;
        let process = function.process();
        *slot.process.lock().unwrap() = Some(Arc::clone(&process));
        let died = AtomicBool::new(false);
        while !stopping.load(Ordering::Relaxed) && !died.load(Ordering::Relaxed) {
            let invoke = async |payload: String, _| match function.invoke(payload, FUNCTION_TIMEOUT).await {
                Ended::Response(answer) => Ok(answer),
                Ended::Error(error) => panic!("the function failed: {error}"),
                Ended::Died => {
                    died.store(true, Ordering::Relaxed);
                    anyhow::bail!("the process is gone")
                }
            };
            poller.poll(invoke).await.unwrap();
        }
        process.kill();
        let output = process.output().await;
        slot.output.lock().unwrap().push_str(&output);
    }
}
