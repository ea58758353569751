//! What a person asks for by a file in `actions/` of the state path and a reload.
//!
//! | file | what is done |
//! |---|---|
//! | `renew-NAME` | the certificate is renewed now |
//! | `revoke-NAME` | the certificate is renewed now, and the one before it is revoked then |
//! | `rollover-ISSUER` | the account gets a new key |
//! | `forget-NAME` | what is kept of a certificate that is no longer configured is removed ([`super::forgetting`]) |
//!
//! The first line of `revoke-NAME` may name a reason (RFC 5280 section 5.3.1). Certificates in PEM
//! below it are those that are revoked; where there are none, those that are served are written
//! there first, so that a crash does not lead to the revocation of the new ones. A file stays until
//! what it asks for is done.

use super::clock::LONGEST_SLEEP;
use super::forgetting::{self, Forgotten};
use super::tasks::{Outcome, Report, Undone};
use super::work::Work;
use crate::acme::{KeyChoice, Obtainer};
use crate::store::Store;
use acme_dns_core::level::Level;
use openssl::x509::X509;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The pause before an action that failed is tried again.
const RETRY: Duration = Duration::from_secs(600);

/// The reasons that a certificate's owner can have (RFC 5280 section 5.3.1).
const REASONS: [(&str, u8); 5] = [
    ("unspecified", 0),
    ("keyCompromise", 1),
    ("affiliationChanged", 3),
    ("superseded", 4),
    ("cessationOfOperation", 5),
];

/// What was asked for and is not done.
#[derive(Default)]
pub(super) struct Actions(Vec<Pending>);

struct Pending {
    /// The name of the file.
    name: String,
    kind: Kind,
    state: State,
}

enum Kind {
    Renew,
    Revoke { certificates: Vec<Vec<u8>>, issuers: Vec<usize>, reason: Option<u8> },
    RollOver { issuer: usize },
    Forget(Forgotten),
}

enum State {
    /// For the renewal of these variants.
    WaitsFor(Vec<usize>),
    /// Can be done at this time.
    Ready(Instant),
    Running,
}

impl Actions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that the next certificate of a variant gets.
    pub(super) fn key_for(&self, entry: usize) -> KeyChoice {
        let revokes = self.0.iter().any(|pending| {
            let waits =
                matches!(&pending.state, State::WaitsFor(entries) if entries.contains(&entry));
            waits && matches!(pending.kind, Kind::Revoke { .. })
        });
        if revokes { KeyChoice::New } else { KeyChoice::Configured }
    }

    /// How long there is nothing to do.
    pub(super) fn pause(&self) -> Duration {
        let now = Instant::now();
        let pauses = self.0.iter().filter_map(|pending| match &pending.state {
            State::Ready(time) => Some(time.saturating_duration_since(now)),
            State::WaitsFor(_) | State::Running => None,
        });
        pauses.min().unwrap_or(LONGEST_SLEEP)
    }
}

impl Work {
    /// Reads what is asked for; what cannot be done is refused, with the reason.
    pub(super) fn read_actions(&mut self, store: &Store) {
        let files = match store.actions_all() {
            Ok(files) => files,
            Err(error) => return self.log(Level::Error, format_args!("{error}")),
        };
        for (name, content) in files {
            let pending = content.map_err(|error| error.to_string());
            let pending = pending.and_then(|content| self.read_action(store, &name, &content));
            match pending {
                Ok(pending) => {
                    self.log(Level::Notice, format_args!("asked for by \"actions/{name}\""));
                    self.actions().0.push(pending);
                }
                Err(error) => self.refuse_action(store, &name, &error),
            }
        }
    }

    /// Puts a file aside that asks for what cannot be done.
    fn refuse_action(&self, store: &Store, name: &str, why: &str) {
        let aside = store.action_refuse(name);
        let aside = aside.map(|path| format!("moved to \"{}\"", path.display()));
        let aside = aside.unwrap_or_else(|error| error.to_string());
        self.log(Level::Error, format_args!("\"actions/{name}\" cannot be done: {why}; {aside}"));
    }

    fn read_action(&mut self, store: &Store, name: &str, text: &[u8]) -> Result<Pending, String> {
        let unknown = "its name is none of \"renew-NAME\", \"revoke-NAME\", \"rollover-ISSUER\" and \
                       \"forget-NAME\"";
        let (verb, of) = name.split_once('-').ok_or(unknown)?;
        let (kind, state) = match verb {
            "renew" => (Kind::Renew, State::WaitsFor(self.renew(&self.entries_of(of)?))),
            "revoke" => self.read_revocation(store, name, of, text)?,
            "rollover" => {
                let issuer = self.config.issuers.iter().position(|issuer| issuer.name == of);
                let issuer =
                    issuer.ok_or_else(|| format!("no \"acme_dns_issuer\" \"{of}\" is defined"))?;
                (Kind::RollOver { issuer }, State::Ready(Instant::now()))
            }
            "forget" => {
                let forgotten = self.read_forgotten(store, of, &String::from_utf8_lossy(text))?;
                (Kind::Forget(forgotten), State::Ready(Instant::now()))
            }
            _ => return Err(unknown.to_owned()),
        };
        Ok(Pending { name: name.to_owned(), kind, state })
    }

