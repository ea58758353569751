//! An `acme_dns on` of `http`, `stream` or `mail` concerns servers that were not written for it: what can be
//! certified is, the rest is named at its server, and nothing else is refused.

use super::{Bench, HERE, ISSUER, PROVIDER};
use crate::lone::{Lone, ours};

const LABEL: &str = "it has a label that is empty, longer than 63 characters or not made of letters, \
                     digits and inner hyphens";

/// Advice after the consequence for a server without a certificate; the directive is in the first line.
const ADVICE: &str = "write names to certify into an \"acme_dns\" of its own, or \"acme_dns off\" if that \
                      is meant: \"acme_dns\" in DIR/nginx.conf:8 is inherited in HERE";

/// Servers below an `acme_dns on`.
fn http(servers: &str) -> String {
    format!("acme_dns on;\n{servers}\n{ISSUER}\n{PROVIDER}")
}

/// A server at the marked line.
fn marked(names: &str) -> String {
    format!("server {{ {HERE}\n    listen 127.0.0.1:LISTEN ssl;\n    {names}\n}}")
}

#[test]
fn what_cannot_be_certified_is_named_at_its_server() {
    let mut bench = Bench::new();
    for (name, why) in [
        ("_", "it is not a domain name"),
        ("192.168.1.2", "it is an IP address, which dns-01 cannot prove"),
        ("[fe80::1]", "it is an IP address, which dns-01 cannot prove"),
        ("plex_1.example.test", LABEL),
        (".a_b.example.test", LABEL),
        ("plex.*", "a wildcard must be the whole first label"),
        ("~^x[0-9]+$", "it is a regular expression"),
        ("nas", "it has only one label"),
        (".lan", "it has only one label"),
        ("x.example.test:443", LABEL),
        ("xn--a.example.test", "it is not a valid internationalized domain name"),
    ] {
        let server = marked(&format!("server_name x.example.test {name};"));
        let warning = format!("\"{name}\" is not in the certificate: {why} in HERE");
        bench.warns(&http(&server), &[&warning]);
    }
    // What a server has is no mistake of others, and an empty name is none.
    bench.warns(&http(&marked("server_name x.example.test \"\" .y.example.test;")), &[]);
}

#[test]
fn mistakes_are_reported_at_the_server_that_has_them() {
    let names: Vec<String> = (0..101).map(|n| format!("n{n}.example.test")).collect();
    let many = marked(&format!("server_name {};", names.join(" ")));
    let of = |name: &str| {
        format!("server {{\n listen 127.0.0.1:LISTEN ssl;\n server_name {name}.example.test;\n}}\n")
    };
    let few = many.replace("n30.example.test ", "; #");
    let mut bench = Bench::new();
    bench.refuses(&[
        (
            http(&few).replace("terms_of_service;", "terms_of_service; profile tlsserver;"),
            "30 names for one certificate, issuer \"letsencrypt\" takes at most 25 with the profile \
             \"tlsserver\" in HERE"
                .to_owned(),
        ),
        (
            http(&many),
            "101 names for one certificate, a CA takes at most 100 in HERE".to_owned(),
        ),
        (
            http(&marked("server_name x.example.test; ssl_certificate_key a.key;")),
            "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\" in HERE"
                .to_owned(),
        ),
        (
            http(&format!("{}{}", of("y"), marked("server_name x.example.test;"))).replacen(
                "on;",
                "on name=web;",
                1,
            ),
            "certificate \"web\" is defined with different settings in HERE".to_owned(),
        ),
        // This one is a mistake of the directive.
        (
            format!("acme_dns on issuer=typo; {HERE}\n{}{ISSUER}\n{PROVIDER}", of("x")),
            "no \"acme_dns_issuer\" is defined for \"issuer=typo\" in HERE".to_owned(),
        ),
    ]);
}

