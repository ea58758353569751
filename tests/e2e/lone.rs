//! An nginx whose authority cannot be reached: what a server is bound to shows in the certificate
//! that stands in for the missing one.

use std::net::SocketAddr;

use openssl::x509::X509;
use servers::authority::Authority;
use servers::ports::Port;
use testbed::clients::tls::{PeerChain, TlsClient, TlsError};
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

/// Outcome of a handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Served {
    /// The certificate that stands in for one of ours, with its names.
    Ours(Vec<String>),
    /// The certificate of `ssl_certificate`.
    Static,
    /// No certificate.
    Nothing,
}

/// As [`Served::Ours`].
pub(crate) fn ours(names: &[&str]) -> Served {
    Served::Ours(names.iter().map(|name| (*name).to_owned()).collect())
}

pub(crate) struct Lone {
    pub(crate) nginx: Nginx,
    port: Port,
    other: Port,
    authority: Authority,
}

impl Lone {
    /// The directory URL of the issuer.
    pub(crate) const DIRECTORY: &str = "https://127.0.0.1:1/dir";

    /// Directives that define an issuer and a provider.
    pub(crate) const DEFINITIONS: &str = "acme_dns_issuer ca {\n    \
        directory https://127.0.0.1:1/dir;\n    accept_terms_of_service;\n}\n\
        acme_dns_provider cloudflare {\n    token_file token;\n}\n";

    pub(crate) fn new() -> Self {
        let nginx = Nginx::new(NginxBuild::get());
        nginx.add_file("token", "a-token");
        let authority = Authority::create(&nginx.dir().join("static"));
        Self { nginx, port: Port::reserve(), other: Port::reserve(), authority }
    }

    /// Starts it with this in `http { }` besides [`DEFINITIONS`](Self::DEFINITIONS).
    pub(crate) fn start(http: &str) -> Self {
        let mut lone = Self::new();
        lone.set(&format!("{}{http}", Self::DEFINITIONS));
        lone.nginx.start();
        lone
    }

    /// Sets what is in `http { }`. `LISTEN` and `OTHER` stand for two addresses, `CERT` and `KEY`
    /// for the directives that name a certificate.
    pub(crate) fn set(&mut self, http: &str) {
        let text = self.fill_in(http);
        self.nginx.http(text);
    }

    /// Has nothing but a block `stream` with this text, and the definitions.
    pub(crate) fn stream(&mut self, text: &str) {
        self.set_block("stream", text);
    }

    /// The same with a block `mail`.
    pub(crate) fn mail(&mut self, text: &str) {
        self.set_block("mail", text);
    }

    fn set_block(&mut self, block: &str, text: &str) {
        let text = self.fill_in(text);
        let main = format!("{}{block} {{\n{text}\n}}\n", Self::DEFINITIONS);
        self.nginx.no_http().main(main);
    }

    pub(crate) fn fill_in(&self, text: &str) -> String {
        let file = |path: &std::path::Path| path.display().to_string();
        let (certificate, key) = (self.authority.certificate_file(), self.authority.key_file());
        text.replace("LISTEN", &self.port.addr().to_string())
            .replace("OTHER", &self.other.addr().to_string())
            .replace("CERT", &format!("ssl_certificate {};", file(certificate)))
            .replace("KEY", &format!("ssl_certificate_key {};", file(key)))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    pub(crate) fn other_addr(&self) -> SocketAddr {
        self.other.addr()
    }

    pub(crate) fn handshake(&self, name: &str) -> Result<PeerChain, TlsError> {
        TlsClient::new(self.addr()).sni(name).handshake()
    }

    pub(crate) fn served(&self, name: &str) -> Served {
        match self.handshake(name) {
            Ok(peer) if peer.leaf.issuer == "testbed authority" => Served::Static,
            Ok(peer) if stands_in(&peer) => Served::Ours(peer.leaf.sans),
            Ok(peer) => panic!("{name}: {:?}", peer.leaf),
            Err(TlsError::Handshake(_) | TlsError::Closed(_)) => Served::Nothing,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    /// The certificates that the module has found to be missing, in the order of the log: one has a line
    /// of its own, several share one, which names ten at the most.
    pub(crate) fn missing(&self) -> Vec<String> {
        let log = self.nginx.log();
        let names = |line: &str| {
            if let Some((_, rest)) = line.split_once("acme_dns: no certificate \"") {
                return vec![rest.split('"').next().unwrap_or_default().to_owned()];
            }
            let shared = line.split_once(" certificates are missing");
            let list = shared.and_then(|(_, rest)| rest.split_once(": "));
            list.map_or(Vec::new(), |(_, names)| names.split(", ").map(str::to_owned).collect())
        };
        log.lines().flat_map(names).collect()
    }
}

/// Returns whether the certificate says of itself what it is.
pub(crate) fn stands_in(peer: &PeerChain) -> bool {
    let certificate = X509::from_der(&peer.leaf.der).expect("it is readable");
    let organization = openssl::nid::Nid::ORGANIZATIONNAME;
    let says = certificate.subject_name().entries_by_nid(organization).any(|entry| {
        entry.data().as_slice() == b"acme_dns: self-signed until a certificate is issued"
    });
    let key = certificate.public_key().expect("it has a key");
    says && certificate.verify(&key).expect("it is signed")
}
