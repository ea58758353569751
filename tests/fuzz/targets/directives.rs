//! The arguments of directives: a line each, words divided by one space, blocks as in nginx.conf. A
//! block `acme_dns_domains` has lines of a domains file.
#![no_main]

use acme_dns_core::config::binding::{Request, Wanted};
use acme_dns_core::config::domains::{self, Line};
use acme_dns_core::config::draft::{Draft, Finished};
use acme_dns_core::config::issuer::IssuerReader;
use acme_dns_core::config::provider::ProviderReader;
use acme_dns_core::config::server::ServerNames;
use acme_dns_core::config::zone::SharedZone;
use acme_dns_core::config::{
    AcmeDnsCredentials, CloudflareCredentials, CloudflareSettings, Issuer, Location, Propagation,
    Provider, ProviderKind, Resources, SecretCheck, SecretId, SecretSource,
};
use acme_dns_core::key::KeyType;
use acme_dns_core::name::Name;
use fuzzing::{assert_domain_name, assert_file_name, assert_line};
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;

/// Every file is there, and every variable.
struct Everything;

impl Resources for Everything {
    fn warn(&mut self, _: &str) {}

    fn secret(&mut self, _: &SecretSource, _: SecretCheck) -> Result<SecretId, String> {
        Ok(SecretId(0))
    }

    fn mac_key(&mut self, source: &SecretSource) -> Result<SecretId, String> {
        self.secret(source, |_| Ok(()))
    }

    fn private_key(&mut self, _: &str) -> Result<SecretId, String> {
        Ok(SecretId(0))
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String> {
        Ok(path.into())
    }
}

/// The block that a line is in.
enum Block {
    None,
    Issuer(IssuerReader),
    Provider(ProviderReader),
    Domains(Wanted, String),
}

fuzz_target!(|text: &str| {
    let (mut draft, mut block) = (Draft::default(), Block::None);
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [directive, args @ ..] = words.as_slice() else { continue };
        block = match (block, *directive, args) {
            (Block::Issuer(reader), "}", []) => {
                if let Ok(issuer) = reader.finish() {
                    check_issuer(&issuer);
                    let _ = draft.add_issuer(issuer);
                }
                Block::None
            }
            (Block::Provider(reader), "}", []) => {
                if let Ok(provider) = reader.finish() {
                    check_provider(&provider);
                    let _ = draft.add_provider(provider);
                }
                Block::None
            }
            (Block::Issuer(mut reader), directive, args) => {
                let _ = reader.set(directive, args, &mut Everything);
                Block::Issuer(reader)
            }
            (Block::Provider(mut reader), directive, args) => {
                let _ = reader.set(directive, args, &mut Everything);
                Block::Provider(reader)
            }
            (Block::Domains(wanted, text), "}", []) => {
                domains(&mut draft, wanted, &text);
                Block::None
            }
            (Block::Domains(wanted, text), ..) => Block::Domains(wanted, text + line + "\n"),
            (Block::None, "acme_dns_domains", [parameters @ .., "{"]) => {
                domains::parameters(parameters)
                    .map_or(Block::None, |it| Block::Domains(it.wanted, String::new()))
            }
            (Block::None, "acme_dns_issuer", [name, "{"]) => {
                IssuerReader::new(name).map_or(Block::None, Block::Issuer)
            }
            (Block::None, "acme_dns_provider", [args @ .., "{"]) => {
                ProviderReader::parse(args).map_or(Block::None, Block::Provider)
            }
            (Block::None, directive, args) => {
                simple(&mut draft, directive, args);
                Block::None
            }
        };
    }
    if let Ok(finished) = draft.finish("/state".into()) {
        check_finished(&finished);
    }
});

fn simple(draft: &mut Draft, directive: &str, args: &[&str]) {
    match directive {
        "acme_dns" => {
            if let Ok(Request::On(wanted)) = Request::parse(args) {
                bind(draft, wanted.clone(), wanted.names);
            }
        }
        "server_name" => {
            let names = ServerNames::of(&Wanted::default(), args.iter().copied());
            assert!(names.certified.len() + names.left_out.len() <= 2 * args.len());
            bind(draft, Wanted::default(), names.certified);
        }
        "acme_dns_propagation" => {
            if let Ok(propagation) = Propagation::parse(args) {
                check_propagation(&propagation);
                let _ = draft.set_propagation(propagation);
            }
        }
        "acme_dns_shared_zone" => {
            if let [arg] = args
                && let Ok(zone) = SharedZone::parse(arg, 4096)
            {
                assert_file_name(&zone.name);
                assert!(zone.size >= 8 * 4096);
            }
        }
        _ => {}
    }
}

fn bind(draft: &mut Draft, wanted: Wanted, names: Vec<Name>) {
    names.iter().for_each(check_name);
    if let Some(name) = &wanted.name {
        assert_file_name(name);
    }
    let _ = draft.bind(wanted, names, Location::default(), Location::default());
}

