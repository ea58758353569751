//! A pair of certificate and key in a process that serves it: a record's pair, parsed. Which pairs a connection is
//! given is decided in `certificate`.

use super::openssl::CertAndKey;
use super::{private_key, self_signed};
use acme_dns_core::material::{Pair, Staple};
use openssl::error::ErrorStack;
use openssl::pkey::Id;
use openssl::sha::Sha256;
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref};
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// Number of certificates of CAs that a process keeps to share them.
const KEPT_ISSUERS: usize = 16;

/// Pair that is served.
pub(super) struct ParsedPair {
    pub(super) certificate: CertAndKey,
    /// The names that it holds, where it depends on the client's name which pair it gets: empty if not.
    pub(super) names: Vec<String>,
    pub(super) staple: Option<Staple>,
    /// Hash of the chain: identifies a pair that is already installed.
    identity: [u8; 32],
    /// The chain and the key in PEM, once a variable has asked for them.
    pem: OnceCell<(String, Zeroizing<String>)>,
}

impl ParsedPair {
    /// Reads a pair. One of those that are `installed` stays, with another staple perhaps: a connection that has
    /// begun with it has the certificate that it should have.
    pub(super) fn parse(pair: Pair, installed: &[Self]) -> Result<Self, ErrorStack> {
        let identity = identity(&pair.chain);
        let same = installed.iter().find(|installed| installed.identity == identity);
        match same.and_then(|same| same.certificate.another().ok()) {
            Some(certificate) => Ok(Self::new(certificate, identity, pair.staple)),
            None => Ok(Self::new(read(&pair)?, identity, pair.staple)),
        }
    }

    /// Makes the pair that stands in for one that is not issued yet.
    pub(super) fn self_signed(names: &[String]) -> Result<Self, ErrorStack> {
        Ok(Self::new(self_signed::generate(names)?, identity(&[]), None))
    }

    fn new(certificate: CertAndKey, identity: [u8; 32], staple: Option<Staple>) -> Self {
        Self { certificate, names: Vec::new(), staple, identity, pem: OnceCell::new() }
    }

    /// Gives the type of the key.
    pub(super) fn key_type(&self) -> Id {
        self.certificate.key.id()
    }

    /// Gives the chain and the key in PEM.
    pub(super) fn pem(&self) -> Option<&(String, Zeroizing<String>)> {
        if self.pem.get().is_none() {
            let CertAndKey { leaf, key, chain } = &self.certificate;
            let chain = std::iter::once(&**leaf).chain(chain.iter());
            let chain: Vec<_> = chain.map(X509Ref::to_pem).collect::<Result<_, _>>().ok()?;
            let key = Zeroizing::new(key.private_key_to_pem_pkcs8().ok()?);
            let key = Zeroizing::new(std::str::from_utf8(&key).ok()?.to_owned());
            let pem = (String::from_utf8(chain.concat()).ok()?, key);
            return Some(self.pem.get_or_init(|| pem));
        }
        self.pem.get()
    }
}

/// Tells whether pairs hold different names, so that it depends on the name that a client asks for which one it
/// gets. That is so while several certificates stand in for one that is not there yet.
pub(super) fn hold_different_names(pairs: &[ParsedPair]) -> bool {
    let mut all = pairs.iter().map(|pair| dns_names(&pair.certificate.leaf));
    let first = all.next();
    !all.all(|names| Some(&names) == first.as_ref())
}

/// Notes the names of pairs.
pub(super) fn note_names(pairs: &mut [ParsedPair]) {
    for pair in pairs {
        pair.names = dns_names(&pair.certificate.leaf);
    }
}

/// Reads the names that a certificate holds, in lower case, sorted.
fn dns_names(leaf: &X509Ref) -> Vec<String> {
    let names = leaf.subject_alt_names();
    let names = names.iter().flatten().filter_map(|name| name.dnsname());
    let mut names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    names.sort_unstable();
    names
}

fn read(pair: &Pair) -> Result<CertAndKey, ErrorStack> {
    let key = private_key::read(&pair.key)?;
    // A record without a certificate is refused when it is decoded.
    let (leaf, issuers) = pair.chain.split_first().unwrap_or((const { &Vec::new() }, &[]));
    let leaf = X509::from_der(leaf)?;
    let mut chain = Stack::new()?;
    for der in issuers {
        chain.push(issuer(der)?)?;
    }
    Ok(CertAndKey { leaf, key, chain })
}

/// Tells a chain from all others. A certificate has a length of its own, so that none can be divided
/// another way.
fn identity(chain: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    chain.iter().for_each(|certificate| hash.update(certificate));
    hash.finish()
}

/// Reads the certificate of a CA. Thousands of certificates have the same: it is parsed once.
fn issuer(der: &[u8]) -> Result<X509, ErrorStack> {
    thread_local! {
        static KEPT: RefCell<VecDeque<(Vec<u8>, X509)>> = const { RefCell::new(VecDeque::new()) };
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some((_, certificate)) = kept.iter().find(|(kept, _)| kept == der) {
            return Ok(certificate.clone());
        }
        let certificate = X509::from_der(der)?;
        kept.truncate(KEPT_ISSUERS - 1);
        kept.push_front((der.to_vec(), certificate.clone()));
        Ok(certificate)
    })
}
