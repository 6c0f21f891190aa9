//! Everything that is tested on the wire, in one binary.

mod credentials;
mod graph_client;
mod stub;
