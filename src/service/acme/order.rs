//! One order at a CA (RFC 8555 section 7.4).

mod authorization;
mod pauses;
mod states;

pub(super) use authorization::{Authorization, check};

use super::error::{AcmeError, ObtainError};
use super::issuer::Session;
use super::problem::Problem;
use super::solver::Challenge;
use super::step::Step;
use super::teller::Teller;
use crate::event::OrderEvent;
use crate::store::PendingOrder;
use crate::x509::chain_from_pem;
use acme_dns_core::config::ChallengeMethod;
use acme_dns_core::level::Level;
use acme_dns_core::name::Name;
use acme_dns_core::time::UnixTime;
use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, Error, Identifier, NewOrder, OrderState,
    OrderStatus,
};
use pauses::{FIRST_POLL, Pauses};
use states::States;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Longest time that a CA may take for each of the two waits of an order.
const PATIENCE: Duration = Duration::from_secs(300);

/// Longest time for finding the reasons of a failed order, and for deactivating what is left of it.
const AFTERMATH: Duration = Duration::from_secs(10);

/// Number of times that a CSR is sent if the order does not show that it arrived.
const FINALIZE_ATTEMPTS: usize = 3;

/// So many authorizations more than two for each name may an order have: there is one for each.
const SPARE_AUTHORIZATIONS: usize = 8;

/// An order that was placed.
pub(super) struct Order {
    session: Session,
    inner: instant_acme::Order,
    /// The names that were ordered: nothing is proven but these.
    names: Vec<Name>,
    /// URLs of other chains of the certificate (RFC 8555 section 7.4.2).
    alternates: Vec<String>,
    /// The CA's own time when it sent the certificate.
    date: Option<UnixTime>,
    states: States,
    teller: Teller,
}

/// The certificate that an order replaces (RFC 9773 section 5).
pub(super) type Replaces = CertificateIdentifier<'static>;

impl Order {
    /// Places an order (newOrder).
    pub(super) async fn place(
        session: Session,
        names: &[Name],
        profile: Option<&str>,
        replaces: Option<&Replaces>,
        teller: Teller,
    ) -> Result<Self, AcmeError> {
        let identifiers: Vec<Identifier> =
            names.iter().map(|name| Identifier::Dns(name.as_str().to_owned())).collect();
        let mut order = NewOrder::new(&identifiers);
        if let Some(profile) = profile {
            order = order.profile(profile);
        }
        let has_renewal_info = session.directory.renewal_info().is_some();
        if let Some(certificate) = replaces.filter(|_| has_renewal_info) {
            order = order.replaces(certificate.clone());
        }
        let place = async || match session.account.new_order(&order).await {
            // The order is there, but not as the replacement that it should be.
            Err(Error::Other(error))
                if error.to_string().starts_with("replaces field mismatch") =>
            {
                Err(Error::Unsupported("the replacement of a certificate"))
            }
            placed => placed,
        };
        let inner = session.transport.call(Step::NewOrder, &teller, place).await?;
        teller.order(OrderEvent::Placed { url: inner.url().to_owned() });
        Ok(Self::read(session, inner, names, teller))
    }

    /// Makes an order out of what the CA has sent.
    fn read(
        session: Session,
        mut inner: instant_acme::Order,
        names: &[Name],
        teller: Teller,
    ) -> Self {
        let mut states = States::default();
        states.note(inner.state().status, &teller);
        let (names, alternates) = (names.to_vec(), Vec::new());
        Self { session, inner, names, alternates, date: None, states, teller }
    }

