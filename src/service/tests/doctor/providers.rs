//! Credentials and servers of providers.

use crate::bed::{Bed, NAME, PROVIDER, ZONE};
use acme_dns_core::config::{
    CommandLine, DnsServer, ExecProtocol, ExecSettings, HttpReqSettings, HttpReqUser, ProviderKind,
    Rfc2136Settings, SecretId, TsigAlgorithm,
};
use secrecy::SecretString;
use servers::bind::Bind;
use servers::cloudflare::Token;
use servers::httpreq::{HttpReq, PASSWORD, USER};
use servers::knot::Knot;
use servers::ports::Port;
use servers::traffic::{Action, Fault, Match};
use servers::tsig::TsigKey;
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn tokens_that_do_not_do() {
    let mut bed = Bed::with_cloudflare();
    let token = |bed: &mut Bed, token: Token, value: &str| {
        bed.testbed.cloudflare.add_token(token);
        bed.secrets[1] = SecretString::from(value.to_owned());
    };
    let (reading, other) = ("reading-token-0123456789", "another-token-0123456789");
    token(&mut bed, Token::new(reading).read_only(), reading);
    bed.expect("read only", "all", "C02", "may not change records of zone \"example.test\"");
    bed.testbed.cloudflare.add_zone(&bed.testbed.dns, "other.test");
    token(&mut bed, Token::new(other).zones(&["other.test"]), other);
    bed.expect("other zones", "all", "C03", "see no zone for \"_acme-challenge.example.test\"");
    bed.testbed.cloudflare.revoke_token(other);
    bed.expect("revoked", "all", "C01", "provider \"pdns\" refuses the credentials: ");
    let findings = bed.findings("all");
    assert!(findings.iter().all(|f| !f.observed.contains(other)), "{findings:#?}");
}

#[test]
fn an_address_that_a_provider_does_not_take() {
    let bed = Bed::with_cloudflare();
    let refusal = Action::Error {
        status: 403,
        code: 9109,
        message: "Cannot use the access token from location: 192.0.2.1".into(),
    };
    bed.testbed.cloudflare.traffic.inject(Fault::new(Match::any(), refusal).always());
    bed.expect_words(
        "all",
        "C08",
        "provider \"pdns\" does not take requests from this host's address: 9109 \"Cannot use the access token from \
         location: 192.0.2.1\", HTTP status 403; check that the token is valid, allowed from this address, and has \
         Zone/DNS/Edit and Zone/Zone/Read (or set \"zone_id\")",
        "allow the address at the provider",
    );
}

#[test]
fn a_time_to_live_that_is_too_short() {
    let mut bed = Bed::with_cloudflare();
    let ProviderKind::Cloudflare(settings) = &mut bed.config.providers[PROVIDER].kind else {
        panic!("Cloudflare")
    };
    settings.ttl = 30;
    bed.expect_words(
        "all",
        "C09",
        "provider \"pdns\" refuses the time to live: 9021 \"Invalid TTL. Must be between 60 and 86400 seconds, or 1 \
         for Automatic.\", HTTP status 400; check \"ttl\"",
        "set \"ttl\" in block \"pdns\" to what the provider allows",
    );
}

#[test]
fn a_record_that_is_stored_with_the_zones_name_twice() {
    let mut bed = Bed::start();
    let stand_in = HttpReq::start_doubling(&bed.testbed.dns, ZONE);
    bed.secrets[0] = SecretString::from(PASSWORD);
    bed.config.providers[PROVIDER].kind = ProviderKind::HttpReq(HttpReqSettings {
        endpoint: stand_in.endpoint(),
        user: Some(HttpReqUser { name: USER.into(), password: SecretId(0) }),
        trusted_certificate: None,
    });
    let findings = bed.findings("all");
    let [finding] = &findings[..] else { panic!("{findings:#?}") };
    let name =
        finding.observed.strip_prefix("the test record was stored as \"_acme-challenge-test-");
    let name = name.unwrap_or_else(|| panic!("{finding:?}"));
    assert_eq!(&name[8..], ".example.test.example.test\"");
    let remedy = "report it: the provider puts the zone's name behind a name that has it";
    assert_eq!((finding.id, &*finding.remedy), ("D14", remedy));
    assert_eq!(bed.testbed.dns.all_txt(), []);
}

