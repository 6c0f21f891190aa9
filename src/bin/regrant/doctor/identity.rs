//! As whom AWS knows this machine. Asks for nothing else.

use aws_sdk_sts::operation::RequestId;
use regrant::aws::{Aws, causes, describe};
use regrant::domain::redact::{cut, redact};

use super::finding::{Finding, lacks_right};

const CHECK: &str = "identity";

/// What the other checks may count on.
pub enum Identity {
    Known {
        arn: String,
    },
    /// STS could not say, but there are credentials to try with.
    Unsure,
    /// No call to AWS can succeed; said already.
    None,
}

pub async fn check(aws: &Aws) -> (Identity, Finding) {
    let config = aws.config().await;
    let Some(region) = config.region() else {
        let what = "no AWS region is set";
        return (Identity::None, Finding::failed(CHECK, what, "set `AWS_REGION` or `AWS_PROFILE`"));
    };
    let error = match aws_sdk_sts::Client::new(config).get_caller_identity().send().await {
        Ok(answer) => {
            let arn = answer.arn.unwrap_or_default();
            let account = answer.account.unwrap_or_default();
            let what = format!("{arn} in account {account}, region {region}");
            return (Identity::Known { arn }, Finding::ok(CHECK, what));
        }
        Err(error) => error,
    };
    let mend = "sign in, set `AWS_PROFILE`, or the SDK's own variables";
    if lacks_right(&error) {
        let what = "not known: this machine may not `sts:GetCallerIdentity`";
        return (Identity::Unsure, Finding::warning(CHECK, what, "nothing, if the rest is well"));
    }
    if error.raw_response().is_some() {
        let what = format!("AWS refuses the credentials of this machine: {}", describe(&error));
        return match error.request_id() {
            // A gateway's or a proxy's answer says nothing about the credentials.
            None if error.raw_response().is_some_and(|answer| answer.status().is_server_error()) => {
                (Identity::Unsure, silent(&error))
            }
            _ => (Identity::None, Finding::failed(CHECK, what, mend)),
        };
    }
    if causes(&error).contains("credentials") {
        let what = "there are no AWS credentials on this machine";
        return (Identity::None, Finding::failed(CHECK, what, mend));
    }
    (Identity::Unsure, silent(&error))
}

fn silent(error: &(dyn std::error::Error + 'static)) -> Finding {
    let why = cut(&redact(&causes(error)), 300);
    Finding::warning(
        CHECK,
        format!("not known: AWS STS does not answer: {why}"),
        "look at the network, a proxy and `AWS_REGION`",
    )
}
