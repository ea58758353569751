//! The handshake: which certificate a connection gets.
//!
//! OpenSSL calls [`certificate_callback`] once for each full handshake. As long as nothing has
//! changed that is one atomic load and one comparison: the certificate was installed into the
//! worker's own `SSL_CTX`, whose certificates every new connection has. Only after a change the
//! record is copied out of shared memory, parsed and installed.

use super::catch::guard;
use super::memory::Reader;
use super::nginx::{log, now, symbol};
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair, Staple};
use acme_dns_core::stock;
use acme_dns_core::time::UnixTime;
use foreign_types::ForeignType;
use ngx::ffi::{
    CRYPTO_malloc, EVP_PKEY, SSL, SSL_CTRL_SET_CURRENT_CERT,
    SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, SSL_CTX, SSL_CTX_use_cert_and_key,
    SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_OK, SSL_certs_clear, SSL_ctrl, SSL_free,
    SSL_get_certificate, SSL_get_servername, SSL_new, SSL_use_cert_and_key,
    TLSEXT_NAMETYPE_host_name, X509 as RawX509, stack_st_X509,
};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::sha::Sha256;
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder, X509Ref};
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::ffi::{CStr, c_int, c_long, c_void};
use std::ptr;
use zeroize::Zeroizing;

/// What the callback returns: go on with what the connection has.
const PROCEED: c_int = 1;

/// What the callback returns: end the handshake with an internal error.
pub(super) const FAIL: c_int = 0;

/// What the callback for the status returns: `SSL_TLSEXT_ERR_OK` with, `SSL_TLSEXT_ERR_NOACK` without.
const STAPLE: c_int = SSL_TLSEXT_ERR_OK as c_int;
pub(super) const NO_STAPLE: c_int = SSL_TLSEXT_ERR_NOACK as c_int;

/// `SSL_CERT_SET_FIRST` and `SSL_CERT_SET_NEXT`: which of a connection's certificates becomes the current one.
const SSL_CERT_SET_FIRST: c_long = 1;
const SSL_CERT_SET_NEXT: c_long = 2;

/// How long a self-signed certificate is valid, in days.
const SELF_SIGNED_DAYS: u32 = 7;

/// The longest common name (RFC 5280 appendix A.1, ub-common-name).
const MAX_COMMON_NAME: usize = 64;

/// A server that serves one of our certificates.
pub(super) struct Binding {
    /// Index into the configuration's certificates; known when the configuration is complete.
    pub(super) certificate: Option<usize>,
    /// Where the certificate is in shared memory; known when the configuration is in force.
    pub(super) slot: Option<Reader>,
    /// Whether certificates are compressed (RFC 8879): `ssl_certificate_compression`.
    pub(super) compresses: bool,
    /// What is done while there is no certificate.
    pub(super) rejects: bool,
    /// The certificate's name; known when the configuration is complete.
    pub(super) name: String,
    /// The names of the certificate, for the self-signed one; known when the configuration is complete.
    pub(super) names: Vec<String>,
    /// The context that the server uses; null where the server takes its certificate from the variables.
    /// Belongs to nginx, and lives as long as the cycle.
    pub(super) context: *mut SSL_CTX,
    /// Whether no other server uses it.
    pub(super) owns_context: bool,
    /// The generation that was last looked at in this process.
    seen: u64,
    installed: Option<Installed>,
    self_signed: Option<ParsedPair>,
}

/// A certificate in this process.
struct Installed {
    pairs: Vec<ParsedPair>,
    /// Whether the context holds these certificates and no others. OpenSSL cannot clear a context,
    /// so when there is none any more of a type of key, each connection is given its certificates
    /// instead.
    in_context: bool,
    /// Whether pairs hold different names, so that each connection gets those for its name.
    depends_on_name: bool,
}

struct ParsedPair {
    /// The names that it holds, where pairs of a record hold different ones: empty if not.
    names: Vec<String>,
    key: PKey<Private>,
    leaf: X509,
    chain: Stack<X509>,
    /// By which a pair that stays is known.
    identity: [u8; 32],
    staple: Option<Staple>,
    /// The chain and the key in PEM, once a variable has asked for them.
    pem: OnceCell<(String, Zeroizing<String>)>,
}

