//! The deployed functions as Lambda describes them: whether they run, on what, with which variables. Invokes none.

use std::collections::HashMap;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::types::{LastUpdateStatus, Runtime, State};
use regrant::domain::redact::redact;

use super::finding::{Finding, code, unanswered};
use super::names::Place;

/// The bootstraps are built against Amazon Linux 2023's glibc.
const RUNTIME: Runtime = Runtime::Providedal2023;

/// Which of the programs a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Worker,
    Sweep,
    Report,
}

impl Program {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Sweep => "sweep",
            Self::Report => "report",
        }
    }
}

/// What the other checks need to know of a function.
pub struct Deployed {
    pub program: Program,
    pub name: String,
    pub place: Option<Place>,
    pub role: String,
    pub timeout_secs: u64,
    /// `None` if Lambda did not show them.
    pub environment: Option<HashMap<String, String>>,
}

impl Deployed {
    pub fn setting(&self, name: &str) -> Option<String> {
        self.environment.as_ref()?.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// Without functions most of a deployment stays unseen, and an exit code of 0 says little.
pub fn none_named() -> Finding {
    Finding::warning(
        "function",
        "no function is named, so that functions, their rights and the event source are not looked at",
        "name them with --worker, --sweep and --report: the stack's outputs `WorkerFunctionName`, \
         `SweepFunctionName` and `ReportFunctionName`",
    )
}

/// The function and what is to be said about it; `None` if Lambda did not describe it.
pub async fn check(client: &Client, program: Program, name: &str) -> (Option<Deployed>, Vec<Finding>) {
    let check = format!("function.{}", program.as_str());
    let answer = match client.get_function_configuration().function_name(name).send().await {
        Ok(answer) => answer,
        Err(error) if code(&error) == "ResourceNotFoundException" => {
            let option = program.as_str();
            let finding = Finding::failed(
                check,
                format!("there is no function `{name}` in this account and region"),
                format!(
                    "check --{option}, `AWS_REGION` and `AWS_PROFILE`; the stack's outputs and the Lambda console have the name"
                ),
            );
            return (None, vec![finding]);
        }
        Err(error) => return (None, vec![unanswered(&check, "lambda:GetFunctionConfiguration", &error)]),
    };
    let findings = vec![state(&check, name, &answer)];
    let hidden = answer.environment().is_some_and(|environment| environment.error().is_some());
    let variables = answer.environment().and_then(|environment| environment.variables());
    let deployed = Deployed {
        program,
        name: name.to_owned(),
        place: answer.function_arn().and_then(Place::of),
        role: answer.role().unwrap_or_default().to_owned(),
        timeout_secs: answer.timeout().and_then(|secs| u64::try_from(secs).ok()).unwrap_or_default(),
        environment: (!hidden).then(|| variables.cloned().unwrap_or_default()),
    };
    (Some(deployed), findings)
}

fn state(check: &str, name: &str, function: &GetFunctionConfigurationOutput) -> Finding {
    let because =
        |reason: Option<&str>| reason.map(|reason| format!(" ({})", redact(reason))).unwrap_or_default();
    let told = told(name, function);
    match (function.state(), function.last_update_status()) {
        (Some(State::Failed), _) => {
            let why = because(function.state_reason());
            Finding::failed(check, format!("`{name}` is in state Failed{why}"), "deploy it again")
        }
        (_, Some(LastUpdateStatus::Failed)) => {
            let why = because(function.last_update_status_reason());
            Finding::failed(check, format!("the last change of `{name}` failed{why}"), "deploy it again")
        }
        _ if function.runtime() != Some(&RUNTIME) => Finding::failed(
            check,
            format!("{told}: the programs are built for `{}`", RUNTIME.as_str()),
            "deploy it by `template.yaml`",
        ),
        (Some(State::Active), None | Some(LastUpdateStatus::Successful)) => Finding::ok(check, told),
        (state, _) => Finding::warning(
            check,
            format!("{told}; it is {}", state.map_or("being changed", State::as_str)),
            "wait, and check again; a function that was long idle wakes when it is called",
        ),
    }
}

/// What a person wants to know before anything else.
fn told(name: &str, function: &GetFunctionConfigurationOutput) -> String {
    let runtime = function.runtime().map_or("no runtime", Runtime::as_str);
    let processor = function.architectures().first().map_or("?", |processor| processor.as_str());
    let logging = function.logging_config();
    let level =
        logging.and_then(|logging| logging.application_log_level()).map_or("INFO", |level| level.as_str());
    format!(
        "`{name}` version {}, {runtime} on {processor}, {} MB, {} s, log level {level}, changed {}",
        function.version().unwrap_or("?"),
        function.memory_size().unwrap_or_default(),
        function.timeout().unwrap_or_default(),
        function.last_modified().unwrap_or("?"),
    )
}
