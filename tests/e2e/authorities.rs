//! Demands and offers of authorities: external accounts, account keys, chains, and a second one for
//! when the first one fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use openssl::base64::encode_block;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::X509;
use servers::acme_proxy::{AcmeProxy, AcmeStep};
use servers::bed::{issuer, write_secret};
use servers::pebble::PebbleOptions;
use servers::traffic::{Action, Fault};

use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

/// A secret of the site in a file of its own.
fn secret(site: &Site, name: &str, text: &str) -> PathBuf {
    let path = site.bed.dir().join(name);
    write_secret(&path, text);
    path
}

/// An issuer of this name behind another proxy.
fn other_issuer(name: &str, proxy: &AcmeProxy) -> String {
    issuer(name, &proxy.directory_url(), proxy.ca_file(), "")
}

#[test]
fn an_external_account_is_bound() {
    let mac_key = encode_block(b"a MAC key of more than 32 bytes is here");
    let url_safe = mac_key.replace('+', "-").replace('/', "_").replace('=', "");
    let eab = BTreeMap::from([("kid-1".to_owned(), url_safe.clone())]);
    let mut site = Site::with(|options| PebbleOptions { eab, ..options });
    let file = secret(&site, "mac", &url_safe);
    site.issuer = format!("external_account kid-1 {};", file.display());
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let accounts = site.proxy.traffic.requests(&AcmeStep::NewAccount.requests());
    assert!(accounts[0].jws_payload()["externalAccountBinding"].is_object());
    assert!(!site.nginx.log().contains(&url_safe), "the key is in the log");
}

#[test]
fn an_account_key_from_a_file_is_used() {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("the curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let pem = key.private_key_to_pem_pkcs8().expect("PEM");
    let mut site = Site::new();
    let file = secret(&site, "account.pem", &String::from_utf8_lossy(&pem));
    site.issuer = format!("account_key {};", file.display());
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let account = fs::read_to_string(site.state().join("accounts/pebble/account.json"));
    let first = account.expect("the account is kept");
    // Another host with the same key has the same account.
    site.nginx.quit();
    fs::remove_dir_all(site.state()).expect("it is there");
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let account = fs::read_to_string(site.state().join("accounts/pebble/account.json"));
    assert_eq!(account.expect("the account is kept"), first);
}

#[test]
fn the_preferred_chain_is_served() {
    let mut site = Site::with(|options| PebbleOptions { alternate_roots: 2, ..options });
    let roots: Vec<String> = (0..3).map(|n| site.bed.pebble.root_pem(n)).collect();
    let name = |pem: &String| {
        let root = X509::from_pem(pem.as_bytes()).expect("a root");
        let entry = root.subject_name().entries_by_nid(Nid::COMMONNAME).next();
        entry.expect("it has a name").data().to_string().expect("it is text")
    };
    site.issuer = format!("preferred_chain \"{}\";", name(&roots[2]));
    site.set_servers(&[NAME]);
    site.start_nginx();
    let line = site.nginx.wait_for_log("\" issued by \"", LIMIT);
    assert!(line.contains(NAME), "{line}");
    let trusts = |site: &Site, n: usize| site.client(NAME).roots(&roots[n]).handshake().is_ok();
    assert_eq!([0, 1, 2].map(|n| trusts(&site, n)), [false, false, true]);
    assert_eq!(site.lines("warn", 0), [""; 0]);
    // One that is not offered is done without, with a warning.
    site.issuer = "preferred_chain \"No such root\";".to_owned();
    site.set_servers(&["www.example.test"]);
    site.reload();
    site.wait_for_certificate("www.example.test");
    let [warning] = site.lines("warn", 0).try_into().expect("one warning");
    assert!(warning.contains("no chain to \"No such root\""), "{warning}");
}

#[test]
fn the_second_authority_issues_when_the_first_one_cannot() {
    let mut site = Site::new();
    let backup = site.bed.acme_proxy();
    site.http = other_issuer("backup", &backup);
    site.add_server(NAME, "on issuer=pebble,backup");
    let refused = Action::Problem {
        status: 403,
        kind: "rejectedIdentifier".into(),
        detail: "not here".into(),
        retry_after: None,
    };
    site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), refused).always());
    site.start_nginx();
    let first = site.wait_for_certificate(NAME).leaf;
    assert_eq!(backup.traffic.count(&AcmeStep::NewOrder.requests()), 1);
    let line = site.nginx.wait_for_log("was not obtained from \"pebble\"", LIMIT);
    assert!(line.contains("[error]") && line.contains("not here"), "{line}");
    // It is not replaced only because the first one works again.
    site.proxy.traffic.clear_faults();
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
    assert_eq!(site.served(NAME), first);
    // The next renewal begins with the first.
    fs::write(site.state().join("actions").join(format!("renew-{NAME}")), "").expect("written");
    site.proxy.traffic.clear_log();
    site.reload();
    site.wait_for_other(NAME, &first.serial);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
    assert_eq!(backup.traffic.count(&AcmeStep::NewOrder.requests()), 1);
}

#[test]
fn after_a_failed_validation_the_staging_environment_comes_first() {
    let mut site = Site::new();
    let staging = site.bed.acme_proxy();
    site.issuer = format!("staging {};", staging.directory_url());
    // Both proxies have certificates of their own; one file holds the authorities of both.
    let both = [site.proxy.ca_file(), staging.ca_file()]
        .map(|path| fs::read_to_string(path).expect("an authority"));
    let file = site.bed.dir().join("both.pem");
    fs::write(&file, both.concat()).expect("it is written");
    site.trusted_certificate = Some(file);
    site.propagation = "acme_dns_propagation off delay=0;".to_owned();
    site.bed.cloudflare.pause_propagation();
    let placing = staging.traffic.hold(AcmeStep::NewOrder.requests());
    site.set_servers(&[NAME]);
    site.start_nginx();
    // It has cost an order: the next attempt is minutes away, but for a person.
    let line = site.nginx.wait_for_log("was not obtained", LIMIT);
    assert!(
        line.contains(" with the staging environment of \"pebble\", or at once after a reload: "),
        "{line}"
    );
    site.reload();
    placing.wait(LIMIT);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1, "one has failed");
    site.bed.cloudflare.resume_propagation();
    placing.release();
    site.nginx.wait_for_log("validation succeeded in the CA's staging environment", LIMIT);
    let served = site.wait_for_certificate(NAME).leaf;
    assert_eq!(site.check_files(NAME), served);
    assert_eq!(staging.traffic.count(&AcmeStep::Finalize.requests()), 0, "it was a test only");
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 2);
    site.wait_until_clean();
}
