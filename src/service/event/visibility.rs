//! The servers of a zone, and which of them show the TXT records.

use super::reference::rows;
use super::{Event, Subject};
use acme_dns_core::level::Level;
use std::fmt;
use std::time::Duration;

/// Event of the wait until the servers of a DNS zone show TXT records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VisibilityEvent {
    /// The check is off: a fixed time is waited.
    Unchecked {
        /// The DNS zone.
        zone: String,
        /// The time.
        delay: Duration,
    },
    /// Something else answers instead of all servers.
    Intercepted {
        /// The DNS zone.
        zone: String,
        /// The servers.
        servers: String,
        /// The time that is waited instead of a check.
        delay: Duration,
    },
    /// The servers were found.
    Servers {
        /// The DNS zone.
        zone: String,
        /// The servers.
        servers: String,
    },
    /// The way in which they were found is worth a line.
    Remarkable {
        /// The line.
        note: String,
    },
    /// The zone is delegated elsewhere; that may change soon.
    Elsewhere {
        /// The DNS zone.
        zone: String,
        /// The error.
        why: String,
        /// The longest wait.
        timeout: Duration,
        /// Set for the first of such lines in a wait.
        is_first: bool,
    },
    /// The servers were not found yet.
    NoServers {
        /// The DNS zone.
        zone: String,
        /// The error.
        why: String,
        /// Set for the first of such lines in a wait.
        is_first: bool,
    },
    /// A server shows the records.
    Shown {
        /// The server.
        server: String,
        /// The DNS zone.
        zone: String,
    },
    /// A server lacks some of them.
    Lacking {
        /// The DNS zone.
        zone: String,
        /// The server, and what it lacks.
        lacks: String,
    },
    /// It takes longer than most.
    StillWaiting {
        /// The DNS zone.
        zone: String,
        /// The longest wait.
        timeout: Duration,
        /// A server, and what it lacks.
        lacks: String,
    },
    /// The name of a challenge is an alias, and the record goes to what it is an alias of.
    Delegated {
        /// The challenge's name.
        challenge: String,
        /// The record's name.
        target: String,
    },
    /// Nobody can tell whether a name is an alias.
    AliasUnknown {
        /// The name of a challenge, or one that it leads to.
        name: String,
        /// The error.
        why: String,
    },
    /// A server does not count.
    Ignored {
        /// The server.
        server: String,
        /// The DNS zone.
        zone: String,
        /// Reason for it.
        why: String,
        /// Set if it has just failed, and was not known to.
        is_new: bool,
    },
}

impl VisibilityEvent {
    /// Severity of the line.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Intercepted { .. } => Level::Warn,
            Self::Remarkable { .. } | Self::Elsewhere { is_first: true, .. } => Level::Notice,
            Self::NoServers { is_first: true, .. }
            | Self::StillWaiting { .. }
            | Self::Delegated { .. }
            | Self::Ignored { is_new: true, .. } => Level::Info,
            Self::Unchecked { .. }
            | Self::Servers { .. }
            | Self::Elsewhere { .. }
            | Self::NoServers { .. }
            | Self::Shown { .. }
            | Self::Lacking { .. }
            | Self::AliasUnknown { .. }
            | Self::Ignored { .. } => Level::Debug,
        }
    }
}

