//! Files with secrets and domains that change while nginx runs.
//!
//! They are data rather than configuration: a token that was exchanged, a domain that was added. So nginx is
//! reloaded for them, where it may be and the configuration itself is as it was loaded; otherwise it is said
//! that a reload is needed. A file that the new configuration cannot use is refused by nginx, with file and
//! line, and the one in force stays.

use super::work::Work;
use crate::reload::{Obstacle, Watch};
use acme_dns_core::level::Level;
use acme_dns_core::text::list;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The shortest time between two reloads, where a certificate waits for one, and where none does: a
/// program that writes a file again and again shall not keep nginx busy.
const SHORTEST: Duration = Duration::from_secs(30);
const SHORTEST_CALM: Duration = Duration::from_secs(600);

/// How long nginx may take to replace this process.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen of the files.
pub(super) struct DataWatch {
    watch: Option<Watch>,
    /// What had changed at the last look: a file that is still being written is not loaded.
    changed: BTreeSet<PathBuf>,
    /// What was said to have changed.
    told: BTreeSet<PathBuf>,
    /// When nginx was asked to reload, and whether it was said that it did not.
    asked: Option<(Instant, bool)>,
}

impl DataWatch {
    pub(super) fn new(watch: Option<Watch>) -> Self {
        Self { watch, changed: BTreeSet::new(), told: BTreeSet::new(), asked: None }
    }
}

impl Work {
    /// Looks whether files with secrets or domains have changed since nginx has loaded them.
    pub(super) fn look_at_data(&mut self) {
        let Some(watch) = &self.data.watch else { return };
        let changed: BTreeSet<PathBuf> =
            watch.changed_data().into_iter().map(Path::to_owned).collect();
        let is_stable = changed == self.data.changed;
        self.data.changed = changed;
        if self.data.changed.is_empty() || !is_stable {
            return;
        }
        let names: Vec<String> =
            self.data.changed.iter().map(|path| format!("\"{}\"", path.display())).collect();
        let names = list(&names);
        if let Some((asked, is_told)) = &mut self.data.asked {
            if asked.elapsed() >= PATIENCE && !std::mem::replace(is_told, true) {
                self.log(
                    Level::Error,
                    format_args!(
                        "NGINX still has the old {names}, the reload did not take effect: see what it \
                         says above, and reload it when that is mended"
                    ),
                );
            }
            return;
        }
        let is_news = self.data.changed != self.data.told;
        self.data.told.clone_from(&self.data.changed);
        let obstacle = self.obstacle();
        if let Some(why) = obstacle {
            if is_news {
                self.log(
                    Level::Warn,
                    format_args!("{names} has changed since NGINX loaded it: reload NGINX{why}"),
                );
            }
            return;
        }
        let wait = self.wait_before_reload();
        if !wait.is_zero() {
            if is_news {
                self.log(
                    Level::Notice,
                    format_args!(
                        "{names} has changed since NGINX loaded it: NGINX is reloaded in {} s, or reload it",
                        wait.as_secs()
                    ),
                );
            }
            return;
        }
        self.log(
            Level::Notice,
            format_args!("reloading NGINX: {names} has changed since it was loaded"),
        );
        if let Err(error) = self.host.reload() {
            self.log(
                Level::Error,
                format_args!("{error}: reload NGINX yourself, it has the old {names}"),
            );
        }
        self.data.asked = Some((Instant::now(), false));
    }

    /// Why NGINX is not reloaded for these files, for the end of a line.
    fn obstacle(&self) -> Option<String> {
        let watch = self.data.watch.as_ref().filter(|watch| watch.may_reload);
        let Some(watch) = watch else { return Some(String::new()) };
        watch.obstacle_beside_data().map(|obstacle| match obstacle {
            Obstacle::Changed(part) => {
                format!(", \"{}\" of its configuration has changed, too", part.display())
            }
            Obstacle::Unknown(part, why) => {
                let part = part.display();
                format!(
                    ", it is not seen whether \"{part}\" of its configuration has changed: {why}"
                )
            }
        })
    }

