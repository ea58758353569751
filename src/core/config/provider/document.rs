//! The document of all types of providers, docs/providers.md, made out of their table.

use super::fields::{Facts, Field, Form, Kind};
use super::library::{LibraryType, Writes};
use super::types::types;

/// Head of the page.
const HEAD: &str = "\
# DNS providers

`make providers` writes this page from the table that `nginx -t` reads (`src/core/config/provider`). The blocks are described under
[acme_dns_provider](directives.md#acme_dns_provider). The last column says what each type was tested against: real servers, or a stand-in of
an API that cannot be reached in tests, which clients of other projects use as well. Every type also takes `zones` and `zone`.

| type | for | settings | values of a name | removal | tested against |
|---|---|---|---|---|---|
";

/// Text between the tables.
const LIBRARY: &str = "
## Types of acme-dns-providers

These types need the program `acme-dns-providers` beside the module. It calls their APIs through the library
[dns-update](https://crates.io/crates/dns-update), and trusts the certificates of the system. The last column is meant literally: where it
says \"the library's own tests only\", the type has not been tried here. `ttl` is optional everywhere, and the least TTL is the default.

Where \"record set\" stands, all values of a name are read, changed and written back, so one that another host adds in between is lost. The
same goes for all records of a \"whole zone\", hence `zone_rewrite on;`.

| type | for | settings | least TTL | writes | tested against |
|---|---|---|---|---|---|
";

/// Writes the document.
#[must_use]
pub fn document() -> String {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for kind in types() {
        match kind.library() {
            None => own.push(row(&kind.form)),
            Some(library) => others.push(library_row(&kind.form, library)),
        }
    }
    others.sort_unstable();
    [HEAD, &own.concat(), LIBRARY, &others.concat()].concat()
}

fn row(form: &Form) -> String {
    let Facts { title, values, removal, proof } = form.facts;
    let (words, settings) = (words(form), settings(form));
    format!("| {words} | {title} | {settings} | {values} | {removal} | {proof} |\n")
}

fn library_row(form: &Form, library: &LibraryType) -> String {
    let Facts { title, proof, .. } = form.facts;
    let (words, settings, ttl) = (words(form), settings(form), library.least_ttl());
    let writes = match library.writes {
        Writes::Record => "record",
        Writes::Set => "record set",
        Writes::Zone => "whole zone",
    };
    format!("| {words} | {title} | {settings} | {ttl} | {writes} | {proof} |\n")
}

fn words(form: &Form) -> String {
    let words: Vec<String> = form.words().map(|word| format!("`{word}`")).collect();
    words.join(", ")
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
    // A time to live of that kind has a column of its own.
    let is_other = |field: &&Field| {
        !field.is_required && !is_credential(field) && !matches!(field.kind, Kind::Ttl { .. })
    };
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
