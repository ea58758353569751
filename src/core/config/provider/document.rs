//! The document of all types of providers, docs/providers.md, made out of their table.

use super::fields::{Facts, Field, Form};
use super::types::types;

/// Head of the page.
const HEAD: &str = "\
# DNS providers

`make providers` writes this page from the table that `nginx -t` reads (`src/core/config/provider`). The blocks are described under
[acme_dns_provider](directives.md#acme_dns_provider). The last column says what each type was tested against: real servers, or a stand-in of
an API that cannot be reached in tests, which clients of other projects use as well. Every type also takes `zones`.

| type | for | settings | values of a name | removal | tested against |
|---|---|---|---|---|---|
";

/// Writes the document.
#[must_use]
pub fn document() -> String {
    types().fold(HEAD.to_owned(), |text, kind| text + &row(&kind.form))
}

fn row(form: &Form) -> String {
    let Facts { title, values, removal, proof } = form.facts;
    let words: Vec<String> =
        [form.name].iter().chain(form.aliases).map(|word| format!("`{word}`")).collect();
    let (words, settings) = (words.join(", "), settings(form));
    format!("| {words} | {title} | {settings} | {values} | {removal} | {proof} |\n")
}

/// Lists the settings: those that are required, the ways to authorize, and the others.
fn settings(form: &Form) -> String {
    let is_credential =
        |field: &&Field| form.credentials.iter().any(|way| way.contains(&field.name));
    let required = form.fields.iter().filter(|field| field.is_required).map(Field::documented);
    let ways = form.credentials.iter().filter(|way| !way.is_empty()).map(|way| {
        let of_way = form.fields.iter().filter(|field| way.contains(&field.name));
        of_way.map(Field::documented).collect::<Vec<_>>().join(" with ")
    });
    let ways: Vec<String> = ways.collect();
    let is_other = |field: &&Field| !field.is_required && !is_credential(field);
    let others = form.fields.iter().filter(is_other).map(Field::documented);
    // Where nothing is a way, too, the others need not be taken.
    let may_be_open = form.credentials.iter().any(|way| way.is_empty());
    let ways = Some(ways.join(", else ")).filter(|ways| !ways.is_empty());
    let (optional, needed) = if may_be_open { (ways, None) } else { (None, ways) };
    let others: Vec<String> = optional.into_iter().chain(others).collect();
    let mut parts: Vec<String> = required.chain(needed).collect();
    if !others.is_empty() {
        parts.push(format!("optional: {}", others.join(", ")));
    }
    parts.join("; ")
}
