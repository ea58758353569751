//! The watch over files with secrets and domains, which change while nginx runs.
//!
//! They are data rather than configuration: a token that was exchanged, a domain that was added. So nginx is
//! reloaded for them, where it may be and the configuration itself is as it was loaded; otherwise it is said
//! that a reload is needed. A file that the new configuration cannot use is refused by nginx, with file and
//! line, and the one in force stays.

use super::site::Site;
use crate::event::{Cause, Event, ReloadEvent};
use crate::reload::{Obstacle, Watch};
use acme_dns_core::text::list;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The shortest time between two reloads, where a certificate waits for one, and where none does: a
/// program that writes a file again and again shall not keep nginx busy.
const SHORTEST: Duration = Duration::from_secs(30);
const SHORTEST_CALM: Duration = Duration::from_secs(600);

/// Time that nginx may take to replace this process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watch over the files, with what was seen and told of them.
pub(super) struct DataWatch {
    site: Rc<Site>,
    watch: Option<Watch>,
    /// Files that had changed at the last look: a file that is still being written is not loaded.
    changed: BTreeSet<PathBuf>,
    /// Files that were told to have changed.
    told: BTreeSet<PathBuf>,
    /// Time at which nginx was asked to reload, and whether it was told that it did not.
    asked: Option<(Instant, bool)>,
}

impl DataWatch {
    pub(super) fn new(site: Rc<Site>, watch: Option<Watch>) -> Self {
        Self { site, watch, changed: BTreeSet::new(), told: BTreeSet::new(), asked: None }
    }

    /// Looks whether files with secrets or domains have changed since nginx has loaded them. `is_needed`: a
    /// certificate waits for them, as it may. `wanting_room`: watched domains files whose lines a reload makes room for.
    pub(super) fn look(&mut self, is_needed: bool, wanting_room: &BTreeSet<PathBuf>) {
        let Some(watch) = &self.watch else { return };
        let changed = watch.changed_data().into_iter().map(Path::to_owned);
        let changed: BTreeSet<PathBuf> = changed.chain(wanting_room.iter().cloned()).collect();
        let is_stable = changed == self.changed;
        self.changed = changed;
        if self.changed.is_empty() || !is_stable {
            return;
        }
        let names: Vec<String> =
            self.changed.iter().map(|path| format!("\"{}\"", path.display())).collect();
        let names = list(&names);
        if let Some((asked, is_told)) = &mut self.asked {
            if asked.elapsed() >= PATIENCE && !std::mem::replace(is_told, true) {
                self.site.tell(&Event::Reload(ReloadEvent::WithoutEffect {
                    cause: Cause::Data(names),
                    retry: None,
                }));
            }
            return;
        }
        let is_news = self.changed != self.told;
        self.told.clone_from(&self.changed);
        let obstacle = self.obstacle();
        if let Some(why) = obstacle {
            if is_news {
                self.site.tell(&Event::Reload(ReloadEvent::Wanted { names, why }));
            }
            return;
        }
        let wait = self.wait_before_reload(is_needed);
        if !wait.is_zero() {
            if is_news {
                self.site.tell(&Event::Reload(ReloadEvent::Planned { names, wait }));
            }
            return;
        }
        let cause = Cause::Data(names);
        self.site.tell(&Event::Reload(ReloadEvent::Reloading(cause.clone())));
        if let Err(why) = self.site.host.reload() {
            self.site.tell(&Event::Reload(ReloadEvent::Refused { cause, why }));
        }
        self.asked = Some((Instant::now(), false));
    }

    /// Returns the reason why NGINX is not reloaded for these files, for the end of a line.
    fn obstacle(&self) -> Option<String> {
        let watch = self.watch.as_ref().filter(|watch| watch.may_reload);
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

    fn wait_before_reload(&self, is_needed: bool) -> Duration {
        let shortest = if is_needed { SHORTEST } else { SHORTEST_CALM };
        let since = self.watch.as_ref().map(|watch| watch.since);
        let age = since.and_then(|since| SystemTime::now().duration_since(since).ok());
        age.map_or(Duration::ZERO, |age| shortest.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use super::DataWatch;
    use crate::engine::testing::{Recorder, site_of};
    use crate::event::{Cause, Event, ReloadEvent};
    use crate::reload::{Paths, Watch};
    use acme_dns_core::config::Reload;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    /// A watch in a service whose configuration was loaded so long ago.
    fn running(path: &Path, reload: Reload, age: u64) -> (DataWatch, Arc<Recorder>) {
        let host = Arc::new(Recorder::default());
        let site = site_of(&path.join("state"), Arc::clone(&host), &[]);
        let config = acme_dns_core::config::Config { reload, ..(*site.config).clone() };
        let paths = Paths { main: &path.join("nginx.conf"), prefix: path };
        let since = SystemTime::now() - Duration::from_secs(age);
        let mut watch = Watch::scan(&config, paths, since);
        watch.add_secrets([path.join("token")]);
        (DataWatch::new(site, Some(watch)), host)
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
        type EventKind = fn(&ReloadEvent) -> bool;
        let reloading: EventKind = |event| matches!(event, ReloadEvent::Reloading(Cause::Data(_)));
        let advice: EventKind = |event| matches!(event, ReloadEvent::Wanted { .. });
        let plan: EventKind = |event| matches!(event, ReloadEvent::Planned { .. });
        for (row, reload, age, change, expected) in [
            ("token", auto, 700, token, Some((reloading, true))),
            ("replaced", auto, 700, replaced, Some((reloading, true))),
            ("domains", auto, 700, domains, Some((reloading, true))),
            ("written anew", auto, 700, same, None),
            ("gone", auto, 700, gone, None),
            ("off", off, 700, token, Some((advice, false))),
            ("configuration, too", auto, 700, with_more, Some((advice, false))),
            ("soon", auto, 0, domains, Some((plan, false))),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path();
            fs::write(path.join("nginx.conf"), "acme_dns_domains domains.txt;").unwrap();
            fs::write(path.join("domains.txt"), "a").unwrap();
            fs::write(path.join("token"), "a token").unwrap();
            let (mut data, host) = running(path, reload, age);
            data.look(false, &BTreeSet::new());
            assert_eq!(host.events(), [], "{row}");
            change(path);
            // It may still be being written.
            data.look(false, &BTreeSet::new());
            assert_eq!(host.events(), [], "{row}");
            (0..3).for_each(|_| data.look(false, &BTreeSet::new()));
            let Some((is_expected, is_reloaded)) = expected else {
                assert_eq!(host.events(), [], "{row}");
                continue;
            };
            match host.events().as_slice() {
                [Event::Reload(event)] if is_expected(event) => {}
                events => panic!("{row}: {events:?}"),
            }
            assert_eq!(host.reloads() > 0, is_reloaded, "{row}");
        }
    }

    #[test]
    fn a_reload_that_does_not_take_effect_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "a token").unwrap();
        let (mut data, host) = running(dir.path(), Reload::Auto, 700);
        fs::write(dir.path().join("token"), "another").unwrap();
        (0..2).for_each(|_| data.look(false, &BTreeSet::new()));
        data.asked = data.asked.map(|(at, told)| (at - super::PATIENCE, told));
        (0..3).for_each(|_| data.look(false, &BTreeSet::new()));
        let names = format!("\"{}\"", dir.path().join("token").display());
        let cause = Cause::Data(names);
        let failed = ReloadEvent::WithoutEffect { cause: cause.clone(), retry: None };
        let expected = [ReloadEvent::Reloading(cause), failed].map(Event::Reload);
        assert_eq!(host.events(), expected);
        assert_eq!(host.reloads(), 1);
    }
}