impl fmt::Display for VisibilityEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchecked { zone, delay } => {
                write!(f, "waiting {delay:?} for the records of zone \"{zone}\"")
            }
            Self::Intercepted { zone, servers, delay } => write!(
                f,
                "port 53 is intercepted: something else answers instead of the servers of zone \"{zone}\" \
                 ({servers}); waiting {delay:?} without looking for the TXT records, as with \
                 \"acme_dns_propagation off\""
            ),
            Self::Servers { zone, servers } => {
                write!(f, "zone \"{zone}\" has the servers {servers}")
            }
            Self::Remarkable { note } => f.write_str(note),
            Self::Elsewhere { zone, why, timeout, .. } => {
                write!(f, "waiting for zone \"{zone}\", at most {} s: {why}", timeout.as_secs())
            }
            Self::NoServers { zone, why, .. } => {
                write!(f, "cannot find the servers of zone \"{zone}\" yet: {why}")
            }
            Self::Shown { server, zone } => {
                write!(f, "{server} has the TXT records of zone \"{zone}\"")
            }
            Self::Lacking { zone, lacks } => {
                write!(f, "waiting for TXT records of zone \"{zone}\": {lacks}")
            }
            Self::StillWaiting { zone, timeout, lacks } => write!(
                f,
                "still waiting for TXT records of zone \"{zone}\", at most {} s: {lacks}",
                timeout.as_secs()
            ),
            Self::Delegated { challenge, target } => {
                write!(f, "\"{challenge}\" is an alias of \"{target}\", which gets the TXT record")
            }
            Self::AliasUnknown { name, why } => {
                write!(
                    f,
                    "cannot find out whether \"{name}\" is an alias, it is taken for none: {why}"
                )
            }
            Self::Ignored { server, zone, why, .. } => {
                write!(f, "ignoring {server} of zone \"{zone}\": {why}")
            }
        }
    }
}

rows! {
    VisibilityEvent, |event| Event::Visibility(Subject::Certificate("example.com".into()), event);
    "visibility-unchecked": Unchecked { zone: "example.com".into(), delay: Duration::from_secs(60) }
        => "`acme_dns_propagation off`: no server is asked", nothing;
    "visibility-intercepted": Intercepted {
        zone: "example.com".into(),
        servers: "ns1.example.com (192.0.2.1)".into(),
        delay: Duration::from_secs(60),
    } => "a router answers all DNS queries itself; the attempt continues after the wait",
        may "`acme_dns_propagation off` saves the queries";
    "visibility-servers": Servers { zone: "example.com".into(), servers: "ns1.example.com (192.0.2.1)".into() }
        => "these are asked for the TXT records", nothing;
    "visibility-remarkable": Remarkable {
        note: "this machine's resolvers name other servers of zone \"example.com\"".into(),
    } => "the host sees an internal version of the zone (split horizon), and the provider's servers are asked",
        nothing;
    "visibility-elsewhere": Elsewhere {
        zone: "example.com".into(),
        why: "it is delegated to ns1.other.example, but the provider has it on ns1.example.com".into(),
        timeout: Duration::from_secs(300),
        is_first: true,
    } => "the delegation may change soon", may "name the provider's servers at the registrar";
    "visibility-no-servers": NoServers { zone: "example.com".into(), why: "no answer".into(), is_first: true }
        => "they are looked for again",
        may "set `resolvers` of `acme_dns_propagation` if this host's resolvers are wrong";
    "visibility-shown": Shown { server: "ns1.example.com (192.0.2.1)".into(), zone: "example.com".into() }
        => "the answer of one server", nothing;
    "visibility-lacking": Lacking {
        zone: "example.com".into(),
        lacks: "ns1.example.com (192.0.2.1) lacks _acme-challenge.example.com".into(),
    } => "the answer of one server; it is asked again", nothing;
    "visibility-still-waiting": StillWaiting {
        zone: "example.com".into(),
        timeout: Duration::from_secs(300),
        lacks: "ns1.example.com (192.0.2.1) lacks _acme-challenge.example.com".into(),
    } => "it takes longer than most", may "raise the `timeout` of `acme_dns_propagation` if it ends in vain";
    "visibility-delegated": Delegated {
        challenge: "_acme-challenge.example.com".into(),
        target: "example.com.acme.example.net".into(),
    } => "a CNAME leads there", nothing;
    "visibility-alias-unknown": AliasUnknown { name: "_acme-challenge.example.com".into(), why: "no answer".into() }
        => "if it is one, the CA does not find the record", nothing;
    "visibility-ignored": Ignored {
        server: "ns2.example.com (192.0.2.2)".into(),
        zone: "example.com".into(),
        why: "it does not answer".into(),
        is_new: true,
    } => "the others decide; at level `debug` if it was down before", may "repair it: the CA may ask it";
}
