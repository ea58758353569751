//! Time that a worker takes for a page of the status: it answers nobody else meanwhile.
//!
//! Nothing is started: the records are in memory as in a worker, and the page is made and written as there.

use std::hint::black_box;
use std::time::{Duration, Instant};

use acme_dns_core::config::{Certificate, Config, Propagation, Reload, Variant};
use acme_dns_core::growing::GrowingTable;
use acme_dns_core::id::{CertificateId, IdRange, ProviderId, Table, VariantId};
use acme_dns_core::key::KeyType;
use acme_dns_core::name::Name;
use acme_dns_core::schedule::Validity;
use acme_dns_core::status::encode::TEXT;
use acme_dns_core::status::page::ZoneUse;
use acme_dns_core::status::share_record::{ENGINE, SHARED};
use acme_dns_core::status::{
    Activity, Assembly, Build, Form, Head, Helper, HelperState, NextStep, Origin, Plan, PublicArea,
    Query, ServedRecord, WhyNext,
};
use acme_dns_core::time::UnixTime;

use crate::report::Report;
use crate::setup::Setup;

/// Number of pages of each kind.
const TIMES: usize = 20;

const NOW: UnixTime = UnixTime(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// Measures pages of all forms.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "status: time of a page of 1,000 certificates, of so many: as HTML, as JSON, the last page of \
         it, with a search, and for Prometheus",
    );
    for number in [1000, 100_000] {
        let (config, area) = (config(number)?, Heap(heads(number)));
        let build = Build::default();
        let assembly =
            Assembly { config: &config, area: &area, build: &build, tokens: None, now: NOW };
        for (name, form, arguments) in [
            ("html", Form::Html, "size=1000"),
            ("json", Form::Json, "size=1000"),
            ("json_last", Form::Json, "size=1000&page=1000000"),
            ("json_search", Form::Json, "size=1000&q=7.example"),
            ("prometheus", Form::Prometheus, ""),
        ] {
            let page = || {
                let begun = Instant::now();
                let query = Query::parse(arguments, form.size());
                black_box(form.render(&assembly.page(&query, form.order())));
                begun.elapsed().as_secs_f64() * 1000.0
            };
            let samples: Vec<f64> = (0..setup.times(TIMES)).map(|_| page()).collect();
            report.runs(&format!("status_{name}_{number}"), &samples, "ms");
        }
    }
    Ok(())
}

/// The public area.
struct Heap(Vec<Head>);

impl PublicArea for Heap {
    fn head(&self, variant: VariantId) -> Option<Head> {
        self.0.get(variant.index()).copied()
    }

    fn whole(&self, variant: VariantId) -> Option<(Head, [u8; TEXT])> {
        Some((self.head(variant)?, [0; TEXT]))
    }

    fn figures(&self) -> Vec<(u64, u64)> {
        Vec::new()
    }

    fn helper(&self) -> Helper {
        Helper { up: true, state: HelperState::Working, pid: None, started: None }
    }

    fn zone(&self) -> ZoneUse {
        ZoneUse::default()
    }

    fn engine(&self) -> Option<[u8; ENGINE]> {
        None
    }

    fn shared(&self, _: VariantId) -> Option<[u8; SHARED]> {
        None
    }

    fn is_requested(&self, _: CertificateId) -> bool {
        false
    }
}

/// Certificates of all ages.
fn heads(number: usize) -> Vec<Head> {
    let head = |index: usize| {
        let age = DAY * u32::try_from(index * 7 % 60).unwrap_or_default();
        let validity = Validity { not_before: NOW - age, not_after: NOW - age + 90 * DAY };
        let served = ServedRecord {
            origin: Origin::Issued,
            validity,
            stapled_until: None,
            directory: None,
            fingerprint: [7; 32],
            serial: vec![7; 18],
            issuer_cn: "A CA".to_owned(),
            profile: None,
        };
        let renewal = NextStep { at: validity.not_before + 60 * DAY, reason: WhyNext::Ari };
        let (renewal, next) = (Some(renewal), Some(renewal));
        let plan = Plan { activity: Activity::Idle, renewal, next, ..Plan::idle() };
        Head { served: served.encode(), plan: plan.encode() }
    };
    (0..number).map(head).collect()
}

fn config(number: usize) -> Result<Config, String> {
    let mut config = Config {
        state_path: "/".into(),
        issuers: Table::default(),
        providers: Table::default(),
        providers_program: None,
        listeners: Vec::new(),
        certificates: GrowingTable::default(),
        variants: GrowingTable::default(),
        watched: Vec::new(),
        propagation: Propagation::default(),
        reload: Reload::default(),
        imports: Vec::new(),
        share: None,
    };
    for index in 0..number {
        let name = format!("shop{index}.example.com");
        let names = [&name, &format!("www.{name}")].map(|name| Name::parse(name));
        let names: Result<Vec<Name>, _> = names.into_iter().collect();
        let (first, certificate) = (config.variants.next_id(), config.certificates.next_id());
        let key = KeyType::EcdsaP256;
        config.variants.push(Variant { name: name.clone(), key, certificate });
        config.certificates.push(Certificate {
            name,
            names: names.map_err(|error| format!("{error:?}"))?,
            variants: IdRange::new(first, config.variants.next_id()),
            issuers: Vec::new(),
            provider: ProviderId::default(),
            provider_is_given: false,
            reuses_key: false,
            staples: false,
            line: None,
        });
    }
    Ok(config)
}
