//! The lines about all certificates when the service begins: those that are there, and those that are ordered.
//!
//! A few get a line each, many share one: nobody reads thousands.

use super::site::Site;
use crate::event::{CertificateEvent, CertificatesEvent, Event, OrderParties};
use acme_dns_core::id::{IssuerId, ProviderId, VariantId};
use acme_dns_core::schedule::{Reason, Schedule, Validity};
use acme_dns_core::time::UnixTime;
use std::collections::{BTreeMap, HashMap};

/// Number of certificates that get a line each, and of pairs of an issuer and a provider.
const FEW: usize = 5;

/// Issuer and provider that a certificate is ordered with.
type Parties = (IssuerId, ProviderId);

/// Tells which certificates are there, until when they are valid, and when they are renewed.
pub(super) fn tell_certificates(
    site: &Site,
    schedule: &Schedule,
    validities: &HashMap<VariantId, Validity>,
    is_news: bool,
) {
    let renewal =
        |variant: VariantId| schedule.renewal(variant).filter(|_| !schedule.is_due(variant));
    let kept = site.variants().filter_map(|variant| {
        let (renewal, reason) = renewal(variant)?;
        Some((variant, validities.get(&variant)?.not_after, renewal, reason))
    });
    let kept: Vec<(VariantId, UnixTime, UnixTime, Reason)> = kept.collect();
    let path = &site.config.state_path;
    if kept.len() <= FEW {
        for (variant, until, renewal, reason) in kept {
            let path = path.clone();
            let event = CertificateEvent::Loaded { path, until, renewal, reason, is_news };
            site.tell_life(variant, event);
        }
        return;
    }
    let first = kept.iter().min_by_key(|(_, until, ..)| *until);
    let next = kept.iter().min_by_key(|(.., renewal, _)| *renewal);
    if let Some(((first, until, ..), (next, _, renewal, _))) = first.zip(next) {
        site.tell(&Event::Certificates(CertificatesEvent::Loaded {
            number: kept.len(),
            path: path.clone(),
            first_to_expire: (site.name(*first).to_owned(), *until),
            next_renewal: (site.name(*next).to_owned(), *renewal),
            is_news,
        }));
    }
}

/// Tells what of these is ordered now, from whom, and by which DNS provider.
pub(super) fn tell_orders(
    site: &Site,
    schedule: &Schedule,
    variants: impl IntoIterator<Item = VariantId>,
) {
    let mut orders: BTreeMap<Parties, Vec<VariantId>> = BTreeMap::new();
    let due = variants.into_iter().filter(|variant| schedule.is_due(*variant));
    for variant in due {
        let (_, certificate) = site.variant(variant);
        let Some((_, issuer, _)) = schedule.next_attempt(variant) else { continue };
        orders.entry((issuer, certificate.provider)).or_default().push(variant);
    }
    let (pairs, number) = (orders.len(), orders.values().map(Vec::len).sum::<usize>());
    for (parties, variants) in orders.into_iter().take(FEW) {
        let parties = order_parties(site, parties);
        if number > FEW {
            let names = variants.iter().map(|variant| site.name(*variant).to_owned()).collect();
            site.tell(&Event::Certificates(CertificatesEvent::Ordered { parties, names }));
            continue;
        }
        for variant in variants {
            let (parties, names) = (parties.clone(), site.names_of(variant));
            site.tell_life(variant, CertificateEvent::Ordered { parties, names });
        }
    }
    if pairs > FEW {
        let event = CertificatesEvent::OrderedElsewhere { pairs: pairs - FEW };
        site.tell(&Event::Certificates(event));
    }
}

fn order_parties(site: &Site, (issuer, provider): Parties) -> OrderParties {
    let issuer = site.issuer(issuer);
    OrderParties {
        issuer: issuer.name.clone(),
        directory: issuer.directory.clone(),
        is_staging: issuer.is_staging(),
        provider: site.provider_name(provider),
    }
}
