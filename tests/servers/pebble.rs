//! Pebble, the certification authority.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use tokio::sync::RwLock;

use crate::authority::Authority;
use crate::ports::Port;
use crate::process::{Process, START, read_log};
use crate::{package, rt};

/// Options of a [`Pebble`].
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// The DNS server that its validator asks, over TCP.
    pub dns: SocketAddr,
    /// Profiles: name, description, validity in seconds.
    pub profiles: Vec<(String, String, u64)>,
    /// Per cent of good nonces that are refused with `badNonce`.
    pub nonce_reject_percent: u8,
    /// Validates at once, instead of after up to 15 seconds.
    pub va_nosleep: bool,
    /// Every validation succeeds, without a question to anybody.
    pub va_always_valid: bool,
    /// Per cent of valid authorizations that a new order reuses.
    pub authz_reuse_percent: u8,
    /// Seconds in `Retry-After` of a pending authorization and of a processing order, which Pebble
    /// writes as a number or as a date, at random. It sends none for `None`, as for 0.
    pub retry_after: Option<(u32, u32)>,
    /// Accounts need an external account binding with one of these: key identifier, MAC key
    /// (base64url).
    pub eab: BTreeMap<String, String>,
    /// Roots besides the first, each with a chain of its own.
    pub alternate_roots: u32,
    /// Certificates between leaf and root; at least 1.
    pub chain_length: u32,
    /// The URL of the OCSP responder that certificates name, if any; with one
    /// [`Pebble::intermediate_key_pem`] works.
    pub ocsp_responder: Option<String>,
    /// Domains it refuses with `rejectedIdentifier`.
    pub blocklist: Vec<String>,
}

impl PebbleOptions {
    /// Makes the options that most tests want: quick, with good nonces, profiles `default` (90 days) and
    /// `shortlived`
    /// (6 days).
    #[must_use]
    pub fn new(dns: SocketAddr) -> Self {
        let profile = |name: &str, text: &str, seconds| (name.into(), text.into(), seconds);
        Self {
            dns,
            profiles: vec![
                profile("default", "Ninety days", 90 * 86_400),
                profile("shortlived", "Six days", 6 * 86_400),
            ],
            nonce_reject_percent: 0,
            va_nosleep: true,
            va_always_valid: false,
            authz_reuse_percent: 0,
            retry_after: None,
            eab: BTreeMap::new(),
            alternate_roots: 0,
            chain_length: 1,
            ocsp_responder: None,
            blocklist: Vec::new(),
        }
    }

    /// Sets the validity of the profile `shortlived`, such as a few minutes to watch renewals.
    #[must_use]
    pub fn shortlived(self, validity: Duration) -> Self {
        self.profile("shortlived", validity)
    }

    /// Adds a profile, or changes the validity of one. An order without a profile gets any of them.
    #[must_use]
    pub fn profile(mut self, name: &str, validity: Duration) -> Self {
        self.profiles.retain(|(known, ..)| known != name);
        self.profiles.push((name.into(), format!("{validity:?}"), validity.as_secs()));
        self
    }

    fn config(&self, certificate: &Authority, acme: SocketAddr, management: SocketAddr) -> Value {
        let profiles: serde_json::Map<String, Value> = self
            .profiles
            .iter()
            .map(|(name, description, seconds)| {
                (name.clone(), json!({"description": description, "validityPeriod": seconds}))
            })
            .collect();
        let mut config = json!({
            "listenAddress": acme.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": certificate.certificate_file(),
            "privateKey": certificate.key_file(),
            // Nothing listens there: only DNS challenges can succeed.
            "httpPort": 1,
            "tlsPort": 1,
            "ocspResponderURL": self.ocsp_responder.as_deref().unwrap_or_default(),
            "externalAccountBindingRequired": !self.eab.is_empty(),
            "externalAccountMACKeys": self.eab,
            "domainBlocklist": self.blocklist,
            // A start takes 50 ms with ECDSA instead of 700, but a responder needs the intermediate
            // certificate's key, and Pebble hands out RSA keys only.
            "keyAlgorithm": if self.ocsp_responder.is_some() { "rsa" } else { "ecdsa" },
            "profiles": profiles,
        });
        if let Some((authz, order)) = self.retry_after {
            config["retryAfter"] = json!({"authz": authz, "order": order});
        }
        json!({"pebble": config})
    }
}

/// A running Pebble. It forgets everything when it is restarted, its own keys included.
#[derive(Debug)]
pub struct Pebble {
    options: PebbleOptions,
    process: Process,
    dir: PathBuf,
    authority: Authority,
    acme: Port,
    management: Port,
    client: reqwest::Client,
    /// Pebble 2.10 locks itself up for good when it takes an order while it takes another one or shows an authorization:
    /// whoever places one through a proxy does so alone.
    ordering: Arc<RwLock<()>>,
}

