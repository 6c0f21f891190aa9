//! The functions' environment: nothing that they do not know, and all that they need.
//!
//! What they know and need, they are asked themselves.

use std::cell::RefCell;
use std::collections::BTreeSet;

use regrant::config::{ConfigError, ReportConfig, SweepConfig, WorkerConfig};

use super::{Faults, Template};

/// Needed by two of the three credentials, and so by a template that offers them.
const SECRET: &str = "GRAPH_SECRET_ID";

/// Never in a template: other roots are for tests, and the secret itself would be readable in the console.
const NOT_DEPLOYED: [&str; 3] = ["GRAPH_ENDPOINT", "GRAPH_AUTHORITY", "GRAPH_CLIENT_SECRET"];

#[derive(Default)]
struct Settings {
    known: BTreeSet<String>,
    required: BTreeSet<String>,
}

/// Reads an empty environment and notes what is asked for, and what is missed.
fn asked<T>(read: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> Result<T, ConfigError>) -> Settings {
    let known = RefCell::new(BTreeSet::new());
    let Err(ConfigError(faults)) = read(&|name| {
        known.borrow_mut().insert(name.to_owned());
        None
    }) else {
        panic!("an empty environment is enough")
    };
    let required = faults.iter().filter(|fault| fault.contains(" is not set")).map(|fault| {
        fault.split('`').nth(1).unwrap_or_else(|| panic!("a fault without a name: {fault}")).to_owned()
    });
    let required = required.collect();
    let mut known = known.into_inner();
    // Lambda's own.
    known.retain(|name| !name.starts_with("AWS_"));
    Settings { known, required }
}

fn settings(function: &str) -> Settings {
    match function {
        "WorkerFunction" => asked(|lookup| WorkerConfig::read(lookup)),
        "SweepFunction" => asked(|lookup| SweepConfig::read(lookup)),
        "ReportFunction" => {
            let mut settings = asked(|lookup| ReportConfig::read(lookup));
            // Its schedule fails without it.
            settings.required.insert("REPORT_BUCKET".to_owned());
            settings
        }
        _ => Settings::default(),
    }
}

pub fn check(template: &Template, faults: &mut Faults) {
    for (function, resource) in template.all("AWS::Serverless::Function") {
        let mut settings = settings(function);
        if settings.known.contains(SECRET) {
            settings.required.insert(SECRET.to_owned());
        }
        let variables = &resource["Properties"]["Environment"]["Variables"];
        let variables = variables.as_object().cloned().unwrap_or_default();
        for name in variables.keys() {
            let known = settings.known.contains(name) && !NOT_DEPLOYED.contains(&name.as_str());
            faults.check(known, format!("{function}: {name} is no setting"));
        }
        for name in settings.required {
            faults.check(variables.contains_key(&name), format!("{function}: {name} is missing"));
        }
    }
}

#[test]
fn functions_say_themselves_what_they_need() {
    let worker = settings("WorkerFunction");
    let required = ["AUDIT_TABLE", "GRAPH_CLIENT_ID", "GRAPH_CREDENTIAL", "GRAPH_TENANT_ID", "QUEUE_URL"];
    assert_eq!(worker.required, required.map(str::to_owned).into());
    assert!(worker.known.contains("CONCURRENCY") && worker.known.contains(SECRET));
    let report = settings("ReportFunction");
    assert_eq!(
        report.required,
        ["AUDIT_TABLE", "GRAPH_TENANT_ID", "REPORT_BUCKET"].map(str::to_owned).into()
    );
    assert_eq!(report.known.len(), 4);
}
