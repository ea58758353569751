//! The start: from the settings to what the loop works with, once the lock is held.
//!
//! ```text
//! open the state path -> wait for the lock, serving what its holder writes (Waiting)
//!   -> wait for a rescue -> import -> load -> plan (Loaded) -> the loop (main_loop.rs)
//! ```

use super::actions::{Actions, Readers};
use super::clock::{now, pause_after, random};
use super::data::DataWatch;
use super::failing;
use super::importing;
use super::keeper::wait_for_rescue;
use super::listener::Listener;
use super::load::Loader;
use super::locking;
use super::outcome::{Outcome, Report};
use super::packing::Packing;
use super::parties::{Parties, fingerprint};
use super::plan;
use super::reloading::Reloading;
use super::secrets::{Secrets, UnknownSecret};
use super::served::Served;
use super::site::Site;
use super::stapling::Stapling;
use super::status::Status;
use super::unreadable::Unreadable;
use super::unsaved::Unsaved;
use super::watching::Watching;
use super::{Settings, clock};
use crate::host::Host;
use crate::import::Imports;
use crate::store::{Lock, PublishedFacts, Store};
use acme_dns_core::config::Config;
use acme_dns_core::id::{Table, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Known, Loading, Schedule, Validity};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Service whose state path is open, and whose lock another process may hold.
pub(super) struct Waiting {
    begun: Instant,
    site: Rc<Site>,
    secrets: Secrets,
    loading: Loading,
    facts: Arc<PublishedFacts>,
    imports: Imports,
    reloading: Reloading,
    data: DataWatch,
    status: Status,
    lease: Duration,
    is_news: bool,
    is_restart: bool,
    has_bad_pack: bool,
    unpacked: usize,
}

/// Service whose state path was loaded: everything that the loop works with.
pub(super) struct Loaded {
    pub(super) begun: Instant,
    pub(super) site: Rc<Site>,
    pub(super) secrets: Secrets,
    pub(super) schedule: Schedule,
    pub(super) served: Served,
    pub(super) stapling: Stapling,
    pub(super) actions: Actions,
    pub(super) unsaved: Unsaved,
    pub(super) unreadable: Unreadable,
    pub(super) reloading: Reloading,
    pub(super) data: DataWatch,
    pub(super) watching: Watching,
    pub(super) packing: Packing,
    pub(super) status: Status,
    pub(super) lease: Duration,
    pub(super) report: Report,
    pub(super) outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Waiting {
    /// Opens the state path, however long that takes.
    ///
    /// # Errors
    /// The configuration refers to a secret that is not there.
    pub(super) async fn open(
        settings: Settings,
        listener: Arc<Listener>,
    ) -> Result<Self, UnknownSecret> {
        let begun = Instant::now();
        let Settings {
            config,
            secrets,
            loading,
            watch,
            facts,
            imports,
            certs_group,
            lease,
            is_news,
            is_restart,
            has_bad_pack,
            unpacked,
        } = settings;
        let secrets = Secrets::new(secrets, &config, &imports)?;
        let host = listener.host();
        let store = open_store(&config, certs_group, &*host).await;
        let site = Rc::new(Site { config, store, host });
        let reloading = Reloading::new(Rc::clone(&site), watch.clone());
        let data = DataWatch::new(Rc::clone(&site), watch);
        let status = Status::new(Rc::clone(&site), listener);
        Ok(Self {
            begun,
            site,
            secrets,
            loading,
            facts,
            imports,
            reloading,
            data,
            status,
            lease,
            is_news,
            is_restart,
            has_bad_pack,
            unpacked,
        })
    }

    /// Takes the lock, however long that takes.
    pub(super) async fn take_lock(&mut self) -> Lock {
        locking::take_lock(&self.site, &self.facts, &mut self.reloading).await
    }

    /// Loads what is in the state path, as the holder of its lock, and tells what there is and what is planned.
    pub(super) async fn load(self) -> Loaded {
        let Self { begun, site, secrets, loading, facts, imports, mut reloading, .. } = self;
        let (data, status, lease, is_news) = (self.data, self.status, self.lease, self.is_news);
        wait_for_rescue(&site, !imports.certificates.is_empty()).await;
        let (report, outcomes) = mpsc::unbounded_channel();
        if self.has_bad_pack
            && let Err(error) = site.store.remove_pack()
        {
            site.tell_failure(Level::Warn, &error);
        }
        let packing = Packing::new(Rc::clone(&site), self.unpacked);
        let mut unsaved = Unsaved::new(Rc::clone(&site), report.clone());
        let mut unreadable = Unreadable::new(Rc::clone(&site));
        let mut served = Served::new(Rc::clone(&site));
        let mut taken_over = importing::import(&site, &secrets, imports, &mut unsaved).await;
        let fingerprint = fingerprint(&site.config, secrets.all());
        let loader = Loader {
            site: &site,
            served: &mut served,
            unsaved: &mut unsaved,
            unreadable: &mut unreadable,
            parties: Parties::new(&site, fingerprint),
        };
        let mut known = loader.load(&facts, &packing).await;
        let stapling = publish(&site, &mut served).await;
        importing::serve_unsaved(&site, &mut served, &mut taken_over, &mut known);
        let validities = validities(&known);
        let mut schedule = Schedule::new(known.into_values(), now(), loading, random);
        unreadable.bar(&mut schedule);
        importing::tell(&site, &schedule, &taken_over);
        failing::tell_standing(&site, &schedule);
        plan::tell_certificates(&site, &schedule, &validities, is_news);
        plan::tell_orders(&site, &schedule, site.variants());
        reloading.begin();
        let watching = Watching::new(Rc::clone(&site), fingerprint, self.is_restart);
        let mut actions = Actions::new(Rc::clone(&site), report.clone());
        actions.read(Readers {
            schedule: &mut schedule,
            served: &served,
            read_by_nginx: reloading.read_by_nginx(),
        });
        status.show_all(&schedule).await;
        Loaded {
            begun,
            site,
            secrets,
            schedule,
            served,
            stapling,
            actions,
            unsaved,
            unreadable,
            reloading,
            data,
            watching,
            packing,
            status,
            lease,
            report,
            outcomes,
        }
    }
}

async fn open_store(config: &Config, certs_group: Option<u32>, host: &dyn Host) -> Store {
    loop {
        match Store::open_shared(&config.state_path, certs_group) {
            Ok(store) => return store,
            Err(error) => pause_after(host, &error).await,
        }
    }
}

/// Publishes what was loaded, with its staples, as the helper before may have published into an older zone.
async fn publish(site: &Rc<Site>, served: &mut Served) -> Stapling {
    let mut stapling = Stapling::new(Rc::clone(site));
    for certificate in site.certificates() {
        clock::let_others_work(certificate.index()).await;
        stapling.begin_with(served, certificate);
        served.publish_anew(certificate);
    }
    stapling
}

fn validities(known: &Table<VariantId, Known>) -> HashMap<VariantId, Validity> {
    let validities = known.iter();
    validities.filter_map(|(variant, known)| Some((variant, known.validity?))).collect()
}
