//! Obtaining certificates from CAs by ACME (RFC 8555) with dns-01.
//!
//! ```text
//! place order -> read authorizations -> journal -> TXT records up -> wait for the zone's servers
//!   -> answer challenges -> order is ready -> CSR -> certificate -> check
//!                                         \-> TXT records down -> journal
//! ```
//!
//! All records of an order go up together and are waited for together. They come down as soon as
//! the order is ready or has failed; what a process that died left up is in the journal.

mod account;
mod csr;
mod directory;
mod error;
mod issuer;
mod jws;
mod key_change;
mod log;
mod operations;
mod order;
mod records;
mod renewal_info;
mod shared;
mod transport;
mod verify;

pub use error::{AcmeError, ObtainError, Refusal, Step};
pub use issuer::Environment;
pub use renewal_info::{RenewalAnswer, certificate_id};

use crate::dns::{DnsProvider, TxtRecord};
use crate::host::Host;
use crate::http::{Clients, HttpError};
use crate::propagation::Checker;
use crate::store::x509::reason;
use crate::store::{Entry, IssuedPem, Store, StoreError, material};
use acme_dns_core::config::{Certificate, Config, SecretId, Variant};
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::schedule::Validity;
use acme_dns_core::time::UnixTime;
use futures_util::future::join_all;
use instant_acme::AuthorizationStatus;
use issuer::Issuer;
use log::Log;
use openssl::error::ErrorStack;
use order::{Authorization, Order};
use records::{Active, Records, Removal};
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::task::{JoinHandle, spawn_blocking};
use verify::Verified;
use zeroize::Zeroizing;

/// A certificate that was obtained and checked.
#[derive(Clone)]
pub struct Issued {
    /// For the disk.
    pub pem: IssuedPem,
    /// For the servers.
    pub material: Material,
    /// Its dates.
    pub validity: Validity,
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
    log: Log,
    /// Journal entries that are worked on.
    active: RefCell<HashSet<String>>,
    /// Journal entries that were warned of and stay.
    hopeless: RefCell<HashSet<String>>,
    /// When the records of journal entries were first looked for, of which it is not known whether
    /// they were created.
    looked: RefCell<HashMap<String, Instant>>,
}

impl Shared {
    fn provider(&self, index: usize) -> Result<&dyn DnsProvider, ObtainError> {
        self.providers.get(index).map(AsRef::as_ref).ok_or(ObtainError::NoSuchCertificate)
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
        Ok(Self {
            shared: Rc::new(Shared {
                config,
                issuers,
                providers,
                store,
                checker,
                log,
                active: RefCell::default(),
                hopeless: RefCell::default(),
                looked: RefCell::default(),
            }),
        })
    }

