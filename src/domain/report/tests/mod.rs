//! Every number of a report against a slow and obvious computation over random trails, and what damage is found.

mod slow;
mod trail;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

use super::{Entry, Fault, Fold, Report, Scope, Stored};
use crate::domain::target::Guid;

use self::trail::{Row, TENANT, Trail};

const WINDOW: SignedDuration = SignedDuration::from_hours(14 * 24);

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn scope() -> Scope {
    Scope {
        tenant: Guid::parse(TENANT).unwrap(),
        from: at("2026-03-05T00:00:00Z"),
        to: at("2026-03-12T12:00:00Z"),
        now: at("2026-03-20T00:00:00Z"),
        window: WINDOW,
    }
}

fn entry(row: &Row) -> Entry {
    let Row { pk, seq, prev, hash, record, .. } = row.clone();
    Entry::read(Stored { pk, seq, prev, hash, record }).unwrap()
}

/// As the shell does it: the period in the order of the index, then the keys that the fold asks for.
fn report(trail: &Trail, scope: &Scope) -> Report {
    let mut fold = Fold::new(scope.clone());
    for row in trail.index(scope.from, scope.to) {
        fold.push(entry(row));
    }
    for key in fold.to_follow() {
        let behind = trail.rows.iter().filter(|row| row.pk == key.pk && row.seq > key.after);
        behind.for_each(|row| fold.follow(entry(row)));
    }
    fold.finish().0
}

/// Without what is not a number over the whole trail.
fn figures(report: &Report) -> Value {
    let mut value = serde_json::to_value(report).unwrap();
    let fields = value.as_object_mut().unwrap();
    for field in ["verification", "timeToDelivery"] {
        fields.remove(field);
    }
    let header = fields["header"].as_object_mut().unwrap();
    header.retain(|name, _| name == "rowsRead");
    value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_number_is_the_one_of_the_slow_computation(seed in any::<u64>()) {
        let trail = Trail::random(seed);
        let scope = scope();
        let report = report(&trail, &scope);
        let slow = slow::report(&trail, &scope);
        prop_assert_eq!(figures(&report), slow.figures);
        prop_assert!(report.verification.is_intact(), "{:?}", report.verification);
        let times = &report.time_to_delivery;
        prop_assert_eq!(times.bands.iter().map(|band| band.count).collect::<Vec<_>>(), slow.bands);
        for (shown, exact) in [(times.median_ms, slow.median_ms), (times.p95_ms, slow.p95_ms)] {
            prop_assert_eq!(shown.is_some(), exact.is_some());
            let (shown, exact) = (shown.unwrap_or_default(), exact.unwrap_or_default());
            prop_assert!(shown >= exact && (shown - exact) * 1000 <= exact, "{} for {}", shown, exact);
        }
    }

    #[test]
    fn removed_record_between_two_of_the_period_is_called_missing(seed in any::<u64>()) {
        let mut trail = Trail::random(seed);
        let scope = scope();
        let inner = (1..trail.rows.len().saturating_sub(1)).filter(|at| {
            let near = [&trail.rows[at - 1], &trail.rows[*at], &trail.rows[at + 1]];
            near.iter().all(|row| row.pk == near[0].pk && scope.from <= row.at && row.at < scope.to)
        });
        let inner = inner.collect::<Vec<_>>();
        prop_assume!(!inner.is_empty());
        let gone = trail.rows.remove(inner[usize::try_from(seed % 1000).unwrap() % inner.len()]);
        let found = report(&trail, &scope).verification.findings;
        prop_assert_eq!(found.len(), 1, "{:?}", found);
        prop_assert_eq!((&found[0].pk, found[0].seq, found[0].fault), (&gone.pk, gone.seq, Fault::Missing));
    }
}

#[test]
fn changed_record_and_broken_link_are_found_with_their_keys() {
    let scope = scope();
    let mut trail = Trail::random(3);
    let inside = |row: &Row| scope.from <= row.at && row.at < scope.to;
    let changed = trail.rows.iter().position(|row| inside(row) && row.seq == 2).unwrap();
    trail.rows[changed].record = trail.rows[changed].record.replace("\"v\":1", "\"v\":1,\"x\":1");
    let findings = report(&trail, &scope).verification.findings;
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].seq, findings[0].fault), (2, Fault::Changed));

    let mut trail = Trail::random(3);
    let row = &mut trail.rows[changed];
    row.record = row.record.replace("\"v\":1", "\"v\":1,\"x\":1");
    row.hash = crate::domain::chain::link_hash(&row.pk, row.seq, &row.prev, &row.record);
    let pk = row.pk.clone();
    let followed = trail.rows.iter().any(|row| row.pk == pk && row.seq == 3 && inside(row));
    let findings = report(&trail, &scope).verification.findings;
    let broken = findings.iter().map(|finding| (finding.seq, finding.fault)).collect::<Vec<_>>();
    assert_eq!(broken, if followed { vec![(3, Fault::Broken)] } else { vec![] });
}

#[test]
fn record_of_a_newer_version_is_an_error_and_not_left_out() {
    let mut row = Trail::random(1).rows.swap_remove(0);
    row.record = row.record.replace("\"v\":1", "\"v\":2");
    let Row { pk, seq, prev, hash, record, .. } = row;
    let error = Entry::read(Stored { pk, seq, prev, hash, record }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`v` is 2, and this version of regrant reads records of version 1: use a newer regrant"
    );
}
