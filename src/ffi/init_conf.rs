//! Completion of a configuration, when all of nginx.conf has been read (nginx's `init_conf`): what the directives
//! have said becomes a [`Ready`]. Nothing is written, and nobody is contacted: `nginx -t` does the same.

use super::bound::BoundServer;
use super::conf::{CoreConf, Ready};
use super::cycle::{CoreSettings, Cycle};
use super::identity::{self, Identity};
use super::memory::{Parts, SharedMemory};
use super::nginx::{is_test, loading, tell_test};
use super::programs;
use super::public_area::Area;
use super::watched;
use acme_dns_core::config::binding::Choosing;
use acme_dns_core::config::draft::{DraftError, Finished};
use acme_dns_core::config::listener::is_exported;
use acme_dns_core::config::server::StandIn;
use acme_dns_core::config::sharing::Shared;
use acme_dns_core::config::state_path::DefaultPath;
use acme_dns_core::config::{ChallengeMethod, Config, Issuer, Location, Reload, zone};
use acme_dns_core::id::CertificateId;
use acme_dns_core::index::NameIndex;
use acme_dns_core::name::Name;
use acme_dns_service::import::Imports;
use acme_dns_service::reload::{Paths, Watch};
use acme_dns_service::store::{check_state_path, is_kept};
use std::collections::HashMap;
use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Number of lines that are left out with a warning each.
const LEFT_OUT: usize = 10;

const NO_MEMORY: &str = "acme_dns: out of memory";

/// Resolves the configuration, puts our callbacks into the contexts, and makes shared memory.
///
/// # Errors
/// The configuration is refused, for this reason.
pub(super) fn complete(cycle: Cycle<'_>, conf: &mut CoreConf) -> Result<(), String> {
    let default_path = default_state_path(cycle).ok_or(NO_MEMORY)?;
    let old_default = default_path.is_old && !conf.draft.has_state_path();
    let warn = |message: &str| cycle.warn(message);
    let requests = conf.servers.iter().map(|server| server.request(&mut conf.draft, warn));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    if conf.draft.is_unused() {
        if let Some(location) = &conf.status {
            return Err(format!(
                "\"acme_dns_status\" has nothing to show, no server has \"acme_dns\" in {location}"
            ));
        }
        check_choosing(&conf.servers, conf.draft.has_domains())?;
        // Servers that have inherited the directive, and nothing to certify.
        install_all(&conf.servers);
        return Ok(());
    }
    let finished = std::mem::take(&mut conf.draft).finish(default_path.path);
    let mut finished = finished.map_err(|error| error.to_string())?;
    finished.config.listeners = std::mem::take(&mut conf.listeners);
    keep_for_choosing(&conf.servers, &mut finished)?;
    let shared = share(cycle, &mut finished, conf.since);
    if is_test() {
        shared.iter().for_each(|shared| tell_test(&format!("acme_dns: {shared}")));
    }
    for (server, request) in conf.servers.iter().zip(requests) {
        let own = request.and_then(|id| finished.certificate(id));
        let default = server.choosing().and_then(|choosing| choosing.default.as_ref());
        let default = default.and_then(|name| finished.config.certificate_named(name));
        name_certificate(server, own.or(default), &finished.config);
    }
    install_all(&conf.servers);
    warn_of_left_out(&finished.left_out, warn);
    let mut config = finished.config;
    config.make_room();
    if let Some(block) = &conf.library {
        let program = programs::find(conf.providers_program.as_deref(), block)?;
        config.providers_program = Some(program.file.path.clone());
        conf.programs.push(program);
    }
    let room = room(conf.zone.as_ref(), config.variants.capacity(), warn);
    check_state_path(&config.state_path).map_err(|error| {
        format!("state path \"{}\" cannot be used: {error}", config.state_path.display())
    })?;
    let settings = cycle.core_settings().ok_or(NO_MEMORY)?;
    let user = conf.user.as_ref();
    let identity = identity::decide(user, &settings, conf.certs_group, &config.state_path, warn)?;
    warn_of_standing_keys(&config, &identity, warn);
    programs::check(&conf.programs, &settings, &identity)?;
    programs::check_exports(&conf.exports, &config, &identity)?;
    conf.vault.finish(identity.workers, warn);
    warn_of_lost_proxy(&settings, warn);
    watched::check(&config, &identity, warn)?;
    let slots = config.certificates.capacity();
    let parts = Parts {
        slots,
        additions: slots - config.certificates.len(),
        public: Area::words(&config).ok_or(NO_MEMORY)?,
    };
    let index = name_index(&conf.servers, &config);
    let memory = SharedMemory::new(parts, &index, room);
    let memory =
        memory.map_err(|error| format!("acme_dns: cannot create shared memory: {error}"))?;
    memory.names().iter().for_each(|names| warn_of_uncovered(&conf.servers, *names, warn));
    Area::new(&memory, &config).begin();
    conf.ready = Some(Ready {
        config: Arc::new(config),
        loading: loading(),
        facts: Arc::default(),
        has_bad_pack: false,
        unpacked: 0,
        imports: Imports::default(),
        watch: None,
        memory,
        requests: None,
        identity,
        certs_group: conf.certs_group,
        is_news: true,
        old_default,
        kept: None,
        shared,
    });
    Ok(())
}

