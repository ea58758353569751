use super::{
    ANY_DOMAIN, Challenge, Good, Look, Malformed, Terms, Wanted, base_of, end_of, hash_input,
    hashed_account, record_name, zone_line,
};
use crate::encoding::from_base64;
use crate::time::UnixTime;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

const NOW: UnixTime = UnixTime(1_800_000_000);
const ACCOUNT: &str = "https://ca.example/acct/123";
const PREFIX: &str = "https://ca.example/account-hash/";
const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

fn wanted(wildcard: bool) -> Wanted {
    let issuers = ["authority.example", "ca.example.net"].map(str::to_owned).to_vec();
    Wanted {
        issuers,
        accounts: vec![ACCOUNT.to_owned()],
        former: vec!["former".to_owned()],
        wildcard,
    }
}

#[test]
fn a_record_has_a_name_of_its_own() {
    assert_eq!(record_name("example.com"), "_validation-persist.example.com");
    assert_eq!(base_of("_validation-persist.example.com"), Some("example.com"));
    for other in ["_validation-persist.", "_acme-challenge.example.com", "example.com"] {
        assert_eq!(base_of(other), None, "{other}");
    }
}

/// The examples of draft 02, section 10.2. The digests themselves are checked where they are made.
#[test]
fn an_account_is_hashed_with_domain_and_key() {
    let input = hash_input("example.com", THUMBPRINT, ACCOUNT);
    assert_eq!(input[0], 11);
    assert_eq!(input[1..], *format!("example.com{THUMBPRINT}{ACCOUNT}").as_bytes());
    let input = hash_input(ANY_DOMAIN, THUMBPRINT, ACCOUNT);
    assert_eq!(input[..3], *b"\x01*N");
    let hash = "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw";
    let digest: [u8; 32] = from_base64(hash).unwrap().as_slice().try_into().unwrap();
    assert_eq!(hashed_account(PREFIX, &digest), format!("{PREFIX}sha-256/{hash}"));
}

#[test]
fn the_directory_tells_the_drafts_apart() {
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    for (row, meta, prefix, issuers) in [
        ("nothing", json!({}), None, names(&[])),
        (
            "draft 01",
            json!({"caaIdentities": ["CA.example.", "ca.example.net"]}),
            None,
            names(&["ca.example", "ca.example.net"]),
        ),
        (
            "draft 02",
            json!({"accountHashPrefix": PREFIX, "issuerDomainNames": ["authority.example"],
                "caaIdentities": ["authority.example", "other.example"]}),
            Some(PREFIX),
            names(&["authority.example"]),
        ),
        ("only a prefix", json!({"accountHashPrefix": PREFIX}), Some(PREFIX), names(&[])),
        (
            "a list that does not conform",
            json!({"accountHashPrefix": PREFIX, "issuerDomainNames": ["UPPER.example"]}),
            Some(PREFIX),
            names(&[]),
        ),
        ("a bad prefix", json!({"accountHashPrefix": "https://ca.example/; x"}), None, names(&[])),
        ("a relative prefix", json!({"accountHashPrefix": "/hash/"}), None, names(&[])),
        ("odd members", json!({"accountHashPrefix": 7, "caaIdentities": "a"}), None, names(&[])),
    ] {
        let terms = Terms::read(&meta);
        assert_eq!(terms.hash_prefix(), prefix, "{row}");
        assert_eq!(terms.issuers(), issuers, "{row}");
    }
}

#[test]
fn challenges_of_both_drafts_are_read() {
    let old = Terms::read(&json!({}));
    let new = Terms::read(&json!({"accountHashPrefix": PREFIX,
        "issuerDomainNames": ["authority.example"],
        "caaIdentities": ["authority.example", "ca.example.net"]}));
    let many: Vec<String> = (0..11).map(|number| format!("ca{number}.example")).collect();
    let long = format!("{}.example", "a.".repeat(130));
    let good = |issuers: &[&str], account: Option<&str>| {
        let issuers = issuers.iter().map(|&name| name.to_owned()).collect();
        Ok(Challenge { issuers, account: account.map(str::to_owned) })
    };
    let issuer = |name: &str| Err(Malformed::Issuer(name.to_owned()));
    for (terms, challenge, expected) in [
        (&old, json!({"issuer-domain-names": ["a.example"]}), good(&["a.example"], None)),
        (
            &old,
            json!({"issuer-domain-names": ["a.example"], "accounturi": ACCOUNT}),
            good(&["a.example"], Some(ACCOUNT)),
        ),
        (
            &old,
            json!({"issuer-domain-names": ["a.example"], "accounturi": "https://x/; policy=wildcard"}),
            Err(Malformed::Account),
        ),
        (
            &old,
            json!({"issuerDomainNames": ["a.example"]}),
            Err(Malformed::NoIssuers("issuer-domain-names")),
        ),
        (
            &new,
            json!({"issuer-domain-names": ["authority.example"]}),
            Err(Malformed::NoIssuers("issuerDomainNames")),
        ),
        (&old, json!({"issuer-domain-names": []}), Err(Malformed::Number(0))),
        (&old, json!({"issuer-domain-names": many}), Err(Malformed::Number(11))),
        (&old, json!({"issuer-domain-names": ["A.example"]}), issuer("A.example")),
        (&old, json!({"issuer-domain-names": ["a.example."]}), issuer("a.example.")),
        (&old, json!({"issuer-domain-names": ["b\u{fc}.example"]}), issuer("b\u{fc}.example")),
        (
            &old,
            json!({"issuer-domain-names": ["a; policy=wildcard"]}),
            issuer("a; policy=wildcard"),
        ),
        (&old, json!({"issuer-domain-names": [long]}), issuer(&long[..253])),
        (
            &old,
            json!({"issuer-domain-names": [7]}),
            Err(Malformed::NoIssuers("issuer-domain-names")),
        ),
        (
            &new,
            json!({"issuerDomainNames": ["ca.example.net", "authority.example"], "accounturi": "x"}),
            good(&["ca.example.net", "authority.example"], None),
        ),
        (
            &new,
            json!({"issuerDomainNames": ["ca.example.net"]}),
            Err(Malformed::Lacks("authority.example".to_owned())),
        ),
        (
            &new,
            json!({"issuerDomainNames": ["authority.example", "other.example"]}),
            Err(Malformed::Unknown("other.example".to_owned())),
        ),
    ] {
        assert_eq!(terms.challenge(&challenge), expected, "{challenge}");
    }
}

