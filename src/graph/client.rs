//! [`GraphClient`]: sends the two calls and reads how they ended. Decides nothing and repeats no POST.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use tokio::time::Instant;

use super::answer::{Fault, date, header, retry_after};
use super::http::{LazyClient, MOST_BODY_BYTES, read, read_up_to, reason};
use super::path::{expansion, object_path, reprocess_path};
use super::sight;
use super::token::{Token, TokenError, Tokens};
use crate::aws::Aws;
use crate::config::GraphConfig;
use crate::domain::reply::{Answered, Look, Reply, Sight};
use crate::domain::request::Request;
use crate::domain::target::Guid;

/// Talks to Graph as the application of one tenant. One a process: it keeps the token and the connections.
#[derive(Debug)]
pub struct GraphClient {
    endpoint: Url,
    pub(super) http: LazyClient,
    tokens: Tokens,
}

/// How a look ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookAnswer {
    Look(Look),
    /// 401: renew the token and look once more. If that is refused too, it is configuration.
    Unauthorized,
}

impl GraphClient {
    /// Nothing is fetched, connected or parsed here; the first call does that.
    ///
    /// `call_timeout` bounds all that is needed for one token together. `aws` is loaded only if the credential
    /// needs Secrets Manager or STS.
    pub fn new(config: GraphConfig, call_timeout: Duration, aws: Aws) -> Self {
        let http = LazyClient::new(&[&config.endpoint, &config.authority]);
        let endpoint = config.endpoint.clone();
        Self { endpoint, http: http.clone(), tokens: Tokens::new(config, http, call_timeout, aws) }
    }

    /// The token kept in this process, fetched or refreshed if need be, by one caller for all.
    ///
    /// A failure is remembered for a while and returned without a call, so that a batch does not hammer the
    /// token endpoint.
    pub async fn token(&self) -> Result<Token, TokenError> {
        self.tokens.token().await
    }

    /// Graph's clock, as any answer tells it, also one that refuses; `None` if none came within `timeout`.
    pub async fn server_time(&self, timeout: Duration) -> Option<Timestamp> {
        let call = self.http.get().ok()?.get(self.endpoint.clone()).timeout(timeout);
        date(call.send().await.ok()?.headers())
    }

    /// Whom the token of this process was given to, for a credential that is somebody's own sign-in.
    #[cfg(feature = "cli")]
    pub async fn signed_in(&self) -> Result<super::SignedIn, TokenError> {
        Ok(super::SignedIn::of(&self.token().await?))
    }

    /// A token other than `refused`, which Graph answered with 401.
    pub async fn renew(&self, refused: &Token) -> Result<Token, TokenError> {
        self.tokens.renew(refused).await
    }

    /// Reads the target's state.
    ///
    /// If Graph refuses to send the related objects along, it is asked again without them; if a connection
    /// breaks, once more on another. All of it together takes no longer than `timeout`.
    pub async fn look(&self, token: &Token, request: &Request, timeout: Duration) -> LookAnswer {
        let end = Instant::now() + timeout;
        let heard = match self.get(token, request, Some(expansion(request.target.kind)), end).await {
            Ok(heard) if heard.status == StatusCode::BAD_REQUEST => self.get(token, request, None, end).await,
            heard => heard,
        };
        match heard {
            Ok(heard) => heard.into_look(request, token),
            Err(reason) => unavailable(format!("Graph gave no answer: {reason}"), None, false),
        }
    }

    /// Asks Graph to reprocess the target: at most one POST, never repeated.
    ///
    /// A time out while still connecting counts as [`Reply::Lost`] where `timeout` is shorter than the time
    /// allowed for connecting, for then nobody knows how far it came.
    pub async fn reprocess(
        &self,
        token: &Token,
        request: &Request,
        client_request_id: &Guid,
        timeout: Duration,
    ) -> Reply {
        let http = match self.http.get() {
            Ok(http) => http,
            Err(reason) => return Reply::NotSent { reason: reason.to_owned() },
        };
        let post = http.post(self.url(&reprocess_path(request), None)).header(CONTENT_LENGTH, "0");
        let sent = prepared(post, token, client_request_id.as_str(), timeout).send().await;
        let reason = |error| reason(error, &[token.text()]);
        match sent {
            Ok(response) => Reply::Answered(answered(response, token).await),
            Err(error) if error.is_builder() || error.is_connect() => {
                Reply::NotSent { reason: reason(error) }
            }
            Err(error) => Reply::Lost { reason: reason(error) },
        }
    }

    async fn get(
        &self,
        token: &Token,
        request: &Request,
        query: Option<&str>,
        end: Instant,
    ) -> Result<Heard, String> {
        self.fetch(token, &self.url(&object_path(request), query), end, MOST_BODY_BYTES).await
    }

