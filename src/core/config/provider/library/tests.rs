//! Settings that the blocks of library types give.

use super::super::fields::{Field, Kind, SettingValue};
use super::super::tests::{Line, library, line, read, ways};
use super::{Writes, library_types};
use crate::config::SecretId;
use std::collections::HashSet;

fn lines<const N: usize>(lines: [(&str, &str); N]) -> Vec<Line> {
    lines.map(|(directive, argument)| (directive.to_owned(), argument.to_owned())).into()
}

#[test]
fn all_settings_are_handed_on_by_their_names() {
    for kind in library_types() {
        let mut seen = HashSet::new();
        for way in ways(&kind.form()) {
            let is_of_another = |field: &&Field| {
                let is_credential = kind.credentials.iter().any(|way| way.contains(&field.name));
                is_credential && !way.contains(&field.name)
            };
            let fields = kind.fields.iter().filter(|field| !is_of_another(field));
            let lines: Vec<Line> = fields.map(line).collect();
            let settings = library(read(kind.name, &lines).expect(kind.name));
            assert_eq!((settings.kind, settings.ttl), (kind, 3600));
            seen.extend(settings.values.iter().map(|(name, _)| *name));
        }
        assert_eq!(seen, kind.setting_names().collect(), "{}", kind.name);
    }
    assert_eq!(library_types().count(), 66);
    let block = lines([
        ("application_key", "a"),
        ("application_secret_file", "s"),
        ("consumer_key", "env:C"),
        ("endpoint", "kimsufi-ca"),
    ]);
    let settings = library(read("ovh", &block).unwrap());
    let text = |text: &str| SettingValue::Text(text.to_owned());
    let expected = [
        ("application_key", text("a")),
        ("application_secret", SettingValue::Secret(SecretId(0))),
        ("consumer_key", SettingValue::Secret(SecretId(0))),
        ("endpoint", text("kimsufi-ca")),
    ];
    assert_eq!((settings.values, settings.ttl), (expected.into(), 60));
}

#[test]
fn a_time_to_live_below_the_least_is_refused() {
    for kind in library_types() {
        let least = kind.least_ttl();
        let error = |seconds: &str| read(kind.name, &lines([("ttl", seconds)])).unwrap_err();
        let accepted = error(&least.to_string());
        assert!(!accepted.contains("ttl"), "{accepted}");
        let below = (least - 1).to_string();
        assert_eq!(
            error(&below),
            format!("invalid value \"{below}\" in \"ttl\" directive, the least is {least}")
        );
        for bad in ["86401", "1h", "-1"] {
            let error = error(bad);
            assert!(error.ends_with(&format!("it must be {least} to 86400")), "{error}");
        }
    }
}

#[test]
fn whole_zones_are_rewritten_with_consent_only() {
    for kind in library_types() {
        let has_consent = kind.fields.iter().any(|field| matches!(field.kind, Kind::Consent(_)));
        assert_eq!(has_consent, kind.writes == Writes::Zone, "{}", kind.name);
    }
    let mut block = lines([("api_user", "u"), ("api_key", "env:K"), ("client_ip", "192.0.2.1")]);
    let error = read("namecheap", &block).unwrap_err();
    let expected = "\"zone_rewrite on\" is required for provider \"p\": the API of this provider ";
    assert!(error.starts_with(expected), "{error}");
    block.extend(lines([("zone_rewrite", "off")]));
    let error = read("namecheap", &block).unwrap_err();
    let expected =
        "invalid value \"off\" in \"zone_rewrite\" directive, it must be \"on\": the API ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn their_program_trusts_the_system() {
    for kind in library_types() {
        let expected = format!(
            "\"trusted_certificate\" is not a setting of type \"{}\": its program trusts the \
             certificates of the system, add yours there",
            kind.name
        );
        let block = lines([("trusted_certificate", "ca.pem")]);
        assert_eq!(read(kind.name, &block).unwrap_err(), expected);
    }
}
