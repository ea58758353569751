//! Obtaining one certificate once.
//!
//! An order is on disk from the moment the CA has accepted it, with its key before the CSR is sent:
//! an attempt that ends without a certificate, or with the process, is resumed by the next one.
//! Only an order from which nothing can come any more is cancelled.

use super::error::{AcmeError, ObtainError};
use super::issuer::IssuerClient;
use super::order::{Authorization, Order, Replaces, check};
use super::problem::printable;
use super::renewal_info::certificate_id;
use super::rounds::divide;
use super::solver::{Challenge, SolverTask, Solvers, label_of};
use super::teller::Teller;
use super::{Issued, ObtainerState, OrderOrigin, now};
use crate::dns::ValueLimit;
use crate::event::OrderEvent;
use crate::store::{IssuedPem, PendingOrder, Store, StoreError, StoredCertificate};
use crate::x509::csr;
use crate::x509::verify::{self, Unfit, Verified};
use crate::x509::{chain_from_pem, display_name, key_type, keys, material, reason};
use acme_dns_core::config::{Certificate, Variant};
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_core::schedule::Environment;
use instant_acme::AuthorizationStatus;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::fmt;
use std::rc::Rc;
use tokio::task::{JoinHandle, spawn_blocking};
use zeroize::Zeroizing;

/// In so many attempts an earlier order is read in vain before a new one is placed.
const READINGS: u32 = 3;

/// So many profiles of a CA are named.
const LISTED: usize = 16;

/// Obtaining one certificate once.
pub(super) struct OrderAttempt<'a> {
    pub(super) state: &'a Rc<ObtainerState>,
    pub(super) variant: &'a Variant,
    pub(super) certificate: &'a Certificate,
    pub(super) issuer: &'a IssuerClient,
    pub(super) key: KeyChoice,
    pub(super) teller: Teller,
}

/// Which key a certificate gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyChoice {
    /// As the configuration says: a new one, or that of the certificate before.
    Configured,
    /// Another one than that of the certificate before, which may be compromised.
    New,
}

/// A key that is being made, with its request.
type PendingRequest = JoinHandle<Result<csr::SigningRequest, String>>;

