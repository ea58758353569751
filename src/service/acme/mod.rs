//! Certificates from CAs by ACME (RFC 8555).
//!
//! ```text
//! place an order, or resume an earlier one -> read authorizations -> journal -> TXT records created
//!   -> wait for the zone's servers -> answer challenges -> order is ready
//!        -> CSR -> certificate -> preferred chain -> check
//!        \-> TXT records removed -> journal
//! ```
//!
//! `attempt` takes this way once for one certificate. `issuer`, `account`, `order` and `transport` talk to
//! the CA; `choice` chooses the method and `solver` proves names; `records` and `cleanup` create and remove what
//! solvers need, `persist` looks for what stays. All records of an order are created together and waited for
//! together. They are removed as soon as the order is ready or has failed; those of a process that died are
//! in the journal. Where a provider has no room for all of them, names are proven in rounds ([`rounds`]).
//!
//! When something is ordered, and what becomes of a certificate, is decided in [`crate::engine`].

mod account;
mod attempt;
mod choice;
mod claims;
mod cleanup;
mod directory;
mod error;
mod foreign_key;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hand_over;
mod inspection;
mod issuer;
mod jws;
mod key_change;
mod links;
mod observer;
mod operations;
mod order;
mod persist;
mod preflight;
mod problem;
mod records;
mod regular;
mod renewal_info;
mod rounds;
mod routes;
mod single_flight;
mod solver;
mod step;
mod teller;
mod transport;
mod visibility;
mod wildcards;
mod witness;

pub use attempt::KeyChoice;
pub use claims::UnderWay;
pub use cleanup::Leftovers;
pub use error::{AcmeError, NeededRecord, ObtainError};
pub(crate) use foreign_key::account_key;
pub(crate) use inspection::{Inspection, inspect};
pub use problem::Problem;
pub use renewal_info::{RenewalAnswer, certificate_id};
pub use step::Step;
use wildcards::Wildcards;
pub use witness::Witness;

use crate::dns::{DnsProvider, TxtRecord};
use crate::event::{OrderEvent, Subject};
use crate::host::Host;
use crate::http::{Clients, HttpError};
use crate::propagation::Checker;
use crate::resolver::Resolver;
use crate::store::{IssuedPem, PendingOrder, Store};
use acme_dns_core::challenge::{Candidate, Kept, may_remove};
use acme_dns_core::config::{Config, SecretId};
use acme_dns_core::id::{IssuerId, ProviderId, Table, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::name::Name;
use acme_dns_core::schedule::{Environment, Failure, Validity};
use acme_dns_core::text::list;
use acme_dns_core::time::UnixTime;
use attempt::OrderAttempt;
use claims::Claimed;
use issuer::IssuerClient;
use order::Order;
use routes::Routes;
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use teller::Teller;
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
    /// Seconds that our clock is ahead of the CA's, as far as its renewal depends on it.
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

/// Origin of the order of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OrderOrigin {
    /// The attempt has placed it.
    Now,
    /// An earlier one has.
    Before,
}

/// Obtains the certificates of a configuration; its methods can run at the same time, on one
/// thread.
pub struct Obtainer {
    state: Rc<ObtainerState>,
}

struct ObtainerState {
    config: Arc<Config>,
    issuers: Table<IssuerId, IssuerClient>,
    providers: Table<ProviderId, Box<dyn DnsProvider>>,
    store: Store,
    checker: Checker,
    resolver: Resolver,
    teller: Teller,
    /// The names of all certificates, without `*.`.
    domains: RefCell<HashSet<String>>,
    wildcards: RefCell<Wildcards>,
    routes: Routes,
    /// The names of variants that are worked on.
    under_way: RefCell<HashSet<String>>,
    /// Journal entries that are worked on.
    active: RefCell<HashSet<String>>,
    /// Journal entries that were warned of and stay.
    hopeless: RefCell<HashSet<String>>,
    /// Times of the first look for the records of journal entries of which it is not known whether
    /// they were created.
    looked: RefCell<HashMap<String, Instant>>,
    /// Number of failed readings of earlier attempts' orders, by their URLs, and of journal entries.
    unread: RefCell<HashMap<String, u32>>,
    /// The names of variants whose last attempt has failed in a way that does not pass by itself.
    troubled: RefCell<HashSet<String>>,
    /// Orders of the last attempts, by the names of variants.
    orders: RefCell<HashMap<String, OrderOrigin>>,
    /// Records and record sets that an order, or the removal of those of an earlier one, is at work on.
    claimed: RefCell<HashSet<Claimed>>,
    /// Some of them are free again.
    unclaimed: Notify,
    /// Whoever is to go on with attempts when this process ends.
    witness: Option<Rc<dyn Witness>>,
    /// Times at which missing records of dns-persist-01 were told, by their names.
    needed: RefCell<HashMap<String, Instant>>,
}

