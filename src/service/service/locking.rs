//! Waiting for the lock of the state path.

use super::work::Work;
use crate::store::{Lock, Store};
use acme_dns_core::level::Level;
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

impl Work {
    /// Takes the lock, however long that takes.
    pub(super) async fn lock(&self, store: &Store) -> Lock {
        let (begun, mut told) = (Instant::now(), 0);
        loop {
            match store.lock() {
                Ok(Some(lock)) => {
                    if let Some(error) = lock.left() {
                        self.log(Level::Warn, format_args!("{error}; it is left as it is"));
                    }
                    return lock;
                }
                Ok(None) => {
                    if begun.elapsed() >= lock_line(told) {
                        self.tell_locked(store, begun.elapsed(), told);
                        told += 1;
                    }
                    sleep(LOCK_INTERVAL).await;
                }
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    /// The one before mostly leaves within a second; whatever holds the lock for long keeps certificates
    /// from being renewed.
    fn tell_locked(&self, store: &Store, waited: Duration, told: usize) {
        let path = store.path().display();
        if told == 0 {
            let line = format_args!("waiting for another process to release state path \"{path}\"");
            return self.log(Level::Info, line);
        }
        let holder = store.holder();
        let holder = holder.map_or("another process".to_owned(), |holder| holder.to_string());
        let seconds = waited.as_secs();
        self.log(
            Level::Error,
            format_args!(
                "state path \"{path}\" has been locked by {holder} for {seconds} s: certificates are \
                 not renewed until it ends"
            ),
        );
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