/// Warns of lines of watched domains files that are left out, of a few each.
fn warn_of_left_out(mistakes: &[DraftError], warn: impl Fn(&str)) {
    for mistake in mistakes.iter().take(LEFT_OUT) {
        warn(&format!("{mistake}, the line is left out"));
    }
    if mistakes.len() > LEFT_OUT {
        warn(&format!("{} more lines of domains files are left out", mistakes.len() - LEFT_OUT));
    }
}

/// Tells a server which certificate it has.
fn name_certificate(server: &BoundServer, certificate: Option<CertificateId>, config: &Config) {
    server.with_certificate(|own| {
        own.certificate = certificate;
        if let Some(certificate) = certificate.and_then(|id| config.certificates.get(id)) {
            own.name.clone_from(&certificate.name);
            own.names = certificate.names.iter().map(|name| name.as_str().to_owned()).collect();
        }
    });
}

fn install_all(servers: &[BoundServer]) {
    let mut alike = HashMap::new();
    // A connection begins with the context of a default server, whichever server it turns to.
    let binds = choosing(servers).next().is_some();
    servers.iter().for_each(|server| server.install(&mut alike, binds));
}

/// Lists the servers that choose certificates by name.
fn choosing(servers: &[BoundServer]) -> impl Iterator<Item = (&BoundServer, &Choosing)> {
    servers.iter().filter_map(|server| Some((server, server.choosing()?)))
}

/// Checks whether servers that choose may have no certificate: a domains file can be empty at first.
fn check_choosing(servers: &[BoundServer], has_domains: bool) -> Result<(), String> {
    choosing(servers).try_for_each(|(server, choosing)| match &choosing.default {
        Some(default) => Err(no_default(default, server.place())),
        None if has_domains => Ok(()),
        None => Err(format!(
            "\"acme_dns sni\" has no certificate to choose from: no server and no \"acme_dns_domains\" asks for one \
             in {}",
            server.place()
        )),
    })
}

fn no_default(default: &str, place: &Location) -> String {
    format!("no certificate \"{default}\" is defined for \"default={default}\" in {place}")
}

/// Has certificates be there as servers that choose need them.
fn keep_for_choosing(servers: &[BoundServer], finished: &mut Finished) -> Result<(), String> {
    for (server, choosing) in choosing(servers) {
        if let Some(default) = &choosing.default
            && !finished.keep_named(default)
        {
            return Err(no_default(default, server.place()));
        }
        if server.wants_staple() {
            finished.staple_all();
        }
    }
    Ok(())
}

/// Builds the index of names, if a server needs it.
fn name_index(servers: &[BoundServer], config: &Config) -> Vec<u64> {
    match choosing(servers).next() {
        // The standard library's keys are random.
        Some(_) => config.name_index(RandomState::new().build_hasher().finish()),
        None => Vec::new(),
    }
}

