//! The desk: it hears what is told, decides who is to know it, and notes who does.

use super::Inbox;
use super::certificate::{Held, describe, hex, look};
use super::export::Exporter;
use super::hook::{HookTeller, Runner};
use super::limits::{Texts, admit};
use super::mapping::{Brief, Told};
use super::memory::Memory;
use super::queue::{Deployed, Queue, Task, Timing};
use super::teller::Teller;
use super::webhook::{WebhookSecrets, WebhookTeller};
use crate::event::{Event, ListenerEvent, StateEvent};
use crate::host::Host;
use crate::http::Clients;
use crate::program::Programs;
use crate::store::{Notes, Store, StoreError, hooks_path};
use acme_dns_core::config::{Config, Listener, SecretId};
use acme_dns_core::level::Level;
use acme_dns_core::notice::{Notice, NoticeKind, SCHEMA, Subject};
use acme_dns_core::time::UnixTime;
use openssl::sha::sha256;
use secrecy::SecretString;
use std::collections::HashMap;
use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio::time::interval;

/// Name of the notes about all certificates, which none can have.
const ALL: &str = "~all";

/// In the place of a fingerprint that was lost.
const UNKNOWN: &str = "unknown";

/// A certificate expires if less than this part of its life is left: renewals are due long before.
const LAST_PART: u32 = 5;

/// Ground that a desk stands on.
pub struct DeskSettings {
    /// The configuration.
    pub config: Arc<Config>,
    /// The state path.
    pub store: Store,
    /// The secrets of the configuration.
    pub secrets: Vec<SecretString>,
    /// Set if a service has worked with this configuration before.
    pub is_restart: bool,
    /// Pauses.
    pub timing: Timing,
}

/// Listener with its way.
struct Seat {
    listener: Listener,
    /// Number by which notes know it.
    id: String,
    tasks: mpsc::UnboundedSender<Task>,
    exporter: Option<Exporter>,
}

