//! Credentials and servers of providers.

use crate::bed::{Bed, NAME, PROVIDER, ZONE};
use acme_dns_core::config::{
    CommandLine, DnsServer, ExecProtocol, ExecSettings, ProviderKind, Rfc2136Settings, SecretId,
    TsigAlgorithm,
};
use secrecy::SecretString;
use servers::bind::Bind;
use servers::cloudflare::Token;
use servers::tsig::TsigKey;
use std::time::Duration;

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
        bed.config.providers[PROVIDER].kind = ProviderKind::Rfc2136(Rfc2136Settings {
            server: DnsServer::parse(&bind.addr().to_string()).unwrap(),
            key_name: name.into(),
            key: SecretId(0),
            algorithm: TsigAlgorithm::Sha256,
            tcp: false,
            ttl: 60,
        });
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
