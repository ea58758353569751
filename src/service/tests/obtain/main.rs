//! Certificates from Pebble, with the stand-in of Cloudflare's API and PowerDNS.

mod accounts;
mod certificates;
mod checks;
mod delegation;
mod faults;
mod fleet;
mod foreign;
mod handed_over;
mod hostile;
mod key_changes;
mod lenient;
mod methods;
mod persist;
mod races;
mod reading;
mod rounds;
mod service;
mod staples;
mod starts;
mod status;
mod story;
mod succession;
mod support;

use acme_dns_core::config::Propagation;
use acme_dns_core::id::VariantId;
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_service::acme::{KeyChoice, ObtainError};
use acme_dns_service::event::{AccountEvent, Event, OrderEvent, Subject};
use futures_util::future::join_all;
use http::Method;
use openssl::x509::X509;
use servers::acme_proxy::AcmeStep;
use servers::pebble::PebbleOptions;
use servers::traffic::Match;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::{Bed, ISSUER, VARIANT};

#[test]
fn obtains_apex_and_wildcard_and_cleans_up() {
    let bed = Bed::start();
    let started = Instant::now();
    let issued = bed.obtain().unwrap();
    println!("obtained in {:?}", started.elapsed());
    bed.assert_clean();
    let store = bed.store();
    store.save_certificate("example.test", &issued.pem).unwrap();
    let stored = store.load_certificate("example.test").unwrap().unwrap();
    assert_eq!(stored.facts.traits.names, ["*.example.test", "example.test"]);
    assert_eq!(
        (stored.facts.traits.validity, &stored.material),
        (issued.validity, &issued.material)
    );
    assert!(issued.issuer.starts_with("Pebble Intermediate CA"), "{}", issued.issuer);
    assert_eq!(bed.testbed.pebble.certificate_status(&issued.serial).as_deref(), Some("Valid"));
    let [account] = bed.log.events(Level::Notice).try_into().unwrap();
    let url = bed.account().unwrap();
    let created = AccountEvent::Created { url };
    assert_eq!(account, Event::Account(Subject::Issuer("pebble".into()), created));
    assert_eq!(bed.log.events(Level::Warn), []);
    assert_eq!(bed.log.events(Level::Error), []);
}

#[test]
fn every_key_type_is_certified() {
    let mut bed = Bed::start();
    for key in [KeyType::EcdsaP384, KeyType::Rsa2048, KeyType::Rsa3072] {
        bed.config.variants[VARIANT].key = key;
        let issued = bed.obtain().unwrap();
        bed.store().save_certificate("example.test", &issued.pem).unwrap();
        let stored = bed.store().load_certificate("example.test").unwrap().unwrap();
        assert_eq!(stored.facts.traits.key, key);
    }
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewAccount.requests()), 1);
}

#[test]
fn orders_at_the_same_time_create_one_account_and_the_next_start_uses_it() {
    let mut bed = Bed::start();
    for number in 1..20 {
        let host = format!("h{number}.example.test");
        bed.add(&host, &[&host, &format!("*.{host}")]);
    }
    let started = Instant::now();
    let results = bed.run(async |obtainer| {
        let variants = bed.config.variants.ids();
        let orders = variants.map(|it| obtainer.obtain(it, ISSUER, KeyChoice::Configured));
        join_all(orders).await
    });
    println!("20 obtained in {:?}", started.elapsed());
    for result in results {
        result.unwrap();
    }
    bed.assert_clean();
    bed.obtain().unwrap();
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewAccount.requests()), 1);
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::Directory.requests()), 2);
    assert_eq!(bed.log.events(Level::Notice).len(), 1);
}

#[test]
fn half_of_all_nonces_may_be_refused() {
    let mut bed = Bed::start_with(|options| PebbleOptions { nonce_reject_percent: 50, ..options });
    for number in 1..5 {
        let host = format!("h{number}.example.test");
        bed.add(&host, &[&host, &format!("*.{host}")]);
    }
    let results = bed.run(async |obtainer| {
        let variants = bed.config.variants.ids();
        let orders = variants.map(|it| obtainer.obtain(it, ISSUER, KeyChoice::Configured));
        join_all(orders).await
    });
    for result in results {
        result.unwrap();
    }
    bed.assert_clean();
}

#[test]
fn the_server_says_when_to_ask_again() {
    let bed = Bed::start_with(|options| PebbleOptions { retry_after: Some((1, 2)), ..options });
    bed.obtain().unwrap();
    let traffic = &bed.proxy.traffic;
    let finalized = traffic.requests(&AcmeStep::Finalize.requests());
    let polled = traffic.requests(&AcmeStep::Order.requests());
    let after: Vec<Duration> = polled
        .iter()
        .filter_map(|poll| poll.arrived.checked_duration_since(finalized[0].arrived))
        .filter(|after| !after.is_zero())
        .collect();
    // A date has whole seconds.
    assert!(after[0] >= Duration::from_millis(900), "{after:?}");
}

