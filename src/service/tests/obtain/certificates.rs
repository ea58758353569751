//! Certificates that are not quite what was ordered: used if a client could be served with them, and never
//! ordered again for what another order would not cure.

use super::support::{Bed, CERTIFICATE, Log};
use acme_dns_core::level::Level;
use acme_dns_service::acme::ObtainError;
use acme_dns_service::engine::Service;
use acme_dns_service::event::{Event, OrderEvent, Subject};
use http::HeaderValue;
use http::header::{DATE, RETRY_AFTER};
use openssl::asn1::Asn1Time;
use openssl::base64::decode_block;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509Req};
use serde_json::Value;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Logged};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Longer than anything takes that does not wait for a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// A change of a certificate of the CA behind the proxy. Times are in seconds from now.
#[derive(Clone)]
pub(crate) struct Change {
    names: Vec<&'static str>,
    dates: (i64, i64),
    /// The time of the CA's own clock.
    date: i64,
    has_other_key: bool,
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A date as a header has it, in seconds from now.
fn http_date(offset: i64) -> HeaderValue {
    let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(now() + offset).unwrap());
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).unwrap()
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(common_name: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
    name.build()
}

fn builder(common_name: &str, (from, to): (i64, i64)) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(u32::try_from(now()).unwrap()).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name(common_name)).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now() + from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now() + to).unwrap()).unwrap();
    builder
}

/// The key of the last CSR.
fn requested_key(finalize: &[Logged]) -> X509Req {
    let csr = finalize.last().unwrap().jws_payload()["csr"].as_str().unwrap().to_owned();
    let padding = "=".repeat((4 - csr.len() % 4) % 4);
    let base64 = csr.replace('-', "+").replace('_', "/") + &padding;
    X509Req::from_der(&decode_block(&base64).unwrap()).unwrap()
}

impl Change {
    pub(crate) fn dates(from: i64, to: i64, date: i64) -> Self {
        Self {
            names: vec!["example.test", "*.example.test"],
            dates: (from, to),
            date,
            has_other_key: false,
        }
    }

    fn names(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), ..Self::dates(-HOUR, 90 * DAY, 0) }
    }

    /// A leaf and its CA, for the key of a CSR.
    fn chain(&self, request: &X509Req) -> Vec<u8> {
        let ca_key = key();
        let mut ca = builder("Odd CA", (-365 * DAY, 3650 * DAY));
        ca.set_pubkey(&ca_key).unwrap();
        ca.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
        let id = SubjectKeyIdentifier::new().build(&ca.x509v3_context(None, None)).unwrap();
        ca.append_extension(id).unwrap();
        let mut leaf = builder("leaf", self.dates);
        ca.set_issuer_name(&name("Odd CA")).unwrap();
        ca.sign(&ca_key, MessageDigest::sha256()).unwrap();
        let ca = ca.build();
        leaf.set_issuer_name(ca.subject_name()).unwrap();
        match self.has_other_key {
            true => leaf.set_pubkey(&key()).unwrap(),
            false => leaf.set_pubkey(&request.public_key().unwrap()).unwrap(),
        }
        let mut names = SubjectAlternativeName::new();
        for name in &self.names {
            names.dns(name);
        }
        let names = names.build(&leaf.x509v3_context(Some(&ca), None)).unwrap();
        leaf.append_extension(names).unwrap();
        let mut id = AuthorityKeyIdentifier::new();
        let id = id.keyid(true).build(&leaf.x509v3_context(Some(&ca), None)).unwrap();
        leaf.append_extension(id).unwrap();
        leaf.sign(&ca_key, MessageDigest::sha256()).unwrap();
        [leaf.build().to_pem().unwrap(), ca.to_pem().unwrap()].concat()
    }
}

impl Bed {
    /// Has the CA issue other certificates than those that are ordered, until the faults are cleared.
    pub(crate) fn change_certificates(&self, change: Change) {
        let traffic = self.proxy.traffic.clone();
        let rewrite = Action::rewrite(move |reply| {
            let request = requested_key(&traffic.requests(&AcmeStep::Finalize.requests()));
            reply.body = change.chain(&request).into();
            reply.headers.insert(DATE, http_date(change.date));
        });
        self.proxy.traffic.inject(Fault::new(AcmeStep::Certificate.requests(), rewrite).always());
    }

    fn orders(&self) -> usize {
        self.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }

    /// Lets a service work until it asks when to renew its certificate: what is due was begun before.
    fn serve_until_quiet(&self) -> Arc<Log> {
        let log = Arc::<Log>::default();
        let renewal = self.state().join("certs/example.test/renewal.json");
        if let Ok(json) = fs::read(&renewal) {
            let mut json: Value = serde_json::from_slice(&json).unwrap();
            json["next_poll"] = 0.into();
            fs::write(&renewal, json.to_string()).unwrap();
        }
        let asked = || self.proxy.traffic.count(&AcmeStep::RenewalInfo.requests());
        let before = asked();
        let service = Service::start(self.settings(), log.clone()).unwrap();
        let quiet = wait_until(PATIENCE, || (asked() > before).then_some(()));
        assert!(quiet.is_some(), "{:#?}", log.all());
        service.stop();
        log
    }
}

