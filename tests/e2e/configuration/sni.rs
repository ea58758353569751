//! `acme_dns sni`: what is refused, and what is warned of.

use super::{Bench, HERE, ISSUER, PROVIDER, Row};

const VARIABLE: &str = "ssl_certificate data:$acme_dns_certificate; \
                        ssl_certificate_key data:$acme_dns_certificate_key;";

/// A server with the directive at the marked line, beside one with a certificate.
fn http(more: &str, names: &str, directive: &str) -> String {
    format!(
        "{more}\nserver {{\n    listen 127.0.0.1:LISTEN ssl;\n    server_name {names};\n    \
         {directive} {HERE}\n}}\n\
         server {{ listen 127.0.0.1:LISTEN ssl; server_name *.a.test; acme_dns on; }}\n{ISSUER}\n{PROVIDER}"
    )
}

#[test]
fn mistakes_are_refused() {
    let row =
        |directive: &str, message: &str| -> Row { (http("", "_", directive), message.to_owned()) };
    let alone = format!(
        "server {{ listen 127.0.0.1:LISTEN ssl; acme_dns sni; {HERE}\n}}\n{ISSUER}\n{PROVIDER}"
    );
    Bench::new().refuses(&[
        row("acme_dns sni x.test;", "invalid parameter \"x.test\" in HERE"),
        row("acme_dns sni key=rsa:2048;", "invalid parameter \"key=rsa:2048\" in HERE"),
        row("acme_dns sni default=../a;", "invalid parameter \"default=../a\" in HERE"),
        row("acme_dns sni default=a default=b;", "invalid parameter \"default=b\" in HERE"),
        row("acme_dns sni cache=0;", "invalid parameter \"cache=0\" in HERE"),
        row("acme_dns sni cache=x;", "invalid parameter \"cache=x\" in HERE"),
        row("acme_dns on sni;", "invalid parameter \"sni\" in HERE"),
        row("acme_dns off; acme_dns sni;", "\"acme_dns\" directive is duplicate in HERE"),
        row("acme_dns sni default=b;", "no certificate \"b\" is defined for \"default=b\" in HERE"),
        row(
            &format!("{VARIABLE} acme_dns sni;"),
            "\"ssl_certificate\" with a variable of this module has no use beside \"acme_dns sni\" in HERE",
        ),
        row(
            "ssl_certificate_key a.key; acme_dns sni;",
            "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\" in HERE",
        ),
        (
            alone,
            "\"acme_dns sni\" has no certificate to choose from: no server and no \"acme_dns_domains\" asks for \
             one in HERE"
                .to_owned(),
        ),
    ]);
}

#[test]
fn names_that_no_certificate_holds_are_warned_of() {
    let mut bench = Bench::new();
    let warned =
        |what: &str| format!("no certificate holds \"b.test\": its clients get {what} in HERE");
    for (more, names, directive, expected) in [
        ("", "x.a.test ~^x _ *.test localhost", "acme_dns sni;", None),
        ("", "b.test", "acme_dns sni;", Some(warned("a self-signed certificate"))),
        (
            "",
            "b.test",
            "acme_dns sni default=_.a.test;",
            Some(warned("the certificate \"_.a.test\"")),
        ),
        (
            "acme_dns_fallback reject;",
            "b.test",
            "acme_dns sni;",
            Some("no certificate holds \"b.test\": its handshakes are rejected in HERE".to_owned()),
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        bench.warns(&http(more, names, directive), &expected);
    }
}

#[test]
fn an_inherited_one_is_for_servers_that_speak_tls() {
    let text = format!(
        "acme_dns sni;\nserver {{ listen 127.0.0.1:LISTEN; server_name b.test; }}\n{ISSUER}\n{PROVIDER}"
    );
    Bench::new().warns(&text, &[]);
}
