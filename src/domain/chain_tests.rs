use super::*;
use crate::domain::past::{Past, answered, at, guid, request, sight};
use crate::domain::record::{Record, format_millis, stored_name};
use crate::domain::target::TargetKind;

fn stored(key: &str, prev: &str, record: &Record) -> Stored {
    let json = record.to_json();
    let at = format_millis(record.at);
    Stored {
        seq: record.seq.to_string(),
        prev: Some(prev.to_owned()),
        hash: Some(link_hash(key, record.seq, prev, &json)),
        record: Some(json),
        copied: Copied {
            tenant_day: Some(format!("{}#{}", record.tenant_id, &at[..10])),
            at: Some(at),
            kind: Some(record.fact.kind().to_owned()),
            request_id: Some(record.request_id.to_string()),
            outcome: record.fact.outcome().map(|outcome| stored_name(&outcome)),
            verdict: record.fact.verdict().map(|verdict| stored_name(&verdict)),
        },
    }
}

/// Two attempts: four records.
fn chain() -> (String, Vec<Stored>) {
    let asked = request(TargetKind::AssignmentRequest, "r1");
    let mut past = Past::new(TargetKind::AssignmentRequest);
    for attempt in 1..=2 {
        let start = i64::from(attempt) * 100;
        let call = past.start(&asked, at(start), attempt, &sight("DeliveryFailed", Some(0)));
        past.end(&asked, at(start + 1), attempt, call, answered(503));
    }
    let key = asked.target.key(&guid(7));
    let mut prev = GENESIS.to_owned();
    let items = past.records.iter().map(|record| {
        let item = stored(&key, &prev, record);
        prev.clone_from(item.hash.as_ref().unwrap());
        item
    });
    let items = items.collect();
    (key, items)
}

fn checked(key: &str, items: &[Stored]) -> Checked {
    let mut check = Check::new(key);
    items.iter().for_each(|item| check.next(item));
    check.finish()
}

fn findings(key: &str, items: &[Stored]) -> Vec<String> {
    checked(key, items).findings.iter().map(Finding::to_string).collect()
}

#[test]
fn untouched_chain_is_clean_and_tells_its_span_and_head() {
    let (key, items) = chain();
    let checked = checked(&key, &items);
    assert_eq!(checked.findings, Vec::new());
    assert_eq!((checked.records, checked.newer, checked.span), (4, 0, Some((at(100), at(201)))));
    assert_eq!(checked.head, Some(Head { seq: 4, hash: items[3].hash.clone().unwrap() }));
}

#[test]
fn every_kind_of_tampering_is_named() {
    type Tamper = fn(&mut Vec<Stored>);
    let cases: [(Tamper, &[&str]); 9] = [
        (
            |items| items[1].record = items[1].record.as_ref().map(|record| record.replace("503", "202")),
            &["changed: the hash of record 2 is not the hash of what it holds"],
        ),
        (|items| drop(items.remove(1)), &["missing: record 2"]),
        (|items| drop(items.drain(..3)), &["missing: records 1 to 3"]),
        (
            |items| {
                let (first, second) = (items[1].seq.clone(), items[2].seq.clone());
                items.swap(1, 2);
                (items[1].seq, items[2].seq) = (first, second);
            },
            &[
                "changed: the hash of record 2 is not the hash of what it holds",
                "broken: record 2 does not continue record 1: its `prev` is another hash",
                "misfiled: record 2 says that it is record 3 of KEY",
                "changed: the hash of record 3 is not the hash of what it holds",
                "broken: record 3 does not continue record 2: its `prev` is another hash",
                "misfiled: record 3 says that it is record 2 of KEY",
                "broken: record 4 does not continue record 3: its `prev` is another hash",
            ],
        ),
        (
            |items| items.swap(1, 2),
            &["missing: record 2", "out of order: record 2 stands twice or behind a later one"],
        ),
        (
            |items| {
                let forged = Stored { seq: "1.5".to_owned(), ..items[0].clone() };
                items.insert(1, forged);
            },
            &["inserted: no writer of the trail uses the number 1.5"],
        ),
        (|items| items[2].record = None, &["torn: record 3: `record` is absent or not a text"]),
        (
            |items| items[3].copied.outcome = Some("accepted".to_owned()),
            &["copied attribute: record 4: `outcome` is \"accepted\", the record says \"unavailable\""],
        ),
        (
            |items| items[0].copied.tenant_day = None,
            &["copied attribute: record 1: `tenantDay` is absent, the record says \"DAY\""],
        ),
    ];
    let (key, untouched) = chain();
    let day = untouched[0].copied.tenant_day.clone().unwrap();
    for (tamper, expected) in cases {
        let mut items = untouched.clone();
        tamper(&mut items);
        let expected =
            expected.iter().map(|text| text.replace("KEY", &key).replace("DAY", &day)).collect::<Vec<_>>();
        assert_eq!(findings(&key, &items), expected);
    }
}

#[test]
fn chain_moved_to_another_key_is_misfiled_even_if_computed_anew() {
    let (key, mut items) = chain();
    let other = key.replace("00000001-", "00000002-");
    let mut prev = GENESIS.to_owned();
    for item in &mut items {
        let hash = link_hash(&other, item.number().unwrap(), &prev, item.record.as_ref().unwrap());
        item.prev = Some(std::mem::replace(&mut prev, hash.clone()));
        item.hash = Some(hash);
    }
    assert_eq!(findings(&other, &items)[0], format!("misfiled: record 1 says that it is record 1 of {key}"));
}

#[test]
fn newer_records_are_counted_and_their_hashes_checked() {
    let (key, mut items) = chain();
    items.truncate(1);
    let record = items[0].record.as_ref().unwrap().replace("\"v\":1", "\"v\":2");
    items[0].record = Some(record.clone());
    assert_eq!(findings(&key, &items), ["changed: the hash of record 1 is not the hash of what it holds"]);
    items[0].hash = Some(link_hash(&key, 1, GENESIS, &record));
    let checked = checked(&key, &items);
    assert_eq!((checked.findings, checked.newer), (Vec::new(), 1));
}

#[test]
fn far_number_is_one_finding_and_a_ruined_chain_lists_so_many() {
    let (key, items) = chain();
    let far = Stored { seq: u64::MAX.to_string(), ..Stored::default() };
    assert_eq!(findings(&key, std::slice::from_ref(&far)).len(), 4);
    let ruined = vec![Stored { seq: "0".to_owned(), ..items[0].clone() }; MOST_FINDINGS + 5];
    let checked = checked(&key, &ruined);
    assert_eq!((checked.findings.len(), checked.more), (MOST_FINDINGS, 5));
}

#[test]
fn kept_head_tells_cut_rewritten_and_vanished_chains() {
    let kept = Head { seq: 3, hash: "a".repeat(64) };
    assert_eq!(against(&kept, Some(&kept.hash), None), None);
    assert_eq!(against(&kept, Some("b"), None), Some(Finding::Rewritten(3)));
    assert_eq!(against(&kept, None, Some(2)), Some(Finding::TailCut { kept: 3, found: 2 }));
    assert_eq!(against(&kept, None, Some(4)), Some(Finding::Missing { first: 3, last: 3 }));
    assert_eq!(against(&kept, None, None), Some(Finding::Vanished(3)));
}