/// A line means the same when it is written anew.
fn domains(draft: &mut Draft, wanted: Wanted, text: &str) {
    if let Ok(lines) = domains::parse(text.as_bytes()) {
        for Line { number, names, name } in lines {
            assert!(number <= text.lines().count());
            names.iter().for_each(check_name);
            let words: Vec<_> = names.iter().map(Name::as_str).collect();
            let alias = name.as_ref().map_or_else(String::new, |name| format!(" > {name}"));
            let again = format!("{}{alias}", words.join(" "));
            assert_eq!(domains::parse(again.as_bytes()), Ok(vec![Line { number: 1, names, name }]));
        }
    }
    let _ = draft.add_domains("domains.txt", text.as_bytes(), wanted, Location::default());
}

/// A name is written as it was read.
fn check_name(name: &Name) {
    assert_domain_name(name.as_str());
    assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(name));
    assert_eq!(name.is_wildcard(), name.as_str() != name.base());
}

fn check_issuer(issuer: &Issuer) {
    assert_file_name(&issuer.name);
    assert_url(&issuer.directory);
    for contact in &issuer.contacts {
        assert!(contact.starts_with("mailto:") && contact.contains('@'), "{contact}");
        assert!(!contact.contains([' ', ',']), "{contact}");
    }
    assert!(issuer.profile.as_ref().is_none_or(|profile| !profile.name.is_empty()));
    assert!(!issuer.challenges.is_empty());
}

fn check_provider(provider: &Provider) {
    assert_file_name(&provider.name);
    provider.zones.iter().chain(&provider.zone).for_each(check_name);
    match &provider.kind {
        ProviderKind::Cloudflare(settings) => check_cloudflare(settings),
        ProviderKind::Rfc2136(settings) => {
            assert!(settings.server.port != 0 && !settings.server.host.is_empty());
            assert!((1..=86_400).contains(&settings.ttl));
            assert_line(&settings.key_name, 253);
        }
        ProviderKind::PowerDns(settings) => assert_url(&settings.api),
        ProviderKind::AcmeDns(settings) => {
            assert_url(&settings.api);
            if let AcmeDnsCredentials::Account { username, subdomain, .. } = &settings.credentials {
                assert_header(username);
                assert!(!subdomain.is_empty() && !subdomain.contains('.'), "{subdomain}");
            }
        }
        ProviderKind::DuckDns(settings) => assert_url(&settings.api),
        ProviderKind::HttpReq(settings) => {
            assert_url(&settings.endpoint);
            assert!(settings.user.as_ref().is_none_or(|user| !user.name.contains(':')));
        }
        ProviderKind::Exec(settings) => {
            assert!(settings.files().iter().all(|file| file.path.starts_with('/')));
            assert!(!settings.timeout.is_zero());
            let names = settings.variables.iter().map(|(name, _)| name);
            let names: Vec<_> =
                names.chain(settings.secrets.iter().map(|(name, _)| name)).collect();
            assert!(names.iter().all(|name| !name.is_empty() && !name.contains('=')));
        }
        ProviderKind::Library(settings) => {
            assert!((settings.kind.least_ttl()..=86_400).contains(&settings.ttl));
            let known: HashSet<&str> = settings.kind.setting_names().collect();
            assert!(settings.values.iter().all(|(name, _)| known.contains(name)));
        }
    }
}

fn check_cloudflare(settings: &CloudflareSettings) {
    assert_url(&settings.api);
    assert!(settings.ttl == 1 || (60..=86_400).contains(&settings.ttl));
    assert!(settings.zone_id.as_ref().is_none_or(|id| !id.is_empty() && !id.contains('/')));
    if let CloudflareCredentials::Key { email, .. } = &settings.credentials {
        assert_header(email);
    }
}

/// It can be sent in a header.
fn assert_header(text: &str) {
    assert!(http::HeaderValue::from_str(text).is_ok(), "{text}");
}

/// A request can be made of it, as it is written.
fn assert_url(url: &str) {
    assert!(url.parse::<http::Uri>().is_ok(), "{url:?} is no URI");
}

fn check_propagation(propagation: &Propagation) {
    if let Propagation::Check { timeout, interval, resolvers, port } = propagation {
        assert!(!interval.is_zero() && interval <= timeout && *port != 0);
        assert!(resolvers.iter().all(|address| address.port() != 0));
    }
}

fn check_finished(finished: &Finished) {
    let config = &finished.config;
    let mut names = HashSet::new();
    for (id, variant) in config.variants.iter() {
        assert_file_name(&variant.name);
        assert!(names.insert(&variant.name), "{} is there twice", variant.name);
        assert_eq!(KeyType::parse(&variant.key.to_string()), Some(variant.key));
        let (_, certificate) = config.variant(id).expect("it belongs to a certificate");
        assert!(certificate.variants.contains(id));
    }
    for certificate in config.certificates.values() {
        assert!(!certificate.variants.is_empty() && !certificate.issuers.is_empty());
        assert!((1..=100).contains(&certificate.names.len()));
        certificate.names.iter().for_each(check_name);
        assert!(certificate.issuers.iter().all(|issuer| config.issuers.get(*issuer).is_some()));
        let mut issuers = certificate.issuers.iter().filter_map(|id| config.issuers.get(*id));
        let has_provider = config.providers.get(certificate.provider).is_some();
        assert!(has_provider || issuers.all(|issuer| !issuer.needs_provider()));
    }
}
