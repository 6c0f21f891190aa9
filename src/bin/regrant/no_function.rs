//! Stands in for `function` in a build without the feature `deployed`, and says so.

use anyhow::bail;
use regrant::aws::Aws;
use serde_json::Value;

pub async fn invoke(_: &Aws, function: &str, _: String) -> anyhow::Result<Value> {
    bail!("this build cannot invoke `{function}`: it was built without the feature `deployed`")
}
