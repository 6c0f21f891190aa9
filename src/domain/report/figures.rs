//! The counts of a report, one repair at a time. Everything here is of bounded size, but for one line for each
//! access package, requester and error code.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::fold::Scope;
use super::integrity::Verification;
use super::ranking::{Shortlist, count, merge, ranked, share, top};
use super::repair::{Ending, Repair, Stage};
use super::spread::{BANDS, Spread};
use super::value::*;
use crate::domain::record::{Fact, Outcome, Record, Verdict, stored_name};

/// Bars of the attempts histogram: 0, 1, … and "this many or more".
const MOST_ATTEMPTS: u32 = 8;
/// The index lags behind the table, and writers' clocks differ.
const NOT_FINAL: SignedDuration = SignedDuration::from_mins(5);
/// The name of a requester or an error code that was not given.
const NOT_GIVEN: &str = "(not given)";

pub(super) struct Figures {
    totals: Totals,
    recovered: u64,
    first_try: u64,
    spread: Spread,
    days: BTreeMap<Date, Day>,
    targets_by_attempts: BTreeMap<u32, u64>,
    open: Open,
    otherwise: BTreeMap<Verdict, u64>,
    abandoned_by_reason: BTreeMap<String, u64>,
    skipped_by_reason: BTreeMap<String, u64>,
    error_codes: BTreeMap<String, u64>,
    packages: BTreeMap<String, AccessPackage>,
    requesters: BTreeMap<String, u64>,
    unresolved: Shortlist<(bool, Unresolved)>,
    abandoned: Shortlist<Abandoned>,
    rejected: Shortlist<RejectedMessage>,
}

