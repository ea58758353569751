//! The handshake: a certificate in the process that serves it.
//!
//! It is served once for each full handshake. As long as nothing has changed that is one atomic load
//! and one comparison: the certificate was installed into the worker's own `SSL_CTX`, whose certificates every new
//! connection has. Only after a change the record is copied out of shared memory, parsed and installed.
//!
//! Which certificate a connection is served is decided in `served`.

use super::memory::SlotReader;
use super::nginx::{now, tell};
use super::openssl::{CertAndKey, FAIL, Handshake, NO_STAPLE, PROCEED, SslCtx};
use super::pair::{ParsedPair, hold_different_names, note_names};
use acme_dns_core::config::Certificate;
use acme_dns_core::id::CertificateId;
use acme_dns_core::material::Material;
use acme_dns_core::stock;
use acme_dns_core::time::UnixTime;
use acme_dns_service::event::NginxEvent;
use openssl::asn1::Asn1Time;
use std::ffi::c_int;
use std::slice;
use zeroize::Zeroizing;

/// Certificate of ours that a server serves.
pub(super) struct ServerCertificate {
    /// The certificate; known when the configuration is complete.
    pub(super) certificate: Option<CertificateId>,
    /// The certificate's place in shared memory; known when the configuration is in force.
    pub(super) slot: Option<SlotReader>,
    /// Behavior while there is no certificate.
    pub(super) fallback: Fallback,
    /// The certificate's name; known when the configuration is complete.
    pub(super) name: String,
    /// The names of the certificate, for the self-signed one; those of the server until the configuration is complete.
    pub(super) names: Vec<String>,
    /// Known when nginx has built its contexts.
    pub(super) delivery: Delivery,
    /// Set if a server has chosen it among others: it is for clients whose name it covers, and nobody else.
    is_chosen_by_name: bool,
    /// The generation that was last looked at in this process.
    seen: u64,
    installed: Option<InstalledPairs>,
    self_signed: Option<ParsedPair>,
}

/// Means by which connections get the certificate of their server.
#[derive(Clone, Copy)]
pub(super) enum Delivery {
    /// The variables: the server has no context, or one with nginx's own callback.
    Variables,
    /// The context, which no other server uses: every new connection has the certificate.
    Context(SslCtx),
    /// The same, with compressed certificates (RFC 8879).
    CompressedContext(SslCtx),
    /// The callback, for each connection: other servers use the context too, or it has held a certificate with a type of
    /// key that the server has no more. OpenSSL cannot clear a context.
    EachConnection(SslCtx),
}

/// Behavior of a server that has no certificate yet: `acme_dns_fallback`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fallback {
    #[default]
    SelfSigned,
    Reject,
}

/// Pairs that a process serves.
struct InstalledPairs {
    pairs: Vec<ParsedPair>,
    /// Set if pairs hold different names, so that each connection gets those for its name.
    depends_on_name: bool,
}

impl ServerCertificate {
    pub(super) fn new(fallback: Fallback) -> Self {
        Self {
            certificate: None,
            slot: None,
            fallback,
            name: String::new(),
            names: Vec::new(),
            delivery: Delivery::Variables,
            is_chosen_by_name: false,
            seen: 0,
            installed: None,
            self_signed: None,
        }
    }

    /// Makes one that a server has chosen among others, to be served as the server serves its own.
    pub(super) fn chosen(
        (id, certificate): (CertificateId, &Certificate),
        slot: SlotReader,
        server: &Self,
    ) -> Self {
        Self {
            certificate: Some(id),
            slot: Some(slot),
            name: certificate.name.clone(),
            names: certificate.names.iter().map(|name| name.as_str().to_owned()).collect(),
            delivery: server.delivery,
            is_chosen_by_name: true,
            ..Self::new(server.fallback)
        }
    }

    /// Takes over what has changed in shared memory, if anything: one atomic load if not.
    fn update(&mut self) {
        if self.slot.as_ref().is_some_and(|slot| slot.generation() != self.seen) {
            self.refresh();
        }
    }

    /// Takes over what has changed in shared memory. What cannot be used leaves the certificate that
    /// is served as it is, and is reported once.
    fn refresh(&mut self) {
        let Some((generation, record)) = self.slot.as_ref().and_then(SlotReader::read) else {
            return;
        };
        self.seen = generation;
        let material = Material::decode(&record).map_err(|error| error.to_string());
        drop(record);
        if let Err(error) = material.and_then(|material| self.install(material)) {
            let name = self.names.first().cloned().unwrap_or_default();
            tell(NginxEvent::Unusable { name, why: error });
        }
    }

    /// Reads the pairs of a record, and puts them where connections get them from.
    fn install(&mut self, material: Material) -> Result<(), String> {
        let pairs = material.pairs.into_iter();
        let pairs = pairs.map(|pair| ParsedPair::parse(pair, self.pairs()));
        let mut pairs = pairs.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let depends_on_name = self.is_chosen_by_name || hold_different_names(&pairs);
        if depends_on_name {
            note_names(&mut pairs);
        }
        let delivery = self.delivery.of_pairs(&pairs, depends_on_name, self.pairs());
        delivery.prepare(&pairs)?;
        self.delivery = delivery;
        self.installed = Some(InstalledPairs { pairs, depends_on_name });
        Ok(())
    }

    /// Gives the pairs that this process serves.
    fn pairs(&self) -> &[ParsedPair] {
        self.installed.as_ref().map_or(&[], |installed| &installed.pairs)
    }

    /// Tells whether there is a pair for clients that ask for a name.
    pub(super) fn covers(&mut self, name: &str) -> bool {
        self.update();
        self.pairs().iter().any(|pair| stock::covers(&pair.names, name))
    }

