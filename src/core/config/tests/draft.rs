//! References between servers, issuers, providers and certificates.

use super::provider::read_provider;
use super::{ACCEPT, names, read_issuer};
use crate::config::binding::{Request, Wanted};
use crate::config::draft::{BindingId, Draft, Finished};
use crate::config::{Location, Propagation};
use crate::id::{CertificateId, IdRange, IssuerId, ProviderId, VariantId};
use crate::key::KeyType;
use std::path::PathBuf;

/// One `acme_dns`: its names and its parameters.
type Server<'a> = (&'a [&'a str], &'a [&'a str]);

/// Reads a whole configuration: issuers, providers, and servers, each on a line of its own.
fn finish(
    issuers: &[&str],
    providers: &[&str],
    servers: &[Server<'_>],
) -> Result<(Finished, Vec<BindingId>), String> {
    let mut bindings = Vec::new();
    let mut draft = Draft::default();
    for name in issuers {
        draft.add_issuer(read_issuer(name, &[&["directory", "https://ca.test/"], ACCEPT])?)?;
    }
    for name in providers {
        draft.add_provider(read_provider(name, Some("cloudflare"), &[&["token_file", "t"]])?)?;
    }
    for (line, (list, parameters)) in (1..).zip(servers) {
        let args: Vec<&str> = ["on"].iter().chain(*parameters).copied().collect();
        let Request::On(wanted) = Request::parse(&args)? else { return Err("off".to_owned()) };
        let location = Location { file: "nginx.conf".to_owned(), line };
        bindings.push(draft.bind(wanted, names(list), location.clone(), location)?);
    }
    let finished = draft.finish(PathBuf::from("/state")).map_err(|error| error.to_string())?;
    Ok((finished, bindings))
}

/// A server, and whether it wants a staple.
type Stapling<'a> = (Server<'a>, bool);

/// The names of the certificates that OCSP responses are stapled to.
fn stapled(servers: &[Stapling<'_>]) -> Vec<String> {
    let mut draft = Draft::default();
    let issuer = read_issuer("ca", &[&["directory", "https://ca.test/"], ACCEPT]).unwrap();
    draft.add_issuer(issuer).unwrap();
    let provider = read_provider("cf", Some("cloudflare"), &[&["token_file", "t"]]).unwrap();
    draft.add_provider(provider).unwrap();
    for ((list, parameters), wants_staple) in servers {
        let args: Vec<&str> = ["on"].iter().chain(*parameters).copied().collect();
        let Ok(Request::On(wanted)) = Request::parse(&args) else { panic!("{args:?}") };
        let binding =
            draft.bind(wanted, names(list), Location::default(), Location::default()).unwrap();
        if *wants_staple {
            draft.want_staple(binding);
        }
    }
    let config = draft.finish(PathBuf::from("/state")).unwrap().config;
    config.certificates.values().filter(|c| c.staples).map(|c| c.name.clone()).collect()
}

#[test]
fn one_server_that_wants_a_staple_is_enough() {
    let (a, b, web): (Server<'_>, Server<'_>, Server<'_>) =
        ((&["a.test"], &[]), (&["b.test"], &[]), (&["a.test"], &["name=web"]));
    let rows: &[(&[Stapling<'_>], &[&str])] = &[
        (&[(a, false), (b, false)], &[]),
        (&[(a, true), (b, false)], &["a.test"]),
        (&[(a, false), (b, true)], &["b.test"]),
        (&[(a, false), (a, true), (b, false)], &["a.test"]),
        (&[(a, true), (a, false), (b, false)], &["a.test"]),
        // The certificate with a name is registered first, and used by the server without.
        (&[(a, true), (web, false)], &["web"]),
        (&[(a, true), (b, true)], &["a.test", "b.test"]),
    ];
    for (servers, expected) in rows {
        assert_eq!(stapled(servers), *expected, "{servers:?}");
    }
}

/// The name of each server's certificate.
fn certificates(issuers: &[&str], providers: &[&str], servers: &[Server<'_>]) -> Vec<String> {
    let (finished, bindings) = finish(issuers, providers, servers).expect("valid");
    let name = |id| {
        let certificate = finished.certificate(id).expect("a certificate");
        finished.config.certificates[certificate].name.clone()
    };
    bindings.into_iter().map(name).collect()
}

#[test]
fn servers_with_the_same_names_share_a_certificate() {
    let rows: &[(&[Server<'_>], &[&str])] = &[
        (&[(&["a.test"], &[]), (&["a.test"], &[])], &["a.test", "a.test"]),
        (&[(&["a.test", "b.test"], &[]), (&["b.test", "a.test"], &[])], &["a.test", "a.test"]),
        (&[(&["a.test"], &[]), (&["a.test"], &["key=ecdsa:256"])], &["a.test", "a.test"]),
        (&[(&["a.test"], &[]), (&["b.test"], &[])], &["a.test", "b.test"]),
        (
            &[(&["*.a.test"], &[]), (&["*.a.test", "a.test"], &[])],
            &["_.a.test", "_.a.test-874f403b"],
        ),
        // A certificate with a name is used by those without, wherever they stand.
        (&[(&["a.test"], &[]), (&["a.test"], &["name=web"])], &["web", "web"]),
        (&[(&["a.test"], &["name=x"]), (&["a.test"], &["name=y"])], &["x", "y"]),
        (
            &[(&["a.test"], &["name=x"]), (&["a.test"], &["name=y"]), (&["a.test"], &["name=x"])],
            &["x", "y", "x"],
        ),
    ];
    for (servers, expected) in rows {
        assert_eq!(certificates(&["ca"], &["cf"], servers), *expected, "{servers:?}");
    }
}

#[test]
fn a_certificate_keeps_the_order_and_the_defaults_of_the_first_server() {
    let servers: &[Server<'_>] = &[(&["b.test", "*.b.test", "a.test"], &[])];
    let (finished, _) = finish(&["ca"], &["cf"], servers).expect("valid");
    let all: Vec<_> = finished.config.certificates.values().collect();
    let [certificate] = all[..] else { panic!("not one") };
    assert_eq!(certificate.names, names(&["b.test", "*.b.test", "a.test"]));
    assert_eq!(
        (certificate.issuers.as_slice(), certificate.provider),
        ([IssuerId::new(0)].as_slice(), ProviderId::new(0))
    );
    assert!(!certificate.reuses_key);
    let all: Vec<_> = finished.config.variants.values().collect();
    let [variant] = all[..] else { panic!("not one") };
    assert_eq!((variant.name.as_str(), variant.key), ("b.test", KeyType::EcdsaP256));
    assert_eq!(finished.config.state_path, PathBuf::from("/state"));
    assert_eq!(finished.config.propagation, Propagation::default());
}

#[test]
fn a_certificate_has_a_variant_for_each_type_of_key() {
    let servers: &[Server<'_>] = &[
        (&["a.test"], &["key=rsa:2048"]),
        (&["b.test"], &["key=ecdsa:384,rsa:4096", "issuer=second,first"]),
        (&["c.test"], &[]),
        (&["b.test"], &["key=ecdsa:384,rsa:4096", "issuer=second,first"]),
    ];
    let servers = servers.iter().map(|(names, parameters)| {
        let is_first = parameters.iter().all(|p| !p.starts_with("issuer"));
        let rest: &[&str] = if is_first { &["issuer=first"] } else { &[] };
        (*names, [*parameters, rest].concat())
    });
    let servers: Vec<_> = servers.collect();
    let servers: Vec<Server<'_>> = servers.iter().map(|(n, p)| (*n, p.as_slice())).collect();
    let (finished, bindings) = finish(&["first", "second"], &["cf"], &servers).expect("valid");
    let found: Vec<_> = bindings.into_iter().map(|id| finished.certificate(id)).collect();
    assert_eq!(found, [0, 1, 2, 1].map(|number| Some(CertificateId::new(number))));
    let config = finished.config;
    let variants: Vec<_> = config.variants.values().map(|v| (v.name.as_str(), v.key)).collect();
    assert_eq!(
        variants,
        [
            ("a.test", KeyType::Rsa2048),
            ("b.test", KeyType::EcdsaP384),
            ("b.test-rsa", KeyType::Rsa4096),
            ("c.test", KeyType::EcdsaP256),
        ]
    );
    let ranges: Vec<_> = config.certificates.values().map(|c| c.variants.clone()).collect();
    let range = |(from, to)| IdRange::new(VariantId::new(from), VariantId::new(to));
    assert_eq!(ranges, [(0, 1), (1, 3), (3, 4)].map(range));
    assert_eq!(
        config.certificates[CertificateId::new(1)].issuers,
        [1, 0].map(IssuerId::new),
        "in the order that was written"
    );
    let names = config.variants.ids().map(|id| config.variant(id).map(|(_, c)| c.name.as_str()));
    assert_eq!(
        names.collect::<Vec<_>>(),
        [Some("a.test"), Some("b.test"), Some("b.test"), Some("c.test")]
    );
    let taken: &[Server<'_>] =
        &[(&["x.test"], &["name=web-rsa"]), (&["y.test"], &["name=web", "key=ecdsa:256,rsa:2048"])];
    let error = finish(&["ca"], &["cf"], taken).expect_err("the name is taken");
    assert_eq!(error, "certificate \"web-rsa\" is defined with different settings in nginx.conf:2");
}

#[test]
fn a_taken_name_gets_a_suffix_that_follows_from_the_settings_alone() {
    const SUFFIX: &str = "a.test-79be90d5";
    let second: Server<'_> = (&["a.test"], &["issuer=ca", "provider=cf", "key=rsa:2048"]);
    let first: Server<'_> = (&["a.test"], &["issuer=ca", "provider=cf"]);
    let other: Server<'_> = (&["b.test"], &["issuer=ca", "provider=cf"]);
    let rows: &[(&[&str], &[Server<'_>], &[&str])] = &[
        (&["ca"], &[first, second], &["a.test", SUFFIX]),
        (&["ca"], &[other, first, second], &["b.test", "a.test", SUFFIX]),
        // Neither does the position of the issuer matter.
        (&["more", "ca"], &[first, second, second], &["a.test", SUFFIX, SUFFIX]),
    ];
    for (issuers, servers, expected) in rows {
        assert_eq!(certificates(issuers, &["cf"], servers), *expected, "{issuers:?} {servers:?}");
    }
    let named: Server<'_> = (&["c.test"], &["issuer=ca", "name=a.test"]);
    let found = certificates(&["ca"], &["cf"], &[second, named]);
    assert_eq!(found, [SUFFIX, "a.test"], "the name that is asked for is not taken by another");
}

#[test]
fn a_name_too_long_for_a_file_is_cut() {
    let long = format!("{}test", "abcdefghi.".repeat(22));
    let found = certificates(&["ca"], &["cf"], &[(&[&long], &[])]);
    assert_eq!(found[0].len(), 200 + "-".len() + 8);
    assert!(long.starts_with(&found[0][..200]));
}

#[test]
fn names_that_a_wildcard_covers_are_left_out() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["a.test", "*.a.test", "www.a.test"], &["a.test", "*.a.test"]),
        (&["www.a.test", "*.a.test"], &["*.a.test"]),
        (&["x.www.a.test", "*.a.test"], &["x.www.a.test", "*.a.test"]),
        (&["*.a.test", "*.www.a.test"], &["*.a.test", "*.www.a.test"]),
        (&["www.b.test", "*.a.test"], &["www.b.test", "*.a.test"]),
    ];
    for (list, expected) in rows {
        let (finished, _) = finish(&["ca"], &["cf"], &[(list, &[])]).expect("valid");
        assert_eq!(
            finished.config.certificates[CertificateId::new(0)].names,
            names(expected),
            "{list:?}"
        );
    }
}

#[test]
fn mistakes_between_directives_are_told() {
    let ok: Server<'_> = (&["a.test"], &[]);
    type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [Server<'a>], &'a str);
    let rows: &[Row<'_>] = &[
        (&["ca", "ca"], &[], &[], "duplicate issuer \"ca\""),
        (&[], &["cf", "cf"], &[], "duplicate provider \"cf\""),
        (
            &["ca"],
            &["cf"],
            &[(&[], &[])],
            "\"acme_dns on\" needs a \"server_name\" to certify, or names in the place of \"on\"",
        ),
        (&[], &["cf"], &[ok], "no \"acme_dns_issuer\" is defined for \"acme_dns\" in nginx.conf:1"),
        (
            &["ca"],
            &[],
            &[ok],
            "no \"acme_dns_provider\" is defined for \"acme_dns\" in nginx.conf:1",
        ),
        (
            &["ca", "cb"],
            &["cf"],
            &[ok],
            "several \"acme_dns_issuer\" are defined, \"acme_dns\" needs \"issuer=NAME\" in nginx.conf:1",
        ),
        (
            &["ca"],
            &["cf", "cg"],
            &[ok],
            "several \"acme_dns_provider\" are defined, \"acme_dns\" needs \"provider=NAME\" in nginx.conf:1",
        ),
        (
            &["ca"],
            &["cf"],
            &[ok, (&["a.test"], &["issuer=cb"])],
            "no \"acme_dns_issuer\" is defined for \"issuer=cb\" in nginx.conf:2",
        ),
        (
            &["ca"],
            &["cf"],
            &[ok, (&["a.test"], &["provider=cg"])],
            "no \"acme_dns_provider\" is defined for \"provider=cg\" in nginx.conf:2",
        ),
        (
            &["ca"],
            &["cf"],
            &[(&["a.test"], &["name=x"]), ok, (&["b.test"], &["name=x"])],
            "certificate \"x\" is defined with different settings in nginx.conf:3",
        ),
        (
            &["ca"],
            &["cf"],
            &[(&["a.test"], &["name=x"]), (&["a.test"], &["name=x", "key=rsa:2048"])],
            "certificate \"x\" is defined with different settings in nginx.conf:2",
        ),
        (
            &["ca", "cb"],
            &["cf"],
            &[(&["a.test"], &["name=x", "issuer=ca"]), (&["a.test"], &["name=x", "issuer=cb"])],
            "certificate \"x\" is defined with different settings in nginx.conf:2",
        ),
    ];
    for (issuers, providers, servers, expected) in rows {
        let error = finish(issuers, providers, servers).map(|_| ()).expect_err(expected);
        assert_eq!(error, *expected, "{issuers:?} {providers:?} {servers:?}");
    }
}

#[test]
fn a_certificate_has_as_many_names_as_a_ca_takes() {
    let list: Vec<String> = (0..101).map(|number| format!("n{number}.test")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    assert!(finish(&["ca"], &["cf"], &[(&list[..100], &[])]).is_ok());
    let error = finish(&["ca"], &["cf"], &[(&list, &[])]).map(|_| ()).expect_err("too many");
    assert_eq!(error, "101 names for one certificate, a CA takes at most 100");
}

#[test]
fn what_is_set_once_cannot_be_set_again() {
    let mut draft = Draft::default();
    assert!(draft.is_unused());
    assert_eq!(draft.set_propagation(Propagation::default()), Ok(()));
    assert_eq!(
        draft.set_propagation(Propagation::default()),
        Err("\"acme_dns_propagation\" directive is duplicate".to_owned())
    );
    assert_eq!(draft.set_state_path(PathBuf::from("/a")), Ok(()));
    assert_eq!(
        draft.set_state_path(PathBuf::from("/b")),
        Err("\"acme_dns_state_path\" directive is duplicate".to_owned())
    );
}

#[test]
fn the_names_that_a_profile_takes_are_counted() {
    const URL: &str = "https://acme-v02.api.letsencrypt.org/directory";
    let list: Vec<String> = (0..30).map(|number| format!("n{number}.test")).collect();
    let draft = |name: &str, block: &[&[&str]]| {
        let mut draft = Draft::default();
        draft
            .add_issuer(read_issuer("ca", &[&["directory", "https://ca.test/"], ACCEPT]).unwrap())
            .unwrap();
        let block: Vec<&[&str]> = block.iter().chain([&ACCEPT]).copied().collect();
        draft.add_issuer(read_issuer(name, &block).unwrap()).unwrap();
        let provider = read_provider("cf", Some("cloudflare"), &[&["token_file", "t"]]).unwrap();
        draft.add_provider(provider).unwrap();
        draft
    };
    let place = |file: &str, line| Location { file: file.to_owned(), line };
    for (name, block, issuers, count, is_too_many) in [
        ("letsencrypt", &[&["profile", "tlsserver"][..]][..], "letsencrypt", 30, true),
        ("letsencrypt", &[&["profile", "shortlived", "require"]], "letsencrypt", 26, true),
        ("letsencrypt", &[&["profile", "shortlived"]], "letsencrypt", 25, false),
        ("letsencrypt", &[&["profile", "classic"]], "letsencrypt", 30, false),
        ("letsencrypt", &[], "letsencrypt", 30, false),
        ("letsencrypt-staging", &[&["profile", "tlsserver"]], "letsencrypt-staging", 30, true),
        ("le", &[&["directory", URL], &["profile", "tlsserver"]], "le", 30, true),
        ("le", &[&["profile", "tlsserver"], &["directory", URL]], "ca,le", 30, true),
        ("le", &[&["profile", "tlsserver"], &["directory", URL]], "ca", 30, false),
        (
            "letsencrypt",
            &[&["profile", "tlsserver"], &["directory", "https://b.test/"]],
            "letsencrypt",
            30,
            false,
        ),
    ] {
        let names = list.iter().take(count).map(String::as_str).collect::<Vec<_>>();
        let issuer = format!("issuer={issuers}");
        let mut server = draft(name, block);
        let Ok(Request::On(wanted)) = Request::parse(&["on", &issuer]) else { panic!("{issuer}") };
        server
            .bind(wanted, super::names(&names), place("nginx.conf", 7), place("nginx.conf", 3))
            .unwrap();
        let mut file = draft(name, block);
        let wanted = crate::config::domains::parameters(&[&issuer]).unwrap().wanted;
        file.add_domains(
            "d",
            format!("\n{}", names.join(" ")).as_bytes(),
            wanted,
            place("nginx.conf", 1),
        )
        .unwrap();
        for (draft, at) in [(server, "nginx.conf:7"), (file, "d:2")] {
            let result =
                draft.finish(PathBuf::from("/state")).map(|_| ()).map_err(|e| e.to_string());
            let profile = block.iter().find(|line| line[0] == "profile").map_or("", |line| line[1]);
            let error = format!(
                "{count} names for one certificate, issuer \"{name}\" takes at most 25 with the profile \
                 \"{profile}\" in {at}"
            );
            assert_eq!(
                result,
                if is_too_many { Err(error) } else { Ok(()) },
                "{name} {block:?} {issuers}"
            );
        }
    }
}

/// A configuration with these servers, and what they ask for.
fn asked(servers: &[Server<'_>]) -> (Draft, Vec<BindingId>) {
    let mut draft = Draft::default();
    let issuer = |name| read_issuer(name, &[&["directory", "https://ca.test/"], ACCEPT]).unwrap();
    for name in ["ca", "other"] {
        draft.add_issuer(issuer(name)).unwrap();
    }
    let provider = read_provider("cf", Some("cloudflare"), &[&["token_file", "t"]]).unwrap();
    draft.add_provider(provider).unwrap();
    let mut bindings = Vec::new();
    for (list, parameters) in servers {
        let issuer: &[&str] = match parameters.iter().any(|text| text.starts_with("issuer=")) {
            true => &[],
            false => &["issuer=ca"],
        };
        // Names in the directive take the place of "on".
        let on: &[&str] = if parameters.iter().any(|p| !p.contains('=')) { &[] } else { &["on"] };
        let args: Vec<&str> = [on, parameters, issuer].concat();
        let Ok(Request::On(wanted)) = Request::parse(&args) else { panic!("{args:?}") };
        let place = Location::default();
        bindings.push(draft.bind(wanted, names(list), place.clone(), place).unwrap());
    }
    (draft, bindings)
}

/// The names of the certificates that are left, those of the servers, and what is told.
fn shared(servers: &[Server<'_>], own: &[usize], kept: &[&str]) -> (Vec<String>, Vec<String>) {
    let (mut draft, bindings) = asked(servers);
    own.iter().for_each(|index| draft.keep_own(bindings[*index]));
    let mut finished = draft.finish(PathBuf::from("/state")).unwrap();
    let told = finished.share(|name| kept.contains(&name));
    let config = &finished.config;
    for (id, certificate) in config.certificates.iter() {
        let variants = config.variants.range(&certificate.variants);
        assert!(variants.iter().all(|variant| variant.certificate == id), "{servers:?}");
        assert_eq!(variants[0].name, certificate.name, "{servers:?}");
    }
    let name = |binding: &BindingId| {
        let certificate = finished.certificate(*binding).unwrap();
        config.certificates[certificate].name.clone()
    };
    (bindings.iter().map(name).collect(), told.iter().map(ToString::to_string).collect())
}

#[test]
fn a_certificate_that_is_kept_is_not_given_up_for_a_wildcard() {
    let (mut draft, _) = asked(&[(&["*.a.test"], &[]), (&["x.a.test"], &[]), (&["y.a.test"], &[])]);
    assert!(!draft.has_domains());
    draft.add_domains("d", b"", Wanted::default(), Location::default()).unwrap();
    assert!(draft.has_domains(), "one without lines");
    let mut finished = draft.finish(PathBuf::from("/state")).unwrap();
    assert!(finished.keep_named("x.a.test") && !finished.keep_named("none"));
    finished.share(|_| false);
    finished.staple_all();
    let left = finished.config.certificates.values();
    let left: Vec<_> = left.map(|it| (it.name.as_str(), it.staples)).collect();
    assert_eq!(left, [("_.a.test", true), ("x.a.test", true)]);
}

#[test]
fn a_wildcard_of_another_server_covers_servers_that_say_on_and_no_more() {
    let wildcard: Server<'_> = (&["*.a.test", "a.test"], &[]);
    let (w, x): (&str, Server<'_>) = ("_.a.test", (&["x.a.test"], &[]));
    // The servers, those that check clients, the certificates that are there, and those of the servers.
    type Row<'a> = (&'a [Server<'a>], &'a [usize], &'a [&'a str], &'a [&'a str]);
    let rows: &[Row<'_>] = &[
        (&[wildcard, x], &[], &[], &[w, w]),
        (&[x, wildcard, (&["y.a.test"], &[])], &[], &[], &[w, w, w]),
        (&[wildcard, (&["x.a.test", "a.test"], &[])], &[], &[], &[w, w]),
        (&[wildcard, (&["x.a.test", "b.test"], &[])], &[], &[], &[w, "x.a.test"]),
        (&[wildcard, (&["y.x.a.test"], &[])], &[], &[], &[w, "y.x.a.test"]),
        (&[(&["*.a.test"], &[]), wildcard, x], &[], &[], &["_.a.test-"; 3]),
        // With settings of their own.
        (&[wildcard, (&["x.a.test"], &["name=web"])], &[], &[], &[w, "web"]),
        (&[wildcard, (&["x.a.test"], &["x.a.test"])], &[], &[], &[w, "x.a.test"]),
        (&[wildcard, (&["x.a.test"], &["key=rsa:2048"])], &[], &[], &[w, "x.a.test"]),
        (&[wildcard, (&["x.a.test"], &["reuse_key=on"])], &[], &[], &[w, "x.a.test"]),
        (&[wildcard, (&["x.a.test"], &["issuer=other"])], &[], &[], &[w, "x.a.test"]),
        (&[(&["*.a.test"], &["name=web"]), x], &[], &[], &["web", "x.a.test"]),
        (&[wildcard, x], &[1], &[], &[w, "x.a.test"]),
        (&[wildcard, x], &[0], &[], &[w, "x.a.test"]),
        // One server of the same certificate is enough.
        (&[wildcard, x, x], &[2], &[], &[w, "x.a.test", "x.a.test"]),
        (&[wildcard, x, (&["y.a.test"], &[])], &[], &["x.a.test"], &[w, "x.a.test", w]),
        (
            &[
                (&["*.a.test"], &["key=ecdsa:256,rsa:2048"]),
                (&["x.a.test"], &["key=ecdsa:256,rsa:2048"]),
                (&["y.a.test"], &["key=ecdsa:256,rsa:2048"]),
            ],
            &[],
            &["y.a.test-rsa"],
            &[w, w, "y.a.test"],
        ),
    ];
    for (servers, own, kept, expected) in rows {
        let (found, _) = shared(servers, own, kept);
        let is_expected = |(found, expected): (&String, &&str)| {
            found == expected || (expected.ends_with('-') && found.starts_with(*expected))
        };
        assert!(found.iter().zip(*expected).all(is_expected), "{servers:?} {found:?}");
    }
}

#[test]
fn it_is_told_who_shares_a_certificate() {
    let names: Vec<String> = (0..23).map(|n| format!("n{n:02}.a.test")).collect();
    let lists: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let below = |count: usize| lists.iter().take(count).map(|list| (&list[..], &[][..]));
    let servers = |count| [(&["*.a.test"][..], &[][..])].into_iter().chain(below(count));
    let told = |count| shared(&servers(count).collect::<Vec<_>>(), &[], &[]).1;
    assert_eq!(
        told(2),
        ["certificate \"_.a.test\" is also that of \"n00.a.test\", \"n01.a.test\", which its \
             wildcard covers"]
    );
    assert!(told(23)[0].contains("\"n19.a.test\" and 3 more, which its"), "{:?}", told(23));
    assert_eq!(told(0), [""; 0]);
}

#[test]
fn a_provider_may_be_missing_where_others_write_the_records() {
    let finish = |methods: &[&[&str]], servers: &[&str]| {
        let mut draft = Draft::default();
        for (name, methods) in ["a", "b"].iter().zip(methods) {
            let directory: &[&str] = &["directory", "https://ca.test/"];
            let challenge = [&["challenge"], *methods].concat();
            draft.add_issuer(read_issuer(name, &[directory, ACCEPT, &challenge])?)?;
        }
        for parameter in servers {
            let Request::On(wanted) = Request::parse(&["on", parameter])? else {
                return Err("off".to_owned());
            };
            let (list, place) = (names(&["a.test"]), Location::default());
            draft.bind(wanted, list, place.clone(), place)?;
        }
        let finished = draft.finish(PathBuf::from("/state")).map_err(|error| error.message)?;
        Ok(finished.config.certificates.values().count())
    };
    let (persist, both): (&[&str], &[&str]) = (&["dns-persist-01"], &["dns-persist-01", "dns-01"]);
    let missing = Err("no \"acme_dns_provider\" is defined for \"acme_dns\"".to_owned());
    let unknown = Err("no \"acme_dns_provider\" is defined for \"provider=x\"".to_owned());
    for (methods, server, expected) in [
        (&[persist][..], "key=rsa:2048", Ok(1)),
        (&[both], "key=rsa:2048", missing.clone()),
        (&[persist, both], "issuer=a", Ok(1)),
        (&[persist, both], "issuer=a,b", missing),
        (&[persist], "provider=x", unknown),
    ] {
        assert_eq!(finish(methods, &[server]), expected, "{methods:?} {server}");
    }
}
