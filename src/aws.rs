//! What all AWS clients share: region, credentials, timeouts, one HTTP client. Loaded on first use, not before.
//!
//! Makes no client: whoever talks to a service makes its own from [`Aws::config`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::RequestId;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::sync::OnceCell;

use crate::domain::redact::{cut, redact};

/// Within one region a connection takes milliseconds; a second means that it will not come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The calls are small; the SDK's three attempts then end within an invocation.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// A person at a terminal may be far from the region and behind a slow line: a page of a table is 1 MB.
const PATIENT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const PATIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The AWS configuration, loaded once a process when first asked for. Clones share it.
#[derive(Clone, Default)]
pub struct Aws {
    config: Arc<OnceCell<SdkConfig>>,
}

impl Aws {
    /// Nothing is read or connected here.
    pub fn new() -> Self {
        Self::default()
    }

    /// For a person at a terminal: as [`Aws::new`], with more patience for each call. Loads the configuration.
    pub async fn patient() -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(PATIENT_CONNECT_TIMEOUT)
            .operation_attempt_timeout(PATIENT_ATTEMPT_TIMEOUT)
            .build();
        Self::from_config(load().await.into_builder().timeout_config(timeouts).build())
    }

    /// Uses `config` as it is: its timeouts and HTTP client too.
    pub fn from_config(config: SdkConfig) -> Self {
        Self { config: Arc::new(OnceCell::new_with(Some(config))) }
    }

    /// Region, credentials and endpoints by the SDK's own rules and variables.
    pub async fn config(&self) -> &SdkConfig {
        self.config.get_or_init(load).await
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("loaded", &self.config.initialized()).finish()
    }
}

async fn load() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard())
        .stalled_stream_protection(no_stall_watch())
        .load()
        .await
}

/// The SDK watches the flow of each body, for downloads that take long. Ours are read whole within the timeout of
/// one attempt, which ends a stall as well and costs nothing while there is none.
pub fn no_stall_watch() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::disabled()
}

/// Of every call of every AWS client.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// One pool for all AWS clients, which reads the trust store when the first `https` request is made.
///
/// The SDK's default client reads it when a client is built, once for each client, even where every endpoint is
/// plain `http` on a loopback address; that is most of a cold start.
pub fn http_client() -> SharedHttpClient {
    let plain = Builder::new().build_with_connector_fn(|settings, components| {
        // Plain are only loopback endpoints and the metadata services of instance and container: never by proxy.
        connector(settings, components).proxy_config(ProxyConfig::disabled()).build_http()
    });
    let tls = Builder::new().build_with_connector_fn(|settings, components| {
        connector(settings, components)
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::rustls(CryptoMode::AwsLc))
            .build()
    });
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(ByScheme {
            plain: plain.clone(),
            tls: tls.clone(),
            settings: settings.clone(),
            components: components.clone(),
        })
    })
}

fn connector(
    settings: Option<&HttpConnectorSettings>,
    components: Option<&RuntimeComponents>,
) -> ConnectorBuilder {
    let mut builder = Connector::builder();
    builder.set_connector_settings(settings.cloned());
    if let Some(components) = components {
        builder.set_sleep_impl(components.sleep_impl());
    }
    builder
}

/// Asks for the connector, which the clients keep for each combination of settings, only when a request shows
/// which one it needs.
#[derive(Debug)]
struct ByScheme {
    plain: SharedHttpClient,
    tls: SharedHttpClient,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for ByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_plain = request.uri().starts_with("http://");
        let client = if is_plain { &self.plain } else { &self.tls };
        client.http_connector(&self.settings, &self.components).call(request)
    }
}

/// What an AWS error may be called where people read it: code, status and request id, or why there was no answer.
///
/// The message and the body stay out: AWS repeats parts of the request in some of them, its session token among.
pub fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    let Some(status) = error.raw_response().map(|answer| answer.status().as_u16()) else {
        return cut(&redact(&format!("no answer: {}", causes(error))), 512);
    };
    let code = error.as_service_error().and_then(|error| error.code()).unwrap_or("no code");
    let id = error.request_id().unwrap_or("none");
    cut(&redact(&format!("HTTP {status}, `{code}`, request id {id}")), 512)
}

/// An error and what caused it, outermost first, nothing said twice.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
