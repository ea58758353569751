//! Requests of a person: the files of `actions/`, read at each start.
//!
//! `check`, `renew`, `renew-NAME`, `revoke-NAME`, `rollover-ISSUER` and `forget-NAME`. To add one: its name in
//! [`Actions::read_request`], a [`ActionKind`], and its work in [`carry_out`]. `request-NAME` is ours: it keeps what the
//! status page has asked for.

use super::clock::LONGEST_SLEEP;
use super::forgetting::{self, Forgetting, Inventory};
use super::outcome::{Outcome, Report, Undone};
use super::revoking::{mark_revoked, read_certificates, read_reason, revoke_all, write_revocation};
use super::served::Served;
use super::site::Site;
use crate::acme::{KeyChoice, Obtainer};
use crate::doctor::Doctor;
use crate::event::{ActionEvent, Event};
use crate::http::HttpError;
use crate::store::{Store, StoreError};
use acme_dns_core::findings::Request;
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Schedule;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The pause before a request that failed is tried again.
const RETRY: Duration = Duration::from_secs(600);

/// Requests that are not done yet.
pub(super) struct Actions {
    site: Rc<Site>,
    report: Report,
    requests: Vec<ActionRequest>,
}

/// ActionRequest of a person.
struct ActionRequest {
    /// The name of its file.
    name: String,
    kind: ActionKind,
    state: RequestState,
}

#[derive(Clone)]
enum ActionKind {
    /// The doctor's checks of a certificate, or of all.
    Check(Option<String>),
    Renew,
    Revoke {
        certificates: Vec<Vec<u8>>,
        issuers: Vec<IssuerId>,
        reason: Option<u8>,
    },
    ChangeKey {
        issuer: IssuerId,
    },
    Forget(Forgetting),
}

enum RequestState {
    /// For the renewal of these variants.
    WaitsFor(Vec<VariantId>),
    /// Can be carried out at this time.
    Ready(Instant),
    Running,
}

impl RequestState {
    fn ready() -> Self {
        Self::Ready(Instant::now())
    }
}

/// The parts that requests are read with.
pub(super) struct Readers<'a> {
    pub(super) schedule: &'a mut Schedule,
    pub(super) served: &'a Served,
    /// The names of the certificates whose files nginx reads.
    pub(super) read_by_nginx: &'a BTreeSet<String>,
}