#[test]
fn an_unsatisfied_ca_is_quoted_and_nothing_is_left_behind() {
    let mut bed = Bed::start();
    bed.config.propagation = Propagation::Off { delay: Duration::ZERO };
    bed.testbed.cloudflare.pause_propagation();
    let error = bed.obtain_error();
    let text = error.to_string();
    assert!(matches!(error, ObtainError::Invalid(_)), "{text}");
    assert!(text.starts_with("the order was refused: \""), "{text}");
    assert!(text.contains("example.test\": "), "{text}");
    assert!(text.contains("_acme-challenge.example.test"), "{text}");
    assert!(!error.is_permanent(), "{text}");
    bed.assert_clean();
}

#[test]
fn valid_authorizations_are_used_again_without_a_record() {
    let bed = Bed::start_with(|options| PebbleOptions { authz_reuse_percent: 100, ..options });
    bed.obtain().unwrap();
    let written = || bed.testbed.cloudflare.traffic.count(&Match::any().method(Method::POST));
    let created = written();
    bed.obtain().unwrap();
    assert_eq!(written(), created, "the zones are looked at, and nothing is written");
}

#[test]
fn a_listed_profile_is_asked_for_and_another_only_if_it_is_required() {
    let mut bed = Bed::start();
    bed.set_profile("shortlived", true);
    let validity = bed.obtain().unwrap().validity;
    assert!(validity.not_after.since(validity.not_before) < Duration::from_secs(7 * 86_400));
    bed.set_profile("odd", false);
    bed.obtain().unwrap();
    let offered = vec!["default".into(), "shortlived".into()];
    let missing = OrderEvent::ProfileMissing { profile: "odd".into(), offered };
    let subject = Subject::Certificate("example.test".into());
    assert_eq!(bed.log.events(Level::Warn), [Event::Order(subject, missing)]);
    bed.set_profile("odd", true);
    let error = bed.obtain_error();
    assert_eq!(
        error.to_string(),
        "the CA does not offer the profile \"odd\", only default, shortlived"
    );
    assert!(error.is_permanent());
}

#[test]
fn an_account_that_the_ca_forgot_is_replaced_once() {
    let mut bed = Bed::start();
    bed.add("other", &["www.example.test"]);
    bed.obtain().unwrap();
    bed.testbed.pebble.restart();
    bed.proxy.traffic.clear_log();
    let results = bed.run(async |obtainer| {
        futures_util::future::join(
            obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured),
            obtainer.obtain(VariantId::new(1), ISSUER, KeyChoice::Configured),
        )
        .await
    });
    results.0.unwrap();
    results.1.unwrap();
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewAccount.requests()), 1);
    assert_eq!(bed.entries("accounts"), ["pebble", "pebble~1"]);
    let warnings = bed.log.events(Level::Warn);
    let [Event::Account(_, AccountEvent::SetAside { path, why })] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(path.ends_with("accounts/pebble~1"), "{path:?}");
    assert!(why.contains("does not know the account any more"), "{why}");
}

#[test]
fn an_account_of_another_directory_is_kept_aside() {
    let mut bed = Bed::start();
    bed.obtain().unwrap();
    bed.config.issuers[ISSUER].directory += "?other";
    bed.obtain().unwrap();
    assert_eq!(bed.entries("accounts"), ["pebble", "pebble~1"]);
}

#[test]
fn changed_contacts_are_sent_to_the_ca() {
    let mut bed = Bed::start();
    bed.obtain().unwrap();
    bed.config.issuers[ISSUER].contacts = vec!["mailto:other@example.test".into()];
    bed.obtain().unwrap();
    bed.obtain().unwrap();
    let updates = bed.proxy.traffic.requests(&AcmeStep::Account.requests());
    let [update] = updates.as_slice() else { panic!("{updates:?}") };
    assert_eq!(update.jws_payload()["contact"][0], "mailto:other@example.test");
    assert_eq!(bed.entries("accounts"), ["pebble"]);
}

#[test]
fn a_ca_that_wants_an_external_account_is_named() {
    let eab = BTreeMap::from([("kid-1".to_owned(), "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0".to_owned())]);
    let bed = Bed::start_with(|options| PebbleOptions { eab, ..options });
    let error = bed.obtain_error();
    assert!(error.to_string().contains("requires an external account"), "{error}");
    assert!(error.is_permanent());
    assert_eq!(bed.entries("accounts"), [""; 0]);
}

#[test]
fn a_refused_name_is_named_and_permanent() {
    let mut bed = Bed::start_with(|options| PebbleOptions {
        blocklist: vec!["bad.example.test".into()],
        ..options
    });
    bed.add("bad", &["example.test", "bad.example.test"]);
    let error = bed
        .run(async |obtainer| {
            obtainer.obtain(VariantId::new(1), ISSUER, KeyChoice::Configured).await
        })
        .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("placing the order was refused by \"https://127.0.0.1:"), "{text}");
    assert!(text.contains("rejectedIdentifier") && text.contains("bad.example.test"), "{text}");
    assert!(error.is_permanent());
}

#[test]
fn the_longer_chain_comes_in_order() {
    let bed = Bed::start_with(|options| PebbleOptions { chain_length: 3, ..options });
    let issued = bed.obtain().unwrap();
    assert_eq!(X509::stack_from_pem(issued.pem.fullchain.as_bytes()).unwrap().len(), 4);
}
