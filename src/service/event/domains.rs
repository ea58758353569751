//! Watched domains files, and the certificates whose lines come and go.

use super::Event;
use super::reference::{END, rows};
use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;
use std::fmt;
use std::path::PathBuf;

/// Event of a watched domains file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DomainsEvent {
    /// A line cannot be a certificate.
    LeftOut {
        /// The file.
        file: PathBuf,
        /// Number of the line.
        line: usize,
        /// The mistake.
        why: String,
    },
    /// So many more lines cannot.
    MoreLeftOut {
        /// The file or directory.
        path: PathBuf,
        /// Number of them.
        number: usize,
    },
    /// Its last line has no end.
    Unended {
        /// The file.
        file: PathBuf,
    },
    /// It cannot be read.
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        why: String,
    },
    /// So many lines are gone at once that it may be a mistake.
    Lost {
        /// The file or directory.
        path: PathBuf,
        /// Number of lines that are gone.
        gone: usize,
        /// Number of lines that there were.
        before: usize,
    },
    /// A line is gone, and its certificate is not renewed any more.
    Withdrawn {
        /// Name of the certificate.
        name: String,
        /// Time until which it is served; `None`: it was never there.
        until: Option<UnixTime>,
    },
    /// So many lines are gone.
    ManyWithdrawn {
        /// The file or directory.
        path: PathBuf,
        /// Number of them.
        number: usize,
    },
    /// A line is gone whose certificate a server uses.
    Used {
        /// Name of the certificate.
        name: String,
    },
    /// So many lines are there again.
    Restored {
        /// The file or directory.
        path: PathBuf,
        /// Number of them.
        number: usize,
    },
    /// There is no room for so many lines.
    NoRoom {
        /// The file or directory.
        path: PathBuf,
        /// Number of them.
        number: usize,
    },
}

impl DomainsEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::LeftOut { .. }
            | Self::MoreLeftOut { .. }
            | Self::Unreadable { .. }
            | Self::Lost { .. } => Level::Error,
            Self::Unended { .. } | Self::Used { .. } | Self::NoRoom { .. } => Level::Warn,
            Self::Withdrawn { .. } | Self::ManyWithdrawn { .. } | Self::Restored { .. } => {
                Level::Notice
            }
        }
    }
}

impl fmt::Display for DomainsEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut { file, line, why } => {
                write!(f, "{why} in {}:{line}, the line is left out", file.display())
            }
            Self::MoreLeftOut { path, number } => {
                write!(f, "{number} more lines of \"{}\" are left out", path.display())
            }
            Self::Unended { file } => write!(
                f,
                "\"{}\" is read when its last line ends: there is no line feed behind it",
                file.display()
            ),
            Self::Unreadable { path, why } => write!(
                f,
                "domains in \"{}\" cannot be read, they stay as they were: {why}",
                path.display()
            ),
            Self::Lost { path, gone, before } => write!(
                f,
                "\"{}\" has lost {gone} of {before} lines at once: its domains stay as they were, a reload \
                 takes the file as it is",
                path.display()
            ),
            Self::Withdrawn { name, until: Some(until) } => write!(
                f,
                "certificate \"{name}\" has lost its line and is not renewed any more; it is served until \
                 {until} at the latest"
            ),
            Self::Withdrawn { name, until: None } => {
                write!(f, "certificate \"{name}\" has lost its line and is not ordered any more")
            }
            Self::ManyWithdrawn { path, number } => write!(
                f,
                "{number} certificates have lost their lines in \"{}\" and are not renewed any more",
                path.display()
            ),
            Self::Used { name } => write!(
                f,
                "certificate \"{name}\" has lost its line and is renewed until the next reload, because a \
                 server uses it"
            ),
            Self::Restored { path, number } => write!(
                f,
                "{number} certificates have their lines in \"{}\" again and are renewed",
                path.display()
            ),
            Self::NoRoom { path, number } => write!(
                f,
                "there is no room for {number} new lines of \"{}\" until a reload makes some",
                path.display()
            ),
        }
    }
}

rows! {
    DomainsEvent, Event::Domains;
    "domains-left-out": LeftOut {
        file: "/etc/nginx/customers.txt".into(),
        line: 7,
        why: "\"shop\" cannot be certified: it has only one label".into(),
    } => "all other lines are in force", must "correct the line; no reload is needed";
    "domains-more-left-out": MoreLeftOut { path: "/etc/nginx/customers.txt".into(), number: 30 }
        => "at most ten lines of a file are named", must "correct the lines: `nginx -t` names them";
    "domains-unended": Unended { file: "/etc/nginx/customers.txt".into() }
        => "it may be half of what is being written", may "end the last line, if nobody writes the file any more";
    "domains-unreadable": Unreadable {
        path: "/etc/nginx/customers.txt".into(),
        why: "13: Permission denied".into(),
    } => "certificates are renewed as before, and changes of the file are not seen",
        must "let the acme dns process read the file: its user, or the group of the workers";
    "domains-lost": Lost { path: "/etc/nginx/customers.txt".into(), gone: 600, before: 1000 }
        => "nothing of the file takes effect as long as so much is missing; all certificates are renewed as before",
        must "bring the lines back, or reload NGINX if they are meant to be gone";
    "domains-withdrawn": Withdrawn { name: "shop.example".into(), until: Some(END) }
        => "its files stay; if the line comes back, all is as before", nothing;
    "domains-withdrawn-early": Withdrawn { name: "shop.example".into(), until: None }
        => "nobody wants it any more, and it was never issued", nothing;
    "domains-many-withdrawn": ManyWithdrawn { path: "/etc/nginx/customers.txt".into(), number: 40 }
        => "more than five lines are gone at once", nothing;
    "domains-used": Used { name: "shop.example".into() }
        => "a server would lose its certificate with the line", may "reload NGINX: the server gets one of its own";
    "domains-restored": Restored { path: "/etc/nginx/customers.txt".into(), number: 3 }
        => "lines that were gone are there again", nothing;
    "domains-no-room": NoRoom { path: "/etc/nginx/customers.txt".into(), number: 3 }
        => "shared memory has room for a quarter more lines than there were, and 1,000 at least; NGINX is reloaded for \
            more, unless `acme_dns_reload off` is set", may "reload NGINX";
}
