//! Search trees of variants that wait: sorted by the end of what is served, and each subtree knows
//! whose turn is first in it.
//!
//! A shared pause may be over for those that expire soon and hold up all others, while turns go
//! around by the last attempt. So the first in turn is wanted of a part of them, at the cost of a
//! logarithm. The trees are treaps, whose weights are hashes of the variants' numbers.

use crate::id::{Table, VariantId};
use crate::time::UnixTime;
use std::cmp::Ordering;

/// The end of the certificate that is served, by our clock; `None` if there is none.
pub(super) type Expiry = Option<UnixTime>;

/// Sort key of a variant: the end of what is served, since when it is due, and its number.
pub(super) type Rank = (Expiry, UnixTime, VariantId);

/// Root of a tree, by the number of its variant; `None` if the tree is empty.
pub(super) type TreeRoot = Option<VariantId>;

/// Ends from one to before another; `None` at the upper side is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Expiry,
    pub(super) before: Expiry,
}

impl Span {
    /// All ends.
    pub(super) const ALL: Self = Self { from: None, before: None };

    fn place(self, end: Expiry) -> Ordering {
        if end < self.from {
            Ordering::Less
        } else if self.before.is_some_and(|before| end >= Some(before)) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    rank: Rank,
    last: UnixTime,
    left: TreeRoot,
    right: TreeRoot,
    /// The variant of this subtree whose turn is first.
    first: VariantId,
}

/// Trees in which each variant is at most once.
#[derive(Debug, Default)]
pub(super) struct Trees {
    nodes: Table<VariantId, Option<Node>>,
}

impl Trees {
    /// Adds a variant; `last` is the time of its last attempt.
    pub(super) fn insert(&mut self, root: TreeRoot, rank: Rank, last: UnixTime) -> TreeRoot {
        let variant = rank.2;
        self.nodes.extend_to(variant);
        let node = Node { rank, last, left: None, right: None, first: variant };
        self.set(variant, node);
        let (before, after) = self.split(root, rank);
        let before = self.merge(before, Some(variant));
        self.merge(before, after)
    }

    /// Removes a variant that is in this tree.
    pub(super) fn remove(&mut self, root: TreeRoot, variant: VariantId) -> TreeRoot {
        let Some(Node { rank, .. }) = self.node(variant) else { return root };
        let (before, rest) = self.split(root, rank);
        let next = VariantId::new(variant.index() + 1);
        let (_, after) = self.split(rest, (rank.0, rank.1, next));
        self.nodes[variant] = None;
        self.merge(before, after)
    }

    /// Finds the variant that expires first, of those within a span.
    pub(super) fn soonest(&self, root: TreeRoot, span: Span) -> Option<VariantId> {
        let (mut at, mut found) = (root, None);
        while let Some(node) = at.and_then(|variant| self.node(variant)) {
            at = match node.rank.0 < span.from {
                true => node.right,
                false => {
                    found = Some(node);
                    node.left
                }
            };
        }
        found.filter(|node| span.place(node.rank.0) == Ordering::Equal).map(|node| node.rank.2)
    }

    /// Finds the variant whose last attempt is the longest ago, of those within a span.
    pub(super) fn first_in_turn(&self, root: TreeRoot, span: Span) -> Option<VariantId> {
        let node = self.node(root?)?;
        if span.from.is_none() && span.before.is_none() {
            return Some(node.first);
        }
        match span.place(node.rank.0) {
            Ordering::Less => self.first_in_turn(node.right, span),
            Ordering::Greater => self.first_in_turn(node.left, span),
            Ordering::Equal => {
                let left = self.first_in_turn(node.left, Span { before: None, ..span });
                let right = self.first_in_turn(node.right, Span { from: None, ..span });
                [left, Some(node.rank.2), right].into_iter().flatten().min_by_key(|v| self.turn(*v))
            }
        }
    }

    /// The order of turns within a tree.
    fn turn(&self, variant: VariantId) -> Option<(UnixTime, Rank)> {
        self.node(variant).map(|node| (node.last, node.rank))
    }

