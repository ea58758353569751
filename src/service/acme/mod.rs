//! Obtaining certificates from CAs by ACME (RFC 8555) with dns-01.
//!
//! ```text
//! place order, or go on with an earlier one -> read authorizations -> journal -> TXT records up
//!   -> wait for the zone's servers -> answer challenges -> order is ready
//!        -> CSR -> certificate -> preferred chain -> check -> keep
//!        \-> TXT records down -> journal
//! ```
//!
//! All records of an order go up together and are waited for together. They come down as soon as
//! the order is ready or has failed; what a process that died left up is in the journal.

mod account;
mod attempt;
mod directory;
mod error;
mod foreign_key;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hand_over;
mod issuer;
mod jws;
mod key_change;
mod log;
mod operations;
mod order;
mod preflight;
mod records;
mod regular;
mod renewal_info;
mod shared;
mod transport;

pub use attempt::KeyChoice;
pub use error::{AcmeError, ObtainError, Refusal, Step};
pub(crate) use foreign_key::account_key;
pub use renewal_info::{RenewalAnswer, certificate_id};

use crate::dns::{DnsProvider, Placed, Spared, TxtRecord};
use crate::host::Host;
use crate::http::{Clients, HttpError};
use crate::propagation::Checker;
use crate::resolver::Resolver;
use crate::store::{Entry, IssuedPem, PendingOrder, Store, StoreError};
use acme_dns_core::challenge::{Candidate, Kept, Mark, may_remove, record_name};
use acme_dns_core::config::{Config, SecretId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::name::Name;
use acme_dns_core::schedule::{Environment, Failure, Validity};
use acme_dns_core::text::list;
use acme_dns_core::time::UnixTime;
use attempt::Attempt;
use futures_util::future::join_all;
use issuer::Issuer;
use log::Log;
use order::Order;
use records::{Active, Claim, Removal, Source};
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// The most names of an order that nobody wants any more: no CA takes more, its file may hold them.
const MAX_NAMES: usize = 1000;

/// A certificate that was obtained and checked.
#[derive(Clone)]
pub struct Issued {
    /// For the disk.
    pub pem: IssuedPem,
    /// For the servers.
    pub material: Material,
    /// Its dates.
    pub validity: Validity,
    /// How far our clock is ahead of the CA's, in seconds, as far as its renewal depends on it.
    pub skew: i64,
    /// The CA as the certificate names it.
    pub issuer: String,
    /// The serial number in hexadecimal.
    pub serial: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("validity", &self.validity)
            .field("issuer", &self.issuer)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// The journal entries that are left and worth another look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Left {
    /// Their records could not be removed.
    pub failed: usize,
    /// Their order is under way, or a record of theirs may still appear.
    pub waiting: usize,
}

/// Where the order of an attempt is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ordered {
    /// The attempt has placed it.
    Now,
    /// An earlier one has.
    Before,
}

/// What became of a journal entry.
enum Cleaned {
    Done,
    Failed,
    Waiting,
}

/// Obtains the certificates of a configuration; its methods can run at the same time, on one
/// thread.
pub struct Obtainer {
    shared: Rc<Shared>,
}

struct Shared {
    config: Rc<Config>,
    issuers: Vec<Issuer>,
    providers: Vec<Box<dyn DnsProvider>>,
    store: Store,
    checker: Checker,
    resolver: Resolver,
    log: Log,
    /// The names of the challenge records of all certificates.
    challenges: HashSet<String>,
    /// Journal entries that are worked on.
    active: RefCell<HashSet<String>>,
    /// Journal entries that were warned of and stay.
    hopeless: RefCell<HashSet<String>>,
    /// When the records of journal entries were first looked for, of which it is not known whether
    /// they were created.
    looked: RefCell<HashMap<String, Instant>>,
    /// Number of failed readings of earlier attempts' orders, by their URLs, and of journal entries.
    unread: RefCell<HashMap<String, u32>>,
    /// What became of orders in the last attempts, by the names of variants.
    orders: RefCell<HashMap<String, Ordered>>,
    /// The records that an order or the removal of what an earlier one left is at work on.
    claimed: RefCell<HashSet<TxtRecord>>,
    /// Some of them are free again.
    unclaimed: Notify,
}

impl Shared {
    fn provider(&self, index: usize) -> Result<&dyn DnsProvider, ObtainError> {
        self.providers.get(index).map(AsRef::as_ref).ok_or(ObtainError::NoSuchCertificate)
    }

    /// Tells whether a record may be removed from its zone.
    fn may_remove(&self, candidate: &Candidate<'_>) -> Result<(), Kept> {
        may_remove(candidate, |name| self.challenges.contains(name))
    }

