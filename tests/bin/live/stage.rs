//! NGINX with the module in front of the real API and CA, and what can be asked of it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::tls::{Leaf, PeerChain, TlsClient};
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::settings::Settings;

/// Longer than a zone takes to show records everywhere, and a CA to look at them.
const ISSUANCE: Duration = Duration::from_secs(600);

/// Signature algorithms of clients that know only one type of key.
const KINDS: [(&str, &str); 2] =
    [("ECDSA", "ECDSA+SHA256:ECDSA+SHA384"), ("RSA", "RSA-PSS+SHA256:RSA+SHA256")];

pub(crate) struct Stage<'a> {
    pub(crate) nginx: Nginx,
    settings: &'a Settings,
    stop: &'a AtomicBool,
    port: Port,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(settings: &'a Settings, stop: &'a AtomicBool) -> Self {
        let mut nginx = Nginx::new(NginxBuild::get());
        // The steps of an order, and whether the CA takes a renewal for one.
        nginx.log_level("debug");
        Self { nginx, settings, stop, port: Port::reserve() }
    }

    /// Sets what the next start or reload uses: where the API is, the file of the token, and the names.
    pub(crate) fn configure(&mut self, api: &str, token_file: &str, names: &str) {
        let Settings { directory, ca_file, propagation, .. } = self.settings;
        let trust = ca_file.as_ref().map(|file| format!("trusted_certificate {};", file.display()));
        let propagation =
            propagation.as_ref().map(|text| format!("acme_dns_propagation {text};\n"));
        self.nginx.http(format!(
            "acme_dns_issuer live {{\n    directory {directory};\n    accept_terms_of_service;\n    {}\n}}\n\
             acme_dns_provider cloudflare {{\n    api {api};\n    token_file {token_file};\n}}\n{}\
             server {{\n    listen {} ssl;\n    server_name {names};\n    \
             acme_dns on key=ecdsa:256,rsa:2048;\n}}\n",
            trust.unwrap_or_default(),
            propagation.unwrap_or_default(),
            self.port.addr(),
        ));
    }

    /// Asks for something by a file in `actions/`, and reloads.
    pub(crate) fn ask(&mut self, file: &str, content: &str) -> Result<(), String> {
        let path = self.nginx.dir().join("acme_dns/actions").join(file);
        fs::write(&path, content).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        self.nginx.try_reload()
    }

    /// Waits until both types of key are served by the CA, others than before; gives them.
    pub(crate) fn wait_for_certificates(&self, before: &[Leaf]) -> Result<[PeerChain; 2], String> {
        let apex = self.settings.zone.clone();
        let issued = || {
            let [ecdsa, rsa] = KINDS.map(|(_, algorithms)| self.handshake(&apex, algorithms).ok());
            let chains = [ecdsa?, rsa?];
            let is_new = |chain: &PeerChain| {
                // What stands in for a certificate has signed itself.
                chain.leaf.issuer != chain.leaf.subject
                    && chain.chain.len() > 1
                    && before.iter().all(|leaf| leaf.serial != chain.leaf.serial)
            };
            chains.iter().all(is_new).then_some(chains)
        };
        self.wait(ISSUANCE, issued).map_err(|why| format!("no certificate: {why}"))
    }

    /// Waits for a line of the log, from a mark on.
    pub(crate) fn wait_for_line(
        &self,
        mark: u64,
        texts: &[&str],
        limit: Duration,
    ) -> Result<String, String> {
        let find = || {
            let log = self.nginx.log_from(mark);
            let fits = |line: &&str| texts.iter().any(|text| line.contains(text));
            log.lines().find(fits).map(str::to_owned)
        };
        self.wait(limit, find)
            .map_err(|why| format!("no line \"{}\": {why}", texts.join("\" or \"")))
    }

    fn wait<T>(&self, limit: Duration, condition: impl Fn() -> Option<T>) -> Result<T, String> {
        let begun = Instant::now();
        let mut ended = None;
        let found = wait_until(limit, || {
            if self.stop.load(Ordering::Relaxed) {
                ended = Some("interrupted".to_owned());
                return Some(None);
            }
            if !self.nginx.is_running() {
                ended = Some("NGINX has ended".to_owned());
                return Some(None);
            }
            condition().map(Some)
        });
        let late =
            || ended.unwrap_or_else(|| format!("not within {} s", begun.elapsed().as_secs()));
        found.flatten().ok_or_else(late)
    }

    fn handshake(&self, name: &str, algorithms: &str) -> Result<PeerChain, String> {
        let client = TlsClient::new(self.port.addr()).sni(name).signatures(algorithms);
        client.handshake().map_err(|e| e.to_string())
    }

    /// Checks names and types of keys of what is served, for the apex and for a name that the wildcard covers.
    pub(crate) fn check(&self, chains: &[PeerChain; 2]) -> Result<(), String> {
        let zone = &self.settings.zone;
        let expected = [format!("*.{zone}"), zone.clone()];
        for ((kind, algorithms), chain) in KINDS.iter().zip(chains) {
            let leaf = &chain.leaf;
            let has_all = expected.iter().all(|name| leaf.sans.contains(name));
            if !has_all {
                return Err(format!("the {kind} certificate holds {}", leaf.sans.join(", ")));
            }
            let is_ecdsa = !leaf.key.to_ascii_lowercase().contains("rsa");
            if is_ecdsa != (*kind == "ECDSA") {
                return Err(format!("a client of {kind} gets a key of type {}", leaf.key));
            }
            let below = self.handshake(&format!("www.{zone}"), algorithms)?;
            if below.leaf.serial != leaf.serial {
                return Err("the wildcard is served with another certificate".to_owned());
            }
        }
        Ok(())
    }
}
