//! Waiting for the lock of the state path.

use super::work::Work;
use crate::host::Host;
use crate::store::{Lock, Store, lock_holder};
use acme_dns_core::level::Level;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a helper looks whether the one before it has left.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// How long the lock was waited for when that is said: at once, then ever more rarely.
fn lock_line(told: usize) -> Duration {
    const TIMES: [u64; 4] = [0, 10, 60, 600];
    const HOUR: u64 = 3600;
    let more = told.saturating_sub(TIMES.len()).saturating_add(1);
    let hours = HOUR.saturating_mul(u64::try_from(more).unwrap_or(u64::MAX));
    Duration::from_secs(TIMES.get(told).copied().unwrap_or(hours))
}

/// What is said of a lock that another process holds. The one before mostly leaves within a second;
/// whatever holds it for long keeps certificates from being renewed.
#[derive(Debug)]
pub struct LockWait {
    state_path: PathBuf,
    told: usize,
}

impl LockWait {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(state_path: &Path) -> Self {
        Self { state_path: state_path.to_owned(), told: 0 }
    }

    /// Says that the lock was waited for so long, if it is time to.
    pub fn tell(&mut self, waited: Duration, host: &dyn Host) {
        if waited < lock_line(self.told) {
            return;
        }
        let path = self.state_path.display();
        self.told += 1;
        if self.told == 1 {
            let line = format_args!(
                "acme_dns: waiting for another process to release state path \"{path}\""
            );
            return host.log(Level::Info, line);
        }
        let holder = lock_holder(&self.state_path);
        let holder = holder.map_or("another process".to_owned(), |holder| holder.to_string());
        let seconds = waited.as_secs();
        host.log(
            Level::Error,
            format_args!(
                "acme_dns: state path \"{path}\" has been locked by {holder} for {seconds} s: \
                 certificates are not renewed until it ends"
            ),
        );
    }
}

impl Work {
    /// Takes the lock, however long that takes.
    pub(super) async fn lock(&self, store: &Store) -> Lock {
        let (begun, mut wait) = (Instant::now(), LockWait::new(store.path()));
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
                    sleep(LOCK_INTERVAL).await;
                }
                Err(error) => self.pause_after(&error).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lock_line;
    use crate::host::Host;
    use crate::import::Imports;
    use crate::service::Settings;
    use crate::service::work::Work;
    use crate::store::Store;
    use acme_dns_core::config::{Config, Propagation, Reload};
    use acme_dns_core::level::Level;
    use acme_dns_core::material::Material;
    use acme_dns_core::schedule::Loading;
    use std::fmt;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::time::timeout;

    #[derive(Default)]
    struct Lines(Mutex<Vec<(Level, String)>>);

    impl Host for Lines {
        fn log(&self, level: Level, message: fmt::Arguments<'_>) {
            self.0.lock().unwrap().push((level, message.to_string()));
        }

        fn publish(&self, _: usize, _: &Material) -> Result<(), String> {
            Ok(())
        }
    }

    fn work(path: &Path, host: Arc<Lines>) -> Work {
        let config = Config {
            state_path: path.to_owned(),
            issuers: Vec::new(),
            providers: Vec::new(),
            certificates: Vec::new(),
            variants: Vec::new(),
            propagation: Propagation::default(),
            reload: Reload::Off,
            imports: Vec::new(),
        };
        let settings = Settings {
            config: Arc::new(config),
            secrets: Vec::new(),
            loading: Loading::default(),
            facts: Vec::new(),
            imports: Imports::default(),
            certs_group: None,
            watch: None,
        };
        Work::new(settings, host)
    }

    #[test]
    fn the_pauses_between_the_lines_grow() {
        let seconds: Vec<_> = (0..7).map(|told| lock_line(told).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 60, 600, 3600, 7200, 10_800]);
        assert!(lock_line(usize::MAX) > lock_line(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_not_released_is_an_error_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let held = store.lock().unwrap().unwrap();
        let host = Arc::new(Lines::default());
        let work = work(dir.path(), Arc::clone(&host));
        assert!(timeout(Duration::from_secs(61), work.lock(&store)).await.is_err());
        let lines = host.0.lock().unwrap().clone();
        let path = dir.path().display();
        let waiting =
            format!("acme_dns: waiting for another process to release state path \"{path}\"");
        let locked = format!("acme_dns: state path \"{path}\" has been locked by process ");
        let [first, rest @ ..] = lines.as_slice() else { panic!("no line") };
        assert_eq!(*first, (Level::Info, waiting));
        for ((level, line), seconds) in rest.iter().zip([10, 60]) {
            assert_eq!(*level, Level::Error);
            assert!(line.starts_with(&locked), "{line}");
            assert!(line.contains(&format!("{} ", std::process::id())), "{line}");
            let end = format!("for {seconds} s: certificates are not renewed until it ends");
            assert!(line.ends_with(&end), "{line}");
        }
        assert_eq!(rest.len(), 2, "{rest:?}");
        drop(held);
        assert!(timeout(Duration::from_secs(1), work.lock(&store)).await.is_ok());
    }
}
