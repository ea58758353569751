//! Taking the lock of the state path.
//!
//! Whoever holds the lock renews the certificates; who waits for it serves what the holder writes
//! ([`following`](super::following)), and tells of the wait ([`lock_wait`](super::lock_wait)).

use super::clock::pause_after;
use super::following::Follower;
use super::lock_wait::{LockWait, SHARED};
use super::reloading::Reloading;
use super::site::Site;
use crate::event::{Event, StateEvent};
use crate::store::{Lock, PublishedFacts};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pause between two looks whether the service before has left, and once that is not a matter of a reload.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
const LONG_INTERVAL: Duration = Duration::from_millis(500);

/// Takes the lock, however long that takes.
pub(super) async fn take_lock(
    site: &Rc<Site>,
    facts: &PublishedFacts,
    reloading: &mut Reloading,
) -> Lock {
    let (begun, mut wait) = (Instant::now(), LockWait::new(site.store.path()));
    let mut follower = Follower::new(Rc::clone(site), facts);
    loop {
        match site.store.lock() {
            Ok(Some(lock)) => {
                if let Some(error) = lock.left() {
                    let why = error.to_string();
                    site.tell(&Event::State(StateEvent::LockLeft { why }));
                }
                return lock;
            }
            Ok(None) => {
                if let Some(lock) = evict(site, &wait, begun.elapsed()) {
                    return lock;
                }
                wait.tell(begun.elapsed(), &*site.host);
                follower.look(&wait, begun.elapsed(), reloading).await;
                let is_long = begun.elapsed() >= SHARED;
                sleep(if is_long { LONG_INTERVAL } else { LOCK_INTERVAL }).await;
            }
            Err(error) => {
                pause_after(&*site.host, &error).await;
                // It may be another directory by now.
                let _as_before = site.store.reopen();
            }
        }
    }
}

/// Takes the lock from a holder that hangs. Where that cannot be done, the wait goes on, and says so.
fn evict(site: &Site, wait: &LockWait, waited: Duration) -> Option<Lock> {
    let (silence, sign) = wait.hung_since(waited)?;
    let holder = wait.holder();
    let lock = site.store.evict(sign).ok().flatten()?;
    let path = site.store.path().to_owned();
    site.tell(&Event::State(StateEvent::Evicted { path, holder, silence }));
    Some(lock)
}

#[cfg(test)]
mod tests {
    use super::take_lock;
    use crate::engine::reloading::Reloading;
    use crate::engine::testing::{Recorder, site_of};
    use crate::event::{Event, StateEvent};
    use crate::store::Store;
    use crate::store::testing::give_sign;
    use acme_dns_core::level::Level;
    use std::fs::File;
    use std::path::PathBuf;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    /// Returns the events of so many seconds of waiting, and the state path.
    async fn events_after(seconds: u64, sign: impl Fn(u64) -> bool) -> (Vec<Event>, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let held = Store::open(dir.path()).unwrap().lock().unwrap().unwrap();
        // Somebody else is about to take the lock from a holder that hangs, and never does.
        let evicting = File::open(dir.path()).unwrap();
        evicting.lock().unwrap();
        let host = Arc::new(Recorder::default());
        let site = site_of(dir.path(), Arc::clone(&host), &[]);
        let mut reloading = Reloading::new(Rc::clone(&site), None);
        let waiting = async {
            let _lock = take_lock(&site, &[], &mut reloading).await;
        };
        let signs = async {
            for second in 1..=seconds {
                sleep(Duration::from_secs(1)).await;
                if sign(second) {
                    give_sign(dir.path(), second);
                }
            }
        };
        tokio::select! {
            () = waiting => panic!("the lock is held"),
            () = signs => {}
        }
        drop(held);
        let locked = take_lock(&site, &[], &mut reloading);
        assert!(timeout(Duration::from_secs(1), locked).await.is_ok());
        (host.events(), dir.path().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_hangs_loses_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let hung = Store::open(dir.path()).unwrap().lock().unwrap().unwrap();
        let host = Arc::new(Recorder::default());
        let site = site_of(dir.path(), Arc::clone(&host), &[]);
        let mut reloading = Reloading::new(Rc::clone(&site), None);
        let taking = take_lock(&site, &[], &mut reloading);
        let taken = timeout(Duration::from_secs(70), taking).await.expect("it is taken over");
        assert!(taken.is_in_place(dir.path()) && !hung.is_in_place(dir.path()));
        let warnings = host.at(Level::Warn);
        let [Event::State(StateEvent::Evicted { holder, silence, .. })] = warnings.as_slice()
        else {
            panic!("{warnings:?}");
        };
        assert!(holder.starts_with(&format!("process {} ", std::process::id())), "{holder}");
        assert_eq!(silence.as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_hangs_is_warned_of_with_its_number() {
        let (events, path) = events_after(700, |_| false).await;
        let [locked, shared, Event::State(first), Event::State(second)] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(*locked, Event::State(StateEvent::Locked { path }));
        assert!(matches!(shared, Event::State(StateEvent::Shared { .. })), "{shared:?}");
        let process = format!("process {} ", std::process::id());
        for (event, expected) in [(first, 60), (second, 600)] {
            let StateEvent::Silent { holder, silence, .. } = event else { panic!("{event:?}") };
            assert!(holder.starts_with(&process), "{holder}");
            assert_eq!(silence.as_secs(), expected);
        }
    }

    fn levels(events: &[Event]) -> Vec<Level> {
        events.iter().map(Event::level).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_works_is_no_reason_for_a_warning() {
        let (events, _) = events_after(4000, |second| second % 20 == 0).await;
        assert_eq!(levels(&events), [Level::Info, Level::Notice], "{events:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_goes_on_is_told() {
        let (events, _) = events_after(200, |second| !(30..=120).contains(&second)).await;
        let expected = [Level::Info, Level::Notice, Level::Warn, Level::Notice];
        assert_eq!(levels(&events), expected, "{events:?}");
        assert!(matches!(events[3], Event::State(StateEvent::Responding { .. })), "{events:?}");
    }
}
