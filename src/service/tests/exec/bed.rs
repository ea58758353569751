//! Scripts in a directory, and a provider that runs them.

use acme_dns_core::config::{CommandLine, ExecProtocol, ExecSettings as Settings, SecretId};
use acme_dns_service::dns::exec::Exec;
use acme_dns_service::dns::{DnsProvider, PlacedRecord, ProviderError, TxtRecord, Zone};
use acme_dns_service::event::{Event, ProviderEvent};
use acme_dns_service::program::Programs;
use secrecy::SecretString;
use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const NAME: &str = "_acme-challenge.example.com";

/// Longer than a script takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Bed {
    pub(crate) dir: TempDir,
    events: Rc<RefCell<Vec<ProviderEvent>>>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), events: Rc::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a script, in which `$dir` is the directory of this bed.
    pub(crate) fn script(&self, name: &str, body: &str) -> String {
        let path = self.path(name);
        let text = format!("#!/bin/sh\ndir={}\n{body}\n", self.dir.path().display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    pub(crate) fn programs(&self) -> Rc<Programs> {
        Rc::new(Programs::new(self.path("homes"), crate::child::prepare))
    }

    pub(crate) fn exec(&self, settings: &Settings, secrets: &[&str]) -> Exec {
        let events = Rc::clone(&self.events);
        let tell = Rc::new(move |event| events.borrow_mut().push(event));
        let secret = |id: SecretId| SecretString::from(secrets[id.0]);
        Exec::new("own", settings, secret, self.programs(), tell)
    }

    /// Makes a provider with a script that is called as lego does it.
    pub(crate) fn lego(&self, body: &str) -> Exec {
        self.exec(&settings(lego(&self.script("hook", body))), &[])
    }

    /// Gives the lines that were told, as the log has them.
    pub(crate) fn log(&self) -> Vec<String> {
        let line = |event: &ProviderEvent| Event::Provider(event.clone()).to_string();
        self.events.borrow().iter().map(line).collect()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Tells whether no home directory is left.
    pub(crate) fn is_tidy(&self) -> bool {
        fs::read_dir(self.path("homes")).is_ok_and(|mut entries| entries.next().is_none())
    }
}

pub(crate) fn command(program: &str) -> CommandLine {
    CommandLine { program: program.to_owned(), arguments: Vec::new() }
}

pub(crate) fn lego(program: &str) -> ExecProtocol {
    ExecProtocol::Lego { command: command(program) }
}

pub(crate) fn dehydrated(program: &str, is_chained: bool) -> ExecProtocol {
    ExecProtocol::Dehydrated { command: command(program), is_chained }
}

pub(crate) fn settings(protocol: ExecProtocol) -> Settings {
    Settings {
        protocol,
        removes_by_name: false,
        timeout: LIMIT,
        variables: Vec::new(),
        secrets: Vec::new(),
    }
}

/// Adds a variable.
pub(crate) fn with_env(mut settings: Settings, name: &str, value: &str) -> Settings {
    settings.variables.push((name.to_owned(), value.to_owned()));
    settings
}

/// Adds a secret, the next one.
pub(crate) fn with_secret(mut settings: Settings, name: &str) -> Settings {
    settings.secrets.push((name.to_owned(), SecretId(settings.secrets.len())));
    settings
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn zone() -> Zone {
    Zone { id: "example.com".to_owned(), name: "example.com".to_owned() }
}

pub(crate) fn txt(name: &str, value: &str) -> TxtRecord {
    TxtRecord { name: name.to_owned(), value: value.to_owned() }
}

pub(crate) fn create(provider: &Exec, records: &[TxtRecord]) -> Result<(), ProviderError> {
    run(provider.create(&zone(), records)).map(|_| ())
}

pub(crate) fn remove(provider: &Exec, records: &[TxtRecord]) -> Result<(), ProviderError> {
    run(provider.remove(&placed(records), &|_| Ok(()))).map(|_| ())
}

pub(crate) fn placed(records: &[TxtRecord]) -> Vec<PlacedRecord> {
    let placed = |record: &TxtRecord| PlacedRecord {
        record: record.clone(),
        zone: zone(),
        id: Some(record.value.clone()),
    };
    records.iter().map(placed).collect()
}

/// Tells whether a process of this number is there, and no zombie.
pub(crate) fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

/// Waits until a process is gone.
pub(crate) fn wait_for_end(pid: &str) {
    let ended = servers::process::wait_until(LIMIT, || (!is_alive(pid)).then_some(()));
    ended.unwrap_or_else(|| panic!("{pid} is alive"));
}