impl Pebble {
    /// Starts a Pebble that keeps its files in `dir`.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(dir: &Path, options: PebbleOptions) -> Self {
        let authority = Authority::create(dir);
        let (acme, management) = (Port::reserve(), Port::reserve());
        let process = launch(dir, &options, &authority, &acme, &management);
        let ca = fs::read(authority.ca_file())
            .unwrap_or_else(|e| panic!("cannot read {}: {e}", authority.ca_file().display()));
        let client = rt::http_client(Duration::from_secs(5), Some(&ca));
        let (dir, ordering) = (dir.to_owned(), Arc::default());
        Self { options, process, dir, authority, acme, management, client, ordering }
    }

    pub(crate) fn ordering(&self) -> Arc<RwLock<()>> {
        self.ordering.clone()
    }

    /// Returns the address that the ACME endpoint listens at.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.acme.addr()
    }

    /// The URL of the directory.
    #[must_use]
    pub fn directory_url(&self) -> String {
        format!("https://{}/dir", self.acme.addr())
    }

    /// The URL of the management interface, without a slash at its end.
    #[must_use]
    pub fn management_url(&self) -> String {
        format!("https://{}", self.management.addr())
    }

    /// The authority of its HTTPS endpoints: what belongs into `trusted_certificate`.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        self.authority.ca_file()
    }

    /// The root number `n` that it issues from; there are `alternate_roots` besides number 0.
    #[must_use]
    pub fn root_pem(&self, n: u32) -> String {
        self.get(&format!("/roots/{n}"))
    }

    /// The intermediate certificate number `n`.
    #[must_use]
    pub fn intermediate_pem(&self, n: u32) -> String {
        self.get(&format!("/intermediates/{n}"))
    }

    /// The key of the intermediate certificate number `n`, if Pebble was started with a responder.
    #[must_use]
    pub fn intermediate_key_pem(&self, n: u32) -> String {
        self.get(&format!("/intermediate-keys/{n}"))
    }

    /// The status of a certificate, such as `Valid` or `Revoked`; `None` if it issued no such.
    #[must_use]
    pub fn certificate_status(&self, serial_hex: &str) -> Option<String> {
        let url = format!("{}/cert-status-by-serial/{serial_hex}", self.management_url());
        let text = rt::block_on(async {
            let response = self.client.get(&url).send().await.ok()?;
            response.text().await.ok()
        })?;
        let status: Value = serde_json::from_str(&text).ok()?;
        Some(status["Status"].as_str()?.to_owned())
    }

    /// Sets what the renewal information of a certificate says from now on.
    ///
    /// `response` is the whole document of RFC 9773, section 4.2, such as
    /// `{"suggestedWindow": {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z"}}`.
    pub fn set_renewal_info(&self, certificate_pem: &str, response: &Value) {
        let body = json!({"certificate": certificate_pem, "ariResponse": response.to_string()});
        let url = format!("{}/set-renewal-info/", self.management_url());
        let answer = rt::block_on(async {
            let response = self.client.post(&url).body(body.to_string()).send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.text().await?))
        });
        match answer {
            Ok((status, _)) if status.is_success() => {}
            other => panic!("Pebble refuses renewal information: {other:?}"),
        }
    }

    /// Returns whether requests hang for good. Pebble 2.10 takes the lock of its store and that of an
    /// authorization in both orders, so that two new orders at the same time may stop it; seldom.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        // It looks the certificate up in the store.
        let url = format!("{}/cert-status-by-serial/0", self.management_url());
        let answer = rt::block_on(async { self.client.get(&url).send().await });
        answer.is_err_and(|error| error.is_timeout())
    }

    /// Kills it. Connections are refused until [`restart`](Self::restart).
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts it anew on the same ports, having forgotten all accounts, orders and roots.
    pub fn restart(&mut self) {
        self.process.stop();
        self.process =
            launch(&self.dir, &self.options, &self.authority, &self.acme, &self.management);
    }

    /// Like [`restart`](Self::restart), with other options.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut PebbleOptions)) {
        change(&mut self.options);
        self.restart();
    }

    /// Stops it where it is; connections hang.
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// Returns its log, over all restarts.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.dir.join("pebble.log"))
    }

    /// Waits until its log contains `text`; panics after `timeout`.
    pub fn wait_for_log(&mut self, text: &str, timeout: Duration) {
        self.process.wait_for_log(text, timeout);
    }

    fn get(&self, path: &str) -> String {
        let url = format!("{}{path}", self.management_url());
        let answer = rt::block_on(async {
            self.client.get(&url).send().await?.error_for_status()?.text().await
        });
        answer.unwrap_or_else(|e| panic!("cannot get {url}: {e}"))
    }
}

fn launch(
    dir: &Path,
    options: &PebbleOptions,
    authority: &Authority,
    acme: &Port,
    management: &Port,
) -> Process {
    let config = dir.join("pebble.json");
    let text = options.config(authority, acme.addr(), management.addr()).to_string();
    fs::write(&config, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", config.display()));
    let mut command = Command::new(package::pebble());
    command.arg("-config").arg(&config).arg("-dnsserver").arg(options.dns.to_string());
    command.env("PEBBLE_AUTHZREUSE", options.authz_reuse_percent.to_string());
    command.env("PEBBLE_WFE_NONCEREJECT", options.nonce_reject_percent.to_string());
    command.env("PEBBLE_ALTERNATE_ROOTS", options.alternate_roots.to_string());
    command.env("PEBBLE_CHAIN_LENGTH", options.chain_length.to_string());
    if options.va_nosleep {
        command.env("PEBBLE_VA_NOSLEEP", "1");
    }
    if options.va_always_valid {
        command.env("PEBBLE_VA_ALWAYS_VALID", "1");
    }
    let mut process = Process::start(&command, &dir.join("pebble.log"));
    process.wait_for_port(acme.addr(), START);
    process.wait_for_port(management.addr(), START);
    process
}
