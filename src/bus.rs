//! The EventBridge bus: puts one event at a time, for whoever closes tickets. Reads nothing, and knows no rule of when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use tokio::sync::OnceCell;

use crate::aws::{Aws, describe};
use crate::domain::event::Event;

/// A put may take so long, all its tries together: nobody waits for a bus.
pub const LONGEST_PUT: Duration = Duration::from_secs(2);
/// The same while the bus does not answer, so that a whole batch does not wait for it.
const SILENT_PUT: Duration = Duration::from_millis(250);
/// One try: two of them fit.
const TRY_TIMEOUT: Duration = Duration::from_millis(900);
/// The events' `source`.
const SOURCE: &str = "regrant";
/// How often an entry is sent that EventBridge did not take for a reason of its own.
const MOST_TRIES: u32 = 3;
/// Between two of those; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

pub struct Bus {
    aws: Aws,
    client: OnceCell<Client>,
    name: String,
    /// The last put had no answer in its full time, or an error: until one has, the next are not waited for so long.
    is_silent: AtomicBool,
}

/// Why an event was not put.
enum NotPut {
    /// The bus answered, and did not take it.
    Refused(anyhow::Error),
    /// The call failed as a whole.
    Failed(anyhow::Error),
}

impl Bus {
    /// `name` may be an ARN. Connects to nothing yet.
    pub fn new(aws: Aws, name: String) -> Self {
        Self { aws, client: OnceCell::new(), name, is_silent: AtomicBool::new(false) }
    }

    /// Puts one event. When it returns `Ok`, EventBridge has it; when it is an `Err`, it may have it all the same.
    /// Takes no longer than `patience`, and never longer than [`LONGEST_PUT`].
    pub async fn put(&self, event: &Event, patience: Duration) -> anyhow::Result<()> {
        let longest = if self.is_silent.load(Ordering::Relaxed) { SILENT_PUT } else { LONGEST_PUT };
        let patience = patience.min(longest);
        let put = tokio::time::timeout(patience, self.put_patiently(event)).await;
        let (is_silent, put) = match put {
            Ok(Ok(())) => (Some(false), Ok(())),
            Ok(Err(NotPut::Refused(error))) => (Some(false), Err(error)),
            Ok(Err(NotPut::Failed(error))) => (Some(true), Err(error)),
            Err(_) => {
                let why = anyhow!("EventBridge: no answer within {} ms", patience.as_millis());
                // A put that was cut short says nothing about the bus.
                ((patience == longest).then_some(true), Err(why))
            }
        };
        if let Some(is_silent) = is_silent {
            self.is_silent.store(is_silent, Ordering::Relaxed);
        }
        put
    }

    async fn put_patiently(&self, event: &Event) -> Result<(), NotPut> {
        let entry = PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(event.kind.detail_type())
            .detail(event.detail.to_json())
            .event_bus_name(&self.name)
            .build();
        let mut pause = FIRST_PAUSE;
        for tried in 1.. {
            let call = self.client().await.put_events().entries(entry.clone());
            let answer = call.send().await;
            let answer =
                answer.map_err(|error| NotPut::Failed(anyhow!("EventBridge: {}", describe(&error))))?;
            // The call succeeds whatever becomes of its entries.
            if answer.failed_entry_count() == 0 {
                break;
            }
            let code = answer.entries().first().and_then(|entry| entry.error_code()).unwrap_or("no code");
            if tried >= MOST_TRIES || !is_passing(code) {
                return Err(NotPut::Refused(anyhow!("EventBridge: the event was not taken, `{code}`")));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    async fn client(&self) -> &Client {
        let build = || async {
            let config = self.aws.config().await;
            let timeouts =
                config.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
            let timeouts = timeouts.operation_attempt_timeout(TRY_TIMEOUT).build();
            let config = aws_sdk_eventbridge::config::Builder::from(config).timeout_config(timeouts);
            Client::from_conf(config.build())
        };
        self.client.get_or_init(build).await
    }
}

/// The codes of an entry that may be taken a moment later; all others are about what was sent, or our rights.
fn is_passing(code: &str) -> bool {
    ["InternalFailure", "InternalException", "ThrottlingException"].contains(&code)
}
