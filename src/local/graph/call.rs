//! One call: the checks in their order, the fault it meets, what it does to the objects. Waits for nothing.

use hyper::Method;
use hyper::body::Bytes;
use jiff::Timestamp;
use reqwest::Url;

use super::GraphCall;
use super::answer::{Answer, Sending, odata_error};
use super::fault::{CallKind, Fault};
use super::object::expandable;
use super::route::{Route, ViaPath};
use super::token::oauth_error;
use super::world::World;
use crate::domain::target::{ApiVersion, Guid, Target, TargetKind, Via};

/// One request as it came in.
#[derive(Debug)]
pub(super) struct Call {
    pub at: Timestamp,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub content_type: String,
    /// As the caller knows us; links to next pages lead there.
    pub host: String,
    /// Behind `Bearer `.
    pub token: Option<String>,
    pub client_request_id: Option<String>,
    pub body: Bytes,
    /// Made here, sent as `request-id`.
    pub request_id: String,
}

impl Call {
    /// What goes into the log before anything is decided.
    pub fn log_entry(&self) -> GraphCall {
        let (kind, target) = match (Route::parse(&self.path), &self.method) {
            (Some(Route::Token { .. }), &Method::POST) => (CallKind::Token, None),
            (Some(Route::Look { kind, id, .. }), &Method::GET) => (CallKind::Look, Some((kind, id))),
            (Some(Route::List { .. }), &Method::GET) => (CallKind::List, None),
            (Some(Route::Reprocess { kind, id, .. }), &Method::POST) => {
                (CallKind::Reprocess, Some((kind, id)))
            }
            _ => (CallKind::Other, None),
        };
        let target = target.and_then(|(kind, id)| Some(Target { kind, id: Guid::parse(id).ok()? }));
        GraphCall {
            at: self.at,
            method: self.method.to_string(),
            path: self.path.clone(),
            query: self.query.clone(),
            kind,
            target,
            client_request_id: self.client_request_id.clone(),
            authorization_ok: false,
            applied: false,
            status: None,
        }
    }

    /// The caller's id, or ours if it sent none.
    pub fn echoed_id(&self) -> &str {
        self.client_request_id.as_deref().unwrap_or(&self.request_id)
    }

    pub fn error(&self, status: u16, code: &str, message: &str) -> Answer {
        odata_error(status, code, message, self.at, (&self.request_id, self.echoed_id()))
    }
}

/// What becomes of a call, and what the log shall say of it.
pub(super) struct Done {
    pub answer: Answer,
    pub authorization_ok: bool,
    pub applied: bool,
}

impl World {
    /// Decides and carries out one call.
    pub(super) fn respond(&mut self, call: &Call) -> Done {
        let mut done = Done { answer: Answer::new(500, None), authorization_ok: false, applied: false };
        done.answer = match self.try_respond(call, &mut done) {
            Ok(answer) | Err(answer) => answer,
        };
        done
    }

