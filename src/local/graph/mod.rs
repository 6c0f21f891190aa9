//! A simulator of Microsoft Graph's entitlement management and of Entra's token endpoint, as an HTTP/1.1 server
//! on a loopback port.
//!
//! It knows exactly the paths of the contract, in both versions, and refuses everything else. What it answers
//! where no public source says what Graph answers is its own choice: `InvalidRequestState` for an object that
//! may not be reprocessed, `ResourceNotFound` for an unknown one, `UnknownError` for an unknown path.

mod answer;
mod call;
mod fault;
mod list;
mod object;
mod route;
mod token;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use self::fault::{CallKind, CallMatch, Fault};
pub use self::object::{ObjectState, Simulated, random_guid};
pub use self::token::Application;

use self::answer::{Body, Cut};
use self::call::Call;
use self::object::Live;
use self::world::World;
use super::listener::{self, Listening};
use crate::domain::target::Target;

/// One call as the simulator saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphCall {
    /// When it had come in whole, by the real clock.
    pub at: Timestamp,
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub kind: CallKind,
    /// `None` for tokens and malformed paths.
    pub target: Option<Target>,
    /// As sent, whatever it is.
    pub client_request_id: Option<String>,
    /// A good token came with it; for a token call: a token was made.
    pub authorization_ok: bool,
    /// It began a delivery.
    pub applied: bool,
    /// `None`: no answer left, or not yet.
    pub status: Option<u16>,
}

/// A running simulator; dropping it closes every connection.
pub struct GraphSimulator {
    url: String,
    world: Arc<Mutex<World>>,
    _listening: Listening,
}

impl GraphSimulator {
    /// Starts on a free loopback port, without any object and with no fault to commit.
    pub async fn start() -> anyhow::Result<Self> {
        let (listener, address) = listener::bind().await?;
        let url = format!("http://{address}");
        let world = Arc::new(Mutex::new(World::new(url.clone())));
        let serving = Arc::clone(&world);
        let listening = listener::serve(listener, move |socket| {
            let world = Arc::clone(&serving);
            async move {
                let service = service_fn(move |request| serve(Arc::clone(&world), request));
                // It ends with an error whenever a fault closes it.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            }
        });
        Ok(Self { url, world, _listening: listening })
    }

    /// Both the Graph root and the token host, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The simulator's clock.
    pub fn now(&self) -> Timestamp {
        self.world().now()
    }

    /// Sets the simulator's clock forward, so that deliveries become due and windows close.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        let mut world = self.world();
        world.ahead = world.ahead.saturating_add(by);
    }

    /// Adds an object, or replaces the one with the same kind and id.
    pub fn put(&self, object: Simulated) {
        self.world().objects.insert(object.target.clone(), Live::new(object));
    }

    /// Forgets an object.
    pub fn remove(&self, target: &Target) {
        self.world().objects.remove(target);
    }

    /// Changes an object that is there; false if it is not.
    pub fn change(&self, target: &Target, change: impl FnOnce(&mut Simulated)) -> bool {
        self.world().settled(target).map(|live| change(&mut live.object)).is_some()
    }

    /// The state as it is, whatever reads show; `None` for an unknown object.
    pub fn state(&self, target: &Target) -> Option<ObjectState> {
        self.world().settled(target).map(|live| live.object.state.clone())
    }

    /// Hits the next call that matches. Faults are committed in the order in which they were given.
    pub fn fault(&self, calls: CallMatch, fault: Fault) {
        self.fault_times(calls, 1, fault);
    }

    /// Hits the next `times` calls that match.
    pub fn fault_times(&self, calls: CallMatch, times: u32, fault: Fault) {
        self.world().faults.push(calls, times, fault);
    }

    /// Forgets the faults not yet committed.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Every call, also for a token, takes at least that long.
    pub fn set_latency(&self, latency: Duration) {
        self.world().latency = latency;
    }

    /// More calls than that within a second are answered with 429 and `Retry-After: 1`; tokens are not limited.
    pub fn set_rate_limit(&self, calls_per_second: Option<usize>) {
        self.world().rate = calls_per_second;
    }

    /// Entries of a page of a list; 3 unless told otherwise.
    pub fn set_page_size(&self, entries: usize) {
        self.world().page_size = entries.max(1);
    }

    /// Something else ends TLS in front of it: links to next pages begin with `https`.
    pub fn set_behind_tls(&self, behind_tls: bool) {
        self.world().behind_tls = behind_tls;
    }

    /// Answers every `$expand` with 400.
    pub fn refuse_expand(&self, refuse: bool) {
        self.world().refuse_expand = refuse;
    }

    /// Answers every filter of two conditions with 400: no document says that lists take them.
    pub fn refuse_and(&self, refuse: bool) {
        self.world().refuse_and = refuse;
    }

    /// Only this application gets tokens; without it any does.
    pub fn set_application(&self, application: Application) {
        self.world().tokens.application = Some(application);
    }

    /// Lifetime of the tokens handed out from now on.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.world().tokens.lifetime = lifetime;
    }

    /// Takes every token back, before the time that its client was told.
    pub fn expire_tokens(&self) {
        self.world().tokens.expire();
    }

    /// From now on this token is good too, as one that its bearer had elsewhere; it lives as long as others.
    pub fn accept_token(&self, token: &str) {
        self.world().tokens.accept(token);
    }

    /// Every token handed out, so that a test can search for it where it must not be.
    pub fn issued_tokens(&self) -> Vec<String> {
        self.world().tokens.issued()
    }

    /// Every call so far, in the order of arrival.
    pub fn calls(&self) -> Vec<GraphCall> {
        self.world().calls.clone()
    }

    /// What a client did that no client should do: unknown paths, bodies, missing ids. Empty at the end of a good test.
    pub fn violations(&self) -> Vec<String> {
        self.world().violations.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call from its first byte to its answer.
async fn serve(world: Arc<Mutex<World>>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    /// No call that the simulator knows has a body that large.
    const MOST_BYTES: usize = 64 * 1024;
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|_| Cut)?.to_bytes();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let call = Call {
        at: crate::clock::system_now(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        content_type: header(CONTENT_TYPE.as_str()).unwrap_or_default(),
        host: header(HOST.as_str()).unwrap_or_default(),
        token: header(AUTHORIZATION.as_str())
            .and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned)),
        client_request_id: header("client-request-id"),
        method: parts.method,
        body,
        request_id: Uuid::new_v4().to_string(),
    };
    let (number, latency) = {
        let mut world = lock(&world);
        world.calls.push(call.log_entry());
        (world.calls.len() - 1, world.latency)
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let answer = {
        let mut world = lock(&world);
        let done = world.respond(&call);
        let entry = &mut world.calls[number];
        entry.authorization_ok = done.authorization_ok;
        entry.applied = done.applied;
        entry.status = done.answer.visible_status();
        done.answer
    };
    answer.send(&call.request_id, call.echoed_id()).await
}
