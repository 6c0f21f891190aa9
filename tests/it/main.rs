//! Everything that needs servers or files of the tree: one binary, a file a subject.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, but not in what they share")]
#![allow(clippy::disallowed_methods, reason = "tests may read the clock and their own environment")]

mod bus;
mod command_line;
mod commands;
mod crash;
mod credentials;
mod direct;
mod doctor;
mod doctor_aws;
mod doctor_faults;
mod events;
mod fake_bus;
mod federate;
mod golden;
mod graph_client;
mod hostile;
mod kill_wire;
mod local_faults;
mod local_graph;
mod local_poller;
mod made;
mod process;
mod process_kill;
mod refusals;
mod report;
mod rig;
mod runtime_api;
mod signed_in;
mod stub;
mod sweep;
mod sweep_process;
mod template;
mod tls;
mod together;
mod trail;
mod verify;
mod wire;
