//! Challenges whose names are aliases: the record goes to what they lead to, and is removed there.

use super::support::{Bed, CERTIFICATE, ISSUER, VARIANT, names};
use acme_dns_core::config::{
    CloudflareCredentials, CloudflareSettings, Propagation, Provider, ProviderKind, SecretId,
};
use acme_dns_core::id::ProviderId;
use acme_dns_core::level::Level;
use acme_dns_core::name::Name;
use acme_dns_core::schedule::Scope;
use acme_dns_service::acme::{KeyChoice, Leftovers, ObtainError};
use acme_dns_service::dns::{
    About, DnsProvider, PlacedRecord, ProviderError, Rule, SparedRecord, TxtRecord, Zone,
};
use acme_dns_service::event::{Event, Subject, VisibilityEvent};
use async_trait::async_trait;
use http::Method;
use secrecy::SecretString;
use servers::acme_proxy::AcmeStep;
use servers::cloudflare::Token;
use servers::ports::Port;
use servers::traffic::Match;
use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

const CHALLENGE: &str = "_acme-challenge.example.test";
const TARGET: &str = "shop.acme.test";

/// The account has another zone, `acme.test`.
fn bed() -> Bed {
    let bed = Bed::start();
    let testbed = &bed.testbed;
    testbed.cloudflare.add_zone(&testbed.dns, "acme.test");
    bed
}

