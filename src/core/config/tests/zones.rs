//! `zones`: which provider has the records of which names.

use super::provider::read_provider;
use super::{ACCEPT, Block, names, read_issuer};
use crate::config::binding::Request;
use crate::config::draft::Draft;
use crate::config::{Config, Location};
use crate::id::CertificateId;
use std::path::PathBuf;

const TOKEN: &[&str] = &["token", "env:T"];

/// Reads a configuration with providers and their zones, and one server.
fn read(
    providers: &[(&str, &[&str])],
    server: &[&str],
    parameters: &[&str],
) -> Result<Config, String> {
    let mut draft = Draft::default();
    draft.add_issuer(read_issuer("ca", &[&["directory", "https://ca.test/"], ACCEPT])?)?;
    for (name, zones) in providers {
        let zones = [&["zones"], *zones].concat();
        let block: Block<'_> = if zones.len() > 1 { &[TOKEN, &zones] } else { &[TOKEN] };
        draft.add_provider(read_provider(name, Some("cloudflare"), block)?)?;
    }
    let args = [&["on"], parameters].concat();
    let Request::On(wanted) = Request::parse(&args)? else { return Err("off".to_owned()) };
    draft.bind(wanted, names(server), Location::default(), Location::default())?;
    let finished = draft.finish(PathBuf::from("/state")).map_err(|error| error.to_string())?;
    Ok(finished.config)
}

/// Names the provider of a record of the only certificate.
fn provider_of<'a>(config: &'a Config, name: &str) -> Option<&'a str> {
    let certificate = &config.certificates[CertificateId::new(0)];
    let provider = config.provider_of(certificate, name)?;
    Some(&config.providers[provider].name)
}

#[test]
fn the_longest_zone_decides_and_else_the_provider_without_zones() {
    let providers: &[(&str, &[&str])] =
        &[("all", &[]), ("a", &["a.test", "acme.net"]), ("sub", &["sub.a.test"])];
    let server: &[&str] = &["www.a.test", "b.test"];
    let config = read(providers, server, &[]).unwrap();
    for (name, expected) in [
        ("_acme-challenge.b.test", "all"),
        ("_acme-challenge.www.a.test", "a"),
        ("a.test", "a"),
        ("xa.test", "all"),
        ("x.acme.net", "a"),
        ("_acme-challenge.sub.a.test", "sub"),
        ("_acme-challenge.x.sub.a.test", "sub"),
    ] {
        assert_eq!(provider_of(&config, name), Some(expected), "{name}");
    }
    // Whoever has a zone: this one is meant for all.
    for given in ["all", "sub"] {
        let config = read(providers, server, &[&format!("provider={given}")]).unwrap();
        for name in ["_acme-challenge.b.test", "x.acme.net", "_acme-challenge.sub.a.test"] {
            assert_eq!(provider_of(&config, name), Some(given), "{name}");
        }
    }
    // The only provider is bound to zones, and an alias may lead there.
    let config = read(&[("a", &["acme.net"])], server, &[]).unwrap();
    assert_eq!(provider_of(&config, "x.acme.net"), Some("a"));
    assert_eq!(provider_of(&config, "_acme-challenge.b.test"), None);
    // Nothing is left to those without zones.
    let config = read(&[("x", &[]), ("y", &[]), ("a", &["a.test"])], &["a.test"], &[]).unwrap();
    assert_eq!(provider_of(&config, "_acme-challenge.a.test"), Some("a"));
}

#[test]
fn mistakes_in_zones_are_told() {
    for (block, expected) in [
        (&["zones"][..], "invalid number of arguments in \"zones\" directive"),
        (&["zones", "*.a.test"], "invalid zone \"*.a.test\" in \"zones\" directive"),
        (&["zones", "a.test", "b_c"], "invalid zone \"b_c\" in \"zones\" directive"),
        (&["zones", "a.test", "A.test"], "zone \"A.test\" is listed twice in \"zones\" directive"),
    ] {
        assert_eq!(read_provider("cloudflare", None, &[TOKEN, block]).unwrap_err(), expected);
    }
    let twice = read_provider("cloudflare", None, &[&["zones", "a.test"], &["zones", "b.test"]]);
    assert_eq!(twice.unwrap_err(), "\"zones\" directive is duplicate");
    let both = read(&[("a", &["a.test"]), ("b", &["b.test", "a.test"])], &["a.test"], &[]);
    assert_eq!(both.unwrap_err(), "zone \"a.test\" is bound to provider \"a\" already");
    let several = read(&[("x", &[]), ("y", &[]), ("a", &["a.test"])], &["a.test", "c.test"], &[]);
    assert!(several.unwrap_err().starts_with("several \"acme_dns_provider\" are defined"));
}

#[test]
fn the_zone_of_names_can_be_given() {
    let zone = &["zone", "Example.test."][..];
    let provider = read_provider("cloudflare", None, &[TOKEN, zone]).unwrap();
    for (name, expected) in [
        ("example.test", Some("example.test")),
        ("_acme-challenge.www.example.test", Some("example.test")),
        ("xexample.test", None),
        ("test", None),
    ] {
        assert_eq!(provider.zone_of(name), expected, "{name}");
    }
    for (lines, expected) in [
        (&[&["zone"][..]][..], "invalid number of arguments in \"zone\" directive"),
        (&[&["zone", "a.test", "b.test"]], "invalid number of arguments in \"zone\" directive"),
        (&[&["zone", "*.a.test"]], "invalid zone \"*.a.test\" in \"zone\" directive"),
        (&[zone, zone], "\"zone\" directive is duplicate"),
        (
            &[zone, &["zones", "a.test", "b.test"]],
            "\"zone example.test\" of provider \"cloudflare\" makes no sense: its \"zones\" bind it to \
             \"a.test\", \"b.test\"",
        ),
    ] {
        let block = [&[TOKEN], lines].concat();
        assert_eq!(read_provider("cloudflare", None, &block).unwrap_err(), expected);
    }
    // A part of the zone, and more than it.
    for zones in [&["zones", "sub.example.test"][..], &["zones", "a.test", "example.test"]] {
        assert!(read_provider("cloudflare", None, &[TOKEN, zone, zones]).is_ok(), "{zones:?}");
    }
}