    /// Gives a connection the certificate; the result of its callback.
    pub(super) fn serve(&mut self, handshake: &Handshake) -> c_int {
        self.update();
        let Some(installed) = &self.installed else { return self.serve_without(handshake) };
        if installed.depends_on_name {
            let pairs = installed.pairs_for(handshake.server_name(), self.is_chosen_by_name);
            return match pairs.is_empty() {
                true => self.serve_without(handshake),
                false => handshake.give(pairs),
            };
        }
        let certificates = certificates(&installed.pairs);
        if handshake.holds(certificates.clone()) {
            return PROCEED;
        }
        // The connection began before the change, or the context cannot hold the certificate.
        handshake.give(certificates)
    }

    /// Serves while there is no certificate.
    fn serve_without(&mut self, handshake: &Handshake) -> c_int {
        match self.fallback {
            // Without a certificate no signature algorithm fits: alert 40, handshake failure. The context may
            // have one by `ssl_conf_command`.
            Fallback::Reject => handshake.give([]),
            Fallback::SelfSigned => self
                .self_signed()
                .map_or(FAIL, |pair| handshake.give(certificates(slice::from_ref(pair)))),
        }
    }

    /// Sends the staple of the certificate that was chosen for a connection; the result of its callback.
    pub(super) fn give_staple(&self, handshake: &Handshake) -> c_int {
        let chosen = self.pairs().iter().find(|pair| handshake.has_chosen(&pair.certificate));
        let staple = chosen.and_then(|pair| pair.staple.as_ref());
        // The service renews it in time, unless the responder cannot be reached.
        match staple.filter(|staple| now() < staple.not_after) {
            Some(staple) => handshake.send_staple(&staple.response),
            None => NO_STAPLE,
        }
    }

    fn self_signed(&mut self) -> Option<&ParsedPair> {
        if self.self_signed.is_none() {
            self.self_signed = ParsedPair::self_signed(&self.names).ok();
        }
        self.self_signed.as_ref()
    }

    /// Gives the first of the pairs that are served; what stands in for it while there is none.
    fn first_pair(&mut self) -> Option<&ParsedPair> {
        self.update();
        match (&self.installed, self.fallback) {
            (None, Fallback::Reject) => None,
            (None, Fallback::SelfSigned) => self.self_signed(),
            (Some(_), _) => self.pairs().first(),
        }
    }

    /// Gives the certificate that is served, with its chain, and its private key, in PEM.
    pub(super) fn pem(&mut self) -> Option<&(String, Zeroizing<String>)> {
        self.first_pair()?.pem()
    }

    /// Gives the last moment of the certificate that is served.
    pub(super) fn not_after(&mut self) -> Option<UnixTime> {
        self.update();
        let epoch = Asn1Time::from_unix(0).ok()?;
        let left = epoch.diff(self.pairs().first()?.certificate.leaf.not_after()).ok()?;
        Some(UnixTime(i64::from(left.days) * 86_400 + i64::from(left.secs)))
    }

    /// Gives the value of the variable for the status.
    pub(super) fn status(&mut self) -> &'static str {
        let Some(not_after) = self.not_after() else { return "none" };
        if not_after < now() { "expired" } else { "valid" }
    }
}

impl InstalledPairs {
    /// Chooses the pairs for a name that a client asks for, one of each type of key: the first that hold it, or,
    /// where none does and none `must_hold` it, the first of all.
    fn pairs_for(&self, name: Option<String>, must_hold: bool) -> Vec<&CertAndKey> {
        let holds =
            |pair: &&ParsedPair| name.as_ref().is_some_and(|name| stock::covers(&pair.names, name));
        let holding: Vec<&ParsedPair> = self.pairs.iter().filter(holds).collect();
        let mut chosen = match holding.is_empty() && !must_hold {
            true => self.pairs.iter().collect(),
            false => holding,
        };
        let mut seen = Vec::new();
        chosen.retain(|pair| {
            let is_first = !seen.contains(&pair.key_type());
            seen.push(pair.key_type());
            is_first
        });
        chosen.into_iter().map(|pair| &pair.certificate).collect()
    }
}

impl Delivery {
    /// Decides how `new` pairs are delivered in place of `old` ones: a context that would keep one of those is
    /// not used any more.
    fn of_pairs(self, new: &[ParsedPair], depends_on_name: bool, old: &[ParsedPair]) -> Self {
        let is_replaced = |old: &ParsedPair| new.iter().any(|new| new.key_type() == old.key_type());
        match self {
            Self::Context(context) | Self::CompressedContext(context)
                if depends_on_name || !old.iter().all(is_replaced) =>
            {
                Self::EachConnection(context)
            }
            same => same,
        }
    }

    /// Puts pairs into the context, or finds out whether it would take them.
    fn prepare(self, pairs: &[ParsedPair]) -> Result<(), String> {
        match self {
            Self::Variables => Ok(()),
            Self::EachConnection(context) => context.try_out(certificates(pairs)),
            Self::Context(context) => install_all(context, pairs),
            Self::CompressedContext(context) => {
                install_all(context, pairs).map(|()| context.compress())
            }
        }
        .map_err(|error| error.to_string())
    }
}

fn install_all(context: SslCtx, pairs: &[ParsedPair]) -> Result<(), openssl::error::ErrorStack> {
    certificates(pairs).try_for_each(|certificate| context.install(certificate))
}

fn certificates(pairs: &[ParsedPair]) -> impl ExactSizeIterator<Item = &CertAndKey> + Clone {
    pairs.iter().map(|pair| &pair.certificate)
}
