//! Lists of assignment requests whose delivery failed, a page at a time. Follows nothing by itself and repeats
//! nothing: whoever asks holds the pages together.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::answer::retry_after;
use super::client::{GraphClient, Heard};
use super::path::list_path;
use super::sight::{completion_is_readable, of_object};
use super::token::Token;
use crate::domain::request::shorten;
use crate::domain::sweep::Failed;
use crate::domain::target::{ApiVersion, Guid, TargetKind};

/// Graph does not document its page size; a thousand requests with their packages take less.
const MOST_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The states in which a request can be reprocessed, as v1.0 spells them; beta has them in Pascal case.
const STATES: [(&str, &str); 2] =
    [("deliveryFailed", "DeliveryFailed"), ("partiallyDelivered", "PartiallyDelivered")];

/// One filtered list: of one state, and of one access package or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedList {
    version: ApiVersion,
    state: &'static str,
    package: Option<Guid>,
}

/// What of a list Graph is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Filter by state and package, and send the package along.
    Whole,
    /// Filter by package only: no document says that two conditions may be joined.
    AnyState,
    /// As the first, but without the package.
    Bare,
}

/// Where the next page is, as Graph said: at our own endpoint, for the token must go nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Next(Url);

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub failed: Vec<Failed>,
    /// What of the page could not be read, each in words.
    pub unreadable: Vec<String>,
    /// `None` on the last page; `Err` says why Graph's link cannot be followed.
    pub next: Option<Result<Next, String>>,
}

/// How asking for a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageAnswer {
    Page(Page),
    /// 401: renew the token and ask once more. If that is refused too, it is configuration.
    Unauthorized,
    Throttled {
        retry_after: Option<Duration>,
    },
    /// Time may mend it.
    Unavailable {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// An administrator must act.
    Refused {
        reason: String,
    },
}

impl FailedList {
    /// Every list that a sweep needs: one a state, or with packages one a state and package.
    pub fn all(version: ApiVersion, packages: &[Guid]) -> Vec<Self> {
        let packages = match packages {
            [] => vec![None],
            packages => packages.iter().cloned().map(Some).collect(),
        };
        let of = |package: Option<Guid>| {
            STATES.map(|(v1, beta)| {
                let state = if version == ApiVersion::V1 { v1 } else { beta };
                Self { version, state, package: package.clone() }
            })
        };
        packages.into_iter().flat_map(of).collect()
    }

    /// What the list is of, for messages.
    pub fn describe(&self) -> String {
        let package = self.package.as_ref().map(|id| format!(" of access package {id}")).unwrap_or_default();
        format!("the list of {} requests{package}", self.state)
    }

    /// The documented operator is `eq` only, so the age of a failure is the caller's to test.
    fn query(&self, form: Form) -> String {
        let property = match self.version {
            ApiVersion::V1 => "state",
            ApiVersion::Beta => "requestState",
        };
        let mut query = format!("$filter={property} eq '{}'", self.state);
        if let Some(package) = &self.package {
            query = format!("$filter=accessPackage/id eq '{package}'");
            if form != Form::AnyState {
                query.push_str(&format!(" and {property} eq '{}'", self.state));
            }
        }
        if form != Form::Bare {
            query.push_str("&$expand=accessPackage");
        }
        query
    }

    /// How to ask for it, one after the other as long as Graph refuses.
    fn forms(&self) -> &'static [Form] {
        match self.package {
            None => &[Form::Whole, Form::Bare],
            Some(_) => &[Form::Whole, Form::AnyState, Form::Bare],
        }
    }

    /// `None` for an entry of another state or package: not every server keeps to the filter.
    fn read_entry(&self, entry: &Value, secrets: &[&str]) -> Option<Result<Failed, String>> {
        const KIND: TargetKind = TargetKind::AssignmentRequest;
        let id = match entry.get("id").and_then(Value::as_str) {
            Some(text) => match Guid::parse(text) {
                Ok(id) => id,
                Err(_) => return Some(Err(format!("an entry whose id is \"{}\"", shorten(text)))),
            },
            None => return Some(Err("an entry without an id".to_owned())),
        };
        let sight = of_object(entry, KIND, self.version, secrets);
        if sight.state.is_empty() {
            return Some(Err(format!("{id}: no state")));
        }
        if !STATES.iter().any(|(state, _)| state.eq_ignore_ascii_case(&sight.state)) {
            return None;
        }
        if !completion_is_readable(entry, KIND, self.version) {
            return Some(Err(format!("{id}: the time of its completion is not one")));
        }
        let package = sight.access_package_id;
        let is_other = |wanted: &Guid| {
            package.as_deref().is_some_and(|found| !found.eq_ignore_ascii_case(wanted.as_str()))
        };
        if self.package.as_ref().is_some_and(is_other) {
            return None;
        }
        Some(Ok(Failed { id, state: sight.state, completed_at: sight.completed_at, package }))
    }

    fn read_page(&self, body: &[u8], endpoint: &Url, secrets: &[&str]) -> Result<Page, &'static str> {
        let body = serde_json::from_slice::<Value>(body).map_err(|_| "the body is not JSON")?;
        let entries = body.get("value").and_then(Value::as_array).ok_or("the body has no list `value`")?;
        let mut page = Page::default();
        for entry in entries.iter().filter_map(|entry| self.read_entry(entry, secrets)) {
            match entry {
                Ok(failed) => page.failed.push(failed),
                Err(why) => page.unreadable.push(why),
            }
        }
        page.next = match body.get("@odata.nextLink") {
            None | Some(Value::Null) => None,
            Some(Value::String(link)) => Some(Next::read(link, endpoint)),
            Some(_) => Some(Err("the link to the next page is not a text".to_owned())),
        };
        Ok(page)
    }
}