    fn node(&self, variant: VariantId) -> Option<Node> {
        self.nodes.get(variant).copied().flatten()
    }

    /// Puts a node in its place, with the first of its subtree.
    fn set(&mut self, variant: VariantId, mut node: Node) {
        let first = |root: TreeRoot| self.node(root?).map(|below| below.first);
        let mut best = (node.last, node.rank);
        node.first = variant;
        for below in [first(node.left), first(node.right)].into_iter().flatten() {
            if let Some(turn) = self.turn(below).filter(|turn| *turn < best) {
                (best, node.first) = (turn, below);
            }
        }
        self.nodes[variant] = Some(node);
    }

    /// Splits a tree into what ranks before, and the rest.
    fn split(&mut self, root: TreeRoot, at: Rank) -> (TreeRoot, TreeRoot) {
        let Some((variant, mut node)) = root.and_then(|v| Some((v, self.node(v)?))) else {
            return (None, None);
        };
        if node.rank < at {
            let (left, right) = self.split(node.right, at);
            node.right = left;
            self.set(variant, node);
            (root, right)
        } else {
            let (left, right) = self.split(node.left, at);
            node.left = right;
            self.set(variant, node);
            (left, root)
        }
    }

    /// Joins two trees, of which the first ranks before the second.
    fn merge(&mut self, before: TreeRoot, after: TreeRoot) -> TreeRoot {
        let (Some(left), Some(right)) = (before, after) else { return before.or(after) };
        let (top, is_left) =
            if weight(left) < weight(right) { (right, false) } else { (left, true) };
        let mut node = self.node(top)?;
        if is_left {
            node.right = self.merge(node.right, after);
        } else {
            node.left = self.merge(before, node.left);
        }
        self.set(top, node);
        Some(top)
    }
}

/// SplitMix64: the same tree for the same variants.
fn weight(variant: VariantId) -> u64 {
    let mut bits = (variant.index() as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Expiry, Span, Trees};
    use crate::id::VariantId;
    use crate::schedule::simulation::config;
    use crate::time::UnixTime;
    use proptest::prelude::*;

    fn end(number: Option<i64>) -> Expiry {
        number.map(UnixTime)
    }

    proptest! {
        #![proptest_config(config(64))]

        #[test]
        fn a_tree_finds_what_a_list_finds(
            inserted in proptest::collection::vec(
                (proptest::option::of(0..20_i64), 0..3_i64, 0..5_i64), 1..60),
            removed in proptest::collection::vec(0..60_usize, 0..40),
            spans in proptest::collection::vec(
                (proptest::option::of(0..20_i64), proptest::option::of(0..20_i64)), 1..10),
        ) {
            let (mut trees, mut root) = (Trees::default(), None);
            let mut list = Vec::new();
            for (index, (number, since, last)) in inserted.into_iter().enumerate() {
                let variant = VariantId::new(index);
                let (rank, last) = ((end(number), UnixTime(since), variant), UnixTime(last));
                root = trees.insert(root, rank, last);
                list.push((rank, last));
            }
            for variant in removed.into_iter().map(VariantId::new) {
                if list.iter().any(|(rank, _)| rank.2 == variant) {
                    root = trees.remove(root, variant);
                    list.retain(|(rank, _)| rank.2 != variant);
                }
            }
            for (from, before) in spans {
                let span = Span { from: end(from), before: end(before) };
                let is_within = |at: Expiry| at >= span.from && (before.is_none() || at < span.before);
                let within = list.iter().filter(|(rank, _)| is_within(rank.0));
                let soonest = within.clone().map(|(rank, _)| *rank).min().map(|rank| rank.2);
                let first = within.map(|(rank, last)| (*last, *rank)).min().map(|(_, rank)| rank.2);
                prop_assert_eq!(trees.soonest(root, span), soonest);
                prop_assert_eq!(trees.first_in_turn(root, span), first);
            }
        }
    }
}
