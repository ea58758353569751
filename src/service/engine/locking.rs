//! Waiting for the lock of the state path.
//!
//! Whoever holds the lock renews the certificates; who waits for it serves what the holder writes
//! ([`following`](super::following)). Who waits asks the holder for signs of life, so that one that hangs is
//! told from one that works.

use super::following::Follower;
use super::work::Work;
use crate::host::Host;
use crate::store::{Lock, Store, ask_for_sign, last_sign, lock_holder};
use acme_dns_core::level::Level;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a service looks whether the one before it has left, and how often once that is not a matter
/// of a reload.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
const LONG_INTERVAL: Duration = Duration::from_millis(500);

/// How often who waits asks for a sign of life, and looks for one.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A reload or an upgrade has given the lock away by then: another nginx works in the state path.
const SHARED: Duration = Duration::from_secs(10);

/// How long the holder was silent when that is said: more and more rarely.
pub(super) fn silence_line(told: usize) -> Duration {
    const TIMES: [u64; 2] = [60, 600];
    const HOUR: u64 = 3600;
    let more = told.saturating_sub(TIMES.len()).saturating_add(1);
    let hours = HOUR.saturating_mul(u64::try_from(more).unwrap_or(u64::MAX));
    Duration::from_secs(TIMES.get(told).copied().unwrap_or(hours))
}

/// What is said of a lock that another process holds. The one before mostly leaves within a second; one
/// that hangs keeps certificates from being renewed.
#[derive(Debug)]
pub struct LockWait {
    state_path: PathBuf,
    is_told: bool,
    is_shared_told: bool,
    /// How often its silence was told.
    silence_told: usize,
    sign: Option<Sign>,
}

/// Sign of life of a holder.
#[derive(Debug)]
struct Sign {
    /// The time of the file, which another host's clock may have set: only a change counts.
    time: Option<(i64, u64)>,
    /// How long the lock was waited for when it changed, and when it was looked at.
    changed: Duration,
    looked: Duration,
    /// How long the lock is waited for when the holder is asked again.
    next_question: Duration,
}

impl LockWait {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(state_path: &Path) -> Self {
        Self {
            state_path: state_path.to_owned(),
            is_told: false,
            is_shared_told: false,
            silence_told: 0,
            sign: None,
        }
    }

    /// Says what there is to say once the lock was waited for so long.
    pub fn tell(&mut self, waited: Duration, host: &dyn Host) {
        let silence = self.silence(waited);
        let path = self.state_path.display();
        if !self.is_told {
            self.is_told = true;
            let line = format_args!(
                "acme_dns: waiting for another process to release state path \"{path}\""
            );
            return host.log(Level::Info, line);
        }
        if silence >= silence_line(self.silence_told) {
            self.silence_told += 1;
            let (holder, waited, silence) = (self.holder(), waited.as_secs(), silence.as_secs());
            return host.log(
                Level::Warn,
                format_args!(
                    "acme_dns: state path \"{path}\" has been locked by {holder} for {waited} s, which \
                     has shown no sign of life for {silence} s: certificates are not renewed until it \
                     goes on or ends"
                ),
            );
        }
        if self.silence_told > 0 && silence < LOOK_INTERVAL {
            self.silence_told = 0;
            let holder = self.holder();
            return host.log(
                Level::Notice,
                format_args!(
                    "acme_dns: {holder}, which holds state path \"{path}\", is alive again"
                ),
            );
        }
        if waited >= SHARED && !self.is_shared_told {
            self.is_shared_told = true;
            let holder = self.holder();
            host.log(
                Level::Notice,
                format_args!(
                    "acme_dns: state path \"{path}\" is locked by {holder}: certificates are renewed \
                     there, and served here from its files, until it ends"
                ),
            );
        }
    }

    /// How long the holder has shown no sign of life. One that cannot be asked is not thought to hang.
    fn silence(&mut self, waited: Duration) -> Duration {
        let path = &self.state_path;
        let sign = self.sign.get_or_insert_with(|| Sign {
            time: last_sign(path),
            changed: waited,
            looked: waited,
            next_question: waited,
        });
        if waited >= sign.next_question {
            sign.next_question = waited + ASK_INTERVAL;
            if ask_for_sign(path).is_err() {
                sign.changed = waited;
            }
        }
        if waited.saturating_sub(sign.looked) >= LOOK_INTERVAL {
            sign.looked = waited;
            let time = last_sign(path);
            if time != sign.time {
                (sign.time, sign.changed) = (time, waited);
            }
        }
        waited.saturating_sub(sign.changed)
    }

    /// The process that holds the lock, for a line.
    pub(super) fn holder(&self) -> String {
        let holder = lock_holder(&self.state_path);
        holder.map_or("another process".to_owned(), |holder| holder.to_string())
    }
}

impl Work {
    /// Takes the lock, however long that takes.
    pub(super) async fn lock(&mut self, store: &Store) -> Lock {
        let (begun, mut wait) = (Instant::now(), LockWait::new(store.path()));
        let mut follower = Follower::new(&self.config, &self.facts);
        loop {
            match store.lock() {
                Ok(Some(lock)) => {
                    if let Some(error) = lock.left() {
                        self.log(Level::Warn, format_args!("{error}; it is left as it is"));
                    }
                    return lock;
                }
                Ok(None) => {
                    wait.tell(begun.elapsed(), &*self.host);
                    self.follow(&mut follower, store, &wait, begun.elapsed()).await;
                    let is_long = begun.elapsed() >= SHARED;
                    sleep(if is_long { LONG_INTERVAL } else { LOCK_INTERVAL }).await;
                }
                Err(error) => {
                    self.pause_after(&error).await;
                    // It may be another directory by now.
                    let _as_before = store.reopen();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::silence_line;
    use crate::engine::testing::{Recorder, work};
    use crate::store::Store;
    use crate::store::testing::give_sign;
    use acme_dns_core::level::Level;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    #[test]
    fn the_pauses_between_the_lines_grow() {
        let seconds: Vec<_> = (0..5).map(|told| silence_line(told).as_secs()).collect();
        assert_eq!(seconds, [60, 600, 3600, 7200, 10_800]);
        assert!(silence_line(usize::MAX) > silence_line(100));
    }

    /// Gives the lines after so many seconds, as far as each is a line of waiting.
    async fn lines_after(
        seconds: u64,
        sign: impl Fn(u64) -> bool,
    ) -> (Vec<(Level, String)>, String) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let held = store.lock().unwrap().unwrap();
        let host = Arc::new(Recorder::default());
        let mut work = work(dir.path(), Arc::clone(&host), &[]);
        let waiting = async {
            let _lock = work.lock(&store).await;
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
        assert!(timeout(Duration::from_secs(1), work.lock(&store)).await.is_ok());
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
