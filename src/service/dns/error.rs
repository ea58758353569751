//! Errors of DNS providers, with what a person can do about them.

use crate::program::ProgramError;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Cause of a failure: everything else that needs the same fails in the same way, and can wait
/// until one attempt has succeeded.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum About {
    /// The provider as a whole: it cannot be reached, is overloaded, or something in between answers.
    Provider,
    /// The credentials, whatever they are used for.
    Credentials,
    /// One zone: others of the same provider may work. Its name, or its identifier where the name is
    /// not known.
    Zone(Box<str>),
    /// The number of records that a zone can hold is used up.
    Quota {
        /// The zone's name.
        zone: Box<str>,
        /// So many of them are challenge records of orders of ours that are under way: where there
        /// are some, the room comes back by itself.
        ours: u32,
    },
    /// The request itself, such as a name without a zone, and nothing else.
    Name,
}

/// An error of a provider. `action` is what it was asked for, with provider,
/// zone and record.
#[derive(Clone, Debug, Error)]
pub enum ProviderError {
    /// No answer came, or not all of it, however often it was tried.
    #[error("{action}: {detail}")]
    Unreachable {
        /// The action.
        action: String,
        /// The last try's error.
        detail: String,
    },
    /// The provider has trouble of its own.
    #[error("{action}: {refusal}")]
    Unavailable {
        /// The action.
        action: String,
        /// The last try's answer.
        refusal: Refusal,
    },
    /// There were too many requests.
    #[error("{action}: too many requests{}", waiting(.retry_after))]
    Throttled {
        /// The action.
        action: String,
        /// Pause that the provider asks for.
        retry_after: Option<Duration>,
    },
    /// The answer makes no sense: something between here and the provider, or a changed interface.
    #[error("{action}: unexpected answer: {detail}")]
    Unexpected {
        /// The action.
        action: String,
        /// The fault.
        detail: String,
    },
    /// The credentials are wrong, or not enough.
    #[error("{action}: {refusal}; {advice}")]
    Unauthorized {
        /// The action.
        action: String,
        /// The provider's answer.
        refusal: Refusal,
        /// Advice for a person.
        advice: String,
        /// The cause.
        about: About,
    },
    /// The provider understood, and does not want to.
    #[error("{action}: {refusal}{}{advice}", if .advice.is_empty() { "" } else { "; " })]
    Refused {
        /// The action.
        action: String,
        /// The provider's answer.
        refusal: Refusal,
        /// Advice for a person, or nothing.
        advice: String,
        /// The cause.
        about: About,
    },
    /// A refusal after a try whose answer was lost: what was asked for may have been done.
    #[error("{0}")]
    Unclear(Box<ProviderError>),
    /// The resolvers cannot say which zone holds the name.
    #[error("{action}: {detail}")]
    Unresolved {
        /// The action.
        action: String,
        /// Answer of each resolver.
        detail: String,
    },
    /// A program has failed that was to do it.
    #[error("{action}: {error}")]
    Program {
        /// The action.
        action: String,
        /// The error.
        error: Box<ProgramError>,
        /// The cause.
        about: About,
    },
    /// No zone holds the name, as far as the credentials can see.
    #[error("{action}: {detail}; {advice}")]
    NoZone {
        /// The action.
        action: String,
        /// Finding.
        detail: String,
        /// Advice for a person.
        advice: String,
        /// The cause.
        about: About,
    },
}

impl ProviderError {
    pub(super) fn unexpected(action: &str, detail: &str) -> Self {
        Self::Unexpected { action: action.to_owned(), detail: detail.to_owned() }
    }

