//! Blocks of all types, each made of its row in the table.

use super::fields::{Field, Form, Kind};
use super::types::{ProviderKind, types};
use super::{Provider, ProviderReader};
use crate::config::tests::Fake;

/// A directive with its argument.
pub(super) type Line = (String, String);

/// Texts of which each setting takes one.
const TEXTS: [&str; 9] = [
    "some text",
    "region-1",
    "192.0.2.1",
    "7",
    "a@b.test",
    "hmac-sha256",
    "dns_x",
    "/home",
    "word",
];

/// Writes a right line for a setting.
pub(super) fn line(field: &Field) -> Line {
    let is_valid = |text: &&&str| match field.kind {
        Kind::Text(is_valid, _) => is_valid(text),
        _ => true,
    };
    let argument = match field.kind {
        Kind::Secret(_) => "env:S",
        Kind::Ttl { .. } | Kind::Number(..) => "3600",
        Kind::Flag | Kind::Consent(_) => "on",
        Kind::Url => "https://api.test",
        Kind::Choice(choices) => choices.last().unwrap().word,
        _ => TEXTS.iter().find(is_valid).unwrap(),
    };
    (field.name.to_owned(), argument.to_owned())
}

/// Reads a block of a type.
pub(super) fn read(word: &str, lines: &[Line]) -> Result<Provider, String> {
    let mut reader = ProviderReader::new("p", Some(word))?;
    for (directive, argument) in lines {
        reader.set(directive, &[argument], &mut Fake::default())?;
    }
    reader.finish()
}

/// Lists the ways to authorize; a single one without settings where there is no choice.
pub(super) fn ways(form: &Form) -> &'static [&'static [&'static str]] {
    if form.credentials.is_empty() { &[&[]] } else { form.credentials }
}

/// The blocks of `exec` depend on their protocol, and have tests of their own.
fn forms() -> impl Iterator<Item = Form> {
    types().map(|kind| kind.form).filter(|form| form.name != "exec")
}

#[test]
fn a_block_of_required_settings_is_complete_and_without_one_of_them_it_is_not() {
    for form in forms() {
        for way in ways(&form) {
            let is_needed = |field: &&Field| field.is_required || way.contains(&field.name);
            let fields: Vec<&Field> = form.fields.iter().filter(is_needed).collect();
            let lines: Vec<Line> = fields.iter().map(|field| line(field)).collect();
            read(form.name, &lines).expect(form.name);
            for (position, field) in fields.iter().enumerate() {
                let mut lines = lines.clone();
                lines.remove(position);
                // Where nothing is left of a way, the first one is asked for.
                let first = ways(&form)[0].first().copied();
                let first = first.filter(|_| *way == [field.name]).unwrap_or(field.name);
                let error = read(form.name, &lines).expect_err(form.name);
                assert!(error.contains(&format!("\"{first}")), "{}: {error}", form.name);
            }
        }
    }
}

#[test]
fn no_secret_stands_in_the_configuration_itself() {
    for form in forms() {
        for field in form.fields.iter().filter(|field| matches!(field.kind, Kind::Secret(_))) {
            let error = read(form.name, &[(field.name.to_owned(), "s3cret".to_owned())]);
            let error = error.unwrap_err();
            let source = format!("\"{}_file\"", field.name);
            assert!(error.contains(&source) && !error.contains("s3cret"), "{error}");
        }
    }
}

#[test]
fn names_of_variables_lead_to_their_setting() {
    for form in forms() {
        for field in form.fields {
            for variable in field.also {
                let error = read(form.name, &[((*variable).to_owned(), "s3cret".to_owned())]);
                let expected = format!("\"{variable}\" is called {} here", field.directives());
                assert_eq!(error.unwrap_err(), expected);
            }
        }
    }
}

#[test]
fn words_stand_for_one_type() {
    let words: Vec<&str> = types().flat_map(|kind| kind.form.words()).collect();
    for (position, word) in words.iter().enumerate() {
        assert!(!words[..position].contains(word), "{word} stands for two types");
    }
    for word in ["aws", "azure", "gcloud", "gandiv5", "simply"] {
        assert!(words.contains(&word), "{word}");
    }
    // They hold one value for a name, or are not written by the library at all.
    for word in ["ddnss", "hurricane", "freemyip"] {
        assert!(!words.contains(&word), "{word}");
    }
}

/// Gives the settings of a library type.
pub(super) fn library(provider: Provider) -> super::LibrarySettings {
    match provider.kind {
        ProviderKind::Library(settings) => settings,
        other => panic!("{other:?}"),
    }
}