impl Binding {
    pub(super) fn new(rejects: bool) -> Self {
        Self {
            certificate: None,
            slot: None,
            compresses: false,
            rejects,
            name: String::new(),
            names: Vec::new(),
            context: ptr::null_mut(),
            owns_context: false,
            seen: 0,
            installed: None,
            self_signed: None,
        }
    }

    /// Takes over what has changed in shared memory. What cannot be used leaves the certificate that
    /// is served as it is, and is reported once.
    fn refresh(&mut self) {
        let Some((generation, record)) = self.slot.as_ref().and_then(Reader::read) else { return };
        self.seen = generation;
        let pairs = Material::decode(&record).map_err(|error| error.to_string());
        drop(record);
        let installed = pairs.and_then(|material| {
            let pairs = material.pairs.into_iter().map(|pair| self.parsed(pair));
            self.install(pairs.collect::<Result<_, _>>().map_err(|error| error.to_string())?)
        });
        match installed {
            Ok(installed) => self.installed = Some(installed),
            Err(error) => {
                let name = self.names.first().map_or("", String::as_str);
                let message =
                    format!("acme_dns: certificate for \"{name}\" cannot be used: {error}");
                log(Level::Error, &message);
            }
        }
    }

    /// Reads a pair. One that is served already stays, with another staple perhaps: a connection that has
    /// begun with it has the certificate that it should have.
    fn parsed(&self, pair: Pair) -> Result<ParsedPair, ErrorStack> {
        let mut installed = self.installed.iter().flat_map(|installed| &installed.pairs);
        let same = installed.find(|installed| installed.identity == identity(&pair.chain));
        match same.and_then(|same| same.another().ok()) {
            Some(same) => Ok(ParsedPair { staple: pair.staple, ..same }),
            None => ParsedPair::new(pair),
        }
    }

    /// Puts the pairs into the context, where that is the server's alone and no pair of before is left
    /// in it.
    fn install(&self, mut pairs: Vec<ParsedPair>) -> Result<Installed, String> {
        let depends_on_name = note_names(&mut pairs);
        let has = |id: Id| pairs.iter().any(|pair| pair.key.id() == id);
        let in_context = match &self.installed {
            _ if depends_on_name => false,
            None => self.owns_context,
            Some(old) => old.in_context && old.pairs.iter().all(|pair| has(pair.key.id())),
        };
        if in_context {
            for pair in &pairs {
                let (leaf, key, chain) = pair.raw();
                // SAFETY: the context lives as long as the cycle; OpenSSL takes references of its own.
                if unsafe { SSL_CTX_use_cert_and_key(self.context, leaf, key, chain, 1) } != 1 {
                    return Err(ErrorStack::get().to_string());
                }
            }
            if self.compresses {
                compress(self.context);
            }
        } else if !self.context.is_null() {
            try_out(self.context, &pairs)?;
        }
        Ok(Installed { pairs, in_context, depends_on_name })
    }

    /// Takes over what has changed in shared memory, if anything: one atomic load if not.
    fn update(&mut self) {
        if self.slot.as_ref().is_some_and(|slot| slot.generation() != self.seen) {
            self.refresh();
        }
    }

    /// Gives a connection the certificate; what its callback returns.
    pub(super) fn serve(&mut self, ssl: *mut SSL) -> c_int {
        self.update();
        let Some(installed) = &self.installed else { return self.serve_without(ssl) };
        if installed.depends_on_name {
            return give(ssl, installed.pairs_for(server_name(ssl)));
        }
        if holds(ssl, &installed.pairs) {
            return PROCEED;
        }
        // The connection began before the change, or the context cannot hold the certificate.
        give(ssl, &installed.pairs)
    }

    /// Sends the staple of the certificate that was chosen for a connection; what its callback returns.
    pub(super) fn give_staple(&self, ssl: *mut SSL) -> c_int {
        // SAFETY: OpenSSL gives a live connection.
        let current = unsafe { SSL_get_certificate(ssl) };
        let pairs = self.installed.iter().flat_map(|installed| &installed.pairs);
        let mut served = pairs.filter(|pair| ptr::eq(pair.leaf.as_ptr().cast(), current));
        let staple = served.next().and_then(|pair| pair.staple.as_ref());
        // The helper renews it in time, unless it cannot.
        let Some(staple) = staple.filter(|staple| now() < staple.not_after) else {
            return NO_STAPLE;
        };
        send_staple(ssl, &staple.response)
    }

