//! The check of one certificate: where its records go, what is there, and whether its CAs may issue. It ends in time,
//! whoever does not answer.

use super::time_limit::TimeLimit;
use super::zone::{Place, ZoneReport};
use super::{AT_ONCE, Doctor, authority};
use crate::acme::Inspection;
use crate::resolver::probe::dns_name;
use acme_dns_core::config::Certificate;
use acme_dns_core::findings::Finding;
use acme_dns_core::id::{IssuerId, ProviderId};
use futures_util::future::join3;
use futures_util::stream::{self, StreamExt};
use std::cell::RefCell;
use std::collections::HashMap;
use tokio::sync::watch;

/// Common ground of the checks of several certificates.
pub(super) struct Round<'a> {
    /// The CAs, as far as they have answered.
    pub(super) inspected: &'a HashMap<IssuerId, Inspection>,
    /// Set if test records are written.
    pub(super) writes: bool,
    pub(super) zones: Zones,
}

/// A zone of a provider.
type ZoneKey = (ProviderId, String);

/// The zones that are looked at, or were: each once, by the first certificate that has a name in it.
#[derive(Default)]
pub(super) struct Zones(RefCell<HashMap<ZoneKey, watch::Receiver<Option<ZoneReport>>>>);

impl Doctor {
    /// Checks a certificate.
    pub(super) async fn check_certificate(
        &self,
        certificate: &Certificate,
        round: &Round<'_>,
    ) -> Vec<Finding> {
        let time = TimeLimit::begin(self.limit);
        let inspected = round.inspected;
        let (of_names, persist, caa) = join3(
            self.check_names(certificate, round, &time),
            time.hold("the records of dns-persist-01", self.check_persist(certificate, inspected)),
            time.hold("the CAA records", self.check_caa(certificate, inspected)),
        )
        .await;
        let mut findings = of_names;
        findings.extend(persist.into_iter().chain(caa).flatten());
        findings.extend(time.finding());
        // What is good comes first.
        findings.sort_by_key(|finding| finding.severity);
        findings.into_iter().map(|finding| finding.about(&certificate.name)).collect()
    }

    /// Looks for the places of a certificate's records, and at their zones.
    async fn check_names(
        &self,
        certificate: &Certificate,
        round: &Round<'_>,
        time: &TimeLimit,
    ) -> Vec<Finding> {
        let (places, mut findings) = self.places_of(certificate, time).await;
        let mut zones: Vec<(ZoneKey, Vec<&Place>)> = Vec::new();
        for place in &places {
            match zones.iter_mut().find(|(key, _)| *key == place.key()) {
                Some((_, places)) => places.push(place),
                None => zones.push((place.key(), vec![place])),
            }
        }
        let of_zones = stream::iter(zones)
            .map(|(key, places)| self.check_places(key, places, round, time))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        findings.extend(of_zones.into_iter().flatten());
        findings
    }

    /// Looks at records of one zone, and at the zone.
    async fn check_places(
        &self,
        key: ZoneKey,
        places: Vec<&Place>,
        round: &Round<'_>,
        time: &TimeLimit,
    ) -> Vec<Finding> {
        let what = format!("zone \"{}\"", key.1);
        let known = round.zones.0.borrow().get(&key).cloned();
        let report = match (known, places.first()) {
            (Some(mut report), _) => {
                let seen = time.hold(&what, report.wait_for(Option::is_some)).await;
                seen.and_then(|seen| seen.ok()?.clone())
            }
            (None, Some(place)) => {
                let (sender, report) = watch::channel(None);
                round.zones.0.borrow_mut().insert(key, report);
                // It keeps to the limit by itself, and a test record is not left where it is.
                let report = self.check_zone(place, round.writes, time).await;
                sender.send_replace(Some(report.clone()));
                Some(report)
            }
            (None, None) => None,
        };
        let Some(ZoneReport { mut findings, servers }) = report else { return Vec::new() };
        let names = places.iter().filter_map(|place| dns_name(&place.name)).collect();
        let what = format!("the records in {what}");
        let records = time.hold(&what, authority::examine_records(&servers, &names)).await;
        findings.extend(records.unwrap_or_default());
        findings
    }
}
