//! Failures: each with a text that says what to do.

use crate::bed::*;
use servers::dns_proxy::{DnsAction, DnsProxy, Questions, Transport};
use std::time::{Duration, SystemTime};

const SECOND: Duration = Duration::from_secs(1);

/// Creates a record, which must fail definitely.
fn refusal(bed: &Bed, provider: &Rfc2136, zone: &str) -> ProviderError {
    let name = format!("_acme-challenge.{zone}");
    let record = TxtRecord { name, value: "v".to_owned() };
    let error = run(provider.create(&zone_named(zone), &[record])).unwrap_err();
    assert!(error.is_definite() && error.is_permanent(), "{}: {error}", bed.server.name());
    assert!(!error.to_string().contains(&bed.key.secret), "{error}");
    assert_eq!(bed.values().len(), 2, "{}: {error}", bed.server.name());
    error
}

fn check(bed: &Bed, error: &ProviderError, code: &str, about: &About, advice: &str) {
    let (text, server) = (error.to_string(), bed.server.name());
    assert!(text.contains(&format!("\"{code}\"; ")), "{server}, {code}: {text}");
    assert!(text.contains(advice), "{server}, {advice}: {text}");
    assert_eq!(error.about(), about, "{server}: {text}");
}

/// Answer of PowerDNS to any key that is not as it should be.
const POWERDNS: (&str, &str) = ("REFUSED", "check its secret, \"algorithm\" and this host's clock");

#[test]
fn keys_that_are_not_those_of_the_server() {
    let zone = About::Zone(ZONE.into());
    for bed in Bed::all() {
        let is_powerdns = matches!(bed.server, Server::PowerDns(_));
        let expect = |code, advice| if is_powerdns { POWERDNS } else { (code, advice) };
        for tcp in [false, true] {
            let wrong =
                TsigKey { secret: TsigKey::new("k", "hmac-sha256").secret, ..bed.key.clone() };
            let (code, advice) = expect("BADSIG", "another secret for key \"update.example.com\"");
            let about = if is_powerdns { &zone } else { &About::Credentials };
            check(&bed, &refusal(&bed, &bed.make(&wrong, tcp), ZONE), code, about, advice);
            let unknown = TsigKey { name: "unknown".to_owned(), ..bed.key.clone() };
            let (code, advice) = expect("BADKEY", "has no key \"unknown\" with hmac-sha256");
            check(&bed, &refusal(&bed, &bed.make(&unknown, tcp), ZONE), code, &zone, advice);
            let longer = TsigKey { algorithm: "hmac-sha512".to_owned(), ..bed.key.clone() };
            let (code, advice) = expect("BADKEY", "\"update.example.com\" with hmac-sha512");
            check(&bed, &refusal(&bed, &bed.make(&longer, tcp), ZONE), code, &zone, advice);
        }
    }
}

#[test]
fn a_key_that_may_not_update_the_zone() {
    for bed in Bed::all() {
        let (code, advice) = match bed.server {
            Server::Bind(_) => ("REFUSED", "allow key \"other.example.com\" at server"),
            Server::Knot { .. } => {
                ("BADKEY", "\"other.example.com\" with hmac-sha256 that may update")
            }
            Server::PowerDns(_) => ("REFUSED", "allow key \"other.example.com\" at server"),
        };
        let error = refusal(&bed, &bed.make(&bed.other, false), ZONE);
        check(&bed, &error, code, &About::Zone(ZONE.into()), advice);
    }
}

#[test]
fn a_zone_that_the_server_does_not_have() {
    for bed in Bed::all() {
        let error = refusal(&bed, &bed.provider(false), "example.org");
        let advice = "name the zone's primary server in \"server\"";
        check(&bed, &error, "NOTAUTH", &About::Zone("example.org".into()), advice);
        let outside = TxtRecord { name: "_acme-challenge.example.org".into(), value: "v".into() };
        let error = run(bed.provider(false).create(&zone(), &[outside, txt("v")])).unwrap_err();
        assert!(error.is_definite(), "{error}");
        check(&bed, &error, "NOTZONE", &About::Name, "does not hold the name");
        assert_eq!(bed.values().len(), 2, "{}: nothing of it is done", bed.server.name());
    }
}

