//! What an AWS SDK client needs to talk to a server on a loopback port. Reads no environment and no profile.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};

/// The region that the embedded servers say they are in.
pub const REGION: &str = "eu-west-1";
/// The embedded servers check no signature; the SDK only insists on having something to sign with.
pub const ACCESS_KEY_ID: &str = "local";
/// See [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "local";

/// Configuration for clients of the one server at `endpoint_url`, over plain HTTP and without a trust store.
pub fn sdk_config(endpoint_url: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "regrant-local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint_url)
        .build()
}
