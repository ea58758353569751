//! Records of dns-persist-01, for a CA of its first drafts.

use crate::bed::{Bed, ISSUER, ZONE};
use acme_dns_core::config::ChallengeMethod;
use acme_dns_core::id::Table;
use acme_dns_service::store::{Account, Store};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use std::fs;

const RECORD: &str = "_validation-persist.example.test";
const ACCOUNT: &str = "https://127.0.0.1/acct/17";

/// A bed whose certificate needs records, and no provider; with an account on disk.
fn bed() -> Bed {
    let mut bed = Bed::start();
    bed.config.issuers[ISSUER].challenges = vec![ChallengeMethod::DnsPersist01];
    bed.config.providers = Table::default();
    fs::create_dir_all(&bed.config.state_path).unwrap();
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let account = Account {
        url: ACCOUNT.into(),
        directory: bed.config.issuers[ISSUER].directory.clone(),
        contacts: Vec::new(),
        taken_from: None,
        former_keys: Vec::new(),
        key: key.private_key_to_pkcs8().unwrap().into(),
    };
    let store = Store::open(&bed.config.state_path).unwrap();
    store.save_account(&bed.config.issuers[ISSUER].name, &account).unwrap();
    bed
}

#[test]
fn a_record_that_is_missing_or_wrong_is_said_with_the_right_one() {
    let bed = bed();
    let issuer = "pebble.letsencrypt.org";
    let good = format!("{issuer}; accounturi={ACCOUNT}; policy=wildcard");
    let needed = |words: &str| {
        let findings = bed.findings("all");
        let finding = findings.iter().find(|finding| finding.id == "P01");
        let finding = finding.unwrap_or_else(|| panic!("{words}: {findings:#?}"));
        assert!(finding.observed.contains(words), "{words}: {finding:?}");
        assert_eq!(finding.remedy, format!("set it to: {good}"), "{words}");
    };
    needed("it is not there");
    for (value, words) in [
        (format!("{issuer}; accounturi={ACCOUNT}"), "wildcard"),
        (format!("{issuer}; accounturi={ACCOUNT}; policy=wildcard; persistUntil=1"), "has ended"),
        (format!("{issuer}; accounturi=https://other.example/1; policy=wildcard"), "account"),
    ] {
        bed.testbed.dns.set_rrset(RECORD, "TXT", &[&format!("\"{value}\"")]);
        needed(words);
    }
    bed.testbed.dns.set_rrset(RECORD, "TXT", &[&format!("\"{good}\"")]);
    let findings = bed.findings("all");
    assert!(findings.iter().all(|finding| finding.id != "P01"), "{findings:#?}");
    // Neither a zone nor a provider of its own is asked for.
    assert!(findings.iter().all(|finding| !finding.id.starts_with('C')), "{findings:#?}");
    assert!(bed.testbed.dns.txt_records(&format!("_acme-challenge.{ZONE}")).is_empty());
}

#[test]
fn a_key_that_workers_can_read_is_said() {
    let mut bed = bed();
    bed.expect("one user for all", "all", "P03", "can be read by user \"www-data\"");
    bed.config.issuers[ISSUER].challenges = vec![ChallengeMethod::Dns01];
    let findings = bed.findings("all,nowrite");
    assert!(findings.iter().all(|finding| finding.id != "P03"), "{findings:#?}");
}