/// The desk.
pub struct Desk {
    inbox: Inbox,
    settings: DeskSettings,
    /// Name of the machine.
    machine: String,
    sans: HashMap<String, Vec<String>>,
    seats: Vec<Seat>,
    queues: Vec<Queue>,
    done: mpsc::UnboundedReceiver<Deployed>,
    notes: HashMap<String, Notes>,
    held: HashMap<String, Held>,
    texts: Texts,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// Reads what was told before. What is issued from now on is seen as new.
    pub async fn open(inbox: Inbox, settings: DeskSettings) -> Self {
        let sans = sans(&settings.config);
        let names: Vec<String> = sans.keys().cloned().chain([ALL.to_owned()]).collect();
        let memory = Memory::read(&settings.store, names).await;
        let Memory { held, mut notes, lost, errors } = memory;
        let (tell_done, done) = mpsc::unbounded_channel();
        let (seats, queues) = seats(&settings, &inbox.host, &tell_done);
        // Rather told twice than not at all.
        for name in lost {
            let delivered = seats.iter().map(|seat| (seat.id.clone(), UNKNOWN.to_owned()));
            let told = Default::default();
            notes.insert(name, Notes { delivered: delivered.collect(), told });
        }
        let machine = fs::read_to_string("/proc/sys/kernel/hostname");
        let machine =
            machine.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned());
        let texts = Texts::default();
        let desk = Self { inbox, settings, machine, sans, seats, queues, done, notes, held, texts };
        errors.iter().for_each(|error| desk.tell_failure(error));
        desk
    }

    /// Works until it is dropped. It is a task of a `LocalSet`, as its queues are.
    pub async fn run(mut self) {
        for queue in std::mem::take(&mut self.queues) {
            tokio::task::spawn_local(queue.run());
        }
        for name in self.sans.keys().cloned().collect::<Vec<_>>() {
            self.check_exports(&name).await;
            self.deploy(&name).await;
        }
        if self.settings.is_restart {
            let message = "the acme dns process was started anew under the same configuration, as the one \
                           before had ended";
            self.tell(Brief::new(NoticeKind::Restarted, None, message.to_owned())).await;
        }
        let mut look = interval(self.settings.timing.look);
        loop {
            tokio::select! {
                Some(told) = self.inbox.told.recv() => self.hear(told).await,
                Some(deployed) = self.done.recv() => self.note_deployed(deployed).await,
                _ = look.tick() => self.look_at_ends().await,
                else => return,
            }
        }
    }

    /// Tells whether the configuration has a variant of this name, perhaps since a domains file has added it.
    fn knows(&mut self, name: &str) -> bool {
        if !self.sans.contains_key(name) && self.sans.len() < self.settings.config.variants.len() {
            self.sans = sans(&self.settings.config);
        }
        self.sans.contains_key(name)
    }

    async fn hear(&mut self, told: Told) {
        match told {
            // Files may be saved under a name that the configuration does not have.
            Told::Files(name) if !self.knows(&name) => {}
            Told::Files(name) => {
                self.look_again(&name).await;
                self.tell_recovered(&name).await;
                self.deploy(&name).await;
            }
            Told::Brief(brief) => self.tell(brief).await,
        }
        let number = self.inbox.dropped.swap(0, Ordering::Relaxed);
        if number > 0 {
            let event = ListenerEvent::Dropped { number };
            self.inbox.host.tell(&Event::Listener("hooks and webhooks".to_owned(), event));
        }
    }

    /// Looks at a certificate that may be new.
    async fn look_again(&mut self, name: &str) {
        let of = name.to_owned();
        let looked = self.settings.store.on_thread(move |store| look(store, [&of].into_iter()));
        match looked.await {
            Ok(looked) => self.held.extend(looked),
            Err(error) => self.tell_failure(&error),
        }
    }

    /// Tells that what had failed has succeeded.
    async fn tell_recovered(&mut self, name: &str) {
        for of in [name, ALL] {
            let notes = self.notes.entry(of.to_owned()).or_default();
            if notes.told.remove(NoticeKind::Failed.word()).is_none() {
                continue;
            }
            self.save(of).await;
            let (certificate, message) = match of {
                ALL => (None, "certificates are obtained again".to_owned()),
                name => (Some(name), format!("certificate \"{name}\" was obtained after failures")),
            };
            self.tell(Brief::new(NoticeKind::Recovered, certificate, message)).await;
        }
    }

    /// Has listeners told that do not have the certificate of this name that there is.
    async fn deploy(&mut self, name: &str) {
        let held = self.held.get(name).cloned();
        let mut notes = self.notes.get(name).cloned().unwrap_or_default();
        for (place, seat) in self.seats.iter().enumerate() {
            let wants = |kind| seat.listener.wants(kind, Some(name));
            if !wants(NoticeKind::Issued) && !wants(NoticeKind::Renewed) {
                continue;
            }
            let fingerprint = held.as_ref().map_or("", |held| held.fingerprint.as_str());
            let had = notes.delivered.get(&seat.id).map(String::as_str);
            if had == Some(fingerprint) {
                continue;
            }
            let kind = match had {
                Some("") => NoticeKind::Issued,
                Some(_) => NoticeKind::Renewed,
                None => NoticeKind::Issued,
            };
            // A hook that is new in the configuration knows what there is; an export has to write it.
            let is_for_it = had.is_some() || seat.exporter.is_some();
            if held.is_some() && is_for_it && wants(kind) {
                let listener = place;
                let (name, fingerprint) = (name.to_owned(), fingerprint.to_owned());
                let notice = self.deployment(kind, &name, &fingerprint);
                let deployed = Some(Deployed { name, fingerprint, listener });
                let _ended = seat.tasks.send(Task { notice, deployed });
            } else if had.is_none_or(|_| held.is_some()) {
                notes.delivered.insert(seat.id.clone(), fingerprint.to_owned());
            }
        }
        if self.notes.get(name) != Some(&notes) {
            notes.delivered.retain(|id, _| self.seats.iter().any(|seat| seat.id == *id));
            self.notes.insert(name.to_owned(), notes);
            self.save(name).await;
        }
    }

    /// Forgets what an export has, if its files are not as they are to be.
    async fn check_exports(&mut self, name: &str) {
        let Some(held) = self.held.get(name) else { return };
        let mut missing = Vec::new();
        for seat in &self.seats {
            let Some(exporter) = &seat.exporter else { continue };
            let is_noted = self.notes.get(name).and_then(|notes| notes.delivered.get(&seat.id))
                == Some(&held.fingerprint);
            if !is_noted || !exporter.export.is_for(name) {
                continue;
            }
            let (files, of) = (exporter.clone_for_files(), name.to_owned());
            let are_current = tokio::task::spawn_blocking(move || files.are_current(&of)).await;
            if !are_current.unwrap_or(false) {
                missing.push(seat.id.clone());
            }
        }
        if missing.is_empty() {
            return;
        }
        let notes = self.notes.entry(name.to_owned()).or_default();
        missing.into_iter().for_each(|id| drop(notes.delivered.insert(id, String::new())));
        self.save(name).await;
    }

    async fn note_deployed(&mut self, deployed: Deployed) {
        let Deployed { name, fingerprint, listener } = deployed;
        let Some(seat) = self.seats.get(listener) else { return };
        let notes = self.notes.entry(name.clone()).or_default();
        notes.delivered.insert(seat.id.clone(), fingerprint);
        self.save(&name).await;
    }

    /// Tells which certificates expire.
    async fn look_at_ends(&mut self) {
        let now = now();
        let ending = self.held.iter().filter_map(|(name, held)| {
            let validity = held.validity?;
            let life = validity.not_after.since(validity.not_before);
            let rest = validity.not_after.since(now);
            (rest * LAST_PART < life).then(|| (name.clone(), validity.not_after))
        });
        for (name, end) in ending.collect::<Vec<_>>() {
            let message = match end > now {
                true => format!("certificate \"{name}\" expires at {end}, and is not renewed yet"),
                false => format!("certificate \"{name}\" has expired at {end}"),
            };
            let needs_person = end <= now;
            let brief = Brief::new(NoticeKind::Expiring, Some(&name), message);
            self.tell(Brief { needs_person, ..brief }).await;
        }
    }

    /// Tells a notice that is not about new files, unless it was told lately.
    async fn tell(&mut self, brief: Brief) {
        let now = now();
        let name = brief.certificate.clone().unwrap_or_else(|| ALL.to_owned());
        let notes = self.notes.entry(name.clone()).or_default();
        let before = notes.told.clone();
        let is_admitted = admit(notes, brief.kind, now) && self.texts.admit(&brief, now);
        if before != notes.told {
            self.save(&name).await;
        }
        if !is_admitted {
            return;
        }
        let wants = |seat: &&Seat| {
            let wants = |kind| seat.listener.wants(kind, brief.certificate.as_deref());
            wants(brief.kind) || brief.needs_person && wants(NoticeKind::Attention)
        };
        let notice = self.notice(&brief, now);
        for seat in self.seats.iter().filter(wants) {
            let _ended = seat.tasks.send(Task { notice: notice.clone(), deployed: None });
        }
    }

    fn notice(&self, brief: &Brief, time: UnixTime) -> Notice {
        let of = brief.certificate.as_deref().unwrap_or_default();
        let subject = match &brief.certificate {
            Some(name) => self.describe(name),
            None => Subject::default(),
        };
        Notice {
            version: SCHEMA,
            id: id(&[brief.kind.word(), of, &brief.message, &time.to_string()]),
            kind: brief.kind,
            needs_person: brief.needs_person,
            time,
            host: self.machine.clone(),
            message: brief.message.clone(),
            subject,
            attempts: brief.attempts,
            next_attempt: brief.next_attempt,
            error: brief.error.clone(),
        }
    }

    /// Makes the notice of new files. It is the same after a restart, but for its time.
    fn deployment(&self, kind: NoticeKind, name: &str, fingerprint: &str) -> Notice {
        let subject = self.describe(name);
        let until = subject.not_after.map(|end| format!(", valid until {end}")).unwrap_or_default();
        let by = subject.issuer.as_ref().map(|issuer| format!(" by \"{issuer}\""));
        let message = format!("certificate \"{name}\" was {kind}{}{until}", by.unwrap_or_default());
        let brief = Brief::new(kind, Some(name), message);
        Notice { id: id(&[kind.word(), name, fingerprint]), ..self.notice(&brief, now()) }
    }

    fn describe(&self, name: &str) -> Subject {
        let sans = self.sans.get(name).map(Vec::as_slice).unwrap_or_default();
        describe(&self.settings.config.state_path, name, sans)
    }

    /// Keeps the notes about a certificate.
    async fn save(&self, name: &str) {
        let Some(notes) = self.notes.get(name).cloned() else { return };
        let name = name.to_owned();
        let saved = self.settings.store.on_thread(move |store| store.save_notes(&name, &notes));
        if let Err(error) = saved.await {
            self.tell_failure(&error);
        }
    }

    fn tell_failure(&self, error: &StoreError) {
        let (why, level) = (error.to_string(), Level::Warn);
        self.inbox.host.tell(&Event::State(StateEvent::Failed { why, level }));
    }
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// Makes a number of a text.
fn id(parts: &[&str]) -> String {
    hex(&sha256(parts.join("\n").as_bytes())).chars().take(16).collect()
}

