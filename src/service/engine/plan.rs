//! The lines about all certificates when the service begins: those that are there, and those that are ordered.
//!
//! A few get a line each, many share one: nobody reads thousands.

use super::site::Site;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Reason, Schedule, Validity};
use acme_dns_core::text::list;
use acme_dns_core::time::UnixTime;
use std::collections::{BTreeMap, HashMap};

/// So many certificates get a line each, and so many pairs of an issuer and a provider.
const FEW: usize = 5;

/// With whom a certificate is ordered: issuer and provider, as indices into the configuration's.
type Parties = (usize, usize);

/// Tells which certificates are there, until when they are valid, and when they are renewed.
pub(super) fn tell_certificates(
    site: &Site,
    schedule: &Schedule,
    validities: &HashMap<usize, Validity>,
    is_news: bool,
) {
    let renewal = |variant: usize| schedule.renewal(variant).filter(|_| !schedule.is_due(variant));
    let kept = site.variants().filter_map(|variant| {
        let (renewal, why) = renewal(variant)?;
        Some((site.name(variant), validities.get(&variant)?.not_after, renewal, why))
    });
    let kept: Vec<(&str, UnixTime, UnixTime, Reason)> = kept.collect();
    let level = if is_news { Level::Notice } else { Level::Info };
    let path = site.config.state_path.display();
    if kept.len() <= FEW {
        for (name, until, renewal, why) in kept {
            site.log(
                    level,
                    format_args!(
                        "certificate \"{name}\" from \"{path}\": valid until {until}, renewal at {renewal}, \
                         {why}"
                    ),
                );
        }
        return;
    }
    let first = kept.iter().min_by_key(|(_, until, ..)| *until);
    let next = kept.iter().min_by_key(|(.., renewal, _)| *renewal);
    if let Some(((first, until, ..), (next, _, renewal, _))) = first.zip(next) {
        site.log(
                level,
                format_args!(
                    "{} certificates from \"{path}\": \"{first}\" is the first to expire, at {until}; next \
                     renewal at {renewal}, of \"{next}\"",
                    kept.len()
                ),
            );
    }
}

/// Tells what is ordered now, from whom, and by which DNS provider.
pub(super) fn tell_orders(site: &Site, schedule: &Schedule) {
    let mut orders: BTreeMap<Parties, Vec<usize>> = BTreeMap::new();
    let due = site.variants().filter(|variant| schedule.is_due(*variant));
    for variant in due {
        let (_, certificate) = site.variant(variant);
        let Some((_, issuer, _)) = schedule.next_attempt(variant) else { continue };
        orders.entry((issuer, certificate.provider)).or_default().push(variant);
    }
    let (pairs, number) = (orders.len(), orders.values().map(Vec::len).sum::<usize>());
    for (parties, variants) in orders.into_iter().take(FEW) {
        let with = name_parties(site, parties);
        if number > FEW {
            let names = variants.iter().map(|variant| site.name(*variant));
            let names = list(&names.collect::<Vec<_>>());
            let number = variants.len();
            site.log(
                Level::Notice,
                format_args!("{number} certificates are ordered now {with}: {names}"),
            );
            continue;
        }
        for variant in variants {
            let name = site.name(variant);
            let names = site.names_of(variant);
            site.log(
                Level::Notice,
                format_args!("certificate \"{name}\" is ordered now {with}, for {names}"),
            );
        }
    }
    if pairs > FEW {
        let more = pairs - FEW;
        site.log(
            Level::Notice,
            format_args!(
                "more certificates are ordered with {more} other pairs of CA and provider"
            ),
        );
    }
}

fn name_parties(site: &Site, (issuer, provider): Parties) -> String {
    let provider = &site.config.providers[provider].name;
    let issuer = site.issuer(issuer);
    let (name, directory) = (&issuer.name, &issuer.directory);
    let staging = match issuer.is_staging() {
        true => ", a STAGING CA whose certificates browsers do not trust",
        false => "",
    };
    format!("from \"{name}\" ({directory}{staging}) by provider \"{provider}\"")
}
