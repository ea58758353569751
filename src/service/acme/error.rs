//! Errors of obtaining a certificate, and what the schedule concludes from them.

use super::problem::{Problem, SHOWN, more};
use super::step::Step;
use crate::dns::{About, ProviderError, RouteError};
use crate::propagation::PropagationError;
use crate::store::StoreError;
use acme_dns_core::findings::Finding;
use acme_dns_core::persist::zone_line;
use acme_dns_core::schedule::{Failure, FailureKind, Scope};
use acme_dns_core::time::UnixTime;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;

/// Problems that pass by themselves, or once a person has done something at the CA.
const PASSING: [&str; 6] = [
    "accountDoesNotExist",
    "badNonce",
    "rateLimited",
    "serverInternal",
    "userActionRequired",
    "externalAccountRequired",
];

/// Tells whether a status says that the request was wrong (RFC 9110 section 15.5), and will be again.
fn is_client_error(status: u16) -> bool {
    const TIMEOUT: u16 = 408;
    const TOO_MANY: u16 = 429;
    (400..500).contains(&status) && status != TIMEOUT && status != TOO_MANY
}

/// Gives the status of a refusal that says nothing itself.
fn shown(status: Option<u16>, problem: &Problem) -> String {
    let is_silent = problem.kind.is_empty() && problem.detail.is_empty();
    status.filter(|_| is_silent).map(|status| format!(", status {status}")).unwrap_or_default()
}

/// An error between us and the CA.
#[derive(Clone, Debug, Error)]
pub enum AcmeError {
    /// The CA refused a request.
    #[error("{step} was refused by \"{url}\": {problem}{}", shown(*.status, problem))]
    Refused {
        /// The step.
        step: Step,
        /// The URL of the request.
        url: String,
        /// The status of the answer.
        status: Option<u16>,
        /// The CA's reason.
        problem: Problem,
        /// Pause that the CA asks for.
        retry_after: Option<Duration>,
    },
    /// There was no answer, or none that can be understood, although it was tried again.
    #[error("{step} at \"{url}\" failed: {reason}")]
    Failed {
        /// The step.
        step: Step,
        /// The URL of the request.
        url: String,
        /// The status of the answer, if one came.
        status: Option<u16>,
        /// The reason.
        reason: String,
        /// Pause that the CA asks for.
        retry_after: Option<Duration>,
    },
    /// The URL is none that a CA may send anybody to.
    #[error("{step} failed: the CA's URL \"{url}\" is not used: {why}")]
    Url {
        /// The step.
        step: Step,
        /// The URL.
        url: String,
        /// The fault.
        why: String,
    },
    /// The CA does not offer this.
    #[error("{step} is not supported by the CA at \"{url}\"")]
    Unsupported {
        /// The step.
        step: Step,
        /// The URL of the directory.
        url: String,
    },
    /// The CA wants to know whose customer the account is.
    #[error(
        "the CA at \"{url}\" requires an external account: set \"external_account\" of issuer \
         \"{issuer}\""
    )]
    ExternalAccountRequired {
        /// The URL of the directory.
        url: String,
        /// The issuer's name.
        issuer: String,
    },
    /// The configured MAC key of an external account is not one.
    #[error("the MAC key in \"external_account\" of issuer \"{issuer}\" is not in base64url")]
    MacKey {
        /// The issuer's name.
        issuer: String,
    },
    /// The account key of the configuration is none, or none can be made.
    #[error("the account key of issuer \"{issuer}\" cannot be used: {reason}")]
    AccountKey {
        /// The issuer's name.
        issuer: String,
        /// The fault; never a part of the key.
        reason: String,
    },
    /// The CA does not take the account any more, and it is not for us to make another.
    #[error("the CA at \"{url}\" does not accept the account {account} any more: {what_to_do}")]
    AccountRefused {
        /// The URL of the directory.
        url: String,
        /// The account's URL, or whose account it is.
        account: String,
        /// Advice for a person.
        what_to_do: String,
    },
    /// The key of the configuration is not for us to change.
    #[error(
        "the account key of issuer \"{issuer}\" comes from \"account_key\", it is not changed here"
    )]
    KeyIsConfigured {
        /// The issuer's name.
        issuer: String,
    },
    /// The configuration names no staging directory.
    #[error("no \"staging\" is defined for issuer \"{issuer}\"")]
    NoStaging {
        /// The issuer's name.
        issuer: String,
    },
    /// The identifier is none of the configuration's.
    #[error("there is no such issuer in the configuration")]
    NoSuchIssuer,
    /// The account cannot be kept on disk.
    #[error("the account cannot be kept: {0}")]
    Store(#[source] Rc<StoreError>),
}

