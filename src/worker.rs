//! The worker: one payload in, one answer out. Stands in here for the real one.

use jiff::Timestamp;
use serde_json::Value;

/// One invocation of the function.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub id: String,
    /// When the function is ended from outside.
    pub deadline: Timestamp,
}

pub struct Worker {}

impl Worker {
    pub fn from_env_like(_lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        anyhow::bail!("not built yet")
    }

    pub async fn handle(&self, _payload: &str, _invocation: Invocation) -> anyhow::Result<Value> {
        anyhow::bail!("not built yet")
    }
}
