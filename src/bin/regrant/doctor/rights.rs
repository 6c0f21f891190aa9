//! The functions' rights as IAM itself computes them for their roles: what they need, and that the trail is
//! append-only by rights. Tries nothing out.
//!
//! The simulation knows the role's policies, its boundary and the organization's; not the policies of the table,
//! the queue, the secret or a key.

use aws_sdk_iam::Client;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};
use futures::future::join_all;
use regrant::config::CredentialConfig;
use regrant::graph::cloud::federation_audience;

use super::finding::{Finding, code, lacks_right, unanswered};
use super::functions::{Deployed, Program};
use super::names::Place;
use super::settings::calling;

/// With one of these a role could change or remove what is recorded.
const CHANGES: [&str; 10] = [
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PartiQLDelete",
    "dynamodb:DeleteTable",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
    "dynamodb:PutResourcePolicy",
];
const INSERT: &str = "dynamodb:PartiQLInsert";
const QUERY: &str = "dynamodb:Query";

/// Some actions on one resource, and what is expected of them.
pub(super) struct Question {
    about: &'static str,
    resource: String,
    needed: Vec<&'static str>,
    forbidden: Vec<&'static str>,
    context: Vec<ContextEntry>,
}

impl Question {
    pub(super) fn new(about: &'static str, resource: String, needed: &[&'static str]) -> Self {
        Self { about, resource, needed: needed.to_vec(), forbidden: Vec::new(), context: Vec::new() }
    }

    /// The same, asked with what the call would carry.
    pub(super) fn carrying(self, context: Vec<ContextEntry>) -> Self {
        Self { context, ..self }
    }
}

/// One action as IAM decides it.
pub(super) struct Decided {
    action: String,
    pub(super) allowed: bool,
    /// Condition keys that the simulation had no value for.
    unknown: Vec<String>,
}

pub async fn check(client: &Client, function: &Deployed) -> Vec<Finding> {
    let program = function.program.as_str();
    let check = format!("rights.{program}");
    let (Some(place), Some(table)) = (&function.place, function.setting("AUDIT_TABLE")) else {
        return vec![Finding::skipped(check, "without its `AUDIT_TABLE` there is nothing to ask about")];
    };
    let mut questions = questions(function, place, &table).into_iter();
    let Some(first) = questions.next() else { return Vec::new() };
    // Whoever may not simulate hears it once.
    let mut findings = match ask(client, &function.role, &first).await {
        Ok(decided) => judge(program, &first, &decided),
        Err(finding) => return vec![Finding { check, ..finding }],
    };
    let rest = join_all(questions.map(async |question| match ask(client, &function.role, &question).await {
        Ok(decided) => judge(program, &question, &decided),
        Err(finding) => vec![Finding { check: format!("{check}.{}", question.about), ..finding }],
    }));
    findings.extend(rest.await.into_iter().flatten());
    findings
}

fn questions(function: &Deployed, place: &Place, table: &str) -> Vec<Question> {
    let table_arn = place.table(table);
    let index_arn = format!("{table_arn}/index/byDay");
    let is_report = function.program == Program::Report;
    let mut forbidden = CHANGES.to_vec();
    if is_report {
        forbidden.push(INSERT);
    }
    let needed = if is_report { vec![QUERY] } else { vec![INSERT, QUERY] };
    let mut questions = vec![Question { forbidden, ..Question::new("table", table_arn, &needed) }];
    if function.program != Program::Worker {
        questions.push(Question::new("index", index_arn, &[QUERY]));
    }
    if let Some(queue) = function.setting("QUEUE_URL").and_then(|url| place.queue(&url)) {
        let needed: &[&str] = match function.program {
            Program::Worker => &[
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:GetQueueAttributes",
                "sqs:SendMessage",
            ],
            Program::Sweep => &["sqs:SendMessage", "sqs:GetQueueAttributes"],
            Program::Report => &[],
        };
        if !needed.is_empty() {
            questions.push(Question::new("queue", queue, needed));
        }
    }
    questions.extend(credential(function, place));
    if let Some(bus) = function.setting("EVENT_BUS").filter(|_| function.program == Program::Worker) {
        let question = Question::new("events", place.bus(&bus), &["events:PutEvents"]);
        // The template's policy allows events of this source only.
        let context = vec![entry("events:source", ContextKeyTypeEnum::StringList, "regrant")];
        questions.push(question.carrying(context));
    }
    if let Some(bucket) = function.setting("REPORT_BUCKET").filter(|_| is_report) {
        questions.push(Question::new("bucket", place.report_object(&bucket), &["s3:PutObject"]));
    }
    questions
}

