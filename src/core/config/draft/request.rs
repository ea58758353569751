//! Requests that are made while a configuration is read.

use crate::config::Location;
use crate::config::binding::Wanted;
use crate::name::Name;
use std::fmt;

/// Wish of a server for a certificate.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) wanted: Wanted,
    pub(super) names: Vec<Name>,
    /// The place of the names.
    pub(super) location: Location,
    /// The place of the directive: in the level above, where it is inherited.
    pub(super) directive: Location,
    pub(super) wants_staple: bool,
    /// Set if no certificate of other names will do.
    pub(super) keeps_own: bool,
}

impl Binding {
    pub(super) fn error(&self, message: String) -> DraftError {
        DraftError { message, location: self.location.clone() }
    }
}

/// A mistake that was found when all of the configuration had been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DraftError {
    /// Description of the mistake.
    pub message: String,
    /// The directive that it is about.
    pub location: Location,
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.message, self.location)
    }
}
