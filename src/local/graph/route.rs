//! The paths that the simulator knows, exactly those of the contract. Looks nothing up.

use crate::domain::target::{ApiVersion, TargetKind};

/// What a path means. Ids are still text from outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Token {
        tenant: &'a str,
    },
    Look {
        version: ApiVersion,
        kind: TargetKind,
        id: &'a str,
    },
    /// All assignment requests, to be filtered.
    List {
        version: ApiVersion,
    },
    Reprocess {
        version: ApiVersion,
        kind: TargetKind,
        id: &'a str,
        via: ViaPath<'a>,
    },
}

/// The nested part of a path, if any.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ViaPath<'a> {
    Direct,
    AssignmentRequest(&'a str),
    /// The path ends with the assignment once more.
    ResourceRole {
        via: &'a str,
        assignment: &'a str,
    },
}

impl<'a> Route<'a> {
    /// `None` for a path that Graph would not know either.
    pub fn parse(path: &'a str) -> Option<Self> {
        use TargetKind::{Assignment, AssignmentRequest};
        let segments = path.strip_prefix('/')?.split('/').collect::<Vec<_>>();
        let (version, rest) = match segments.as_slice() {
            [tenant, "oauth2", "v2.0", "token"] => return Some(Self::Token { tenant }),
            [version, "identityGovernance", "entitlementManagement", rest @ ..] => {
                (ApiVersion::parse(version)?, rest)
            }
            _ => return None,
        };
        let (set, id, rest) = match rest {
            ["assignmentRequests"] => return Some(Self::List { version }),
            [set, id, rest @ ..] => (*set, *id, rest),
            _ => return None,
        };
        let kind = match (version, set) {
            (ApiVersion::V1, "assignmentRequests") => AssignmentRequest,
            (ApiVersion::Beta, "accessPackageAssignmentRequests") => AssignmentRequest,
            (ApiVersion::V1, "assignments") => Assignment,
            (ApiVersion::Beta, "accessPackageAssignments") => Assignment,
            _ => return None,
        };
        let nested = version == ApiVersion::Beta && kind == Assignment;
        let via = match rest {
            [] => return Some(Self::Look { version, kind, id }),
            ["reprocess"] => ViaPath::Direct,
            ["accessPackageAssignmentRequests", via, "accessPackageAssignment", "reprocess"] if nested => {
                ViaPath::AssignmentRequest(via)
            }
            [
                "accessPackageAssignmentResourceRoles",
                via,
                "accessPackageAssignments",
                assignment,
                "reprocess",
            ] if nested => ViaPath::ResourceRole { via, assignment },
            _ => return None,
        };
        Some(Self::Reprocess { version, kind, id, via })
    }
}