    /// One GET, of at most so many bytes of body; if a connection breaks, once more on another.
    pub(super) async fn fetch(
        &self,
        token: &Token,
        url: &Url,
        end: Instant,
        most_bytes: usize,
    ) -> Result<Heard, String> {
        let http = self.http.get()?;
        let first = get(http, token, url, end).await;
        let response = match first {
            // The pool may hold a connection that the other end, or a freeze of the function, has cut.
            Err(error) if !error.is_timeout() && !error.is_connect() && !error.is_builder() => {
                get(http, token, url, end).await
            }
            first => first,
        };
        let response = response.map_err(|error| reason(error, &[token.text()]))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_up_to(response, most_bytes).await;
        Ok(Heard { status, headers, body: body.bytes, broken: body.broken })
    }

    pub(super) fn root(&self) -> &Url {
        &self.endpoint
    }

    pub(super) fn url(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url.set_query(query);
        url
    }
}

async fn get(http: &Client, token: &Token, url: &Url, end: Instant) -> Result<Response, reqwest::Error> {
    let left = end.saturating_duration_since(Instant::now());
    let id = uuid::Uuid::new_v4().to_string();
    prepared(http.get(url.clone()), token, &id, left).send().await
}

pub(super) fn prepared(
    call: RequestBuilder,
    token: &Token,
    client_request_id: &str,
    timeout: Duration,
) -> RequestBuilder {
    call.bearer_auth(token.text())
        .header(ACCEPT, "application/json")
        .header("client-request-id", client_request_id)
        .timeout(timeout)
}

/// The status line settles that Graph answered; the body only explains, so that a broken one changes nothing.
async fn answered(response: Response, token: &Token) -> Answered {
    let (status, headers) = (response.status(), response.headers().clone());
    let is_error = status.is_client_error() || status.is_server_error();
    let body = if is_error { read(response).await.bytes } else { Vec::new() };
    let fault = Fault::read(&body, &[token.text()]);
    Answered {
        status: status.as_u16(),
        error_code: fault.code,
        error_message: fault.message,
        retry_after: retry_after(&headers, crate::clock::system_now()),
        graph_request_id: header(&headers, "request-id").or(fault.request_id),
    }
}

/// An answer to a GET.
pub(super) struct Heard {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Why the body is not whole, if it is not.
    pub(super) broken: Option<String>,
}

impl Heard {
    fn into_look(self, request: &Request, token: &Token) -> LookAnswer {
        let retry_after = retry_after(&self.headers, crate::clock::system_now());
        let explained = |why: &str| format!("{}{why}", self.describe(token));
        match self.status.as_u16() {
            401 => LookAnswer::Unauthorized,
            429 => LookAnswer::Look(Look::Throttled { retry_after }),
            403 => unavailable(
                explained(
                    ": the application lacks `EntitlementManagement.ReadWrite.All` or a role in the catalog",
                ),
                retry_after,
                true,
            ),
            400 | 404 if self.shows_missing_route() => {
                unavailable(explained(": there is no such route at `GRAPH_ENDPOINT`"), retry_after, true)
            }
            404 if self.broken.is_none() => LookAnswer::Look(Look::Missing),
            200..=299 => match self.read_sight(request, token) {
                Ok(sight) => LookAnswer::Look(Look::Seen(sight)),
                Err(why) => unavailable(explained(&format!(": {why}")), retry_after, false),
            },
            _ => unavailable(explained(""), retry_after, false),
        }
    }

    fn read_sight(&self, request: &Request, token: &Token) -> Result<Sight, String> {
        match &self.broken {
            Some(broken) => Err(format!("the body broke off: {broken}")),
            None => sight::read(&self.body, request, &[token.text()]).map_err(str::to_owned),
        }
    }

    /// Neither of these texts says that the object is missing: the service behind Graph, or Graph itself, does
    /// not know the path. Nor does a web page come from Graph.
    pub(super) fn shows_missing_route(&self) -> bool {
        let body = String::from_utf8_lossy(&self.body);
        let is_page =
            self.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        (is_page && self.status == StatusCode::NOT_FOUND)
            || body.contains("No HTTP resource was found that matches the request URI")
            || body.contains("Resource not found for the segment")
    }

    /// Status, code and request id, and nothing of the message.
    pub(super) fn describe(&self, token: &Token) -> String {
        let fault = Fault::read(&self.body, &[token.text()]);
        let mut text = format!("Graph answered HTTP {}", self.status.as_u16());
        if let Some(code) = fault.code {
            text.push_str(&format!(", code `{code}`"));
        }
        if let Some(id) = header(&self.headers, "request-id").or(fault.request_id) {
            text.push_str(&format!(", request id {id}"));
        }
        text
    }
}

fn unavailable(reason: String, retry_after: Option<Duration>, misconfigured: bool) -> LookAnswer {
    LookAnswer::Look(Look::Unavailable { reason, retry_after, misconfigured })
}
