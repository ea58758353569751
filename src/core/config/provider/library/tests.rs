//! Blocks of library types, each made of its row in the table.

use super::super::fields::{Field, Kind, SettingValue};
use super::super::{ProviderKind, ProviderReader};
use super::{LibrarySettings, LibraryType, Writes, library_types};
use crate::config::SecretId;
use crate::config::tests::Fake;
use std::collections::HashSet;

/// A directive with its argument.
type Line = (String, String);

/// Writes a right line for a setting.
fn line(field: &Field) -> Line {
    let is_valid = |text: &&&str| match field.kind {
        Kind::Text(is_valid, _) => is_valid(text),
        _ => true,
    };
    let argument = match field.kind {
        Kind::Secret(_) => "env:S",
        Kind::Ttl { .. } => "3600",
        Kind::Flag | Kind::Consent(_) => "on",
        Kind::Url => "https://api.test",
        Kind::Choice(choices) => choices.last().unwrap().word,
        _ => ["some text", "region-1", "192.0.2.1", "7"].iter().find(is_valid).unwrap(),
    };
    (field.name.to_owned(), argument.to_owned())
}

/// Gives the settings of the shortest block, by one of the ways to authorize.
fn required(kind: &LibraryType, way: &[&str]) -> Vec<&'static Field> {
    let fields = kind.fields.iter();
    fields.filter(|field| field.is_required || way.contains(&field.name)).collect()
}

fn ways(kind: &LibraryType) -> &'static [&'static [&'static str]] {
    if kind.credentials.is_empty() { &[&[]] } else { kind.credentials }
}

fn read(word: &str, lines: &[Line]) -> Result<LibrarySettings, String> {
    let mut reader = ProviderReader::new("p", Some(word))?;
    for (directive, argument) in lines {
        reader.set(directive, &[argument], &mut Fake::default())?;
    }
    match reader.finish()?.kind {
        ProviderKind::Library(settings) => Ok(settings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_block_of_required_settings_is_complete_and_without_one_of_them_it_is_not() {
    for kind in library_types() {
        for way in ways(kind) {
            let fields = required(kind, way);
            let lines: Vec<Line> = fields.iter().map(|field| line(field)).collect();
            let settings = read(kind.name, &lines).expect(kind.name);
            assert_eq!((settings.kind, settings.ttl), (kind, kind.least_ttl()));
            for (position, field) in fields.iter().enumerate() {
                let mut lines = lines.clone();
                lines.remove(position);
                let error = read(kind.name, &lines).expect_err(kind.name);
                // Where another way to authorize begins with it, that one is named.
                let begins = kind.credentials.iter().map(|way| format!("\"{}\"", way[0]));
                let mut named = begins.chain([format!("\"{}", field.name)]);
                assert!(named.any(|name| error.contains(&name)), "{}: {error}", kind.name);
            }
        }
    }
}

#[test]
fn all_settings_are_handed_on_by_their_names() {
    for kind in library_types() {
        for way in ways(kind) {
            let of_another = |field: &Field| {
                kind.credentials.iter().any(|way| way.contains(&field.name))
                    && !way.contains(&field.name)
            };
            let fields = kind.fields.iter().filter(|field| !of_another(field));
            let lines: Vec<Line> = fields.map(line).collect();
            let settings = read(kind.name, &lines).expect(kind.name);
            let named: HashSet<&str> = settings.values.iter().map(|(name, _)| *name).collect();
            let others = kind.setting_names().filter(|name| !named.contains(name));
            assert!(named.iter().all(|name| kind.setting_names().any(|known| known == *name)));
            assert!(
                others
                    .into_iter()
                    .all(|name| kind.credentials.iter().any(|way| way.contains(&name)))
            );
            assert_eq!(settings.ttl, 3600, "{}", kind.name);
        }
    }
    let lines = [
        ("application_key", "a"),
        ("application_secret_file", "s"),
        ("consumer_key", "env:C"),
        ("endpoint", "kimsufi-ca"),
    ];
    let lines = lines.map(|(directive, argument)| (directive.to_owned(), argument.to_owned()));
    let settings = read("ovh", &lines).unwrap();
    let text = |text: &str| SettingValue::Text(text.to_owned());
    assert_eq!(
        settings.values,
        [
            ("application_key", text("a")),
            ("application_secret", SettingValue::Secret(SecretId(0))),
            ("consumer_key", SettingValue::Secret(SecretId(0))),
            ("endpoint", text("kimsufi-ca")),
        ]
    );
}

#[test]
fn no_secret_stands_in_the_configuration_itself() {
    for kind in library_types() {
        for field in kind.fields.iter().filter(|field| matches!(field.kind, Kind::Secret(_))) {
            let mut reader = ProviderReader::new("p", Some(kind.name)).unwrap();
            let error = reader.set(field.name, &["s3cret"], &mut Fake::default()).unwrap_err();
            let source = format!("\"{}_file\"", field.name);
            assert!(error.contains(&source) && !error.contains("s3cret"), "{error}");
        }
    }
}

#[test]
fn a_time_to_live_below_the_least_is_refused() {
    for kind in library_types() {
        let least = kind.least_ttl();
        let set = |seconds: &str| {
            let mut reader = ProviderReader::new("p", Some(kind.name)).unwrap();
            reader.set("ttl", &[seconds], &mut Fake::default())
        };
        assert_eq!(set(&least.to_string()), Ok(()), "{}", kind.name);
        let below = (least - 1).to_string();
        let expected =
            format!("invalid value \"{below}\" in \"ttl\" directive, the least is {least}");
        assert_eq!(set(&below), Err(expected));
        for bad in ["86401", "1h", "-1"] {
            let error = set(bad).unwrap_err();
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
    let lines = ["api_user", "api_key", "client_ip"].into_iter().zip(["u", "env:K", "192.0.2.1"]);
    let mut lines: Vec<Line> =
        lines.map(|(directive, argument)| (directive.to_owned(), argument.to_owned())).collect();
    let error = read("namecheap", &lines).unwrap_err();
    let expected = "\"zone_rewrite on\" is required for provider \"p\": the API of this provider can only replace";
    assert!(error.starts_with(expected), "{error}");
    lines.push(("zone_rewrite".to_owned(), "off".to_owned()));
    let error = read("namecheap", &lines).unwrap_err();
    assert!(
        error.starts_with(
            "invalid value \"off\" in \"zone_rewrite\" directive, it must be \"on\": "
        ),
        "{error}"
    );
}

#[test]
fn words_are_those_of_one_type_and_their_program_trusts_the_system() {
    let mut words = HashSet::new();
    for kind in library_types() {
        for word in [kind.name].iter().chain(kind.aliases) {
            assert!(words.insert(*word), "{word} stands for two types");
            let mut reader = ProviderReader::new("p", Some(word)).unwrap();
            let error = reader.set("trusted_certificate", &["ca.pem"], &mut Fake::default());
            assert_eq!(
                error.unwrap_err(),
                format!(
                    "\"trusted_certificate\" is not a setting of type \"{}\": its program trusts the \
                     certificates of the system, add yours there",
                    kind.name
                )
            );
        }
    }
    assert_eq!(library_types().count(), 66);
    for word in ["aws", "azure", "gcloud", "gandiv5", "simply"] {
        assert!(words.contains(word), "{word}");
    }
    // They hold one value for a name, or none is written by it at all.
    for word in ["ddnss", "hurricane", "freemyip"] {
        assert!(ProviderReader::new("p", Some(word)).is_err(), "{word}");
    }
}
