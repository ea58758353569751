//! Connections to Redis: Sentinels that know the master, TLS by OpenSSL, login, and what refusals mean.

use super::super::error::{NO_TLS, closed_hint, is_closed};
use super::super::{Patience, SetupError, ShareError};
use crate::http::Identity;
use acme_dns_core::config::{Endpoint, Share, ShareKind};
use acme_dns_core::text::excerpt;
use openssl::x509::X509;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisConnectionInfo, RedisError,
};
use secrecy::{ExposeSecret, SecretString};
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_native_tls::TlsConnector;
use tokio_native_tls::native_tls;

const NEEDS_RIGHTS: &str = "its user needs the commands and keys that docs/directives.md lists";

/// The longest text of an answer that is shown, in characters.
const MAX_TEXT: usize = 200;

/// A connection, and which history the server has: it begins another when it starts, and when it becomes the master.
#[derive(Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    pub(super) endpoint: String,
    pub(super) history: String,
}

/// Maker of connections.
pub(super) struct Connector {
    endpoints: Vec<Endpoint>,
    /// The name of the master, where the endpoints are Sentinels.
    master: Option<String>,
    tls: Option<TlsConnector>,
    login: RedisConnectionInfo,
    sentinel_login: RedisConnectionInfo,
    pub(super) patience: Patience,
    /// The Sentinel that has answered last.
    current: Cell<usize>,
    has_certificate: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Place at which something is asked, for its errors.
#[derive(Clone, Copy)]
struct At<'a> {
    endpoint: &'a str,
    /// Guess at what is behind a connection that is closed: servers do not tell it.
    hint: &'static str,
}

impl Connector {
    /// Makes one of the settings and secrets of a configuration. Nobody is contacted.
    pub(super) fn new(
        share: &Share,
        passwords: [Option<SecretString>; 2],
        identity: Option<Identity<'_>>,
        patience: Patience,
    ) -> Result<Self, SetupError> {
        let (database, sentinel) = match &share.kind {
            ShareKind::Redis { database, sentinel } => (*database, sentinel.as_ref()),
            ShareKind::Etcd => (0, None),
        };
        let [password, of_sentinel] = passwords;
        let sentinel_user = sentinel.and_then(|sentinel| sentinel.username.as_deref());
        let is_tls = share.endpoints.iter().any(|endpoint| endpoint.is_tls);
        let trusted = share.trusted_certificate.as_deref();
        Ok(Self {
            endpoints: share.endpoints.clone(),
            master: sentinel.map(|sentinel| sentinel.master.clone()),
            tls: is_tls.then(|| tls(trusted, identity)).transpose()?,
            login: login(share.username.as_deref(), password.as_ref()).set_db(i64::from(database)),
            sentinel_login: login(sentinel_user, of_sentinel.as_ref()),
            patience,
            current: Cell::new(0),
            has_certificate: identity.is_some(),
        })
    }

    /// Connects to the master.
    pub(super) async fn connect(&self) -> Result<Connection, ShareError> {
        let (address, name) = match &self.master {
            Some(master) => self.ask_sentinels(master).await?,
            None => self.endpoints.first().map(address).unwrap_or_default(),
        };
        let at = self.at(&name);
        let mut inner = self.open(&address, at, &self.login).await?;
        let mut info = redis::cmd("INFO");
        let text: String = self.ask(&mut inner, info.arg("replication"), at).await?;
        let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
        match field("role:") {
            Some("master") => {}
            Some(_) => return Err(at.away("it is a replica, on which nothing can be written")),
            None => {
                return Err(ShareError::Foreign {
                    endpoint: name,
                    detail: "it is not a master or a replica".to_owned(),
                    advice: "set \"sentinel_master\" if it is a Sentinel",
                });
            }
        }
        let history = field("master_replid:").unwrap_or_default().to_owned();
        Ok(Connection { inner, endpoint: name, history })
    }

