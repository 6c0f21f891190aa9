//! The settings of this machine and of each function: usable, and the same where they must be. Connects to nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use regrant::config::{
    ConfigError, GraphConfig, ReportConfig, SubmitConfig, SweepConfig, TrailConfig, WorkerConfig,
};
use regrant::domain::target::ApiVersion;

use super::finding::Finding;
use super::functions::{Deployed, Program};

/// What every command of the command line needs.
const OURS: [&str; 3] = ["AUDIT_TABLE", "QUEUE_URL", "GRAPH_TENANT_ID"];
/// What must be the same wherever it is set.
const SHARED: [&str; 6] =
    ["AUDIT_TABLE", "QUEUE_URL", "GRAPH_TENANT_ID", "GRAPH_CLIENT_ID", "GRAPH_CLOUD", "WINDOW"];
/// What others than regrant read from a function's environment.
const FOREIGN: [&str; 7] = ["AWS_", "RUST_", "SSL_CERT_", "LD_", "TZ", "HTTP", "NO_PROXY"];

/// What the checks work on: a function's settings before this machine's.
#[derive(Default)]
pub struct Chosen {
    pub table: Option<String>,
    pub queue_url: Option<String>,
    /// Of the worker, or else the sweep; `None` where its settings are not usable or not known.
    pub function: Option<GraphConfig>,
    /// Of this machine, if it has any.
    pub here: Option<GraphConfig>,
    pub api_version: ApiVersion,
    /// `SWEEP_PACKAGES`, as it stands.
    pub packages: Option<String>,
}

/// Judges this machine's settings, those of `functions`, and each against the first that is there. `named`:
/// functions were named, so that this machine needs no settings of its own.
pub fn check(
    lookup: fn(&str) -> Option<String>,
    named: bool,
    functions: &[Deployed],
) -> (Chosen, Vec<Finding>) {
    let here = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let mut findings = vec![of_machine(here, named)];
    findings.extend(functions.iter().flat_map(of_function));
    if let Some((first, others)) = functions.split_first() {
        let first_name = first.program.as_str();
        findings.extend(others.iter().filter_map(|other| {
            let name = other.program.as_str();
            differences(name, |name| other.setting(name), first_name, |name| first.setting(name))
        }));
        findings.extend(differences("machine", here, first_name, |name| first.setting(name)));
    }
    let find =
        |name: &str| functions.iter().find_map(|function| function.setting(name)).or_else(|| here(name));
    let deployed = functions.iter().find_map(calling);
    let mine = WorkerConfig::read_for_operator(here).ok().map(|config| (config.graph, config.api_version));
    let api_version = deployed.as_ref().or(mine.as_ref()).map(|(_, version)| *version).unwrap_or_default();
    let chosen = Chosen {
        table: find("AUDIT_TABLE"),
        queue_url: find("QUEUE_URL"),
        function: deployed.map(|(graph, _)| graph),
        here: mine.map(|(graph, _)| graph),
        api_version,
        packages: find("SWEEP_PACKAGES"),
    };
    (chosen, findings)
}

/// As whom a function calls Graph, and with which version; `None` if it does not, or its settings are not usable.
pub fn calling(function: &Deployed) -> Option<(GraphConfig, ApiVersion)> {
    let lookup = |name: &str| function.setting(name);
    match function.program {
        Program::Worker => WorkerConfig::read(lookup).ok().map(|config| (config.graph, config.api_version)),
        Program::Sweep => SweepConfig::read(lookup).ok().map(|config| (config.graph, config.api_version)),
        Program::Report => None,
    }
}

