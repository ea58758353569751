//! A stand-in of DuckDNS, which writes through to PowerDNS. It behaves as <https://www.duckdns.org/spec.jsp> says:
//! one TXT record for a domain and whatever is below it, and `OK` or `KO`. acme.sh's script
//! and lego are run against it to keep it honest.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use tokio_native_tls::TlsAcceptor;
use url::form_urlencoded::parse;

use crate::authority::Authority;
use crate::http_server::{Flavor, Handler, HttpServer};
use crate::powerdns::{Api, PowerDns, Rrset, fqdn};
use crate::traffic::{Reply, Request, Traffic};

/// The zone of all domains.
pub const ZONE: &str = "duckdns.org";

/// The domain of the account.
pub const DOMAIN: &str = "testbed";

/// The token of the account.
pub const TOKEN: &str = "a7c4d0ad-114e-40ef-ba1d-d217904a50f2";

/// A running stand-in. It ends when it is dropped.
#[derive(Debug)]
pub struct DuckDns {
    server: HttpServer,
    /// The log of its requests, and what is to go wrong with them.
    pub traffic: Traffic,
}

impl DuckDns {
    /// Starts a stand-in with the domain [`DOMAIN`].
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(dns: &PowerDns) -> Self {
        Self::with(dns, None)
    }

    /// Starts one that takes the place of <https://www.duckdns.org>, with a certificate of `authority`.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start_in_its_place(dns: &PowerDns, authority: &Authority) -> Self {
        Self::with(dns, Some(authority.acceptor()))
    }

    fn with(dns: &PowerDns, tls: Option<TlsAcceptor>) -> Self {
        dns.create_zone(ZONE);
        let api = dns.api();
        let handler: Handler = Arc::new(move |request| {
            let api = api.clone();
            Box::pin(async move { handle(&api, &request).await })
        });
        let server = HttpServer::start(Flavor::Plain, tls, handler);
        Self { traffic: server.traffic(), server }
    }

    /// The address that it listens at.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The URL that `/update` is below.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.server.addr())
    }
}

async fn handle(dns: &Api, request: &Request) -> Reply {
    let plain = |status, text| Reply::new(status, "text/html;charset=utf-8", text);
    if (&request.method, request.path.as_str()) != (&Method::GET, "/update") {
        return plain(404, "<html><body>not found</body></html>");
    }
    let query = |name: &str| {
        let mut pairs = parse(request.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let (txt, is_cleared) = (query("txt"), query("clear") == "true");
    // lego sends the whole name.
    let domains = query("domains");
    let domain = domains.strip_suffix(".duckdns.org").unwrap_or(&domains);
    // A request with neither sets the address.
    if domain != DOMAIN || query("token") != TOKEN || (txt.is_empty() && !is_cleared) {
        return plain(200, "KO");
    }
    let contents = if is_cleared { Vec::new() } else { vec![format!("\"{txt}\"")] };
    let rrset = |name: String| Rrset {
        name: fqdn(&name),
        kind: "TXT".to_owned(),
        ttl: 60,
        contents: contents.clone(),
    };
    let domain = format!("{DOMAIN}.{ZONE}");
    let rrsets = [rrset(domain.clone()), rrset(format!("*.{domain}"))];
    match dns.set_rrsets(&fqdn(ZONE), &rrsets).await {
        Ok(()) => plain(200, "OK"),
        Err(_) => plain(500, "<html><body>error</body></html>"),
    }
}