/// Warns of names of servers that choose which are in no certificate.
fn warn_of_uncovered(servers: &[BoundServer], index: NameIndex<'_>, warn: impl Fn(&str)) {
    for (server, choosing) in choosing(servers) {
        let stand_in = match &choosing.default {
            Some(default) => StandIn::Certificate(default.clone()),
            None => server.stand_in(),
        };
        let is_covered = |name: &Name| index.find(name.as_str()).next().is_some();
        let lines = server.names.uncovered(is_covered, &stand_in, server.place());
        lines.iter().for_each(|line| warn(line));
    }
}

/// Warns of an HTTP proxy that the environment names and that nginx does not pass on: the CA would be contacted
/// without it, where it cannot be reached at all.
fn warn_of_lost_proxy(settings: &CoreSettings<'_>, warn: impl Fn(&str)) {
    const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let is_set = |name: &&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let (passed, lost): (Vec<&str>, Vec<&str>) =
        VARIABLES.into_iter().filter(is_set).partition(|name| settings.passes_on(name));
    if let ([], [name, ..]) = (passed.as_slice(), lost.as_slice()) {
        warn(&format!(
            "environment variable \"{name}\" names a proxy that is not used for certificates, because nginx does \
             not pass it on: add \"env {name};\" at the top of nginx.conf"
        ));
    }
}

/// Warns of account keys that workers can read, where such a key is all that it takes: with dns-persist-01
/// nothing else is needed for a certificate. A key of `account_key` lies in the state path too.
fn warn_of_standing_keys(config: &Config, identity: &Identity, warn: impl Fn(&str)) {
    let Some(user) = identity.shared_user() else { return };
    let is_standing = |issuer: &&Issuer| issuer.challenges.contains(&ChallengeMethod::DnsPersist01);
    for Issuer { name, .. } in config.issuers.values().filter(is_standing) {
        warn(&format!(
            "the account key of issuer \"{name}\" can be read by user \"{user}\", as which workers run: whoever \
             has it can obtain certificates as long as records of dns-persist-01 are there; give the service a \
             user of its own with \"acme_dns_user\""
        ));
    }
}

/// Has servers share the certificates of others whose wildcards cover their names. Certificates that are there
/// already, or that the configuration reads, stay; with other clients' certificates to be imported, all
/// are wanted.
fn share(cycle: Cycle<'_>, finished: &mut Finished, since: SystemTime) -> Vec<Shared> {
    if !finished.config.imports.is_empty() || !finished.can_share() {
        return Vec::new();
    }
    let config = Config { reload: Reload::Auto, ..finished.config.clone() };
    let watch = watch(cycle, &config, since);
    if watch.by_variable {
        return Vec::new();
    }
    let state_path = config.state_path;
    let listeners = finished.config.listeners.clone();
    let is_used = |name: &str| watch.names.contains(name) || is_exported(&listeners, name);
    finished.share(|name| is_used(name) || is_kept(&state_path, name))
}

/// Gives the room for the records of so many certificates, in bytes.
fn room(given: Option<&(zone::SharedZone, Location)>, count: usize, warn: impl Fn(&str)) -> usize {
    let Some((zone, location)) = given else {
        return zone::SharedZone::for_certificates(count).size;
    };
    if !zone.suits(count) {
        warn(&format!(
            "zone \"{}\" may be too small for {count} certificates, remove \
             \"acme_dns_shared_zone\" to have it sized automatically, in {location}",
            zone.name
        ));
    }
    zone.size
}

/// Gives the state path where none is configured; `None` if nginx's prefix is not UTF-8.
fn default_state_path(cycle: Cycle<'_>) -> Option<DefaultPath> {
    // What cannot be looked at is there, for all that is known.
    let is_there = |path: &Path| path.try_exists().unwrap_or(true);
    Some(DefaultPath::new(Path::new(cycle.prefix()?), is_there))
}

/// Finds out which directives of nginx read files of the state path.
pub(super) fn watch(cycle: Cycle<'_>, config: &Config, since: SystemTime) -> Watch {
    let main = Path::new(cycle.conf_file().unwrap_or_default());
    let prefix = Path::new(cycle.conf_prefix().unwrap_or_default());
    Watch::scan(config, Paths { main, prefix }, since)
}
