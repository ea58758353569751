//! Reloads of nginx after certificate files have changed that its configuration reads.

use super::clock::LONGEST_SLEEP;
use super::site::Site;
use crate::event::{Cause, Event, ReloadEvent};
use crate::host::Host;
use crate::reload::{Obstacle, Watch};
use acme_dns_core::text;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Time in which nothing more may change before the reload: several certificates make one.
const QUIET: Duration = Duration::from_secs(5);

/// The shortest time between two reloads.
const SHORTEST: Duration = Duration::from_secs(30);

/// Time that nginx may take to replace this process.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pauses after a reload that did not take effect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(6 * 3600));

/// Pause between two looks whether a configuration that had changed is as before.
const OBSTACLE_PAUSE: Duration = Duration::from_secs(60);

/// The reloads of this process, which begin at most once.
pub(super) struct Reloading {
    site: Rc<Site>,
    /// `None` once they have begun.
    watch: Option<Watch>,
    /// The names of all certificates whose files nginx reads, configured or not.
    read_by_nginx: BTreeSet<String>,
    written: Rc<Notify>,
}

impl Reloading {
    pub(super) fn new(site: Rc<Site>, watch: Option<Watch>) -> Self {
        let read_by_nginx = watch.as_ref().map_or_else(BTreeSet::new, |watch| watch.read.clone());
        let watch = watch.filter(|watch| !watch.names.is_empty());
        Self { site, watch, read_by_nginx, written: Rc::default() }
    }

    /// Lets nginx be reloaded from now on when files change that it reads, if there are any.
    pub(super) fn begin(&mut self) {
        if let Some(watch) = self.watch.take() {
            let reloader = Reloader {
                watch,
                state_path: self.site.config.state_path.clone(),
                host: Arc::clone(&self.site.host),
                written: Rc::clone(&self.written),
            };
            tokio::task::spawn_local(reloader.run());
        }
    }

    pub(super) fn read_by_nginx(&self) -> &BTreeSet<String> {
        &self.read_by_nginx
    }

    /// Notes that a certificate was written to the disk.
    pub(super) fn note_written(&self) {
        self.written.notify_one();
    }
}

/// Task that reloads nginx.
struct Reloader {
    watch: Watch,
    state_path: PathBuf,
    host: Arc<dyn Host>,
    /// Notified when a certificate was written to the disk.
    written: Rc<Notify>,
}

impl Reloader {
    /// Continues until nginx has replaced this process.
    async fn run(self) {
        if let Some(names) = list(&self.watch.names) {
            self.tell(ReloadEvent::Watching { names });
        }
        let mut pause = PAUSES.0;
        let mut told = None;
        loop {
            let names = self.changed_names().await;
            if let Some(obstacle) = self.watch.obstacle() {
                if told.as_ref() != Some(&obstacle) {
                    self.tell(prevented(names, &obstacle));
                }
                told = Some(obstacle);
                sleep(OBSTACLE_PAUSE).await;
                continue;
            }
            let cause = Cause::Certificates(names);
            self.tell(ReloadEvent::Reloading(cause.clone()));
            if let Err(why) = self.host.reload() {
                self.tell(ReloadEvent::Refused { cause, why });
            } else {
                sleep(PATIENCE).await;
                self.tell(ReloadEvent::WithoutEffect { cause, retry: Some((PATIENCE, pause)) });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Waits until files have changed, and then until all is quiet and the last reload long ago.
    async fn changed_names(&self) -> String {
        loop {
            let now = SystemTime::now();
            let changed = self.watch.changed(&self.state_path, now);
            let Some(names) = list(&changed) else {
                // A link may be dated into the future, by a clock that was wrong.
                let _elapsed = timeout(LONGEST_SLEEP, self.written.notified()).await;
                continue;
            };
            let age = now.duration_since(self.watch.since).unwrap_or(SHORTEST);
            let wait = SHORTEST.saturating_sub(age).max(QUIET);
            if timeout(wait, self.written.notified()).await.is_err() {
                return names;
            }
        }
    }

    fn tell(&self, event: ReloadEvent) {
        self.host.tell(&Event::Reload(event));
    }
}

/// Returns the event that files of these certificates have changed, and nginx is not reloaded.
fn prevented(names: String, obstacle: &Obstacle) -> ReloadEvent {
    match obstacle {
        Obstacle::Changed(part) => ReloadEvent::ConfigurationChanged { names, file: part.clone() },
        Obstacle::Unknown(part, why) => {
            let (file, why) = (part.clone(), why.to_string());
            ReloadEvent::ConfigurationUnknown { names, file, why }
        }
    }
}

/// Lists the names of certificates as a line has them; `None` if there are none.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    (!names.is_empty()).then(|| text::list(&names))
}

#[cfg(test)]
mod tests {
    use super::{OBSTACLE_PAUSE, PATIENCE, PAUSES, QUIET, Reloader, SHORTEST};
    use crate::engine::testing::{REFUSED, Recorder};
    use crate::event::{Cause, Event, ReloadEvent};
    use crate::host::Host;
    use crate::reload::{Paths, Watch};
    use acme_dns_core::config::Config;
    use acme_dns_core::key::KeyType;
    use acme_dns_core::level::Level;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};
    use tempfile::TempDir;
    use tokio::sync::Notify;
    use tokio::task::LocalSet;
    use tokio::time::advance;

    /// A state path with two certificates of which a configuration reads one.
    struct Stage {
        directory: TempDir,
        host: Arc<Recorder>,
        written: Rc<Notify>,
    }

    impl Stage {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let stage = Self { directory, host: Arc::default(), written: Rc::default() };
            fs::create_dir(stage.path().join("certs")).unwrap();
            stage.configure("ssl_certificate certs/a/fullchain.pem;");
            stage
        }

        fn path(&self) -> &Path {
            self.directory.path()
        }

        fn configure(&self, text: &str) {
            fs::write(self.path().join("nginx.conf"), text).unwrap();
        }

        /// Begins as after a start of nginx.
        fn start(&self) {
            let mut config = Config::with_state_path(self.path());
            for name in ["a", "b"] {
                config.add_certificate(name, &[], &[KeyType::default()]);
            }
            let paths = Paths { main: &self.path().join("nginx.conf"), prefix: self.path() };
            let reloader = Reloader {
                watch: Watch::scan(&config, paths, SystemTime::now()),
                state_path: self.path().to_owned(),
                host: Arc::clone(&self.host) as Arc<dyn Host>,
                written: Rc::clone(&self.written),
            };
            tokio::task::spawn_local(reloader.run());
        }

        /// Writes a certificate.
        fn issue(&self, name: &str) {
            let link = self.path().join("certs").join(name);
            let _missing = fs::remove_file(&link);
            symlink(".versions", link).unwrap();
            self.written.notify_one();
        }
    }

