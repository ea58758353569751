//! A desk with listeners, and certificates that are issued for it.

use acme_dns_core::config::listener::{ExportReader, HookReader, WebhookReader};
use acme_dns_core::config::{Config, Listener, Resources, SecretCheck, SecretId, SecretSource};
use acme_dns_core::id::CertificateId;
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::time::UnixTime;
use acme_dns_service::event::{CertificateEvent, Event, ListenerEvent, NextAttempt, Sooner};
use acme_dns_service::host::{Host, NoRoom};
use acme_dns_service::notice::{Desk, DeskSettings, Timing, overhear};
use acme_dns_service::store::{IssuedPem, Store};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};
use secrecy::SecretString;
use servers::process::wait_until;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use zeroize::Zeroizing;

/// The name of the certificate.
pub(crate) const NAME: &str = "a.example";

/// Longer than anything takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const FAST: Timing = Timing {
    first: Duration::from_millis(50),
    longest: Duration::from_millis(200),
    patience: Duration::from_secs(1),
    look: Duration::from_secs(3600),
};

pub(crate) type Block<'a> = &'a [&'a [&'a str]];

/// Secrets that blocks refer to by the text itself, as the name of a file.
#[derive(Default)]
struct Secrets(Vec<SecretString>);

impl Resources for Secrets {
    fn warn(&mut self, _: &str) {}

    fn secret(&mut self, source: &SecretSource, _: SecretCheck) -> Result<SecretId, String> {
        let (SecretSource::File(text) | SecretSource::Environment(text)) = source;
        self.0.push(SecretString::from(text.clone()));
        Ok(SecretId(self.0.len() - 1))
    }

    fn mac_key(&mut self, _: &SecretSource) -> Result<SecretId, String> {
        Err("none".to_owned())
    }

