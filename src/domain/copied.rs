//! The attributes that are copied out of a record for filters, compared with what the record says. Reads no table.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::chain::Finding;
use super::record::VERSION;
use super::request::shorten;

/// The copies beside a record; `None` stands for one that is absent or not a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub tenant_day: Option<String>,
    pub at: Option<String>,
    pub kind: Option<String>,
    pub request_id: Option<String>,
    pub outcome: Option<String>,
    pub verdict: Option<String>,
}

/// What a record tells about itself, and where its key or its copies say otherwise.
#[derive(Debug, Default)]
pub struct Told {
    pub findings: Vec<Finding>,
    pub at: Option<Timestamp>,
    /// The record is of a version that this program does not know: nothing was compared.
    pub newer: bool,
}

/// The few fields compared here; a whole record takes several times as long to read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    request_id: Cow<'a, str>,
    seq: u64,
    target: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    outcome: Option<Cow<'a, str>>,
    verdict: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

pub fn differences(key: &str, seq: u64, record: &str, copied: &Copied) -> Told {
    let torn = |error: &serde_json::Error| Told {
        findings: vec![Finding::Torn { seq, what: format!("not a record: {error}") }],
        ..Told::default()
    };
    match serde_json::from_str::<Version>(record) {
        Ok(Version { v }) if v == u64::from(VERSION) => {}
        Ok(_) => return Told { newer: true, ..Told::default() },
        Err(error) => return torn(&error),
    }
    let fields = match serde_json::from_str::<Fields>(record) {
        Ok(fields) => fields,
        Err(error) => return torn(&error),
    };
    let mut findings = Vec::new();
    if !is_filed_under(key, &fields) || fields.seq != seq {
        findings.push(Finding::Misfiled { seq, what: own_place(&fields) });
    }
    let day = fields.at.get(..10).map(|day| format!("{}#{day}", fields.tenant_id));
    let pairs = [
        ("kind", &copied.kind, Some(&*fields.kind)),
        ("requestId", &copied.request_id, Some(&*fields.request_id)),
        ("outcome", &copied.outcome, fields.outcome.as_deref()),
        ("verdict", &copied.verdict, fields.verdict.as_deref()),
        ("tenantDay", &copied.tenant_day, day.as_deref()),
        ("at", &copied.at, Some(&*fields.at)),
    ];
    for (name, stored, recorded) in pairs {
        if stored.as_deref() != recorded {
            let what =
                format!("`{name}` is {}, the record says {}", quoted(stored.as_deref()), quoted(recorded));
            findings.push(Finding::Copied { seq, what });
        }
    }
    Told { findings, at: fields.at.parse().ok(), newer: false }
}

/// A rejected message is filed under the message's id, which its record holds only with odd characters replaced.
fn is_filed_under(key: &str, fields: &Fields<'_>) -> bool {
    let Some(place) = key.strip_prefix(&*fields.tenant_id).and_then(|rest| rest.strip_prefix('#')) else {
        return false;
    };
    match (&fields.target, &fields.id) {
        (Some(target), Some(id)) => place.split_once('#') == Some((target, id)),
        _ => place.starts_with("message#"),
    }
}

fn own_place(fields: &Fields<'_>) -> String {
    let target = fields.target.as_deref().unwrap_or("message");
    let id = fields.id.as_deref().unwrap_or(&fields.request_id);
    format!("record {} of {}#{target}#{id}", fields.seq, fields.tenant_id)
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "absent".to_owned(), |text| format!("\"{}\"", shorten(text)))
}

/// When a record says that it was made; `None` if it is unreadable.
pub fn recorded_at(record: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct At<'a> {
        #[serde(borrow)]
        at: Cow<'a, str>,
    }
    serde_json::from_str::<At<'_>>(record).ok()?.at.parse().ok()
}
