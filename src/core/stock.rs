//! Certificates that are there, found by the names that they cover.
//!
//! A certificate belongs to a set of names, not to the directory or the slot that it lies in: servers are
//! renamed, reordered, split and merged, and none of that makes a good certificate a bad one. Two
//! questions are answered here:
//!
//! - Which certificate is *taken over*: is the one that is wanted, and is not ordered before its renewal. It
//!   covers all names, is from one of the issuers, and has the type of key and the profile that are wanted.
//! - Which certificates *stand in*: are served until there is something better. Any that is valid and covers some
//!   of the names will do. Several stand in together where none covers them all, and each client gets the one
//!   for the name that it asks for.

use crate::config::{Certificate, Config, Variant};
use crate::id::VariantId;
use crate::key::KeyType;
use crate::name::Name;
use crate::schedule::Validity;
use crate::time::UnixTime;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

/// The most certificates that stand in for one: shared memory has room for a few.
const MAX_STAND_INS: usize = 8;

/// The properties of a certificate that decide what it is good for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Traits {
    /// The DNS names that it holds, in lower case.
    pub names: Vec<String>,
    /// Its dates.
    pub validity: Validity,
    /// The type of its key.
    pub key: KeyType,
    /// The URL of the directory of the CA that issued it, where that is known.
    pub directory: Option<String>,
    /// The profile that was asked for.
    pub profile: Option<String>,
    /// Set if it is from another client, or was put there by hand: it is wanted with any type of key, unless
    /// there are two.
    pub is_imported: bool,
    /// Set if it is its own issuer: nobody trusts it.
    pub is_self_signed: bool,
}

/// The reason why a certificate is not the one that is wanted. It is served all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Difference {
    /// It does not cover all names.
    Names,
    /// Its key is of another type.
    Key,
    /// It is from no CA.
    SelfSigned,
    /// It is from a CA that is none of the certificate's issuers, such as the staging environment of one.
    Issuer,
    /// Another profile was asked for.
    Profile,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Names => "holds other names than configured",
            Self::Key => "has another type of key than configured",
            Self::SelfSigned => "is self-signed",
            Self::Issuer => "is from another CA than configured",
            Self::Profile => "has another profile than configured",
        })
    }
}

impl Traits {
    /// Tells whether a client that asks for a name can use the certificate. Only the same wildcard covers a wildcard.
    pub fn covers(&self, name: &str) -> bool {
        covers(&self.names, name)
    }

    /// Finds a difference from the certificate that is wanted, if there is one. One with more names is
    /// wanted as it is: they go with its renewal, and that costs no order.
    pub fn difference(
        &self,
        config: &Config,
        variant: &Variant,
        wanted: &Certificate,
    ) -> Option<Difference> {
        let has_key = match self.is_imported {
            true => wanted.variants.len() == 1 || self.key.algorithm() == variant.key.algorithm(),
            false => self.key == variant.key,
        };
        if !wanted.names.iter().all(|name| self.covers(name.as_str())) {
            return Some(Difference::Names);
        }
        if !has_key {
            return Some(Difference::Key);
        }
        // Of one that was put there by hand it is not known where it is from.
        let Some(directory) = &self.directory else {
            return self.is_self_signed.then_some(Difference::SelfSigned);
        };
        let mut issuers = wanted.issuers.iter().filter_map(|id| config.issuers.get(*id));
        let Some(issuer) = issuers.find(|issuer| issuer.directory == *directory) else {
            return Some(Difference::Issuer);
        };
        let has_profile =
            self.is_imported || issuer.profile.as_ref().map(|p| &p.name) == self.profile.as_ref();
        (!has_profile).then_some(Difference::Profile)
    }

    /// Tells whether it has expired.
    pub fn has_expired(&self, now: UnixTime) -> bool {
        self.validity.not_after <= now
    }

    /// Tells whether it is to be renewed soon, as far as that follows from its dates.
    pub fn is_due(&self, now: UnixTime) -> bool {
        self.validity.renewal_time(1.0) <= now
    }

    /// Ranks it by how far clients can be expected to trust it.
    fn origin(&self, config: &Config, wanted: &Certificate) -> Origin {
        let mut issuers = wanted.issuers.iter().filter_map(|id| config.issuers.get(*id));
        match &self.directory {
            _ if self.is_self_signed => Origin::SelfSigned,
            Some(directory) if issuers.any(|issuer| issuer.directory == *directory) => {
                Origin::Issuer
            }
            _ => Origin::Other,
        }
    }

    /// Tells whether its names are those of a certificate, no more and no less.
    fn is_exact(&self, wanted: &Certificate) -> bool {
        let wanted: BTreeSet<&str> = wanted.names.iter().map(Name::as_str).collect();
        wanted == self.names.iter().map(String::as_str).collect()
    }
}

