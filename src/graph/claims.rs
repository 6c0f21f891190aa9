//! What a token says of itself, for a person who wonders why it is refused. Verifies nothing: that is Graph's part.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{MOST_CODE_BYTES, bounded};

/// Roles are told so far: an application with more has other worries.
const MOST_ROLES: usize = 20;

/// The claims that a person may see. Each is redacted and bounded; one that is absent or no text is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub audience: Option<String>,
    /// Client id of the application: `appid`, or `azp` in tokens of version 2.
    pub application: Option<String>,
    pub tenant: Option<String>,
    /// Application permissions. Empty is usual where an entitlement management role is assigned instead.
    pub roles: Vec<String>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    aud: Value,
    appid: Value,
    azp: Value,
    tid: Value,
    roles: Value,
    exp: Value,
}

impl Claims {
    /// `None` if the token is not a readable JWT: Microsoft promises nothing about its form.
    pub(super) fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let payload = serde_json::from_slice::<Payload>(&payload).ok()?;
        let text = |value: &Value| value.as_str().map(|text| bounded(text, MOST_CODE_BYTES, &[token]));
        let roles = payload.roles.as_array().into_iter().flatten();
        Some(Self {
            audience: text(&payload.aud),
            application: text(&payload.appid).or_else(|| text(&payload.azp)),
            tenant: text(&payload.tid),
            roles: roles.filter_map(text).take(MOST_ROLES).collect(),
            expires_at: payload.exp.as_i64().and_then(|secs| Timestamp::from_second(secs).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn claims_of_both_versions_are_read_and_odd_ones_are_absent() {
        let claims = Claims::read(&token(
            r#"{"aud":"https://graph.microsoft.com","appid":"a","tid":"t","roles":["R.All",7],"exp":1772000000,"scp":"x"}"#,
        ));
        let expected = Claims {
            audience: Some("https://graph.microsoft.com".to_owned()),
            application: Some("a".to_owned()),
            tenant: Some("t".to_owned()),
            roles: vec!["R.All".to_owned()],
            expires_at: Timestamp::from_second(1_772_000_000).ok(),
        };
        assert_eq!(claims, Some(expected));
        let second = Claims::read(&token(r#"{"azp":"b","roles":"none","exp":"soon"}"#));
        assert_eq!(second, Some(Claims { application: Some("b".to_owned()), ..Claims::default() }));
    }

    #[test]
    fn what_is_no_jwt_has_no_claims() {
        for text in ["opaque", "a.b.c", "a..c", "e30.bnVsbA.x.y", ""] {
            assert_eq!(Claims::read(text), None, "{text}");
        }
    }
}
