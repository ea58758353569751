//! Time of a renewal: as the CA suggests (RFC 9773), or by the certificate's lifetime.

use super::clock::TOLERANCE;
use super::{Obtained, Validity};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Certificates of this lifetime or less are renewed at half of it, as there is less time to retry.
const SHORT_LIFETIME: Duration = Duration::from_secs(10 * 24 * 3600);

/// A renewal may come so much earlier than its time, as a fraction of the lifetime: certificates
/// that were obtained together drift apart.
const RENEWAL_JITTER: f64 = 0.02;

/// With this part of the lifetime left a certificate is renewed whatever the CA suggests, and with a
/// minute left, or a third where that is less: an order takes its time.
const LATEST: u32 = 20;
const LATEST_AT_LEAST: Duration = Duration::from_secs(60);
const LATEST_AT_MOST: u32 = 3;

/// With this part left, no pause of our own holds it up.
const FORCED: u32 = 50;

/// Shortest and longest time after which a CA may want to be asked again (RFC 9773 section 4.3.2).
const SHORTEST_POLL: Duration = Duration::from_secs(60);
const LONGEST_POLL: Duration = Duration::from_secs(24 * 3600);

/// Time after which it is asked again where it does not say.
const DEFAULT_POLL: Duration = Duration::from_secs(6 * 3600);

/// Time after which it is asked again after a failure.
const FAILED_POLL: Duration = Duration::from_secs(3600);

/// A CA that wants each new certificate to be replaced at once does not get an order every second:
/// the first one is replaced when it says so, each further one after a pause that doubles.
const HASTE: Duration = Duration::from_secs(3600);
const LONGEST_HASTE: Duration = Duration::from_secs(24 * 3600);

/// The same pauses hold for a certificate that is due when it comes, as from a CA that hands out an old
/// one again. They are at most this part of what is left of it, as long as that is more than the least.
const PART_OF_STALE: u32 = 2;
const LEAST_OF_STALE: Duration = Duration::from_secs(600);

/// After so many failures what it has suggested holds no more.
const FAILURES: u32 = 5;

impl Validity {
    /// The time between its first and its last moment.
    pub fn lifetime(self) -> Duration {
        self.not_after.since(self.not_before)
    }

    /// Gives the time of the renewal if the CA suggests nothing: at two thirds of the lifetime, at half of it if it
    /// is short, up to [`RENEWAL_JITTER`] earlier. `jitter` is from 0 to 1.
    pub fn renewal_time(self, jitter: f64) -> UnixTime {
        let lifetime = self.lifetime();
        let fraction = if lifetime <= SHORT_LIFETIME { 0.5 } else { 2.0 / 3.0 };
        self.not_before + lifetime.mul_f64(fraction - RENEWAL_JITTER * jitter.clamp(0.0, 1.0))
    }

    fn latest(self) -> UnixTime {
        let lifetime = self.lifetime();
        let least = LATEST_AT_LEAST.min(lifetime / LATEST_AT_MOST);
        self.not_after - (lifetime / LATEST).max(least)
    }

    /// From when on no pause of our own counts.
    pub(super) fn forced(self) -> UnixTime {
        self.not_after - self.lifetime() / FORCED
    }
}

/// The window that a CA suggests (RFC 9773 section 4.2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RenewalWindow {
    /// Its first moment.
    pub start: UnixTime,
    /// Its end.
    pub end: UnixTime,
}

/// Answer of a CA.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenewalInfo {
    /// Time in which to renew.
    pub window: RenewalWindow,
    /// Time until the next question.
    pub retry_after: Option<Duration>,
    /// A page that says why.
    pub explanation_url: Option<String>,
}

