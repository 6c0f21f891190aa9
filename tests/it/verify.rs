//! P6: whatever is done to the table behind regrant's back, `regrant verify` names it; and what it cannot.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use regrant::domain::chain::{GENESIS, link_hash};
use regrant::domain::target::TargetKind;

use super::command_line::{Folder, Ran};
use super::made::{delete, item, key, put, request_key, small_trail, with_database};

type Attributes = HashMap<String, AttributeValue>;

/// The small trail, a manifest of it, then `tamper`, then `verify` without and with the manifest.
async fn tampered(tamper: impl AsyncFnOnce(&Client)) -> (Ran, Ran) {
    let folder = Folder::new();
    let db = folder.path("audit.db");
    with_database(&db, async |_, trail| small_trail(trail).await).await;
    let export = folder.run("export --db audit.db -o audit.jsonl --manifest manifest.json");
    assert_eq!(export.code, 0, "{export:?}");
    with_database(&db, async |client, _| tamper(client).await).await;
    let without = folder.run("verify --db audit.db");
    (without, folder.run("verify --db audit.db --against manifest.json"))
}

/// What a tampered trail must give: these findings, and exit code 3; or none, and 0.
async fn finds(expected: &[String], only_with_manifest: &[String], tamper: impl AsyncFnOnce(&Client)) {
    let (without, with) = tampered(tamper).await;
    assert_eq!(without.findings(), expected, "{without:?}");
    assert_eq!(without.code, if expected.is_empty() { 0 } else { 3 }, "{without:?}");
    let both = expected.iter().chain(only_with_manifest).collect::<Vec<_>>();
    assert_eq!(with.findings(), both, "{with:?}");
    assert_eq!(with.code, if both.is_empty() { 0 } else { 3 }, "{with:?}");
}

fn set(mut item: Attributes, name: &str, value: &str) -> Attributes {
    item.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
    item
}

fn text(item: &Attributes, name: &str) -> String {
    item[name].as_s().unwrap().clone()
}

fn at(seq: u64, finding: &str) -> String {
    format!("{}  {}", request_key(2), finding.replace("N", &seq.to_string()))
}

/// Computes the hashes of chain 2 anew from record `from` on, with `change` made to each record's text.
async fn compute_anew(client: &Client, from: u64, change: impl Fn(&str) -> String) {
    let key = request_key(2);
    let mut prev = match from {
        1 => GENESIS.to_owned(),
        _ => text(&item(client, &key, &(from - 1).to_string()).await, "hash"),
    };
    for seq in from..=5 {
        let stored = item(client, &key, &seq.to_string()).await;
        let record = change(&text(&stored, "record"));
        let hash = link_hash(&key, seq, &prev, &record);
        put(client, set(set(set(stored, "record", &record), "prev", &prev), "hash", &hash)).await;
        prev = hash;
    }
}

const CHANGED: &str = "changed: the hash of record N is not the hash of what it holds";

