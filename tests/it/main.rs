//! Everything that is tested on the wire, in one binary.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod credentials;
mod graph_client;
mod stub;
mod tls;
