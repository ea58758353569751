//! The `acme_dns_provider` block of each type.

use super::super::provider::{ProviderReader, document};
use super::super::{
    AcmeDnsCredentials, CloudflareCredentials, CloudflareSettings, DnsServer, HttpReqUser,
    Provider, ProviderKind, RequestLimit, Rfc2136Settings, SecretId, SecretSource, TsigAlgorithm,
};
use super::{Block, Fake};
use std::time::Duration;

pub(super) fn read_provider(
    name: &str,
    kind: Option<&str>,
    block: Block<'_>,
) -> Result<Provider, String> {
    read_provider_with(&mut Fake::default(), name, kind, block)
}

pub(super) fn read_provider_with(
    fake: &mut Fake,
    name: &str,
    kind: Option<&str>,
    block: Block<'_>,
) -> Result<Provider, String> {
    let mut reader = ProviderReader::new(name, kind)?;
    for line in block {
        reader.set(line[0], &line[1..], fake)?;
    }
    reader.finish()
}

#[test]
fn acme_dns_has_accounts_or_one_account() {
    let api: &[&str] = &["api", "https://auth.test/"];
    let of = |block: Block<'_>| {
        let block = [&[api], block].concat();
        read_provider("acme-dns", None, &block).map(|provider| match provider.kind {
            ProviderKind::AcmeDns(settings) => (settings.api, settings.credentials),
            other => panic!("{other:?}"),
        })
    };
    let (username, password, subdomain): (&[&str], &[&str], &[&str]) =
        (&["username", "u"], &["password_file", "p"], &["subdomain", "d-4"]);
    let document = AcmeDnsCredentials::Document(SecretId(0));
    assert_eq!(of(&[&["account_file", "a"]]), Ok(("https://auth.test".to_owned(), document)));
    let account = AcmeDnsCredentials::Account {
        username: "u".to_owned(),
        password: SecretId(0),
        subdomain: "d-4".to_owned(),
    };
    assert_eq!(of(&[username, password, subdomain]).unwrap().1, account);
    for (block, expected) in [
        (&[][..], "no \"account_file\" or \"account\" is defined for provider \"acme-dns\""),
        (&[username, password], "no \"subdomain\" is defined for provider \"acme-dns\""),
        (&[subdomain], "no \"username\" is defined for provider \"acme-dns\""),
        (
            &[subdomain, &["account", "env:A"]],
            "provider \"acme-dns\" has both \"account\" and \"subdomain\"",
        ),
        (
            &[&["subdomain", "d.auth.test"]],
            "invalid subdomain \"d.auth.test\" in \"subdomain\" directive",
        ),
    ] {
        assert_eq!(of(block).expect_err(expected), expected);
    }
}

#[test]
fn duckdns_needs_a_token() {
    let token: &[&str] = &["token", "env:T"];
    let provider = read_provider("duckdns", None, &[token]).unwrap();
    let ProviderKind::DuckDns(settings) = provider.kind else { panic!("{provider:?}") };
    assert_eq!(settings.api, "https://www.duckdns.org");
    let expected = "no \"token_file\" or \"token\" is defined for provider \"duckdns\"";
    assert_eq!(read_provider("duckdns", None, &[]).expect_err(expected), expected);
}

#[test]
fn httpreq_has_a_user_with_a_password_or_none() {
    let endpoint: &[&str] = &["endpoint", "https://dns.test/hook/"];
    let of = |block: Block<'_>| {
        let block = [&[endpoint], block].concat();
        read_provider("httpreq", None, &block).map(|provider| match provider.kind {
            ProviderKind::HttpReq(settings) => settings,
            other => panic!("{other:?}"),
        })
    };
    let (username, password): (&[&str], &[&str]) = (&["username", "u"], &["password", "env:P"]);
    let open = of(&[]).unwrap();
    assert_eq!((open.endpoint.as_str(), open.user), ("https://dns.test/hook", None));
    let user = HttpReqUser { name: "u".to_owned(), password: SecretId(0) };
    assert_eq!(of(&[username, password]).unwrap().user, Some(user));
    for (block, expected) in [
        (
            &[username][..],
            "no \"password_file\" or \"password\" is defined for provider \"httpreq\"",
        ),
        (&[password], "no \"username\" is defined for provider \"httpreq\""),
        (&[&["username", "a:b"]], "invalid user name \"a:b\" in \"username\" directive"),
    ] {
        assert_eq!(of(block).expect_err(expected), expected);
    }
    let missing = "no \"endpoint\" is defined for provider \"httpreq\"";
    assert_eq!(read_provider("httpreq", None, &[]).expect_err(missing), missing);
}

