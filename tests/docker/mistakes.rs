//! A wrong or missing variable stops the container with one line.

use servers::ZONE;
use testbed::nginx::docker::{Container, Image};

use crate::stage::{LIMIT, STATE, Stage, domains};

#[test]
fn a_mistake_stops_the_container_with_one_line() {
    let token = "CLOUDFLARE_API_TOKEN=secret-of-nobody";
    let good = ["ACME_DNS_DOMAINS=example.test", "ACME_DNS_ACCEPT_TERMS=yes", token];
    let without = |number: usize| {
        good.iter().enumerate().filter(move |(n, _)| *n != number).map(|(_, v)| *v).collect()
    };
    let with = |more: &[&'static str]| [good.as_slice(), more].concat();
    let table: [(Vec<&str>, &str); 10] = [
        (without(1), "ACME_DNS_ACCEPT_TERMS is not set"),
        (without(2), "CLOUDFLARE_API_TOKEN_FILE is not set"),
        (with(&["ACME_DNS_DOMAINS=exa_mple"]), "\"exa_mple\" is not a domain name"),
        (with(&["ACME_DNS_EMAIL=nobody"]), "ACME_DNS_EMAIL is not an e-mail address"),
        (
            with(&["CLOUDFLARE_API_TOKEN=", "CLOUDFLARE_API_TOKEN_FILE=/run/secrets/none"]),
            "/run/secrets/none does not exist",
        ),
        (with(&["ACME_DNS_ISSUER=nobody"]), "\"nobody\" is not built in"),
        (vec!["ACME_DNS_DOMAIN=example.test"], "the nearest one is ACME_DNS_DOMAINS"),
        (vec!["PROVIDER=cloudflare"], "PROVIDER is set, but nothing uses it"),
        (with(&["PROXY_PASS=http://localhost:3000"]), "is this container itself"),
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

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn a_volume_without_a_name_is_warned_of() {
    let stage = Stage::new();
    let mut arguments = stage.arguments();
    arguments.extend(domains(ZONE));
    let container = Container::start(Image::Root.get(), &arguments);
    let expected = format!("25-acme-dns.sh: warning: {STATE} is an anonymous volume: ");
    container.wait_for_logs(LIMIT, |log| log.contains(&expected));
}
