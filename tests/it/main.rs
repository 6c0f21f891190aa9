//! Everything that needs servers: one binary, a file a subject.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, but not in what they share")]

mod command_line;
mod commands;
mod credentials;
mod graph_client;
mod local_faults;
mod local_graph;
mod local_poller;
mod made;
mod refusals;
mod stub;
mod verify;
