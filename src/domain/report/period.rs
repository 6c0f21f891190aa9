//! The period of a report, from what someone wrote. All days are UTC's.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Longer than any trail is likely to be kept; every hour of it costs a query.
const LONGEST_DAYS: i64 = 3660;

/// From an instant to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    pub to: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    #[error(
        "{field} must be a day like `2026-03-01` or an instant like `2026-03-01T12:00:00Z`, is \"{found}\""
    )]
    Instant { field: &'static str, found: String },
    #[error("{field} must be a whole number and `h`, `d` or `w`, like `7d`, is \"{found}\"")]
    Length { field: &'static str, found: String },
    #[error("the period is empty: it begins at {from} and ends at {to}")]
    Empty { from: Timestamp, to: Timestamp },
    #[error("the period begins at {from}, which is in the future")]
    Future { from: Timestamp },
    #[error("the period is longer than {LONGEST_DAYS} days")]
    TooLong,
}

impl Period {
    /// The last so many hours, days or weeks.
    pub fn since(field: &'static str, text: &str, now: Timestamp) -> Result<Self, PeriodError> {
        let length = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
            let hours: i64 = match unit {
                "h" => 1,
                "d" => 24,
                "w" => 7 * 24,
                _ => return None,
            };
            hours.checked_mul(number).filter(|hours| *hours <= LONGEST_DAYS * 24)
        };
        let wrong = || PeriodError::Length { field, found: text.chars().take(64).collect() };
        let from = now.checked_sub(SignedDuration::from_hours(length().ok_or_else(wrong)?));
        Self { from: from.map_err(|_| PeriodError::TooLong)?, to: now }.checked(now)
    }

    /// From a day or instant to the end of a day or an instant; to `now` if no end is given.
    pub fn between(
        fields: [&'static str; 2],
        from: &str,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, PeriodError> {
        let wrong =
            |field, text: &str| PeriodError::Instant { field, found: text.chars().take(64).collect() };
        let from = start_of(from, false).ok_or_else(|| wrong(fields[0], from))?;
        let to = match to {
            None => now,
            Some(to) => start_of(to, true).ok_or_else(|| wrong(fields[1], to))?,
        };
        Self { from, to }.checked(now)
    }

    fn checked(self, now: Timestamp) -> Result<Self, PeriodError> {
        if self.from >= self.to {
            return Err(PeriodError::Empty { from: self.from, to: self.to });
        }
        if self.from > now {
            return Err(PeriodError::Future { from: self.from });
        }
        if self.to.duration_since(self.from) > SignedDuration::from_hours(24 * LONGEST_DAYS) {
            return Err(PeriodError::TooLong);
        }
        Ok(self)
    }
}

/// An instant in whole milliseconds, or where a day begins, or, `after` it, where the next one does.
fn start_of(text: &str, after: bool) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Timestamp::from_millisecond(at.as_millisecond()).ok();
    }
    let date = (text.len() == 10).then(|| text.parse::<Date>().ok())??;
    let date = if after { date.tomorrow().ok()? } else { date };
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-21T20:00:00Z";

    fn between(from: &str, to: Option<&str>) -> Result<Period, PeriodError> {
        Period::between(["`--from`", "`--to`"], from, to, at(NOW))
    }

    #[test]
    fn day_at_the_end_is_meant_whole() {
        let march = Period { from: at("2026-03-01T00:00:00Z"), to: at("2026-04-01T00:00:00Z") };
        assert_eq!(between("2026-03-01", Some("2026-03-31")), Ok(march));
        let noon = Period { from: at("2026-03-01T12:00:00Z"), to: at(NOW) };
        assert_eq!(between("2026-03-01T13:00:00+01:00", None), Ok(noon));
        let week = Period { from: at("2026-11-14T20:00:00Z"), to: at(NOW) };
        assert_eq!(Period::since("`--since`", "1w", at(NOW)), Ok(week));
    }

    #[test]
    fn wrong_periods_are_refused_in_clear_words() {
        let said = |result: Result<Period, PeriodError>| result.unwrap_err().to_string();
        assert_eq!(
            said(between("yesterday", None)),
            "`--from` must be a day like `2026-03-01` or an instant like `2026-03-01T12:00:00Z`, is \"yesterday\""
        );
        assert_eq!(
            said(between("2026-03-02", Some("2026-03-01"))),
            "the period is empty: it begins at 2026-03-02T00:00:00Z and ends at 2026-03-02T00:00:00Z"
        );
        assert_eq!(
            said(between("2026-12-01", Some("2026-12-31"))),
            "the period begins at 2026-12-01T00:00:00Z, which is in the future"
        );
        assert_eq!(said(between("1900-01-01", None)), "the period is longer than 3660 days");
        for text in ["", "d", "7", "-7d", "7m", "1.5d", "99999999999999999999d", "999999w", "7é"] {
            let said = said(Period::since("`--since`", text, at(NOW)));
            assert!(said.starts_with("`--since` must be a whole number"), "{text}: {said}");
        }
        assert!(said(Period::since("`--since`", "0d", at(NOW))).starts_with("the period is empty"));
    }
}
