//! News of what is shared, and what the loop does about them.

use super::Fleet;
use super::check::{Bad, Checked, check};
use super::mirror::{Mirror, SeenAttempt, SeenCertificate, SeenContent};
use super::news::FleetNews;
use super::record::{AttemptRecord, CertificateRecord, decode, encode};
use crate::engine::clock::now;
use crate::engine::outcome::{Issuance, IssuanceOrigin, Outcome};
use crate::engine::saving::{Saved, save_issued};
use crate::engine::served::Served;
use crate::event::{Event, FleetEvent};
use crate::share::{Change, Refusal, Revision, SharePath, Shared, Written};
use crate::store::{IssuedPem, Store};
use acme_dns_core::fleet::{Held, Side, newer};
use acme_dns_core::id::VariantId;
use acme_dns_core::material::Pair;
use acme_dns_core::schedule::{Renewal, Schedule};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Attempts that were left behind are looked at when so many times of a lease have passed.
const LEFT_BEHIND: u32 = 2;

/// Number of adopted certificates that are told one by one.
const TOLD: usize = 5;

/// The parts of the engine that news are about.
pub(in crate::engine) struct Parts<'a> {
    pub(in crate::engine) schedule: &'a mut Schedule,
    pub(in crate::engine) served: &'a Served,
    /// Wakes the removal of TXT records.
    pub(in crate::engine) cleaning: &'a Notify,
}

impl Fleet {
    /// Takes news.
    pub(in crate::engine) fn handle(self: &Rc<Self>, news: FleetNews, mut parts: Parts<'_>) {
        match news {
            FleetNews::Loaded { changes, is_news } => {
                let records = changes.len();
                self.handle_loaded(changes, &mut parts);
                if is_news {
                    self.tell(FleetEvent::Reached { records });
                }
            }
            FleetNews::Changed(changes) => {
                for change in changes {
                    self.handle_change(change, false, &mut parts);
                }
            }
            FleetNews::Away { error, retry } => {
                let why = error.to_string();
                self.tell(match error.is_permanent() {
                    true => FleetEvent::Refused { why, retry },
                    false => FleetEvent::Away { why, retry },
                });
            }
            FleetNews::Writable => self.recall_all(&mut parts),
            FleetNews::Lost { variant } => {
                self.tell(FleetEvent::TurnLost { name: self.site.name(variant).to_owned() });
            }
            FleetNews::Inherited { variant } => {
                self.tell(FleetEvent::Inherited { name: self.site.name(variant).to_owned() });
                parts.cleaning.notify_one();
            }
        }
    }

    /// Compares all that is shared with what is here, in both directions.
    fn handle_loaded(self: &Rc<Self>, changes: Vec<Change>, parts: &mut Parts<'_>) {
        self.mirror.replace(Mirror::default());
        self.hosts.borrow_mut().clear();
        self.note_account_news();
        let is_crowd = changes.len() > TOLD;
        for change in changes {
            self.handle_change(change, is_crowd, parts);
        }
        for variant in self.site.variants() {
            if !self.mirror.borrow().certificates.contains_key(&variant) {
                self.offer_own(variant, parts);
            }
            if !self.mirror.borrow().attempts.contains_key(&variant) {
                self.health.show_leader(variant, None);
            }
        }
        self.recall_all(parts);
        self.tend_hosts();
    }

    /// Has what waits looked at again, but for what is being adopted.
    fn recall_all(&self, parts: &mut Parts<'_>) {
        for variant in self.site.variants() {
            self.recall(variant, parts);
        }
    }

    fn recall(&self, variant: VariantId, parts: &mut Parts<'_>) {
        if !self.adopting.borrow().contains(&variant) {
            parts.schedule.recall(variant, now());
        }
    }

    fn handle_change(self: &Rc<Self>, change: Change, is_crowd: bool, parts: &mut Parts<'_>) {
        if let Some(lease) = change.ended_lease() {
            return self.handle_lease_ended(lease, parts);
        }
        let path = change.path().clone();
        let Some((kind, key)) = path.as_str().split_once('/') else { return };
        match kind {
            "accounts" => return self.note_account_news(),
            "hosts" => return self.hosts.borrow_mut().note(key, &change),
            _ => {}
        }
        // Records of hosts with other certificates are theirs.
        let Some(variant) = self.keys.variant(key) else { return };
        match kind {
            "certificates" => self.handle_certificate(variant, change, is_crowd, parts),
            "attempts" => self.handle_attempt(variant, change, parts),
            _ => {}
        }
    }