fn cloudflare(provider: Provider) -> CloudflareSettings {
    match provider.kind {
        ProviderKind::Cloudflare(cloudflare) => cloudflare,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_provider_takes_a_limit_of_requests() {
    let limit = |args: &[&str]| {
        let mut reader = ProviderReader::parse(args)?;
        reader.set("token", &["env:T"], &mut Fake::default())?;
        reader.finish().map(|provider| cloudflare(provider).requests)
    };
    let of = |number, seconds| RequestLimit { number, span: Duration::from_secs(seconds) };
    for (args, expected) in [
        (&["cloudflare"][..], Ok(None)),
        (&["cloudflare", "requests=1200/5m"], Ok(Some(of(1200, 300)))),
        (&["other", "cloudflare", "requests=4/1s"], Ok(Some(of(4, 1)))),
        (&["cloudflare", "cloudflare", "requests=1000000/1d"], Ok(Some(of(1_000_000, 86_400)))),
        (&["cloudflare", "requests=0/5m"], Err("requests=0/5m")),
        (&["cloudflare", "requests=12"], Err("requests=12")),
        (&["cloudflare", "requests=12/0"], Err("requests=12/0")),
        (&["cloudflare", "requests=12/2d"], Err("requests=12/2d")),
        (&["cloudflare", "requests=x/5m"], Err("requests=x/5m")),
        (&["cloudflare", "request=12/5m"], Err("request=12/5m")),
        (&["cloudflare", "requests=1/1m", "requests=2/1m"], Err("requests=2/1m")),
    ] {
        let expected = expected.map_err(|parameter| format!("invalid parameter \"{parameter}\""));
        assert_eq!(limit(args), expected, "{args:?}");
    }
}

#[test]
fn a_provider_has_defaults() {
    let mut fake = Fake::default();
    let block: Block<'_> = &[&["token_file", "token"]];
    let provider = read_provider_with(&mut fake, "cloudflare", None, block).expect("valid");
    assert_eq!(provider.name, "cloudflare");
    assert_eq!(fake.secrets, [SecretSource::File("token".to_owned())]);
    let cloudflare = cloudflare(provider);
    assert!(matches!(cloudflare.credentials, CloudflareCredentials::Token(SecretId(0))));
    assert_eq!(cloudflare.api, "https://api.cloudflare.com/client/v4");
    assert_eq!((cloudflare.ttl, cloudflare.zone_id), (60, None));
    assert_eq!(cloudflare.trusted_certificate, None);
}

#[test]
fn a_provider_has_what_its_block_says() {
    let mut fake = Fake::default();
    let block: Block<'_> = &[
        &["email", "me@example.test"],
        &["key", "env:CF_KEY"],
        &["zone_id", "023e105f4ecef8ad9ca31a8372d0c353"],
        &["ttl", "1"],
        &["api", "http://127.0.0.1:8080/client/v4/"],
        &["trusted_certificate", "ca.pem"],
    ];
    let provider = read_provider_with(&mut fake, "cf-2", Some("cloudflare"), block).expect("valid");
    assert_eq!(provider.name, "cf-2");
    assert_eq!(fake.secrets, [SecretSource::Environment("CF_KEY".to_owned())]);
    let cloudflare = cloudflare(provider);
    let CloudflareCredentials::Key { email, key } = cloudflare.credentials else {
        panic!("not a key");
    };
    assert_eq!((email.as_str(), key), ("me@example.test", SecretId(0)));
    assert_eq!(cloudflare.zone_id.as_deref(), Some("023e105f4ecef8ad9ca31a8372d0c353"));
    assert_eq!((cloudflare.ttl, cloudflare.api.as_str()), (1, "http://127.0.0.1:8080/client/v4"));
    assert_eq!(cloudflare.trusted_certificate.as_deref(), Some("ca.pem".as_bytes()));
}

#[test]
fn rfc2136_has_defaults_and_another_word() {
    let server: &[&str] = &["server", "[2001:db8::1]:5353"];
    let name: &[&str] = &["key_name", "Update.example.com."];
    let key: &[&str] = &["key", "env:K"];
    let provider = read_provider("nsupdate", None, &[server, name, key]).unwrap();
    assert_eq!(provider.secrets, [SecretId(0)]);
    let defaults = Rfc2136Settings {
        server: DnsServer { host: "2001:db8::1".to_owned(), port: 5353 },
        key_name: "update.example.com".to_owned(),
        key: SecretId(0),
        algorithm: TsigAlgorithm::Sha256,
        tcp: false,
        ttl: 60,
    };
    assert_eq!(provider.kind, ProviderKind::Rfc2136(defaults.clone()));
    let more: [&[&str]; 3] = [&["algorithm", "HMAC-SHA512."], &["tcp", "on"], &["ttl", "120"]];
    let block = [&[server, name, &["key_file", "/k"]][..], &more].concat();
    let provider = read_provider("p", Some("rfc2136"), &block).unwrap();
    let algorithm = TsigAlgorithm::Sha512;
    let settings = Rfc2136Settings { algorithm, tcp: true, ttl: 120, ..defaults };
    assert_eq!(provider.kind, ProviderKind::Rfc2136(settings));
}

#[test]
fn mistakes_in_rfc2136_are_told() {
    let server: &[&str] = &["server", "ns1.example.com"];
    let name: &[&str] = &["key_name", "update"];
    let key: &[&str] = &["key", "env:K"];
    let rows: [(Block<'_>, &str); 12] = [
        (&[], "no \"server\" is defined for provider \"p\""),
        (&[server, key], "no \"key_name\" is defined for provider \"p\""),
        (&[server, name], "no \"key_file\" or \"key\" is defined for provider \"p\""),
        (&[&["server", "ns1:0"]], "invalid address \"ns1:0\" in \"server\" directive"),
        (&[&["server", "a", "b"]], "invalid number of arguments in \"server\" directive"),
        (&[&["key_name", "a b"]], "invalid key name \"a b\" in \"key_name\" directive"),
        (&[&["key_name", "."]], "invalid key name \".\" in \"key_name\" directive"),
        (
            &[&["key", "c2VjcmV0"]],
            "\"key\" takes \"env:NAME\", a secret in a file is named by \"key_file\"",
        ),
        (
            &[&["algorithm", "hmac-md5"]],
            "invalid algorithm \"hmac-md5\" in \"algorithm\" directive",
        ),
        (
            &[&["tcp", "yes"]],
            "invalid value \"yes\" in \"tcp\" directive, it must be \"on\" or \"off\"",
        ),
        (&[&["ttl", "0"]], "invalid value \"0\" in \"ttl\" directive, it must be 1 to 86400"),
        (
            &[&["zone_id", "a"]],
            "\"zone_id\" is not a setting of type \"rfc2136\", which has \"server\", \"key_name\", \
             \"key_file\" or \"key\", \"algorithm\", \"tcp\", \"ttl\"",
        ),
    ];
    for (block, expected) in rows {
        assert_eq!(read_provider("p", Some("rfc2136"), block).expect_err(expected), expected);
    }
}

#[test]
fn powerdns_has_defaults_and_another_word() {
    let api: &[&str] = &["api", "http://127.0.0.1:8081/"];
    let key: &[&str] = &["api_key", "env:K"];
    let provider = read_provider("pdns", None, &[api, key]).unwrap();
    let ProviderKind::PowerDns(settings) = provider.kind else { panic!("{provider:?}") };
    assert_eq!(settings.api, "http://127.0.0.1:8081");
    assert_eq!((settings.server_id.as_str(), settings.ttl), ("localhost", 60));
    for (block, expected) in [
        (&[api][..], "no \"api_key_file\" or \"api_key\" is defined for provider \"p\""),
        (&[key], "no \"api\" is defined for provider \"p\""),
        (&[&["server_id", "a/b"]], "invalid server id \"a/b\" in \"server_id\" directive"),
    ] {
        assert_eq!(read_provider("p", Some("powerdns"), block).expect_err(expected), expected);
    }
}

#[test]
fn mistakes_in_a_provider_are_told() {
    const TOKEN: &[&str] = &["token_file", "token"];
    const EMAIL: &[&str] = &["email", "me@example.test"];
    const KEY: &[&str] = &["key_file", "key"];
    const TTL: &str = "in \"ttl\" directive, it must be 60 to 86400, or 1 for automatic";
    let rows: &[(Block<'_>, &str)] = &[
        (&[], "no \"token_file\" or \"token\" is defined for provider \"cloudflare\""),
        (&[KEY], "no \"email\" is defined for provider \"cloudflare\""),
        (&[EMAIL], "no \"key_file\" or \"key\" is defined for provider \"cloudflare\""),
        (&[TOKEN, KEY], "provider \"cloudflare\" has both \"token_file\" and \"key_file\""),
        (&[TOKEN, EMAIL], "provider \"cloudflare\" has both \"token_file\" and \"email\""),
        (&[TOKEN, TOKEN], "\"token_file\" directive is duplicate"),
        (&[TOKEN, &["token", "env:T"]], "\"token\" directive is duplicate"),
        (&[KEY, &["key", "env:K"]], "\"key\" directive is duplicate"),
        (&[EMAIL, EMAIL], "\"email\" directive is duplicate"),
        (&[&["token_file"]], "invalid number of arguments in \"token_file\" directive"),
        (&[&["token_file", "missing"]], "cannot read \"missing\""),
        (&[&["token", "env:missing"]], "cannot read \"missing\""),
        (
            &[&["token", "s3cret"]],
            "\"token\" takes \"env:NAME\", a secret in a file is named by \"token_file\"",
        ),
        (
            &[&["key", "env:"]],
            "\"key\" takes \"env:NAME\", a secret in a file is named by \"key_file\"",
        ),
        (&[&["email", "me"]], "invalid e-mail address \"me\" in \"email\" directive"),
        (&[&["zone_id", ""]], "invalid zone id \"\" in \"zone_id\" directive"),
        (&[&["zone_id", "a/b"]], "invalid zone id \"a/b\" in \"zone_id\" directive"),
        (&[&["zone_id", "a"], &["zone_id", "a"]], "\"zone_id\" directive is duplicate"),
        (&[&["ttl", "59"]], &format!("invalid value \"59\" {TTL}")),
        (&[&["ttl", "86401"]], &format!("invalid value \"86401\" {TTL}")),
        (&[&["ttl", "1h"]], &format!("invalid value \"1h\" {TTL}")),
        (&[&["ttl", "60"], &["ttl", "60"]], "\"ttl\" directive is duplicate"),
        (
            &[&["api", "http://cf.test/"]],
            "invalid URL \"http://cf.test/\" in \"api\" directive: \
             only a loopback address can be used without TLS",
        ),
        (&[&["trusted_certificate", "missing"]], "cannot load \"missing\""),
        (&[&["tokens", "x"]], "unknown directive \"tokens\", did you mean \"token\"?"),
        (&[&["tokn_file", "x"]], "unknown directive \"tokn_file\", did you mean \"token_file\"?"),
        (&[&["zonse", "a.test"]], "unknown directive \"zonse\", did you mean \"zone\"?"),
        (&[&["colour", "blue"]], "unknown directive \"colour\""),
        (&[&["requests", "1/1m"]], "unknown directive \"requests\""),
        (&[&["CF_Token", "x"]], "\"CF_Token\" is called \"token_file\" or \"token\" here"),
        (
            &[&["CLOUDFLARE_DNS_API_TOKEN_FILE", "x"]],
            "\"CLOUDFLARE_DNS_API_TOKEN_FILE\" is called \"token_file\" or \"token\" here",
        ),
        (&[&["CF_API_EMAIL", "x"]], "\"CF_API_EMAIL\" is called \"email\" here"),
        (
            &[&["api_key_file", "x"]],
            "\"api_key_file\" is not a setting of type \"cloudflare\", which has \"token_file\" or \
             \"token\", \"email\", \"key_file\" or \"key\", \"zone_id\", \"ttl\", \"api\", \
             \"trusted_certificate\"",
        ),
    ];
    for (block, expected) in rows {
        let error = read_provider("cloudflare", None, block).expect_err(expected);
        assert_eq!(error, *expected, "{block:?}");
    }
    for (name, kind, expected) in [
        ("hetzer", None, "unknown provider type \"hetzer\", did you mean \"hetzner\"?"),
        (
            "cf",
            Some("Cloudflare"),
            "unknown provider type \"Cloudflare\", did you mean \"cloudflare\"?",
        ),
        (
            "cf",
            None,
            "unknown provider type \"cf\", the types are \"cloudflare\", \"rfc2136\", \"powerdns\", \
             \"acme-dns\", \"duckdns\", \"httpreq\", \"exec\" for hooks of other clients, and 66 more in \
             docs/providers.md",
        ),
        ("", Some("cloudflare"), "invalid provider name \"\""),
    ] {
        assert_eq!(read_provider(name, kind, &[]).expect_err(name), expected);
    }
}

#[test]
fn the_document_is_that_of_the_table() {
    let written = include_str!("../../../../docs/providers.md");
    assert!(document() == written, "`make providers` writes it:\n{}", document());
}