/// Gives the names of all records that were created.
pub(super) fn created(bed: &Bed) -> Vec<String> {
    let requests = bed.testbed.cloudflare.traffic.requests(&Match::any().method(Method::POST));
    let bodies = requests.iter().map(|request| request.body());
    let named = |body: String| {
        let names = body.split("\"name\":\"").skip(1).filter_map(|rest| rest.split('"').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut names: Vec<String> = bodies.flat_map(named).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn a_record_goes_to_what_its_challenge_is_an_alias_of() {
    let bed = bed();
    bed.testbed.dns.set_cname(CHALLENGE, "first.acme.test");
    bed.testbed.dns.set_cname("first.acme.test", TARGET);
    bed.obtain().unwrap();
    assert_eq!(created(&bed), [TARGET]);
    bed.assert_clean();
    let delegated =
        VisibilityEvent::Delegated { challenge: CHALLENGE.into(), target: TARGET.into() };
    let subject = Subject::Certificate("example.test".into());
    assert!(bed.log.has(|event| *event == Event::Visibility(subject.clone(), delegated.clone())));
}

#[test]
fn an_alias_of_a_wildcard_is_seen_through() {
    let mut bed = bed();
    bed.testbed.dns.set_cname("*.example.test", "lb.elsewhere.test");
    bed.config.certificates[CERTIFICATE].names = names(&["www.example.test", "example.test"]);
    bed.obtain().unwrap();
    assert_eq!(created(&bed), [CHALLENGE, "_acme-challenge.www.example.test"]);
    bed.assert_clean();
}

#[test]
fn aliases_that_lead_nowhere_cost_no_order() {
    for (row, target, expected) in [
        (
            "loop",
            "_acme-challenge.www.example.test",
            "\"_acme-challenge.example.test\" -> \"_acme-challenge.www.example.test\" -> \
             \"_acme-challenge.example.test\" is a loop of aliases; remove one of these CNAME records",
        ),
        (
            "foreign",
            "x.elsewhere.test",
            "\"_acme-challenge.example.test\" is an alias of \"x.elsewhere.test\": give the credentials access to \
             the zone of that name, or remove the alias",
        ),
    ] {
        let bed = bed();
        bed.testbed.dns.create_zone("elsewhere.test");
        bed.testbed.dns.set_cname(CHALLENGE, target);
        bed.testbed.dns.set_cname("_acme-challenge.www.example.test", CHALLENGE);
        let error = bed.obtain_error();
        assert!(error.to_string().ends_with(expected), "{row}: {error}");
        assert_eq!(error.failure().scope, Scope::Certificate, "{row}");
        assert!(error.is_permanent(), "{row}");
        assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 0, "{row}");
        // It is looked for anew.
        bed.testbed.dns.delete_rrset(CHALLENGE, "CNAME");
        bed.obtain().unwrap_or_else(|error| panic!("{row}: {error}"));
        bed.assert_clean();
    }
}

#[test]
fn a_route_that_failed_is_looked_for_anew() {
    let bed = bed();
    bed.testbed.dns.create_zone("elsewhere.test");
    bed.testbed.dns.set_cname(CHALLENGE, "x.elsewhere.test");
    bed.run(async |obtainer| {
        let error = obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap_err();
        assert!(matches!(error, ObtainError::Provider(_)), "{error}");
        let _ = obtainer.failure(VARIANT, &error);
        std::thread::scope(|scope| {
            scope.spawn(|| bed.testbed.dns.set_cname(CHALLENGE, TARGET));
        });
        obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap();
    });
    assert_eq!(created(&bed), [TARGET]);
}

#[test]
fn what_an_order_of_before_has_left_at_a_target_is_removed_even_when_the_alias_is_gone() {
    for is_configured in [true, false] {
        let mut bed = bed();
        bed.testbed.dns.set_cname(CHALLENGE, TARGET);
        bed.testbed.cloudflare.pause_propagation();
        bed.run(async |obtainer| {
            let working = obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured);
            let is_wait = |event: &Event| {
                matches!(event, Event::Visibility(_, VisibilityEvent::Lacking { .. }))
            };
            let up = async {
                while !bed.log.has(is_wait) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                result = working => panic!("{result:?}"),
                () = up => {}
            }
        });
        let entry = fs::read_to_string(bed.state().join("journal/example.test.json")).unwrap();
        assert!(entry.contains(CHALLENGE) && entry.contains(TARGET), "{entry}");
        assert_eq!(bed.testbed.cloudflare.txt_records().len(), 2);
        bed.testbed.dns.delete_rrset(CHALLENGE, "CNAME");
        if !is_configured {
            bed.config.certificates[CERTIFICATE].names = names(&["other.example.test"]);
        }
        assert_eq!(bed.run(async |o| o.clean_journal().await), Leftovers::default());
        bed.assert_clean();
    }
}

#[test]
fn where_nobody_can_tell_an_order_asks_once_and_goes_on() {
    let mut bed = bed();
    let closed = Port::reserve();
    bed.config.propagation = Propagation::Check {
        timeout: Duration::from_millis(500),
        interval: Duration::from_millis(100),
        resolvers: vec![closed.addr()],
        port: closed.number(),
    };
    let held = names(&["example.test", "*.example.test", "www.example.test"]);
    bed.config.certificates[CERTIFICATE].names = held;
    let error = bed.obtain_error();
    assert!(matches!(error, ObtainError::Propagation(_)), "{error}");
    assert_eq!(created(&bed), [CHALLENGE, "_acme-challenge.www.example.test"]);
    let mut unknown: Vec<String> =
        bed.log.events(Level::Debug).into_iter().filter_map(unknown_alias).collect();
    unknown.sort();
    assert_eq!(unknown, [CHALLENGE, "_acme-challenge.www.example.test"]);
    bed.assert_clean();
}

fn unknown_alias(event: Event) -> Option<String> {
    match event {
        Event::Visibility(_, VisibilityEvent::AliasUnknown { name, .. }) => Some(name),
        _ => None,
    }
}

#[test]
fn a_challenge_may_be_a_zone_of_its_own() {
    let bed = bed();
    bed.testbed.cloudflare.add_zone(&bed.testbed.dns, CHALLENGE);
    bed.obtain().unwrap();
    let zone = bed.testbed.cloudflare.zone_id(CHALLENGE);
    let requests = bed.testbed.cloudflare.traffic.requests(&Match::any().method(Method::POST));
    assert!(requests.iter().all(|request| request.request.path.contains(&zone)), "only that zone");
    bed.assert_clean();
}

#[test]
fn a_servers_silence_does_not_stop_an_order() {
    let mut bed = bed();
    let Propagation::Check { port, .. } = &mut bed.config.propagation else {
        panic!("it checks");
    };
    // Nobody listens there: the resolver is asked for the alias, and no server for the record.
    let closed = Port::reserve();
    *port = closed.number();
    bed.testbed.dns.set_cname(CHALLENGE, TARGET);
    let error = bed.obtain_error();
    assert!(matches!(error, ObtainError::Propagation(_)), "{error}");
    assert_eq!(created(&bed), [TARGET]);
    bed.assert_clean();
}

/// Adds a provider that is bound to a zone, with another token.
pub(super) fn bind(bed: &mut Bed, zone: &str, token: &str) {
    let first = bed.config.providers[ProviderId::new(0)].clone();
    let ProviderKind::Cloudflare(settings) = first.kind.clone() else { panic!("{first:?}") };
    let credentials = CloudflareCredentials::Token(SecretId(1));
    bed.config.providers.push(Provider {
        name: "bound".into(),
        zones: names(&[zone]),
        zone: None,
        kind: ProviderKind::Cloudflare(CloudflareSettings { credentials, ..settings }),
        secrets: vec![SecretId(1)],
    });
    bed.secrets = vec![SecretString::from(token.to_owned())];
}

#[test]
fn a_target_in_a_zone_of_another_provider_goes_to_that_provider() {
    let token = "token-of-acme-test-0123456789-0123456789";
    let mut bed = bed();
    bed.testbed.cloudflare.add_token(Token::new(token).zones(&["acme.test"]));
    bind(&mut bed, "acme.test", token);
    bed.testbed.dns.set_cname("_acme-challenge.www.example.test", TARGET);
    bed.config.certificates[CERTIFICATE].names = names(&["www.example.test", "example.test"]);
    bed.obtain().unwrap();
    assert_eq!(created(&bed), [CHALLENGE, TARGET]);
    bed.assert_clean();
    // The other provider's trouble is this certificate's only.
    bed.testbed.cloudflare.revoke_token(token);
    let error = bed.obtain_error();
    assert!(error.to_string().contains("provider \"bound\""), "{error}");
    assert_eq!(error.failure().scope, Scope::Certificate);
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
}

#[test]
fn a_name_in_nobodys_zones_costs_no_order_and_says_what_to_do() {
    let mut bed = bed();
    bed.config.providers[ProviderId::new(0)].zones = names(&["acme.test"]);
    let rows = [
        (
            None,
            "no \"acme_dns_provider\" has \"_acme-challenge.example.test\" in its \"zones\": add its zone to \
                those of a provider",
        ),
        (
            Some("x.elsewhere.test"),
            "no \"acme_dns_provider\" has \"x.elsewhere.test\" in its \"zones\", of which \
                \"_acme-challenge.example.test\" is an alias: add the zone of that name to those of a provider, or \
                remove the alias",
        ),
    ];
    for (target, expected) in rows {
        if let Some(target) = target {
            bed.testbed.dns.set_cname(CHALLENGE, target);
        }
        let error = bed.obtain_error();
        assert_eq!(error.to_string(), expected);
        assert!(error.is_permanent());
    }
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 0);
    bed.testbed.dns.set_cname(CHALLENGE, TARGET);
    bed.obtain().unwrap();
    assert_eq!(created(&bed), [TARGET]);
}