#[test]
fn values_are_composed_as_the_drafts_show_them() {
    let until = Some(UnixTime(1_721_952_000));
    let base = format!("authority.example; accounturi={ACCOUNT}");
    for (wildcard, until, expected) in [
        (false, None, base.clone()),
        (true, None, format!("{base}; policy=wildcard")),
        (false, until, format!("{base}; persistUntil=1721952000")),
        (true, until, format!("{base}; policy=wildcard; persistUntil=1721952000")),
    ] {
        assert_eq!(wanted(wildcard).value("authority.example", until), expected);
    }
}

fn good(until: Option<i64>) -> Good {
    Good { until: until.map(UnixTime), is_former: false }
}

/// Result of a look at one value: `good`, `good UNTIL`, or the fault.
fn found(value: &str, wildcard: bool) -> String {
    let Look { good, fault, .. } = wanted(wildcard).look([value], NOW);
    match (good, fault) {
        (Some(Good { is_former: true, .. }), None) => "former".to_owned(),
        (Some(Good { until: None, .. }), None) => "good".to_owned(),
        (Some(Good { until: Some(until), .. }), None) => format!("good {}", until.0),
        (None, None) => "nothing".to_owned(),
        (None, Some(fault)) => fault,
        both => panic!("{both:?}"),
    }
}

#[test]
fn values_are_judged() {
    const TWICE: &str = "there is one that is malformed: a parameter is there twice";
    const EMPTY: &str = "there is one that is malformed: a parameter is empty, or the last \";\" has none behind it";
    const ODD: &str =
        "there is one that is malformed: a parameter has a character that must not be there";
    const NO_ACCOUNT: &str = "there is one that is malformed: it has no account";
    const NUMBER: &str = "there is one that is malformed: \"persistUntil\" is no number of seconds";
    for (value, wildcard, expected) in [
        ("authority.example; accounturi=A", false, "good"),
        ("authority.example;accounturi=A", false, "good"),
        ("\t Authority.Example. ;\tAccountURI = A ", false, "good"),
        ("ca.example.net; accounturi=A", false, "good"),
        ("ca.example.net; accounturi=former", false, "former"),
        ("authority.example; accounturi=A; unknown=x-1", false, "good"),
        ("authority.example; accounturi=A; policy=WildCard", true, "good"),
        ("authority.example; accounturi=A; policy=wildcard", false, "good"),
        ("authority.example; accounturi=A; policy=other", false, "good"),
        ("authority.example; accounturi=A; persistUntil=1800000001", false, "good 1800000001"),
        (
            "authority.example; accounturi=A; policy=other",
            true,
            "there is one without \"policy=wildcard\"",
        ),
        ("authority.example; accounturi=A", true, "there is one without \"policy=wildcard\""),
        (
            "authority.example; accounturi=A; persistUntil=1800000000",
            false,
            "there is one that has ended at 2027-01-15T08:00:00Z",
        ),
        ("authority.example; accounturi=A; persistUntil=soon", false, NUMBER),
        ("authority.example; accounturi=A; persistUntil=-1", false, NUMBER),
        ("authority.example; accounturi=A; persistUntil=", false, NUMBER),
        ("authority.example; accounturi=a", false, "there is one of another account"),
        ("authority.example; accounturi=A/", false, "there is one of another account"),
        ("authority.example", false, NO_ACCOUNT),
        ("authority.example; policy=wildcard", false, NO_ACCOUNT),
        ("authority.example; accounturi=", false, NO_ACCOUNT),
        ("authority.example; accounturi=A;", false, EMPTY),
        ("authority.example;; accounturi=A", false, EMPTY),
        ("authority.example; accounturi=A; ACCOUNTURI=A", false, TWICE),
        ("authority.example; accounturi=A B", false, ODD),
        ("authority.example; -x=1; accounturi=A", false, ODD),
        ("authority.example; accounturi=A; =1", false, ODD),
        (
            "authority.example; accounturi",
            false,
            "there is one that is malformed: a parameter is not of the form tag=value",
        ),
        ("other.example; accounturi=A", false, "nothing"),
        ("other.example; accounturi=A; ;", false, "nothing"),
        ("v=spf1 -all", false, "nothing"),
        ("", false, "nothing"),
        ("; accounturi=A", false, "nothing"),
    ] {
        // In short, so that a row fits into a line.
        let full =
            value.replace("=A", &format!("={ACCOUNT}")).replace("= A ", &format!("= {ACCOUNT} "));
        assert_eq!(found(&full, wildcard), expected, "{value}");
    }
}

