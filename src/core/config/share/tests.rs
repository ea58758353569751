//! The block `acme_dns_share`.

use super::super::tests::{Block, Fake};
use super::super::{SecretId, SecretSource};
use super::{EncryptionKey, Sentinel, Share, ShareKind, ShareReader};
use secrecy::SecretString;

const KEY: &[&str] = &["encryption_key_file", "key"];

fn read(kind: &str, block: Block<'_>) -> Result<(Share, Fake), String> {
    let (mut reader, mut fake) = (ShareReader::new(kind)?, Fake::default());
    block.iter().try_for_each(|line| reader.set(line[0], &line[1..], &mut fake))?;
    Ok((reader.finish()?, fake))
}

fn refusal(kind: &str, block: Block<'_>) -> String {
    read(kind, block).expect_err("it is refused")
}

fn endpoints(share: &Share) -> Vec<String> {
    share.endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn etcd_has_servers_a_user_and_keys() {
    let block: Block<'_> = &[
        &["endpoint", "https://etcd1:2379", "https://[2001:db8::1]:2379/"],
        &["prefix", "/acme_dns/edge/"],
        &["username", "nginx"],
        &["password_file", "password"],
        &["certificate", "client.pem"],
        &["certificate_key", "client.key"],
        &["trusted_certificate", "ca.pem"],
        &["encryption_key_file", "new", "old"],
    ];
    let (share, fake) = read("etcd", block).unwrap();
    assert_eq!(endpoints(&share), ["https://etcd1:2379", "https://[2001:db8::1]:2379"]);
    assert_eq!(share.endpoints[1].bare_host(), "2001:db8::1");
    assert_eq!((share.kind.clone(), share.prefix.as_str()), (ShareKind::Etcd, "/acme_dns/edge"));
    assert_eq!((share.username.as_deref(), share.password), (Some("nginx"), Some(SecretId(0))));
    let certificate = share.client_certificate.clone().unwrap();
    assert_eq!(
        (certificate.certificate.as_slice(), certificate.key),
        (&b"client.pem"[..], SecretId(1))
    );
    assert_eq!(share.trusted_certificate.as_deref(), Some(&b"ca.pem"[..]));
    let file = |id: &SecretId| fake.secrets[id.0].clone();
    let keys: Vec<SecretSource> = share.encryption_keys.iter().map(file).collect();
    assert_eq!(keys, ["new", "old"].map(|name| SecretSource::File(name.to_owned())));
    assert_eq!(share.secrets().count(), 4);
}

#[test]
fn redis_has_a_server_or_sentinels() {
    let (share, fake) = read(
        "redis",
        &[
            &["endpoint", "redis://localhost"],
            &["password_file", "password"],
            &["database", "3"],
            &["encryption_key", "env:KEY"],
        ],
    )
    .unwrap();
    assert_eq!(endpoints(&share), ["redis://localhost:6379"]);
    assert_eq!(share.kind, ShareKind::Redis { database: 3, sentinel: None });
    assert_eq!((share.prefix.as_str(), share.username.as_deref()), ("acme_dns", None));
    assert_eq!(fake.secrets[1], SecretSource::Environment("KEY".to_owned()));

    let (share, _) = read(
        "redis",
        &[
            &["endpoint", "rediss://s1:26379", "rediss://s2:443"],
            &["sentinel_master", "main"],
            &["sentinel_password_file", "p"],
            KEY,
        ],
    )
    .unwrap();
    assert_eq!(endpoints(&share), ["rediss://s1:26379", "rediss://s2:443"]);
    let sentinel =
        Sentinel { master: "main".to_owned(), username: None, password: Some(SecretId(0)) };
    assert_eq!(share.kind, ShareKind::Redis { database: 0, sentinel: Some(sentinel) });
}

#[test]
fn a_type_that_there_is_not_is_refused() {
    for (typed, expected) in [
        ("etc", "unknown share type \"etc\", did you mean \"etcd\"?"),
        ("Redis", "unknown share type \"Redis\", did you mean \"redis\"?"),
        ("consul", "unknown share type \"consul\", the types are \"etcd\" and \"redis\""),
    ] {
        assert_eq!(ShareReader::new(typed).unwrap_err(), expected);
    }
}

#[test]
fn an_endpoint_is_a_host_and_a_port() {
    for (kind, text, why) in [
        ("etcd", "etcd1:2379", "it must begin with \"https://\" or \"http://\""),
        ("etcd", "redis://etcd1", "it must begin with \"https://\" or \"http://\""),
        ("redis", "https://r", "it must begin with \"rediss://\" or \"redis://\""),
        ("etcd", "https://", "empty host"),
        ("etcd", "https://etcd1:2379/v3", "it must be a host and a port alone"),
        ("redis", "redis://localhost/1", "it must be a host and a port alone"),
        ("etcd", "https://etcd1:99999", "invalid port number"),
        ("etcd", "https://et,cd", "it has no valid host"),
    ] {
        let expected = format!("invalid endpoint \"{text}\" in \"endpoint\" directive: {why}");
        assert_eq!(refusal(kind, &[&["endpoint", text]]), expected);
    }
    let secret = refusal("redis", &[&["endpoint", "redis://:s3cr3t@localhost"]]);
    assert_eq!(
        secret,
        "invalid endpoint \"***@localhost\" in \"endpoint\" directive: write \"username\" and \
         \"password_file\" instead"
    );
}

