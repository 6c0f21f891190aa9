//! The report's numbers, computed from all records at once, from their JSON, without any type or function of the
//! report. Slow and obvious on purpose.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::Scope;
use super::trail::Trail;

pub struct Slow {
    pub figures: Value,
    pub bands: Vec<u64>,
    pub median_ms: Option<u64>,
    pub p95_ms: Option<u64>,
}

/// All records of one repair up to its end, in order.
struct Story(Vec<Value>);

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Story {
    fn of(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|record| record["kind"] == kind).collect()
    }

    fn is_assignment(&self) -> bool {
        self.0[0]["target"] == "assignment"
    }

    fn settles(record: &Value) -> bool {
        match record["kind"].as_str().unwrap() {
            "requestSkipped" | "requestAbandoned" => true,
            "deliveryObserved" => {
                let again =
                    record["verdict"] == "deliveryFailed" || record["verdict"] == "partiallyDelivered";
                record["target"] == "assignment" || !again
            }
            _ => false,
        }
    }

    fn settling(&self) -> Option<&Value> {
        self.0.last().filter(|record| Self::settles(record))
    }

    fn ending(&self) -> &'static str {
        let Some(last) = self.settling() else { return "open" };
        match (last["kind"].as_str().unwrap(), last["verdict"].as_str(), last["evidence"].as_str()) {
            ("requestSkipped", ..) => "skipped",
            ("requestAbandoned", ..) => "abandoned",
            (_, Some("delivered"), Some("moved")) => "recovered",
            (_, Some("delivered"), _) => "notVerifiable",
            _ => "otherwise",
        }
    }

    fn end_of(&self, started: &Value) -> Option<&Value> {
        let mut ends = self.of("attemptEnded");
        ends.retain(|ended| ended["clientRequestId"] == started["clientRequestId"]);
        ends.last().copied()
    }

    fn observation_of(&self, started: &Value) -> Option<&Value> {
        let mut seen = self.of("deliveryObserved");
        seen.retain(|observed| observed["attempt"] == started["attempt"]);
        seen.last().copied()
    }

    fn moved(&self, started: &Value) -> bool {
        let before = text(&started["before"]["state"]).to_lowercase();
        let mut seen = self.of("deliveryPending");
        seen.retain(|pending| pending["attempt"] == started["attempt"]);
        seen.iter().any(|pending| text(&pending["state"]).to_lowercase() != before)
    }

    fn stage(&self) -> &'static str {
        let Some(started) = self.of("attemptStarted").last().copied() else { return "putOff" };
        let outcome = self.end_of(started).map(|ended| text(&ended["outcome"]));
        let observed = self.observation_of(started).is_some();
        match outcome.as_deref() {
            _ if observed => "putOff",
            _ if self.moved(started) => "delivering",
            None | Some("unknown") => "inDoubt",
            Some("accepted") => "delivering",
            Some(_) => "putOff",
        }
    }

    fn deadline(&self, window: SignedDuration) -> Option<Timestamp> {
        let started = *self.of("attemptStarted").last()?;
        if self.is_assignment() {
            return None;
        }
        let seen = self.observation_of(started).map(|observed| &observed["completedAt"]);
        let known = seen.filter(|at| at.is_string()).unwrap_or(&started["before"]["completedAt"]);
        known.is_string().then(|| time(known) + window)
    }

    fn day(&self) -> String {
        text(&self.0[0]["at"])[..10].to_owned()
    }

    fn package(&self) -> Option<String> {
        self.0.iter().rev().find_map(|record| record["accessPackageId"].as_str().map(str::to_owned))
    }
}

