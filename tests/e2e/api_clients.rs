//! Clients of Cloudflare's API that are not ours work with the stand-in.

use servers::Testbed;
use testbed::clients::cloudflare::{Account, ApiClient};

/// Adds two values at one name and removes them, one after the other, as for an apex and its wildcard.
fn work(client: ApiClient) {
    let bed = Testbed::start();
    let name = "_acme-challenge.example.test";
    let at = Account { cloudflare: &bed.cloudflare, token: bed.token(), zone: "example.test" };
    let must = |done: Result<(), String>| {
        done.unwrap_or_else(|e| panic!("{e}\n{}", bed.cloudflare.traffic.summary()));
    };
    let values = || {
        let mut values = bed.dns.txt_records(name);
        values.sort();
        values
    };
    must(client.add(&at, name, "apex-value"));
    must(client.add(&at, name, "wildcard-value"));
    assert_eq!(values(), ["apex-value", "wildcard-value"]);
    must(client.remove(&at, name, "apex-value"));
    assert_eq!(values(), ["wildcard-value"]);
    must(client.remove(&at, name, "wildcard-value"));
    assert_eq!(bed.cloudflare.txt_records(), []);
}

#[test]
fn acme_sh_works_with_the_stand_in() {
    work(ApiClient::AcmeSh);
}

#[test]
fn lexicon_works_with_the_stand_in() {
    work(ApiClient::Lexicon);
}

#[test]
fn octodns_works_with_the_stand_in() {
    work(ApiClient::OctoDns);
}

#[test]
fn the_official_library_finds_the_published_types() {
    work(ApiClient::Sdk);
}