    /// Has those that wait for a lease try to take it.
    fn handle_lease_ended(&self, lease: &str, parts: &mut Parts<'_>) {
        let waited = self.waiting.borrow_mut().end_all(lease);
        for variant in waited {
            self.recall(variant, parts);
        }
    }

    fn note_account_news(&self) {
        self.account_news.set(self.account_news.get() + 1);
        self.mirror.borrow_mut().accounts.clear();
    }

    fn handle_certificate(
        self: &Rc<Self>,
        variant: VariantId,
        change: Change,
        is_crowd: bool,
        parts: &mut Parts<'_>,
    ) {
        let revision = change.revision();
        let seen = self.mirror.borrow().certificates.get(&variant).map(|seen| seen.revision);
        if seen == Some(revision) && !matches!(change, Change::Removed { .. }) {
            return self.recall(variant, parts);
        }
        match change {
            Change::Removed { .. } => {
                self.mirror.borrow_mut().certificates.remove(&variant);
                self.offer_own(variant, parts);
            }
            Change::Put(Shared { path, content, .. }) => match check(&self.site, variant, &content)
            {
                Ok(checked) => self.compare(variant, revision, checked, is_crowd, parts),
                Err(Bad::Newer(form)) => {
                    let why = format!("a newer version has written it (form {form})");
                    self.refuse(variant, revision, &path, why, SeenContent::LeftAlone, parts);
                }
                Err(Bad::Wrong(why)) => {
                    self.refuse(variant, revision, &path, why, SeenContent::Refused, parts);
                }
            },
            Change::Refused { path, why, .. } => {
                let content = match why {
                    Refusal::Forged => SeenContent::Refused,
                    Refusal::Newer { .. } | Refusal::UnknownKey { .. } => SeenContent::LeftAlone,
                };
                self.refuse(variant, revision, &path, reason(&why), content, parts);
            }
        }
        self.recall(variant, parts);
    }

    /// Compares a good certificate with the one that is here.
    fn compare(
        self: &Rc<Self>,
        variant: VariantId,
        revision: Revision,
        checked: Checked,
        is_crowd: bool,
        parts: &mut Parts<'_>,
    ) {
        let Checked { host, issued, renewal, .. } = &checked;
        self.health.show_origin(variant, host, renewal.issued);
        let leaf = issued.material.pairs.first().and_then(|pair| pair.chain.first());
        let leaf = leaf.cloned().unwrap_or_default();
        let content =
            SeenContent::Good { leaf, not_after: issued.validity.not_after, renewal: *renewal };
        let seen = SeenCertificate { revision, content };
        let own = own(variant, parts);
        let side = newer(own.as_ref().and_then(Own::held), seen.held());
        let renewal = *renewal;
        self.mirror.borrow_mut().certificates.insert(variant, seen);
        match (side, own) {
            (Side::Shared, _) => self.adopt(variant, checked, is_crowd),
            (Side::Own, _) => self.offer_own(variant, parts),
            (Side::Same, Some(own)) if differs(&own.renewal, &renewal) => {
                parts.schedule.handle_shared_renewal(variant, renewal, now());
                let kept = parts.schedule.held(variant).map_or(renewal, |(_, renewal)| renewal);
                if let Err(error) = self.site.store.save_renewal(self.site.name(variant), &kept) {
                    self.site.tell_ignored(&error);
                }
            }
            (Side::Same, _) => {}
        }
    }

    /// Names a record that is not used, and puts what is here in its place if it is of no use to anybody.
    fn refuse(
        self: &Rc<Self>,
        variant: VariantId,
        revision: Revision,
        path: &SharePath,
        why: String,
        content: SeenContent,
        parts: &mut Parts<'_>,
    ) {
        let is_replaced = matches!(content, SeenContent::Refused);
        let path = path.to_string();
        self.tell(FleetEvent::RecordRefused { path, why, is_replaced });
        self.mirror
            .borrow_mut()
            .certificates
            .insert(variant, SeenCertificate { revision, content });
        self.offer_own(variant, parts);
    }

