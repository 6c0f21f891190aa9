//! The worker as a Lambda function: reads the settings, builds the worker, and hands it to the runtime.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use regrant::aws::Aws;
use regrant::clock::Clock;
use regrant::config::WorkerConfig;
use regrant::telemetry::Telemetry;
use regrant::worker::{Invocation, Worker};
use serde_json::value::RawValue;

// One event at a time: a second thread would only cost start-up time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    #[expect(clippy::disallowed_methods, reason = "the function's own environment")]
    let lookup = |name: &str| std::env::var(name).ok();
    let config = WorkerConfig::read(lookup)?;
    let telemetry = Telemetry::start(&config.function)?;
    let clock = Clock::default();
    let worker = Worker::new(config, Aws::new(), clock.clone());
    let handler = async |event: LambdaEvent<Box<RawValue>>| {
        let invocation = Invocation::new(event.context.request_id, event.context.deadline, clock.now());
        let answer = worker.handle(event.payload.get(), &invocation).await;
        telemetry.flush();
        answer.map_err(|error| {
            tracing::error!("{error:#}");
            // Lambda would keep the outermost message only.
            Error::from(format!("{error:#}"))
        })
    };
    lambda_runtime::run(service_fn(handler)).await
}
