//! What an AWS SDK client needs to talk to a server on a loopback port. Reads no environment and no profile.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::aws::{Aws, http_client, no_stall_watch, timeouts};

/// The region that the embedded servers say they are in.
pub const REGION: &str = "eu-west-1";
/// The embedded servers check no signature; the SDK only insists on having something to sign with.
pub const ACCESS_KEY_ID: &str = "local";
/// See [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "local";

/// Configuration for clients of the one server at `endpoint_url`, over plain HTTP and without a trust store.
pub fn sdk_config(endpoint_url: &str) -> SdkConfig {
    builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint_url)
        .build()
}

/// The worker's own AWS configuration, but for the endpoints: those are looked up among `settings` under the
/// names that the SDK would look for in the environment (`AWS_ENDPOINT_URL_SQS` and so on).
pub fn worker_aws(settings: Vec<(&'static str, String)>) -> Aws {
    let config = builder()
        .http_client(http_client())
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard())
        .stalled_stream_protection(no_stall_watch())
        .service_config(Endpoints(settings));
    Aws::from_config(config.build())
}

fn builder() -> aws_types::sdk_config::Builder {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "regrant-local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
}

#[derive(Debug)]
struct Endpoints(Vec<(&'static str, String)>);

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let wanted = format!("{}_{}", key.env(), key.service_id().to_uppercase().replace(' ', "_"));
        self.0.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone())
    }
}