    /// The variants of the certificate of that name.
    fn entries_of(&self, name: &str) -> Result<Vec<usize>, String> {
        let certificate = self.config.certificates.iter().find(|c| c.name == name);
        let variant = || self.config.variants.iter().position(|variant| variant.name == name);
        match certificate {
            Some(certificate) => Ok(certificate.variants.clone().collect()),
            None => variant()
                .map(|entry| vec![entry])
                .ok_or_else(|| format!("no certificate \"{name}\" is configured")),
        }
    }

    fn renew(&mut self, entries: &[usize]) -> Vec<usize> {
        if let Some(schedule) = self.schedule() {
            entries.iter().for_each(|entry| schedule.renew_now(*entry));
        }
        entries.to_vec()
    }

    fn read_revocation(
        &mut self,
        store: &Store,
        name: &str,
        of: &str,
        content: &[u8],
    ) -> Result<(Kind, State), String> {
        let entries = self.entries_of(of)?;
        let text = String::from_utf8_lossy(content);
        let reason = read_reason(&text)?;
        // What stands in is another certificate, which was not asked for.
        let is_own = |entry: &&usize| self.served(**entry).is_some_and(|s| !s.stands_in);
        let own = entries.iter().filter(is_own).filter_map(|entry| self.leaf(*entry));
        let own: Vec<Vec<u8>> = own.collect();
        let mut certificates = read_certificates(&text)?;
        if certificates.is_empty() {
            certificates = own;
            if certificates.is_empty() {
                return Err("there is no certificate to revoke".to_owned());
            }
            let text = write_revocation(&text, &certificates)?;
            store.action_write(name, text.as_bytes()).map_err(|error| error.to_string())?;
        }
        // A certificate that was split is served under several names: all of them need another.
        let is_in_use = |entry: &usize| {
            let leaf = self.served(*entry).and_then(|_| self.leaf(*entry));
            leaf.is_some_and(|leaf| certificates.contains(&leaf))
        };
        let in_use: Vec<usize> = (0..self.config.variants.len()).filter(is_in_use).collect();
        let issuers = entries.first().and_then(|entry| self.config.variant(*entry));
        let issuers = issuers.map(|(_, certificate)| certificate.issuers.clone());
        let kind = Kind::Revoke { certificates, issuers: issuers.unwrap_or_default(), reason };
        let state = match in_use.as_slice() {
            [] => State::Ready(Instant::now()),
            entries => State::WaitsFor(self.renew(entries)),
        };
        Ok((kind, state))
    }

    /// A variant was renewed, and a restart would serve the new certificate: what waited for it goes
    /// on.
    pub(super) fn note_renewal(&mut self, entry: usize) {
        let mut done = Vec::new();
        self.actions().0.retain_mut(|pending| {
            let State::WaitsFor(entries) = &mut pending.state else { return true };
            entries.retain(|other| *other != entry);
            if !entries.is_empty() {
                return true;
            }
            pending.state = State::Ready(Instant::now());
            let is_done = matches!(pending.kind, Kind::Renew);
            if is_done {
                done.push(pending.name.clone());
            }
            !is_done
        });
        let Some(store) = self.store() else { return };
        for name in done {
            self.finish_action(&store, &name);
        }
    }

    /// Begins what is ready.
    pub(super) fn act(&mut self, obtainer: &Rc<Obtainer>, report: &Report) {
        let now = Instant::now();
        let Some(store) = self.store() else { return };
        for pending in &mut self.actions().0 {
            if !matches!(pending.state, State::Ready(time) if time <= now) {
                continue;
            }
            pending.state = State::Running;
            let (name, obtainer, report) =
                (pending.name.clone(), Rc::clone(obtainer), report.clone());
            match &pending.kind {
                Kind::Renew => {}
                Kind::RollOver { issuer } => {
                    let issuer = *issuer;
                    tokio::task::spawn_local(async move {
                        let result = obtainer.roll_over_key(issuer).await;
                        let result = result.map_err(Undone::from);
                        let _ended = report.send(Outcome::Action { name, result });
                    });
                }
                Kind::Revoke { certificates, issuers, reason } => {
                    let (certificates, issuers, reason) =
                        (certificates.clone(), issuers.clone(), *reason);
                    let store = store.clone();
                    tokio::task::spawn_local(async move {
                        let mut result =
                            revoke_all(&obtainer, &certificates, &issuers, reason).await;
                        if result.is_ok() {
                            result = mark_revoked(&store, certificates).await;
                        }
                        let _ended = report.send(Outcome::Action { name, result });
                    });
                }
                Kind::Forget(forgotten) => {
                    let (forgotten, store) = (forgotten.clone(), store.clone());
                    tokio::task::spawn_local(async move {
                        let result = forgetting::forget(&obtainer, &store, forgotten).await;
                        let _ended = report.send(Outcome::Action { name, result });
                    });
                }
            }
        }
    }