#[test]
fn of_several_values_the_best_counts_and_foreign_ones_are_no_matter() {
    let own = |rest: &str| format!("ca.example.net; accounturi={ACCOUNT}{rest}");
    let other = "authority.example; accounturi=https://ca.example/acct/9".to_owned();
    let values = [
        "v=spf1 -all".to_owned(),
        other.clone(),
        own("; persistUntil=1800000100"),
        own("; persistUntil=1800000900"),
        own("; persistUntil=1"),
    ];
    let look = |values: &[String]| wanted(false).look(values.iter().map(String::as_str), NOW);
    let found = look(&values);
    assert_eq!(found.good, Some(good(Some(1_800_000_900))));
    assert_eq!(found.issuer, "ca.example.net", "the one that is published");
    assert_eq!(found.own, values[2..]);
    let found = look(&[own("; persistUntil=1800000100"), own("")]);
    assert_eq!(found.good, Some(good(None)));
    let found = look(&[other]);
    assert_eq!((found.good, found.issuer.as_str()), (None, "authority.example"), "the first");
    assert_eq!((found.own.len(), found.fault.is_some()), (0, true));
}

#[test]
fn a_record_is_written_anew_at_half_of_its_time() {
    let day = Duration::from_secs(86_400);
    let until = |days: u32| good(Some((NOW + day * days).0));
    for (good, span, expected) in [
        (good(None), Some(400), false),
        (good(None), None, false),
        (until(200), Some(400), false),
        (until(199), Some(400), true),
        (until(30), None, false),
        (until(29), None, true),
    ] {
        assert_eq!(good.ends_soon(span.map(|days| day * days), NOW), expected, "{good:?} {span:?}");
    }
    let end = end_of(day * 400, NOW);
    assert_eq!((end.0 % 86_400, end.0 > (NOW + day * 400).0), (0, true));
    assert_eq!(end, end_of(day * 400, NOW + Duration::from_secs(60)), "the same all day");
}

#[test]
fn a_zone_line_can_be_pasted() {
    let line = zone_line("_validation-persist.example.com", "a; b=c");
    assert_eq!(line, "_validation-persist.example.com. IN TXT \"a; b=c\"");
    let line = zone_line("n", &"x".repeat(300));
    let expected = format!("n. IN TXT \"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
    assert_eq!(line, expected);
}

#[test]
fn a_record_has_to_be_at_all_servers() {
    let own = |rest: &str| format!("authority.example; accounturi={ACCOUNT}{rest}");
    let look = |values: &[String]| wanted(false).look(values.iter().map(String::as_str), NOW);
    let joined = |one: &[String], two: &[String]| look(one).joined(look(two));
    let (endless, short) = (own(""), own("; persistUntil=1800000100"));
    let (endless, short) = (vec![endless], vec![short]);
    assert_eq!(joined(&endless, &endless).good, Some(good(None)));
    for (one, two) in [(&endless, &short), (&short, &endless)] {
        let found = joined(one, two);
        assert_eq!(found.good, Some(good(Some(1_800_000_100))), "the one that ends first");
        assert_eq!(found.own.len(), 2);
    }
    for (one, two) in [(&endless[..], &[][..]), (&[], &endless)] {
        let found = joined(one, two);
        assert_eq!(found.good, None);
        assert_eq!(found.fault.as_deref(), Some("not all servers of the zone have it"));
    }
    assert_eq!(joined(&[], &[]).fault, None);
}

proptest! {
    /// Whatever a zone has at the name, a look ends, and what we write is found again.
    #[test]
    fn any_values_can_be_looked_at(values in vec("[ -~\t]{0,60}", 0..4), wildcard: bool) {
        let wanted = wanted(wildcard);
        let own = wanted.value("authority.example", None);
        let all = values.iter().map(String::as_str);
        prop_assert!(wanted.look(all.clone(), NOW).good.is_none());
        prop_assert_eq!(wanted.look(all.chain([own.as_str()]), NOW).good, Some(good(None)));
    }
}