    /// There is no certificate yet.
    fn serve_without(&mut self, ssl: *mut SSL) -> c_int {
        if self.rejects {
            // Without a certificate no signature algorithm fits: alert 40, handshake failure. The context may
            // have one by `ssl_conf_command`.
            return give(ssl, &[]);
        }
        self.self_signed().map_or(FAIL, |pair| give(ssl, std::slice::from_ref(pair)))
    }

    fn self_signed(&mut self) -> Option<&ParsedPair> {
        if self.self_signed.is_none() {
            self.self_signed = self_signed(&self.names).ok();
        }
        self.self_signed.as_ref()
    }

    /// The first of the pairs that are served; what stands in for it while there is none.
    fn first_pair(&mut self) -> Option<&ParsedPair> {
        self.update();
        match self.installed {
            None if self.rejects => None,
            None => self.self_signed(),
            Some(_) => self.installed.as_ref().and_then(|installed| installed.pairs.first()),
        }
    }

    /// The certificate that is served, with its chain, and its private key, in PEM.
    pub(super) fn pem(&mut self) -> Option<&(String, Zeroizing<String>)> {
        self.first_pair()?.pem()
    }

    /// The last moment of the certificate that is served.
    pub(super) fn not_after(&mut self) -> Option<UnixTime> {
        self.update();
        let pairs = &self.installed.as_ref()?.pairs;
        let epoch = Asn1Time::from_unix(0).ok()?;
        let left = epoch.diff(pairs.first()?.leaf.not_after()).ok()?;
        Some(UnixTime(i64::from(left.days) * 86_400 + i64::from(left.secs)))
    }

    /// What the variable of the status says.
    pub(super) fn status(&mut self) -> &'static str {
        let Some(not_after) = self.not_after() else { return "none" };
        if not_after < now() { "expired" } else { "valid" }
    }
}

impl Installed {
    /// The pairs for a name that a client asks for, one of each type of key: the first that hold it, or, where
    /// none does, the first of all.
    fn pairs_for(&self, name: Option<String>) -> Vec<&ParsedPair> {
        let holds =
            |pair: &&ParsedPair| name.as_ref().is_some_and(|name| stock::covers(&pair.names, name));
        let holding: Vec<&ParsedPair> = self.pairs.iter().filter(holds).collect();
        let mut chosen = if holding.is_empty() { self.pairs.iter().collect() } else { holding };
        let mut seen = Vec::new();
        chosen.retain(|pair| {
            let is_first = !seen.contains(&pair.key.id());
            seen.push(pair.key.id());
            is_first
        });
        chosen
    }
}

/// Notes the names of pairs; tells whether it depends on the name that a client asks for which one it gets.
/// That is so while several certificates stand in for one that is not there yet.
fn note_names(pairs: &mut [ParsedPair]) -> bool {
    let mut all = pairs.iter().map(|pair| dns_names(&pair.leaf));
    let first = all.next();
    if all.all(|names| Some(&names) == first.as_ref()) {
        return false;
    }
    for pair in pairs {
        pair.names = dns_names(&pair.leaf);
    }
    true
}

/// The names that a certificate holds, in lower case, sorted.
fn dns_names(leaf: &X509Ref) -> Vec<String> {
    let names = leaf.subject_alt_names();
    let names = names.iter().flatten().filter_map(|name| name.dnsname());
    let mut names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    names.sort_unstable();
    names
}

/// The name that a client asks for, in lower case.
fn server_name(ssl: *mut SSL) -> Option<String> {
    // SAFETY: OpenSSL gives a live connection.
    let name = unsafe { SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name as c_int) };
    if name.is_null() {
        return None;
    }
    // SAFETY: a string that lives as long as the connection.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().ok().map(str::to_ascii_lowercase)
}

