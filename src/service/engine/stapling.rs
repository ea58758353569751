//! Stapling of OCSP responses to the certificates that are served.
//!
//! A staple belongs to one leaf: it is kept with the pair that is served, and goes when that is
//! replaced. After a reload the staples of the process before are taken over from the workers.

use super::clock::{now, random};
use super::outcome::Report;
use super::served::Served;
use super::site::Site;
use super::tasks;
use crate::event::{Event, StapleEvent};
use crate::http::Clients;
use crate::ocsp::{GoodAnswer, NoQuestion, OcspError, Question};
use crate::store::full_chain_path;
use acme_dns_core::id::{CertificateId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::staple::{StapleAnswer, StapleChange, StapleStanding, StapleTask, Staples};
use acme_dns_core::time::UnixTime;
use std::rc::Rc;

/// Staples of the variants, and when their responders are asked.
pub(super) struct Stapling {
    site: Rc<Site>,
    staples: Staples,
}

impl Stapling {
    pub(super) fn new(site: Rc<Site>) -> Self {
        Self { site, staples: Staples::default() }
    }

    /// Returns the time at which there is something to do.
    pub(super) fn poll_timeout(&self) -> Option<UnixTime> {
        self.staples.poll_timeout()
    }

    /// Begins with a certificate that is served from the disk.
    pub(super) fn begin_with(&mut self, served: &mut Served, certificate: CertificateId) {
        let wanted = self.site.certificate(certificate);
        if !wanted.staples {
            return;
        }
        let variants = wanted.variants.clone();
        let published = self.site.host.published(certificate);
        let published = published.map_or_else(Vec::new, |material| material.pairs);
        for variant in variants {
            if !self.take_over(served, variant, &published) {
                self.begin(served, variant);
            }
        }
    }

    /// Continues with what the process before has stapled to the same certificate, if that is good.
    fn take_over(&mut self, served: &mut Served, variant: VariantId, published: &[Pair]) -> bool {
        let now = now();
        let Some(pair) = served.pair_mut(variant) else { return false };
        let leaf = pair.chain.first();
        let found = published.iter().find(|pair| pair.chain.first() == leaf);
        let good = found.and_then(|pair| pair.staple.as_ref()).and_then(|staple| {
            let question = Question::new(&pair.chain).ok()?;
            question.check(&staple.response, now).ok()
        });
        let Some(GoodAnswer { staple, window }) = good else { return false };
        pair.staple = Some(staple);
        self.staples.begin_with(variant, window, now, random());
        true
    }

    /// Begins with a variant that is served: its responder is asked, if it wants a staple and has a responder.
    pub(super) fn begin(&mut self, served: &Served, variant: VariantId) {
        let is_wanted = self.site.variant(variant).1.staples;
        let Some(chain) = served.chain(variant).filter(|_| is_wanted) else { return };
        let why = match Question::new(chain) {
            Ok(_) => return self.staples.begin(variant, now()),
            Err(why) => why,
        };
        self.staples.end(variant);
        match why {
            NoQuestion::NoResponder => self.tell(variant, StapleEvent::NoResponder),
            NoQuestion::NoIssuer => {
                let name = self.site.name(variant);
                let chain = full_chain_path(&self.site.config.state_path, name);
                let why = why.to_string();
                self.tell(variant, StapleEvent::NoIssuer { why, chain });
            }
        }
    }

    /// Asks the responders that are due, and takes away what has ended.
    pub(super) fn tend(&mut self, served: &mut Served, clients: &Clients, report: &Report) {
        let now = now();
        while let Some(action) = self.staples.poll(now) {
            match action {
                StapleTask::Ask(variant) => self.ask(served, variant, clients, report),
                StapleTask::Withdraw(variant) => {
                    served.staple(variant, None);
                    self.tell(variant, StapleEvent::Expired);
                }
            }
        }
    }

    fn ask(&mut self, served: &Served, variant: VariantId, clients: &Clients, report: &Report) {
        let chain = served.chain(variant);
        let question =
            chain.and_then(|chain| Some((chain.first()?.clone(), Question::new(chain).ok()?)));
        let Some((leaf, question)) = question else {
            self.staples.handle_stale();
            return self.staples.end(variant);
        };
        tasks::ask_responder(variant, leaf, question, clients.get(None), report);
    }

    /// Handles the answer of a responder, or that there was none.
    pub(super) fn handle(
        &mut self,
        served: &mut Served,
        variant: VariantId,
        (leaf, host): (&[u8], String),
        answer: Result<GoodAnswer, OcspError>,
    ) {
        let current = served.chain(variant).and_then(|chain| chain.first());
        // It may have been replaced while the responder was asked.
        if current.is_none_or(|current| current != leaf) {
            return self.staples.handle_stale();
        }
        let kind = match &answer {
            Ok(good) => StapleAnswer::Good(good.window),
            Err(OcspError::Revoked(_)) => StapleAnswer::Revoked,
            Err(_) => StapleAnswer::Failed,
        };
        let Some(change) = self.staples.handle_answer(variant, now(), kind, random()) else {
            return;
        };
        match answer {
            Ok(good) => {
                let end = good.window.next_update;
                served.staple(variant, Some(good.staple));
                self.tell_stapled(variant, host, end, change);
            }
            Err(error @ OcspError::Revoked(_)) => {
                served.staple(variant, None);
                self.tell_revoked(variant, host, &error, change);
            }
            Err(error) => self.tell_failure(variant, host, &error, change),
        }
    }

    fn tell_stapled(
        &self,
        variant: VariantId,
        host: String,
        until: UnixTime,
        change: StapleChange,
    ) {
        let is_usual = change.before == StapleStanding::Good && change.failures == 0;
        let event = StapleEvent::Stapled { host, until, next: change.next, is_usual };
        self.tell(variant, event);
    }

    fn tell_failure(
        &self,
        variant: VariantId,
        host: String,
        error: &OcspError,
        change: StapleChange,
    ) {
        let event = StapleEvent::Failed {
            host,
            attempts: change.failures,
            why: error.to_string(),
            stapled_until: change.served_until,
            next: change.next,
            // Responders need a while for a new certificate.
            level: if change.failures == 1 { Level::Info } else { Level::Warn },
        };
        self.tell(variant, event);
    }

    fn tell_revoked(
        &self,
        variant: VariantId,
        host: String,
        error: &OcspError,
        change: StapleChange,
    ) {
        let (why, next) = (error.to_string(), change.next);
        let is_known = change.before == StapleStanding::Revoked;
        self.tell(variant, StapleEvent::Revoked { host, why, next, is_known });
    }

    fn tell(&self, variant: VariantId, event: StapleEvent) {
        self.site.tell(&Event::Staple(self.site.name(variant).to_owned(), event));
    }
}
