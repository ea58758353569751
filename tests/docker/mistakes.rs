//! A wrong or missing variable stops the container with one line.

use testbed::docker::{Container, Image};

use crate::stage::LIMIT;

#[test]
fn a_mistake_stops_the_container_with_one_line() {
    let token = "CLOUDFLARE_API_TOKEN=secret-of-nobody";
    let good = ["ACME_DNS_DOMAINS=example.test", "ACME_DNS_ACCEPT_TERMS=yes", token];
    let without = |number: usize| {
        good.iter().enumerate().filter(move |(n, _)| *n != number).map(|(_, v)| *v).collect()
    };
    let with = |more: &[&'static str]| [good.as_slice(), more].concat();
    let table: [(Vec<&str>, &str); 7] = [
        (without(1), "ACME_DNS_ACCEPT_TERMS is not set"),
        (without(2), "CLOUDFLARE_API_TOKEN_FILE is not set"),
        (with(&["ACME_DNS_DOMAINS=exa_mple"]), "\"exa_mple\" is not a domain name"),
        (with(&["ACME_DNS_EMAIL=nobody"]), "ACME_DNS_EMAIL is not an e-mail address"),
        (
            with(&["CLOUDFLARE_API_TOKEN=", "CLOUDFLARE_API_TOKEN_FILE=/run/secrets/none"]),
            "/run/secrets/none does not exist",
        ),
        (with(&["ACME_DNS_ISSUER=nobody"]), "\"nobody\" is not built in"),
        (with(&["ACME_DNS_PROFILE=a;b"]), "ACME_DNS_PROFILE: \"a;b\" is not made of"),
    ];
    for (variables, expected) in table {
        let arguments: Vec<&str> =
            variables.iter().flat_map(|variable| ["--env", *variable]).collect();
        let output = Container::run(Image::Root.get(), &arguments, LIMIT);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors.lines().count(), 1, "{expected}: {errors}");
        assert!(errors.contains(expected), "{expected}: {errors}");
        assert!(!output.status.success(), "{expected}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("secret-of-nobody") && !errors.contains("secret-of-nobody"));
    }
}
