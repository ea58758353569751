//! Taking the lock of the state path.
//!
//! Whoever holds the lock renews the certificates; who waits for it serves what the holder writes
//! ([`following`](super::following)), and tells of the wait ([`lock_wait`](super::lock_wait)).

use super::clock::pause_after;
use super::following::Follower;
use super::lock_wait::{LockWait, SHARED};
use super::reloading::Reloading;
use super::site::Site;
use crate::store::{Facts, Lock};
use acme_dns_core::level::Level;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a service looks whether the one before it has left, and how often once that is not a matter
/// of a reload.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
const LONG_INTERVAL: Duration = Duration::from_millis(500);

/// Takes the lock, however long that takes.
pub(super) async fn take_lock(
    site: &Rc<Site>,
    facts: &[(usize, Facts)],
    reloading: &mut Reloading,
) -> Lock {
    let (begun, mut wait) = (Instant::now(), LockWait::new(site.store.path()));
    let mut follower = Follower::new(Rc::clone(site), facts);
    loop {
        match site.store.lock() {
            Ok(Some(lock)) => {
                if let Some(error) = lock.left() {
                    site.log(Level::Warn, format_args!("{error}; it is left as it is"));
                }
                return lock;
            }
            Ok(None) => {
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

#[cfg(test)]
mod tests {
    use super::take_lock;
    use crate::engine::reloading::Reloading;
    use crate::engine::testing::{Recorder, site_of};
    use crate::store::Store;
    use crate::store::testing::give_sign;
    use acme_dns_core::level::Level;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    /// Gives the lines after so many seconds, as far as each is a line of waiting.
    async fn lines_after(
        seconds: u64,
        sign: impl Fn(u64) -> bool,
    ) -> (Vec<(Level, String)>, String) {
        let dir = tempfile::tempdir().unwrap();
        let held = Store::open(dir.path()).unwrap().lock().unwrap().unwrap();
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
        let lines = host.lines();
        (lines, dir.path().display().to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_hangs_is_warned_of_with_its_number() {
        let (lines, path) = lines_after(700, |_| false).await;
        let [waiting, shared, rest @ ..] = lines.as_slice() else { panic!("{lines:?}") };
        let expected =
            format!("acme_dns: waiting for another process to release state path \"{path}\"");
        assert_eq!(*waiting, (Level::Info, expected));
        assert_eq!(shared.0, Level::Notice);
        let process = format!("process {} ", std::process::id());
        assert!(shared.1.contains(&format!("\"{path}\" is locked by {process}")), "{shared:?}");
        assert_eq!(rest.len(), 2, "{rest:?}");
        for ((level, line), seconds) in rest.iter().zip([60, 600]) {
            assert_eq!(*level, Level::Warn);
            let begin = format!("acme_dns: state path \"{path}\" has been locked by {process}");
            assert!(line.starts_with(&begin), "{line}");
            let silent = format!("no sign of life for {seconds} s");
            assert!(line.contains(&silent), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_works_is_no_reason_for_a_warning() {
        let (lines, _) = lines_after(4000, |second| second % 20 == 0).await;
        let levels: Vec<_> = lines.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::Info, Level::Notice], "{lines:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_goes_on_is_told() {
        let (lines, _) = lines_after(200, |second| !(30..=120).contains(&second)).await;
        let levels: Vec<_> = lines.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::Info, Level::Notice, Level::Warn, Level::Notice], "{lines:?}");
        assert!(lines[3].1.ends_with("is alive again"), "{lines:?}");
    }
}
