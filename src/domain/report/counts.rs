//! How the parts of a report are counted up that are counted alike for a day and for all. Knows no repair.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::Date;

use super::repair::Ending;
use super::value::{Day, DaysLeft, Endings};

impl Day {
    pub(super) fn new(day: Date, is_final: bool) -> Self {
        Self {
            day,
            is_final,
            repairs: 0,
            endings: Endings::default(),
            outcomes: BTreeMap::new(),
            unended: 0,
            verdicts: BTreeMap::new(),
        }
    }
}

impl Endings {
    pub(super) fn add(&mut self, ending: Ending) {
        *match ending {
            Ending::Recovered => &mut self.recovered,
            Ending::NotVerifiable => &mut self.not_verifiable,
            Ending::Otherwise(_) => &mut self.otherwise,
            Ending::Abandoned(_) => &mut self.abandoned,
            Ending::Skipped(_) => &mut self.skipped,
            Ending::Open(_) => &mut self.open,
        } += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Self { recovered, not_verifiable, otherwise, abandoned, skipped, open } = other;
        self.recovered += recovered;
        self.not_verifiable += not_verifiable;
        self.otherwise += otherwise;
        self.abandoned += abandoned;
        self.skipped += skipped;
        self.open += open;
    }
}

impl DaysLeft {
    pub(super) fn add(&mut self, left: Option<SignedDuration>) {
        const DAY: SignedDuration = SignedDuration::from_hours(24);
        *match left {
            None => &mut self.no_deadline_known,
            Some(left) if left <= SignedDuration::ZERO => &mut self.closed,
            Some(left) if left < DAY => &mut self.under_one,
            Some(left) if left < DAY * 3 => &mut self.one_to_three,
            Some(left) if left <= DAY * 7 => &mut self.three_to_seven,
            Some(_) => &mut self.over_seven,
        } += 1;
    }
}
