//! Certificates by DNS providers other than Cloudflare, each with the server itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use servers::acme_dns::AcmeDns;
use servers::bed::write_secret;
use servers::duckdns::{DuckDns, TOKEN};
use servers::httpreq::{HttpReq, PASSWORD, USER};
use servers::knot::Knot;
use servers::moto::Moto;
use servers::paths::providers_program;
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::powerdns::{API_KEY, PowerDns};
use servers::process::wait_until;
use servers::tsig::TsigKey;

use crate::site::{LIMIT, SERVICE, Site};

const FOREIGN: [&str; 1] = ["\"somebody else's\""];

fn with_powerdns(key: &str) -> Site {
    let mut site = Site::new();
    let key_file = site.bed.dir().join("api_key");
    write_secret(&key_file, key);
    site.provider = Some(format!(
        "acme_dns_provider powerdns {{ api {}; api_key_file {}; }}\n",
        site.bed.dns.api_url(),
        key_file.display()
    ));
    site
}

#[test]
fn powerdns_proves_apex_and_wildcard_and_keeps_what_is_foreign() {
    let mut site = with_powerdns(API_KEY);
    site.bed.dns.set_rrset("_acme-challenge.example.test", "TXT", &FOREIGN);
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    let is_clean = || site.bed.dns.txt_records("_acme-challenge.example.test").len() == 1;
    wait_until(LIMIT, || is_clean().then_some(())).expect("ours are gone");
    let left = site.bed.dns.txt_records("_acme-challenge.example.test");
    assert!(left.iter().all(|value| value.contains("somebody else's")), "{left:?}");
    assert_eq!(site.bed.cloudflare.traffic.requests(&servers::traffic::Match::any()).len(), 0);
}

#[test]
fn powerdns_that_refuses_the_key_is_reported_without_it() {
    const WRONG: &str = "wrong-0123456789";
    let mut site = with_powerdns(WRONG);
    site.set_servers(&["example.test"]);
    site.start_nginx();
    let line = site.nginx.wait_for_log("check that \"api_key_file\"", LIMIT);
    assert!(line.contains("[error]") && line.contains("401"), "{line}");
    assert!(!site.nginx.log().contains(WRONG));
}

#[test]
fn updates_prove_apex_and_wildcard_and_keep_what_is_foreign() {
    let dir = tempfile::tempdir().expect("a directory");
    // nginx's workers and helper run as another user when the tests run as root.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a mode");
    let (key, port) = (TsigKey::new("update.example.test", "hmac-sha256"), Port::reserve());
    let records = "ns1 A 127.0.0.1\n_acme-challenge TXT \"somebody else's\"";
    let knot_dir = dir.path().join("knot");
    let knot = Knot::start_with_keys(&knot_dir, port.addr(), "example.test", records, &[&key], &[]);
    // Knot is all the DNS that there is.
    let mut site = Site::with(|options| PebbleOptions { dns: port.addr(), ..options });
    site.propagation = format!(
        "acme_dns_propagation timeout=30s interval=200ms resolvers={} port={};\n",
        port.addr(),
        port.number()
    );
    let key_file = dir.path().join("key");
    write_secret(&key_file, &key.secret);
    site.provider = Some(format!(
        "acme_dns_provider primary nsupdate {{ server {}; key_name {}; key_file {}; }}\n",
        port.addr(),
        key.name,
        key_file.display()
    ));
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    wait_until(LIMIT, || (knot.all_txt().len() == 1).then_some(()))
        .unwrap_or_else(|| panic!("{:?} is left:\n{}", knot.all_txt(), site.nginx.log()));
    assert!(knot.all_txt()[0].contains("somebody else's"), "{:?}", knot.all_txt());
    let log = site.nginx.log();
    assert!(!log.contains(&key.secret) && !log.contains("[error]"), "{log}");
}

#[test]
fn httpreq_proves_apex_and_wildcard_by_a_server_of_the_users() {
    let mut site = Site::new();
    let stand_in = HttpReq::start(&site.bed.dns, servers::ZONE);
    let password_file = site.bed.dir().join("password");
    write_secret(&password_file, PASSWORD);
    let (endpoint, password_file) = (stand_in.endpoint(), password_file.display());
    site.provider = Some(format!(
        "acme_dns_provider httpreq {{ endpoint {endpoint}; username {USER}; password_file {password_file}; }}\n"
    ));
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    let is_clean = || site.bed.dns.txt_records("_acme-challenge.example.test").is_empty();
    wait_until(LIMIT, || is_clean().then_some(())).expect("both are gone");
    assert_eq!(stand_in.traffic.log().len(), 4);
    assert!(!site.nginx.log().contains(PASSWORD));
}

