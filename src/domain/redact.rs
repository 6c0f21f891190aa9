//! Takes tokens, secrets and assertions out of a text before anyone keeps or shows it.
//!
//! Errs on the side of taking out: a mangled reason is a nuisance, a stored token is an incident.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::Value;

const MARK: &str = "[redacted]";

/// Parts of names whose values are nobody's business.
const SECRET: &str = "secret|passw(?:or)?d|passphrase|token|assertion|authorization|api[_-]?key|access[_-]?key|private[_-]?key|credential|signature|\\bsig\\b|\\bpwd\\b|cookie";

/// Each name that `SECRET` matches holds one of these.
const SECRET_SIGNS: &[&str] = &[
    "secret",
    "passw",
    "passphrase",
    "token",
    "assertion",
    "authorization",
    "key",
    "credential",
    "sig",
    "pwd",
    "cookie",
];

/// The signs of all other rules. Beside the rules, so that these are compiled for a text that has a sign, and for
/// most processes never.
const OTHER_SIGNS: &[&str] = &["-----begin ", "eyj", "bearer", "basic", "://", "q~", "akia", "asia"];

/// One thing that is taken out.
struct Rule {
    /// In lower case; one of them, in any case, is in every text that the pattern matches. Matching takes tens of
    /// microseconds, looking for these next to nothing, and hardly any text has one.
    signs: &'static [&'static str],
    pattern: Regex,
    /// What stays in its place.
    with: &'static str,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let name = format!("[A-Za-z0-9_.-]*(?:{SECRET})[A-Za-z0-9_.-]*");
    let then = r#"\\*["']?\s*(?:[:=]|%3[AaDd])\s*"#;
    let quoted = r#"\[redacted\]|\\+"[^"\\]*|"(?:[^"\\]|\\.)*|\\*'[^']*|[\[{][^\]}]*"#;
    let rules: [(&'static [&'static str], String, &'static str); 10] = [
        // Private keys and certificates in PEM form, closed or cut off.
        (
            &["-----begin "],
            r"(?s)-----BEGIN [A-Z0-9 ]{1,40}-----.*?(-----END [A-Z0-9 ]{1,40}-----|\z)".to_owned(),
            MARK,
        ),
        // JSON web tokens: their header is JSON, so its base64url begins with `eyJ`.
        (&["eyj"], r"eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*)*".to_owned(), MARK),
        // Authorization headers, and user and password in a URL.
        (
            &["bearer", "basic"],
            r"(?i)\b(bearer|basic)(\s+|%20|\+)[A-Za-z0-9._~+/=%-]{6,}".to_owned(),
            "$1 [redacted]",
        ),
        (&["://"], r#"://[^/\s@"'<>]+@"#.to_owned(), "://[redacted]@"),
        // A named value as an element or on a command line.
        (SECRET_SIGNS, format!(r"(?i)<({name})>[^<]*"), "<$1>[redacted]"),
        (SECRET_SIGNS, format!(r"(?i)(--?{name})\s+[^\s-]\S*"), "$1 [redacted]"),
        // A named value after a colon or an equals sign. Passwords and secrets may have spaces in them.
        (
            SECRET_SIGNS,
            format!(
                r#"(?i)([A-Za-z0-9_.-]*(?:secret|passw(?:or)?d|passphrase|\bpwd\b)[A-Za-z0-9_.-]*{then})({quoted}|[^,;&"'\\<>}}\]\)\r\n]+)"#
            ),
            "$1[redacted]",
        ),
        (SECRET_SIGNS, format!(r#"(?i)({name}{then})({quoted}|[^\s&,;"'\\<>}}\]\)]+)"#), "$1[redacted]"),
        // Entra client secrets carry `Q~` at a fixed place; AWS access key ids a fixed prefix.
        (&["q~"], r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{20,}".to_owned(), MARK),
        (&["akia", "asia"], r"\b(AKIA|ASIA)[A-Z0-9]{12,}".to_owned(), MARK),
    ];
    rules.into_iter().map(|(signs, pattern, with)| Rule { signs, pattern: compile(&pattern), with }).collect()
});

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| compile(&format!("(?i){SECRET}")));
static ESCAPED: LazyLock<Regex> = LazyLock::new(|| compile(r"\\+u00([2-7][0-9A-Fa-f])"));

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are constants, and every test of this module compiles them")
}

/// A run that long, mixed of upper case, lower case and digits, is no word.
const OPAQUE_AT_LEAST: usize = 40;