/// Compresses the certificates of a context, each once and for all connections. An OpenSSL that cannot
/// (before 3.2, or without a library for it) sends them as they are.
fn compress(context: *mut SSL_CTX) {
    type Compress = unsafe extern "C" fn(*mut SSL_CTX, c_int) -> c_int;
    let Some(function) = symbol::<c_void>(c"SSL_CTX_compress_certs") else { return };
    // SAFETY: the function of this name has this type.
    let function = unsafe { std::mem::transmute::<*mut c_void, Compress>(function.as_ptr()) };
    // SAFETY: the context lives as long as the cycle; 0 stands for all algorithms.
    if unsafe { function(context, 0) } != 1 {
        // Not for the next connection to report.
        drop(ErrorStack::get());
    }
}

/// Finds out whether OpenSSL takes the pairs, before a client does.
fn try_out(context: *mut SSL_CTX, pairs: &[ParsedPair]) -> Result<(), String> {
    // SAFETY: the context lives as long as the cycle.
    let ssl = unsafe { SSL_new(context) };
    let is_good = !ssl.is_null() && give(ssl, pairs) == PROCEED;
    // SAFETY: just made, or null; nothing else refers to it.
    unsafe { SSL_free(ssl) };
    if is_good { Ok(()) } else { Err(ErrorStack::get().to_string()) }
}

/// Tells whether a connection has these certificates, of each type of key, and no others: one that began
/// before a change has what its context had then, of which only a part may have changed.
fn holds(ssl: *mut SSL, pairs: &[ParsedPair]) -> bool {
    let mut count = 0;
    let mut step = SSL_CERT_SET_FIRST;
    // SAFETY: OpenSSL gives a live connection, before it has chosen a certificate; what is the current one
    // until then has no effect.
    while unsafe { SSL_ctrl(ssl, SSL_CTRL_SET_CURRENT_CERT as c_int, step, ptr::null_mut()) } == 1 {
        // SAFETY: as above.
        let leaf = unsafe { SSL_get_certificate(ssl) };
        if !pairs.iter().any(|pair| ptr::eq(pair.leaf.as_ptr().cast(), leaf)) {
            return false;
        }
        count += 1;
        step = SSL_CERT_SET_NEXT;
    }
    count == pairs.len()
}

/// Gives a connection these certificates, and no others.
fn give<'a>(ssl: *mut SSL, pairs: impl IntoIterator<Item = &'a ParsedPair>) -> c_int {
    // SAFETY: OpenSSL gives a live connection, before it has chosen a certificate.
    unsafe { SSL_certs_clear(ssl) };
    for pair in pairs {
        let (leaf, key, chain) = pair.raw();
        // SAFETY: as above; OpenSSL takes references of its own.
        if unsafe { SSL_use_cert_and_key(ssl, leaf, key, chain, 1) } != 1 {
            // The error goes to nginx's report of the failed handshake, not to another connection.
            return FAIL;
        }
    }
    PROCEED
}

impl ParsedPair {
    fn new(pair: Pair) -> Result<Self, ErrorStack> {
        let key = PKey::private_key_from_pkcs8(&pair.key)?;
        // A record without a certificate is refused when it is decoded.
        let (leaf, issuers) = pair.chain.split_first().unwrap_or((const { &Vec::new() }, &[]));
        let leaf = X509::from_der(leaf)?;
        let mut chain = Stack::new()?;
        for der in issuers {
            chain.push(shared(der)?)?;
        }
        let identity = identity(&pair.chain);
        let (names, staple, pem) = (Vec::new(), pair.staple, OnceCell::new());
        Ok(Self { names, key, leaf, chain, identity, staple, pem })
    }

    fn pem(&self) -> Option<&(String, Zeroizing<String>)> {
        if self.pem.get().is_none() {
            let chain = std::iter::once(&*self.leaf).chain(self.chain.iter());
            let chain: Vec<_> = chain.map(X509Ref::to_pem).collect::<Result<_, _>>().ok()?;
            let key = Zeroizing::new(self.key.private_key_to_pem_pkcs8().ok()?);
            let key = Zeroizing::new(std::str::from_utf8(&key).ok()?.to_owned());
            let pem = (String::from_utf8(chain.concat()).ok()?, key);
            return Some(self.pem.get_or_init(|| pem));
        }
        self.pem.get()
    }

    /// The same once more: OpenSSL's objects are counted.
    fn another(&self) -> Result<Self, ErrorStack> {
        let mut chain = Stack::new()?;
        for certificate in &self.chain {
            chain.push(certificate.to_owned())?;
        }
        let (key, leaf) = (self.key.clone(), self.leaf.clone());
        let (identity, pem) = (self.identity, OnceCell::new());
        Ok(Self { names: Vec::new(), key, leaf, chain, identity, staple: None, pem })
    }