impl OrderAttempt<'_> {
    /// Obtains the certificate. Its order stays on disk until the caller has saved it.
    pub(super) async fn obtain(self) -> Result<Issued, ObtainError> {
        self.note_order(None);
        let previous = self.previous().await;
        let leaf = previous.as_ref().and_then(|stored| leaf_of(&stored.material));
        if let Some((order, key)) = self.resume(previous.as_ref()).await? {
            self.note_order(Some(OrderOrigin::Before));
            match self.finish(order, self.request(key)).await {
                Ok(issued) if leaf_of(&issued.material) != leaf => {
                    return Ok(issued);
                }
                // The process may have died after it had kept the certificate and before it had
                // forgotten the order.
                Ok(_) => self.forget_order().await,
                Err(error) if error.may_be_about_age() && !error.leaves_order_alive() => {
                    self.tell_not_resumed(&error, error.is_about_others());
                    self.note_order(None);
                }
                Err(error) => return Err(error),
            }
        }
        self.look_at_zones(Environment::Production, previous.as_ref()).await?;
        // The key is ready long before it is needed.
        let request = self.request(self.key_to_reuse(previous.as_ref()));
        let replaces = previous.as_ref().and_then(|stored| self.replaces(stored));
        let order = self.place(Environment::Production, replaces).await?;
        self.finish(order, request).await
    }

    /// Brings an order to its end; one from which nothing can come any more is cancelled.
    async fn finish(
        &self,
        mut order: Order,
        request: PendingRequest,
    ) -> Result<Issued, ObtainError> {
        match self.issue(&mut order, request).await {
            Ok(issued) => Ok(issued),
            Err(error) => {
                if !error.leaves_order_alive() {
                    order.abandon().await;
                    self.forget_order().await;
                }
                Err(error)
            }
        }
    }

    /// Lets the CA's staging environment look for the records, and gives the order up then: whether
    /// that works is all that is asked.
    pub(super) async fn probe(self) -> Result<(), ObtainError> {
        self.note_order(None);
        self.look_at_zones(Environment::Staging, None).await?;
        let mut order = self.place(Environment::Staging, None).await?;
        let authorized = self.authorize(&mut order).await;
        order.abandon().await;
        authorized
    }

    /// Notes where the order is from, for what becomes of it.
    fn note_order(&self, ordered: Option<OrderOrigin>) {
        let mut orders = self.state.orders.borrow_mut();
        match ordered {
            Some(ordered) => orders.insert(self.variant.name.clone(), ordered),
            None => orders.remove(&self.variant.name),
        };
    }

    /// Gives the certificate on disk; what cannot be read counts as none.
    async fn previous(&self) -> Option<StoredCertificate> {
        let name = self.variant.name.clone();
        self.on_disk(move |store| store.load_certificate(&name)).await.ok().flatten()
    }

    /// Gives the certificate that this one replaces, for the CA that it is from.
    fn replaces(&self, stored: &StoredCertificate) -> Option<Replaces> {
        let leaf = leaf_of(&stored.material).filter(|_| self.is_from_issuer(stored))?;
        certificate_id(&*X509::from_der(leaf).ok()?)
    }

    /// Tells whether a certificate is from the CA that this attempt asks.
    pub(super) fn is_from_issuer(&self, stored: &StoredCertificate) -> bool {
        stored.facts.traits.directory.as_ref() == Some(&self.issuer.config().directory)
    }

    fn key_to_reuse(&self, previous: Option<&StoredCertificate>) -> Option<PKey<Private>> {
        let reuses = self.certificate.reuses_key && self.key == KeyChoice::Configured;
        key_of(previous.filter(|_| reuses)?)
    }

    /// Begins to make the request, with a given key if it is of the right type.
    fn request(&self, key: Option<PKey<Private>>) -> PendingRequest {
        let (wanted, names) = (self.variant.key, self.names());
        let key = key.filter(|key| key_type(key) == Some(wanted));
        spawn_blocking(move || csr::make(wanted, key, &names))
    }

    /// Gives the order that an earlier attempt has left, with its key, if something can still come of it.
    async fn resume(
        &self,
        previous: Option<&StoredCertificate>,
    ) -> Result<Option<(Order, Option<PKey<Private>>)>, ObtainError> {
        let name = self.variant.name.clone();
        let pending = match self.on_disk(move |store| store.load_order(&name)).await {
            Ok(Some(pending)) => pending,
            Ok(None) => return Ok(None),
            // It is there, and will do once it can be read.
            Err(error) if error.is_denied() => return Err(error.into()),
            Err(error) => {
                self.tell_not_resumed(&error, true);
                return Ok(None);
            }
        };
        if !self.issuer.has_account() {
            // Credentials that are refused cost no account.
            self.look_at_zones(Environment::Production, previous).await?;
        }
        let session = self.issuer.session(Environment::Production).await?;
        let names = &self.certificate.names;
        let found = match Order::find(session, &pending, names, self.teller.clone()).await {
            Ok(found) => found,
            Err(error) if self.gives_up_reading(&pending.url, &error) => {
                self.tell_not_resumed(&error, true);
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.state.unread.borrow_mut().remove(&pending.url);
        let Some(mut order) = found else {
            self.forget_order().await;
            return Ok(None);
        };
        let key = pending.key.and_then(|pem| keys::private_key(pem.as_bytes()).ok());
        let forbidden = previous.filter(|_| self.key == KeyChoice::New).and_then(key_of);
        let key = key.filter(|key| !forbidden.is_some_and(|other| other.public_eq(key)));
        let is_wanted = pending.names == self.names()
            && pending.profile.as_deref() == self.wanted_profile(order.profiles())?;
        if !is_wanted || (order.has_csr() && key.is_none()) || order.is_stale().await? {
            order.abandon().await;
            self.forget_order().await;
            return Ok(None);
        }
        self.teller.order(OrderEvent::Resumed { url: order.url().to_owned() });
        Ok(Some((order, key)))
    }

    fn tell_not_resumed(&self, error: &dyn fmt::Display, is_about_others: bool) {
        let why = error.to_string();
        self.teller.order(OrderEvent::NotResumed { why, is_about_others });
    }

    /// Tells whether an order that cannot be read is forgotten. Its URL comes from a file: if nothing ever
    /// answers there, the certificate must be renewed all the same.
    fn gives_up_reading(&self, url: &str, error: &AcmeError) -> bool {
        match error {
            AcmeError::Url { .. } => true,
            AcmeError::Failed { .. } | AcmeError::Refused { .. } => {
                let mut unread = self.state.unread.borrow_mut();
                let failures = unread.entry(url.to_owned()).or_default();
                *failures += 1;
                *failures == READINGS
            }
            _ => false,
        }
    }

    /// Places an order and keeps it.
    async fn place(
        &self,
        environment: Environment,
        mut replaces: Option<Replaces>,
    ) -> Result<Order, ObtainError> {
        let mut account_replaced = false;
        loop {
            let session = self.issuer.session(environment).await?;
            let account = session.account.id().to_owned();
            let profile = self.profile(session.directory.profiles())?;
            let names = &self.certificate.names;
            let teller = self.teller.clone();
            match Order::place(session, names, profile, replaces.as_ref(), teller).await {
                Ok(order) if environment == Environment::Staging => return Ok(order),
                Ok(order) => {
                    self.note_order(Some(OrderOrigin::Now));
                    self.keep_order(&order, profile, None).await;
                    return Ok(order);
                }
                Err(error)
                    if !account_replaced
                        && self.issuer.replace_account(environment, &account, &error).await? =>
                {
                    account_replaced = true;
                }
                Err(error) if replaces.is_some() && error.may_be_about_replaces() => {
                    self.teller.order(OrderEvent::PlacedAsNew { why: error.to_string() });
                    replaces = None;
                }
                Err(error) => {
                    if matches!(error, AcmeError::Failed { .. }) {
                        self.issuer.forget_directory(environment).await;
                    }
                    return Err(error.into());
                }
            }
        }
    }

    /// Gives the profile to order, with a warning where the configured one is not offered.
    fn profile(&self, offered: &[String]) -> Result<Option<&str>, ObtainError> {
        let wanted = self.wanted_profile(offered)?;
        if let (None, Some(profile)) = (wanted, &self.issuer.config().profile) {
            self.teller.order(OrderEvent::ProfileMissing {
                profile: profile.name.clone(),
                offered: offered.to_vec(),
            });
        }
        Ok(wanted)
    }

    fn wanted_profile(&self, offered: &[String]) -> Result<Option<&str>, ObtainError> {
        match &self.issuer.config().profile {
            Some(profile) if offered.contains(&profile.name) => Ok(Some(&profile.name)),
            Some(profile) if profile.required => Err(ObtainError::NoProfile {
                profile: profile.name.clone(),
                offered: list(offered),
            }),
            _ => Ok(None),
        }
    }

    /// Proves to the CA that the names are ours, as far as the order still asks for it.
    async fn authorize(&self, order: &mut Order) -> Result<(), ObtainError> {
        let authorizations = order.authorizations().await?;
        let pending = pending(&authorizations)?;
        if pending.is_empty() {
            return order.wait_ready().await;
        }
        self.issuer.note_challenge();
        let pending = self.choose(pending, order.methods()).await?;
        let Self { state, variant, certificate, teller, .. } = self;
        let (account_label, persist) = (label_of(order.account()), self.issuer.config().persist);
        let task = SolverTask { state, variant, certificate, teller, account_label, persist };
        let names = pending.iter().map(|(_, challenge)| task.record_name(challenge));
        state.find_routes(&names.collect::<Vec<_>>(), teller).await;
        let mut limited = Vec::with_capacity(pending.len());
        for (authorization, challenge) in pending {
            limited.push((authorization, challenge, challenge.limit(&task).await?));
        }
        let mut rounds = divide(limited, |(.., limit)| limit.clone()).into_iter();
        while let Some(round) = rounds.next() {
            let mut solvers = Solvers::default();
            let proven = self.prove(order, &task, &round, rounds.len() == 0, &mut solvers).await;
            solvers.clean_up();
            proven?;
        }
        Ok(())
    }

    /// Proves the names of a round.
    async fn prove(
        &self,
        order: &mut Order,
        task: &SolverTask<'_>,
        round: &[(&Authorization, &Challenge, Option<ValueLimit>)],
        is_last: bool,
        solvers: &mut Solvers,
    ) -> Result<(), ObtainError> {
        let (authorizations, challenges): (Vec<&Authorization>, Vec<&Challenge>) =
            round.iter().map(|(authorization, challenge, _)| (*authorization, *challenge)).unzip();
        solvers.present(task, &challenges).await?;
        self.teller.order(OrderEvent::WaitingForServers);
        solvers.wait().await?;
        for (authorization, challenge, _) in round {
            order.answer(authorization, challenge).await?;
        }
        self.teller.order(OrderEvent::Answered { number: authorizations.len() });
        match is_last {
            true => order.wait_ready().await,
            false => order.wait_decided(&authorizations).await,
        }
    }

    async fn issue(
        &self,
        order: &mut Order,
        request: PendingRequest,
    ) -> Result<Issued, ObtainError> {
        if !order.has_csr() {
            self.authorize(order).await?;
        }
        let request = request.await.unwrap_or_else(|error| Err(error.to_string()));
        let request = request.map_err(ObtainError::Key)?;
        self.teller.order(OrderEvent::Ready);
        let profile = self.wanted_profile(order.profiles())?;
        if !order.has_csr() {
            // A certificate whose key is lost is worth nothing.
            self.keep_order(order, profile, Some(&request.key)).await;
        }
        let chain = order.finalize(&request.csr).await?;
        let chain = self.preferred_chain(order, chain).await;
        let (key, names, date) = (&request.key, self.names(), order.date());
        let verified = verify::verify(chain.as_bytes(), key, &names, now(), date);
        let verified = verified.map_err(|unfit| match unfit {
            Unfit::Wrong(why) => ObtainError::Certificate(why),
            Unfit::Early { from, wait } => ObtainError::Early { from, wait },
        })?;
        self.tell(&verified);
        self.issued(key, verified).map_err(|error| ObtainError::Key(reason(&error)))
    }

    /// Tells what is unexpected of a certificate that is used all the same.
    fn tell(&self, verified: &Verified) {
        self.issuer.note_clock(verified.skew.seen);
        for note in &verified.notes {
            self.teller.order(OrderEvent::Remarkable { note: note.to_string() });
        }
    }

    /// Gives the chain to the preferred root, if the CA has it; else the one that it sent first.
    async fn preferred_chain(&self, order: &Order, first: String) -> String {
        let Some(preferred) = &self.issuer.config().preferred_chain else { return first };
        let leads_there = |chain: &str| root_of(chain).as_ref() == Some(preferred);
        if leads_there(&first) {
            return first;
        }
        for url in order.alternates() {
            match order.alternate(&url).await {
                Ok(chain) if leads_there(&chain) => return chain,
                Ok(_) => {}
                Err(error) => self.teller.step_failed(Level::Warn, &error),
            }
        }
        self.teller.order(OrderEvent::ChainMissing {
            preferred: preferred.clone(),
            used: root_of(&first).unwrap_or_default(),
        });
        first
    }

    fn issued(&self, key: &PKey<Private>, verified: Verified) -> Result<Issued, ErrorStack> {
        let issuer_config = self.issuer.config();
        let Verified { chain, validity, skew, issuer, serial, is_exact, .. } = verified;
        let mut fullchain = Vec::new();
        for certificate in &chain {
            fullchain.extend(certificate.to_pem()?);
        }
        let pem = IssuedPem {
            key: pem_of(key)?,
            fullchain: String::from_utf8_lossy(&fullchain).into_owned(),
            directory: issuer_config.directory.clone(),
            // The one that is wanted: where the CA does not offer it, it is not asked for again at
            // each start.
            profile: issuer_config.profile.as_ref().map(|profile| profile.name.clone()),
            ordered: (!is_exact).then(|| self.sorted_names()),
            is_imported: false,
        };
        let mut material = material(key, &chain)?;
        material.pairs.iter_mut().for_each(|pair| pair.source = pem.source(true));
        let skew = skew.applied;
        Ok(Issued { pem, material, validity, skew, issuer, serial })
    }

    /// Keeps an order. Without that it would have to be placed anew after a crash, no more.
    async fn keep_order(&self, order: &Order, profile: Option<&str>, key: Option<&PKey<Private>>) {
        let key = key.map(pem_of).transpose();
        let pending = key.map(|key| PendingOrder {
            url: order.url().to_owned(),
            account: order.account().to_owned(),
            directory: self.issuer.config().directory.clone(),
            names: self.names(),
            profile: profile.map(str::to_owned),
            key,
        });
        let name = self.variant.name.clone();
        let kept = match pending {
            Ok(pending) => self.on_disk(move |store| store.save_order(&name, &pending)).await,
            Err(error) => Err(StoreError::invalid(self.state.store.path(), reason(&error))),
        };
        if let Err(error) = kept {
            self.teller.order(OrderEvent::Unsaved { why: error.to_string() });
        }
        self.state.note_on_disk(&self.variant.name).await;
    }

    async fn forget_order(&self) {
        let name = self.variant.name.clone();
        if let Err(error) = self.on_disk(move |store| store.remove_order(&name)).await {
            self.teller.step_failed(Level::Warn, &error);
        }
        self.state.note_on_disk(&self.variant.name).await;
    }

    /// Does something with files on another thread: a disk may take its time, and other orders go on.
    async fn on_disk<T: Send + 'static>(
        &self,
        action: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.state.store.on_thread(action).await
    }

    fn sorted_names(&self) -> Vec<String> {
        let mut names = self.names();
        names.sort();
        names
    }

    fn names(&self) -> Vec<String> {
        self.certificate.names.iter().map(|name| name.as_str().to_owned()).collect()
    }
}

