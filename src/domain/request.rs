//! A message body or payload into a [`Request`], or a [`RequestError`] that says what is wrong with it.
//!
//! Strict on purpose: an unknown or doubled field is more often a misspelt wish than harmless decoration.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::redact::redact;
use super::target::{ApiVersion, Guid, Target, TargetKind, Via};

/// One wish to have a target repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub target: Target,
    pub api_version: ApiVersion,
    pub via: Option<Via>,
    pub request_id: RequestId,
    /// Who wants it, redacted.
    pub requested_by: Option<String>,
    /// Redacted.
    pub reason: Option<String>,
    /// Redacted.
    pub ticket: Option<String>,
}

/// The idempotency key of a request, unique per target: 1 to 128 of `A-Za-z0-9._:-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// `None` where the text breaks the rule, or looks like a token or secret.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let well_formed = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        (well_formed && redact(text) == text).then(|| Self(text.to_owned()))
    }

    /// Stands for a message that is not a request; what breaks the rule is replaced, so that it always can.
    pub fn of_message(message_id: &str) -> Self {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '_' };
        Self(redact(message_id).chars().take(128).map(allowed).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is wrong with a request, each fault with the field, the rule and what was found, redacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct RequestError(pub Vec<String>);

impl Request {
    /// Reads one request object.
    ///
    /// `default_id` stands in for an absent `requestId`, `default_version` for an absent `apiVersion`.
    pub fn parse(body: &str, default_id: &str, default_version: ApiVersion) -> Result<Self, RequestError> {
        let fields = match serde_json::from_str::<Strict>(body) {
            Ok(Strict::Object(fields)) => fields,
            Ok(other) => {
                return Err(fault(format!("a request must be a JSON object, found {}", other.describe())));
            }
            Err(error) => return Err(fault(format!("a request must be a JSON object: {error}"))),
        };
        let mut form = Form { fields, faults: Vec::new() };
        form.refuse_unknown();
        let kind = form.choice(
            "target",
            &[("assignment", TargetKind::Assignment), ("assignmentRequest", TargetKind::AssignmentRequest)],
        );
        let id = form.guid("id");
        let version = form.choice("apiVersion", &[("v1.0", ApiVersion::V1), ("beta", ApiVersion::Beta)]);
        let api_version = version.unwrap_or(default_version);
        let via = form.via();
        if via.is_some() && (kind == Some(TargetKind::AssignmentRequest) || api_version == ApiVersion::V1) {
            form.faults.push(
                "`via` is allowed only with `target` \"assignment\" and `apiVersion` \"beta\"".to_owned(),
            );
        }
        let request_id = form.request_id(default_id);
        let requested_by = form.text("requestedBy", 1, 256);
        let reason = form.text("reason", 0, 500);
        let ticket = form.text("ticket", 0, 128);
        for required in ["target", "id"] {
            if !form.fields.contains_key(required) {
                form.faults.push(format!("`{required}` is required and is absent"));
            }
        }
        match (kind, id, request_id) {
            (Some(kind), Some(id), Some(request_id)) if form.faults.is_empty() => Ok(Self {
                target: Target { kind, id },
                api_version,
                via,
                request_id,
                requested_by,
                reason,
                ticket,
            }),
            _ => Err(RequestError(form.faults.iter().map(|fault| redact(fault)).collect())),
        }
    }

    /// The message body that says the same, with nothing left to a default.
    pub fn to_body(&self) -> String {
        let via = self.via.as_ref().map(|via| match via {
            Via::AssignmentRequest(id) => serde_json::json!({ "assignmentRequest": id }),
            Via::ResourceRole(id) => serde_json::json!({ "resourceRole": id }),
        });
        let mut body = serde_json::json!({
            "target": self.target.kind,
            "id": self.target.id,
            "apiVersion": self.api_version,
            "requestId": self.request_id,
        });
        let texts = [("requestedBy", &self.requested_by), ("reason", &self.reason), ("ticket", &self.ticket)];
        for (name, text) in texts {
            if let Some(text) = text {
                body[name] = text.as_str().into();
            }
        }
        if let Some(via) = via {
            body["via"] = via;
        }
        body.to_string()
    }
}

fn fault(text: String) -> RequestError {
    RequestError(vec![redact(&text)])
}

/// The fields of one object, and the faults found in them so far.
struct Form {
    fields: BTreeMap<String, Strict>,
    faults: Vec<String>,
}

/// So many unknown fields are named one by one: an error is for reading.
const MOST_NAMED: usize = 4;
const KNOWN: [&str; 8] =
    ["target", "id", "apiVersion", "via", "requestId", "requestedBy", "reason", "ticket"];

impl Form {
    fn refuse_unknown(&mut self) {
        let unknown = self.fields.keys().filter(|name| !KNOWN.contains(&name.as_str()));
        let known = KNOWN.map(|name| format!("`{name}`")).join(", ");
        let named = unknown
            .clone()
            .take(MOST_NAMED)
            .map(|name| format!("`{}` is not a field of a request; the fields are {known}", shorten(name)));
        self.faults.extend(named);
        let more = unknown.count().saturating_sub(MOST_NAMED);
        if more > 0 {
            self.faults.push(format!("{more} more fields are not fields of a request"));
        }
    }

    fn expect<T>(&mut self, name: &str, rule: &str, read: impl Fn(&Strict) -> Option<T>) -> Option<T> {
        let value = self.fields.get(name)?;
        let read = read(value);
        if read.is_none() {
            self.faults.push(format!("`{name}` must be {rule}, found {}", value.describe()));
        }
        read
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let rule = choices.iter().map(|(text, _)| format!("\"{text}\"")).collect::<Vec<_>>().join(" or ");
        self.expect(name, &rule, |value| match value {
            Strict::Text(found) => choices.iter().find(|(text, _)| text == found).map(|(_, choice)| *choice),
            _ => None,
        })
    }

    fn guid(&mut self, name: &str) -> Option<Guid> {
        self.expect(name, GUID_RULE, as_guid)
    }

    fn request_id(&mut self, default_id: &str) -> Option<RequestId> {
        if !self.fields.contains_key("requestId") {
            let request_id = RequestId::parse(default_id);
            if request_id.is_none() {
                self.faults.push(format!(
                    "`requestId` is absent and \"{}\" cannot stand in: it must be {REQUEST_ID_RULE}",
                    shorten(default_id)
                ));
            }
            return request_id;
        }
        self.expect("requestId", REQUEST_ID_RULE, |value| match value {
            Strict::Text(text) => RequestId::parse(text),
            _ => None,
        })
    }

    fn text(&mut self, name: &str, least: usize, most: usize) -> Option<String> {
        let rule = match least {
            0 => format!("a text of up to {most} characters"),
            _ => format!("a text of {least} to {most} characters"),
        };
        self.expect(name, &rule, |value| match value {
            Strict::Text(text) if (least..=most).contains(&text.chars().count()) => Some(redact(text)),
            _ => None,
        })
    }

    fn via(&mut self) -> Option<Via> {
        const RULE: &str = "an object with exactly one of `assignmentRequest` and `resourceRole`, a GUID in the 8-4-4-4-12 form";
        self.expect("via", RULE, |value| {
            let Strict::Object(fields) = value else { return None };
            let (name, value) = fields.first_key_value().filter(|_| fields.len() == 1)?;
            match name.as_str() {
                "assignmentRequest" => as_guid(value).map(Via::AssignmentRequest),
                "resourceRole" => as_guid(value).map(Via::ResourceRole),
                _ => None,
            }
        })
    }
}

const GUID_RULE: &str = "a GUID in the 8-4-4-4-12 form";
const REQUEST_ID_RULE: &str = "1 to 128 of `A-Za-z0-9._:-` and nothing like a token or secret";

fn as_guid(value: &Strict) -> Option<Guid> {
    match value {
        Strict::Text(text) => Guid::parse(text).ok(),
        _ => None,
    }
}

/// Any JSON value, except that a doubled field is an error at every depth.
enum Strict {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(usize),
    Object(BTreeMap<String, Strict>),
}

impl Strict {
    fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => format!("\"{}\" ({} characters)", shorten(text), text.chars().count()),
            Self::List(length) => format!("a list of {length}"),
            Self::Object(fields) => {
                let names = fields.keys().take(8).map(|name| format!("`{}`", shorten(name)));
                format!("an object with {} fields {}", fields.len(), names.collect::<Vec<_>>().join(", "))
                    .trim_end()
                    .to_owned()
            }
        }
    }
}

/// The first 64 characters, control characters escaped, so that an error stays one readable line.
pub fn shorten(text: &str) -> String {
    let cut = redact(&text.chars().take(512).collect::<String>());
    let mut short = cut.chars().take(64).flat_map(char::escape_debug).collect::<String>();
    if cut.chars().nth(64).is_some() {
        short.push('…');
    }
    short
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut length = 0;
        while items.next_element::<Strict>()?.is_some() {
            length += 1;
        }
        Ok(Strict::List(length))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Strict>()? {
            if fields.contains_key(&name) {
                return Err(de::Error::custom(format_args!("field `{}` stands twice", shorten(&name))));
            }
            fields.insert(name, value);
        }
        Ok(Strict::Object(fields))
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