fn of_machine(here: impl Fn(&str) -> Option<String>, named: bool) -> Finding {
    const CHECK: &str = "settings.machine";
    let missing = OURS.into_iter().filter(|name| here(name).is_none()).collect::<Vec<_>>();
    if missing.len() == OURS.len() && named {
        let what = format!("{} are not set here; those of the functions are used", quoted(&missing));
        return Finding::skipped(CHECK, what);
    }
    let mut faults = Vec::new();
    let mut add = |read: Result<(), ConfigError>| {
        for fault in read.err().into_iter().flat_map(|error| error.0) {
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    };
    add(TrailConfig::read(&here).map(drop));
    add(SubmitConfig::read(&here).map(drop));
    if here("GRAPH_CREDENTIAL").is_some() {
        add(WorkerConfig::read_for_operator(&here).map(drop));
    }
    if faults.is_empty() {
        let what = format!(
            "table `{}`, tenant {}",
            here("AUDIT_TABLE").unwrap_or_default(),
            here("GRAPH_TENANT_ID").unwrap_or_default()
        );
        return Finding::ok(CHECK, what);
    }
    Finding::failed(
        CHECK,
        faults.join("; "),
        "set them: the stack's outputs have them; or name the functions, whose settings are then used",
    )
}

fn of_function(function: &Deployed) -> Vec<Finding> {
    let program = function.program.as_str();
    let check = format!("settings.{program}");
    if function.environment.is_none() {
        let why = "Lambda did not show the variables: the identity of this machine may not decrypt them";
        return vec![Finding::warning(check, why, "allow it `kms:Decrypt` on the function's key")];
    }
    // Which names a program knows, it says itself, by asking for them.
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        function.setting(name)
    };
    let told = |table: &str, graph: &GraphConfig, call_timeout: Duration| {
        let credential = function.setting("GRAPH_CREDENTIAL").unwrap_or_default();
        let (tenant, client) = (&graph.tenant_id, &graph.client_id);
        let what =
            format!("table `{table}`, tenant {tenant}, application {client}, credential `{credential}`");
        (what, call_timeout.as_secs())
    };
    let read = match function.program {
        Program::Worker => WorkerConfig::read(lookup)
            .map(|config| told(&config.audit_table, &config.graph, config.call_timeout)),
        Program::Sweep => SweepConfig::read(lookup)
            .map(|config| told(&config.audit_table, &config.graph, config.call_timeout)),
        Program::Report => ReportConfig::read(lookup)
            .map(|config| (format!("table `{}`, tenant {}", config.audit_table, config.tenant_id), 0)),
    };
    let deploy = "mend the stack's parameters and deploy it again";
    let mut findings = vec![match read {
        Err(ConfigError(faults)) => Finding::failed(&check, faults.join("; "), deploy),
        // The answer must still be recorded when a call took all its time.
        Ok((what, call_secs)) if call_secs + 2 > function.timeout_secs && call_secs > 0 => Finding::warning(
            &check,
            format!(
                "{what}; `CALL_TIMEOUT` is {call_secs} s, and the function's time-out {} s",
                function.timeout_secs
            ),
            "lower `CALL_TIMEOUT`, or raise the function's time-out and the queue's visibility timeout",
        ),
        Ok((what, _)) => Finding::ok(&check, what),
    }];
    let asked = asked.into_inner();
    let unknown = function.environment.iter().flatten().map(|(name, _)| name.as_str()).filter(|name| {
        let is_foreign = name.starts_with('_') || FOREIGN.iter().any(|start| name.starts_with(start));
        !is_foreign && !asked.contains(*name)
    });
    let unknown = unknown.collect::<BTreeSet<_>>();
    if !unknown.is_empty() {
        let what = format!("{program} does not know {}", quoted(&unknown.into_iter().collect::<Vec<_>>()));
        findings.push(Finding::warning(
            format!("{check}.names"),
            what,
            "take them out, or write them as the README does",
        ));
    }
    if function.setting("GRAPH_CLIENT_SECRET").is_some() {
        findings.push(Finding::warning(
            format!("{check}.secret"),
            "the client secret itself is a variable of the function: whoever may read its configuration reads it",
            "store it in Secrets Manager, name it in `GRAPH_SECRET_ID`, and make a new one in Entra",
        ));
    }
    findings
}

/// What differs between two places; only what both have set.
fn differences(
    name: &str,
    settings: impl Fn(&str) -> Option<String>,
    first_name: &str,
    first: impl Fn(&str) -> Option<String>,
) -> Option<Finding> {
    let differs = |name: &&str| match (settings(name), first(name)) {
        // Ids are stored in lower case.
        (Some(one), Some(other)) if name.ends_with("_ID") => !one.eq_ignore_ascii_case(&other),
        (Some(one), Some(other)) => one != other,
        _ => false,
    };
    let differing = SHARED.iter().filter(|name| differs(name)).map(|name| {
        let (one, other) = (settings(name).unwrap_or_default(), first(name).unwrap_or_default());
        format!("`{name}` is `{one}`, that of the {first_name} `{other}`")
    });
    let differing = differing.collect::<Vec<_>>();
    (!differing.is_empty()).then(|| {
        Finding::failed(
            format!("settings.{name}.same"),
            format!("the {name} works on something else than the {first_name}: {}", differing.join("; ")),
            "make them the same",
        )
    })
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
