//! Graph's lists, all pages of all of them, as far as time and Graph's patience go. Judges no entry.
//!
//! No list waits for another: what fails is asked for again when all others have had their turn, and which is the
//! first changes with the hour. Only while Graph throttles is nothing asked for at all.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};

use super::Sweeper;
use crate::domain::pace::doubled;
use crate::domain::sweep::Failed;
use crate::domain::target::Guid;
use crate::graph::{FailedList, Next, Page, PageAnswer, Token};
use crate::telemetry;

/// A list keeps what failed years ago too, so that it may be long; an endless one is a fault.
const MOST_PAGES: usize = 2_000;
/// How often one page is asked for, with a wait before each further time.
const MOST_TRIES: u32 = 4;
/// Whatever Graph says, a throttled sweep waits as long as this.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const HOUR_SECS: i64 = 3_600;
const THROTTLES: &str = "Graph throttles (429)";

/// What the lists held.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Each once, in no order.
    pub(super) failed: Vec<Failed>,
    pub(super) unreadable: Vec<String>,
    /// Why a list is not whole, if it is not.
    pub(super) faults: Vec<String>,
    /// There was no token, or Graph refused a list.
    refused: bool,
    answered: bool,
}

impl Listed {
    /// Whether Entra or Graph let us see nothing at all, so that an administrator must act.
    pub(super) fn is_refused(&self) -> bool {
        self.refused && !self.answered
    }
}

/// Why there is no page.
enum Stop {
    /// The list ends here, and asking again would not help.
    Broken(String),
    /// Time may mend it.
    Unavailable {
        why: String,
        retry_after: Option<Duration>,
    },
    Throttled {
        retry_after: Option<Duration>,
    },
    Refused(String),
    /// There is none for any other list either.
    NoToken(anyhow::Error),
}

/// A list that is being read.
struct Reading {
    list: FailedList,
    next: Option<Next>,
    followed: HashSet<Next>,
    pages: usize,
    /// Tries of the page at hand that failed.
    tries: u32,
    /// Not to be asked for before.
    due: Instant,
    /// Why the last try failed.
    why: Option<String>,
}

/// When Graph may be asked again, after it throttled so many times without a page between.
#[derive(Default)]
struct Hush {
    until: Option<Instant>,
    times: u32,
}

impl Sweeper {
    /// All lists, each a page at a time. Whatever goes wrong, what was read is kept.
    pub(super) async fn list_all(&self, now: Timestamp, until: Instant) -> Listed {
        let (mut listed, mut by_id) = (Listed::default(), BTreeMap::<Guid, Failed>::new());
        let mut hush = Hush::default();
        let mut queue = FailedList::all(self.api_version, &self.packages)
            .into_iter()
            .map(Reading::new)
            .collect::<VecDeque<_>>();
        let first = now.as_second().div_euclid(HOUR_SECS).rem_euclid(queue.len().max(1) as i64);
        queue.rotate_left(usize::try_from(first).unwrap_or_default());
        while let Some(mut reading) = queue.pop_front() {
            let start = hush.until.map_or(reading.due, |until| until.max(reading.due));
            if start >= until {
                let why = reading.why.as_deref().unwrap_or(THROTTLES);
                let wait = start.saturating_duration_since(Instant::now()).as_secs();
                listed.fault(
                    &reading,
                    &format!("{why}; a wait of {wait} s was due, for which no time is left"),
                );
                continue;
            }
            sleep_until(start).await;
            match self.read_on(&mut reading, until, &mut hush, &mut listed, &mut by_id).await {
                Ok(()) => {}
                Err(Stop::NoToken(error)) => {
                    // Nothing else can be asked for.
                    listed.refused = true;
                    listed.faults.push(format!("{error:#}"));
                    break;
                }
                Err(Stop::Broken(why)) => listed.fault(&reading, &why),
                Err(Stop::Refused(why)) => {
                    listed.refused = true;
                    telemetry::list_refused(&format!("{}: {why}", reading.list.describe()));
                    listed.fault(&reading, &why);
                }
                Err(Stop::Unavailable { why, retry_after }) => {
                    let wait = doubled(self.policy.retry_after, reading.tries + 1);
                    reading.due = Instant::now() + wait.max(retry_after.unwrap_or_default());
                    reading.again(why, &mut queue, &mut listed);
                }
                Err(Stop::Throttled { retry_after }) => {
                    hush.times += 1;
                    let wait = match retry_after {
                        Some(asked) => asked.max(SHORTEST_WAIT),
                        None => doubled(self.policy.retry_after, hush.times),
                    };
                    hush.until = Some(Instant::now() + wait);
                    reading.again(THROTTLES.to_owned(), &mut queue, &mut listed);
                }
            }
        }
        listed.failed = by_id.into_values().collect();
        listed
    }

