//! What an answer of Graph says besides the object: error code and message, request id, how long to wait.
//!
//! Reads every spelling seen in the field and fails on none. Texts leave redacted and bounded.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::domain::redact::{cut, redact, redact_known};

const MOST_MESSAGE_BYTES: usize = 1024;
pub(super) const MOST_CODE_BYTES: usize = 128;

/// Redacting is slow, and what stands behind so much text is cut off anyway.
const MOST_REDACTED_BYTES: usize = 8 * 1024;

/// 68 years: above all sense, and far below what overflows when it is added to a point in time.
const LONGEST_WAIT_SECS: u64 = i32::MAX as u64;

/// How often an error may stand as JSON text inside the message of another.
const DEEPEST_NESTING: usize = 4;

/// The error in a body, as far as there is one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Fault {
    pub(super) fn read(body: &[u8], secrets: &[&str]) -> Self {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let raw = raw_fault(&body, DEEPEST_NESTING);
        Self {
            code: raw.code.map(|code| bounded(&code, MOST_CODE_BYTES, secrets)),
            message: raw.message.map(|message| bounded(&message, MOST_MESSAGE_BYTES, secrets)),
            request_id: raw.request_id.map(|id| bounded(&id, MOST_CODE_BYTES, secrets)),
        }
    }
}

/// Spellings: `error` with `innerError` or `innererror`, nested; `errorCode` and `message` at the top; either of
/// them once more as JSON text in `error.message`, under the code `UnknownError`.
fn raw_fault(body: &Value, depth: usize) -> Fault {
    let Some(error) = body.get("error").filter(|error| error.is_object()) else {
        let code = text(body, "errorCode").or_else(|| text(body, "code")).or_else(|| text(body, "error"));
        return Fault { code, message: text(body, "message"), request_id: inner_request_id(body) };
    };
    let inner = inner(error);
    let code = text(error, "code").or_else(|| text(inner?, "code"));
    let message = text(error, "message").or_else(|| text(inner?, "message"));
    let request_id = inner_request_id(error);
    let is_unknown = code.as_deref().is_none_or(|code| code == "UnknownError");
    let within = message.as_deref().filter(|_| is_unknown && depth > 0);
    let within = within.and_then(|message| serde_json::from_str::<Value>(message).ok());
    let Some(within) = within.filter(Value::is_object).map(|body| raw_fault(&body, depth - 1)) else {
        return Fault { code, message, request_id };
    };
    Fault {
        code: within.code.or(code),
        message: within.message.or(message),
        request_id: request_id.or(within.request_id),
    }
}

fn inner(error: &Value) -> Option<&Value> {
    error.get("innerError").or_else(|| error.get("innererror")).filter(|inner| inner.is_object())
}

/// The outermost one wins: it is Graph's own, further in stand those of the services behind it.
fn inner_request_id(error: &Value) -> Option<String> {
    let mut next = inner(error);
    while let Some(inner_error) = next {
        if let Some(id) = text(inner_error, "request-id") {
            return Some(id);
        }
        next = inner(inner_error);
    }
    None
}

fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Redacted and of at most so many bytes.
pub(super) fn bounded(text: &str, most: usize, secrets: &[&str]) -> String {
    if text.len() <= MOST_REDACTED_BYTES {
        return cut(&redact_known(text, secrets), most);
    }
    let known = secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"));
    let head = cut(&known, MOST_REDACTED_BYTES);
    // A secret cut in two may no longer look like one: the last word goes.
    let whole_words = head.rsplit_once(char::is_whitespace).map_or("", |(words, _)| words);
    cut(&redact(whole_words), most)
}

/// The header of that name, if it is text; redacted and bounded like all that is kept.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| bounded(value, MOST_CODE_BYTES, &[]))
}

/// `Retry-After`: seconds, a fraction of one rounded up, or a date; zero for one that is over. `None` where it is
/// absent or says nothing readable.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let secs = whole_secs(value).or_else(|| secs_until(value, now))?;
    Some(Duration::from_secs(secs.min(LONGEST_WAIT_SECS)))
}

fn whole_secs(value: &str) -> Option<u64> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let begun = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    // Digits alone can only fail to parse by being too many.
    Some(whole.parse::<u64>().unwrap_or(u64::MAX).saturating_add(begun))
}

fn secs_until(value: &str, now: Timestamp) -> Option<u64> {
    let at = http_date(value)?;
    Some(u64::try_from(at.duration_since(now).as_millis()).unwrap_or(0).div_ceil(1000))
}

fn http_date(value: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    PARSER.parse_timestamp(value).ok()
}

/// `Date`: the server's clock, in whole seconds.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?.trim())
}
