//! A table that is added to while others read it, up to a room that it was given before.
//!
//! The configuration is shared by all threads of a process, and never changes but by what is added to it at its end:
//! certificates of watched domains files. What was found in it stays where it is.

use crate::id::{Id, IdRange, Table};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Index, IndexMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// List whose items have identifiers of a type of their own, with room for more.
pub struct GrowingTable<I, T> {
    first: Table<I, T>,
    room: Box<[OnceLock<T>]>,
    /// Number of items that were added; those before it are there.
    added: AtomicUsize,
}

impl<I: Id, T> GrowingTable<I, T> {
    /// Makes room for so many items more than there are.
    pub fn make_room(&mut self, count: usize) {
        self.room = (0..count).map(|_| OnceLock::new()).collect();
        self.added = AtomicUsize::new(0);
    }

    /// Puts an item into the room, unless it is there. Items follow each other without a gap, so `false` says that this
    /// one is not the next, or that there is no room.
    pub fn put(&self, id: I, item: T) -> bool {
        let added = self.added.load(Ordering::Acquire);
        let Some(place) = id.index().checked_sub(self.first.len()) else { return false };
        let Some(slot) = self.room.get(place).filter(|_| place <= added) else { return false };
        // Another thread may do the same.
        let _same = slot.set(item);
        self.added.fetch_max(place + 1, Ordering::AcqRel);
        true
    }

    /// Returns an item.
    pub fn get(&self, id: I) -> Option<&T> {
        let Some(place) = id.index().checked_sub(self.first.len()) else {
            return self.first.get(id);
        };
        self.added_items().get(place)?.get()
    }

    /// Returns items of the beginning that follow each other, or nothing if one of them is not there.
    pub fn range(&self, ids: &IdRange<I>) -> &[T] {
        self.first.range(ids)
    }

    /// Adds an item to the beginning, before there is room; gives its identifier.
    pub fn push(&mut self, item: T) -> I {
        self.first.push(item)
    }

    /// Returns the identifier that the next item will have.
    pub fn next_id(&self) -> I {
        I::new(self.len())
    }

    /// Lists the identifiers.
    pub fn ids(&self) -> IdRange<I> {
        IdRange::new(I::new(0), self.next_id())
    }

    /// Lists the identifiers of items that were added.
    pub fn added_ids(&self) -> IdRange<I> {
        IdRange::new(self.first.next_id(), self.next_id())
    }

    /// Lists the items with their identifiers.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        self.ids().zip(self.values())
    }

    /// Finds the first item that suits; gives its identifier.
    pub fn find(&self, suits: impl FnMut(&T) -> bool) -> Option<I> {
        self.values().position(suits).map(I::new)
    }

    /// Counts the items that there is room for.
    pub fn capacity(&self) -> usize {
        self.first.len() + self.room.len()
    }
}

impl<I, T> GrowingTable<I, T> {
    fn added_items(&self) -> &[OnceLock<T>] {
        self.room.get(..self.added.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// Lists the items alone.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.first.values().chain(self.added_items().iter().filter_map(OnceLock::get))
    }

    /// Lists the items of the beginning alone, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.values_mut()
    }

    /// Returns an item of the beginning, to be changed.
    pub fn get_mut(&mut self, id: I) -> Option<&mut T>
    where
        I: Id,
    {
        self.first.get_mut(id)
    }

    /// Counts the items.
    pub fn len(&self) -> usize {
        self.first.len() + self.added.load(Ordering::Acquire)
    }

    /// Tells whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Access to an item that is there: an identifier of another table may panic, or find another item.
impl<I: Id, T> Index<I> for GrowingTable<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        self.get(id).expect("an identifier of this table")
    }
}

/// Access to an item of the beginning.
impl<I: Id, T> IndexMut<I> for GrowingTable<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.first[id]
    }
}

/// Finds the items of a table by their names, which are unique. It is asked from an item of another table, as of a
/// configuration of before: mostly the one with the same name has the same place, and nothing else is looked at.
pub struct ByName<'a, I, T> {
    table: &'a GrowingTable<I, T>,
    name: fn(&T) -> &str,
    /// Made when the first is not where it was.
    names: OnceCell<HashMap<&'a str, I>>,
}

impl<'a, I: Id, T> ByName<'a, I, T> {
    /// Begins with a table, and the way to read a name.
    pub fn new(table: &'a GrowingTable<I, T>, name: fn(&T) -> &str) -> Self {
        Self { table, name, names: OnceCell::new() }
    }

    /// Finds the item that has the name of the one at this place of the other table.
    pub fn find(&self, place: I, name: &str) -> Option<I> {
        if self.table.get(place).is_some_and(|item| (self.name)(item) == name) {
            return Some(place);
        }
        let all = || self.table.iter().map(|(id, item)| ((self.name)(item), id));
        self.names.get_or_init(|| all().collect()).get(name).copied()
    }
}

impl<I, T> Default for GrowingTable<I, T> {
    fn default() -> Self {
        Self::from(Table::default())
    }
}

impl<I, T> From<Table<I, T>> for GrowingTable<I, T> {
    fn from(first: Table<I, T>) -> Self {
        Self { first, room: Box::default(), added: AtomicUsize::new(0) }
    }
}

impl<I: Id, T> IntoIterator for GrowingTable<I, T> {
    type IntoIter = <Table<I, T> as IntoIterator>::IntoIter;
    type Item = (I, T);

    /// Gives the items of the beginning.
    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter()
    }
}

impl<I, T: Clone> Clone for GrowingTable<I, T>
where
    Table<I, T>: Clone,
{
    fn clone(&self) -> Self {
        let added = AtomicUsize::new(self.added.load(Ordering::Acquire));
        Self { first: self.first.clone(), room: self.room.clone(), added }
    }
}

/// Of two configurations it matters how they were loaded, not what was added since.
impl<I, T> PartialEq for GrowingTable<I, T>
where
    Table<I, T>: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.first == other.first
    }
}

impl<I, T> Eq for GrowingTable<I, T> where Table<I, T>: Eq {}

impl<I, T: Debug> Debug for GrowingTable<I, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::GrowingTable;
    use crate::id::{Table, VariantId};

    fn table(room: usize) -> GrowingTable<VariantId, &'static str> {
        let mut table = GrowingTable::from(Table::from(vec!["a", "b"]));
        table.make_room(room);
        table
    }

    #[test]
    fn what_is_added_is_found_behind_the_beginning_as_far_as_there_is_room() {
        let table = table(2);
        let [b, c, d, e] = [1, 2, 3, 4].map(VariantId::new);
        assert!(!table.put(d, "d"), "not the next");
        assert!(!table.put(b, "another"), "of the beginning");
        assert!(table.put(c, "c") && table.put(d, "d") && !table.put(e, "e"));
        assert!(table.values().eq(&["a", "b", "c", "d"]));
        assert_eq!((table[d], table.get(e), table.len()), ("d", None, 4));
        assert_eq!((table.find(|item| *item == "c"), table.capacity()), (Some(c), 4));
        assert!(table.added_ids().eq([c, d]));
    }

    #[test]
    fn an_item_that_two_threads_add_is_there_once() {
        let table = table(100);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    (2..102).map(VariantId::new).for_each(|id| assert!(table.put(id, "x")));
                });
            }
        });
        assert_eq!((table.len(), table.values().filter(|item| **item == "x").count()), (102, 100));
    }

    #[test]
    fn configurations_are_compared_as_they_were_loaded() {
        let (one, other) = (table(1), table(0));
        one.put(VariantId::new(2), "c");
        assert_eq!(one, other);
        assert_eq!(one.clone().len(), 3);
    }
}
