//! CAs that others have written: a certificate, its renewal, its revocation, another account key.

use super::support::{Bed, ISSUER, VARIANT};
use acme_dns_core::level::Level;
use acme_dns_service::acme::{AcmeError, KeyChoice};
use openssl::x509::X509;
use servers::foreign_ca::ForeignCa;
use std::fs;

/// A configuration for a CA instead of Pebble.
fn bed_of(start: fn(&std::path::Path, std::net::SocketAddr) -> ForeignCa) -> (Bed, ForeignCa) {
    let mut bed = Bed::start();
    let ca = start(&bed.testbed.dir().join("foreign"), bed.testbed.dns.addr());
    bed.config.issuers[ISSUER].directory = ca.directory_url.clone();
    bed.config.issuers[ISSUER].trusted_certificate = Some(fs::read(&ca.ca_file).unwrap());
    (bed, ca)
}

/// Obtains a certificate for the apex and its wildcard, and another one with another key; gives the
/// last one.
fn obtain_and_renew(bed: &Bed, ca: &ForeignCa) -> Vec<u8> {
    let first = bed.obtain().unwrap_or_else(|error| panic!("{error}\n{}", ca.log()));
    let second = bed.run(async |obtainer| obtainer.obtain(VARIANT, ISSUER, KeyChoice::New).await);
    let second = second.unwrap_or_else(|error| panic!("{error}\n{}", ca.log()));
    assert_ne!(first.serial, second.serial);
    assert_eq!(bed.log.events(Level::Warn), []);
    bed.assert_clean();
    let kept = bed.store().load_certificate("example.test").unwrap().unwrap();
    assert_eq!(kept.facts.traits.names, ["*.example.test", "example.test"]);
    X509::from_pem(second.pem.fullchain.as_bytes()).unwrap().to_der().unwrap()
}

#[test]
fn caddys_acme_server_issues_renews_and_revokes() {
    let (bed, ca) = bed_of(ForeignCa::caddy);
    let leaf = obtain_and_renew(&bed, &ca);
    bed.run(async |obtainer| {
        obtainer
            .revoke(ISSUER, &leaf, Some(4))
            .await
            .unwrap_or_else(|e| panic!("{e}\n{}", ca.log()));
    });
}

/// Serles refuses what it does not offer for good, and the account goes on.
#[test]
fn serles_issues_and_renews_and_refuses_the_rest_for_good() {
    let (bed, ca) = bed_of(ForeignCa::serles);
    let leaf = obtain_and_renew(&bed, &ca);
    let check = |what: &str, result: Result<(), AcmeError>| {
        let error = result.unwrap_err();
        assert!(error.is_final(), "{what}: {error}\n{}", ca.log());
    };
    bed.run(async |obtainer| {
        check("revocation", obtainer.revoke(ISSUER, &leaf, None).await);
        check("key change", obtainer.change_key(ISSUER).await);
        obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap();
    });
}
