//! A stand-in of Cloudflare's API, version 4, as far as DNS records need it.
//!
//! It behaves as Cloudflare documents and as clients have learnt: error codes, pagination, what a
//! restricted token may do, batches that are one transaction. It writes through to PowerDNS, so
//! that what it stores is what the authority sees. Clients that are not ours are run against it to keep
//! it honest: certbot's plugin, acme.sh, lexicon, octoDNS, and Cloudflare's own library, which takes
//! nothing but the published types. What Cloudflare's answer is was not known in a few places; these say so.

mod api;
mod auth;
mod publish;
mod records;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::auth::Token;
pub use self::store::Record;
use self::store::State;
use crate::authority::Authority;
use crate::http_server::{Flavor, Handler, HttpServer};
use crate::powerdns::PowerDns;
use crate::process::wait_until;
use crate::traffic::Traffic;

/// A running stand-in. It ends when it is dropped.
#[derive(Debug)]
pub struct Cloudflare {
    state: Arc<State>,
    server: HttpServer,
    scheme: &'static str,
    /// The log of its requests, and what is to go wrong with them.
    pub traffic: Traffic,
}

impl Cloudflare {
    /// Starts a stand-in without zones and tokens that writes through to `dns`.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(dns: &PowerDns) -> Self {
        Self::listen(dns, None)
    }

    /// The same with TLS, without which only a loopback address may be used.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start_with_tls(dns: &PowerDns, authority: &Authority) -> Self {
        Self::listen(dns, Some(authority))
    }

    fn listen(dns: &PowerDns, authority: Option<&Authority>) -> Self {
        let state = Arc::new(State::new(dns.api()));
        let handling = state.clone();
        let handler: Handler = Arc::new(move |request| {
            let state = handling.clone();
            Box::pin(async move { api::handle(&state, &request).await })
        });
        let server =
            HttpServer::start(Flavor::Cloudflare, authority.map(Authority::acceptor), handler);
        let traffic = server.traffic();
        let scheme = if authority.is_some() { "https" } else { "http" };
        Self { state, server, scheme, traffic }
    }

    /// Returns the address that it listens at.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.server.addr(), api::BASE)
    }

    /// Adds a zone, here and in PowerDNS, and returns its identifier.
    pub fn add_zone(&self, dns: &PowerDns, name: &str) -> String {
        dns.create_zone(&store::ascii(name));
        self.state.add_zone(name)
    }

    /// Changes what the API says of the name servers of a zone, which are `ns1.<zone>` else.
    pub fn set_name_servers(&self, zone: &str, servers: &[&str]) {
        self.state.set_name_servers(zone, servers);
    }

    /// Removes a zone and its records here; PowerDNS keeps it.
    pub fn remove_zone(&self, name: &str) {
        self.state.remove_zone(name);
    }

    /// The identifier of a zone.
    ///
    /// # Panics
    /// If there is no such zone.
    #[must_use]
    pub fn zone_id(&self, name: &str) -> String {
        self.state.zone_id(name).unwrap_or_else(|| panic!("the stand-in has no zone {name}"))
    }

    /// Accepts a token, or changes what one may do.
    pub fn add_token(&self, token: Token) {
        self.state.accounts().add_token(token);
    }

    /// Accepts a token no longer.
    pub fn revoke_token(&self, value: &str) {
        self.state.accounts().revoke_token(value);
    }

    /// Accepts the legacy pair of e-mail address and global key.
    pub fn set_legacy_key(&self, email: &str, key: &str) {
        self.state.accounts().legacy = Some((email.to_owned(), key.to_owned()));
    }

    /// Everything that is stored, whether or not PowerDNS has it yet.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.state.records()
    }

    /// The stored TXT records.
    #[must_use]
    pub fn txt_records(&self) -> Vec<Record> {
        self.records().into_iter().filter(|record| record.kind == "TXT").collect()
    }

    /// Waits until a condition on the stored records holds.
    ///
    /// # Panics
    /// After `timeout`, with the records.
    pub fn wait_for_records(&self, timeout: Duration, condition: impl Fn(&[Record]) -> bool) {
        let met = wait_until(timeout, || condition(&self.records()).then_some(()));
        assert!(met.is_some(), "after {timeout:?} the records are {:#?}", self.records());
    }

    /// Switches `dns_records/batch` off or on. Off, it is an unknown route.
    pub fn set_batch_enabled(&self, enabled: bool) {
        self.state.settings().batch = enabled;
    }

    /// Refuses to store more records than this in a zone (81045).
    pub fn set_record_quota(&self, records: usize) {
        self.state.settings().quota = records;
    }

    /// From now on a change reaches PowerDNS only after `delay`, while the API answers at once.
    pub fn set_propagation_delay(&self, delay: Duration) {
        self.state.publisher.set_delay(delay);
    }

    /// Keeps changes from PowerDNS until [`resume_propagation`](Self::resume_propagation).
    pub fn pause_propagation(&self) {
        self.state.publisher.set_paused(true);
    }

    /// Lets the changes through that were kept back.
    pub fn resume_propagation(&self) {
        self.state.publisher.set_paused(false);
    }

    /// Allows so many requests in a window of time, over all tokens; what exceeds it is answered
    /// with 429 and `Retry-After` until a whole window has passed.
    pub fn set_rate_limit(&self, requests: usize, window: Duration) {
        self.state.settings().limit = Some(store::Limit::new(requests, window));
    }

    /// Ends [`set_rate_limit`](Self::set_rate_limit).
    pub fn clear_rate_limit(&self) {
        self.state.settings().limit = None;
    }

    /// Closes the port and all connections; zones, tokens and records stay.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Listens again after [`stop`](Self::stop).
    pub fn restart(&mut self) {
        self.server.listen();
    }
}
