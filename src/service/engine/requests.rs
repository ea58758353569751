//! Renewals that are asked for at the status page, by way of a worker.
//!
//! A worker may be in the hands of somebody else, so what it says counts for little: a certificate is renewed once an
//! hour at most, no pause that a CA has asked for is shortened, and an attempt under way is not doubled. A flood costs a
//! few looks every other second, and each certificate has one line an hour of either kind. What is granted is noted
//! as a file in `actions/`, so that neither a reload nor a crash forgets it.

use super::actions::Actions;
use super::clock::now;
use super::site::Site;
use super::status::Status;
use crate::event::{Event, RenewalRequestEvent};
use acme_dns_core::id::CertificateId;
use acme_dns_core::schedule::{NotNow, Schedule};
use acme_dns_core::status::certificate::RENEWAL_INTERVAL;
use acme_dns_core::status::{RenewalRequest, RequestState};
use acme_dns_core::time::UnixTime;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Pause between two looks, and the most requests that each takes.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const MOST: usize = 4;

/// Requests of the status page.
pub(super) struct Requests {
    site: Rc<Site>,
    next: Instant,
    /// Times at which refusals were told.
    told: HashMap<CertificateId, UnixTime>,
}

/// The parts that a request is answered with.
pub(super) struct Answerers<'a> {
    pub(super) schedule: &'a mut Schedule,
    pub(super) actions: &'a mut Actions,
    pub(super) status: &'a Status,
}

impl Requests {
    pub(super) fn new(site: Rc<Site>) -> Self {
        Self { site, next: Instant::now(), told: HashMap::new() }
    }

    /// Returns the time for which nothing is looked at.
    pub(super) fn pause(&self) -> Duration {
        match self.site.host.hears_requests() {
            true => self.next.saturating_duration_since(Instant::now()),
            false => Duration::MAX,
        }
    }

    /// Takes what was asked for since the last look, if it is time to.
    pub(super) fn look(&mut self, parts: &mut Answerers<'_>) {
        if !self.pause().is_zero() {
            return;
        }
        self.next = Instant::now() + LOOK_INTERVAL;
        self.take(parts);
    }

    /// Takes what was asked for.
    pub(super) fn take(&mut self, parts: &mut Answerers<'_>) {
        for certificate in self.site.host.take_requests(MOST) {
            if certificate.index() < self.site.config.certificates.len() {
                self.answer(certificate, parts);
            }
        }
    }

    fn answer(&mut self, certificate: CertificateId, parts: &mut Answerers<'_>) {
        let now = now();
        if self.was_granted(certificate, now) {
            return;
        }
        let variants = self.site.certificate(certificate).variants.clone();
        let (mut granted, mut refusal) = (Vec::new(), NotNow::UnderWay);
        for variant in variants.clone() {
            match parts.schedule.request(variant, now) {
                Ok(()) => granted.push(variant),
                Err(why) => refusal = why,
            }
        }
        let state = match granted.is_empty() {
            true => RequestState::Refused,
            false => RequestState::Granted,
        };
        let name = self.site.certificate(certificate).name.clone();
        if granted.is_empty() {
            self.refuse(certificate, now, name, refusal);
        } else {
            self.site.tell(&Event::RenewalRequest(name.clone(), RenewalRequestEvent::Granted));
            if let Err(error) = parts.actions.note_request(&name, granted) {
                let why = error.to_string();
                self.site.tell(&Event::RenewalRequest(name, RenewalRequestEvent::NotKept { why }));
            }
        }
        for variant in variants {
            parts.status.note_request(parts.schedule, variant, RenewalRequest { at: now, state });
        }
    }

    /// Tells whether a renewal was granted less than an hour ago, by this process or the one before it. A time to come
    /// is that of a clock that was set back.
    fn was_granted(&self, certificate: CertificateId, now: UnixTime) -> bool {
        let variants = self.site.certificate(certificate).variants.clone();
        let requests = variants.filter_map(|it| self.site.host.shown_plan(it)?.requested);
        let mut granted = requests.filter(|request| request.state == RequestState::Granted);
        granted.any(|request| request.at <= now && now < request.at + RENEWAL_INTERVAL)
    }