    /// Asks one Sentinel after the other for the master.
    async fn ask_sentinels(&self, master: &str) -> Result<((String, u16), String), ShareError> {
        let number = self.endpoints.len();
        let mut failed = None;
        for _ in 0..number {
            let place = self.current.get() % number;
            let Some(endpoint) = self.endpoints.get(place) else { break };
            match self.ask_sentinel(endpoint, master).await {
                Ok(found) => return Ok(found),
                Err(error) => failed = Some(error),
            }
            self.current.set(place + 1);
        }
        Err(failed.unwrap_or_else(|| self.at("").away("there is no endpoint")))
    }

    async fn ask_sentinel(
        &self,
        endpoint: &Endpoint,
        master: &str,
    ) -> Result<((String, u16), String), ShareError> {
        let (address, name) = address(endpoint);
        let at = self.at(&name);
        let mut sentinel = self.open(&address, at, &self.sentinel_login).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(master);
        let found: Option<(String, u16)> = self.ask(&mut sentinel, &command, at).await?;
        let (host, port) = found.ok_or_else(|| ShareError::Foreign {
            endpoint: name.clone(),
            detail: format!("the Sentinel knows no master \"{master}\""),
            advice: "check \"sentinel_master\"",
        })?;
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let name = format!("{scheme}://{}:{port}", excerpt(&host, MAX_TEXT));
        Ok(((host, port), name))
    }

    /// Opens a connection and logs in.
    async fn open(
        &self,
        address: &(String, u16),
        at: At<'_>,
        login: &RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, ShareError> {
        let (host, port) = address;
        let limit = self.patience.request;
        let late = || at.late(&self.patience);
        let connected = timeout(limit, TcpStream::connect((host.as_str(), *port))).await;
        let stream = connected
            .map_err(|_| late())?
            .map_err(|error| at.away(&format!("cannot connect: {error}")))?;
        // A small command must not wait for the answer to the one before.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let secured = timeout(limit, tls.connect(host, stream)).await;
                // Redis waits for the end of what it takes for a command.
                let secured = secured.map_err(|_| at.late_because(&self.patience, NO_TLS))?;
                Box::new(secured.map_err(|error| at.untrusted(&error))?)
            }
        };
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let making = MultiplexedConnection::new_with_config(login, stream, config);
        let made = timeout(limit, making).await.map_err(|_| late())?;
        let (connection, driver) = made.map_err(|error| at.explain(&error))?;
        tokio::spawn(driver);
        Ok(connection)
    }

    fn at<'a>(&self, endpoint: &'a str) -> At<'a> {
        let hint = if self.tls.is_some() { closed_hint(self.has_certificate) } else { "" };
        At { endpoint, hint }
    }

    /// Sends a command and reads the answer.
    async fn ask<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        command: &Cmd,
        at: At<'_>,
    ) -> Result<T, ShareError> {
        let asked = timeout(self.patience.request, command.query_async(connection)).await;
        asked.map_err(|_| at.late(&self.patience))?.map_err(|error| at.explain(&error))
    }

    /// Sends a command on a connection that is known, and reads the answer; one that blocks for a time takes this longer.
    pub(super) async fn ask_on<T: FromRedisValue>(
        &self,
        connection: &mut Connection,
        command: &Cmd,
        blocks_for: Duration,
    ) -> Result<T, ShareError> {
        let Connection { inner, endpoint, .. } = connection;
        let at = At { endpoint, hint: "" };
        let asked = timeout(self.patience.request + blocks_for, command.query_async(inner)).await;
        asked.map_err(|_| at.late(&self.patience))?.map_err(|error| at.explain(&error))
    }
}

