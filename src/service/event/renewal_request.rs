//! Renewals that were asked for at the status page.

use super::Event;
use super::reference::rows;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::NotNow;
use std::fmt;

/// Event of such a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RenewalRequestEvent {
    /// The certificate is renewed.
    Granted,
    /// It is not.
    Refused {
        /// The obstacle.
        why: NotNow,
    },
    /// It is renewed, but a restart would forget it.
    NotKept {
        /// The error.
        why: String,
    },
}

impl RenewalRequestEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Granted | Self::Refused { .. } => Level::Notice,
            Self::NotKept { .. } => Level::Warn,
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        match self {
            Self::Granted => {
                write!(f, "certificate \"{name}\" is renewed now, the status page has asked for it")
            }
            Self::Refused { why } => {
                write!(
                    f,
                    "certificate \"{name}\" is not renewed now, as the status page has asked: "
                )?;
                match why {
                    NotNow::UnderWay => f.write_str("an attempt is under way or due"),
                    NotNow::Unreadable => f.write_str("its files cannot be read, see above"),
                    NotNow::Held(until) => {
                        write!(f, "the CA or the DNS provider has asked for a pause until {until}")
                    }
                    NotNow::Paused(until) => write!(
                        f,
                        "it was tried too often, next attempt at {until}, for one before that create \
                         \"actions/renew-{name}\" in the state path and reload"
                    ),
                }
            }
            Self::NotKept { why } => write!(
                f,
                "the renewal of certificate \"{name}\" that the status page has asked for would be forgotten by a \
                 restart: {why}"
            ),
        }
    }
}

rows! {
    RenewalRequestEvent, |event| Event::RenewalRequest("example.com".into(), event);
    "renewal-requested": Granted => "somebody has pressed the button, or a worker says so", nothing;
    "renewal-refused-under-way": Refused { why: NotNow::UnderWay }
        => "the page shows the attempt; a certificate has one such line an hour", nothing;
    "renewal-refused-unreadable": Refused { why: NotNow::Unreadable }
        => "there may be a good certificate on disk, which a new one would replace",
        may "mend what the line above it names";
    "renewal-refused-held": Refused { why: NotNow::Held(super::reference::SOON) }
        => "the page does not shorten such a pause", nothing;
    "renewal-refused-paused": Refused { why: NotNow::Paused(super::reference::SOON) }
        => "the limits of failed orders hold for the page too", may "what the line says, once the cause is gone";
    "renewal-not-kept": NotKept { why: "cannot write actions/request-example.com: No space left on device".into() }
        => "the attempt begins all the same", may "give the state path room";
}
