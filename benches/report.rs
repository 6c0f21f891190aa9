//! `cargo bench --bench report [-- --records N --db FILE --rounds N]`: how fast `regrant report` and `regrant verify` are
//! on a long trail, each beside a bare paged loop that reads the same items (`Query` by day, `Scan`), and how much
//! memory they take at their peak.
//!
//! Makes the trail in the embedded DynamoDB's file if it is not there yet. Each round runs both loops and every
//! command once; of all rounds the median counts. Fails if a command runs at less than 70 % of its loop's rate or
//! takes 150 MB.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "report/trail.rs"]
mod trail;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use regrant::domain::record::format_millis;
use regrant::domain::target::Guid;
use regrant::local::AUDIT_TABLE;
use regrant::local::dynamodb::{Database, DynamoDbServer, create_audit_table};

use self::trail::Trail;

const TENANT: &str = "9f0e3c51-2d75-4d1b-9f7e-52a1c8d7e6b4";
/// When the trail begins: any fixed day will do.
const FROM: &str = "2026-09-01T00:00:00Z";
const DAY: &str = "2026-09-01";
/// One day more than repairs begin on, for the records of the last ones.
const LAST_DAY: &str = "2026-10-01";
const BATCH: usize = 20_000;

/// What is measured: how it is called, and whether it reads by day or the table as a whole.
const COMMANDS: [(&[&str], Reading); 3] = [
    (&["report", "--from", DAY, "--to", LAST_DAY, "--format", "table"], Reading::Days),
    (&["report", "--from", DAY, "--to", LAST_DAY, "--format", "csv"], Reading::Days),
    (&["verify"], Reading::Table),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Days,
    Table,
}

#[derive(Default)]
struct Measured {
    secs: Vec<f64>,
    shares: Vec<f64>,
    peak_mb: f64,
}

#[tokio::main]
async fn main() {
    let (records, rounds, path) = arguments();
    let started = Instant::now();
    if path.metadata().is_err() {
        make(&path, records).await;
        println!("made {records} records in {}: {:.1} s", path.display(), started.elapsed().as_secs_f64());
    }
    let mut measured = COMMANDS.map(|_| Measured::default());
    for round in 1..=rounds {
        let (items, days) = bare_loop(&path, Reading::Days).await;
        let (scanned, table) = bare_loop(&path, Reading::Table).await;
        println!(
            "round {round}: bare Query {:.0}/s, bare Scan {:.0}/s",
            rate(items, days),
            rate(items, table)
        );
        assert_eq!((items, scanned), (records, records), "`--db` names a trail of another size");
        for ((words, reading), measured) in COMMANDS.iter().zip(&mut measured) {
            let (taken, peak_kb) = command(&path, words);
            let bare = if *reading == Reading::Days { days } else { table };
            measured.secs.push(taken.as_secs_f64());
            measured.shares.push(bare.as_secs_f64() / taken.as_secs_f64());
            measured.peak_mb = measured.peak_mb.max(f64::from(peak_kb) / 1024.0);
        }
    }
    for ((words, reading), Measured { secs, shares, peak_mb }) in COMMANDS.iter().zip(measured) {
        let (secs, share) = (median(secs), median(shares));
        println!(
            "{}: {secs:.1} s, {:.0}/s, {:.0} % of the bare loop ({reading:?}), peak {peak_mb:.0} MB",
            words.join(" "),
            rate(records, Duration::from_secs_f64(secs)),
            share * 100.0,
        );
        assert!(peak_mb < 150.0, "the peak is to be under 150 MB");
        assert!(share >= 0.7, "the rate is to be at least 70 % of the bare loop's");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn arguments() -> (u64, u32, PathBuf) {
    // Cargo itself adds `--bench`.
    let given = std::env::args().skip(1).filter(|argument| argument != "--bench").collect::<Vec<_>>();
    let value =
        |name: &str| given.iter().position(|argument| argument == name).map(|at| given[at + 1].clone());
    let records = value("--records").map_or(1_000_000, |text| text.parse().unwrap());
    let rounds = value("--rounds").map_or(3, |text| text.parse().unwrap());
    let default = || format!("{}/trail-{records}.db", env!("CARGO_TARGET_TMPDIR"));
    (records, rounds, PathBuf::from(value("--db").unwrap_or_else(default)))
}

/// Straight into the file, past the wire: the fastest way there is.
async fn make(path: &Path, records: u64) {
    let server = DynamoDbServer::start(&Database::File(path.to_owned())).await.unwrap();
    create_audit_table(&server.client(), AUDIT_TABLE).await.unwrap();
    server.stop().await.unwrap();
    let database = dynoxide::Database::new(path.to_str().unwrap()).unwrap();
    database.enable_bulk_loading().unwrap();
    let mut trail = Trail::new(Guid::parse(TENANT).unwrap(), FROM.parse().unwrap(), records);
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(items) = trail.next_history() {
        batch.extend(items);
        if batch.len() >= BATCH {
            let full = std::mem::take(&mut batch);
            database.import_items(AUDIT_TABLE, full, dynoxide::ImportOptions::default()).unwrap();
        }
    }
    database.import_items(AUDIT_TABLE, batch, dynoxide::ImportOptions::default()).unwrap();
    database.disable_bulk_loading().unwrap();
}

/// Page after page, day after day or the whole table by consistent reads, and nothing done with the items.
async fn bare_loop(path: &Path, reading: Reading) -> (u64, Duration) {
    let server = DynamoDbServer::start(&Database::File(path.to_owned())).await.unwrap();
    let client: Client = server.client();
    let from: Timestamp = FROM.parse().unwrap();
    let started = Instant::now();
    let mut items = 0;
    // Without a limit the embedded server reads the rest of the day, or of the table, for every page.
    if reading == Reading::Table {
        let scan = client.scan().table_name(AUDIT_TABLE).consistent_read(true).limit(1000);
        let mut pages = scan.into_paginator().send();
        while let Some(page) = pages.next().await {
            items += page.unwrap().items().len() as u64;
        }
    } else {
        for day in 0..=Trail::DAYS {
            let day = format_millis(from + SignedDuration::from_hours(24 * day));
            let query = client
                .query()
                .table_name(AUDIT_TABLE)
                .index_name("byDay")
                .limit(1000)
                .key_condition_expression("tenantDay = :day")
                .expression_attribute_values(":day", AttributeValue::S(format!("{TENANT}#{}", &day[..10])));
            let mut pages = query.into_paginator().send();
            while let Some(page) = pages.next().await {
                items += page.unwrap().items().len() as u64;
            }
        }
    }
    let taken = started.elapsed();
    server.stop().await.unwrap();
    (items, taken)
}

/// The built command in a process of its own; its time from start to end, and its peak in KB.
fn command(path: &Path, words: &[&str]) -> (Duration, u32) {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_regrant"))
        .args(words)
        .arg("--db")
        .arg(path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak_kb = 0;
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(peak_kb);
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.success(), "{words:?} failed");
    (started.elapsed(), peak_kb)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn rate(items: u64, taken: Duration) -> f64 {
    items as f64 / taken.as_secs_f64()
}
