//! Where a request's target stands in each version of Graph. Knows no root and sends nothing.

use crate::domain::request::Request;
use crate::domain::target::{ApiVersion, TargetKind, Via};

const PREFIX: &str = "identityGovernance/entitlementManagement";

/// The path of the reprocess call, with the version and without the root, as the trail keeps it.
pub fn reprocess_path(request: &Request) -> String {
    let object = object_path(request);
    let id = &request.target.id;
    match &request.via {
        None => format!("{object}/reprocess"),
        Some(Via::AssignmentRequest(via)) => {
            format!("{object}/accessPackageAssignmentRequests/{via}/accessPackageAssignment/reprocess")
        }
        Some(Via::ResourceRole(via)) => format!(
            "{object}/accessPackageAssignmentResourceRoles/{via}/accessPackageAssignments/{id}/reprocess"
        ),
    }
}

/// The path of the object that a look reads; the same whichever way it is reprocessed.
pub(super) fn object_path(request: &Request) -> String {
    let collection = match (request.target.kind, request.api_version) {
        (TargetKind::AssignmentRequest, ApiVersion::V1) => "assignmentRequests",
        (TargetKind::AssignmentRequest, ApiVersion::Beta) => "accessPackageAssignmentRequests",
        (TargetKind::Assignment, ApiVersion::V1) => "assignments",
        (TargetKind::Assignment, ApiVersion::Beta) => "accessPackageAssignments",
    };
    format!("/{}/{PREFIX}/{collection}/{}", request.api_version.as_str(), request.target.id)
}

/// The path of the list of assignment requests. Beta has it under two names; Microsoft retires the longer one.
pub(super) fn list_path(version: ApiVersion) -> String {
    format!("/{}/{PREFIX}/assignmentRequests", version.as_str())
}

/// What a look asks Graph to send along: the package, and whose access it is.
pub(super) fn expansion(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::AssignmentRequest => "$expand=accessPackage,requestor",
        TargetKind::Assignment => "$expand=accessPackage,target",
    }
}
