//! Outcomes of attempts and questions, and what somebody asks for.

use super::gate::Shown;
use super::progress::Progress;
use super::renewal::{Renewal, RenewalInfoOutcome};
use super::track::{AttemptState, GateSubject, KeptProgress, Wish};
use super::{Obtained, SPREAD_EACH, Schedule, Validity};
use crate::id::VariantId;
use crate::time::UnixTime;

impl Schedule {
    /// Notes that a certificate was obtained. Gives what to keep beside it.
    pub fn handle_issued(
        &mut self,
        variant: VariantId,
        obtained: impl Into<Obtained>,
        now: UnixTime,
        random: f64,
    ) -> Renewal {
        self.tell(now);
        let obtained = obtained.into();
        if self.working.contains(&variant) {
            self.throttle.note_success();
        }
        let probed = self.end(variant);
        let renewal = self.change(variant, |track| {
            let why = track.renewal_due().map(|(_, reason)| reason);
            let new = Renewal::of_new(now, random, obtained, &track.renewal, why);
            track.renewal = Renewal { next_poll: now + SPREAD_EACH, ..new };
            track.validity = Some(obtained.validity);
            track.progress = KeptProgress::default();
            (track.is_under_way, track.is_barred) = (false, false);
            // An answer that is still awaited is about the certificate before.
            (track.wish, track.state, track.is_asking) = (Wish::None, AttemptState::Waiting, false);
            track.renewal
        });
        self.note_changes(&probed);
        renewal.unwrap_or_default()
    }

    /// Notes that the staging environment was satisfied. Gives the progress to keep.
    pub fn handle_probed(&mut self, variant: VariantId, now: UnixTime) -> Progress {
        self.tell(now);
        let probed = self.end(variant);
        let progress = self.change(variant, |track| {
            track.state = AttemptState::Waiting;
            track.progress = track.progress.take().probed(now).into();
            track.progress.clone()
        });
        self.note_changes(&probed);
        progress.unwrap_or_default()
    }

    /// Opens the gates that an attempt got through; gives what it has probed.
    fn end(&mut self, variant: VariantId) -> Vec<GateSubject> {
        let Some(track) = self.tracks.get(variant) else { return Vec::new() };
        self.gates.end(variant, track, Shown::ALL)
    }

    /// Takes over when a CA wants a certificate to be renewed. Gives what to keep beside it.
    pub fn handle_renewal_info(
        &mut self,
        variant: VariantId,
        now: UnixTime,
        outcome: &RenewalInfoOutcome,
        random: f64,
    ) -> Renewal {
        let Some(track) = self.tracks.get_mut(variant) else { return Renewal::default() };
        // A certificate that was obtained in the meantime is another one.
        let is_awaited = track.is_asking && track.is_waiting();
        let validity = track.validity.filter(|_| is_awaited);
        let informed = |validity| track.renewal.informed(now, validity, outcome, random);
        let renewal = validity.map_or(track.renewal, informed);
        let time = |renewal: Renewal| validity.map(|validity| renewal.due(validity).0);
        if time(renewal) == time(track.renewal) {
            // It waits where it is. That is so of nearly all answers.
            (track.renewal, track.is_asking) = (renewal, false);
            self.place_question(variant);
        } else {
            self.change(variant, |track| (track.renewal, track.is_asking) = (renewal, false));
        }
        renewal
    }

    /// Has a certificate renewed now, whatever has failed before: a person wants it.
    pub fn renew_now(&mut self, variant: VariantId) {
        self.change(variant, |track| track.wish = Wish::AtOnce);
    }

    /// Notes that nobody wants a certificate any more: it is neither obtained nor asked about from now on. An attempt
    /// that is under way ends as it does. Gives the last moment of the certificate that is there.
    pub fn withdraw(&mut self, variant: VariantId) -> Option<UnixTime> {
        self.change(variant, |track| {
            track.is_withdrawn = true;
            track.wish = Wish::None;
            track.validity.map(|validity| validity.not_after)
        })?
    }

    /// Notes that a certificate is wanted again.
    pub fn restore(&mut self, variant: VariantId, now: UnixTime) {
        self.tell(now);
        self.change(variant, |track| track.is_withdrawn = false);
    }

    /// Orders nothing for a certificate, unless somebody asks for it: there may be a good one on disk
    /// that cannot be read for now.
    pub fn bar(&mut self, variant: VariantId) {
        self.change(variant, |track| track.is_barred = true);
    }

    /// Ends that something could not be read; `found` is the certificate with what was kept beside it,
    /// if it is the one that is wanted.
    pub fn unbar(
        &mut self,
        variant: VariantId,
        found: Option<(Validity, Renewal)>,
        now: UnixTime,
        random: f64,
    ) {
        if !self.tracks.get(variant).is_some_and(|track| track.is_barred) {
            return;
        }
        self.tell(now);
        self.change(variant, |track| {
            track.is_barred = false;
            // What was obtained meanwhile is newer.
            let Some((validity, renewal)) = found.filter(|_| track.validity.is_none()) else {
                return;
            };
            let jitter = renewal.jitter.or(Some(random));
            let next_poll = renewal.poll_time(now).max(now + SPREAD_EACH);
            track.renewal = Renewal { jitter, next_poll, ..renewal };
            track.renewal.set_right(now);
            track.validity = Some(validity);
        });
    }
}