    fn refuse(&mut self, certificate: CertificateId, now: UnixTime, name: String, why: NotNow) {
        let is_told = |at: &UnixTime| *at <= now && now < *at + RENEWAL_INTERVAL;
        if self.told.get(&certificate).is_some_and(is_told) {
            return;
        }
        self.told.insert(certificate, now);
        self.site.tell(&Event::RenewalRequest(name, RenewalRequestEvent::Refused { why }));
    }
}

#[cfg(test)]
mod tests {
    use super::{Answerers, LOOK_INTERVAL, MOST, Requests};
    use crate::engine::actions::{Actions, Readers};
    use crate::engine::clock::now;
    use crate::engine::listener::Listener;
    use crate::engine::served::Served;
    use crate::engine::site::Site;
    use crate::engine::status::Status;
    use crate::engine::testing::{Recorder, site_of};
    use crate::event::{Event, RenewalRequestEvent};
    use crate::host::Host;
    use acme_dns_core::id::{CertificateId, IssuerId, ProviderId, VariantId};
    use acme_dns_core::key::KeyType;
    use acme_dns_core::schedule::{
        Authority, Failure, FailureKind, Fingerprint, Known, Loading, NotNow, Progress,
        ProviderIdentity, Renewal, Schedule, Scope, Task, Validity,
    };
    use acme_dns_core::status::RequestState;
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use tokio::sync::mpsc;

    const DAY: Duration = Duration::from_secs(86_400);
    const FIRST: CertificateId = CertificateId::new(0);
    const VARIANT: VariantId = VariantId::new(0);

    /// The parts of a service that hears requests.
    struct Bed {
        host: Arc<Recorder>,
        site: Rc<Site>,
        schedule: Schedule,
        actions: Actions,
        status: Status,
        requests: Requests,
    }

    fn valid() -> Known {
        let now = now();
        Known {
            validity: Some(Validity { not_before: now - DAY, not_after: now + 89 * DAY }),
            renewal: Renewal { issued: now - DAY, next_poll: now + DAY, ..Renewal::default() },
            progress: Progress::default(),
            authorities: [Authority {
                issuer: IssuerId::default(),
                name: "ca".to_owned(),
                has_staging: false,
                limit: None,
            }]
            .into(),
            provider: ProviderIdentity { id: ProviderId::default(), name: "dns".into() },
            names: vec!["a.test".to_owned()],
            fingerprint: Fingerprint::default(),
            is_under_way: false,
        }
    }

    impl Bed {
        /// With valid certificates.
        fn new(path: &Path, certificates: usize) -> Self {
            let host = Arc::<Recorder>::default();
            let names: Vec<String> = (0..certificates).map(|at| format!("{at}.test")).collect();
            let names: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
            let keys = &[KeyType::EcdsaP256][..];
            let wanted: Vec<_> = names.iter().map(|names| (&names[..], keys)).collect();
            let site = site_of(path, Arc::clone(&host), &wanted);
            let known = (0..certificates).map(|_| valid());
            let (report, _) = mpsc::unbounded_channel();
            let listener: Arc<dyn Host> = host.clone();
            let listener = Arc::new(Listener::new(listener, now));
            Self {
                schedule: Schedule::new(known, now(), Loading::default(), || 0.0),
                actions: Actions::new(Rc::clone(&site), report),
                status: Status::new(Rc::clone(&site), listener),
                requests: Requests::new(Rc::clone(&site)),
                host,
                site,
            }
        }

        fn take(&mut self) {
            let Self { schedule, actions, status, .. } = self;
            self.requests.take(&mut Answerers { schedule, actions, status });
        }

        /// The certificates that an attempt begins for.
        fn begun(&mut self) -> Vec<VariantId> {
            let task = || match self.schedule.poll(now()) {
                Some(Task::Obtain(attempt)) => Some(attempt.variant),
                _ => None,
            };
            std::iter::from_fn(task).collect()
        }

        fn files(&self) -> Vec<String> {
            let files = self.site.store.actions_all().unwrap();
            files.into_iter().map(|(name, _)| name).collect()
        }

        fn shown(&self) -> Option<RequestState> {
            Some(self.host.shown_plan(VARIANT)?.requested?.state)
        }
    }