/// Every repair whose first record is in the period.
fn stories(trail: &Trail, scope: &Scope) -> Vec<Story> {
    let mut groups = BTreeMap::<(String, u64), Vec<Value>>::new();
    for row in &trail.rows {
        let record = serde_json::from_str::<Value>(&row.record).unwrap();
        if let Some(repair) = record["repair"].as_u64() {
            groups.entry((row.pk.clone(), repair)).or_default().push(record);
        }
    }
    let mut stories = Vec::new();
    for mut records in groups.into_values() {
        let first = time(&records[0]["at"]);
        if let Some(end) = records.iter().position(Story::settles) {
            records.truncate(end + 1);
        }
        if scope.from <= first && first < scope.to {
            stories.push(Story(records));
        }
    }
    stories
}

fn tally(names: impl IntoIterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn ranked(names: impl IntoIterator<Item = String>) -> Vec<Value> {
    let mut rows = tally(names).into_iter().collect::<Vec<_>>();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    rows.into_iter().map(|(name, count)| json!({ "name": name, "count": count })).collect()
}

/// What is counted the same way for a day and for all.
fn counts(stories: &[&Story]) -> Value {
    let number = |ending: &str| stories.iter().filter(|story| story.ending() == ending).count();
    let attempts = stories.iter().flat_map(|story| {
        story
            .of("attemptStarted")
            .into_iter()
            .map(|started| (story.end_of(started), story.observation_of(started)))
    });
    let attempts = attempts.collect::<Vec<_>>();
    let outcomes = attempts.iter().filter_map(|(ended, _)| ended.map(|ended| text(&ended["outcome"])));
    let verdicts = attempts.iter().filter_map(|(_, seen)| seen.map(|seen| text(&seen["verdict"])));
    json!({
        "endings": {
            "recovered": number("recovered"), "notVerifiable": number("notVerifiable"),
            "otherwise": number("otherwise"), "abandoned": number("abandoned"), "skipped": number("skipped"),
            "open": number("open"),
        },
        "outcomes": tally(outcomes),
        "unended": attempts.iter().filter(|(ended, _)| ended.is_none()).count(),
        "verdicts": tally(verdicts),
    })
}

pub fn report(trail: &Trail, scope: &Scope) -> Slow {
    let stories = stories(trail, scope);
    let all = stories.iter().collect::<Vec<_>>();
    let ended = |ending: &'static str| all.iter().filter(move |story| story.ending() == ending);
    let tried = all.iter().filter(|story| !story.of("attemptStarted").is_empty()).count();
    let attempts: usize = all.iter().map(|story| story.of("attemptStarted").len()).sum();
    let requests = all.iter().flat_map(|story| {
        let mut known = BTreeSet::new();
        let asking = story.0.iter().filter(|record| !text(&record["requestId"]).starts_with("cancel:"));
        asking.filter(move |record| known.insert(text(&record["requestId"])))
    });
    let requests = requests.collect::<Vec<_>>();
    let rejected = trail.index(scope.from, scope.to);
    let rejected = rejected.iter().filter(|row| row.pk.contains("#message#")).collect::<Vec<_>>();
    let recovered = ended("recovered").count();
    let first_try = ended("recovered").filter(|story| story.of("attemptStarted").len() == 1).count();
    let rate = |part: usize| (tried > 0).then(|| part as f64 / tried as f64);
    let mut per_target = BTreeMap::<String, usize>::new();
    for story in &all {
        *per_target.entry(text(&story.0[0]["id"])).or_default() += story.of("attemptStarted").len();
    }
    let histogram = (0..=8).map(|bar| {
        let targets = per_target.values().filter(|attempts| **attempts.min(&&8) == bar).count();
        json!({ "attempts": bar, "targets": targets })
    });
    let days = (5..=12).map(|day| {
        let day = format!("2026-03-{day:02}");
        let of_day = all.iter().filter(|story| story.day() == day).copied().collect::<Vec<_>>();
        let mut value = counts(&of_day);
        value["day"] = json!(day);
        value["isFinal"] = json!(true);
        value["repairs"] = json!(of_day.len());
        value
    });
    let mut figures = counts(&all);
    let throttled = figures["outcomes"]["throttled"].as_u64().unwrap_or_default();
    let calls =
        figures["outcomes"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    let codes = all.iter().flat_map(|story| {
        let ends = story.of("attemptStarted").into_iter().filter_map(|started| story.end_of(started));
        ends.filter(|ended| ended["outcome"] == "rejected").map(|ended| {
            match (ended["errorCode"].as_str(), ended["httpStatus"].as_u64()) {
                (Some(code), _) => code.to_owned(),
                (None, Some(status)) => format!("HTTP {status}"),
                (None, None) => "(not given)".to_owned(),
            }
        })
    });
    let names = all.iter().filter_map(|story| story.package());
    let packages = ranked(names).into_iter().map(|row| {
        let own = all.iter().filter(|story| story.package().as_deref() == row["name"].as_str());
        let own = own.map(|story| story.ending()).collect::<Vec<_>>();
        json!({
            "id": row["name"], "repairs": row["count"],
            "recovered": own.iter().filter(|ending| **ending == "recovered").count(),
            "unresolved": own.iter().filter(|ending| ["open", "abandoned"].contains(ending)).count(),
        })
    });
    let who =
        requests.iter().map(|record| record["requestedBy"].as_str().unwrap_or("(not given)").to_owned());
    let requesters = ranked(who);
    let why =
        |ending: &'static str| ranked(ended(ending).map(|story| text(&story.settling().unwrap()["why"])));
    let otherwise = ended("otherwise").map(|story| text(&story.settling().unwrap()["verdict"]));
    let fields = figures.as_object_mut().unwrap();
    fields.extend(
        json!({
            "header": { "rowsRead": trail.index(scope.from, scope.to).len() },
            "totals": {
                "targets": per_target.len(), "repairs": all.len(), "tried": tried, "requests": requests.len(),
                "attempts": attempts, "rejectedMessages": rejected.len(),
            },
            "recovery": {
                "recovered": recovered, "rate": rate(recovered), "firstTry": first_try,
                "firstTryRate": rate(first_try), "notVerifiable": ended("notVerifiable").count(),
            },
            "throttling": {
                "throttled": throttled, "ended": calls,
                "share": (calls > 0).then(|| throttled as f64 / calls as f64),
            },
            "attemptsPerTarget": histogram.collect::<Vec<_>>(),
            "days": days.collect::<Vec<_>>(),
            "open": open(&ended("open").copied().collect::<Vec<_>>(), scope),
            "endedOtherwise": tally(otherwise),
            "abandonedByReason": why("abandoned"),
            "skippedByReason": why("skipped"),
            "rejectedByErrorCode": ranked(codes),
            "accessPackages": { "rows": packages.collect::<Vec<_>>(), "others": 0 },
            "requesters": { "rows": requesters, "others": 0 },
            "unresolved": { "rows": unresolved(&ended("open").copied().collect::<Vec<_>>(), scope), "leftOut": 0 },
            "abandoned": { "rows": abandoned(&ended("abandoned").copied().collect::<Vec<_>>()), "leftOut": 0 },
            "rejectedMessages": {
                "rows": rejected.iter().map(|row| {
                    let record = serde_json::from_str::<Value>(&row.record).unwrap();
                    json!({
                        "at": row.at.to_string(), "messageId": record["requestId"], "error": record["error"],
                        "body": record["body"], "bodySha256": record["bodySha256"],
                    })
                }).collect::<Vec<_>>(),
                "leftOut": 0,
            },
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    let mut times = ended("recovered")
        .map(|story| {
            let started = time(&story.of("attemptStarted")[0]["at"]);
            let taken = time(&story.settling().unwrap()["at"]).duration_since(started).as_millis();
            u64::try_from(taken.max(0)).unwrap()
        })
        .collect::<Vec<_>>();
    times.sort_unstable();
    let rank =
        |percent: usize| (!times.is_empty()).then(|| times[(times.len() * percent).div_ceil(100).max(1) - 1]);
    let edges = [0, 2, 10, 60, 600, 3600, 4 * 3600, 86_400, u64::MAX / 1000];
    let bands = edges
        .windows(2)
        .map(|band| times.iter().filter(|ms| band[0] * 1000 <= **ms && **ms < band[1] * 1000).count() as u64);
    Slow { bands: bands.collect(), median_ms: rank(50), p95_ms: rank(95), figures }
}

fn open(stories: &[&Story], scope: &Scope) -> Value {
    let stage = |stage: &str| stories.iter().filter(|story| story.stage() == stage).count();
    let doubtful = stories.iter().filter(|story| story.stage() == "inDoubt");
    let oldest = doubtful.map(|story| time(&story.of("attemptStarted").last().unwrap()["at"])).min();
    let left = stories.iter().map(|story| {
        story.deadline(scope.window).map(|at| at.duration_since(scope.now).as_secs_f64() / 86_400.0)
    });
    let left = left.collect::<Vec<_>>();
    let between = |low: f64, high: f64| {
        left.iter().flatten().filter(|days| low <= **days && **days < high && **days > 0.0).count()
    };
    json!({
        "total": stories.len(), "inDoubt": stage("inDoubt"), "oldestInDoubt": oldest,
        "delivering": stage("delivering"), "putOff": stage("putOff"),
        "byDaysLeft": {
            "overSeven": left.iter().flatten().filter(|days| **days > 7.0).count(),
            "threeToSeven": left.iter().flatten().filter(|days| 3.0 <= **days && **days <= 7.0).count(),
            "oneToThree": between(1.0, 3.0), "underOne": between(0.0, 1.0),
            "closed": left.iter().flatten().filter(|days| **days <= 0.0).count(),
            "noDeadlineKnown": left.iter().filter(|days| days.is_none()).count(),
        },
    })
}

fn last_state(story: &Story) -> Option<String> {
    story.0.iter().rev().find_map(|record| {
        let own = record["state"].as_str();
        own.or_else(|| record["before"]["state"].as_str()).map(str::to_owned)
    })
}

fn unresolved(stories: &[&Story], scope: &Scope) -> Vec<Value> {
    let mut rows = stories.to_vec();
    rows.sort_by_key(|story| {
        let deadline = story.deadline(scope.window);
        let first = &story.0[0];
        (deadline.is_none(), deadline, text(&first["target"]), text(&first["id"]), first["repair"].as_u64())
    });
    let row = |story: &&Story| {
        json!({
            "deadline": story.deadline(scope.window), "target": story.0[0]["target"], "id": story.0[0]["id"],
            "repair": story.0[0]["repair"], "stage": story.stage(), "state": last_state(story),
            "began": time(&story.0[0]["at"]), "attempts": story.of("attemptStarted").len(),
            "lastRecord": time(&story.0.last().unwrap()["at"]), "accessPackageId": story.package(),
            "ticket": null,
        })
    };
    rows.iter().map(row).collect()
}

fn abandoned(stories: &[&Story]) -> Vec<Value> {
    let mut rows = stories.to_vec();
    rows.sort_by_key(|story| {
        let (first, last) = (&story.0[0], story.settling().unwrap());
        (time(&last["at"]), text(&first["target"]), text(&first["id"]))
    });
    let row = |story: &&Story| {
        let errors = story.of("attemptStarted").into_iter().rev();
        let error = errors.filter_map(|started| story.end_of(started)?["errorCode"].as_str()).next();
        json!({
            "at": time(&story.settling().unwrap()["at"]), "target": story.0[0]["target"], "id": story.0[0]["id"],
            "repair": story.0[0]["repair"], "why": story.settling().unwrap()["why"], "state": last_state(story),
            "attempts": story.of("attemptStarted").len(), "accessPackageId": story.package(), "ticket": null,
            "lastError": error,
        })
    };
    rows.iter().map(row).collect()
}
