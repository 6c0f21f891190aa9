//! What DynamoDB's refusals mean to whoever runs a command. Decides nothing.

use std::error::Error;

use anyhow::anyhow;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;

use crate::aws::causes;
use crate::domain::redact::{cut, redact};

/// The error in words that name the table and what to look at; whatever is not known is told with its causes.
pub(crate) fn explained<E>(error: &E, table: &str) -> anyhow::Error
where
    E: Error + ProvideErrorMetadata + 'static,
{
    // AWS repeats parts of the request in some messages.
    let message = cut(&redact(error.message().unwrap_or("no reason given")), 512);
    match error.code() {
        Some("ResourceNotFoundException") => {
            anyhow!("there is no table `{table}` in this account and region")
        }
        Some("AccessDeniedException") => anyhow!("no right to read table `{table}`: {message}"),
        Some("UnrecognizedClientException" | "ExpiredTokenException" | "IncompleteSignatureException") => {
            anyhow!("AWS refused the credentials for table `{table}`")
        }
        Some("InvalidSignatureException") => {
            anyhow!("AWS refused the credentials for table `{table}`, or this machine's clock is wrong")
        }
        Some("ValidationException") => {
            anyhow!("table `{table}` is not an audit table of regrant: {message}")
        }
        _ => anyhow!("table `{table}`: {}", cut(&redact(&causes(error)), 512)),
    }
}
