//! Rounds of an order: names that can be proven at the same time. Some providers have room for one or two values
//! in a record set, and a name and its wildcard need two, so that the values of a round are removed before those of
//! the next come.

use crate::dns::ValueLimit;

/// Divides what is to be proven into rounds that keep to the limits of record sets. Without limits there is one.
pub(super) fn divide<T>(
    items: impl IntoIterator<Item = T>,
    limit: impl Fn(&T) -> Option<ValueLimit>,
) -> Vec<Vec<T>> {
    let mut rounds: Vec<Vec<T>> = Vec::new();
    for item in items {
        let has_room = |round: &Vec<T>| {
            let Some(own) = limit(&item) else { return true };
            let others = round.iter().filter_map(&limit);
            others.filter(|other| other.record_set == own.record_set).count() < own.values
        };
        match rounds.iter().position(has_room).and_then(|at| rounds.get_mut(at)) {
            Some(round) => round.push(item),
            None => rounds.push(vec![item]),
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::divide;
    use crate::dns::ValueLimit;

    /// Divides items such as `a2`, the record set and its number of values; `-` has no limit.
    fn divided<'a>(items: &[&'a str]) -> Vec<Vec<&'a str>> {
        divide(items.iter().copied(), |item| {
            let (record_set, values) = item.split_at(1);
            let values = values.parse().ok()?;
            Some(ValueLimit { record_set: record_set.to_owned(), values })
        })
    }

    #[test]
    fn rounds_keep_to_the_limits() {
        let none: [&[&str]; 0] = [];
        assert_eq!(divided(&[]), none);
        assert_eq!(divided(&["-", "-", "-"]), [["-", "-", "-"]]);
        assert_eq!(divided(&["a1", "a1"]), [["a1"], ["a1"]]);
        assert_eq!(
            divided(&["a1", "b1", "a1", "-", "b1"]),
            [&["a1", "b1", "-"][..], &["a1", "b1"]]
        );
        assert_eq!(divided(&["a2", "a2", "a2"]), [&["a2", "a2"][..], &["a2"]]);
    }
}
