//! The engine that certificates are shared on, and which host has obtained what.

use super::text::{Counted, Isolated, Moment, Number, Seen};
use crate::status::{Page, ShareState, ShareStatus, SharedVariant};
use crate::time::UnixTime;
use std::fmt;

/// Warning above the certificates that they are not shared now.
pub(super) struct Warning<'a>(pub(super) &'a Page);

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(share) = self.0.share.as_ref().filter(|share| share.is_broken()) else {
            return Ok(());
        };
        let since = share.since.map(|at| Seen { at, from: self.0.now }.to_string());
        let since = since.unwrap_or_default();
        let what = match share.state {
            ShareState::Refused => "cannot be used, first seen",
            _ => "is away, first seen",
        };
        writeln!(
            f,
            "<div class=\"told\"><p>The {} that certificates are shared on {what} {since}. This host serves what it has; \
             renewals wait for the last tenth of a lifetime, and missing certificates for ten minutes.</p>",
            share.kind
        )?;
        if let Some(error) = &share.last_error {
            writeln!(f, "<p>{}</p>", Isolated(&error.text))?;
        }
        f.write_str("</div>\n")
    }
}

/// The section about the engine.
pub(super) struct Sharing<'a>(pub(super) &'a Page);

impl fmt::Display for Sharing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(share) = &self.0.share else { return Ok(()) };
        let now = self.0.now;
        writeln!(f, "<section><h2>Shared with other hosts</h2><dl>")?;
        write!(f, "<dt>Engine</dt><dd>{}, {}", share.kind, words(share.state))?;
        if let Some(since) = share.since {
            write!(f, " since {}", Moment(since))?;
        }
        writeln!(f, "</dd>")?;
        if let Some(host) = &share.host {
            writeln!(f, "<dt>This host</dt><dd>{}</dd>", Isolated(host))?;
        }
        if let Some(at) = share.last_contact {
            let seen = Seen { at, from: now };
            writeln!(f, "<dt>Last word of the engine</dt><dd>{}, {seen}</dd>", Moment(at))?;
        }
        if let Some(hosts) = share.hosts {
            writeln!(f, "<dt>Hosts</dt><dd>{}, this one included</dd>", Number(hosts.into()))?;
        }
        writeln!(f, "<dt>Records when loaded</dt><dd>{}</dd>", Number(share.records))?;
        writeln!(f, "<dt>Taken over from others</dt><dd>{}</dd>", Lag(share))?;
        f.write_str("</dl></section>\n")
    }
}

fn words(state: ShareState) -> &'static str {
    match state {
        ShareState::Joining => "not asked yet",
        ShareState::Reached => "in reach",
        ShareState::Away => "away",
        ShareState::Refused => "cannot be used",
        ShareState::Following => "asked by another NGINX here",
    }
}

/// Number of certificates of other hosts, and how long after their issue they came.
struct Lag<'a>(&'a ShareStatus);

impl fmt::Display for Lag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lag = &self.0.lag;
        write!(f, "{}", Counted(lag.count, "certificate"))?;
        match lag.count {
            0 => Ok(()),
            count => write!(f, ", {:.1} s after the issue on average", lag.sum / count as f64),
        }
    }
}

/// Line of a certificate: which host has obtained it, and which one orders the next.
pub(super) struct Hosts<'a> {
    pub(super) share: &'a SharedVariant,
    /// Name of this host.
    pub(super) own: Option<&'a str>,
    pub(super) now: UnixTime,
}

impl Hosts<'_> {
    fn host(&self, name: &str) -> String {
        match self.own == Some(name) {
            true => "this host".to_owned(),
            false => Isolated(name).to_string(),
        }
    }
}

impl fmt::Display for Hosts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SharedVariant { obtained_by, taken_over, leader, .. } = self.share;
        if obtained_by.is_none() && leader.is_none() {
            return Ok(());
        }
        f.write_str("<p class=\"soft\">")?;
        if let Some(name) = obtained_by {
            write!(f, "Shared by {}", self.host(name))?;
            if let Some(at) = *taken_over {
                write!(f, ", taken over {}", Seen { at, from: self.now })?;
            }
            f.write_str(". ")?;
        }
        if let Some(name) = leader {
            write!(f, "The next one is being ordered by {}.", self.host(name))?;
        }
        f.write_str("</p>\n")
    }
}
