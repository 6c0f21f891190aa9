//! Whether Graph lets the application list requests at all, or those of one access package. Reads no request.

use std::time::Duration;

use super::answer::{Fault, header};
use super::client::{GraphClient, prepared};
use super::http::{read, reason};
use super::token::Token;
use crate::domain::target::{ApiVersion, Guid};

/// How Graph answered a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It answered, with an empty list or not.
    Listed,
    Refused {
        status: u16,
        code: Option<String>,
        request_id: Option<String>,
    },
    /// Why there was no answer.
    Silent(String),
}

impl GraphClient {
    /// Asks for a list of one: the failed assignment requests, or with `package` those of one access package.
    ///
    /// Whoever holds roles in catalogs only may list no other way than by package. Should Graph refuse `$top`,
    /// which its reference does not name for this list, it is asked without. No more than `timeout` a call.
    pub async fn reach(
        &self,
        token: &Token,
        version: ApiVersion,
        package: Option<&Guid>,
        timeout: Duration,
    ) -> Reach {
        let path =
            format!("/{}/identityGovernance/entitlementManagement/assignmentRequests", version.as_str());
        let query = match (package, version) {
            (Some(package), _) => format!("$expand=accessPackage&$filter=accessPackage/id eq '{package}'"),
            (None, ApiVersion::V1) => "$filter=state eq 'deliveryFailed'".to_owned(),
            (None, ApiVersion::Beta) => "$filter=requestState eq 'DeliveryFailed'".to_owned(),
        };
        match self.list(token, &path, &format!("{query}&$top=1"), timeout).await {
            Reach::Refused { status: 400, .. } => self.list(token, &path, &query, timeout).await,
            reach => reach,
        }
    }

    async fn list(&self, token: &Token, path: &str, query: &str, timeout: Duration) -> Reach {
        let http = match self.http.get() {
            Ok(http) => http,
            Err(reason) => return Reach::Silent(reason.to_owned()),
        };
        let call = http.get(self.url(path, Some(query)));
        let id = uuid::Uuid::new_v4().to_string();
        let response = match prepared(call, token, &id, timeout).send().await {
            Ok(response) => response,
            Err(error) => return Reach::Silent(reason(error, &[token.text()])),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            return Reach::Listed;
        }
        let fault = Fault::read(&read(response).await.bytes, &[token.text()]);
        let request_id = header(&headers, "request-id").or(fault.request_id);
        Reach::Refused { status: status.as_u16(), code: fault.code, request_id }
    }
}
