//! Records to a report: computes every figure, reads nothing and prints nothing.
//!
//! The fold takes the period's records in the order of `at`, whatever the target, and keeps a repair only while it
//! is open; of a settled one nothing stays but counts and, of each target, where its chain was seen to end. So
//! memory follows open repairs and targets, not records.
//!
//! **What belongs to the period.** A repair belongs to the day of its first record; all its figures do, also those
//! of later days. Its first record tells itself from others: it carries the origin of a request and is a
//! `requestReceived`, `attemptStarted` or `requestSkipped`. (Other records that carry one join or abandon a repair
//! that is open.) So a repair begun before the period is never taken for one begun in it, and nothing before the
//! period need be read.
//!
//! ```text
//!          from                              to        now
//!  --------+---------------------------------+---------+
//!   first..|..last                           |            not counted: begun before
//!          |   first ...... last             |            counted
//!          |                     first ......|.. last     counted: followed by its own key behind `to`
//!          |          first ... 3 ... 5      |            4 missing: read again by its own key
//! ```
//!
//! **Order.** `seq` is the order, `at` is not: clocks disagree, and an index lags. A record that does not continue
//! what was seen of its target makes the target doubtful: nothing more of it is counted from the index, and the
//! shell reads it again by its own key, strongly consistent and in `seq` order. Only what is missing there too is
//! called missing.

mod counts;
mod entry;
mod figures;
mod fold;
mod integrity;
mod period;
mod ranking;
mod repair;
mod spread;
mod value;

pub use entry::{Entry, Stored};
pub use fold::{Fold, Follow, Scope};
pub use integrity::{Fault, Finding, Verification};
pub use period::{Period, PeriodError};
pub use repair::{Attempt, Ending, Repair, Stage};
pub use value::*;

#[cfg(test)]
mod tests;