    /// Obtains the variant with this index in the configuration. The caller keeps and publishes it.
    /// Runs within a `LocalSet`: removing TXT records may outlast it.
    ///
    /// # Errors
    /// The certificate was not obtained, or what came cannot be used.
    pub async fn obtain(&self, variant: usize) -> Result<Issued, ObtainError> {
        let shared = &self.shared;
        let (variant, certificate) =
            shared.config.variant(variant).ok_or(ObtainError::NoSuchCertificate)?;
        let issuer = certificate.issuers.first().and_then(|index| shared.issuers.get(*index));
        let issuer = issuer.ok_or(ObtainError::NoSuchCertificate)?;
        let log = shared.log.about("certificate", &variant.name);
        Attempt { shared, variant, certificate, issuer, log }.run().await
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
        let names = names_of(entry.records.iter().map(|placed| &placed.record));
        if self.shared.provider_named(&entry.provider).is_none() {
            if hopeless.borrow_mut().insert(active.id.clone()) {
                log.warn(format_args!(
                    "TXT {names} cannot be removed: no \"acme_dns_provider\" named \"{}\" is \
                     defined any more",
                    entry.provider
                ));
            }
            return Cleaned::Done;
        }
        match records::remove(&self.shared, &active, &entry).await {
            Ok(Removal::Done) => {
                log.write(Level::Notice, format_args!("TXT {names} of an earlier order removed"));
                Cleaned::Done
            }
            Ok(Removal::LookAgain) => Cleaned::Waiting,
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

/// Obtaining one certificate once.
struct Attempt<'a> {
    shared: &'a Rc<Shared>,
    variant: &'a Variant,
    certificate: &'a Certificate,
    issuer: &'a Issuer,
    log: Log,
}

type KeyTask = JoinHandle<Result<csr::Request, String>>;

impl Attempt<'_> {
    async fn run(self) -> Result<Issued, ObtainError> {
        let (key, names) = (self.variant.key, self.names());
        // Ready long before it is needed.
        let request = spawn_blocking(move || csr::make(key, &names));
        let mut order = self.place().await?;
        let (name, provider) = (&self.variant.name, self.certificate.provider);
        let mut records = Records::new(self.shared, name, provider, &self.log);
        let authorized = self.authorize(&mut order, &mut records).await;
        // Goes on by itself: nobody waits for it with a certificate in hand.
        records.clean_up();
        match authorized {
            Ok(()) => self.issue(&mut order, request).await,
            Err(error) => {
                order.abandon().await;
                Err(error)
            }
        }
    }

    async fn place(&self) -> Result<Order, ObtainError> {
        let environment = Environment::Production;
        let mut account_replaced = false;
        loop {
            let session = self.issuer.session(environment).await?;
            let account = session.account.id().to_owned();
            let profile = self.profile(session.directory.profiles())?;
            match Order::place(session, &self.certificate.names, profile, self.log.clone()).await {
                Ok(order) => return Ok(order),
                Err(error) => {
                    if matches!(error, AcmeError::Failed { .. }) {
                        self.issuer.forget_directory(environment).await;
                    }
                    account_replaced = !account_replaced
                        && self.issuer.replace_account(environment, &account, &error).await?;
                    if !account_replaced {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    fn profile(&self, offered: &[String]) -> Result<Option<&str>, ObtainError> {
        let Some(profile) = &self.issuer.config().profile else { return Ok(None) };
        if offered.contains(&profile.name) {
            return Ok(Some(&profile.name));
        }
        let offered: Vec<String> = offered.iter().map(|name| error::printable(name)).collect();
        let offered = match offered.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        if profile.required {
            return Err(ObtainError::NoProfile { profile: profile.name.clone(), offered });
        }
        self.log.warn(format_args!(
            "ordering without the profile \"{}\": the CA offers {offered}",
            profile.name
        ));
        Ok(None)
    }

    async fn authorize(&self, order: &mut Order, records: &mut Records) -> Result<(), ObtainError> {
        let authorizations = order.authorizations().await?;
        let pending: Vec<&Authorization> =
            authorizations.iter().filter(|a| a.status == AuthorizationStatus::Pending).collect();
        if !pending.is_empty() {
            let wanted = pending.iter().map(|a| self.record(a)).collect::<Result<_, _>>()?;
            records.put_up(wanted).await?;
            self.log.debug(format_args!("waiting for the servers of the zone"));
            records.wait().await?;
            for authorization in &pending {
                order.answer(authorization).await?;
            }
            self.log.debug(format_args!("{} challenges answered", pending.len()));
        }
        order.wait_ready().await
    }

    fn record(&self, authorization: &Authorization) -> Result<TxtRecord, ObtainError> {
        authorization.record.clone().ok_or_else(|| ObtainError::NoChallenge {
            name: authorization.name.clone(),
            offered: authorization.offered.clone(),
        })
    }

    async fn issue(&self, order: &mut Order, request: KeyTask) -> Result<Issued, ObtainError> {
        let request = request.await.unwrap_or_else(|error| Err(error.to_string()));
        let request = request.map_err(ObtainError::Key)?;
        self.log.debug(format_args!("order is ready"));
        let chain = order.finalize(&request.csr).await?;
        let verified = verify::verify(chain.as_bytes(), &request.key, &self.names(), now())
            .map_err(ObtainError::Certificate)?;
        issued(&request, verified, &self.issuer.config().directory)
            .map_err(|error| ObtainError::Key(reason(&error)))
    }

    fn names(&self) -> Vec<String> {
        self.certificate.names.iter().map(|name| name.as_str().to_owned()).collect()
    }
}

fn issued(
    request: &csr::Request,
    verified: Verified,
    directory: &str,
) -> Result<Issued, ErrorStack> {
    let Verified { chain, validity, issuer, serial } = verified;
    let mut fullchain = Vec::new();
    for certificate in &chain {
        fullchain.extend(certificate.to_pem()?);
    }
    let key = Zeroizing::new(request.key.private_key_to_pem_pkcs8()?);
    let key = Zeroizing::new(String::from_utf8_lossy(&key).into_owned());
    let fullchain = String::from_utf8_lossy(&fullchain).into_owned();
    let material = material(&request.key, &chain)?;
    let pem = IssuedPem { key, fullchain, directory: directory.to_owned() };
    Ok(Issued { pem, material, validity, issuer, serial })
}

/// The names of records, each once.
fn names_of<'a>(records: impl IntoIterator<Item = &'a TxtRecord>) -> String {
    let names: BTreeSet<&str> = records.into_iter().map(|record| record.name.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
