//! Records that a program has created, as far as this process knows.

use crate::dns::TxtRecord;
use std::collections::{HashMap, HashSet};

/// So many records are known to be absent. What is forgotten is removed once more, no worse.
const MAX_ABSENT: usize = 10_000;

/// Values by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Values that orders need, each with what the program has printed when it created it.
    held: HashMap<String, HashMap<String, String>>,
    /// Values that no order needs any more, of names that are removed as a whole.
    left: HashMap<String, HashMap<String, String>>,
    /// Records that are not there. The journal has some of them removed twice.
    absent: HashSet<TxtRecord>,
}

impl Names {
    /// Notes that a record is created for an order.
    pub(super) fn hold(&mut self, record: &TxtRecord) {
        self.absent.remove(record);
        let TxtRecord { name, value } = record.clone();
        take(&mut self.left, record);
        self.held.entry(name).or_default().insert(value, String::new());
    }

    /// Notes what the program has printed when it created a record.
    pub(super) fn note_output(&mut self, record: &TxtRecord, output: &str) {
        let values = self.held.get_mut(&record.name);
        if let Some(known) = values.and_then(|values| values.get_mut(&record.value)) {
            output.clone_into(known);
        }
    }

    /// Gives what the program has printed when it created a record.
    pub(super) fn output_of(&self, record: &TxtRecord) -> String {
        let of = |names: &HashMap<String, HashMap<String, String>>| {
            names.get(&record.name)?.get(&record.value).cloned()
        };
        of(&self.held).or_else(|| of(&self.left)).unwrap_or_default()
    }

    /// Notes that no order needs a record any more.
    pub(super) fn leave(&mut self, record: &TxtRecord) {
        let output = take(&mut self.held, record).unwrap_or_default();
        let TxtRecord { name, value } = record.clone();
        self.left.entry(name).or_default().entry(value).or_insert(output);
    }

    /// Gives all values of a name, if no order needs one of them.
    pub(super) fn all_left(&self, name: &str) -> Option<Vec<TxtRecord>> {
        let values = self.left.get(name).filter(|_| !self.held.contains_key(name))?;
        let record = |value: &String| TxtRecord { name: name.to_owned(), value: value.clone() };
        Some(values.keys().map(record).collect())
    }

    /// Notes that a record is not there.
    pub(super) fn note_absent(&mut self, record: &TxtRecord) {
        take(&mut self.held, record);
        take(&mut self.left, record);
        if self.absent.len() == MAX_ABSENT {
            self.absent.clear();
        }
        self.absent.insert(record.clone());
    }

    /// Tells whether a record is known not to be there.
    pub(super) fn is_absent(&self, record: &TxtRecord) -> bool {
        self.absent.contains(record)
    }
}

/// Takes a value out, and its name with the last one.
fn take(
    names: &mut HashMap<String, HashMap<String, String>>,
    record: &TxtRecord,
) -> Option<String> {
    let values = names.get_mut(&record.name)?;
    let output = values.remove(&record.value);
    if values.is_empty() {
        names.remove(&record.name);
    }
    output
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::dns::TxtRecord;

    fn record(name: &str, value: &str) -> TxtRecord {
        TxtRecord { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_name_is_left_when_its_last_value_is() {
        let mut names = Names::default();
        let (one, two, other) = (record("n", "one"), record("n", "two"), record("m", "one"));
        [&one, &two, &other].into_iter().for_each(|record| names.hold(record));
        names.note_output(&one, "printed");
        names.leave(&one);
        assert_eq!(names.all_left("n"), None);
        assert_eq!(names.output_of(&one), "printed");
        names.leave(&two);
        let mut left = names.all_left("n").unwrap();
        left.sort_by(|a, b| a.value.cmp(&b.value));
        assert_eq!(left, [one.clone(), two.clone()]);
        // A new order has the same value.
        names.hold(&one);
        assert_eq!(names.all_left("n"), None);
        [&one, &two].into_iter().for_each(|record| names.note_absent(record));
        assert_eq!(names.all_left("n"), None);
        assert!(names.is_absent(&one) && !names.is_absent(&other));
        names.hold(&one);
        assert!(!names.is_absent(&one));
        assert_eq!(names.output_of(&one), "");
    }
}
