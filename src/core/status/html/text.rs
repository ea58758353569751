//! Words, times and numbers of the page.

use crate::text::one_line;
use crate::time::{CivilTime, UnixTime};
use std::fmt::{self, Write};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Seconds of a minute, an hour, a day.
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Characters that have a meaning in HTML.
const MARKUP: [char; 5] = ['&', '<', '>', '"', '\''];

/// Text that somebody else may have written: nothing in it is markup, hidden or reverses what is beside it.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = one_line(self.0);
        let mut rest: &str = &text;
        // Most texts have none of these: they are written in one piece.
        while let Some((plain, special)) =
            rest.find(MARKUP).and_then(|at| rest.split_at_checked(at))
        {
            f.write_str(plain)?;
            let mut characters = special.chars();
            f.write_str(match characters.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                _ => "&#39;",
            })?;
            rest = characters.as_str();
        }
        f.write_str(rest)
    }
}

/// The same in an element of its own: letters that are written from right to left stay in it.
pub(super) struct Isolated<'a>(pub(super) &'a str);

impl fmt::Display for Isolated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<bdi>{}</bdi>", Text(self.0))
    }
}

/// A moment: `19 December 2026, 04:12 UTC`.
pub(super) struct Moment(pub(super) UnixTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CivilTime { hour, minute, .. } = self.0.into();
        let day = Day(self.0);
        write!(f, "<time datetime=\"{}\">{day}, {hour:02}:{minute:02} UTC</time>", self.0)
    }
}

/// A day: `19 December 2026`.
pub(super) struct Day(pub(super) UnixTime);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CivilTime { year, month, day, .. } = self.0.into();
        let month = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"");
        write!(f, "{day} {month} {year}")
    }
}

/// A moment as it is seen from another one: `in 20 days`, `3 minutes ago`.
pub(super) struct Seen {
    pub(super) at: UnixTime,
    pub(super) from: UnixTime,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at.since(self.from).as_secs(), self.from.since(self.at).as_secs()) {
            (0, 0) => f.write_str("now"),
            (ahead, 0) => write!(f, "in {}", Span(ahead)),
            (_, ago) => write!(f, "{} ago", Span(ago)),
        }
    }
}

/// A time in its largest unit, of which there are two at least: `33 hours`, `90 minutes`.
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            seconds if seconds >= 2 * DAY => (seconds / DAY, "day"),
            seconds if seconds >= 2 * HOUR => (seconds / HOUR, "hour"),
            seconds if seconds >= 2 * MINUTE => (seconds / MINUTE, "minute"),
            seconds => (seconds, "second"),
        };
        write!(f, "{}", Counted(number, unit))
    }
}

/// A number of things: `1 request`, `1,200 requests`.
pub(super) struct Counted(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, thing) = self;
        write!(f, "{} {thing}{}", Number(*number), if *number == 1 { "" } else { "s" })
    }
}

/// A number with commas between thousands.
pub(super) struct Number(pub(super) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixTime = UnixTime(1_764_417_600);

    #[test]
    fn text_of_others_is_no_markup() {
        let text = Text("<b a='1' c=\"2\">&\u{202e}x\n").to_string();
        assert_eq!(text, "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp; x ");
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let moment = Moment(NOON).to_string();
        assert_eq!(
            moment,
            "<time datetime=\"2025-11-29T12:00:00Z\">29 November 2025, 12:00 UTC</time>"
        );
        for (seconds, expected) in [
            (0, "now"),
            (1, "in 1 second"),
            (119, "in 119 seconds"),
            (120, "in 2 minutes"),
            (7_199, "in 119 minutes"),
            (172_799, "in 47 hours"),
            (172_800, "in 2 days"),
            (-3_600 * 33, "33 hours ago"),
        ] {
            let at = UnixTime(NOON.0 + seconds);
            assert_eq!(Seen { at, from: NOON }.to_string(), expected, "{seconds}");
        }
    }

    #[test]
    fn numbers_have_commas() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(Number(number).to_string(), expected);
        }
        assert_eq!(Counted(1, "order").to_string(), "1 order");
    }
}