    /// Tells whether it is useless to try again before a person has changed something.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Unavailable { .. }
            | Self::Throttled { .. }
            | Self::Unexpected { .. }
            | Self::Unresolved { .. } => false,
            Self::Unauthorized { .. } | Self::Refused { .. } | Self::NoZone { .. } => true,
            Self::Program { error, .. } => error.is_permanent(),
            Self::Unclear(error) => error.is_permanent(),
        }
    }

    /// Gives the cause: failures of one cause wait together.
    #[must_use]
    pub fn about(&self) -> &About {
        match self {
            Self::Unreachable { .. }
            | Self::Unavailable { .. }
            | Self::Throttled { .. }
            | Self::Unexpected { .. } => &About::Provider,
            Self::Unresolved { .. } => &About::Name,
            Self::Unauthorized { about, .. }
            | Self::Refused { about, .. }
            | Self::Program { about, .. }
            | Self::NoZone { about, .. } => about,
            Self::Unclear(error) => error.about(),
        }
    }

    /// Tells whether it is certain that nothing of what was asked for was done.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Unauthorized { .. } | Self::Refused { .. } | Self::NoZone { .. } => true,
            Self::Program { error, .. } => !error.was_started(),
            _ => false,
        }
    }

    /// Makes it the error of a request that `done` others have come before: these may have done something.
    pub(super) fn after(self, done: usize) -> Self {
        match self.is_definite() && done > 0 {
            true => Self::Unclear(Box::new(self)),
            false => self,
        }
    }

    /// Makes the error of several requests that of one.
    pub(super) fn with_action(mut self, text: &str) -> Self {
        match &mut self {
            Self::Unreachable { action, .. }
            | Self::Unavailable { action, .. }
            | Self::Throttled { action, .. }
            | Self::Unexpected { action, .. }
            | Self::Unauthorized { action, .. }
            | Self::Refused { action, .. }
            | Self::Unresolved { action, .. }
            | Self::Program { action, .. }
            | Self::NoZone { action, .. } => text.clone_into(action),
            Self::Unclear(error) => {
                return Self::Unclear(Box::new(error.clone().with_action(text)));
            }
        }
        self
    }

    /// Makes the same refusal an answer to `what`; the zone that it is about is not known.
    pub(super) fn of(mut self, what: String) -> Self {
        if let Self::Unauthorized { action, about, .. } | Self::Refused { action, about, .. } =
            &mut self
        {
            *action = what;
            if matches!(about, About::Zone(_)) {
                *about = About::Name;
            }
        }
        self
    }

    /// Adds to an exceeded quota the number of our records in it.
    pub(super) fn with_own_records(mut self, number: u32) -> Self {
        if let Self::Unclear(error) = self {
            return Self::Unclear(Box::new(error.with_own_records(number)));
        }
        if let Self::Refused { about: About::Quota { ours, .. }, advice, .. } = &mut self {
            *ours = number;
            if number > 0 {
                *advice = format!("{number} of its records are of orders that are under way");
            }
        }
        self
    }

    /// Gives the pause that the provider asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            Self::Unclear(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Gives the provider's own words, where it had an answer.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Unavailable { refusal, .. }
            | Self::Unauthorized { refusal, .. }
            | Self::Refused { refusal, .. } => Some(refusal),
            Self::Unclear(error) => error.refusal(),
            _ => None,
        }
    }
}

fn waiting(retry_after: &Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!(", the next in {} s", wait.as_secs()),
        None => String::new(),
    }
}

/// An answer that says no.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refusal {
    /// The status of HTTP; 0 where the provider does not speak that.
    pub status: u16,
    /// The provider's own codes and texts.
    pub reasons: Vec<RefusalReason>,
}

/// One reason of a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusalReason {
    /// The provider's code.
    pub code: i64,
    /// The provider's text.
    pub text: String,
}

impl Refusal {
    /// Tells whether one of the reasons has one of these codes.
    #[must_use]
    pub fn has_code(&self, codes: &[i64]) -> bool {
        self.reasons.iter().any(|reason| codes.contains(&reason.code))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |reason: &RefusalReason| match reason {
            // Some answers have a text only.
            RefusalReason { code: 0, text } => format!("\"{text}\""),
            RefusalReason { code, text } => format!("{code} \"{text}\""),
        };
        let mut parts: Vec<String> = self.reasons.iter().map(text).collect();
        if self.status != 0 {
            parts.push(format!("HTTP status {}", self.status));
        }
        f.write_str(&parts.join(", "))
    }
}