impl AcmeError {
    /// Tells whether trying again soon is of no use.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            // Where the account is concerned, its key or what binds it is not accepted.
            Self::Refused { step: Step::NewAccount | Step::FindAccount, problem, .. } => {
                problem.is_permanent() || problem.is("unauthorized")
            }
            Self::Refused { problem, .. } => problem.is_permanent(),
            Self::Failed { .. } | Self::Url { .. } | Self::Store(_) => false,
            Self::Unsupported { .. }
            | Self::ExternalAccountRequired { .. }
            | Self::MacKey { .. }
            | Self::AccountKey { .. }
            | Self::AccountRefused { .. }
            | Self::KeyIsConfigured { .. }
            | Self::NoStaging { .. }
            | Self::NoSuchIssuer => true,
        }
    }

    /// Tells whether it stands in the way of all orders of the issuer, so that they all wait for as long
    /// as the CA asks; else it is about what was asked for and nothing else.
    #[must_use]
    pub fn is_issuer_wide(&self) -> bool {
        match self {
            // What no order gets through is that the CA is away.
            Self::Failed { step: Step::NewOrder, .. } => true,
            Self::Refused { step, .. } | Self::Failed { step, .. } | Self::Url { step, .. } => {
                step.is_of_issuer()
            }
            Self::Unsupported { .. } | Self::KeyIsConfigured { .. } => false,
            Self::ExternalAccountRequired { .. }
            | Self::MacKey { .. }
            | Self::AccountKey { .. }
            | Self::AccountRefused { .. }
            | Self::NoStaging { .. }
            | Self::NoSuchIssuer
            | Self::Store(_) => true,
        }
    }

    /// Gives pause that the CA asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Failed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Adds which setting to check, if the CA's server has answered and not as it should.
    pub(super) fn with_setting(mut self, setting: &str, issuer: &str) -> Self {
        if let Self::Failed { status: Some(status), reason, .. } = &mut self
            && *status < 500
        {
            reason.push_str(&format!("; check \"{setting}\" of issuer \"{issuer}\""));
        }
        self
    }

    /// Tells whether an order may have been refused only because it was to replace a certificate.
    pub(super) fn may_be_about_replaces(&self) -> bool {
        const OTHERWISE: [&str; 3] = ["accountDoesNotExist", "rateLimited", "userActionRequired"];
        match self {
            Self::Refused { problem, .. } => !OTHERWISE.iter().any(|kind| problem.is(kind)),
            Self::Failed { reason, .. } => reason.contains("replacement of a certificate"),
            _ => false,
        }
    }

    /// Tells whether the CA does not do this, however often it is asked: it does not have it, or refuses the
    /// request for what it is.
    #[must_use]
    pub fn is_final(&self) -> bool {
        const NOT_THERE: [u16; 3] = [404, 405, 501];
        match self {
            Self::Unsupported { .. } | Self::KeyIsConfigured { .. } => true,
            Self::Refused { status, problem, .. } => {
                let is_there = |kind: &&str| problem.is(kind);
                status.is_some_and(|status| NOT_THERE.contains(&status) || is_client_error(status))
                    && !PASSING.iter().any(is_there)
            }
            Self::Failed { status, .. } => status.is_some_and(|status| NOT_THERE.contains(&status)),
            _ => false,
        }
    }

    /// Tells whether the CA refused with this problem type.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.is(kind))
    }
}

/// A TXT record that somebody has to add.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NeededRecord {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The reason why what is there does not do.
    pub why: Option<String>,
}

