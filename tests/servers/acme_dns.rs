//! A stand-in of acme-dns, which writes through to PowerDNS.
//!
//! No package of it is to be had. It keeps two values of an account and replaces the one whose time, in seconds, is
//! the older; of two with one time, it may take either, so this one takes the one that was written last.
//! acme.sh's script and its makers' own library are run against it to keep it honest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};

use crate::http_server::{Flavor, Handler, HttpServer};
use crate::powerdns::{Api, PowerDns, Rrset, fqdn};
use crate::traffic::{Reply, Request, Traffic};

/// The zone of the server itself.
pub const ZONE: &str = "auth.test";

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's name.
    pub username: String,
    /// Their password.
    pub password: String,
    /// The label in front of [`ZONE`].
    pub subdomain: String,
}

/// A running stand-in. It ends when it is dropped.
#[derive(Debug)]
pub struct AcmeDns {
    server: HttpServer,
    state: Arc<State>,
    /// The log of its requests, and what is to go wrong with them.
    pub traffic: Traffic,
}

/// A value, and the second in which it was written.
type Row = (String, u64);

#[derive(Debug)]
struct State {
    dns: Api,
    accounts: Mutex<Vec<Account>>,
    rows: Mutex<BTreeMap<String, Vec<Row>>>,
}

impl AcmeDns {
    /// Starts a stand-in without accounts.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(dns: &PowerDns) -> Self {
        dns.create_zone(ZONE);
        let state = State { dns: dns.api(), accounts: Mutex::default(), rows: Mutex::default() };
        let state = Arc::new(state);
        let handling = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&handling);
            Box::pin(async move { state.handle(&request).await })
        });
        let server = HttpServer::start(Flavor::Plain, None, handler);
        Self { traffic: server.traffic(), server, state }
    }

    /// The URL that `/update` is below.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    /// Makes an account.
    ///
    /// # Panics
    /// If there is no randomness.
    #[must_use]
    pub fn register(&self) -> Account {
        self.state.register()
    }

    /// The values of an account, the older one first.
    #[must_use]
    pub fn values(&self, account: &Account) -> Vec<String> {
        let rows = self.state.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = rows.get(&account.subdomain).cloned().unwrap_or_default();
        rows.sort_by_key(|(_, written)| *written);
        rows.into_iter().map(|(value, _)| value).collect()
    }
}

impl State {
    fn register(&self) -> Account {
        let account = Account { username: uuid(), password: random(20), subdomain: uuid() };
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.push(account.clone());
        account
    }

    async fn handle(&self, request: &Request) -> Reply {
        match (&request.method, request.path.as_str()) {
            (&Method::POST, "/register") => {
                let Account { username, password, subdomain } = self.register();
                let body = json!({
                    "username": username, "password": password, "subdomain": subdomain,
                    "fulldomain": format!("{subdomain}.{ZONE}"), "allowfrom": [],
                });
                Reply::json(201, &body)
            }
            (&Method::POST, "/update") => self.update(request).await,
            _ => Reply::new(404, "text/plain", "404 page not found\n"),
        }
    }

    async fn update(&self, request: &Request) -> Reply {
        let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let (subdomain, txt) = (text("subdomain"), text("txt"));
        let is_known = {
            let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.iter().any(|account| {
                header("x-api-user") == Some(&account.username)
                    && header("x-api-key") == Some(&account.password)
                    && account.subdomain == subdomain
            })
        };
        if !is_known {
            return Reply::json(401, &json!({"error": "forbidden"}));
        }
        if txt.len() != 43 {
            return Reply::json(400, &json!({"error": "bad_txt"}));
        }
        let values = self.replace_oldest(subdomain, txt);
        let contents = values.iter().filter(|value| !value.is_empty());
        let rrset = Rrset {
            name: fqdn(&format!("{subdomain}.{ZONE}")),
            kind: "TXT".to_owned(),
            ttl: 1,
            contents: contents.map(|value| format!("\"{value}\"")).collect(),
        };
        match self.dns.set_rrsets(&fqdn(ZONE), &[rrset]).await {
            Ok(()) => Reply::json(200, &json!({"txt": txt})),
            Err(_) => Reply::json(500, &json!({"error": "db_error"})),
        }
    }

    /// Writes a value and gives both, each once.
    fn replace_oldest(&self, subdomain: &str, txt: &str) -> Vec<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut all = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = all.entry(subdomain.to_owned()).or_insert_with(|| vec![Row::default(); 2]);
        // The last one is the one that was written last.
        if let Some(oldest) = rows.iter().map(|(_, written)| *written).min()
            && let Some(at) = rows.iter().rposition(|(_, written)| *written == oldest)
        {
            rows.remove(at);
        }
        rows.push((txt.to_owned(), now));
        let mut values: Vec<String> = rows.iter().map(|(value, _)| value.clone()).collect();
        values.dedup();
        values
    }
}

fn random(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    openssl::rand::rand_bytes(&mut random).unwrap_or_else(|e| panic!("no random bytes: {e}"));
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid() -> String {
    [4, 2, 2, 2, 6].map(random).join("-")
}
