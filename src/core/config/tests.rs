//! Every directive: what it makes of its arguments, and the exact message of every mistake.

use super::binding::{Choosing, Request, Wanted};
use super::issuer::IssuerReader;
use super::{
    ChallengeMethod, ExternalAccount, Issuer, Profile, Propagation, Resources, SecretCheck,
    SecretId, SecretSource,
};
use crate::key::KeyType;
use crate::name::Name;
use std::num::NonZeroUsize;
use std::time::Duration;

mod domains;
mod draft;
mod exec;
mod provider;
mod watched;
mod zones;

/// Files and environment that exist in thought only: whatever has "missing" in its name is not
/// there.
#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) secrets: Vec<SecretSource>,
    warnings: Vec<String>,
}

impl Resources for Fake {
    fn warn(&mut self, message: &str) {
        self.warnings.push(message.to_owned());
    }

    fn secret(&mut self, source: &SecretSource, _: SecretCheck) -> Result<SecretId, String> {
        let (SecretSource::File(name) | SecretSource::Environment(name)) = source;
        if name.contains("missing") {
            return Err(format!("cannot read \"{name}\""));
        }
        self.secrets.push(source.clone());
        Ok(SecretId(self.secrets.len() - 1))
    }

    fn mac_key(&mut self, source: &SecretSource) -> Result<SecretId, String> {
        self.secret(source, |_| Ok(()))
    }

    fn private_key(&mut self, path: &str) -> Result<SecretId, String> {
        self.secret(&SecretSource::File(path.to_owned()), |_| Ok(()))
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if path.contains("missing") {
            Err(format!("cannot load \"{path}\""))
        } else {
            Ok(path.into())
        }
    }
}

/// Directives of a block, each a line.
pub(super) type Block<'a> = &'a [&'a [&'a str]];

fn read_issuer(name: &str, block: Block<'_>) -> Result<Issuer, String> {
    let mut reader = IssuerReader::new(name)?;
    for line in block {
        reader.set(line[0], &line[1..], &mut Fake::default())?;
    }
    reader.finish()
}

const ACCEPT: &[&str] = &["accept_terms_of_service"];

#[test]
fn an_issuer_has_defaults() {
    const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
    let rows = [
        ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory", Some(STAGING)),
        ("letsencrypt-staging", STAGING, None),
        ("zerossl", "https://acme.zerossl.com/v2/DV90", None),
        ("google", "https://dv.acme-v02.api.pki.goog/directory", None),
        ("google-staging", "https://dv.acme-v02.test-api.pki.goog/directory", None),
        ("sslcom", "https://acme.ssl.com/sslcom-dv-ecc", None),
    ];
    for (name, directory, staging) in rows {
        let issuer = read_issuer(name, &[ACCEPT]).expect(name);
        assert_eq!((issuer.name.as_str(), issuer.directory.as_str()), (name, directory));
        assert_eq!(issuer.staging.as_deref(), staging);
        assert!(issuer.contacts.is_empty());
        assert_eq!((issuer.trusted_certificate, issuer.profile), (None, None));
        assert_eq!((issuer.account_key, issuer.external_account), (None, None));
        assert_eq!((issuer.preferred_chain, issuer.persist), (None, None));
        assert_eq!(issuer.challenges, [ChallengeMethod::Dns01]);
    }
}

