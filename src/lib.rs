//! regrant repairs failed access-package deliveries in Microsoft Entra and keeps an audit trail of it.
//!
//! A message's way, and the modules in reading order: `worker` takes an invocation's payload and parses each
//! body; `batch` runs them side by side; `reprocess` reads a target's history from the `trail`, asks `domain`
//! what comes next, looks and calls through `graph`, and appends what happened; `worker` puts unsettled
//! messages off through the `queue` and reports them as failed. `reject` records what is not a request; `telling`
//! tells others, through the `bus`. `sweep` finds what is to be sent. `clients` is what a process has.
//!
//! Imports point one way: `domain` <- `graph`, `trail`, `queue` <- `reprocess`, `reject` <- `worker` <- the
//! binaries and `local`. Only binaries read the environment, through `config`.

pub mod domain;

pub mod aws;
pub mod bus;
pub mod clock;
pub mod graph;
pub mod queue;
pub mod telemetry;
pub mod trail;
pub mod trail_days;

pub mod batch;
pub mod clients;
pub mod config;
#[cfg(feature = "local")]
pub mod local;
pub mod payload;
pub mod reject;
#[cfg(feature = "render")]
pub mod render;
#[cfg(feature = "report")]
pub mod reporter;
pub mod reporting;
pub mod reprocess;
pub mod sweep;
pub mod telling;
pub mod verify;
pub mod worker;