/// Lists the variants with the names that they are for.
fn sans(config: &Config) -> HashMap<String, Vec<String>> {
    let sans = config.variants.values().filter_map(|variant| {
        let certificate = config.certificates.get(variant.certificate)?;
        let sans = certificate.names.iter().map(|name| name.as_str().to_owned()).collect();
        Some((variant.name.clone(), sans))
    });
    sans.collect()
}

/// Gives each listener a seat at the desk, and a queue.
fn seats(
    settings: &DeskSettings,
    host: &Arc<dyn Host>,
    done: &mpsc::UnboundedSender<Deployed>,
) -> (Vec<Seat>, Vec<Queue>) {
    let preparing = Arc::clone(host);
    let homes = hooks_path(&settings.config.state_path);
    let prepare = move |command: &mut std::process::Command| preparing.prepare_program(command);
    let tools = Tools {
        settings,
        host,
        programs: Rc::new(Programs::new(homes, prepare)),
        clients: Rc::default(),
    };
    let mut seats = Vec::new();
    let mut queues = Vec::new();
    for listener in &settings.config.listeners {
        let (tasks, received) = mpsc::unbounded_channel();
        let (teller, exporter) = tools.teller(listener);
        queues.push(Queue {
            teller,
            label: listener.to_string(),
            host: Arc::clone(host),
            timing: settings.timing,
            tasks: received,
            done: done.clone(),
        });
        let identity = listener.identity();
        let before = seats.iter().filter(|seat: &&Seat| seat.listener.identity() == identity);
        let id = id(&[&identity, &before.count().to_string()]);
        seats.push(Seat { listener: listener.clone(), id, tasks, exporter });
    }
    (seats, queues)
}