#[test]
fn mistakes_in_a_block_are_named() {
    const NEAR: &[&str] = &["endpoint", "http://127.0.0.1:2379"];
    const FAR: &[&str] = &["endpoint", "https://etcd1:2379"];
    const REDIS: &[&str] = &["endpoint", "redis://localhost"];
    let rows: &[(&str, Block<'_>, &str)] = &[
        ("etcd", &[KEY], "no \"endpoint\" is defined for \"acme_dns_share etcd\""),
        ("etcd", &[FAR], "no \"encryption_key_file\" or \"encryption_key\" is defined for"),
        ("etcd", &[&["encryption_key_file", "missing"]], "cannot read \"missing\""),
        (
            "etcd",
            &[&["encryption_key_file", "a"], KEY],
            "\"encryption_key_file\" directive is duplicate",
        ),
        ("etcd", &[&["encryption_key", "key"]], "\"encryption_key\" takes \"env:NAME\""),
        ("etcd", &[FAR, FAR], "\"endpoint\" directive is duplicate"),
        (
            "etcd",
            &[&["endpoint", "https://a", "https://a:443"]],
            "endpoint \"https://a:443\" is listed twice",
        ),
        ("etcd", &[&["endpoint"]], "invalid number of arguments in \"endpoint\" directive"),
        ("etcd", &[&["endpont", "x"]], "unknown directive \"endpont\", did you mean \"endpoint\"?"),
        ("etcd", &[&["password_fil", "x"]], "did you mean \"password_file\"?"),
        ("etcd", &[&["database", "1"]], "\"database\" is not a setting of type \"etcd\""),
        ("etcd", &[&["prefix", "a b"]], "invalid prefix \"a b\""),
        ("etcd", &[&["prefix", "/"]], "invalid prefix \"/\""),
        ("etcd", &[FAR, KEY, &["username", "u"]], "\"username\" makes no sense without"),
        (
            "etcd",
            &[FAR, KEY, &["password_file", "p"]],
            "\"password_file\" makes no sense without \"username\"",
        ),
        ("etcd", &[FAR, KEY, &["certificate", "c"]], "no \"certificate_key\" is defined"),
        ("etcd", &[FAR, KEY, &["certificate_key", "k"]], "no \"certificate\" is defined"),
        (
            "etcd",
            &[NEAR, KEY, &["certificate_key", "k"]],
            "\"certificate_key\" makes no sense without TLS",
        ),
        (
            "etcd",
            &[NEAR, KEY, &["trusted_certificate", "c"]],
            "\"trusted_certificate\" makes no sense",
        ),
        ("etcd", &[FAR, KEY, &["plaintext", "on"]], "\"plaintext\" makes no sense with TLS"),
        (
            "etcd",
            &[&["endpoint", "https://a:1", "http://127.0.0.1:2"], KEY],
            "\"https://a:1\" is reached by TLS and \"http://127.0.0.1:2\" is not",
        ),
        (
            "etcd",
            &[&["endpoint", "http://127.0.0.1:1", "http://etcd:2"], KEY],
            "endpoint \"http://etcd:2\" has no TLS and is not on this machine: whoever can listen there",
        ),
        (
            "redis",
            &[&["endpoint", "redis://a", "redis://b"], KEY, &["plaintext", "on"]],
            "several endpoints need \"sentinel_master\"",
        ),
        (
            "redis",
            &[REDIS, KEY, &["sentinel_password_file", "p"]],
            "\"sentinel_password_file\" makes no sense without \"sentinel_master\"",
        ),
        (
            "redis",
            &[REDIS, KEY, &["sentinel_master", "m"], &["sentinel_username", "u"]],
            "\"sentinel_username\" makes no sense without \"sentinel_password_file\"",
        ),
        (
            "redis",
            &[REDIS, KEY, &["sentinel_master", "m"]],
            "the master that Sentinels name may be on another machine, and has no TLS: whoever",
        ),
        (
            "redis",
            &[&["database", "x"]],
            "invalid value \"x\" in \"database\" directive, it must be 0",
        ),
    ];
    for (kind, block, expected) in rows {
        let message = refusal(kind, block);
        assert!(message.contains(expected), "{block:?}: {message}");
    }
    let far: Block<'_> = &[&["endpoint", "http://etcd:2379"], KEY, &["plaintext", "on"]];
    assert!(read("etcd", far).is_ok());
}

#[test]
fn a_key_is_read_in_base64_and_in_hexadecimal_digits() {
    let parse = |text: &str| EncryptionKey::parse(&SecretString::from(text));
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF";
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";
    let key = parse(hex).unwrap();
    assert_eq!(key.bytes(), parse(base64).unwrap().bytes());
    assert_eq!((key.bytes()[1], key.bytes()[31]), (1, 255));
    for text in ["", "AAEC", &hex[1..], &hex.replace('0', "g"), &base64[4..]] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert_eq!(format!("{key:?}"), "EncryptionKey { .. }");
}
