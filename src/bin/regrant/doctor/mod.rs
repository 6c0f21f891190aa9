//! `regrant doctor`: what is wrong with a deployment, and how to mend it. Runs the checks side by side and prints
//! them in one order; what they look at is in a file each.

mod finding;
mod functions;
mod graph;
mod identity;
mod insert;
mod key;
mod names;
mod queue;
mod rights;
mod settings;
mod source;
mod table;
mod through;

use std::time::Duration;

use aws_sdk_lambda::config::timeout::TimeoutConfig;
use clap::Args;
use futures::future::join_all;
use regrant::aws::Aws;
use regrant::config::CredentialConfig;

use self::finding::{Finding, Level};
use self::functions::{Deployed, Program};
use self::graph::Asking;
use self::identity::Identity;
use self::settings::Chosen;
use crate::output::{Out, counted};
use crate::{Ended, setting};

/// No subject takes longer, whatever does not answer.
const MOST_TIME: Duration = Duration::from_secs(30);
/// For one call to AWS, and for its tries together.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Check a deployment, and say what is wrong and how to mend it
///
/// One line a check: settings, table, the functions' rights as IAM computes them, queue, event source, token,
/// Graph. Changes nothing, except that --insert adds one item to the table. Name the functions to check what is
/// deployed; without them only what this machine's settings name. The stack's outputs have the names. A federated
/// credential exists only inside the functions: with --sweep, a dry run of the sweep tries it, which records and
/// sends nothing.
///
/// It asks AWS with your own rights: sts:GetCallerIdentity, lambda:GetFunctionConfiguration,
/// lambda:ListEventSourceMappings, iam:SimulatePrincipalPolicy, dynamodb:DescribeTable,
/// dynamodb:DescribeContinuousBackups, dynamodb:DescribeTimeToLive, sqs:GetQueueAttributes; for the token, where
/// the credential is a secret, secretsmanager:GetSecretValue, and where it is federated, for the dry run,
/// lambda:InvokeFunction; with --insert dynamodb:PartiQLInsert. A check for
/// which a right is lacking says which. The simulation of a role does not know the policies of the table, the
/// queue, the secret or a key themselves. The key that a secret is encrypted with is not looked at.
#[derive(Args)]
#[command(after_help = "\
Examples:
  regrant doctor --worker worker --sweep sweep --report report
  regrant doctor --worker worker --json
  regrant doctor

Exit codes:
  0  nothing failed; there may be warnings
  1  failed: nothing of the deployment could be looked at
  2  usage
  3  findings: at least one check failed")]
pub struct Arguments {
    /// The deployed worker: its settings, rights, queue and event source are checked.
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// The deployed sweep: its settings and rights are checked.
    #[arg(long, value_name = "NAME")]
    sweep: Option<String>,
    /// The deployed report: its settings and rights are checked.
    #[arg(long, value_name = "NAME")]
    report: Option<String>,
    /// Add an item to the table, and try it a second time. It stays there, and is no record.
    #[arg(long)]
    insert: bool,
    /// One JSON object a check instead of a line.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn names_any(&self) -> bool {
        self.worker.is_some() || self.sweep.is_some() || self.report.is_some()
    }
}

pub async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let findings = examine(&arguments).await;
    let mut out = Out::stdout();
    for finding in &findings {
        if arguments.json { out.line(serde_json::to_string(finding)?)? } else { out.line(finding)? }
    }
    if !arguments.json {
        out.line(summary(&findings))?;
    }
    out.finish()?;
    Ok(judge(&findings))
}

fn count(findings: &[Finding], level: Level) -> u64 {
    findings.iter().filter(|finding| finding.level == level).count() as u64
}

fn summary(findings: &[Finding]) -> String {
    let number = |level| count(findings, level);
    format!(
        "{}: {} ok, {}, {} failed, {} skipped",
        counted(findings.len() as u64, "check"),
        number(Level::Ok),
        counted(number(Level::Warning), "warning"),
        number(Level::Failed),
        number(Level::Skipped),
    )
}