/// Tools that listeners share.
struct Tools<'a> {
    settings: &'a DeskSettings,
    host: &'a Arc<dyn Host>,
    programs: Rc<Programs>,
    clients: Rc<Clients>,
}

impl Tools<'_> {
    /// Makes the way in which a listener is told.
    fn teller(&self, listener: &Listener) -> (Teller, Option<Exporter>) {
        let host = Arc::clone(self.host);
        let label = listener.to_string();
        let say = Rc::new(move |line| {
            host.tell(&Event::Listener(label.clone(), ListenerEvent::Output { line }));
        });
        let runner = Runner { programs: Rc::clone(&self.programs), say };
        let secret = |id: SecretId| self.settings.secrets.get(id.0).cloned().unwrap_or_default();
        match listener.clone() {
            Listener::Hook(hook) => {
                let secrets = hook.secrets.iter().map(|(name, id)| (name.clone(), secret(*id)));
                let secrets = secrets.collect();
                (Teller::Hook(HookTeller::new(hook, secrets, runner)), None)
            }
            Listener::Webhook(webhook) => {
                let secrets = WebhookSecrets {
                    path: webhook.path.map(secret),
                    signing: webhook.secret.map(secret),
                    authorization: webhook.authorization.map(secret),
                };
                let clients = Rc::clone(&self.clients);
                (Teller::Webhook(WebhookTeller::new(webhook, secrets, clients)), None)
            }
            Listener::Export(export) => {
                let password = export.password.map(secret);
                let (store, host) = (self.settings.store.clone(), Arc::clone(self.host));
                let exporter = Exporter { export, password, store, host, runner };
                (Teller::Export(exporter.clone()), Some(exporter))
            }
        }
    }
}
