//! What is acted on: the target, its id, and the API version it is reached through. Knows no URL.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A GUID in the 8-4-4-4-12 form, kept in lower case.
///
/// The only way from outside text into a URL: whatever is not such a GUID never becomes one of these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid(String);

/// The text is not a GUID in the 8-4-4-4-12 form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID in the 8-4-4-4-12 form")]
pub struct NotAGuid;

impl Guid {
    /// Accepts any case and nothing else: no braces, no spaces, no `urn:` prefix.
    pub fn parse(text: &str) -> Result<Self, NotAGuid> {
        let well_formed = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if well_formed { Ok(Self(text.to_ascii_lowercase())) } else { Err(NotAGuid) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Guid {
    type Error = NotAGuid;

    fn try_from(text: String) -> Result<Self, NotAGuid> {
        Self::parse(&text)
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> Self {
        guid.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of Graph's two reprocess actions applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetKind {
    /// `accessPackageAssignment`: re-applies what was delivered.
    Assignment,
    /// `accessPackageAssignmentRequest`: retries a delivery that failed.
    AssignmentRequest,
}

impl TargetKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::AssignmentRequest => "assignmentRequest",
        }
    }
}

/// The assignment or assignment request acted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub kind: TargetKind,
    pub id: Guid,
}

impl Target {
    /// The partition key of this target's history in the trail.
    pub fn key(&self, tenant: &Guid) -> String {
        format!("{tenant}#{}#{}", self.kind.as_str(), self.id)
    }

    /// The target that has this key; `None` for a rejected message's key.
    pub fn of_key(tenant: &Guid, key: &str) -> Option<Self> {
        let (kind, id) = key.strip_prefix(tenant.as_str())?.strip_prefix('#')?.split_once('#')?;
        let kind = [TargetKind::Assignment, TargetKind::AssignmentRequest]
            .into_iter()
            .find(|known| known.as_str() == kind)?;
        Some(Self { kind, id: Guid::parse(id).ok()? })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ApiVersion {
    #[default]
    #[serde(rename = "v1.0")]
    V1,
    #[serde(rename = "beta")]
    Beta,
}

impl ApiVersion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1.0",
            Self::Beta => "beta",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "v1.0" => Some(Self::V1),
            "beta" => Some(Self::Beta),
            _ => None,
        }
    }
}

/// The nested beta path that an assignment is reached through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    AssignmentRequest(Guid),
    ResourceRole(Guid),
}

/// The Microsoft cloud that a tenant lives in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    #[default]
    Global,
    UsGov,
    UsGovDod,
    China,
}

/// How it is proved to Entra who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// A web identity token of AWS STS; no stored secret.
    Federated,
    Certificate,
    Secret,
    /// The operator's own sign-in; then the client is the one it was done with.
    #[serde(rename = "signed-in")]
    SignedIn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guid_is_accepted_in_any_case_and_kept_in_lower_case() {
        let guid = Guid::parse("D82EB508-ACC4-43CC-bcf1-7c1c4a2c073b").unwrap();
        assert_eq!(guid.as_str(), "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b");
    }

    #[test]
    fn anything_but_a_plain_guid_is_refused() {
        for text in [
            "",
            "d82eb508acc443ccbcf17c1c4a2c073b",
            "{d82eb508-acc4-43cc-bcf1-7c1c4a2c073b}",
            " d82eb508-acc4-43cc-bcf1-7c1c4a2c073b",
            "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b/",
            "d82eb508-acc4-43cc-bcf1-7c1c4a2c07zz",
            "d82eb508-acc4-43cc-bcf1_7c1c4a2c073b",
            "../../../../../../../../../users/12345",
            "d82eb508-acc4-43cc-bcf1-7c1c4a2c07é",
        ] {
            assert_eq!(Guid::parse(text), Err(NotAGuid), "{text}");
        }
    }
}
