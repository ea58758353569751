//! A public area in the heap, and a configuration for it.

use super::assemble::{Assembly, Head, Order, PublicArea};
use super::encode::{PLAN, Plan, SERVED, ServedRecord, TEXT, hash};
use super::figure::Figure;
use super::page::{Build, Helper, HelperState, Page, ZoneUse};
use super::query::Query;
use super::share::SharedVariant;
use super::share_record::{ENGINE, EngineRecord, SHARED};
use super::{Activity, NextStep, Origin, WhyNext};
use crate::config::{Config, DuckDnsSettings, Issuer, Provider, ProviderKind, SecretId};
use crate::id::{CertificateId, Table, VariantId};
use crate::key::KeyType;
use crate::schedule::Validity;
use crate::time::UnixTime;
use std::collections::HashMap;

pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);
pub(super) const DAY: i64 = 86_400;

/// A time so many days from now.
pub(super) fn days(days: i64) -> UnixTime {
    UnixTime(NOW.0 + days * DAY)
}

/// Shared memory in the heap.
pub(super) struct Heap {
    pub(super) served: HashMap<VariantId, ServedRecord>,
    pub(super) plans: HashMap<VariantId, Plan>,
    pub(super) figures: Vec<(Figure, u64)>,
    pub(super) state: HelperState,
    pub(super) requested: Vec<CertificateId>,
    pub(super) engine: Option<EngineRecord>,
    pub(super) shared: HashMap<VariantId, SharedVariant>,
}

impl PublicArea for Heap {
    fn head(&self, variant: VariantId) -> Option<Head> {
        let served = self.served.get(&variant).map_or([0; SERVED], ServedRecord::encode);
        let plan = self.plans.get(&variant).map_or([0; PLAN], Plan::encode);
        Some(Head { served, plan })
    }

    fn whole(&self, variant: VariantId) -> Option<(Head, [u8; TEXT])> {
        let mut text = [0; TEXT];
        if let Some(plan) = self.plans.get(&variant) {
            text[..plan.text().len()].copy_from_slice(plan.text().as_bytes());
        }
        Some((self.head(variant)?, text))
    }

    fn figures(&self) -> Vec<(u64, u64)> {
        self.figures.iter().map(|(figure, number)| (figure.key(), *number)).collect()
    }

    fn helper(&self) -> Helper {
        let state = self.state;
        Helper { up: state != HelperState::Down, state, pid: Some(17), started: Some(days(-1)) }
    }

    fn zone(&self) -> ZoneUse {
        ZoneUse { used: 4096, total: 65_536 }
    }

    fn engine(&self) -> Option<[u8; ENGINE]> {
        self.engine.as_ref().map(EngineRecord::encode)
    }

    fn shared(&self, variant: VariantId) -> Option<[u8; SHARED]> {
        self.shared.get(&variant).map(SharedVariant::encode)
    }

    fn is_requested(&self, certificate: CertificateId) -> bool {
        self.requested.contains(&certificate)
    }
}

/// A configuration with certificates of these names and types of keys.
pub(super) fn config(certificates: &[(&[&str], &[KeyType])]) -> Config {
    let kind = ProviderKind::DuckDns(DuckDnsSettings {
        token: SecretId(0),
        api: "https://dns.test/".to_owned(),
        trusted_certificate: None,
    });
    let provider =
        Provider { zones: Vec::new(), zone: None, name: "dns".to_owned(), kind, secrets: vec![] };
    let mut config = Config {
        issuers: Table::from(vec![Issuer::with_directory("ca", "https://ca.test/directory")]),
        providers: Table::from(vec![provider]),
        ..Config::with_state_path("/")
    };
    for (names, keys) in certificates {
        config.add_certificate(names[0], names, keys);
    }
    config
}

/// A certificate that is valid from so many days from now on, to so many.
pub(super) fn served(from: i64, to: i64) -> ServedRecord {
    ServedRecord {
        origin: Origin::Issued,
        validity: Validity { not_before: days(from), not_after: days(to) },
        stapled_until: None,
        directory: Some(hash(b"https://ca.test/directory")),
        fingerprint: [0xab; 32],
        serial: vec![3, 0xff],
        issuer_cn: "Test \"CA\"".to_owned(),
        profile: None,
    }
}

/// A plan of a renewal in so many days.
pub(super) fn plan(activity: Activity, next: i64) -> Plan {
    let renewal = Some(NextStep { at: days(next), reason: WhyNext::Ari });
    Plan { activity, renewal, next: renewal, ..Plan::idle() }
}

impl Heap {
    pub(super) fn of(variants: &[(Option<ServedRecord>, Option<Plan>)]) -> Self {
        let ids = || (0..).map(VariantId::new);
        let served = ids().zip(variants).filter_map(|(id, (it, _))| Some((id, it.clone()?)));
        let plans = ids().zip(variants).filter_map(|(id, (_, it))| Some((id, it.clone()?)));
        Self {
            served: served.collect(),
            plans: plans.collect(),
            figures: vec![],
            state: HelperState::Working,
            requested: vec![],
            engine: None,
            shared: HashMap::new(),
        }
    }

    pub(super) fn page(&self, config: &Config, arguments: &str, order: Order) -> Page {
        self.assemble(config, |it| it.page(&Query::parse(arguments, 100), order))
    }

    pub(super) fn assemble<T>(&self, config: &Config, make: impl Fn(&Assembly<'_>) -> T) -> T {
        let build = Build {
            version: "0.2.0".to_owned(),
            nginx: "1.31.0".to_owned(),
            openssl: "OpenSSL 3.5.4".to_owned(),
        };
        make(&Assembly { config, area: self, build: &build, tokens: None, now: NOW })
    }
}
