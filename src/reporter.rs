//! The function `report`: what it is asked, and what it answers. Reads the trail and writes to no table.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws::{Aws, describe};
use crate::config::ReportConfig;
use crate::domain::report::{Period, Report, Scope};
use crate::render::{csv, html, json, ocsf};
use crate::reporting::report;
use crate::trail_days::TrailDays;

/// Lambda answers with 6 MB at most, and quoting a text makes it longer.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;
/// A report is large and S3 is near; the tables' short time-out would cut it off.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers invocations.
pub struct Reporter {
    config: ReportConfig,
    aws: Aws,
}

/// What a direct invocation asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    from: String,
    to: Option<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// All figures and lists, as the answer itself.
    #[default]
    Json,
    Html,
    Csv,
    Ocsf,
}

/// Which whole period, the last one that is over, a schedule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Every {
    Day,
    Week,
}

#[derive(Debug)]
enum Asked {
    Now(Question),
    Scheduled(Every),
}

impl Asked {
    fn read(payload: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Scheduled {
            every: Every,
        }
        const EXPECTED: &str = "expected {\"from\", \"to\", \"format\"} with a day or an instant each and `json`, \
                                `html`, `csv` or `ocsf`, or {\"every\": \"day\"} or {\"every\": \"week\"}";
        let value = serde_json::from_str::<Value>(payload).context(EXPECTED)?;
        if value.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event") {
            return Ok(Self::Scheduled(Every::Day));
        }
        // From the text: as a value, a doubled field would be gone.
        if value.get("every").is_some() {
            let scheduled = serde_json::from_str::<Scheduled>(payload).context(EXPECTED)?;
            return Ok(Self::Scheduled(scheduled.every));
        }
        Ok(Self::Now(serde_json::from_str(payload).context(EXPECTED)?))
    }
}

impl Reporter {
    pub fn new(config: ReportConfig, aws: Aws) -> Self {
        Self { config, aws }
    }

    /// The answer to one invocation; `Err` says what was expected, or what could not be read or written.
    pub async fn answer(&self, payload: &str, now: Timestamp) -> anyhow::Result<Value> {
        match Asked::read(payload)? {
            Asked::Now(question) => {
                let (from, to) = (question.from.as_str(), question.to.as_deref());
                let period = Period::between(["`from`", "`to`"], from, to, now)?;
                self.answer_now(period, question.format, now).await
            }
            Asked::Scheduled(every) => self.write(every, now).await,
        }
    }

    async fn answer_now(&self, period: Period, format: Format, now: Timestamp) -> anyhow::Result<Value> {
        let (report, body) = self.read(period, now, format).await?;
        let (content_type, body) = match format {
            Format::Json => return Ok(serde_json::to_value(&report)?),
            Format::Html => ("text/html; charset=utf-8", html::page(&report)?.into_bytes()),
            Format::Csv => ("text/csv; charset=utf-8", body),
            Format::Ocsf => ("application/x-ndjson", body),
        };
        ensure!(
            body.len() <= LONGEST_ANSWER,
            "the report is {} bytes long and an answer may have {LONGEST_ANSWER}: ask for a shorter period, or \
             let it be written to a bucket by a schedule",
            body.len()
        );
        Ok(json!({ "contentType": content_type, "body": String::from_utf8(body)? }))
    }

    /// Puts the last whole day or week into the bucket, in three formats, and names the keys.
    async fn write(&self, every: Every, now: Timestamp) -> anyhow::Result<Value> {
        let Some(bucket) = &self.config.bucket else {
            bail!("a scheduled report needs `REPORT_BUCKET`, which is not set");
        };
        let (period, name) = last_whole(every, now)?;
        let (report, csv) = self.read(period, now, Format::Csv).await?;
        let mut figures = Vec::new();
        json::write(&report, &mut figures)?;
        let config = self.aws.config().await;
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(UPLOAD_TIMEOUT).build();
        let config = aws_sdk_s3::config::Builder::from(config).timeout_config(timeouts).build();
        let client = aws_sdk_s3::Client::from_conf(config);
        let mut keys = Vec::new();
        for (suffix, content_type, body) in [
            ("html", "text/html; charset=utf-8", html::page(&report)?.into_bytes()),
            ("csv", "text/csv; charset=utf-8", csv),
            ("json", "application/json", figures),
        ] {
            let key = format!("reports/{}/{name}.{suffix}", self.config.tenant_id);
            let put = client.put_object().bucket(bucket).key(&key).content_type(content_type);
            let sent = put.body(ByteStream::from(body)).send().await;
            sent.map_err(|error| anyhow::anyhow!("{}{}", advice(error.code()), describe(&error)))
                .with_context(|| format!("writing `{key}` into bucket `{bucket}`"))?;
            keys.push(key);
        }
        Ok(json!({
            "bucket": bucket,
            "keys": keys,
            "from": period.from,
            "to": period.to,
            "repairs": report.totals.repairs,
            "isIntact": report.verification.is_intact(),
        }))
    }