    /// `Err` is an answer too: the one that ends the checks early.
    fn try_respond(&mut self, call: &Call, done: &mut Done) -> Result<Answer, Answer> {
        let Some(route) = Route::parse(&call.path) else {
            self.violation(call, "the path is unknown");
            // The only known sign of a missing route is this text; the code is our own choice.
            let message = format!(
                "No HTTP resource was found that matches the request URI '{}{}'.",
                self.url, call.path
            );
            return Err(call.error(404, "UnknownError", &message));
        };
        let wanted = match route {
            Route::Look { .. } | Route::List { .. } => Method::GET,
            Route::Token { .. } | Route::Reprocess { .. } => Method::POST,
        };
        if call.method != wanted {
            self.violation(call, "the method is not allowed");
            return Err(call.error(405, "Request_BadRequest", "The HTTP method is not supported."));
        }
        match route {
            Route::Token { tenant } => self.token(call, tenant, done),
            Route::Look { version, kind, id } => {
                self.authorize(call, done)?;
                let target = Target { kind, id: self.guid(call, id)? };
                let expand = self.expand(call, kind)?;
                let sending = self.obstacle(call, CallKind::Look, Some(&target.id))?;
                let body = self.read(call, &target, version, &expand)?;
                Ok(Answer { sending, ..Answer::new(200, Some(body)) })
            }
            Route::List { version } => {
                self.authorize(call, done)?;
                let sending = self.obstacle(call, CallKind::List, None)?;
                let body = self.list(call, version)?;
                Ok(Answer { sending, ..Answer::new(200, Some(body)) })
            }
            Route::Reprocess { version, kind, id, via } => {
                self.authorize(call, done)?;
                let target = Target { kind, id: self.guid(call, id)? };
                let via = self.via(call, &target.id, &via)?;
                self.check_post(call)?;
                let sending = self.obstacle(call, CallKind::Reprocess, Some(&target.id))?;
                let answered = self.reprocess(call, &target, via.as_ref(), version);
                done.applied = answered.is_ok();
                // What goes wrong on the way back also hits a refusal.
                Ok(Answer { sending, ..answered.unwrap_or_else(|refused| refused) })
            }
        }
    }

    fn token(&mut self, call: &Call, tenant: &str, done: &mut Done) -> Result<Answer, Answer> {
        let sending = match self.faults.take(CallKind::Token, None) {
            None => Sending::Whole,
            Some(Fault::Throttle { retry_after }) => {
                let answer = oauth_error(429, "temporarily_unavailable", "Simulated 429.", 90055, call.at);
                return Err(Answer { retry_after, ..answer });
            }
            Some(Fault::Status { status, code, message, retry_after }) => {
                return Err(Answer { retry_after, ..oauth_error(status, &code, &message, 0, call.at) });
            }
            Some(fault) => self.way_back(call, fault)?,
        };
        let answer = self.tokens.issue(tenant, &call.content_type, &call.body, call.at);
        done.authorization_ok = answer.status == 200;
        Ok(Answer { sending, ..answer })
    }

    fn authorize(&self, call: &Call, done: &mut Done) -> Result<(), Answer> {
        done.authorization_ok = call.token.as_ref().is_some_and(|token| self.tokens.accepts(token));
        if done.authorization_ok {
            return Ok(());
        }
        Err(call.error(401, "InvalidAuthenticationToken", "Access token is missing, invalid or expired."))
    }

    fn guid(&mut self, call: &Call, text: &str) -> Result<Guid, Answer> {
        Guid::parse(text).map_err(|_| {
            self.violation(call, "an id is not a GUID");
            call.error(400, "BadRequest", "The id is not valid.")
        })
    }

    fn via(&mut self, call: &Call, id: &Guid, via: &ViaPath<'_>) -> Result<Option<Via>, Answer> {
        match *via {
            ViaPath::Direct => Ok(None),
            ViaPath::AssignmentRequest(via) => Ok(Some(Via::AssignmentRequest(self.guid(call, via)?))),
            ViaPath::ResourceRole { via, assignment } => {
                if self.guid(call, assignment)? != *id {
                    self.violation(call, "the path names two assignments");
                    return Err(call.error(400, "BadRequest", "The path names two assignments."));
                }
                Ok(Some(Via::ResourceRole(self.guid(call, via)?)))
            }
        }
    }

