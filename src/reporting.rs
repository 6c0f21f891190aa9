//! A report from the trail: reads the period, follows what is open, folds. Knows no format.

use anyhow::Result;
use futures::StreamExt;
use jiff::Timestamp;

use crate::domain::report::{Fold, Repair, Report, Scope};
use crate::trail_days::TrailDays;

/// Reads the trail once and hands out each repair of the period with all its attempts: the settled ones as they
/// are met, the open ones at the end. `progress` hears up to where the period is read.
pub async fn report(
    days: &TrailDays,
    scope: Scope,
    mut each: impl FnMut(&Repair) -> Result<()>,
    mut progress: impl FnMut(Timestamp),
) -> Result<Report> {
    let mut reading = days.read(scope.from, scope.to);
    let mut fold = Fold::new(scope);
    while let Some(page) = reading.next().await {
        page?.into_iter().for_each(|entry| fold.push(entry));
        fold.take_finished().iter().try_for_each(&mut each)?;
        progress(reading.position());
    }
    let mut followed = std::pin::pin!(days.follow(fold.to_follow()));
    while let Some(entries) = followed.next().await {
        entries?.into_iter().for_each(|entry| fold.follow(entry));
        fold.take_finished().iter().try_for_each(&mut each)?;
    }
    let (report, open) = fold.finish();
    open.iter().try_for_each(each)?;
    Ok(report)
}
