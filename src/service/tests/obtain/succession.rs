//! Certificates that lie under other names than those that want them.

use super::accounts::problem;
use super::support::{Bed, CERTIFICATE, ISSUER, Log};
use acme_dns_core::growing::GrowingTable;
use acme_dns_core::id::CertificateId;
use acme_dns_core::material::Material;
use acme_dns_core::schedule::{Loading, Renewal};
use acme_dns_service::engine::{Service, Settings};
use acme_dns_service::event::{Event, OriginEvent};
use acme_dns_service::host::{Host, NoRoom};
use openssl::x509::X509;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::Fault;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Shared memory, and the log.
#[derive(Default)]
struct Slots {
    log: Log,
    slots: Mutex<BTreeMap<CertificateId, Material>>,
}

impl Host for Slots {
    fn tell(&self, event: &Event) {
        self.log.tell(event);
    }

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.slots.lock().unwrap().insert(certificate, material.clone());
        Ok(())
    }

    fn published(&self, certificate: CertificateId) -> Option<Material> {
        self.slots.lock().unwrap().get(&certificate).cloned()
    }
}

impl Slots {
    /// The names of the certificates in a slot.
    fn served(&self, certificate: CertificateId) -> Vec<String> {
        let published = self.published(certificate);
        let pairs = published.iter().flat_map(|material| &material.pairs);
        let names = pairs.map(|pair| names(&X509::from_der(&pair.chain[0]).unwrap()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn names(leaf: &X509) -> String {
    let names = leaf.subject_alt_names();
    let names = names.iter().flatten().filter_map(|name| name.dnsname());
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.join(" ")
}

/// The configuration, loaded once more.
fn settings(bed: &Bed) -> Settings {
    static LOADINGS: AtomicU64 = AtomicU64::new(1);
    let loading = Loading(LOADINGS.fetch_add(1, Ordering::Relaxed));
    Settings { loading, ..bed.settings() }
}

/// Certificates by these names are on disk, and the CA refuses all further orders.
fn bed(certificates: &[(&str, &[&str])]) -> Bed {
    let mut bed = Bed::start();
    configure(&mut bed, certificates);
    let host = Arc::<Slots>::default();
    let service = Service::start(settings(&bed), host.clone()).unwrap();
    let all = || (host.slots.lock().unwrap().len() == certificates.len()).then_some(());
    assert!(wait_until(LIMIT, all).is_some(), "{:#?}", host.log.all());
    let is_clean = || (bed.entries("orders").is_empty()).then_some(());
    assert!(wait_until(LIMIT, is_clean).is_some(), "{:?}", bed.entries("orders"));
    service.stop();
    // For each by itself: of a CA that is away one asks for all.
    let refused = problem(403, "rejectedIdentifier", "not today");
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), refused).always());
    bed.proxy.traffic.clear_log();
    bed
}

fn configure(bed: &mut Bed, certificates: &[(&str, &[&str])]) {
    bed.config.certificates = GrowingTable::default();
    bed.config.variants = GrowingTable::default();
    certificates.iter().for_each(|(name, names)| bed.add(name, names));
}

/// Lets a service look at what is there, until it has tried these orders: each is its names. A certificate that
/// is missing makes sure
/// that there is one to wait for.
fn look(bed: &mut Bed, certificates: &[(&str, &[&str])], expected_orders: &[&str]) -> Arc<Slots> {
    const MISSING: &str = "missing.example.test";
    configure(bed, &[certificates, &[("missing", &[MISSING])]].concat());
    let host = Arc::<Slots>::default();
    bed.proxy.traffic.clear_log();
    let service = Service::start(settings(bed), host.clone()).unwrap();
    let mut expected: Vec<&str> = [expected_orders, &[MISSING]].concat();
    expected.sort_unstable();
    let tried = || {
        let orders = orders(bed);
        expected.iter().all(|names| orders.iter().any(|order| order == names)).then_some(())
    };
    let all = wait_until(LIMIT, tried);
    service.stop();
    assert!(all.is_some(), "{:#?}", host.log.all());
    assert_eq!(orders(bed), expected);
    host
}

fn serial(bed: &Bed, name: &str) -> Option<String> {
    let pem = fs::read(bed.state().join("certs").join(name).join("cert.pem")).ok()?;
    let serial = X509::from_pem(&pem).unwrap().serial_number().to_bn().unwrap();
    Some(serial.to_hex_str().unwrap().to_string())
}

/// The names of the orders that were tried, without the requests for a nonce's sake.
fn orders(bed: &Bed) -> Vec<String> {
    let requests = bed.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
    let names = requests.iter().map(|request| {
        let payload = request.jws_payload();
        let identifiers = payload["identifiers"].as_array().cloned().unwrap_or_default();
        let names = identifiers.iter().filter_map(|i| i["value"].as_str().map(str::to_owned));
        names.collect::<Vec<_>>().join(" ")
    });
    let mut names: Vec<String> = names.filter(|names| !names.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn a_certificate_goes_on_under_its_new_name_with_the_time_of_its_renewal() {
    let mut bed = bed(&[("example.test", &["example.test", "a.example.test"])]);
    let first = serial(&bed, "example.test");
    let renewal = Renewal { hasty: 7, ..Renewal::default() };
    bed.store().save_renewal("example.test", &renewal).unwrap();
    let host = look(&mut bed, &[("web", &["a.example.test", "example.test"])], &[]);
    assert_eq!(serial(&bed, "web"), first);
    assert_eq!(host.served(CERTIFICATE), ["a.example.test example.test"]);
    let kept: Option<Renewal> = bed.store().load_renewal("web").unwrap();
    assert_eq!(kept.map(|kept| kept.hasty), Some(7));
    let succeeds = |event: &Event| match event {
        Event::Origin(name, OriginEvent::Succeeds { from, .. }) => {
            (name.as_str(), from.as_str()) == ("web", "example.test")
        }
        _ => false,
    };
    assert!(host.log.has(succeeds), "{:#?}", host.log.all());
    // Now it is its own.
    let again = look(&mut bed, &[("web", &["a.example.test", "example.test"])], &[]);
    assert!(!again.log.has(succeeds), "{:#?}", again.log.all());
}

#[test]
fn certificates_that_change_places_keep_their_own() {
    let mut bed =
        bed(&[("x", &["x.example.test"]), ("y", &["y.example.test"]), ("z", &["z.example.test"])]);
    let [x, y, z] = ["x", "y", "z"].map(|name| serial(&bed, name));
    let host = look(
        &mut bed,
        &[("y", &["x.example.test"]), ("z", &["y.example.test"]), ("x", &["z.example.test"])],
        &[],
    );
    assert_eq!(["y", "z", "x"].map(|name| serial(&bed, name)), [x, y, z]);
    assert_eq!(host.served(CertificateId::new(1)), ["y.example.test"]);
}

#[test]
fn what_is_not_wanted_as_it_is_stands_in_and_is_replaced() {
    let mut bed = bed(&[("a", &["a.example.test"]), ("b", &["b.example.test"])]);
    let both: &[(&str, &[&str])] = &[("both", &["a.example.test", "b.example.test"])];
    let host = look(&mut bed, both, &["a.example.test b.example.test"]);
    assert_eq!(host.served(CERTIFICATE), ["a.example.test", "b.example.test"]);
    assert_eq!(serial(&bed, "both"), None, "it is not kept under that name");
    // The staging environment has another directory.
    bed.config.issuers[ISSUER].directory += "?other";
    let host = look(&mut bed, &[("c", &["a.example.test"])], &["a.example.test"]);
    assert_eq!(host.served(CERTIFICATE), ["a.example.test"]);
    bed.proxy.traffic.clear_faults();
    let host = Arc::<Slots>::default();
    configure(&mut bed, both);
    let service = Service::start(settings(&bed), host.clone()).unwrap();
    let is_new = || (host.served(CERTIFICATE) == ["a.example.test b.example.test"]).then_some(());
    assert!(wait_until(LIMIT, is_new).is_some(), "{:#?}", host.log.all());
    service.stop();
}

#[test]
fn what_was_revoked_or_cannot_be_read_is_not_taken_over() {
    let mut bed = bed(&[("x", &["x.example.test"]), ("y", &["y.example.test"])]);
    let leaf = fs::read(bed.state().join("certs/x/cert.pem")).unwrap();
    let leaf = X509::from_pem(&leaf).unwrap().to_der().unwrap();
    bed.store().mark_revoked(&[leaf]).unwrap();
    fs::write(bed.state().join("certs/y/privkey.pem"), "garbage").unwrap();
    let renamed: &[(&str, &[&str])] =
        &[("new-x", &["x.example.test"]), ("new-y", &["y.example.test"])];
    let host = look(&mut bed, renamed, &["x.example.test", "y.example.test"]);
    assert_eq!((host.served(CERTIFICATE), host.served(CertificateId::new(1))), (vec![], vec![]));
    // Under its own name neither.
    look(&mut bed, &[("x", &["x.example.test"])], &["x.example.test"]);
}