/// The origin of a certificate, the best last.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Origin {
    SelfSigned,
    Other,
    /// One of the issuers that are configured for it.
    Issuer,
}

/// Names that certificates are looked for.
#[derive(Debug, Default)]
pub struct WantedNames<'a>(HashSet<Cow<'a, str>>);

impl<'a> WantedNames<'a> {
    /// Takes names that certificates are wanted for.
    pub fn of(names: impl IntoIterator<Item = &'a Name>) -> Self {
        let names = names.into_iter().map(Name::as_str);
        let with_wildcard = names.flat_map(|name| {
            [Some(Cow::Borrowed(name)), wildcard_of(name).map(Cow::Owned)].into_iter().flatten()
        });
        Self(with_wildcard.collect())
    }

    /// Tells whether a certificate that holds these names covers one that is wanted.
    pub fn has_any(&self, held: &[String]) -> bool {
        held.iter().any(|name| self.0.contains(name.as_str()))
    }
}

/// Tells whether one of the names that a certificate holds is this one, or a wildcard that stands for it.
pub fn covers(held: &[String], name: &str) -> bool {
    let wildcard = wildcard_of(name);
    held.iter().any(|held| held == name || wildcard.as_ref() == Some(held))
}

/// The wildcard that stands for a name; `None` for a wildcard.
fn wildcard_of(name: &str) -> Option<String> {
    let parent = parent_of(name)?;
    Some(format!("*.{parent}"))
}

/// The name without its first label; `None` for a wildcard.
fn parent_of(name: &str) -> Option<&str> {
    name.split_once('.').filter(|(label, _)| *label != "*").map(|(_, parent)| parent)
}

/// Certificates that are there. `S` says where one lies.
#[derive(Debug)]
pub struct Stock<S> {
    items: Vec<(S, Traits)>,
    /// The items that hold a name as it stands.
    by_name: HashMap<String, Vec<usize>>,
    /// The items that hold a name right below a domain.
    by_parent: HashMap<String, Vec<usize>>,
}

/// The certificates that are chosen to be served, as indices for [`Stock::item`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Choice {
    /// For each of the certificate's variants the one that is taken over.
    pub taken_over: Vec<Option<usize>>,
    /// Those that stand in where nothing is taken over, the best first. Together they cover what can be
    /// covered, for each algorithm of keys.
    pub stand_ins: Vec<usize>,
}

impl<S> Default for Stock<S> {
    fn default() -> Self {
        Self { items: Vec::new(), by_name: HashMap::new(), by_parent: HashMap::new() }
    }
}

impl<S> Stock<S> {
    /// Adds a certificate.
    pub fn add(&mut self, source: S, traits: Traits) {
        let index = self.items.len();
        for name in &traits.names {
            self.by_name.entry(name.clone()).or_default().push(index);
            if let Some(parent) = parent_of(name) {
                self.by_parent.entry(parent.to_owned()).or_default().push(index);
            }
        }
        self.items.push((source, traits));
    }

    /// One of the certificates, with its place.
    pub fn item(&self, index: usize) -> Option<(&S, &Traits)> {
        self.items.get(index).map(|(source, traits)| (source, traits))
    }

    /// Chooses no more what turned out to be unusable.
    pub fn discard(&mut self, index: usize) {
        if let Some((_, traits)) = self.items.get_mut(index) {
            traits.names.clear();
        }
    }

    /// Chooses what is served for a certificate of the configuration. `owner` says of a place which variant's it
    /// is: its own comes first among what is equally good. What is just what another certificate wants is left
    /// to that, and stands in at most.
    pub fn choose(
        &self,
        config: &Config,
        wanted: &Certificate,
        now: UnixTime,
        owner: impl Fn(&S) -> Option<VariantId>,
    ) -> Choice {
        let related = self.related(wanted, now);
        let is_own = |variant: VariantId, source: &S| owner(source) == Some(variant);
        let spoken_for: Vec<&Traits> = related
            .iter()
            .filter_map(|item| self.items.get(*item))
            .filter(|(source, traits)| {
                let other = owner(source).filter(|id| !wanted.variants.contains(*id));
                let other = other.and_then(|id| config.variant(id));
                other.is_some_and(|(_, certificate)| traits.is_exact(certificate))
            })
            .map(|(_, traits)| traits)
            .collect();
        let variants = wanted.variants.clone();
        let taken_over = variants.clone().map(|id| {
            let variant = config.variants.get(id)?;
            let is_own = |item: usize| self.items.get(item).is_some_and(|(s, _)| is_own(id, s));
            let suits = |item: &usize| {
                self.items.get(*item).is_some_and(|(_, traits)| {
                    traits.difference(config, variant, wanted).is_none()
                        && (is_own(*item)
                            || (traits.directory.is_some() && !spoken_for.contains(&traits)))
                })
            };
            related.iter().copied().filter(suits).max_by_key(|item| {
                let traits = self.items.get(*item).map(|(_, traits)| traits);
                let is_fresh = traits.is_some_and(|traits| !traits.is_due(now));
                let is_exact = traits.is_some_and(|traits| traits.is_exact(wanted));
                let end = traits.map(|traits| traits.validity.not_after);
                (is_fresh, is_own(*item), is_exact, end, Reverse(*item))
            })
        });
        let taken_over: Vec<_> = taken_over.collect();
        let is_of_one = |item: usize| {
            let source = self.items.get(item).map(|(source, _)| source);
            variants.clone().any(|variant| source.is_some_and(|source| is_own(variant, source)))
        };
        let stand_ins = self.stand_ins(config, wanted, &related, &taken_over, is_of_one);
        Choice { taken_over, stand_ins }
    }