impl At<'_> {
    fn away(self, detail: &str) -> ShareError {
        ShareError::Away { endpoint: self.endpoint.to_owned(), detail: detail.to_owned() }
    }

    fn late(self, patience: &Patience) -> ShareError {
        self.late_because(patience, "")
    }

    fn late_because(self, patience: &Patience, hint: &str) -> ShareError {
        let detail = format!("no answer for {} s{hint}", patience.request.as_secs());
        ShareError::Timeout { endpoint: self.endpoint.to_owned(), detail }
    }

    fn untrusted(self, error: &native_tls::Error) -> ShareError {
        let detail = error.to_string();
        let endpoint = self.endpoint.to_owned();
        if is_closed(&detail) {
            let detail = format!("{detail}{NO_TLS}");
            return ShareError::Away { endpoint, detail };
        }
        if detail.contains("wrong version number") {
            let advice = "it seems to have no TLS: is it to be \"redis://\"?";
            return ShareError::Foreign { endpoint, detail, advice };
        }
        ShareError::Untrusted { endpoint, detail }
    }

    /// Says what an error means.
    fn explain(self, error: &RedisError) -> ShareError {
        let endpoint = self.endpoint.to_owned();
        let text = error.to_string();
        let detail = format!("\"{}\"", excerpt(&text, MAX_TEXT));
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if error.is_io_error() {
            return match has(&["certificate", "unknown ca"]) {
                true => ShareError::Untrusted { endpoint, detail },
                false => {
                    let detail = format!("{detail}{}", self.hint);
                    ShareError::Away { endpoint, detail }
                }
            };
        }
        let refused = |advice| {
            let (endpoint, detail) = (endpoint.clone(), detail.clone());
            ShareError::Refused { endpoint, detail, advice }
        };
        let foreign = |advice| {
            let (endpoint, detail) = (endpoint.clone(), detail.clone());
            ShareError::Foreign { endpoint, detail, advice }
        };
        match error.code().unwrap_or_default() {
            "NOAUTH" => refused("set \"password_file\", and \"username\" if there is one"),
            "NOPERM" => refused(NEEDS_RIGHTS),
            // The same of a command within a script, which has another code.
            _ if has(&["can't run this command"]) => refused(NEEDS_RIGHTS),
            _ if error.kind() == ErrorKind::AuthenticationFailed || has(&["WRONGPASS"]) => {
                refused("check \"username\" and \"password_file\"")
            }
            "OOM" | "MISCONF" => {
                let advice = "raise its \"maxmemory\", or give its disk room";
                ShareError::Full { endpoint, detail, advice }
            }
            "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => {
                foreign("Redis Cluster cannot be used, a single server or Sentinels can")
            }
            "WRONGTYPE" => foreign("something else uses keys with this \"prefix\""),
            "READONLY" | "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "BUSY" | "NOREPLICAS" => {
                ShareError::Away { endpoint, detail }
            }
            _ => foreign("Redis 5 or newer, or Valkey, is needed"),
        }
    }
}

fn address(endpoint: &Endpoint) -> ((String, u16), String) {
    ((endpoint.bare_host().to_owned(), endpoint.port), endpoint.to_string())
}

fn login(username: Option<&str>, password: Option<&SecretString>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password.expose_secret());
    }
    login
}

/// Prepares TLS: the system's certificates are trusted, and the given ones.
fn tls(trusted: Option<&[u8]>, identity: Option<Identity<'_>>) -> Result<TlsConnector, SetupError> {
    let failed = |error: native_tls::Error| SetupError::Tls(error.to_string());
    let mut builder = native_tls::TlsConnector::builder();
    for certificate in trusted.map(X509::stack_from_pem).transpose()?.into_iter().flatten() {
        let der = certificate.to_der()?;
        let certificate = native_tls::Certificate::from_der(&der).map_err(failed)?;
        builder.add_root_certificate(certificate);
    }
    if let Some(Identity { certificate, key }) = identity {
        let identity = native_tls::Identity::from_pkcs8(certificate, key).map_err(failed)?;
        builder.identity(identity);
    }
    builder.build().map(TlsConnector::from).map_err(failed)
}
