//! The one HTTP client for Graph and the token endpoint, built on first use, and bounded reading.
//!
//! Never follows a redirect and never repeats a request of its own accord: a POST sent twice is two attempts.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, Response, Url};
use rustls::{ClientConfig, RootCertStore};

use crate::aws::causes;
use crate::domain::redact::{cut, redact_known};

/// Longer than any healthy connection takes, and shorter than a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection idle for longer has likely been dropped at the other end, or while the function was frozen.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Objects and errors of Graph take a few KB; more is not read.
pub(super) const MOST_BODY_BYTES: usize = 256 * 1024;

const MOST_REASON_BYTES: usize = 300;

const USER_AGENT: &str = concat!("regrant/", env!("CARGO_PKG_VERSION"));

/// A client not yet built. Clones share the one that is built.
#[derive(Clone, Debug)]
pub(super) struct LazyClient {
    needs_tls: bool,
    built: Arc<OnceLock<Result<Client, String>>>,
}

impl LazyClient {
    /// The trust store is read only if one of `roots` is `https`.
    pub(super) fn new(roots: &[&Url]) -> Self {
        let needs_tls = roots.iter().any(|root| root.scheme() == "https");
        Self { needs_tls, built: Arc::default() }
    }

    /// The client, or why there can be none.
    pub(super) fn get(&self) -> Result<&Client, &str> {
        self.built.get_or_init(|| build(self.needs_tls)).as_ref().map_err(String::as_str)
    }
}

fn build(needs_tls: bool) -> Result<Client, String> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls_config(needs_tls)?)
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if !needs_tls {
        // Plain `http` is allowed on a loopback address only, which no proxy could reach.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| format!("the HTTP client cannot be built: {}", causes(&error)))
}

/// Trusts what the AWS SDK trusts: the system's roots, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn tls_config(needs_tls: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if needs_tls {
        let (trusted, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if trusted == 0 {
            return Err("no trusted root certificate was found: set `SSL_CERT_FILE`".to_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// As much of a body as came: all of it, or what was read before the limit, the timeout or the break.
pub(super) struct Read {
    pub(super) bytes: Vec<u8>,
    /// Why it is not whole, if it is not.
    pub(super) broken: Option<String>,
}

pub(super) async fn read(response: Response) -> Read {
    read_up_to(response, MOST_BODY_BYTES).await
}

/// For bodies that may be longer than one object.
pub(super) async fn read_up_to(mut response: Response, most: usize) -> Read {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > most => {
                let broken = Some(format!("the body is longer than {} KB", most / 1024));
                return Read { bytes, broken };
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Read { bytes, broken: None },
            Err(error) => return Read { bytes, broken: Some(reason(error, &[])) },
        }
    }
}

/// Why a request failed, without its URL.
pub(super) fn reason(error: reqwest::Error, secrets: &[&str]) -> String {
    let timed_out = error.is_timeout();
    let text = causes(&error.without_url());
    let text = if timed_out && !text.contains("timed out") { format!("{text}: timed out") } else { text };
    cut(&redact_known(&text, secrets), MOST_REASON_BYTES)
}