    /// Takes out of a journal entry what is never removed, wherever it is.
    fn removable(&self, mut entry: Entry) -> (Entry, Vec<Spared>) {
        let mut spared = Vec::new();
        entry.records.retain(|Placed { record, .. }| {
            let (name, value) = (record.name.as_str(), record.value.as_str());
            let candidate = Candidate { kind: "TXT", name, value, mark: Mark::Unread };
            match self.may_remove(&candidate) {
                Ok(()) => true,
                Err(why) => {
                    spared.push(Spared { record: record.clone(), why });
                    false
                }
            }
        });
        (entry, spared)
    }

    fn provider_named(&self, name: &str) -> Option<&dyn DnsProvider> {
        let index = self.config.providers.iter().position(|provider| provider.name == name)?;
        self.providers.get(index).map(AsRef::as_ref)
    }
}

impl Obtainer {
    /// `providers` are those of the configuration, in its order, and `secret` gives what it refers
    /// to. Nothing is contacted yet.
    ///
    /// # Errors
    /// The TLS library refuses an issuer's trusted certificates.
    pub fn new(
        config: Rc<Config>,
        providers: Vec<Box<dyn DnsProvider>>,
        store: Store,
        checker: Checker,
        clients: &Clients,
        secret: impl Fn(SecretId) -> SecretString,
        host: Arc<dyn Host>,
    ) -> Result<Self, HttpError> {
        let log = Log::new(host);
        let issuers = config.issuers.iter();
        let issuers = issuers.map(|issuer| Issuer::new(issuer, &store, clients, &secret, &log));
        let issuers = issuers.collect::<Result<_, _>>()?;
        let names = config.certificates.iter().flat_map(|certificate| &certificate.names);
        let challenges = names.map(|name| record_name(name.base())).collect();
        Ok(Self {
            shared: Rc::new(Shared {
                resolver: Resolver::of(&config.propagation),
                config,
                challenges,
                issuers,
                providers,
                store,
                checker,
                log,
                active: RefCell::default(),
                hopeless: RefCell::default(),
                looked: RefCell::default(),
                unread: RefCell::default(),
                orders: RefCell::default(),
                claimed: RefCell::default(),
                unclaimed: Notify::new(),
            }),
        })
    }

    /// Obtains a variant from an issuer, both by their index in the configuration. The caller saves it,
    /// and forgets its order. Runs within a `LocalSet`: removing TXT records may outlast it.
    ///
    /// # Errors
    /// The certificate was not obtained, or what came cannot be used.
    pub async fn obtain(
        &self,
        variant: usize,
        issuer: usize,
        key: KeyChoice,
    ) -> Result<Issued, ObtainError> {
        self.attempt(variant, issuer, key)?.obtain().await
    }

    /// Finds out whether the staging environment of an issuer would issue a variant. Runs within a
    /// `LocalSet`, as [`Obtainer::obtain`].
    ///
    /// # Errors
    /// It would not.
    pub async fn probe(&self, variant: usize, issuer: usize) -> Result<(), ObtainError> {
        self.attempt(variant, issuer, KeyChoice::Configured)?.probe().await
    }

    /// What the schedule has to know of a failed attempt for a variant, the last one.
    #[must_use]
    pub fn failure(&self, variant: usize, error: &ObtainError) -> Failure {
        let name = self.shared.config.variants.get(variant).map(|variant| &variant.name);
        let ordered = name.and_then(|name| self.shared.orders.borrow_mut().remove(name));
        Failure {
            ordered: ordered == Some(Ordered::Now),
            is_lost: ordered.is_some() && !error.leaves_order_alive(),
            ..error.failure()
        }
    }

