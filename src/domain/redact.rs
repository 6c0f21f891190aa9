//! Takes tokens, secrets and assertions out of a text before anyone keeps or shows it.
//!
//! Errs on the side of taking out: a mangled reason is a nuisance, a stored token is an incident.

use std::sync::LazyLock;

use regex_lite::Regex;

const MARK: &str = "[redacted]";

/// One thing that is taken out.
struct Rule {
    /// In lower case; one of them, in any case, is in every text that the pattern matches. Matching takes tens of
    /// microseconds, looking for these next to nothing, and hardly any text has one.
    signs: &'static [&'static str],
    pattern: Regex,
    with: &'static str,
}

static RULES: LazyLock<[Rule; 6]> = LazyLock::new(|| {
    let rule = |signs, pattern, with| {
        let pattern = Regex::new(pattern).expect("the patterns are constants, tested below");
        Rule { signs, pattern, with }
    };
    [
        // Private keys and certificates in PEM form, closed or cut off.
        rule(
            &["-----begin "],
            r"(?s)-----BEGIN [A-Z0-9 ]{1,40}-----.*?(-----END [A-Z0-9 ]{1,40}-----|\z)",
            MARK,
        ),
        // JSON web tokens: their header is JSON, so its base64url begins with `eyJ`.
        rule(&["eyj"], r"eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*)*", MARK),
        // Authorization headers.
        rule(
            &["bearer", "basic"],
            r"(?i)\b(bearer|basic)(\s+|%20|\+)[A-Za-z0-9._~+/=%-]{6,}",
            "$1 [redacted]",
        ),
        // A named value: `client_secret=…`, `"password": "…"`, `x-amz-security-token: …`, also in JSON text inside JSON.
        rule(
            &[":", "="],
            r#"(?i)([A-Za-z0-9_.-]*(?:secret|passw(?:or)?d|token|assertion|authorization|api[_-]?key|access[_-]?key|private[_-]?key|credential|signature|\bsig\b|\bpwd\b|cookie)[A-Za-z0-9_.-]*\\*["']?\s*[:=]\s*)(\[redacted\]|\\*"(?:[^"\\]|\\[^"])*|\\*'[^']*|[^\s&,;"'\\}\]\)]+)"#,
            "$1[redacted]",
        ),
        // Entra client secrets carry `Q~` at a fixed place; AWS access key ids a fixed prefix.
        rule(&["q~"], r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{20,}", MARK),
        rule(&["akia", "asia"], r"\b(AKIA|ASIA)[A-Z0-9]{12,}", MARK),
    ]
});

/// A run that long, mixed of upper case, lower case and digits, is no word.
const OPAQUE_AT_LEAST: usize = 40;

/// The text with everything like a token, secret or assertion replaced by `[redacted]`.
pub fn redact(text: &str) -> String {
    let mut clean = text.to_owned();
    for Rule { signs, pattern, with } in RULES.iter() {
        let lower = clean.to_ascii_lowercase();
        if signs.iter().any(|sign| lower.contains(sign)) {
            clean = pattern.replace_all(&clean, *with).into_owned();
        }
    }
    redact_opaque_runs(&clean)
}

/// The same, also without every occurrence of values known to be secret.
pub fn redact_known(text: &str, secrets: &[&str]) -> String {
    let without = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, MARK));
    redact(&without)
}

fn redact_opaque_runs(text: &str) -> String {
    let in_run = |c: char| c.is_ascii_alphanumeric() || "_~+=-".contains(c);
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c| !in_run(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        clean.push_str(if is_opaque(word) { MARK } else { word });
        let gap = after.find(in_run).unwrap_or(after.len());
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
