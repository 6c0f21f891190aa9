//! Stored records of every version: they are read for ever, and written to the byte. Add a version; never edit a file.

use std::path::Path;

use regrant::domain::chain::{Finding, GENESIS, Head, Link, check, link_hash};
use regrant::domain::record::Record;

/// Names and texts of the golden records, in order.
fn records() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let mut records = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            records.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    records.sort();
    records
}

/// The chain of all golden records of the one target, with hashes that were not computed by this project's code.
fn chain() -> (String, Vec<Link>) {
    let hashes = include_str!("../golden/v1/chain.txt").lines().map(str::to_owned).collect::<Vec<_>>();
    let of_target = records().into_iter().filter(|(_, text)| !text.contains("messageRejected"));
    let mut links: Vec<Link> = Vec::new();
    for ((_, record), hash) in of_target.zip(&hashes) {
        let prev = links.last().map_or_else(|| GENESIS.to_owned(), |last| last.hash.clone());
        links.push(Link { seq: links.len() as u64 + 1, prev, hash: hash.clone(), record });
    }
    assert_eq!(links.len(), hashes.len());
    let key = "11111111-1111-4111-8111-111111111111#assignmentRequest#d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";
    (key.to_owned(), links)
}

#[test]
fn every_kind_of_version_1_is_read_and_written_to_the_byte() {
    let records = records();
    let mut kinds = Vec::new();
    for (name, text) in &records {
        let record = Record::from_json(text).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(record.to_json(), *text, "{name}");
        kinds.push(record.fact.kind());
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 9, "a kind has no golden record: {kinds:?}");
}

#[test]
fn fields_of_tomorrow_are_read_over_and_versions_of_tomorrow_are_refused() {
    let (_, text) = records().remove(0);
    assert!(Record::from_json(&text.replacen("{\"v\":1", "{\"v\":1,\"later\":{}", 1)).is_ok());
    let error = Record::from_json(&text.replacen("\"v\":1", "\"v\":2", 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`v` is 2, and this version of regrant reads records of version 1: use a newer regrant"
    );
    assert_eq!(Record::from_json("{\"v\":1}").unwrap_err().to_string(), "not a record");
}

#[test]
fn chain_hashes_are_those_that_the_contract_describes() {
    let (key, links) = chain();
    for link in &links {
        assert_eq!(link_hash(&key, link.seq, &link.prev, &link.record), link.hash);
    }
    assert_eq!(check(&key, &links, None), Vec::new());
}

/// Re-computes everything from `from` on, as someone would who wants to hide a change.
fn forge(key: &str, links: &mut [Link], from: usize) {
    for index in from..links.len() {
        let prev = if index == 0 { GENESIS.to_owned() } else { links[index - 1].hash.clone() };
        let link = &mut links[index];
        link.seq = index as u64 + 1;
        link.hash = link_hash(key, link.seq, &prev, &link.record);
        link.prev = prev;
    }
}

#[test]
fn changed_inserted_removed_and_reordered_records_are_found() {
    let (key, links) = chain();
    let found = |change: &dyn Fn(&mut Vec<Link>)| {
        let mut links = links.clone();
        change(&mut links);
        check(&key, &links, None)
    };
    assert_eq!(
        found(&|links| links[2].record = links[2].record.replace("503", "202")),
        [Finding::Changed(3)]
    );
    assert_eq!(found(&|links| links[2].hash = GENESIS.to_owned()), [Finding::Changed(3), Finding::Broken(4)]);
    assert_eq!(found(&|links| drop(links.remove(2))), [Finding::Missing { first: 3, last: 3 }]);
    assert_eq!(found(&|links| drop(links.remove(0))), [Finding::Missing { first: 1, last: 1 }]);
    assert_eq!(found(&|links| links.insert(2, links[1].clone())), [Finding::OutOfOrder(2)]);
    assert!(found(&|links| links.swap(1, 2)).contains(&Finding::OutOfOrder(2)));
    // One record re-computed alone no longer fits what follows.
    let forged = found(&|links| {
        links[2].record = links[2].record.replace("503", "202");
        forge(&key, &mut links[..3], 2);
    });
    assert_eq!(forged, [Finding::Broken(4)]);
}

#[test]
fn only_a_head_kept_elsewhere_shows_a_cut_tail_or_a_chain_made_anew() {
    let (key, links) = chain();
    let last = links.last().unwrap();
    let kept = Head { seq: last.seq, hash: last.hash.clone() };
    let mut cut = links.clone();
    cut.truncate(5);
    assert_eq!(check(&key, &cut, None), []);
    assert_eq!(check(&key, &cut, Some(&kept)), [Finding::TailCut { kept: 8, found: 5 }]);
    assert_eq!(check(&key, &[], Some(&kept)), [Finding::TailCut { kept: 8, found: 0 }]);
    let mut anew = links;
    anew[2].record = anew[2].record.replace("503", "202");
    forge(&key, &mut anew, 2);
    assert_eq!(check(&key, &anew, None), []);
    assert_eq!(check(&key, &anew, Some(&kept)), [Finding::Rewritten(8)]);
}