/// The text with everything like a token, secret or assertion replaced by `[redacted]`.
pub fn redact(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let has_sign = SECRET_SIGNS.iter().chain(OTHER_SIGNS).any(|sign| lower.contains(sign));
    match (has_sign, text.len() < OPAQUE_AT_LEAST) {
        (true, _) => redact_runs_of_both(&redact_by_rules(text)),
        (false, false) => redact_runs_of_both(text),
        // Ids, states and most reasons: no rule applies.
        (false, true) => text.to_owned(),
    }
}

fn redact_by_rules(text: &str) -> String {
    let mut clean = text.to_owned();
    for Rule { signs, pattern, with } in RULES.iter() {
        let lower = clean.to_ascii_lowercase();
        if signs.iter().any(|sign| lower.contains(sign)) && pattern.is_match(&clean) {
            clean = pattern.replace_all(&clean, *with).into_owned();
        }
    }
    clean
}

/// Base64url, and then base64, whose slashes would make a word of every path if both were one.
fn redact_runs_of_both(text: &str) -> String {
    let clean = redact_runs(text, |c| c.is_ascii_alphanumeric() || "_~+=-".contains(c));
    redact_runs(&clean, |c| c.is_ascii_alphanumeric() || "/+=".contains(c))
}

/// The same, also without every occurrence of values known to be secret.
pub fn redact_known(text: &str, secrets: &[&str]) -> String {
    let without = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, MARK));
    redact(&without)
}

/// True for the shapes of token and key that nothing else has; ordinary words are never meant.
pub fn is_surely_secret(text: &str) -> bool {
    text.contains("eyJ") && redact(text) != text || text.starts_with("AKIA") || text.starts_with("ASIA")
}

/// A whole message body: redacted also below JSON's own escapes and structure, and at most `most` bytes of it.
/// A body without secrets stays as it is, but for its length.
pub fn redact_body(body: &str, most: usize) -> String {
    /// So much is looked at; what lies behind it is not kept in any case.
    const MOST_READ: usize = 16 * 1024;
    /// Of a cut text the end goes too: a secret cut in two may no longer look like one.
    const TORN: usize = 2048;
    if body.len() > MOST_READ {
        let clean = redact(&unescape(&cut(body, MOST_READ)));
        return cut(&cut(&clean, clean.len().saturating_sub(TORN).max(4)), most);
    }
    match serde_json::from_str::<Value>(body) {
        Ok(value) => {
            let clean = clean_value(value.clone());
            if clean == value { cut(&redact(body), most) } else { cut(&clean.to_string(), most) }
        }
        Err(_) => cut(&redact(&unescape(body)), most),
    }
}

/// `\u0070` and the like are a way to hide a name from a pattern.
fn unescape(text: &str) -> String {
    let decode = |found: &regex_lite::Captures<'_>| {
        u8::from_str_radix(&found[1], 16)
            .map_or_else(|_| found[0].to_owned(), |byte| char::from(byte).to_string())
    };
    ESCAPED.replace_all(text, decode).into_owned()
}

fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => {
                let clean = clean_value(inner.clone());
                Value::String(if clean == inner { redact(&text) } else { clean.to_string() })
            }
            _ => Value::String(redact(&text)),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(clean_value).collect()),
        Value::Object(fields) => {
            let named = ["name", "key", "Name", "Key"].iter().filter_map(|name| fields.get(*name)?.as_str());
            let names_secret = named.into_iter().any(|name| SECRET_NAME.is_match(name));
            let clean = fields.into_iter().map(|(name, value)| {
                let hidden =
                    SECRET_NAME.is_match(&name) || (names_secret && name.eq_ignore_ascii_case("value"));
                (redact(&name), if hidden { hide(value) } else { clean_value(value) })
            });
            Value::Object(clean.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn hide(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(hide).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, hide(value))).collect())
        }
        Value::Null | Value::Bool(_) => value,
        Value::Number(_) | Value::String(_) => Value::String(MARK.to_owned()),
    }
}

fn redact_runs(text: &str, in_run: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c| !in_run(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        clean.push_str(if is_opaque(word) { MARK } else { word });
        let gap = after.find(&in_run).unwrap_or(after.len());
        clean.push_str(&after[..gap]);
        rest = &after[gap..];
    }
    clean
}

