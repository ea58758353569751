//! The program, and providers that call it.

use acme_dns_core::challenge::Kept;
use acme_dns_core::config::provider::library_types;
use acme_dns_core::config::{LibrarySettings as Settings, LibraryType, SecretId, SettingValue};
use acme_dns_service::dns::library::{Library, Writers};
use acme_dns_service::dns::{
    DnsProvider, PlacedRecord, ProviderError, SparedRecord, TxtRecord, Zone,
};
use acme_dns_service::event::{Event, ProviderEvent};
use acme_dns_service::program::Programs;
use secrecy::SecretString;
use servers::paths::providers_program;
use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use tempfile::TempDir;

pub(crate) const ZONE: &str = "example.com";
pub(crate) const NAME: &str = "_acme-challenge.example.com";

pub(crate) struct Bed {
    pub(crate) dir: TempDir,
    programs: Rc<Programs>,
    pub(crate) environment: Vec<(String, String)>,
    writers: Rc<Writers>,
    events: Rc<RefCell<Vec<ProviderEvent>>>,
}

/// A setting with a made-up value.
pub(crate) enum Made<'a> {
    Text(&'a str),
    Secret(&'a str),
}

impl Bed {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            programs: programs(&dir, &providers_program().display().to_string()),
            dir,
            environment: Vec::new(),
            writers: Rc::default(),
            events: Rc::default(),
        }
    }

    /// Has a shell script in the place of the program.
    pub(crate) fn with_script(mut self, body: &str) -> Self {
        let path = self.dir.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        self.programs = programs(&self.dir, &path.display().to_string());
        self
    }

    pub(crate) fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// Makes a provider of a type.
    pub(crate) fn provider(&self, kind: &str, settings: &[(&'static str, Made<'_>)]) -> Library {
        let mut secrets: Vec<String> = Vec::new();
        let mut values = Vec::new();
        for (name, made) in settings {
            values.push((
                *name,
                match made {
                    Made::Text(text) => SettingValue::Text((*text).to_owned()),
                    Made::Secret(text) => {
                        secrets.push((*text).to_owned());
                        SettingValue::Secret(SecretId(secrets.len() - 1))
                    }
                },
            ));
        }
        let settings = Settings { kind: kind_of(kind), values, ttl: 60 };
        let programs = Rc::clone(&self.programs);
        let events = Rc::clone(&self.events);
        let tell = Rc::new(move |event| events.borrow_mut().push(event));
        let secret = |id: SecretId| SecretString::from(secrets[id.0].as_str());
        let writers = Rc::clone(&self.writers);
        let library = Library::new("own", &settings, secret, programs, writers, tell);
        library.with_environment(self.environment.clone())
    }

    /// Gives the lines that were told, as the log has them.
    pub(crate) fn log(&self) -> Vec<String> {
        let line = |event: &ProviderEvent| Event::Provider(event.clone()).to_string();
        self.events.borrow().iter().map(line).collect()
    }
}

fn programs(dir: &TempDir, path: &str) -> Rc<Programs> {
    let programs = Programs::new(dir.path().join("homes"), crate::child::prepare);
    Rc::new(programs.with_providers_program(Some(path)))
}

pub(crate) fn kind_of(name: &str) -> &'static LibraryType {
    library_types().find(|kind| kind.name == name).unwrap()
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn zone() -> Zone {
    Zone { id: ZONE.to_owned(), name: ZONE.to_owned() }
}

pub(crate) fn txt(name: &str, value: &str) -> TxtRecord {
    TxtRecord { name: name.to_owned(), value: value.to_owned() }
}

pub(crate) async fn create(
    provider: &Library,
    records: &[TxtRecord],
) -> Result<Vec<String>, ProviderError> {
    provider.create(&zone(), records).await
}

/// Removes records as an order does that has created them.
pub(crate) async fn remove(
    provider: &Library,
    records: &[TxtRecord],
) -> Result<Vec<SparedRecord>, ProviderError> {
    provider.remove(&placed(records), &|_| Ok(())).await
}

/// Removes records of which a rule lets none be removed.
pub(crate) async fn remove_none(
    provider: &Library,
    records: &[TxtRecord],
) -> Result<Vec<SparedRecord>, ProviderError> {
    provider.remove(&placed(records), &|_| Err(Kept::NotConfigured)).await
}

fn placed(records: &[TxtRecord]) -> Vec<PlacedRecord> {
    let placed = |record: &TxtRecord| PlacedRecord {
        record: record.clone(),
        zone: zone(),
        id: Some(record.value.clone()),
    };
    records.iter().map(placed).collect()
}
