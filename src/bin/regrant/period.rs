//! Days, instants and durations as a person gives them. Reads no clock.

use std::time::Duration;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use regrant::verify::Period;

use crate::Unusable;

/// A period, by days or instants in UTC.
#[derive(Args, Clone, Debug, Default)]
pub struct Days {
    /// First day, YYYY-MM-DD in UTC, or an instant like 2026-03-01T08:00:00Z.
    #[arg(long, value_name = "DAY", value_parser = parse_edge)]
    pub from: Option<Edge>,
    /// Last day, which is included; an instant is not.
    #[arg(long, value_name = "DAY", value_parser = parse_edge)]
    pub to: Option<Edge>,
}

/// One end of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Day(Date),
    At(Timestamp),
}

impl Days {
    pub fn period(&self) -> Result<Period, Unusable> {
        let from = self.from.map_or(Some(Timestamp::MIN), |from| from.begins());
        let to = self.to.map_or(Some(Timestamp::MAX), |to| to.ends());
        match (from, to) {
            (Some(from), Some(to)) if from < to => Ok(Period { from, to }),
            _ => Err(Unusable::new("the period is empty: --from must be before --to")),
        }
    }
}

impl Edge {
    fn begins(self) -> Option<Timestamp> {
        match self {
            Self::Day(day) => day.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp()),
            Self::At(at) => Some(at),
        }
    }

    fn ends(self) -> Option<Timestamp> {
        match self {
            Self::Day(day) => Self::Day(day.checked_add(Span::new().days(1)).ok()?).begins(),
            Self::At(at) => Some(at),
        }
    }
}

fn parse_edge(text: &str) -> Result<Edge, String> {
    let day = text.parse::<Date>().ok().filter(|_| text.len() == 10).map(Edge::Day);
    day.or_else(|| text.parse().ok().map(Edge::At))
        .ok_or_else(|| "must be a day like 2026-03-01 or an instant like 2026-03-01T08:00:00Z".to_owned())
}

/// A whole number and `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const RULE: &str = "must be a whole number and `s`, `m`, `h` or `d`, like `7d`, at most 3650d";
    const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
    let unit = text.chars().next_back().ok_or(RULE)?;
    let number = text.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok()).ok_or(RULE)?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(RULE.to_owned()),
    };
    let duration = number.checked_mul(secs).map(Duration::from_secs).filter(|duration| *duration <= LONGEST);
    duration.ok_or_else(|| RULE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_day_is_included_and_an_instant_is_not() {
        let days = |from: &str, to: &str| Days {
            from: Some(parse_edge(from).unwrap()),
            to: Some(parse_edge(to).unwrap()),
        };
        let period = days("2026-03-01", "2026-03-31").period().unwrap();
        assert_eq!(period.from.to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(period.to.to_string(), "2026-04-01T00:00:00Z");
        assert_eq!(
            days("2026-03-01", "2026-03-02T08:00:00Z").period().unwrap().to.to_string(),
            "2026-03-02T08:00:00Z"
        );
        assert!(days("2026-03-02", "2026-03-01").period().is_err());
        assert!(parse_edge("yesterday").is_err());
    }

    #[test]
    fn durations_have_four_units_and_a_limit() {
        assert_eq!(parse_duration("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for text in ["", "7", "d", "-1d", "1.5h", "7w", "3651d", "99999999999999999999d", "7é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