    /// Page after page to the list's end, or to the first that does not come.
    async fn read_on(
        &self,
        reading: &mut Reading,
        until: Instant,
        hush: &mut Hush,
        listed: &mut Listed,
        by_id: &mut BTreeMap<Guid, Failed>,
    ) -> Result<(), Stop> {
        loop {
            let page = Box::pin(self.page(&reading.list, reading.next.as_ref(), until)).await?;
            (reading.tries, *hush) = (0, Hush::default());
            listed.answered = true;
            listed.unreadable.extend(page.unreadable);
            for failed in page.failed {
                // An entry may move from one list to the other, or from page to page, while we read.
                by_id.entry(failed.id.clone()).or_insert(failed);
            }
            let link = match page.next {
                None => return Ok(()),
                Some(link) => link.map_err(Stop::Broken)?,
            };
            reading.pages += 1;
            if reading.pages >= MOST_PAGES {
                return Err(Stop::Broken(format!("it has over {MOST_PAGES} pages")));
            }
            if !reading.followed.insert(link.clone()) {
                return Err(Stop::Broken("a link to the next page came twice".to_owned()));
            }
            reading.next = Some(link);
        }
    }

    async fn page(&self, list: &FailedList, next: Option<&Next>, until: Instant) -> Result<Page, Stop> {
        match self.ask(list, next, until).await? {
            PageAnswer::Page(page) => Ok(page),
            PageAnswer::Refused { reason } => Err(Stop::Refused(reason)),
            PageAnswer::Unauthorized => Err(Stop::Refused("Graph refused a fresh token (401)".to_owned())),
            PageAnswer::Throttled { retry_after } => Err(Stop::Throttled { retry_after }),
            PageAnswer::Unavailable { reason, retry_after } => {
                Err(Stop::Unavailable { why: reason, retry_after })
            }
        }
    }

    /// Once; after a 401 once more with a fresh token.
    async fn ask(&self, list: &FailedList, next: Option<&Next>, until: Instant) -> Result<PageAnswer, Stop> {
        let token = self.token(None, until).await?;
        let budget = |left: Duration| left.min(self.call_timeout);
        let answer = self.graph.list_page(&token, list, next, budget(left(until)?)).await;
        if answer != PageAnswer::Unauthorized {
            return Ok(answer);
        }
        let token = self.token(Some(&token), until).await?;
        Ok(self.graph.list_page(&token, list, next, budget(left(until)?)).await)
    }

    async fn token(&self, refused: Option<&Token>, until: Instant) -> Result<Token, Stop> {
        let token = async {
            match refused {
                None => self.graph.token().await,
                Some(refused) => self.graph.renew(refused).await,
            }
        };
        let asked = async {
            match timeout(left(until)?, token).await {
                Ok(Ok(token)) => Ok(token),
                Ok(Err(error)) => Err(Stop::NoToken(anyhow!(error))),
                Err(_) => Err(Stop::NoToken(anyhow!("no token for Graph: no answer in time"))),
            }
        };
        asked.await.inspect_err(|stop| {
            if let Stop::NoToken(error) = stop {
                telemetry::no_token(&error.to_string());
            }
        })
    }
}

impl Reading {
    fn new(list: FailedList) -> Self {
        Self {
            list,
            next: None,
            followed: HashSet::new(),
            pages: 0,
            tries: 0,
            due: Instant::now(),
            why: None,
        }
    }

    /// Once more, behind all others; or never, if it failed too often.
    fn again(mut self, why: String, queue: &mut VecDeque<Self>, listed: &mut Listed) {
        self.tries += 1;
        if self.tries >= MOST_TRIES {
            listed.fault(&self, &format!("{why}; asked {} times", self.tries));
        } else {
            self.why = Some(why);
            queue.push_back(self);
        }
    }
}

impl Listed {
    fn fault(&mut self, reading: &Reading, why: &str) {
        self.faults.push(format!("{}: {why}", reading.list.describe()));
    }
}

/// What is left, if it is anything.
fn left(until: Instant) -> Result<Duration, Stop> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Stop::Broken("the time was over".to_owned()));
    }
    Ok(left)
}
