//! Work of other hosts for a certificate that this one shares with them.

use super::gate::Shown;
use super::note_held;
use super::progress::Progress;
use super::renewal::Renewal;
use super::track::{AttemptState, KeptProgress, Track, Wish};
use super::{Schedule, Validity};
use crate::id::VariantId;
use crate::time::UnixTime;
use std::time::Duration;

/// Time after which a host asks the CA itself when to renew what another has obtained: that one asks sooner, and shares
/// the answer.
const NEXT_POLL: Duration = Duration::from_secs(600);

impl Schedule {
    /// Gives the certificate that is there, with its renewal state.
    pub fn held(&self, variant: VariantId) -> Option<(Validity, Renewal)> {
        let track = self.tracks.get(variant)?;
        Some((track.validity?, track.renewal))
    }

    /// Gives the state of the attempts for a certificate.
    pub fn progress(&self, variant: VariantId) -> Option<&Progress> {
        self.tracks.get(variant).map(|track| &*track.progress)
    }

    /// Takes back an attempt that was not made, because another host has the turn until this time. It is no failure.
    pub fn postpone(&mut self, variant: VariantId, until: UnixTime, now: UnixTime) {
        self.tell(now);
        let is_new =
            |track: &&Track| !track.is_waiting() && track.validity.is_none() && !track.is_under_way;
        let counted = self.tracks.get(variant).filter(is_new);
        let counted = counted.map(|track| (track.issuer(track.authority()), track.progress.last));
        if let Some((issuer, begun)) = counted {
            self.forget_new_order(issuer, begun);
        }
        self.throttle.take_back(now);
        let probed = self.tracks.get(variant).filter(|track| !track.is_waiting());
        let probed = probed.map(|track| self.gates.end(variant, track, Shown::NOTHING));
        self.change(variant, |track| {
            track.postponed = until;
            if !track.is_waiting() {
                track.state = AttemptState::Waiting;
                track.progress.unfinished = track.progress.unfinished.saturating_sub(1);
                track.progress.last = track.last_before;
            }
            if track.wish == Wish::Tried {
                track.wish = Wish::AtOnce;
            }
        });
        self.note_changes(&probed.unwrap_or_default());
    }

    /// Leaves equal parts of the CAs' limits of new orders to so many other hosts.
    pub fn share_limits(&mut self, others: usize, now: UnixTime) {
        if self.others != others {
            self.tell(now);
            self.others = others;
            self.place_all();
        }
    }

    /// Ends that another host has the turn.
    pub fn recall(&mut self, variant: VariantId, now: UnixTime) {
        if self.tracks.get(variant).is_some_and(|track| track.postponed > now) {
            self.tell(now);
            self.change(variant, |track| track.postponed = UnixTime::default());
        }
    }

    /// Notes a certificate that another host has obtained, with its renewal state.
    pub fn handle_adopted(
        &mut self,
        variant: VariantId,
        validity: Validity,
        renewal: Renewal,
        now: UnixTime,
    ) -> Renewal {
        self.tell(now);
        let probed = self.tracks.get(variant).filter(|track| !track.is_waiting());
        let probed = probed.map(|track| self.gates.end(variant, track, Shown::NOTHING));
        let adopted = self.change(variant, |track| {
            let mut renewal = renewal;
            renewal.set_right(now);
            renewal.next_poll = renewal.poll_time(now).max(now + NEXT_POLL);
            (track.renewal, track.validity) = (renewal, Some(validity));
            track.progress = KeptProgress::default();
            track.postponed = UnixTime::default();
            (track.is_under_way, track.is_barred) = (false, false);
            (track.wish, track.state, track.is_asking) = (Wish::None, AttemptState::Waiting, false);
            renewal
        });
        self.note_changes(&probed.unwrap_or_default());
        adopted.unwrap_or(renewal)
    }

    /// Takes over when a certificate is renewed, as another host has learned from the CA.
    pub fn handle_shared_renewal(&mut self, variant: VariantId, renewal: Renewal, now: UnixTime) {
        self.tell(now);
        self.change(variant, |track| {
            let next_poll = renewal.poll_time(now).max(now + NEXT_POLL);
            track.renewal = Renewal { next_poll, ..renewal };
            track.renewal.set_right(now);
        });
    }

    /// Takes over how the attempts of another host have failed. Gives what to keep; `None`: what is known here is newer.
    pub fn handle_failed_elsewhere(
        &mut self,
        variant: VariantId,
        progress: Progress,
        now: UnixTime,
    ) -> Option<Progress> {
        let track = self.tracks.get(variant)?;
        if !track.is_waiting() || progress.last <= track.progress.last {
            return None;
        }
        self.tell(now);
        let loading = self.loading;
        let kept = self.change(variant, |track| {
            let fingerprint = track.fingerprint;
            track.progress = Progress { loading, fingerprint, unfinished: 0, ..progress }.into();
            track.progress.clone()
        })?;
        if let Some(track) = self.tracks.get(variant) {
            note_held(&mut self.held, track, now);
            self.gates.restore(track, now, None);
        }
        self.place_all();
        Some(kept)
    }
}