    /// Saves a certificate of another host, which the loop commits then as one of its own.
    fn adopt(self: &Rc<Self>, variant: VariantId, checked: Checked, is_one_of_many: bool) {
        let fleet = Rc::clone(self);
        self.adopting.borrow_mut().insert(variant);
        tokio::task::spawn_local(async move {
            let Checked { host, issued, issuer, renewal } = checked;
            let begun = Instant::now();
            let room = fleet.savings.acquire().await;
            let (name, pem) = (fleet.site.name(variant).to_owned(), issued.pem.clone());
            let save = move |store: &Store| Ok(save_adopted(store, &name, &pem, &renewal));
            let saved = fleet.site.store.on_thread(save).await.unwrap_or_else(Saved::Refused);
            drop(room);
            let origin = IssuanceOrigin::Fleet { host, renewal, is_one_of_many };
            let took = begun.elapsed();
            let issuance = Issuance { variant, issuer, issued, took, saved, origin };
            let _ended = fleet.report.send(Outcome::Issued(Box::new(issuance)));
        });
    }

    /// Notes how far another host is.
    fn handle_attempt(&self, variant: VariantId, change: Change, parts: &mut Parts<'_>) {
        let record = match &change {
            Change::Put(shared) => decode::<AttemptRecord>(&shared.content).ok(),
            Change::Removed { .. } | Change::Refused { .. } => None,
        };
        let Some(record) = record else {
            self.mirror.borrow_mut().attempts.remove(&variant);
            self.health.show_leader(variant, None);
            return self.recall(variant, parts);
        };
        // Nobody orders what has failed, until the next attempt.
        let leader = record.progress.is_none().then_some(record.host.as_str());
        self.health.show_leader(variant, leader);
        let (has_records, has_order) = (!record.journal.is_empty(), record.order.is_some());
        let seen = SeenAttempt { has_records, has_order, since: Instant::now() };
        self.mirror.borrow_mut().attempts.insert(variant, seen);
        if self.turns.borrow().contains_key(&variant) {
            return;
        }
        if let Some(progress) = record.progress
            && let Some(kept) = parts.schedule.handle_failed_elsewhere(variant, progress, now())
        {
            self.recall(variant, parts);
            if let Err(error) = self.site.store.save_progress(self.site.name(variant), &kept) {
                self.site.tell_ignored(&error);
            }
        }
    }

    /// Offers what is served here, if it is good and what lies there may be replaced.
    fn offer_own(self: &Rc<Self>, variant: VariantId, parts: &Parts<'_>) {
        let Some(own) = own(variant, parts) else { return };
        let Ok(pem) = IssuedPem::of(&own.pair) else { return };
        let fleet = Rc::clone(self);
        let renewal = own.renewal;
        tokio::task::spawn_local(async move { fleet.put_certificate(variant, pem, renewal).await });
    }

    /// Offers the certificate that was just committed.
    pub(super) async fn offer(self: &Rc<Self>, variant: VariantId, renewal: Renewal) {
        let name = self.site.name(variant).to_owned();
        let load = move |store: &Store| store.load_certificate(&name);
        let stored = self.site.store.on_thread(load).await.ok().flatten();
        let pair = stored.and_then(|stored| stored.material.pairs.into_iter().next());
        // A disk that refuses it must not keep it from the others.
        let pair = pair.or_else(|| self.site.published_pair(variant));
        match pair.as_ref().map(IssuedPem::of) {
            Some(Ok(pem)) => self.put_certificate(variant, pem, renewal).await,
            Some(Err(_)) | None => self.note_offered(variant).await,
        }
    }

