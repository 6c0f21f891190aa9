//! The sweep as a Lambda function: reads the settings, and hands each invocation over.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use regrant::aws::Aws;
use regrant::clock::Clock;
use regrant::config::SweepConfig;
use regrant::sweep::Sweeper;
use regrant::telemetry::Telemetry;
use regrant::worker::Invocation;
use serde_json::value::RawValue;

// It waits for others' answers; a second thread would only cost start-up time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the function's own environment")]
    let lookup = |name: &str| std::env::var(name).ok();
    let config = SweepConfig::read(lookup)?;
    let telemetry = Telemetry::start(&config.function, lookup("RUST_LOG").as_deref())?;
    let clock = Clock::default();
    let sweeper = Sweeper::new(config, Aws::new(), clock.clone());
    let handler = async |event: LambdaEvent<Box<RawValue>>| {
        let invocation = Invocation::new(event.context.request_id, event.context.deadline, clock.now());
        let answer = sweeper.answer(event.payload.get(), &invocation).await;
        telemetry.flush();
        // The runtime logs it; Lambda would keep the outermost message only.
        answer.map_err(|error| Error::from(format!("{error:#}")))
    };
    lambda_runtime::run(service_fn(handler)).await.map_err(anyhow::Error::from_boxed)
}