    #[test]
    fn a_certificate_is_renewed_once_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let mut bed = Bed::new(dir.path(), 1);
        bed.host.ask(FIRST);
        bed.take();
        let granted = Event::RenewalRequest("0.test".to_owned(), RenewalRequestEvent::Granted);
        assert_eq!(bed.host.events(), std::slice::from_ref(&granted));
        assert_eq!((bed.begun(), bed.shown()), (vec![VARIANT], Some(RequestState::Granted)));
        assert_eq!(bed.files(), ["request-0.test"]);
        let validity = valid().validity.unwrap();
        bed.schedule.handle_issued(VARIANT, validity, now(), 0.0);
        bed.actions.note_renewal(VARIANT);
        assert_eq!(bed.files(), [""; 0], "it is done");
        for _ in 0..100 {
            bed.host.ask(FIRST);
            bed.take();
        }
        assert_eq!(bed.begun(), []);
        let requests =
            bed.host.events().into_iter().filter(|it| matches!(it, Event::RenewalRequest(..)));
        assert_eq!(requests.collect::<Vec<_>>(), [granted], "nothing is told of the others");
    }

    #[test]
    fn a_pause_of_the_ca_is_left_alone_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut bed = Bed::new(dir.path(), 1);
        bed.schedule.renew_now(VARIANT);
        assert_eq!(bed.begun(), [VARIANT]);
        let failure = Failure {
            kind: FailureKind::Temporary,
            retry_after: Some(Duration::from_secs(7200)),
            scope: Scope::Issuer,
            ordered: false,
            is_lost: false,
            published: false,
        };
        bed.schedule.handle_failed(VARIANT, now(), &failure, 0.0);
        for _ in 0..100 {
            bed.host.ask(FIRST);
            bed.take();
        }
        assert_eq!((bed.begun(), bed.files()), (vec![], vec![]));
        assert_eq!(bed.shown(), Some(RequestState::Refused));
        let events = bed.host.events();
        let [Event::RenewalRequest(_, RenewalRequestEvent::Refused { why: NotNow::Held(until) })] =
            &events[..]
        else {
            panic!("{events:?}");
        };
        assert!(*until > now() + Duration::from_secs(7000));
    }

    #[test]
    fn a_flood_is_looked_at_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut bed = Bed::new(dir.path(), 10);
        (0..10).map(CertificateId::new).for_each(|it| bed.host.ask(it));
        bed.host.ask(CertificateId::new(1_000_000));
        bed.take();
        assert_eq!(bed.begun().len(), MOST);
        let Bed { schedule, actions, status, requests, .. } = &mut bed;
        let mut parts = Answerers { schedule, actions, status };
        requests.next = Instant::now() + LOOK_INTERVAL;
        requests.look(&mut parts);
        assert!(!requests.pause().is_zero() && requests.pause() <= LOOK_INTERVAL);
        assert_eq!(bed.begun(), [], "it is too early");
        (0..3).for_each(|_| bed.take());
        assert_eq!(bed.begun().len(), 10 - MOST);
    }

    #[test]
    fn the_next_process_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut bed = Bed::new(dir.path(), 1);
        bed.host.ask(FIRST);
        bed.take();
        let mut next = Bed::new(dir.path(), 1);
        let served = Served::new(Rc::clone(&next.site));
        let read_by_nginx = BTreeSet::new();
        let schedule = &mut next.schedule;
        next.actions.read(Readers { schedule, served: &served, read_by_nginx: &read_by_nginx });
        assert_eq!(next.begun(), [VARIANT]);
    }

    #[test]
    fn what_cannot_be_kept_is_done_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut bed = Bed::new(dir.path(), 1);
        std::fs::remove_dir(dir.path().join("actions")).unwrap();
        std::fs::write(dir.path().join("actions"), "").unwrap();
        bed.host.ask(FIRST);
        bed.take();
        assert_eq!(bed.begun(), [VARIANT]);
        let events = bed.host.events();
        let [_, Event::RenewalRequest(_, RenewalRequestEvent::NotKept { why })] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert!(why.contains("actions"), "{why}");
    }
}