#[test]
fn duckdns_proves_a_name_and_keeps_its_token_to_itself() {
    let mut site = Site::new();
    let stand_in = DuckDns::start(&site.bed.dns);
    let token_file = site.bed.dir().join("duckdns_token");
    write_secret(&token_file, TOKEN);
    let (api, token_file) = (stand_in.api_url(), token_file.display());
    site.provider =
        Some(format!("acme_dns_provider duckdns {{ api {api}; token_file {token_file}; }}\n"));
    site.set_servers(&["x.testbed.duckdns.org"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("x.testbed.duckdns.org").leaf.sans.len(), 1);
    let is_clean = || site.bed.dns.txt_records("testbed.duckdns.org").is_empty();
    wait_until(LIMIT, || is_clean().then_some(())).expect("it is gone");
    assert!(!site.nginx.log().contains(TOKEN));
}

#[test]
fn acme_dns_proves_apex_and_wildcard_with_a_document_of_accounts() {
    let mut site = Site::new();
    let stand_in = AcmeDns::start(&site.bed.dns);
    let account = stand_in.register();
    let file = site.bed.dir().join("accounts.json");
    let servers::acme_dns::Account { username, password, subdomain } = &account;
    write_secret(
        &file,
        &format!(
            "{{\"example.test\": {{\"username\": \"{username}\", \"password\": \"{password}\", \
             \"subdomain\": \"{subdomain}\"}}}}"
        ),
    );
    let (api, file) = (stand_in.api_url(), file.display());
    site.provider =
        Some(format!("acme_dns_provider acme-dns {{ api {api}; account_file {file}; }}\n"));
    let target = format!("{subdomain}.{}", servers::acme_dns::ZONE);
    site.bed.dns.set_cname("_acme-challenge.example.test", &target);
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    assert_eq!(site.wait_for_certificate("example.test").leaf.sans.len(), 2);
    assert!(!site.nginx.log().contains(password));
}

/// A hook of dehydrated's kind, which changes PowerDNS by its API, and says too much.
const HOOK: &str = r#"#!/bin/sh
echo "hook of $(id -u), key is $KEY"
grep ^NoNewPrivs /proc/self/status
echo descriptors: $(ls /proc/self/fd)
case $1 in
deploy_challenge) change='"REPLACE","ttl":60,"records":[{"content":"\"'$4'\"","disabled":false}]' ;;
clean_challenge) change='"DELETE"' ;;
esac
curl --silent --show-error --fail -X PATCH -H "X-API-Key: $KEY" "$API/api/v1/servers/localhost/zones/example.test." \
    --data '{"rrsets":[{"name":"_acme-challenge.'$2'.","type":"TXT","changetype":'"$change"'}]}'
"#;

/// A site whose provider is a script.
fn with_hook(script: &str) -> Site {
    let mut site = Site::new();
    let (hook, key_file) = (site.nginx.dir().join("hook.sh"), site.bed.dir().join("api_key"));
    fs::write(&hook, script).expect("it can be written");
    fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("a mode");
    write_secret(&key_file, API_KEY);
    site.provider = Some(format!(
        "acme_dns_provider own exec {{ command {}; env API {}; secret KEY {}; }}\n",
        hook.display(),
        site.bed.dns.api_url(),
        key_file.display()
    ));
    site.set_servers(&["example.test"]);
    site
}

#[test]
fn a_hook_proves_a_name_and_its_secret_is_not_logged() {
    let mut site = with_hook(HOOK);
    site.start_nginx();
    site.wait_for_certificate("example.test");
    let is_clean = || site.bed.dns.txt_records("_acme-challenge.example.test").is_empty();
    wait_until(LIMIT, || is_clean().then_some(())).expect("the record is removed");
    site.wait_until_clean();
    let log = site.nginx.log();
    let says = "acme_dns: program of provider \"own\" says: ";
    for line in [
        &*format!("hook of {SERVICE}, key is ***"),
        "NoNewPrivs: 1",
        // The last is that of the directory.
        "descriptors: 0 1 2 3",
    ] {
        assert!(log.contains(&format!("{says}{line}")), "{line}: {log}");
    }
    assert!(!log.contains(API_KEY) && !log.contains("unknown process"), "{log}");
    let homes = site.state().join("programs");
    assert!(fs::read_dir(homes).is_ok_and(|mut homes| homes.next().is_none()));
}