#[test]
fn an_api_that_is_not_there() {
    let mut bed = Bed::start();
    let ProviderKind::PowerDns(settings) = &mut bed.config.providers[PROVIDER].kind else {
        panic!("PowerDNS")
    };
    settings.api = "http://127.0.0.1:9".into();
    bed.expect("closed", "all", "C06", "cannot connect (127.0.0.1:9)");
    let ProviderKind::PowerDns(settings) = &mut bed.config.providers[PROVIDER].kind else {
        panic!("PowerDNS")
    };
    settings.api = format!("https://{}", bed.testbed.pebble.addr());
    bed.expect("private CA", "all", "C07", "certificate verify failed");
}

fn updates(server: SocketAddr, key_name: &str) -> ProviderKind {
    ProviderKind::Rfc2136(Rfc2136Settings {
        server: DnsServer::parse(&server.to_string()).unwrap(),
        key_name: key_name.into(),
        key: SecretId(0),
        algorithm: TsigAlgorithm::Sha256,
        tcp: false,
        ttl: 60,
    })
}

#[test]
fn keys_of_updates() {
    let mut bed = Bed::start();
    let key = TsigKey::new("update.example.test", "hmac-sha256");
    let other = TsigKey::new("other.example.test", "hmac-sha256");
    let dir = bed.testbed.dir().join("bind");
    let bind = Bind::start(&dir, ZONE, "ns1 A 127.0.0.1", &[&key], &[&other]);
    bed.ask(bind.addr(), bind.addr().port());
    let mut with = |name: &str, secret: &str| {
        bed.secrets[0] = SecretString::from(secret.to_owned());
        bed.config.providers[PROVIDER].kind = updates(bind.addr(), name);
        bed.findings("all")
    };
    assert_eq!(with(&key.name, &key.secret), []);
    for (row, name, secret, id) in [
        ("secret", &*key.name, &*other.secret, "R01"),
        ("name", "unknown.example.test", &*key.secret, "R02"),
        ("rights", &*other.name, &*other.secret, "R04"),
    ] {
        let findings = with(name, secret);
        assert_eq!(findings.iter().map(|f| f.id).collect::<Vec<_>>(), [id], "{row}: {findings:#?}");
        assert!(!findings[0].observed.contains(secret), "{findings:#?}");
    }
}

#[test]
fn a_server_whose_clock_is_another() {
    let mut bed = Bed::start();
    let key = TsigKey::new("update.example.test", "hmac-sha256");
    let (dir, port) = (bed.testbed.dir().join("knot"), Port::reserve());
    let (addr, records) = (port.addr(), "ns1 A 127.0.0.1");
    let _knot = Knot::start_ahead(900 * SECOND, &dir, addr, ZONE, records, &[&key], &[]);
    bed.ask(addr, addr.port());
    bed.secrets[0] = SecretString::from(key.secret.as_str());
    bed.config.providers[PROVIDER].kind = updates(addr, &key.name);
    let before = "the server of provider \"pdns\" refuses the time of signatures: \"BADTIME\"; this host's clock is ";
    let behind = format!(" s behind that of server \"{addr}\": set both by NTP");
    bed.expect_seconds("all", "R03", (before, &behind), 900, "have both clocks set by NTP");
}

#[test]
fn a_program_that_fails() {
    let mut bed = Bed::start();
    let command = CommandLine { program: "/bin/false".into(), arguments: Vec::new() };
    bed.config.providers[PROVIDER].kind = ProviderKind::Exec(ExecSettings {
        protocol: ExecProtocol::Lego { command },
        removes_by_name: false,
        timeout: Duration::from_secs(10),
        variables: Vec::new(),
        secrets: Vec::new(),
    });
    bed.expect("false", "all", "X01", "the program of provider \"pdns\" fails");
    assert!(bed.testbed.dns.txt_records(NAME).is_empty());
}
