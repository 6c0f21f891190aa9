//! Every rule of the service.

use std::time::Duration;

/// The settings that the rules use. All durations are as set in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub max_attempts: u32,
    pub window: Duration,
    pub check_after: Duration,
    pub retry_after: Duration,
    pub give_up_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            max_attempts: 5,
            window: Duration::from_secs(14 * DAY),
            check_after: Duration::from_secs(120),
            retry_after: Duration::from_secs(30),
            give_up_after: Duration::from_secs(7 * DAY),
        }
    }
}
