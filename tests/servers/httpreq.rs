//! A stand-in of a server with the protocol `httpreq`, which writes through to PowerDNS.
//!
//! There is no such server to install: everybody writes their own. It takes what lego sends and nothing else. lego
//! and the script of acme.sh for acmeproxy are run against it to keep it honest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::http_server::{Flavor, Handler, HttpServer};
use crate::powerdns::{Api, PowerDns, Rrset, fqdn};
use crate::traffic::{Reply, Request, Traffic};

/// The user's name.
pub const USER: &str = "lego";

/// Their password, with characters that are encoded in URLs.
pub const PASSWORD: &str = "pass w:rd/\u{e9}";

/// A running stand-in. It ends when it is dropped.
#[derive(Debug)]
pub struct HttpReq {
    server: HttpServer,
    /// The log of its requests, and what is to go wrong with them.
    pub traffic: Traffic,
}

struct State {
    dns: Api,
    zone: String,
    /// Set if it puts the zone's name behind names that have it already.
    doubles: bool,
    /// The values of each name, without the dot.
    values: Mutex<BTreeMap<String, Vec<String>>>,
}

impl HttpReq {
    /// Starts a stand-in that writes the records of one zone of `dns`.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(dns: &PowerDns, zone: &str) -> Self {
        Self::start_with(dns, zone, false)
    }

    /// Starts a stand-in with a common mistake: it takes full names for names below the zone.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start_doubling(dns: &PowerDns, zone: &str) -> Self {
        Self::start_with(dns, zone, true)
    }

    fn start_with(dns: &PowerDns, zone: &str, doubles: bool) -> Self {
        dns.create_zone(zone);
        let zone = fqdn(zone);
        let state = Arc::new(State { dns: dns.api(), zone, doubles, values: Mutex::default() });
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&state);
            Box::pin(async move { state.handle(&request).await })
        });
        let server = HttpServer::start(Flavor::Plain, None, handler);
        Self { traffic: server.traffic(), server }
    }

    /// The URL that `/present` and `/cleanup` are below.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/hook", self.server.addr())
    }
}

impl State {
    async fn handle(&self, request: &Request) -> Reply {
        let pair = openssl::base64::encode_block(format!("{USER}:{PASSWORD}").as_bytes());
        let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        if header(AUTHORIZATION) != Some(&format!("Basic {pair}")) {
            return Reply::new(401, "text/plain", "Unauthorized\n");
        }
        let is_present = match (&request.method, request.path.as_str()) {
            (&Method::POST, "/hook/present") => true,
            (&Method::POST, "/hook/cleanup") => false,
            _ => return Reply::new(404, "text/plain", "no such path\n"),
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let (fqdn, value) = (text("fqdn"), text("value"));
        let is_json = header(CONTENT_TYPE) == Some("application/json");
        if !is_json || body.as_object().is_none_or(|body| body.len() != 2) || value.is_empty() {
            return Reply::json(400, &json!({"error": "bad request"}));
        }
        if !fqdn.ends_with(&format!(".{}", self.zone)) {
            return Reply::json(422, &json!({"error": format!("{fqdn} is in no zone of mine")}));
        }
        self.change(fqdn, value, is_present);
        match self.publish(fqdn).await {
            Ok(()) => Reply::json(200, &body),
            Err(error) => Reply::json(500, &json!({"error": error})),
        }
    }

    fn change(&self, fqdn: &str, value: &str, is_present: bool) {
        let mut all = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let values = all.entry(fqdn.to_owned()).or_default();
        values.retain(|other| other != value);
        if is_present {
            values.push(value.to_owned());
        }
    }

    async fn publish(&self, fqdn: &str) -> Result<(), String> {
        let values = {
            let all = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(fqdn).cloned().unwrap_or_default()
        };
        let contents = values.iter().map(|value| format!("\"{value}\"")).collect();
        let name = if self.doubles { format!("{fqdn}{}", self.zone) } else { fqdn.to_owned() };
        let rrset = Rrset { name, kind: "TXT".to_owned(), ttl: 60, contents };
        self.dns.set_rrsets(&self.zone, &[rrset]).await
    }
}