#[test]
fn a_staging_directory_is_that_of_the_directory() {
    const OWN: &[&str] = &["directory", "https://ca.test/dir"];
    let rows: &[(Block<'_>, Option<&str>)] = &[
        (&[ACCEPT, OWN], None),
        (&[ACCEPT, OWN, &["staging", "https://ca.test/s"]], Some("https://ca.test/s")),
        (&[ACCEPT, &["staging", "https://ca.test/s"]], Some("https://ca.test/s")),
        (&[ACCEPT, &["staging", "off"]], None),
    ];
    for (block, expected) in rows {
        let issuer = read_issuer("letsencrypt", block).expect("valid");
        assert_eq!(issuer.staging.as_deref(), *expected, "{block:?}");
    }
}

#[test]
fn an_account_is_made_here_or_given_or_bound() {
    let issuer = read_issuer("zerossl", &[ACCEPT, &["external_account", "kid-1", "env:MAC"]]);
    let bound = ExternalAccount { key_id: "kid-1".to_owned(), mac_key: SecretId(0) };
    assert_eq!(issuer.expect("valid").external_account, Some(bound));
    let issuer = read_issuer("zerossl", &[ACCEPT, &["account_key", "key.pem"]]).expect("valid");
    assert_eq!((issuer.account_key, issuer.external_account), (Some(SecretId(0)), None));
}

#[test]
fn an_issuer_has_what_its_block_says() {
    let issuer = read_issuer(
        "letsencrypt",
        &[
            &["directory", "https://ca.test/dir"],
            &["contact", "a@example.test", "mailto:b@example.test"],
            ACCEPT,
            &["trusted_certificate", "ca.pem"],
            &["profile", "shortlived", "require"],
            &["preferred_chain", "Root X1"],
            &["challenge", "dns-persist-01", "dns-01"],
        ],
    )
    .expect("valid");
    assert_eq!(issuer.directory, "https://ca.test/dir", "stands before what is built in");
    assert_eq!(issuer.contacts, ["mailto:a@example.test", "mailto:b@example.test"]);
    assert_eq!(issuer.trusted_certificate.as_deref(), Some("ca.pem".as_bytes()));
    assert_eq!(issuer.profile, Some(Profile { name: "shortlived".to_owned(), required: true }));
    assert_eq!(issuer.preferred_chain.as_deref(), Some("Root X1"));
    assert_eq!(issuer.challenges, [ChallengeMethod::DnsPersist01, ChallengeMethod::Dns01]);
    let issuer = read_issuer("letsencrypt", &[ACCEPT, &["profile", "tlsserver"]]).expect("valid");
    assert_eq!(issuer.profile, Some(Profile { name: "tlsserver".to_owned(), required: false }));
}

#[test]
fn mistakes_about_accounts_and_what_a_ca_offers_are_told() {
    const URL: &[&str] = &["directory", "https://ca.test/dir"];
    let rows: &[(&str, Block<'_>, &str)] = &[
        (
            "own",
            &[URL, ACCEPT, &["account_key", "k"], &["external_account", "a", "m"]],
            "issuer \"own\" has both \"account_key\" and \"external_account\", a key that is given \
             must have its account already",
        ),
        ("own", &[&["account_key", "missing"]], "cannot read \"missing\""),
        (
            "own",
            &[&["account_key", "a"], &["account_key", "a"]],
            "\"account_key\" directive is duplicate",
        ),
        (
            "own",
            &[&["external_account", "a b", "m"]],
            "invalid key identifier \"a b\" in \"external_account\" directive",
        ),
        ("own", &[&["external_account", "a", "env:missing"]], "cannot read \"missing\""),
        (
            "own",
            &[&["external_account", "a"]],
            "invalid number of arguments in \"external_account\" directive",
        ),
        ("own", &[&["preferred_chain", ""]], "invalid parameter \"\""),
        ("own", &[&["staging", "off"], &["staging", "off"]], "\"staging\" directive is duplicate"),
        (
            "own",
            &[&["staging", "ca.test"]],
            "invalid URL \"ca.test\" in \"staging\" directive: relative URL without a base",
        ),
    ];
    for (name, block, expected) in rows {
        assert_eq!(read_issuer(name, block).expect_err(expected), *expected, "{block:?}");
    }
}

#[test]
fn mistakes_in_an_issuer_are_told() {
    const URL: &[&str] = &["directory", "https://ca.test/dir"];
    let rows: &[(&str, Block<'_>, &str)] = &[
        ("", &[], "invalid issuer name \"\""),
        ("../x", &[], "invalid issuer name \"../x\""),
        ("a b", &[], "invalid issuer name \"a b\""),
        ("own", &[ACCEPT], "no \"directory\" is defined for issuer \"own\""),
        ("own", &[URL], "\"accept_terms_of_service\" is required for issuer \"own\""),
        ("own", &[URL, URL], "\"directory\" directive is duplicate"),
        ("own", &[ACCEPT, ACCEPT], "\"accept_terms_of_service\" directive is duplicate"),
        ("own", &[&["directory"]], "invalid number of arguments in \"directory\" directive"),
        (
            "own",
            &[&["directory", "https://a.test", "b"]],
            "invalid number of arguments in \"directory\" directive",
        ),
        (
            "own",
            &[&["directory", "ca.test"]],
            "invalid URL \"ca.test\" in \"directory\" directive: relative URL without a base",
        ),
        (
            "own",
            &[&["directory", "http://ca.test/"]],
            "invalid URL \"http://ca.test/\" in \"directory\" directive: \
             only a loopback address can be used without TLS",
        ),
        (
            "own",
            &[&["directory", "ftp://ca.test/"]],
            "invalid URL \"ftp://ca.test/\" in \"directory\" directive: \
             it must begin with \"https://\"",
        ),
        (
            "own",
            &[&["directory", "data:x"]],
            "invalid URL \"data:x\" in \"directory\" directive: it has no host",
        ),
        (
            "own",
            &[&["directory", "https://u:p@ca.test/"]],
            "invalid URL \"https://u:p@ca.test/\" in \"directory\" directive: \
             it must not have a user, a password or a fragment",
        ),
        ("own", &[&["contact"]], "invalid number of arguments in \"contact\" directive"),
        (
            "own",
            &[&["contact", "a@b.test"], &["contact", "a@b.test"]],
            "\"contact\" directive is duplicate",
        ),
        ("own", &[&["contact", "me"]], "invalid e-mail address \"me\" in \"contact\" directive"),
        (
            "own",
            &[&["contact", "me@host"]],
            "invalid e-mail address \"me@host\" in \"contact\" directive",
        ),
        (
            "own",
            &[&["contact", "@b.test"]],
            "invalid e-mail address \"@b.test\" in \"contact\" directive",
        ),
        (
            "own",
            &[&["contact", "a@b@c.test"]],
            "invalid e-mail address \"a@b@c.test\" in \"contact\" directive",
        ),
        (
            "own",
            &[&["contact", "a@b.test,c@d.test"]],
            "invalid e-mail address \"a@b.test,c@d.test\" in \"contact\" directive",
        ),
        (
            "own",
            &[&["accept_terms_of_service", "yes"]],
            "invalid number of arguments in \"accept_terms_of_service\" directive",
        ),
        ("own", &[&["trusted_certificate", "missing.pem"]], "cannot load \"missing.pem\""),
        (
            "own",
            &[&["trusted_certificate", "a"], &["trusted_certificate", "b"]],
            "\"trusted_certificate\" directive is duplicate",
        ),
        ("own", &[&["profile"]], "invalid number of arguments in \"profile\" directive"),
        ("own", &[&["profile", ""]], "invalid parameter \"\""),
        ("own", &[&["profile", "a", "maybe"]], "invalid parameter \"maybe\""),
        (
            "own",
            &[&["profile", "a", "require", "b"]],
            "invalid number of arguments in \"profile\" directive",
        ),
        ("own", &[&["profile", "a"], &["profile", "b"]], "\"profile\" directive is duplicate"),
        ("own", &[&["email", "a@b.test"]], "unknown directive \"email\""),
    ];
    for (name, block, expected) in rows {
        let error = read_issuer(name, block).expect_err(expected);
        assert_eq!(error, *expected, "{name} {block:?}");
    }
}

#[test]
fn propagation_has_defaults_and_parameters() {
    let check = |timeout, interval, resolvers: &[&str], port| Propagation::Check {
        timeout: Duration::from_millis(timeout),
        interval: Duration::from_millis(interval),
        resolvers: resolvers.iter().map(|text| text.parse().expect("an address")).collect(),
        port,
    };
    let rows: &[(&[&str], Propagation)] = &[
        (&[], Propagation::default()),
        (&[], check(300_000, 2_000, &[], 53)),
        (&["timeout=10m"], check(600_000, 2_000, &[], 53)),
        (&["timeout=1s"], check(1_000, 1_000, &[], 53)),
        (
            &["timeout=5s", "interval=100ms", "resolvers=192.0.2.1,[::1]:5353", "port=5300"],
            check(5_000, 100, &["192.0.2.1:53", "[::1]:5353"], 5300),
        ),
        (&["off"], Propagation::Off { delay: Duration::from_secs(60) }),
        (&["off", "delay=2m"], Propagation::Off { delay: Duration::from_secs(120) }),
        (&["off", "delay=0"], Propagation::Off { delay: Duration::ZERO }),
    ];
    for (args, expected) in rows {
        assert_eq!(Propagation::parse(args).as_ref(), Ok(expected), "{args:?}");
    }
}

#[test]
fn mistakes_in_propagation_are_told() {
    let rows: &[(&[&str], &str)] = &[
        (&["on"], "invalid parameter \"on\""),
        (&["timeout"], "invalid parameter \"timeout\""),
        (&["timeout=0"], "invalid parameter \"timeout=0\""),
        (&["timeout=5x"], "invalid parameter \"timeout=5x\""),
        (&["interval="], "invalid parameter \"interval=\""),
        (&["interval=0s"], "invalid parameter \"interval=0s\""),
        (&["port=0"], "invalid parameter \"port=0\""),
        (&["port=65536"], "invalid parameter \"port=65536\""),
        (&["resolvers="], "invalid parameter \"resolvers=\""),
        (&["resolvers=dns.test"], "invalid parameter \"resolvers=dns.test\""),
        (&["resolvers=192.0.2.1,"], "invalid parameter \"resolvers=192.0.2.1,\""),
        (&["delay=1s"], "invalid parameter \"delay=1s\""),
        (&["timeout=1s", "off"], "invalid parameter \"off\""),
        (&["timeout=1s", "timeout=2s"], "duplicate parameter \"timeout=2s\""),
        (&["port=53", "port=53"], "duplicate parameter \"port=53\""),
        (&["off", "timeout=1s"], "invalid parameter \"timeout=1s\""),
        (&["off", "delay=x"], "invalid parameter \"delay=x\""),
        (&["off", "delay=1s", "delay=2s"], "invalid parameter \"delay=2s\""),
        (
            &["timeout=1s", "interval=2s"],
            "\"interval\" is longer than \"timeout\" in \"acme_dns_propagation\" directive",
        ),
    ];
    for (args, expected) in rows {
        assert_eq!(Propagation::parse(args), Err((*expected).to_owned()), "{args:?}");
    }
}

fn names(list: &[&str]) -> Vec<Name> {
    list.iter().map(|text| Name::parse(text).expect(text)).collect()
}

fn room(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("more than none")
}

#[test]
fn a_server_asks_for_names_with_parameters() {
    let text = |text: &str| Some(text.to_owned());
    let rows: Vec<(&[&str], Request)> = vec![
        (&["off"], Request::Off),
        (&["on"], Request::On(Wanted::default())),
        (
            &["on", "issuer=a", "provider=b", "key=rsa:2048", "name=web"],
            Request::On(Wanted {
                issuers: vec!["a".to_owned()],
                provider: text("b"),
                keys: vec![KeyType::Rsa2048],
                name: text("web"),
                ..Wanted::default()
            }),
        ),
        (
            &["on", "issuer=a,b", "key=ecdsa:384,rsa:4096", "reuse_key=on"],
            Request::On(Wanted {
                issuers: vec!["a".to_owned(), "b".to_owned()],
                keys: vec![KeyType::EcdsaP384, KeyType::Rsa4096],
                reuses_key: Some(true),
                ..Wanted::default()
            }),
        ),
        (&["sni"], Request::Sni(Choosing { default: None, kept_ready: room(1_000) })),
        (
            &["sni", "cache=7", "default=web"],
            Request::Sni(Choosing { default: text("web"), kept_ready: room(7) }),
        ),
        (
            &["Example.com.", ".example.org", "bücher.example", "example.org"],
            Request::On(Wanted {
                names: names(&[
                    "example.com",
                    "example.org",
                    "*.example.org",
                    "xn--bcher-kva.example",
                ]),
                ..Wanted::default()
            }),
        ),
    ];
    for (args, expected) in rows {
        assert_eq!(Request::parse(args), Ok(expected), "{args:?}");
    }
}

#[test]
fn mistakes_of_a_server_are_told() {
    const LABEL: &str = "it has a label that is empty, longer than 63 characters or not made of \
                         letters, digits and inner hyphens";
    let long = format!("{}test", "abcdefgh.".repeat(28));
    let rows: &[(&[&str], &str)] = &[
        (&[], "\"acme_dns\" directive needs \"on\", \"off\", \"sni\" or names"),
        (&["issuer=a"], "\"acme_dns\" directive needs \"on\", \"off\", \"sni\" or names"),
        (&["off", "issuer=a"], "\"acme_dns off\" takes no parameters"),
        (&["off", "example.com"], "invalid parameter \"example.com\""),
        (&["on", "example.com"], "invalid parameter \"example.com\""),
        (&["sni", "on"], "invalid parameter \"on\""),
        (&["sni", "name=web"], "invalid parameter \"name=web\""),
        (&["sni", "default=a", "default=a"], "invalid parameter \"default=a\""),
        (&["sni", "default="], "invalid parameter \"default=\""),
        (&["sni", "cache=0"], "invalid parameter \"cache=0\""),
        (&["sni", "cache=-1"], "invalid parameter \"cache=-1\""),
        (&["on", "on"], "invalid parameter \"on\""),
        (&["example.com", "on"], "\"on\" cannot be certified: it has only one label"),
        (&["on", "issuer="], "invalid parameter \"issuer=\""),
        (&["on", "issuer=a", "issuer=a"], "invalid parameter \"issuer=a\""),
        (&["on", "key=rsa:2048", "key=rsa:2048"], "invalid parameter \"key=rsa:2048\""),
        (&["on", "issuer=a,"], "invalid parameter \"issuer=a,\""),
        (&["on", "issuer=a,b,a"], "invalid parameter \"issuer=a,b,a\""),
        (&["on", "key=rsa:2048,rsa:4096"], "\"key=rsa:2048,rsa:4096\" has two types of rsa keys"),
        (&["on", "reuse_key=yes"], "invalid parameter \"reuse_key=yes\""),
        (&["on", "reuse_key=on", "reuse_key=on"], "invalid parameter \"reuse_key=on\""),
        (&["on", "name=a/b"], "invalid parameter \"name=a/b\""),
        (&["on", "name=.hidden"], "invalid parameter \"name=.hidden\""),
        (&["on", "profile=x"], "invalid parameter \"profile=x\""),
        (
            &["on", "key=rsa:1024"],
            "invalid key type \"rsa:1024\", known types are ecdsa:256, ecdsa:384, rsa:2048, \
             rsa:3072, rsa:4096",
        ),
        (&[""], "\"\" cannot be certified: it is empty"),
        (&["_"], "\"_\" cannot be certified: it is not a domain name"),
        (&["~^www"], "\"~^www\" cannot be certified: it is a regular expression"),
        (
            &["192.0.2.1"],
            "\"192.0.2.1\" cannot be certified: it is an IP address, which dns-01 cannot prove",
        ),
        (
            &["*.*.a.test"],
            "\"*.*.a.test\" cannot be certified: a wildcard must be the whole first label",
        ),
        (&["www.*"], "\"www.*\" cannot be certified: a wildcard must be the whole first label"),
        (&["a..test"], &format!("\"a..test\" cannot be certified: {LABEL}")),
        (&["."], "\".\" cannot be certified: it is empty"),
        (&[".test"], "\".test\" cannot be certified: it has only one label"),
        (
            &["xn--a.test"],
            "\"xn--a.test\" cannot be certified: it is not a valid internationalized domain name",
        ),
        (&[&long], &format!("\"{long}\" cannot be certified: it is longer than 253 characters")),
    ];
    for (args, expected) in rows {
        assert_eq!(Request::parse(args), Err((*expected).to_owned()), "{args:?}");
    }
}

#[test]
fn a_contact_that_cannot_be_anybodys_is_warned_of() {
    let warnings = |name: &str, block: Block<'_>| {
        let mut fake = Fake::default();
        let mut reader = IssuerReader::new(name).unwrap();
        for line in block {
            reader.set(line[0], &line[1..], &mut fake).unwrap();
        }
        fake.warnings
    };
    let advice = "write an address of yours, or leave out \"contact\"";
    let example =
        format!("\"you@example.com\" is an address for examples, which CAs refuse: {advice}");
    let private =
        format!("\"you@nas.local\" is in no public domain, which the CA refuses: {advice}");
    let contacts = &["contact", "you@example.com", "you@nas.local", "you@example.dev"][..];
    assert_eq!(warnings("zerossl", &[contacts]), [example.as_str(), &private]);
    let directory = &["directory", "https://ca.nas.local/"][..];
    assert_eq!(warnings("ca", &[directory, contacts]), [example.as_str()]);
    assert_eq!(warnings("ca", &[contacts, directory]), [example.as_str()]);
    assert!(warnings("letsencrypt", &[&["contact", "mailto:you@example.dev"]]).is_empty());
}