/// Outcome of a question to a CA.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RenewalInfoOutcome {
    /// It answered.
    Answered(RenewalInfo),
    /// It suggests nothing to anybody.
    Unsupported,
    /// It did not answer, or not in a way that can be understood.
    Failed {
        /// Time for which it wants to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Reason not to use an answer.
#[derive(Debug, Error)]
pub enum RenewalInfoError {
    /// It is something else.
    #[error("the renewal information is not what RFC 9773 says: {0}")]
    Json(#[from] serde_json::Error),
    /// A time is none.
    #[error("the renewal information has a window without a time of RFC 3339")]
    Time,
    /// The end is not behind the start.
    #[error("the renewal information has a window that ends before it starts")]
    Order,
}

/// The longest URL that is shown.
const MAX_URL: usize = 500;

impl RenewalInfo {
    /// Reads an answer; `retry_after` is from its header.
    ///
    /// # Errors
    /// It is something else, or the window is empty.
    pub fn parse(json: &[u8], retry_after: Option<Duration>) -> Result<Self, RenewalInfoError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            suggested_window: Times,
            #[serde(rename = "explanationURL")]
            explanation_url: Option<String>,
        }
        #[derive(Deserialize)]
        struct Times {
            start: String,
            end: String,
        }
        let Answer { suggested_window: times, explanation_url } = serde_json::from_slice(json)?;
        let time = |text: &str| UnixTime::parse_rfc3339(text).ok_or(RenewalInfoError::Time);
        let window = RenewalWindow { start: time(&times.start)?, end: time(&times.end)? };
        if window.end <= window.start {
            return Err(RenewalInfoError::Order);
        }
        let is_plain =
            |url: &String| url.len() <= MAX_URL && url.bytes().all(|b| b.is_ascii_graphic());
        Ok(Self { window, retry_after, explanation_url: explanation_url.filter(is_plain) })
    }
}

/// Renewal state, stored next to the certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Renewal {
    /// Window that the CA suggested last.
    pub window: Option<RenewalWindow>,
    /// The time that was chosen in the window, once.
    pub time: Option<UnixTime>,
    /// Time of the next question to the CA.
    pub next_poll: UnixTime,
    /// Number of questions since that brought no answer.
    pub failures: u32,
    /// The number from 0 to 1 that moves a renewal by the lifetime.
    pub jitter: Option<f64>,
    /// Time at which the certificate was obtained.
    pub issued: UnixTime,
    /// Number of certificates before it that were replaced in less than a day because the CA wanted it, or
    /// were due when they came.
    pub hasty: u32,
    /// Seconds by which our clock is ahead of the CA's, if the certificate says so.
    #[serde(skip_serializing_if = "is_zero")]
    pub skew: i64,
    /// Number of the certificate among those that several hosts have shared; 0 for one that was never in a fleet.
    #[serde(skip_serializing_if = "is_zero")]
    pub number: u64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Reason for the time of a renewal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The CA suggests nothing.
    Lifetime,
    /// The CA suggests it.
    Suggested,
    /// It would be late otherwise.
    Late,
    /// Somebody wants it.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lifetime => "by its lifetime",
            Self::Suggested => "as the CA suggests",
            Self::Late => "because little of its lifetime is left then",
            Self::Asked => "as was asked for",
        })
    }
}

impl Renewal {
    /// Begins the state of a certificate that was obtained now, in the place of one with this renewal.
    pub(super) fn of_new(
        now: UnixTime,
        jitter: f64,
        obtained: Obtained,
        before: &Self,
        why: Option<Reason>,
    ) -> Self {
        let Obtained { validity, skew, follows } = obtained;
        // What was in a fleet once counts on without it, so that it is the newer one when it is back.
        let number = match (follows, before.number) {
            (None, 0) => 0,
            (follows, own) => follows.unwrap_or_default().max(own).saturating_add(1),
        };
        let new = Self { jitter: Some(jitter), issued: now, skew, number, ..Self::default() };
        let age = if before.issued <= now { now.since(before.issued) } else { Duration::MAX };
        let was_hasty = why == Some(Reason::Suggested) && age < LONGEST_HASTE;
        let hasty = match (was_hasty, new.is_stale(validity)) {
            (true, _) => before.hasty.saturating_add(1),
            (false, true) if age < 2 * LONGEST_HASTE => before.hasty.saturating_add(1),
            (false, true) => 1,
            (false, false) => 0,
        };
        Self { hasty, ..new }
    }

    /// Takes note of a clock that was set back: what was computed with it holds no more.
    pub(super) fn set_right(&mut self, now: UnixTime) {
        if self.issued > now + TOLERANCE {
            self.issued = now;
            self.skew = self.skew.min(0);
        }
    }

    /// Gives the time at which the certificate came, by the CA's clock.
    fn issued_there(&self) -> UnixTime {
        self.issued.shifted(-self.skew)
    }

    /// Tells whether a certificate was due already when it came: another order may bring the same.
    fn is_stale(&self, validity: Validity) -> bool {
        let due = validity.renewal_time(self.jitter.unwrap_or_default()).min(validity.latest());
        due <= self.issued_there()
    }