#[test]
fn no_signal_is_blocked_or_ignored_in_a_program() {
    let mut site = Site::new();
    // Not a script: a shell unblocks them itself.
    let command = "command /usr/bin/grep -h ^Sig /proc/self/status";
    site.provider = Some(format!("acme_dns_provider own exec {{ protocol lego; {command}; }}\n"));
    site.set_servers(&["example.test"]);
    site.start_nginx();
    for set in ["SigBlk: ", "SigIgn: "] {
        let line = site.nginx.wait_for_log(set, LIMIT);
        let (_, digits) = line.split_once(set).expect("it is there");
        let signals = u64::from_str_radix(digits.trim(), 16).expect("a set of signals");
        // From 32 on they are the C library's.
        assert_eq!(signals & 0x7fff_ffff, 0, "{line}");
    }
}

#[test]
fn no_hook_outlives_its_service() {
    // It writes its number into its home directory, whose place is known.
    let mut site = with_hook("#!/bin/sh\necho $$ > $HOME/pid\nwhile :; do sleep 1; done\n");
    site.start_nginx();
    let file = site.state().join("programs/1/pid");
    let started =
        || wait_until(LIMIT, || fs::read_to_string(&file).ok().filter(|pid| pid.ends_with('\n')));
    let pid = started().expect("a hook runs");
    let is_gone = |pid: &str| !Path::new("/proc").join(pid.trim()).exists();
    assert!(!is_gone(&pid));
    let helper = site.nginx.wait_for_helper();
    let killed = std::process::Command::new("kill").args(["-9", &helper.to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    wait_until(LIMIT, || is_gone(&pid).then_some(())).expect("the hook is gone");
    site.wait_for_other_helper(&[helper]);
    // The next service removes what is left, and is stopped in good order with its hook.
    let other = || started().filter(|other| *other != pid);
    let other = wait_until(LIMIT, other).expect("another hook runs");
    site.nginx.quit();
    wait_until(LIMIT, || is_gone(&other).then_some(())).expect("the other is gone");
}

/// moto serves no DNS: what it has at a name is copied to the server that Pebble asks.
fn mirror(moto: &Moto, zone: &str, dns: &PowerDns, is_done: &AtomicBool) {
    const NAME: &str = "_acme-challenge.example.test";
    let mut copied = Vec::new();
    while !is_done.load(Ordering::Relaxed) {
        let values = moto.txt(zone, NAME);
        if values != copied {
            let contents: Vec<&str> = values.iter().map(String::as_str).collect();
            dns.set_rrset(NAME, "TXT", &contents);
            copied = values;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn route_53_proves_apex_and_wildcard_by_the_program_of_the_library() {
    let mut site = Site::new();
    let moto = Moto::server(site.bed.dir());
    let zone = moto.create_zone("example.test");
    moto.set_txt(&zone, "_acme-challenge.example.test", &["somebody else's"]);
    let key_file = site.bed.dir().join("aws_key");
    write_secret(&key_file, "s3cr/t+key");
    site.provider = Some(format!(
        "acme_dns_provider aws route53 {{ access_key_id AKIDEXAMPLE; secret_access_key_file {}; \
         hosted_zone_id {zone}; endpoint http://{}; }}\n",
        key_file.display(),
        moto.addr()
    ));
    site.nginx.main(format!("acme_dns_providers {};\n", providers_program().display()));
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    let (is_done, client) = (AtomicBool::new(false), site.trusting("example.test"));
    let dns = &site.bed.dns;
    thread::scope(|scope| {
        scope.spawn(|| mirror(&moto, &zone, dns, &is_done));
        let sans = wait_until(LIMIT, || client.handshake().ok().map(|chain| chain.leaf.sans.len()));
        let left = || moto.txt(&zone, "_acme-challenge.example.test");
        let clean = wait_until(LIMIT, || (left() == ["\"somebody else's\""]).then_some(()));
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(sans, Some(2), "{}", site.nginx.log());
        clean.unwrap_or_else(|| panic!("{:?}", left()));
    });
    assert!(!site.nginx.log().contains("s3cr/t"));
}
