//! The beginning of a configuration that is in force (nginx's `init_module`, in the master): the state path, the
//! helper process, and the certificates that the first handshakes get.
//!
//! How those are found is in `startup`, and what each process does when it begins in `core_module`.

use super::conf::{CoreConf, Ready, core_conf};
use super::cycle::Cycle;
use super::growth;
use super::helper;
use super::import;
use super::init_conf::watch;
use super::nginx::{tell, tell_once};
use super::privileges;
use super::requests::Requests;
use super::served::Catalog;
use super::startup::Startup;
use super::writer::Writer;
use acme_dns_core::config::state_path::DefaultPath;
use acme_dns_service::event::NginxEvent;
use acme_dns_service::reload::Watch;
use acme_dns_service::store::{User, certificates_path, create_state_path};
use std::path::PathBuf;
use std::sync::Arc;

/// Prepares all that the processes of a configuration need. The cycle is not the current one yet.
pub(super) fn put_into_force(cycle: Cycle<'_>, conf: &mut CoreConf) {
    let CoreConf { ready: Some(ready), vault, servers, since, takes_requests, .. } = conf else {
        return;
    };
    for shared in &ready.shared {
        tell(NginxEvent::Shared(shared.clone()));
    }
    prepare_helper(cycle, ready);
    let mut watch = watch(cycle, &ready.config, *since);
    watch.add_secrets(vault.files());
    open_to_workers(ready, &watch);
    ready.watch = Some(watch);
    tell_what_is_missing(ready);
    let (config, memory) = (Arc::clone(&ready.config), Arc::clone(&ready.memory));
    let catalog = Catalog { config, memory };
    servers.iter().for_each(|server| server.with_served(|served| served.open(&catalog)));
    // SAFETY: nginx is in this callback; the current cycle is still the one before, if there is one.
    let current = unsafe { Cycle::current() };
    let before = core_conf(current);
    let before = before.as_ref().and_then(|conf| conf.ready());
    before.iter().for_each(|before| growth::catch_up(&before.config, &before.memory));
    if *takes_requests {
        begin_requests(ready, before);
    }
    ready.is_news = before.is_none_or(|before| before.config != ready.config);
    let imported = import::read(ready, vault);
    let owner = ready.identity.owner_of_files();
    let published = privileges::with_files_of(owner, || {
        let mut writer = Writer::new(&ready.memory);
        Startup::new(ready, before, servers).publish(imported, &mut writer)
    });
    ready.facts = published.facts.into();
    ready.has_bad_pack = published.has_bad_pack;
    ready.unpacked = published.unpacked;
    ready.identity.has_foreign_files = published.has_foreign_files;
}

/// Makes the state path, and has nginx start the helper.
fn prepare_helper(cycle: Cycle<'_>, ready: &mut Ready) {
    let path = ready.config.state_path.clone();
    let user = ready.identity.user.map(|ids| User { uid: ids.uid, gid: ids.gid });
    if let Err(error) = create_state_path(&path, user) {
        tell(NginxEvent::NoStatePath { why: error.to_string() });
    }
    if cycle.add_manager(&path.to_string_lossy(), helper::manager).is_none() {
        tell(NginxEvent::ServiceNotStarted { why: "out of memory".to_owned() });
    }
    if let Some(mut settings) = cycle.core_settings()
        && settings.has_master()
    {
        ready.kept = privileges::keep_for_children(&mut settings);
    }
}

/// Lets the workers' group read `certs/` if files there are named with a variable: workers open those themselves.
fn open_to_workers(ready: &mut Ready, watch: &Watch) {
    let Some(workers) = ready.identity.workers.filter(|_| watch.by_variable) else { return };
    if ready.certs_group.is_some() || ready.identity.user == Some(workers) {
        return;
    }
    ready.certs_group = Some(workers.gid);
    let path = certificates_path(&ready.config.state_path);
    tell_once(NginxEvent::OpenedToWorkers { path });
}

/// Lets workers ask for renewals.
fn begin_requests(ready: &mut Ready, before: Option<&Ready>) {
    let before = before.and_then(|it| Some((&**it.requests.as_ref()?, &*it.config)));
    match Requests::begin(&ready.config, before) {
        Ok(requests) => ready.requests = Some(requests),
        Err(error) => tell(NginxEvent::NoRequests { why: error.to_string() }),
    }
}

/// Tells once what protects secrets and certificates less than it could, and what lies in a bad place.
fn tell_what_is_missing(ready: &Ready) {
    if ready.old_default {
        let (path, default) = (ready.config.state_path.clone(), DefaultPath::of_packages());
        let default = PathBuf::from(default);
        tell_once(NginxEvent::OldStatePath { path, default });
    }
    if let Some(event) = &ready.identity.missing {
        tell_once(event.clone());
    }
    if !ready.memory.is_sealed() {
        tell_once(NginxEvent::Unsealed);
    }
}
