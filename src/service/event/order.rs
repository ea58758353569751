//! Steps of an order, and of questions to a CA.

use super::reference::rows;
use super::{Event, Subject, listed};
use acme_dns_core::level::Level;
use std::fmt;
use std::time::Duration;

/// Step of an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OrderEvent {
    /// A request has failed and is sent again.
    Retrying {
        /// The error.
        why: String,
        /// Pause before the next try.
        pause: Duration,
        /// Set for a CA that does not answer at all, which would look like a hang.
        is_unreachable: bool,
    },
    /// The order has been placed.
    Placed {
        /// Its URL.
        url: String,
    },
    /// An order of the process before goes on.
    Resumed {
        /// Its URL.
        url: String,
    },
    /// An order of the process before cannot go on; a new one is placed.
    NotResumed {
        /// The error.
        why: String,
        /// Set if others than the CA are the reason, so that it is worth a warning.
        is_about_others: bool,
    },
    /// An order that nobody wants any more has been cancelled at the CA.
    Cancelled {
        /// Its URL.
        url: String,
    },
    /// An order that nobody wants any more has been forgotten: its CA is not configured.
    Forgotten {
        /// Its URL.
        url: String,
    },
    /// The CA does not accept that the order replaces a certificate.
    PlacedAsNew {
        /// The error.
        why: String,
    },
    /// The order is placed without a profile, which the CA does not have.
    ProfileMissing {
        /// Name of the profile.
        profile: String,
        /// Names of those that the CA has.
        offered: Vec<String>,
    },
    /// The CA has the order in a new state.
    State {
        /// The state, as RFC 8555 calls it.
        state: &'static str,
    },
    /// The CA has an authorization of the order, or one of its challenges, in a new state.
    AuthorizationState {
        /// The name that it is for.
        name: String,
        /// The states of the authorization and of its challenges.
        state: String,
    },
    /// The servers of the zone do not show the TXT records yet.
    WaitingForServers,
    /// So many challenges were answered.
    Answered {
        /// Number of challenges.
        number: usize,
    },
    /// All authorizations are valid.
    Ready,
    /// The certificate differs from the order in a way that does no harm.
    Remarkable {
        /// The difference.
        note: String,
    },
    /// The CA has no chain to the preferred root.
    ChainMissing {
        /// Name of the preferred root.
        preferred: String,
        /// Name of the root that the default chain leads to.
        used: String,
    },
    /// The order cannot be saved, so that it could not be resumed.
    Unsaved {
        /// The error.
        why: String,
    },
    /// So many authorizations of a failed order were deactivated.
    Deactivated {
        /// Number of authorizations.
        number: usize,
    },
    /// The authorizations of a failed order were not deactivated in time.
    NotDeactivated,
    /// The clocks of this host and the CA differ.
    ClockSkew {
        /// Difference in seconds.
        seconds: u64,
        /// Set if this host's clock is ahead.
        is_ahead: bool,
    },
    /// A step has failed that the order can do without.
    StepFailed {
        /// The error.
        why: String,
        /// Severity: a warning if something may be left behind.
        level: Level,
    },
}

impl OrderEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::StepFailed { level, .. } => *level,
            Self::ClockSkew { .. } => Level::Error,
            Self::NotResumed { is_about_others: true, .. }
            | Self::ProfileMissing { .. }
            | Self::ChainMissing { .. }
            | Self::Unsaved { .. } => Level::Warn,
            Self::Retrying { is_unreachable: true, .. } | Self::Remarkable { .. } => Level::Notice,
            Self::Retrying { .. }
            | Self::Placed { .. }
            | Self::Resumed { .. }
            | Self::NotResumed { .. }
            | Self::Cancelled { .. }
            | Self::Forgotten { .. }
            | Self::PlacedAsNew { .. }
            | Self::State { .. }
            | Self::AuthorizationState { .. }
            | Self::WaitingForServers
            | Self::Answered { .. }
            | Self::Ready
            | Self::Deactivated { .. }
            | Self::NotDeactivated => Level::Debug,
        }
    }
}

