//! Requests for a renewal that are not a person's word: what asks may be in the hands of somebody else.
//!
//! They do what a reload does for one certificate, and no more: what has failed is tried at once, as often as reloads may
//! end a pause, and whoever wants to be left alone is.

use super::Schedule;
use super::track::Wish;
use crate::id::VariantId;
use crate::time::UnixTime;

/// Reason why a certificate is not renewed at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotNow {
    /// An attempt is under way, or begins as soon as there is room.
    UnderWay,
    /// There may be a good one on disk, which cannot be read.
    Unreadable,
    /// Its CA or its DNS provider wants to be left alone until then.
    Held(UnixTime),
    /// It was tried too often, and waits until then.
    Paused(UnixTime),
}

impl Schedule {
    /// Has a certificate renewed, unless something stands in the way.
    ///
    /// # Errors
    /// What stands in the way; nothing has changed for it.
    pub fn request(&mut self, variant: VariantId, now: UnixTime) -> Result<(), NotNow> {
        self.tell(now);
        let track = self.tracks.get(variant).ok_or(NotNow::Unreadable)?;
        if track.is_barred {
            return Err(NotNow::Unreadable);
        }
        if !track.is_waiting() || track.is_at_once() || self.is_due(variant) {
            return Err(NotNow::UnderWay);
        }
        let held = self.held_until(track, track.authority(), now);
        if held > now {
            return Err(NotNow::Held(held));
        }
        let before = track.wish;
        let resumed = self.gates.resume(track, now);
        self.change(variant, |track| {
            track.wish = Wish::Tried;
            track.progress = track.progress.take().resumed(now, false).into();
        });
        self.note_changes(&resumed);
        match self.next_attempt(variant) {
            Some((at, ..)) if at > now => {
                self.change(variant, |track| track.wish = before);
                Err(NotNow::Paused(at))
            }
            _ => Ok(()),
        }
    }

    /// Goes on with a renewal that the process before was asked for, at the pace of all others.
    pub fn want(&mut self, variant: VariantId) {
        self.change(variant, |track| {
            if track.wish == Wish::None {
                track.wish = Wish::Tried;
            }
        });
    }
}