#[test]
fn clocks_that_differ() {
    for bed in Bed::all() {
        let (early, late) = (SystemTime::now() - 900 * SECOND, SystemTime::now() + 900 * SECOND);
        for (clock, advice) in [(early, " s behind that of server"), (late, " s ahead of that of")]
        {
            let provider = bed.provider(false).with_clock(move || clock);
            let error = refusal(&bed, &provider, ZONE);
            match bed.server {
                Server::PowerDns(_) => {
                    check(&bed, &error, POWERDNS.0, &About::Zone(ZONE.into()), POWERDNS.1);
                }
                _ => check(&bed, &error, "BADTIME", &About::Provider, advice),
            }
        }
        let now = SystemTime::now() - 200 * SECOND;
        let provider = bed.provider(false).with_clock(move || now);
        run(provider.create(&zone(), &[txt("v")])).expect("five minutes are allowed");
    }
}

/// Creates a record, which may have been created then.
fn failure(provider: &Rfc2136) -> String {
    let error = run(provider.create(&zone(), &[txt("v")])).unwrap_err();
    assert!(!error.is_definite() && !error.is_permanent(), "{error}");
    assert_eq!(*error.about(), About::Provider, "{error}");
    error.to_string()
}

#[test]
fn a_server_that_does_not_answer() {
    let mut bed = Bed::powerdns();
    let Server::PowerDns(server) = &mut bed.server else { unreachable!() };
    server.pause();
    for (tcp, transports) in [(false, "UDP and TCP"), (true, "TCP")] {
        let patience = Patience { tcp: SECOND, ..SHORT };
        let text = failure(&bed.provider(tcp).with_patience(patience));
        for part in ["no answer within", "check \"server\"", &format!("over {transports}")] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let Server::PowerDns(server) = &mut bed.server else { unreachable!() };
    server.stop();
    let text = failure(&bed.provider(false).with_patience(SHORT));
    assert!(text.contains("refused") && text.contains("check \"server\""), "{text}");
    let nowhere = provider_at("nowhere.invalid", &bed.key, false);
    let text = failure(&nowhere);
    assert!(text.contains("cannot look up \"nowhere.invalid\""), "{text}");
}

#[test]
fn an_answer_that_is_lost_or_cut_off() {
    let bed = Bed::bind();
    let proxy = DnsProxy::start(bed.server.addr());
    let updates = |transport| Questions::updates(ZONE).over(transport);
    let provider = || provider_at(&proxy.addr().to_string(), &bed.key, false);
    for (value, action, patience) in [
        ("cut off", DnsAction::Truncate, Patience::default()),
        ("garbage", DnsAction::Garbage, SHORT),
        ("lost", DnsAction::Silence, SHORT),
    ] {
        proxy.inject(updates(Transport::Udp), action);
        let created = run(provider().with_patience(patience).create(&zone(), &[txt(value)]));
        created.expect("it is created over TCP");
        assert!(bed.values().iter().any(|found| found == value), "{value}");
        proxy.clear(ZONE);
    }
    proxy.inject(updates(Transport::Udp), DnsAction::Truncate);
    proxy.inject(updates(Transport::Tcp), DnsAction::Close);
    let text = failure(&provider());
    assert!(text.contains("does not fit into UDP, over TCP: "), "{text}");
    proxy.clear(ZONE);
    // A refusal after an answer that was lost says nothing of what the lost one has done.
    proxy.inject(updates(Transport::Udp), DnsAction::Silence);
    let other = provider_at(&proxy.addr().to_string(), &bed.other, false).with_patience(SHORT);
    let error = run(other.create(&zone(), &[txt("v")])).unwrap_err();
    assert!(!error.is_definite() && error.is_permanent(), "{error}");
}

#[test]
fn a_server_in_trouble_and_one_that_does_not_sign() {
    let bed = Bed::knot();
    let proxy = DnsProxy::start(bed.server.addr());
    let provider = provider_at(&proxy.addr().to_string(), &bed.key, true);
    proxy.inject(Questions::updates(ZONE), DnsAction::ServerFailure);
    let text = failure(&provider);
    assert!(text.ends_with("\"SERVFAIL\""), "{text}");
    proxy.clear(ZONE);
    proxy.inject(Questions::updates(ZONE), DnsAction::Truncate);
    let text = failure(&provider);
    assert!(text.contains("it is not signed, check that \"server\""), "{text}");
}
