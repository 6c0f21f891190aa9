//! What must hold afterwards. The oracles are the simulator's call log, the queues and the load, never our own trail;
//! the trail is read as plain JSON.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use regrant::domain::target::Target;
use regrant::local::AUDIT_TABLE;
use regrant::local::aws::sdk_config;
use regrant::local::graph::{CallKind, GraphCall};
use regrant::local::sqs::depth;
use serde_json::Value;

use crate::emulators::{BUCKET, Emulators};
use crate::load::{Ending, Load, NO_REQUESTS, Wanted};
use crate::stand_in::ASSERTION;

/// All records, by key and in their order.
pub struct Trail {
    chains: BTreeMap<String, Vec<Value>>,
    text: String,
}

impl Trail {
    pub async fn read(emulators: &Emulators) -> Self {
        let (client, mut start) = (emulators.dynamodb.client(), None);
        let (mut chains, mut text) = (BTreeMap::<String, BTreeMap<u64, Value>>::new(), String::new());
        loop {
            let page =
                client.scan().table_name(AUDIT_TABLE).set_exclusive_start_key(start).send().await.unwrap();
            for item in page.items() {
                let seq = item["seq"].as_n().unwrap().parse().unwrap();
                let record = item["record"].as_s().unwrap();
                text.push_str(record);
                let chain = chains.entry(item["pk"].as_s().unwrap().clone()).or_default();
                chain.insert(seq, serde_json::from_str(record).unwrap());
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        for (key, chain) in &chains {
            assert!(chain.keys().copied().eq(1..=chain.len() as u64), "a gap in {key}");
        }
        let chains = chains.into_iter().map(|(key, chain)| (key, chain.into_values().collect())).collect();
        Self { chains, text }
    }

    fn of(&self, emulators: &Emulators, target: &Target) -> &[Value] {
        self.chains.get(&target.key(emulators.tenant())).map_or(&[], Vec::as_slice)
    }

    fn records<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.chains.values().flatten().filter(move |record| record["kind"] == kind)
    }
}

/// Every repair ended as it had to, and none was left open.
pub fn every_request_is_settled(load: &Load, emulators: &Emulators, trail: &Trail) {
    let mut wrong = Vec::new();
    for wanted in &load.requests {
        let records = trail.of(emulators, &wanted.target);
        let last = records.iter().rfind(|record| record["late"] != true);
        let ended = last.map(|last| {
            let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
            (text("kind"), text("verdict") + &text("why"))
        });
        let expected = match wanted.ending {
            Ending::Delivered => ("deliveryObserved", "delivered"),
            Ending::AttemptsExhausted => ("requestAbandoned", "attemptsExhausted"),
            Ending::Skipped(why) => ("requestSkipped", why),
        };
        let left_out = ended.is_none() && !wanted.is_for_the_sweep();
        let as_expected = ended.as_ref().is_some_and(|(kind, why)| (kind.as_str(), why.as_str()) == expected);
        if !left_out && !as_expected {
            wrong.push(format!("{:?}: {ended:?} instead of {expected:?}", wanted.target));
        }
    }
    assert!(wrong.is_empty(), "{} ended otherwise:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(trail.records("messageRejected").count(), NO_REQUESTS.len());
}

/// What Graph was asked is what the trail says, call by call, and nothing accepted was sent twice.
pub fn simulator_agrees(emulators: &Emulators, trail: &Trail) {
    assert_eq!(emulators.graph.violations(), Vec::<String>::new());
    let posts = emulators.graph.calls().into_iter().filter(|call| call.kind == CallKind::Reprocess);
    let mut posts_by_id = HashMap::<String, Vec<GraphCall>>::new();
    for post in posts {
        let id = post.client_request_id.clone().expect("a POST without client-request-id");
        posts_by_id.entry(id).or_default().push(post);
    }
    let ids = |kind: &str| {
        let mut count = 0;
        let ids = trail.records(kind).filter(|record| record["late"] != true).map(|record| {
            count += 1;
            record["clientRequestId"].as_str().unwrap().to_owned()
        });
        let ids = ids.collect::<BTreeSet<_>>();
        assert_eq!(ids.len(), count, "an attempt stands twice in the trail");
        ids
    };
    let (started, ended) = (ids("attemptStarted"), ids("attemptEnded"));
    assert_eq!(started, ended, "an attempt is left open");
    for (id, posts) in &posts_by_id {
        assert!(started.contains(id), "a POST that the trail does not know: {posts:?}");
        assert_eq!(posts.len(), 1, "{posts:?}");
    }
    for record in trail.records("attemptEnded").filter(|record| record["outcome"] == "accepted") {
        let post = &posts_by_id[record["clientRequestId"].as_str().unwrap()][0];
        assert_eq!(record["httpStatus"].as_u64(), post.status.map(u64::from), "{record}");
        assert!(post.applied, "{record}");
    }
    // An assignment may be applied again; a request's reprocess that Graph took is answered by a delivery first.
    let mut deliveries = HashMap::<&Target, usize>::new();
    for post in posts_by_id.values().flatten().filter(|post| post.applied) {
        *deliveries.entry(post.target.as_ref().unwrap()).or_default() += 1;
    }
    for (target, applied) in deliveries {
        let verdicts =
            trail.of(emulators, target).iter().filter(|record| record["kind"] == "deliveryObserved");
        if target.kind.as_str() == "assignmentRequest" {
            assert_eq!(applied, verdicts.count(), "{target:?}: deliveries begun, and verdicts on them");
        }
    }
}

pub async fn dead_letters_are_none(emulators: &Emulators) {
    assert_eq!(depth(&emulators.sqs(), &emulators.dead_letters.url).await.unwrap().total(), 0);
}

/// At least one event for each settled repair, which says what the settling record says; but for those that the bus
/// did not take in time, which are counted and said.
pub async fn events_tell_every_repair(emulators: &Emulators, trail: &Trail, output: &str) {
    let sqs = aws_sdk_sqs::Client::new(&sdk_config(&emulators.bus));
    let mut told = BTreeMap::<(String, u64), usize>::new();
    loop {
        let received = sqs.receive_message().queue_url(&emulators.events.url).max_number_of_messages(10);
        let received = received.send().await.unwrap();
        if received.messages().is_empty() {
            break;
        }
        for message in received.messages() {
            let handle = message.receipt_handle().unwrap();
            sqs.delete_message()
                .queue_url(&emulators.events.url)
                .receipt_handle(handle)
                .send()
                .await
                .unwrap();
            let event = serde_json::from_str::<Value>(message.body().unwrap()).unwrap();
            assert_eq!(event["source"], "regrant");
            if event["detail-type"] != "Repair settled" {
                continue;
            }
            let detail = &event["detail"];
            let text = |name: &str| detail[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {detail}"));
            let key = format!("{}#{}#{}", text("tenantId"), text("target"), text("id"));
            let seq = detail["seq"].as_u64().unwrap();
            let record = &trail.chains[&key][usize::try_from(seq).unwrap() - 1];
            assert_eq!(record["repair"], detail["repair"]);
            match record["kind"].as_str().unwrap() {
                "deliveryObserved" => assert_eq!(record["verdict"], detail["verdict"]),
                _ => assert_eq!(record["why"], detail["reason"]),
            }
            *told.entry((key, detail["repair"].as_u64().unwrap())).or_default() += 1;
        }
    }
    let failed = output.lines().filter(|line| line.contains("an event was not put")).collect::<Vec<_>>();
    let targets = trail.chains.iter().filter(|(key, _)| !key.contains("#message#"));
    for (key, records) in targets {
        for repair in 1..=records.iter().filter_map(|record| record["repair"].as_u64()).max().unwrap() {
            let is_told = told.contains_key(&(key.clone(), repair));
            let id = key.rsplit('#').next().unwrap();
            let is_said = failed.iter().any(|line| line.contains(id));
            assert!(is_told || is_said, "nobody was told of repair {repair} of {key}");
        }
    }
    assert!(failed.len() * 20 < told.len(), "{} events were not put", failed.len());
    println!(
        "          {} events for {} repairs, {} not put",
        told.values().sum::<usize>(),
        told.len(),
        failed.len()
    );
}

pub fn secrets_are_nowhere(emulators: &Emulators, output: &str, trail: &Trail) {
    let mut secrets = emulators.graph.issued_tokens();
    secrets.extend([
        emulators.application.secret.clone(),
        emulators.private_key.clone(),
        ASSERTION.to_owned(),
    ]);
    for secret in secrets {
        assert!(!output.contains(&secret), "a secret in the functions' output");
        assert!(!trail.text.contains(&secret), "a secret in the trail");
    }
}

pub fn sweep(load: &Load, swept: &[Wanted], dry: &Value, answer: &Value, again: &Value) {
    let expected = swept.iter().filter(|wanted| wanted.is_for_the_sweep()).count();
    let exhausted = load.requests[..crate::SUBMITTED]
        .iter()
        .filter(|wanted| wanted.ending == Ending::AttemptsExhausted)
        .count();
    assert_eq!(answer["complete"], true, "{answer}");
    assert_eq!(answer["sent"], expected, "{answer}");
    assert_eq!(dry["sent"], 0, "{dry}");
    assert!(answer["found"].as_u64().unwrap() >= (expected + exhausted) as u64, "{answer}");
    assert_eq!(again["complete"], true, "{again}");
}

pub fn direct(requests: &[Wanted], credential: &str, answer: &Value) {
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), requests.len(), "{credential}: {answer}");
    for (wanted, result) in requests.iter().zip(results) {
        assert_eq!(result["id"], wanted.target.id.as_str());
        let status = result["status"].as_str().unwrap();
        // Deferred: something else went wrong first, and the queue goes on with it.
        let right = match wanted.ending {
            Ending::Skipped(_) => ["skipped", "deferred"].contains(&status),
            Ending::Delivered | Ending::AttemptsExhausted => {
                ["accepted", "deferred", "delivered"].contains(&status)
            }
        };
        assert!(right, "{credential}: {result}");
    }
}

/// The figures are counted again from the trail's plain records.
pub fn report(answer: &Value, trail: &Trail) {
    let totals = &answer["totals"];
    assert_eq!(totals["attempts"], trail.records("attemptStarted").count(), "{totals}");
    let verification = &answer["verification"];
    assert_eq!(verification["checked"], trail.chains.values().map(Vec::len).sum::<usize>(), "{verification}");
    for fault in ["changed", "broken", "missing", "unreadable"] {
        assert_eq!(verification[fault], 0, "{verification}");
    }
}

pub async fn bucket(emulators: &Emulators, answer: &Value) {
    let keys = answer["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3, "{answer}");
    for key in keys {
        let url = format!("{}/{BUCKET}/{}", emulators.moto, key.as_str().unwrap());
        // The server checks no signature, but shows nobody without one what is private.
        let signed = "AWS4-HMAC-SHA256 Credential=local/20260101/eu-west-1/s3/aws4_request";
        let stored = reqwest::Client::new().get(url).header("authorization", signed).send().await.unwrap();
        assert!(stored.status().is_success(), "{key}: {}", stored.status());
        assert!(!stored.bytes().await.unwrap().is_empty(), "{key}");
    }
}
