//! Messages about words that a block does not know: what was probably meant, and what it is called here.

use super::fields::{Field, Form};
use super::types::{Type, types};

/// Directives that the blocks of all types have.
const COMMON: [&str; 2] = ["zone", "zones"];

/// The most letters that a mistyped word differs in.
const MAX_DISTANCE: usize = 2;

/// Message of a directive that blocks of a type do not have.
pub(super) fn unknown_directive(kind: &Type, directive: &str) -> String {
    let Form { name, fields, .. } = kind.form;
    if let Some(field) = fields.iter().find(|field| field.is_read_from(directive)) {
        return format!("\"{directive}\" is called {} here", field.directives());
    }
    if kind.library().is_some() && directive == "trusted_certificate" {
        return format!(
            "\"trusted_certificate\" is not a setting of type \"{name}\": its program trusts the \
             certificates of the system, add yours there"
        );
    }
    if types().any(|other| other.form.fields.iter().any(|field| field.is_set_by(directive))) {
        let has = fields.iter().filter(|field| field.is_directive()).map(Field::directives);
        let has: Vec<String> = has.collect();
        let has = has.join(", ");
        return format!("\"{directive}\" is not a setting of type \"{name}\", which has {has}");
    }
    let directives = fields.iter().filter(|field| field.is_directive()).flat_map(Field::words);
    let known = directives.chain(COMMON.map(str::to_owned));
    let hint = did_you_mean(directive, known).unwrap_or_default();
    format!("unknown directive \"{directive}\"{hint}")
}

/// Message of a type that there is not.
pub(super) fn unknown_type(name: &str) -> String {
    let words = types().flat_map(|kind| kind.form.words());
    let hint = did_you_mean(name, words.map(str::to_owned));
    let (mut own, mut others) = (Vec::new(), 0);
    for kind in types() {
        match kind.library() {
            None => own.push(format!("\"{}\"", kind.form.name)),
            Some(_) => others += 1,
        }
    }
    let own = own.join(", ");
    let known = hint.unwrap_or_else(|| {
        format!(
            ", the types are {own} for hooks of other clients, and {others} more in docs/providers.md"
        )
    });
    format!("unknown provider type \"{name}\"{known}")
}

/// Asks whether a known word was meant, if one is so much like a word that it may be mistyped.
pub(in crate::config) fn did_you_mean(
    word: &str,
    known: impl Iterator<Item = String>,
) -> Option<String> {
    let allowed = MAX_DISTANCE.min(word.len() / 3);
    let typed = word.to_ascii_lowercase();
    let near = known.map(|known| (distance(&typed, &known), known));
    let (_, known) = near.filter(|(far, _)| *far <= allowed).min_by_key(|(far, _)| *far)?;
    Some(format!(", did you mean \"{known}\"?"))
}

/// Counts the letters to insert, remove or replace that make one word of another (Levenshtein's distance).
fn distance(from: &str, to: &str) -> usize {
    // The distances of what has been read of `from` to each beginning of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (read, letter) in from.bytes().enumerate() {
        let (mut diagonal, mut left) = (read, read + 1);
        for (above, other) in row.iter_mut().skip(1).zip(to.bytes()) {
            left = (diagonal + usize::from(letter != other)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, left);
        }
    }
    if to.is_empty() { from.len() } else { row.last().copied().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::{distance, unknown_type};
    use proptest::prelude::*;

    #[test]
    fn distances_are_those_of_the_textbooks() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("saturday", "sunday", 3),
            ("tokn_file", "token_file", 1),
            ("toekn", "token", 2),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_mistyped_type_is_recognized() {
        for (typed, meant) in [("hetzer", "hetzner"), ("Route53", "route53"), ("azur", "azure")] {
            let expected = format!("unknown provider type \"{typed}\", did you mean \"{meant}\"?");
            assert_eq!(unknown_type(typed), expected);
        }
        let text = unknown_type("r53");
        assert_eq!(
            text,
            "unknown provider type \"r53\", the types are \"cloudflare\", \"rfc2136\", \"powerdns\", \
             \"acme-dns\", \"duckdns\", \"httpreq\", \"exec\" for hooks of other clients, and 66 more \
             in docs/providers.md"
        );
        assert!(text.len() < 400);
    }

    proptest! {
        #[test]
        fn a_distance_is_one(a in "[ab]{0,6}", b in "[ab]{0,6}", c in "[ab]{0,6}") {
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert!(distance(&a, &c) <= distance(&a, &b) + distance(&b, &c));
        }
    }
}