    fn attempt(
        &self,
        variant: usize,
        issuer: usize,
        key: KeyChoice,
    ) -> Result<Attempt<'_>, ObtainError> {
        let shared = &self.shared;
        let found = shared.config.variant(variant).zip(shared.issuers.get(issuer));
        let ((variant, certificate), issuer) = found.ok_or(ObtainError::NoSuchCertificate)?;
        let log = shared.log.about("certificate", &variant.name);
        Ok(Attempt { shared, variant, certificate, issuer, key, log })
    }

    /// Gives up the orders of certificates that are no longer configured.
    pub async fn give_up_orders(&self) {
        let Shared { config, store, log, issuers, .. } = &*self.shared;
        let names = match store.orders_all() {
            Ok(names) => names,
            Err(error) => return log.warn(format_args!("{error}")),
        };
        let is_wanted = |name: &String| config.variants.iter().any(|v| v.name == *name);
        for name in names.into_iter().filter(|name| !is_wanted(name)) {
            let log = log.about("certificate", &name);
            let pending = match store.load_order(&name) {
                Ok(pending) => pending,
                Err(error) => {
                    log.warn(format_args!("{error}"));
                    continue;
                }
            };
            if let Some(pending) = &pending {
                let issuer = issuers.iter().find(|i| i.config().directory == pending.directory);
                match issuer {
                    Some(issuer) => match give_up(issuer, pending, &log).await {
                        Ok(()) => log.debug(format_args!("order {} given up", pending.url)),
                        // It is tried again at the next start.
                        Err(error) => {
                            log.debug(format_args!("{error}"));
                            continue;
                        }
                    },
                    None => log.debug(format_args!("order {} forgotten", pending.url)),
                }
            }
            if let Err(error) = store.remove_order(&name) {
                log.warn(format_args!("{error}"));
            }
        }
    }

    /// Removes the TXT records of orders that are not under way.
    pub async fn clean_journal(&self) -> Left {
        let entries = match self.shared.store.journal_all() {
            Ok(entries) => entries,
            Err(error) => {
                self.shared.log.warn(format_args!("{error}"));
                return Left { failed: 1, waiting: 0 };
            }
        };
        let cleanings = entries.into_iter().map(|(id, entry)| async move {
            match Active::take(&self.shared, &id) {
                Some(active) => self.clean_entry(active, entry).await,
                None => Cleaned::Waiting,
            }
        });
        join_all(cleanings).await.into_iter().fold(Left::default(), |left, cleaned| match cleaned {
            Cleaned::Done => left,
            Cleaned::Failed => Left { failed: left.failed + 1, ..left },
            Cleaned::Waiting => Left { waiting: left.waiting + 1, ..left },
        })
    }

    async fn clean_entry(&self, active: Active, entry: Result<Entry, StoreError>) -> Cleaned {
        let Shared { log, store, hopeless, .. } = &*self.shared;
        let entry = match entry {
            Ok(entry) => entry,
            // It will be read when it can be.
            Err(error) if error.is_denied() => {
                let path = format!("journal/{}", active.id);
                let mut unread = self.shared.unread.borrow_mut();
                if unread.insert(path, 1).is_none() {
                    log.warn(format_args!(
                        "{error}; TXT records of an earlier order may be left until then"
                    ));
                }
                return Cleaned::Failed;
            }
            Err(error) => {
                match store.journal_set_aside(&active.id) {
                    Ok(aside) => log.warn(format_args!(
                        "{error}; moved to \"{}\", TXT records may be left",
                        aside.display()
                    )),
                    Err(other) => log.warn(format_args!("{error}; {other}")),
                }
                return Cleaned::Done;
            }
        };
        if hopeless.borrow().contains(&active.id) {
            return Cleaned::Done;
        }
        let (entry, mut spared) = self.shared.removable(entry);
        let names = names_of(entry.records.iter().map(|placed| &placed.record));
        if !entry.records.is_empty() && self.shared.provider_named(&entry.provider).is_none() {
            hopeless.borrow_mut().insert(active.id.clone());
            log.warn(format_args!(
                "TXT {names} cannot be removed: no \"acme_dns_provider\" named \"{}\" is defined \
                 any more",
                entry.provider
            ));
            return Cleaned::Done;
        }
        let records = entry.records.iter().map(|placed| &placed.record);
        let Some(_claim) = Claim::take(&self.shared, records) else { return Cleaned::Waiting };
        let removed = match &*entry.records {
            [] => Ok(Removal::Done(Vec::new())),
            _ => records::remove(&self.shared, &active, &entry, Source::Disk).await,
        };
        let closed = match removed {
            Ok(Removal::LookAgain) => return Cleaned::Waiting,
            Ok(Removal::Done(found)) => {
                if entry.records.len() > found.len() {
                    let message = format_args!("TXT {names} of an earlier order removed");
                    log.write(Level::Notice, message);
                }
                spared.extend(found);
                records::close(&self.shared, &active, &spared).await
            }
            Err(why) => Err(why),
        };
        match closed {
            Ok(()) => Cleaned::Done,
            Err(why) => {
                log.warn(format_args!(
                    "TXT {names} of an earlier order cannot be removed now, will be tried \
                     again: {why}"
                ));
                Cleaned::Failed
            }
        }
    }
}

/// Gives up what is pending of an order.
async fn give_up(issuer: &Issuer, pending: &PendingOrder, log: &Log) -> Result<(), AcmeError> {
    let session = issuer.session(Environment::Production).await?;
    let names = pending.names.iter().filter_map(|name| Name::parse(name).ok());
    let names: Vec<Name> = names.take(MAX_NAMES).collect();
    if let Some(mut order) = Order::find(session, pending, &names, log.clone()).await? {
        order.abandon().await;
    }
    Ok(())
}

/// The names of records, each once.
fn names_of<'a>(records: impl IntoIterator<Item = &'a TxtRecord>) -> String {
    let names: BTreeSet<&str> = records.into_iter().map(|record| record.name.as_str()).collect();
    list(&names.into_iter().collect::<Vec<_>>())
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
