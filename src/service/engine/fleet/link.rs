//! The link to the engine: loads what is shared, follows its changes, and begins anew when that breaks off.

use super::Fleet;
use super::news::FleetNews;
use crate::share::{Missed, News, ShareError};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The pauses before the engine is tried again: doubling.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Failures of one link after which it is told, where nothing is wrong but that it is away: a member that restarts is
/// away for a second.
const TOLD_FROM: u32 = 2;

/// Pause between two lines about an engine that stays away.
const TOLD_AGAIN: Duration = Duration::from_secs(3600);

/// Follows the engine for ever.
pub(super) async fn follow(fleet: Rc<Fleet>) {
    let (shortest, longest) = PAUSES;
    let (mut pause, mut failures) = (shortest, 0_u32);
    let mut told: Option<(ShareError, Instant)> = None;
    let mut is_news = true;
    loop {
        let begun = Instant::now();
        let (has_loaded, error) = follow_once(&fleet, is_news).await;
        if has_loaded {
            (told, is_news) = (None, false);
        }
        if has_loaded && begun.elapsed() >= longest {
            (pause, failures) = (shortest, 0);
        }
        failures = failures.saturating_add(1);
        fleet.note_away();
        fleet.health.failed(&error);
        let is_due = told.as_ref().is_none_or(|(before, since)| {
            before.is_permanent() != error.is_permanent() || since.elapsed() >= TOLD_AGAIN
        });
        if is_due && (failures >= TOLD_FROM || error.is_permanent()) {
            fleet.report(FleetNews::Away { error: error.clone(), retry: pause });
            (told, is_news) = (Some((error, Instant::now())), true);
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Loads and follows until it breaks off; tells whether it has loaded. `is_news`: it is told that the engine is in reach.
async fn follow_once(fleet: &Rc<Fleet>, is_news: bool) -> (bool, ShareError) {
    let mut has_loaded = false;
    loop {
        let News { revision, changes } = match fleet.engine.load().await {
            Ok(news) => news,
            Err(error) => return (has_loaded, error),
        };
        let is_news = is_news && !std::mem::replace(&mut has_loaded, true);
        fleet.note_here();
        fleet.health.loaded(changes.len());
        fleet.report(FleetNews::Loaded { changes, is_news });
        let mut tell = |news: News| {
            fleet.health.heard();
            if !news.changes.is_empty() {
                fleet.report(FleetNews::Changed(news.changes));
            }
        };
        match fleet.engine.watch(revision, &mut tell).await {
            // It has forgotten what came since: all is loaded anew.
            Ok(Missed) => {}
            Err(error) => return (has_loaded, error),
        }
    }
}
