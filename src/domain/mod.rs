//! The pure core: every rule of the service, as functions from values to values.
//!
//! Nothing here is `async`, reads a clock, the environment or a random number, logs, or knows Lambda, SQS,
//! DynamoDB or HTTP. Whoever calls passes `now` and the policy in, and carries out what comes back.

pub mod answer;
pub mod chain;
pub mod closing;
pub mod copied;
pub mod decide;
pub mod event;
pub mod outcome;
pub mod overview;
pub mod pace;
#[cfg(test)]
mod past;
pub mod record;
pub mod redact;
pub mod reply;
pub mod report;
pub mod request;
pub mod state;
pub mod sweep;
pub mod target;
