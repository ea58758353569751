//! This host's clock, compared with that of a server.

use acme_dns_core::findings::{Finding, rows};
use acme_dns_core::time::UnixTime;

/// Differences of so many seconds are worth a warning, and of so many a problem.
const WARN: u64 = 60;
const FAIL: u64 = 300;

/// Compares the clocks; `None` if they agree.
pub(super) fn compare(ours: UnixTime, theirs: UnixTime) -> Option<Finding> {
    let ahead = ours.0.saturating_sub(theirs.0);
    let seconds = ahead.unsigned_abs();
    if seconds <= WARN {
        return None;
    }
    let row = if seconds > FAIL { rows::R03_FAR } else { rows::R03 };
    let direction = if ahead > 0 { "ahead" } else { "behind" };
    Some(row.finding(&[("seconds", &seconds.to_string()), ("direction", direction)]))
}

#[cfg(test)]
mod tests {
    use super::compare;
    use acme_dns_core::time::UnixTime;

    #[test]
    fn a_clock_is_wrong_from_a_minute_on() {
        for (ours, theirs, expected) in [
            (1000, 1000, None),
            (1060, 1000, None),
            (1061, 1000, Some("this host's clock is 61 s ahead")),
            (1000, 1300, Some("this host's clock is 300 s behind")),
            (
                1000,
                1421,
                Some("this host's clock is 421 s behind, too far for signatures and certificates"),
            ),
        ] {
            let finding = compare(UnixTime(ours), UnixTime(theirs));
            assert_eq!(finding.map(|f| f.observed).as_deref(), expected, "{ours} {theirs}");
        }
    }
}
