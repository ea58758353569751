//! A bounded number of values by their keys: the one that was not used for longest makes room for a new one.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::num::NonZeroUsize;

/// Values that were used last.
#[derive(Debug)]
pub struct Recent<K, V> {
    capacity: NonZeroUsize,
    /// Counts the uses.
    uses: u64,
    /// Each value with its last use.
    values: HashMap<K, (u64, V)>,
    by_use: BTreeMap<u64, K>,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// Makes room for so many values, and takes no memory yet.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { capacity, uses: 0, values: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// Returns the value of a key, made anew if it is not there.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.uses += 1;
        let now = self.uses;
        match self.values.get(&key) {
            Some((last, _)) => {
                self.by_use.remove(last);
            }
            None if self.values.len() >= self.capacity.get() => {
                let oldest = self.by_use.pop_first();
                oldest.and_then(|(_, key)| self.values.remove(&key));
            }
            None => {}
        }
        self.by_use.insert(now, key);
        let (last, value) = self.values.entry(key).or_insert_with(|| (now, make()));
        *last = now;
        value
    }

    /// Counts the values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Tells whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};
    use std::num::NonZeroUsize;
    use std::rc::Rc;

    fn room(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("more than none")
    }

    #[test]
    fn what_goes_is_dropped() {
        let value = Rc::new(());
        let mut recent = Recent::new(room(2));
        for key in 0..5 {
            recent.get_or_insert_with(key, || Rc::clone(&value));
        }
        assert_eq!((recent.len(), Rc::strong_count(&value)), (2, 3));
        drop(recent);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    proptest! {
        #[test]
        fn the_one_that_was_not_used_for_longest_goes(
            capacity in 1_usize..6,
            keys in prop::collection::vec(0_u8..9, 0..60),
        ) {
            let mut recent = Recent::new(room(capacity));
            // The last used comes last.
            let mut expected: Vec<u8> = Vec::new();
            for key in keys {
                let was_there = expected.contains(&key);
                expected.retain(|other| *other != key);
                if expected.len() == capacity {
                    expected.remove(0);
                }
                expected.push(key);
                let mut is_made = false;
                let value = *recent.get_or_insert_with(key, || {
                    is_made = true;
                    key
                });
                prop_assert_eq!((value, is_made), (key, !was_there));
                prop_assert_eq!(recent.len(), expected.len());
                prop_assert!(!recent.is_empty());
            }
        }
    }
}
