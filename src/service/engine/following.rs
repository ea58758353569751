//! Serving what another process writes, while a service waits for the lock.
//!
//! Two nginx may use one state path, in two containers or for a change from blue to green. One of them
//! renews; the other looks every second whether the directory of the certificates has changed, and hands to
//! its workers what is new there. So it serves the same certificates, whoever has the lock.

use super::clock::{let_others_work, now};
use super::lock_wait::{LockWait, silence_line};
use super::reloading::Reloading;
use super::site::Site;
use crate::event::{CertificatesEvent, Event, FilesEvent, OriginEvent};
use crate::host::NoRoom;
use crate::stamp::FileStamp;
use crate::store::{PublishedFacts, Store, certificate_stamp, certificates_stamp};
use crate::x509::glance::{Glance, glance};
use acme_dns_core::config::Certificate;
use acme_dns_core::id::{CertificateId, Table, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::schedule::{Renewal, Validity};
use acme_dns_core::time::UnixTime;
use std::rc::Rc;
use std::time::Duration;

/// The first look: in a reload the lock is free before that.
const FIRST: Duration = Duration::from_secs(1);

/// Pause between two looks at the directory.
const INTERVAL: Duration = Duration::from_secs(1);

/// Pause between two looks at each certificate, of which some may have been changed by hand, or on a file
/// system with coarse times.
const FULL_INTERVAL: Duration = Duration::from_secs(60);

/// Time for which the lock was waited for and a certificate is due, before it is told that the holder does
/// nothing about it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Certificates that a holder of the lock writes, as they were seen last.
pub(super) struct Follower {
    site: Rc<Site>,
    variants: Table<VariantId, SeenVariant>,
    stamp: Option<FileStamp>,
    /// Time spent waiting for the lock at the next look, and at the next look at each of them.
    next: Duration,
    next_full: Duration,
    /// The same when overdue certificates are told, and how often they were.
    next_overdue: Duration,
    overdue_told: usize,
}

/// Variant on disk.
#[derive(Clone, Default)]
struct SeenVariant {
    stamp: Option<FileStamp>,
    validity: Option<Validity>,
}

impl Follower {
    /// Begins with what the master has published from the disk.
    pub(super) fn new(site: Rc<Site>, facts: &PublishedFacts) -> Self {
        let mut variants: Table<_, _> = site.variants().map(|_| SeenVariant::default()).collect();
        for (variant, facts) in facts {
            let (stamp, validity) = (Some(facts.stamp), Some(facts.traits.validity));
            variants[*variant] = SeenVariant { stamp, validity };
        }
        Self {
            site,
            variants,
            stamp: None,
            next: FIRST,
            next_full: FIRST,
            next_overdue: PATIENCE,
            overdue_told: 0,
        }
    }
}

/// Pair with its traits.
struct GlancedPair {
    pair: Pair,
    glance: Glance,
}

impl GlancedPair {
    fn of(pair: Pair) -> Option<Self> {
        let glance = glance(pair.chain.iter().map(Vec::as_slice), &pair.key)?;
        Some(Self { pair, glance })
    }

    /// Returns its worth to the clients of a server: more is better.
    fn worth(&self, wanted: &Certificate, now: UnixTime) -> (bool, bool) {
        let holds = |name: &str| self.glance.names.iter().any(|held| held == name);
        let covers = |name: &str| {
            let parent = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            holds(name) || (!name.starts_with("*.") && parent.is_some_and(|name| holds(&name)))
        };
        let Validity { not_before, not_after } = self.glance.validity;
        let is_valid = not_before <= now && now < not_after;
        (is_valid, wanted.names.iter().all(|name| covers(name.as_str())))
    }
}

impl Follower {
    /// Serves what has changed on disk, if it is time to look, and tells what is not renewed there.
    pub(super) async fn look(
        &mut self,
        wait: &LockWait,
        waited: Duration,
        reloading: &mut Reloading,
    ) {
        if waited < self.next {
            return;
        }
        self.next = waited + INTERVAL;
        reloading.begin();
        let stamp = certificates_stamp(self.site.store.path());
        let is_full = waited >= self.next_full;
        if stamp != self.stamp || is_full {
            // Two changes may have one time: the second look finds what came during the first one.
            self.next_full = match stamp == self.stamp {
                true => waited + FULL_INTERVAL,
                false => waited + INTERVAL,
            };
            self.stamp = stamp;
            self.follow_all(wait, reloading).await;
        }
        if waited >= self.next_overdue {
            self.tell_overdue(wait, waited).await;
        }
    }

    async fn follow_all(&mut self, wait: &LockWait, reloading: &Reloading) {
        for certificate in self.site.certificates() {
            let_others_work(certificate.index()).await;
            let mut is_changed = false;
            for variant in self.site.certificate(certificate).variants.clone() {
                let stamp = certificate_stamp(self.site.store.path(), self.site.name(variant));
                let seen = &mut self.variants[variant];
                if stamp.is_some() && seen.stamp != stamp {
                    seen.stamp = stamp;
                    is_changed = true;
                }
            }
            if is_changed && let Some(until) = self.follow(certificate) {
                reloading.note_written();
                self.tell_followed(certificate, until, wait);
            }
        }
    }

    /// Hands a certificate that has changed on disk to the workers. Returns the end of its validity, if it is
    /// another one than they have.
    fn follow(&mut self, certificate: CertificateId) -> Option<UnixTime> {
        let site = Rc::clone(&self.site);
        let wanted = site.certificate(certificate);
        let published = site.host.published(certificate).map_or_else(Vec::new, |m| m.pairs);
        let (mut pairs, mut new) = (Vec::new(), None);
        for variant in wanted.variants.clone() {
            let algorithm = site.variant(variant).0.key.algorithm();
            let served = published.iter().cloned().filter_map(GlancedPair::of);
            let served = served.into_iter().find(|it| it.glance.key.algorithm() == algorithm);
            let before = served.as_ref().map(|served| served.pair.chain.clone());
            let Some(better) = self.better(wanted, site.name(variant), served) else { continue };
            let validity = better.glance.validity;
            self.variants[variant].validity = Some(validity);
            if before.as_ref() != Some(&better.pair.chain) {
                new = Some(validity.not_after);
            }
            pairs.push(better.pair);
        }
        let until = new?;
        if let Err(NoRoom) = site.host.publish(certificate, &Material { pairs }) {
            site.host.tell(&Event::Files(wanted.name.clone(), FilesEvent::NoRoom));
            return None;
        }
        Some(until)
    }

    fn tell_followed(&self, certificate: CertificateId, until: UnixTime, wait: &LockWait) {
        let name = self.site.certificate(certificate).name.clone();
        self.site
            .tell(&Event::Origin(name, OriginEvent::Followed { holder: wait.holder(), until }));
    }

    /// Returns what is on disk, or what is served if that is better.
    fn better(
        &self,
        wanted: &Certificate,
        name: &str,
        served: Option<GlancedPair>,
    ) -> Option<GlancedPair> {
        let stored = self.site.store.load_certificate(name).unwrap_or_else(|error| {
            let event =
                FilesEvent::UnusableButServed { why: error.to_string(), level: Level::Warn };
            self.site.tell(&Event::Files(name.to_owned(), event));
            None
        });
        let pair = stored.and_then(|stored| stored.material.pairs.into_iter().next());
        let Some(mut stored) = pair.and_then(GlancedPair::of) else { return served };
        let Some(served) = served else { return Some(stored) };
        let now = now();
        if served.worth(wanted, now) > stored.worth(wanted, now) {
            return Some(served);
        }
        if served.pair.chain == stored.pair.chain {
            stored.pair.staple = served.pair.staple;
        }
        Some(stored)
    }

    /// Tells which certificates are missing or past their renewal without the holder doing anything about
    /// it.
    async fn tell_overdue(&mut self, wait: &LockWait, waited: Duration) {
        let mut names = Vec::new();
        for (variant, seen) in &self.variants {
            let_others_work(variant.index()).await;
            let name = self.site.name(variant);
            if is_neglected(&self.site.store, name, seen.validity, now()) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            self.next_overdue = waited + FULL_INTERVAL;
            self.overdue_told = 0;
            return;
        }
        self.next_overdue = waited + silence_line(self.overdue_told + 1);
        self.overdue_told += 1;
        self.site.tell(&Event::Certificates(CertificatesEvent::Neglected {
            holder: wait.holder(),
            path: self.site.store.path().to_owned(),
            names,
        }));
    }
}

/// Tells whether a certificate is missing or past its renewal, and the holder of the lock makes no attempts that
/// could still be in time.
fn is_neglected(store: &Store, name: &str, validity: Option<Validity>, now: UnixTime) -> bool {
    let is_tried = || store.load_progress(name).is_ok_and(|progress| progress.next > now);
    let Some(validity) = validity else { return !is_tried() };
    // Each renewal is read only where it may be due: there may be thousands.
    if validity.renewal_time(1.0) > now {
        return false;
    }
    let renewal = store.load_renewal::<Renewal>(name).ok().flatten().unwrap_or_default();
    let (due, _) = renewal.due(validity);
    if now < due + PATIENCE.min(validity.lifetime() / 20) {
        return false;
    }
    let half_of_rest = due + validity.not_after.since(due) / 2;
    now >= half_of_rest || !is_tried()
}

#[cfg(test)]
mod tests {
    use crate::engine::clock::now;
    use crate::engine::locking::take_lock;
    use crate::engine::reloading::Reloading;
    use crate::engine::testing::{CERTIFICATE, Recorder, site_of};
    use crate::event::{CertificatesEvent, Event, FilesEvent};
    use crate::store::testing::{give_sign, issued_with};
    use crate::store::{IssuedPem, Store};
    use crate::x509::testing::{NOW, key};
    use acme_dns_core::key::KeyType;
    use acme_dns_core::level::Level;
    use acme_dns_core::schedule::Progress;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::sleep;

    const DAY: i64 = 86_400;
    const NAMES: &[&str] = &["a.example", "b.example"];
    const BOTH: &[KeyType] = &[KeyType::EcdsaP256, KeyType::Rsa2048];

    fn rsa() -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
    }

    /// A certificate that is valid from and to these seconds around now.
    fn issued(key: &PKey<Private>, names: &[&str], (from, to): (i64, i64)) -> IssuedPem {
        let now = now().0 - NOW;
        issued_with(key, names, (now + from, now + to))
    }

    fn leaf(issued: &IssuedPem) -> Vec<u8> {
        let leaf = openssl::x509::X509::from_pem(issued.fullchain.as_bytes()).unwrap();
        leaf.to_der().unwrap()
    }

    /// Waits for the lock, while another one holds it and does something every few seconds.
    async fn with_holder(keys: &[KeyType], holder: impl AsyncFnOnce(&Store, &Recorder)) {
        let dir = tempfile::tempdir().unwrap();
        let theirs = Store::open(dir.path()).unwrap();
        let _held = theirs.lock().unwrap().unwrap();
        let host = Arc::new(Recorder::default());
        let site = site_of(dir.path(), Arc::clone(&host), &[(NAMES, keys)]);
        let mut reloading = Reloading::new(Rc::clone(&site), None);
        let signs = async {
            for second in (0..).step_by(10) {
                give_sign(dir.path(), second);
                sleep(Duration::from_secs(10)).await;
            }
        };
        tokio::select! {
            _ = take_lock(&site, &[], &mut reloading) => panic!("the lock is held"),
            () = signs => {}
            () = holder(&theirs, &host) => {}
        }
    }

    /// Returns what is served after some seconds.
    async fn served(host: &Recorder) -> Vec<Vec<u8>> {
        use crate::host::Host;
        sleep(Duration::from_secs(5)).await;
        let pairs = host.published(CERTIFICATE).map_or_else(Vec::new, |material| material.pairs);
        pairs.into_iter().map(|pair| pair.chain[0].clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_type_of_key_is_followed_by_itself() {
        let (ecdsa, rsa) = (key(), rsa());
        with_holder(BOTH, async |theirs, host| {
            assert!(served(host).await.is_empty());
            let mut now = [None, None];
            for (index, name, key) in [
                (0, "a.example", &ecdsa),
                (1, "a.example-rsa", &rsa),
                (0, "a.example", &ecdsa),
                (0, "a.example", &ecdsa),
                (1, "a.example-rsa", &rsa),
            ] {
                let issued = issued(key, NAMES, (-60, 90 * DAY));
                theirs.save_certificate(name, &issued).unwrap();
                now[index] = Some(leaf(&issued));
                let expected: Vec<_> = now.iter().flatten().cloned().collect();
                assert_eq!(served(host).await, expected, "{name}");
            }
            assert_eq!(host.at(Level::Error), []);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_worse_than_what_is_served_is_not_taken_over() {
        let key = key();
        let all = (-DAY, 90 * DAY);
        let rows = [
            ("first", issued(&key, &["a.example"], all), true),
            ("more names", issued(&key, NAMES, all), true),
            ("by a wildcard", issued(&key, &["*.example"], all), true),
            ("not all names", issued(&key, &["a.example"], all), false),
            ("expired", issued(&key, NAMES, (-2 * DAY, -DAY)), false),
            ("not yet valid", issued(&key, NAMES, (DAY, 2 * DAY)), false),
            ("as good", issued(&key, NAMES, all), true),
        ];
        with_holder(&BOTH[..1], async |theirs, host| {
            let mut expected = Vec::new();
            for (row, issued, is_taken) in &rows {
                theirs.save_certificate("a.example", issued).unwrap();
                if *is_taken {
                    expected = vec![leaf(issued)];
                }
                assert_eq!(served(host).await, expected, "{row}");
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_certificate_is_told_and_changes_nothing() {
        let (key, all) = (key(), (-DAY, 90 * DAY));
        with_holder(&BOTH[..1], async |theirs, host| {
            let good = issued(&key, NAMES, all);
            theirs.save_certificate("a.example", &good).unwrap();
            assert_eq!(served(host).await, [leaf(&good)]);
            let chain = theirs.path().join("certs/a.example/fullchain.pem");
            std::fs::write(chain, "garbage").unwrap();
            // It was not replaced as a whole, so that a look at the directory does not show it.
            sleep(super::FULL_INTERVAL).await;
            assert_eq!(served(host).await, [leaf(&good)]);
            let warnings = host.at(Level::Warn);
            let [Event::Files(name, FilesEvent::UnusableButServed { .. })] = warnings.as_slice()
            else {
                panic!("{warnings:?}");
            };
            assert_eq!(name, "a.example");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_holder_neglects_is_an_error() {
        let key = key();
        // What is there, how far the holder is with it, and whether that is an error.
        let pending = Progress { next: now() + Duration::from_secs(7200), ..Progress::default() };
        let rows = [
            ("missing", None, false, true),
            ("missing and tried", None, true, false),
            ("fresh", Some((-DAY, 89 * DAY)), false, false),
            ("due", Some((-70 * DAY, 20 * DAY)), false, true),
            ("due and tried", Some((-62 * DAY, 28 * DAY)), true, false),
            ("due and tried for long", Some((-80 * DAY, 10 * DAY)), true, true),
            ("expired", Some((-90 * DAY, -60)), true, true),
        ];
        for (row, validity, is_tried, is_error) in rows {
            with_holder(&BOTH[..1], async |theirs, host| {
                if let Some(validity) = validity {
                    let issued = issued(&key, NAMES, validity);
                    theirs.save_certificate("a.example", &issued).unwrap();
                }
                if is_tried {
                    theirs.save_progress("a.example", &pending).unwrap();
                }
                sleep(Duration::from_secs(200)).await;
                let errors = host.at(Level::Error);
                assert_eq!(errors.len(), usize::from(is_error), "{row}: {errors:?}");
                let is_told = |event: &Event| match event {
                    Event::Certificates(CertificatesEvent::Neglected { names, .. }) => {
                        names == &["a.example"]
                    }
                    _ => false,
                };
                assert!(errors.iter().all(is_told), "{row}: {errors:?}");
            })
            .await;
        }
    }
}