    /// The three as the bindings of nginx name their types: the same library, other Rust names.
    fn raw(&self) -> (*mut RawX509, *mut EVP_PKEY, *mut stack_st_X509) {
        (self.leaf.as_ptr().cast(), self.key.as_ptr().cast(), self.chain.as_ptr().cast())
    }
}

/// Tells a chain from all others. A certificate has a length of its own, so that none can be divided
/// another way.
fn identity(chain: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    chain.iter().for_each(|certificate| hash.update(certificate));
    hash.finish()
}

/// How many certificates of CAs a process keeps to share them.
const SHARED: usize = 16;

/// The certificate of a CA. Thousands of certificates have the same: it is parsed once.
fn shared(der: &[u8]) -> Result<X509, ErrorStack> {
    thread_local! {
        static KNOWN: RefCell<VecDeque<(Vec<u8>, X509)>> = const { RefCell::new(VecDeque::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some((_, certificate)) = known.iter().find(|(known, _)| known == der) {
            return Ok(certificate.clone());
        }
        let certificate = X509::from_der(der)?;
        known.truncate(SHARED - 1);
        known.push_front((der.to_vec(), certificate.clone()));
        Ok(certificate)
    })
}

/// A certificate that says what it is: nothing to trust, served until the real one is there.
fn self_signed(names: &[String]) -> Result<ParsedPair, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_text("O", "acme_dns: self-signed until a certificate is issued")?;
    // A server that has inherited the directive may have no name.
    if let Some(first) = names.first().filter(|first| first.len() <= MAX_COMMON_NAME) {
        subject.append_entry_by_text("CN", first)?;
    }
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    let (start, end) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(SELF_SIGNED_DAYS)?);
    builder.set_not_before(&start)?;
    builder.set_not_after(&end)?;
    builder.set_pubkey(&key)?;
    if !names.is_empty() {
        let mut alternative = SubjectAlternativeName::new();
        for name in names {
            alternative.dns(name);
        }
        let alternative = alternative.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(alternative)?;
    }
    builder.sign(&key, MessageDigest::sha256())?;
    let (identity, staple) = (identity(&[]), None);
    let (leaf, chain, pem) = (builder.build(), Stack::new()?, OnceCell::new());
    Ok(ParsedPair { names: Vec::new(), key, leaf, chain, identity, staple, pem })
}

/// Called by OpenSSL when a handshake needs a certificate.
///
/// # Safety
/// `ssl` is a live connection, `data` the `Binding` of its server; a process has one thread that
/// handshakes.
pub(super) unsafe extern "C" fn certificate_callback(ssl: *mut SSL, data: *mut c_void) -> c_int {
    guard(FAIL, || {
        // SAFETY: by this function's contract.
        let binding = unsafe { &mut *data.cast::<Binding>() };
        binding.serve(ssl)
    })
}

/// Called by OpenSSL when a client asks for the status of the certificate that was chosen for it (RFC
/// 6066 section 8).
///
/// # Safety
/// As for [`certificate_callback`].
pub(super) unsafe extern "C" fn status_callback(ssl: *mut SSL, data: *mut c_void) -> c_int {
    guard(NO_STAPLE, || {
        // SAFETY: by this function's contract.
        let binding = unsafe { &*data.cast::<Binding>() };
        binding.give_staple(ssl)
    })
}

/// Sends what the authority says of a certificate.
fn send_staple(ssl: *mut SSL, response: &[u8]) -> c_int {
    let Ok(length) = c_long::try_from(response.len()) else { return NO_STAPLE };
    // SAFETY: memory of OpenSSL's, which the connection frees.
    let copy = unsafe { CRYPTO_malloc(response.len(), c"acme_dns".as_ptr(), 0) };
    if copy.is_null() {
        return NO_STAPLE;
    }
    // SAFETY: just allocated in this size.
    unsafe { ptr::copy_nonoverlapping(response.as_ptr(), copy.cast(), response.len()) };
    // SAFETY: OpenSSL gives a live connection, which takes the memory.
    unsafe { SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP as c_int, length, copy) };
    STAPLE
}