impl fmt::Display for OrderEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retrying { why, pause, .. } => {
                write!(f, "{why}; retrying in {} ms", pause.as_millis())
            }
            Self::Placed { url } => write!(f, "order {url} placed"),
            Self::Resumed { url } => write!(f, "resuming order {url}"),
            Self::NotResumed { why, .. } => write!(f, "{why}; placing a new order"),
            Self::Cancelled { url } => write!(f, "order {url} cancelled"),
            Self::Forgotten { url } => write!(f, "order {url} forgotten"),
            Self::PlacedAsNew { why } => write!(f, "{why}; ordering as if nothing was replaced"),
            Self::ProfileMissing { profile, offered } => write!(
                f,
                "ordering without the profile \"{profile}\": the CA offers {}",
                listed(offered)
            ),
            Self::State { state } => write!(f, "state of the order: {state}"),
            Self::AuthorizationState { name, state } => {
                write!(f, "state of the authorization for \"{name}\": {state}")
            }
            Self::WaitingForServers => f.write_str("waiting for the servers of the zone"),
            Self::Answered { number } => write!(f, "{number} challenges answered"),
            Self::Ready => f.write_str("order is ready"),
            Self::Remarkable { note } => f.write_str(note),
            Self::ChainMissing { preferred, used } => write!(
                f,
                "the CA offers no chain to \"{preferred}\": using its default, which leads to \"{used}\""
            ),
            Self::Unsaved { why } => write!(f, "the order cannot be saved: {why}"),
            Self::Deactivated { number } => write!(f, "{number} authorizations deactivated"),
            Self::NotDeactivated => f.write_str("authorizations not deactivated in time"),
            Self::ClockSkew { seconds, is_ahead } => {
                let direction = if *is_ahead { "ahead of" } else { "behind" };
                write!(
                    f,
                    "the clock of this host is {seconds} s {direction} that of the CA, as its certificates \
                     show: set the clock; certificates are obtained and kept meanwhile"
                )
            }
            Self::StepFailed { why, .. } => write!(f, "{why}; going on without it"),
        }
    }
}

rows! {
    OrderEvent, |event| Event::Order(Subject::Certificate("example.com".into()), event);
    "order-retrying": Retrying {
        why: "reading the directory at \"https://ca.example/dir\" failed: cannot connect".into(),
        pause: Duration::from_millis(500),
        is_unreachable: true,
    } => "the CA does not answer; other requests than the first are told at level `debug`",
        may "look at the network, and the CA's status page";
    "order-placed": Placed { url: "https://ca.example/order/7".into() } => "the CA has the order", nothing;
    "order-resumed": Resumed { url: "https://ca.example/order/7".into() }
        => "an order of an earlier attempt, or of the process before, goes on", nothing;
    "order-not-resumed": NotResumed { why: "\"orders/example.com.order\" cannot be read".into(), is_about_others:
        true }
        => "one order more counts against the CA's limits; at level `debug` where only the CA is the reason", nothing;
    "order-cancelled": Cancelled { url: "https://ca.example/order/7".into() }
        => "the certificate is not in the configuration any more", nothing;
    "order-forgotten": Forgotten { url: "https://ca.example/order/7".into() }
        => "the certificate and its CA are not in the configuration any more", nothing;
    "order-placed-as-new": PlacedAsNew { why: "the CA says alreadyReplaced".into() }
        => "the CA does not take the order as a renewal: its limits count it as a new one", nothing;
    "order-profile-missing": ProfileMissing { profile: "shortlived".into(), offered: vec!["classic".into()] }
        => "the certificate is of the CA's default profile",
        may "correct `profile`; with `require` nothing is ordered instead";
    "order-state": State { state: "ready" } => "the CA has the order in a new state", nothing;
    "order-authorization-state": AuthorizationState {
        name: "example.com".into(),
        state: "valid, dns-01 valid".into(),
    }
        => "the CA has an authorization, or one of its challenges, in a new state", nothing;
    "order-waiting": WaitingForServers => "the TXT records are there, and are looked for at the servers of their \
        zones", nothing;
    "order-answered": Answered { number: 2 } => "the CA was told to look for the records", nothing;
    "order-ready": Ready => "all names are proven; the CSR follows", nothing;
    "order-remarkable": Remarkable { note: "the CA has added names that were not ordered: www.example.com".into() }
        => "the certificate differs from the order in a way that does no harm: it is used", nothing;
    "order-chain-missing": ChainMissing { preferred: "Old Root".into(), used: "New Root".into() }
        => "the CA does not, or no longer, offer the chain that `preferred_chain` names",
        may "correct `preferred_chain`";
    "order-unsaved": Unsaved { why: "cannot write \"orders\": 28: No space left on device".into() }
        => "a restart would place a new order", may "make room on the disk";
    "order-deactivated": Deactivated { number: 2 } => "a failed order leaves nothing pending at the CA", nothing;
    "order-not-deactivated": NotDeactivated => "a failed order has left something pending at the CA, which ends by \
        itself", nothing;
    "order-clock": ClockSkew { seconds: 7200, is_ahead: true }
        => "certificates are obtained and renewed, allowing for the difference",
        must "set the clock, and keep it synchronized (NTP)";
    "order-step-failed": StepFailed { why: "downloading an alternate chain failed".into(), level: Level::Warn }
        => "the order goes on without this step", nothing;
}