#[test]
fn a_certificate_that_only_our_clock_refuses_is_kept_and_the_clock_is_named() {
    let bed = Bed::start();
    for (row, change, difference, ahead) in [
        // Our clock is two hours behind: what the CA issues now lies in the future.
        ("behind", Change::dates(2 * HOUR, 90 * DAY, 2 * HOUR), 7200, false),
        ("ahead", Change::dates(-100 * DAY, -10 * DAY, -100 * DAY), 8_640_000, true),
        ("most of its life", Change::dates(-75 * DAY, 15 * DAY, -75 * DAY), 6_480_000, true),
    ] {
        let _ = fs::remove_dir_all(bed.state());
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
        bed.change_certificates(change);
        let errors = bed.log.events(Level::Error).len();
        bed.obtain().unwrap_or_else(|error| panic!("{row}: {error}"));
        let [error] = bed.log.events(Level::Error).split_off(errors).try_into().unwrap();
        let Event::Order(subject, OrderEvent::ClockSkew { seconds, is_ahead }) = error else {
            panic!("{row}: {error}");
        };
        assert_eq!((subject, is_ahead), (Subject::Issuer("pebble".into()), ahead), "{row}");
        // A second may pass.
        assert!(seconds.abs_diff(difference) < 30, "{row}: {seconds}");
        assert_eq!(bed.orders(), 1, "{row}");
        assert_eq!(bed.entries("orders"), [""; 0], "{row}");
    }
    bed.assert_clean();
}

#[test]
fn a_wrong_clock_costs_one_order_whatever_is_restarted() {
    for change in [
        Change::dates(-100 * DAY, -10 * DAY, -100 * DAY),
        Change::dates(-75 * DAY, 15 * DAY, -75 * DAY),
    ] {
        let bed = Bed::start();
        let dates = change.dates;
        bed.change_certificates(change);
        for round in 0..2 {
            let log = bed.serve_until_quiet();
            assert_eq!(bed.orders(), 1, "{dates:?} {round}: {:#?}", log.all());
        }
    }
}

#[test]
fn a_certificate_of_the_future_by_the_cas_own_clock_is_waited_for_with_its_order() {
    let bed = Bed::start();
    bed.change_certificates(Change::dates(2 * HOUR, 90 * DAY, 0));
    let error = bed.obtain_error();
    assert!(matches!(error, ObtainError::Early { .. }), "{error}");
    assert!(!error.is_permanent(), "{error}");
    let wait = error.retry_after().unwrap();
    assert!(wait > Duration::from_secs(7000) && wait < Duration::from_secs(7300), "{wait:?}");
    assert!(error.to_string().ends_with("only, by the CA's own clock"), "{error}");
    assert_eq!(bed.entries("orders"), ["example.test.order"]);
    bed.proxy.traffic.clear_faults();
    bed.obtain().unwrap();
    assert_eq!(bed.orders(), 1, "the certificate is downloaded again");
}

#[test]
fn names_that_the_ca_adds_are_accepted_and_not_ordered_again() {
    let cases: [(&[&str], &[&'static str], Option<&str>); 3] = [
        (&["example.test"], &["example.test", "www.example.test"], Some("www.example.test")),
        (&["www.example.test"], &["*.example.test"], Some("*.example.test")),
        (&["example.test"], &["Example.Test"], None),
    ];
    for (ordered, held, added) in cases {
        let mut bed = Bed::start();
        bed.config.certificates[CERTIFICATE].names = super::support::names(ordered);
        bed.change_certificates(Change::names(held));
        let log = bed.serve_until_quiet();
        let notices = log.events(Level::Notice);
        let is_remark =
            |event: &&Event| matches!(event, Event::Order(_, OrderEvent::Remarkable { .. }));
        let remarks: Vec<_> = notices.iter().filter(is_remark).cloned().collect();
        let added = added.map(|name| {
            let note = format!("the CA has added names that were not ordered: {name}");
            let subject = Subject::Certificate("example.test".into());
            Event::Order(subject, OrderEvent::Remarkable { note })
        });
        assert_eq!(remarks, Vec::from_iter(added), "{held:?}: {notices:#?}");
        let log = bed.serve_until_quiet();
        assert_eq!(bed.orders(), 1, "{held:?}: {:#?}", log.all());
        assert_eq!(log.events(Level::Warn), [], "{held:?}");
    }
}

#[test]
fn what_was_not_ordered_is_refused_and_needs_a_person() {
    let bed = Bed::start();
    let good = || Change::names(&["example.test", "*.example.test"]);
    let expired = Change::dates(-100 * DAY, -10 * DAY, 0);
    for (change, expected) in [
        (Change { has_other_key: true, ..good() }, "it is not for our key"),
        (Change::names(&["example.test"]), "it does not hold *.example.test"),
        (Change::names(&["other.test"]), "it does not hold example.test, *.example.test"),
        (expired, "by the CA's own clock"),
    ] {
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
        bed.change_certificates(change);
        let error = bed.obtain_error();
        let text = error.to_string();
        assert!(text.starts_with("the certificate of the CA cannot be used: it "), "{text}");
        assert!(text.ends_with(expected), "{text}");
        assert!(error.is_permanent(), "it is not ordered again soon: {text}");
        assert_eq!(bed.orders(), 1, "{text}");
        assert_eq!(bed.entries("orders"), [""; 0], "{text}");
    }
}

/// The clock of the CA, of this host, and the pause that is asked for as a date.
#[test]
fn a_pause_until_a_date_is_measured_by_the_clock_of_the_ca() {
    let bed = Bed::start();
    let limited = |wrong: i64| {
        Action::rewrite(move |reply| {
            reply.status = 503;
            reply.headers.insert(DATE, http_date(wrong));
            reply.headers.insert(RETRY_AFTER, http_date(wrong + 600));
        })
    };
    for wrong in [0, 2 * HOUR, -2 * HOUR] {
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.inject(Fault::new(AcmeStep::Directory.requests(), limited(wrong)));
        let asked = bed.obtain_error().retry_after();
        assert_eq!(asked, Some(Duration::from_secs(600)), "{wrong}");
    }
}
