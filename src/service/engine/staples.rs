//! What is stapled to the certificates that are served.
//!
//! A staple belongs to one leaf: it is kept with the pair that is served, and goes when that is
//! replaced. After a reload the staples of the process before are taken over from the workers.

use super::tasks;
use super::work::{Tools, Work, now, random};
use crate::ocsp::{Good, OcspError, Question, Unasked};
use crate::store::full_chain_path;
use acme_dns_core::level::Level;
use acme_dns_core::material::{Pair, Staple};
use acme_dns_core::staple::{Action, Answer, Change, Standing};
use acme_dns_core::time::UnixTime;

impl Work {
    /// The service begins, and serves what is on disk of a certificate.
    pub(super) fn begin_staples(&mut self, certificate: usize) {
        let Some(certificate_config) = self.config.certificates.get(certificate) else { return };
        if !certificate_config.staples {
            return;
        }
        let variants = certificate_config.variants.clone();
        let published = self.host.published(certificate);
        let published = published.map_or_else(Vec::new, |material| material.pairs);
        for entry in variants {
            if !self.take_over_staple(entry, &published) {
                self.begin_staple(entry);
            }
        }
    }

    /// Goes on with what the process before has stapled to the same certificate, if that is good.
    fn take_over_staple(&mut self, entry: usize, published: &[Pair]) -> bool {
        let now = now();
        let Some(pair) = self.served_mut(entry).and_then(|served| served.pair.as_mut()) else {
            return false;
        };
        let leaf = pair.chain.first();
        let found = published.iter().find(|pair| pair.chain.first() == leaf);
        let good = found.and_then(|pair| pair.staple.as_ref()).and_then(|staple| {
            let question = Question::new(&pair.chain).ok()?;
            question.check(&staple.response, now).ok()
        });
        let Some(Good { staple, window }) = good else { return false };
        pair.staple = Some(staple);
        self.staples.begin_with(entry, window, now, random());
        true
    }

    /// A variant is served: its responder is asked, if it wants a staple and has a responder.
    pub(super) fn begin_staple(&mut self, entry: usize) {
        let is_wanted = self.config.variant(entry).is_some_and(|(_, c)| c.staples);
        let Some(chain) = self.chain(entry).filter(|_| is_wanted) else { return };
        let why = match Question::new(chain) {
            Ok(_) => return self.staples.begin(entry, now()),
            Err(why) => why,
        };
        self.staples.end(entry);
        let name = self.variant_name(entry);
        match why {
            Unasked::NoResponder => self.log(
                Level::Debug,
                format_args!("certificate \"{name}\" names no OCSP responder: nothing is stapled"),
            ),
            Unasked::NoIssuer => self.log(
                Level::Warn,
                format_args!(
                    "certificate \"{name}\": nothing is stapled: {why}; append the issuer's certificate to \
                     \"{}\" and reload",
                    full_chain_path(&self.config.state_path, name).display()
                ),
            ),
        }
    }

    /// Asks the responders that are due, and takes away what has ended.
    pub(super) fn tend_staples(&mut self, tools: &Tools) {
        let now = now();
        while let Some(action) = self.staples.poll(now) {
            match action {
                Action::Ask(entry) => self.ask_responder(entry, tools),
                Action::Withdraw(entry) => {
                    self.staple(entry, None);
                    let name = self.variant_name(entry);
                    self.log(
                        Level::Warn,
                        format_args!(
                            "certificate \"{name}\": the OCSP response has ended, nothing is \
                             stapled until there is another"
                        ),
                    );
                }
            }
        }
    }

    fn ask_responder(&mut self, entry: usize, tools: &Tools) {
        let chain = self.chain(entry);
        let question =
            chain.and_then(|chain| Some((chain.first()?.clone(), Question::new(chain).ok()?)));
        let Some((leaf, question)) = question else {
            self.staples.handle_stale();
            return self.staples.end(entry);
        };
        tasks::ask_responder(entry, leaf, question, tools.clients.get(None), &tools.report);
    }

    pub(super) fn handle_stapling(
        &mut self,
        entry: usize,
        leaf: &[u8],
        host: &str,
        answer: Result<Good, OcspError>,
    ) {
        let current = self.chain(entry).and_then(|chain| chain.first());
        // It may have been replaced while the responder was asked.
        if current.is_none_or(|current| current != leaf) {
            return self.staples.handle_stale();
        }
        let kind = match &answer {
            Ok(good) => Answer::Good(good.window),
            Err(OcspError::Revoked(_)) => Answer::Revoked,
            Err(_) => Answer::Failed,
        };
        let Some(change) = self.staples.handle_answer(entry, now(), kind, random()) else { return };
        match answer {
            Ok(good) => {
                let end = good.window.next_update;
                self.staple(entry, Some(good.staple));
                self.log_stapled(entry, host, end, change);
            }
            Err(error @ OcspError::Revoked(_)) => {
                self.staple(entry, None);
                self.log_revoked(entry, host, &error, change);
            }
            Err(error) => self.log_failure(entry, host, &error, change),
        }
    }

    /// Has the workers staple this, or nothing.
    fn staple(&mut self, entry: usize, staple: Option<Staple>) {
        let Some(pair) = self.served_mut(entry).and_then(|served| served.pair.as_mut()) else {
            return;
        };
        if pair.staple == staple {
            return;
        }
        pair.staple = staple;
        if let Some(variant) = self.config.variants.get(entry) {
            self.publish(variant.certificate);
        }
    }

    fn log_stapled(&self, entry: usize, host: &str, end: UnixTime, change: Change) {
        let is_usual = change.before == Standing::Good && change.failures == 0;
        let level = if is_usual { Level::Debug } else { Level::Info };
        let (name, next) = (self.variant_name(entry), change.next);
        self.log(
            level,
            format_args!(
                "certificate \"{name}\": OCSP response of \"{host}\" stapled, valid until {end}, \
                 the next is asked for at {next}"
            ),
        );
    }

    fn log_failure(&self, entry: usize, host: &str, error: &OcspError, change: Change) {
        // Responders need a while for a new certificate.
        let level = if change.failures == 1 { Level::Info } else { Level::Warn };
        let (name, failures, next) = (self.variant_name(entry), change.failures, change.next);
        let meanwhile = match change.served_until {
            Some(end) => format!("the one before is stapled until {end}"),
            None => "nothing is stapled".to_owned(),
        };
        self.log(
            level,
            format_args!(
                "certificate \"{name}\": no OCSP response from \"{host}\", attempt {failures}: \
                 {error}; {meanwhile}, next attempt at {next}"
            ),
        );
    }

    fn log_revoked(&self, entry: usize, host: &str, error: &OcspError, change: Change) {
        let is_known = change.before == Standing::Revoked;
        let level = if is_known { Level::Debug } else { Level::Error };
        let (name, next) = (self.variant_name(entry), change.next);
        self.log(
            level,
            format_args!(
                "certificate \"{name}\" is refused by clients, nothing is stapled: \"{host}\" says \
                 that {error}; to replace it, create \"actions/renew-{name}\" in the state path and \
                 reload; the responder is asked again at {next}"
            ),
        );
    }

    /// The chain of a variant that is served. It is there for those that want a staple.
    fn chain(&self, entry: usize) -> Option<&Vec<Vec<u8>>> {
        Some(&self.served(entry)?.pair.as_ref()?.chain)
    }

    pub(super) fn variant_name(&self, entry: usize) -> &str {
        self.config.variants.get(entry).map_or("", |variant| variant.name.as_str())
    }
}
