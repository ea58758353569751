//! Identifiers of what the configuration defines, and the tables that they index: the identifier of a
//! certificate is none of an issuer.

use std::fmt::{self, Debug, Formatter};
use std::iter::{FusedIterator, Zip};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::{slice, vec};

/// Identifier of the items of a [`Table`]: a number, from 0.
pub trait Id: Copy + Ord {
    /// Makes the identifier of the item at a place.
    fn new(index: usize) -> Self;

    /// Returns the place of the item.
    fn index(self) -> usize;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(usize);

        impl $name {
            /// Makes the identifier of the item at a place.
            #[must_use]
            pub const fn new(index: usize) -> Self {
                Self(index)
            }

            /// Returns the place of the item.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0
            }
        }

        impl Id for $name {
            fn new(index: usize) -> Self {
                Self(index)
            }

            fn index(self) -> usize {
                self.0
            }
        }
    )+ };
}

ids! {
    /// Certificate that is served.
    CertificateId,
    /// Certificate with one type of key: what an order is for.
    VariantId,
    /// Certification authority.
    IssuerId,
    /// DNS provider.
    ProviderId,
}

/// Set of identifiers.
#[derive(Debug)]
pub struct IdSet<I> {
    /// Set for each place whose identifier is in the set.
    places: Vec<bool>,
    id: PhantomData<fn() -> I>,
}

impl<I: Id> IdSet<I> {
    /// Tells whether an identifier is in the set.
    pub fn contains(&self, id: I) -> bool {
        self.places.get(id.index()).is_some_and(|is_in| *is_in)
    }

    /// Puts an identifier in, and tells whether it was not there.
    pub fn insert(&mut self, id: I) -> bool {
        let index = id.index();
        if index >= self.places.len() {
            self.places.resize(index + 1, false);
        }
        self.places.get_mut(index).is_some_and(|is_in| !std::mem::replace(is_in, true))
    }

    /// Takes an identifier out.
    pub fn remove(&mut self, id: I) {
        self.places.get_mut(id.index()).into_iter().for_each(|is_in| *is_in = false);
    }
}

impl<I> Default for IdSet<I> {
    fn default() -> Self {
        Self { places: Vec::new(), id: PhantomData }
    }
}

/// List whose items have identifiers of a type of their own.
#[derive(Clone, Eq, PartialEq)]
pub struct Table<I, T> {
    items: Vec<T>,
    id: PhantomData<fn() -> I>,
}

impl<I: Id, T> Table<I, T> {
    /// Returns an item.
    pub fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.index())
    }

    /// Returns an item, to be changed.
    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.items.get_mut(id.index())
    }

    /// Returns items that follow each other, or nothing if one of them is not there.
    pub fn range(&self, ids: &IdRange<I>) -> &[T] {
        self.items.get(ids.next..ids.end).unwrap_or_default()
    }

    /// Adds an item; gives its identifier.
    pub fn push(&mut self, item: T) -> I {
        let id = self.next_id();
        self.items.push(item);
        id
    }

    /// Adds items until one has this identifier.
    pub fn extend_to(&mut self, id: I)
    where
        T: Default,
    {
        if self.items.len() <= id.index() {
            self.items.resize_with(id.index() + 1, T::default);
        }
    }

    /// Returns the identifier that the next item will have.
    pub fn next_id(&self) -> I {
        I::new(self.items.len())
    }

    /// Lists the identifiers.
    pub fn ids(&self) -> IdRange<I> {
        IdRange::new(I::new(0), self.next_id())
    }

    /// Lists the items with their identifiers.
    pub fn iter(&self) -> Zip<IdRange<I>, slice::Iter<'_, T>> {
        self.ids().zip(&self.items)
    }

    /// Finds the first item that suits; gives its identifier.
    pub fn find(&self, suits: impl FnMut(&T) -> bool) -> Option<I> {
        self.items.iter().position(suits).map(I::new)
    }
}

impl<I, T> Table<I, T> {
    /// Lists the items alone.
    pub fn values(&self) -> slice::Iter<'_, T> {
        self.items.iter()
    }

    /// Lists the items alone, to be changed.
    pub fn values_mut(&mut self) -> slice::IterMut<'_, T> {
        self.items.iter_mut()
    }

    /// Gives the items alone.
    pub fn into_values(self) -> vec::IntoIter<T> {
        self.items.into_iter()
    }

    /// Counts the items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Tells whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Keeps the first items, as many as that.
    pub fn truncate(&mut self, count: usize) {
        self.items.truncate(count);
    }
}