/// What the function needs to prove to Entra who it is.
fn credential(function: &Deployed, place: &Place) -> Option<Question> {
    let (graph, _) = calling(function)?;
    match graph.credential {
        CredentialConfig::SecretText(_) | CredentialConfig::SignedIn => None,
        CredentialConfig::SecretId { secret_id } | CredentialConfig::Certificate { secret_id } => {
            Some(Question::new("secret", place.secret(&secret_id), &["secretsmanager:GetSecretValue"]))
        }
        CredentialConfig::Federated => {
            let audience = federation_audience(graph.cloud);
            // What the function sends; the template's policy allows exactly this.
            let context = vec![
                entry("sts:IdentityTokenAudience", ContextKeyTypeEnum::StringList, audience),
                entry("sts:DurationSeconds", ContextKeyTypeEnum::Numeric, "300"),
                entry("sts:SigningAlgorithm", ContextKeyTypeEnum::String, "RS256"),
            ];
            let question = Question::new("federation", "*".to_owned(), &["sts:GetWebIdentityToken"]);
            Some(question.carrying(context))
        }
    }
}

/// A value that the simulated call would carry.
pub(super) fn entry(key: &str, kind: ContextKeyTypeEnum, value: &str) -> ContextEntry {
    ContextEntry::builder().context_key_name(key).context_key_type(kind).context_key_values(value).build()
}

pub(super) async fn ask(client: &Client, role: &str, question: &Question) -> Result<Vec<Decided>, Finding> {
    let actions = question.needed.iter().chain(&question.forbidden).map(|action| (*action).to_owned());
    let context = (!question.context.is_empty()).then(|| question.context.clone());
    let mut pages = client
        .simulate_principal_policy()
        .policy_source_arn(role)
        .set_action_names(Some(actions.collect()))
        .resource_arns(&question.resource)
        .set_context_entries(context)
        .into_paginator()
        .send();
    let mut decided = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| match code(&error) {
            "NoSuchEntity" => {
                Finding::failed("", format!("there is no role `{role}`"), "deploy the stack again")
            }
            _ if lacks_right(&error) => Finding::warning(
                "",
                "not checked: the identity of this machine may not `iam:SimulatePrincipalPolicy`",
                "allow it, or run this as somebody who may; until then that the trail is append-only is not proven",
            ),
            _ => unanswered("", "iam:SimulatePrincipalPolicy", &error),
        })?;
        decided.extend(page.evaluation_results.unwrap_or_default().into_iter().map(|result| Decided {
            allowed: result.eval_decision == PolicyEvaluationDecisionType::Allowed,
            unknown: result.missing_context_values.unwrap_or_default(),
            action: result.eval_action_name,
        }));
    }
    Ok(decided)
}

fn judge(program: &str, question: &Question, decided: &[Decided]) -> Vec<Finding> {
    let Question { about, resource, needed, forbidden, .. } = question;
    let find = |action: &str| decided.iter().find(|decided| decided.action.eq_ignore_ascii_case(action));
    let check = format!("rights.{program}.{about}");
    let lacking = needed.iter().copied().filter(|action| !find(action).is_some_and(|found| found.allowed));
    let lacking = lacking.collect::<Vec<_>>();
    let mut findings = vec![if lacking.is_empty() {
        Finding::ok(check, format!("may {}", listed(needed)))
    } else {
        let unknown =
            lacking.iter().filter_map(|action| find(action)).flat_map(|found| found.unknown.clone());
        let unknown = unknown.collect::<Vec<_>>();
        let but = match unknown.is_empty() {
            true => String::new(),
            false => format!(", unless a condition on {} is met", unknown.join(", ")),
        };
        Finding::failed(
            check,
            format!("the {program} may not {} on `{resource}`{but}", listed(&lacking)),
            "give its role the right, as `template.yaml` has it; an organization's policy may be what takes it away",
        )
    }];
    if !forbidden.is_empty() {
        let allowed = forbidden.iter().copied();
        // What IAM did not answer is not proven.
        let allowed =
            allowed.filter(|action| find(action).is_none_or(|found| found.allowed)).collect::<Vec<_>>();
        let check = format!("rights.{program}.appendOnly");
        findings.push(match (allowed.is_empty(), needed.contains(&INSERT)) {
            (true, true) => Finding::ok(check, "can add records and neither change nor remove one"),
            (true, false) => Finding::ok(check, "can neither add, change nor remove a record"),
            (false, _) => Finding::failed(
                check,
                format!("the trail is not append-only: the {program} may {} on `{resource}`", listed(&allowed)),
                "take the right away, and deny it explicitly as `template.yaml` does; then `regrant verify`, best --against a manifest kept elsewhere",
            ),
        });
    }
    findings
}

fn listed(actions: &[&str]) -> String {
    actions.iter().map(|action| format!("`{action}`")).collect::<Vec<_>>().join(", ")
}