fn judge(findings: &[Finding]) -> Ended {
    if count(findings, Level::Failed) > 0 {
        return Ended::Rejected;
    }
    // The others are about this machine, Entra and Graph.
    const OF_DEPLOYMENT: [&str; 5] = ["function", "table", "rights", "queue", "source"];
    let of_deployment =
        |finding: &&Finding| OF_DEPLOYMENT.iter().any(|subject| finding.check.starts_with(subject));
    if findings.iter().filter(of_deployment).any(|finding| finding.level == Level::Ok) {
        Ended::Well
    } else {
        eprintln!("error: nothing of the deployment could be looked at");
        Ended::Failed
    }
}

/// All findings, in the order in which they are printed.
async fn examine(arguments: &Arguments) -> Vec<Finding> {
    let aws = hurried().await;
    let (identity, known) = identity::check(&aws).await;
    let mut findings = vec![known];
    let (functions, described) = match identity {
        Identity::None => (Vec::new(), Vec::new()),
        _ => functions(arguments, &aws).await,
    };
    findings.extend((!arguments.names_any()).then(functions::none_named));
    let (chosen, settings) = settings::check(setting, arguments.names_any(), &functions);
    findings.extend(settings);
    findings.extend(described);
    if let Identity::None = identity {
        let subjects = ["function", "table", "rights", "queue", "source"];
        let skipped = |subject| Finding::skipped(subject, "AWS does not know this machine: see `identity`");
        findings.extend(subjects.map(skipped));
        findings.extend(bounded("graph", entra_and_graph(&chosen, &functions, &identity, &aws)).await);
        return findings;
    }
    let (table, rights, queue, source, graph, through) = tokio::join!(
        bounded("table", table_and_insert(&chosen, arguments.insert, &aws)),
        rights(&chosen, &functions, &aws),
        bounded("queue", queue(&chosen, &functions, &aws)),
        bounded("source", source(arguments, &functions, &aws)),
        bounded("graph", entra_and_graph(&chosen, &functions, &identity, &aws)),
        through_sweep(&chosen, &functions),
    );
    findings.extend([table, rights, queue, source, graph, through].into_iter().flatten());
    findings
}

/// As the other commands, but in time for a person who waits for twenty answers.
async fn hurried() -> Aws {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    let config = Aws::patient().await.config().await.clone();
    Aws::from_config(config.into_builder().timeout_config(timeouts).build())
}

async fn bounded(subject: &str, checks: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(MOST_TIME, checks).await.unwrap_or_else(|_| {
        let what = format!("no answer within {} s", MOST_TIME.as_secs());
        vec![Finding::failed(subject, what, "try again, then look at the network")]
    })
}

async fn functions(arguments: &Arguments, aws: &Aws) -> (Vec<Deployed>, Vec<Finding>) {
    let client = aws_sdk_lambda::Client::new(aws.config().await);
    let named = [
        (Program::Worker, &arguments.worker),
        (Program::Sweep, &arguments.sweep),
        (Program::Report, &arguments.report),
    ];
    let described = join_all(named.map(async |(program, name)| match name {
        Some(name) => functions::check(&client, program, name).await,
        None => {
            let program = program.as_str();
            let why = format!("to check the {program}, name it with --{program}");
            (None, vec![Finding::skipped(format!("function.{program}"), why)])
        }
    }));
    let (functions, findings): (Vec<_>, Vec<_>) = described.await.into_iter().unzip();
    (functions.into_iter().flatten().collect(), findings.into_iter().flatten().collect())
}

async fn table_and_insert(chosen: &Chosen, with_insert: bool, aws: &Aws) -> Vec<Finding> {
    let Some(table) = &chosen.table else {
        return vec![Finding::skipped("table", "no `AUDIT_TABLE` is known: see the settings")];
    };
    let client = aws_sdk_dynamodb::Client::new(aws.config().await);
    let mut findings = table::check(&client, table).await;
    if with_insert {
        findings.push(insert::check(&client, table).await);
    }
    findings
}

