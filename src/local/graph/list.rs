//! Lists of assignment requests: the documented filters, the expansion, and pages whose links mean nothing to the
//! client. Everything else in a query is refused.

use std::collections::VecDeque;

use reqwest::Url;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::call::Call;
use super::object::expandable;
use super::world::World;
use crate::domain::target::{ApiVersion, Guid, Target, TargetKind};

/// Small, so that every list of any length has pages.
pub(super) const PAGE_SIZE: usize = 3;

const KIND: TargetKind = TargetKind::AssignmentRequest;

/// What comes after a page, fixed when the list was first asked for.
#[derive(Debug)]
pub(super) struct Rest {
    entries: VecDeque<Value>,
}

/// What a query asks for.
#[derive(Default)]
struct Query {
    state: Option<String>,
    package: Option<Guid>,
    expand: Vec<String>,
}

impl World {
    /// The first page of a list, or the one that a link of ours leads to; `Err` is an answer too.
    pub(super) fn list(&mut self, call: &Call, version: ApiVersion) -> Result<Value, Answer> {
        let place = format!("{}?{}", call.path, call.query.as_deref().unwrap_or_default());
        if let Some(rest) = self.links.remove(&place) {
            // The same link may be followed again, after an answer that was lost.
            let entries = rest.entries.clone();
            self.links.insert(place, rest);
            return Ok(self.page(call, version, entries));
        }
        let query = self.query(call, version)?;
        let entries = self.matching(version, &query);
        Ok(self.page(call, version, entries))
    }

    fn page(&mut self, call: &Call, version: ApiVersion, mut entries: VecDeque<Value>) -> Value {
        let rest = entries.split_off(entries.len().min(self.page_size));
        let mut body = json!({
            "@odata.context": format!("{}/{}/$metadata#assignmentRequests", self.url, version.as_str()),
            "value": entries,
        });
        if !rest.is_empty() {
            let place = format!("{}?$skiptoken={}", call.path, Uuid::new_v4().simple());
            let scheme = if self.behind_tls { "https" } else { "http" };
            body["@odata.nextLink"] = format!("{scheme}://{}{place}", call.host).into();
            self.links.insert(place, Rest { entries: rest });
        }
        body
    }

    /// In the order of ids, which is no order that a client could rely on.
    fn matching(&mut self, version: ApiVersion, query: &Query) -> VecDeque<Value> {
        let now = self.now();
        let mut targets =
            self.objects.keys().filter(|target| target.kind == KIND).cloned().collect::<Vec<Target>>();
        targets.sort();
        let mut entries = VecDeque::new();
        for target in targets {
            let Some(live) = self.settled(&target) else { continue };
            let body = live.read(now, version, &query.expand);
            let state = body.get(state_property(version)).and_then(Value::as_str).unwrap_or_default();
            let of_state = query.state.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(state));
            let package = &live.object.access_package_id;
            if of_state && query.package.as_ref().is_none_or(|wanted| wanted == package) {
                entries.push_back(body);
            }
        }
        entries
    }

    fn query(&mut self, call: &Call, version: ApiVersion) -> Result<Query, Answer> {
        let text = call.query.as_deref().unwrap_or_default();
        let pairs = Url::parse(&format!("{}/?{text}", self.url))
            .map(|url| url.query_pairs().into_owned().collect::<Vec<_>>())
            .unwrap_or_default();
        let mut query = Query::default();
        for (option, value) in &pairs {
            let known = match option.as_str() {
                "$filter" => read_filter(value, version, &mut query),
                "$expand" => read_expand(value, &mut query),
                _ => None,
            };
            if known.is_none() {
                self.violation(call, &format!("the query option {option} is not known, or not so: {value}"));
                let message = format!("OData query is invalid: Filter '{value}' is not supported.");
                return Err(call.error(400, "InvalidFilter", &message));
            }
        }
        if self.refuse_and && query.package.is_some() && query.state.is_some() {
            return Err(call.error(400, "InvalidFilter", "The operator 'and' is not supported here."));
        }
        if query.package.is_some() && !query.expand.iter().any(|name| name == "accessPackage") {
            self.violation(call, "a filter on the access package needs its expansion");
        }
        if self.refuse_expand && !query.expand.is_empty() {
            return Err(call.error(400, "BadRequest", "The query option $expand is not supported here."));
        }
        Ok(query)
    }
}

fn state_property(version: ApiVersion) -> &'static str {
    match version {
        ApiVersion::V1 => "state",
        ApiVersion::Beta => "requestState",
    }
}

/// `eq` on the state and on the access package's id, one of them or both.
fn read_filter(filter: &str, version: ApiVersion, query: &mut Query) -> Option<()> {
    for clause in filter.split(" and ") {
        let (property, value) = clause.split_once(" eq ")?;
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        let is_word = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphabetic());
        match property {
            "accessPackage/id" if query.package.is_none() => query.package = Some(Guid::parse(value).ok()?),
            _ if property == state_property(version) && query.state.is_none() && is_word => {
                query.state = Some(value.to_owned());
            }
            _ => return None,
        }
    }
    Some(())
}

fn read_expand(names: &str, query: &mut Query) -> Option<()> {
    query.expand = names.split(',').map(str::to_owned).collect();
    query.expand.iter().all(|name| expandable(KIND).contains(&name.as_str())).then_some(())
}
