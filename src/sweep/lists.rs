//! Graph's lists, all pages of all of them, as far as time and Graph's patience go. Judges no entry.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, timeout};

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

/// What the lists held.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Each once, in no order.
    pub(super) failed: Vec<Failed>,
    pub(super) unreadable: Vec<String>,
    /// Why a list is not whole, if it is not.
    pub(super) faults: Vec<String>,
    /// Lists that Graph refuses, and at least one page of any came.
    refused: Vec<String>,
    answered: bool,
}

impl Listed {
    /// Why, if Graph let us see nothing at all.
    pub(super) fn all_refused(&self) -> Option<&str> {
        self.refused.first().filter(|_| !self.answered).map(String::as_str)
    }
}

/// Why there is no page.
enum Stop {
    /// The list ends here for now.
    Incomplete(String),
    /// Graph throttles for longer than there is time: no other list is asked for either.
    Throttled(String),
    Refused(String),
    NoToken(anyhow::Error),
}

impl Sweeper {
    /// All lists, one after the other. `Err`: there is no token.
    pub(super) async fn list_all(&self, until: Instant) -> anyhow::Result<Listed> {
        let (mut listed, mut by_id) = (Listed::default(), BTreeMap::<Guid, Failed>::new());
        for list in FailedList::all(self.api_version, &self.packages) {
            match self.list(&list, until, &mut listed, &mut by_id).await {
                Ok(()) => {}
                Err(Stop::NoToken(error)) => return Err(error),
                Err(Stop::Incomplete(why)) => listed.faults.push(format!("{}: {why}", list.describe())),
                Err(Stop::Throttled(why)) => {
                    listed.faults.push(format!("{}, and what comes after it: {why}", list.describe()));
                    break;
                }
                Err(Stop::Refused(why)) => {
                    let why = format!("{}: {why}", list.describe());
                    telemetry::list_refused(&why);
                    listed.refused.push(why.clone());
                    listed.faults.push(why);
                }
            }
        }
        listed.failed = by_id.into_values().collect();
        Ok(listed)
    }

    async fn list(
        &self,
        list: &FailedList,
        until: Instant,
        listed: &mut Listed,
        by_id: &mut BTreeMap<Guid, Failed>,
    ) -> Result<(), Stop> {
        let (mut next, mut seen) = (None, HashSet::new());
        for _ in 0..MOST_PAGES {
            let page = Box::pin(self.page(list, next.as_ref(), until)).await?;
            listed.answered = true;
            listed.unreadable.extend(page.unreadable);
            for failed in page.failed {
                // An entry may move from one list to the other, or from page to page, while we read.
                by_id.entry(failed.id.clone()).or_insert(failed);
            }
            let link = match page.next {
                None => return Ok(()),
                Some(link) => link.map_err(Stop::Incomplete)?,
            };
            if !seen.insert(link.clone()) {
                return Err(Stop::Incomplete("a link to the next page came twice".to_owned()));
            }
            next = Some(link);
        }
        Err(Stop::Incomplete(format!("it has over {MOST_PAGES} pages")))
    }

    async fn page(&self, list: &FailedList, next: Option<&Next>, until: Instant) -> Result<Page, Stop> {
        for nth in 1.. {
            let (why, wait, throttled) = match self.ask(list, next, until).await? {
                PageAnswer::Page(page) => return Ok(page),
                PageAnswer::Refused { reason } => return Err(Stop::Refused(reason)),
                PageAnswer::Unauthorized => {
                    return Err(Stop::Refused("Graph refused a fresh token (401)".to_owned()));
                }
                PageAnswer::Throttled { retry_after } => {
                    let wait = retry_after.unwrap_or(self.policy.retry_after);
                    ("Graph throttles (429)".to_owned(), wait, true)
                }
                PageAnswer::Unavailable { reason, retry_after } => {
                    let wait = doubled(self.policy.retry_after, nth).max(retry_after.unwrap_or_default());
                    (reason, wait, false)
                }
            };
            if nth >= MOST_TRIES || Instant::now() + wait >= until {
                let why = format!("{why}; asked {nth} times, and a wait of {} s was due", wait.as_secs());
                return Err(if throttled { Stop::Throttled(why) } else { Stop::Incomplete(why) });
            }
            sleep(wait).await;
        }
        Err(Stop::Incomplete("no answer".to_owned()))
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

/// What is left, if it is anything.
fn left(until: Instant) -> Result<Duration, Stop> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Stop::Incomplete("the time was over".to_owned()));
    }
    Ok(left)
}