    fn expand(&mut self, call: &Call, kind: TargetKind) -> Result<Vec<String>, Answer> {
        let Some(query) = call.query.as_deref().filter(|query| !query.is_empty()) else {
            return Ok(Vec::new());
        };
        let parsed = Url::parse(&format!("{}/?{query}", self.url));
        let pairs = parsed.map(|url| url.query_pairs().into_owned().collect::<Vec<_>>()).unwrap_or_default();
        let names = match pairs.as_slice() {
            [(option, names)] if option == "$expand" => {
                names.split(',').map(str::to_owned).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        if names.is_empty() || !names.iter().all(|name| expandable(kind).contains(&name.as_str())) {
            self.violation(call, "the query is not a known $expand");
            return Err(call.error(400, "BadRequest", "Parsing OData Select and Expand failed."));
        }
        if self.refuse_expand {
            return Err(call.error(400, "BadRequest", "The query option $expand is not supported here."));
        }
        Ok(names)
    }

    fn check_post(&mut self, call: &Call) -> Result<(), Answer> {
        if call.client_request_id.as_deref().is_none_or(|id| Guid::parse(id).is_err()) {
            self.violation(call, "`client-request-id` is not a GUID");
        }
        if !call.body.is_empty() {
            self.violation(call, "the action has no parameters but a body came");
            return Err(call.error(400, "BadRequest", "The action has no parameters."));
        }
        if call.query.is_some() {
            self.violation(call, "the action has no query options but a query came");
            return Err(call.error(400, "BadRequest", "The action has no query options."));
        }
        Ok(())
    }

    /// The rate limit and then the next fault: `Err` ends the call before anything is applied.
    fn obstacle(&mut self, call: &Call, kind: CallKind, id: Option<&Guid>) -> Result<Sending, Answer> {
        let throttled = call.error(429, "TooManyRequests", "Too many requests.");
        if !self.within_rate() {
            return Err(Answer { retry_after: Some(1), ..throttled });
        }
        match self.faults.take(kind, id) {
            None => Ok(Sending::Whole),
            Some(Fault::Throttle { retry_after }) => Err(Answer { retry_after, ..throttled }),
            Some(Fault::Status { status, code, message, retry_after }) => {
                Err(Answer { retry_after, ..call.error(status, &code, &message) })
            }
            Some(fault) => self.way_back(call, fault),
        }
    }

    /// Faults that lose the whole call are `Err`, those that only spoil the answer `Ok`.
    fn way_back(&self, call: &Call, fault: Fault) -> Result<Sending, Answer> {
        let lost = |sending| Answer { sending, ..call.error(500, "Simulated", "No answer leaves.") };
        match fault {
            Fault::Hang => Err(lost(Sending::Never)),
            Fault::DropBefore => Err(lost(Sending::Dropped)),
            Fault::DropAfter => Ok(Sending::Dropped),
            Fault::TruncatedBody => Ok(Sending::Truncated),
            Fault::NotJson => Ok(Sending::NotJson),
            Fault::Throttle { .. } | Fault::Status { .. } => Ok(Sending::Whole),
        }
    }

    fn read(
        &mut self,
        call: &Call,
        target: &Target,
        version: ApiVersion,
        expand: &[String],
    ) -> Result<serde_json::Value, Answer> {
        let now = self.now();
        let live = self.settled(target).ok_or_else(|| unknown_object(call))?;
        let mut body = live.read(now, version, expand);
        let set = call.path.rsplit('/').nth(1).unwrap_or_default();
        body["@odata.context"] = format!("{}/{}/$metadata#{set}/$entity", self.url, version.as_str()).into();
        Ok(body)
    }

    fn reprocess(
        &mut self,
        call: &Call,
        target: &Target,
        via: Option<&Via>,
        version: ApiVersion,
    ) -> Result<Answer, Answer> {
        let now = self.now();
        let live = self.settled(target).ok_or_else(|| unknown_object(call))?;
        if via.is_some_and(|via| !live.object.via.contains(via)) {
            return Err(unknown_object(call));
        }
        // No public source has Graph's real code for this: clients must not branch on it.
        live.may_reprocess(now).map_err(|why| call.error(400, "InvalidRequestState", &why))?;
        live.reprocess(now);
        // The older beta pages document 204 for assignments, everything else 202.
        let status = match (version, target.kind) {
            (ApiVersion::Beta, TargetKind::Assignment) => 204,
            (ApiVersion::V1, _) | (ApiVersion::Beta, TargetKind::AssignmentRequest) => 202,
        };
        Ok(Answer::new(status, None))
    }
}

fn unknown_object(call: &Call) -> Answer {
    call.error(404, "ResourceNotFound", "The requested object does not exist.")
}