    /// The report, and the attempts in a format that is written as they come.
    async fn read(
        &self,
        period: Period,
        now: Timestamp,
        format: Format,
    ) -> anyhow::Result<(Report, Vec<u8>)> {
        let ReportConfig { audit_table, tenant_id, window, bucket: _ } = &self.config;
        let client = aws_sdk_dynamodb::Client::new(self.aws.config().await);
        let days = TrailDays::new(client, audit_table.clone(), tenant_id.clone());
        let window = SignedDuration::try_from(*window)?;
        let scope = Scope { tenant: tenant_id.clone(), from: period.from, to: period.to, now, window };
        let mut body = Vec::new();
        let report = match format {
            Format::Json | Format::Html => report(&days, scope, |_| Ok(()), |_| ()).await?,
            Format::Csv => {
                let mut attempts = csv::Attempts::new(&mut body)?;
                let read = report(&days, scope, |repair| Ok(attempts.add(repair)?), |_| ()).await?;
                attempts.finish()?;
                read
            }
            Format::Ocsf => {
                let each = |repair: &_| Ok(ocsf::write(tenant_id, repair, &mut body)?);
                report(&days, scope, each, |_| ()).await?
            }
        };
        Ok((report, body))
    }
}

/// What to do about the refusals that have one cause.
fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDenied") => "the function's role needs `s3:PutObject` on it: ",
        Some("NoSuchBucket") => "check `REPORT_BUCKET`: ",
        Some("PermanentRedirect") => "the bucket must be in the function's region: ",
        _ => "",
    }
}

/// The day before `now`, or the week from Monday to Sunday before its week, and what it is called.
fn last_whole(every: Every, now: Timestamp) -> anyhow::Result<(Period, String)> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let (first, after) = match every {
        Every::Day => (today.yesterday()?, today),
        Every::Week => {
            let monday = today.tomorrow()?.nth_weekday(-1, Weekday::Monday)?;
            (monday.nth_weekday(-1, Weekday::Monday)?, monday)
        }
    };
    let name = match every {
        Every::Day => format!("day/{first}"),
        Every::Week => {
            let week = first.iso_week_date();
            format!("week/{}-W{:02}", week.year(), week.week())
        }
    };
    let start = |date: jiff::civil::Date| date.to_zoned(TimeZone::UTC).map(|start| start.timestamp());
    Ok((Period { from: start(first)?, to: start(after)? }, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_periods_are_the_last_ones_that_are_over() {
        let name = |every, now: &str| {
            let (period, name) = last_whole(every, now.parse().unwrap()).unwrap();
            format!("{name} {} {}", period.from, period.to)
        };
        assert_eq!(
            name(Every::Day, "2026-11-21T00:00:01Z"),
            "day/2026-11-20 2026-11-20T00:00:00Z 2026-11-21T00:00:00Z"
        );
        for now in ["2026-11-16T00:00:00Z", "2026-11-22T23:59:59Z"] {
            assert_eq!(
                name(Every::Week, now),
                "week/2026-W46 2026-11-09T00:00:00Z 2026-11-16T00:00:00Z",
                "{now}"
            );
        }
    }

    #[test]
    fn whatever_else_is_asked_is_refused_with_what_was_expected() {
        let refused = |payload: &str| format!("{:#}", Asked::read(payload).unwrap_err());
        for (payload, fault) in [
            ("", "EOF while parsing"),
            ("[]", "invalid length 0"),
            ("{}", "missing field `from`"),
            ("{\"from\":\"2026-03-01\",\"form\":\"html\"}", "unknown field `form`"),
            ("{\"from\":\"2026-03-01\",\"from\":\"2026-03-02\"}", "duplicate field `from`"),
            ("{\"from\":\"2026-03-01\",\"format\":\"xlsx\"}", "unknown variant `xlsx`"),
            ("{\"every\":\"month\"}", "unknown variant `month`"),
        ] {
            let said = refused(payload);
            assert!(said.starts_with("expected {\"from\"") && said.contains(fault), "{payload}: {said}");
        }
        assert!(matches!(Asked::read("{\"from\":\"2026-03-01\"}").unwrap(), Asked::Now(_)));
        let event = "{\"source\":\"aws.events\",\"detail-type\":\"Scheduled Event\"}";
        assert!(matches!(Asked::read(event).unwrap(), Asked::Scheduled(Every::Day)));
    }
}
