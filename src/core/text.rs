//! Text of other parties, made fit for a line of the log.

use std::borrow::Cow;

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
    use super::{excerpt, one_line};

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
