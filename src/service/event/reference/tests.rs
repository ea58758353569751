use super::{Remedy, Row, document, sections};
use acme_dns_core::level::Level;
use std::collections::HashSet;
use std::fs;

fn rows() -> impl Iterator<Item = Row> {
    sections().into_iter().flat_map(|section| section.rows)
}

#[test]
fn the_document_has_the_lines_that_are_printed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/log.md");
    let written = fs::read_to_string(path).unwrap();
    let (mut written, expected) = (written.lines(), document());
    for line in expected.lines() {
        assert_eq!(
            written.next(),
            Some(line),
            "docs/log.md is not up to date: run \"make log-doc\""
        );
    }
    assert_eq!(written.next(), None, "docs/log.md has more than the table: run \"make log-doc\"");
}

#[test]
fn identifiers_are_unique() {
    let mut known = HashSet::new();
    for row in rows() {
        assert!(known.insert(row.id), "{} stands twice", row.id);
    }
}

/// Whoever has `error_log ... error`, as is NGINX's default, learns of what needs him, and of nothing else.
#[test]
fn what_needs_a_person_is_an_error_and_nothing_else_is() {
    for row in rows() {
        let needs_a_person = matches!(row.remedy, Remedy::Needed(_));
        assert_eq!(row.level() == Level::Error, needs_a_person, "{}: {}", row.id, row.example);
    }
}

#[test]
fn lines_are_short_enough_and_in_one_shape() {
    for row in rows() {
        let line = row.example.to_string();
        assert!(line.len() < 400, "{}: {line}", row.id);
        assert!(!line.ends_with('.') && !line.contains('\n'), "{}: {line}", row.id);
        let first = line.chars().next().unwrap_or(' ');
        assert!(!first.is_whitespace() && first != ':', "{}: {line}", row.id);
    }
}