    fn private_key(&mut self, _: &str) -> Result<SecretId, String> {
        Err("none".to_owned())
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|error| error.to_string())
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Host for Recorder {
    fn tell(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }

    fn publish(&self, _: CertificateId, _: &Material) -> Result<(), NoRoom> {
        Ok(())
    }

    fn prepare_program(&self, command: &mut Command) {
        crate::child::prepare(command);
    }
}

/// Directory with a state path, and listeners.
pub(crate) struct Bed {
    dir: TempDir,
    listeners: Vec<Listener>,
    secrets: Secrets,
    recorder: Arc<Recorder>,
}

/// Desk at work. It is killed when it is dropped, as a service is.
pub(crate) struct Working {
    host: Arc<dyn Host>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Working {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (listeners, secrets) = (Vec::new(), Secrets::default());
        Self { dir, listeners, secrets, recorder: Arc::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Makes a script, in which `$dir` is the directory of this bed.
    pub(crate) fn script(&self, name: &str, body: &str) -> String {
        let path = self.path(name);
        let text = format!("#!/bin/sh\ndir={}\n{body}\n", self.dir.path().display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Adds a hook with this body.
    pub(crate) fn hook(&mut self, body: &str, block: Block<'_>) {
        let program = self.script(&format!("hook{}", self.listeners.len()), body);
        let mut reader = HookReader::new(&[&program]).unwrap();
        for line in block {
            reader.set(line[0], &line[1..], &mut self.secrets).unwrap();
        }
        self.listeners.push(Listener::Hook(reader.finish().unwrap()));
    }

    pub(crate) fn webhook(&mut self, url: &str, block: Block<'_>) {
        let mut reader = WebhookReader::new(url).unwrap();
        for line in block {
            reader.set(line[0], &line[1..], &mut self.secrets).unwrap();
        }
        self.listeners.push(Listener::Webhook(reader.finish().unwrap()));
    }

    /// Adds an export of all certificates.
    pub(crate) fn export(&mut self, block: Block<'_>) {
        self.export_of("*", block);
    }

    /// Adds an export of a certificate, by its name.
    pub(crate) fn export_of(&mut self, name: &str, block: Block<'_>) {
        let group = |text: &str| text.parse().map_err(|_| "none".to_owned());
        let mut reader = ExportReader::new(name).unwrap();
        for line in block {
            reader.set(line[0], &line[1..], &mut self.secrets, group).unwrap();
        }
        self.listeners.push(Listener::Export(reader.finish().unwrap()));
    }

    fn store(&self) -> Store {
        Store::open(&self.path("state")).unwrap()
    }

    /// Saves a certificate, as an attempt does, and gives its chain. It has so many days of 100 left.
    pub(crate) fn save(&self, days: i64) -> String {
        let issued = issued(NAME, days);
        self.store().save_certificate(NAME, &issued).unwrap();
        issued.fullchain
    }

    pub(crate) fn start(&self) -> Working {
        self.start_with(FAST, false)
    }

    /// Starts a desk, and waits until it listens.
    pub(crate) fn start_with(&self, timing: Timing, is_restart: bool) -> Working {
        let mut config = Config::with_state_path(self.path("state"));
        config.add_certificate(NAME, &[NAME, "*.a.example"], &[KeyType::default()]);
        config.listeners.clone_from(&self.listeners);
        let settings = DeskSettings {
            config: Arc::new(config),
            store: self.store(),
            secrets: self.secrets.0.clone(),
            is_restart,
            timing,
        };
        let (host, inbox) = overhear(Arc::clone(&self.recorder) as Arc<dyn Host>);
        let (stop, stopped) = oneshot::channel::<()>();
        let (open, opened) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            LocalSet::new().block_on(&runtime.unwrap(), async move {
                let desk = Desk::open(inbox, settings).await;
                open.send(()).unwrap();
                tokio::select! {
                    () = desk.run() => {}
                    _ = stopped => {}
                }
            });
        });
        opened.recv_timeout(LIMIT).unwrap();
        Working { host, stop: Some(stop), thread: Some(thread) }
    }

    /// Gives the lines about listeners, as the log has them.
    pub(crate) fn log(&self) -> Vec<String> {
        let events = self.recorder.0.lock().unwrap();
        let of_listeners = events.iter().filter(|event| matches!(event, Event::Listener(..)));
        of_listeners.map(ToString::to_string).collect()
    }

    /// Counts failures that were told.
    pub(crate) fn failures(&self) -> usize {
        let events = self.recorder.0.lock().unwrap();
        let is_failure =
            |event: &&Event| matches!(event, Event::Listener(_, ListenerEvent::Failed { .. }));
        events.iter().filter(is_failure).count()
    }

    /// Waits for something.
    pub(crate) fn wait<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        let done = wait_until(LIMIT, condition);
        done.unwrap_or_else(|| panic!("{what}: {:#?}", self.log()))
    }

    /// Waits for a number of lines in a file.
    pub(crate) fn wait_for_lines(&self, file: &str, number: usize) -> Vec<String> {
        self.wait(file, || {
            let lines: Vec<String> = self.read(file).lines().map(str::to_owned).collect();
            (lines.len() >= number).then_some(lines)
        })
    }

    /// Waits until it is noted that so many listeners have the certificate that there is.
    pub(crate) fn wait_for_notes(&self, number: usize) {
        let chain = fs::read(self.path("state/certs").join(NAME).join("cert.pem")).unwrap();
        let digest = X509::from_pem(&chain).unwrap().digest(MessageDigest::sha256()).unwrap();
        let fingerprint: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.wait("the notes", || {
            let notes = self.read(&format!("state/notices/{NAME}.json"));
            (notes.matches(&fingerprint).count() == number).then_some(())
        });
    }

    /// Waits for a part of a line of the log.
    pub(crate) fn wait_for_log(&self, part: &str) -> String {
        self.wait(part, || self.log().into_iter().find(|line| line.contains(part)))
    }
}

impl Working {
    pub(crate) fn tell(&self, event: &Event) {
        self.host.tell(event);
    }

    pub(crate) fn tell_issued(&self) {
        self.tell(&Event::Certificate(
            NAME.to_owned(),
            CertificateEvent::Issued {
                issuer: "ca".to_owned(),
                took: Duration::ZERO,
                until: UnixTime(2),
                renewal: UnixTime(1),
                serial: "1".to_owned(),
                names: vec![NAME.to_owned()],
            },
        ));
    }

    pub(crate) fn tell_failed(&self, level: Level) {
        let next = NextAttempt { at: UnixTime(9), with: None, sooner: Sooner::Reload };
        let (from, why) = (None, "a \"reason\"".to_owned());
        let event = CertificateEvent::Failed { from, attempts: 3, next, why, level };
        self.tell(&Event::Certificate(NAME.to_owned(), event));
    }
}

/// Makes a certificate that has so many days of 100 left.
fn issued(name: &str, days: i64) -> IssuedPem {
    static SERIAL: AtomicI64 = AtomicI64::new(1);
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", "Test CA").unwrap();
    let subject = subject.build();
    let day = |day: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Asn1Time::from_unix(i64::try_from(now.as_secs()).unwrap() + day * 86400).unwrap()
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let serial = BigNum::from_dec_str(&serial.to_string()).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&day(days - 100)).unwrap();
    builder.set_not_after(&day(days)).unwrap();
    let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None));
    builder.append_extension(names.unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let pem = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    IssuedPem {
        key: Zeroizing::new(pem(key.private_key_to_pem_pkcs8().unwrap())),
        fullchain: pem(builder.build().to_pem().unwrap()),
        directory: "https://ca.example/directory".to_owned(),
        profile: None,
        ordered: None,
        is_imported: false,
    }
}