/// An error that ends an attempt to obtain a certificate.
#[derive(Debug, Error)]
pub enum ObtainError {
    /// The identifier is none of the configuration's.
    #[error("there is no such certificate in the configuration")]
    NoSuchCertificate,
    /// The attempt panicked.
    #[error("there is a bug in the module, its message is on standard error")]
    Bug,
    /// A request to the CA failed.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// The profile is required and the CA does not list it.
    #[error("the CA does not offer the profile \"{profile}\", only {offered}")]
    NoProfile {
        /// The profile of the configuration.
        profile: String,
        /// The profiles that the CA lists.
        offered: String,
    },
    /// An authorization has no challenge that we solve.
    #[error("the CA offers no {wanted} challenge for \"{name}\", only {offered}")]
    NoChallenge {
        /// The types that would do.
        wanted: String,
        /// The name.
        name: String,
        /// The types that are offered.
        offered: String,
    },
    /// The CA wants proof of a name that was not ordered.
    #[error(
        "the order was given up: it has an authorization for \"{name}\", which was not ordered"
    )]
    NotOrdered {
        /// The name, with `*.` if it is a wildcard.
        name: String,
    },
    /// There are far more authorizations than names.
    #[error("the order was given up: it has {number} authorizations for {names} names")]
    TooManyAuthorizations {
        /// The number of authorizations.
        number: usize,
        /// The number of names that were ordered.
        names: usize,
    },
    /// The CA looked for the TXT records and was not satisfied, or the order came to an end.
    #[error("the order was refused: {}", list(.0))]
    Invalid(Vec<(String, Problem)>),
    /// The CA did not come to an end.
    #[error("the order is still \"{status}\" after {} s", .waited.as_secs())]
    Timeout {
        /// The order's last status.
        status: &'static str,
        /// Length of the wait.
        waited: Duration,
    },
    /// The DNS provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// Another DNS provider than the certificate's own failed, which has one of its records.
    #[error(transparent)]
    OtherProvider(ProviderError),
    /// All DNS providers are bound to other zones.
    #[error("no \"acme_dns_provider\" has \"{name}\" in its \"zones\"{why}: {what_to_do}")]
    NoProvider {
        /// The name of the record.
        name: String,
        /// The alias that leads to it, if one does.
        why: String,
        /// Advice for a person.
        what_to_do: &'static str,
    },
    /// Records of dns-persist-01 are missing that no provider of the configuration can write.
    #[error("no provider here can write what is missing, add it: {}", needed(.0))]
    Waiting(Vec<NeededRecord>),
    /// The name of a challenge is an alias that leads nowhere.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A check before the order has found what the CA would refuse.
    #[error("nothing was ordered: {0}")]
    Check(Box<Finding>),
    /// The TXT records did not become visible.
    #[error(transparent)]
    Propagation(#[from] PropagationError),
    /// Something cannot be kept on disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The attempt cannot be kept on disk, so that a restart would make it again, and again.
    #[error("nothing is ordered while attempts cannot be noted on disk: {0}")]
    Unrecorded(#[source] StoreError),
    /// The key or the CSR cannot be made.
    #[error("the key cannot be made: {0}")]
    Key(String),
    /// The certificate is not the one that was asked for.
    #[error("the certificate of the CA cannot be used: {0}")]
    Certificate(String),
    /// The certificate is good, and becomes valid later, by the CA's own clock.
    #[error("the certificate becomes valid at {from} only, by the CA's own clock")]
    Early {
        /// Begin of its validity.
        from: UnixTime,
        /// Time until then.
        wait: Duration,
    },
}

impl ObtainError {
    /// Tells whether trying again soon is of no use: a person has to change something.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Acme(error) => error.is_permanent(),
            Self::Provider(error) | Self::OtherProvider(error) => error.is_permanent(),
            Self::Invalid(problems) => problems.iter().any(|(_, problem)| problem.is_permanent()),
            // Another order costs as much, and would bring the same.
            Self::Certificate(_)
            | Self::NoProfile { .. }
            | Self::NoChallenge { .. }
            | Self::NoSuchCertificate
            | Self::NoProvider { .. }
            | Self::Check(_)
            | Self::Route(_) => true,
            // The order is forgotten, and the next one need not be like it.
            Self::NotOrdered { .. } | Self::TooManyAuthorizations { .. } => false,
            Self::Bug
            | Self::Timeout { .. }
            | Self::Waiting(_)
            | Self::Propagation(_)
            | Self::Store(_)
            | Self::Unrecorded(_)
            | Self::Key(_)
            | Self::Early { .. } => false,
        }
    }

    /// Gives what the schedule has to know of it, but for the fate of the order.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let scope = self.scope();
        let kind = match self {
            // There is room again when others have ended.
            _ if matches!(scope, Scope::Room(_)) => FailureKind::Temporary,
            _ if self.is_permanent() => FailureKind::Permanent,
            Self::Invalid(_) => FailureKind::Validation,
            Self::Waiting(_) => FailureKind::Waiting,
            _ => FailureKind::Temporary,
        };
        Failure {
            kind,
            retry_after: self.retry_after(),
            scope,
            ordered: false,
            is_lost: false,
            published: self.follows_publication(),
        }
    }

    /// Gives its scope: whatever needs the same fails, too.
    fn scope(&self) -> Scope {
        match self {
            Self::Acme(error) if error.is_issuer_wide() => Scope::Issuer,
            Self::Provider(error) => match error.about() {
                About::Provider | About::Credentials => Scope::Provider,
                About::Quota { zone, ours } if *ours > 0 => Scope::Room(zone.to_string()),
                About::Zone(zone) | About::Quota { zone, .. } => Scope::Zone(zone.to_string()),
                About::Name => Scope::Certificate,
            },
            // Others of this certificate's provider need not fail.
            Self::OtherProvider(error) => match error.about() {
                About::Quota { zone, ours } if *ours > 0 => Scope::Room(zone.to_string()),
                About::Zone(zone) | About::Quota { zone, .. } => Scope::Zone(zone.to_string()),
                About::Provider | About::Credentials | About::Name => Scope::Certificate,
            },
            // CAA may allow another CA.
            Self::Check(finding) if finding.id.starts_with('A') => Scope::Entry,
            // Another CA would not change it.
            Self::Check(_) => Scope::Certificate,
            Self::NoProvider { .. } | Self::Store(_) | Self::Unrecorded(_) | Self::Route(_) => {
                Scope::Certificate
            }
            Self::Propagation(
                PropagationError::NoServers { zone, .. }
                | PropagationError::Moved { zone, .. }
                | PropagationError::Unreachable { zone, .. },
            ) => Scope::Zone(zone.clone()),
            _ => Scope::Entry,
        }
    }

    /// Tells whether the DNS provider has done its part by then.
    fn follows_publication(&self) -> bool {
        match self {
            Self::Invalid(_)
            | Self::Timeout { .. }
            | Self::Propagation(_)
            | Self::Certificate(_) => true,
            Self::Acme(AcmeError::Refused { step, .. } | AcmeError::Failed { step, .. }) => {
                matches!(step, Step::Challenge | Step::Order | Step::Finalize | Step::Certificate)
            }
            _ => false,
        }
    }

    /// Tells whether nothing was created at the provider.
    pub(super) fn is_definite(&self) -> bool {
        match self {
            Self::Provider(error) | Self::OtherProvider(error) => error.is_definite(),
            _ => false,
        }
    }

    /// Tells whether the next attempt can go on with the order.
    pub(super) fn leaves_order_alive(&self) -> bool {
        match self {
            Self::Acme(AcmeError::Failed { .. } | AcmeError::Store(_)) => true,
            Self::Acme(error) => error.is("rateLimited") || error.is("serverInternal"),
            // What it refuses for other reasons than the names is not the order's fault.
            Self::Provider(error) | Self::OtherProvider(error) => {
                !error.is_permanent() || *error.about() != About::Name
            }
            Self::Propagation(_)
            | Self::Timeout { .. }
            | Self::Early { .. }
            | Self::NoProvider { .. }
            | Self::Check(_)
            | Self::Waiting(_)
            | Self::Route(_)
            | Self::Store(_)
            | Self::Unrecorded(_) => true,
            Self::Bug
            | Self::Certificate(_)
            | Self::Invalid(_)
            | Self::Key(_)
            | Self::NoChallenge { .. }
            | Self::NoProfile { .. }
            | Self::NoSuchCertificate
            | Self::NotOrdered { .. }
            | Self::TooManyAuthorizations { .. } => false,
        }
    }

    /// Tells whether an order of an earlier attempt may be what is wrong: what it knows of its authorizations
    /// holds for a while only, an hour at some CAs, and its file may have been changed.
    pub(super) fn may_be_about_age(&self) -> bool {
        const OF_AGE: [&str; 4] = ["", "malformed", "orderNotReady", "unauthorized"];
        match self {
            Self::Certificate(_) => true,
            error if error.is_about_others() => true,
            Self::Acme(AcmeError::Refused { problem, .. }) => {
                OF_AGE.iter().any(|kind| problem.is(kind))
            }
            _ => false,
        }
    }

    /// Tells whether an order is for something that was not asked for.
    pub(super) fn is_about_others(&self) -> bool {
        matches!(self, Self::NotOrdered { .. } | Self::TooManyAuthorizations { .. })
    }

    /// Gives the pause that the CA or the DNS provider asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Acme(error) => error.retry_after(),
            Self::Provider(error) | Self::OtherProvider(error) => error.retry_after(),
            Self::Early { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}

/// Writes the records that are missing as lines of a zone file.
fn needed(records: &[NeededRecord]) -> String {
    let lines: Vec<String> =
        records.iter().map(|record| zone_line(&record.name, &record.value)).collect();
    lines.join(" and ")
}

/// Lists the first problems in a line, and the number of the others.
fn list(problems: &[(String, Problem)]) -> String {
    let one = |(name, problem): &(String, Problem)| match name.is_empty() {
        true => problem.to_string(),
        false => format!("\"{name}\": {problem}"),
    };
    let mut shown: Vec<String> = problems.iter().take(SHOWN).map(one).collect();
    shown.extend(more(problems.len()));
    shown.join("; ")
}

#[cfg(test)]
mod tests;
