//! Delegation of challenges: the name that a challenge's record goes to, where the challenge's own name is
//! an alias (CNAME) of it.
//!
//! A CA follows aliases, so what they lead to is where the record has to be. An alias that comes from a
//! wildcard is not followed: a record at the challenge's own name hides the wildcard (RFC 4592 section
//! 4.3), and its target, mostly a host for visitors, is no place for records.

use std::fmt::Write;
use thiserror::Error;

/// So many aliases are followed in a row; common resolvers follow between 8 and 16.
const MAX_STEPS: usize = 8;

/// The way from a challenge's own name to that of its record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The challenge's name, and the names that it leads to one after the other: at least one.
    names: Vec<String>,
}

impl Route {
    /// Makes the route of a challenge whose name is no alias.
    #[must_use]
    pub fn direct(challenge: &str) -> Self {
        Self { names: vec![challenge.to_owned()] }
    }

    /// Gives the challenge's own name.
    #[must_use]
    pub fn challenge(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Gives the name of the record.
    #[must_use]
    pub fn target(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// Says whether the record has another name than the challenge.
    #[must_use]
    pub fn is_delegated(&self) -> bool {
        self.names.len() > 1
    }
}

/// Aliases that lead nowhere.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum RouteError {
    /// They lead back to one of them.
    #[error("{0} is a loop of aliases; remove one of these CNAME records")]
    Loop(String),
    /// There are too many of them.
    #[error("{0} ... are too many aliases, 8 are followed; let the first be an alias of the last")]
    TooMany(String),
}

/// Follows the aliases of a challenge's name. `alias` finds what a name is an alias of, if it is one and
/// somebody can tell; `sibling` is a name beside the challenge's that nobody has, which shows whether an
/// alias comes from a wildcard.
///
/// # Errors
/// The aliases lead nowhere.
pub async fn follow(
    challenge: &str,
    sibling: &str,
    alias: impl AsyncFn(&str) -> Option<String>,
) -> Result<Route, RouteError> {
    let mut route = Route::direct(challenge);
    while let Some(target) = alias(route.target()).await {
        if !route.is_delegated() && alias(sibling).await.as_ref() == Some(&target) {
            break;
        }
        let is_known = route.names.contains(&target);
        route.names.push(target);
        if is_known {
            return Err(RouteError::Loop(chain(&route.names)));
        }
        if route.names.len() > MAX_STEPS + 1 {
            return Err(RouteError::TooMany(chain(&route.names)));
        }
    }
    Ok(route)
}

/// Writes names as a chain.
fn chain(names: &[String]) -> String {
    let mut text = String::new();
    for (position, name) in names.iter().enumerate() {
        let arrow = if position > 0 { " -> " } else { "" };
        let _ = write!(text, "{arrow}\"{name}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Route, RouteError, follow};
    use std::collections::HashMap;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const CHALLENGE: &str = "_acme-challenge.shop.test";
    const SIBLING: &str = "_acme-challenge-x.shop.test";

    /// Follows aliases of a table, whose future is never pending.
    fn follow_among(aliases: &[(&str, &str)]) -> Result<Route, RouteError> {
        let aliases: HashMap<&str, &str> = aliases.iter().copied().collect();
        let alias = async |name: &str| aliases.get(name).map(|&target| target.to_owned());
        let following = pin!(follow(CHALLENGE, SIBLING, alias));
        match following.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("a table needs no waiting"),
        }
    }

    #[test]
    fn aliases_are_followed_to_their_end_but_for_those_of_a_wildcard() {
        for (row, aliases, target) in [
            ("none", &[][..], CHALLENGE),
            ("one", &[(CHALLENGE, "a.test")], "a.test"),
            ("two", &[(CHALLENGE, "a.test"), ("a.test", "b.test")], "b.test"),
            ("wildcard", &[(CHALLENGE, "lb.test"), (SIBLING, "lb.test")], CHALLENGE),
            ("beside a wildcard", &[(CHALLENGE, "a.test"), (SIBLING, "lb.test")], "a.test"),
            ("into a wildcard", &[(CHALLENGE, "a.test"), ("a.test", "lb.test")], "lb.test"),
        ] {
            let route = follow_among(aliases).unwrap();
            assert_eq!(route.target(), target, "{row}");
            assert_eq!(route.is_delegated(), target != CHALLENGE, "{row}");
        }
    }

    #[test]
    fn loops_and_long_chains_are_spelt_out() {
        let looping = [(CHALLENGE, "a.test"), ("a.test", "b.test"), ("b.test", "a.test")];
        let text = follow_among(&looping).unwrap_err().to_string();
        assert_eq!(
            text,
            "\"_acme-challenge.shop.test\" -> \"a.test\" -> \"b.test\" -> \"a.test\" is a loop of \
             aliases; remove one of these CNAME records"
        );
        let own = follow_among(&[(CHALLENGE, CHALLENGE)]).unwrap_err();
        assert!(matches!(own, RouteError::Loop(_)), "{own}");
        let names: Vec<String> = (0..12).map(|number| format!("n{number}.test")).collect();
        let chain = |steps: usize| {
            let pairs = names.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
            let mut aliases: Vec<_> = pairs.take(steps - 1).collect();
            aliases.push((CHALLENGE, &names[0]));
            follow_among(&aliases)
        };
        assert_eq!(chain(8).unwrap().target(), "n7.test");
        let text = chain(9).unwrap_err().to_string();
        assert!(text.ends_with("\"n8.test\" ... are too many aliases, 8 are followed; let the first be an alias of the last"), "{text}");
    }
}