    fn wait_before_reload(&self) -> Duration {
        let is_needed = self.planned().is_some_and(|schedule| schedule.has_failures());
        let shortest = if is_needed { SHORTEST } else { SHORTEST_CALM };
        let since = self.data.watch.as_ref().map(|watch| watch.since);
        let age = since.and_then(|since| SystemTime::now().duration_since(since).ok());
        age.map_or(Duration::ZERO, |age| shortest.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use super::DataWatch;
    use crate::engine::testing::{Recorder, work};
    use crate::engine::work::{Work, now};
    use crate::reload::{Paths, Watch};
    use crate::store::Store;
    use acme_dns_core::config::Reload;
    use acme_dns_core::level::Level;
    use acme_dns_core::schedule::{Loading, Schedule};
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    /// A service whose configuration was loaded so long ago.
    fn running(path: &Path, reload: Reload, age: u64) -> (Work, Arc<Recorder>) {
        let host = Arc::new(Recorder::default());
        let mut work = work(path, Arc::clone(&host), &[]);
        let config = acme_dns_core::config::Config { reload, ..(*work.config).clone() };
        let paths = Paths { main: &path.join("nginx.conf"), prefix: path };
        let since = SystemTime::now() - Duration::from_secs(age);
        let mut watch = Watch::scan(&config, paths, since);
        watch.add_secrets([path.join("token")]);
        work.data = DataWatch::new(Some(watch));
        let store = Store::open(&path.join("state")).unwrap();
        work.schedule = Some((store, Schedule::new([], now(), Loading::default(), || 0.5)));
        (work, host)
    }

    #[test]
    fn files_with_secrets_and_domains_are_loaded_when_they_change() {
        type Change = fn(&Path);
        let token: Change = |path| fs::write(path.join("token"), "another").unwrap();
        let domains: Change = |path| fs::write(path.join("domains.txt"), "a b").unwrap();
        let same: Change = |path| fs::write(path.join("domains.txt"), "a").unwrap();
        let replaced: Change = |path| {
            fs::write(path.join("new"), "a token").unwrap();
            fs::rename(path.join("new"), path.join("token")).unwrap();
        };
        let gone: Change = |path| fs::remove_file(path.join("token")).unwrap();
        let with_more: Change = |path| {
            fs::write(path.join("token"), "another").unwrap();
            fs::write(path.join("nginx.conf"), "half a ").unwrap();
        };
        let (auto, off) = (Reload::Auto, Reload::Off);
        let reloading = (Level::Notice, "reloading NGINX: \"");
        let advice = (Level::Warn, "has changed since NGINX loaded it: reload NGINX");
        for (row, reload, age, change, expected) in [
            ("token", auto, 700, token, Some((reloading, true))),
            ("replaced", auto, 700, replaced, Some((reloading, true))),
            ("domains", auto, 700, domains, Some((reloading, true))),
            ("written anew", auto, 700, same, None),
            ("gone", auto, 700, gone, None),
            ("off", off, 700, token, Some((advice, false))),
            ("configuration, too", auto, 700, with_more, Some((advice, false))),
            ("soon", auto, 0, domains, Some(((Level::Notice, "NGINX is reloaded in "), false))),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path();
            fs::write(path.join("nginx.conf"), "acme_dns_domains domains.txt;").unwrap();
            fs::write(path.join("domains.txt"), "a").unwrap();
            fs::write(path.join("token"), "a token").unwrap();
            let (mut work, host) = running(path, reload, age);
            work.look_at_data();
            assert_eq!(host.lines(), [], "{row}");
            change(path);
            // It may still be being written.
            work.look_at_data();
            assert_eq!(host.lines(), [], "{row}");
            (0..3).for_each(|_| work.look_at_data());
            let lines = host.lines();
            let Some(((level, text), is_reloaded)) = expected else {
                assert_eq!(lines, [], "{row}");
                continue;
            };
            assert!(lines.len() == 1, "{row}: once: {lines:?}");
            assert!(lines[0].0 == level && lines[0].1.contains(text), "{row}: {lines:?}");
            assert_eq!(host.reloads() > 0, is_reloaded, "{row}");
        }
    }

    #[test]
    fn a_reload_that_does_not_take_effect_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "a token").unwrap();
        let (mut work, host) = running(dir.path(), Reload::Auto, 700);
        fs::write(dir.path().join("token"), "another").unwrap();
        (0..2).for_each(|_| work.look_at_data());
        work.data.asked = work.data.asked.map(|(at, told)| (at - super::PATIENCE, told));
        (0..3).for_each(|_| work.look_at_data());
        let errors = host.at(Level::Error);
        assert!(errors.len() == 1 && errors[0].contains("did not take effect"), "{errors:?}");
        assert_eq!(host.reloads(), 1);
    }
}