    /// Lets time pass, and everybody see it.
    async fn pass(time: Duration) {
        let step = Duration::from_secs(1);
        for _ in 0..=time.as_secs() {
            tokio::task::yield_now().await;
            advance(step).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_collected_into_one_reload_and_others_need_none() {
        let stage = Stage::new();
        LocalSet::new()
            .run_until(async {
                stage.start();
                pass(SHORTEST).await;
                stage.issue("b");
                pass(SHORTEST * 2).await;
                assert_eq!(stage.host.reloads(), 0, "nothing reads it");
                stage.issue("a");
                pass(QUIET).await;
                stage.issue("a");
                pass(SHORTEST).await;
                assert_eq!(stage.host.reloads(), 1);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_the_process_before_has_not_acted_on_is_not_lost() {
        let stage = Stage::new();
        LocalSet::new()
            .run_until(async {
                stage.issue("a");
                stage.start();
                pass(SHORTEST + QUIET).await;
                assert_eq!(stage.host.reloads(), 1);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_configuration_that_is_being_changed_is_left_alone() {
        let stage = Stage::new();
        LocalSet::new()
            .run_until(async {
                stage.start();
                stage.configure("ssl_certificate");
                stage.issue("a");
                pass(OBSTACLE_PAUSE * 3).await;
                assert_eq!(stage.host.reloads(), 0);
                let errors = stage.host.at(Level::Error);
                let [Event::Reload(ReloadEvent::ConfigurationChanged { file, .. })] =
                    errors.as_slice()
                else {
                    panic!("{errors:?}");
                };
                assert!(file.ends_with("nginx.conf"), "{file:?}");
                stage.configure("ssl_certificate certs/a/fullchain.pem;");
                pass(OBSTACLE_PAUSE).await;
                assert_eq!(stage.host.reloads(), 1, "it is as before");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_without_effect_is_told_and_tried_again_later() {
        let stage = Stage::new();
        LocalSet::new()
            .run_until(async {
                stage.start();
                stage.issue("a");
                pass(SHORTEST + QUIET + PATIENCE).await;
                let cause = Cause::Certificates("\"a\"".to_owned());
                let retry = Some((PATIENCE, PAUSES.0));
                let failed = Event::Reload(ReloadEvent::WithoutEffect { cause, retry });
                assert_eq!(stage.host.at(Level::Error), [failed]);
                assert_eq!(stage.host.reloads(), 1);
                pass(PAUSES.0 + SHORTEST).await;
                assert_eq!(stage.host.reloads(), 2);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_nginx_cannot_be_asked_a_person_is() {
        let stage = Stage::new();
        stage.host.refuse_reloads();
        LocalSet::new()
            .run_until(async {
                stage.start();
                stage.issue("a");
                pass(SHORTEST + QUIET).await;
                let cause = Cause::Certificates("\"a\"".to_owned());
                let why = REFUSED.to_owned();
                let refused = Event::Reload(ReloadEvent::Refused { cause, why });
                assert_eq!(stage.host.at(Level::Error), [refused]);
            })
            .await;
    }
}
