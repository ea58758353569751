//! The public area of shared memory, which another process has written, with what is shown of it and the query of a
//! client.
#![no_main]

use acme_dns_core::config::{Certificate, Config, Propagation, Reload, Share, ShareKind, Variant};
use acme_dns_core::growing::GrowingTable;
use acme_dns_core::id::{CertificateId, IdRange, ProviderId, Table, VariantId};
use acme_dns_core::key::KeyType;
use acme_dns_core::name::Name;
use acme_dns_core::status::control::{RenewalForm, token_messages};
use acme_dns_core::status::encode::{PLAN, SERVED, TEXT};
use acme_dns_core::status::page::ZoneUse;
use acme_dns_core::status::share_record::{ENGINE, SHARED};
use acme_dns_core::status::{
    Assembly, Build, Form, Head, Helper, HelperState, PublicArea, Query, entity_tag,
};
use acme_dns_core::time::UnixTime;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The bytes of a variant.
const RECORD: usize = SERVED + PLAN + TEXT + SHARED;

const NOW: UnixTime = UnixTime(1_800_000_000);

/// Records of two variants, then that of the engine, then figures, then a query.
struct Hostile<'a>(&'a [u8]);

impl<'a> Hostile<'a> {
    fn rest(&self) -> &'a [u8] {
        self.0.get(2 * RECORD + ENGINE..).unwrap_or_default()
    }
}

impl PublicArea for Hostile<'_> {
    fn head(&self, variant: VariantId) -> Option<Head> {
        Some(self.whole(variant)?.0)
    }

    fn whole(&self, variant: VariantId) -> Option<(Head, [u8; TEXT])> {
        let record = self.0.get(variant.index() * RECORD..)?;
        let (served, rest) = record.split_first_chunk()?;
        let (plan, rest) = rest.split_first_chunk()?;
        let (text, _) = rest.split_first_chunk()?;
        Some((Head { served: *served, plan: *plan }, *text))
    }

    fn figures(&self) -> Vec<(u64, u64)> {
        let (pairs, _) = self.rest().as_chunks::<16>();
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        pairs.iter().take(8).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect()
    }

    fn helper(&self) -> Helper {
        Helper { up: true, state: HelperState::Working, pid: None, started: None }
    }

    fn zone(&self) -> ZoneUse {
        ZoneUse { used: 1, total: 2 }
    }

    fn engine(&self) -> Option<[u8; ENGINE]> {
        self.0.get(2 * RECORD..)?.first_chunk().copied()
    }

    fn shared(&self, variant: VariantId) -> Option<[u8; SHARED]> {
        let record = self.0.get(variant.index() * RECORD..)?;
        record.get(SERVED + PLAN + TEXT..)?.first_chunk().copied()
    }

    fn is_requested(&self, _: CertificateId) -> bool {
        self.0.len() % 2 == 1
    }
}

/// The engine, as far as the page shows it.
fn share() -> Share {
    Share {
        kind: ShareKind::Etcd,
        endpoints: Vec::new(),
        prefix: String::new(),
        username: None,
        password: None,
        client_certificate: None,
        trusted_certificate: None,
        encryption_keys: Vec::new(),
    }
}

fn config() -> Config {
    let mut config = Config {
        state_path: "/".into(),
        issuers: Table::default(),
        providers: Table::default(),
        providers_program: None,
        listeners: Vec::new(),
        certificates: GrowingTable::default(),
        variants: GrowingTable::default(),
        watched: Vec::new(),
        share: Some(share()),
        propagation: Propagation::default(),
        reload: Reload::default(),
        imports: Vec::new(),
    };
    let certificate = config.certificates.next_id();
    for (name, key) in [("a.test", KeyType::EcdsaP256), ("a.test-rsa", KeyType::Rsa2048)] {
        config.variants.push(Variant { name: name.to_owned(), key, certificate });
    }
    config.certificates.push(Certificate {
        name: "a.test".to_owned(),
        names: Name::parse("a.test").into_iter().collect(),
        variants: IdRange::new(VariantId::new(0), VariantId::new(2)),
        issuers: Vec::new(),
        provider: ProviderId::default(),
        provider_is_given: false,
        reuses_key: false,
        staples: false,
        line: None,
    });
    config
}

fuzz_target!(|bytes: &[u8]| {
    let (config, area, build) = (config(), Hostile(bytes), Build::default());
    let assembly = Assembly { config: &config, area: &area, build: &build, tokens: None, now: NOW };
    let arguments = String::from_utf8_lossy(area.rest()).into_owned();
    for form in [Form::Json, Form::Prometheus, Form::Html] {
        let query = Query::parse(&arguments, form.size());
        let page = assembly.page(&query, form.order());
        assert!(page.listing.page <= page.listing.pages && page.certificates.len() <= 1);
        let body = form.render(&page);
        assert!(entity_tag(&body, NOW).is_ascii());
        if form == Form::Json {
            let read: Value = serde_json::from_str(&body).expect("it is JSON");
            assert_eq!(read["version"], 1);
        } else if form == Form::Prometheus {
            // No text of others makes a line of its own.
            let is_line = |line: &str| line.starts_with("# ") || line.starts_with("acme_dns_");
            assert!(body.split_terminator('\n').all(is_line), "{body}");
        }
    }
    // Neither does a form that somebody else has made.
    let _form = RenewalForm::parse(area.rest()).map(|form| token_messages(&form.name, NOW));
    let one = assembly.one("a.test", &Query::parse("", 1)).expect("it is there");
    assert!(!Form::Json.render_one(&one).is_empty());
});