    /// Finds an order of an earlier attempt, for these names; `None` if nothing can come of it any
    /// more. What is known of it comes from a file, which may be somebody's work.
    pub(super) async fn find(
        session: Session,
        pending: &PendingOrder,
        names: &[Name],
        teller: Teller,
    ) -> Result<Option<Self>, AcmeError> {
        if !session.may_have_placed(pending) {
            return Ok(None);
        }
        let read = async || session.account.order(pending.url.clone()).await;
        let mut inner = match session.transport.call(Step::Order, &teller, read).await {
            Ok(inner) => inner,
            Err(error @ AcmeError::Refused { .. }) if !error.is("rateLimited") => {
                teller.step_failed(Level::Debug, &error);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let is_dead = inner.state().status == OrderStatus::Invalid;
        Ok((!is_dead).then_some(Self::read(session, inner, names, teller)))
    }

    pub(super) fn url(&self) -> &str {
        self.inner.url()
    }

    /// Gives the URL of the account that the order belongs to.
    pub(super) fn account(&self) -> &str {
        self.session.account.id()
    }

    /// Gives the methods by which names are proven, the preferred ones first.
    pub(super) fn methods(&self) -> &[ChallengeMethod] {
        &self.session.methods
    }

    /// Gives the profiles that the CA offers.
    pub(super) fn profiles(&self) -> &[String] {
        self.session.directory.profiles()
    }

    /// Tells whether the CA has the CSR already.
    pub(super) fn has_csr(&mut self) -> bool {
        matches!(self.inner.state().status, OrderStatus::Processing | OrderStatus::Valid)
    }

    /// Gives the URLs of other chains of the certificate; known once it was downloaded.
    pub(super) fn alternates(&self) -> Vec<String> {
        self.alternates.clone()
    }

    /// Gives the CA's own time when it sent the certificate, if it told.
    pub(super) fn date(&self) -> Option<UnixTime> {
        self.date
    }

    /// Downloads another chain of the certificate.
    pub(super) async fn alternate(&self, url: &str) -> Result<String, AcmeError> {
        let answer = self.session.post_as_get(Step::AlternateChain, url, &self.teller).await;
        let (_, body) = answer?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Reads all authorizations, unless there are too many of them.
    pub(super) async fn authorizations(&mut self) -> Result<Vec<Authorization>, ObtainError> {
        let (number, names) = (self.inner.state().authorizations.len(), self.names.len());
        if number > 2 * names + SPARE_AUTHORIZATIONS {
            return Err(ObtainError::TooManyAuthorizations { number, names });
        }
        let mut all = Vec::new();
        while let Some(authorization) = self.authorization(all.len()).await? {
            all.push(authorization);
        }
        Ok(all)
    }

    /// Reads an authorization unless it was read since the order was. Those in front of it were, so
    /// that passing over them costs nothing.
    async fn authorization(&mut self, index: usize) -> Result<Option<Authorization>, AcmeError> {
        let Self { session, inner, names, states, teller, .. } = self;
        let read = async || {
            let mut authorizations = inner.authorizations();
            for _ in 0..index {
                authorizations.next().await.transpose()?;
            }
            let Some(handle) = authorizations.next().await else { return Ok(None) };
            let handle = handle?;
            states.note_authorization(&handle, teller);
            Ok(Some(Authorization::read(index, &handle, names, session)))
        };
        session.transport.call(Step::Authorization, teller, read).await
    }

    /// Tells the CA that what it looks for is there: the challenge that was chosen.
    pub(super) async fn answer(
        &mut self,
        authorization: &Authorization,
        chosen: &Challenge,
    ) -> Result<(), AcmeError> {
        let Self { session, inner, names, teller, .. } = self;
        let index = authorization.index;
        let answer = async || {
            let mut authorizations = inner.authorizations();
            for _ in 0..index {
                authorizations.next().await.transpose()?;
            }
            let Some(handle) = authorizations.next().await else { return Ok(()) };
            let mut handle = handle?;
            // It may have been read anew, after a failure, and be another one.
            let identifier = handle.identifier();
            let is_ordered = matches!(identifier.identifier, Identifier::Dns(text)
                if names.iter().any(|name| name.is_authorized_by(text, identifier.wildcard)));
            match handle.challenge(chosen.kind()) {
                Some(mut challenge) if is_ordered => challenge.set_ready().await,
                _ => Ok(()),
            }
        };
        let answered = session.transport.call(Step::Challenge, teller, answer).await;
        match answered {
            // Perhaps an answer was lost and the CA is already at work, or done.
            Err(error @ AcmeError::Refused { .. }) => match self.reread(index).await {
                Ok(AuthorizationStatus::Pending) => Err(error),
                Ok(_) => Ok(()),
                Err(_) => Err(error),
            },
            other => other,
        }
    }

    async fn reread(&mut self, index: usize) -> Result<AuthorizationStatus, AcmeError> {
        let Self { session, inner, states, teller, .. } = self;
        let read = async || {
            let mut authorizations = inner.authorizations();
            for _ in 0..index {
                authorizations.next().await.transpose()?;
            }
            let Some(handle) = authorizations.next().await else {
                return Ok(AuthorizationStatus::Valid);
            };
            let mut handle = handle?;
            let read = handle.refresh().await?;
            states.note_authorization(read, teller);
            Ok(read.status)
        };
        session.transport.call(Step::Authorization, teller, read).await
    }

    /// Waits until the CA has decided on authorizations that were answered, and fails if that has ended the
    /// order. The order itself is not read: its authorizations, of which some are still to be answered, may come in
    /// another sequence then.
    pub(super) async fn wait_decided(
        &mut self,
        authorizations: &[&Authorization],
    ) -> Result<(), ObtainError> {
        let started = Instant::now();
        let mut pauses = Pauses::default();
        let mut asked = None;
        for authorization in authorizations {
            while self.reread(authorization.index).await? == AuthorizationStatus::Pending {
                let waited = started.elapsed();
                let Some(left) = PATIENCE.checked_sub(waited) else {
                    return Err(ObtainError::Timeout { status: "pending", waited });
                };
                sleep(pauses.next(asked).min(left)).await;
                asked = self.session.transport.last().retry_after;
            }
        }
        check(&self.authorizations().await?)
    }

    /// Waits until the order can be finalized.
    pub(super) async fn wait_ready(&mut self) -> Result<(), ObtainError> {
        let is_pending = |order: &OrderState| order.status == OrderStatus::Pending;
        if is_pending(self.inner.state()) {
            self.wait_while(is_pending, None).await?;
        }
        self.check_alive().await
    }

    /// Sends the CSR and waits for the certificate. Gives the chain in PEM.
    pub(super) async fn finalize(&mut self, csr: &[u8]) -> Result<String, ObtainError> {
        self.send_csr(csr).await?;
        if is_unfinished(self.inner.state()) {
            let asked = self.session.transport.last().retry_after;
            self.wait_while(is_unfinished, asked).await?;
        }
        self.check_alive().await?;
        let Self { session, inner, teller, .. } = self;
        let download = async || match inner.certificate().await? {
            Some(chain) if chain_from_pem(chain.as_bytes()).is_err() => {
                Err(Error::Str("no certificate in PEM"))
            }
            chain => Ok(chain),
        };
        let chain = session.transport.call(Step::Certificate, teller, download).await?;
        let answer = session.transport.last();
        (self.alternates, self.date) = (answer.alternates, answer.date);
        // Without a certificate, the order is "processing" again.
        chain.ok_or(ObtainError::Timeout { status: "processing", waited: Duration::ZERO })
    }

    async fn send_csr(&mut self, csr: &[u8]) -> Result<(), ObtainError> {
        let mut attempt = 1;
        while self.inner.state().status == OrderStatus::Ready {
            let Self { session, inner, states, teller, .. } = self;
            let send = async || inner.finalize_csr(csr).await;
            match session.transport.call(Step::Finalize, teller, send).await {
                Ok(()) => {
                    states.note(inner.state().status, teller);
                    break;
                }
                Err(error) => {
                    // The CA may have taken the CSR although the answer says something else.
                    let unclear =
                        session.transport.last().is_transient || error.is("orderNotReady");
                    if attempt == FINALIZE_ATTEMPTS || !unclear {
                        return Err(error.into());
                    }
                    teller.step_failed(Level::Debug, &error);
                    sleep(FIRST_POLL * 4).await;
                    self.refresh().await?;
                }
            }
            attempt += 1;
        }
        Ok(())
    }

    async fn refresh(&mut self) -> Result<OrderStatus, AcmeError> {
        let Self { session, inner, states, teller, .. } = self;
        let refresh = async || inner.refresh().await.map(|state| state.status);
        let status = session.transport.call(Step::Order, teller, refresh).await?;
        states.note(status, teller);
        Ok(status)
    }

    /// Reads the order while there is something to wait for. `asked` is the pause that the CA has asked
    /// for first.
    async fn wait_while(
        &mut self,
        is_waiting: impl Fn(&OrderState) -> bool,
        mut asked: Option<Duration>,
    ) -> Result<(), ObtainError> {
        let started = Instant::now();
        let mut pauses = Pauses::default();
        while let Some(left) = PATIENCE.checked_sub(started.elapsed()) {
            sleep(pauses.next(asked).min(left)).await;
            self.refresh().await?;
            if !is_waiting(self.inner.state()) {
                return Ok(());
            }
            asked = self.session.transport.last().retry_after;
        }
        let status = text(self.inner.state().status);
        match self.problems().await {
            problems if problems.is_empty() => {
                Err(ObtainError::Timeout { status, waited: started.elapsed() })
            }
            problems => Err(ObtainError::Invalid(problems)),
        }
    }

    /// Tells whether nothing can come of an order that was placed some time ago: its authorizations hold for a
    /// while only.
    pub(super) async fn is_stale(&mut self) -> Result<bool, ObtainError> {
        if self.has_csr() {
            return Ok(false);
        }
        match self.authorizations().await {
            Ok(all) => Ok(all.iter().any(|authorization| authorization.failure().is_some())),
            Err(error) if error.may_be_about_age() => Ok(true),
            Err(error @ ObtainError::Acme(_)) => Err(error),
            // It is looked into where it is dealt with.
            Err(_) => Ok(false),
        }
    }

    /// Fails if the order has ended without a certificate, with the reasons.
    async fn check_alive(&mut self) -> Result<(), ObtainError> {
        if self.inner.state().status != OrderStatus::Invalid {
            return Ok(());
        }
        let mut problems = self.problems().await;
        if problems.is_empty() {
            let error = self.inner.state().error.as_ref().map(Problem::new);
            problems.push((String::new(), error.unwrap_or_default()));
        }
        Err(ObtainError::Invalid(problems))
    }

    /// Reads the CA's reasons for the authorizations that failed.
    async fn problems(&mut self) -> Vec<(String, Problem)> {
        let read = timeout(AFTERMATH, self.authorizations()).await;
        let authorizations = read.ok().and_then(Result::ok).unwrap_or_default();
        let failed = authorizations.into_iter().filter_map(|a| Some((a.name, a.problem?)));
        failed.collect()
    }

    /// Deactivates the authorizations that are still pending, as far as that works: a CA limits their
    /// number.
    pub(super) async fn abandon(&mut self) {
        let left = timeout(AFTERMATH, self.deactivate()).await;
        match left {
            Ok(Ok(0)) => {}
            Ok(Ok(number)) => self.teller.order(OrderEvent::Deactivated { number }),
            Ok(Err(error)) => self.teller.step_failed(Level::Debug, &error),
            Err(_) => self.teller.order(OrderEvent::NotDeactivated),
        }
    }

    async fn deactivate(&mut self) -> Result<usize, ObtainError> {
        let mut number = 0;
        for authorization in self.authorizations().await? {
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let Self { session, inner, teller, .. } = self;
            let deactivate = async || {
                let mut authorizations = inner.authorizations();
                for _ in 0..authorization.index {
                    authorizations.next().await.transpose()?;
                }
                match authorizations.next().await {
                    Some(handle) => handle?.deactivate().await.map(drop),
                    None => Ok(()),
                }
            };
            session.transport.call(Step::Deactivate, teller, deactivate).await?;
            number += 1;
        }
        Ok(number)
    }
}

/// Tells whether the certificate of a finalized order is not there yet.
fn is_unfinished(order: &OrderState) -> bool {
    match order.status {
        // Some CAs say for a while that it is still ready.
        OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Pending => true,
        OrderStatus::Valid => order.certificate.is_none(),
        OrderStatus::Invalid => false,
    }
}

fn text(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "pending",
        OrderStatus::Ready => "ready",
        OrderStatus::Processing => "processing",
        OrderStatus::Valid => "valid",
        OrderStatus::Invalid => "invalid",
    }
}
