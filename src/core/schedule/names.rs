//! Lists of CAs and zones of names that many certificates have in common.

use super::party::Authority;
use super::track::{Track, is_in};
use crate::id::{Table, VariantId};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Lists of CAs, each of which is kept once.
#[derive(Debug, Default)]
pub(super) struct Kin(HashMap<Arc<[Authority]>, usize>);

impl Kin {
    /// The number of a list, and the list itself.
    pub(super) fn of(&mut self, authorities: &Arc<[Authority]>) -> (usize, Arc<[Authority]>) {
        if let Some((list, number)) = self.0.get_key_value(authorities) {
            return (*number, list.clone());
        }
        let number = self.0.len();
        self.0.insert(authorities.clone(), number);
        (number, authorities.clone())
    }
}

/// The names of all certificates, sorted from the last label to the first, so that those of a zone
/// follow each other.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(VariantId, usize)>);

impl Names {
    pub(super) fn of(tracks: &Table<VariantId, Track>) -> Self {
        let places = tracks.iter();
        let places =
            places.flat_map(|(track, it)| (0..it.names.len()).map(move |name| (track, name)));
        let mut names: Vec<_> = places.collect();
        // Thousands of names are compared faster once they are turned round.
        names.sort_by_cached_key(|place| reversed(name(tracks, *place)).collect::<Box<[u8]>>());
        Self(names)
    }

    /// Adds the names of one more.
    pub(super) fn add(&mut self, track: VariantId, tracks: &Table<VariantId, Track>) {
        let count = tracks.get(track).map_or(0, |track| track.names.len());
        for place in (0..count).map(|number| (track, number)) {
            let new = name(tracks, place);
            let at = self.0.partition_point(|other| compare(name(tracks, *other), new).is_le());
            self.0.insert(at, place);
        }
    }

    /// The certificates that have a name in a zone; one with several may come several times.
    pub(super) fn within<'a>(
        &'a self,
        zone: &'a str,
        tracks: &'a Table<VariantId, Track>,
    ) -> impl Iterator<Item = VariantId> + 'a {
        let start = self.0.partition_point(|place| compare(name(tracks, *place), zone).is_lt());
        let rest = self.0.get(start..).unwrap_or_default();
        let within = rest.iter().take_while(move |place| is_in(name(tracks, **place), zone));
        within.map(|(track, _)| *track)
    }
}

fn name(tracks: &Table<VariantId, Track>, (track, name): (VariantId, usize)) -> &str {
    tracks.get(track).and_then(|track| track.names.get(name)).map_or("", String::as_str)
}

/// Compares names from their ends; dots come before all else, so that a zone is followed by what is in
/// it.
fn compare(one: &str, other: &str) -> Ordering {
    reversed(one).cmp(reversed(other))
}

fn reversed(name: &str) -> impl Iterator<Item = u8> {
    let order = |byte: u8| if byte == b'.' { 0 } else { byte.to_ascii_lowercase() };
    name.bytes().rev().map(order)
}
