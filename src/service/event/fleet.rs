//! The engine that hosts share certificates on, and what they find there.

use super::Event;
use super::reference::rows;
use acme_dns_core::level::Level;
use std::fmt;
use std::time::Duration;

/// Event of what is shared with other hosts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FleetEvent {
    /// The engine answers, and all that is shared was loaded.
    Reached {
        /// The number of records.
        records: usize,
    },
    /// The engine is away.
    Away {
        /// The error.
        why: String,
        /// Pause before it is tried again.
        retry: Duration,
    },
    /// The engine is there, and cannot be used as it is configured.
    Refused {
        /// The error, with what to do.
        why: String,
        /// Pause before it is tried again.
        retry: Duration,
    },
    /// A record is not used.
    RecordRefused {
        /// Its place in the engine.
        path: String,
        /// The reason.
        why: String,
        /// Set if it is replaced by what is good.
        is_replaced: bool,
    },
    /// The lease of a certificate has ended while it was ordered.
    TurnLost {
        /// The name of the certificate.
        name: String,
    },
    /// TXT records are removed that a host which has gone has left.
    Inherited {
        /// The name of the certificate.
        name: String,
    },
}

impl FleetEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Refused { .. } => Level::Error,
            Self::Away { .. } | Self::RecordRefused { .. } | Self::TurnLost { .. } => Level::Warn,
            Self::Reached { .. } | Self::Inherited { .. } => Level::Notice,
        }
    }
}

impl fmt::Display for FleetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reached { records } => {
                write!(f, "certificates are shared with other hosts, {records} records are there")
            }
            Self::Away { why, retry } => write!(
                f,
                "certificates are not shared for now, what is on disk is served; renewals wait for the last tenth of \
                 a lifetime, missing certificates for ten minutes, next try in {} s: {why}",
                retry.as_secs()
            ),
            Self::Refused { why, retry } => write!(
                f,
                "certificates cannot be shared, what is on disk is served; next try in {} s: {why}",
                retry.as_secs()
            ),
            Self::RecordRefused { path, why, is_replaced } => {
                let end = if *is_replaced { "it is replaced" } else { "it is left alone" };
                write!(f, "shared record \"{path}\" is not used, {end}: {why}")
            }
            Self::TurnLost { name } => write!(
                f,
                "certificate \"{name}\": the lease has ended while it was ordered, another host completes the order"
            ),
            Self::Inherited { name } => write!(
                f,
                "certificate \"{name}\": TXT records of a host that is gone are removed here"
            ),
        }
    }
}

rows! {
    FleetEvent, Event::Fleet;
    "fleet-reached": Reached { records: 12 } => "`acme_dns_share` works", nothing;
    "fleet-away": Away {
        why: "https://etcd1:2379 cannot be reached: Connection refused".into(),
        retry: Duration::from_secs(2),
    } => "each host serves what it has, and orders for itself only where it would be late otherwise",
        may "start the engine: [fleet.md](fleet.md#when-the-engine-is-away)";
    "fleet-refused": Refused {
        why: "https://etcd1:2379 refuses access: invalid password; check \"username\" and \"password_file\"".into(),
        retry: Duration::from_secs(2),
    } => "the same, until the configuration or the engine is mended",
        must "what the line says: [fleet.md](fleet.md#when-the-engine-is-away)";
    "fleet-record-refused": RecordRefused {
        path: "certificates/example.com~0123".into(),
        why: "it is not for our key".into(),
        is_replaced: true,
    } => "who has written it has another configuration, or no right to; a good certificate takes its place",
        may "find out who writes to the engine";
    "fleet-turn-lost": TurnLost { name: "example.com".into() }
        => "this host was stopped, or cut off from the engine, for longer than a lease", nothing;
    "fleet-inherited": Inherited { name: "example.com".into() }
        => "a host has ended between an order and its end", nothing;
}