    /// The valid certificates that cover a wanted name, or a name below a wanted wildcard.
    fn related(&self, wanted: &Certificate, now: UnixTime) -> Vec<usize> {
        let mut found = BTreeSet::new();
        for name in &wanted.names {
            let name = name.as_str();
            let below = name.strip_prefix("*.").and_then(|parent| self.by_parent.get(parent));
            let wildcard = wildcard_of(name).and_then(|wildcard| self.by_name.get(&wildcard));
            let all = [self.by_name.get(name), wildcard, below];
            found.extend(all.into_iter().flatten().flatten().copied());
        }
        let is_valid = |item: &usize| {
            let traits = self.items.get(*item).map(|(_, traits)| traits);
            traits.is_some_and(|traits| !traits.has_expired(now) && !traits.names.is_empty())
        };
        found.into_iter().filter(is_valid).collect()
    }

    fn stand_ins(
        &self,
        config: &Config,
        wanted: &Certificate,
        related: &[usize],
        taken_over: &[Option<usize>],
        is_own: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let mut picked = Vec::new();
        if taken_over.iter().all(Option::is_some) {
            return picked;
        }
        let traits = |item: usize| self.items.get(item).map(|(_, traits)| traits);
        let targets = targets(wanted, related.iter().filter_map(|item| traits(*item)));
        let is_missing = |name: &&String, by: &[usize]| {
            !by.iter().any(|item| traits(*item).is_some_and(|traits| traits.covers(name)))
        };
        let taken: Vec<usize> = taken_over.iter().flatten().copied().collect();
        let variants = wanted.variants.clone().zip(taken_over);
        let lacking = variants.filter(|(_, taken)| taken.is_none());
        let algorithms = lacking.filter_map(|(id, _)| {
            config.variants.get(id).map(|variant| Some(variant.key.algorithm()))
        });
        // At last any key will do for what has none of these.
        for algorithm in algorithms.chain([None]) {
            let is_of = |item: &usize| {
                let of = traits(*item).map(|traits| traits.key.algorithm());
                algorithm.is_none() || of == algorithm
            };
            let mut serving: Vec<usize> =
                taken.iter().chain(&picked).copied().filter(|item| is_of(item)).collect();
            while picked.len() < MAX_STAND_INS {
                let missing: Vec<&String> =
                    targets.iter().filter(|name| is_missing(name, &serving)).collect();
                let gain = |item: &usize| {
                    missing.iter().filter(|n| traits(*item).is_some_and(|t| t.covers(n))).count()
                };
                let best = related.iter().copied().filter(is_of).max_by_key(|item| {
                    let of_item = traits(*item);
                    let (gain, own) = (gain(item), is_own(*item));
                    let origin = of_item.map(|traits| traits.origin(config, wanted));
                    let end = of_item.map(|traits| traits.validity.not_after);
                    (gain > 0, origin, gain, own, end, Reverse(*item))
                });
                let Some(best) = best.filter(|item| gain(item) > 0) else { break };
                serving.push(best);
                picked.push(best);
            }
        }
        picked
    }
}

/// The names that are to be covered: those that are wanted, and those that are there below a wanted wildcard.
fn targets<'a>(
    wanted: &Certificate,
    related: impl Iterator<Item = &'a Traits>,
) -> BTreeSet<String> {
    let is_below = |name: &&String| {
        parent_of(name).is_some_and(|parent| {
            wanted.names.iter().any(|wanted| wanted.is_wildcard() && wanted.base() == parent)
        })
    };
    let below = related.flat_map(|traits| &traits.names).filter(is_below).cloned();
    wanted.names.iter().map(|name| name.as_str().to_owned()).chain(below).collect()
}

#[cfg(test)]
mod tests;