impl ObtainerState {
    fn provider(&self, name: &str) -> Result<&dyn DnsProvider, ObtainError> {
        self.provider_named(name).ok_or(ObtainError::NoSuchCertificate)
    }

    /// Tells whether a record may be removed from its zone.
    fn may_remove(&self, candidate: &Candidate<'_>) -> Result<(), Kept> {
        may_remove(candidate, |name| self.standing(name))
    }

    /// Tells whether the last attempt for a variant has failed in a way that does not pass by itself.
    fn is_troubled(&self, variant: &str) -> bool {
        self.troubled.borrow().contains(variant)
    }

    /// Tells the witness that something of a certificate's attempts has changed on disk.
    async fn note_on_disk(&self, certificate: &str) {
        if let Some(witness) = &self.witness {
            witness.note(certificate).await;
        }
    }

    fn provider_named(&self, name: &str) -> Option<&dyn DnsProvider> {
        let provider = self.config.providers.find(|provider| provider.name == name)?;
        self.providers.get(provider).map(AsRef::as_ref)
    }
}

impl Obtainer {
    /// Makes an obtainer. `providers` are those of the configuration, in its order; `secret` gives what
    /// the configuration refers to. Nothing is contacted yet.
    ///
    /// # Errors
    /// The TLS library refuses an issuer's trusted certificates.
    pub fn new(
        config: Arc<Config>,
        providers: Table<ProviderId, Box<dyn DnsProvider>>,
        store: Store,
        checker: Checker,
        clients: &Clients,
        secret: impl Fn(SecretId) -> SecretString,
        host: Arc<dyn Host>,
    ) -> Result<Self, HttpError> {
        let teller = Teller::new(host);
        let issuers = config.issuers.iter();
        let issuers =
            issuers.map(|issuer| IssuerClient::new(issuer, &store, clients, &secret, &teller));
        let issuers = issuers.collect::<Result<_, _>>()?;
        let names = config.certificates.values().flat_map(|certificate| &certificate.names);
        let domains = names.map(|name| name.base().to_owned()).collect();
        let domains = RefCell::new(domains);
        Ok(Self {
            state: Rc::new(ObtainerState {
                resolver: Resolver::of(&config.propagation),
                config,
                domains,
                wildcards: RefCell::default(),
                routes: Routes::default(),
                issuers,
                providers,
                store,
                checker,
                teller,
                under_way: RefCell::default(),
                active: RefCell::default(),
                hopeless: RefCell::default(),
                looked: RefCell::default(),
                unread: RefCell::default(),
                troubled: RefCell::default(),
                orders: RefCell::default(),
                claimed: RefCell::default(),
                unclaimed: Notify::new(),
                needed: RefCell::default(),
                witness: None,
            }),
        })
    }

    /// Has a witness told what attempts leave on disk. Nothing is under way yet.
    #[must_use]
    pub fn with_witness(mut self, witness: Rc<dyn Witness>) -> Self {
        if let Some(state) = Rc::get_mut(&mut self.state) {
            state.witness = Some(witness);
        }
        self
    }

    /// Leaves equal parts of the DNS providers' limits of requests to so many other hosts with the same accounts.
    pub fn share_limits(&self, others: usize) {
        self.state.providers.values().for_each(|provider| provider.share_limit(others));
    }

    /// Finds or creates our account at a CA.
    ///
    /// # Errors
    /// There is none, and it is not created.
    pub async fn open_account(&self, issuer: IssuerId) -> Result<(), ObtainError> {
        let issuer = self.state.issuers.get(issuer).ok_or(ObtainError::NoSuchCertificate)?;
        issuer.session(Environment::Production).await?;
        Ok(())
    }

    /// Forgets our account at a CA, because the disk has another one.
    pub async fn forget_account(&self, issuer: IssuerId) {
        if let Some(issuer) = self.state.issuers.get(issuer) {
            issuer.forget_account().await;
        }
    }

    /// Has the records of earlier attempts for a variant left alone while one is under way.
    #[must_use]
    pub fn begin(&self, variant: &str) -> UnderWay {
        UnderWay::begin(&self.state, variant)
    }