/// A provider that finds zones in the DNS, and refuses every record.
#[derive(Default)]
struct Refusing {
    zones: Rc<RefCell<Vec<Zone>>>,
}

#[async_trait(?Send)]
impl DnsProvider for Refusing {
    async fn create(&self, zone: &Zone, _: &[TxtRecord]) -> Result<Vec<String>, ProviderError> {
        self.zones.borrow_mut().push(zone.clone());
        let text = String::new;
        let (action, detail, advice, about) = (text(), text(), text(), About::Name);
        Err(ProviderError::NoZone { action, detail, advice, about })
    }

    async fn remove(
        &self,
        _: &[PlacedRecord],
        _: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        Ok(Vec::new())
    }
}

#[test]
fn the_zone_of_the_configuration_beats_that_of_the_dns() {
    let mut bed = bed();
    bed.testbed.dns.create_zone("www.example.test");
    for (zone, name, expected) in [
        (None, "www.example.test", "www.example.test"),
        (Some("example.test"), "www.example.test", "example.test"),
        // Which nobody else has heard of.
        (Some("inner.example.test"), "a.inner.example.test", "inner.example.test"),
        (Some("inner.example.test"), "www.example.test", "www.example.test"),
    ] {
        bed.config.providers[ProviderId::new(0)].zone = zone.map(|zone| Name::parse(zone).unwrap());
        bed.config.certificates[CERTIFICATE].names = names(&[name]);
        let provider = Refusing::default();
        let zones = Rc::clone(&provider.zones);
        let providers: Vec<Box<dyn DnsProvider>> = vec![Box::new(provider)];
        let obtained = bed.run_with(providers.into(), async |obtainer| {
            obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await
        });
        assert!(matches!(obtained, Err(ObtainError::Provider(_))), "{zone:?} {name}");
        let expected = Zone { id: expected.to_owned(), name: expected.to_owned() };
        assert_eq!(*zones.borrow(), [expected], "{zone:?} {name}");
    }
}

#[test]
fn a_zone_of_the_configuration_that_the_provider_does_not_have_costs_no_order() {
    let mut bed = bed();
    bed.config.providers[ProviderId::new(0)].zone = Name::parse("sub.example.test").ok();
    bed.config.certificates[CERTIFICATE].names = names(&["a.sub.example.test"]);
    let error = bed.obtain_error();
    assert_eq!(
        error.to_string(),
        "provider \"cloudflare\" cannot use zone \"sub.example.test\": of the zones that it can see, \
         \"example.test\" holds that name; correct \"zone\" in its block, or give the credentials access to it"
    );
    assert!(error.is_permanent());
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 0);
    // It is that of other names.
    bed.config.certificates[CERTIFICATE].names = names(&["example.test"]);
    bed.obtain().unwrap();
}