    /// Gives the time for which a certificate is kept although the CA wants another one.
    fn grace(&self) -> Duration {
        match self.hasty {
            0 => Duration::ZERO,
            n => HASTE.saturating_mul(1 << (n - 1).min(10)).min(LONGEST_HASTE),
        }
    }

    /// Gives the time of the renewal, by our clock, and the reason for it.
    pub fn due(&self, validity: Validity) -> (UnixTime, Reason) {
        let (time, reason) = self.due_there(validity);
        (time.shifted(self.skew), reason)
    }

    /// The same, by the clock of the CA, as all dates of certificates and windows are.
    fn due_there(&self, validity: Validity) -> (UnixTime, Reason) {
        let issued = self.issued_there();
        let suggested = self.time.filter(|_| self.failures < FAILURES);
        let by_lifetime = validity.renewal_time(self.jitter.unwrap_or_default());
        let (time, reason) = match suggested {
            Some(time) => (time.max(issued + self.grace()), Reason::Suggested),
            None => (by_lifetime, Reason::Lifetime),
        };
        let latest = validity.latest();
        let (time, reason) = if time > latest { (latest, Reason::Late) } else { (time, reason) };
        if !self.is_stale(validity) {
            return (time, reason);
        }
        let part = validity.not_after.since(issued) / PART_OF_STALE;
        let pause = if part < LEAST_OF_STALE { self.grace() } else { self.grace().min(part) };
        (time.max(issued + pause), reason)
    }

    /// Takes over what asking the CA has brought; `random` is from 0 to 1.
    #[must_use]
    pub(super) fn informed(
        self,
        now: UnixTime,
        validity: Validity,
        outcome: &RenewalInfoOutcome,
        random: f64,
    ) -> Self {
        match outcome {
            RenewalInfoOutcome::Answered(info) => {
                let pause = info.retry_after.unwrap_or(DEFAULT_POLL);
                let next_poll = now + pause.clamp(SHORTEST_POLL, LONGEST_POLL);
                if self.window == Some(info.window) {
                    return Self { next_poll, failures: 0, ..self };
                }
                // Of a window that is longer than the certificate's life, the part that lies in it.
                let start = info.window.start.max(validity.not_before).min(info.window.end);
                let end = info.window.end.min(validity.latest()).max(start);
                let time = start + end.since(start).mul_f64(random.clamp(0.0, 1.0));
                Self { window: Some(info.window), time: Some(time), next_poll, failures: 0, ..self }
            }
            RenewalInfoOutcome::Unsupported => Self {
                window: None,
                time: None,
                next_poll: now + LONGEST_POLL,
                failures: 0,
                ..self
            },
            RenewalInfoOutcome::Failed { retry_after } => {
                let pause = retry_after.unwrap_or(FAILED_POLL);
                Self {
                    next_poll: now + pause.clamp(SHORTEST_POLL, LONGEST_POLL),
                    failures: self.failures.saturating_add(1),
                    ..self
                }
            }
        }
    }

    /// Gives the time of the next question to the CA. One further away than it can be was computed by another clock.
    pub(super) fn poll_time(&self, now: UnixTime) -> UnixTime {
        if self.next_poll > now + LONGEST_POLL { now } else { self.next_poll }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, Renewal, RenewalInfo, RenewalInfoOutcome, RenewalWindow, Validity};
    use crate::time::UnixTime;
    use std::time::Duration;

    const DAY: i64 = 24 * 3600;
    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn validity(days: i64) -> Validity {
        Validity { not_before: NOW, not_after: UnixTime(NOW.0 + days * DAY) }
    }

    fn info(start: i64, end: i64, retry_after: Option<u64>) -> RenewalInfoOutcome {
        let window = RenewalWindow { start: UnixTime(NOW.0 + start), end: UnixTime(NOW.0 + end) };
        let retry_after = retry_after.map(Duration::from_secs);
        RenewalInfoOutcome::Answered(RenewalInfo { window, retry_after, explanation_url: None })
    }

    #[test]
    fn renews_at_two_thirds_or_at_half_of_a_short_lifetime() {
        for (lifetime, jitter, expected) in [
            (90 * DAY, 0.0, 60 * DAY),
            (90 * DAY, 1.0, 58 * DAY + DAY / 5),
            (10 * DAY, 0.0, 5 * DAY),
            (6 * DAY, 0.0, 3 * DAY),
            (100, 0.0, 50),
            (100, 1.0, 48),
            (100, 7.0, 48),
        ] {
            let validity = Validity { not_before: NOW, not_after: UnixTime(NOW.0 + lifetime) };
            let time = validity.renewal_time(jitter).0 - NOW.0;
            assert!((time - expected).abs() <= 1, "{lifetime} {jitter}: {time} is not {expected}");
        }
    }

