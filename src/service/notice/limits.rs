//! Limits on telling the same again.

use super::mapping::Brief;
use crate::store::Notes;
use acme_dns_core::notice::NoticeKind;
use acme_dns_core::time::UnixTime;
use std::collections::HashMap;
use std::time::Duration;

/// Time between two notices of a failure, of a wait, of a restart, or with the same text.
const HOUR: Duration = Duration::from_secs(3600);

/// Time between two notices that a certificate expires: near a day, so that it is not later every day.
const NEAR_A_DAY: Duration = Duration::from_secs(23 * 3600);

/// So many texts are remembered.
const MAX_TEXTS: usize = 1000;

/// Returns the time that must have passed between two notices of this kind about the same certificate.
fn pause(kind: NoticeKind) -> Option<Duration> {
    match kind {
        NoticeKind::Failed | NoticeKind::Waiting | NoticeKind::Restarted => Some(HOUR),
        NoticeKind::Expiring => Some(NEAR_A_DAY),
        _ => None,
    }
}

/// Tells whether it is time for a notice of this kind; if so, that is noted.
pub(super) fn admit(notes: &mut Notes, kind: NoticeKind, now: UnixTime) -> bool {
    let Some(pause) = pause(kind) else { return true };
    let last = notes.told.get(kind.word());
    // A time that is to come was noted by a clock that was wrong.
    let is_early = last.is_some_and(|last| *last <= now && now.since(*last) < pause);
    if !is_early {
        notes.told.insert(kind.word().to_owned(), now);
    }
    !is_early
}

/// Texts that a person was told lately.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<String, UnixTime>);

impl Texts {
    /// Tells whether it is time for the text of a notice.
    pub(super) fn admit(&mut self, brief: &Brief, now: UnixTime) -> bool {
        if brief.kind != NoticeKind::Attention {
            return true;
        }
        self.0.retain(|_, told| *told <= now && now.since(*told) < HOUR);
        if self.0.len() >= MAX_TEXTS || self.0.contains_key(&brief.message) {
            return false;
        }
        self.0.insert(brief.message.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Texts, admit};
    use crate::notice::mapping::Brief;
    use crate::store::Notes;
    use acme_dns_core::notice::NoticeKind;
    use acme_dns_core::time::UnixTime;

    #[test]
    fn failures_are_told_once_an_hour_and_expiry_once_a_day() {
        for (kind, later, expected) in [
            (NoticeKind::Failed, 3599, false),
            (NoticeKind::Failed, 3600, true),
            (NoticeKind::Failed, -1, true),
            (NoticeKind::Waiting, 3599, false),
            (NoticeKind::Expiring, 22 * 3600, false),
            (NoticeKind::Expiring, 24 * 3600, true),
            (NoticeKind::Revoked, 0, true),
        ] {
            let mut notes = Notes::default();
            assert!(admit(&mut notes, kind, UnixTime(1_000_000)));
            assert!(admit(&mut notes, NoticeKind::Renewed, UnixTime(1_000_000)));
            let again = admit(&mut notes, kind, UnixTime(1_000_000 + later));
            assert_eq!(again, expected, "{kind} {later}");
        }
    }

    #[test]
    fn the_same_text_is_told_once_an_hour() {
        let mut texts = Texts::default();
        let brief = |text: &str| Brief::new(NoticeKind::Attention, None, text.to_owned());
        for (text, at, expected) in
            [("a", 0, true), ("a", 3599, false), ("b", 3599, true), ("a", 3600, true)]
        {
            assert_eq!(texts.admit(&brief(text), UnixTime(at)), expected, "{text} {at}");
        }
    }
}
