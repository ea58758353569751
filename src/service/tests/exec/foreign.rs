//! Hooks of other projects, as they are, with PowerDNS: that of lexicon, and a script of acme.sh.

use crate::bed::{Bed, NAME, create, dehydrated, remove, settings, txt, with_env, with_secret};
use acme_dns_core::config::{ExecProtocol, ExecSettings};
use servers::package::{from_pypi, unpacked};
use servers::powerdns::{API_KEY, PowerDns};
use std::fs;

const OTHER: &str = "_acme-challenge.sub.example.com";

const FOREIGN: &str = "\"foreign\"";

fn server(bed: &Bed) -> PowerDns {
    let server = PowerDns::start(&bed.path("pdns"));
    server.create_zone("example.com");
    server.set_rrset(NAME, "TXT", &[FOREIGN]);
    server
}

/// Copies a file of a package, which may lie where others can write.
fn copy(bed: &Bed, from: &std::path::Path, name: &str) -> String {
    let text = fs::read_to_string(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    bed.script(name, "");
    fs::write(bed.path(name), text).unwrap();
    bed.path(name).display().to_string()
}

/// Creates and removes values with a provider, and sees that all else stays.
fn come_and_go(bed: &Bed, server: &PowerDns, settings: &ExecSettings, secrets: &[&str]) {
    let provider = bed.exec(settings, secrets);
    let records = [txt(NAME, "one"), txt(NAME, "two"), txt(OTHER, "three")];
    create(&provider, &records).unwrap();
    let values = |name: &str| {
        let mut values = server.txt_records(name);
        values.sort();
        values
    };
    assert_eq!((values(NAME).len(), values(OTHER).len()), (3, 1), "{:?}", bed.log());
    remove(&provider, &records[..1]).unwrap();
    assert_eq!(values(NAME).len(), 2, "{:?}", bed.log());
    remove(&provider, &records[1..]).unwrap();
    let left = values(NAME);
    assert!(left.len() == 1 && left[0].contains("foreign"), "{left:?}");
    assert_eq!(values(OTHER), Vec::<String>::new());
    assert!(bed.is_tidy());
}

fn lexicon(bed: &Bed, server: &PowerDns, is_chained: bool) -> ExecSettings {
    let package = unpacked("lexicon", "sid");
    let hook = package.join("usr/share/doc/lexicon/examples/dehydrated.default.sh");
    let programs = from_pypi("lexicon", &["dns-lexicon==3.21.1"]).join("bin");
    let settings = settings(dehydrated(&copy(bed, &hook, "lexicon"), is_chained));
    let settings = with_env(settings, "PATH", &format!("{}:/usr/bin:/bin", programs.display()));
    let settings = with_env(settings, "PROVIDER", "powerdns");
    let settings = with_env(settings, "PROVIDER_UPDATE_DELAY", "0");
    let settings = with_env(settings, "LEXICON_POWERDNS_PDNS_SERVER", &server.api_url());
    with_secret(settings, "LEXICON_POWERDNS_TOKEN")
}

#[test]
fn the_hook_of_lexicon_is_called_as_dehydrated_calls_it() {
    let bed = Bed::new();
    let server = server(&bed);
    for is_chained in [false, true] {
        come_and_go(&bed, &server, &lexicon(&bed, &server, is_chained), &[API_KEY]);
    }
    let wrong = "wrong-0123456789";
    let provider = bed.exec(&lexicon(&bed, &server, false), &[wrong]);
    let error = create(&provider, &[txt(NAME, "one")]).unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    assert!(!bed.log().join("\n").contains(wrong) && !error.contains(wrong), "{error}");
}

#[test]
fn a_script_of_acme_sh_runs_without_acme_sh_being_installed() {
    let bed = Bed::new();
    let server = server(&bed);
    let package = unpacked("acme.sh", "sid").join("usr/share/acme.sh");
    fs::create_dir(bed.path("dnsapi")).unwrap();
    for name in ["acme.sh", "dnsapi/dns_pdns.sh"] {
        copy(&bed, &package.join(name), name);
    }
    let home = bed.dir.path().display().to_string();
    let settings = settings(ExecProtocol::AcmeSh { home, hook: "dns_pdns".to_owned() });
    let settings = with_env(settings, "PDNS_Url", &server.api_url());
    let settings = with_env(settings, "PDNS_ServerId", "localhost");
    let settings = with_env(settings, "PDNS_Ttl", "60");
    let settings = with_secret(settings, "PDNS_Token");
    come_and_go(&bed, &server, &settings, &[API_KEY]);
    let provider = bed.exec(&settings, &["wrong-0123456789"]);
    let error = create(&provider, &[txt(NAME, "one")]).unwrap_err().to_string();
    assert!(error.contains("ended with status 1"), "{error}");
    assert!(!bed.log().join("\n").contains("wrong-0123456789"));
}