/// Access to an item that is there: an identifier of another table may panic, or find another item.
impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.items[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for Table<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.items[id.index()]
    }
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl<I, T> From<Vec<T>> for Table<I, T> {
    fn from(items: Vec<T>) -> Self {
        Self { items, id: PhantomData }
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(items: A) -> Self {
        Self::from(Vec::from_iter(items))
    }
}

impl<I: Id, T> IntoIterator for Table<I, T> {
    type IntoIter = Zip<IdRange<I>, vec::IntoIter<T>>;
    type Item = (I, T);

    fn into_iter(self) -> Self::IntoIter {
        self.ids().zip(self.items)
    }
}

impl<'a, I: Id, T> IntoIterator for &'a Table<I, T> {
    type IntoIter = Zip<IdRange<I>, slice::Iter<'a, T>>;
    type Item = (I, &'a T);

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A list, as of a `Vec`: the fingerprint of all settings is made of it, and kept on the disk.
impl<I, T: Debug> Debug for Table<I, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}

/// Identifiers that follow each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdRange<I> {
    next: usize,
    end: usize,
    id: PhantomData<fn() -> I>,
}

impl<I: Id> IdRange<I> {
    /// Lists the identifiers from one to before another.
    pub fn new(first: I, end: I) -> Self {
        Self { next: first.index(), end: end.index(), id: PhantomData }
    }

    /// Returns the identifier behind the last.
    pub fn end(&self) -> I {
        I::new(self.end)
    }

    /// Tells whether an identifier is among them.
    pub fn contains(&self, id: I) -> bool {
        (self.next..self.end).contains(&id.index())
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.next >= self.end
    }
}

impl<I: Id> Iterator for IdRange<I> {
    type Item = I;

    fn next(&mut self) -> Option<I> {
        let id = (self.next < self.end).then(|| I::new(self.next))?;
        self.next += 1;
        Some(id)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl<I: Id> ExactSizeIterator for IdRange<I> {}

impl<I: Id> FusedIterator for IdRange<I> {}

#[cfg(test)]
mod tests {
    use super::{IdRange, IssuerId, Table, VariantId};

    #[test]
    fn items_are_found_by_what_was_given_for_them() {
        let mut table = Table::default();
        let [a, b]: [VariantId; 2] = ["a", "b"].map(|item| table.push(item));
        assert_eq!(
            (table[a], table.get(b), table.find(|it| *it == "b")),
            ("a", Some(&"b"), Some(b))
        );
        assert_eq!((table.get(table.next_id()), table.find(|it| *it == "c")), (None, None));
        assert!(table.iter().eq([(a, &"a"), (b, &"b")]) && table.ids().eq([a, b]));
        table[a] = "c";
        assert!(table.into_iter().eq([(a, "c"), (b, "b")]));
    }

    #[test]
    fn a_table_grows_to_an_item_and_no_further() {
        let mut table: Table<VariantId, Option<u8>> = Table::default();
        for (number, expected) in [(2, 3), (0, 3), (3, 4)] {
            table.extend_to(VariantId::new(number));
            assert_eq!(table.len(), expected);
        }
    }

    #[test]
    fn a_range_has_its_first_and_not_its_end() {
        let table: Table<IssuerId, _> = [1, 2, 3, 4].into_iter().collect();
        let [first, second, end] = [1, 2, 3].map(IssuerId::new);
        let range = IdRange::new(first, end);
        assert_eq!((table.range(&range), range.len()), ([2, 3].as_slice(), 2));
        assert!(range.contains(second) && !range.contains(end) && !range.is_empty());
        assert!(range.eq([first, second]));
        assert_eq!(table.range(&IdRange::new(end, IssuerId::new(5))), [0; 0]);
    }

    #[test]
    fn a_table_is_written_as_a_list() {
        let table: Table<IssuerId, _> = ["a", "b"].into_iter().collect();
        assert_eq!(format!("{table:?}"), format!("{:?}", ["a", "b"]));
    }
}