fn is_opaque(word: &str) -> bool {
    let has = |test: fn(&u8) -> bool| word.bytes().any(|byte| test(&byte));
    word.len() >= OPAQUE_AT_LEAST
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

/// The text cut to at most `most` bytes, at a character's border, with `…` where something was cut.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let ellipsis = '…';
    let mut end = most - ellipsis.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ellipsis}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made up, and split so that no scanner takes this file for a leak.
    fn jwt() -> String {
        format!(
            "{}.{}.{}",
            concat!("ey", "JhbGciOiJub25lIn0"),
            concat!("ey", "JzdWIiOiJ0ZXN0In0"),
            "c2lnbmF0dXJl"
        )
    }

    #[test]
    fn every_rule_is_found_by_a_sign() {
        for sign in RULES.iter().flat_map(|rule| rule.signs) {
            assert!(SECRET_SIGNS.contains(sign) || OTHER_SIGNS.contains(sign), "{sign}");
        }
    }

    #[test]
    fn tokens_and_secrets_are_taken_out() {
        let canary = "Canary-1234";
        let cases = [
            format!("sent {} along", jwt()),
            format!("Authorization: Bearer {canary}"),
            format!("authorization = Basic {canary}"),
            format!("client_secret={canary}&scope=x"),
            format!(r#"{{"client_secret":"{canary}"}}"#),
            format!(r#"{{"inner":"{{\"accessToken\":\"{canary}\"}}"}}"#),
            format!("x-amz-security-token: {canary}"),
            format!("password : '{canary}'"),
            format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----"),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{canary}"),
            format!("secret {}8Q~{}", "abc", "Canary-1234aaaaaaaaaaaaaaaaaaaaaaa"),
            format!("opaque {canary}{}", "aB3".repeat(14)),
        ];
        for text in cases {
            let clean = redact(&text);
            assert!(!clean.contains(canary) && !clean.contains("eyJ"), "{text} -> {clean}");
            assert!(clean.contains(MARK), "{text} -> {clean}");
        }
    }

    #[test]
    fn secrets_are_found_under_escapes_and_in_structures() {
        let canary = "Canary-1234";
        for body in [
            format!(r#"{{"password":"ab\"{canary}"}}"#),
            format!(r#"{{"client_secret":["{canary}"]}}"#),
            format!(r#"{{"client_secret":{{"value":"{canary}"}}}}"#),
            format!(r#"{{"name":"client_secret","value":"{canary}"}}"#),
            format!(r#"{{"\u0070assword":"{canary}"}}"#),
            format!(r#"{{"\u0070assword":"{canary}"#),
            format!(r#"{{"reason":"Bearer\u0020{canary}"}}"#),
            format!(r#"{{"inner":"{{\"password\":\"ab{canary}\"}}"}}"#),
            format!(r#"{{"client_secret":["{canary}""#),
            format!("client_secret%3D{canary}"),
            format!("https://user:{canary}@host/path"),
            format!("<password>{canary}</password>"),
            format!("--client-secret {canary}"),
            format!("password: two {canary} words"),
            format!("secret key wJalrXUtnFEMI/K7MDENG/{}bPxRfiCY", canary.replace('-', "")),
            format!("{}Bearer {canary}", "x ".repeat(9000)),
        ] {
            let clean = redact_body(&body, 4096);
            assert!(!clean.contains(canary) && !clean.contains("Canary1234"), "{body:.200} -> {clean:.300}");
        }
    }

    #[test]
    fn body_without_secrets_stays_to_the_byte() {
        for body in [r#"{ "target" : "assignment", "b": 1, "a": [null] }"#, "{", "", "ordinary words"] {
            assert_eq!(redact_body(body, 4096), body);
        }
        assert!(redact_body(&"x".repeat(100_000), 4096).len() <= 4096);
    }

    #[test]
    fn only_unmistakable_shapes_are_surely_secret() {
        assert!(is_surely_secret(&jwt()));
        for name in
            ["ServiceNow-RITM0012345-6f9b1c2d3e4f5a6b7c8d", "password-reset:12", "token:2026-11-20", "eyJ"]
        {
            assert!(!is_surely_secret(name), "{name}");
        }
    }

    #[test]
    fn ordinary_texts_stay_as_they_are() {
        for text in [
            "SAP outage, INC0012345",
            "No HTTP resource was found that matches the request URI 'https://igaelm-ecapi.example/api/v1/accessPackageAssignments('d82eb508-acc4-43cc-bcf1-7c1c4a2c073b')'.",
            "sweep:2026-11-20T10:00:00Z",
            "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b:12",
            "Überprüfung nach Störung – bitte erneut",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn redacting_twice_changes_nothing_more() {
        let once = redact(&format!("token={} Bearer abcdefgh", jwt()));
        assert_eq!(redact(&once), once);
    }

    #[test]
    fn cut_keeps_to_the_limit_and_to_whole_characters() {
        assert_eq!(cut("abc", 3), "abc");
        let long = "ä".repeat(600);
        let short = cut(&long, 1024);
        assert!(short.len() <= 1024 && short.ends_with('…'));
    }
}
