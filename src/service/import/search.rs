//! The search for certificates in the trees.

use super::tree::Tree;
use super::{ImportCandidate, ImportOrigin, ImportedCertificate, candidates, fingerprint, open};
use crate::event::{CertificatesEvent, Event, OriginEvent};
use crate::x509::{chain_from_pem, dns_names, key_type, keys, material, reason, validity};
use acme_dns_core::config::{Certificate, Config};
use acme_dns_core::id::VariantId;
use acme_dns_core::material::Pair;
use acme_dns_core::pem;
use acme_dns_core::schedule::Validity;
use acme_dns_core::time::UnixTime;
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private, Public};
use openssl::x509::X509;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use url::Url;

/// A certificate in a tree that may be wanted.
struct Leaf {
    tree: Rc<Tree>,
    candidate: ImportCandidate,
    names: Vec<String>,
    validity: Validity,
}

/// Looks for certificates of variants, and reads them with their keys. `tell` hears what cannot be used, if
/// nothing else was found.
pub fn certificates(
    config: &Config,
    variants: &[VariantId],
    now: UnixTime,
    tell: &mut dyn FnMut(&Event),
) -> Vec<(ImportedCertificate, Pair)> {
    let wanted: Vec<_> =
        variants.iter().filter_map(|id| Some((*id, config.variant(*id)?.1))).collect();
    let firsts = wanted.iter().filter_map(|(_, certificate)| certificate.names.first());
    let firsts: HashSet<&str> = firsts.map(|name| name.as_str()).collect();
    let (leaves, errors) = read_leaves(config, &firsts);
    let mut by_name: HashMap<&str, Vec<&Leaf>> = HashMap::new();
    for leaf in &leaves {
        let names = leaf.names.iter().map(String::as_str).filter(|name| firsts.contains(name));
        names.for_each(|name| by_name.entry(name).or_default().push(leaf));
    }
    let mut found = Vec::new();
    for (id, certificate) in &wanted {
        let first = certificate.names.first().map_or("", |name| name.as_str());
        let leaves = by_name.get(first).map_or(&[][..], Vec::as_slice);
        match find(config, *id, certificate, leaves, now) {
            Ok(result) => found.push(result),
            Err(refused) => refused.iter().for_each(&mut *tell),
        }
    }
    if found.len() < wanted.len() {
        for why in errors {
            tell(&Event::Certificates(CertificatesEvent::NotImported { why }));
        }
    }
    found
}

