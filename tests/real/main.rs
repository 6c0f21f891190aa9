//! The released functions end to end: bootstraps under a Lambda runtime API, fed from an SQS server that is not the
//! embedded one, with secrets from Secrets Manager, events on an EventBridge bus, reports in S3, and Graph over TLS.
//! Not part of `cargo test`: `.ci/real` builds what it needs and runs it.
//!
//! `REGRANT_REAL_MOTO` is the `moto_server` to start, `REGRANT_REAL_FUNCTIONS` a folder with a folder for each
//! function and its `bootstrap` in it; where there is none, the development build runs.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, but not in what they share")]
#![allow(clippy::disallowed_methods, reason = "the test may read the clock and its own environment")]

mod checks;
mod emulators;
mod fleet;
mod load;
#[expect(dead_code, reason = "how long a start takes is measured elsewhere")]
#[path = "../it/runtime_api.rs"]
mod runtime_api;
mod stand_in;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::emulators::Emulators;
use self::fleet::{Fleet, Settings, one_answer, program, regrant};
use self::load::Load;

/// So many targets come by `submit`, and so many are left for the sweep, which may have three of four.
const SUBMITTED: usize = 640;
const SWEPT: usize = 440;
/// Through direct invocations, half of them with a certificate and half federated.
const DIRECT: usize = 40;
/// However busy the machine is.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousand_requests_with_mixed_faults_are_settled_and_told_truly() {
    let began = Instant::now();
    let emulators = Emulators::start().await;
    // Midnight may pass meanwhile.
    let first_day = emulators.graph.now().to_string()[..10].to_owned();
    let load = Load::new(SUBMITTED + SWEPT + DIRECT, emulators.graph.now());
    let (submitted, rest) = load.requests.split_at(SUBMITTED);
    let (swept, direct) = rest.split_at(SWEPT);
    let settings = Settings::of(&emulators);

    // A person sends most of them, with some lines that are no requests between them.
    load.put(&emulators.graph, submitted);
    let file = emulators.folder.join("failed.jsonl");
    std::fs::write(&file, load::lines(submitted)).unwrap();
    let said = regrant(&settings.command_line(), &["submit", "--file", file.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    load::send_what_is_no_request(&emulators).await;

    let fleet = Fleet::start(&emulators, &settings).await;
    fleet.until_empty(&emulators, PATIENCE, true).await;
    say(began, "submitted requests are settled");

    // The sweep finds the others, and nothing that was given up.
    load.put(&emulators.graph, swept);
    let sweep = runtime_api::Function::start(&program("sweep"), &settings.sweep()).await;
    let event = std::fs::read_to_string("events/sweep-scheduled.json").unwrap();
    let dry = one_answer(&sweep, json!({ "dryRun": true }).to_string()).await;
    let answer = one_answer(&sweep, event.clone()).await;
    let again = one_answer(&sweep, event).await;
    checks::sweep(&load, swept, &dry, &answer, &again);
    fleet.until_empty(&emulators, PATIENCE, true).await;
    say(began, "swept requests are settled");

    // A few more directly, with the two other credentials.
    load.put(&emulators.graph, direct);
    let mut output = ended(sweep).await;
    for (half, credential) in direct.chunks(DIRECT / 2).zip(["certificate", "federated"]) {
        let worker =
            runtime_api::Function::start(&program("worker"), &settings.worker_with(credential)).await;
        let requests = half.iter().map(|request| request.message()).collect::<Vec<Value>>();
        let answer = one_answer(&worker, json!({ "requests": requests }).to_string()).await;
        checks::direct(half, credential, &answer);
        output.push_str(&ended(worker).await);
    }
    emulators.stand_in.assert_sound();
    fleet.until_empty(&emulators, PATIENCE, false).await;
    say(began, "direct requests are settled");

    output.push_str(&fleet.stop().await);
    let trail = checks::Trail::read(&emulators).await;
    checks::every_request_is_settled(&load, &emulators, &trail);
    checks::simulator_agrees(&emulators, &trail);
    checks::dead_letters_are_none(&emulators).await;
    checks::events_tell_every_repair(&emulators, &trail, &output).await;
    checks::secrets_are_nowhere(&emulators, &output, &trail);
    let said = regrant(&settings.command_line(), &["verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    println!("{}", said.stdout.trim_end());

    // The report as its function writes it to S3, and as it answers.
    let report = runtime_api::Function::start(&program("report"), &settings.report()).await;
    let answer = one_answer(&report, json!({ "from": first_day }).to_string()).await;
    checks::report(&answer, &trail);
    checks::bucket(&emulators, &one_answer(&report, json!({ "every": "day" }).to_string()).await).await;
    say(began, "reports are right");
}

/// All that the function wrote; its process is gone then.
async fn ended(function: runtime_api::Function) -> String {
    function.process().kill();
    function.process().output().await
}

fn say(began: Instant, what: &str) {
    println!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
}
