//! Public records of the certificates that are served, made of the same material at the same time.

use crate::x509::leaf::Leaf;
use acme_dns_core::config::Config;
use acme_dns_core::id::{CertificateId, VariantId};
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::status::encode::hash;
use acme_dns_core::status::{Origin, ServedRecord};
use openssl::sha::sha256;

/// Makes the public records of a certificate's variants from what is served of it. `None`: nothing is served of that
/// variant.
#[must_use]
pub fn served_records(
    config: &Config,
    certificate: CertificateId,
    material: &Material,
) -> Vec<(VariantId, Option<ServedRecord>)> {
    let Some(wanted) = config.certificates.get(certificate) else { return Vec::new() };
    let read = |pair| Some((Leaf::read(leaf_of(pair)?)?, pair));
    let leaves: Vec<(Leaf, &Pair)> = material.pairs.iter().filter_map(read).collect();
    let is_only = wanted.variants.len() == 1;
    let record = |variant: VariantId| {
        let key = config.variants.get(variant)?.key;
        let own = leaves.iter().find(|(leaf, _)| leaf.algorithm == key.algorithm());
        // Another one stands in until the one that is wanted is there.
        let shown = own.or_else(|| leaves.first().filter(|_| is_only));
        shown.map(|(leaf, pair)| of(leaf, pair))
    };
    wanted.variants.clone().map(|variant| (variant, record(variant))).collect()
}

/// Makes the public record of a pair that is the only one of its certificate. `None`: it is unusual.
#[must_use]
pub fn served_record(pair: &Pair) -> Option<ServedRecord> {
    Some(of(&Leaf::read(leaf_of(pair)?)?, pair))
}

fn leaf_of(pair: &Pair) -> Option<&Vec<u8>> {
    pair.chain.first()
}

fn of(leaf: &Leaf, pair: &Pair) -> ServedRecord {
    let source = pair.source.as_ref();
    ServedRecord {
        origin: match source {
            _ if leaf.is_self_signed => Origin::SelfSigned,
            Some(source) if !source.is_imported => Origin::Issued,
            _ => Origin::Imported,
        },
        validity: leaf.validity,
        stapled_until: pair.staple.as_ref().map(|staple| staple.not_after),
        directory: source.map(|source| hash(source.directory.as_bytes())),
        fingerprint: leaf_of(pair).map_or([0; 32], |leaf| sha256(leaf)),
        serial: leaf.serial.clone(),
        issuer_cn: leaf.issuer_cn.clone(),
        profile: source.and_then(|source| source.profile.clone()),
    }
}
