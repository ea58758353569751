//! Text of other parties, made fit for a line of the log.

use std::borrow::Cow;
use std::io;

/// Puts a space in the place of everything that would break a line, hide text or change the order
/// in which it is shown: control characters, line and paragraph separators, and the invisible
/// format characters, among them those that control bidirectional text (Unicode Standard Annex #9).
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) || !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(is_unprintable, " "))
}

/// Shortens a text to `max` characters of one line, without space around it.
#[must_use]
pub fn excerpt(text: &str, max: usize) -> String {
    let mut shown: String = text.chars().take(max).collect();
    if text.chars().nth(max).is_some() {
        shown.push_str("...");
    }
    one_line(&shown).trim().to_owned()
}

/// Writes an error of the system as nginx does: `13: Permission denied`.
#[must_use]
pub fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => {
            let suffix = format!(" (os error {number})");
            format!("{number}: {}", text.strip_suffix(&suffix).unwrap_or(&text))
        }
        None => text,
    }
}

/// So many names of a list are shown, and so many octets of them: a line is to be read at a glance.
const LISTED: usize = 10;
const LISTED_OCTETS: usize = 150;

/// Names in a line of the log: the first ones, and how many there are besides.
#[must_use]
pub fn list<T: AsRef<str>>(names: &[T]) -> String {
    let mut shown = String::new();
    for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
        let is_full = index == LISTED || shown.len() + name.len() > LISTED_OCTETS;
        if index > 0 && is_full {
            let more = names.len() - index;
            return format!("{shown} and {more} more");
        }
        shown.push_str(if index == 0 { "" } else { ", " });
        shown.push_str(name);
    }
    shown
}

/// The characters of Unicode's classes Cc, Zl and Zp, and those of Cf that are not shown.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::{errno, excerpt, list, one_line};
    use std::io;

    #[test]
    fn what_breaks_hides_or_turns_a_line_is_a_space() {
        for (text, expected) in [
            ("plain text", "plain text"),
            (
                "b\u{fc}cher \u{645}\u{631}\u{62d}\u{628}\u{627} \u{1f600}",
                "b\u{fc}cher \u{645}\u{631}\u{62d}\u{628}\u{627} \u{1f600}",
            ),
            ("two\r\nlines\t\u{85}\u{7f}\0", "two  lines    "),
            ("a\u{202e}b\u{202c}c", "a b c"),
            ("\u{2066}a\u{2067}b\u{2068}c\u{2069}", " a b c "),
            ("\u{200e}a\u{200f}b\u{61c}", " a b "),
            ("\u{202a}\u{202b}\u{202d}", "   "),
            ("a\u{200b}b\u{feff}c\u{ad}d", "a b c d"),
            ("a\u{2028}b\u{2029}c", "a b c"),
            ("\u{e0041}\u{e007f}x", "  x"),
            ("", ""),
        ] {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_list_is_short_and_says_how_much_is_missing() {
        let names = |number: usize| (0..number).map(|n| format!("h{n}")).collect::<Vec<_>>();
        assert_eq!(list(&names(0)), "");
        assert_eq!(list(&names(1)), "h0");
        assert_eq!(list(&names(10)), "h0, h1, h2, h3, h4, h5, h6, h7, h8, h9");
        assert_eq!(list(&names(12)), "h0, h1, h2, h3, h4, h5, h6, h7, h8, h9 and 2 more");
        let long = vec!["a".repeat(253); 100];
        let text = list(&long);
        assert!(text.len() < 300 && text.ends_with(" and 99 more"), "{text}");
        assert_eq!(list(&["b".repeat(900)]).len(), 900, "one is always shown");
    }

    #[test]
    fn an_error_of_the_system_reads_as_in_nginx() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(errno(&full), "28: No space left on device");
        assert_eq!(errno(&io::Error::other("no number")), "no number");
    }

    #[test]
    fn an_excerpt_is_short_and_shows_that_it_is_one() {
        for (text, expected) in [
            ("  short\n", "short"),
            ("exactly10!", "exactly10!"),
            ("more than ten", "more than ..."),
            ("\u{202e}\u{202e}", ""),
            (
                "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
                "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}...",
            ),
        ] {
            assert_eq!(excerpt(text, 10), expected, "{text:?}");
        }
    }
}