#[tokio::test(flavor = "multi_thread")]
async fn untouched_trail_is_clean_and_the_limits_are_told() {
    let (without, with) = tampered(async |_| {}).await;
    insta::assert_snapshot!(without.stdout, @"
    no findings: 13 records in 4 chains of tenant 11111111-acc4-43cc-bcf1-7c1c4a2c073b checked
    Not detectable without a manifest kept elsewhere (--against): a chain computed anew from some record on, records
    cut off its end, a target removed as a whole. And never: a false record put at the end by someone who may insert.
    ");
    insta::assert_snapshot!(with.stdout, @"
    no findings: 13 records in 4 chains of tenant 11111111-acc4-43cc-bcf1-7c1c4a2c073b checked, 4 heads of the manifest compared
    Not detectable: whatever was done to records made after the manifest, except that changing, removing or inserting
    one before the end of its chain breaks the chain; and a false record put at the end by someone who may insert.
    ");
    assert_eq!((without.code, with.code, &*without.stderr, &*with.stderr), (0, 0, "", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_record_is_found() {
    finds(&[at(2, CHANGED)], &[], async |client| {
        let stored = item(client, &request_key(2), "2").await;
        let record = text(&stored, "record").replace("850", "85");
        put(client, set(stored, "record", &record)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_record_with_its_own_hash_made_to_fit_breaks_the_chain() {
    let broken = "broken: record N does not continue record 2: its `prev` is another hash";
    finds(&[at(3, broken)], &[], async |client| {
        let stored = item(client, &request_key(2), "2").await;
        let record = text(&stored, "record").replace("850", "85");
        let hash = link_hash(&request_key(2), 2, &text(&stored, "prev"), &record);
        put(client, set(set(stored, "record", &record), "hash", &hash)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_copied_attribute_is_compared_with_the_record() {
    for (name, seq, recorded) in [
        ("kind", 2, "attemptEnded"),
        ("requestId", 2, "r-2"),
        ("outcome", 2, "unavailable"),
        ("verdict", 5, "delivered"),
        ("tenantDay", 2, "11111111-acc4-43cc-bcf1-7c1c4a2c073b#2026-03-05"),
        ("at", 2, "2026-03-05T08:01:01.000Z"),
    ] {
        let finding = format!(
            "copied attribute: record N: `{name}` is \"2026-12-24T00:00:00.000Z\", the record says \"{recorded}\""
        );
        finds(&[at(seq, &finding)], &[], async |client| {
            let stored = item(client, &request_key(2), &seq.to_string()).await;
            put(client, set(stored, name, "2026-12-24T00:00:00.000Z")).await;
        })
        .await;
    }
    let finding = at(2, "copied attribute: record N: `outcome` is absent, the record says \"unavailable\"");
    finds(&[finding], &[], async |client| {
        let mut stored = item(client, &request_key(2), "2").await;
        stored.remove("outcome");
        put(client, stored).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_records_are_found_in_the_middle_and_at_the_start() {
    finds(&[at(3, "missing: record N")], &[], async |client| delete(client, &request_key(2), 3).await).await;
    finds(&[at(0, "missing: records 1 to 2")], &[], async |client| {
        delete(client, &request_key(2), 1).await;
        delete(client, &request_key(2), 2).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inserted_records_are_found_between_before_and_behind() {
    for seq in ["2.5", "0", "-1"] {
        let inserted = format!("inserted: no writer of the trail uses the number {seq}");
        finds(&[at(0, &inserted)], &[], async |client| {
            let mut stored = item(client, &request_key(2), "2").await;
            stored.insert("seq".to_owned(), AttributeValue::N(seq.to_owned()));
            put(client, stored).await;
        })
        .await;
    }
    let expected = [
        at(6, CHANGED),
        at(6, "broken: record N does not continue record 5: its `prev` is another hash"),
        at(6, &format!("misfiled: record N says that it is record 5 of {}", request_key(2))),
    ];
    finds(&expected, &[], async |client| {
        let mut stored = item(client, &request_key(2), "5").await;
        stored.insert("seq".to_owned(), AttributeValue::N("6".to_owned()));
        put(client, stored).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_records_are_found() {
    let (without, with) = tampered(async |client| {
        let [mut second, mut third] =
            [item(client, &request_key(2), "2").await, item(client, &request_key(2), "3").await];
        let seq = second.insert("seq".to_owned(), third["seq"].clone()).unwrap();
        third.insert("seq".to_owned(), seq);
        put(client, second).await;
        put(client, third).await;
    })
    .await;
    let findings = without.findings();
    assert!(findings.contains(&&*at(2, CHANGED)) && findings.contains(&&*at(3, CHANGED)), "{without:?}");
    assert_eq!((without.code, with.code), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_records_are_found() {
    finds(&[at(4, "torn: record N: `record` is absent or not a text")], &[], async |client| {
        let mut stored = item(client, &request_key(2), "4").await;
        stored.remove("record");
        put(client, stored).await;
    })
    .await;
    let (without, _) = tampered(async |client| {
        let stored = item(client, &request_key(2), "4").await;
        put(client, set(stored, "record", "{\"v\":1,\"kind\":\"atte")).await;
    })
    .await;
    let torn = at(4, "torn: record N: not a record: EOF while parsing a string at line 1 column 19");
    assert_eq!(without.findings(), [at(4, CHANGED), torn], "{without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_tail_is_found_with_a_manifest_only() {
    let cut = at(0, "cut: the chain ends at record 3, but the manifest names record 5");
    finds(&[], &[cut], async |client| {
        delete(client, &request_key(2), 4).await;
        delete(client, &request_key(2), 5).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_computed_anew_is_found_with_a_manifest_only() {
    let anew = at(5, "made anew: record N is not the one that the manifest names");
    finds(&[], &[anew], async |client| {
        compute_anew(client, 1, |record| record.replace("9f0e1111", "9f0e2222")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vanished_target_is_found_with_a_manifest_only() {
    let vanished = at(5, "vanished: there is no record under this key, but the manifest names record N");
    finds(&[], &[vanished], async |client| {
        for seq in 1..=5 {
            delete(client, &request_key(2), seq).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_copied_to_another_target_is_misfiled_even_if_computed_anew() {
    let (without, _) = tampered(async |client| {
        let other = key(TargetKind::AssignmentRequest, 77);
        let mut stored = item(client, &request_key(2), "1").await;
        let hash = link_hash(&other, 1, GENESIS, &text(&stored, "record"));
        stored = set(set(stored, "pk", &other), "hash", &hash);
        put(client, stored).await;
    })
    .await;
    let misfiled = format!("misfiled: record 1 says that it is record 1 of {}", request_key(2));
    assert_eq!(without.findings(), [format!("{}  {misfiled}", request_key(77))], "{without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trail_that_went_on_agrees_with_an_older_manifest() {
    let (without, with) = tampered(async |client| {
        // The next record of chain 1, as the writer would have made it.
        let mut stored = item(client, &request_key(1), "3").await;
        let record = text(&stored, "record").replace("\"seq\":3", "\"seq\":4");
        let prev = text(&stored, "hash");
        let hash = link_hash(&request_key(1), 4, &prev, &record);
        stored = set(set(set(stored, "record", &record), "prev", &prev), "hash", &hash);
        stored.insert("seq".to_owned(), AttributeValue::N("4".to_owned()));
        put(client, stored).await;
    })
    .await;
    assert_eq!((without.code, with.code), (0, 0), "{with:?}");
}
