//! How numbers, times and stored names are put for a reader.

use jiff::Timestamp;

use crate::domain::record::stored_name;
use crate::domain::report::{Ending, Endings};

/// `2026-11-21 14:05 UTC`.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// One decimal, or a dash where there is nothing to divide.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// The two largest units; a dash if there is none.
pub fn duration(ms: Option<u64>) -> String {
    let Some(ms) = ms else { return "-".to_owned() };
    let secs = ms / 1000;
    match secs {
        0..60 => format!("{}.{} s", secs, ms % 1000 / 100),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// `1234567` as `1,234,567`.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().map(|digit| char::from(*digit)));
    }
    text
}

/// A stored name (`attemptsExhausted`) in words (`attempts exhausted`); anything else as it is.
pub fn plain(name: &str) -> String {
    if !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return name.to_owned();
    }
    name.chars().fold(String::new(), |mut words, letter| {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        words
    })
}

/// Each way a repair can end, in words, with its count.
pub fn endings(endings: &Endings) -> [(&'static str, u64); 6] {
    let Endings { recovered, not_verifiable, otherwise, abandoned, skipped, open } = *endings;
    [
        ("recovered", recovered),
        ("accepted, not verifiable", not_verifiable),
        ("ended otherwise", otherwise),
        ("abandoned", abandoned),
        ("skipped", skipped),
        ("open", open),
    ]
}

/// How one repair ended, in the words of the records.
pub fn ending(ending: Ending) -> String {
    match ending {
        Ending::Recovered => "recovered".to_owned(),
        Ending::NotVerifiable => "accepted, not verifiable".to_owned(),
        Ending::Otherwise(verdict) => stored_name(&verdict),
        Ending::Abandoned(why) => format!("abandoned: {}", stored_name(&why)),
        Ending::Skipped(why) => format!("skipped: {}", stored_name(&why)),
        Ending::Open(stage) => format!("open: {}", stage.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(number), ["0", "12", "123", "1,234", "1,234,567"]);
        let durations = [None, Some(950), Some(61_000), Some(3_720_000), Some(90_000_000)].map(duration);
        assert_eq!(durations, ["-", "0.9 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
        assert_eq!(plain("attemptsExhausted"), "attempts exhausted");
        assert_eq!(plain("HTTP 400"), "HTTP 400");
    }
}