    async fn put_certificate(&self, variant: VariantId, pem: IssuedPem, renewal: Renewal) {
        let expected = self.mirror.borrow().replaceable(variant);
        let Some(expected) = expected.filter(|_| self.shares(variant)) else {
            return self.note_offered(variant).await;
        };
        let mut names = self.site.names_of(variant);
        names.sort();
        let record = CertificateRecord { host: self.host.clone(), names, issued: pem, renewal };
        let Ok(content) = encode(&record) else { return };
        let path = self.certificate_path(variant);
        let turn = self.turns.borrow().get(&variant).cloned();
        let lease = turn.and_then(|turn| turn.lease.borrow().clone());
        match self.engine.put(&path, &content, expected, lease.as_ref()).await {
            // Where something else is there, the watch tells what.
            Ok(written) => {
                if matches!(written, Written::Done(_)) {
                    self.note_taken();
                }
                self.note_offered(variant).await;
            }
            Err(error) => {
                self.note_refusal(&error);
                self.unshared.borrow_mut().insert(variant);
            }
        }
    }

    /// Does what was left: offers that the engine did not take, and the records of hosts that have gone.
    pub(in crate::engine) fn tidy(self: &Rc<Self>, parts: &Parts<'_>) {
        if self.away.get().is_some() {
            return;
        }
        self.tend_hosts();
        if self.refusing.get().is_some() {
            tokio::task::spawn_local(Rc::clone(self).probe());
        }
        for variant in std::mem::take(&mut *self.unshared.borrow_mut()) {
            self.offer_own(variant, parts);
        }
        self.share_unsettled();
        self.release_overdue();
        let patience = self.ttl * LEFT_BEHIND + Duration::from_secs(5);
        let mut left = Vec::new();
        for (variant, seen) in &mut self.mirror.borrow_mut().attempts {
            let is_ours = self.turns.borrow().contains_key(variant);
            // Where it is not, whoever is next goes on with the order.
            let is_renewed =
                || matches!(parts.schedule.renewal(*variant), Some((at, _)) if at > now());
            let is_left = seen.has_records || (seen.has_order && is_renewed());
            if is_left && !is_ours && seen.since.elapsed() >= patience {
                // Not at each look: its host may be at work.
                seen.since = Instant::now();
                left.push((*variant, is_renewed()));
            }
        }
        for (variant, is_renewed) in left {
            tokio::task::spawn_local(Rc::clone(self).clean_up_after(variant, is_renewed));
        }
    }

    /// Shares when a certificate is renewed, as the CA has said it to this host.
    pub(in crate::engine) fn share_renewal(self: &Rc<Self>, variant: VariantId, parts: &Parts<'_>) {
        self.offer_own(variant, parts);
    }

    fn tell(&self, event: FleetEvent) {
        self.site.tell(&Event::Fleet(event));
    }
}

/// Saves a certificate of another host with the state of its renewal, all on one thread: many may come at once.
fn save_adopted(store: &Store, name: &str, pem: &IssuedPem, renewal: &Renewal) -> Saved {
    match (save_issued(store, name, pem), store.save_renewal(name, renewal)) {
        (Saved::Completely, Err(error)) => Saved::WithRemains(error),
        (saved, _) => saved,
    }
}

/// The certificate that is served here.
struct Own {
    pair: Pair,
    not_after: acme_dns_core::time::UnixTime,
    renewal: Renewal,
}

impl Own {
    fn held(&self) -> Option<Held<'_>> {
        let leaf = self.pair.chain.first()?;
        Some(Held { number: self.renewal.number, not_after: self.not_after, leaf })
    }
}

fn own(variant: VariantId, parts: &Parts<'_>) -> Option<Own> {
    let (validity, renewal) = parts.schedule.held(variant)?;
    let pair = parts.served.pair_to_keep(variant)?;
    Some(Own { pair, not_after: validity.not_after, renewal })
}

/// Gives the reason why a record was not opened, for the end of a line.
fn reason(why: &Refusal) -> String {
    match why {
        Refusal::Newer { version } => {
            format!("a newer version of the module has written it (form {version})")
        }
        Refusal::UnknownKey { key } => {
            format!("it was encrypted with key {key}, which is not in \"encryption_key_file\"")
        }
        Refusal::Forged => {
            "it was changed, moved, or written by somebody without the key".to_owned()
        }
    }
}

/// Tells whether another host knows better when a certificate is renewed.
fn differs(own: &Renewal, shared: &Renewal) -> bool {
    (own.number, own.window, own.time) != (shared.number, shared.window, shared.time)
}
