//! A proxy in front of the authority that can be told to misbehave.
//!
//! It ends TLS on both sides and keeps the `Host` header: Pebble makes its URLs from that, so
//! that a client stays with the proxy and the `url` of its requests fits.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};

use crate::authority::{Authority, read};
use crate::http_forward::forward;
use crate::http_server::{Flavor, Handler, HttpServer};
use crate::pebble::Pebble;
use crate::persist_ca::NewForm;
use crate::rt;
use crate::traffic::{Match, Reply, Traffic};

/// Pebble's path of new orders.
const NEW_ORDER: &str = "/order-plz";

/// The requests of an order, named after RFC 8555.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeStep {
    /// GET of the directory.
    Directory,
    /// A new nonce.
    NewNonce,
    /// A new account, or the search for an existing one.
    NewAccount,
    /// An update of the account.
    Account,
    /// A new order.
    NewOrder,
    /// Reading an authorization, or deactivating it.
    Authorization,
    /// Answering a challenge, or reading it.
    Challenge,
    /// Polling the order.
    Order,
    /// Sending the CSR.
    Finalize,
    /// Fetching the certificate.
    Certificate,
    /// Reading the renewal information.
    RenewalInfo,
    /// Changing the account key.
    KeyChange,
    /// Revoking a certificate.
    Revoke,
}

impl AcmeStep {
    /// The steps of a first issuance, in their order.
    pub const ISSUANCE: [Self; 9] = [
        Self::Directory,
        Self::NewNonce,
        Self::NewAccount,
        Self::NewOrder,
        Self::Authorization,
        Self::Challenge,
        Self::Finalize,
        Self::Order,
        Self::Certificate,
    ];

    /// Matches the requests of this step, as Pebble names its paths.
    #[must_use]
    pub fn requests(self) -> Match {
        let post = |path| Match::new(Method::POST, path);
        match self {
            Self::Directory => Match::any().path_ends("/dir"),
            Self::NewNonce => Match::any().path_ends("/nonce-plz"),
            Self::NewAccount => post("/sign-me-up"),
            Self::Account => post("/my-account/"),
            Self::NewOrder => post(NEW_ORDER),
            Self::Authorization => post("/authZ/"),
            Self::Challenge => post("/chalZ/"),
            Self::Order => post("/my-order/"),
            Self::Finalize => post("/finalize-order/"),
            Self::Certificate => post("/certZ/"),
            Self::RenewalInfo => Match::new(Method::GET, "/renewalInfo/"),
            Self::KeyChange => post("/rollover-account-key"),
            Self::Revoke => post("/revoke-cert"),
        }
    }
}

/// Right to have Pebble handle a request.
enum Turn<'a> {
    Alone(#[expect(dead_code, reason = "it is held")] RwLockWriteGuard<'a, ()>),
    BesideOthers(#[expect(dead_code, reason = "it is held")] RwLockReadGuard<'a, ()>),
}

/// A running proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct AcmeProxy {
    server: HttpServer,
    authority: Authority,
    /// The log of its requests, and what is to go wrong with them.
    pub traffic: Traffic,
}

impl AcmeProxy {
    /// Starts a proxy in front of `pebble` that keeps its files in `dir`.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(dir: &Path, pebble: &Pebble) -> Self {
        Self::start_with(dir, pebble, None)
    }

    /// The same, with the newer form of dns-persist-01.
    ///
    /// # Panics
    /// If it cannot listen.
    pub(crate) fn start_with(dir: &Path, pebble: &Pebble, form: Option<NewForm>) -> Self {
        let form = form.map(Arc::new);
        let authority = Authority::create(dir);
        let tls = authority.acceptor();
        let ca = read(pebble.ca_file());
        let client = rt::http_client(Duration::from_secs(30), Some(&ca));
        let upstream = format!("https://{}", pebble.addr());
        let ordering = pebble.ordering();
        let handler: Handler = Arc::new(move |request| {
            let (client, upstream) = (client.clone(), upstream.clone());
            let (ordering, form) = (ordering.clone(), form.clone());
            Box::pin(async move {
                let _turn = match request.path == NEW_ORDER {
                    true => Turn::Alone(ordering.write().await),
                    false => Turn::BesideOthers(ordering.read().await),
                };
                if let Some(form) = &form
                    && let Some(refusal) = form.before(&request).await
                {
                    return refusal;
                }
                let mut reply =
                    forward(&client, &upstream, request.clone()).await.unwrap_or_else(|e| {
                        Reply::new(502, "text/plain", format!("the authority does not answer: {e}"))
                    });
                if let Some(form) = &form {
                    form.after(&request, &mut reply);
                }
                reply
            })
        });
        let server = HttpServer::start(Flavor::Acme, Some(tls), handler);
        let traffic = server.traffic();
        Self { server, authority, traffic }
    }

    /// Returns the address that it listens at.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The URL of the directory.
    #[must_use]
    pub fn directory_url(&self) -> String {
        format!("https://{}/dir", self.addr())
    }

    /// The authority of its endpoint: what belongs into `trusted_certificate`.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        self.authority.ca_file()
    }

    /// Closes the port and all connections.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Listens again after [`stop`](Self::stop).
    pub fn restart(&mut self) {
        self.server.listen();
    }
}
