//! Entra and Graph as the deployed sweep finds them, for a federated credential exists only inside a function. Asks
//! for a dry run, which records and sends nothing.

use std::time::Duration;

use regrant::aws::Aws;
use serde_json::Value;

use super::finding::Finding;
use super::functions::Deployed;
use crate::function::{NotAllowed, invoke};
use crate::output::counted;

const CHECK: &str = "graph.sweep";
/// A sweep may take minutes; whether it gets in is known after a minute.
const TIMEOUT: Duration = Duration::from_secs(60);

/// `None` where what was named as the sweep has not even a sweep's settings: nothing else is ever invoked.
pub async fn check(sweep: &Deployed) -> Option<Finding> {
    let is_sweep =
        ["AUDIT_TABLE", "QUEUE_URL", "GRAPH_CLIENT_ID"].iter().all(|name| sweep.setting(name).is_some());
    if !is_sweep {
        return None;
    }
    let name = &sweep.name;
    let aws = Aws::patient().await;
    let answer = invoke(&aws, name, "{\"dryRun\":true}".to_owned());
    Some(match tokio::time::timeout(TIMEOUT, answer).await {
        Err(_) => Finding::warning(
            CHECK,
            format!("the dry run of `{name}` did not end within {} s", TIMEOUT.as_secs()),
            format!("look at it by itself: regrant sweep --dry-run --function {name}"),
        ),
        Ok(Ok(summary)) => of_summary(sweep, &summary),
        Ok(Err(error)) => of_failure(sweep, &error),
    })
}

fn of_summary(sweep: &Deployed, summary: &Value) -> Finding {
    let name = &sweep.name;
    let text = |name: &str| summary.get(name).and_then(Value::as_str);
    let Some(found) = summary.get("found").and_then(Value::as_u64) else {
        return Finding::failed(CHECK, format!("`{name}` does not answer as a sweep"), "check --sweep");
    };
    let found = counted(found, "failed request");
    if summary.get("complete").and_then(Value::as_bool) == Some(true) {
        return Finding::ok(CHECK, format!("a dry run of `{name}` got a token, and Graph listed {found}"));
    }
    let why = text("why").unwrap_or("it does not say why");
    if summary.get("graphRefused").and_then(Value::as_bool) == Some(true) {
        return of_failure(sweep, &anyhow::anyhow!("{why}"));
    }
    Finding::warning(
        CHECK,
        format!("a dry run of `{name}` saw {found}, and not everything: {why}"),
        "try again; then look at the function's log",
    )
}

fn of_failure(sweep: &Deployed, error: &anyhow::Error) -> Finding {
    // By its type and not by its text: what the function says of its own failure may speak of rights too.
    if error.downcast_ref::<NotAllowed>().is_some() {
        return Finding::warning(
            CHECK,
            "not checked: the identity of this machine may not `lambda:InvokeFunction`",
            "allow it `lambda:InvokeFunction`, or run this as somebody who may",
        );
    }
    Finding::failed(
        CHECK,
        format!("a dry run of `{}` failed: {error:#}", sweep.name),
        format!(
            "do what it says; in Entra, the application needs a federated credential for each role, this one's subject is {}",
            sweep.role
        ),
    )
}