async fn rights(chosen: &Chosen, functions: &[Deployed], aws: &Aws) -> Vec<Finding> {
    if functions.is_empty() {
        return vec![Finding::skipped("rights", "no function is known whose role could be asked about")];
    }
    let client = aws_sdk_iam::Client::new(aws.config().await);
    let checks = functions.iter().map(|function| bounded("rights", rights::check(&client, function)));
    let mut findings = join_all(checks).await.into_iter().flatten().collect::<Vec<_>>();
    if let Some(table) = &chosen.table {
        findings.extend(bounded("rights.key", key::check(functions, table, aws)).await);
    }
    findings
}

async fn queue(chosen: &Chosen, functions: &[Deployed], aws: &Aws) -> Vec<Finding> {
    let Some(url) = &chosen.queue_url else {
        return vec![Finding::skipped("queue", "no `QUEUE_URL` is known: see the settings")];
    };
    let client = aws_sdk_sqs::Client::new(aws.config().await);
    queue::check(&client, url, worker(functions).map(|worker| worker.timeout_secs)).await
}

async fn source(arguments: &Arguments, functions: &[Deployed], aws: &Aws) -> Vec<Finding> {
    let Some(worker) = worker(functions) else {
        let why = match arguments.worker {
            Some(_) => "the worker could not be looked at",
            None => "to check it, name the worker with --worker",
        };
        return vec![Finding::skipped("source", why)];
    };
    let client = aws_sdk_lambda::Client::new(aws.config().await);
    let queue = worker.place.as_ref().zip(worker.setting("QUEUE_URL"));
    let queue = queue.and_then(|(place, url)| place.queue(&url));
    source::check(&client, &worker.name, queue.as_deref()).await
}

/// Only where the credential is the functions' own.
async fn through_sweep(chosen: &Chosen, functions: &[Deployed]) -> Vec<Finding> {
    let federated = chosen
        .function
        .as_ref()
        .is_some_and(|config| matches!(config.credential, CredentialConfig::Federated));
    match functions.iter().find(|function| federated && function.program == Program::Sweep) {
        Some(sweep) => through::check(sweep).await.into_iter().collect(),
        None => Vec::new(),
    }
}

fn worker(functions: &[Deployed]) -> Option<&Deployed> {
    functions.iter().find(|function| function.program == Program::Worker)
}

async fn entra_and_graph(
    chosen: &Chosen,
    functions: &[Deployed],
    identity: &Identity,
    aws: &Aws,
) -> Vec<Finding> {
    let deployed = chosen.function.as_ref().map(|config| (config, "function's"));
    let here = chosen.here.as_ref().map(|config| (config, "machine's"));
    let candidates = [here, deployed].into_iter().flatten().collect::<Vec<_>>();
    // Whoever gave this machine a credential of its own wants it used.
    let own = candidates.iter().find(|(config, _)| !matches!(config.credential, CredentialConfig::Federated));
    let Some((config, whose)) = own.or(candidates.last()).copied() else {
        let why = "no `GRAPH_CLIENT_ID` and `GRAPH_CREDENTIAL` are known: see the settings";
        return ["token", "graph", "clock"].map(|check| Finding::skipped(check, why)).into();
    };
    let is_role = || match identity {
        Identity::Known { arn } => functions
            .iter()
            .filter(|function| function.program != Program::Report)
            .any(|function| names::is_role_of(arn, function)),
        Identity::Unsure | Identity::None => false,
    };
    let barred = match (&config.credential, identity) {
        (CredentialConfig::SecretText(_), _) => None,
        (_, Identity::None) => Some("AWS does not know this machine: see `identity`"),
        (CredentialConfig::Federated, _) if !is_role() => Some(graph::ONLY_INSIDE),
        _ => None,
    };
    let packages = chosen.packages.as_deref();
    let asking = Asking { config, whose, api_version: chosen.api_version, packages, barred };
    graph::check(&asking, aws).await
}