    #[test]
    fn there_is_time_for_an_order_before_the_end() {
        for (lifetime, expected) in [(90 * DAY, 90 * DAY / 20), (600, 60), (120, 40), (30, 10)] {
            let validity = Validity { not_before: NOW, not_after: UnixTime(NOW.0 + lifetime) };
            assert_eq!(validity.not_after.0 - validity.latest().0, expected, "{lifetime}");
        }
    }

    #[test]
    fn answers_are_read_or_refused() {
        let read = |text: &str| RenewalInfo::parse(text.as_bytes(), None);
        let window =
            r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00Z"}}"#;
        let info = read(window).unwrap();
        assert_eq!(info.window.end.since(info.window.start), Duration::from_secs(86_400));
        assert_eq!(info.explanation_url, None);
        let explained = window.replace("}}", "},\"explanationURL\":\"https://ca.example/why\"}");
        let url = read(&explained).unwrap().explanation_url;
        assert_eq!(url.as_deref(), Some("https://ca.example/why"));
        let odd = explained.replace("why", "a\\nb");
        assert_eq!(read(&odd).unwrap().explanation_url, None, "it would break a line of the log");
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":"soon","end":"later"}}"#,
            &window.replace("01-03", "01-02"),
            &window.replace("01-03", "01-01"),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_chosen_once_while_the_window_stays() {
        let first = Renewal::default().informed(NOW, validity(90), &info(DAY, 3 * DAY, None), 0.5);
        assert_eq!(first.due(validity(90)), (UnixTime(NOW.0 + 2 * DAY), Reason::Suggested));
        let same = first.informed(NOW, validity(90), &info(DAY, 3 * DAY, None), 0.9);
        assert_eq!(same.time, first.time);
        let other = same.informed(NOW, validity(90), &info(DAY, 4 * DAY, None), 1.0);
        assert_eq!(other.time, Some(UnixTime(NOW.0 + 4 * DAY)));
        let wide = other.informed(NOW, validity(90), &info(-9 * DAY, 900 * DAY, None), 1.0);
        assert_eq!(wide.time, Some(validity(90).latest()), "not behind its end");
        let past = other.informed(NOW, validity(90), &info(-9 * DAY, -8 * DAY, None), 0.0);
        assert!(past.due(validity(90)).0 < NOW, "at once");
    }

    #[test]
    fn the_ca_is_asked_again_when_it_says_so_within_reason() {
        for (asked, expected) in
            [(None, 6 * 3600), (Some(0), 60), (Some(600), 600), (Some(999_999), 86_400)]
        {
            let renewal = Renewal::default().informed(NOW, validity(90), &info(1, 2, asked), 0.0);
            assert_eq!(renewal.next_poll.since(NOW).as_secs(), expected, "{asked:?}");
        }
        let far = Renewal { next_poll: UnixTime(NOW.0 + 9 * DAY), ..Renewal::default() };
        assert_eq!(far.poll_time(NOW), NOW, "the clock was set back");
    }

    #[test]
    fn a_ca_that_is_silent_or_wants_it_too_late_is_overruled() {
        let late =
            Renewal::default().informed(NOW, validity(90), &info(89 * DAY, 90 * DAY, None), 0.5);
        let latest = UnixTime(NOW.0 + 90 * DAY - 90 * DAY / 20);
        assert_eq!(late.due(validity(90)), (latest, Reason::Late));
        let mut silent =
            Renewal::default().informed(NOW, validity(90), &info(80 * DAY, 81 * DAY, None), 0.0);
        for _ in 0..5 {
            assert_eq!(silent.due(validity(90)).1, Reason::Suggested);
            silent = silent.informed(
                NOW,
                validity(90),
                &RenewalInfoOutcome::Failed { retry_after: None },
                0.0,
            );
        }
        assert_eq!(silent.due(validity(90)), (UnixTime(NOW.0 + 60 * DAY), Reason::Lifetime));
        let none = late.informed(NOW, validity(90), &RenewalInfoOutcome::Unsupported, 0.0);
        assert_eq!(none.due(validity(90)).1, Reason::Lifetime);
    }
}