/// Gives the authorizations that are left to prove; an error if nothing can come of one of them.
fn pending(authorizations: &[Authorization]) -> Result<Vec<&Authorization>, ObtainError> {
    check(authorizations)?;
    let is_pending = |a: &&Authorization| a.status == AuthorizationStatus::Pending;
    let pending = || authorizations.iter().filter(is_pending);
    // Before anything is written: one of them is enough to distrust the order.
    if let Some(other) = pending().find(|authorization| !authorization.is_ordered) {
        return Err(ObtainError::NotOrdered { name: other.name.clone() });
    }
    Ok(pending().collect())
}

fn list(profiles: &[String]) -> String {
    match profiles {
        [] => "none".to_owned(),
        names => {
            let shown = names.iter().take(LISTED).map(|name| printable(name));
            shown.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Gives the common name of the root that a chain leads to: the last certificate's issuer.
fn root_of(chain: &str) -> Option<String> {
    let chain = chain_from_pem(chain.as_bytes()).ok()?;
    Some(display_name(chain.last()?.issuer_name()))
}

fn leaf_of(material: &Material) -> Option<&Vec<u8>> {
    material.pairs.first()?.chain.first()
}

fn key_of(stored: &StoredCertificate) -> Option<PKey<Private>> {
    PKey::private_key_from_pkcs8(&stored.material.pairs.first()?.key).ok()
}

fn pem_of(key: &PKey<Private>) -> Result<Zeroizing<String>, ErrorStack> {
    let pem = Zeroizing::new(key.private_key_to_pem_pkcs8()?);
    Ok(Zeroizing::new(String::from_utf8_lossy(&pem).into_owned()))
}
