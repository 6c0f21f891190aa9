//! Invokes a deployed function. Knows nothing of what it is asked.

use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use regrant::aws::{Aws, causes};
use serde_json::Value;

use crate::words::plain;

/// A function runs for 15 minutes at most.
const INVOKE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Lambda refused the call for want of a right of this machine; the function did not run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAllowed(String);

/// The SDK may repeat the call: the requests carry their ids, so that each is still one. Fails with [`NotAllowed`] among the
/// causes where this machine may not invoke the function.
pub async fn invoke(aws: &Aws, function: &str, payload: String) -> anyhow::Result<Value> {
    let config = aws.config().await;
    let timeouts = config.timeout_config().cloned().unwrap_or_else(regrant::aws::timeouts).into_builder();
    let timeouts = timeouts.operation_attempt_timeout(INVOKE_TIMEOUT).build();
    let config = aws_sdk_lambda::config::Builder::from(config).timeout_config(timeouts).build();
    let call = aws_sdk_lambda::Client::from_conf(config).invoke().function_name(function);
    let answer = call.payload(Blob::new(payload.into_bytes())).send().await;
    let answer = answer
        .map_err(|error| {
            let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
            match code.starts_with("AccessDenied") {
                true => anyhow::Error::new(NotAllowed(causes(&error))),
                false => anyhow::anyhow!("{}", causes(&error)),
            }
        })
        .with_context(|| format!("invoking the function `{function}`"))?;
    let body = answer.payload().map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned());
    let body = body.unwrap_or_default();
    if let Some(kind) = answer.function_error() {
        let said = serde_json::from_str::<Value>(&body).ok();
        let said = said.as_ref().and_then(|said| said.get("errorMessage")).and_then(Value::as_str);
        bail!("the function `{function}` failed ({kind}): {}", plain(said.unwrap_or(&body)));
    }
    serde_json::from_str(&body).with_context(|| format!("the function `{function}` answered no JSON"))
}
