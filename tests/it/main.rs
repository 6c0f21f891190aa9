//! Everything that needs servers: one binary, a file a subject.

mod local_graph;
mod local_poller;
