//! The methods of `challenge`: which one is used, and the records that it needs.

use super::delegation::created;
use super::hostile::change;
use super::support::{Bed, ISSUER};
use acme_dns_core::challenge::{account_label, account_record_name};
use acme_dns_core::config::ChallengeMethod::{self, Dns01, DnsAccount01};
use acme_dns_core::level::Level;
use openssl::sha::sha256;
use serde_json::Value;
use servers::acme_proxy::AcmeStep;
use servers::traffic::Fault;

/// A bed whose issuer proves names by these methods.
pub(super) fn bed(methods: &[ChallengeMethod]) -> Bed {
    let mut bed = Bed::start();
    bed.config.issuers[ISSUER].challenges = methods.to_vec();
    bed
}

/// Has the CA offer no challenges of these types.
pub(super) fn hide(bed: &Bed, hidden: &'static [&'static str]) {
    let hide = change(|json| {
        if let Some(challenges) = json["challenges"].as_array_mut() {
            let is_hidden = |kind: &Value| hidden.iter().any(|hidden| kind == hidden);
            challenges.retain(|challenge| !is_hidden(&challenge["type"]));
        }
    });
    bed.proxy.traffic.inject(Fault::new(AcmeStep::Authorization.requests(), hide).always());
}

#[test]
fn dns_account_01_has_a_name_of_the_accounts_own() {
    let bed = bed(&[DnsAccount01]);
    bed.obtain().unwrap();
    let label = account_label(&sha256(bed.account().unwrap().as_bytes()));
    assert_eq!(created(&bed), [account_record_name(&label, "example.test")]);
    bed.assert_clean();
    assert_eq!(bed.log.events(Level::Warn), []);
}

#[test]
fn an_alias_of_the_accounts_own_name_is_followed_and_that_of_others_is_not() {
    let bed = bed(&[DnsAccount01]);
    bed.testbed.cloudflare.add_zone(&bed.testbed.dns, "acme.test");
    bed.testbed.dns.set_cname("_acme-challenge.www.example.test", "nowhere.test");
    let account = bed.account().unwrap();
    let own = account_record_name(&account_label(&sha256(account.as_bytes())), "example.test");
    bed.testbed.dns.set_cname(&own, "shop.acme.test");
    bed.obtain().unwrap();
    assert_eq!(created(&bed), ["shop.acme.test"]);
    bed.assert_clean();
}

#[test]
fn the_next_method_is_used_where_the_ca_does_not_offer_the_preferred_one() {
    let bed = bed(&[DnsAccount01, Dns01]);
    hide(&bed, &["dns-account-01"]);
    bed.obtain().unwrap();
    assert_eq!(created(&bed), ["_acme-challenge.example.test"]);
    bed.assert_clean();
}

#[test]
fn where_the_ca_offers_none_of_the_methods_both_lists_are_told() {
    let bed = bed(&[DnsAccount01, Dns01]);
    hide(&bed, &["dns-account-01", "dns-01"]);
    let error = bed.obtain_error();
    let text = error.to_string();
    let start = "the CA offers no dns-account-01 or dns-01 challenge for \"";
    assert!(text.starts_with(start) && text.contains(", only "), "{text}");
    assert!(error.is_permanent());
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::Challenge.requests()), 0);
    assert_eq!(created(&bed), [""; 0]);
}
