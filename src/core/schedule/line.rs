//! Lines of certificates that are due and need the same: the same CAs, DNS provider and zones.
//!
//! A pause or a hold is looked at once for a whole line, however many wait in it. The lines
//! themselves are sorted by whose turn is first, and by when something may change for them.

use super::track::GateSubject;
use super::tree::{Expiry, Rank, Span, TreeRoot, Trees};
use crate::id::{IssuerId, ProviderId, VariantId};
use crate::time::UnixTime;
use std::collections::{BTreeSet, HashMap};

/// Everything that decides which shared pauses and holds concern a certificate.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Need {
    /// The number of its list of CAs.
    pub(super) authorities: usize,
    /// Its current CA in that list, and whether that CA's staging environment is tried.
    pub(super) current: (usize, bool),
    pub(super) provider: ProviderId,
    /// The numbers of its zones, of those that had a gate.
    pub(super) zones: Vec<usize>,
    pub(super) is_under_way: bool,
    pub(super) is_at_once: bool,
    /// Its own number, where a CA has asked for something that concerns no other certificate.
    pub(super) own: Option<VariantId>,
}

/// Something that certificates need in common.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Common {
    Issuer(IssuerId),
    Provider(ProviderId),
    /// A zone of a provider, by its number.
    Zone(ProviderId, usize),
}

impl From<GateSubject> for Common {
    fn from(subject: GateSubject) -> Self {
        match subject {
            GateSubject::Issuer(issuer, _) => Self::Issuer(issuer),
            GateSubject::Provider(provider) => Self::Provider(provider),
            GateSubject::Zone(provider, zone) => Self::Zone(provider, zone),
        }
    }
}

/// Place in the order in which certificates are worked on: the least one is next.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Turn {
    /// An order that can be resumed comes first.
    pub(super) is_new: bool,
    /// Time of the last attempt, if a shared pause concerns it.
    pub(super) last: UnixTime,
    pub(super) rank: Rank,
}

impl Turn {
    pub(super) fn variant(self) -> VariantId {
        self.rank.2
    }
}

/// State of a line: the turn of the first one that can be worked on now, and when to look again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Outlook {
    pub(super) turn: Option<Turn>,
    pub(super) next: UnixTime,
}

#[derive(Debug)]
struct DueLine {
    need: Need,
    root: TreeRoot,
    common: Vec<Common>,
    outlook: Option<Outlook>,
}

/// All lines in which certificates wait.
#[derive(Debug, Default)]
pub(super) struct Lines {
    trees: Trees,
    lines: HashMap<usize, DueLine>,
    /// The number of the next line.
    next: usize,
    by_need: HashMap<Need, usize>,
    by_common: HashMap<Common, BTreeSet<usize>>,
    by_turn: BTreeSet<(Turn, usize)>,
    by_time: BTreeSet<(UnixTime, usize)>,
    /// Lines that have changed since they were looked at.
    changed: BTreeSet<usize>,
}

impl Lines {
    /// Adds a certificate to the line of those with the same need; gives the number of that line.
    /// `common` is what the need consists of.
    pub(super) fn insert(
        &mut self,
        need: Need,
        common: impl FnOnce() -> Vec<Common>,
        rank: Rank,
        last: UnixTime,
    ) -> usize {
        let number = self.by_need.get(&need).copied().unwrap_or_else(|| self.add(need, common()));
        if let Some(line) = self.lines.get_mut(&number) {
            line.root = self.trees.insert(line.root, rank, last);
        }
        self.changed.insert(number);
        number
    }

    fn add(&mut self, need: Need, common: Vec<Common>) -> usize {
        let number = self.next;
        self.next += 1;
        for common in &common {
            self.by_common.entry(*common).or_default().insert(number);
        }
        self.by_need.insert(need.clone(), number);
        self.lines.insert(number, DueLine { need, root: None, common, outlook: None });
        number
    }

    /// Removes a certificate from its line.
    pub(super) fn remove(&mut self, number: usize, variant: VariantId) {
        let Some(line) = self.lines.get_mut(&number) else { return };
        line.root = self.trees.remove(line.root, variant);
        if line.root.is_some() {
            self.changed.insert(number);
            return;
        }
        self.see(number, None);
        self.changed.remove(&number);
        let Some(line) = self.lines.remove(&number) else { return };
        self.by_need.remove(&line.need);
        for common in &line.common {
            if let Some(lines) = self.by_common.get_mut(common) {
                lines.remove(&number);
                if lines.is_empty() {
                    self.by_common.remove(common);
                }
            }
        }
    }

    /// Has all lines looked at again that need something.
    pub(super) fn change(&mut self, common: Common) {
        self.changed.extend(self.by_common.get(&common).into_iter().flatten());
    }

    /// Has a line looked at again.
    pub(super) fn change_line(&mut self, number: usize) {
        self.changed.insert(number);
    }

    /// Has all lines looked at again whose time has come.
    pub(super) fn advance(&mut self, now: UnixTime) {
        let due = self.by_time.iter().take_while(|(time, _)| *time <= now);
        self.changed.extend(due.map(|(_, number)| number));
    }

    /// Takes a line that has to be looked at.
    pub(super) fn changed(&mut self) -> Option<usize> {
        self.changed.pop_first()
    }

    /// Keeps what looking at a line has shown.
    pub(super) fn see(&mut self, number: usize, outlook: Option<Outlook>) {
        let Some(line) = self.lines.get_mut(&number) else { return };
        if let Some(Outlook { turn, next }) = line.outlook {
            self.by_time.remove(&(next, number));
            turn.map(|turn| self.by_turn.remove(&(turn, number)));
        }
        line.outlook = outlook;
        if let Some(Outlook { turn, next }) = outlook {
            self.by_time.insert((next, number));
            turn.map(|turn| self.by_turn.insert((turn, number)));
        }
    }

    pub(super) fn need(&self, number: usize) -> Option<&Need> {
        self.lines.get(&number).map(|line| &line.need)
    }

    /// The certificate of a line that expires first, of those within a span.
    pub(super) fn soonest(&self, number: usize, span: Span) -> Option<VariantId> {
        self.trees.soonest(self.lines.get(&number)?.root, span)
    }

    /// The certificate of a line whose last attempt is the longest ago, of those within a span.
    pub(super) fn first_in_turn(&self, number: usize, span: Span) -> Option<VariantId> {
        self.trees.first_in_turn(self.lines.get(&number)?.root, span)
    }

    /// The line whose turn is first, by what was seen of it.
    pub(super) fn first(&self) -> Option<(Turn, usize)> {
        self.by_turn.first().copied()
    }

    /// Gives the time at which a line has to be looked at.
    pub(super) fn next_time(&self) -> Option<UnixTime> {
        self.by_time.first().map(|(time, _)| *time)
    }
}

/// The parts of a line in which all are treated alike: cut at these ends. What has no certificate is
/// a part of its own.
pub(super) fn spans(mut cuts: Vec<UnixTime>) -> impl Iterator<Item = Span> {
    cuts.push(UnixTime(i64::MIN));
    cuts.sort_unstable();
    cuts.dedup();
    let from: Vec<Expiry> = std::iter::once(None).chain(cuts.into_iter().map(Some)).collect();
    (0..from.len()).map(move |part| Span {
        from: from.get(part).copied().flatten(),
        before: from.get(part + 1).copied().flatten(),
    })
}