#[test]
fn a_server_that_ends_up_without_a_certificate_says_so() {
    let mut bench = Bench::new();
    let default = "server { listen 127.0.0.1:LISTEN ssl; server_name x.example.test; }";
    let rejecting =
        "server { listen 127.0.0.1:LISTEN ssl default_server; ssl_reject_handshake on; }";
    let given = "its clients get the certificate of the default server in DIR/nginx.conf:9";
    let plex = "this server has no name that can be certified (\"plex.*\": a wildcard must be the whole \
                first label)";
    for (before, server, consequence) in [
        (default, "server_name plex.*;", format!("{plex}: {given}")),
        (
            default,
            "server_name plex_1.example.test;",
            format!(
                "this server has no name that can be certified (\"plex_1.example.test\": {LABEL}): {given}"
            ),
        ),
        (default, "server_name \"\";", format!("this server has no name to certify: {given}")),
        ("", "server_name plex.*;", format!("{plex}: its clients get a self-signed certificate")),
        (
            rejecting,
            "server_name plex.*;",
            format!("{plex}: its clients get a self-signed certificate"),
        ),
        (
            "acme_dns_fallback reject;",
            "server_name plex.*;",
            format!("{plex}: its handshakes are rejected"),
        ),
        (
            "",
            "server_name plex.*; ssl_certificate data:$acme_dns_certificate; \
             ssl_certificate_key data:$acme_dns_certificate_key;",
            format!("{plex}: \"$acme_dns_certificate\" is empty in it"),
        ),
    ] {
        let text = http(&format!("{before}\n{}", marked(server)));
        bench.warns(&text, &[&format!("{consequence}; {ADVICE}")]);
    }
    // Whoever says that it is meant hears no more of it; nor do those that do not speak TLS.
    bench.warns(&http(&format!("{default}\n{}", marked("server_name plex.*; acme_dns off;"))), &[]);
    bench.warns(&http("server { listen 127.0.0.1:LISTEN; server_name plex.* _; }"), &[]);
    bench.warns(&http(&format!("{rejecting}\n{default}")), &[]);
}

#[test]
fn servers_without_names_stand_in_or_leave_it_to_the_default_server() {
    let lone = Lone::start(
        "acme_dns on;
         server { listen LISTEN ssl default_server; server_name _; }
         server { listen LISTEN ssl; server_name a.example.test _ 192.0.2.1 plex.*; }
         server { listen LISTEN ssl; server_name plex_1.example.test; }
         server { listen OTHER ssl default_server; server_name plex.*; acme_dns_fallback reject; }",
    );
    for (name, expected) in [
        ("unknown.example.test", ours(&[])),
        ("a.example.test", ours(&["a.example.test"])),
        ("plex_1.example.test", ours(&[])),
    ] {
        assert_eq!(lone.served(name), expected, "{name}");
    }
    assert_eq!(lone.missing(), ["a.example.test"]);
    let other = testbed::clients::tls::TlsClient::new(lone.other_addr()).sni("plex.example.test");
    assert!(other.handshake().is_err());
}

#[test]
fn it_is_the_same_in_stream_and_mail() {
    let mut lone = Lone::new();
    lone.stream(
        "acme_dns on;
         server { listen LISTEN ssl; server_name a.example.test _; return x; }
         server { listen LISTEN ssl; server_name plex.*; return x; }
         server { listen OTHER; return x; }",
    );
    says(
        &mut lone,
        2,
        &[
            ("\"_\" is not in the certificate: it is not a domain name in ", "a.example.test"),
            ("get the certificate of the default server in ", "a.example.test"),
            ("is inherited in ", "plex.*"),
        ],
    );
    lone.mail(
        "acme_dns on; auth_http 127.0.0.1:1;
         server { listen LISTEN ssl; protocol imap; server_name nas; }
         server { listen OTHER; protocol imap; server_name _; }",
    );
    let nas = "this server has no name that can be certified (\"nas\": it has only one label): its clients get \
               a self-signed certificate; ";
    says(&mut lone, 1, &[(nas, ""), ("is inherited in ", "server_name nas")]);
}

/// Tests a configuration that is good, with so many warnings, among them some of these texts and the places of
/// lines with these.
fn says(lone: &mut Lone, count: usize, expected: &[(&str, &str)]) {
    let (good, said) = lone.nginx.test();
    let path = lone.nginx.path("nginx.conf");
    let config = std::fs::read_to_string(&path).expect("it was tested");
    let warnings = said.lines().filter(|line| line.contains("[warn]")).count();
    for (text, line) in expected {
        let at = config.lines().position(|other| other.contains(line)).expect("the line");
        let place = match line.is_empty() {
            true => String::new(),
            false => format!("{}:{}", path.display(), at + 1),
        };
        assert!(good && said.contains(&format!("{text}{place}")), "{text}{place}\n{said}");
    }
    assert_eq!(warnings, count, "{said}");
}
