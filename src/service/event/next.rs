//! The attempt that follows a failure.

use acme_dns_core::time::UnixTime;
use std::fmt;

/// An issuer of the configuration, or its staging environment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ca {
    /// The issuer with this name.
    Production(String),
    /// The staging environment of the issuer with this name.
    Staging(String),
}

impl fmt::Display for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Production(name) => write!(f, "\"{name}\""),
            Self::Staging(name) => write!(f, "the staging environment of \"{name}\""),
        }
    }
}

/// The next attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NextAttempt {
    /// Its time.
    pub at: UnixTime,
    /// The CA that is asked then, if it is another.
    pub with: Option<Ca>,
    /// Means to bring it forward.
    pub sooner: Sooner,
}

/// Means to bring an attempt forward.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sooner {
    /// A reload of nginx.
    Reload,
    /// The file `actions/renew-NAME` of the certificate with this name.
    Request(String),
    /// None: the other side has asked for the pause.
    Never,
}

impl fmt::Display for NextAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "next attempt at {}", self.at)?;
        if let Some(ca) = &self.with {
            write!(f, " with {ca}")?;
        }
        match &self.sooner {
            Sooner::Reload => write!(f, ", or at once after a reload"),
            Sooner::Request(name) => write!(f, ", sooner only by \"actions/renew-{name}\""),
            Sooner::Never => write!(f, ", not sooner, as was asked for"),
        }
    }
}
