//! Reports as a Lambda function: reads the settings, and hands each invocation over. Its role may only read the trail.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use regrant::aws::Aws;
use regrant::clock::Clock;
use regrant::config::ReportConfig;
use regrant::reporter::Reporter;
use regrant::telemetry::Telemetry;
use serde_json::value::RawValue;

// Pages are taken and read in turn; a second thread would help only where the function has a second processor.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    #[expect(clippy::disallowed_methods, reason = "the function's own environment")]
    let lookup = |name: &str| std::env::var(name).ok();
    let config = ReportConfig::read(lookup)?;
    let function = lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "report".to_owned());
    let telemetry = Telemetry::start(&function, lookup("RUST_LOG").as_deref())?;
    let (reporter, clock) = (Reporter::new(config, Aws::new()), Clock::default());
    let answer = async |event: LambdaEvent<Box<RawValue>>| {
        let answer = reporter.answer(event.payload.get(), clock.now()).await;
        telemetry.flush();
        answer.map_err(|error| {
            tracing::error!("{error:#}");
            // Lambda would keep the outermost message only.
            Error::from(format!("{error:#}"))
        })
    };
    lambda_runtime::run(service_fn(answer)).await
}