/// Reads the certificates of all trees that hold one of these names; lists what cannot be read.
fn read_leaves(config: &Config, names: &HashSet<&str>) -> (Vec<Leaf>, Vec<String>) {
    let (mut leaves, mut errors) = (Vec::new(), Vec::new());
    for import in &config.imports {
        let tree = open(import).map(Rc::new);
        let found = tree.and_then(|tree| Ok((candidates(import, &tree)?, tree)));
        let (candidates, tree) = match found {
            Ok(found) => found,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        if candidates.is_empty() && import.path.exists() {
            let path = import.path.display();
            errors.push(format!("\"{path}\" holds no certificates of {}", import.format));
        }
        for candidate in candidates {
            match read_leaf(&tree, candidate) {
                Ok(Some(leaf)) if leaf.names.iter().any(|name| names.contains(name.as_str())) => {
                    leaves.push(leaf);
                }
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    (leaves, errors)
}

/// `None`: the chain is not there, as where none was issued yet.
fn read_leaf(tree: &Rc<Tree>, candidate: ImportCandidate) -> Result<Option<Leaf>, String> {
    let path = candidate.chain.path();
    let Some(pem) = tree.read_part(&candidate.chain)? else { return Ok(None) };
    let failed = |error: String| format!("\"{}\" cannot be used: {error}", path.display());
    let leaf = X509::from_pem(&pem).map_err(|_| failed("it holds no certificate in PEM".into()))?;
    let validity = validity(&leaf).map_err(|error| failed(reason(&error)))?;
    Ok(Some(Leaf { tree: Rc::clone(tree), names: dns_names(&leaf), validity, candidate }))
}

/// Finds the best certificate for a variant, or what is wrong with those that have its names.
fn find(
    config: &Config,
    variant: VariantId,
    certificate: &Certificate,
    leaves: &[&Leaf],
    now: UnixTime,
) -> Result<(ImportedCertificate, Pair), Vec<Event>> {
    let has_all = |leaf: &&&Leaf| {
        certificate.names.iter().all(|name| leaf.names.iter().any(|held| held == name.as_str()))
    };
    let mut leaves: Vec<&&Leaf> = leaves.iter().filter(has_all).collect();
    let others = |leaf: &Leaf| leaf.names.len() > certificate.names.len();
    leaves.sort_by_key(|leaf| (others(leaf), Reverse(leaf.validity.not_after)));
    let mut refused = Vec::new();
    for leaf in leaves {
        match take(config, variant, certificate, leaf, now) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(why) => {
                let name = config.variants.get(variant).map(|variant| variant.name.clone());
                let source = leaf.candidate.chain.path().to_owned();
                let event = OriginEvent::NotImported { source, why };
                refused.push(Event::Origin(name.unwrap_or_default(), event));
            }
        }
    }
    Err(refused)
}

/// Reads a certificate with its key. `None`: it is for the other variant.
fn take(
    config: &Config,
    variant: VariantId,
    certificate: &Certificate,
    leaf: &Leaf,
    now: UnixTime,
) -> Result<Option<(ImportedCertificate, Pair)>, String> {
    let Validity { not_before, not_after } = leaf.validity;
    if not_after <= now || not_before > now {
        return Err(format!("it is valid from {not_before} until {not_after} only"));
    }
    let origin = leaf.candidate.origin.as_ref().map_err(String::clone)?;
    let directory = issuer_of(config, certificate, origin)?;
    let chain = read_chain(&leaf.tree, &leaf.candidate)?;
    let public = chain.first().ok_or("it holds no certificate in PEM")?.public_key();
    let public = public.map_err(|error| reason(&error))?;
    let algorithm = key_type(&public).ok_or("the type of its key is not supported")?.algorithm();
    let wanted = config.variants.get(variant).map_or("", |variant| variant.key.algorithm());
    if certificate.variants.len() > 1 && algorithm != wanted {
        return Ok(None);
    }
    let path = leaf.candidate.key.path();
    let pem = leaf.tree.read_key(&leaf.candidate.key)?;
    let pem = pem.ok_or_else(|| format!("\"{}\" is not there", path.display()))?;
    let key = private_key(&pem, &public)
        .map_err(|error| format!("\"{}\" holds {error}", path.display()))?;
    let material = material(&key, &chain).map_err(|error| reason(&error))?;
    let pair = material.pairs.into_iter().next().ok_or("it holds no certificate")?;
    let fingerprint = fingerprint(pair.chain.first().map_or(&[], Vec::as_slice));
    let source = leaf.candidate.chain.path().to_owned();
    let imported =
        ImportedCertificate { variant, fingerprint, validity: leaf.validity, directory, source };
    Ok(Some((imported, pair)))
}

/// Finds the directory of the CA that a certificate is from, which is one of those that are wanted. The first
/// one, where it is not known.
fn issuer_of(
    config: &Config,
    wanted: &Certificate,
    origin: &ImportOrigin,
) -> Result<String, String> {
    let mut issuers = wanted.issuers.iter().filter_map(|id| config.issuers.get(*id));
    let is_from = |url: &str| Url::parse(url).is_ok_and(|url| origin.is(&url));
    let issuer = issuers.find(|issuer| is_from(&issuer.directory));
    issuer.map(|issuer| issuer.directory.clone()).ok_or_else(|| {
        let url = match origin {
            ImportOrigin::Directory(url) | ImportOrigin::Server(url) => url.as_str(),
            ImportOrigin::Unknown => "",
        };
        format!("it is from another CA than configured ({url})")
    })
}

fn read_chain(tree: &Tree, candidate: &ImportCandidate) -> Result<Vec<X509>, String> {
    let pem = tree.read_part(&candidate.chain)?.ok_or("it is gone")?;
    let mut chain = chain_from_pem(&pem)?;
    if let (1, Some(path)) = (chain.len(), &candidate.issuers)
        && let Some(pem) = tree.read(path)?
    {
        chain.extend(chain_from_pem(&pem)?);
    }
    Ok(chain)
}

/// Reads the private half of a key. What is parsed leaves copies in memory that the workers share: so only what
/// they will serve is, and another key is told from it by the public half, which is in it.
fn private_key(pem: &[u8], public: &PKey<Public>) -> Result<PKey<Private>, &'static str> {
    const NONE: &str = "no unencrypted private key in PEM";
    const OTHER: &str = "the key of another certificate";
    let key = pem::decode(pem).map_err(|_| NONE)?;
    let mark = public_half(public).map_err(|_| NONE)?;
    if !key.der.windows(mark.len()).any(|window| window == mark) {
        return Err(OTHER);
    }
    let key = keys::private_key(pem).map_err(|_| NONE)?;
    if public.public_eq(&key) { Ok(key) } else { Err(OTHER) }
}

/// Gives the bytes of a public key that its private key holds as well: the point, or the modulus.
fn public_half(key: &PKey<Public>) -> Result<Vec<u8>, ErrorStack> {
    match key.ec_key() {
        Ok(key) => {
            let (form, mut context) = (PointConversionForm::UNCOMPRESSED, BigNumContext::new()?);
            key.public_key().to_bytes(key.group(), form, &mut context)
        }
        Err(_) => Ok(key.rsa()?.n().to_vec()),
    }
}