impl Figures {
    /// With a line for every day of the period, also those on which nothing happened.
    pub fn new(scope: &Scope) -> Self {
        let mut days = BTreeMap::new();
        let last = scope.to - SignedDuration::from_nanos(1);
        let mut day = day_of(scope.from);
        while day <= day_of(last) {
            let end = day.tomorrow().ok().and_then(|next| next.to_zoned(TimeZone::UTC).ok());
            let is_final = end.is_some_and(|end| end.timestamp() <= scope.now - NOT_FINAL);
            days.insert(day, Day::new(day, is_final));
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        Self {
            totals: Totals::default(),
            recovered: 0,
            first_try: 0,
            spread: Spread::new(),
            days,
            targets_by_attempts: BTreeMap::new(),
            open: Open::default(),
            otherwise: BTreeMap::new(),
            abandoned_by_reason: BTreeMap::new(),
            skipped_by_reason: BTreeMap::new(),
            error_codes: BTreeMap::new(),
            packages: BTreeMap::new(),
            requesters: BTreeMap::new(),
            unresolved: Shortlist::new(),
            abandoned: Shortlist::new(),
            rejected: Shortlist::new(),
        }
    }

    /// Counts a repair of the period, once, when it is settled or the report ends.
    pub fn add(&mut self, repair: &Repair, scope: &Scope) {
        let ending = repair.ending();
        self.totals.repairs += 1;
        self.totals.tried += u64::from(!repair.attempts.is_empty());
        self.totals.requests += repair.requests.len() as u64;
        self.totals.attempts += repair.attempts.len() as u64;
        for (_, requested_by) in &repair.requests {
            count(&mut self.requesters, requested_by.as_deref().unwrap_or(NOT_GIVEN));
        }
        let date = day_of(repair.first_at);
        let day = self.days.entry(date).or_insert_with(|| Day::new(date, false));
        day.repairs += 1;
        day.endings.add(ending);
        for attempt in &repair.attempts {
            match attempt.outcome() {
                Some(outcome) => *day.outcomes.entry(outcome).or_default() += 1,
                None => day.unended += 1,
            }
            if let Some(verdict) = attempt.verdict() {
                *day.verdicts.entry(verdict).or_default() += 1;
            }
            let rejected = attempt.ended.as_ref().filter(|(_, ended)| ended.outcome == Outcome::Rejected);
            if let Some((_, ended)) = rejected {
                let status = ended.http_status.map(|status| format!("HTTP {status}"));
                let code = ended.error_code.clone().or(status);
                count(&mut self.error_codes, code.as_deref().unwrap_or(NOT_GIVEN));
            }
        }
        self.add_package(repair, ending);
        match ending {
            Ending::Recovered => {
                self.recovered += 1;
                self.first_try += u64::from(repair.attempts.len() == 1);
                self.spread.add(repair.time_to_delivery().unwrap_or_default());
            }
            Ending::NotVerifiable => {}
            Ending::Otherwise(verdict) => *self.otherwise.entry(verdict).or_default() += 1,
            Ending::Skipped(why) => count(&mut self.skipped_by_reason, &stored_name(&why)),
            Ending::Abandoned(why) => {
                let why = stored_name(&why);
                count(&mut self.abandoned_by_reason, &why);
                self.abandoned.add(abandoned(repair, why));
            }
            Ending::Open(stage) => self.add_open(repair, stage, scope),
        }
    }

    pub fn add_target(&mut self, attempts: u32) {
        self.totals.targets += 1;
        *self.targets_by_attempts.entry(attempts.min(MOST_ATTEMPTS)).or_default() += 1;
    }

    pub fn add_rejected_message(&mut self, record: Record) {
        self.totals.rejected_messages += 1;
        let Fact::MessageRejected { error, body, body_sha256 } = record.fact else { return };
        let message_id = record.request_id.to_string();
        self.rejected.add(RejectedMessage { at: record.at, message_id, error, body, body_sha256 });
    }

    fn add_package(&mut self, repair: &Repair, ending: Ending) {
        let Some(id) = &repair.access_package_id else { return };
        let package = self.packages.entry(id.clone()).or_insert_with(|| AccessPackage {
            id: id.clone(),
            repairs: 0,
            recovered: 0,
            unresolved: 0,
        });
        package.repairs += 1;
        package.recovered += u64::from(ending == Ending::Recovered);
        package.unresolved += u64::from(matches!(ending, Ending::Open(_) | Ending::Abandoned(_)));
    }

    fn add_open(&mut self, repair: &Repair, stage: Stage, scope: &Scope) {
        self.open.total += 1;
        match stage {
            Stage::InDoubt => self.open.in_doubt += 1,
            Stage::Delivering => self.open.delivering += 1,
            Stage::PutOff => self.open.put_off += 1,
        }
        let since = repair.in_doubt_since();
        self.open.oldest_in_doubt = self.open.oldest_in_doubt.into_iter().chain(since).min();
        let deadline = repair.deadline(scope.window);
        self.open.by_days_left.add(deadline.map(|deadline| deadline.duration_since(scope.now)));
        let row = Unresolved {
            deadline,
            target: repair.target.kind,
            id: repair.target.id.clone(),
            repair: repair.number,
            stage: stage.name().to_owned(),
            state: repair.state.clone(),
            began: repair.first_at,
            attempts: repair.attempts.len() as u64,
            last_record: repair.last_at,
            access_package_id: repair.access_package_id.clone(),
            ticket: repair.origin.as_ref().and_then(|origin| origin.ticket.clone()),
        };
        self.unresolved.add((deadline.is_none(), row));
    }

    pub fn report(
        self,
        scope: &Scope,
        verification: Verification,
        rows_read: u64,
        rows_followed: u64,
    ) -> Report {
        let mut endings = Endings::default();
        let (mut outcomes, mut verdicts, mut unended) = (BTreeMap::new(), BTreeMap::new(), 0);
        for day in self.days.values() {
            endings.merge(&day.endings);
            merge(&mut outcomes, &day.outcomes);
            merge(&mut verdicts, &day.verdicts);
            unended += day.unended;
        }
        let tried = self.totals.tried;
        let throttled = outcomes.get(&Outcome::Throttled).copied().unwrap_or_default();
        let ended = outcomes.values().sum();
        let not_final_from = scope.now - NOT_FINAL;
        let unresolved = self.unresolved.listed();
        Report {
            header: Header {
                tenant: scope.tenant.clone(),
                from: scope.from,
                to: scope.to,
                filter: "none: every target of the tenant".to_owned(),
                generated_at: scope.now,
                not_final_from: (scope.to > not_final_from).then(|| not_final_from.max(scope.from)),
                rows_read,
                rows_followed,
                completeness: verification.completeness(),
            },
            recovery: Recovery {
                recovered: self.recovered,
                rate: share(self.recovered, tried),
                first_try: self.first_try,
                first_try_rate: share(self.first_try, tried),
                not_verifiable: endings.not_verifiable,
            },
            time_to_delivery: TimeToDelivery {
                median_ms: self.spread.percentile_ms(50),
                p95_ms: self.spread.percentile_ms(95),
                bands: BANDS
                    .iter()
                    .zip(self.spread.bands)
                    .map(|((_, name), count)| Counted { name: (*name).to_owned(), count })
                    .collect(),
            },
            endings,
            throttling: Throttling { throttled, ended, share: share(throttled, ended) },
            outcomes,
            unended,
            verdicts,
            attempts_per_target: (0..=MOST_ATTEMPTS)
                .map(|attempts| AttemptsPerTarget {
                    attempts,
                    targets: self.targets_by_attempts.get(&attempts).copied().unwrap_or_default(),
                })
                .collect(),
            days: self.days.into_values().collect(),
            open: self.open,
            ended_otherwise: self.otherwise,
            abandoned_by_reason: ranked(self.abandoned_by_reason),
            skipped_by_reason: ranked(self.skipped_by_reason),
            rejected_by_error_code: ranked(self.error_codes),
            access_packages: {
                let mut rows = self.packages.into_values().collect::<Vec<_>>();
                rows.sort_by(|a, b| b.repairs.cmp(&a.repairs).then_with(|| a.id.cmp(&b.id)));
                top(rows)
            },
            requesters: top(ranked(self.requesters)),
            unresolved: Listed {
                rows: unresolved.rows.into_iter().map(|(_, row)| row).collect(),
                left_out: unresolved.left_out,
            },
            abandoned: self.abandoned.listed(),
            rejected_messages: self.rejected.listed(),
            totals: self.totals,
            verification,
        }
    }
}

fn abandoned(repair: &Repair, why: String) -> Abandoned {
    let last_error = repair.attempts.iter().rev().find_map(|attempt| {
        let (_, ended) = attempt.ended.as_ref()?;
        ended.error_message.clone().or_else(|| ended.error_code.clone())
    });
    Abandoned {
        at: repair.settled_at().unwrap_or(repair.last_at),
        target: repair.target.kind,
        id: repair.target.id.clone(),
        repair: repair.number,
        why,
        state: repair.state.clone(),
        attempts: repair.attempts.len() as u64,
        access_package_id: repair.access_package_id.clone(),
        ticket: repair.origin.as_ref().and_then(|origin| origin.ticket.clone()),
        last_error,
    }
}

pub(super) fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}