    /// Obtains a variant from an issuer. The caller saves it, and forgets its order. Runs within a `LocalSet`:
    /// removing TXT records may outlast it.
    ///
    /// # Errors
    /// The certificate was not obtained, or what came cannot be used.
    pub async fn obtain(
        &self,
        variant: VariantId,
        issuer: IssuerId,
        key: KeyChoice,
    ) -> Result<Issued, ObtainError> {
        let attempt = self.attempt(variant, issuer, key)?;
        let name = attempt.variant.name.clone();
        let issued = attempt.obtain().await?;
        self.state.troubled.borrow_mut().remove(&name);
        Ok(issued)
    }

    /// Finds out whether the staging environment of an issuer would issue a variant. Runs within a
    /// `LocalSet`, as [`Obtainer::obtain`].
    ///
    /// # Errors
    /// It would not.
    pub async fn probe(&self, variant: VariantId, issuer: IssuerId) -> Result<(), ObtainError> {
        self.attempt(variant, issuer, KeyChoice::Configured)?.probe().await
    }

    /// Gives what the schedule has to know of the last attempt for a variant, which failed.
    #[must_use]
    pub fn failure(&self, variant: VariantId, error: &ObtainError) -> Failure {
        let found = self.state.config.variant(variant);
        if let Some((_, certificate)) = found {
            self.state.forget_routes(certificate.names.iter().map(Name::base));
        }
        let name = found.map(|(variant, _)| &variant.name);
        if let Some(name) = name.filter(|_| error.is_permanent()) {
            self.state.troubled.borrow_mut().insert(name.clone());
        }
        let ordered = name.and_then(|name| self.state.orders.borrow_mut().remove(name));
        Failure {
            ordered: ordered == Some(OrderOrigin::Now),
            is_lost: ordered.is_some() && !error.leaves_order_alive(),
            ..error.failure()
        }
    }

    fn attempt(
        &self,
        variant: VariantId,
        issuer: IssuerId,
        key: KeyChoice,
    ) -> Result<OrderAttempt<'_>, ObtainError> {
        let state = &self.state;
        let found = state.config.variant(variant).zip(state.issuers.get(issuer));
        let ((variant, certificate), issuer) = found.ok_or(ObtainError::NoSuchCertificate)?;
        // It may have been added since the start.
        let bases = certificate.names.iter().map(|name| name.base().to_owned());
        state.domains.borrow_mut().extend(bases);
        let teller = state.teller.about(Subject::Certificate(variant.name.clone()));
        Ok(OrderAttempt { state, variant, certificate, issuer, key, teller })
    }

    /// Cancels the orders of certificates that are no longer configured.
    pub async fn give_up_orders(&self) {
        let ObtainerState { config, store, teller, issuers, .. } = &*self.state;
        let names = match store.orders_all() {
            Ok(names) => names,
            Err(error) => return teller.step_failed(Level::Warn, &error),
        };
        let wanted: HashSet<&str> = config
            .variants
            .values()
            .filter(|_| !names.is_empty())
            .map(|v| v.name.as_str())
            .collect();
        for name in names.into_iter().filter(|name| !wanted.contains(name.as_str())) {
            let teller = teller.about(Subject::Certificate(name.clone()));
            let pending = match store.load_order(&name) {
                Ok(pending) => pending,
                Err(error) => {
                    teller.step_failed(Level::Warn, &error);
                    continue;
                }
            };
            if let Some(pending) = &pending {
                let issuer = issuers.values().find(|i| i.config().directory == pending.directory);
                match issuer {
                    Some(issuer) => match give_up(issuer, pending, &teller).await {
                        Ok(()) => teller.order(OrderEvent::Cancelled { url: pending.url.clone() }),
                        // It is tried again at the next start.
                        Err(error) => {
                            teller.step_failed(Level::Debug, &error);
                            continue;
                        }
                    },
                    None => teller.order(OrderEvent::Forgotten { url: pending.url.clone() }),
                }
            }
            if let Err(error) = store.remove_order(&name) {
                teller.step_failed(Level::Warn, &error);
            }
        }
    }
}

/// Cancels what is pending of an order.
async fn give_up(
    issuer: &IssuerClient,
    pending: &PendingOrder,
    teller: &Teller,
) -> Result<(), AcmeError> {
    let session = issuer.session(Environment::Production).await?;
    let names = pending.names.iter().filter_map(|name| Name::parse(name).ok());
    let names: Vec<Name> = names.take(MAX_NAMES).collect();
    if let Some(mut order) = Order::find(session, pending, &names, teller.clone()).await? {
        order.abandon().await;
    }
    Ok(())
}

/// Lists the names of records, each once.
fn names_of<'a>(records: impl IntoIterator<Item = &'a TxtRecord>) -> String {
    let names: BTreeSet<&str> = records.into_iter().map(|record| record.name.as_str()).collect();
    list(&names.into_iter().collect::<Vec<_>>())
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