impl Next {
    /// The link's query is Graph's own affair and in no message.
    fn read(link: &str, endpoint: &Url) -> Result<Self, String> {
        let url = Url::parse(link).map_err(|_| "the link to the next page is not a URL".to_owned())?;
        let place = |url: &Url| {
            (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default())
        };
        let bare = url.username().is_empty() && url.password().is_none();
        if place(&url) != place(endpoint) || !bare {
            let host = shorten(url.host_str().unwrap_or("no host"));
            return Err(format!(
                "the link to the next page leads elsewhere (\"{host}\") and was not followed"
            ));
        }
        Ok(Self(url))
    }
}

impl GraphClient {
    /// One page: the first, or the one that `next` names. All of it together takes no longer than `timeout`.
    ///
    /// If Graph refuses the query, it is asked again in a plainer form: without the condition on the state, which
    /// whoever reads the entries makes good, and without the access package; if a connection breaks, once more on
    /// another.
    pub async fn list_page(
        &self,
        token: &Token,
        list: &FailedList,
        next: Option<&Next>,
        timeout: Duration,
    ) -> PageAnswer {
        let end = Instant::now() + timeout;
        let heard = match next {
            Some(next) => self.fetch(token, &next.0, end, MOST_PAGE_BYTES).await,
            None => self.first_page(token, list, end).await,
        };
        match heard {
            Ok(heard) => heard.into_page(list, self.root(), token),
            Err(reason) => {
                let reason = format!("Graph gave no answer: {reason}");
                PageAnswer::Unavailable { reason, retry_after: None }
            }
        }
    }

    async fn first_page(&self, token: &Token, list: &FailedList, end: Instant) -> Result<Heard, String> {
        let mut heard = Err("not asked".to_owned());
        for form in list.forms() {
            let url = self.url(&list_path(list.version), Some(&list.query(*form)));
            heard = self.fetch(token, &url, end, MOST_PAGE_BYTES).await;
            if !matches!(&heard, Ok(heard) if heard.status == StatusCode::BAD_REQUEST) {
                break;
            }
        }
        heard
    }
}

impl Heard {
    fn into_page(self, list: &FailedList, endpoint: &Url, token: &Token) -> PageAnswer {
        let retry_after = retry_after(&self.headers, crate::clock::system_now());
        let explained = |why: &str| format!("{}{why}", self.describe(token));
        match self.status.as_u16() {
            401 => PageAnswer::Unauthorized,
            429 => PageAnswer::Throttled { retry_after },
            403 => PageAnswer::Refused {
                reason: explained(match list.package {
                    None => {
                        ": the application lacks `EntitlementManagement.ReadWrite.All`; with a role in catalogs \
                         instead, set `SWEEP_PACKAGES`, for such a role may list one access package at a time"
                    }
                    Some(_) => {
                        ": the application lacks `EntitlementManagement.ReadWrite.All` or the role *Access package \
                         assignment manager* in the access package's catalog"
                    }
                }),
            },
            400 | 404 if self.shows_missing_route() => {
                PageAnswer::Refused { reason: explained(": there is no such route at `GRAPH_ENDPOINT`") }
            }
            400 | 404 => PageAnswer::Refused { reason: explained("") },
            200..=299 => match self.read_page(list, endpoint, token) {
                Ok(page) => PageAnswer::Page(page),
                Err(why) => PageAnswer::Unavailable { reason: explained(&format!(": {why}")), retry_after },
            },
            _ => PageAnswer::Unavailable { reason: explained(""), retry_after },
        }
    }

    fn read_page(&self, list: &FailedList, endpoint: &Url, token: &Token) -> Result<Page, String> {
        match &self.broken {
            Some(broken) => Err(format!("the body broke off: {broken}")),
            None => list.read_page(&self.body, endpoint, &[token.text()]).map_err(str::to_owned),
        }
    }
}