impl Actions {
    pub(super) fn new(site: Rc<Site>, report: Report) -> Self {
        Self { site, report, requests: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Returns the key that the next certificate of a variant gets.
    pub(super) fn key_for(&self, variant: VariantId) -> KeyChoice {
        let revokes = self.requests.iter().any(|request| {
            let waits =
                matches!(&request.state, RequestState::WaitsFor(variants) if variants.contains(&variant));
            waits && matches!(request.kind, ActionKind::Revoke { .. })
        });
        if revokes { KeyChoice::New } else { KeyChoice::Configured }
    }

    /// Returns the time for which there is nothing to do.
    pub(super) fn pause(&self) -> Duration {
        let now = Instant::now();
        let pauses = self.requests.iter().filter_map(|request| match &request.state {
            RequestState::Ready(time) => Some(time.saturating_duration_since(now)),
            RequestState::WaitsFor(_) | RequestState::Running => None,
        });
        pauses.min().unwrap_or(LONGEST_SLEEP)
    }

    /// Reads the requests; what cannot be done is refused, with the reason.
    pub(super) fn read(&mut self, mut parts: Readers<'_>) {
        let files = match self.site.store.actions_all() {
            Ok(files) => files,
            Err(error) => return self.site.tell_failure(Level::Error, &error),
        };
        for (name, content) in files {
            let request = content.map_err(|error| error.to_string());
            let request =
                request.and_then(|content| self.read_request(&mut parts, &name, &content));
            match request {
                Ok(request) => {
                    self.tell(&name, ActionEvent::Requested);
                    self.requests.push(request);
                }
                Err(error) => self.refuse(&name, &error),
            }
        }
    }

    /// Sets a file aside that asks for what cannot be done.
    fn refuse(&self, name: &str, why: &str) {
        let aside = self.site.store.action_refuse(name);
        let aside = aside.map(|path| format!("moved to \"{}\"", path.display()));
        let aside = aside.unwrap_or_else(|error| error.to_string());
        self.tell(name, ActionEvent::Refused { why: why.to_owned(), aside });
    }

    fn read_request(
        &self,
        parts: &mut Readers<'_>,
        name: &str,
        text: &[u8],
    ) -> Result<ActionRequest, String> {
        let unknown = "its name is none of \"check\", \"check-NAME\", \"renew\", \"renew-NAME\", \
                       \"revoke-NAME\", \"rollover-ISSUER\" and \"forget-NAME\"";
        if name == "check" {
            let (kind, state) = (ActionKind::Check(None), RequestState::ready());
            return Ok(ActionRequest { name: name.to_owned(), kind, state });
        }
        if name == "renew" {
            let all = self.site.variants().collect();
            let (kind, state) = (ActionKind::Renew, renew(parts.schedule, all));
            return Ok(ActionRequest { name: name.to_owned(), kind, state });
        }
        let (verb, of) = name.split_once('-').ok_or(unknown)?;
        let (kind, state) = match verb {
            "check" => (ActionKind::Check(Some(of.to_owned())), RequestState::ready()),
            "renew" => (ActionKind::Renew, renew(parts.schedule, self.variants_of(of)?)),
            "request" => (ActionKind::Renew, want(parts.schedule, self.variants_of(of)?)),
            "revoke" => self.read_revocation(parts, name, of, text)?,
            "rollover" => {
                let issuer = self.site.config.issuers.find(|issuer| issuer.name == of);
                let issuer =
                    issuer.ok_or_else(|| format!("no \"acme_dns_issuer\" \"{of}\" is defined"))?;
                (ActionKind::ChangeKey { issuer }, RequestState::ready())
            }
            "forget" => {
                let Readers { served, read_by_nginx, .. } = *parts;
                let inventory = Inventory { site: &self.site, served, read_by_nginx };
                let removal = inventory.read_removal(of, &String::from_utf8_lossy(text))?;
                (ActionKind::Forget(removal), RequestState::ready())
            }
            _ => return Err(unknown.to_owned()),
        };
        Ok(ActionRequest { name: name.to_owned(), kind, state })
    }

    /// Finds the variants of the certificate of that name.
    fn variants_of(&self, name: &str) -> Result<Vec<VariantId>, String> {
        let config = &self.site.config;
        let certificate = config.certificates.values().find(|c| c.name == name);
        let variant = || config.variants.find(|variant| variant.name == name);
        match certificate {
            Some(certificate) => Ok(certificate.variants.clone().collect()),
            None => variant()
                .map(|variant| vec![variant])
                .ok_or_else(|| format!("no certificate \"{name}\" is configured")),
        }
    }

    fn read_revocation(
        &self,
        parts: &mut Readers<'_>,
        name: &str,
        of: &str,
        content: &[u8],
    ) -> Result<(ActionKind, RequestState), String> {
        let variants = self.variants_of(of)?;
        let text = String::from_utf8_lossy(content);
        let reason = read_reason(&text)?;
        let served = parts.served;
        // What stands in is another certificate, which was not asked for.
        let is_own = |variant: &&VariantId| served.get(**variant).is_some_and(|s| !s.stands_in);
        let own = variants.iter().filter(is_own).filter_map(|variant| served.leaf(*variant));
        let own: Vec<Vec<u8>> = own.collect();
        let mut certificates = read_certificates(&text)?;
        if certificates.is_empty() {
            certificates = own;
            if certificates.is_empty() {
                return Err("there is no certificate to revoke".to_owned());
            }
            let text = write_revocation(&text, &certificates)?;
            let written = self.site.store.action_write(name, text.as_bytes());
            written.map_err(|error| error.to_string())?;
        }
        // A certificate that was split is served under several names: all of them need another.
        let is_in_use = |variant: &VariantId| {
            served.leaf(*variant).is_some_and(|leaf| certificates.contains(&leaf))
        };
        let in_use: Vec<VariantId> = self.site.variants().filter(is_in_use).collect();
        let issuers = variants.first().map(|variant| self.site.variant(*variant).1.issuers.clone());
        let issuers = issuers.unwrap_or_default();
        let state = match in_use.is_empty() {
            true => RequestState::ready(),
            false => renew(parts.schedule, in_use),
        };
        Ok((ActionKind::Revoke { certificates, issuers, reason }, state))
    }

    /// Keeps the renewal of a certificate that the status page has asked for, until these variants are renewed.
    ///
    /// # Errors
    /// It is not on disk: a restart would forget it.
    pub(super) fn note_request(
        &mut self,
        certificate: &str,
        variants: Vec<VariantId>,
    ) -> Result<(), StoreError> {
        let name = format!("request-{certificate}");
        self.requests.retain(|request| request.name != name);
        let state = RequestState::WaitsFor(variants);
        self.requests.push(ActionRequest { name: name.clone(), kind: ActionKind::Renew, state });
        self.site.store.action_write(&name, b"")
    }

    /// Notes that a variant was renewed, and that a restart would serve the new certificate: what waited for it
    /// continues.
    pub(super) fn note_renewal(&mut self, variant: VariantId) {
        let mut done = Vec::new();
        self.requests.retain_mut(|request| {
            let RequestState::WaitsFor(variants) = &mut request.state else { return true };
            variants.retain(|other| *other != variant);
            if !variants.is_empty() {
                return true;
            }
            request.state = RequestState::ready();
            let is_done = matches!(request.kind, ActionKind::Renew);
            if is_done {
                done.push(request.name.clone());
            }
            !is_done
        });
        for name in done {
            self.finish(&name);
        }
    }

    /// Begins what is ready. `doctor` makes the one that is asked.
    pub(super) fn begin_ready(
        &mut self,
        obtainer: &Rc<Obtainer>,
        doctor: impl Fn() -> Result<Doctor, HttpError>,
    ) {
        let now = Instant::now();
        for request in &mut self.requests {
            if !matches!(request.state, RequestState::Ready(time) if time <= now) {
                continue;
            }
            request.state = RequestState::Running;
            let (name, kind) = (request.name.clone(), request.kind.clone());
            let (obtainer, site) = (Rc::clone(obtainer), Rc::clone(&self.site));
            let report = self.report.clone();
            let doctor = matches!(kind, ActionKind::Check(_)).then(&doctor);
            tokio::task::spawn_local(async move {
                let result = match (kind, doctor) {
                    (ActionKind::Check(certificate), Some(doctor)) => {
                        examine(doctor, certificate, &name, &site).await
                    }
                    (kind, _) => carry_out(kind, &obtainer, &site.store).await,
                };
                let _ended = report.send(Outcome::Action { name, result });
            });
        }
    }

    /// Handles the end of a request that was begun.
    pub(super) fn handle(&mut self, name: &str, result: Result<(), Undone>) {
        match result {
            Ok(()) => {
                self.requests.retain(|request| request.name != name);
                self.finish(name);
            }
            // What the CA does not have now it will not have in ten minutes either.
            Err(Undone { why, is_final: true }) => {
                self.requests.retain(|request| request.name != name);
                self.refuse(name, &why);
            }
            Err(Undone { why, is_final: false }) => {
                let again = Instant::now() + RETRY;
                for request in self.requests.iter_mut().filter(|request| request.name == name) {
                    request.state = RequestState::Ready(again);
                }
                self.tell(name, ActionEvent::Retrying { why, pause: RETRY });
            }
        }
    }

    fn tell(&self, name: &str, event: ActionEvent) {
        self.site.tell(&Event::Action(name.to_owned(), event));
    }

    fn finish(&self, name: &str) {
        match self.site.store.action_done(name) {
            Ok(()) => self.tell(name, ActionEvent::Done),
            Err(error) => self.tell(name, ActionEvent::NotForgotten { why: error.to_string() }),
        }
    }
}

fn renew(schedule: &mut Schedule, variants: Vec<VariantId>) -> RequestState {
    variants.iter().for_each(|variant| schedule.renew_now(*variant));
    RequestState::WaitsFor(variants)
}

/// Goes on with what the status page has asked for: no pause ends for it.
fn want(schedule: &mut Schedule, variants: Vec<VariantId>) -> RequestState {
    variants.iter().for_each(|variant| schedule.want(*variant));
    RequestState::WaitsFor(variants)
}

/// Has the doctor look at certificates, without a test record, and tells what it finds.
async fn examine(
    doctor: Result<Doctor, HttpError>,
    certificate: Option<String>,
    name: &str,
    site: &Site,
) -> Result<(), Undone> {
    let request = Request { certificate, writes: false, is_json: false };
    let report = match doctor {
        Ok(doctor) => doctor.run(&request, "").await,
        Err(error) => Err(error.to_string()),
    };
    let report = report.map_err(|why| Undone { why, is_final: true })?;
    let lines = report.findings.iter().map(|finding| format!("{}: {finding}", finding.subject));
    for line in lines.chain([report.summary()]) {
        site.tell(&Event::Action(name.to_owned(), ActionEvent::Found { line }));
    }
    Ok(())
}

async fn carry_out(kind: ActionKind, obtainer: &Obtainer, store: &Store) -> Result<(), Undone> {
    match kind {
        // The renewal was all; checks are made by the doctor.
        ActionKind::Renew | ActionKind::Check(_) => Ok(()),
        ActionKind::ChangeKey { issuer } => Ok(obtainer.change_key(issuer).await?),
        ActionKind::Revoke { certificates, issuers, reason } => {
            revoke_all(obtainer, &certificates, &issuers, reason).await?;
            mark_revoked(store, certificates).await
        }
        ActionKind::Forget(removal) => forgetting::forget(obtainer, store, removal).await,
    }
}
