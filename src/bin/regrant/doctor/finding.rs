//! What a check found, and how it reads: on a line for a person, as an object for a program. Checks nothing.

use std::error::Error;
use std::fmt;

use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::RequestId;
use regrant::aws::describe;
use serde::Serialize;

use crate::words::plain;

type HttpResponse = aws_smithy_runtime_api::client::orchestrator::HttpResponse;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    Ok,
    /// It works, or could not be looked at for want of a right of ours.
    Warning,
    /// regrant does not work so, or does not keep its promises.
    Failed,
    /// Not looked at, and why.
    Skipped,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: String,
    pub level: Level,
    pub what: String,
    /// How to mend it; `None` where there is nothing to mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    pub fn ok(check: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, what, None)
    }

    pub fn warning(check: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, what, Some(mend.into()))
    }

    pub fn failed(check: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, Level::Failed, what, Some(mend.into()))
    }

    pub fn skipped(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, Level::Skipped, why, None)
    }

    /// `good`, or else the failure.
    pub fn judged(check: &str, good: bool, what: String, fault: &str, mend: impl Into<String>) -> Self {
        if good { Self::ok(check, what) } else { Self::failed(check, format!("{what}: {fault}"), mend) }
    }

    fn new(check: impl Into<String>, level: Level, what: impl Into<String>, mend: Option<String>) -> Self {
        // Some of it comes from outside: it must not write on the terminal what is not there.
        Self { check: check.into(), level, what: plain(&what.into()), mend: mend.map(|mend| plain(&mend)) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failed => "failed",
            Level::Skipped => "skipped",
        };
        write!(f, "{level:<8} {:<24} {}", self.check, self.what)?;
        self.mend.as_ref().map_or(Ok(()), |mend| write!(f, ". To mend: {mend}"))
    }
}

/// What a check says where AWS did not answer it. A right that we lack is no fault of the deployment.
pub fn unanswered<E>(check: &str, right: &str, error: &SdkError<E, HttpResponse>) -> Finding
where
    E: Error + ProvideErrorMetadata + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    if lacks_right(error) {
        return Finding::warning(
            check,
            format!("not checked: the identity of this machine may not `{right}`"),
            format!("allow it `{right}`, or run this as somebody who may"),
        );
    }
    Finding::failed(
        check,
        format!("AWS does not answer `{right}`: {}", describe(error)),
        "try again, then look at the network and at AWS's status",
    )
}

pub fn lacks_right<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    code.starts_with("AccessDenied") || code.contains("NotAuthorized") || code == "UnauthorizedOperation"
}

pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}
