//! The page of all lines, docs/log.md, made out of their table.

use super::{Remedy, Row, Section, sections};
use acme_dns_core::level::Level;
use std::fmt::Write;

/// Head of the page.
const HEAD: &str = "\
# Lines of the log

Whatever the module does is told in one line of NGINX's `error_log`, which begins with `acme_dns:`. A line says what happened, to which
certificate, issuer or provider, what happens next, and when; a reason, which may be long, comes last. Search this page for words of a
line: names, numbers and reasons are examples.

[operations.md](operations.md#log-levels) says what the levels mean, and [what to do](operations.md#when-something-fails) about common
reasons. At level `debug` the lines of an attempt begin with its mark, as in `acme_dns: attempt 3fa9c1: ...`:
[Following one order](operations.md#following-one-order). Mistakes in the configuration are not here: NGINX refuses it with one line at
level `emerg`, and warns at level `warn`, each with file and line, also under `nginx -t`.

`make log-doc` writes this page from the table of events in `src/service/event/`.
";

/// Head of each table.
const TABLE: &str = "\
| event | level | line | what it means | what to do |
|---|---|---|---|---|
";

/// Writes the document.
#[must_use]
pub fn document() -> String {
    sections().into_iter().fold(HEAD.to_owned(), |mut text, Section { title, mut rows }| {
        rows.sort_by_key(|row| severity(row.level()));
        let lines: String = rows.iter().map(line).collect();
        // Writing to a string does not fail.
        let _ = write!(text, "\n## {title}\n\n{TABLE}{lines}");
        text
    })
}

/// Writes a row as a line of the table.
fn line(row: &Row) -> String {
    let Row { id, example, meaning, remedy } = row;
    let level = match row.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let remedy = match remedy {
        Remedy::Nothing => "nothing",
        Remedy::Optional(advice) | Remedy::Needed(advice) => advice,
    };
    let example = example.to_string().replace('|', "\\|");
    format!("| {id} | `{level}` | `{example}` | {meaning} | {remedy} |\n")
}

/// Place of a level in a table: what needs a person comes first.
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 0,
        Level::Warn => 1,
        Level::Notice => 2,
        Level::Info => 3,
        Level::Debug => 4,
    }
}
