//! What is said of all certificates when the service begins: which are there, and what is ordered.
//!
//! A few get a line each, many share one: nobody reads thousands.

use super::work::Work;
use acme_dns_core::config::Certificate;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{Reason, Validity};
use acme_dns_core::text::list;
use acme_dns_core::time::UnixTime;
use std::collections::{BTreeMap, HashMap};

/// So many certificates get a line each, and so many pairs of an issuer and a provider.
const FEW: usize = 5;

/// With whom a certificate is ordered: issuer and provider, as indices into the configuration's.
type Parties = (usize, usize);

impl Work {
    /// Says which certificates are there, until when they are valid, and when they are renewed.
    pub(super) fn tell_certificates(&self, validities: &HashMap<usize, Validity>) {
        let Some(schedule) = self.planned() else { return };
        let renewal = |entry: usize| schedule.renewal(entry).filter(|_| !schedule.is_due(entry));
        let variants = self.config.variants.iter().enumerate();
        let kept = variants.filter_map(|(entry, variant)| {
            let (renewal, why) = renewal(entry)?;
            Some((variant.name.as_str(), validities.get(&entry)?.not_after, renewal, why))
        });
        let kept: Vec<(&str, UnixTime, UnixTime, Reason)> = kept.collect();
        let level = if self.is_news { Level::Notice } else { Level::Info };
        let path = self.config.state_path.display();
        if kept.len() <= FEW {
            for (name, until, renewal, why) in kept {
                self.log(
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
            self.log(
                level,
                format_args!(
                    "{} certificates from \"{path}\": \"{first}\" is the first to expire, at {until}; next \
                     renewal at {renewal}, of \"{next}\"",
                    kept.len()
                ),
            );
        }
    }

    /// Says what is ordered now, from whom, and by which DNS provider.
    pub(super) fn tell_orders(&self) {
        let Some(schedule) = self.planned() else { return };
        let mut orders: BTreeMap<Parties, Vec<(usize, &Certificate)>> = BTreeMap::new();
        let due = (0..self.config.variants.len()).filter(|entry| schedule.is_due(*entry));
        for entry in due {
            let Some((_, certificate)) = self.config.variant(entry) else { continue };
            let Some((_, issuer, _)) = schedule.next_attempt(entry) else { continue };
            orders.entry((issuer, certificate.provider)).or_default().push((entry, certificate));
        }
        let (pairs, number) = (orders.len(), orders.values().map(Vec::len).sum::<usize>());
        for (parties, certificates) in orders.into_iter().take(FEW) {
            let with = self.parties(parties);
            if number > FEW {
                let names = certificates.iter().map(|(entry, _)| self.variant_name(*entry));
                let names = list(&names.collect::<Vec<_>>());
                let number = certificates.len();
                self.log(
                    Level::Notice,
                    format_args!("{number} certificates are ordered now {with}: {names}"),
                );
                continue;
            }
            for (entry, certificate) in certificates {
                let name = self.variant_name(entry);
                let names = certificate.names.iter().map(|name| name.as_str());
                let names = list(&names.collect::<Vec<_>>());
                self.log(
                    Level::Notice,
                    format_args!("certificate \"{name}\" is ordered now {with}, for {names}"),
                );
            }
        }
        if pairs > FEW {
            let more = pairs - FEW;
            self.log(
                Level::Notice,
                format_args!(
                    "more certificates are ordered with {more} other pairs of CA and provider"
                ),
            );
        }
    }

    fn parties(&self, (issuer, provider): Parties) -> String {
        let provider = self.config.providers.get(provider).map_or("", |p| p.name.as_str());
        let Some(issuer) = self.config.issuers.get(issuer) else { return String::new() };
        let (name, directory) = (&issuer.name, &issuer.directory);
        let staging = match issuer.is_staging() {
            true => ", a STAGING CA whose certificates browsers do not trust",
            false => "",
        };
        format!("from \"{name}\" ({directory}{staging}) by provider \"{provider}\"")
    }
}