    pub(super) fn handle_action(&mut self, name: &str, result: Result<(), Undone>) {
        match result {
            Ok(()) => {
                self.actions().0.retain(|pending| pending.name != name);
                if let Some(store) = self.store() {
                    self.finish_action(&store, name);
                }
            }
            // What the CA does not have now it will not have in ten minutes either.
            Err(Undone { why, is_final: true }) => {
                self.actions().0.retain(|pending| pending.name != name);
                if let Some(store) = self.store() {
                    self.refuse_action(&store, name, &why);
                }
            }
            Err(Undone { why, is_final: false }) => {
                let again = Instant::now() + RETRY;
                for pending in self.actions().0.iter_mut().filter(|p| p.name == name) {
                    pending.state = State::Ready(again);
                }
                let pause = RETRY.as_secs();
                self.log(
                    Level::Error,
                    format_args!(
                        "\"actions/{name}\" is not done: {why}; next attempt in {pause} s, remove the \
                         file and reload to give it up"
                    ),
                );
            }
        }
    }

    fn finish_action(&self, store: &Store, name: &str) {
        match store.action_done(name) {
            Ok(()) => self.log(Level::Notice, format_args!("\"actions/{name}\" is done")),
            Err(error) => {
                self.log(Level::Error, format_args!("\"actions/{name}\" is done, but {error}"));
            }
        }
    }
}

/// Revokes certificates, each at the first of its possible issuers that knows it.
async fn revoke_all(
    obtainer: &Obtainer,
    certificates: &[Vec<u8>],
    issuers: &[usize],
    reason: Option<u8>,
) -> Result<(), Undone> {
    let mut failed = None::<Undone>;
    for certificate in certificates {
        if let Err(undone) = revoke(obtainer, certificate, issuers, reason).await {
            match &mut failed {
                Some(failed) => failed.add(undone),
                None => failed = Some(undone),
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Revokes a certificate at the first of its possible issuers that knows it.
pub(super) async fn revoke(
    obtainer: &Obtainer,
    certificate: &[u8],
    issuers: &[usize],
    reason: Option<u8>,
) -> Result<(), Undone> {
    let mut undone = Undone { why: String::new(), is_final: true };
    for issuer in issuers {
        match obtainer.revoke(*issuer, certificate, reason).await {
            Ok(()) => return Ok(()),
            Err(error) => undone.add(error.into()),
        }
    }
    Err(undone)
}

/// Has revoked certificates never taken over: copies may lie under names that no configuration has any more.
async fn mark_revoked(store: &Store, certificates: Vec<Vec<u8>>) -> Result<(), Undone> {
    let mark = move |store: &Store| store.mark_revoked(&certificates);
    let marked = store.on_thread(mark).await;
    marked.map_err(|error| Undone { why: error.to_string(), is_final: false })
}

/// The reason in the first line, if there is one.
pub(super) fn read_reason(text: &str) -> Result<Option<u8>, String> {
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() || first.starts_with("-----BEGIN") {
        return Ok(None);
    }
    let found = REASONS.iter().find(|(name, _)| *name == first).map(|(_, code)| *code);
    found.map(Some).ok_or_else(|| {
        let known = REASONS.map(|(name, _)| name).join(", ");
        format!("its first line is none of the reasons {known}")
    })
}

/// The certificates of a text, in DER.
fn read_certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    if !text.contains("-----BEGIN") {
        return Ok(Vec::new());
    }
    let invalid = |_| "it holds something that is no certificate in PEM".to_owned();
    let certificates = X509::stack_from_pem(text.as_bytes()).map_err(invalid)?;
    certificates.iter().map(|certificate| certificate.to_der().map_err(invalid)).collect()
}

/// The reason that was given, and the certificates.
fn write_revocation(text: &str, certificates: &[Vec<u8>]) -> Result<String, String> {
    let mut out = text.lines().next().unwrap_or_default().trim().to_owned();
    out.push('\n');
    for der in certificates {
        let pem = X509::from_der(der).and_then(|certificate| certificate.to_pem());
        let pem = pem.map_err(|error| error.to_string())?;
        let _infallible = write!(out, "{}", String::from_utf8_lossy(&pem));
    }
    Ok(out)
}
